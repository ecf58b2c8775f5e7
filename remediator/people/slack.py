"""The Slack road: gates' cards and pages, in the channel of the config.

slack_sdk is imported at the first call, and none of its retries: a rate limit is waited for here, bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from remediator.config import Person
from remediator.config import Slack as SlackApp
from remediator.core.run import Gate, Page, Run
from remediator.errors import ConnectorError
from remediator.people.cards import Block, gate_card
from remediator.people.lettering import cut, escaped, linked
from remediator.ports import CardRef, Told

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

log = logging.getLogger(__name__)

WITHIN = 10.0
"""Seconds for one call."""
PATIENCE = 30.0
"""Seconds that Slack may make us wait by Retry-After, all in all."""

_GONE = frozenset({"message_not_found", "cant_update_message", "channel_not_found", "edit_window_closed"})


@dataclass(frozen=True)
class _Answer:
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


class SlackRoad:
    """A Notifier: cards and pages in one channel."""

    road = "slack"

    def __init__(self, app: SlackApp, public_url: str, people: Mapping[str, Person]) -> None:
        self._app = app
        self._public_url = public_url.rstrip("/")
        self._people = people
        self._made: AsyncWebClient | None = None

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        """Post the card of the run's gate, or update the one that ``ref`` names.

        None: the run has no such gate. Raises ConnectorError when the card could not be shown as the
        run is now: call again, with the same ref.
        """
        gate = _gate_of(run, ref)
        if gate is None:
            return ref
        card = gate_card(run, gate, self._public_url)
        if ref is not None and ref.digest == card.digest:
            return ref
        content = {"text": card.text, "blocks": card.blocks}
        answer = _Answer(error="never posted")
        if ref is not None:
            answer = await self._call("chat_update", {"channel": ref.channel, "ts": ref.ts, **content})
        if ref is None or answer.error in _GONE:
            answer = await self._post(content)
        if answer.error:
            raise ConnectorError("slack", f"the card of gate {gate.id} could not be shown: {answer.error}")
        return CardRef(gate.id, str(answer.data["channel"]), str(answer.data["ts"]), card.digest)

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        """Mention these people by their Slack ids; where none of them has one, the whole channel."""
        ids = {person: self._slack_id(person) for person in people}
        mentions = " ".join(f"<@{found}>" for found in ids.values() if found) or "<!channel>"
        unknown = [person for person, found in ids.items() if not found]
        also = f" (and {escaped(', '.join(unknown))})" if unknown else ""
        text = f"{mentions}{also} {cut(escaped(page.text, lines=True), 2000)}"
        answer = await self._post({"text": text, "blocks": self._page_blocks(page, text)})
        if answer.error:
            return Told(ok=False, road=self.road, detail=answer.error)
        return Told(ok=True, road=self.road, detail=f"{mentions} in {self._app.channel}")

    async def whisper(self, user: str, text: str) -> None:
        """Tell one person (TEAM/USER) something that only they see. Best effort."""
        from slack_sdk.errors import SlackApiError

        person = user.rpartition("/")[2]
        try:
            async with asyncio.timeout(WITHIN):
                await self._client().chat_postEphemeral(
                    channel=self._app.channel, user=person, text=cut(escaped(text), 1000)
                )
        except (SlackApiError, TimeoutError, OSError, aiohttp.ClientError) as error:
            log.warning("a person could not be told", extra={"user": user, "problem": str(error)[:300]})

    def _page_blocks(self, page: Page, text: str) -> list[Block]:
        acknowledge = {
            "type": "button",
            "action_id": "ack",
            "style": "primary",
            "text": {"type": "plain_text", "text": "Acknowledge", "emoji": False},
            "value": page.id,
        }
        words = f"run {page.run}" if page.run else f"page {page.id}"
        about = linked(self._public_url if page.run else "", page.run, words)
        return [
            {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}},
            {"type": "actions", "block_id": "page", "elements": [acknowledge]},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": about, "verbatim": True}]},
        ]

    def _slack_id(self, person: str) -> str:
        known = self._people.get(person)
        return known.slack.rpartition("/")[2] if known is not None and known.slack else ""

    def _client(self) -> AsyncWebClient:
        if self._made is None:
            from slack_sdk.web.async_client import AsyncWebClient

            self._made = AsyncWebClient(
                token=self._app.bot_token.get_secret_value(),
                base_url=self._app.api_url,
                timeout=int(WITHIN),
                retry_handlers=[],
            )
            self._made.proxy = None  # slack_sdk takes one from the environment
        return self._made

    async def _post(self, content: Mapping[str, Any]) -> _Answer:
        where = {"channel": self._app.channel, "unfurl_links": False, "unfurl_media": False}
        return await self._call("chat_postMessage", {**where, **content})

    async def _call(self, method: str, arguments: Mapping[str, Any]) -> _Answer:
        """One call; waits as Slack asks, for `PATIENCE` all in all."""
        patience = PATIENCE
        while True:
            answer, wait = await self._try(method, arguments)
            if wait is None or wait > patience:
                return answer
            patience -= wait
            await asyncio.sleep(wait)

    async def _try(self, method: str, arguments: Mapping[str, Any]) -> tuple[_Answer, float | None]:
        """The answer, and how long to wait before another try if Slack asks for that."""
        from slack_sdk.errors import SlackApiError

        try:
            async with asyncio.timeout(WITHIN):
                response = await getattr(self._client(), method)(**arguments)
            where = {"channel": response["channel"], "ts": response["ts"]}
            complete = all(isinstance(one, str) for one in where.values())
            return _Answer(where, "" if complete else "Slack answered ok, but not where"), None
        except SlackApiError as error:
            return _refused(error)
        except TimeoutError:
            return _Answer(error=f"no answer from Slack within {WITHIN:g} s"), None
        except Exception as error:  # noqa: BLE001 - a page must not die of what an answer did to the library
            return _Answer(error=cut(str(error), 300) or type(error).__name__), None


def _gate_of(run: Run, ref: CardRef | None) -> Gate | None:
    if ref is None:
        return run.gate
    return next((gate for gate in run.all_gates if gate.id == ref.gate), None)


def _refused(error: Any) -> tuple[_Answer, float | None]:
    response = error.response
    status = getattr(response, "status_code", getattr(response, "status", 0))
    if status == 429:
        return _Answer(error="Slack allows no more messages now (429)"), _retry_after(response.headers)
    data = getattr(response, "data", None)
    said = data.get("error") if isinstance(data, Mapping) else None
    return _Answer(error=cut(str(said or f"Slack answered {status}"), 300)), None


def _retry_after(headers: Mapping[str, str]) -> float:
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return max(1.0, float(given)) if given.isascii() and given.isdigit() and len(given) < 6 else 1.0
