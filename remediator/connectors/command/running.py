"""One command run by its keeper, from here: started, listened to, and surely over at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remediator.connectors.command import keeper
from remediator.connectors.command.settings import DeclaredCommand
from remediator.connectors.decoding import as_json
from remediator.core.calls import printable
from remediator.core.cutting import SEAM, broken_off, ending

ENDING = 2 * keeper.GRACE + 1
"""Seconds in which a keeper has ended everything, once it was told to."""
MOST_ERRORS = 4096
"""Bytes of what a command writes to standard error: the last ones."""
LAST_WORDS = 0.5
"""Seconds for what is still in the pipes: whoever left the group may hold them open for ever."""


@dataclass(frozen=True)
class Ended:
    """How it went. never: why it was not even started; told: the keeper's words; cut: it printed too much."""

    never: str = ""
    told: dict[str, Any] | None = None
    out: bytes = b""
    errors: bytes = b""
    cut: bool = False

    @property
    def status(self) -> int | None:
        """Its exit status; None where it was ended."""
        return (self.told or {}).get("exit")

    @property
    def shown(self) -> dict[str, Any]:
        """As expressions see it."""
        text = self.out.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
        text = broken_off(text) if self.cut else text
        return {"exit": self.status, "out": text, "lines": text.splitlines(), "json": as_json(text)}

    @property
    def words(self) -> str:
        """What ended it, and the last of what it said."""
        match self.told:
            case {"exit": status}:
                ended = f"it ended with {status}"
            case {"signal": int(number)}:
                ended = f"it was ended by {_name(number)}"
            case {"stopped": why}:
                ended = f"it was ended: {why}"
            case _:
                ended = "it was ended together with its keeper"
        said = " ".join((self.errors or self.out).decode("utf-8", "replace").split())
        lacking = SEAM if len(self.errors) >= MOST_ERRORS else ""
        return f"{ended}: {printable(ending(lacking + said))}" if said else ended


async def run(
    command: DeclaredCommand, words: list[str], timeout: float, late: Callable[[], str] = lambda: ""
) -> Ended:
    """Run it, once. Whatever happens: when this is left it has ended, and its group with it.

    timeout: seconds; late: why it may not be started any more, asked immediately before.
    """
    report, tells = os.pipe()
    listening = _Listening(command.output)
    try:
        try:
            transport = await _keeper(listening, tells)
        finally:
            os.close(tells)
        if isinstance(transport, str):
            return Ended(never=transport)
        told: dict[str, Any] = {}
        try:
            if why := late():
                return Ended(never=why)
            within = min(timeout, command.within.total_seconds())
            line = transport.get_pipe_transport(keeper.LINE)
            assert isinstance(line, asyncio.WriteTransport)
            line.write(_wanted(command, words, within))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within + ENDING):
                    await listening.exited.wait()
        finally:
            told.update(await _over(transport, listening, report))
    finally:
        os.close(report)
    if "failed" in told:
        return Ended(never=str(told["failed"]))
    return Ended("", told, bytes(listening.out), bytes(listening.errors), listening.cut)


async def _keeper(listening: _Listening, tells: int) -> asyncio.SubprocessTransport | str:
    """A keeper that waits for its command; or why there is none."""
    try:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: listening,
            *(sys.executable, "-I", "-S", "-B", "-X", "utf8", keeper.__file__, str(tells)),
            pass_fds=(tells,),
            start_new_session=True,
            env={},
            cwd="/",
        )
    except OSError as error:
        return f"no keeper could be started: {error.strerror}"
    return transport


def _wanted(command: DeclaredCommand, words: list[str], within: float) -> bytes:
    wanted = {
        "argv": words,
        "env": {name: word.filled({}) for name, word in command.env.items()},
        "cwd": str(command.cwd),
        "seconds": within,
        "grace": keeper.GRACE,
        "memory": command.memory,
        "processes": command.processes,
    }
    return json.dumps(wanted).encode() + b"\n"


class _Listening(asyncio.SubprocessProtocol):
    """Keeps the first of what is printed and the last of what is complained about."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.out, self.errors = bytearray(), bytearray()
        self.cut = False
        self.exited, self.silent = asyncio.Event(), asyncio.Event()
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.cut = self.cut or len(self.out) + len(data) > self._most
            self.out += data[: self._most - len(self.out)]
        else:
            self.errors += data
            del self.errors[:-MOST_ERRORS]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()


async def _over(transport: asyncio.SubprocessTransport, listening: _Listening, report: int) -> dict[str, Any]:
    """Close the line, so that the keeper ends the command; or end both. Returns what the keeper told."""
    told: dict[str, Any] = {}
    try:
        line = transport.get_pipe_transport(keeper.LINE)
        if line is not None:
            line.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                await listening.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await listening.silent.wait()
    finally:
        transport.close()  # kills a keeper that is still there
        told |= _all_of(report)
        if told.keys() == {"pid"}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(told["pid"], signal.SIGKILL)
    return told


def _all_of(report: int) -> dict[str, Any]:
    """What the keeper has told so far."""
    os.set_blocking(report, False)
    said = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(report, 65536):
            said += more
    return {name: value for line in said.splitlines() for name, value in json.loads(line).items()}


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
