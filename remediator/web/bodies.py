"""Reading what a client sends: bounded, typed strictly, and refused with a line that says why."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from remediator.web.problems import Problem

MOST = 64 * 1024
"""Bytes of a JSON body."""

T = TypeVar("T", bound=msgspec.Struct)


async def read(request: web.Request, shape: type[T]) -> T:
    """The body as this shape. Raises Problem 400 (not it), 413 (too large) or 415 (packed)."""
    body = await _bytes(request)
    if not body.strip() and not msgspec.structs.fields(shape):
        return shape()
    try:
        return msgspec.json.decode(body, type=shape, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"this body cannot be taken: {_told(error)}") from error


def json_only(request: web.Request) -> None:
    """Changes come as ``application/json``: no form of another site can send that unasked.

    A request without a body, of which nobody says a type, is no form.
    """
    nothing = request.content_type == "application/octet-stream" and not request.body_exists
    if not nothing and request.content_type != "application/json":
        raise Problem(415, "send Content-Type: application/json")


async def _bytes(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "send the body as it is, without Content-Encoding")
    if (request.content_length or 0) > MOST:
        raise _too_large()
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MOST:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, f"the body is larger than {MOST // 1024} KiB", {"Connection": "close"})


def _told(error: Exception) -> str:
    text = str(error).replace("`", "'")
    return text[:1].lower() + text[1:300]


# ── Queries ───────────────────────────────────────────────────────────────────────────────────────


class Query:
    """The parameters after the question mark; each known, given once, printable."""

    def __init__(self, request: web.Request, *known: str) -> None:
        """Raises Problem 400 for one that is not known."""
        for name in request.query:
            if name not in known:
                told = ", ".join(known) or "none"
                raise Problem(400, f"{name[:50]!a} is not a parameter here; known: {told}")
        self._query = request.query

    def text(self, name: str) -> str:
        """Its value, or ""."""
        values = self._query.getall(name, [])
        if len(values) > 1:
            raise Problem(400, f"{name} is given {len(values)} times")
        value = values[0] if values else ""
        if len(value) > 300 or not value.isprintable():
            raise Problem(400, f"{name} is too long or holds control characters")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of these, or "" where it is not given."""
        value = self.text(name)
        if name in self._query and value not in choices:
            raise Problem(400, f"{name} is one of {', '.join(choices)}")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to ``most``."""
        value = self.text(name)
        if name not in self._query:
            return default
        if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= most):
            raise Problem(400, f"{name} is a whole number from 1 to {most}")
        return int(value)
