"""People: how they are reached, and what they may ask of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from remediator.core.run import Page, Question, Run
from remediator.ports.rows import CardRef


@dataclass(frozen=True)
class Told:
    """What came of trying to tell somebody something."""

    ok: bool
    road: str  # slack | webhook
    detail: str = ""


class Notifier(Protocol):
    """A way to reach people."""

    road: str

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        """Tell these people; never raises for an unreachable road."""
        ...

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        """Show or update a gate's card. None when this road has no cards."""
        ...

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        """The same, for what people are asked about an unknown outcome."""
        ...

    async def withdraw(self, ref: CardRef) -> None:
        """A card that another replica has posted, too: take this one back. Best effort."""
        ...


@dataclass(frozen=True)
class Answer:
    """What came of something that a person asked for."""

    ok: bool
    text: str  # one line for them
    status: int = 200  # as HTTP would say it: 404 unknown, 409 too late or not counted
    data: dict[str, Any] | None = None


@dataclass(frozen=True)
class Reloaded:
    """What another set of policies changed: in one line, and in words, what was loosened first."""

    what: str
    changes: tuple[str, ...] = ()
    version: str = ""  # of the whole set that runs now


class Desk(Protocol):
    """Everything that people may ask of the daemon, whichever door they come through.

    ``by`` is a person of the config, already known to be who they are.
    """

    async def vote(
        self, gate: str, *, by: str, approve: bool, via: str, reason: str = "", seen: str = ""
    ) -> Answer:
        """Approve or deny. ``seen``: the start of the hash that the person was shown, if known."""
        ...

    async def ask_again(self, gate: str, *, by: str, via: str) -> Answer:
        """A gate expired: decide its alerts anew, now. ``data`` holds the run that asks."""
        ...

    async def start(self, policy: str, params: Mapping[str, Any], *, by: str, key: str = "") -> Answer:
        """Start a run by hand. ``key``: the same one never starts a second. ``data`` holds the run's id."""
        ...

    async def settle(
        self, run: str, *, by: str, verdict: str, reason: str = "", via: str = "api", question: str = ""
    ) -> Answer:
        """Say what became of an unknown outcome: happened | not-happened | handled.

        ``question``: the one that the person was shown; "" where the run has asked only one. One that is
        settled is not settled again.
        """
        ...

    async def halt(self, *, by: str, scope: str, reason: str, undos: bool = False) -> Answer:
        """Throw the kill switch. ``data`` holds the halt's id."""
        ...

    async def resume(self, halt: str, *, by: str) -> Answer:
        """Lift a halt."""
        ...

    async def acknowledge(self, page: str, *, by: str) -> Answer:
        """A page has reached somebody."""
        ...

    async def reload(self, *, by: str) -> Answer:
        """Read the policies again, all or nothing."""
        ...


class Feed(Protocol):
    """Where those who watch hear of changes."""

    def watch(self, changed: Callable[[str], None]) -> Callable[[], None]:
        """Call this with a run's id after each change; returns how to stop."""
        ...
