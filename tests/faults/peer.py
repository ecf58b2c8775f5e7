"""A service that is told to change things, and writes down what it really did. Not a polite one.

Its ledger is outside of everything that is under test: what stands in it has happened. By lot it answers
late, works late, hangs, hangs up before or after the work, or refuses.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from aiohttp import web

from tests.rig.served import served

KEY = "Idempotency-Key"
LATE_S = 2.0
"""How much later than it was asked it may still do it."""


class Mood(StrEnum):
    """How one request is met."""

    KIND = "does it and answers"
    SLOW = "does it, and answers late"
    LATE = "does it and answers late, whether somebody waits or not"
    HANGS = "does it, and never answers"
    CLOSES = "does it, and hangs up"
    RESETS = "does it, and resets the line"
    CUTS = "hangs up without doing it"
    BREAKS = "does it, and answers 503"
    REFUSES = "answers 422 without doing it"


@dataclass(frozen=True)
class Effect:
    """Something that happened. ``at``: seconds since the epoch; ``key``: the Idempotency-Key, if any."""

    at: float
    thing: str
    what: str
    key: str


@dataclass
class Peer:
    """A running one."""

    rng: Random
    troubled: float = 0.3
    """How many requests of a hundred are met badly, as a fraction."""
    url: str = ""
    ledger: list[Effect] = field(default_factory=list)
    heard: list[Effect] = field(default_factory=list)
    """Every request that would change something, when it came, whatever became of it."""
    reads: Counter[str] = field(default_factory=Counter)
    rows: list[dict[str, str]] = field(default_factory=list)
    """What a watch finds."""
    moods: dict[str, Mood] = field(default_factory=dict)
    """Thing → how its next request is met; else by lot."""
    mute: set[str] = field(default_factory=set)
    """Things of which the next look is not answered until it may `speak`."""
    on_request: Callable[[Effect], None] = lambda _effect: None
    """Called before anything is done about it."""
    _state: dict[str, str] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _coming: Counter[str] = field(default_factory=Counter)
    _speaks: asyncio.Event = field(default_factory=asyncio.Event)

    def times(self, thing: str, what: str = "") -> int:
        """How often it really happened."""
        return sum(one.thing == thing and what in ("", one.what) for one in self.ledger)

    def speak(self) -> None:
        """What it was asked about things that were mute is answered now."""
        self._speaks.set()

    def at_work(self, thing: str) -> bool:
        """Whether something may still happen to it."""
        return self._coming[thing] > 0

    async def _show(self, request: web.Request) -> web.Response:
        thing = request.match_info["thing"]
        self.reads[thing] += 1
        if thing in self.mute:
            self.mute.discard(thing)
            await self._speaks.wait()
        return web.json_response({"status": self._state.get(thing, "running")})

    async def _troubles(self, _request: web.Request) -> web.Response:
        self.reads["troubles"] += 1
        return web.json_response(self.rows)

    async def _change(self, request: web.Request) -> web.StreamResponse:
        thing, what = request.match_info["thing"], request.match_info["what"]
        await request.read()
        effect = Effect(time.time(), thing, what, request.headers.get(KEY, ""))
        self.heard.append(effect)
        self.on_request(effect)
        mood = self.moods.pop(thing, None) or self._mood()
        if mood in (Mood.CUTS, Mood.REFUSES):
            return self._ends(request) if mood is Mood.CUTS else web.json_response({}, status=422)
        if mood is Mood.LATE:
            await self._later(effect)
        else:
            self._does(effect)
        return await self._answer(request, mood)

    async def _answer(self, request: web.Request, mood: Mood) -> web.StreamResponse:
        match mood:
            case Mood.SLOW:
                await asyncio.sleep(self.rng.uniform(0.2, LATE_S))
            case Mood.HANGS:
                await asyncio.sleep(3600)
            case Mood.CLOSES:
                return self._ends(request)
            case Mood.RESETS:
                assert request.transport is not None
                request.transport.abort()
            case Mood.BREAKS:
                return web.json_response({}, status=503)
        return web.json_response({"ok": True})

    def _mood(self) -> Mood:
        bad = [one for one in Mood if one is not Mood.KIND]
        return self.rng.choice(bad) if self.rng.random() < self.troubled else Mood.KIND

    async def _later(self, effect: Effect) -> None:
        self._coming[effect.thing] += 1
        await asyncio.sleep(self.rng.uniform(0.2, LATE_S))
        self._coming[effect.thing] -= 1
        self._does(effect)

    def _does(self, effect: Effect) -> None:
        if effect.key and effect.key in self._done:
            return
        self._done.add(effect.key)
        self._state[effect.thing] = {"pause": "paused", "resume": "running"}.get(effect.what, effect.what)
        self.ledger.append(Effect(time.time(), effect.thing, effect.what, effect.key))

    @staticmethod
    def _ends(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()


@asynccontextmanager
async def running_peer(rng: Random, *, troubled: float = 0.3, host: str = "127.0.0.1") -> AsyncIterator[Peer]:
    """One on a free port of this address, for as long as the context lasts."""
    peer = Peer(rng, troubled)
    app = web.Application()
    app.router.add_get("/troubles", peer._troubles)
    app.router.add_get("/things/{thing}", peer._show)
    app.router.add_post("/things/{thing}/{what}", peer._change)
    async with served(app, host=host) as peer.url:
        yield peer
