"""A real PostgreSQL: one server for many tests, and a fresh copy of the loyalty tables for each."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from tests.rig.components import program
from tests.rig.processes import Child, Program, scratch, start

LOGIN = "nobody"
TEMPLATE = "loyalty_template"

LOYALTY = """
CREATE TABLE loyalty_programs (
    id text PRIMARY KEY, name text NOT NULL, status text NOT NULL DEFAULT 'active',
    earn_rate numeric(6,4) NOT NULL, budget_limit numeric(18,2) NOT NULL,
    budget_spent numeric(18,2) NOT NULL DEFAULT 0, updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE loyalty_campaigns (
    id text PRIMARY KEY, program_id text NOT NULL REFERENCES loyalty_programs, name text NOT NULL,
    campaign_type text NOT NULL, target_segment jsonb NOT NULL DEFAULT '{}', bonus_points integer,
    start_date timestamptz NOT NULL, end_date timestamptz, status text NOT NULL,
    users_awarded integer NOT NULL DEFAULT 0, total_points_awarded bigint NOT NULL DEFAULT 0,
    executed_at timestamptz
);
CREATE TABLE loyalty_balances (
    id text PRIMARY KEY, user_id text NOT NULL, program_id text NOT NULL REFERENCES loyalty_programs,
    points_balance numeric(18,2) NOT NULL DEFAULT 0, locked numeric(18,2) NOT NULL DEFAULT 0,
    is_frozen boolean NOT NULL DEFAULT false, fraud_flags jsonb NOT NULL DEFAULT '[]',
    updated_at timestamptz NOT NULL DEFAULT now(), UNIQUE (user_id, program_id)
);
CREATE TABLE loyalty_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, balance_id text NOT NULL REFERENCES loyalty_balances,
    event_type text NOT NULL, amount numeric(18,2) NOT NULL, ip_address inet,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE loyalty_users (id text PRIMARY KEY, name text NOT NULL, password_hash text NOT NULL);
INSERT INTO loyalty_programs (id, name, earn_rate, budget_limit, budget_spent) VALUES
    ('p-17', 'Teranga', 0.0700, 1000000, 968000), ('p-18', 'Baobab', 0.0500, 500000, 20000);
INSERT INTO loyalty_campaigns (id, program_id, name, campaign_type, bonus_points, start_date, status) VALUES
    ('c-1', 'p-17', 'Tabaski', 'bonus', 500, now() - interval '3 hours', 'scheduled'),
    ('c-2', 'p-18', 'Korite', 'bonus', 200, now() + interval '3 hours', 'scheduled');
INSERT INTO loyalty_balances (id, user_id, program_id, points_balance, fraud_flags) VALUES
    ('b-1', 'u-1', 'p-17', 15300.50, '["new_device"]'), ('b-2', 'u-2', 'p-17', 40, '[]');
INSERT INTO loyalty_transactions (balance_id, event_type, amount, ip_address)
    SELECT 'b-1', 'earn', 255, '198.51.100.7' FROM generate_series(1, 60);
INSERT INTO loyalty_users VALUES ('u-1', 'Amina', 'canary-hash-1'), ('u-2', 'Bob', 'canary-hash-2');
"""
"""The tables that the runbooks name, with a program that has used 96.8 % of its budget."""


@dataclass
class Server:
    """A running PostgreSQL; everybody on loopback is let in as anybody, without a password."""

    child: Child
    recipe: Program = field(repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def dsn(self, database: str = "postgres", login: str = LOGIN, port: int | None = None) -> str:
        """The address of a database, for this login; ``port``: of a proxy before it."""
        return f"postgresql://{login}@127.0.0.1:{port or self.child.port}/{database}"

    @asynccontextmanager
    async def connected(self, database: str = "postgres") -> AsyncIterator[Any]:
        """A bare connection as the superuser."""
        connection = await asyncpg.connect(self.dsn(database))
        try:
            yield connection
        finally:
            await connection.close()

    def crash(self) -> None:
        """As a power cut would: what was not written to the log is lost (``pg_ctl stop -m immediate``)."""
        self.child.process.send_signal(signal.SIGQUIT)
        self.child.process.wait(30)

    def start_again(self) -> None:
        """After ``crash``, on the same port, with the same files."""
        self.child.end()
        self.child = start(self.recipe, self.child.folder, port=self.child.port)

    async def empty(self) -> str:
        """The name of a fresh database with nothing in it."""
        name = f"empty_{next(self._numbers)}"
        async with self.connected() as connection:
            await connection.execute(f"CREATE DATABASE {name}")
        return name

    async def copy(self, template: str = TEMPLATE) -> str:
        """The name of a fresh database with the tables of this one; by default the loyalty tables."""
        name = f"{template.removesuffix('_template')}_{next(self._numbers)}"
        async with self.connected() as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    async def drop(self, database: str) -> None:
        """It is used no more: its files need not come to the disk."""
        async with self.connected() as connection:
            await connection.execute(f"DROP DATABASE {database} (FORCE)")


@contextmanager
def running_postgres(*, durable: bool = False, also: str = "") -> Iterator[Server]:
    """Start one, with its template, and end it. Its files are in a temporary folder, also its socket.

    durable: a commit is on the disk before it is answered, as in production; else a machine's crash may
    lose it, which tests do not mind.
    also: another address of this machine, on which hosts of a test's own reach it.
    """
    with scratch("postgres") as folder:
        postgres = Path(program("postgresql"))
        _run(folder, postgres.with_name("initdb"), *_NEW)
        if also:
            with (folder / "data/pg_hba.conf").open("a") as rules:
                rules.write(f"host all all {also}/30 trust\n")
        with _running(postgres, folder, _DURABLE if durable else _SETTINGS, also) as server:
            asyncio.run(_lay_out(server))
            yield server


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """Start a standby that follows this one; ``promote`` makes it a primary on a timeline of its own."""
    with scratch("standby") as folder:
        postgres = Path(program("postgresql")).resolve()
        source = ("-h", "127.0.0.1", "-p", str(primary.child.port), "-U", LOGIN)
        _run(folder, postgres.with_name("pg_basebackup"), *source, *_FOLLOWING)
        with _running(postgres, folder) as server:
            yield server


_NEW = ("-A", "trust", "-U", LOGIN, "--no-sync", "-E", "UTF8", "--locale=C", "-D", "data")
_SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "autovacuum=off",  # it would visit each story's database, for ever
    "timezone=Africa/Nairobi",
)
_DURABLE = ("timezone=Africa/Nairobi",)  # by default all is; what is said here no ALTER SYSTEM changes
_FOLLOWING = ("-D", "data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync")


@contextmanager
def _running(
    postgres: Path, folder: Path, settings: Sequence[str] = _SETTINGS, also: str = ""
) -> Iterator[Server]:
    hosts = ",".join(filter(None, ("127.0.0.1", also)))

    def argv(port: int) -> list[str]:
        return [
            str(postgres),
            *("-D", f"{folder}/data", "-h", hosts, "-p", str(port), "-k", str(folder)),
            *(part for setting in settings for part in ("-c", setting)),
        ]

    recipe = Program("postgres", argv, unprivileged=True, is_ready=_answers)
    with start(recipe, folder) as child:
        server = Server(child, recipe)
        try:
            yield server
        finally:
            server.child.process.send_signal(signal.SIGQUIT)  # whoever is still connected is not waited for
            server.child.end()


def _run(folder: Path, *command: str | Path) -> None:
    as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        list(map(str, command)),
        cwd=folder,
        check=True,
        capture_output=True,
        **as_nobody,  # type: ignore[call-overload]
    )


def _answers(port: int) -> bool:
    """Does it let us in? While it starts it answers too, with an error."""
    hello = struct.pack("!I", 3 << 16) + f"user\0{LOGIN}\0database\0postgres\0\0".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=2) as line:
        line.sendall(struct.pack("!I", len(hello) + 4) + hello)
        return line.recv(1) == b"R"


async def _lay_out(server: Server) -> None:
    async with server.connected() as connection:
        await connection.execute(f"CREATE DATABASE {TEMPLATE}")
    async with server.connected(TEMPLATE) as connection:
        await connection.execute(LOYALTY)
