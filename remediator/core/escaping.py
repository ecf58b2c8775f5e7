"""How a value inside a text becomes inert: one function per receiver. Called by templates only.

A value must stay inside the place that the policy's author gave it: one path segment, one quoted
PromQL string, one piece of a Slack message. Where that cannot be promised, there is no text.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote, unquote_to_bytes

import re2

from remediator.core.durations import format_duration
from remediator.core.operators import Wrong, encodable, kind_of, plain_number, text_of


def path_segment(value: object) -> str:
    """One segment of a URL's path, or one value of its query: percent-encoded whole."""
    if isinstance(value, list | tuple | dict):
        raise Wrong(f"{kind_of(value)} cannot stand in a path")
    text = text_of(value)
    if text in ("", ".", ".."):
        raise Wrong(f"{text!r} would change the path")
    return quote(encodable(text), safe="")


_PATH_SAFE = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")


def checked_path(path: object) -> str:
    """A URL's path as it will stand on the wire. Nothing is normalised: what was approved is what is sent.

    Raises ValueError.
    """
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError("the path must begin with /")
    if not _PATH_SAFE.fullmatch(path):
        raise ValueError("the path holds a character that must be percent-encoded")
    # What a lax server may make of it: one decoding, backslashes as slashes.
    decoded = unquote_to_bytes(path)
    if decoded.count(b"/") != path.count("/") or b"\\" in decoded:
        raise ValueError("the path hides a slash in a segment")
    if any(byte < 0x20 or byte == 0x7F for byte in decoded):
        raise ValueError("the path holds a control character")
    parts = decoded.split(b"/")[1:]
    if any(part in (b".", b"..") or part.startswith((b"..;", b".;")) for part in parts) or b"" in parts[:-1]:
        raise ValueError("the path holds an empty segment, . or ..")
    return path


def never(value: object) -> str:
    """Where the receiver would run what it is given, no value may stand."""
    raise Wrong(f"no expression is allowed here, not even for {kind_of(value)}")


def mrkdwn(value: object) -> str:
    """Slack's three control characters escaped: no link, no mention can be made from data."""
    return text_of(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ── PromQL ──────────────────────────────────────────────────────────────────────────────────────

_OPENING = re.compile("[\"'`#]")
_SPECIAL = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


class PromQL:
    """Reads a query's literal text piece by piece, and escapes values for where they stand."""

    def __init__(self) -> None:
        self._inside = ""  # the quote, the backtick or the # that was opened last; empty outside
        self._regex = False
        self._tail = ""  # the end of the text so far: does =~ stand before a quote?
        self._dangling = False  # the text so far ends within an escape

    def literal(self, text: str) -> str:
        """Follow the author's own text, which stays as it is."""
        at = 0
        while at < len(text):
            at = self._close(text, at) if self._inside else self._open(text, at)
        if not self._inside:
            self._tail = (self._tail + text)[-256:]
        return text

    def _open(self, text: str, at: int) -> int:
        found = _OPENING.search(text, at)
        if found is None:
            return len(text)
        before = (self._tail + text[: found.end() - 1]).rstrip()
        self._inside = found.group()
        self._regex = self._inside in "\"'" and before.endswith(("=~", "!~"))
        return found.end()

    def _close(self, text: str, at: int) -> int:
        while at < len(text):
            letter = text[at]
            at += 1
            if self._dangling:
                self._dangling = False
            elif letter == "\\" and self._inside in "\"'":
                self._dangling = True
            elif letter == ("\n" if self._inside == "#" else self._inside):
                self._inside = ""
                self._tail = ""
                break
        return at

    def value(self, value: object) -> str:
        """The value, escaped for the place that the text so far leads to."""
        match self._inside:
            case "":
                self._tail += "0"
                return _outside(value)
            case "`":
                raise Wrong("no value can be escaped inside backticks; use double quotes")
            case "#":
                raise Wrong("a value stands in a comment")
        if self._dangling:
            raise Wrong("a backslash stands before the value")
        text = encodable(text_of(value))
        return _go_text(re2.escape(text) if self._regex else text, self._inside)


def _outside(value: object) -> str:
    match value:
        case bool():
            pass
        case int() | float() | Decimal():
            return plain_number(value)
        case timedelta():
            return format_duration(value)
    raise Wrong(f"outside quotes only numbers and durations may stand, not {kind_of(value)}")


def _go_text(text: str, quoted: str) -> str:
    special = _SPECIAL | {quoted: "\\" + quoted}
    return "".join(
        special.get(letter) or (f"\\x{ord(letter):02x}" if letter < " " or letter == "\x7f" else letter)
        for letter in text
    )
