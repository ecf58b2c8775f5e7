"""A request as one text, so that whoever changes bytes changes headers and body alike.

Lines ``Name: value``, an empty line, the body. Without an empty line all of it is body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict, CIMultiDictProxy

Headers = dict[str, str]


def written(headers: Headers, body: bytes) -> bytes:
    """As a text."""
    lines = "".join(f"{name}: {value}\n" for name, value in headers.items() if value)
    return lines.encode("utf-8", "surrogateescape") + b"\n" + body


@dataclass(frozen=True)
class Request:
    """As much of aiohttp's as our handlers ask of it. aiohttp's own parser is not what is fuzzed here."""

    headers: CIMultiDictProxy[str]
    content: StreamReader
    content_length: int | None
    body: bytes
    method: str = "POST"
    remote: str = "127.0.0.1"


def read(
    data: bytes,
    usual: Headers,
    loop: asyncio.AbstractEventLoop,
    sent: Callable[[bytes], bytes] = bytes,
) -> Request:
    """The request of a text. usual: headers where it has none of that name; sent: the body as it is sent."""
    head, empty, body = data.partition(b"\n\n")
    if data.startswith(b"\n"):
        head, empty, body = b"", b"\n", data[1:]
    if not empty:
        head, body = b"", data
    body = sent(body)
    headers: CIMultiDict[str] = CIMultiDict()
    for line in head.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers.add(name.strip().decode("latin-1"), value.strip().decode("utf-8", "surrogateescape"))
    for usually, text in usual.items():
        headers.setdefault(usually, text)
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    for piece in (body[:100], body[100:]):
        if piece:
            content.feed_data(piece)
    content.feed_eof()
    length = None if "Transfer-Encoding" in headers else len(body)
    return Request(CIMultiDictProxy(headers), content, length, body)
