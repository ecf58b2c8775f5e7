"""What Redis answers, in plain values."""

from __future__ import annotations

import math
import re
from typing import Any

from remediator.core.calls import printable
from remediator.core.cutting import shortened

MOST_BYTES = 64 * 1024
"""Of one value that is read, or of what a command answers."""


def facts(answer: object) -> dict[str, Any]:
    """INFO's lines as a map; `keys=3,expires=0` as a map in it."""
    told: dict[str, Any] = {}
    for line in shortened(str(answer), 16 * MOST_BYTES).splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            told[name] = _parts(value)
    return told


def _parts(value: str) -> Any:
    pairs = [one.partition("=") for one in value.split(",")]
    if "=" in value and all(equals for _, equals, _ in pairs):
        return {name: number(part) for name, _, part in pairs}
    return number(value)


_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def number(value: Any) -> Any:
    """A text that is a plain number, as one."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    return float(value) if "." in value else int(value)


def kept(reply: Any) -> Any:
    """What a command answered, as it is journalled: bounded, and nothing that JSON has no word for."""
    match reply:
        case None | bool() | int():
            return reply
        case float():
            return reply if math.isfinite(reply) else str(reply)
        case str():
            return shortened(reply, MOST_BYTES).replace("\0", "\N{REPLACEMENT CHARACTER}")
        case list():
            return [kept(one) for one in reply[:1000]]
    return printable(str(reply))
