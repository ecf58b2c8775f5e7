"""Any order of events, late, doubled and foreign ones included: the promises of `stories` hold.

Hypothesis plays the world, the people and the clock against one run. When it has had its fun the
world behaves again, and then the run must come to its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.core.byhand import never_over
from remediator.core.catalog import Risk
from remediator.core.decide import UNTOUCHED
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import (
    CameLate,
    Done,
    Preview,
    Previewed,
    ProbeRead,
    Refused,
    Result,
    Spent,
    StepFinished,
    TimePassed,
    Unknown,
    Use,
    VoteCast,
)
from remediator.core.play import next_deadline
from remediator.core.policy import Policy
from remediator.core.run import Stage, Vote
from tests.core.campaign import (
    CATALOG,
    ROLES,
    budget_probe,
    change,
    policy,
    post,
    proof,
    say,
    still,
    undo,
    votes,
)
from tests.core.stories import Story

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
NUMBERS = st.integers(0, 250).flatmap(lambda length: st.binary(min_size=length, max_size=length))
"""Long ones as often as short ones: a list without a length of its own holds six things on average."""

_TWO_CASES = [{"when": "budget.row.left > 3", "do": ["warn"]}]
_KEYED = post("/keyed", verify=proof(within="1m")) | {"via": "keyed"}
_SQL = {"use": "sql.execute", "via": "db", "with": {}, "gate": votes(lead=1, oncall=1)}
_ITEMS = "${[1, 2, 3].filter(one, one <= budget.row.left)}"
_PROBED = {"budget": budget_probe()["budget"], "extra": budget_probe(optional=True)["budget"]}


_READ = {"use": "http.get", "via": "api", "with": {"path": "/load"}, "until": "verify.value == 0"}
_STILL = still("verify.value == 0")


def _held(path: str, **rest: object) -> dict[str, object]:
    return post(f"/{path}", undo=undo(f"/-{path}", **({"after": "1h"} | rest)))


POLICIES: dict[str, Policy] = {
    "a message and a change under one gate": policy(
        {"warn": say("${budget.row.left}"), "halve": post("/rate/${budget.row.left}", gate=None)},
        diagnose=_PROBED,
        decide=[*_TWO_CASES, {"do": ["warn", "halve"], "gate": votes(oncall=1, finance=1)}],
    ),
    "a ladder": policy(
        {
            "a": _KEYED,
            "b": _held("b") | {"verify": proof(within="1m")},
            "c": post("/c", gate=votes(oncall=1), verify=proof(within="1m")),
        },
        diagnose=budget_probe(),
        decide=[{"try": ["a", "b", "c"]}],
    ),
    "temporary changes": policy(
        {
            "soften": post("/safe/x", gate=None, undo=undo("/safe/y", after="30m")),
            "a": _held("a", early="resolved"),
            "d": _held("d", after=None, early={**_READ, "for": "40s"}, verify=proof(within="1m")),
            "b": _held("b", after=None, early=["resolved", "unverified"], via="keyed")
            | {"verify": proof(within="30s", for_="10s"), "on_failure": "undo_all"},
            "c": post("/c", gate=votes(within="10m", late="deny", oncall=2)),
        },
        diagnose=budget_probe(),
    ),
    "suggestions with pictures": policy(
        {
            "warn": say(),
            "sql": _SQL,
            "more": _SQL | {"gate": None},
            "keep": _held("k") | {"on_failure": "continue"},
        },
        diagnose=budget_probe(),
        mode="suggest",
    ),
    "rows of a database": policy(
        {"halve": change(verify=proof(within="1m")), "cut": change(undo=None, gate=votes(lead=1))},
        diagnose=budget_probe(),
    ),
    "undos that ask first": policy(
        {
            "a": _held("a", early="resolved", still=_STILL),
            "b": _held("b", early="unverified", via="keyed", still=_STILL, verify=proof("verify.value == 0"))
            | {"verify": proof("verify.value == 0", within="30s"), "on_failure": "undo_all"},
            "cut": change(
                gate={"waived": "no gates"}, undo={"how": "restore", "after": "20m", "still": _STILL}
            ),
        },
    ),
    "steps for each item": policy(
        {
            "warn": say("${string(each)}", for_each="${[1, 2]}", at_most=3, on_failure="continue"),
            "a": _held("a${string(each)}", early=["resolved", "unverified"])
            | {"verify": proof("verify.value < each", within="1m"), "on_failure": "undo_all"}
            | {"for_each": "${[1, 2, 3]}", "at_most": 3, "stop_after": 2},
            "cut": change(for_each="${steps.a.results.filter(one, one != null)}", at_most=3)
            | {"with": {"sql": "UPDATE …", "args": ["${string(each)}"]}},
        },
        bounds={"deadline": "2h"},
    ),
    "a ladder of lists": policy(
        {
            "a": _held("${string(each)}", via="keyed")
            | {"verify": proof("verify.value < each", within="30s")}
            | {"for_each": "${[1, 0, 3]}", "at_most": 3, "stop_after": 2},
            "b": post("/b/${string(each)}", for_each=_ITEMS, at_most=2, gate=votes(oncall=1)),
            "c": post("/c", verify=proof(within="1m")),
        },
        diagnose=budget_probe(optional=True),
        decide=[{"try": ["a", "b", "c"]}],
    ),
    "windows, a budget and a breaker": policy(
        {"warn": say(), "pause": _held("p") | {"gate": votes(within="1h", oncall=1)}, "cut": post("/cut")},
        bounds={
            "windows": {"not": ["10:20-10:40 UTC", "11:00-12:30 UTC"]},
            "budget": "pauses",
            "breaker": {"failures": 2, "within": "1h", "mode": "suggest", "for": "30m"},
        },
    ),
    "a breaker that leaves nothing": policy(
        {"pause": post("/p/${budget.row.left}", gate=votes(oncall=1)), "cut": post("/cut")},
        diagnose=budget_probe(),
        bounds={"breaker": {"failures": 1, "within": "1m", "mode": "observe", "for": "10m"}},
    ),
    "no probes at all": policy(
        {
            "pause": _held("${string(now)}"),
            "cut": post("/cut/${steps.pause.result.id}", verify=proof(within="1m")),
        },
        bounds={"deadline": "2h"},
    ),
}

PEOPLE = ("amina", "bob", "carl", "dora", "mallory")
SPANS = (1, 1, 1, 5, 5, 5, 11, 11, 30, 30, 61, 61, 300, 1000, 4000)


class Chaos:
    """Turns numbers into events."""

    def __init__(self, story: Story, draw: Callable[[int], int]) -> None:
        self.story, self.draw = story, draw
        self.moves: list[Callable[[], object]] = [
            self.answer,
            self.answer,
            self.answer,
            self.finish,
            self.finish,
            self.mark,
            self.inquire,
            self.vote,
            self.vote,
            self.wake,
            self.wake,
            self.wait,
            self.alert,
            self.settle,
            self.late,
            self.world,
            self.counters,
            self.policy,
            self.noise,
        ]

    def step(self) -> None:
        self.moves[self.draw(len(self.moves))]()

    def answer(self) -> None:
        if not self.story.out:
            return
        asked = self.story.out[self.draw(len(self.story.out))]
        self.story.out.remove(asked)
        if isinstance(asked, Preview):
            picture = Picture(self.draw(2), "rows") if self.draw(8) else None
            self.story.hears(Previewed(asked.round, asked.step, picture, "" if picture else "no such table"))
            return
        ok = self.draw(8) > 0
        value = {"row": {"left": self.draw(5)}, "count": 1, "value": self.draw(2)}
        error = "" if ok else "timeout"
        self.story.hears(
            ProbeRead(asked.round, asked.key, Reading(self.story.now, ok, value if ok else {}, error))
        )

    def finish(self) -> None:
        if self.story.promises.wire:
            act = list(self.story.promises.wire.values())[-1]
            result = (Done({"id": "T-1"}), Done(), Refused("409"), Unknown("reset"))[self.draw(4)]
            self.story.hears(StepFinished(act.step, act.attempt, act.undo, result))

    def mark(self) -> None:
        if self.story.promises.wire:
            self.story.marks(xid=str(self.draw(3)), result={"restore": {"rows": []}})

    def inquire(self) -> None:
        if self.story.promises.inquiries:
            self.story.told(
                (Done({"restore": {}}), Done({}, "1 row"), Refused("-"), Unknown("-"))[self.draw(4)]
            )

    def vote(self) -> None:
        gates = self.story.run.all_gates
        if gates:
            gate = gates[-1] if self.draw(6) else gates[0]
            seen = ("", "f" * 64, gate.hash[:16])[draw] if (draw := self.draw(12)) < 3 else gate.hash
            by = PEOPLE[self.draw(len(PEOPLE))]
            at = self.story.now + timedelta(days=self.draw(3) - 1)
            self.story.hears(VoteCast(gate.id, Vote(by, self.draw(12) > 0, at, "api", seen)))

    def wake(self) -> None:
        deadline = next_deadline(self.story.run, self.story.facts)
        if self.story.run.stage in UNTOUCHED and self.draw(6):
            return  # else most runs would end before they had begun
        if deadline is not None:
            self.story.at(max(deadline, self.story.now))
            before = self.story.run
            self.story.hears(TimePassed())
            assert self.story.run != before, f"a deadline in {before.stage} leads to nothing"

    def wait(self) -> None:
        self.story.at(self.story.now + timedelta(seconds=SPANS[self.draw(len(SPANS))]))
        if self.draw(2):
            self.story.hears(TimePassed())

    def alert(self) -> None:
        fingerprint = f"f{self.draw(2) + 1}"
        (self.story.fires if self.draw(3) == 0 else self.story.resolves)(fingerprint)

    def settle(self) -> None:
        self.story.settled(("happened", "not-happened", "handled")[self.draw(3)])

    def late(self) -> None:
        """An act or an undo that was given up for lost says something after all."""
        sent = [one for one in self.story.acts if (one.step, one.attempt, one.undo) not in self.wire]
        if sent:
            act = sent[self.draw(len(sent))]
            result = (Done({"id": "T-1"}), Refused("never sent"), Unknown("reset"))[self.draw(3)]
            self.story.hears(CameLate(act.step, act.attempt, act.undo, result))

    @property
    def wire(self) -> Collection[tuple[str, int, bool]]:
        return self.story.promises.wire

    def world(self) -> None:
        match self.draw(8):
            case 0:
                self.story.halted(undos=self.draw(2) > 0)
            case 1 | 2:
                self.story.sees(halts=())
            case 3 if not self.story.run.locks_target:
                self.story.sees(holder="r9")
            case 4:
                self.story.sees(holder=None)
            case 5 | 6:
                roles = ROLES if self.draw(2) else ROLES | {"oncall": frozenset({"carl"})}
                self.story.sees(catalog=replace(CATALOG, roles=roles))
            case _:
                self.story.sees(held=frozenset((("a", "a[2]")[self.draw(2)],) if self.draw(2) else ()))

    def counters(self) -> None:
        """Other runs act, fail, and take from the budget; or all that was long ago."""
        now = self.story.now
        acts = (now,) * (self.draw(8) // 2)
        use = Use(last_act=acts[0] if acts else None, target_acts=acts, policy_acts=acts)
        failures = (now, now - timedelta(minutes=5))[self.draw(3) :]
        spent = (Spent("other", now), Spent("late-campaign", now))[self.draw(3) :]
        self.story.sees(use=(use, Use(failures=failures), Use(budget_acts=spent), Use())[self.draw(4)])

    def policy(self) -> None:
        self.story.policy_changes(("v1", "v1", "v2", None)[self.draw(4)], told=self.draw(2) > 0)

    def noise(self) -> None:
        """Answers to what was never asked, or was answered long ago."""
        run = self.story.run
        names = [*self.story.facts.policy.steps, "nobody"]
        step = names[self.draw(len(names))]
        stale = run.round - 1 - self.draw(2)
        reading = Reading(self.story.now, ok=True, value={"value": 0, "row": {"left": 9}})
        match self.draw(4):
            case 0:
                keys = (
                    "diagnose:budget",
                    "verify:{}",
                    "before:{}",
                    "undo-verify:{}",
                    "still:{}",
                    "early:{}:0",
                )
                key = keys[self.draw(6)].format(step)
                self.story.hears(ProbeRead(stale, key, reading))
            case 1:
                self.story.hears(Previewed(stale, step, Picture(1, "old")))
            case 2:
                vote = Vote("bob", approve=True, at=self.story.now, via="api", hash="f" * 64)
                self.story.hears(VoteCast("r0.1", vote))
            case _:
                old = [one for one in self.story.promises.acts if one not in self.story.promises.wire]
                if old:
                    name, attempt, undone = sorted(old)[self.draw(len(old))]
                    result: Result = (Done(), Refused("late"), Unknown("late"))[self.draw(3)]
                    before = self.story.run
                    self.story.hears(StepFinished(name, attempt, undone, result))
                    assert self.story.run == before, "a late answer changed something"


def comes_to_its_end(story: Story) -> None:
    """Faults over: every question is answered, nobody votes, and the run closes."""
    story.sees(halts=(), holder=None, catalog=CATALOG)
    for _ in range(300):
        if story.run.stage is Stage.CLOSED:
            return
        if story.out:
            asked = story.out.pop()
            if isinstance(asked, Preview):
                story.hears(Previewed(asked.round, asked.step, Picture(1, "rows")))
            else:
                value = {"row": {"left": 2}, "count": 1, "value": 0}
                story.hears(ProbeRead(asked.round, asked.key, Reading(story.now, ok=True, value=value)))
        elif story.promises.wire:
            story.done(id="T-1")
        elif story.promises.inquiries:
            story.told(Done({"restore": {}}))
        elif story.run.stage is Stage.ASKING:
            assert any("unknown whether" in page for page in story.paged)
            story.settled("handled")
        elif (deadline := next_deadline(story.run, story.facts)) is not None:
            story.at(max(deadline, story.now)).hears(TimePassed())
        else:
            story.in_stage(Stage.HOLDING).resolves("f1").resolves("f2")
    raise AssertionError(f"it does not end: {story.run.stage}")


def _fair_to_people(story: Story) -> None:
    """What the whole of a story must show, beside what each decision shows."""
    kinds = [entry.kind for entry in story.journal]
    assert (kinds[0], kinds[-1], kinds.count("closed")) == ("opened", "closed", 1)
    changes = [one for one in story.journal if one.kind == "started" and one.data["risk"] != Risk.SAFE]
    assert story.counted.count("act") == len(changes)
    assert bool(changes) == story.run.acted
    for act in story.acts:
        sent = [one for one in story.acts if (one.step, one.undo) == (act.step, act.undo)]
        assert len({str(one.call) for one in sent}) == 1, "the same key, another call"
    for step in story.run.steps.values():
        if step.undo_error:
            assert any(step.undo_error in page for page in story.paged), "an undo went wrong in silence"


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_order_of_events_breaks_a_promise(name: str, data: st.DataObject) -> None:
    numbers = list(data.draw(NUMBERS))

    def draw(below: int) -> int:
        return numbers.pop() % below if numbers else 0

    openers = ("alert", "person:bob") if never_over(POLICIES[name]) is None else ("alert",)
    story = Story(POLICIES[name], opened_by=openers[draw(len(openers))])
    chaos = Chaos(story, draw)
    while numbers and story.run.stage is not Stage.CLOSED:
        chaos.step()
    comes_to_its_end(story)
    closed = story.run
    for _ in range(3):
        chaos.noise()
    assert story.run == closed
    _fair_to_people(story)
