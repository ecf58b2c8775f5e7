"""What the page's tests look at: a store with runs at every stage, and a desk that remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from remediator.core.alert import Alert
from remediator.core.catalog import Catalog, Fence, Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.intention import Call, Intention, UndoPlan
from remediator.core.messages import Entry
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Gate, Halt, Member, Outcome, Page, Run, Stage, StepRun, StepState, Vote
from remediator.ports import AlertRow, Answer, Disposition, Rejected, Store, Tx
from tests.store.samples import NOON

MINUTE = timedelta(minutes=1)
ROLES = {
    "oncall": frozenset({"bob"}),
    "finance_ops": frozenset({"amina"}),
    "ops_marketing": frozenset({"bob", "chidi"}),
}
HASH = "3f9ac21e" * 8
BUDGET = "loyalty-budget-exhaustion"


@dataclass
class FakeDesk:
    """Says yes to everything that exists, and keeps what it was asked."""

    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: Answer(ok=True, text="heard", data={"id": "x"}))

    def _hear(self, what: str, **said: Any) -> Answer:
        self.asked.append((what, said))
        return self.answer

    async def vote(
        self, gate: str, *, by: str, approve: bool, via: str, reason: str = "", seen: str = ""
    ) -> Answer:
        return self._hear("vote", gate=gate, by=by, approve=approve, via=via, reason=reason, seen=seen)

    async def ask_again(self, gate: str, *, by: str, via: str) -> Answer:
        return self._hear("ask-again", gate=gate, by=by, via=via)

    async def start(self, policy: str, params: Mapping[str, Any], *, by: str, key: str = "") -> Answer:
        return self._hear("start", policy=policy, params=params, by=by, key=key)

    async def settle(
        self, run: str, *, by: str, verdict: str, reason: str = "", via: str = "api", question: str = ""
    ) -> Answer:
        return self._hear(
            "settle", run=run, by=by, verdict=verdict, reason=reason, via=via, question=question
        )

    async def halt(self, *, by: str, scope: str, reason: str, undos: bool = False) -> Answer:
        return self._hear("halt", by=by, scope=scope, reason=reason, undos=undos)

    async def resume(self, halt: str, *, by: str) -> Answer:
        return self._hear("resume", halt=halt, by=by)

    async def acknowledge(self, page: str, *, by: str) -> Answer:
        return self._hear("acknowledge", page=page, by=by)

    async def reload(self, *, by: str) -> Answer:
        return self._hear("reload", by=by)


def policies() -> PolicySet:
    """Four policies, one in each mood."""
    told = {
        "loyalty-budget-exhaustion": ("act", "A loyalty program has used 90 % or more of its budget"),
        "stuck-worker": ("act", "A worker takes no jobs although its queue grows"),
        "campaign-not-started": ("suggest", "A scheduled campaign did not start"),
        "slow-checkout": ("observe", "Checkout answers slower than 500 ms at the 95th percentile"),
    }
    made = [_policy(name, mode, summary) for name, (mode, summary) in told.items()]
    versioned = [
        Versioned(policy, f"{number}a7c09e1" * 8, file=f"policies/{policy.name}.yaml")
        for number, policy in enumerate(made)
    ]
    return PolicySet.of(versioned, Catalog.of((), roles=ROLES))


def _policy(name: str, mode: str, summary: str) -> Policy:
    return Policy.model_validate(
        {
            "policy": name,
            "summary": summary,
            "owner": "loyalty-ops",
            "runbook": "https://runbooks.example/loyalty#budget",
            "mode": mode,
            "match": ['{alertname="LoyaltyProgramBudgetHigh"}'],
            "target": "loyalty-program/p-17",
            "decide": [{"do": "nothing"}],
        }
    )


def alert(**other: Any) -> Alert:
    fields: dict[str, Any] = {
        "fingerprint": "a1b2c3d4e5f60718",
        "status": "firing",
        "labels": {
            "alertname": "LoyaltyProgramBudgetHigh",
            "env": "prod",
            "program_id": "p-17",
            "severity": "high",
        },
        "annotations": {
            "summary": "Program Teranga has used 96.8 % of its budget",
            "runbook_url": "https://runbooks.example/loyalty#budget",
        },
        "starts_at": NOON - 12 * MINUTE,
        "generator_url": "http://prometheus.example:9090/graph?g0.expr=loyalty_budget",
    }
    return Alert(**fields | other)


def run(number: int = 1, **other: Any) -> Run:
    heard = other.pop("alert", None) or alert()
    fields: dict[str, Any] = {
        "id": f"r-1m8s2k0pq{number:05}",
        "policy": "loyalty-budget-exhaustion",
        "version": "0a7c09e1" * 8,
        "mode": "act",
        "target": "loyalty-program/p-17",
        "opened_at": NOON - 3 * MINUTE,
        "alert": heard,
        "members": {heard.fingerprint: Member(firing=True, since=NOON - 3 * MINUTE)},
        "params": {"program_id": "p-17"},
    }
    return Run(**fields | other)


def halve(**other: Any) -> Intention:
    sql = "UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3"
    fields: dict[str, Any] = {
        "step": "halve_earn_rate",
        "call": Call("postgres.execute", "loyalty_db", {"sql": sql, "args": ["p-17", 0.035, 0.07]}),
        "risk": Risk.DESTRUCTIVE,
        "fence": Fence.NONE,
        "verify": Call(
            "prometheus.query",
            "prometheus",
            {"query": 'rate(loyalty_budget_spent_total{program_id="p-17"}[5m])'},
        ),
        "undo": UndoPlan({"how": "restore"}, None, 86400.0, ("unverified",)),
        "summary": f"postgres.execute via loyalty_db (sql={sql!r}, args=['p-17', 0.035, 0.07])",
    }
    return Intention(**fields | other)


def warn_merchant() -> Intention:
    text = "Program Teranga: 3.2 % of its budget left"
    return Intention(
        step="warn_merchant",
        call=Call("slack.message", "slack", {"channel": "C0LOYALTY", "text": text}),
        risk=Risk.SAFE,
        fence=Fence.NONE,
        verify=None,
        undo=None,
        summary=f"slack.message via slack (channel='C0LOYALTY', text='{text}')",
    )


def restart(path: str = "/api/workers/w-3/restart") -> Intention:
    return Intention(
        step="restart_worker",
        call=Call("http.request", "loyalty_api", {"method": "POST", "path": path}),
        risk=Risk.DISRUPTIVE,
        fence=Fence.KEY,
        verify=Call("prometheus.query", "prometheus", {"query": 'queue_depth{worker="w-3"}'}),
        undo=None,
        summary=f"POST {path} via loyalty_api",
    )


READINGS = {
    "budget": Reading(
        NOON - 3 * MINUTE,
        ok=True,
        value={
            "row": {"name": "Teranga", "earn_rate": 0.07, "budget_limit": 50000, "remaining_pct": 3.2},
            "rows": [{}],
            "count": 1,
        },
    ),
    "spend_rate": Reading(NOON - 3 * MINUTE, ok=False, error="no answer within 10 s"),
}


def waiting(number: int = 1, **other: Any) -> Run:
    """At an open gate with one of two votes."""
    steps = (warn_merchant(), halve())
    made = run(number, **({"stage": Stage.WAITING, "readings": READINGS, "case": 2} | other))
    gate = Gate(
        id=f"{made.id}.1",
        steps=("warn_merchant", "halve_earn_rate"),
        intentions=steps,
        hash=HASH,
        required={"finance_ops": 1, "ops_marketing": 1},
        opened_at=NOON - 3 * MINUTE,
        expires_at=NOON + 12 * MINUTE,
        late="page",
        votes=(Vote("amina", True, NOON - MINUTE, "slack", HASH[:16], "the merchant knows"),),
        pictures={
            "halve_earn_rate": Picture(
                1,
                "earn_rate of loyalty_programs; updated_at = now()",
                (
                    {
                        "key": {"id": "p-17"},
                        "before": {"earn_rate": {"#": "0.0700"}},
                        "after": {"earn_rate": {"#": "0.0350"}},
                    },
                ),
            )
        },
    )
    return msgspec.structs.replace(
        made,
        gate=gate,
        plan=gate.steps,
        steps={one.step: StepRun(one.step, intention=one) for one in steps},
    )


def asking(number: int = 2) -> Run:
    """Its outcome is unknown."""
    step = StepRun(
        "restart_worker",
        StepState.UNKNOWN,
        restart(),
        attempt=3,
        started_at=NOON - 2 * MINUTE,
        error="no answer within 10 s",
        unknown=True,
    )
    return run(
        number,
        policy="stuck-worker",
        target="worker/w-3",
        stage=Stage.ASKING,
        plan=("restart_worker",),
        steps={"restart_worker": step},
        acted=True,
        alert=alert(fingerprint="bb01", labels={"alertname": "QueueStuck", "worker": "w-3"}, annotations={}),
    )


def holding(number: int = 3) -> Run:
    """A change stands for a day; proved."""
    before = Reading(NOON - 70 * MINUTE, ok=True, value={"value": 40.0})
    proof = Reading(NOON - 60 * MINUTE, ok=True, value={"value": 18.0})
    step = StepRun(
        "halve_earn_rate",
        StepState.VERIFIED,
        halve(),
        attempt=1,
        started_at=NOON - 65 * MINUTE,
        finished_at=NOON - 65 * MINUTE,
        result={"rows": 1, "returned": [{"id": "p-9", "earn_rate": 0.035}]},
        before=before,
        proof=proof,
        worked=True,
        undo_at=NOON + timedelta(hours=22, minutes=55),
    )
    return run(
        number,
        target="loyalty-program/p-9",
        stage=Stage.HOLDING,
        opened_at=NOON - 75 * MINUTE,
        readings={"budget": READINGS["budget"]},
        plan=("halve_earn_rate",),
        steps={"halve_earn_rate": step},
        acted=True,
    )


def working(number: int = 4) -> Run:
    """Looking whether it worked."""
    step = StepRun(
        "restart_worker", StepState.DONE, restart(), 1, NOON - MINUTE, NOON - MINUTE, result={"status": 202}
    )
    return run(
        number,
        policy="stuck-worker",
        target="worker/w-7",
        stage=Stage.VERIFYING,
        plan=("restart_worker",),
        steps={"restart_worker": step},
        acted=True,
        opened_at=NOON - 2 * MINUTE,
    )


def closed(number: int, outcome: Outcome, reason: str, **other: Any) -> Run:
    at = NOON - number * 7 * MINUTE
    return run(
        100 + number,
        stage=Stage.CLOSED,
        outcome=outcome,
        reason=reason,
        opened_at=at - 4 * MINUTE,
        closed_at=at,
        **other,
    )


ENDED = (
    (Outcome.FIXED, "restart_worker proved", "stuck-worker", "worker/w-2"),
    (Outcome.NOTHING_TO_DO, "case 1 says: do nothing", BUDGET, "loyalty-program/p-4"),
    (Outcome.RECOVERED, "the alert resolved before anything was started", "stuck-worker", "worker/w-5"),
    (Outcome.OBSERVED, "would do: scale_checkout", "slow-checkout", "deployment/shop/checkout"),
    (
        Outcome.INEFFECTIVE,
        "restart_worker was not proved: 'verify.value < 10.0' did not hold in time",
        "stuck-worker",
        "worker/w-2",
    ),
    (Outcome.DENIED, "denied by amina: the merchant asked us to wait", BUDGET, "loyalty-program/p-2"),
    (Outcome.EXPIRED, "nobody answered in time (until 09:12:00 UTC)", "campaign-not-started", "campaign/c"),
    (Outcome.REFUSED, "probe: budget: expected one row, read 0", BUDGET, "loyalty-program/p-0"),
    (Outcome.FAILED, "restart_worker was refused: 409 already restarting", "stuck-worker", "worker/w-1"),
    (Outcome.HANDED_OVER, "taken by bob", "stuck-worker", "worker/w-3"),
)  # fmt: skip


def journal(one: Run) -> list[Entry]:
    """A journal with a line of every kind that a run may have."""
    at = (NOON + timedelta(hours=23)).isoformat()
    value = {"row": {"name": "Teranga", "remaining_pct": 3.2}, "count": 1}
    intention = {"summary": "UPDATE loyalty_programs SET earn_rate = $2 via loyalty_db"}
    step = "halve_earn_rate"
    call = {"operation": "postgres.execute", "args": {}}
    lines: list[tuple[str, dict[str, Any]]] = [
        ("opened", {"policy": one.policy, "version": one.version, "mode": one.mode, "target": one.target,
                    "by": "alert", "params": one.params, "labels": one.alert.labels, "at_once": 1}),
        ("joined", {"fingerprint": "ff02", "labels": one.alert.labels, "all_resolved": False}),
        ("reading", {"probe": "budget", "ok": True, "value": value, "error": ""}),
        ("reading", {"probe": "spend_rate", "ok": False, "value": {}, "error": "no answer within 10 s"}),
        ("decided", {"case": 2, "steps": ["warn_merchant", step], "rungs": False}),
        ("would", {"step": step, "summary": "UPDATE …", "risk": "destructive"}),
        ("skipped", {"step": step, "reason": "another run holds it"}),
        ("previewed", {"step": step, "count": 1}),
        ("gate-opened", {"gate": f"{one.id}.1", "hash": HASH, "steps": [{"step": step}],
                         "votes": {"finance_ops": 1, "ops_marketing": 1}, "expires_at": at}),
        ("vote", {"gate": "g", "by": "amina", "via": "slack", "approve": True, "reason": "the merchant knows",
                  "hash": HASH}),
        ("vote-refused", {"gate": "g", "by": "eve", "via": "api", "approve": True,
                          "reason": "eve has none of the roles finance_ops, ops_marketing"}),
        ("vote", {"gate": "g", "by": "bob", "via": "page", "approve": True, "reason": "", "hash": HASH}),
        ("gate-approved", {"gate": "g", "by": ["amina", "bob"], "hash": HASH}),
        ("gate-void", {"gates": ["g"], "reason": "the figures have changed"}),
        ("gate-expired", {"gate": "g", "late": "page"}),
        ("asked-again", {"gate": "g", "by": "bob", "via": "slack", "opened": "r-2",
                         "answer": "run r-2 was opened"}),
        ("before", {"step": step, "ok": True, "value": {"value": 40.0}, "error": ""}),
        ("fresh", {"same": True, "change": "", "readings": {}}),
        ("started", {"step": step, "attempt": 1, "risk": "destructive", "intention": intention}),
        ("unknown", {"step": step, "attempt": 1, "reason": "no answer within 10 s"}),
        ("sent-again", {"step": step, "attempt": 2, "why": "the service honours the key"}),
        ("finished", {"step": step, "result": "done", "answer": {"rows": 1}}),
        ("finished", {"step": step, "result": "refused", "reason": "409 conflict"}),
        ("proof", {"step": step, "holds": False, "value": {"value": 39.0}, "error": ""}),
        ("proof", {"step": step, "holds": True, "value": {"value": 18.0}, "error": ""}),
        ("verified", {"step": step, "settles_unknown": True}),
        ("unverified", {"step": step, "reason": "halve_earn_rate was not proved"}),
        ("settling", {"step": step, "until": at}),
        ("settle-refused", {"step": step, "by": "bob", "reason": "bob has none of the roles lead"}),
        ("late-result", {"step": step, "undo": False, "said": "it was done", "settles": True}),
        ("asking", {"step": step, "reason": "no answer within 10 s"}),
        ("settled", {"step": step, "by": "bob", "verdict": "happened", "reason": "seen in the table"}),
        ("paged", {"key": "unknown", "text": "it is unknown whether halve_earn_rate happened"}),
        ("told", {"page": "p-1", "told": ["12:00 bob (oncall) by slack"], "error": ""}),
        ("acknowledged", {"page": "p-1", "by": "bob"}),
        ("holding", {"until": {step: at}}),
        ("firing", {"fingerprint": "ff02", "labels": {}, "all_resolved": False}),
        ("resolved", {"fingerprint": "ff02", "labels": {}, "all_resolved": True}),
        ("undo-waits", {"step": step, "reason": "undos are halted"}),
        ("undo-started", {"step": step, "call": call}),
        ("undone", {"step": step, "answer": {"rows": 1}}),
        ("undo-failed", {"step": step, "reason": "refused: the row has drifted"}),
        ("closed", {"outcome": "fixed", "reason": "halve_earn_rate undone"}),
    ]  # fmt: skip
    return [Entry(kind, data) for kind, data in lines]


async def fill(store: Store, *, calm: bool = False) -> None:
    """A busy night; ``calm``: one where nothing needs anybody."""

    async def work(tx: Tx) -> None:
        live = [holding(), *(closed(n, o, r, policy=p, target=t) for n, (o, r, p, t) in enumerate(ENDED, 1))]
        if not calm:
            live += [waiting(), asking(), working()]
        for one in live:
            await tx.save_run(one, None)
            await tx.journal(one.id, journal(one))
        await tx.put_alert(_heard(alert()))
        if calm:
            return
        page = Page(
            id="p-1",
            key="unknown",
            chain="default",
            run=asking().id,
            opened_at=NOON - 2 * MINUTE,
            text="stuck-worker on worker/w-3: it is unknown whether restart_worker happened (no answer "
            "within 10 s). Look, then say so",
            sent=("12:00:00 bob (oncall) by slack",),
            next_at=NOON + 13 * MINUTE,
        )
        await tx.put_page(page)
        for standing in REFUSALS:
            await tx.put_disposition(standing)
        body = '{"version": "4", "alerts": [{"labels": '
        await tx.put_rejected(Rejected(NOON - 41 * MINUTE, "alertmanager", "the body ends too early", body))

    await store.transact(work)


def _heard(one: Alert) -> AlertRow:
    return AlertRow(alert=one, first_at=NOON, last_at=NOON, changed_at=NOON)


REFUSALS = (
    Disposition(
        policy="loyalty-budget-exhaustion",
        fingerprint="a1b2c3d4e5f60718",
        kind="refused",
        target="loyalty-program/p-17",
        bound="cooldown",
        reason="loyalty-program/p-17 was acted on 12m ago; cooldown 30m",
        since=NOON - 12 * MINUTE,
        again_at=NOON + 18 * MINUTE,
    ),
    Disposition(
        policy="stuck-worker",
        fingerprint="cc03",
        kind="refused",
        target="worker/w-3",
        bound="target",
        reason="run r-1m8s2k0pq00002 is acting on worker/w-3",
        since=NOON - MINUTE,
        waits_for="target:worker/w-3",
    ),
)


def thrown_halt() -> Halt:
    return Halt(id="h-1", scope="policy:stuck-worker", reason="deploying the queue", by="bob", at=NOON)
