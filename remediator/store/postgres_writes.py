"""What a transaction on PostgreSQL has written so far, not sent yet, and the locks that this takes.

A decision is made without locks, on what was seen. Where what it writes depends on that (something
starts, a run opens, a refusal waits), the locks are taken with the write, and what was seen is compared:
if it has changed, the whole work runs again, and takes the locks first. Locks have one order, that of
their keys; whoever holds a later one does not wait for an earlier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from remediator.core.run import Run, Stage
from remediator.ports import Scope
from remediator.store.sqlite_rows import as_json

WATCH = "0watch"
"""Whoever keeps what a watch found. Before all others, so that it may be waited for."""

HALT = "2halt"
"""Shared by all who start something; with ``!`` alone."""


ALERTS = "1alert"
"""Shared by all who decide on some alerts; with ``!`` by whoever decides on very many, alone."""

DOC = 12
"""Which of the arguments of ``run`` is the run itself."""

MOST_ALERTS = 500
"""That one transaction locks one by one: the server has room for some thousands, of all daemons together."""


def alert_keys(fingerprints: Collection[str], held: Collection[str]) -> set[str]:
    """Whoever decides on these alerts, and holds those locks already."""
    if f"{ALERTS}!" in held:
        return set()
    ours = {f"{ALERTS}:{one}" for one in fingerprints}.difference(held)
    if len(ours) + sum(one.startswith(f"{ALERTS}:") for one in held) > MOST_ALERTS:
        return {f"{ALERTS}!"}
    return {ALERTS}.difference(held) | ours if ours else set()


def scope_keys(scope: Scope) -> set[str]:
    """Whoever starts or counts something there."""
    keys = {HALT, f"3policy:{scope.policy}", f"4target:{scope.target}"}
    return keys | {f"5budget:{scope.budget}"} if scope.budget else keys


def waiting_key(waits_for: str) -> str:
    """Whoever waits there, and whoever wakes them: ``halt``, ``policy:…`` or ``target:…``."""
    kind, _, name = waits_for.partition(":")
    return {"policy": f"3policy:{name}", "target": f"4target:{name}"}.get(kind, HALT)


def plain(text: str) -> str:
    """As a column can hold it: PostgreSQL has no text with a NUL; ``doc`` has the value whole."""
    return text.replace("\0", "␀")


def array(texts: Iterable[str]) -> str:
    """An array of texts as the server reads it."""
    quoted = (plain(one).replace("\\", "\\\\").replace('"', '\\"') for one in texts)
    return "{" + ",".join(f'"{one}"' for one in quoted) + "}"


Standing = tuple[bool, bool, bool]


def standing(run: Run) -> Standing:
    """What others see of a run: whether it is open, locks its target, has changes that stand."""
    return run.open, locks(run), run.stage in (Stage.HOLDING, Stage.UNDOING)


def members(run: Run) -> Collection[str]:
    """The alerts by which it is found."""
    return () if run.stage is Stage.CLOSED else run.members


def locks(run: Run) -> bool:
    """Whether its target is taken."""
    return run.locks_target and not run.observes


@dataclass
class Writes:
    """The statements that wait, in order."""

    kinds: list[str] = field(default_factory=list)
    arguments: list[str | None] = field(default_factory=list)
    system: list[str] = field(default_factory=list)  # lines of the system's journal: they come last
    tables: set[str] = field(default_factory=set)  # which are changed
    keys: set[str] = field(default_factory=set)  # locks to take
    bound: bool = False  # what was seen must still be so
    unlocked: list[str] = field(default_factory=list)  # runs that were read without a lock
    runs: list[Run] = field(default_factory=list)  # that are saved, for a breach's words
    rows: dict[str, int] = field(default_factory=dict)  # run → where its last row's arguments begin
    members: dict[str, int] = field(default_factory=dict)  # run → where those of its alerts do

    def put(self, table: str, kind: str, *arguments: object) -> int:
        """One more; returns where its arguments begin."""
        at = len(self.arguments)
        self.tables.add(table)
        self.kinds.append(kind)
        self.arguments += [_text(one) for one in arguments]
        return at

    def put_again(self, at: int, *arguments: object) -> None:
        """What begins there, otherwise."""
        self.arguments[at : at + len(arguments)] = [_text(one) for one in arguments]

    def fill(self, saved: Mapping[str, Run]) -> None:
        """Whole runs are spelled out once, as they are in the end: hundreds of alerts may have joined one."""
        for run_id, at in self.rows.items():
            self.put_again(at + DOC, as_json(saved[run_id]))
        for run_id, at in self.members.items():
            self.put_again(at + 1, array(members(saved[run_id])))

    def first(self, kind: str, *arguments: str) -> None:
        """What must be so before anything is written."""
        self.kinds.insert(0, kind)
        self.arguments[:0] = arguments

    def lines(self, kind: str, *arguments: str) -> None:
        """One more line of the system's journal."""
        self.system += [kind, *arguments]

    def __bool__(self) -> bool:
        return bool(self.kinds or self.system)


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str():
            return plain(value)
        case bytes():
            return value.decode()
        case bool():
            return "t" if value else "f"
    return str(value)
