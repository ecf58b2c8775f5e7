"""Text from alerts and probes, made fit for people's eyes: nothing hides, nothing becomes markup.

Used by cards and pages. What a person approves must be what they see, so what has no shape of its own
(control characters, bidirectional overrides, zero-width letters, look-alikes inside a word) is spelled out.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from remediator.core.canonical import inert
from remediator.core.letters import plainly


def escaped(text: str, *, lines: bool = False) -> str:
    """`plainly`, and Slack's three control characters escaped: no link, no mention."""
    return plainly(text, lines=lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, most: int) -> str:
    """At most so many characters; what is left out leaves a mark, and no half of an escape."""
    if len(text) <= most:
        return text
    return re.sub(r"(&[a-z]*|\\[uU]?[0-9a-f]*|<[^>]*)$", "", text[: most - 2]) + " …"


def spelled(value: Any, *, indent: int | None = None) -> str:
    """Any value as JSON, everything unseen spelled out."""
    return plainly(json.dumps(inert(value), ensure_ascii=False, indent=indent), lines=True)


def when(at: datetime) -> str:
    """A time in the reader's own zone, in mrkdwn."""
    utc = at.astimezone(UTC)
    return f"<!date^{int(utc.timestamp())}^{{date_short_pretty}} {{time}}|{utc:%Y-%m-%d %H:%M} UTC>"


def run_page(public_url: str, run: str) -> str:
    """The address of a run's page; empty without a public URL."""
    return f"{public_url.rstrip('/')}/runs/{quote(run, safe='')}" if public_url else ""


def linked(public_url: str, run: str, words: str) -> str:
    """A link to a run's page, in mrkdwn; the words alone without a public URL."""
    address = run_page(public_url, run)
    return f"<{escaped(address).replace('|', '%7C')}|{escaped(words)}>" if address else escaped(words)
