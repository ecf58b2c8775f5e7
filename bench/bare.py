"""The floor: the least that a durable receiver in Python can do.

aiohttp, one writer thread, commits that are shared by all who wait (SQLite, WAL, synchronous=FULL),
200 only after the commit. With ``--peer`` it then sends one request there, as a step would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import sqlite3
import threading
from pathlib import Path

from aiohttp import ClientSession, web

_Waiting = tuple[bytes, asyncio.Future[None]]


class Writer:
    """One thread that commits whatever waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, body: bytes) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((body, future))
        return future

    def _work(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < 512 and not self._queue.empty():
                batch.append(self._queue.get())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO inbox (body) VALUES (?)", [(body,) for body, _ in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_answer, batch)


def _answer(batch: list[_Waiting]) -> None:
    for _, future in batch:
        if not future.done():
            future.set_result(None)


async def serve(port: int, path: Path, peer: str) -> None:
    """Until it is killed."""
    writer = Writer(path)
    acts: set[asyncio.Task[None]] = set()

    async def hook(request: web.Request) -> web.Response:
        body = await request.read()
        await writer.put(body)
        if peer:
            task = asyncio.create_task(act(body))
            acts.add(task)
            task.add_done_callback(acts.discard)
        return web.Response(text="{}", content_type="application/json")

    async def act(body: bytes) -> None:
        host = json.loads(body)["alerts"][0]["labels"]["host"]
        async with session.post(f"{peer}/api/workers/{host}", json={"host": host}) as answer:
            await answer.read()

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="{}", content_type="application/json")

    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_post("/hooks/alertmanager", hook)
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    async with ClientSession() as session:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--peer", default="")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.store, options.peer))


if __name__ == "__main__":
    main()
