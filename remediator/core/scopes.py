"""What expressions see: `everything` for decisions and people, `for_operations` for what reaches the world.

The latter knows no labels and no annotations: nothing that an alert says by itself. Pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from remediator.core.evidence import Reading
from remediator.core.policy import Policy
from remediator.core.repeating import each_of, results
from remediator.core.run import Run, StepRun


def for_operations(run: Run, policy: Policy, now: datetime) -> dict[str, Any]:
    """Params, probes, steps, target and the time. Nothing that an alert says by itself."""
    return {
        **{name: _lived(policy, name, value) for name, value in run.params.items()},
        **{name: reading.as_seen() for name, reading in run.readings.items()},
        "steps": results(run),
        "target": run.target,
        "now": now,
    }


def done_by(run: Run, step: StepRun) -> Run:
    """The run by the readings on which a step was done: its proof and its undo are about those."""
    return msgspec.structs.replace(run, readings=step.readings) if step.readings else run


def everything(run: Run, policy: Policy, now: datetime) -> dict[str, Any]:
    """What `when`, `until` and texts for people see."""
    firing = sum(member.firing for member in run.members.values())
    alert = {
        "starts_at": run.alert.starts_at,
        "age": now - run.alert.starts_at,
        "count": firing,
        "fingerprint": run.alert.fingerprint,
        "truncated": run.alert.truncated,
    }
    about = {"labels": run.alert.labels, "annotations": run.alert.annotations, "alert": alert}
    return {**about, **for_operations(run, policy, now)}


def proof_scope(run: Run, policy: Policy, step: StepRun, now: datetime, proof: Reading) -> dict[str, Any]:
    """What `until` sees: everything, its item, and the two readings that it compares."""
    seen = everything(done_by(run, step), policy, now)
    scope = {**seen, **each_of(run, step.name), "verify": proof.as_seen()}
    return scope if step.before is None else {**scope, "before": step.before.as_seen()}


def _lived(policy: Policy, name: str, value: Any) -> Any:
    """Stored parameters are plain JSON; times and durations come back to life for expressions."""
    param = policy.params.get(name)
    if param is None or not isinstance(value, str):
        return value
    if param.type == "time":
        return datetime.fromisoformat(value)
    if param.type == "duration":
        return timedelta(seconds=float(value.rstrip("s")))
    return value
