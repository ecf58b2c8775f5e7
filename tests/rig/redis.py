"""A real Redis on loopback, in memory only: one for many tests, which is emptied before each."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rig.components import program
from tests.rig.processes import Child, Program, scratch, start


def _ponged(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        link.sendall(b"PING\r\n")
        return link.recv(64).startswith((b"+PONG", b"-NOAUTH"))


def recipe(folder: Path, *options: str) -> Program:
    """A Redis that keeps nothing, with further options such as ``--maxmemory 10mb``."""
    return Program(
        "redis",
        lambda port: [
            program("redis"),
            *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", *options),
        ],
        is_ready=_ponged,
        unprivileged=True,
    )


@contextmanager
def running_redis(*options: str) -> Iterator[Child]:
    """Start one, and end it by its id."""
    with scratch("redis") as folder, start(recipe(folder, *options), folder) as child:
        yield child
