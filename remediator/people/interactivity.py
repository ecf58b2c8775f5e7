"""POST /hooks/slack/actions: a signed click becomes a vote or an acknowledgement.

Proved first, read after; the vote is committed before Slack is answered (it waits 3 s). Whatever a
person should know comes back to them in Slack by the card, which follows the run.
"""

from __future__ import annotations

import logging

from aiohttp import web

from remediator.config import Config
from remediator.errors import StoreError
from remediator.people.clicks import MOST_BYTES, Click, Declined, parse_click, verify
from remediator.ports import Answer, Clock, Desk

log = logging.getLogger(__name__)


class SlackActions:
    """The door for clicks."""

    def __init__(self, config: Config, desk: Desk, clock: Clock) -> None:
        self._config = config
        self._desk = desk
        self._clock = clock

    async def __call__(self, request: web.Request) -> web.Response:
        """200 once the click was dealt with; 401 unproved; 503 when it could not be kept."""
        app = self._config.slack
        if app is None:
            return web.json_response({"text": "Slack is not configured"}, status=404)
        body = await request.content.read(MOST_BYTES + 1)
        secret = app.signing_secret.get_secret_value()
        if not verify(request.headers, body, secret, self._clock.now()):
            log.warning("a click was not signed by Slack", extra={"peer": request.remote})
            return web.json_response({"text": "not signed by Slack"}, status=401)
        click = parse_click(body, app, self._config.people)
        if isinstance(click, Declined):
            log.warning("a click was declined", extra={"problem": click.reason})
            return web.json_response({"response_type": "ephemeral", "text": click.reason})
        try:
            answer = await self._act(click)
        except StoreError:
            text = "Remediator cannot keep your vote just now; please click again"
            return web.json_response({"response_type": "ephemeral", "text": text}, status=503)
        return web.json_response({"response_type": "ephemeral", "text": answer.text})

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
