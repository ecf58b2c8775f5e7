"""First look at a body: is it text, how deep and how large is its JSON, before anything decodes it.

Works without recursion, a piece at a time, with little in each step that keeps other threads waiting.
"""

from __future__ import annotations

import codecs
import re
from itertools import accumulate

from remediator.errors import IntakeError

MAX_DEPTH = 32
MAX_VALUES = 500_000
"""Objects, arrays and their members in one body: what a decoder may have to build."""

_PIECE = 256 * 1024
_MATTERS = b'[]{},"'
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_WITHOUT_MEANING = bytes(set(range(256)) - set(_MATTERS))
_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_LONE = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))


def check_shape(body: bytes) -> None:
    """Raises IntakeError for what is no UTF-8, nested too deep, or of too many values."""
    _check_utf8(body)
    openers = body.count(b"[") + body.count(b"{")
    if openers <= MAX_DEPTH and (len(body) <= MAX_VALUES or openers + body.count(b",") <= MAX_VALUES):
        return
    depth = values = start = 0
    in_string = False
    while start < len(body):
        piece = body[start : start + _PIECE]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and start + len(piece) < len(body):
            piece = piece[:-1]  # a backslash goes with what it escapes
        start += len(piece)
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"").replace(b'\\"', b"")
        marks = piece.translate(None, _WITHOUT_MEANING).replace(b'""', b"")  # pairs change no other's side
        parts = marks.split(b'"')
        outside = b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        brackets = outside.replace(b",", b"")
        values += len(outside) - len(brackets) + len(brackets) // 2
        if values > MAX_VALUES:
            raise IntakeError(
                "body",
                f"has more than {MAX_VALUES:,} values",
                remedy="set max_alerts in the webhook's config",
            )
        depths = list(accumulate(map(_STEP.__getitem__, brackets), initial=depth))
        if max(depths) > MAX_DEPTH:
            raise IntakeError("body", f"is nested more than {MAX_DEPTH} levels deep")
        depth = depths[-1]


def _check_utf8(body: bytes) -> None:
    if body.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _PIECE):
            decoder.decode(body[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise IntakeError("body", f"is not UTF-8: {error.reason}") from error


def mark_lone_surrogates(body: bytes) -> bytes:
    r"""The body with every half of a surrogate pair as ``\u0000``.

    JSON can spell such halves, Unicode text cannot hold them, and a decoder gives up the whole body
    over one. NUL is refused as well, but later: in its own alert, without its siblings. A body with
    a text of more than 256 KiB comes back unmarked.
    """
    if b"\x01" in body:
        return body  # no JSON; and below it stands for an escaped backslash
    pieces = []
    start = 0
    while start < len(body):
        end = len(body)
        if end - start > _PIECE:  # cut before a quote: it is in no escape that matters here
            end = body.rfind(b'"', start + 1, start + _PIECE)
            if end < 0:
                return body  # a text that no limit allows: not worth a stall
        piece = body[start:end].replace(b"\\\\", b"\x01")
        pieces.append(_LONE.sub(rb"\\u0000", piece).replace(b"\x01", b"\\\\"))
        start = end
    return b"".join(pieces)
