"""What the API takes and gives, as types: decoded strictly, documented by `openapi`.

Runs, alerts, halts, pages and journal lines are given as the core has them; here is the rest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from remediator.core.evidence import Picture
from remediator.core.run import Halt, Outcome, Page, Stage, Vote
from remediator.ports import AlertRow, JournalEntry, Rejected, Replica

Reason = Annotated[str, Meta(max_length=500)]
Given = Annotated[str, Meta(min_length=1, max_length=500)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]

# ── Taken ─────────────────────────────────────────────────────────────────────────────────────────


class VoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """hash: (the start of) the gate's hash that the person was shown; a changed plan is then refused."""

    vote: Literal["approve", "deny"]
    reason: Reason = ""
    hash: Annotated[str, Meta(pattern="^([0-9a-f]{8,64})?$")] = ""
    via: Literal["api", "page", "cli"] = "api"


class AskBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody wants a gate that expired to be asked again."""

    via: Literal["api", "page", "cli"] = "api"


class StartBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A run by hand. key: any text of yours; the same one never starts a second run."""

    policy: Name
    params: dict[Annotated[str, Meta(max_length=200)], str | int | float | bool | None] = {}
    key: Annotated[str, Meta(max_length=200)] = ""


class SettleBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What became of an unknown outcome, as somebody found who looked.

    question: the one that the person was shown; once it is settled, it is not settled again. A run that has
    asked only one need not be told which.
    """

    verdict: Literal["happened", "not-happened", "handled"]
    reason: Reason = ""
    question: Annotated[str, Meta(max_length=200)] = ""
    via: Literal["api", "page", "cli"] = "api"


class HaltBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Of one policy, of one target, or with neither: of everything."""

    reason: Given
    policy: Name | msgspec.UnsetType = msgspec.UNSET
    target: Name | msgspec.UnsetType = msgspec.UNSET
    undos: bool = False


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object, or no body at all."""


# ── Given ─────────────────────────────────────────────────────────────────────────────────────────


class ProblemShape(Struct, frozen=True):
    """Anything that is not 2xx. ``request`` finds the line in the log."""

    error: str
    status: int
    request: str = ""


class Told(Struct, frozen=True):
    """What came of something that a person asked for. ``data``: ids and states, by their names."""

    ok: bool
    text: str
    data: dict[str, Any] = {}


class RunRow(Struct, frozen=True, kw_only=True):
    """A run in a list; `/api/v1/runs/{id}` has all of it."""

    id: str
    policy: str
    target: str
    mode: str
    down_until: datetime | None  # the mode is lower than the policy's until then, after failures
    stage: Stage
    outcome: Outcome | None
    reason: str
    alert: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None
    firing: int
    alerts: int
    steps: dict[str, str]  # name → state
    gate: str | None
    undo_at: datetime | None


class RunList(Struct, frozen=True):
    """Newest first. ``before``: give it back for the next, older ones; null when there are none."""

    runs: list[RunRow]
    before: str | None


class JournalShape(Struct, frozen=True):
    """Every line is linked to the one before it: ``remediator audit verify`` checks."""

    run: str
    entries: list[JournalEntry]


class AlertList(Struct, frozen=True):
    """Most recently heard first."""

    alerts: list[AlertRow]


class PolicyRow(Struct, frozen=True, kw_only=True):
    """A running policy, and how its runs ended."""

    name: str
    mode: Literal["observe", "suggest", "act"]
    version: str
    summary: str
    owner: str
    severity: Literal["critical", "high", "medium", "low"]
    runbook: str
    file: str
    outcomes: dict[str, int]


class PolicyList(Struct, frozen=True):
    """By name. ``version``: of the whole set; ``refused``: why the files that are there now do not run."""

    policies: list[PolicyRow]
    version: str = ""
    refused: list[str] = []


class StepShown(Struct, frozen=True, kw_only=True):
    """Exactly what a step will do."""

    step: str
    risk: str
    summary: str
    operation: str
    connection: str
    args: dict[str, Any]
    verify: dict[str, Any] | None
    undo: dict[str, Any] | None
    picture: Picture | None


class GateRow(Struct, frozen=True, kw_only=True):
    """A gate: what it binds, who voted, and who is missing."""

    id: str
    run: str
    policy: str
    target: str
    hash: str
    state: str
    steps: list[StepShown]
    required: dict[str, int]
    missing: dict[str, int]
    people: dict[str, list[str]]  # role → who may fill it
    votes: tuple[Vote, ...]
    opened_at: datetime
    expires_at: datetime
    late: str
    again: str  # it expired and was asked again: the run that asks; else empty


class GateList(Struct, frozen=True):
    """The open ones; the first to expire first."""

    gates: list[GateRow]


class HaltList(Struct, frozen=True):
    """Those in force."""

    halts: list[Halt]


class PageList(Struct, frozen=True):
    """Those that nobody has acknowledged."""

    pages: list[Page]


class RejectedList(Struct, frozen=True):
    """Newest first."""

    rejected: list[Rejected]


class RefusalRow(Struct, frozen=True, kw_only=True):
    """A refusal that stands: why nothing is done about an alert, and when it is considered again."""

    policy: str
    target: str
    alert: str
    fingerprint: str
    bound: str
    reason: str
    since: datetime
    again_at: datetime | None
    waits_for: str
    paged: bool


class StatusShape(Struct, frozen=True, kw_only=True):
    """The status page as data. ``you``: whose token came with the request.

    replicas: the daemons that share the store, with their lease and the version of their policies.
    """

    now: datetime
    healthy: bool
    needs_you: int
    problems: list[str]
    you: str | None
    store: Literal["up", "down"]
    inbox: int
    truncated: int
    replicas: list[Replica]
    halts: list[Halt]
    gates: list[GateRow]
    asking: list[RunRow]
    pages: list[Page]
    runs: list[RunRow]
    holds: list[RunRow]
    recent: list[RunRow]
    policies: list[PolicyRow]
    refusals: list[RefusalRow]
    rejected: list[Rejected]


class HealthShape(Struct, frozen=True):
    """``problems`` are told to this machine only."""

    status: Literal["ok", "not ready"]
    problems: list[str] = []
