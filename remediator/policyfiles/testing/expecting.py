"""What a story expects: can it ever be so, and could it fail?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from remediator.core.run import Outcome, Stage, StepState
from remediator.documents import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.testing import shapes
from remediator.policyfiles.testing.models import Expect, GateText, OneOrAll, RefusalText, listed
from remediator.policyfiles.testing.naming import Names, word

BOUNDS = frozenset(
    {"at_once", "breaker", "budget", "changed", "cooldown", "deadline", "debounce", "defect", "expression"}
    | {"fresh", "gate", "halt", "held", "observe", "params", "per_policy", "per_target", "policy"}
    | {"preview", "probe", "recheck", "target", "undo", "windows"}
)
"""What may refuse."""


class Expectations:
    """Asked of each ``expect``."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def expect(self, expect: Expect, place: Place) -> Iterator[Problem]:
        """All that is wrong with one."""
        if not expect.model_fields_set - {"run"}:
            yield Problem(place, "this expects nothing", "say what should be so")
        steps = self._names.policy.steps
        yield from self._empty(expect, place)
        yield from word(expect.outcome, {"open", *map(str, Outcome)}, (*place, "outcome"))
        yield from word(expect.stage, set(map(str, Stage)), (*place, "stage"))
        for key in ("started", "order", "would", "undone", "held", "args", "steps"):
            written = getattr(expect, key)
            if written is not None:
                many = [written] if isinstance(written, str) else written
                yield from self._names.steps(many, (*place, key))
        for name, state in (expect.steps or {}).items():
            yield from word(state, self._states(name), (*place, "steps", name))
        for key in ("undone", "held"):
            yield from self._undoes(getattr(expect, key) or [], (*place, key))
        for name, args in (expect.args or {}).items():
            step = steps.get(shapes.whole(name))
            if step is None:
                continue
            if isinstance(args, dict):
                yield from self._arguments(args, set(step.with_), (*place, "args", name))
            elif "args" not in step.with_:
                problem = f"{name} has no args; write its arguments by name"
                yield Problem((*place, "args", name), problem, f"known: {', '.join(step.with_)}")
        if isinstance(expect.gate, GateText):
            yield from self._gate(expect.gate, (*place, "gate"))
        if isinstance(expect.case, int) and not 1 <= expect.case <= len(self._names.policy.decide):
            yield Problem(
                (*place, "case"), f"the policy has {len(self._names.policy.decide)} cases", "count from 1"
            )
        bound = expect.refused.bound if isinstance(expect.refused, RefusalText) else expect.refused
        yield from word(bound, BOUNDS | {"none"}, (*place, "refused"))

    def _empty(self, expect: Expect, place: Place) -> Iterator[Problem]:
        """What every run would meet: a text of no letters, a map of nothing."""
        refused = expect.refused.reason if isinstance(expect.refused, RefusalText) else []
        texts: list[tuple[Place, OneOrAll | None]] = [(("refused", "reason"), refused)]
        texts += [((key,), getattr(expect, key)) for key in ("reason", "card", "pages")]
        for there, text in texts:
            if text is not None and not all(one.strip() for one in listed(text)):
                yield Problem((*place, *there), "an empty text is part of every text", "write [] for none")
        for key in ("gate", "refused"):
            told = getattr(expect, key)
            if isinstance(told, GateText | RefusalText) and not told.model_fields_set:
                remedy = "write gate: {state: open}" if key == "gate" else "write the bound, or none"
                yield Problem((*place, key), "this expects nothing", remedy)
        for key in ("steps", "args", "held"):
            if getattr(expect, key) == {}:
                yield Problem(
                    (*place, key), "this expects nothing", f"name steps under {key}, or leave it out"
                )
        for name, args in (expect.args or {}).items():
            if args == {}:
                yield Problem((*place, "args", name), "this expects nothing", "name its arguments")

    def _states(self, name: str) -> set[str]:
        """How a step can stand: without a proof it is never proved, without an undo never undone."""
        states, step = set(map(str, StepState)), self._names.policy.steps.get(shapes.whole(name))
        if step is not None and f"{shapes.whole(name)}.verify" not in self._names.probes:
            states -= {"verified", "unverified"}
        if step is not None and f"{shapes.whole(name)}.undo" not in self._names.acts:
            states -= {"undone"}
        return states

    def _undoes(self, names: str | Iterable[str], place: Place) -> Iterator[Problem]:
        for name in [names] if isinstance(names, str) else names:
            whole = shapes.whole(name)
            if whole in self._names.policy.steps and f"{whole}.undo" not in self._names.acts:
                yield Problem(place, f"{name} has no undo: it can never be {place[-1]}", "leave it out")

    def _arguments(self, args: Mapping[str, Any], known: set[str], place: Place) -> Iterator[Problem]:
        for name in args:
            if name not in known:
                problem = f"the step has no argument {name!r}"
                yield Problem((*place, name), problem, nearest(name, known), on_key=True)

    def _gate(self, gate: GateText, place: Place) -> Iterator[Problem]:
        yield from self._names.steps(gate.steps or [], (*place, "steps"))
        for role in gate.votes or {}:
            if role not in self._names.known.catalog.roles:
                problem = f"the config has no role {role!r}"
                yield Problem(
                    (*place, "votes", role),
                    problem,
                    nearest(role, self._names.known.catalog.roles),
                    on_key=True,
                )
