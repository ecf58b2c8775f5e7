"""What is told of stories: a failure with expected and actual side by side, and what happened when."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from remediator.core.expression import format_duration
from remediator.policyfiles.testing.seen import Happening
from remediator.policyfiles.testing.teller import Failure, Told

WIDTH = 100
SIDE = (WIDTH - 8) // 2
MOST_LINES = 40
"""Lines of a timeline; of a longer one the first and the last are told."""

QUIET = frozenset(
    {"labels", "hash", "version", "identity", "intention", "pictures", "readings", "head", "entries"}
)
"""What a timeline leaves out: too long, and no reader looks for it there."""


def failed(told: Told) -> str:
    """A story that went wrong, whole."""
    parts = [f"✗ {told.story.policy.policy.name}: {told.story.name}"]
    parts += ["\n".join(_failure(one)) for one in told.failures]
    parts.append("\n".join(["    What happened, since the start:", *_timeline(told.seen.timeline)]))
    return "\n\n".join(parts)


def _failure(failure: Failure) -> Iterator[str]:
    yield f"  {failure.where}: {failure.what}"
    yield f"    {'expected':<{SIDE}}  actual"
    left, right = (list(_wrapped(text)) for text in (failure.expected, failure.actual))
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ""
        other = right[number] if number < len(right) else ""
        yield f"    {one:<{SIDE}}  {other}".rstrip()


def _wrapped(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield from textwrap.wrap(line, SIDE, drop_whitespace=False, break_on_hyphens=False) or [""]


def _timeline(happenings: list[Happening]) -> Iterator[str]:
    half = MOST_LINES // 2
    left_out = len(happenings) - MOST_LINES
    many = {one.run for one in happenings if one.run}
    shown: Iterable[Happening] = happenings
    if left_out > 0:
        shown = happenings[:half]
    yield from _lines(shown, numbered=len(many) > 1)
    if left_out > 0:
        yield f"      … {left_out} more lines …"
        yield from _lines(happenings[-half:], numbered=len(many) > 1)


def _lines(happenings: Iterable[Happening], *, numbered: bool) -> Iterator[str]:
    for one in happenings:
        run = f"run {one.run}  " if numbered and one.run else ""
        said = " ".join(part for part in (one.what, facts(one.data)) if part)
        yield _cut(f"    {_clock(one.after):>9}  {run}{said}")


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH + 20 else f"{line[: WIDTH + 18]} …"


def facts(data: Mapping[str, Any]) -> str:
    """A journal's line in short: ``step=pause, holds=false``."""
    told = (
        f"{key}={_value(value)}"
        for key, value in data.items()
        if key not in QUIET and value not in ("", None)
    )
    return ", ".join(told)


def _value(value: Any) -> str:
    match value:
        case timedelta():
            return _clock(value)
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_value, value)) + "]"
    return str(value)


def _clock(after: timedelta) -> str:
    return format_duration(after) if after else "0s"
