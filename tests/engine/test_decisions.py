"""Stories of alerts and the runs they open, over the real store: nothing double, nothing forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.alert import Alert, Delivery
from remediator.core.messages import Act, Done, Marked, Refused, Result, StepFinished, VoteCast
from remediator.core.policy import Policy
from remediator.core.run import Halt, Outcome, Run, Stage, Vote
from remediator.ports import SYSTEM
from remediator.store.audit import audit
from tests.core.campaign import budget_probe, change, policy, post, undo, votes
from tests.engine.world import START, Engine, alert, engine

PAUSES = policy({"pause": post("/pause/${campaign}")}, bounds={"cooldown": "30m"}, recheck="5m")


def named(name: str, **rest: Any) -> Policy:
    return policy({"pause": post("/pause/${campaign}")}, policy=name, **rest)


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine(tmp_path, PAUSES) as running:
        yield running


async def test_a_firing_alert_opens_one_run_and_its_repeats_open_none(one: Engine) -> None:
    await one.delivers(alert(), alert())
    await one.delivers(alert())
    (run,) = await one.runs()
    assert run.stage is Stage.ACTING
    assert one.acts() == ["pause"]
    standing = await one.stands("late-campaign")
    assert standing is not None
    assert (standing.kind, standing.run) == ("run-opened", run.id)


async def test_another_alert_on_the_same_target_joins_the_open_run(one: Engine) -> None:
    await one.delivers(alert())
    await one.delivers(alert("f2"))
    (run,) = await one.runs()
    assert set(run.members) == {"f1", "f2"}
    standing = await one.stands("late-campaign", "f2")
    assert standing is not None
    assert standing.kind == "joined"


async def test_an_alert_that_keeps_firing_is_decided_again_and_the_cooldown_says_when(one: Engine) -> None:
    await one.delivers(alert())
    await one.answers()
    one.later(minutes=5)
    await one.meets_deadlines()
    standing = await one.stands("late-campaign")
    assert standing is not None
    assert (standing.kind, standing.bound) == ("refused", "cooldown")
    assert standing.again_at == START + timedelta(minutes=30)
    one.later(minutes=25)
    await one.meets_deadlines()
    assert len(await one.runs()) == 2


async def test_an_alert_that_has_resolved_is_not_decided_again(one: Engine) -> None:
    await one.delivers(alert())
    await one.answers()
    await one.delivers(alert(firing=False))
    one.later(hours=2)
    await one.meets_deadlines()
    assert len(await one.runs()) == 1


async def test_a_busy_target_refuses_and_is_tried_as_soon_as_it_is_free(tmp_path: Path) -> None:
    async with engine(tmp_path, named("first"), named("second")) as one:
        await one.delivers(alert())
        (run,) = await one.runs()
        other = "second" if run.policy == "first" else "first"
        standing = await one.stands(other)
        assert standing is not None
        assert (standing.bound, standing.waits_for) == ("target", "target:campaign/c-1")
        await one.answers()
        await one.meets_deadlines()
        assert [run.policy for run in await one.runs()] == ["first", "second"]
        assert one.acts() == ["pause"]


async def test_an_alert_that_fires_while_a_change_is_held_is_decided_again_meanwhile(tmp_path: Path) -> None:
    held = policy(
        {"pause": post("/pause/${campaign}", undo=undo(after="12h"))}, bounds={"cooldown": "1m"}, recheck="5m"
    )
    async with engine(tmp_path, held) as one:
        await one.delivers(alert())
        await one.answers()
        (run,) = await one.runs()
        assert run.stage is Stage.HOLDING
        one.later(minutes=5)
        await one.meets_deadlines()
        first, second = await one.runs()
        assert first.stage is Stage.HOLDING
        assert (second.outcome, second.reason) == (
            Outcome.REFUSED,
            "held: pause is being held by another run",
        )


async def test_at_once_refuses_the_third_and_takes_it_when_one_has_closed(tmp_path: Path) -> None:
    async with engine(tmp_path, named("two", bounds={"at_once": 2})) as one:
        await one.delivers(*(alert(f"f{n}", campaign=f"c-{n}") for n in (1, 2, 3)))
        standing = await one.stands("two", "f3")
        assert standing is not None
        assert (standing.bound, standing.waits_for) == ("at_once", "policy:two")
        await one.answers()
        await one.meets_deadlines()
        assert len(await one.runs()) == 3


async def test_a_label_that_fits_no_parameter_is_refused_until_the_policy_is_mended(one: Engine) -> None:
    await one.delivers(alert(campaign="; rm -rf /"))
    standing = await one.stands("late-campaign")
    assert standing is not None
    assert standing.bound == "params"
    assert "does not fit the pattern" in standing.reason
    assert await one.runs() == []
    mended = policy({"pause": post("/pause")}, params={}, target="campaign/all")
    one.runs_with(mended, version="v2")
    listed = await one.store.read(one.decisions.undecided)
    await one._decides(partial(one.decisions.consider, alerts=listed))
    assert [run.target for run in await one.runs()] == ["campaign/all"]


async def test_a_refusal_for_what_an_alert_says_lasts_until_it_says_something_else(one: Engine) -> None:
    await one.delivers(alert(campaign="; rm -rf /"))
    await one.delivers(alert(campaign="c 1"))
    standing = await one.stands("late-campaign")
    assert standing is not None
    assert "'c 1'" in standing.reason
    assert await one.runs() == []
    await one.delivers(alert(campaign="c-1"))
    await one.delivers(alert(campaign="c-2"))
    assert [run.target for run in await one.runs()] == ["campaign/c-1"]


async def test_an_end_with_an_earlier_start_ends_the_alert(one: Engine) -> None:
    await one.delivers(alert(started=START))
    await one.delivers(alert(firing=False, started=START - timedelta(hours=1)))
    row = await one.store.read(lambda tx: tx.alert("f1"))
    assert row is not None
    assert not row.alert.firing
    (run,) = await one.runs()
    assert run.resolved_at is not None


async def test_a_start_in_the_far_future_hides_no_later_trouble(one: Engine) -> None:
    ahead = START + timedelta(days=20_000)
    await one.delivers(alert(started=ahead))
    await one.answers()
    await one.delivers(alert(firing=False, started=ahead))
    one.later(hours=1)
    await one.delivers(alert(started=one.clock.now()))
    assert len(await one.runs()) == 2


async def test_firing_again_just_after_the_end_waits_for_the_debounce(one: Engine) -> None:
    await one.delivers(alert())
    await one.answers()
    await one.delivers(alert(firing=False))
    one.later(hours=1)
    await one.delivers(alert(started=one.clock.now()))
    await one.answers()
    await one.delivers(alert(firing=False, started=one.clock.now()))
    await one.delivers(alert(started=one.clock.now()))
    standing = await one.stands("late-campaign")
    assert standing is not None
    assert standing.bound == "debounce"
    assert len(await one.runs()) == 2


async def test_in_whatever_order_they_are_drained_the_last_word_counts(tmp_path: Path) -> None:
    """It fires, ends, fires again with a start of its own; the second Alertmanager tells late of that end."""
    minute = timedelta(minutes=1)
    async with engine(tmp_path, policy({"pause": post("/pause/${campaign}")}, bounds={"at_once": 99})) as one:
        for which, order in enumerate(permutations(range(4))):
            one.later(hours=1)
            name, campaign, began = f"f{which}", f"c-{which}", one.clock.now()
            over, again = began + 5 * minute, began + 6 * minute
            first, last = (alert(name, campaign=campaign, started=at) for at in (began, again))
            end = msgspec.structs.replace(first, status="resolved", ends_at=over)
            words = ((first, began), (end, over), (last, again), (end, again + minute))
            for number in order:
                told, at = words[number]
                one.clock.at = max(one.clock.at, at)
                heard = Delivery(source="alertmanager", alerts=(told,), received_at=at)
                await one._decides(partial(one.decisions.hear, delivery=heard))
            row = await one.store.read(lambda tx, name=name: tx.alert(name))  # type: ignore[misc]
            assert row is not None
            assert row.alert.firing, order
            stands = await one.stands("late-campaign", name)
            assert stands is not None, f"{order}: nothing is decided before Alertmanager repeats itself"


async def test_the_same_result_twice_counts_once(one: Engine) -> None:
    await one.delivers(alert())
    waiting = list(one.pending)
    await one.answers()
    (before,) = await one.runs()
    one.pending = waiting
    await one.answers()
    assert await one.runs() == [before]


# ── A repeat that says something else ─────────────────────────────────────────────────────────────


def saying(campaign: str, fingerprint: str = "f1", *, value: str = "1") -> Alert:
    """Its annotations name the campaign, and a figure that is only for people."""
    said = {"campaign": campaign, "summary": f"{value} late"}
    return msgspec.structs.replace(alert(fingerprint), annotations=said)


def annotated(steps: dict[str, Any], **rest: Any) -> Policy:
    param = {"from": "annotations.campaign", "pattern": "[a-z0-9-]{1,20}"}
    return policy(steps, params={"campaign": param}, **rest)


ASKS = post("/pause/${campaign}", gate=votes(oncall=1))


async def approves(one: Engine, run: Run) -> None:
    assert run.gate is not None
    vote = Vote(by="bob", hash=run.gate.hash, approve=True, at=one.clock.now(), via="api")
    await one.tells(run.id, VoteCast(run.gate.id, vote))


async def test_what_people_are_asked_about_is_what_the_alert_says_now(tmp_path: Path) -> None:
    async with engine(tmp_path, annotated({"pause": ASKS})) as one:
        await one.delivers(saying("c-1"), saying("c-1", "f2"))
        (first,) = await one.runs()
        await one.delivers(saying("c-1", value="2"), saying("c-2", "f2"))
        assert await one.runs() == [first], "a figure for people, or who only joined, changes nothing"
        await one.delivers(saying("c-2"))
        await approves(one, first)
        assert one.acts() == []
        (old,) = await one.runs()
        assert old.outcome is Outcome.REFUSED
        assert old.reason == "the alert says something else now: campaign/c-1 → campaign/c-2"
        assert old.gate is not None
        assert old.gate.state == "void"
        await one.meets_deadlines()
        _, new = await one.runs()
        await approves(one, new)
        (act,) = [pending.effect for pending in one.pending if isinstance(pending.effect, Act)]
        assert act.call.args["path"] == "/pause/c-2"


async def test_what_can_be_read_no_more_is_refused_until_it_can(tmp_path: Path) -> None:
    async with engine(tmp_path, annotated({"pause": ASKS})) as one:
        await one.delivers(saying("c-1"))
        await one.delivers(saying("c 2"))
        await one.meets_deadlines()
        (run,) = await one.runs()
        assert "the alert says something else now: params.campaign" in run.reason
        standing = await one.stands("late-campaign")
        assert standing is not None
        assert standing.bound == "params"


async def test_what_was_on_its_way_is_finished_and_nobody_is_asked_about_the_old_words(
    tmp_path: Path,
) -> None:
    steps = {"tell": post("/safe/x", gate=None), "pause": ASKS}
    async with engine(tmp_path, annotated(steps)) as one:
        await one.delivers(saying("c-1"))
        assert one.acts() == ["tell"]
        await one.delivers(saying("c-2"))
        (run,) = await one.runs()
        assert run.stage is Stage.ACTING
        await one.answers()
        (run,) = await one.runs()
        assert (run.outcome, run.gate) == (Outcome.REFUSED, None)


async def test_words_that_come_back_in_time_change_nothing(tmp_path: Path) -> None:
    steps = {"tell": post("/safe/x", gate=None), "pause": ASKS}
    async with engine(tmp_path, annotated(steps)) as one:
        for campaign in ("c-1", "c-2", "c-1"):
            await one.delivers(saying(campaign))
        await one.answers()
        (run,) = await one.runs()
        assert run.stage is Stage.WAITING


async def test_a_run_that_has_acted_stays_with_what_it_was_about(tmp_path: Path) -> None:
    both = annotated(
        {"pause": post("/pause/${campaign}"), "stop": post("/stop/${campaign}", gate=ASKS["gate"])}
    )
    async with engine(tmp_path, both) as one:
        await one.delivers(saying("c-1"))
        await one.delivers(saying("c-2"))
        await one.answers()
        await one.delivers(saying("c-3"))
        (run,) = await one.runs()
        assert (run.stage, run.target) == (Stage.WAITING, "campaign/c-1")


async def test_every_run_is_named_in_the_systems_journal_with_its_last_hash(one: Engine) -> None:
    await one.delivers(alert())
    await one.answers()
    (run,) = await one.runs()
    entries = await one.store.read(lambda tx: tx.read_journal(SYSTEM))
    assert [(entry.kind, entry.data["run"]) for entry in entries] == [
        ("run-opened", run.id),
        ("run-closed", run.id),
    ]
    head = await one.store.read(lambda tx: tx.journal_head(run.id))
    assert head is not None
    assert entries[-1].data["head"] == head.hash
    found = await audit(one.store)
    assert found.problems == ()


async def test_an_audit_beside_a_running_daemon_misses_nothing_that_came_meanwhile(
    one: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one.delivers(alert())
    real = one.store.read
    asked = 0

    async def busy(work: Any) -> Any:
        """Another run opens and closes between any two looks."""
        nonlocal asked
        found = await real(work)
        asked += 1
        with monkeypatch.context() as quiet:
            quiet.setattr(one.store, "read", real)
            await one.delivers(alert(f"x{asked}", campaign=f"x-{asked}"))
            await one.answers()
        return found

    monkeypatch.setattr(one.store, "read", busy)
    assert (await audit(one.store)).problems == ()
    assert asked > 2


async def test_an_undo_comes_on_time_although_another_run_of_its_policy_is_open_on_the_target(
    tmp_path: Path,
) -> None:
    held = policy(
        {"pause": post("/pause/${campaign}", undo=undo(after="10m"))},
        diagnose=budget_probe(),
        bounds={"cooldown": "1m"},
        recheck="5m",
    )
    async with engine(tmp_path, held) as one:
        await one.delivers(alert())
        await one.answers(row={"left": 1}, count=1)
        await one.answers()
        assert [run.stage for run in await one.runs()] == [Stage.HOLDING]
        one.later(minutes=5)
        await one.meets_deadlines()
        assert [run.stage for run in await one.runs()] == [Stage.HOLDING, Stage.DIAGNOSING]
        one.later(minutes=5)
        await one.meets_deadlines()
        assert [run.stage for run in await one.runs()] == [Stage.UNDOING, Stage.DIAGNOSING]
        await one.answers(row={"left": 1}, count=1)
        first, second = await one.runs()
        assert (first.stage, first.outcome) == (Stage.CLOSED, Outcome.FIXED)
        assert second.stage is not Stage.DIAGNOSING


async def test_a_change_is_not_made_again_while_its_undo_is_tried_again(tmp_path: Path) -> None:
    halve = change(gate={"waived": "-"}, verify={"none": "-"}, undo={"how": "restore", "after": "24h"})
    async with engine(tmp_path, policy({"halve": halve}, bounds={"cooldown": "1m"})) as one:
        await one.delivers(alert())
        await _marked(one, Done({"restore": {"table": "t", "rows": []}}))
        one.later(hours=23, minutes=59)
        stop = Halt(id="h1", scope="all", reason="stop", by="amina", at=one.clock.now(), undos=True)
        await one.store.transact(lambda tx: tx.put_halt(stop))
        one.later(minutes=2)
        await one.meets_deadlines()
        await one.store.transact(lambda tx: tx.lift_halt("h1", "amina"))
        await one.store.transact(lambda tx: tx.wake_some("halt", 10))
        await one.meets_deadlines()
        assert one.acts() == [], "nobody acts in the seconds before the undo is tried again"
        one.later(seconds=5)
        await one.meets_deadlines()
        await _marked(one, Refused("lock timeout"))
        await one.meets_deadlines()
        assert [run.stage for run in await one.runs()] == [Stage.UNDOING]
        one.later(seconds=5)
        await one.meets_deadlines()
        await _marked(one, Done())
        assert (await one.runs())[0].stage is Stage.CLOSED


async def _marked(one: Engine, result: Result) -> None:
    """What is on the wire marks that it becomes final, where it does, and ends so."""
    waiting, one.pending = one.pending, []
    for act in waiting:
        if isinstance(act.effect, Act):
            step = act.effect
            if isinstance(result, Done):
                await one.tells(
                    act.run, Marked(step.step, step.attempt, step.undo, {"result": result.result})
                )
            await one.tells(act.run, StepFinished(step.step, step.attempt, step.undo, result), act.id)
