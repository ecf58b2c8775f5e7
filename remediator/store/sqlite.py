"""The store on SQLite: one file, one writer thread, commits shared by all calls that wait.

A call to `transact` is queued. The writer takes all that wait, runs each in a savepoint of its own,
commits once, and then answers them all. So each call is durable when it returns (WAL,
synchronous=FULL), and the cost of a commit is shared. A second thread reads beside it.

A COMMIT that fails answers everybody in it with `StoreError`. (Should the machine die right after a
failed fsync, SQLite may find the commit on disk after all: whoever got the error must not have
acted, and the engine asks the world before it acts again.)
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from remediator.errors import StoreError
from remediator.ports import NOTHING, Ahead, Clock, Tx, Unreadable
from remediator.store.doubts import STANDING, of_standing
from remediator.store.sqlite_rows import micros, moment
from remediator.store.sqlite_schema import bring_up, check
from remediator.store.sqlite_tx import SqliteTx
from remediator.store.steady import Steady
from remediator.store.unread import Unread

T = TypeVar("T")
Work = Callable[[Tx], Awaitable[Any]]

BATCH = 512
"""How many calls share one commit, at most."""

_BUSY_TIMEOUT_S = 5.0
_WRITER = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY")
_READER = ("query_only = ON", "temp_store = MEMORY")
_REMEDIES = {
    "SQLITE_FULL": "free some space on its disk",
    "SQLITE_IOERR": "check its disk",
    "SQLITE_READONLY": "let the daemon write to the file and its folder",
    "SQLITE_CANTOPEN": "let the daemon read and write the file and its folder",
    "SQLITE_BUSY": "end whatever else has the file open",
    "SQLITE_LOCKED": "end whatever else has the file open",
    "SQLITE_CORRUPT": "put a backup in its place",
    "SQLITE_NOTADB": "name another file: this one is no database",
}


class _Call:
    """One waiting call: its work, then what came of it."""

    __slots__ = ("error", "future", "value", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.value: Any = None
        self.error: BaseException | None = None


class SqliteStore:
    """A `remediator.ports.Store` over one SQLite file.

    path: where the file is, or will be created (its folder must exist).
    connection: the class of its connections; tests make one that fails.
    """

    def __init__(
        self, path: str | Path, clock: Clock, *, connection: type[sqlite3.Connection] = sqlite3.Connection
    ) -> None:
        self._path = Path(path).resolve()
        self._factory = connection
        self._time = Steady(clock)
        self._replica = ""
        self._unread = Unread()
        self._lock_fd: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writes = _Calls("store-writer", self._commit_together)
        self._reads = _Calls("store-reader", self._read_together)

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    @property
    def shared(self) -> bool:
        """The file belongs to one daemon."""
        return False

    @property
    def clock(self) -> Clock:
        """See `remediator.ports.Store`."""
        return self._time

    def write_as(self, replica: str) -> None:
        """See `remediator.ports.Store`."""
        self._replica = replica

    def follow(self, woken: Callable[[], None]) -> None:
        """Nobody else writes this file."""

    def unread(self) -> list[Unreadable]:
        """See `remediator.ports.Store`."""
        return self._unread.news()

    async def open(self) -> None:
        """Lock the file, create or check its tables, start the two threads."""
        await asyncio.to_thread(self._open)
        self._writes.start()
        self._reads.start()

    async def open_reading(self) -> None:
        """See `remediator.ports.Store`."""
        await asyncio.to_thread(self._open_reader)
        self._reads.start()

    async def close(self) -> None:
        """Commit what was queued, end the threads, let go of the file."""
        await self._writes.stop()
        await self._reads.stop()
        await asyncio.to_thread(self._let_go)

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:  # noqa: ARG002 - nothing is far
        """See `remediator.ports.Store`. The work is run even if its caller stops waiting."""
        return await self._writes.put(work)  # type: ignore[no-any-return]

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """See `remediator.ports.Store`. It sees every commit that returned before it was called."""
        return await self._reads.put(work)  # type: ignore[no-any-return]

    # ── Opening ───────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        self._lock()
        try:
            self._connection = self._connect()
            bring_up(self._connection, self._path)
            (high_water,) = self._connection.execute(
                "SELECT value FROM meta WHERE key = 'high_water'"
            ).fetchone()
            standing = (doc for (doc,) in self._connection.execute(STANDING))
            self._time.resume_from(moment(high_water), of_standing(standing))
            self._reader = self._connect_reader()
        except sqlite3.Error as error:
            self._let_go()
            raise self._broken(error) from error
        except BaseException:
            self._let_go()
            raise

    def _open_reader(self) -> None:
        if not self._path.exists():
            raise StoreError(str(self._path), "does not exist", remedy="name the daemon's own file")
        try:
            self._reader = self._connect_reader()
            check(self._reader, self._path)
        except sqlite3.Error as error:
            self._let_go()
            raise self._broken(error) from error

    def _lock(self) -> None:
        """One daemon per file: a lock that ends with its process, however it ends."""
        lock = f"{self._path}.lock"
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            remedy = "create its folder and let the daemon write there"
            raise StoreError(lock, error.strerror or str(error), remedy=remedy) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreError(
                str(self._path),
                f"is in use by another daemon (process {holder})",
                remedy="stop that one, or name another file under `store:`",
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def _connect(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # what is wrong with it, SQLite says better
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        return self._dial(self._path.as_uri(), _WRITER)

    def _connect_reader(self) -> sqlite3.Connection:
        return self._dial(f"{self._path.as_uri()}?mode=ro", _READER)

    def _dial(self, uri: str, pragmas: Sequence[str]) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=_BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # opened here, used by one thread, closed after that one ended
            cached_statements=256,
            factory=self._factory,
        )
        try:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _let_go(self) -> None:
        for connection in (self._reader, self._connection):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._connection = None
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    # ── The writer's thread ───────────────────────────────────────────────────────────────────────

    def _commit_together(self, calls: Sequence[_Call]) -> None:
        """Run each call in its savepoint, in order, and commit once; leave what came of each in it."""
        waiting: list[_Call] = []  # they ran, and wait for the commit
        for call in calls:
            try:
                connection = self._begin()
                connection.execute("SAVEPOINT work")
            except sqlite3.Error as error:
                self._abandon([*waiting, call], self._broken(error))
                waiting.clear()
                self._hang_up()
                continue
            failure = self._drive(call, self._transaction(connection))
            waiting.append(call)
            try:
                if call.error is not None:
                    waiting.pop()
                    connection.execute("ROLLBACK TO work")
                connection.execute("RELEASE work")
            except sqlite3.Error as error:
                # SQLite gives up a whole transaction when a disk is full or broken: then the savepoint
                # is gone, and the statement that failed says why.
                self._abandon(waiting, failure or self._broken(error))
        if waiting:
            self._commit(waiting)
        else:
            self._roll_back()

    def _begin(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
            self._settle_doubt(self._connection)
        return self._connection

    def _settle_doubt(self, connection: sqlite3.Connection) -> None:
        """The halt that came of it was lifted, and that is committed: a person has looked."""
        doubt = self._time.doubt
        lifted = "SELECT 1 FROM halts WHERE id = ? AND lifted_at IS NOT NULL"
        if doubt is not None and connection.execute(lifted, (doubt.id,)).fetchone():
            self._time.follow()

    def _commit(self, waiting: list[_Call]) -> None:
        assert self._connection is not None
        try:
            self._connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'high_water'", (micros(self._time.now()),)
            )
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._abandon(waiting, self._broken(error))

    def _abandon(self, waiting: list[_Call], error: StoreError) -> None:
        """Tell those who ran that nothing of it was kept, and see to it."""
        for call in waiting:
            call.value, call.error = None, StoreError(error.place, error.problem, remedy=error.remedy)
        waiting.clear()
        self._roll_back()

    def _roll_back(self) -> None:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._hang_up()

    def _hang_up(self) -> None:
        """Something is wrong with the connection: the next call makes a new one."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    # ── The reader's thread ───────────────────────────────────────────────────────────────────────

    def _read_together(self, calls: Sequence[_Call]) -> None:
        for call in calls:
            try:
                if self._reader is None:
                    self._reader = self._connect_reader()
                self._reader.execute("BEGIN")
                self._drive(call, self._transaction(self._reader))
                if self._reader.in_transaction:
                    self._reader.execute("ROLLBACK")
            except sqlite3.Error as error:
                call.value, call.error = None, self._broken(error)
                if self._reader is not None:
                    with contextlib.suppress(sqlite3.Error):
                        self._reader.close()
                self._reader = None

    # ── Both ──────────────────────────────────────────────────────────────────────────────────────

    def _drive(self, call: _Call, tx: SqliteTx) -> StoreError | None:
        """Run the work to its end in one go: on SQLite nothing that a `Tx` offers suspends.

        Returns the failure of a statement, whatever the work made of it.
        """
        try:
            steps = call.work(tx).__await__()
            try:
                next(steps)
            except StopIteration as end:
                call.value = end.value
            else:
                steps.close()
                call.error = RuntimeError("work on the store waited for something else than the store")
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            call.error = error
        failure = tx.failure
        if failure is not None and call.error is None:
            call.error = failure  # the work swallowed it, yet it cannot be committed whole
        tx.failure = failure or StoreError("store", "the transaction is over")
        return failure

    def _transaction(self, connection: sqlite3.Connection) -> SqliteTx:
        return SqliteTx(connection, self._time.instant(), self._broken, self._replica, self._unread)

    def _broken(self, error: sqlite3.Error) -> StoreError:
        name = str(getattr(error, "sqlite_errorname", "") or "")
        remedy = next((text for code, text in _REMEDIES.items() if name.startswith(code)), "")
        return StoreError(str(self._path), str(error), remedy=remedy)


class _Calls:
    """A thread and the calls that wait for it; those that wait together are handled together."""

    def __init__(self, name: str, handle: Callable[[Sequence[_Call]], None]) -> None:
        self._name = name
        self._handle = handle
        self._queue: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Take calls from this event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, args=(self._loop,), name=self._name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, then end. Idempotent."""
        thread, self._thread, self._loop = self._thread, None, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)

    def put(self, work: Work) -> asyncio.Future[Any]:
        """Queue a call; its future ends once it was handled."""
        if self._loop is None:
            raise StoreError("store", "is not open")
        call = _Call(work, self._loop.create_future())
        self._queue.put(call)
        return call.future

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        ending = False
        while not ending:
            batch, ending = self._take()
            if not batch:
                continue
            try:
                self._handle(batch)
            except BaseException as error:  # noqa: BLE001 - a bug here must not leave anybody waiting
                for call in batch:
                    call.value, call.error = None, error
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
                loop.call_soon_threadsafe(_answer, batch)

    def _take(self) -> tuple[list[_Call], bool]:
        """Wait for a call, and take along all that wait with it; True when the end was asked for."""
        batch: list[_Call] = []
        call = self._queue.get()
        while call is not None:
            batch.append(call)
            if len(batch) == BATCH:
                return batch, False
            try:
                call = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True


def _answer(calls: Sequence[_Call]) -> None:
    for call in calls:
        if call.future.done():
            continue  # its caller stopped waiting
        if call.error is None:
            call.future.set_result(call.value)
        else:
            call.future.set_exception(call.error)
