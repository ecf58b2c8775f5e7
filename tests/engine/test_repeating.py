"""A step for each row that was read, over the real store: one gate, one key each, held and taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from remediator.core.messages import Act, Done, StepFinished, Unknown, VoteCast
from remediator.core.play import lost
from remediator.core.run import Run, Stage, StepState, Vote
from tests.core.campaign import policy, post, undo, votes
from tests.engine.world import Engine, alert, engine

ITEMS = 12
RETRY = policy(
    {
        "retry": post(
            "/retry/${each.id}",
            for_each="${failed.rows}",
            at_most=ITEMS,
            gate=votes(oncall=1),
            undo=undo("/back/${each.id}", after="1h"),
        )
    },
    diagnose={"failed": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}}},
    bounds={"cooldown": "1m"},
)


def rows(count: int = ITEMS) -> dict[str, Any]:
    return {"rows": [{"id": f"j-{number}"} for number in range(count)], "count": count}


async def approved(world: Engine) -> Run:
    """The run, with its first item on the wire."""
    await world.delivers(alert())
    await world.answers(**rows())
    (run,) = await world.runs()
    assert run.gate is not None and len(run.gate.steps) == ITEMS
    vote = Vote("bob", approve=True, at=world.clock.now(), via="api", hash=run.gate.hash)
    await world.tells(run.id, VoteCast(run.gate.id, vote))
    await world.answers(**rows())
    return run


async def test_every_item_is_sent_once_and_taken_back_once(tmp_path: Path) -> None:
    async with engine(tmp_path, RETRY) as world:
        run = await approved(world)
        sent: list[Act] = []
        while acts := [one.effect for one in world.pending if isinstance(one.effect, Act)]:
            sent += acts
            await world.answers()
        assert [one.call.args["path"] for one in sent] == [f"/retry/j-{number}" for number in range(ITEMS)]
        assert len({one.key for one in sent}) == ITEMS
        world.later(hours=2)
        await world.meets_deadlines()
        back: list[str] = []
        while acts := [one.effect for one in world.pending if isinstance(one.effect, Act)]:
            back += [one.call.args["path"] for one in acts if one.undo]
            await world.answers()
        assert back == [f"/back/j-{number}" for number in reversed(range(ITEMS))]
        closed = next(one for one in await world.runs() if one.id == run.id)
        assert (closed.stage, closed.reason) == (Stage.CLOSED, f"retry ({ITEMS} items) undone")


async def test_an_item_that_is_held_keeps_the_whole_step_off_the_target(tmp_path: Path) -> None:
    async with engine(tmp_path, RETRY) as world:
        await approved(world)
        while world.acts():
            await world.answers()
        world.later(minutes=6)
        await world.meets_deadlines()
        await world.answers(**rows(3))
        first, second = await world.runs()
        assert first.stage is Stage.HOLDING
        assert (second.outcome, second.reason) == ("refused", "held: retry is being held by another run")


async def test_a_crash_between_two_items_asks_about_the_one_that_was_on_its_way(tmp_path: Path) -> None:
    async with engine(tmp_path, RETRY) as world:
        run = await approved(world)
        await world.answers()
        (pending,) = [one for one in world.pending if isinstance(one.effect, Act)]
        event = lost(pending.effect)
        assert isinstance(event, StepFinished) and isinstance(event.result, Unknown)
        world.pending.clear()
        await world.tells(run.id, event, pending.id)
        (run,) = await world.runs()
        assert (run.stage, run.locks_target, world.acts()) == (Stage.ASKING, True, [])
        assert run.steps["retry[1]"].state is StepState.DONE
        late = StepFinished("retry[2]", 1, False, Done())
        await world.tells(run.id, late)
        world.later(hours=3)
        await world.meets_deadlines()
        (run,) = await world.runs()
        assert (run.stage, world.acts()) == (Stage.ASKING, [])
        assert run.steps["retry[2]"].state is StepState.UNKNOWN
