"""Stories of runs that people start: over a real store, through the desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.core.policy import Policy
from remediator.core.run import Run
from remediator.engine.desk import PeoplesDesk
from remediator.engine.driver import Driver
from remediator.ports import SYSTEM, Answer, Pending, Reloaded
from tests.core.campaign import budget_probe, policy, post, undo, votes
from tests.engine.world import START, Engine, alert, engine

GATED = policy({"pause": post("/pause/${campaign}", gate=votes(oncall=1))})


@dataclass
class Caught:
    """Performs nothing, and remembers what was to be performed."""

    one: Engine

    def start(self, pending: Pending) -> None:
        self.one.pending.append(pending)


@dataclass
class Office:
    """A desk over a real store."""

    desk: PeoplesDesk
    one: Engine

    async def start(
        self, by: str = "bob", policy: str = "late-campaign", key: str = "", **params: Any
    ) -> Answer:
        return await self.desk.start(policy, params or {"campaign": "c-1"}, by=by, key=key)

    async def run(self, answer: Answer) -> Run:
        assert answer.ok, answer.text
        assert answer.data is not None
        found = await self.one.store.read(lambda tx: tx.run(answer.data["run"] if answer.data else ""))
        assert found is not None
        return found

    async def system(self) -> list[tuple[str, dict[str, Any]]]:
        entries = await self.one.store.read(lambda tx: tx.read_journal(SYSTEM))
        return [(entry.kind, entry.data) for entry in entries]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with engine(tmp_path, GATED) as one:

        async def nothing(*_words: str) -> None:
            return None

        async def reload() -> Reloaded:
            return Reloaded("nothing changed")

        driver = Driver(one.store, one.decisions, one.clock, lambda: None, nothing)
        driver.attach(Caught(one))
        yield Office(PeoplesDesk(one.store, driver, one._new_id, lambda: one.policies, reload), one)


async def test_a_person_starts_a_run_and_somebody_else_approves_it(office: Office) -> None:
    run = await office.run(await office.start())
    assert (run.policy, run.target, run.stage) == ("late-campaign", "campaign/c-1", "waiting")
    assert (run.opened_by, run.members, run.params) == ("person:bob", {}, {"campaign": "c-1"})
    assert (run.alert.name, run.alert.starts_at) == ("late-campaign", START)
    assert run.alert.fingerprint.startswith("hand-")
    assert run.gate is not None
    refused = await office.desk.vote(run.gate.id, by="bob", approve=True, via="api")
    assert (refused.ok, refused.status) == (False, 409)
    assert "bob started this run and may not approve it" in refused.text
    assert (await office.desk.vote(run.gate.id, by="carl", approve=True, via="api")).ok
    await office.one.answers()
    (closed,) = await office.one.runs()
    assert (closed.outcome, closed.reason) == ("fixed", "pause done")
    opened = {"run": run.id, "policy": "late-campaign", "target": "campaign/c-1", "by": "person:bob"}
    assert (await office.system())[0] == ("run-opened", opened)


async def test_nothing_is_decided_again_when_it_closes(office: Office) -> None:
    run = await office.run(await office.start())
    assert run.gate is not None
    await office.desk.vote(run.gate.id, by="bob", approve=False, via="api")
    office.one.later(hours=2)
    await office.one.meets_deadlines()
    assert [one.outcome for one in await office.one.runs()] == ["denied"]
    assert await office.one.store.read(lambda tx: tx.dispositions()) == []


async def test_an_alert_of_the_same_target_joins_and_its_end_does_not_close_the_run(office: Office) -> None:
    run = await office.run(await office.start())
    await office.one.delivers(alert())
    standing = await office.one.stands("late-campaign")
    assert standing is not None
    assert (standing.kind, standing.run) == ("joined", run.id)
    await office.one.delivers(alert(firing=False))
    office.one.later(minutes=5)
    await office.one.meets_deadlines()
    (still,) = await office.one.runs()
    assert (still.stage, still.resolved_at) == ("waiting", None)


async def test_an_alert_that_joined_is_decided_again_once_the_run_has_closed(office: Office) -> None:
    run = await office.run(await office.start())
    await office.one.delivers(alert())
    assert run.gate is not None
    await office.desk.vote(run.gate.id, by="bob", approve=False, via="api")
    office.one.later(minutes=31)
    await office.one.meets_deadlines()
    assert [(one.opened_by, one.outcome) for one in await office.one.runs()] == [
        ("person:bob", "denied"),
        ("alert", None),
    ]


async def test_an_open_run_on_the_target_is_named_instead(office: Office) -> None:
    await office.one.delivers(alert())
    (opened,) = await office.one.runs()
    answer = await office.start()
    assert (answer.ok, answer.status) == (False, 409)
    assert f"run {opened.id} of late-campaign on campaign/c-1 is open already (waiting)" in answer.text
    assert answer.data == {"run": opened.id}
    assert (await office.start(campaign="c-2")).ok


async def test_a_bound_says_no_with_its_reason_and_until_when(office: Office) -> None:
    run = await office.run(await office.start())
    assert run.gate is not None
    await office.desk.vote(run.gate.id, by="carl", approve=True, via="api")
    await office.one.answers()
    office.one.later(minutes=10)
    answer = await office.start()
    assert (answer.ok, answer.status) == (False, 409)
    assert "cooldown: campaign/c-1 was acted on 10m ago; cooldown 30m" in answer.text
    assert "start it again from 2026-03-04 10:30:00 UTC on" in answer.text
    again_at = (START + timedelta(minutes=30)).isoformat()
    assert answer.data == {"bound": "cooldown", "again_at": again_at, "waits_for": ""}
    kind, data = (await office.system())[-1]
    assert (kind, data["by"], data["bound"]) == ("start-refused", "bob", "cooldown")
    office.one.later(minutes=20)
    assert (await office.start()).ok


async def test_a_halt_stops_it_as_it_stops_everything(office: Office) -> None:
    await office.desk.halt(by="bob", scope="policy:late-campaign", reason="smoke")
    answer = await office.start()
    assert answer.status == 409
    assert (
        "halted by bob (policy:late-campaign): smoke; start it again once the halt is lifted" in answer.text
    )
    assert await office.one.runs() == []


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({"by": "eve"}, 403, "eve has no role; starting a run takes one"),
        ({"policy": "late-campain"}, 404, "there is no policy late-campain; there are late-campaign"),
        ({"campain": "c-1"}, 400, "params.campain: the policy has no such param; did you mean campaign?"),
        ({"campain": "c-1"}, 400, "params.campaign: is missing; give a text that fits [a-z0-9-]{1,20}"),
        ({"campaign": "C 1"}, 400, "does not fit the pattern [a-z0-9-]{1,20}; give a text that fits"),
    ],
)
async def test_what_cannot_be_started_says_why(
    office: Office, said: dict[str, Any], status: int, told: str
) -> None:
    answer = await office.start(**said)
    assert (answer.ok, answer.status) == (False, status)
    assert told in answer.text
    assert await office.one.runs() == []


async def test_a_target_that_is_none_is_refused(office: Office) -> None:
    free = {"campaign": {"from": "labels.campaign", "pattern": ".*"}}
    office.one.runs_with(policy({"pause": post("/pause")}, params=free))
    answer = await office.start(campaign="")
    assert (answer.status, "is not a target" in answer.text) == (400, True), answer


async def test_a_change_that_only_an_alert_would_take_back_is_refused(office: Office) -> None:
    office.one.runs_with(policy({"pause": post("/pause", undo=undo(early=["resolved"]))}))
    answer = await office.start()
    assert answer.status == 409
    assert "pause is taken back only when an alert resolves" in answer.text


async def test_the_same_key_is_the_same_run_however_often_it_is_sent(office: Office) -> None:
    first = await office.run(await office.start(key="deploy-812"))
    again = await office.start(key="deploy-812")
    assert (await office.run(again)).id == first.id
    assert "was started with this key before" in again.text
    assert first.gate is not None
    await office.desk.vote(first.gate.id, by="carl", approve=True, via="api")
    await office.one.answers()
    late = await office.run(await office.start(key="deploy-812"))
    assert (late.id, late.outcome) == (first.id, "fixed")
    assert len(await office.one.runs()) == 1


async def test_a_key_is_its_persons_own_and_means_one_run(office: Office) -> None:
    first = await office.run(await office.start(key="k"))
    other = await office.start(key="k", campaign="c-2")
    assert (other.ok, other.status) == (False, 409)
    assert f"this key has started another one: run {first.id}, late-campaign on campaign/c-1" in other.text
    assert (await office.run(await office.start(by="carl", key="k", campaign="c-2"))).id != first.id


async def test_a_refused_start_keeps_no_key(office: Office) -> None:
    await office.desk.halt(by="bob", scope="all", reason="smoke")
    assert not (await office.start(key="k")).ok
    (halt,) = await office.one.store.read(lambda tx: tx.halts())
    assert (await office.desk.resume(halt.id, by="bob")).ok
    assert (await office.start(key="k")).ok


def watching(**rest: Any) -> Policy:
    watch = {"every": "5m", "use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}, "key": ["campaign"]}
    return policy({"pause": post("/pause")}, match=None, watch=watch, **rest)


async def test_a_policy_with_a_watch_is_started_by_hand_as_well(office: Office) -> None:
    office.one.runs_with(watching())
    run = await office.run(await office.start())
    assert run.opened_by == "person:bob"
    assert office.one.acts() == ["pause"]


async def test_in_mode_observe_it_only_says_what_it_would_do(office: Office) -> None:
    office.one.runs_with(policy({"pause": post("/pause")}, mode="observe"))
    run = await office.run(await office.start())
    assert (run.outcome, run.reason) == ("observed", "would do: pause")
    assert office.one.acts() == []


async def test_its_probes_are_read_as_for_an_alert(office: Office) -> None:
    case = [{"when": "budget.row.left > 0", "do": "nothing"}, {"do": ["pause"]}]
    office.one.runs_with(policy({"pause": post("/pause")}, decide=case, diagnose=budget_probe()))
    run = await office.run(await office.start())
    assert run.stage == "diagnosing"
    await office.one.answers(row={"left": 2}, count=1)
    (closed,) = await office.one.runs()
    assert (closed.outcome, closed.reason) == ("nothing-to-do", "case 1 says: do nothing")
