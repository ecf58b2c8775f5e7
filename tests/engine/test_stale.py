"""A replica with older policies beside one with newer ones: it decides nothing, and loses nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from remediator.errors import StoreError
from remediator.ports import Disposition, RunFilter
from remediator.store.memory import MemoryStore
from tests.core.campaign import policy, post, votes
from tests.engine.test_membership import Channel, Daemon, World, settled
from tests.engine.world import HandClock, alert

WANTS = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1, within="5m"))})
STRICT = policy(
    {"pause": post("/pause/${campaign}")},
    params={"campaign": {"from": "labels.campaign", "pattern": "[0-9]{1,20}"}},
)


class Two:
    """Two replicas of one store, both without a policy at first."""

    def __init__(self) -> None:
        self.clock, self.world, self.channel = HandClock(), World(), Channel()
        first = MemoryStore(self.clock)
        self.a = Daemon("a", first, self.clock, self.world, self.channel)
        self.b = self.another("b")

    def another(self, name: str) -> Daemon:
        return Daemon(name, self.stores.beside(), self.clock, self.world, self.channel)

    @property
    def stores(self) -> MemoryStore:
        return self.a.store

    async def passes(self, seconds: float, *those: Daemon) -> None:
        """Time goes by, and these do what their loops do."""
        until = self.clock.at + timedelta(seconds=seconds)
        while self.clock.at < until:
            self.clock.at += timedelta(seconds=2)
            for one in those:
                await one.member.beat()
                await one.driver._drain_inbox()
                await one.driver.meet_deadlines()
                await settled()

    async def stands(self, fingerprint: str) -> Disposition | None:
        return await self.stores.read(lambda tx: tx.disposition("late-campaign", fingerprint))

    async def heard(self) -> set[str]:
        """Alerts about which there was a run."""
        runs = await self.stores.read(lambda tx: tx.runs(RunFilter(limit=1000)))
        return {fingerprint for run in runs for fingerprint in run.members}


@pytest.fixture
async def two() -> Two:
    both = Two()
    await both.a.member.join()
    await both.b.member.join()
    return both


async def reads(one: Daemon, *policies: object, version: str = "v1") -> None:
    """As the daemon does when its files have changed."""
    one.engine.runs_with(*policies, version=version)  # type: ignore[arg-type]
    await one.member.renew()
    await one.driver.policies_changed()


@pytest.mark.parametrize("seconds", [1, 3])
async def test_who_has_not_heard_of_newer_policies_yet_settles_nothing(two: Two, seconds: int) -> None:
    await reads(two.a, WANTS)
    two.clock.at += timedelta(seconds=seconds)
    await two.b.hears(alert("f1"))  # it has not beaten since
    assert await two.b.store.read(lambda tx: tx.inbox_depth()) == 1
    await two.passes(10, two.a, two.b)
    assert await two.heard() == {"f1"}


async def test_nor_what_it_had_kept_back(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (two.a, two.b):
        await reads(one, WANTS)

    async def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as broken:
        broken.setattr(two.b.engine.decisions, "_consider", breaks)
        broken.setattr(two.b.driver._setbacks, "on_bug", breaks_nothing)
        await two.b.hears(alert("f1"))
    await reads(two.a, STRICT, version="v2")
    two.clock.at += timedelta(minutes=2)
    await two.b.driver._drain_inbox()
    assert await two.b.store.read(lambda tx: tx.inbox_depth()) == 1
    await two.passes(10, two.a, two.b)
    standing = await two.stands("f1")
    assert standing is not None
    assert standing.bound == "params", "the newer policy has refused it"


async def breaks_nothing(*_: object) -> None:
    """Whoever is told."""


@pytest.mark.parametrize("older", [None, STRICT], ids=["without it", "with another"])
async def test_a_start_with_older_policies_lets_go_of_nothing(two: Two, older: object) -> None:
    if older is not None:
        await reads(two.b, older)
    await reads(two.a, WANTS, version="v2")
    await two.b.member.beat()
    await two.a.hears(*(alert(f"f{number}", campaign=f"c-{number}") for number in range(3)))
    before = await two.stands("f2")
    assert before is not None
    assert before.bound == "at_once"
    third = two.another("c")
    if older is not None:
        third.engine.runs_with(older, version="v1")  # type: ignore[arg-type]
    third.engine.decisions._old["late-campaign@v2"] = WANTS
    await third.member.join()
    assert third.stale
    assert await two.stands("f2") == before
    await third.member.leave()
    await two.passes(60 * 60, two.a)
    assert await two.heard() == {"f0", "f1", "f2"}


async def test_when_older_policies_count_again_what_was_heard_meanwhile_is_decided_on(two: Two) -> None:
    for one in (two.a, two.b):
        await reads(one, WANTS)
    await reads(two.a)
    await two.b.member.beat()
    stale = two.b.stale
    assert stale
    await two.a.hears(alert("f1"))  # nobody wants it; and then it dies
    assert await two.heard() == set()
    await two.passes(30, two.b)
    assert not two.b.stale
    assert await two.heard() == {"f1"}


async def test_who_falls_behind_again_while_it_catches_up_catches_up_again(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (two.a, two.b):
        await reads(one, WANTS)
    real, rounds = two.b.driver.policies_changed, 0

    async def long() -> None:
        nonlocal rounds
        rounds += 1
        await real()
        if rounds == 1:
            await reads(two.a)
            await two.b.member.renew()
            await two.a.hears(alert("f1"))  # nobody wants it; and then it dies
            two.clock.at += timedelta(seconds=20)
            await two.b.member.renew()

    monkeypatch.setattr(two.b.driver, "policies_changed", long)
    two.b.member._behind = True
    await two.b.member.look()
    await two.passes(10, two.b)
    assert await two.heard() == {"f1"}
    assert rounds == 2


async def test_what_cannot_be_caught_up_with_now_is_later(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise StoreError("store", "no route")

    two.b.member._behind = True
    with monkeypatch.context() as broken:
        broken.setattr(two.b.driver, "policies_changed", fails)
        with pytest.raises(StoreError):
            await two.b.member.look()
    assert two.b.member._behind


async def test_the_door_of_a_stale_replica_is_not_shut_for_what_others_have_drained(two: Two) -> None:
    await reads(two.a, WANTS)
    await two.b.member.beat()
    for number in range(5):
        two.b.driver.accepted()
        await two.b.hears(alert(f"f{number}", campaign=f"c-{number}"))
    await two.a.driver._drain_inbox()
    await two.b.driver._drain_inbox()
    assert two.b.driver.depth == 0
