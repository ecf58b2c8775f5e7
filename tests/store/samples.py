"""What the store's tests keep: a clock set by hand, alerts, runs, pages, each with sensible defaults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from remediator.core.alert import Alert, Delivery
from remediator.core.catalog import Fence, Risk
from remediator.core.intention import Call, Intention, UndoPlan
from remediator.core.run import Member, Page, Run, Stage, StepRun, StepState
from remediator.ports import AlertRow, Disposition, Scope, Store

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class HandClock:
    """Stands still until moved. ``now`` may go back; ``monotonic`` may not."""

    def __init__(self, now: datetime = NOON) -> None:
        self.wall = now
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, by: timedelta) -> None:
        self.wall += by
        self.seconds += by.total_seconds()


class Rig(Protocol):
    """What a store must offer to be put under contract."""

    clock: HandClock
    url: str  # for another process
    statements: int  # that a whole decision takes, at least
    queued: int  # calls that overfill it many times, and that the slowest machine does in seconds

    async def opened(self) -> Store:
        """The store, opened; the rig closes it."""
        ...

    async def reopened(self) -> Store:
        """Closed, and opened again over the same data."""
        ...

    def fail_statement(self, number: int) -> None:
        """The number-th statement from now (from 1), and all after it, fail as on a broken disk."""
        ...

    def heal(self) -> bool:
        """Statements work again. True when one had failed."""
        ...

    async def tamper(self, sql: str) -> None:
        """Change rows behind the store's back."""
        ...

    async def spoil(self, key: str, table: str = "runs", doc: str = "{}") -> None:
        """From now on this program cannot read that row."""
        ...


def key_of(table: str) -> str:
    """The column by which `Rig.spoil` finds a row."""
    return "fingerprint" if table in {"alerts", "dispositions"} else "id"


def alert(fingerprint: str = "f1", **other: Any) -> Alert:
    fields: dict[str, Any] = {
        "status": "firing",
        "labels": {"alertname": "QueueStuck", "pod": f"worker-{fingerprint}", "note": "näh 🐢"},
        "starts_at": NOON,
    }
    return Alert(fingerprint=fingerprint, **fields | other)


def heard(fingerprint: str = "f1", at: datetime = NOON, **other: Any) -> AlertRow:
    return AlertRow(alert=alert(fingerprint, **other), first_at=at, last_at=at, changed_at=at)


def delivery(*fingerprints: str) -> Delivery:
    alerts = tuple(alert(one) for one in fingerprints or ("f1",))
    return Delivery(source="alertmanager", alerts=alerts, received_at=NOON, group_key='{}:{alertname="X"}')


def disposition(policy: str = "unstick", fingerprint: str = "f1", **other: Any) -> Disposition:
    fields: dict[str, Any] = {"kind": "refused", "bound": "cooldown", "since": NOON}
    return Disposition(policy=policy, fingerprint=fingerprint, **fields | other)


def a_run(run_id: str = "r1", **other: Any) -> Run:
    fields: dict[str, Any] = {
        "policy": "unstick",
        "version": "v1",
        "mode": "act",
        "target": "deployment/shop/worker",
        "opened_at": NOON,
        "alert": alert(),
        "members": {"f1": Member(firing=True, since=NOON)},
        "params": {"pod": "worker-1", "share": 0.07},
    }
    return Run(id=run_id, **fields | other)


def holding(run_id: str, *steps: str) -> Run:
    """A run whose temporary changes stand."""
    done = {
        name: StepRun(name=name, state=StepState.VERIFIED, started_at=NOON, intention=_temporary(name))
        for name in steps
    }
    return a_run(run_id, stage=Stage.HOLDING, acted=True, plan=steps, steps=done)


def _temporary(step: str) -> Intention:
    call = Call("http.request", "shop_api", {"path": "/pause"})
    undo = UndoPlan(source={"path": "/resume"}, call=call, after_s=600.0)
    return Intention(step=step, call=call, risk=Risk.DISRUPTIVE, fence=Fence.NONE, verify=None, undo=undo)


def a_page(page_id: str = "p1", key: str = "unknown:r1", **other: Any) -> Page:
    return Page(id=page_id, key=key, chain="default", text="look", **{"opened_at": NOON} | other)


def scope(run: str = "r1", **other: Any) -> Scope:
    fields: dict[str, Any] = {
        "policy": "unstick",
        "target": "deployment/shop/worker",
        "target_window": HOUR,
        "policy_window": HOUR,
    }
    return Scope(run=run, **fields | other)
