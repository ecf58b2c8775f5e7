"""Calls of Slack's Web API, each with its deadline; what goes wrong is part of the answer.

slack_sdk is imported at the first call, and none of its retries: a rate limit is waited for here, bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from remediator.config import Slack as SlackApp
from remediator.core.cutting import words
from remediator.people.lettering import cut

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

WITHIN = 10.0
"""Seconds for one call."""
PATIENCE = 30.0
"""Seconds that Slack may make us wait by Retry-After, all in all."""


@dataclass(frozen=True)
class Answer:
    """What Slack said. ``unknown``: it may have done it all the same; ``wait``: it asks for some seconds."""

    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    unknown: bool = False
    wait: float | None = None


class SlackCalls:
    """One app's calls."""

    def __init__(self, app: SlackApp) -> None:
        self.app = app
        self._made: AsyncWebClient | None = None

    @property
    def client(self) -> AsyncWebClient:
        """The library's client: no retries, and no proxy from the environment."""
        if self._made is None:
            from slack_sdk.web.async_client import AsyncWebClient

            self._made = AsyncWebClient(
                token=self.app.bot_token.get_secret_value(),
                base_url=self.app.api_url,
                timeout=int(WITHIN),
                retry_handlers=[],
            )
            self._made.proxy = None  # slack_sdk takes one from the environment
        return self._made

    async def call(self, method: str, arguments: Mapping[str, Any], wanted: Sequence[str] = ()) -> Answer:
        """One call; waits as Slack asks, for `PATIENCE` all in all. ``wanted``: texts that must be there."""
        patience = PATIENCE
        while True:
            answer = await self.once(method, arguments, wanted)
            if answer.wait is None or answer.wait > patience:
                return answer
            patience -= answer.wait
            await asyncio.sleep(answer.wait)

    async def once(self, method: str, arguments: Mapping[str, Any], wanted: Sequence[str] = ()) -> Answer:
        """One call, whatever comes of it."""
        from slack_sdk.errors import SlackApiError

        try:
            async with asyncio.timeout(WITHIN):
                response = await getattr(self.client, method)(**arguments)
            data = {name: response[name] for name in wanted}
            complete = all(isinstance(one, str) for one in data.values())
            return Answer(data, "" if complete else "Slack answered ok, but not where")
        except SlackApiError as error:
            return _refused(error)
        except TimeoutError:
            return Answer(error=f"no answer from Slack within {WITHIN:g} s", unknown=True)
        except Exception as error:  # noqa: BLE001 - a page must not die of what an answer did to the library
            return Answer(error=words(error), unknown=True)


def _refused(error: Any) -> Answer:
    response = error.response
    status = getattr(response, "status_code", getattr(response, "status", 0))
    if status == 429:
        return Answer(error="Slack allows no more messages now (429)", wait=_retry_after(response.headers))
    data = getattr(response, "data", None)
    said = data.get("error") if isinstance(data, Mapping) else None
    return Answer(error=cut(str(said or f"Slack answered {status}"), 300), unknown=status != 200)


def _retry_after(headers: Mapping[str, str]) -> float:
    given = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return max(1.0, float(given)) if given.isascii() and given.isdigit() and len(given) < 6 else 1.0
