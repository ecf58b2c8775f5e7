"""From policy text to what a run will do: parameters and targets, cases, intentions, undos. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from remediator.core.alert import Alert
from remediator.core.calls import (
    as_text,
    call_risk,
    fence_of,
    found,
    highest_risk,
    printable,
    resolved,
    summary,
    templates,
)
from remediator.core.canonical import canonical
from remediator.core.catalog import Catalog, Escape, Risk
from remediator.core.evidence import Reading
from remediator.core.exact import kept, plain
from remediator.core.intention import Call, Intention, UndoPlan
from remediator.core.messages import Facts
from remediator.core.parameters import convert
from remediator.core.policy import Policy, Probe
from remediator.core.repeating import begun, doubled, each_of, items, names_of, spread
from remediator.core.risk import worst
from remediator.core.run import Refusal, Run, StepRun
from remediator.core.scopes import done_by, everything, for_operations
from remediator.core.steps import AtMost, EarlyProbe, Step, Still, Undo, Verify, base_of
from remediator.errors import EvaluationError, RemediatorError

RESTORE = "restore"
"""In an act's result: what its undo is generated from. As an operation: the one that applies it."""


class Address(msgspec.Struct, frozen=True):
    """What an alert is about, for one policy."""

    target: str
    params: dict[str, Any]


def address(policy: Policy, alert: Alert) -> Address | Refusal:
    """The target and the parameters, or why there are none."""
    scope = {"labels": alert.labels, "annotations": alert.annotations}
    try:
        params = {name: convert(name, param, scope) for name, param in policy.params.items()}
    except RemediatorError as error:
        return Refusal("params", str(error))
    return aimed(policy, params)


def aimed(policy: Policy, params: Mapping[str, Any]) -> Address | Refusal:
    """The target that parameters lead to, or why they lead to none."""
    try:
        target = policy.target.render(params, Escape.TYPED, place=f"{policy.policy}: target")
    except RemediatorError as error:
        return Refusal("params", str(error))
    kind, slash, identity = str(target).partition("/")
    if not (kind and slash and identity and str(target).isprintable()) or len(str(target)) > 200:
        return Refusal("params", f"{target!r} is not a target; it should read kind/id")
    return Address(str(target), dict(params))


# ── Cases ─────────────────────────────────────────────────────────────────────────────────────────


def choose_case(policy: Policy, run: Run, now: datetime) -> int | None:
    """The first case of the decision table that holds, or None. Raises EvaluationError."""
    scope = everything(run, policy, now)
    for number, case in enumerate(policy.decide):
        if case.when is None:
            return number
        holds = case.when.evaluate(scope, place=f"{policy.policy}: decide[{number}].when")
        if not isinstance(holds, bool):
            place = f"{policy.policy}: decide[{number}].when"
            raise EvaluationError(place, f"'{case.when.text}' gave {holds!r}, not true or false")
        if holds:
            return number
    return None


def as_read(policy: Policy, catalog: Catalog, name: str, reading: Reading) -> Reading:
    """An optional probe that failed reads as null under every name that its operation gives."""
    probe = policy.diagnose[name]
    operation = catalog.operations.get(probe.use)
    if reading.ok or not probe.optional or operation is None:
        return reading
    return msgspec.structs.replace(reading, value=dict.fromkeys(operation.reads))


def unexpected(probe: Probe, reading: Reading) -> str:
    """Why a reading may not be used, or "" when it may."""
    if not reading.ok:
        return reading.error or "could not be read"
    count = reading.value.get("count")
    match probe.expect:
        case "one row" if count != 1:
            return f"expected one row, read {count}"
        case "any rows" if not count:
            return "expected rows, read none"
        case "no rows" if count != 0:
            return f"expected no rows, read {count}"
        case _:
            return ""


# ── Calls and intentions ──────────────────────────────────────────────────────────────────────────


def probe_call(run: Run, policy: Policy, facts: Facts, probe: Probe, place: str) -> Call:
    """A probe, resolved. Raises EvaluationError."""
    scope = for_operations(run, policy, facts.now)
    return resolved(probe.use, probe.via, probe.with_, scope, facts.catalog, place)


def watch_call(policy: Policy, facts: Facts) -> Call:
    """A watch's probe, resolved: it sees nothing but the time. Raises EvaluationError."""
    assert policy.watch is not None
    watch = policy.watch
    return resolved(
        watch.use, watch.via, watch.with_, {"now": facts.now}, facts.catalog, f"{policy.policy}: watch"
    )


def intend(run: Run, policy: Policy, name: str, facts: Facts) -> Intention:
    """Exactly what a step will do. Raises EvaluationError."""
    return intentions(run, policy, [name], facts)[0]


def intentions(run: Run, policy: Policy, names: Iterable[str], facts: Facts) -> list[Intention]:
    """Exactly what some steps will do, no item of a list what another one does. Raises EvaluationError."""
    scope = for_operations(run, policy, facts.now)
    meant = [_intention(policy, name, {**scope, **each_of(run, name)}, facts.catalog) for name in names]
    if (twice := doubled(meant)) is not None:
        one, other = twice
        place = f"{policy.policy}: steps.{base_of(one.step)}.for_each"
        problem = f"{one.step} and {other.step} are the same act, which would be done twice: {one.summary}"
        raise EvaluationError(place, problem)
    return meant


def _intention(policy: Policy, name: str, scope: Mapping[str, Any], catalog: Catalog) -> Intention:
    step, place = policy.step(name), f"{policy.policy}: steps.{name}"
    call = with_bounds(step, resolved(step.use, step.via, step.with_, scope, catalog, place))
    verify, undo, risk = (
        step.verify,
        _undo_plan(step, scope, catalog, f"{place}.undo"),
        call_risk(call, catalog),
    )
    if undo is not None:
        back = _undo_risk(step, undo.call, catalog, f"{place}.undo")
        if back.rank > risk.rank:
            undo, risk = msgspec.structs.replace(undo, risk=back), back
    return Intention(
        step=name,
        call=call,
        risk=risk,
        fence=fence_of(call.operation, call.connection, catalog),
        verify=resolved(verify.use, verify.via, verify.with_, scope, catalog, f"{place}.verify")
        if verify is not None and verify.use is not None
        else None,
        undo=undo,
        summary=summary(call),
    )


def risk_now(policy: Policy, intention: Intention, catalog: Catalog) -> Risk:
    """What a step that was planned earlier may cost by now, its undo included. Raises EvaluationError."""
    own, undo = call_risk(intention.call, catalog), intention.undo
    if undo is None:
        return own
    place = f"{policy.policy}: steps.{intention.step}.undo"
    return worst((own, _undo_risk(policy.step(intention.step), undo.call, catalog, place)))


def highest(step: Step, catalog: Catalog) -> Risk:
    """What a step may cost, its undo included, whatever its expressions give. Raises EvaluationError."""
    own, _ = highest_risk(*found(step.use, step.via, catalog, "use"), step.with_)
    undoes = step.undo is not None and step.undo.none is None
    return worst((own, _undo_risk(step, None, catalog, "undo"))) if undoes else own


def _undo_risk(step: Step, call: Call | None, catalog: Catalog, place: str) -> Risk:
    """Of what takes a step back: of that very call, or of the worst that it may become."""
    assert step.undo is not None
    if step.undo.use is None:
        return catalog.operations[restorer(step.use)].risk
    operation, connection = found(step.undo.use, step.undo.via or step.via, catalog, place)
    return (
        highest_risk(operation, connection, step.undo.with_)[0] if call is None else call_risk(call, catalog)
    )


def spread_out(run: Run, policy: Policy, base: str, facts: Facts) -> Run:
    """The run with a repeated step as the items of its list. One that has begun keeps what it has.

    Of a later gate it is the list that people see beside the card: the steps before it may have moved it.
    Raises EvaluationError where there is no list, or one that is too long: nothing is left out in silence.
    """
    if policy.steps[base].for_each is None or begun(run, base):
        return run
    return spread(run, base, _listed(as_seen(run), policy, base, facts))


def as_seen(run: Run) -> Run:
    """The run by what people look at: what a later step is made of is what was read for its card."""
    return msgspec.structs.replace(run, readings=run.evidence)


def again(run: Run, policy: Policy, names: Iterable[str], facts: Facts, *, anew: bool) -> list[Intention]:
    """What these steps would do by the readings that the run has now. Raises EvaluationError.

    A list is read again as long as an item of it may still come, and all its items are told. One that
    has begun is kept by the run: it is read ``anew`` only to be compared with what was kept.
    """
    bases = list(dict.fromkeys(base_of(name) for name in names))
    lists = {
        base: _listed(run, policy, base, facts)
        for base in bases
        if base in run.lists and not (begun(run, base) and all(one.attempt for one in items(run, base)))
        if anew or not begun(run, base)
    }
    run = msgspec.structs.replace(run, lists={**run.lists, **lists})
    return intentions(run, policy, [name for base in bases for name in names_of(run, base)], facts)


def _listed(run: Run, policy: Policy, base: str, facts: Facts) -> list[Any]:
    step, place = policy.steps[base], f"{policy.policy}: steps.{base}.for_each"
    assert step.for_each is not None and step.at_most is not None
    given = step.for_each.render(for_operations(run, policy, facts.now), Escape.TYPED, place)
    if not isinstance(given, list | tuple):
        raise EvaluationError(place, f"'{step.for_each.text}' gave {printable(repr(given), 80)}, not a list")
    if len(given) > step.at_most:
        problem = f"its list has {len(given)} items, and at_most is {step.at_most}"
        raise EvaluationError(place, problem)
    items: list[Any] = kept(given)
    return items


def needs_results(step: Step) -> bool:
    """Can it only be resolved once an earlier step was done, since it is made of what that answered?"""
    written = [step.with_, step.verify.with_ if step.verify is not None else {}, step.for_each]
    return any("steps" in template.names for one in written for template in templates(one))


def made_of(step: Step) -> set[str]:
    """The names that its act, its list and its undo are made of."""
    undo = step.undo
    asked = [one for one in (*undo.probes, undo.proof, undo.still) if one is not None] if undo else []
    written = [step.with_, step.for_each, undo.with_ if undo else {}, *(one.with_ for one in asked)]
    return {name for one in written for template in templates(one) for name in template.names}


def undo_call(run: Run, policy: Policy, name: str, facts: Facts) -> Call:
    """The undo of a step that was done, with what the act returned. Raises EvaluationError."""
    step = policy.step(name)
    assert step.undo is not None
    if step.undo.how == "restore":
        return _restore_call(run, name, f"{policy.policy}: steps.{name}.undo")
    scope = {**for_operations(done_by(run, run.steps[name]), policy, facts.now), **each_of(run, name)}
    return _undo_call(step, step.undo, scope, facts.catalog, f"{policy.policy}: steps.{name}.undo")


def early_call(run: Run, policy: Policy, name: str, number: int, facts: Facts) -> Call:
    """What may end the hold of a step that was done, to be read now. Raises EvaluationError."""
    undo, plan = policy.step(name).undo, _undo_of(run, name)
    assert undo is not None
    place = f"{policy.policy}: steps.{name}.undo.early[{number}]"
    return plan.probes[number] or _late_call(run, policy, name, undo.probes[number], facts, place)


def undo_proof_call(run: Run, policy: Policy, name: str, facts: Facts) -> Call:
    """What proves the undo of a step. Raises EvaluationError."""
    undo, plan = policy.step(name).undo, _undo_of(run, name)
    assert undo is not None and undo.proof is not None
    place = f"{policy.policy}: steps.{name}.undo.verify"
    return plan.verify or _late_call(run, policy, name, undo.proof, facts, place)


def still_call(run: Run, policy: Policy, name: str, facts: Facts) -> Call | None:
    """What says whether a step may still be taken back; None: nothing does. Raises EvaluationError."""
    undo, plan = policy.step(name).undo, _undo_of(run, name)
    if undo is None or undo.still is None:
        return None
    place = f"{policy.policy}: steps.{name}.undo.still"
    return plan.still or _late_call(run, policy, name, undo.still, facts, place)


def _late_call(
    run: Run, policy: Policy, name: str, probe: EarlyProbe | Still | Verify, facts: Facts, place: str
) -> Call:
    """A probe that needs what a step returned."""
    scope = {**for_operations(done_by(run, run.steps[name]), policy, facts.now), **each_of(run, name)}
    return resolved(probe.use or "", probe.via, probe.with_, scope, facts.catalog, place)


def _undo_of(run: Run, name: str) -> UndoPlan:
    intention = run.steps[name].intention
    assert intention is not None and intention.undo is not None
    return intention.undo


def with_bounds(step: Step, call: Call) -> Call:
    """What the step says beside ``with`` and its connector must keep: how many rows, and what undo needs."""
    said: dict[str, Any] = {}
    match step.rows:
        case int():
            said["rows"] = {"exactly": step.rows}
        case AtMost():
            said["rows"] = {"at_most": step.rows.at_most}
    if step.undo is not None and step.undo.how is not None:
        said["undo"] = step.undo.how
    return msgspec.structs.replace(call, args={**call.args, **said}) if said else call


def _restore_call(run: Run, name: str, place: str) -> Call:
    """Generated from what the act changed and returned."""
    step = run.steps[name]
    intention, images = step.intention, (step.did or {}).get(RESTORE)
    if intention is None or not isinstance(images, dict):
        raise EvaluationError(place, "what the act changed is not known, so it cannot be restored")
    return Call(restorer(intention.call.operation), intention.call.connection, images)


def restorer(operation: str) -> str:
    """The operation that takes back ``how: restore``: ``postgres.restore`` for ``postgres.execute``."""
    return f"{operation.partition('.')[0]}.{RESTORE}"


def written(step: StepRun) -> set[tuple[str, str, str, str]]:
    """What a step wrote that can be restored, as (connection, table, key, column)."""
    restore = (step.did or {}).get(RESTORE)
    if restore is None or step.intention is None:
        return set()
    where = (step.intention.call.connection, str(restore.get("table")))
    return {
        (*where, canonical(row.get("key")), column)
        for row in restore.get("rows", ())
        for column in {*(row.get("before") or {}), *(row.get("after") or {})}
    }


def _undo_plan(step: Step, scope: Mapping[str, Any], catalog: Catalog, place: str) -> UndoPlan | None:
    undo = step.undo
    if undo is None or undo.none is not None:
        return None
    source: dict[str, Any] = {"how": undo.how}
    call: Call | None = None
    if undo.use is None:
        operation = catalog.operations.get(restorer(step.use))
        if operation is None:
            raise EvaluationError(place, f"what {step.use} changes cannot be restored")
        fence = operation.fence
    else:
        source = {"use": undo.use, "via": undo.via, "with": as_text(undo.with_)}
        fence = fence_of(undo.use, undo.via or step.via or "", catalog)
        if not _waits(undo.with_):
            call = _undo_call(step, undo, scope, catalog, place)
    read = [(f"{place}.early[{number}]", probe) for number, probe in enumerate(undo.probes)]
    proof, still = undo.proof, undo.still
    judged = [_judged(one) for one in undo.probes] + ([_judged(proof)] if proof is not None else [])
    asked = [one for one in (*undo.probes, proof, still) if one is not None]
    later = [undo.with_, *(one.with_ for one in asked)]
    if "each" in scope and any(_waits(one) for one in later):
        source["each"] = plain(scope["each"])  # what is approved is the undo of this very item
    if judged:
        source["judged"] = judged
    if still is not None:
        source["still"] = _asked(still) | {"when": still.when.text}
    return UndoPlan(
        source=source,
        call=call,
        after_s=undo.after.total_seconds() if undo.after is not None else None,
        early=tuple(one for one in undo.early if isinstance(one, str)),
        fence=fence,
        probes=tuple(_probe_now(probe, scope, catalog, where) for where, probe in read),
        verify=_probe_now(proof, scope, catalog, f"{place}.verify") if proof is not None else None,
        still=_probe_now(still, scope, catalog, f"{place}.still") if still is not None else None,
    )


def _probe_now(
    probe: EarlyProbe | Still | Verify, scope: Mapping[str, Any], catalog: Catalog, place: str
) -> Call | None:
    """The probe resolved, unless it needs what the act returns."""
    if _waits(probe.with_):
        return None
    return resolved(probe.use or "", probe.via, probe.with_, scope, catalog, place)


def _judged(probe: EarlyProbe | Verify) -> dict[str, Any]:
    """The policy's text of a reading and of what is made of it."""
    until = probe.until.text if probe.until is not None else ""
    return _asked(probe) | {"until": until}


def _asked(probe: EarlyProbe | Still | Verify) -> dict[str, Any]:
    return {"use": probe.use, "via": probe.via, "with": as_text(probe.with_)}


def _waits(arguments: Mapping[str, Any]) -> bool:
    """Does it need what the act returns?"""
    return any("steps" in template.names for template in templates(arguments))


def _undo_call(step: Step, undo: Undo, scope: Mapping[str, Any], catalog: Catalog, place: str) -> Call:
    return resolved(undo.use or "", undo.via or step.via, undo.with_, scope, catalog, place)
