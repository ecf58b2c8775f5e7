"""The other door for clicks: Slack's Socket Mode, for a daemon that Slack cannot reach.

The daemon opens the socket; Slack sends envelopes through it. One with a click is acknowledged only
after the vote was committed, so that Slack, where it does send again, sends again what was not kept; a
vote counts once all the same. Envelopes of other kinds are acknowledged and left.

slack_sdk's client holds one connection here and no more. When that ends, or Slack asks for another, it
is replaced from here: the client itself would dial a used address again for ever, and count a connection
that is gone among those that Slack sends clicks to.
Source: https://docs.slack.dev/apis/events-api/using-socket-mode/
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

from remediator.config import Person
from remediator.config import Slack as SlackApp
from remediator.core.cutting import shortened, words
from remediator.errors import ConnectorError
from remediator.people.calling import SlackCalls
from remediator.people.clicks import read_click
from remediator.people.interactivity import Clicks
from remediator.people.origin import of_slack
from remediator.ports import Clock

if TYPE_CHECKING:
    from slack_sdk.socket_mode.aiohttp import SocketModeClient
    from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

log = logging.getLogger(__name__)

WITHIN = 10.0
"""Seconds for a connection: the address, the handshake, Slack's hello."""
PING_S = 5.0
"""How often Slack is asked whether it is there; no answer within half of that ends the connection."""
LOOK_S = 0.5
"""How often we look whether the connection is still open."""
CLOSE_S = 1.0
"""Seconds for a farewell: Slack may not answer ours."""
ANSWER_S = 1.0
"""Seconds that envelopes in hand are waited for before their connection is closed."""
PAUSES_S = (0.5, 1, 2, 5, 10, 30)
STEADY_S = 60.0
"""A connection that held so long makes what comes after it a new trouble."""
SILENT_S = 60.0
"""Seconds without a connection before a person must hear that nobody's clicks arrive."""

_ASKED = frozenset({"warning", "refresh_requested"})
"""Reasons for which Slack wants another connection, and keeps this one open meanwhile."""


class SlackSocket:
    """Keeps one connection to Slack, for as long as it runs."""

    def __init__(
        self,
        app: SlackApp,
        people: Mapping[str, Person],
        clicks: Clicks,
        clock: Clock,
        on_silence: Callable[[str], Awaitable[None]],
    ) -> None:
        """on_silence: called with why, once each time that no connection could be had for a minute."""
        assert app.app_token is not None
        self._app = app
        self._token = app.app_token.get_secret_value()
        self._calls = SlackCalls(app)
        self._people = people
        self._clicks = clicks
        self._clock = clock
        self._on_silence = on_silence
        self._held: set[_Connection] = set()
        self._down_since: float | None = None
        self._told = False

    async def run(self) -> None:
        """Until cancelled; then whatever is in hand is finished, and the connection closed."""
        try:
            await self._run()
        finally:
            await self._close_all(list(self._held))

    async def _run(self) -> None:
        troubles = 0  # one after the other
        while True:
            before = list(self._held)  # Slack has asked for another: it stays until that is there
            try:
                connection = await self._open()
            except ConnectorError as error:
                troubles += 1
                problem = error.problem
            else:
                self._found()
                await self._close_all(before)
                began = self._clock.monotonic()
                await connection.ended()
                troubles = 0 if self._clock.monotonic() - began >= STEADY_S else troubles + 1
                problem = connection.reason
                if problem not in _ASKED:
                    await self._close(connection)
            pause = PAUSES_S[min(troubles, len(PAUSES_S)) - 1] if troubles else 0.0
            if not any(one.alive for one in self._held):
                await self._lost(problem, pause)
            await asyncio.sleep(pause)

    # ── Connections ───────────────────────────────────────────────────────────────────────────────

    async def _open(self) -> _Connection:
        """A connection to which Slack has said hello. Raises ConnectorError."""
        answer = await self._calls.once("apps_connections_open", {"app_token": self._token}, ("url",))
        if answer.wait is not None:
            await asyncio.sleep(min(answer.wait, PAUSES_S[-1]))
        if answer.error:
            raise ConnectorError("slack", f"apps.connections.open: {answer.error}")
        url = str(answer.data["url"])
        if not of_slack(url, self._app.api_url):
            raise ConnectorError("slack", "Slack named a socket that is not its own")
        connection = _Connection(self._make, self._hear)
        self._held.add(connection)
        try:
            async with asyncio.timeout(WITHIN):
                await connection.open(url)
        except TimeoutError:
            await self._close(connection)
            raise ConnectorError(
                "slack", connection.heard_last or f"no connection within {WITHIN:g} s"
            ) from None
        return connection

    def _make(self, connection: _Connection) -> SocketModeClient:
        from slack_sdk.socket_mode.aiohttp import SocketModeClient

        class OneConnection(SocketModeClient):
            """Leaves it to us to find another."""

            async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
                """Called when Slack asks for another connection, which `_Connection.text` has heard too."""

        client = OneConnection(
            app_token=self._token,
            logger=connection.logger,
            web_client=self._calls.client,
            auto_reconnect_enabled=False,
            ping_interval=PING_S,
            on_message_listeners=[connection.text],
        )
        client.proxy = None  # slack_sdk takes one from the environment
        return client

    async def _close_all(self, connections: list[_Connection]) -> None:
        for connection in connections:
            await self._close(connection)

    async def _close(self, connection: _Connection) -> None:
        self._held.discard(connection)
        await connection.close()

    # ── Envelopes ─────────────────────────────────────────────────────────────────────────────────

    async def _hear(self, request: SocketModeRequest) -> bool:
        """Is this envelope dealt with, so that it may be acknowledged?"""
        if request.type != "interactive":
            log.debug("an envelope that is no click", extra={"kind": request.type})
            return True
        heard = await self._clicks.hear(read_click(request.payload, self._app, self._people))
        return heard.kept

    # ── Up and down ───────────────────────────────────────────────────────────────────────────────

    def _found(self) -> None:
        if self._down_since is not None:
            log.info("Slack's clicks arrive again")
        self._down_since, self._told = None, False

    async def _lost(self, problem: str, wait: float) -> None:
        now = self._clock.monotonic()
        self._down_since = now if self._down_since is None else self._down_since
        log.warning("Slack's clicks do not arrive", extra={"problem": problem, "again_in_s": wait})
        if now - self._down_since >= SILENT_S and not self._told:
            self._told = True
            await self._on_silence(problem)


class _Connection:
    """One client of the library, from its handshake to its farewell."""

    def __init__(
        self,
        make: Callable[[_Connection], SocketModeClient],
        hear: Callable[[SocketModeRequest], Awaitable[bool]],
    ) -> None:
        self.reason = "the connection was cut"
        self.logger = logging.Logger("socket", logging.WARNING)  # noqa: LOG001 - of this connection alone
        self._overheard = _Overheard()
        self.logger.addHandler(self._overheard)
        self._hear = hear
        self._greeted, self._asked = asyncio.Event(), asyncio.Event()
        self._in_hand: set[asyncio.Task[Any]] = set()
        self._client = make(self)
        self._client.socket_mode_request_listeners.append(self._envelope)

    @property
    def heard_last(self) -> str:
        """What the library complained of last, without the address: whoever has that may connect."""
        return self._overheard.last.replace(self._client.wss_uri or "\0", "its address")

    @property
    def alive(self) -> bool:
        """Can clicks come through it?"""
        session = self._client.current_session
        return session is not None and not session.closed

    async def open(self, url: str) -> None:
        """Returns once Slack has said hello, which may be never."""
        self._client.wss_uri = url
        await self._client.connect()  # type: ignore[no-untyped-call]
        await self._greeted.wait()

    async def ended(self) -> None:
        """Returns once it is closed, or Slack wants another; see ``reason``."""
        while self.alive and not self._asked.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):  # wait_for may lose a cancellation (Python 3.11)
                    await self._asked.wait()

    async def text(self, message: aiohttp.WSMessage) -> None:
        """Slack's word about the connection itself."""
        try:
            said = json.loads(message.data)
        except (ValueError, TypeError, RecursionError):
            return
        match said:
            case {"type": "hello"}:
                self._greeted.set()
            case {"type": "disconnect"}:
                self.reason = str(said.get("reason") or "disconnect")[:100]
                self._asked.set()

    async def _envelope(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """One envelope. Not acknowledged: it was not kept, or we did not get so far."""
        from slack_sdk.socket_mode.response import SocketModeResponse

        task = asyncio.current_task()
        assert task is not None
        self._in_hand.add(task)
        try:
            if await self._hear(request):
                async with asyncio.timeout(ANSWER_S):
                    await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            log.warning("a click could not be acknowledged", extra={"problem": words(error)})
        except Exception:
            log.exception("an envelope could not be dealt with")
        finally:
            self._in_hand.discard(task)

    async def close(self) -> None:
        """What is in hand is finished, for a moment; then nothing of it is left."""
        client = self._client
        client.message_processor.cancel()
        await asyncio.sleep(0)  # an envelope that was taken up just now is in hand
        if self._in_hand:
            await asyncio.wait(self._in_hand, timeout=ANSWER_S)
        with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
            async with asyncio.timeout(CLOSE_S):
                await client.close()  # type: ignore[no-untyped-call]
        await client.aiohttp_client_session.close()
        works = (client.message_processor, client.message_receiver, client.current_session_monitor)
        left = [*self._in_hand, *(work for work in works if work is not None)]
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class _Overheard(logging.Handler):
    """The library's complaints go here: we say ourselves what people need to know."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = shortened(record.getMessage())
