"""A click becomes a vote, an acknowledgement or a wish, through either door; this is the one by HTTP.

POST /hooks/slack/actions: proved first, read after; the vote is committed before Slack is answered (it
waits 3 s). Whatever a person should know comes back to them in Slack: by the card, which follows the
run, or in a message that they alone see.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from remediator.config import Config
from remediator.errors import StoreError
from remediator.people.clicks import MOST_BYTES, Click, Declined, parse_click, verify
from remediator.ports import Answer, Clock, Desk

log = logging.getLogger(__name__)

REMEMBERED = 1000
"""Clicks whose answer is kept: Slack may send the very same one again."""
FINISH_S = 1.0
"""How long a stop waits for votes that are being committed."""


@dataclass(frozen=True)
class Heard:
    """What came of a click. Not ``kept``: it may be sent again, and must be."""

    text: str
    kept: bool = True


class Clicks:
    """What follows from a click, whichever door it came through."""

    def __init__(
        self,
        desk: Desk,
        whisper: Callable[[str, str], Coroutine[Any, Any, None]],
        turn_away: Callable[[str, str, str], Coroutine[Any, Any, None]],
    ) -> None:
        """whisper: ``(TEAM/USER, text)`` tells one person alone; never raises.

        turn_away: ``(gate, TEAM/USER, why)`` shows at the gate that somebody unknown clicked there.
        """
        self._desk = desk
        self._whisper = whisper
        self._turn_away = turn_away
        self._whispers: set[asyncio.Task[None]] = set()
        self._taken: dict[Click, asyncio.Task[Heard]] = {}  # the newest, in their order

    async def hear(self, click: Click | Declined) -> Heard:
        """Committed when this returns, or refused. The same click once more has the first one's answer."""
        if isinstance(click, Declined):
            return await self._decline(click)
        task = self._taken.get(click)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._take(click), name=f"click-{click.subject}")
            self._taken[click] = task
            if len(self._taken) > REMEMBERED:
                self._taken.pop(next(iter(self._taken)))
        heard = await asyncio.shield(task)
        if not heard.kept:
            self._taken.pop(click, None)
        return heard

    async def finish(self) -> None:
        """Stop: votes on their way are committed, whispers are given up."""
        taking = [task for task in self._taken.values() if not task.done()]
        if taking:
            await asyncio.wait(taking, timeout=FINISH_S)
        left = [task for task in (*taking, *self._whispers) if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _take(self, click: Click) -> Heard:
        try:
            answer = await self._act(click)
        except StoreError:
            return self._not_kept(click, "Remediator cannot keep your click just now; please click again")
        except msgspec.DecodeError as error:
            log.warning("a click on what cannot be read", extra={"on": click.subject, "problem": str(error)})
            text = f"what Remediator keeps of {click.subject} cannot be read until somebody has mended it"
            return self._not_kept(click, f"{text}: your click was not taken; please click again then")
        except Exception:
            log.exception("a click broke", extra={"on": click.subject})
            text = "this went wrong, by a defect of Remediator: the card shows whether your click was taken"
            return self._not_kept(click, f"{text}; the daemon's log has the details")
        if not answer.ok or click.action == "again":
            self._whisper_soon(click.user, answer.text)
        return Heard(answer.text)

    def _not_kept(self, click: Click, text: str) -> Heard:
        self._whisper_soon(click.user, text)
        return Heard(text, kept=False)

    async def _act(self, click: Click) -> Answer:
        match click.action:
            case "ack":
                return await self._desk.acknowledge(click.subject, by=click.person)
            case "again":
                return await self._desk.ask_again(click.subject, by=click.person, via="slack")
            case "happened" | "not-happened" | "handled":
                return await self._desk.settle(
                    click.subject.rpartition(".")[0],
                    by=click.person,
                    verdict=click.action,
                    reason=click.reason,
                    via="slack",
                    question=click.subject,
                )
        return await self._desk.vote(
            click.subject,
            by=click.person,
            approve=click.action == "approve",
            via="slack",
            reason=click.reason,
            seen=click.hash_prefix,
        )

    async def _decline(self, click: Declined) -> Heard:
        """Whoever is told no hears it, and those who wait at the gate see it."""
        log.warning("a click was declined", extra={"problem": click.reason})
        if click.user:
            self._whisper_soon(click.user, f"this click does not count: {click.reason}")
        if click.gate:
            with contextlib.suppress(StoreError, msgspec.DecodeError):
                await self._turn_away(click.gate, click.user, click.reason)
        return Heard(click.reason)

    def _whisper_soon(self, user: str, text: str) -> None:
        """Slack shows nothing of our answer, so the person is told apart; the click must not wait for it."""
        task = asyncio.get_running_loop().create_task(self._whisper(user, text))
        self._whispers.add(task)
        task.add_done_callback(self._whispers.discard)


class SlackActions:
    """The door by HTTP."""

    def __init__(self, config: Config, clicks: Clicks, clock: Clock) -> None:
        self._config = config
        self._clicks = clicks
        self._clock = clock

    async def __call__(self, request: web.Request) -> web.Response:
        """200 once the click was dealt with; 401 unproved; 503 when it could not be kept."""
        app = self._config.slack
        if app is None or app.signing_secret is None:
            why = "Slack is not configured" if app is None else "clicks come by Socket Mode only"
            return web.json_response({"text": why}, status=404)
        body = await _whole(request)
        secret = app.signing_secret.get_secret_value()
        if not verify(request.headers, body, secret, self._clock.now()):
            log.warning("a click was not signed by Slack", extra={"peer": request.remote})
            return web.json_response({"text": "not signed by Slack"}, status=401)
        heard = await self._clicks.hear(parse_click(body, app, self._config.people))
        return web.json_response({"text": heard.text}, status=200 if heard.kept else 503)


async def _whole(request: web.Request) -> bytes:
    """The raw body, one byte over the limit at most: `verify` refuses what is longer."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body)
