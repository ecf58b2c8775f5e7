"""What is known of an alert: its row as it was last heard, and what each policy has answered to it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from remediator.core.alert import Alert
from remediator.core.play import News
from remediator.core.run import Refusal, Run
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

    ``more``: target, run, kind.
    """
    no = Disposition(
        policy=policy,
        fingerprint=fingerprint,
        bound=refusal.bound,
        reason=refusal.reason,
        again_at=refusal.again_at,
        waits_for=refusal.waits_for,
        since=tx.now,
        refused_since=tx.now,
        **({"kind": "refused"} | more),
    )
    before = await tx.disposition(policy, fingerprint)
    if no.kind != "refused":
        no = msgspec.structs.replace(no, refused_since=None)
    elif before is not None and before.refused_since is not None:
        no = msgspec.structs.replace(no, refused_since=before.refused_since, paged=before.paged)
    if before is not None and (before.kind, before.bound) == (no.kind, no.bound):
        no = msgspec.structs.replace(no, since=before.since)
    await tx.put_disposition(no)


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
        )
    )
