"""The loyalty program that runs out of budget, as runs and gates for cards to show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import SecretStr

from remediator.config import Person, Slack
from remediator.core.alert import Alert
from remediator.core.catalog import Fence, Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import kept
from remediator.core.intention import Call, Intention, UndoPlan
from remediator.core.run import Gate, Member, Page, Run, Stage, StepRun, Vote

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
PUBLIC = "https://remediator.example"
HASH = "0123456789abcdef" * 4

PEOPLE = {
    "amina": Person(slack="T01TEST/U01ALICE"),
    "bob": Person(slack="T01TEST/U02BOB"),
    "carol": Person(),
}


def slack_app(url: str = "http://127.0.0.1:1/api/", **settings: Any) -> Slack:
    given: dict[str, Any] = {
        "bot_token": SecretStr("xoxb-test"),
        "signing_secret": SecretStr("8f742231b10e8888abcd99yyyzzz85a5"),
        "channel": "C0OPS",
        "api_url": url,
        **settings,
    }
    return Slack(**given)


def alert(**changes: Any) -> Alert:
    given: dict[str, Any] = {
        "fingerprint": "f1",
        "status": "firing",
        "labels": {"alertname": "LoyaltyProgramBudgetHigh", "severity": "high", "program_id": "p-17"},
        "annotations": {"summary": "Teranga has used 97 % of its budget"},
        "starts_at": NOW - timedelta(minutes=12),
        **changes,
    }
    return Alert(**given)


def warn() -> Intention:
    return Intention(
        step="warn_merchant",
        call=Call("slack.message", "slack", {"channel": "C0LOYALTY", "text": "Program Teranga: 3.2 % left"}),
        risk=Risk.SAFE,
        fence=Fence.NONE,
        verify=None,
        undo=None,
    )


def pause(args: dict[str, Any] | None = None, **changes: Any) -> Intention:
    given: dict[str, Any] = {
        "step": "pause_campaigns",
        "call": Call(
            "http.request",
            "loyalty_api",
            args
            if args is not None
            else {"method": "POST", "path": "/api/programs/p-17/pause", "body": {"for": "24h"}},
        ),
        "risk": Risk.DESTRUCTIVE,
        "fence": Fence.KEY,
        "verify": Call("prometheus.query", "prometheus", {"query": 'rate(spent{program_id="p-17"}[5m])'}),
        "undo": UndoPlan(
            {"use": "http.request", "with": {"method": "POST", "path": "/api/programs/p-17/resume"}},
            None,
            86_400.0,
            ("unverified",),
        ),
        "summary": "POST /api/programs/p-17/pause",
        **changes,
    }
    return Intention(**given)


def gate(*intentions: Intention, **changes: Any) -> Gate:
    steps = intentions or (warn(), pause())
    given: dict[str, Any] = {
        "id": "r-1.1",
        "steps": tuple(one.step for one in steps),
        "intentions": steps,
        "hash": HASH,
        "required": {"finance_ops": 1, "ops_marketing": 1},
        "opened_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "late": "page",
        "pictures": {
            "pause_campaigns": Picture(
                2, "loyalty_campaigns", ({"id": "c-1", "status": "active"}, {"id": "c-2", "status": "active"})
            )
        },
        **changes,
    }
    return Gate(**given)


def table(*rows: dict[str, Any], count: int = 0, text: str = "updated_at = now()") -> Picture:
    """Rows of a table before and after, as a database's preview gives them."""
    return Picture(count or len(rows), text, tuple(kept(row) for row in rows))


def halved(number: int = 17, **more: Any) -> dict[str, Any]:
    """One row whose earn rate would be halved."""
    before = {"earn_rate": Decimal("0.0700"), "status": "active"}
    return {
        "key": {"id": f"p-{number}"},
        "before": before,
        "after": {"earn_rate": Decimal("0.0350"), "status": "paused"},
        **more,
    }


def waiting(asked: Gate | None = None, **changes: Any) -> Run:
    asked = asked or gate()
    given: dict[str, Any] = {
        "id": "r-1",
        "policy": "loyalty-budget-exhaustion",
        "version": "v1",
        "mode": "act",
        "target": "loyalty-program/p-17",
        "opened_at": NOW,
        "alert": alert(),
        "members": {"f1": Member(firing=True, since=NOW)},
        "params": {"program_id": "p-17"},
        "stage": Stage.WAITING,
        "readings": {
            "budget": Reading(
                NOW,
                ok=True,
                value={
                    "rows": [{"name": "Teranga", "remaining_pct": "3.20"}],
                    "row": {"name": "Teranga", "remaining_pct": "3.20"},
                    "count": 1,
                },
            ),
            "spend": Reading(NOW, ok=True, value={"value": 41.5, "series": [{"labels": {}, "value": 41.5}]}),
            "queue": Reading(NOW, ok=False, error="prometheus: no answer within 10 s"),
        },
        "plan": asked.steps,
        "steps": {one.step: StepRun(one.step, intention=one) for one in asked.intentions},
        "gate": asked,
        **changes,
    }
    return Run(**given)


def vote(by: str, *, approve: bool = True, reason: str = "", minute: int = 2) -> Vote:
    return Vote(by, approve, NOW + timedelta(minutes=minute), "slack", HASH[:16], reason)


def page(**changes: Any) -> Page:
    given: dict[str, Any] = {
        "id": "pg-1",
        "key": "run/r-1/unknown",
        "chain": "default",
        "text": "pause_campaigns on loyalty-program/p-17: outcome unknown",
        "opened_at": NOW,
        "run": "r-1",
        **changes,
    }
    return Page(**given)
