"""Checks of gates: what would start unasked, and votes that nobody can give.

A step that has no gate of its own may still ask: the on-call, by default. What is said of written gates is
said of that one too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from remediator.core.catalog import Risk
from remediator.core.gate import DEFAULT_VOTES, need
from remediator.documents.finding import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.safety import costs, step_risks
from remediator.policyfiles.checks.uses import Look, Problem, Use


@dataclass(frozen=True)
class _Asked:
    """Votes that are asked, and the gate or the step that asks them."""

    place: Place
    votes: Mapping[str, int]
    why: str = ""  # of a step whose gate nobody wrote

    def of(self, role: str, problem: str, remedy: str = "") -> Problem:
        """What is wrong with one role."""
        if self.why:
            return self.whole(problem, remedy)
        return Problem((*self.place, "votes", role), problem, remedy, on_key=True)

    def whole(self, problem: str, remedy: str) -> Problem:
        """What is wrong with all the votes together."""
        if self.why:
            return Problem(self.place, f"{self.why}, and {problem}", remedy, on_key=True)
        return Problem((*self.place, "votes"), problem, remedy)


def _asked(look: Look) -> Iterator[_Asked]:
    for place, gate in look.gates():
        yield _Asked(place, gate.votes or {})
    yield from _by_default(look)


def _by_default(look: Look) -> Iterator[_Asked]:
    """The steps that ask the on-call, since no gate says otherwise."""
    policy, risks, told = look.policy, step_risks(look), set[str]()
    breaker = policy.bounds.breaker
    modes = [mode for mode in (policy.mode, breaker.mode if breaker else "observe") if mode != "observe"]
    for case in policy.decide:
        if not policy.steps.keys() >= set(case.steps):
            continue  # P140
        for name in case.steps:
            if name not in risks or name in told:
                continue
            for mode in modes:
                wanted = need(policy, case, name, risks[name], mode)
                if wanted is not None and wanted.votes is DEFAULT_VOTES:
                    told.add(name)
                    mean = f"in mode {mode} {name}" if risks[name] is Risk.SAFE else name
                    yield _Asked(("steps", name), wanted.votes, f"{mean} asks the on-call by default")
                    break


def unknown_role(look: Look) -> Iterator[Problem]:
    """P132: a gate asks a role that the config does not have."""
    for asked in _asked(look):
        for role in asked.votes:
            if role not in look.catalog.roles:
                remedy = nearest(role, look.catalog.roles)
                if asked.why:
                    remedy = f"write a gate that asks another role; {remedy}"
                yield asked.of(role, f"unknown role {role!r}", remedy)


def ungated(look: Look) -> Iterator[Problem]:
    """P150: a step that is destructive, or has such an undo, and that some case would start unasked."""
    told: set[str] = set()
    for name, use, risk, endpoint in costs(look):
        open_cases = [case for case in look.policy.decide if name in case.steps and case.gate is None]
        unasked = look.policy.steps[name].gate is None and open_cases
        if risk is Risk.DESTRUCTIVE and unasked and name not in told:
            told.add(name)
            remedy = "write gate: {votes: {oncall: 1}} on the step, or on each case that uses it"
            yield Problem(use.place, f"{_said(name, use, endpoint)} and has no gate", remedy, on_key=True)


def _said(name: str, use: Use, endpoint: str) -> str:
    who = f"the undo of {name}" if use.place[-1] == "undo" else name
    path = str(use.arguments.get("path", ""))
    if {*endpoint.split("/")[1:]} - {*path.split("/"), "*", ""}:
        return f"{who} may come to be {endpoint}, which is destructive,"
    return f"{who} is destructive"


def waters_down(look: Look) -> Iterator[Problem]:
    """P166: a case whose gate, which stands for all its steps, asks less than one of them asks by itself."""
    for number, case in enumerate(look.policy.decide):
        given = (case.gate.votes if case.gate is not None else None) or {}
        for name in case.steps if given else ():
            own = look.policy.steps[name].gate if name in look.policy.steps else None
            asked = (own.votes if own is not None else None) or {}
            short = [f"{role}: {count}" for role, count in asked.items() if given.get(role, 0) < count]
            if short:
                problem = f"this gate stands for all steps of its case, and {name} asks by itself for "
                problem += ", ".join(short)
                remedy = f"ask for that here too, or take the gate of {name} out"
                yield Problem(("decide", number, "gate"), problem, remedy, on_key=True)


def _roles(look: Look) -> Mapping[str, frozenset[str]]:
    """Role → everybody who holds it at some time: its people, and whoever is to stand in for them."""
    covers = look.catalog.covers
    return {
        role: people | {one.by for one in covers.get(role, ())} for role, people in look.catalog.roles.items()
    }


def empty_role(look: Look) -> Iterator[Problem]:
    """P133: a gate asks a role that nobody has, at any time."""
    roles = _roles(look)
    for asked in _asked(look):
        for role in asked.votes:
            if role in roles and not roles[role]:
                yield asked.of(role, f"nobody has the role {role!r}")


def unsatisfiable(look: Look) -> Iterator[Problem]:
    """P134: not enough distinct people, each counting for one role, even with all who stand in."""
    roles = _roles(look)
    for asked in _asked(look):
        votes = asked.votes
        if all(roles.get(role) for role in votes) and not satisfiable(votes, roles):
            problem = "no set of distinct people can give these votes"
            yield asked.whole(problem, "ask for fewer votes, or fill the roles")


def satisfiable_for_a_time(look: Look) -> Iterator[Problem]:
    """P135: votes that can be given only while somebody stands in for an absence."""
    always, ever = look.catalog.roles, _roles(look)
    for asked in _asked(look):
        votes = asked.votes
        if not all(ever.get(role) for role in votes) or not satisfiable(votes, ever):
            continue
        if not satisfiable(votes, always):
            problem = "these votes can be given only while somebody covers for an absence"
            yield asked.whole(problem, "fill the roles themselves")


def satisfiable(votes: Mapping[str, int], roles: Mapping[str, frozenset[str]]) -> bool:
    """Can distinct people give these votes? A matching of votes and people by augmenting paths."""
    given: dict[str, str] = {}  # person → role

    def seat(role: str, tried: set[str]) -> bool:
        for person in sorted(roles[role] - tried):
            tried.add(person)
            if person not in given or seat(given[person], tried):
                given[person] = role
                return True
        return False

    if any(count > len(roles[role]) for role, count in votes.items()):
        return False
    return all(seat(role, set()) for role, count in votes.items() for _ in range(count))


def waived(look: Look) -> Iterator[Problem]:
    """P161: gates that are waived, for reviewers to see."""
    for place, gate in look.gates():
        if gate.waived:
            yield Problem((*place, "waived"), f"the gate is waived: {gate.waived}")
