"""Linkist NFC: its tables in a real PostgreSQL, its scripts and metrics, Stripe, and a status page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.rig.postgres import Server
from tests.rig.processes import scratch
from tests.worlds.scripts import Scripts
from tests.worlds.service import Asked, Reply, Service

DATABASE = "linkist"
LOGIN, OWNER, APP = "linkist_remediator", "linkist_owner", "linkist_app"
CANARY = "canary-of-linkist"
ADA, BISI = "6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c11", "6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c12"
SERVICES = ("app", "payment-service", "upload-service", "processing-service")

TABLES = f"""
CREATE TABLE orders (
    id text PRIMARY KEY, status text NOT NULL, total numeric(10,2) NOT NULL, payment_intent text,
    email text NOT NULL DEFAULT '{CANARY}@example.com', created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE webhook_events (
    id text PRIMARY KEY, type text NOT NULL, payment_intent text, status text NOT NULL,
    attempts integer NOT NULL DEFAULT 0, payload jsonb NOT NULL DEFAULT '{{"of": "{CANARY}"}}',
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid NOT NULL, ip_address inet,
    token_hash text NOT NULL DEFAULT '{CANARY}', revoked_at timestamptz
);
INSERT INTO orders (id, status, total, payment_intent) VALUES ('ord-1', 'paid', 49.90, 'pi_1');
INSERT INTO sessions (user_id, ip_address)
    VALUES ('{ADA}', '203.0.113.9'), ('{ADA}', '198.51.100.4'), ('{BISI}', '203.0.113.9');
ALTER TABLE orders OWNER TO {OWNER};
ALTER TABLE webhook_events OWNER TO {OWNER};
ALTER TABLE sessions OWNER TO {OWNER};
GRANT USAGE ON SCHEMA public TO {LOGIN};
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {LOGIN};
GRANT UPDATE (revoked_at) ON sessions TO {LOGIN};
"""

NAME = 'case "$0" in */npm) name=$3 ;; */aws) name=$2 ;; */systemctl) name=unit ;; *) name=which ;; esac'
PROGRAMS = ("npm", "aws", "systemctl", "which")


@dataclass
class Linkist:
    """The platform.

    broken: services that its newest release broke; given_back: order → the payment of another, which is
    given back as this one is booked; failing: shares of what fails, by its counter; slow: a condition, as the
    server tells it.
    """

    server: Server
    folder: Path
    metrics: Service = field(default_factory=Service)
    health: Service = field(default_factory=Service)
    stripe: Service = field(default_factory=Service)
    page: Service = field(default_factory=Service)
    down: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    failing: dict[str, float] = field(default_factory=lambda: {"uploads": 0.0, "files": 0.0, "payments": 0.0})
    given_back: dict[str, str] = field(default_factory=dict)
    slow: str = "false"
    bounces: float = 0.01
    newsletters: bool = True
    backup: float = field(default_factory=time.time)
    components: dict[str, str] = field(default_factory=lambda: dict.fromkeys(SERVICES, "operational"))
    _counted: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scripts = Scripts(self.folder, NAME, programs=PROGRAMS)
        for name in ("stripe:config:verify", "s3:status", "s3:permissions:check", "ses:domain:verify"):
            self.scripts.answers(name, "exit 0")
        self.scripts.answers("system:resources", "exit 0")
        self.scripts.answers("which", "echo /usr/bin/convert; echo /usr/bin/pngquant; exit 0")
        self.scripts.answers("backup:verify", "exit 0")
        self.scripts.answers("backup:list", "echo backup-123; exit 0")
        self.scripts.says("stripe:declines:check", {"reasons": [{"code": "do_not_honor", "count": 12}]})
        quota = {"Max24HourSend": 50000, "SentLast24Hours": 41200}
        self.scripts.says(
            "get-account", {"SendingEnabled": True, "EnforcementStatus": "HEALTHY", "SendQuota": quota}
        )
        release = {"current": "deploy-123", "target": "deploy-122", "plan": "rollback-plan-122"}
        self.scripts.says("deployment:rollback:plan", {**release, "minutes": 12, "rolled_back": False})
        fine = {"status": {"indicator": "none", "description": "All Systems Operational"}}
        self.stripe.on("GET", "/api/v2/status.json", lambda _: Reply(200, fine))
        self.stripe.on(
            "GET",
            "/v1/webhook_endpoints/{id}",
            lambda asked: Reply(200, {"id": asked.fields["id"], "status": "enabled"}),
        )
        self.page.on("GET", "/v1/pages/linkist/components/{id}", self._component)
        self.page.on("PATCH", "/v1/pages/linkist/components/{id}", self._component)
        self._tell()

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        """What the application or a DBA does."""
        async with self.server.connected(DATABASE) as connection:
            return [dict(row) for row in await connection.fetch(statement, *args)]

    @asynccontextmanager
    async def session(self, statement: str) -> AsyncIterator[asyncio.Task[Any]]:
        """One of the application's, at this statement; the connection stays open behind it.

        In the end its backend is gone as well: one that sleeps on would be somebody's long query.
        """
        connection = await asyncpg.connect(self.server.dsn(DATABASE, APP))
        pid = connection.get_server_pid()
        task = asyncio.create_task(connection.execute(statement))
        try:
            yield task
        finally:
            task.cancel()
            await self.sql("SELECT pg_terminate_backend($1, 30000)", pid)
            await asyncio.gather(task, return_exceptions=True)
            connection.terminate()

    # ── What it does by itself ────────────────────────────────────────────────────────────────────

    async def lives(self) -> None:
        """Services act on what was run, and exporters measure. Until cancelled."""
        async with self.server.connected(DATABASE) as database:
            while True:
                for line in self.scripts.news():
                    await self._ran(line, database)
                await self._measure(database)
                self._tell()
                await asyncio.sleep(0.1)

    async def _ran(self, line: str, database: Any) -> None:
        """What follows from a command: soon, so what it prints proves nothing."""
        command, _, argument = line.partition(" -- --")
        value = argument.partition("=")[2]
        match command.split():
            case ["service:restart:healthy"]:
                self.down -= {value} - self.broken
            case ["start", "--no-block", "linkist-rollback@rollback-plan-122"]:
                self.down -= self.broken
                self.broken.clear()
            case ["stripe:webhooks:retry"]:
                await database.execute(
                    "UPDATE webhook_events SET status = 'processed', attempts = attempts + 1 WHERE id = $1",
                    value,
                )
            case ["orders:process:payments"]:
                if value in self.given_back:
                    await database.execute(
                        "INSERT INTO webhook_events (id, type, payment_intent, status)"
                        " VALUES ('evt_late', 'charge.refunded', $1, 'processed')",
                        self.given_back[value],
                    )
                await database.execute("UPDATE orders SET status = 'paid' WHERE id = $1", value)
            case ["uploads:restart"]:
                self.failing["uploads"] = 0.0
            case ["processing:restart"]:
                self.failing["files"] = 0.0
            case ["sesv2", "put-configuration-set-sending-options", _, "newsletters", word]:
                self.newsletters = word == "--sending-enabled"

    async def _measure(self, database: Any) -> None:
        failed, stuck, leaked, slow = await database.fetchrow(f"""
            SELECT (SELECT count(*) FROM webhook_events WHERE status = 'failed'),
                (SELECT count(*) FROM orders
                 WHERE status = 'pending' AND created_at < now() - interval '15 minutes'),
                (SELECT count(*) FROM pg_stat_activity
                 WHERE datname = '{DATABASE}' AND state = 'idle in transaction'
                 AND now() - state_change > interval '1.5 seconds'), ({self.slow})
        """)
        self.metrics.gauge("linkist_webhook_events", failed, status="failed")
        self.metrics.gauge("linkist_orders_pending_over_15m", stuck)
        self.metrics.gauge("linkist_db_query_duration_seconds", 1.8 if slow else 0.1, quantile="0.95")
        self.metrics.gauge("linkist_db_timeouts_total", self._count("timeouts", "", 10.0 * bool(leaked)))
        self.metrics.gauge("aws_ses_reputation_bounce_rate_average", self.bounces)
        self.metrics.gauge("aws_ses_reputation_complaint_rate_average", 0.0)
        self.metrics.gauge("linkist_backup_completed_timestamp_seconds", self.backup)
        for name, share in self.failing.items():
            bad = "declined" if name == "payments" else "failed"
            self.metrics.gauge(f"linkist_{name}_total", self._count(name, bad, 10 * share), status=bad)
            self.metrics.gauge(
                f"linkist_{name}_total", self._count(name, "done", 10 - 10 * share), status="done"
            )
        for service in SERVICES:
            self.health.gauge("probe_success", service not in self.down, service=service)

    def _count(self, name: str, status: str, more: float) -> float:
        counted = self._counted[name, status] = self._counted.get((name, status), 1000.0) + more
        return counted

    def _component(self, asked: Asked) -> Reply:
        name = asked.fields["id"]
        if name not in self.components:
            return Reply(404, {"error": "no such component"})
        if asked.method == "PATCH":
            self.components[name] = asked.body["component"]["status"]
        return Reply(200, {"id": name, "status": self.components[name]})

    def _tell(self) -> None:
        self.scripts.says("get-configuration-set", {"SendingOptions": {"SendingEnabled": self.newsletters}})


@asynccontextmanager
async def linkist(server: Server) -> AsyncIterator[Linkist]:
    """The platform, open; gone at the end."""
    async with server.connected() as connection:
        for role in (LOGIN, OWNER, APP):
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT pg_read_all_stats, pg_signal_backend, {OWNER} TO {LOGIN}")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    async with server.connected(DATABASE) as connection:
        await connection.execute(TABLES)
    try:
        with scratch("linkist", ours=True) as folder:
            system = Linkist(server, folder)
            living = asyncio.create_task(system.lives())
            try:
                async with (
                    system.metrics.serve(),
                    system.health.serve(),
                    system.stripe.serve(),
                    system.page.serve(),
                ):
                    yield system
            finally:
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
    finally:
        await server.drop(DATABASE)
        async with server.connected() as connection:
            for role in (LOGIN, OWNER, APP):
                await connection.execute(f"DROP ROLE {role}")
