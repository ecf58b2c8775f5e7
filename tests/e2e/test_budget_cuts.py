"""The line to the database is cut around COMMIT, and the daemon dies there: never twice, never a lie."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.test_budget import Books, books, unproved
from tests.rig.pgproxy import Cut, Proxy, proxy_to
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("postgresql"),
    pytest.mark.no_cover,
]

HELD = unproved("30m", early="resolved")
"""It ends when the test says so."""
WHOLE, HALVED = Decimal("0.0700"), Decimal("0.0350")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


async def _commits(stage: Books, proxy: Proxy) -> dict[str, Any]:
    """People agree, and the daemon sends its COMMIT; the run."""
    await stage.budget_fires()
    run = await stage.at("waiting")
    await stage.agreed(f"{run['id']}.1", "amina", "bob")
    await proxy.heard.wait()
    return run


async def _dies(stage: Books) -> None:
    child = stage.daemon.child
    assert child is not None
    child.kill()
    stage.daemon.start()


async def _tells_the_truth(stage: Books, run: str, *, final: bool) -> None:
    """Once it rests, the journal says what the database holds, and nobody had to guess."""
    if final:
        await stage.daemon.wait_run(lambda one: one["id"] == run and one["stage"] == "holding")
    else:
        await stage.daemon.wait_run(lambda one: one["id"] == run and one["outcome"] == "failed")
    assert await stage.rate() == (HALVED if final else WHOLE)
    journal = await stage.daemon.journal(run)
    kinds = [entry["kind"] for entry in journal]
    assert "asking" not in kinds
    assert [entry["data"]["step"] for entry in journal if entry["kind"] == "started"].count(
        "halve_earn_rate"
    ) == 1
    assert kinds.index("marked") < kinds.index("unknown") < kinds.index("found-out")
    (found,) = [entry["data"] for entry in journal if entry["kind"] == "found-out"]
    assert found["became"] == ("final" if final else "nothing")


@pytest.mark.parametrize(
    ("cut", "final", "killed"),
    [
        (Cut.BEFORE, False, False),
        (Cut.HALF, False, False),
        (Cut.AFTER, True, False),
        (Cut.BEFORE, False, True),
        (Cut.HALF, False, True),
        (Cut.AFTER, True, True),
        (Cut.HELD, False, True),
        (Cut.SILENT, True, True),
    ],
    ids=lambda value: value.name if isinstance(value, Cut) else ("killed" if value else ""),
)
async def test_around_commit_one_row_is_halved_once_or_not_at_all(
    one_world: LoyaltyWorld, one_slack: FakeSlack, server: Server, cut: Cut, *, final: bool, killed: bool
) -> None:
    async with proxy_to(server.child.port, cut) as proxy:
        dsn = f"postgresql://nobody@127.0.0.1:{proxy.port}/{{database}}"
        async with books(one_world, one_slack, server, HELD, dsn) as stage:
            run = await _commits(stage, proxy)
            if killed:
                await _dies(stage)
            await _tells_the_truth(stage, run["id"], final=final)
            proxy.cut = Cut.NEVER
            if final:
                await stage.budget_fires("resolved")
                await stage.daemon.wait_run(lambda one: one["id"] == run["id"] and one["outcome"] == "fixed")
            assert await stage.rate() == WHOLE


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER, Cut.SILENT], ids=lambda cut: cut.name)
async def test_an_undo_that_is_cut_off_is_done_once(
    one_world: LoyaltyWorld, one_slack: FakeSlack, server: Server, cut: Cut
) -> None:
    async with proxy_to(server.child.port) as proxy:
        dsn = f"postgresql://nobody@127.0.0.1:{proxy.port}/{{database}}"
        async with books(one_world, one_slack, server, HELD, dsn) as stage:
            run = await _commits(stage, proxy)
            await stage.at("holding")
            proxy.cut = cut
            proxy.heard.clear()
            await stage.budget_fires("resolved")
            await proxy.heard.wait()
            if cut is Cut.SILENT:
                await _dies(stage)
            proxy.cut = Cut.NEVER
            await stage.daemon.wait_run(lambda one: one["id"] == run["id"] and one["outcome"] == "fixed")
            assert await stage.rate() == WHOLE
            kinds = await stage.daemon.kinds(run["id"])
            assert kinds.count("undone") == 1
            assert kinds.count("sent-again") == (1 if cut is Cut.BEFORE else 0)
