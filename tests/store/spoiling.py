"""Rows that cannot be read, in stores that keep them as texts. The tests of those inherit this."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from remediator.core.messages import Card
from remediator.ports import Ahead, Received, Store, Tx
from tests.store.samples import HOUR, NOON, Rig, a_page, a_run, delivery, disposition, heard


class SpoilContract:
    """A row that was written by somebody else, or eaten by a disk, is nobody else's trouble."""

    async def test_a_delivery_that_cannot_be_read_says_so_and_hides_no_other(
        self, store: Store, rig: Rig
    ) -> None:
        odd = await store.transact(lambda tx: tx.put_delivery(delivery("f1")))
        whole = await store.transact(lambda tx: tx.put_delivery(delivery("f2")))
        await rig.spoil(str(odd), "inbox")
        for rows in (
            await store.read(lambda tx: tx.deliveries()),
            await store.read(lambda tx: tx.inbox(10)),
            await store.transact(lambda tx: tx.claim_inbox(10, 100)),
        ):
            first, second = rows
            assert (first.id, first.delivery.alerts) == (odd, ())
            assert "missing required field" in first.problem
            assert second == Received(whole, delivery("f2"))
        await store.transact(lambda tx: tx.settle_delivery(whole))
        assert [one.id for one in await store.read(lambda tx: tx.inbox(10))] == [odd]

    @pytest.mark.parametrize("doc", ["{}", "{", '{"received_at": 5}', '{"received_at": "2020-01-01"}'])
    async def test_a_delivery_that_cannot_be_read_keeps_no_other_from_being_forgotten(
        self, store: Store, rig: Rig, doc: str
    ) -> None:
        odd = await store.transact(lambda tx: tx.put_delivery(delivery("f1")))
        whole = await store.transact(lambda tx: tx.put_delivery(delivery("f2")))
        for number in (odd, whole):
            await store.transact(partial(_settled, number=number))
        await rig.spoil(str(odd), "inbox", doc)
        await store.transact(lambda tx: tx.prune("deliveries", NOON + HOUR, 10))
        assert whole not in [one.id for one in await store.read(lambda tx: tx.deliveries())]

    async def test_lists_leave_out_rows_that_cannot_be_read_and_tell_of_each_once(
        self, store: Store, rig: Rig
    ) -> None:
        async def kept(tx: Tx) -> None:
            for one in ("f1", "f2"):
                await tx.put_alert(heard(one))
                await tx.put_disposition(disposition(fingerprint=one))
                await tx.put_page(a_page(one, one))

        await store.transact(kept)
        for table in ("alerts", "dispositions", "pages"):
            await rig.spoil("f1", table)
        for _ in range(2):
            alerts = await store.read(lambda tx: tx.alerts(firing_only=True))
            assert [one.alert.fingerprint for one in alerts] == ["f2"]
            refused = await store.read(lambda tx: tx.dispositions(refused_only=True))
            assert [one.fingerprint for one in refused] == ["f2"]
            assert [one.id for one in await store.read(lambda tx: tx.pages())] == ["f2"]
        told = [(one.table, one.key) for one in store.unread()]
        assert told == [("alerts", ("f1",)), ("dispositions", ("unstick", "f1")), ("pages", ("f1",))]
        assert store.unread() == []
        with pytest.raises(msgspec.DecodeError):
            await store.read(lambda tx: tx.disposition("unstick", "f1"))

    async def test_what_is_due_and_cannot_be_read_is_put_off_as_it_is(self, store: Store, rig: Rig) -> None:
        async def waits(tx: Tx) -> None:
            for one, at in (("f1", NOON - HOUR), ("f2", NOON)):
                await tx.put_disposition(disposition(fingerprint=one, again_at=at))
                await tx.put_page(a_page(one, one, next_at=at))

        await store.transact(waits)
        kept = await store.read(lambda tx: tx.dispositions())
        await rig.spoil("f1", "dispositions")
        await rig.spoil("f1", "pages")
        due = await store.read(lambda tx: tx.due(1))
        assert (due.dispositions, due.pages) == ((), ())
        assert [(one.table, one.key) for one in due.unread] == [
            ("dispositions", ("unstick", "f1")),
            ("pages", ("f1",)),
        ]
        await store.transact(lambda tx: tx.put_off(due.unread, NOON - 2 * HOUR, NOON + HOUR))
        assert await store.read(lambda tx: tx.due(1)) == due, "not due for so long yet"
        await store.transact(lambda tx: tx.put_off(due.unread, NOON - HOUR, NOON + HOUR))
        due = await store.read(lambda tx: tx.due(1))
        assert (due.dispositions, due.unread) == ((kept[1],), ())
        assert [one.id for one in due.pages] == ["f2"]
        assert await store.read(lambda tx: tx.next_due()) == NOON
        with pytest.raises(msgspec.DecodeError):
            await store.read(lambda tx: tx.page("f1"))

    async def test_an_alert_that_cannot_be_read_holds_up_no_delivery(self, store: Store, rig: Rig) -> None:
        for one in ("f1", "f2"):
            await store.transact(lambda tx, one=one: tx.put_alert(heard(one)))  # type: ignore[misc]
            await store.transact(lambda tx, one=one: tx.put_delivery(delivery(one)))  # type: ignore[misc]
        await rig.spoil("f1", "alerts")

        async def claims(tx: Tx) -> None:
            assert len(await tx.claim_inbox(10, 100)) == 2
            assert await tx.alert("f2") == heard("f2")
            assert (await tx.runs_of_alert("f1"), await tx.disposition("unstick", "f1")) == ([], None)
            with pytest.raises(msgspec.DecodeError):
                await tx.alert("f1")

        await store.transact(claims)

    @pytest.mark.parametrize("doc", ["{}", "{"])
    async def test_a_refusal_that_cannot_be_read_keeps_no_run_of_its_alert_from_going_on(
        self, store: Store, rig: Rig, doc: str
    ) -> None:
        async def kept(tx: Tx) -> None:
            await tx.put_alert(heard("f1"))
            await tx.save_run(a_run("r1"), NOON)
            await tx.put_disposition(disposition(policy="other"))

        await store.transact(kept)
        await rig.spoil("f1", "dispositions", doc)

        async def goes_on(tx: Tx) -> None:
            run = await tx.claim_run("r1")
            assert run is not None
            assert await tx.alert("f1") == heard("f1")
            assert await tx.runs_of_alert("f1") == [run]
            assert await tx.disposition("unstick", "f1") is None
            with pytest.raises(msgspec.DecodeError):
                await tx.disposition("other", "f1")

        await store.transact(goes_on)
        await store.transact(goes_on, Ahead(run="r1"))

    async def test_a_refusal_that_stands_in_the_row_of_another_cannot_be_read(
        self, store: Store, rig: Rig
    ) -> None:
        async def waits(tx: Tx) -> None:
            for one in ("f1", "f2"):
                await tx.put_disposition(disposition(fingerprint=one, again_at=NOON))

        await store.transact(waits)
        await store.transact(lambda tx: tx.save_run(a_run("r1"), NOON))
        doc = "(SELECT doc FROM dispositions WHERE fingerprint = 'f2')"
        await rig.tamper(f"UPDATE dispositions SET doc = {doc} WHERE fingerprint = 'f1'")
        due = await store.read(lambda tx: tx.due(10))
        assert [one.fingerprint for one in due.dispositions] == ["f2"]
        assert [one.key for one in due.unread] == [("unstick", "f1")]
        with pytest.raises(msgspec.DecodeError, match="it is about policy unstick and alert f2"):
            await store.read(lambda tx: tx.disposition("unstick", "f1"))
        assert await store.transact(lambda tx: tx.claim_run("r1"), Ahead(run="r1")) == a_run("r1")

    async def test_effects_that_cannot_be_read_stay_where_they_are(self, store: Store, rig: Rig) -> None:
        store.write_as("d1")
        odd, whole = await store.transact(lambda tx: tx.put_effects("r1", [Card("g1"), Card("g2")]))
        await rig.spoil(str(odd.id), "effects")
        assert await store.read(lambda tx: tx.pending()) == [whole]
        assert await store.read(lambda tx: tx.held()) == [whole]
        store.write_as("d2")
        assert await store.transact(lambda tx: tx.take_over("d1", None)) == [whole]
        assert await store.read(lambda tx: tx.held()) == [whole]
        assert set(await store.read(lambda tx: tx.holders())) == {"d1"}, "for somebody who can read it"
        assert [(one.table, one.key) for one in store.unread()] == [("effects", (str(odd.id), "r1"))]


async def _settled(tx: Tx, number: int) -> None:
    await tx.settle_delivery(number)
