"""What the tests of the core are about: one campaign, what can be done to it, and policies for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from remediator.core.alert import Alert
from remediator.core.catalog import Catalog, Connection, Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.durations import Rate
from remediator.core.expression import parse_duration
from remediator.core.messages import Use
from remediator.core.policy import Policy

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
VERSION = "v1"
TARGET = "campaign/c-1"

ROLES = {
    "oncall": frozenset({"bob", "carl"}),
    "lead": frozenset({"amina"}),
    "finance": frozenset({"amina", "dora"}),
}

_HTTP = {
    "method": Param("", escape=Escape.LITERAL),
    "path": Param("", escape=Escape.PATH),
    "body": Param("", type="any"),
}

CATALOG = Catalog.of(
    [
        Operation("sql.query", Kind.PROBE, "", {"sql": Param("", escape=Escape.LITERAL)}),
        Operation("http.get", Kind.PROBE, "", {"path": Param("", escape=Escape.PATH)}),
        Operation("http.request", Kind.ACTION, "", _HTTP, risk=Risk.DISRUPTIVE),
        Operation(
            "sql.execute",
            Kind.ACTION,
            "",
            {"args": Param("", required=False, type="list", exact=True)},
            risk=Risk.DESTRUCTIVE,
            previews=True,
        ),
        Operation("slack.message", Kind.ACTION, "", {"text": Param("", escape=Escape.MRKDWN)}),
        Operation(
            "ledger.execute",
            Kind.ACTION,
            "",
            {"sql": Param("", escape=Escape.LITERAL), "args": Param("", type="list", exact=True)},
            risk=Risk.DESTRUCTIVE,
            fence=Fence.TRANSACTION,
            previews=True,
        ),
        Operation("ledger.restore", Kind.ACTION, "", {}, risk=Risk.DESTRUCTIVE, fence=Fence.TRANSACTION),
    ],
    connections={
        "db": Connection("db", "sql"),
        "api": Connection("api", "http", risks={"POST /safe/*": Risk.SAFE, "DELETE /*": Risk.DESTRUCTIVE}),
        "keyed": Connection("keyed", "http", fence=Fence.KEY),
        "slack": Connection("slack", "slack"),
        "ledger": Connection("ledger", "ledger"),
    },
    roles=ROLES,
    escalations={"default": {"oncall": timedelta(), "lead": timedelta(minutes=15)}},
    targets=frozenset({"campaign"}),
    budgets={"pauses": Rate(2, timedelta(hours=1))},
)


def post(path: str, **rest: Any) -> dict[str, Any]:
    """A disruptive step: one POST, waived unless the story gives it a gate."""
    call = {"use": "http.request", "via": "api", "with": {"method": "POST", "path": path}}
    return call | {"gate": {"waived": "the story is not about gates"}} | rest


def change(**rest: Any) -> dict[str, Any]:
    """A destructive step: one statement in a transaction that leaves a mark, taken back after an hour."""
    call = {"use": "ledger.execute", "via": "ledger", "with": {"sql": "UPDATE …", "args": ["${campaign}"]}}
    terms = {"rows": 1, "gate": votes(oncall=1), "undo": {"how": "restore", "after": "1h"}}
    return call | terms | rest


def say(text: str = "look at ${campaign}", **rest: Any) -> dict[str, Any]:
    """A safe step: one message."""
    return {"use": "slack.message", "with": {"text": text}} | rest


def votes(within: str = "15m", late: str = "page", **required: Any) -> dict[str, Any]:
    """A gate."""
    return {"votes": required, "within": within, "late": late}


def proof(until: str = "verify.value == 0 && before.ok", **rest: Any) -> dict[str, Any]:
    """A proof by one probe; by default it wants a reading from before the act beside it."""
    return {"use": "http.get", "via": "api", "with": {"path": "/health"}, "until": until} | rest


def undo(path: str = "/resume/${campaign}", **rest: Any) -> dict[str, Any]:
    """An undo by one POST."""
    return {"use": "http.request", "via": "api", "with": {"method": "POST", "path": path}} | rest


def still(when: str = "verify.json.size == 4", path: str = "/pool") -> dict[str, Any]:
    """What must hold for an undo to be sent, by one probe."""
    return {"use": "http.get", "via": "api", "with": {"path": path}, "when": when}


def policy(steps: Mapping[str, Any] | None = None, **rest: Any) -> Policy:
    """A policy on one campaign; by default it probes nothing and takes all its steps, in order."""
    steps = steps or {}
    text: dict[str, Any] = {
        "policy": "late-campaign",
        "summary": "A campaign is late",
        "mode": "act",
        "match": ['{alertname="CampaignLate"}'],
        "params": {"campaign": {"from": "labels.campaign", "pattern": "[a-z0-9-]{1,20}"}},
        "target": "campaign/${campaign}",
        "decide": [{"do": list(steps)}] if steps else [{"do": "nothing"}],
        "steps": steps,
    }
    return Policy.model_validate(text | rest)


def budget_probe(**rest: Any) -> dict[str, Any]:
    """A probe that reads one row."""
    return {"budget": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}} | rest}


def alert(status: Literal["firing", "resolved"] = "firing", fingerprint: str = "f1", **rest: Any) -> Alert:
    """The campaign's alert."""
    labels = {"alertname": "CampaignLate", "campaign": "c-1", "env": "prod"}
    fields: dict[str, Any] = {"labels": labels, "starts_at": START - timedelta(minutes=3)}
    return Alert(fingerprint=fingerprint, status=status, **fields | rest)


def acted(span: str, **rest: Any) -> Use:
    """The bounds' counters when one act was so long before the start."""
    at = START - parse_duration(span)
    return Use(last_act=at, target_acts=(at,), policy_acts=(at,), **rest)
