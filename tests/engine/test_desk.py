"""Stories of people at the desk: what a slip of the pen may not do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.core.catalog import Catalog, Cover
from remediator.core.messages import Act, Done, StepFinished, Unknown
from remediator.core.run import Run
from remediator.engine import desk as desk_module
from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.ports import Disposition, Pending, Reloaded, Tx
from tests.core.campaign import CATALOG, policy, post, proof, votes
from tests.engine.world import START, Engine, alert, engine


class Idle:
    """Performs nothing."""

    def start(self, pending: Pending) -> None:
        del pending


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[PeoplesDesk, Engine]]:
    async with engine(tmp_path, policy()) as one:

        async def nothing(*_words: str) -> None:
            return None

        async def reload() -> Reloaded:
            return Reloaded("nothing changed")

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


async def test_a_halt_is_lifted_however_many_wait_for_it(
    desk: tuple[PeoplesDesk, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    people, one = desk
    monkeypatch.setattr(desk_module, "WOKEN", 2)
    names = [f"f{number}" for number in range(5)]

    async def wait(tx: Tx) -> None:
        for name in names:
            about = {"policy": "p", "fingerprint": name, "kind": "refused", "bound": "halt"}
            await tx.put_disposition(Disposition(**about, waits_for="halt", since=tx.now))  # type: ignore[arg-type]

    async def waiting() -> list[str]:
        kept = await one.store.read(lambda tx: tx.dispositions(refused_only=True))
        return [each.fingerprint for each in kept if each.again_at is None]

    await one.store.transact(wait)
    thrown, other = [await people.halt(by="bob", scope="all", reason="smoke") for _ in range(2)]
    assert thrown.data is not None
    assert other.data is not None
    assert (await people.resume(thrown.data["halt"], by="bob")).ok
    assert await waiting() == []
    await one.store.transact(wait)
    await people.wake_left()
    assert await waiting() == names, "another halt stands"
    lifted = other.data["halt"]
    await one.store.transact(lambda tx: tx.lift_halt(lifted, "bob"))  # and then it died
    await people.wake_left()
    assert await waiting() == []


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


# ── Cover for an absence ──────────────────────────────────────────────────────────────────────────


async def covered(one: Engine, until: timedelta) -> str:
    """Amina, the only lead, is away and dora covers; the gate that asks for a lead."""
    pause = post("/pause/${campaign}", gate=votes(within="4h", lead=1), verify=proof())
    away = replace(CATALOG, covers={"lead": (Cover("dora", START + until),)})
    one.runs_with(policy({"pause": pause}), catalog=away)
    await one.delivers(alert())
    (run,) = await one.runs()
    assert run.gate is not None
    return run.gate.id


async def test_who_covers_a_role_votes_lifts_halts_and_is_nobody_once_the_time_is_over(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    people, one = desk
    gate = await covered(one, timedelta(hours=1))
    one.runs_with(one.policies.by_name["late-campaign"].policy, catalog=only_as_cover(one))
    thrown = await people.halt(by="dora", scope="policy:late-campaign", reason="smoke")
    assert thrown.data is not None
    assert (await people.resume(thrown.data["halt"], by="dora")).ok
    one.later(hours=1)
    late = await people.vote(gate, by="dora", approve=True, via="api")
    assert (late.ok, late.status) == (False, 409)
    assert "dora has none of the roles lead" in late.text
    thrown = await people.halt(by="dora", scope="policy:late-campaign", reason="smoke")
    assert thrown.data is not None
    assert (await people.resume(thrown.data["halt"], by="dora")).status == 403


def only_as_cover(one: Engine) -> Catalog:
    """Dora has no role of her own."""
    catalog = one.policies.catalog
    return replace(catalog, roles={role: people - {"dora"} for role, people in catalog.roles.items()})


async def test_a_cover_that_ends_between_the_vote_and_the_act_takes_the_vote_with_it(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    people, one = desk
    gate = await covered(one, timedelta(minutes=10))
    one.later(minutes=9)
    answer = await people.vote(gate, by="dora", approve=True, via="slack")
    assert answer.text == f"dora approved {gate}. The gate is approved."
    one.later(minutes=2)  # the reading before the act is slow
    one.pending = await one.store.read(lambda tx: tx.pending())
    await one.answers(value=1)
    (run,) = await one.runs()
    assert (run.outcome, one.acts()) == ("refused", [])
    assert "those who approved no longer hold the roles" in run.reason


# ── An unknown outcome ────────────────────────────────────────────────────────────────────────────


async def unknown(one: Engine) -> Run:
    """A step of which nobody knows whether it happened."""
    one.runs_with(policy({"pause": post("/pause/${campaign}")}))
    await one.delivers(alert())
    await one.answers(result=Unknown("reset"))
    (run,) = await one.runs()
    assert run.question is not None
    return run


async def test_who_settles_an_outcome_has_heard_its_page(desk: tuple[PeoplesDesk, Engine]) -> None:
    people, one = desk
    run = await unknown(one)
    answer = await people.settle(run.id, by="bob", verdict="handled", question=f"{run.id}.q1")
    assert (answer.ok, answer.text) == (True, "bob says: handled")
    assert await one.store.read(lambda tx: tx.pages(run=run.id)) == []
    kinds = [entry.kind for entry in await one.store.read(lambda tx: tx.read_journal(run.id))]
    assert kinds.count("acknowledged") == kinds.count("settled") == 1


async def test_what_somebody_found_themselves_wakes_nobody(desk: tuple[PeoplesDesk, Engine]) -> None:
    people, one = desk
    run = await unknown(one)
    assert (await people.settle(run.id, by="bob", verdict="not-happened")).ok
    assert (await one.store.read(lambda tx: tx.due(9))).pages == ()
    assert await one.store.read(lambda tx: tx.pages(run=run.id)) == []
    failed, asked = await one.store.read(lambda tx: tx.pages(open_only=False, run=run.id))
    assert {failed.acked_by, asked.acked_by} == {"bob"}
    acknowledged = await lines(one, run, "acknowledged")
    assert sorted(line["page"] for line in acknowledged) == sorted([failed.id, asked.id])


async def test_the_page_about_what_is_known_by_a_late_answer_is_over(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    _, one = desk
    run = await unknown(one)
    assert len(await one.store.read(lambda tx: tx.pages(run=run.id))) == 1
    await one.tells(run.id, StepFinished("pause", 1, undo=False, result=Done()), 999)  # nobody waits for it
    assert await one.store.read(lambda tx: tx.pages(run=run.id)) == []
    (line,) = await lines(one, run, "acknowledged")
    assert (line["by"], line["reason"]) == ("remediator", "its lost answer came after all: it was done")


async def lines(one: Engine, run: Run, kind: str) -> list[dict[str, Any]]:
    """What the run's journal says under this name."""
    entries = await one.store.read(lambda tx: tx.read_journal(run.id))
    return [entry.data for entry in entries if entry.kind == kind]


@pytest.mark.parametrize(
    ("word", "status", "told"),
    [
        ({"by": "dora", "verdict": "happened"}, 403, "dora has none of the roles lead, oncall"),
        ({"by": "bob", "verdict": "perhaps"}, 400, "say one of happened"),
        ({"by": "bob", "verdict": "happened", "question": "r-2.q9"}, 409, "there is no such question"),
    ],
)
async def test_a_word_that_settles_nothing_is_answered_with_the_reason(
    desk: tuple[PeoplesDesk, Engine], word: dict[str, str], status: int, told: str
) -> None:
    people, one = desk
    run = await unknown(one)
    answer = await people.settle(run.id, **word)
    assert (answer.ok, answer.status) == (False, status)
    assert told in answer.text
    (still,) = await one.runs()
    assert still.question is not None


async def test_the_second_of_two_people_hears_what_the_first_said(desk: tuple[PeoplesDesk, Engine]) -> None:
    people, one = desk
    run = await unknown(one)
    assert (await people.settle(run.id, by="bob", verdict="not-happened")).ok
    for question in ("", f"{run.id}.q1"):
        late = await people.settle(run.id, by="carl", verdict="happened", question=question)
        assert (late.ok, late.status) == (False, 409)
        assert "it is settled: bob said not-happened" in late.text


async def test_where_nothing_is_unknown_nothing_is_settled(desk: tuple[PeoplesDesk, Engine]) -> None:
    people, one = desk
    one.runs_with(policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1))}))
    await one.delivers(alert())
    (run,) = await one.runs()
    answer = await people.settle(run.id, by="bob", verdict="happened")
    assert (answer.status, answer.text) == (
        409,
        "this word does not count: the run is waiting; nothing is unknown",
    )
    assert (await people.settle("r-9", by="bob", verdict="happened")).status == 404


async def test_whoever_is_turned_away_at_a_question_is_shown_there_once(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    people, one = desk
    run = await unknown(one)
    for _ in range(2):
        await people.turn_away(f"{run.id}.q1", "T9/U9", "nobody whom Remediator knows")
    (now,) = await one.runs()
    assert now.questions[0].remarks == ("T9/U9 was turned away: nobody whom Remediator knows",)


# ── An answer that comes late ─────────────────────────────────────────────────────────────────────


async def test_an_answer_that_was_given_up_settles_what_is_still_asked(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    _, one = desk
    one.runs_with(policy({"pause": post("/pause/${campaign}")}))
    await one.delivers(alert())
    (sent,) = [pending for pending in one.pending if isinstance(pending.effect, Act)]
    given_up = StepFinished("pause", 1, undo=False, result=Unknown("the daemon stopped"))
    await one.tells(sent.run, given_up, sent.id)
    await one.tells(sent.run, StepFinished("pause", 1, undo=False, result=Done()), sent.id)
    (run,) = await one.runs()
    assert run.outcome == "fixed"


async def test_an_answer_that_comes_after_the_end_is_written_down_and_told(
    desk: tuple[PeoplesDesk, Engine],
) -> None:
    people, one = desk
    run = await unknown(one)
    assert (await people.settle(run.id, by="bob", verdict="not-happened")).ok
    before = await one.store.read(lambda tx: tx.pages(run=run.id))
    await one.tells(run.id, StepFinished("pause", 1, undo=False, result=Done()), 10_000)
    (closed,) = await one.runs()
    assert closed.outcome == "failed"
    told = [page.text for page in await one.store.read(lambda tx: tx.pages(run=run.id)) if page not in before]
    assert len(told) == 1
    assert "came after all: it was done" in told[0]
    lines = await one.store.read(lambda tx: tx.read_journal(run.id))
    assert [line.kind for line in lines][-2:] == ["late-result", "paged"]
    system = await one.store.read(lambda tx: tx.read_journal("system"))
    assert [entry.kind for entry in system].count("run-closed") == 1


async def test_a_no_that_came_after_the_same_persons_yes_is_not_said_to_count(
    desk: tuple[PeoplesDesk, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    people, one = desk
    one.runs_with(policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1))}))
    await one.delivers(alert())
    (run,) = await one.runs()
    gate, tell = f"{run.id}.1", Driver.tell

    async def overtaken(driver: Driver, *about: Any) -> None:
        monkeypatch.setattr(Driver, "tell", tell)
        assert (await people.vote(gate, by="bob", approve=True, via="slack")).ok
        await tell(driver, *about)

    monkeypatch.setattr(Driver, "tell", overtaken)
    answer = await people.vote(gate, by="bob", approve=False, via="slack")
    assert (answer.ok, answer.status) == (False, 409)
    assert "no longer open: approved by bob" in answer.text
