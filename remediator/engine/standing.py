"""What is known of an alert: its row as it was last heard, and what each policy has answered to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from remediator.core.alert import Alert
from remediator.core.play import News
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet
from remediator.core.run import Outcome, Refusal, Run
from remediator.ports import AlertRow, Disposition, Tx


def heard(row: AlertRow | None, alert: Alert, what: News, at: datetime, now: datetime) -> AlertRow:
    """The alert's row with this delivery in it, which was received at that time."""
    if row is None:
        return AlertRow(alert=alert, first_at=now, last_at=now, changed_at=now, received_at=at)
    if what is News.STALE:
        return msgspec.structs.replace(row, last_at=now, deliveries=row.deliveries + 1)
    same = what in (News.REPEAT, News.REWORDED) and alert.starts_at <= row.alert.starts_at
    return AlertRow(
        alert=alert,
        first_at=row.first_at,
        last_at=now,
        changed_at=row.changed_at if same else now,
        deliveries=row.deliveries + 1,
        received_at=at,
    )


def misread(standing: Disposition) -> bool:
    """Was it refused for what the alert says?"""
    return (standing.kind, standing.bound) == ("refused", "params")


async def stand(tx: Tx, policy: str, fingerprint: str, refusal: Refusal, **more: Any) -> None:
    """Keep why nothing is done about an alert; the same answer again keeps its age.

    ``more``: target, run, kind, rewordings.
    """
    before = await tx.disposition(policy, fingerprint)
    kept: dict[str, Any] = {"kind": "refused", "rewordings": before.rewordings if before is not None else 0}
    no = Disposition(
        policy=policy,
        fingerprint=fingerprint,
        bound=refusal.bound,
        reason=refusal.reason,
        again_at=refusal.again_at,
        waits_for=refusal.waits_for,
        since=tx.now,
        refused_since=tx.now,
        **(kept | more),
    )
    if no.kind != "refused":
        no = msgspec.structs.replace(no, refused_since=None)
    elif before is not None and before.refused_since is not None:
        no = msgspec.structs.replace(no, refused_since=before.refused_since, paged=before.paged)
    if before is not None and (before.kind, before.bound) == (no.kind, no.bound):
        no = msgspec.structs.replace(no, since=before.since)
    await tx.put_disposition(no)


async def hold(tx: Tx, run: Run, policy: Policy) -> None:
    """A change stands for a time; whatever still fires is decided again meanwhile, by another run."""
    again = Refusal("recheck", f"run {run.id} holds", again_at=tx.now + policy.pause)
    await _leave(tx, run, again, kind="holding", rewordings=0)


async def part(tx: Tx, run: Run, again: Refusal) -> None:
    """A run is over. Alerts that still fire are decided again; nothing is forgotten."""
    kind = "refused" if run.outcome is Outcome.REFUSED else "closed"
    reworded = bool(run.reworded) and again.bound == "changed"
    await _leave(tx, run, again, kind=kind, rewordings=run.rewordings if reworded else 0)


async def _leave(tx: Tx, run: Run, again: Refusal, **more: Any) -> None:
    for fingerprint, member in run.members.items():
        if member.firing:
            await stand(tx, run.policy, fingerprint, again, target=run.target, run=run.id, **more)


def unanswered(standing: Disposition | None) -> bool:
    """By a policy: nothing stands, or a refusal, or it stands because the policy was another."""
    return standing is None or standing.kind == "refused" or standing.bound == "policy"


async def orphaned(tx: Tx, policies: PolicySet) -> list[Disposition]:
    """Refusals by a policy that is gone. Only reads."""
    found = await tx.dispositions(refused_only=True)
    return [one for one in found if one.policy not in policies.by_name]


async def undecided(tx: Tx, policies: PolicySet) -> list[Alert]:
    """Alerts that fire and that a policy has not decided on, or refused. Only reads."""
    standing = {(one.policy, one.fingerprint): one for one in await tx.dispositions()}
    return [
        row.alert
        for row in await tx.alerts(firing_only=True, limit=100_000)
        if any(
            unanswered(standing.get((one.policy.name, row.alert.fingerprint)))
            for one in policies.matching(row.alert)
        )
    ]


async def follow(tx: Tx, policy: str, fingerprint: str, run: Run, kind: str) -> None:
    """The alert belongs to a run now."""
    before = await tx.disposition(policy, fingerprint)
    await tx.put_disposition(
        Disposition(
            policy=policy,
            fingerprint=fingerprint,
            kind=kind,
            target=run.target,
            params=run.params,
            run=run.id,
            since=tx.now,
            refused_since=before.refused_since if before is not None else None,
            paged=before.paged if before is not None else False,
            rewordings=run.rewordings,
        )
    )
