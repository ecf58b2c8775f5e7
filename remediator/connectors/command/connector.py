"""Commands on this machine: only those that the config declares, word by word, never through a shell.

Each is started by a keeper, a small process of its own which ends it and its whole group when its time is
up, when the daemon stops, and when the daemon dies.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from remediator.connectors.command.running import ENDING, run
from remediator.connectors.command.settings import LONGEST, CommandSettings, DeclaredCommand
from remediator.connectors.declared import COMMAND, SLOTS, found, spelled
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import Kind, Operation, Risk
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

__all__ = ["KIND", "READ", "RUN", "CommandSettings", "Commands"]

READ = Operation(
    name="command.read",
    kind=Kind.PROBE,
    doc="Run a declared command that only reads. `lines` of what it prints; `json` is null where it is none.",
    params={"command": COMMAND, "slots": SLOTS},
    longest=LONGEST,
    reads=("exit", "out", "lines", "json"),
)

RUN = Operation(
    name="command.run",
    kind=Kind.ACTION,
    doc="Run a declared command, once. Its exit status says whether it was done; most others are unknown.",
    params={"command": COMMAND, "slots": SLOTS},
    risk=Risk.DESTRUCTIVE,
    settle=timedelta(seconds=ENDING),
    longest=LONGEST,
    previews=True,
)


class Commands(Unoffered):
    """The commands of one connection."""

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`exit`, `out`, `lines` and `json`."""
        try:
            command, words = self._command(call, reads=True)
        except ValueError as error:
            raise ConnectorError(call.connection, f"not asked: {error}") from None
        ended = await run(command, words, timeout)
        if ended.never:
            raise ConnectorError(call.connection, f"not asked: {ended.never}")
        if ended.status not in command.exits.done:
            raise ConnectorError(call.connection, f"{call.args['command']}: {ended.words}")
        if ended.cut:
            raise ConnectorError(
                call.connection,
                f"{call.args['command']} prints more than {command.output} bytes",
                remedy="let it print less, or raise its output",
            )
        return ended.shown

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """The very words."""
        if call.operation != RUN.name:
            return await super().preview(call, timeout=timeout)
        try:
            command = found(self._settings.commands, call.args.get("command"))
            words = command.words(call.args.get("slots"), shown=True)
        except ValueError as error:
            raise ConnectorError(call.connection, f"never started: {error}") from None
        if problem := command.unsafe():
            raise ConnectorError(call.connection, f"never started: {problem}")
        return Picture(0, f"runs {spelled(words)} in {command.cwd}")

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Run it, once."""
        try:
            command, words = self._command(call, reads=False)
        except ValueError as error:
            return Refused(f"never started: {error}")
        ended = await run(command, words, timeout, order.late)
        if ended.never:
            return Refused(f"never started: {ended.never}")
        if ended.status in command.exits.done:
            return Done({**ended.shown, **({"cut": True} if ended.cut else {})})
        return Refused(ended.words) if ended.status in command.exits.refused else Unknown(ended.words)

    def _command(self, call: Call, *, reads: bool) -> tuple[DeclaredCommand, list[str]]:
        """What is to be run. Raises ValueError."""
        command = found(self._settings.commands, call.args.get("command"))
        if command.reads is not reads:
            raise ValueError("it changes something" if reads else "it is declared as one that only reads")
        if problem := command.unsafe():
            raise ValueError(problem)
        return command, command.words(call.args.get("slots"))


KIND = ConnectorKind(
    name="command",
    doc="Commands of this machine, which the config declares.",
    operations=(READ, RUN),
    settings=CommandSettings,
    make=Commands,
)
