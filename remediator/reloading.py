"""Sees that the folder of policies changed, waits until it is quiet, and asks for a reload.

A poll, because it works on every file system, over the network and through the links by which Kubernetes
swaps a ConfigMap: from afar each time, closely only when something moved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from remediator.errors import RemediatorError
from remediator.ports import Answer
from remediator.shelf import Shelf, Signature

log = logging.getLogger(__name__)

QUIET = 2.0
"""Seconds in which nothing may have moved before the folder is read."""
BY = "file change"
"""Who asked, in journals and messages."""
EMPTY = "the folder holds no policy any more; if that is meant, reload by hand (SIGHUP, or the API)"
"""Only somebody may take all policies away, not a moment without files."""


class Reloading:
    """One folder, watched."""

    def __init__(
        self, shelf: Shelf, reload: Callable[[str], Awaitable[Answer]], every: float, quiet: float = QUIET
    ) -> None:
        """reload: by whom → what came of it. every: seconds between two looks."""
        self._shelf = shelf
        self._reload = reload
        self._every = every
        self._quiet = quiet
        self._seen: Signature | None = None

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.look()
            except Exception:  # a defect of ours may not take the daemon along
                log.exception("the folder of policies cannot be followed")

    async def look(self) -> None:
        """Look once; reload when there is something new, and say once that it cannot be used."""
        now = await self._signature()
        if now == self._seen:
            return
        before: Signature | None = None
        while now != before:
            await asyncio.sleep(self._quiet)
            before, now = now, await self._signature()
        self._seen = now
        content = await asyncio.to_thread(self._shelf.look_closely)
        if content == self._shelf.content:
            self._shelf.accept(content)
            return
        if content == self._shelf.refused_content:
            return
        if not now and self._shelf().by_name:  # a volume that went away looks like this
            self._shelf.refuse(EMPTY, content)
            log.error("nothing was changed", extra={"problems": [EMPTY]})
            return
        try:
            answer = await self._reload(BY)
        except RemediatorError as error:
            log.warning("the policies were reloaded in part", extra={"problem": str(error)})
            return
        if not answer.ok:
            log.error(answer.text, extra={"problems": (answer.data or {}).get("problems")})

    async def _signature(self) -> Signature:
        while True:
            try:
                return await asyncio.to_thread(self._shelf.look)
            except OSError:  # a file went between its listing and its look
                await asyncio.sleep(self._quiet)
