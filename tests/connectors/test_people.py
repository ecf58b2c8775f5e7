"""Paging people as a step of a policy: the page is opened under the step's key."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.connectors.people import MOST_CHARACTERS, People, PeopleSettings
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.ports import Order


class Desk:
    def __init__(self) -> None:
        self.opened: list[tuple[str, str, str, str]] = []

    async def open_page(self, key: str, text: str, *, run: str, chain: str) -> None:
        self.opened.append((key, text, run, chain))


async def page(desk: Desk | None, **args: Any) -> Result:
    people = People(PeopleSettings())
    if desk is not None:
        people.attach(desk.open_page)
    return await people.act(Call("people.page", "people", args), order=Order("r-1/tell"), timeout=5)


async def test_the_step_opens_one_page_for_its_run() -> None:
    desk = Desk()
    assert await page(desk, text="the replica lags") == Done({})
    assert await page(desk, text="x" * 10_000, chain="dba") == Done({})
    assert desk.opened == [
        ("step:r-1/tell", "the replica lags", "r-1", "default"),
        ("step:r-1/tell", "x" * MOST_CHARACTERS, "r-1", "dba"),
    ]


@pytest.mark.parametrize("text", ["", " ", None, 7])
async def test_a_page_that_says_nothing_is_refused(text: object) -> None:
    desk = Desk()
    assert isinstance(await page(desk, text=text), Refused)
    assert desk.opened == []


async def test_where_nobody_opens_pages_it_says_so() -> None:
    assert await page(None, text="hello") == Refused("nobody opens pages here")
