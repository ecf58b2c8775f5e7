"""The second road of a page: a webhook, such as a pager service's. It has no cards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

from remediator.config import PageHook
from remediator.core.cutting import words
from remediator.core.run import Page, Question, Run
from remediator.ports import CardRef, Told

WITHIN = 10.0
"""Seconds for one call."""


class WebhookRoad:
    """A Notifier that posts JSON: page, key, text, run, level, people, url."""

    road = "webhook"

    def __init__(self, hook: PageHook, public_url: str = "") -> None:
        self._hook = hook
        self._public_url = public_url.rstrip("/")

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        """Any 2xx is an ok."""
        body = {
            "page": page.id,
            "key": page.key,
            "text": page.text,
            "run": page.run,
            "level": page.level,
            "people": list(people),
            "url": f"{self._public_url}/runs/{page.run}"
            if self._public_url and page.run
            else self._public_url,
        }
        headers = {name: value.get_secret_value() for name, value in self._hook.headers.items()}
        try:
            async with (
                asyncio.timeout(WITHIN),
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
                session.post(self._hook.url, json=body, headers=headers, allow_redirects=False) as answer,
            ):
                ok = 200 <= answer.status < 300
                return Told(ok=ok, road=self.road, detail=f"answered {answer.status}")
        except TimeoutError:
            return Told(ok=False, road=self.road, detail=f"no answer within {WITHIN:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Told(ok=False, road=self.road, detail=words(error))

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:  # noqa: ARG002 - the port's
        """A webhook has no cards."""
        return None

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:  # noqa: ARG002
        """A webhook has no buttons; the page says how to answer."""
        return None

    async def withdraw(self, ref: CardRef) -> None:
        """A webhook has no cards."""
