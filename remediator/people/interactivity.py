"""POST /hooks/slack/actions: a signed click becomes a vote or an acknowledgement.

Proved first, read after; the vote is committed before Slack is answered (it waits 3 s). Whatever a
person should know comes back to them in Slack by the card, which follows the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from remediator.config import Config
from remediator.errors import StoreError
from remediator.people.clicks import MOST_BYTES, Click, Declined, parse_click, verify
from remediator.ports import Answer, Clock, Desk

log = logging.getLogger(__name__)


class SlackActions:
    """The door for clicks."""

    def __init__(
        self,
        config: Config,
        desk: Desk,
        clock: Clock,
        whisper: Callable[[str, str], Coroutine[Any, Any, None]],
        turn_away: Callable[[str, str, str], Coroutine[Any, Any, None]],
    ) -> None:
        """whisper: ``(TEAM/USER, text)`` tells one person alone; never raises.

        turn_away: ``(gate, TEAM/USER, why)`` shows at the gate that somebody unknown clicked there.
        """
        self._config = config
        self._desk = desk
        self._clock = clock
        self._whisper = whisper
        self._turn_away = turn_away
        self._whispers: set[asyncio.Task[None]] = set()

    async def __call__(self, request: web.Request) -> web.Response:
        """200 once the click was dealt with; 401 unproved; 503 when it could not be kept."""
        app = self._config.slack
        if app is None:
            return web.json_response({"text": "Slack is not configured"}, status=404)
        body = await _whole(request)
        secret = app.signing_secret.get_secret_value()
        if not verify(request.headers, body, secret, self._clock.now()):
            log.warning("a click was not signed by Slack", extra={"peer": request.remote})
            return web.json_response({"text": "not signed by Slack"}, status=401)
        click = parse_click(body, app, self._config.people)
        if isinstance(click, Declined):
            log.warning("a click was declined", extra={"problem": click.reason})
            return await self._declined(click)
        try:
            answer = await self._act(click)
        except StoreError:
            text = "Remediator cannot keep your vote just now; please click again"
            self._whisper_soon(click.user, text)
            return web.json_response({"text": text}, status=503)
        if not answer.ok:
            self._whisper_soon(click.user, answer.text)
        return web.json_response({"text": answer.text})

    async def _declined(self, click: Declined) -> web.Response:
        """Whoever is told no hears it, and those who wait at the gate see it."""
        if click.user:
            self._whisper_soon(click.user, f"this click does not count: {click.reason}")
        if click.gate:
            with contextlib.suppress(StoreError):
                await self._turn_away(click.gate, click.user, click.reason)
        return web.json_response({"text": click.reason})

    def _whisper_soon(self, user: str, text: str) -> None:
        """Slack shows nothing of our answer, so the person is told apart; the click must not wait for it."""
        task = asyncio.get_running_loop().create_task(self._whisper(user, text))
        self._whispers.add(task)
        task.add_done_callback(self._whispers.discard)

    async def _act(self, click: Click) -> Answer:
        if click.action == "ack":
            return await self._desk.acknowledge(click.subject, by=click.person)
        return await self._desk.vote(
            click.subject,
            by=click.person,
            approve=click.action == "approve",
            via="slack",
            seen=click.hash_prefix,
        )


async def _whole(request: web.Request) -> bytes:
    """The raw body, one byte over the limit at most: `verify` refuses what is longer."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return bytes(body)
