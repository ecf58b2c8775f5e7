"""Stories of people at the desk: what a slip of the pen may not do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.ports import Pending
from tests.core.stories import policy
from tests.engine.world import Engine, engine


class Idle:
    """Performs nothing."""

    def start(self, pending: Pending) -> None:
        del pending


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[PeoplesDesk, Engine]]:
    async with engine(tmp_path, policy()) as one:

        async def nothing(*_words: str) -> None:
            return None

        async def reload() -> str:
            return "nothing changed"

        driver = Driver(one.store, one.decisions, one.clock, lambda: None, nothing)
        driver.attach(Idle())
        yield PeoplesDesk(one.store, driver, one._new_id, lambda: one.policies, reload), one


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("policy:late-campain", "there is no policy late-campain; there are late-campaign"),
        ("target:campaign", "campaign is no target; write kind/id, kind one of campaign"),
        ("target:planet/mars", "planet/mars is no target"),
    ],
)
async def test_a_halt_that_covers_nothing_is_a_slip_of_the_pen(
    desk: tuple[PeoplesDesk, Engine], scope: str, told: str
) -> None:
    people, one = desk
    answer = await people.halt(by="bob", scope=scope, reason="migration")
    assert (answer.ok, answer.status) == (False, 404)
    assert told in answer.text
    assert await one.store.read(lambda tx: tx.halts()) == []


@pytest.mark.parametrize("scope", ["all", "policy:late-campaign", "target:campaign/c-1"])
async def test_anybody_may_halt_and_whoever_has_a_role_may_resume(
    desk: tuple[PeoplesDesk, Engine], scope: str
) -> None:
    people, one = desk
    thrown = await people.halt(by="a-stranger-with-a-token", scope=scope, reason="smoke")
    assert thrown.ok
    assert thrown.data is not None
    refused = await people.resume(thrown.data["halt"], by="a-stranger-with-a-token")
    assert (refused.ok, refused.status) == (False, 403)
    assert (await people.resume(thrown.data["halt"], by="bob")).ok
    assert await one.store.read(lambda tx: tx.halts()) == []


async def test_a_halt_without_a_reason_is_refused(desk: tuple[PeoplesDesk, Engine]) -> None:
    people, _ = desk
    assert (await people.halt(by="bob", scope="all", reason="  ")).status == 400
