"""What the journal of one run tells, read without the engine's help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise, permutations

from remediator.core.catalog import Risk
from remediator.core.policy import Policy
from remediator.core.steps import base_of
from remediator.ports import JournalEntry
from tests.core.campaign import ROLES
from tests.sim.policies import POLICIES

BY_NAME = {policy.name: policy for policy in POLICIES}


@dataclass
class Told:
    """What the journal of one run tells."""

    id: str
    lines: list[JournalEntry]
    policy: Policy
    target: str
    mode: str
    by: str
    opened: datetime
    closed: datetime | None = None
    outcome: str = ""
    begun: list[JournalEntry] = field(default_factory=list)  # "started", in order

    @property
    def campaign(self) -> str:
        return self.target.partition("/")[2]

    @property
    def changes(self) -> list[JournalEntry]:
        """The starts of its steps that are not safe."""
        return [one for one in self.begun if one.data["risk"] != Risk.SAFE]

    @property
    def first_change(self) -> JournalEntry | None:
        return next(iter(self.changes), None)

    def when(self, *kinds: str, step: str = "") -> list[datetime]:
        return [
            one.at for one in self.lines if one.kind in kinds and (not step or one.data.get("step") == step)
        ]

    @property
    def spans(self) -> list[tuple[datetime, datetime]]:
        """When it keeps all others from acting on its target."""
        found: list[tuple[datetime, datetime]] = []
        since: datetime | None = None
        for line in self.lines:
            starts = line.kind == "undo-started" or (
                line.kind == "started" and line.data["risk"] != Risk.SAFE
            )
            if starts and since is None:
                since = line.at
            elif line.kind in ("holding", "closed", "undo-waits") and since is not None:
                found.append((since, line.at))
                since = None
        return found if since is None else [*found, (since, datetime.max.replace(tzinfo=since.tzinfo))]


def told(name: str, lines: list[JournalEntry]) -> Told:
    opened = next(one for one in lines if one.kind == "opened")
    closed = next((one for one in lines if one.kind == "closed"), None)
    return Told(
        id=name,
        lines=lines,
        policy=BY_NAME[opened.data["policy"]],
        target=opened.data["target"],
        mode=opened.data["mode"],
        by=str(opened.data["by"]).removeprefix("person:"),
        opened=opened.at,
        closed=closed.at if closed is not None else None,
        outcome=closed.data["outcome"] if closed is not None else "",
        begun=[one for one in lines if one.kind == "started"],
    )


def tells(line: JournalEntry, step: str) -> bool:
    """Does it tell what became of a step?"""
    kinds = ("finished", "unknown", "found-out", "settled")
    return line.kind in kinds and line.data["step"] == step and not line.data.get("undo")


def is_done(line: JournalEntry) -> bool:
    """By what the world answered, that is."""
    return line.data.get("result") == "done" or line.data.get("became") == "final"


def is_not_done(line: JournalEntry) -> bool:
    return line.data.get("result") == "refused" or line.data.get("became") == "nothing"


def asked(run: Told) -> frozenset[str]:
    """Whom a run's policy asks for votes."""
    gates = [*(one.gate for one in run.policy.decide), *(one.gate for one in run.policy.steps.values())]
    return frozenset().union(*(ROLES[role] for one in gates if one is not None for role in one.votes or ()))


def votes_of(run: Told, start: JournalEntry) -> dict[str, int] | None:
    """Whom a step needs by the policy's text; None when nobody."""
    name, risk = base_of(start.data["step"]), start.data["risk"]
    case = next(one for one in run.policy.decide if name in one.steps)
    for gate in (case.gate, run.policy.steps[name].gate):
        if gate is not None and gate.votes:
            return dict(gate.votes)
    waived = any(gate is not None and gate.waived for gate in (case.gate, run.policy.steps[name].gate))
    needs = run.mode == "suggest" or (risk != Risk.SAFE and not waived)
    return {"oncall": 1} if needs else None


def fill(wanted: dict[str, int], approvers: Iterable[str]) -> bool:
    """Can distinct people fill every place? Tried one by one: they are few."""
    places = [role for role, count in wanted.items() for _ in range(count)]
    return any(
        all(person in ROLES[role] for person, role in zip(people, places, strict=True))
        for people in permutations(sorted(approvers), len(places))
    )


def overlaps(spans: list[tuple[datetime, datetime, str]]) -> Iterator[tuple[str, str]]:
    ordered = sorted(spans)
    for (_, until, one), (since, _, other) in pairwise(ordered):
        if since < until and one != other:
            yield one, other
