"""The SQLite store under contract, and what only a file can suffer."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remediator.core.messages import Counted
from remediator.errors import SchemaTooNew, StoreError
from remediator.ports import CardRef, Store, Tx
from remediator.store import open_store
from remediator.store.sqlite import SqliteStore
from tests.store.contract import TxContract, store
from tests.store.doubting import DoubtContract, KeptDoubtContract
from tests.store.promises import OneWriterContract, PromiseContract, traces, whole_decision
from tests.store.pruning import PruneContract
from tests.store.samples import HOUR, HandClock, Rig, a_run, delivery, key_of, scope
from tests.store.spoiling import SpoilContract

__all__ = ["store"]


class Trouble:
    """Which statement fails next. Shared by all connections of one rig."""

    countdown = 0
    struck = False


class SqliteRig:
    statements = 20
    queued = 1500

    def __init__(self, path: Path) -> None:
        self.clock = HandClock()
        self.path = path
        self.url = f"sqlite:///{path}"
        self.trouble = Trouble()
        self._stores: list[Store] = []

    async def opened(self) -> Store:
        store = SqliteStore(self.path, self.clock, connection=fragile(self.trouble))
        await store.open()
        self._stores.append(store)
        return store

    async def reopened(self) -> Store:
        await self.close()
        return await self.opened()

    async def close(self) -> None:
        for one in self._stores:
            await one.close()

    def fail_statement(self, number: int) -> None:
        self.trouble.countdown = number

    def heal(self) -> bool:
        struck, self.trouble.struck, self.trouble.countdown = self.trouble.struck, False, 0
        return struck

    async def spoil(self, key: str, table: str = "runs", doc: str = "{}") -> None:
        await self.tamper(f"UPDATE {table} SET doc = X'{doc.encode().hex()}' WHERE {key_of(table)} = '{key}'")

    async def tamper(self, sql: str) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(sql)
        connection.close()


def fragile(trouble: Trouble) -> type[sqlite3.Connection]:
    class Fragile(sqlite3.Connection):
        def execute(self, sql: str, arguments: Any = (), /) -> sqlite3.Cursor:
            if trouble.countdown == 1:
                trouble.struck = True
                raise sqlite3.OperationalError("disk I/O error")
            if trouble.countdown:
                trouble.countdown -= 1
            return super().execute(sql, arguments)

    return Fragile


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    rig = SqliteRig(tmp_path / "state.db")
    yield rig
    await rig.close()


class TestTx(TxContract):
    pass


class TestDoubts(DoubtContract, KeptDoubtContract):
    pass


class TestSpoilt(SpoilContract):
    pass


class TestPruning(PruneContract):
    pass


class TestPromises(PromiseContract, OneWriterContract):
    pass


async def test_calls_that_wait_share_a_commit(store: Store, rig: SqliteRig) -> None:
    statements: list[str] = []
    assert isinstance(store, SqliteStore)
    assert store._connection is not None
    store._connection.set_trace_callback(statements.append)
    gate = threading.Event()

    async def wait(tx: Tx) -> None:
        gate.wait()

    first = asyncio.create_task(store.transact(wait))
    calls = [asyncio.create_task(store.transact(lambda tx: tx.put_delivery(delivery()))) for _ in range(100)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *calls)
    assert statements.count("COMMIT") <= 2


async def test_a_second_daemon_on_the_same_file_is_refused_until_the_first_has_gone(
    store: Store, rig: SqliteRig
) -> None:
    second = open_store(rig.url, HandClock())
    with pytest.raises(StoreError, match=r"in use by another daemon \(process \d+\); stop that one"):
        await second.open()
    await store.close()
    await second.open()
    await second.close()


async def test_a_second_name_for_the_file_is_the_same_file(store: Store, rig: SqliteRig) -> None:
    link = rig.path.with_name("link.db")
    link.symlink_to(rig.path)
    with pytest.raises(StoreError, match="in use"):
        await open_store(f"sqlite:///{link}", HandClock()).open()


async def test_a_file_of_a_newer_version_is_refused(store: Store, rig: SqliteRig) -> None:
    await store.close()
    await rig.tamper("UPDATE meta SET value = value + 1 WHERE key = 'schema'")
    with pytest.raises(SchemaTooNew, match="install the newer version"):
        await open_store(rig.url, HandClock()).open()
    await rig.tamper("UPDATE meta SET value = value - 1 WHERE key = 'schema'")
    await rig.opened()  # being refused left no lock behind


async def test_a_file_of_an_older_version_is_brought_up_with_all_that_is_in_it(
    store: Store, rig: SqliteRig
) -> None:
    await store.transact(lambda tx: tx.put_card(CardRef("g-1", "C1", "1.0", "digest"), None))
    await store.transact(lambda tx: tx.count(scope("r1"), Counted("act")))
    await store.transact(lambda tx: tx.save_run(a_run("r1"), None))
    await store.close()
    for trigger in ("runs_open", "runs_move", "runs_go"):
        await rig.tamper(f"DROP TRIGGER {trigger}")
    await rig.tamper("DROP TABLE open_runs")
    for index in ("runs_closed", "runs_of_version", "pages_over", "effects_held", "runs_aside"):
        await rig.tamper(f"DROP INDEX {index}")
    await rig.tamper("ALTER TABLE runs DROP COLUMN aside")
    await rig.tamper("DROP TABLE pruned")
    await rig.tamper("ALTER TABLE effects DROP COLUMN holder")
    await rig.tamper("DROP INDEX acts_of_budget")
    await rig.tamper("DROP INDEX acts_failed")
    await rig.tamper("DROP INDEX runs_taking_back")
    await rig.tamper("CREATE INDEX runs_holding ON runs (policy, target) WHERE stage = 'holding'")
    await rig.tamper("ALTER TABLE acts DROP COLUMN budget")
    await rig.tamper("ALTER TABLE cards DROP COLUMN attached")
    await rig.tamper("UPDATE meta SET value = 1 WHERE key = 'schema'")
    renewed = await rig.opened()
    assert await renewed.read(lambda tx: tx.policy_counts()) == []
    assert await renewed.read(lambda tx: tx.card("g-1")) == CardRef("g-1", "C1", "1.0", "digest")
    shared = scope("r2", budget="rates", budget_window=HOUR)
    await renewed.transact(lambda tx: tx.count(shared, Counted("act")))
    use = (await renewed.read(lambda tx: tx.seen(scope("r3", budget="rates", budget_window=HOUR)))).use
    assert (len(use.policy_acts), len(use.budget_acts), use.open_runs) == (2, 1, 1)


async def test_a_file_of_another_program_is_refused(rig: SqliteRig) -> None:
    await rig.tamper("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match="belongs to another program"):
        await open_store(rig.url, HandClock()).open()


@pytest.mark.parametrize("schema", ["'nonsense'", "0", "-1"])
async def test_an_unknown_schema_version_is_refused(store: Store, rig: SqliteRig, schema: str) -> None:
    await store.close()
    await rig.tamper("DELETE FROM meta WHERE key = 'schema'")
    if schema != "'nonsense'":
        await rig.tamper(f"INSERT INTO meta VALUES ('schema', {schema})")
    with pytest.raises(StoreError, match="unknown schema version"):
        await open_store(rig.url, HandClock()).open()


async def test_what_is_no_database_is_refused_with_a_remedy(tmp_path: Path) -> None:
    text = tmp_path / "notes.db"
    text.write_text("buy milk, " * 100)
    with pytest.raises(StoreError, match="name another file"):
        await open_store(f"sqlite:///{text}", HandClock()).open()
    assert text.read_text().startswith("buy milk")
    with pytest.raises(StoreError, match="create its folder"):
        await open_store(f"sqlite:///{tmp_path}/nowhere/state.db", HandClock()).open()
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError):
        await open_store(f"sqlite:///{tmp_path}/folder.db", HandClock()).open()


async def test_nobody_else_on_the_machine_may_read_it(store: Store, rig: SqliteRig) -> None:
    await store.transact(lambda tx: tx.put_delivery(delivery()))
    for file in rig.path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://ann:secret@db:port/state", "not the address of a PostgreSQL database"),
        ("mysql://ann:secret@db/state", "not a store that is known"),
        ("state.db", "not a store that is known"),
        ("sqlite://state.db", "not the address"),
        ("sqlite://", "not the address"),
        ("sqlite:///", "not the address"),
        ("sqlite:////tmp/", "not the address"),
        ("sqlite:state.db?mode=memory", "not the address"),
    ],
)
def test_a_url_that_names_no_store_is_refused_without_repeating_it(url: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as caught:
        open_store(url, HandClock())
    assert "secret" not in str(caught.value)


async def test_a_relative_url_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:my state.db", HandClock())
    await store.open()
    await store.close()
    assert (tmp_path / "my state.db").exists()


async def test_work_that_waits_for_something_else_is_a_bug_and_leaves_nothing(store: Store) -> None:
    async def work(tx: Tx) -> None:
        await tx.put_delivery(delivery())
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="waited for something else"):
        await store.transact(work)
    assert await store.read(lambda tx: tx.inbox_depth()) == 0


async def test_work_that_cannot_even_start_leaves_nobody_waiting(store: Store) -> None:
    def work(tx: Tx) -> Awaitable[None]:
        raise LookupError("before it began")

    with pytest.raises(LookupError, match="before it began"):
        await store.transact(work)
    await store.transact(lambda tx: tx.put_delivery(delivery()))


async def test_a_full_disk_is_told_and_mended_by_itself(store: Store) -> None:
    assert isinstance(store, SqliteStore)
    assert store._connection is not None
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 20}").fetchall()

    async def put(tx: Tx, size: int) -> int:
        return await tx.put_delivery(delivery(*(f"f{number}" for number in range(size))))

    ends = await asyncio.gather(
        *(store.transact(lambda tx: put(tx, 50)) for _ in range(40)), return_exceptions=True
    )
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert refused
    assert all(isinstance(end, StoreError) and end.remedy.startswith("free some") for end in refused)
    assert await store.read(lambda tx: tx.inbox_depth()) == len(ends) - len(refused)
    if store._connection is not None:
        store._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    await store.transact(lambda tx: put(tx, 50))
    assert await store.read(lambda tx: tx.inbox_depth()) == len(ends) - len(refused) + 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode
    ):
        pytest.skip("may not mount a tmpfs here")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_really_full_disk_too(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    store = open_store(f"sqlite:///{small_disk}/state.db", HandClock())
    await store.open()
    kept = 0
    with pytest.raises(StoreError, match=r"full|disk I/O error"):  # noqa: PT012 - until it happens
        while kept < 10_000:
            await store.transact(lambda tx: tx.put_delivery(delivery(*(f"f{one}" for one in range(50)))))
            kept += 1
    assert await store.read(lambda tx: tx.inbox_depth()) == kept
    ballast.unlink()
    await store.transact(lambda tx: tx.put_delivery(delivery()))
    assert await store.read(lambda tx: tx.inbox_depth()) == kept + 1
    await store.close()


async def test_somebody_elses_lock_is_an_error_with_a_remedy(
    rig: SqliteRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remediator.store.sqlite._BUSY_TIMEOUT_S", 0.05)
    store = await rig.opened()
    intruder = sqlite3.connect(rig.path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="end whatever else has the file open"):
        await store.transact(lambda tx: tx.put_delivery(delivery()))
    intruder.execute("ROLLBACK")
    intruder.close()
    await store.transact(lambda tx: tx.put_delivery(delivery()))


async def test_what_is_asked_while_the_daemon_works_never_scans_history(store: Store, rig: SqliteRig) -> None:
    """COMPONENTS: claiming without a partial index on the open state took 13 ms with 15,000 closed rows."""
    connection = sqlite3.connect(rig.path)
    statements: set[str] = set()
    assert isinstance(store, SqliteStore)
    for one in (store._connection, store._reader):
        assert one is not None
        one.set_trace_callback(statements.add)
    await store.transact(whole_decision)
    await store.read(traces)
    await store.read(lambda tx: tx.due(10))
    await store.read(lambda tx: tx.next_due())
    await store.read(lambda tx: tx.holders())
    await store.transact(lambda tx: tx.claim_inbox(64, 100))
    await store.transact(lambda tx: tx.claim_run("r1"))
    await store.read(lambda tx: tx.open_run("unstick", "deployment/shop/worker"))
    shared = scope(budget="rates", budget_window=HOUR, failure_window=HOUR)
    await store.read(lambda tx: tx.seen(shared))
    assert any("acts WHERE budget =" in " ".join(one.split()) for one in statements)
    assert any("kind = 'failed'" in one for one in statements)
    history = ("inbox", "runs", "acts", "journal", "heads", "pages", "alerts", "halts", "members")
    questions = [one for one in statements if one.split()[0] in ("SELECT", "UPDATE", "DELETE")]
    assert len(questions) > 15
    for sql in questions:
        for *_, plan in connection.execute(f"EXPLAIN QUERY PLAN {sql}"):
            table = plan.split()[1] if plan.startswith("SCAN") else ""
            partial = ("inbox_new", "pages_open", "halts_in_force", "runs_live")
            assert table not in history or plan.split()[-1] in partial, f"{plan}: {sql}"
    connection.close()


async def test_an_unopened_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db", HandClock())
    with pytest.raises(StoreError, match="not open"):
        await store.transact(lambda tx: tx.save_run(a_run(), None))
    await store.close()


def test_the_rig_offers_what_the_contract_asks() -> None:
    rig: Rig = SqliteRig(Path("state.db"))
    assert rig.url == "sqlite:///state.db"
