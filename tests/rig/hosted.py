"""A test's service in a thread of the tests' own process: there at once. For those that nobody kills."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from tests.rig.served import served

_Said = TypeVar("_Said")


@contextmanager
def hosted(make: Callable[[int], web.Application]) -> Iterator[str]:
    """Serve what is made for a port on it, and end it: whoever still waits for an answer is cut off.

    Yields its base URL, without a slash at the end.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    serving = served(make(listener.getsockname()[1]), listener=listener)
    try:
        yield _in_the_thread(serving.__aenter__())
    finally:
        _in_the_thread(serving.__aexit__(None, None, None))
        listener.close()


def _in_the_thread(work: Coroutine[Any, Any, _Said]) -> _Said:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(60)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One thread for all that a worker hosts, as long as it lives."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="hosted", daemon=True).start()
    return loop
