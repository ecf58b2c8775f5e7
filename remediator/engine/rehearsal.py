"""A policy rehearsed against the real connections, now: what it reads, decides and would ask for.

Nothing is done, and nothing could be: it holds a `Looking`, which reads and previews. The pure core
decides, in mode observe, as it would for a run that a person starts. What only the daemon's store knows
(bounds, halts, other runs) is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from remediator.core import byhand, play
from remediator.core.calls import previews
from remediator.core.catalog import Catalog, Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import plain
from remediator.core.gate import Need, need
from remediator.core.intention import Call, Intention
from remediator.core.messages import Facts, Probe, ProbeRead
from remediator.core.planning import Address, highest, intentions, needs_results, spread_out, unexpected
from remediator.core.policy import Policy
from remediator.core.repeating import enough, names_of
from remediator.core.run import Outcome, Run
from remediator.core.scopes import everything
from remediator.core.steps import base_of
from remediator.engine.looking import Looking
from remediator.errors import EvaluationError

RUN = "rehearsal"


class CaseSeen(msgspec.Struct, frozen=True):
    """A row of the decision table, asked. ``values``: what its expression looked up."""

    number: int  # from 1, as people count
    when: str  # empty: it always holds
    holds: bool | None  # None: it has no answer, or was not asked
    values: dict[str, Any] = {}
    error: str = ""


class GateSeen(msgspec.Struct, frozen=True):
    """The approvals that a step would need. ``people``: who holds these roles now."""

    steps: tuple[str, ...]
    votes: dict[str, int]
    people: dict[str, list[str]]
    within_s: float
    late: str


class StepSeen(msgspec.Struct, frozen=True):
    """One step of the case that holds."""

    step: str
    risk: str
    summary: str = ""
    gate: GateSeen | None = None
    waived: str = ""  # why it may do without
    picture: Picture | None = None
    later: str = ""  # why it can be told only once an earlier step is done
    error: str = ""


class ReadingSeen(msgspec.Struct, frozen=True):
    """What a probe answered."""

    ok: bool
    value: dict[str, Any] = {}
    error: str = ""


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is to tell. ``refusal``: why the policy would refuse; empty when it would not."""

    policy: str
    version: str
    mode: str
    target: str
    params: dict[str, Any]
    at: datetime
    readings: dict[str, ReadingSeen]
    cases: tuple[CaseSeen, ...]
    case: int | None  # the one that holds, from 1
    rungs: bool  # its steps are tried until one is proved
    steps: tuple[StepSeen, ...]
    refusal: str
    idle: str = ""  # why the case that holds has nothing to do


class Rehearser:
    """What a policy is rehearsed with: live connections to look through, a catalogue, and the time."""

    def __init__(self, looking: Looking, catalog: Catalog, now: Callable[[], datetime]) -> None:
        self._looking = looking
        self._catalog = catalog
        self._now = now

    async def rehearse(self, policy: Policy, version: str, address: Address) -> Rehearsal:
        """Read, decide, preview. What goes wrong on the way is told, not raised."""
        run = await self._diagnosed(policy, version, address)
        facts = self._facts(policy)
        cases = tuple(_cases(policy, run, facts.now)) if _all_read(policy, run) else ()
        bases = dict.fromkeys(base_of(name) for name in run.plan)
        found = await asyncio.gather(*(self._steps(policy, run, base, facts) for base in bases))
        steps = [one for several in found for one in several]
        refused = run.reason if run.outcome is Outcome.REFUSED else ""
        wrong = [f"{one.step}: {one.error}" for one in steps if one.error]
        return Rehearsal(
            policy=policy.name,
            version=version,
            mode=policy.mode,
            target=address.target,
            params=address.params,
            at=facts.now,
            readings={name: _reading(one) for name, one in run.readings.items()},
            cases=cases,
            case=run.case + 1 if run.case is not None else _nothing(cases),
            rungs=run.rungs,
            steps=tuple(steps),
            refusal=refused or enough(wrong),
            idle=run.reason if run.lists and not run.plan else "",
        )

    def _facts(self, policy: Policy) -> Facts:
        return Facts(now=self._now(), policy=policy, current=None, catalog=self._catalog)

    async def _diagnosed(self, policy: Policy, version: str, address: Address) -> Run:
        """The run as it closes in mode observe: it has read and decided, and says what it would do."""
        observing = policy.model_copy(update={"mode": "observe"})
        facts = self._facts(observing)
        alert = byhand.stand_in(policy, "you", f"hand-{RUN}", facts.now)
        opening = play.Opening(RUN, version, address, alert, f"{byhand.SOURCE}you")
        decision = play.begin(opening, facts)
        asked = [effect for effect in decision.effects if isinstance(effect, Probe)]
        readings = await asyncio.gather(*(self._looking.read(one.call) for one in asked))
        run = decision.run
        for probe, reading in zip(asked, readings, strict=True):
            heard = ProbeRead(probe.round, probe.key, reading)
            run = play.decide(run, heard, self._facts(observing)).run
        return run

    async def _steps(self, policy: Policy, run: Run, base: str, facts: Facts) -> list[StepSeen]:
        """A step of the policy; of a repeated one, each of its items."""
        assert run.case is not None
        case, spec = policy.decide[run.case], policy.steps[base]
        waivers = [gate.waived for gate in (case.gate, spec.gate) if gate is not None and gate.waived]
        try:
            run = spread_out(run, policy, base, facts)
            resolved = intentions(run, policy, names_of(run, base), facts)
        except EvaluationError as error:
            return [self._unresolved(policy, run, base, facts, str(error))]
        if not resolved:
            return []
        risk = max((one.risk for one in resolved), key=lambda risk: risk.rank)
        wanted = need(policy, case, base, risk, policy.mode)
        ungated = wanted is None and risk is Risk.DESTRUCTIVE and not waivers
        seen = []
        for one in resolved:
            picture, problem = await self._picture(one)
            seen.append(
                StepSeen(
                    step=one.step,
                    risk=str(one.risk),
                    summary=one.summary,
                    gate=_gate(wanted, facts.roles),
                    waived="; ".join(waivers) if wanted is None else "",
                    picture=picture,
                    error="it is destructive and has no gate" if ungated else problem,
                )
            )
        return seen

    def _unresolved(self, policy: Policy, run: Run, base: str, facts: Facts, problem: str) -> StepSeen:
        """It cannot be told, or not before an earlier step is done."""
        assert run.case is not None
        spec = policy.steps[base]
        risk = highest(spec, self._catalog)
        wanted = need(policy, policy.decide[run.case], base, risk, policy.mode)
        alone = wanted is None or wanted.steps == (base,)
        waits = needs_results(spec) and base != base_of(run.plan[0]) and alone
        later, wrong = (problem, "") if waits else ("", problem)
        return StepSeen(base, str(risk), gate=_gate(wanted, facts.roles), later=later, error=wrong)

    async def _picture(self, intention: Intention) -> tuple[Picture | None, str]:
        """What it would change, where its operation can show that."""
        call: Call = intention.call
        if not previews(call, self._catalog):
            return None, ""
        picture, problem = await self._looking.preview(call)
        if picture is None:
            return None, f"preview: {problem}"
        return msgspec.structs.replace(picture, rows=tuple(picture.shown)), ""


def _all_read(policy: Policy, run: Run) -> bool:
    """Was the decision table asked at all?"""
    return run.readings.keys() == policy.diagnose.keys() and not any(
        unexpected(probe, run.readings[name]) and not probe.optional
        for name, probe in policy.diagnose.items()
    )


def _cases(policy: Policy, run: Run, now: datetime) -> list[CaseSeen]:
    """The table down to the case that holds, each with what its expression saw."""
    scope = everything(run, policy, now)
    seen: list[CaseSeen] = []
    for number, case in enumerate(policy.decide, start=1):
        if case.when is None:
            return [*seen, CaseSeen(number, "", holds=True)]
        values = {path: plain(value) for path, value in case.when.values(scope).items()}
        try:
            holds = case.when.evaluate(scope, place=f"{policy.name}: decide[{number - 1}].when") is True
        except EvaluationError as error:
            return [*seen, CaseSeen(number, case.when.text, None, values, str(error))]
        seen.append(CaseSeen(number, case.when.text, holds, values))
        if holds:
            break
    return seen


def _nothing(cases: tuple[CaseSeen, ...]) -> int | None:
    """The case that holds and says: do nothing. The core keeps no number for that one."""
    return next((one.number for one in cases if one.holds), None)


def _gate(wanted: Need | None, roles: Mapping[str, frozenset[str]]) -> GateSeen | None:
    if wanted is None:
        return None
    people = {role: sorted(roles.get(role, ())) for role in wanted.votes}
    return GateSeen(wanted.steps, dict(wanted.votes), people, wanted.within.total_seconds(), wanted.late)


def _reading(one: Reading) -> ReadingSeen:
    return ReadingSeen(one.ok, one.shown if one.ok else {}, one.error)
