"""The demo's small loyalty business: programs, campaigns, workers and queues, living by a given clock.

Pure simulation: nothing here reads a clock or a socket. ``world`` puts it behind HTTP.
Times are seconds since the epoch; points are whole or fractional loyalty points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

CampaignStatus = Literal["scheduled", "running", "paused", "completed", "failed"]
Retrigger = Literal["helps", "fails", "helps_second_time"]

STUCK_AFTER = 2 * 3600.0
"""A campaign still scheduled so long after its start is stuck (the runbook's two hours)."""
POINTS_PER_USER = 25.0


class ConflictError(Exception):
    """What was asked for does not fit the present state (HTTP 409)."""


class UnknownThingError(Exception):
    """No such program, campaign or worker (HTTP 404)."""


@dataclass
class Program:
    """A merchant's loyalty program. ``earn_rate`` is points per unit of money spent."""

    id: str
    name: str = ""
    status: str = "active"
    earn_rate: float = 0.07
    usual_earn_rate: float = 0.07
    budget_limit: float = 100_000.0
    budget_spent: float = 0.0
    points_per_second: float = 0.0
    """What everyday purchases earn, at the usual earn rate."""
    version: int = 1


@dataclass
class Campaign:
    """A bonus campaign. While it runs it awards points, out of its program's budget."""

    id: str
    program_id: str
    name: str = ""
    status: CampaignStatus = "scheduled"
    start_date: float = 0.0
    executed_at: float | None = None
    points_per_second: float = 20.0
    points_awarded: float = 0.0
    points_planned: float = 1_000_000.0
    executions: dict[str, int] = field(default_factory=lambda: {"success": 0, "failure": 0})
    paused_from: CampaignStatus = "running"
    """What it was when it was paused."""
    blocked: bool = False
    """The executor passes it over: it stays scheduled until a retrigger helps."""
    retrigger: Retrigger = "helps"

    @property
    def users_awarded(self) -> int:
        """How many people got points."""
        return int(self.points_awarded / POINTS_PER_USER)

    def stuck(self, now: float) -> bool:
        """Whether it should have started long ago."""
        return self.status == "scheduled" and now - self.start_date > STUCK_AFTER


@dataclass
class Worker:
    """A background worker that runs every ``interval`` seconds."""

    name: str
    interval: float = 15.0
    failing: bool = False
    retrigger: Retrigger = "helps"
    """Whether running it by hand mends a failing worker."""
    executions: dict[str, int] = field(default_factory=lambda: {"success": 0, "failure": 0})
    last_run: float = 0.0
    last_success: float = 0.0

    def run(self, now: float) -> bool:
        """One execution. Returns whether it succeeded."""
        self.last_run = now
        self.executions["failure" if self.failing else "success"] += 1
        if not self.failing:
            self.last_success = now
        return not self.failing


@dataclass
class Business:
    """The whole simulation. Call ``advance(now)`` before reading or changing anything."""

    now: float
    execution_seconds: float = 1.0
    """How long a manual execution takes after it was accepted."""
    programs: dict[str, Program] = field(default_factory=dict)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    queues: dict[str, float] = field(default_factory=dict)
    latency: dict[str, float] = field(default_factory=dict)
    """Endpoint to its 95th percentile, in seconds."""
    spent_total: dict[str, float] = field(default_factory=dict)
    """Program to the points that it ever spent (a counter)."""
    _due: list[tuple[float, Callable[[float], None]]] = field(default_factory=list)

    def advance(self, now: float) -> None:
        """Let the time pass up to ``now``."""
        while self._due and self._due[0][0] <= now:
            at, happen = self._due.pop(0)
            self._pass_time(at)
            happen(at)
        self._pass_time(now)

    def program(self, name: str) -> Program:
        """The program of that id; raises UnknownThingError."""
        if name not in self.programs:
            raise UnknownThingError(f"no program {name}")
        return self.programs[name]

    def campaign(self, name: str) -> Campaign:
        """The campaign of that id; raises UnknownThingError."""
        if name not in self.campaigns:
            raise UnknownThingError(f"no campaign {name}")
        return self.campaigns[name]

    def worker(self, name: str) -> Worker:
        """The worker of that name; raises UnknownThingError."""
        if name not in self.workers:
            raise UnknownThingError(f"no worker {name}")
        return self.workers[name]

    def pause(self, name: str) -> Campaign:
        """Hold back a campaign that runs or is about to, until it is resumed."""
        campaign = self.campaign(name)
        if campaign.status not in ("running", "scheduled"):
            raise ConflictError(f"campaign {name} is {campaign.status}, neither running nor scheduled")
        campaign.paused_from, campaign.status = campaign.status, "paused"
        return campaign

    def resume(self, name: str) -> Campaign:
        """Let a paused campaign go on. One that had not begun is planned anew, from now."""
        campaign = self.campaign(name)
        if campaign.status != "paused":
            raise ConflictError(f"campaign {name} is {campaign.status}, not paused")
        campaign.status = campaign.paused_from
        if campaign.status == "scheduled":
            campaign.start_date = self.now
        return campaign

    def execute_campaign(self, name: str) -> Campaign:
        """Accept a manual execution; its effect shows ``execution_seconds`` later."""
        campaign = self.campaign(name)
        if campaign.status != "scheduled":
            raise ConflictError(f"campaign {name} is {campaign.status}, not scheduled")
        self._later(lambda now: self._retriggered(campaign, now))
        return campaign

    def evaluate_tiers(self, program: str | None) -> Worker:
        """Accept a manual run of the tier evaluator; its effect shows ``execution_seconds`` later."""
        if program is not None:
            self.program(program)
        worker = self.worker("tier-evaluation")
        self._later(lambda now: _run_by_hand(worker, now))
        return worker

    def _later(self, happen: Callable[[float], None]) -> None:
        self._due.append((self.now + self.execution_seconds, happen))
        self._due.sort(key=lambda one: one[0])

    def _retriggered(self, campaign: Campaign, now: float) -> None:
        if campaign.status != "scheduled":
            return
        worker = self.workers.get("campaign-execution")
        if campaign.retrigger == "helps" and not (worker and worker.failing):
            campaign.blocked = False
            self._start(campaign, now)
            return
        campaign.executions["failure"] += 1
        if campaign.retrigger == "helps_second_time":
            campaign.retrigger = "helps"

    def _start(self, campaign: Campaign, now: float) -> None:
        campaign.status = "running"
        campaign.executed_at = now
        campaign.executions["success"] += 1

    def _pass_time(self, now: float) -> None:
        passed = max(0.0, now - self.now)
        for program in self.programs.values():
            self._award(program, program.points_per_second * passed)
        for campaign in self.campaigns.values():
            if campaign.status == "running":
                self._run(campaign, passed)
        for worker in self.workers.values():
            if now - worker.last_run >= worker.interval:
                worker.run(now)
                self._after(worker, now)
        waiting = sum(campaign.stuck(now) for campaign in self.campaigns.values())
        for name in self.queues:
            drainer = self.workers.get(name)
            sick = (drainer is not None and drainer.failing) or (name == "campaign-execution" and waiting > 0)
            self.queues[name] = max(0.0, self.queues[name] + (2.0 if sick else -10.0) * passed)
        self.now = max(self.now, now)

    def _run(self, campaign: Campaign, passed: float) -> None:
        left = campaign.points_planned - campaign.points_awarded
        program = self.programs.get(campaign.program_id)
        wanted = min(left, campaign.points_per_second * passed)
        got = self._award(program, wanted) if program is not None else wanted
        campaign.points_awarded += got
        if campaign.points_awarded >= campaign.points_planned:
            campaign.status = "completed"

    def _award(self, program: Program, points: float) -> float:
        if program.status != "active":
            return 0.0
        asked = points * program.earn_rate / program.usual_earn_rate
        awarded = max(0.0, min(asked, program.budget_limit - program.budget_spent))
        program.budget_spent += awarded
        self.spent_total[program.id] = self.spent_total.get(program.id, 0.0) + awarded
        return awarded

    def _after(self, worker: Worker, now: float) -> None:
        if worker.name != "campaign-execution" or worker.failing:
            return
        for campaign in self.campaigns.values():
            if campaign.status == "scheduled" and campaign.start_date <= now and not campaign.blocked:
                self._start(campaign, now)


def _run_by_hand(worker: Worker, now: float) -> None:
    if worker.retrigger == "helps":
        worker.failing = False
    elif worker.retrigger == "helps_second_time":
        worker.retrigger = "helps"
    worker.run(now)


def small_business(now: float) -> Business:
    """A believable start: two programs, four campaigns, both workers well."""
    business = Business(now)
    business.programs = {
        "p-17": Program(
            "p-17", "Teranga", budget_limit=100_000.0, budget_spent=62_000.0, points_per_second=2.0
        ),
        "p-23": Program("p-23", "Baobab", earn_rate=0.05, usual_earn_rate=0.05, budget_limit=500_000.0),
    }
    business.campaigns = {
        "c-101": Campaign("c-101", "p-17", "Weekend double points", "running", now - 600),
        "c-102": Campaign("c-102", "p-23", "Welcome bonus", "running", now - 7200, points_per_second=5.0),
        "c-103": Campaign("c-103", "p-23", "Tabaski", "scheduled", now + 86_400),
        "c-104": Campaign(
            "c-104", "p-17", "Back to school", "completed", now - 90_000, points_awarded=48_000.0
        ),
    }
    for campaign in business.campaigns.values():
        if campaign.status != "scheduled":
            campaign.executed_at = campaign.start_date
            campaign.executions["success"] = 1
    business.workers = {
        name: Worker(name, last_run=now, last_success=now)
        for name in ("campaign-execution", "tier-evaluation")
    }
    business.queues = {"campaign-execution": 0.0, "tier-evaluation": 0.0, "webhooks": 3.0}
    business.latency = {
        "/api/balances": 0.11,
        "/api/campaigns": 0.08,
        "/api/programs": 0.05,
        "/api/redemptions": 0.19,
        "/api/transactions": 0.14,
    }
    return business


def iso(seconds: float | None) -> str | None:
    """A time as the API writes it, such as ``2026-11-21T07:38:58+00:00``."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
