"""``remediator audit verify`` over the record of real runs: whole, then tampered with in every way."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remediator.cli import main
from tests.e2e.policies import UNATTENDED, pausing
from tests.e2e.stage import stage
from tests.rig.room import Said, terminal
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e]

ACTS = "act-now"
Tampering = Callable[[sqlite3.Connection, str], object]


@pytest.fixture(scope="module")
def record(
    one_world: LoyaltyWorld, one_slack: FakeSlack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The store of a daemon that has done three runs, and has stopped."""
    import asyncio

    folder = tmp_path_factory.mktemp("record")
    with stage(one_world, one_slack, pausing(ACTS, gate=UNATTENDED)) as play:

        async def story() -> None:
            for _ in range(3):
                campaign = await play.campaign()
                await play.fire(ACTS, campaign)
                await play.closed(campaign, "fixed")
            beside = await play.cli("audit", "verify", "--store", f"sqlite:///{play.daemon.folder}/state.db")
            assert beside.status == 0, f"beside the running daemon: {beside}"

        asyncio.run(story())
        assert play.daemon.child is not None
        assert play.daemon.child.end() == 0
        for file in play.daemon.folder.glob("state.db*"):
            shutil.copy(file, folder / file.name)
        yield folder / "state.db"


@pytest.fixture
def store(record: Path, tmp_path: Path) -> Path:
    """A copy of the record that a test may spoil."""
    for file in record.parent.glob("state.db*"):
        shutil.copy(file, tmp_path / file.name)
    return tmp_path / "state.db"


async def _verify(store: Path, *more: str) -> Said:
    said = await terminal("audit", "verify", "--store", f"sqlite:///{store}", *more)
    assert "Traceback" not in said.err, said.err
    return said


def _verify_here(store: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Said:
    """The same command, without a process of its own."""
    status = main(["audit", "verify", "--store", f"sqlite:///{store}", *more])
    return Said(status, *capsys.readouterr())


def _spoil(store: Path, how: Tampering) -> str:
    """Returns the run that was meant."""
    database = sqlite3.connect(store, isolation_level=None)
    run = str(database.execute("SELECT run FROM journal WHERE run <> 'system' LIMIT 1").fetchone()[0])
    how(database, run)
    database.close()
    return run


async def test_a_whole_record_verifies_against_the_head_that_it_printed(store: Path) -> None:
    said = await _verify(store)
    assert said.status == 0, said
    assert ": whole" in said.out
    head = said.out.split()[-1]
    assert (await _verify(store, "--head", head)).status == 0
    told = await _verify(store, "--json")
    assert (told.json["problems"], told.json["head"]) == ([], head)


TAMPERINGS: dict[str, Tampering] = {
    "a line's data": lambda db, run: db.execute(
        "UPDATE journal SET data = replace(data, 'pause', 'cause') WHERE run = ? AND kind = 'started'", (run,)
    ),
    "a line's kind": lambda db, run: db.execute(
        "UPDATE journal SET kind = 'verified' WHERE run = ? AND kind = 'decided'", (run,)
    ),
    "a line's time": lambda db, run: db.execute(
        "UPDATE journal SET at = at - 1 WHERE run = ? AND seq = 3", (run,)
    ),
    "a line in the middle": lambda db, run: db.execute(
        "DELETE FROM journal WHERE run = ? AND seq = 4", (run,)
    ),
    "the first line": lambda db, run: db.execute("DELETE FROM journal WHERE run = ? AND seq = 1", (run,)),
    "a run's tail": lambda db, run: db.executescript(
        f"DELETE FROM journal WHERE run = '{run}' AND seq > 3;"
        f"UPDATE heads SET seq = 3, hash = (SELECT hash FROM journal WHERE run = '{run}' AND seq = 3)"
        f" WHERE run = '{run}';"
    ),
    "a run's journal": lambda db, run: db.executescript(
        f"DELETE FROM journal WHERE run = '{run}'; DELETE FROM heads WHERE run = '{run}';"
    ),
    "a whole run": lambda db, run: db.executescript(
        f"DELETE FROM journal WHERE run = '{run}'; DELETE FROM heads WHERE run = '{run}';"
        f"DELETE FROM runs WHERE id = '{run}';"
    ),
    "two lines swapped": lambda db, run: db.executescript(
        f"UPDATE journal SET seq = 1000 WHERE run = '{run}' AND seq = 2;"
        f"UPDATE journal SET seq = 2 WHERE run = '{run}' AND seq = 3;"
        f"UPDATE journal SET seq = 3 WHERE run = '{run}' AND seq = 1000;"
    ),
    "the system's data": lambda db, _run: db.execute(
        "UPDATE journal SET data = replace(data, 'fixed', 'fiked') WHERE run = 'system'"
    ),
    "the system's first line": lambda db, _run: db.execute(
        "DELETE FROM journal WHERE run = 'system' AND seq = 1"
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_was_tampered_with_is_found(store: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = _spoil(store, TAMPERINGS[what])
    said = _verify_here(store, capsys)
    assert said.status == 1, said
    assert ("system" if "system" in what else run) in said.out
    assert _verify_here(store, capsys, "--json").json["problems"]


async def test_a_cut_tail_of_the_system_journal_is_found_by_the_head_that_was_kept(store: Path) -> None:
    head = (await _verify(store)).out.split()[-1]

    def cut(database: sqlite3.Connection, _run: str) -> None:
        (last,) = database.execute("SELECT max(seq) FROM journal WHERE run = 'system'").fetchone()
        left = last - 1
        database.execute("DELETE FROM journal WHERE run = 'system' AND seq > ?", (left,))
        database.execute(
            "UPDATE heads SET seq = ?, hash = (SELECT hash FROM journal WHERE run = 'system' AND seq = ?)"
            " WHERE run = 'system'",
            (left, left),
        )

    _spoil(store, cut)
    said = await _verify(store, "--head", head)
    assert (said.status, "were noted" in said.out) == (1, True), said


async def test_a_cut_tail_and_a_head_that_says_so_differ_too(store: Path) -> None:
    """The heads are noted beside the lines: whoever cuts the lines alone is found without any head."""
    _spoil(store, lambda db, run: db.execute("DELETE FROM journal WHERE run = ? AND kind = 'closed'", (run,)))
    assert (await _verify(store)).status == 1


async def test_what_is_no_store_or_no_head_is_told(tmp_path: Path, store: Path) -> None:
    nothing = await terminal("audit", "verify", "--store", f"sqlite:///{tmp_path}/nothing.db")
    assert nothing.status == 2, nothing
    assert not (tmp_path / "nothing.db").exists()
    (tmp_path / "text.db").write_text("not a database at all, but long enough to be looked at" * 20)
    assert (await _verify(tmp_path / "text.db")).status == 2
    assert (await _verify(store, "--head", "12")).status == 2
    without = await terminal("audit", "verify", cwd=tmp_path)
    assert (without.status, "give --config or --store" in without.err) == (2, True), without
