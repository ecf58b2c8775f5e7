"""The fake Slack, and the hands of the people in it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack_clicks import Click
from tests.fakes.slack_server import application
from tests.fakes.slack_workspace import Workspace
from tests.rig.hosted import hosted

BOT_TOKEN = "xoxb-test"
APP_TOKEN = "xapp-test"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@dataclass(frozen=True)
class Answer:
    """What the receiver of a click answered; ``status`` 0: nothing. Through a socket: 200, it was taken."""

    status: int
    body: str
    click: int
    """Its number, for ``click(replay=…)``."""
    sent: dict[str, Any]
    """``headers`` and ``body`` as they went over the wire."""

    @property
    def payload(self) -> dict[str, Any]:
        """The callback that was sent, decoded."""
        body: str = self.sent["body"]
        payload: dict[str, Any]
        payload = json.loads(body)["payload"] if body[:1] == "{" else json.loads(parse_qs(body)["payload"][0])
        return payload


@dataclass
class FakeSlack:
    """A running fake. ``api_url`` is the real client's ``base_url``."""

    url: str
    """Its base URL, without a slash at the end."""
    bot_token: str = BOT_TOKEN
    app_token: str = APP_TOKEN
    signing_secret: str = SIGNING_SECRET
    team_id: str = "T01TEST"
    app_id: str = "A01APP"

    @property
    def api_url(self) -> str:
        """For ``AsyncWebClient(base_url=…)``."""
        return f"{self.url}/api/"

    def client(self, token: str | None = None) -> AsyncWebClient:
        """The real client, pointed here."""
        return AsyncWebClient(token=token or self.bot_token, base_url=self.api_url)

    async def messages(self, channel: str | None = None) -> list[dict[str, Any]]:
        """Oldest first: channel, ts, text, blocks (the latest), thread_ts, ephemeral, updates, versions."""
        messages = await self._get("messages")
        return [one for one in messages if channel in {None, one["channel"]}]

    async def calls(self, method: str | None = None) -> list[dict[str, Any]]:
        """Calls of the Web API, refused ones included: method, arguments, at, mood."""
        return [one for one in await self._get("calls") if method in {None, one["method"]}]

    async def responses(self) -> list[dict[str, Any]]:
        """What was posted to ``response_url``s."""
        return await self._get("responses")

    async def files(self) -> list[dict[str, Any]]:
        """Files that were begun: id, name, content (None: no bytes), shared, channel, thread_ts, title."""
        return await self._get("files")

    async def sockets(self, do: str = "", **settings: object) -> dict[str, Any]:
        """How connections are: ``open``, ``opened``, ``acknowledged``.

        do: cut, close, say (``message``); settings: ``refuses``, ``silent``.
        """
        return await self._post("sockets", {"do": do, **settings})

    async def mode(self, mode: str = "ok", **settings: object) -> None:
        """``ok slow down lost 5xx 429``, with ``delay retry_after status methods times``."""
        await self._post("mode", {"mode": mode, **settings})

    async def workspace(self, **settings: object) -> None:
        """Change what a workspace has or lacks.

        ``per_channel`` (posts per second), ``users`` (id to users.info fields), ``missing_channels``,
        ``refusals`` (method to error), ``upload_base``.
        """
        await self._post("workspace", settings)

    async def reset(self) -> None:
        """Forget everything, be ok."""
        await self._post("reset", {})

    async def click(self, click: Click) -> Answer:
        """A person clicks (or somebody forges it): see ``Click``."""
        return self._answer(await self._post("click", asdict(click)))

    async def command(self, url: str, command: str, text: str = "", **more: object) -> Answer:
        """A person types it; more: user_id, channel, team_id, app_id, signature, time_offset."""
        given = {"url": url, "command": command, "text": text, **more}
        return self._answer(await self._post("command", given))

    @staticmethod
    def _answer(said: Mapping[str, Any]) -> Answer:
        return Answer(said["status"], said["body"], said["click"], said["sent"])

    async def _get(self, log: str) -> list[dict[str, Any]]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/_control/{log}") as answer:
            entries: list[dict[str, Any]] = await answer.json()
            return entries

    async def _post(self, what: str, body: Mapping[str, object]) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/_control/{what}", json=dict(body)) as answer,
        ):
            said: dict[str, Any] = await answer.json() if answer.status in {200, 404} else {}
            assert answer.status == 200, said.get("problem") or await answer.text()
            return said


@contextmanager
def running_slack(*, per_channel: float = 0.0) -> Iterator[FakeSlack]:
    """Start one, and end it. ``per_channel``: most posts per second and channel (0: no limit)."""
    workspace = Workspace(BOT_TOKEN, SIGNING_SECRET, APP_TOKEN, per_channel=per_channel)
    with hosted(functools.partial(application, workspace)) as url:
        yield FakeSlack(url)
