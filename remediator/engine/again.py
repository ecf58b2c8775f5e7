"""A gate that expired is asked again, at somebody's wish: its alerts are decided anew, now.

Called by the desk, as one transaction. Only the cooldown that the expiry imposed is lifted; every other
bound is asked as ever. Whoever asks holds one of the roles that the gate asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from remediator.core.alert import Alert
from remediator.core.gate import not_again
from remediator.core.messages import Card, Entry
from remediator.core.policyset import PolicySet
from remediator.core.run import Gate, Run, Stage
from remediator.engine.decisions import Committed, Decisions
from remediator.ports import SYSTEM, Answer, Tx


@dataclass(frozen=True)
class Wish:
    """Who wants which gate to be asked again, and through which door."""

    gate: str
    by: str
    via: str


@dataclass(frozen=True)
class Again:
    """What came of it."""

    answer: Answer
    done: Committed = field(default_factory=Committed)


async def ask_again(tx: Tx, decisions: Decisions, policies: PolicySet, wish: Wish) -> Again:
    """Twice is harmless: the second time finds the open run, and says which."""
    run = await tx.run(wish.gate.rpartition(".")[0])
    gate = next((one for one in run.all_gates if one.id == wish.gate), None) if run is not None else None
    if run is None or gate is None:
        return _no(404, f"there is no gate {wish.gate}")
    roles = policies.catalog.roles_at(tx.now)
    if not any(wish.by in roles.get(role, frozenset()) for role in gate.required):
        return _no(403, f"{wish.by} has none of the roles {', '.join(gate.required)}")
    if no := not_again(gate):
        return _no(409, no)
    open_run = await tx.open_run(run.policy, run.target)
    if open_run is not None:
        data = {"gate": gate.id, "run": open_run.id}
        return Again(Answer(ok=True, text=f"run {open_run.id} is open about {run.target} already", data=data))
    if run.stage is not Stage.CLOSED:
        return _no(409, f"run {run.id} is {run.stage}: what it did before stands; ask once it has closed")
    if not run.members:
        return _no(409, f"run {run.id} was started by a person, for no alert: start it again")
    alerts = await _firing(tx, run)
    if not alerts:
        return _no(409, f"no alert of run {run.id} fires any more, so there is nothing to ask")
    wanted = [one for one in alerts if run.policy in {known.policy.name for known in policies.matching(one)}]
    if not wanted:
        return _no(409, f"policy {run.policy} is gone, or wants these alerts no more")
    done = await decisions.consider_again(tx, run, wanted)
    opened, said = await _outcome(tx, run, wanted[0])
    word = "asked again" if opened else "wants this asked again"
    await tx.save_run(_remarked(run, gate, f"{wish.by} {word}: {said}", opened), None)
    done.pending += await tx.put_effects(run.id, [Card(gate.id)])
    done.runs.append(run.id)
    about = {"gate": gate.id, "by": wish.by, "via": wish.via, "opened": opened, "answer": said}
    await tx.journal(run.id, [Entry("asked-again", about)])
    await tx.journal(SYSTEM, [Entry("asked-again", about)])
    if not opened:
        return Again(_no(409, said).answer, done)
    return Again(Answer(ok=True, text=f"asked again: {said}", data={"gate": gate.id, "run": opened}), done)


async def _firing(tx: Tx, run: Run) -> list[Alert]:
    rows = [await tx.alert(fingerprint) for fingerprint in run.members]
    return [row.alert for row in rows if row is not None and row.alert.firing]


async def _outcome(tx: Tx, expired: Run, alert: Alert) -> tuple[str, str]:
    """The run that was opened, or "", and what came of the wish in words."""
    standing = await tx.disposition(expired.policy, alert.fingerprint)
    assert standing is not None, "whatever is considered leaves its disposition"
    if standing.run and standing.run != expired.id:
        return standing.run, f"run {standing.run} was opened"
    return "", f"{standing.bound}: {standing.reason}"


def _remarked(run: Run, gate: Gate, remark: str, opened: str) -> Run:
    """The closed run, whose card says who asked and what came of it. A gate that expired is the last."""
    remarks = gate.remarks if remark in gate.remarks else (*gate.remarks, remark)[-5:]
    return msgspec.structs.replace(run, gate=msgspec.structs.replace(gate, again=opened, remarks=remarks))


def _no(status: int, why: str) -> Again:
    return Again(Answer(ok=False, text=f"not asked again: {why}", status=status))
