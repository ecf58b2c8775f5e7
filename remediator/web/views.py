"""From what the store holds to what the API gives. Pure; the status page shows the same things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from remediator.core import gate as gates
from remediator.core.alert import Alert
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import shown
from remediator.core.intention import Call, Intention
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Gate, Run, Stage, StepRun
from remediator.ports import Disposition, PolicyCount
from remediator.web.shapes import GateRow, PolicyRow, RefusalRow, RunRow, StepShown


def run_row(run: Run) -> RunRow:
    """A run in one line."""
    owed = [step.undo_at for step in run.steps.values() if step.owes_undo and step.undo_at is not None]
    return RunRow(
        id=run.id,
        policy=run.policy,
        target=run.target,
        mode=run.mode,
        down_until=run.down_until,
        stage=run.stage,
        outcome=run.outcome,
        reason=run.reason,
        alert=run.alert.name,
        opened_at=run.opened_at,
        opened_by=run.opened_by,
        closed_at=run.closed_at,
        firing=sum(member.firing for member in run.members.values()),
        alerts=len(run.members),
        steps={name: str(step.state) for name, step in run.steps.items()},
        gate=run.gate.id if run.gate is not None and run.gate.state == "open" else None,
        undo_at=min(owed, default=None) if run.stage is Stage.HOLDING else None,
    )


def open_gate(run: Run) -> Gate | None:
    """The gate that a run waits at."""
    waits = run.stage is Stage.WAITING and run.gate is not None and run.gate.state == "open"
    return run.gate if waits else None


def gate_row(run: Run, gate: Gate, roles: Mapping[str, frozenset[str]]) -> GateRow:
    """A gate, with everything that an approver must see."""
    return GateRow(
        id=gate.id,
        run=run.id,
        policy=run.policy,
        target=run.target,
        hash=gate.hash,
        state=gate.state,
        steps=[step_shown(one, gate) for one in gate.intentions],
        required=gate.required,
        missing=gates.missing(gate, roles) if gate.state == "open" else {},
        people={role: sorted(roles.get(role, ())) for role in gate.required},
        votes=gate.votes,
        opened_at=gate.opened_at,
        expires_at=gate.expires_at,
        late=gate.late,
        again=gate.again,
    )


def step_shown(intention: Intention, gate: Gate | None = None) -> StepShown:
    """Exactly what a step will do, and what that would change."""
    undo = intention.undo
    return StepShown(
        step=intention.step,
        risk=str(intention.risk),
        summary=intention.summary,
        operation=intention.call.operation,
        connection=intention.call.connection,
        args=intention.call.shown,
        verify=_call(intention.verify) if intention.verify is not None else None,
        undo={
            "after_s": undo.after_s,
            "early": list(undo.early),
            **({"risk": str(undo.risk)} if undo.risk is not None else {}),
            **({"still": undo.source["still"]} if "still" in undo.source else {}),
            **(_call(undo.call) if undo.call is not None else undo.source),
        }
        if undo is not None
        else None,
        picture=readable(gate.pictures.get(intention.step)) if gate is not None else None,
    )


def _call(call: Call) -> dict[str, Any]:
    return {**msgspec.to_builtins(call), "args": call.shown}


def readable(value: Any) -> Any:
    """A run, or any part of one, with plain numbers wherever it keeps exact ones."""
    match value:
        case Reading():
            return msgspec.structs.replace(value, value=value.shown)
        case Picture():
            return msgspec.structs.replace(value, rows=tuple(value.shown))
        case StepRun():
            kept = {name: shown(getattr(value, name)) for name in ("mark", "result", "undo_mark")}
            return msgspec.structs.replace(_each(value), **kept)
        case Call():
            return msgspec.structs.replace(value, args=value.shown)
        case msgspec.Struct():
            return _each(value)
        case dict():
            return {key: readable(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(readable(item) for item in value)
    return value


def _each(value: msgspec.Struct) -> msgspec.Struct:
    fields = {name: readable(getattr(value, name)) for name in value.__struct_fields__}
    return msgspec.structs.replace(value, **fields)


def outcomes(counts: Iterable[PolicyCount]) -> dict[str, dict[str, int]]:
    """Policy → outcome → how many runs, the most frequent first."""
    found: dict[str, dict[str, int]] = {}
    for one in sorted(counts, key=lambda one: -one.runs):
        found.setdefault(one.policy, {})[one.outcome] = one.runs
    return found


def policy_row(versioned: Versioned, ended: Mapping[str, int]) -> PolicyRow:
    """A running policy in one line."""
    policy = versioned.policy
    return PolicyRow(
        name=policy.name,
        mode=policy.mode,
        version=versioned.version,
        summary=policy.summary,
        owner=policy.owner,
        severity=policy.severity,
        runbook=policy.runbook,
        file=versioned.file,
        outcomes=dict(ended),
    )


def policy_rows(policies: PolicySet, counts: Iterable[PolicyCount]) -> list[PolicyRow]:
    """All running ones, by name."""
    ended = outcomes(counts)
    return [policy_row(one, ended.get(name, {})) for name, one in sorted(policies.by_name.items())]


def refusal_row(standing: Disposition, alert: Alert | None) -> RefusalRow:
    """A refusal that stands."""
    return RefusalRow(
        policy=standing.policy,
        target=standing.target,
        alert=alert.name if alert is not None else standing.fingerprint,
        fingerprint=standing.fingerprint,
        bound=standing.bound,
        reason=standing.reason,
        since=standing.refused_since or standing.since,
        again_at=standing.again_at,
        waits_for=standing.waits_for,
        paged=standing.paged,
    )
