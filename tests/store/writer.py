"""A process that keeps deliveries and says so, until it is killed: ``python -m tests.store.writer URL``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import UTC, datetime

from remediator.store import open_store
from tests.store.samples import delivery


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


async def main(url: str) -> None:
    store = open_store(url, RealClock())
    await store.open()

    async def write() -> None:
        while True:
            number = await store.transact(lambda tx: tx.put_delivery(delivery()))
            os.write(1, f"{number}\n".encode())

    await asyncio.gather(*(write() for _ in range(8)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
