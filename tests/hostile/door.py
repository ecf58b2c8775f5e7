"""A hook and its store as a process of their own: ``python -m tests.hostile.door URL TOKEN MAX_BODY``.

Prints its port. ``GET /health`` tells the longest stall of the event loop so far, and resets it, and
the most memory it ever had.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from aiohttp import web
from pydantic import SecretStr

from remediator.config import Hook
from remediator.intake.hook import AlertmanagerHook
from remediator.store import open_store
from tests.store.writer import RealClock


def _peak_mb() -> int:
    """Of this program alone: getrusage's figure begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) // 1024


def _queued() -> float:
    """Seconds that this thread was ready, and others had the processor: the machine's doing."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


class Pulse:
    """A task that should run every 10 ms, and notes how late it was at worst by our own doing."""

    def __init__(self) -> None:
        self.worst = 0.0

    async def beat(self) -> None:
        while True:
            before = time.monotonic() - _queued()
            await asyncio.sleep(0.01)
            self.worst = max(self.worst, time.monotonic() - _queued() - before - 0.01)


async def main(url: str, token: str, max_body: int) -> None:
    store = open_store(url, RealClock())
    await store.open()
    pulse = Pulse()
    hook = AlertmanagerHook(
        Hook(bearer=SecretStr(token), max_body=max_body), False, store, lambda: None, 1_000_000
    )

    async def health(_: web.Request) -> web.Response:
        worst, pulse.worst = pulse.worst, 0.0
        return web.json_response({"stall_ms": worst * 1000, "peak_mb": _peak_mb()})

    app = web.Application()
    app.router.add_route("*", "/hooks/alertmanager", hook.handle)
    app.router.add_get("/health", health)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await pulse.beat()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
