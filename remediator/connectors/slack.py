"""Saying something in Slack, as a step of a policy. The built-in connection `slack`.

Cards and pages do not pass here (`remediator.people` brings those): this is an action like any other,
sent once. slack_sdk is imported at the first message, with its retries, redirects and proxies off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

import aiohttp

from remediator.config import Slack as SlackApp
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.canonical import digest
from remediator.core.catalog import Escape, Kind, Operation, Param, Risk
from remediator.core.cutting import shortened, words
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.ports import ConnectorKind, Order

if TYPE_CHECKING:
    from slack_sdk.errors import SlackApiError

MESSAGE = Operation(
    name="slack.message",
    kind=Kind.ACTION,
    doc="Post a message to a channel. Values that `${…}` inserts can form no link or mention.",
    params={
        "channel": Param("Channel id, such as C0LOYALTY, or #name.", required=True),
        "text": Param("What to say, in Slack's mrkdwn.", escape=Escape.MRKDWN, required=True),
    },
    risk=Risk.SAFE,
    longest=timedelta(seconds=15),
)

MOST_CHARACTERS = 4000
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,20}|#[\w-]{1,80}")
_PERHAPS_DONE = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
"""Errors after which, Slack says, some aspect of the operation may have succeeded."""


class SlackSettings(Settings):
    """The Slack app of the daemon; None while there is none."""

    app: SlackApp | None = None

    @classmethod
    def of(cls, app: SlackApp | None) -> Self:
        """Made from the config's own `slack`."""
        return cls(app=app)

    def digest(self) -> str:
        """Where it goes; the channel of cards concerns no policy."""
        return digest({"api_url": self.app.api_url if self.app else None})


class SlackMessages(Unoffered):
    """The built-in connection."""

    def __init__(self, settings: SlackSettings) -> None:
        self._app = settings.app

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:  # noqa: ARG002 - Slack knows no keys
        """Post it, once."""
        channel, text = call.args.get("channel"), call.args.get("text")
        if self._app is None:
            return Refused("Slack is not configured")
        if not isinstance(channel, str) or not _CHANNEL.fullmatch(channel):
            return Refused(f"never sent: {str(channel)[:100]!r} is no channel; write its id or #name")
        if not isinstance(text, str) or not text.strip():
            return Refused("never sent: the message is empty")
        return await self._post(self._app, channel, _fitting(text), timeout)

    async def _post(self, app: SlackApp, channel: str, text: str, timeout: float) -> Result:
        from slack_sdk.errors import SlackApiError
        from slack_sdk.web.async_client import AsyncWebClient

        within = min(timeout, MESSAGE.longest.total_seconds())
        try:
            async with asyncio.timeout(within), _session(within) as session:
                client = AsyncWebClient(
                    token=app.bot_token.get_secret_value(),
                    base_url=app.api_url,
                    session=session,
                    retry_handlers=[],
                )
                client.proxy = None  # slack_sdk takes one from the environment
                answer = await client.chat_postMessage(
                    channel=channel, text=text, unfurl_links=False, unfurl_media=False
                )
                where = {"channel": answer["channel"], "ts": answer["ts"]}
            if not all(isinstance(one, str) for one in where.values()):
                return Unknown("Slack answered ok, but not where")
            return Done(where)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Refused(f"never sent: {shortened(str(error))}")
        except SlackApiError as error:
            return _judge(error)
        except _RedirectedError as error:
            return Refused(str(error))
        except TimeoutError:
            return Unknown(f"no answer from Slack within {within:g} s")
        except Exception as error:  # noqa: BLE001 - it was sent; whatever the answer did to the library
            return Unknown(f"sent, and then: {words(error)}")


def _judge(error: SlackApiError) -> Result:
    response = error.response
    status = getattr(response, "status_code", getattr(response, "status", 0))
    data = getattr(response, "data", None)
    said = data.get("error") if isinstance(data, Mapping) else None
    if status == 429:
        return Refused("Slack refused: too many messages (429)")
    if status == 200 and isinstance(said, str) and said not in _PERHAPS_DONE:
        return Refused(f"Slack refused: {shortened(said, 100)}")
    if 400 <= status < 500:
        return Refused(f"Slack refused: {said or status}")
    return Unknown(f"Slack answered {said or status or 'something unreadable'}")


class _RedirectedError(Exception):
    """Slack's address answered with a redirect, which may not be followed: it would post twice."""


async def _no_redirects(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, seen: aiohttp.TraceRequestRedirectParams
) -> None:
    raise _RedirectedError(f"answered {seen.response.status}; redirects are not followed")


def _session(within: float) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_no_redirects)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=1),
        timeout=aiohttp.ClientTimeout(total=within, connect=within / 2),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[trace],
    )


def _fitting(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 20]} … (cut)"


KIND = ConnectorKind(
    name="slack",
    doc="The daemon's own Slack app; built in, configured under `slack`.",
    operations=(MESSAGE,),
    settings=SlackSettings,
    make=SlackMessages,
    built_in=True,
)
