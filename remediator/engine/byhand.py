"""A person starts a run of a policy: opened as for an alert, by the same bounds, with no alert behind it.

Called by the desk, as one transaction. Nothing waits here: what is refused is refused with its reason,
and is not tried again by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from remediator.core import byhand, planning
from remediator.core.canonical import digest
from remediator.core.messages import Entry
from remediator.core.parameters import fit
from remediator.core.play import Opening
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Refusal, Run
from remediator.engine.decisions import Committed, Decisions
from remediator.ports import SYSTEM, Answer, Tx


@dataclass(frozen=True)
class Wish:
    """Who wants a run of which policy, with which params. ``key``: the same one never opens a second run."""

    policy: str
    params: Mapping[str, Any]
    by: str
    key: str = ""

    def run_id(self, new_id: Callable[[str], str]) -> str:
        """Made of the key, where there is one: so that whoever asks again finds the same run."""
        return f"r-{digest(['by hand', self.by, self.key])[:20]}" if self.key else new_id("r")


@dataclass(frozen=True)
class Start:
    """What came of it."""

    answer: Answer
    done: Committed = field(default_factory=Committed)


async def start(
    tx: Tx, decisions: Decisions, policies: PolicySet, wish: Wish, new_id: Callable[[str], str]
) -> Start:
    """Open it, or say why not: everything that is wrong with the params at once."""
    roles = policies.catalog.roles_at(tx.now)
    if not any(wish.by in people for people in roles.values()):
        return _no(403, f"{wish.by} has no role; starting a run takes one")
    versioned = policies.by_name.get(wish.policy)
    if versioned is None:
        there = ", ".join(sorted(policies.by_name)) or "none"
        return _no(404, f"there is no policy {wish.policy}; there are {there}")
    params, wrong = fit(versioned.policy.params, wish.params)
    if wrong:
        told = [str(one) for one in wrong]
        return _no(400, "; ".join(told) if len(told) == 1 else " · ".join(told), problems=told)
    address = planning.aimed(versioned.policy, params)
    if isinstance(address, Refusal):
        return _no(400, address.reason)
    run_id = wish.run_id(new_id)
    known = await tx.run(run_id)
    if known is not None:
        return _again(known, wish, address)
    return await _start(tx, decisions, versioned, wish, address, run_id)


def _again(known: Run, wish: Wish, address: planning.Address) -> Start:
    """The key was seen before: the very same wish has its run already."""
    if (known.policy, known.params) != (wish.policy, address.params):
        what = f"run {known.id}, {known.policy} on {known.target}"
        return _no(409, f"this key has started another one: {what}", run=known.id)
    text = f"run {known.id} of {known.policy} on {known.target} was started with this key before"
    return Start(Answer(ok=True, text=text, data=_about(known)))


async def _start(
    tx: Tx,
    decisions: Decisions,
    versioned: Versioned,
    wish: Wish,
    address: planning.Address,
    run_id: str,
) -> Start:
    policy, target = versioned.policy, address.target
    open_run = await tx.open_run(policy.name, target)
    if open_run is not None:
        text = f"run {open_run.id} of {policy.name} on {target} is open already ({open_run.stage})"
        return _no(409, text, run=open_run.id)
    alert = byhand.stand_in(policy, wish.by, f"hand-{run_id.partition('-')[2]}", tx.now)
    opening = Opening(run_id, versioned.version, address, alert, f"{byhand.SOURCE}{wish.by}")
    done = Committed()
    no = byhand.never_over(policy) or await decisions.open(tx, versioned, opening, done)
    if no is not None:
        why = {"bound": no.bound, "reason": no.reason}
        about = {"by": wish.by, "policy": policy.name, "target": target, **why}
        await tx.journal(SYSTEM, [Entry("start-refused", about)])
        again_at = no.again_at.isoformat() if no.again_at is not None else None
        more = {"bound": no.bound, "again_at": again_at, "waits_for": no.waits_for}
        return _no(409, f"{no}{_when(no)}", **more)
    run = await tx.run(run_id)
    assert run is not None
    return Start(Answer(ok=True, text=f"run {run.id} of {policy.name} on {target}", data=_about(run)), done)


def _when(no: Refusal) -> str:
    """From when on it may be tried again, as far as that is known."""
    if no.again_at is not None:
        return f"; start it again from {no.again_at:%Y-%m-%d %H:%M:%S} UTC on"
    if no.waits_for == "halt":
        return "; start it again once the halt is lifted"
    return f"; start it again after {no.waits_for.replace(':', ' ', 1)}" if no.waits_for else ""


def _about(run: Run) -> dict[str, Any]:
    return {"run": run.id, "policy": run.policy, "target": run.target, "stage": str(run.stage)}


def _no(status: int, why: str, **data: Any) -> Start:
    return Start(Answer(ok=False, text=f"not started: {why}", status=status, data=data or None))
