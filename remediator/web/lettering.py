"""Text from alerts, probes and people, made fit for a page: escaped, and nothing in it hides.

What has no shape of its own (control characters, bidirectional overrides, zero-width letters) and
look-alikes inside a Latin word are spelled out and marked, so that what a person approves is what
they see.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from remediator.core.canonical import inert
from remediator.core.letters import code_point, look_alikes, plainly, unseen

_ADDRESS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]+")

MOST = 4000
"""Characters of one text on a page; what is left out is told."""


def shown(value: object, *, lines: bool = False, most: int = MOST) -> Markup:
    """Any text, safe and honest. ``lines`` keeps its line breaks."""
    if isinstance(value, Markup):
        return value
    text = value if isinstance(value, str) else str(value)
    left = len(text) - most
    if left > 0:
        text = text[:most]
    body = escape(text) if text.isascii() and text.isprintable() else _marked(text, lines=lines)
    return body + Markup(' <i class="cut">… {} more characters</i>').format(left) if left > 0 else body


def whole(value: object) -> Markup:
    """`shown`, with its line breaks and to its last letter: what people approve is never cut."""
    text = value if isinstance(value, str) else as_json(value)
    return shown(text, lines=True, most=len(text))


def plain(value: object) -> str:
    """The same as bare text, for titles and for what the script sets as text."""
    return plainly(str(value))


def _marked(text: str, *, lines: bool) -> Markup:
    disguised = look_alikes(text)
    pieces: list[Markup] = []
    plain: list[str] = []
    for place, letter in enumerate(text):
        if place not in disguised and (not unseen(letter) or (lines and letter == "\n")):
            plain.append(letter)
            continue
        pieces.append(escape("".join(plain)))
        plain.clear()
        pieces.append(_spelled_out(letter))
    pieces.append(escape("".join(plain)))
    return Markup("<bdi>{}</bdi>").format(Markup("").join(pieces))


def _spelled_out(letter: str) -> Markup:
    name = unicodedata.name(letter, "control character")
    return Markup('<b class="unseen" title="{}">{}</b>').format(name, code_point(letter))


def link(address: str, words: str = "") -> Markup:
    """A link when the address is http(s) and nothing else; otherwise the text alone."""
    if not _is_web(address):
        return shown(words or address)
    return Markup('<a href="{}" rel="noreferrer noopener nofollow" target="_blank">{}</a>').format(
        address, shown(words or address, most=200)
    )


def _is_web(address: str) -> bool:
    if len(address) > 2000 or not _ADDRESS.fullmatch(address):
        return False
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme.lower() in ("http", "https") and bool(parts.hostname)


def as_json(value: object, *, indent: int | None = None) -> str:
    """Any value as JSON, as people read it."""
    return json.dumps(inert(value), ensure_ascii=False, indent=indent)


def facts(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A nested value, flat: ``row.name`` → ``Teranga``. Of a query, its first row and the count."""
    if "row" in value:
        value = {"row": value["row"], **({"count": value["count"]} if "count" in value else {})}
    if value.get("json") is not None:
        value = {name: item for name, item in value.items() if name != "text"}  # the same, unread
    return list(_facts("", value, 0))


def _facts(name: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < 3:
        for key, item in value.items():
            yield from _facts(f"{name}.{key}" if name else str(key), item, depth + 1)
    else:
        yield name, value if isinstance(value, str) else as_json(value)
