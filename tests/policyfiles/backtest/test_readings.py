"""What probes answered in life: which answer counts for a moment, and which are not believed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from remediator.core.evidence import Reading
from remediator.core.messages import Entry
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Outcome, Stage
from remediator.policyfiles.backtest import readings as module
from remediator.policyfiles.backtest.readings import Readings, recorded
from remediator.policyfiles.backtest.sources import Span
from remediator.ports import KeptPolicy, Tx
from remediator.store.memory import MemoryStore
from tests.core.campaign import CATALOG, budget_probe, policy, post
from tests.store.samples import NOON, HandClock, a_run

MINUTE = timedelta(minutes=1)
QUESTION = ("late-campaign", "campaign/c-1", "budget")


def read(minute: float, left: int) -> Reading:
    return Reading(NOON + minute * MINUTE, ok=True, value={"left": left})


@pytest.mark.parametrize(
    ("minute", "left"),
    [(-6, None), (-5, 1), (0, 1), (3.9, 1), (4, 1), (4.1, 2), (8, 2), (13, 2), (13.1, None)],
)
def test_the_nearest_answer_counts_the_earlier_of_two_and_none_that_is_far(
    minute: float, left: int | None
) -> None:
    readings = Readings()
    for one in (read(8, 2), read(0, 1)):
        readings.add(QUESTION, one)
    found = readings.near(QUESTION, NOON + minute * MINUTE)
    assert (found.value["left"] if found is not None else None) == left
    assert readings.near(("other", *QUESTION[1:]), NOON) is None
    assert len(readings) == 2


WRITTEN = """\
policy: late-campaign
summary: A campaign is late
match: ['{alertname="CampaignLate"}']
target: campaign/c-1
diagnose: {budget: {use: sql.query, via: db, with: {sql: SELECT 1}}}
decide: [{do: nothing}]
"""


def kept(*entries: Entry, text: str = WRITTEN, days: tuple[int, ...] = (0,)) -> MemoryStore:
    """A store with a run of each of these days, each with these lines in its journal."""
    clock = HandClock()
    store = MemoryStore(clock)

    async def work(tx: Tx) -> None:
        await tx.keep_policy(KeptPolicy("v1", "late-campaign", text, "p.yaml"))
        run = a_run(
            f"r-{clock.now():%j}",
            policy="late-campaign",
            target="campaign/c-1",
            opened_at=clock.now(),
            stage=Stage.CLOSED,
            outcome=Outcome.FIXED,
            closed_at=clock.now(),
        )
        await tx.save_run(run, None)
        await tx.journal(run.id, entries)

    for day in days:
        clock.advance(NOON + timedelta(days=day) - clock.wall)
        store.do(work)
    return store


READ = Entry(
    "reading", {"probe": "budget", "ok": True, "value": {"row": {"#x": 1, "left": 0.07}}, "error": ""}
)
NOW = PolicySet.of([Versioned(policy({"p": post("/p")}, diagnose=budget_probe()), "v2")], CATALOG)


def test_an_answer_of_the_same_probe_is_believed_whatever_else_has_changed() -> None:
    found = recorded(kept(READ).look, NOW, Span()).near(QUESTION, NOON)
    assert found is not None
    assert found.as_seen()["row"] == {"#x": 1, "left": 0.07}


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ((READ,), WRITTEN.replace("SELECT 1", "SELECT 2")),
        ((READ,), "no policy"),
        ((Entry("started", {"step": "p"}), READ), WRITTEN),
        ((Entry("reading", {**READ.data, "probe": "other"}),), WRITTEN),
    ],
    ids=["another question", "a version that cannot be read", "after an act", "another probe"],
)
def test_no_other_answer_is(entries: tuple[Entry, ...], text: str) -> None:
    assert len(recorded(kept(*entries, text=text).look, NOW, Span())) == 0


def test_runs_long_before_the_span_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 1)
    store = kept(READ, days=(0, 1, 10, 20))
    assert len(recorded(store.look, NOW, Span())) == 4
    assert len(recorded(store.look, NOW, Span(NOON + timedelta(days=15)))) == 2, "and the first one before"
