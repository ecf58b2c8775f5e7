"""Inputs out of inputs: torn, doubled, spliced, with words of their language in wrong places."""

from __future__ import annotations

import re
from random import Random

from tests.fuzz.target import Target

_TOKEN = re.compile(rb"\w+|[^\w\s]")


def mutated(data: bytes, target: Target, chance: Random) -> bytes:
    """Some changes of these bytes."""
    text = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 1, 2, 2, 3))):
        _change(text, target, chance)
    return bytes(text[: target.longest])


def _change(text: bytearray, target: Target, chance: Random) -> None:
    at = chance.randrange(len(text) + 1)
    length = chance.choice((1, 1, 2, 4, 8, 32))
    other = chance.choice(target.seeds)
    lines = other.splitlines(keepends=True)
    match chance.randrange(8):
        case 0:
            del text[at : at + length]
        case 1:
            text[at:at] = chance.choice(target.words)
        case 2:  # a word in the place of another
            if found := _TOKEN.search(text, at):
                text[found.start() : found.end()] = chance.choice(target.words)
        case 3:
            text[at:at] = text[at : at + length] * chance.choice((1, 1, 3, 30))
        case 4:
            begin = chance.randrange(len(other) + 1)
            text[at:at] = other[begin : begin + 4 * length]
        case 5 if len(lines) > 1:  # a line of another, as a line
            start = text.rfind(b"\n", 0, at) + 1
            text[start:start] = chance.choice(lines)
        case 6 if b"\n" in text:  # a line less
            start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
            del text[start : end + 1 if end >= 0 else len(text)]
        case _:
            text[at : at + 1] = bytes([chance.randrange(256)])
