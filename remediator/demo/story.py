"""What goes wrong in the demo, in order, and how each run must end. Data, and the sender of its alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import aiohttp

from remediator.demo.loyalty import Business

ZERO = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Trouble:
    """One thing that goes wrong: how, the alert that tells of it, and the run's expected end."""

    title: str
    told: str
    policy: str
    outcome: str
    labels: dict[str, str]
    cause: Callable[[Business], None]
    fires: Callable[[Business], bool]


def _fail_worker(business: Business) -> None:
    business.worker("tier-evaluation").failing = True


def _stick_campaign(business: Business) -> None:
    campaign = business.campaign("c-103")
    campaign.start_date, campaign.blocked, campaign.retrigger = business.now - 3 * 3600, True, "fails"


def _slow_down(business: Business) -> None:
    business.latency["/api/redeem"] = 1.9


def _spend_budget(business: Business) -> None:
    program = business.program("p-17")
    program.budget_spent = 0.96 * program.budget_limit


TROUBLES = (
    Trouble(
        "The tier evaluator fails",
        "running it again is safe: Remediator does that by itself, and proves that it helped",
        "tier-evaluator-failed",
        "fixed",
        {"alertname": "LoyaltyTierEvaluatorFailed", "severity": "medium"},
        _fail_worker,
        lambda business: business.worker("tier-evaluation").failing,
    ),
    Trouble(
        "The loyalty API is slow",
        "no machine should mend that: the evidence goes to a person",
        "api-latency",
        "fixed",
        {"alertname": "LoyaltyApiLatencyHigh", "severity": "high"},
        _slow_down,
        lambda business: max(business.latency.values()) > 0.5,
    ),
    Trouble(
        "A program's budget runs out",
        "this policy is new and only observes: it says what it would do",
        "budget-watch",
        "observed",
        {"alertname": "LoyaltyProgramBudgetHigh", "program_id": "p-17", "severity": "medium"},
        _spend_budget,
        lambda business: business.program("p-17").budget_spent > 0.9 * business.program("p-17").budget_limit,
    ),
    Trouble(
        "A campaign is stuck",
        "retriggering is tried first; pausing it is destructive and waits for a person",
        "stuck-campaign",
        "fixed",
        {"alertname": "LoyaltyCampaignStuck", "campaign_id": "c-103", "severity": "high"},
        _stick_campaign,
        lambda business: business.campaign("c-103").stuck(business.now),
    ),
)


@dataclass
class Sender:
    """A very small Alertmanager: posts what fires, and what has ended, to the daemon's webhook."""

    business: Business
    hook: str
    bearer: str
    interval_s: float = 0.5

    async def run(self) -> None:
        """Until cancelled: an alert is sent when it begins and when it ends."""
        since: dict[str, str] = {}
        headers = {"Authorization": f"Bearer {self.bearer}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                now = datetime.now(UTC).isoformat()
                for trouble in TROUBLES:
                    fires, known = trouble.fires(self.business), trouble.policy in since
                    if fires and not known:
                        since[trouble.policy] = now
                        await self._post(session, alert(trouble, now, ZERO))
                    elif known and not fires:
                        await self._post(session, alert(trouble, since.pop(trouble.policy), now))
                await asyncio.sleep(self.interval_s)

    async def _post(self, session: aiohttp.ClientSession, one: dict[str, Any]) -> None:
        body = {
            "version": "4",
            "status": one["status"],
            "receiver": "demo",
            "groupKey": "{}",
            "alerts": [one],
        }
        async with session.post(self.hook, json=body) as answer:
            answer.raise_for_status()


def alert(trouble: Trouble, starts_at: str, ends_at: str) -> dict[str, Any]:
    """The trouble's alert, firing or ended."""
    return {
        "status": "firing" if ends_at == ZERO else "resolved",
        "labels": trouble.labels,
        "annotations": {"summary": trouble.title},
        "startsAt": starts_at,
        "endsAt": ends_at,
        "generatorURL": "",
        "fingerprint": sha256(repr(sorted(trouble.labels.items())).encode()).hexdigest()[:16],
    }
