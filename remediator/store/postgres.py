"""The store on PostgreSQL: many daemons share it, each transaction on a connection of its own.

A decision takes four round trips: BEGIN, one look (the time, the fence, and whatever its caller said it
will ask), all that was written, which is kept until it is done together with COMMIT. A question that the
look did not answer is one more. The look takes no locks beyond the run's row: what was decided is compared
with what is then so, under locks, as it is written (see `remediator.store.postgres_writes`); if somebody
else was quicker, the work runs again, and takes first the locks that it turned out to need.

A COMMIT whose answer is lost raises `StoreError` like any other: whoever got it must not have acted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from remediator.errors import LeaseLost, RemediatorError, StoreError
from remediator.ports import NOTHING, Ahead, Clock, Tx, Unreadable
from remediator.store import postgres_schema as schema
from remediator.store.doubts import STANDING, of_standing
from remediator.store.postgres_news import News
from remediator.store.postgres_pool import Address, Pool, errors
from remediator.store.postgres_session import LOOK, Looked, Numbers
from remediator.store.postgres_standing import Watch
from remediator.store.postgres_time import ServerTime
from remediator.store.postgres_tx import PostgresTx
from remediator.store.postgres_writes import plain
from remediator.store.sqlite_rows import micros
from remediator.store.steady import Instant
from remediator.store.unread import Unread

T = TypeVar("T")

ATTEMPTS = 8
CLOSE_WITHIN_S = 1.0
"""What was begun may still come home; a server that hangs is left, and nobody learns of its COMMIT."""
PAUSE_S = 0.005
"""Before the work runs again, doubled each time, by chance up to as much more."""

_AGAIN = ("40001", "40P01", "55P03")
_TORN = "22P02"
_BREACHES = {
    "runs_one_open": "{run}: {policy} has another open run on {target}, or another run locks that target",
    "runs_one_lock": "{run}: {policy} has another open run on {target}, or another run locks that target",
    "journal_pkey": "a journal has lines after its head: it was tampered with",
    "pages_one_open": "another page is open for the same",
    "pages_pkey": "there is a page with this id",
}


class _Met(Exception):
    """Somebody else decided on the same. ``keys``: the locks that are taken first the next time."""

    def __init__(
        self, keys: frozenset[str], error: Exception, *, breach: bool = False, torn: bool = False
    ) -> None:
        """``torn``: it was a row that is no JSON, which hides those that are read together with it."""
        super().__init__(keys)
        self.keys = keys
        self.error = error
        self.breach = breach
        self.torn = torn


class PostgresStore:
    """A `remediator.ports.Store` over one PostgreSQL database."""

    begin = "BEGIN"
    begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, url: str, clock: Clock, *, connection: Any = None) -> None:
        """``connection``: the class of its connections; tests make one that fails. Raises StoreError."""
        self._address = Address(url)
        self._pool = Pool(self._address, connection)
        self._time = ServerTime(clock)
        self._watch = Watch()
        self._pool.greet = self._greet
        self._deliveries, self._effects = Numbers(), Numbers()
        self._news = News(self._pool)
        self._replica = ""
        self._unread = Unread()
        self._open = False
        self._reads_only = False
        self._calls: set[asyncio.Task[Any]] = set()

    @property
    def shared(self) -> bool:
        """See `remediator.ports.Store`."""
        return True

    @property
    def clock(self) -> Clock:
        """See `remediator.ports.Store`."""
        return self._time

    def write_as(self, replica: str) -> None:
        """See `remediator.ports.Store`."""
        self._replica = replica
        self._news.name = replica

    def follow(self, woken: Callable[[], None]) -> None:
        """See `remediator.ports.Store`."""
        self._news.woken = woken

    def unread(self) -> list[Unreadable]:
        """See `remediator.ports.Store`."""
        return self._unread.news()

    async def open(self) -> None:
        """Refuse what is not safe, bring the tables up, listen."""
        place = self._address.shown
        with self._explained():
            one, other = await self._pool.dial(), await self._pool.dial()
            try:
                await schema.refuse_pooler(one, other, place)
                await schema.refuse_unsafe(one, place, may_lose=self._address.may_lose)
                await schema.bring_up(one, place)
                self._time.resume_in(of_standing(row["doc"] for row in await one.fetch(STANDING)))
            finally:
                one.terminate()
                other.terminate()
        self._open = True
        await self.read(_nothing)  # from now on the clock is watched
        self._news.start()

    async def open_reading(self) -> None:
        """See `remediator.ports.Store`."""
        self._reads_only = True
        with self._explained():
            connection = await self._pool.dial()
            try:
                await schema.current(connection, self._address.shown)
            finally:
                connection.terminate()
        self._open = True

    async def close(self) -> None:
        """Finish what was begun, unless the server hangs, and let go."""
        self._open = False
        if self._calls:
            _, hanging = await asyncio.wait(self._calls, timeout=CLOSE_WITHIN_S)
            for call in hanging:
                call.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
        await self._news.stop()
        self._pool.close()

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:
        """See `remediator.ports.Store`. The work is run even if its caller stops waiting."""
        return await self._call(self._transact(work, ahead))

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """See `remediator.ports.Store`. It sees every commit that returned before it was called."""
        return await self._call(self._read(work))

    async def _call(self, call: Coroutine[Any, Any, T]) -> T:
        if not self._open:
            call.close()
            raise StoreError("store", "is not open")
        task = asyncio.get_running_loop().create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, call: asyncio.Task[Any]) -> None:
        """Whoever asked may have gone away meanwhile; then nobody hears of a failure, and nobody needs to."""
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()

    # ── Transactions ──────────────────────────────────────────────────────────────────────────────

    async def _transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead) -> T:
        keys: frozenset[str] = frozenset()
        breached = torn = False
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE_S * 2**attempt * (1 + random.random()))  # noqa: S311 - not a secret
            try:
                if torn:
                    return await self._attempt(work, NOTHING, keys, again=attempt > 1, apart=True)
                return await self._attempt(work, ahead, keys, again=attempt > 1)
            except _Met as met:
                if (met.breach and breached) or (met.torn and torn):
                    raise met.error from None
                keys, breached, torn = keys | met.keys, breached or met.breach, torn or met.torn
        raise StoreError(self._address.shown, "others decided on the same again and again")

    async def _attempt(
        self,
        work: Callable[[Tx], Awaitable[T]],
        ahead: Ahead,
        keys: frozenset[str],
        *,
        again: bool,
        apart: bool = False,
    ) -> T:
        async with self._pool.lent(self.begin) as connection:
            tx: PostgresTx | None = None
            try:
                tx = await self._looked(connection, ahead, keys, again=again, apart=apart)
                value = await work(tx)
                if not tx.wrote and ahead == NOTHING:
                    await self._keep(tx, connection)  # whoever writes nothing asks whether it could
                await tx.finish()
            except BaseException as error:
                await self._roll_back(connection, tx, error)
                raise self._met(tx, error) from error
            finally:
                if tx is not None:
                    tx.trouble = tx.trouble or StoreError("store", "the transaction is over")
        if tx.news:
            self._news.tell()
        return value

    async def _looked(
        self, connection: Any, ahead: Ahead, keys: frozenset[str], *, again: bool, apart: bool
    ) -> PostgresTx:
        asked = self._time.monotonic()
        row = await self._look(connection, ahead, keys, writes=True)
        if row["gone"]:
            raise LeaseLost("store", f"others have taken over from {self._replica}")
        if row["deliveries"] is not None:
            self._deliveries.add(row["deliveries"])
        if row["effects"] is not None:
            self._effects.add(row["effects"])
        instant = self._instant(row, asked)
        as_asked = row["seen"] is not None and micros(instant.now) == row["now"]
        looked = Looked(
            instant,
            replica=self._replica,
            current_set=row["current_set"] or "",
            effect=None if ahead.effect is None else (ahead.effect, bool(row["there"])),
            run=ahead.run if row["doc"] is not None else "",
            wake_at=row["wake_at"],
            seen=(tuple(row["scope"]), row["seen"]) if as_asked else None,
            keys=keys,
            again=again,
            apart=apart,
        )
        tx = PostgresTx(connection, looked, (self._deliveries, self._effects), self._unread)
        tx.learn(row)
        if self._time.behind:
            await tx.keep_time()
        return tx

    async def _look(self, connection: Any, ahead: Ahead, keys: frozenset[str], *, writes: bool) -> Any:
        numbers = [writes and self._deliveries.few, writes and self._effects.few]
        doubts = [one.id for one in (self._time.doubt, self._watch.doubt) if one is not None]
        run = plain(ahead.run) if ahead.run else None
        asked = (self._replica, doubts, sorted(keys), run, ahead.effect, numbers)
        (row,) = await connection.fetch(LOOK, *asked)
        return row

    def _instant(self, row: Any, asked: float) -> Instant:
        looked_at, failover = row["looked_at"] or (), self._watch.doubt
        if self._time.doubt is not None and self._time.doubt.id in looked_at:
            self._time.settle()
        if failover is not None and failover.id in looked_at:
            self._watch.settle()
        instant = self._time.read(row["now"], row["high_water"], asked)
        failover = self._watch.doubt
        return Instant(instant.now, (*instant.doubts, failover.halt)) if failover is not None else instant

    async def _greet(self, connection: Any) -> None:
        """A failover breaks all connections: who answers now, and does it keep what it confirms?"""
        if not self._reads_only:
            await self._refuse_unsafe(connection)
        await self._watch.ask(connection, self._time.now())

    async def _refuse_unsafe(self, connection: Any) -> None:
        """It may be set otherwise at any time: then nobody writes, on whichever connection."""
        try:
            await schema.refuse_unsafe(connection, self._address.shown, may_lose=self._address.may_lose)
        except StoreError:
            self._pool.forget()
            raise

    async def _keep(self, tx: PostgresTx, connection: Any) -> None:
        await tx.keep_time()
        await self._greet(connection)
        if self._watch.doubt is None and self._watch.last is not None:
            await tx.keep_standing(self._watch.last)

    async def _read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        async with self._pool.lent(self.begin_reading) as connection:
            tx: PostgresTx | None = None
            try:
                asked = self._time.monotonic()
                row = await self._look(connection, NOTHING, frozenset(), writes=False)
                looked = Looked(
                    self._instant(row, asked),
                    replica=self._replica,
                    writes=False,
                    current_set=row["current_set"] or "",
                )
                tx = PostgresTx(connection, looked, (self._deliveries, self._effects), self._unread)
                value = await work(tx)
                tx.check()
                await connection.execute("ROLLBACK")
            except BaseException as error:
                await self._roll_back(connection, tx, error)
                met = self._met(tx, error)
                raise (met.error if isinstance(met, _Met) else met) from error
            finally:
                if tx is not None:
                    tx.trouble = tx.trouble or StoreError("store", "the transaction is over")
        return value

    async def _roll_back(self, connection: Any, tx: PostgresTx | None, error: BaseException) -> None:
        """A line that was silent is not asked again, and neither are the others that wait."""
        told = tx.trouble if tx is not None and tx.trouble is not None else error
        if isinstance(told, TimeoutError | asyncio.CancelledError):
            connection.terminate()
            self._pool.forget()
            return
        with contextlib.suppress(*errors()):
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")

    def _met(self, tx: PostgresTx | None, error: BaseException) -> BaseException:
        """What became of a transaction that failed, in our words; whatever the work raised passes through."""
        told = tx.trouble if tx is not None and tx.trouble is not None else error
        state = getattr(told, "sqlstate", None)
        if state in (*_AGAIN, _TORN):
            wanted = tx.wanted if tx is not None else frozenset()
            return _Met(wanted, self._explain(told), torn=state == _TORN)
        if state == "23505" and tx is not None:
            return _Met(tx.wanted, self._breach(tx, told), breach=True)
        if state == "RM001":
            return LeaseLost("store", f"others have taken over from {self._replica}")
        return self._explain(told) if isinstance(told, errors()) else told

    def _explain(self, error: BaseException) -> RemediatorError:
        return self._pool.explain(error)

    def _breach(self, tx: PostgresTx, error: Any) -> StoreError:
        text = _BREACHES.get(error.constraint_name, f"{error.constraint_name} would be there twice")
        detail = str(error.detail)
        run = next((one for one in tx.sent_runs if plain(one.target) in detail), None)
        if run is not None:
            text = text.format(run=run.id, policy=run.policy, target=run.target)
        return StoreError("store", text)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except errors() as error:
            raise self._pool.explain(error) from error


async def _nothing(_tx: Tx) -> None:
    """Only the time is read."""
