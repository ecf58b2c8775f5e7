"""Agape Looks: a shop with its tables in a real PostgreSQL, its admin API, and its commands."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rig.postgres import Server
from tests.worlds.service import Asked, Reply, Service

LOGIN, READER = "agape_remediator", "agape_reader"
CANARY = "canary-hash-of-agape"

TABLES = f"""
CREATE TABLE users (
    id uuid PRIMARY KEY, email text NOT NULL, role text NOT NULL, password_hash text NOT NULL
);
CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid NOT NULL REFERENCES users,
    token_hash text NOT NULL, ip_address inet, revoked_at timestamptz
);
CREATE TABLE audit_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id uuid, action text NOT NULL, details jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE webhook_events (
    id text PRIMARY KEY, event_type text NOT NULL, status text NOT NULL, error_message text, payload jsonb,
    retry_count integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE orders (
    id text PRIMARY KEY, order_number text NOT NULL UNIQUE, status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE product_variants (
    id text PRIMARY KEY, sku text NOT NULL UNIQUE, stock integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE order_items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL REFERENCES orders,
    variant_id text NOT NULL REFERENCES product_variants, product_id text, quantity integer NOT NULL
);
INSERT INTO users VALUES
    ('6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c11', 'ada@example.com', 'customer', '{CANARY}-1'),
    ('6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c12', 'bisi@example.com', 'admin', '{CANARY}-2');
INSERT INTO sessions (user_id, token_hash, ip_address) SELECT id, '{CANARY}-s', '203.0.113.9' FROM users;
INSERT INTO sessions (user_id, token_hash, ip_address)
    VALUES ('6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c11', '{CANARY}-t', '198.51.100.4');
INSERT INTO audit_logs (user_id, action)
    SELECT '6f1c0d1e-6a52-4c53-9d0a-0e7a5b3f2c11', 'login_failed' FROM generate_series(1, 40);
INSERT INTO product_variants VALUES ('v-1', 'LASH-2', 7), ('v-2', 'WIG-18', 4), ('v-3', 'GLUE-1', 90);
INSERT INTO orders VALUES
    ('o-1', 'AG-1001', 'paid'), ('o-2', 'AG-1002', 'pending_payment'), ('o-3', 'AG-0900', 'delivered');
INSERT INTO order_items (order_id, variant_id, quantity) VALUES ('o-1', 'v-2', 3), ('o-3', 'v-2', 2);
INSERT INTO webhook_events (id, event_type, status, payload, retry_count, created_at) VALUES
    ('wh-1', 'charge.success', 'failed', '{{"order": "o-2"}}', 0, now() - interval '3 hours'),
    ('wh-2', 'charge.success', 'failed', '{{"order": "o-2"}}', 1, now() - interval '2 hours'),
    ('wh-3', 'transfer.failed', 'failed', '{{}}', 5, now() - interval '3 hours'),
    ('wh-4', 'charge.success', 'processed', '{{}}', 0, now() - interval '3 hours');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {LOGIN};
GRANT UPDATE (stock, updated_at) ON product_variants TO {LOGIN};
GRANT UPDATE (revoked_at) ON sessions TO {LOGIN};
ALTER TABLE product_variants OWNER TO agape_owner;
ALTER TABLE sessions OWNER TO agape_owner;
"""

PROGRAM = """\
#!/bin/sh
printf '%s\\n' "$*" >>{folder}/ledger
case "$*" in
"id agape-backend") cat {folder}/instances ;;
"scale agape-backend "*) echo "[ $(seq -s', ' 0 $(($3 - 1))) ]" >{folder}/instances ;;
"stats "*) echo '{{"MemPerc":"91.20%"}}' ;;
esac
"""


@dataclass
class Line:
    """A way to a server on another port, which can be cut."""

    beyond: int
    port: int = 0
    down: bool = False
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Nobody gets through until ``down`` is false again."""
        self.down = True
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.down:
            writer.transport.abort()
            return
        far, onward = await asyncio.open_connection("127.0.0.1", self.beyond)
        self._open |= {writer, onward}
        try:
            await asyncio.gather(_carry(reader, onward), _carry(far, writer))
        finally:
            self._open -= {writer, onward}


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@dataclass
class Agape:
    """The shop. failing, errors: of its payment webhooks and its answers, as its counters show."""

    server: Server
    folder: Path
    line: Line
    database: str = ""
    failing: float = 0.0
    errors: float = 0.0
    queue: dict[str, int] = field(default_factory=lambda: {"waiting": 3, "failed": 0})
    marketing: dict[str, Any] = field(default_factory=lambda: {"paused": False, "reason": ""})
    api: Service = field(default_factory=Service)
    paystack: Service = field(default_factory=Service)
    exporter: Service = field(default_factory=Service)
    _writes: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.api.on(
            "GET", "/healthz", lambda _: Reply(200, {"status": "ok", "maintenance": self.maintenance})
        )
        self.api.on("GET", "/api/v1/admin/marketing", lambda _: Reply(200, self.marketing))
        self.api.on("POST", "/api/v1/admin/marketing/{word}", self._switch_marketing)
        self.api.on("GET", "/api/v1/admin/queues/stats", self._stats)
        self.api.on("POST", "/api/v1/admin/webhooks/reprocess", self._reprocess)
        self.paystack.gauge("probe_success", 1)
        self.exporter.gauge("pg_up", 1)
        (self.folder / "instances").write_text("[ 0, 1 ]\n")
        (self.folder / "ledger").touch()
        program = self.folder / "program"
        program.write_text(PROGRAM.format(folder=self.folder))
        program.chmod(0o755)

    @property
    def ran(self) -> list[str]:
        """What its commands were given, oldest first; without those that only read."""
        lines = (self.folder / "ledger").read_text().splitlines()
        return [line for line in lines if not line.startswith(("id ", "stats "))]

    @property
    def maintenance(self) -> bool:
        """As it was started last."""
        said = [line.split()[0] for line in self.ran if line.startswith("MAINTENANCE_MODE=")]
        return said[-1:] == ["MAINTENANCE_MODE=true"]

    @property
    def concurrency(self) -> int:
        """How many the queue's workers were started for last."""
        said = [line.split()[0] for line in self.ran if line.startswith("QUEUE_CONCURRENCY=")]
        return int(said[-1].partition("=")[2]) if said else 5

    def commands(self, declared: Mapping[str, Any]) -> dict[str, Any]:
        """The config's, word by word, but for the program: one that writes down what it was given."""
        return {
            name: one | {"argv": [str(self.folder / "program"), *one["argv"][1:]], "cwd": str(self.folder)}
            for name, one in declared.items()
        }

    async def sql(self, statement: str, *args: Any) -> list[Any]:
        """What the application or a DBA does."""
        async with self.server.connected(self.database) as connection:
            return [dict(row) for row in await connection.fetch(statement, *args)]

    def _stats(self, _: Asked) -> Reply:
        return Reply(200, {"email": {**self.queue, "concurrency": self.concurrency}})

    def _switch_marketing(self, asked: Asked) -> Reply:
        self.marketing |= {"paused": asked.fields["word"] == "pause", "reason": asked.body["reason"]}
        return Reply(200, self.marketing)

    def _reprocess(self, asked: Asked) -> Reply:
        statement = (
            "UPDATE webhook_events SET status = 'processed', retry_count = retry_count + 1 WHERE id = $1"
        )
        task = asyncio.get_running_loop().create_task(self.sql(statement, asked.body["webhookId"]))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return Reply(202, {"accepted": True})

    async def tick(self) -> None:
        """Its counters grow, by their shares."""
        good = bad = fine = wrong = 1000.0
        while True:
            bad, good = bad + 10 * self.failing, good + 10 * (1 - self.failing)
            wrong, fine = wrong + 10 * self.errors, fine + 10 * (1 - self.errors)
            self._counter("agape_payment_webhooks_total", bad, self.failing, "failed")
            self._counter("agape_payment_webhooks_total", good, 1, "processed")
            self._counter("http_requests_total", wrong, self.errors, "503")
            self._counter("http_requests_total", fine, 1, "200")
            await asyncio.sleep(0.1)

    def _counter(self, name: str, value: float, share: float, status: str) -> None:
        """As a process that has just begun shows it: what has never happened has no series."""
        if share:
            self.api.gauge(name, value, status=status)
        else:
            self.api.gauges.pop((name, (("status", status),)), None)


@asynccontextmanager
async def agape(server: Server, folder: Path) -> AsyncIterator[Agape]:
    """The shop, open; gone at the end."""
    async with server.connected() as connection:
        there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in {LOGIN, READER, "agape_owner"} - there:  # the server outlives a shop
            await connection.execute(f"CREATE ROLE {role} LOGIN")
        await connection.execute(f"GRANT pg_read_all_stats TO {LOGIN}")
    line = Line(server.child.port)
    shop = Agape(server, folder, line, await server.empty())
    async with server.connected(shop.database) as connection:
        await connection.execute(TABLES)
    way = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = way.sockets[0].getsockname()[1]
    ticking = asyncio.create_task(shop.tick())
    try:
        async with shop.api.serve(), shop.paystack.serve(), shop.exporter.serve():
            yield shop
    finally:
        ticking.cancel()
        way.close()
        line.cut()
