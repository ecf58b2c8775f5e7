"""What is over is forgotten, in small portions and on record; what anything open needs is not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest

from remediator.core.messages import Entry
from remediator.core.policyset import PolicySet
from remediator.core.run import Stage
from remediator.engine.retention import Keeps, Retention
from remediator.ports import SYSTEM, JournalEntry
from remediator.store.archive import Archive
from remediator.store.audit import audit
from remediator.store.journal import verify
from remediator.store.sqlite_tx import SqliteTx
from tests.core.campaign import policy, post
from tests.engine.world import Engine, alert, engine

DAY = timedelta(days=1)
PAUSES = policy({"pause": post("/pause/${campaign}")}, bounds={"cooldown": "60d"}, recheck="1000d")


@dataclass
class Telling:
    """Who is paged."""

    keys: list[str] = field(default_factory=list)

    async def __call__(self, key: str, text: str) -> None:
        assert text
        self.keys.append(key)


@dataclass
class House:
    """A daemon's engine, and the chore that tidies it."""

    one: Engine
    folder: Path
    told: Telling = field(default_factory=Telling)

    async def tidies(self, *, archive: Path | None = None, running: PolicySet | None = None) -> None:
        """One pass, with a day for all but runs: those stay for 30."""
        keeps = Keeps(deliveries=DAY, alerts=DAY, runs=30 * DAY, counters=DAY)
        kept = Archive(archive, self.one.clock.now).keep if archive is not None else None
        chore = Retention(
            self.one.store, keeps, lambda: running or self.one.policies, verify, kept, self.told
        )
        await chore.prune()

    async def plays(self, campaign: str) -> None:
        """An alert comes, its run closes, and it is over."""
        await self.one.delivers(alert(campaign, campaign=campaign))
        await self.one.answers()
        await self.one.delivers(alert(campaign, campaign=campaign, firing=False))

    async def noted(self) -> list[dict[str, object]]:
        """What the system journal says of it."""
        lines = await self.one.store.read(lambda tx: tx.read_journal(SYSTEM))
        return [line.data for line in lines if line.kind == "pruned"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with engine(tmp_path, PAUSES) as running:
        yield House(running, tmp_path)


async def test_runs_go_with_their_journals_and_the_audit_knows_why(house: House) -> None:
    for number in range(3):
        await house.plays(f"c-{number}")
    house.one.later(days=29)
    await house.plays("c-young")
    before = await audit(house.one.store)
    house.one.later(days=2)
    await house.tidies()
    assert [run.target for run in await house.one.runs()] == ["campaign/c-young"]
    (line,) = [one for one in await house.noted() if one["what"] == "runs"]
    assert isinstance(line["runs"], list)
    assert len(line["runs"]) == 3
    seq, _, head = before.head.partition(":")
    found = await audit(house.one.store, (int(seq), head))
    assert found.problems == (), "pruned is not deleted, and what was exported before still holds"
    assert found.journals == 2
    assert house.told.keys == []


async def test_a_run_that_somebody_deleted_is_still_found(house: House) -> None:
    for number in range(2):
        await house.plays(f"c-{number}")
    house.one.later(days=31)
    await house.plays("c-deleted")
    run = next(one.id for one in await house.one.runs() if one.target.endswith("c-deleted"))
    await house.tidies()
    await house.one.store.transact(lambda tx: tx.drop_run(run))
    (first, second) = (await audit(house.one.store)).problems
    assert first.startswith(run)
    assert "its journal is gone" in first
    assert second.startswith(run)


@pytest.mark.parametrize("forged", ["head", "entries", "open"])
async def test_a_line_that_covers_up_a_deletion_does_not(house: House, forged: str) -> None:
    """Whoever writes into the store may write such a line too, but not one that fits."""
    await house.one.delivers(alert())
    if forged != "open":
        await house.one.answers()
    (run,) = await house.one.runs()
    lines = await house.one.store.read(lambda tx: tx.read_journal(run.id))
    cut = len(lines) - (forged == "entries")
    said = {"run": run.id, "entries": cut, "tail": ["0" * 64 if forged == "head" else lines[cut - 1].hash]}
    await house.one.store.transact(partial(_forged, run=run.id, said=said, closed=forged != "open"))
    problems = (await audit(house.one.store)).problems
    assert problems
    assert all(run.id in one for one in problems)


async def _forged(tx: object, *, run: str, said: dict[str, object], closed: bool) -> None:
    assert isinstance(tx, SqliteTx)
    for table in ("journal", "heads"):
        tx._execute(f"DELETE FROM {table} WHERE run = ?", (run,))
    await tx.journal(SYSTEM, [Entry("pruned", {"what": "runs", "runs": [said]})])
    assert closed or (await tx.run(run)) is not None


async def test_a_journal_that_does_not_verify_is_kept_and_a_person_hears_of_it(house: House) -> None:
    await house.plays("c-1")
    await house.plays("c-2")
    first, second = await house.one.runs()

    async def tampers(tx: object) -> None:
        tx._execute("UPDATE journal SET data = '{}' WHERE run = ? AND kind = 'closed'", (first.id,))  # type: ignore[attr-defined]

    await house.one.store.transact(tampers)
    house.one.later(days=31)
    await house.tidies()
    assert [run.id for run in await house.one.runs()] == [first.id]
    assert house.told.keys == [f"journal:{first.id}"]
    assert second.id not in await house.one.store.read(lambda tx: tx.journals())


async def test_journals_are_on_the_disk_before_they_go(house: House) -> None:
    await house.plays("c-1")
    (run,) = await house.one.runs()
    lines = await house.one.store.read(lambda tx: tx.read_journal(run.id))
    house.one.later(days=31)
    await house.tidies(archive=house.folder / "kept" / "journals")
    (file,) = (house.folder / "kept" / "journals").iterdir()
    assert file.name == "journals-2026-04.jsonl"
    written = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(one["seq"], one["hash"]) for one in written] == [(one.seq, one.hash) for one in lines]
    assert (
        verify([msgspec.json.decode(line, type=JournalEntry) for line in file.read_bytes().splitlines()])
        is None
    )
    assert await house.one.runs() == []


async def test_without_room_in_the_archive_nothing_goes(house: House) -> None:
    await house.plays("c-1")
    house.one.later(days=31)
    (house.folder / "kept").write_text("no folder")
    await house.tidies(archive=house.folder / "kept")
    assert len(await house.one.runs()) == 1
    assert house.told.keys == ["archive"]


async def test_what_was_counted_stays_for_as_long_as_a_bound_looks_back(house: House) -> None:
    await house.plays("c-1")
    for days, refused in ((31, True), (28, True), (2, False)):
        house.one.later(days=days)
        await house.tidies()
        await house.one.delivers(alert("again", campaign="c-1"))
        standing = await house.one.stands("late-campaign", "again")
        assert standing is not None
        assert (standing.bound == "cooldown") is refused
        await house.one.delivers(alert("again", campaign="c-1", firing=False))


async def test_deliveries_and_alerts_go_in_portions_each_on_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remediator.engine.retention.BATCH", 2)
    for number in range(3):
        await house.plays(f"c-{number}")
    house.one.later(days=2)
    await house.one.delivers(alert("new", campaign="c-new"))
    await house.tidies()
    rows = [(one["what"], one["rows"]) for one in await house.noted()]
    assert rows == [("deliveries", 2), ("deliveries", 2), ("deliveries", 2), ("alerts", 2), ("alerts", 1)]
    left = await house.one.store.read(lambda tx: tx.alerts(firing_only=False))
    assert [row.alert.fingerprint for row in left] == ["new"]
    assert [run.stage for run in await house.one.runs()] == [*[Stage.CLOSED] * 3, Stage.ACTING]


async def test_of_several_replicas_one_does_it(house: House) -> None:
    await house.plays("c-1")
    house.one.later(days=31)
    await house.one.store.transact(lambda tx: tx.claim_firing(":retention", house.one.clock.now()))
    await house.tidies()
    assert len(await house.one.runs()) == 1
    house.one.later(minutes=10)
    await house.tidies()
    assert await house.one.runs() == []
