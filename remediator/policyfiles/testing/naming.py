"""What a story may name: the steps, probes and undos of its policy, and what the config has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.documents import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.statements import columns
from remediator.policyfiles.checks.uses import Look, Problem, Use
from remediator.policyfiles.testing import shapes


@dataclass(frozen=True)
class Known:
    """What the config has."""

    catalog: Catalog
    people: frozenset[str]


@dataclass(frozen=True)
class Names:
    """What one policy has."""

    policy: Policy
    known: Known

    @cached_property
    def probes(self) -> dict[str, shapes.Reads]:
        """What it reads, by the names that stories use."""
        return shapes.probes(self.policy)

    @cached_property
    def acts(self) -> set[str]:
        """Its steps, and ``STEP.undo`` of those that have one."""
        steps = self.policy.steps
        return {*steps, *(f"{name}.undo" for name, step in steps.items() if step.undo and not step.undo.none)}

    def columns(self, probe: str) -> frozenset[str]:
        """What a probe's SELECT names; empty where it does not tell, or is none."""
        step, _, what = probe.rpartition(".")
        verify: Mapping[str, Place] = {
            "verify": ("steps", step, "verify"),
            "before": ("steps", step, "verify"),
            "undo": ("steps", step, "undo", "verify"),
            "still": ("steps", step, "undo", "still"),
        }
        use = self._uses.get(verify.get(what, ("diagnose", probe)))
        return columns(self._look, use) if use is not None else frozenset()

    @cached_property
    def _look(self) -> Look:
        return Look(self.policy, self.known.catalog)

    @cached_property
    def _uses(self) -> dict[Place, Use]:
        return {use.place: use for use in self._look.uses}

    def person(self, name: str, place: Place) -> Iterator[Problem]:
        """Somebody of the config."""
        if name not in self.known.people:
            yield Problem(place, f"the config knows nobody called {name!r}", nearest(name, self.known.people))

    def steps(self, written: Iterable[str], place: Place) -> Iterator[Problem]:
        """Steps, or items of theirs."""
        yield from named(written, self.policy.steps, "step", place)


def named(written: Iterable[str], known: Iterable[str], what: str, place: Place) -> Iterator[Problem]:
    """Names, each of which must be known; of an item, the name of the whole."""
    known = set(known)
    for number, name in enumerate(written):
        if shapes.whole(name) not in known:
            keyed = isinstance(written, Mapping)
            there = (*place, name) if keyed else (*place, number) if isinstance(written, list) else place
            yield Problem(there, f"the policy has no {what} {name!r}", nearest(name, known), on_key=keyed)


def blanks(part: Any, place: Place) -> Iterator[Problem]:
    """Keys behind which nothing is written: they would mean nothing."""
    match part:
        case BaseModel():
            for name in part.model_fields_set:
                inner = getattr(part, name)
                if inner is None:
                    remedy = "write what is meant, or take the key out; [] or none is none of them"
                    yield Problem((*place, name), f"nothing stands behind {name!r}", remedy, on_key=True)
                yield from blanks(inner, (*place, name))
        case list():
            for number, inner in enumerate(part):
                yield from blanks(inner, (*place, number))


def word(one: str | None, known: Iterable[str], place: Place) -> Iterator[Problem]:
    """A word out of a list."""
    if one is not None and one not in known:
        yield Problem(place, f"{one!r} can never be", nearest(one, known))
