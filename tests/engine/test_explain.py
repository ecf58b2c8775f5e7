"""What every policy says to an alert: the first no with its values, as the engine itself would say it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.core.alert import Alert
from remediator.core.messages import Refused
from remediator.core.policy import Policy
from remediator.core.run import Halt
from remediator.engine.explain import explain, explain_alone
from remediator.ports import Misfit, Said
from tests.core.campaign import policy, post, undo
from tests.engine.world import START, Engine, alert, engine

OTHER = alert("f2", campaign="c-2")
SAME = alert("f2")


def pauses(name: str = "late-campaign", **rest: Any) -> Policy:
    return policy({"pause": post("/pause/${campaign}")}, policy=name, **rest)


async def says(one: Engine, about: Alert, name: str = "late-campaign") -> Said:
    found = await one.store.read(lambda tx: explain(tx, one.policies, about))
    return next(said for said in found.policies if said.policy == name)


async def acts_at_once(one: Engine) -> None:
    """The first alert's run acts, and is over."""
    await one.delivers(alert())
    await one.answers()


# ── One bound after the other ─────────────────────────────────────────────────────────────────────


@dataclass
class First:
    """A no that comes first: the policies, what happened before, the alert that is asked about."""

    policies: tuple[Policy, ...]
    before: Callable[[Engine], Awaitable[None]]
    about: Alert
    reason: str
    again: timedelta | str


async def nothing(one: Engine) -> None:
    """Nothing was heard before."""


async def halted(one: Engine) -> None:
    halt = Halt(id="h-1", scope="policy:late-campaign", reason="a move", by="bob", at=START)
    await one.store.transact(lambda tx: tx.put_halt(halt))


async def another_acts(one: Engine) -> None:
    await one.delivers(alert())


GENEROUS = {"cooldown": "0s", "per_target": "9 in 24h", "per_policy": "9 in 24h", "at_once": 9}
FIRST = {
    "params": First(
        (pauses(),),
        nothing,
        alert(campaign="; rm -rf /"),
        "params.campaign: '; rm -rf /' does not fit the pattern [a-z0-9-]{1,20}",
        "",
    ),
    "halt": First((pauses(),), halted, alert(), "halted by bob (policy:late-campaign): a move", "halt"),
    "target": First(
        (pauses("a-first"), pauses()),
        another_acts,
        SAME,
        "run r-1 is acting on campaign/c-1",
        "target:campaign/c-1",
    ),
    "at_once": First(
        (pauses(bounds={"at_once": 1}),),
        another_acts,
        OTHER,
        "1 of 1 runs are open",
        "policy:late-campaign",
    ),
    "cooldown": First(
        (pauses(bounds=GENEROUS | {"cooldown": "30m"}),),
        acts_at_once,
        SAME,
        "campaign/c-1 was acted on 5m ago; cooldown 30m",
        timedelta(minutes=30),
    ),
    "per_target": First(
        (pauses(bounds=GENEROUS | {"per_target": "1 in 6h"}),),
        acts_at_once,
        SAME,
        "1 of 1 runs on campaign/c-1 in 6h",
        timedelta(hours=6),
    ),
    "per_policy": First(
        (pauses(bounds=GENEROUS | {"per_policy": "1 in 2h"}),),
        acts_at_once,
        OTHER,
        "1 of 1 runs by late-campaign in 2h",
        timedelta(hours=2),
    ),
}


@pytest.mark.parametrize("bound", FIRST)
async def test_each_bound_can_be_the_first_no_and_the_engine_then_says_the_same(
    tmp_path: Path, bound: str
) -> None:
    story = FIRST[bound]
    async with engine(tmp_path, *story.policies) as one:
        await story.before(one)
        one.later(minutes=5)
        told = await says(one, story.about)
        assert (told.says, told.bound) == ("refused", bound)
        assert story.reason in told.reason
        again = told.waits_for if isinstance(story.again, str) else (told.again_at or START) - START
        assert again == story.again
        await one.delivers(story.about)
        stands = await one.stands("late-campaign", story.about.fingerprint)
        assert stands is not None
        assert (stands.kind, stands.bound, stands.reason) == ("refused", told.bound, told.reason)


# ── What stands ───────────────────────────────────────────────────────────────────────────────────


async def test_an_alert_that_nothing_stops_would_open_a_run_and_nothing_is_written(tmp_path: Path) -> None:
    async with engine(tmp_path, pauses()) as one:
        told = await says(one, alert())
        assert (told.says, told.target, told.params) == ("would-open", "campaign/c-1", {"campaign": "c-1"})
        assert await one.runs() == []
        assert await one.stands("late-campaign") is None


@pytest.mark.parametrize(
    ("mode", "less"), [("suggest", ""), ("observe", "it would only say what it would do; ")]
)
async def test_a_policy_that_is_stepped_down_says_so_and_until_when(
    tmp_path: Path, mode: str, less: str
) -> None:
    breaker = {"failures": 1, "within": "24h", "mode": mode, "for": "4h"}
    async with engine(tmp_path, pauses(bounds={"breaker": breaker, "cooldown": "0s"})) as one:
        await one.delivers(alert("f9", campaign="c-9"))
        await one.answers(result=Refused("409"))
        told = await says(one, alert())
        assert told.says == "would-open"
        assert told.reason.startswith(f"{less}stepped down to {mode} until 2026-03-04 14:00:00 UTC: 1 of its")


async def test_an_open_run_is_named_by_who_opened_it_who_joined_and_who_would(tmp_path: Path) -> None:
    async with engine(tmp_path, pauses()) as one:
        await one.delivers(alert())
        opened = await says(one, alert())
        assert (opened.says, opened.run, opened.reason) == ("run-opened", "r-1", "run r-1 is acting")
        would = await says(one, SAME)
        assert (would.says, would.run) == ("would-join", "r-1")
        await one.delivers(SAME)
        assert (await says(one, SAME)).says == "joined"


async def test_a_run_that_is_over_says_when_the_alert_is_decided_again_and_what_would_come_of_it_now(
    tmp_path: Path,
) -> None:
    async with engine(tmp_path, pauses(recheck="5m", bounds={"cooldown": "30m"})) as one:
        await acts_at_once(one)
        one.later(minutes=1)
        told = await says(one, alert())
        assert told.says == "closed"
        assert told.reason.startswith("run r-1 ended as fixed")
        assert told.again_at == START + timedelta(minutes=5)
        assert told.now == "cooldown: campaign/c-1 was acted on 1m ago; cooldown 30m"


async def test_a_hold_says_that_it_holds(tmp_path: Path) -> None:
    held = policy({"pause": post("/pause/${campaign}", undo=undo(after="12h"))}, recheck="5m")
    async with engine(tmp_path, held) as one:
        await acts_at_once(one)
        told = await says(one, alert())
        assert (told.says, told.reason, told.run) == ("holding", "run r-1 holds", "r-1")


async def test_an_alert_that_has_resolved_is_not_decided_on(tmp_path: Path) -> None:
    async with engine(tmp_path, pauses()) as one:
        await one.delivers(alert())
        await one.delivers(alert(firing=False))
        told = await says(one, alert(firing=False))
        assert (told.says, told.run) == ("resolved", "r-1")
        assert (await says(one, alert("f9", firing=False))).run == ""


# ── Selectors ─────────────────────────────────────────────────────────────────────────────────────

LINES = [
    '{alertname="Other", env="prod", team="x"}',
    '{alertname="CampaignLate", env=~"prod|staging"}',
    '{alertname="CampaignLate", env="prod", team="loyalty"}',
]


def test_the_nearest_line_says_which_label_did_not_fit_and_what_it_was() -> None:
    one = Engine.__new__(Engine)
    one.runs_with(pauses(match=LINES))
    (told,) = explain_alone(one.policies, alert(), START).policies
    assert (told.says, told.bound, told.selector) == ("not-matched", "match", LINES[1])
    assert told.misfits == (Misfit("env", 'env=~"prod|staging"', None),)
    assert told.reason == ('wants env=~"prod|staging", and there is no label env (the nearest of 3 lines)')
    dev = Alert(fingerprint="f", status="firing", labels={**alert().labels, "env": "dev"}, starts_at=START)
    (told,) = explain_alone(one.policies, dev, START).policies
    assert told.misfits == (Misfit("env", 'env=~"prod|staging"', "dev"),)


def test_without_a_store_it_says_that_bounds_were_not_asked_and_the_nearest_come_first() -> None:
    one = Engine.__new__(Engine)
    one.runs_with(
        pauses("far", match=['{alertname="A", b="c"}']),
        pauses("near", match=['{alertname="A"}']),
        pauses("fits"),
        pauses("odd", params={"campaign": {"from": "labels.nix", "pattern": "x"}}),
    )
    found = explain_alone(one.policies, alert(), START)
    assert not found.stored
    said = [(told.policy, told.says) for told in found.policies]
    assert said == [
        ("odd", "refused"),
        ("fits", "unasked"),
        ("near", "not-matched"),
        ("far", "not-matched"),
    ]


def test_a_watchs_alert_is_its_own_policys() -> None:
    one = Engine.__new__(Engine)
    watching = policy(
        {"pause": post("/pause")},
        policy="watching",
        match=None,
        params={},
        target="campaign/x",
        watch={"every": "5m", "use": "sql.query", "via": "db", "key": ["campaign"]},
    )
    one.runs_with(pauses(), watching)
    seen = Alert(
        fingerprint="f", status="firing", labels=alert().labels, starts_at=START, source="watch:watching"
    )
    told = {one.policy: one for one in explain_alone(one.policies, seen, START).policies}
    assert told["watching"].says == "unasked"
    assert told["late-campaign"].reason == "the alert was made by another policy's watch"
    told = {one.policy: one for one in explain_alone(one.policies, alert(), START).policies}
    assert told["watching"].reason == "only its own watch opens its runs"
