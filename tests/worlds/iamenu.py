"""iaMenu: a marketplace with its tables in a real PostgreSQL, a real Redis before them, and its scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.rig.docker import FakeDocker, running
from tests.rig.postgres import Server
from tests.rig.processes import Child, Program, scratch, start
from tests.rig.redis import recipe
from tests.worlds.scripts import Scripts
from tests.worlds.service import Reply, Service

DATABASE = "iamenu"
LOGIN, OWNER = "iamenu_remediator", "iamenu_owner"
PASSWORD = "word-of-the-tests"

_ALLOWED = (
    "~remediator:* ~bull:notifications:meta +info +set +get +watch +multi +exec +exists +flushdb "
    "+config|set +config|get"
)
"""Of Redis' user: what docs/redis.md says that it needs, and no more."""
_POISON = "cache:poison"
"""While it is there the services take no entry for theirs, and write none."""

TABLES = f"""
CREATE SCHEMA marketplace;
CREATE TABLE marketplace.configuration (
    "key" text PRIMARY KEY, "payments_enabled" boolean, "updatedBy" text NOT NULL DEFAULT 'release'
);
CREATE TABLE marketplace."Product" (
    id integer PRIMARY KEY, name text NOT NULL, description text NOT NULL
);
CREATE INDEX idx_products_search_gin ON marketplace."Product"
    USING gin (to_tsvector('portuguese', name || ' ' || description));
CREATE TABLE marketplace."Order" (
    id integer PRIMARY KEY, "stripePaymentIntentId" text, status text NOT NULL,
    "createdAt" timestamptz NOT NULL DEFAULT now()
);
INSERT INTO marketplace.configuration VALUES ('PAYMENTS_ENABLED', true), ('THEME', NULL);
INSERT INTO marketplace."Product" SELECT n, 'Pasta ' || n, 'fresca' FROM generate_series(1, 500) n;
INSERT INTO marketplace."Order" SELECT n, 'pi_' || n, 'paid' FROM generate_series(1, 20) n;
ALTER TABLE marketplace."Product" OWNER TO {OWNER};
GRANT USAGE, CREATE ON SCHEMA marketplace TO {OWNER};
GRANT USAGE ON SCHEMA marketplace TO {LOGIN};
GRANT SELECT ON ALL TABLES IN SCHEMA marketplace TO {LOGIN};
GRANT UPDATE ("payments_enabled") ON marketplace.configuration TO {LOGIN};
"""

NAME = 'for word; do case "$word" in scripts:*) name=${word#scripts:} ;; esac; done'


@dataclass
class Iamenu:
    """The system.

    queue: of notifications; cure: what makes search quick again, as the server tells it; doubted: the
    services do not reach Stripe, whatever its test says; signed: Stripe's webhooks have valid signatures;
    mail: the email service answers; analysing: the engine of the analytics does; stubborn: figures that are
    recalculated come out as they were.
    """

    server: Server
    folder: Path
    redis: Child
    engine: FakeDocker
    api: Service = field(default_factory=Service)
    queue: dict[str, int] = field(
        default_factory=lambda: {"waiting": 0, "active": 0, "completed": 5000, "failed": 0}
    )
    cure: str = "true"
    stripe: bool = True
    doubted: bool = False
    signed: bool = True
    mail: bool = True
    analysing: bool = True
    stubborn: bool = False
    analytics: float = field(default_factory=time.time)
    closed: bool = False
    _started: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scripts = Scripts(self.folder, NAME)
        self.scripts.answers("check-analytics-jobs", """echo '{"failed": ["dau"]}'; exit 0""")
        self.api.on(
            "GET", "/api/v1/business/analytics/health", lambda _: Reply(200 if self.analysing else 503)
        )
        self.tell()

    async def restarted(self) -> list[str]:
        """The containers that were, oldest first."""
        names = {one["Id"]: name for name, one in (await self.engine.containers()).items()}
        return [names[one["path"].split("/")[3]] for one in await self.engine.restarts()]

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        """What the application or a DBA does."""
        async with self.server.connected(DATABASE) as connection:
            return [dict(row) for row in await connection.fetch(statement, *args)]

    def cached(self, database: int = 0) -> Redis:
        """A client of the services'."""
        return Redis(port=self.redis.port, db=database, socket_timeout=1, decode_responses=True)

    async def poison(self, *, keep: bool = False) -> None:
        """The cache holds what nobody can use; ``keep``: beside what it has."""
        async with self.cached() as client:
            if not keep:
                await client.flushdb()
            await client.set(_POISON, "1")

    # ── What it does by itself ────────────────────────────────────────────────────────────────────

    async def lives(self) -> None:
        """Customers look at products, services act on what was run, exporters measure. Until it is closed."""
        async with self.server.connected(DATABASE) as database, self.cached() as cache:
            while not self.closed:
                for line in self.scripts.news():
                    await self._ran(line, database)
                await self._restart_what_was_told_to()
                await self._measure(database)
                await self._serve(cache)
                self.tell()
                await asyncio.sleep(0.1)

    async def _ran(self, line: str, database: Any) -> None:
        """What follows from a command: soon, so what it prints proves nothing."""
        match line.split():
            case ["scripts:retry-failed-notifications", "--", "--limit", limit]:
                count = min(int(limit), self.queue["failed"])
                self.queue["failed"] -= count
                self.queue["completed"] += count
            case ["scripts:reconcile-stripe-payments", "--", "--full"]:
                await database.execute(
                    """UPDATE marketplace."Order" SET status = 'paid' WHERE status = 'pending'"""
                )
            case ["scripts:recalculate-analytics", "--", "--force"]:
                self.analytics = self.analytics if self.stubborn else time.time()
            case ["start", "--no-block", "iamenu-rebuild-analytics.service"]:
                self.analytics = time.time()
            case ["scripts:rebuild-search-index", "--", "--service", "marketplace"]:
                self.cure = "true"

    async def _restart_what_was_told_to(self) -> None:
        """What runs in the engine's containers, which are nothing but words."""
        for name, one in (await self.engine.containers()).items():
            if self._started.setdefault(name, one["State"]["StartedAt"]) == one["State"]["StartedAt"]:
                continue
            self._started[name] = one["State"]["StartedAt"]
            if name == "iamenu-redis":
                self.redis.end()
                self.redis = start(_recipe(self.redis.folder), self.redis.folder, port=self.redis.port)
            else:
                self.queue |= {"waiting": 0, "completed": self.queue["completed"] + self.queue["waiting"]}

    async def _measure(self, database: Any) -> None:
        enabled, waiting, quick = await database.fetchrow(f"""
            SELECT (SELECT payments_enabled FROM marketplace.configuration WHERE key = 'PAYMENTS_ENABLED'),
                (SELECT count(*) FROM marketplace."Order"
                 WHERE status = 'pending' AND "createdAt" < now() - interval '15 minutes'), ({self.cure})
        """)
        self.api.gauge("iamenu_payments_enabled", enabled)
        self.api.gauge("iamenu_orders_unreconciled", waiting)
        self.api.gauge("iamenu_search_duration_seconds", 0.1 if quick else 0.9, quantile="0.95")
        self.api.gauge("iamenu_stripe_up", self.stripe and not self.doubted)
        self.api.gauge("iamenu_analytics_updated_timestamp_seconds", self.analytics)

    async def _serve(self, cache: Redis) -> None:
        """A customer looks at five products; then Redis' exporter asks it."""
        up = False
        with suppress(RedisError):
            usable = not await cache.exists(_POISON)
            for name in (f"cache:product:{number}" for number in range(5)):
                if not usable:
                    await cache.get(f"{name}:odd")
                elif await cache.get(name) is None:
                    await cache.set(name, "pasta")
            told = await cache.info()
            self.api.gauge("redis_uptime_in_seconds", told["uptime_in_seconds"])
            self.api.gauge("redis_keyspace_hits_total", told["keyspace_hits"])
            self.api.gauge("redis_keyspace_misses_total", told["keyspace_misses"])
            up = True
        self.api.gauge("redis_up", up)
        if not up:
            self.api.gauges.pop(("redis_uptime_in_seconds", ()), None)

    def tell(self) -> None:
        """What its scripts print from now on."""
        self.scripts.says("check-job-queue", self.queue)
        said = "echo 'Connected to Stripe'; exit 0" if self.stripe else "exit 1"
        self.scripts.answers("test-stripe-connection", said)
        self.scripts.answers("validate-webhook-signatures", f"exit {int(not self.signed)}")
        self.scripts.answers(
            "test-email-service", "echo 'Email service responding'; exit 0" if self.mail else "exit 1"
        )


def _recipe(folder: Path) -> Program:
    return recipe(folder, "--user", "remediator", "on", f">{PASSWORD}", *_ALLOWED.split())


@asynccontextmanager
async def iamenu(server: Server) -> AsyncIterator[Iamenu]:
    """The system, open; gone at the end."""
    async with server.connected() as connection:
        for role in (LOGIN, OWNER):
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT pg_read_all_stats, {OWNER} TO {LOGIN}")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    async with server.connected(DATABASE) as connection:
        await connection.execute(TABLES)
    try:
        with scratch("redis") as data, scratch("iamenu", ours=True) as folder, running() as engine:
            system = Iamenu(server, folder, start(_recipe(data), data), engine)
            for name in ("iamenu-redis", "iamenu-notification-worker"):
                await engine.put(name)
            living = asyncio.create_task(system.lives())
            try:
                async with system.api.serve():
                    yield system
            finally:
                system.closed = True
                await asyncio.wait_for(living, 10)
                system.redis.end()
    finally:
        await server.drop(DATABASE)
        async with server.connected() as connection:
            for role in (LOGIN, OWNER):
                await connection.execute(f"DROP ROLE {role}")
