"""What a store must do for several daemons at once. The tests of each store that can be shared inherit it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from remediator.core.messages import Card
from remediator.errors import LeaseLost
from remediator.ports import Replica, Store
from tests.store.samples import NOON, HandClock

LEASE = timedelta(seconds=9)


async def beat(store: Store, name: str, policies: str = "v1") -> None:
    store.write_as(name)
    one = Replica(id=name, host="here", policies=policies, since=NOON, until=NOON)
    await store.transact(lambda tx: tx.beat(one, LEASE))


async def holders(store: Store) -> Mapping[str, datetime | None]:
    return await store.read(lambda tx: tx.holders())


class SharedContract:
    """Fixtures: ``two``: stores over the same data, each a daemon's own; ``clock``: the store's time."""

    async def test_nothing_is_taken_from_whoever_lives(
        self, two: tuple[Store, Store], clock: HandClock
    ) -> None:
        a, b = two
        assert a.shared
        assert b.shared
        await beat(a, "a")
        await beat(b, "b")
        left = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
        seen = await holders(b)
        clock.advance(LEASE / 2)
        await beat(b, "b")
        assert await holders(b) == seen, "it has not beaten since"
        await beat(a, "a")
        again = await holders(b)
        assert again != seen
        assert await b.transact(lambda tx: tx.take_over("a", seen["a"])) == []
        assert await b.transact(lambda tx: tx.take_over("a", again["a"])) == left
        assert await holders(b) == {}

    async def test_whoever_has_come_back_since_it_was_missed_keeps_what_it_holds(
        self, two: tuple[Store, Store], clock: HandClock
    ) -> None:
        a, b = two
        a.write_as("a")
        await beat(b, "b")
        left = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))  # before its first beat
        assert await holders(b) == {"a": None}
        await beat(a, "a")
        assert await b.transact(lambda tx: tx.take_over("a", None)) == []
        assert await a.transact(lambda tx: tx.held()) == left
        seen = await holders(b)
        assert await b.transact(lambda tx: tx.take_over("a", seen["a"])) == left

    async def test_whoever_was_taken_over_can_write_nothing_until_it_begins_anew(
        self, two: tuple[Store, Store], clock: HandClock
    ) -> None:
        a, b = two
        await beat(a, "a")
        await beat(b, "b")
        (left,) = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
        clock.advance(LEASE)
        await beat(b, "b")
        seen = await holders(b)
        await b.transact(lambda tx: tx.take_over("a", seen["a"]))
        with pytest.raises(LeaseLost):
            await a.transact(lambda tx: tx.drop_effect(left.id))
        with pytest.raises(LeaseLost):
            await beat(a, "a")
        await beat(a, "a2")
        assert await a.read(lambda tx: tx.pending()) == [left]

    async def test_a_lease_that_is_over_is_renewed_unless_somebody_took_over(
        self, two: tuple[Store, Store], clock: HandClock
    ) -> None:
        a, b = two
        await beat(a, "a")
        await beat(b, "b")
        await a.transact(lambda tx: tx.put_effects("r1", [Card("g1")]))
        seen = await holders(b)
        clock.advance(2 * LEASE)
        await beat(a, "a")
        assert await b.transact(lambda tx: tx.take_over("a", seen["a"])) == []
        assert [one.id for one in await b.read(lambda tx: tx.replicas())] == ["a"]

    async def test_each_knows_what_it_holds(self, two: tuple[Store, Store]) -> None:
        a, b = two
        await beat(a, "a")
        await beat(b, "b")
        first = await a.transact(lambda tx: tx.put_effects("r1", [Card("g1"), Card("g2")]))
        (other,) = await b.transact(lambda tx: tx.put_effects("r1", [Card("g3")]))
        assert await a.read(lambda tx: tx.held()) == first
        assert await b.read(lambda tx: tx.held()) == [other]
        await a.transact(lambda tx: tx.let_go())
        assert await a.read(lambda tx: tx.held()) == []

    async def test_those_who_live_are_listed(self, two: tuple[Store, Store], clock: HandClock) -> None:
        a, b = two
        await beat(a, "a", "v1")
        clock.advance(LEASE / 2)
        await beat(b, "b", "v2")
        assert [(one.id, one.policies) for one in await a.read(lambda tx: tx.replicas())] == [
            ("a", "v1"),
            ("b", "v2"),
        ]
        clock.advance(LEASE / 2)
        assert [one.id for one in await a.read(lambda tx: tx.replicas())] == ["b"]

    async def test_the_set_announced_last_is_current(self, two: tuple[Store, Store]) -> None:
        a, b = two
        assert await b.read(lambda tx: tx.current_set()) == ""
        for version in ("v1", "v2", "v1"):
            policies = {"unstick": f"{version}/unstick"}
            await a.transact(lambda tx, version=version, these=policies: tx.announce_set(version, these))  # type: ignore[misc]
            assert await b.read(lambda tx: tx.announced()) == policies
            assert await b.read(lambda tx: tx.current_set()) == version
        assert await b.read(lambda tx: tx.known_set("v2"))
        assert not await b.read(lambda tx: tx.known_set("v3"))
