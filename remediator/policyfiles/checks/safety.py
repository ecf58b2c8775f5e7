"""Checks of caution: proofs and bounds. What could act unproved, without end or never."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from remediator.core.breaker import lower
from remediator.core.calls import highest_risk
from remediator.core.catalog import Kind, Risk
from remediator.core.counting import counted
from remediator.core.expression import Expression, format_duration
from remediator.core.policy import LEAST_RECHECK, Case, Policy
from remediator.core.risk import worst
from remediator.core.steps import Gate
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Look, Problem, Use


def step_risks(look: Look) -> dict[str, Risk]:
    """Step → what it may cost at the most, its undo included, where operations and connections are known."""
    risks: dict[str, list[Risk]] = {}
    for name, _, risk, _ in costs(look):
        risks.setdefault(name, []).append(risk)
    acts = Counter(str(use.place[1]) for use in look.uses if use.wants is Kind.ACTION)
    return {name: worst(known) for name, known in risks.items() if len(known) == acts[name]}


def costs(look: Look) -> Iterator[tuple[str, Use, Risk, str]]:
    """Each act of a step, and each undo, with what it may cost; and the endpoint that says so, or ""."""
    for use in look.uses:
        operation, connection = look.operation(use), look.connection(use)
        if use.wants is Kind.ACTION and operation is not None and connection is not None:
            risk, endpoint = highest_risk(
                operation, connection, use.arguments, lambda one: _values(look, one)
            )
            yield str(use.place[1]), use, risk, endpoint


def _values(look: Look, expression: Expression) -> str:
    """What an expression in a path may give, as a regular expression: of a param that is what it allows."""
    param = look.policy.params.get(expression.text.strip())
    if param is not None and param.type == "enum":
        return "|".join(map(re.escape, param.values))
    if param is not None and param.pattern is not None:
        return param.pattern.text
    return ".+"


# ── Proofs and bounds ────────────────────────────────────────────────────────────────────────────

_WEEKS = (datetime(2026, 1, 12, tzinfo=UTC), datetime(2026, 7, 13, tzinfo=UTC))
"""Windows repeat every week; the clocks of two zones stand to each other as in winter or as in summer."""


def never_open(look: Look) -> Iterator[Problem]:
    """P137: windows that leave no moment of the week in which anything may start."""
    windows = look.policy.bounds.windows
    if windows is not None and not any(windows.opens(week) for week in _WEEKS):
        remedy = "leave a part of the week open"
        yield Problem(("bounds", "windows"), "these windows never open", remedy, on_key=True)


def senseless(look: Look) -> Iterator[Problem]:
    """P159: a bound that lets nothing happen: a limit of none, a deadline or a gate of no time."""
    bounds = look.policy.bounds
    for name in ("per_target", "per_policy"):
        if getattr(bounds, name).limit == 0:
            remedy = "write mode: observe for a policy that may not act"
            yield Problem(("bounds", name), f"{getattr(bounds, name)} lets nothing act, ever", remedy)
    if not bounds.deadline:
        yield Problem(("bounds", "deadline"), "a run has no time at all", "write a duration such as 6h")
    for place, gate in look.gates():
        if gate.votes and not gate.within:
            yield Problem((*place, "within"), "nobody has time to vote", "write a duration such as 15m")


def restless(look: Look) -> Iterator[Problem]:
    """P167: a recheck of less than a second: runs that follow each other without an end."""
    if look.policy.recheck < LEAST_RECHECK:
        problem = f"runs would follow each other every {format_duration(look.policy.recheck)}"
        yield Problem(("recheck",), problem, "write a duration such as 5m, or 1s at the least")


def unsaid(look: Look) -> Iterator[Problem]:
    """P173: a reason of no letters: a gate that is waived, a proof or an undo left out, and no why."""
    reasons: list[tuple[Place, str | None]] = [((*at, "waived"), gate.waived) for at, gate in look.gates()]
    for name, step in look.policy.steps.items():
        reasons.append((("steps", name, "verify", "none"), step.verify.none if step.verify else None))
        reasons.append((("steps", name, "undo", "none"), step.undo.none if step.undo else None))
    for place, reason in reasons:
        if reason is not None and not any(map(str.isalpha, reason)):
            yield Problem(place, "this says nothing", "write the reason, for whoever reads it in a year")


def idle_figures(look: Look) -> Iterator[Problem]:
    """P169: a figure that does nothing beside another: it looks like a limit, and is none."""
    for name, step in look.policy.steps.items():
        if step.stop_after is not None and step.at_most is not None and step.stop_after > step.at_most:
            problem = f"{name} has at most {counted(step.at_most, 'item')}, so {step.stop_after} never fail"
            yield Problem(("steps", name, "stop_after"), problem, "write fewer, or leave it out")
        if step.undo and step.undo.after is not None and not step.undo.after:
            problem = f"{name} would be taken back as soon as it is done"
            yield Problem(("steps", name, "undo", "after"), problem, "write how long it stands, such as 1h")
    rate, apart = look.policy.bounds.per_target, max(look.policy.bounds.cooldown, LEAST_RECHECK)
    if "per_target" in look.policy.bounds.model_fields_set and rate.limit > (most := rate.per // apart + 1):
        problem = (
            f"{rate} limits nothing: acts are {format_duration(apart)} apart anyway, {most} in that time"
        )
        yield Problem(("bounds", "per_target"), problem, "write fewer, or a longer time")


def idle_breaker(look: Look) -> Iterator[Problem]:
    """P138: a breaker that steps down to what the policy may do anyway."""
    breaker, mode = look.policy.bounds.breaker, look.policy.mode
    if breaker is not None and not lower(breaker.mode, mode):
        problem = f"the breaker steps down to {breaker.mode}, and the policy is in mode {mode} anyway"
        yield Problem(("bounds", "breaker", "mode"), problem, "name a lower mode, or leave the breaker out")


def unproved(look: Look) -> Iterator[Problem]:
    """P151: a step that is not safe and that nothing proves."""
    for name, risk in step_risks(look).items():
        if risk is not Risk.SAFE and look.policy.steps[name].verify is None:
            remedy = 'write verify, or verify: {none: "why nothing can prove it"}'
            yield Problem(("steps", name), f"{name} has no verify", remedy, on_key=True)


def uncountable(look: Look) -> Iterator[Problem]:
    """P152: rows are expected from a probe that counts none."""
    for name, probe in look.policy.diagnose.items():
        operation = look.catalog.operations.get(probe.use)
        if probe.expect and operation and operation.reads and "count" not in operation.reads:
            yield Problem(("diagnose", name, "expect"), f"{probe.use} reads no rows", on_key=True)


def unbounded(look: Look) -> Iterator[Problem]:
    """P153: an operation that counts rows, and nothing that says how many."""
    for use in look.uses:
        operation = look.operation(use)
        if operation is None or not operation.counts or use.wants is Kind.PROBE:
            continue
        if use.place[-1] == "undo":
            problem = f"nothing can say how many rows {use.operation} may change here"
            yield Problem((*use.place, "use"), problem, "write how: restore")
        elif look.policy.steps[str(use.place[1])].rows is None:
            remedy = "write rows: 1, or rows: {at_most: 50}"
            yield Problem(use.place, f"{use.place[1]} does not say how many rows", remedy, on_key=True)


def counts_none(look: Look) -> Iterator[Problem]:
    """P208: rows on a step whose operation counts none."""
    for name, step in look.policy.steps.items():
        operation = look.catalog.operations.get(step.use)
        if step.rows is not None and operation and not operation.counts:
            problem = f"{step.use} counts no rows"
            yield Problem(("steps", name, "rows"), problem, "leave rows out", on_key=True)


def boundless(look: Look) -> Iterator[Problem]:
    """P154: a policy that acts by itself within bounds that nobody chose."""
    if look.policy.mode != "act" or look.policy.bounds.model_fields_set:
        return
    if any(risk is not Risk.SAFE for risk in step_risks(look).values()):
        bounds = look.policy.bounds
        problem = f"bounds are missing; by default: {bounds.per_target} per target,"
        problem += f" {bounds.per_policy} per policy, cooldown {format_duration(bounds.cooldown)}"
        place = "bounds" if "bounds" in look.policy.model_fields_set else "mode"
        yield Problem((place,), problem, "write bounds: {per_target: 3 in 24h, …}", on_key=True)


def too_short(look: Look) -> Iterator[Problem]:
    """P160: a deadline that gates and verifications can use up."""
    deadline = look.policy.bounds.deadline
    risks = step_risks(look)
    for number, case in enumerate(look.policy.decide):
        needs = _longest(look.policy, case, risks)
        if needs > deadline:
            problem = f"the deadline, {format_duration(deadline)}, is shorter than the gates and"
            problem += f" verifications of this case, {format_duration(needs)}"
            yield Problem(("decide", number), problem, "raise bounds.deadline")


def _longest(policy: Policy, case: Case, risks: Mapping[str, Risk]) -> timedelta:
    total = case.gate.within if case.gate else timedelta()
    for name in case.steps:
        step = policy.steps.get(name)
        if step is None:
            continue
        if case.gate is None:
            total += _waits(step.gate, risks.get(name, Risk.SAFE))
        if step.verify and step.verify.use:
            total += (step.verify.within + step.verify.for_) * (step.at_most or 1)
    return total


def _waits(gate: Gate | None, risk: Risk) -> timedelta:
    if gate is None:
        return Gate(votes={"oncall": 1}).within if risk is Risk.DISRUPTIVE else timedelta()
    return timedelta() if gate.waived else gate.within
