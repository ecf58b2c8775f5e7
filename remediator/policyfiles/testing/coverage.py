"""What of a policy no story reached: cases, steps, gates and undos, told from the journals.

An undo that may be left alone (``still``) is reached twice: done, and left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from remediator.core.catalog import Catalog, Risk
from remediator.core.gate import need
from remediator.core.policy import Policy
from remediator.core.steps import base_of
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.testing.seen import Seen

KINDS = ("cases", "steps", "gates", "undos")


@dataclass
class Coverage:
    """Of one policy: what there is to reach, and what was reached. Items by kind.

    idle: steps whose own gate asks nobody, since every case that does them has a gate of its own.
    """

    policy: str
    there: dict[str, tuple[str, ...]]
    idle: tuple[str, ...] = ()
    reached: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})

    @classmethod
    def of(cls, policy: Policy, catalog: Catalog) -> Coverage:
        """Nothing is reached yet."""
        cases = range(1, len(policy.decide) + 1)
        used = {name for case in policy.decide for name in case.steps}
        gates = dict.fromkeys(_gates(policy, catalog))
        there = {
            "cases": tuple(f"case {number}" for number in cases),
            "steps": tuple(name for name in policy.steps if name in used),
            "gates": tuple(gates),
            "undos": tuple(_undos(policy)),
        }
        own = (name for name in used if (gate := policy.steps[name].gate) is not None and gate.votes)
        return cls(policy.name, there, tuple(sorted(name for name in own if name not in gates)))

    def add(self, policy: Policy, seen: Seen) -> None:
        """What a story reached."""
        for run in seen.runs:
            case = 0
            for entry in seen.journals[run.id]:
                match entry.kind:
                    case "decided":
                        case = int(entry.data["case"]) + 1
                        self.reached["cases"].add(f"case {case}")
                    case "started":
                        self.reached["steps"].add(base_of(str(entry.data["step"])))
                    case "gate-opened":
                        steps = [base_of(str(one["step"])) for one in entry.data["steps"]]
                        self.reached["gates"].update(_of_gate(policy, case, steps))
                    case "undone":
                        self.reached["undos"].add(base_of(str(entry.data["step"])))
                    case "still" if not entry.data["holds"] and not entry.data["error"]:
                        self.reached["undos"].add(_left(base_of(str(entry.data["step"]))))

    @property
    def missing(self) -> dict[str, list[str]]:
        """What no story reached, by kind."""
        left = {kind: [one for one in self.there[kind] if one not in self.reached[kind]] for kind in KINDS}
        return {kind: names for kind, names in left.items() if names}

    def counts(self, kind: str) -> tuple[int, int]:
        """Reached, and there."""
        there = self.there[kind]
        return sum(one in self.reached[kind] for one in there), len(there)

    @property
    def percent(self) -> float:
        """Of everything that there is to reach."""
        return percent([self])


def percent(coverages: Iterable[Coverage]) -> float:
    """How much was reached of everything in all of these; 100 where there is nothing to reach."""
    counts = [one.counts(kind) for one in coverages for kind in KINDS]
    there = sum(count for _, count in counts)
    return 100.0 * sum(reached for reached, _ in counts) / there if there else 100.0


def _undos(policy: Policy) -> Iterator[str]:
    for name, step in policy.steps.items():
        if step.undo and not step.undo.none:
            yield name
            if step.undo.still:
                yield _left(name)


def _left(name: str) -> str:
    return f"{name} left alone"


def _gates(policy: Policy, catalog: Catalog) -> Iterator[str]:
    """Those that ask for votes, be it by default: as the core asks for them, case by case."""
    risks = step_risks(Look(policy, catalog))
    for number, case in enumerate(policy.decide, start=1):
        for name in case.steps:
            wanted = need(policy, case, name, risks.get(name, Risk.SAFE), policy.mode)
            if wanted is not None:
                yield from _of_gate(policy, number, list(wanted.steps))


def _of_gate(policy: Policy, case: int, steps: list[str]) -> list[str]:
    """What a gate is known by: its case, where it is written there; else its steps."""
    own = policy.decide[case - 1].gate if case else None
    return [f"case {case}"] if own is not None and own.votes else steps
