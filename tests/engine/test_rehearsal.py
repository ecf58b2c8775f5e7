"""Stories of policies that are rehearsed: all is read, decided and shown, and nothing is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from remediator.cli.preview import _told
from remediator.core.catalog import Catalog, Cover
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.planning import Address
from remediator.core.policy import Policy
from remediator.engine.hiding import Discreet, hider
from remediator.engine.looking import Looking, OnlyLooks
from remediator.engine.rehearsal import Rehearsal, Rehearser
from remediator.errors import ConnectorError
from tests.core.campaign import CATALOG, START, budget_probe, change, policy, post, proof, say, votes
from tests.engine.world import HandClock

ABOUT = Address("campaign/c-1", {"campaign": "c-1"})


@dataclass
class Service:
    """Every connection at once. It counts what it is asked, and whoever makes it act has lost."""

    rows: dict[str, Any] = field(default_factory=lambda: {"row": {"left": Decimal("7.50")}, "count": 1})
    picture: Picture | None = None
    fails: str = ""
    asked: Counter[str] = field(default_factory=Counter)

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        self.asked[f"read {call.operation}"] += 1
        if call.operation == self.fails:
            raise ConnectorError("db", "connection refused with password hunter-22")
        return self.rows

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        self.asked[f"preview {call.operation}"] += 1
        if self.picture is None:
            raise ConnectorError("ledger", "the table is not there")
        return self.picture

    async def act(self, call: Call, **_rest: Any) -> Any:
        self.asked["act"] += 1
        raise AssertionError(f"it acts: {call}")

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Any:
        raise AssertionError("there is nothing to inquire about")

    async def close(self) -> None:
        return None


async def rehearsed(
    whole: Policy, service: Service | None = None, *, catalog: Catalog = CATALOG, **rest: Any
) -> Rehearsal:
    """The policy, rehearsed through one service behind all connections."""
    service = service or Service()
    clock = HandClock()
    looks = {name: OnlyLooks(Discreet(service, hider({"hunter-22"}))) for name in catalog.connections}
    rehearser = Rehearser(Looking(looks, clock, lambda: catalog), catalog, clock.now)
    found = await rehearser.rehearse(whole, "v1", rest.get("about", ABOUT))
    assert "act" not in service.asked
    return found


HALVE = {
    "decide": [
        {"when": "budget.row.left > 10.0", "do": "nothing"},
        {"when": "budget.row.left >= 5.0 && campaign == 'c-1'", "do": ["tell", "halve"]},
        {"do": ["halve"]},
    ],
    "diagnose": budget_probe(),
}


def halving(**rest: Any) -> Policy:
    steps = {"tell": say("${budget.row.left} left"), "halve": change(gate=votes(lead=1, oncall=1))}
    return policy(steps, **(HALVE | rest))


PICTURE = Picture(
    1,
    "1 row of loyalty_programs",
    ({"key": {"id": "p-17"}, "before": {"rate": Decimal("0.0700")}, "after": {"rate": Decimal("0.0350")}},),
)


async def test_it_tells_the_readings_the_case_and_what_each_step_would_ask_and_change() -> None:
    service = Service(picture=PICTURE)
    found = await rehearsed(halving(), service)
    assert found.refusal == ""
    assert found.readings["budget"].value == {"row": {"left": 7.5}, "count": 1}
    first, second = found.cases
    assert (first.number, first.holds, first.values) == (1, False, {"budget.row.left": 7.5})
    assert (second.number, second.holds) == (2, True)
    assert second.values == {"budget.row.left": 7.5, "campaign": "c-1"}
    assert found.case == 2
    tell, halve = found.steps
    assert (tell.step, tell.risk, tell.gate, tell.picture) == ("tell", "safe", None, None)
    assert 'text="7.5 left"' in tell.summary
    assert halve.risk == "destructive"
    assert halve.gate is not None
    assert (halve.gate.votes, halve.gate.within_s) == ({"lead": 1, "oncall": 1}, 900.0)
    assert halve.gate.people == {"lead": ["amina"], "oncall": ["bob", "carl"]}
    assert halve.picture is not None
    assert (halve.picture.count, halve.picture.text) == (1, "1 row of loyalty_programs")
    (row,) = halve.picture.rows
    assert row == {"key": {"id": "p-17"}, "before": {"rate": "0.0700"}, "after": {"rate": "0.0350"}}
    assert service.asked == {"read sql.query": 1, "preview ledger.execute": 1}


def test_what_it_holds_can_read_and_preview_and_nothing_else() -> None:
    given = OnlyLooks(Service())
    assert {name for name in dir(given) if not name.startswith("_")} == {"read", "preview"}
    held = {name for name in dir(Looking) if not name.startswith("_")}
    assert held == {"read", "preview"}


async def test_an_action_by_any_name_reaches_nobody() -> None:
    steps = {"pause": post("/pause"), "delete": post("/x", gate=votes(oncall=1)), "halve": change()}
    service = Service(picture=PICTURE)
    found = await rehearsed(policy(steps), service)
    assert [step.step for step in found.steps] == ["pause", "delete", "halve"]
    assert service.asked == {"preview ledger.execute": 1}


async def test_the_case_that_says_do_nothing_is_told() -> None:
    found = await rehearsed(halving(), Service(rows={"row": {"left": 11}, "count": 1}))
    assert (found.case, found.steps, found.refusal) == (1, (), "")
    assert [(one.number, one.holds) for one in found.cases] == [(1, True)]


async def test_no_case_may_hold() -> None:
    found = await rehearsed(halving(decide=[{"when": "budget.row.left > 10.0", "do": "nothing"}]))
    assert (found.case, found.steps, found.refusal) == (None, (), "")
    assert [one.holds for one in found.cases] == [False]


async def test_a_probe_that_fails_is_a_refusal_without_our_secrets() -> None:
    found = await rehearsed(halving(), Service(fails="sql.query"))
    assert found.refusal == "probe: budget: db: connection refused with password [hidden]"
    assert (found.readings["budget"].ok, found.cases, found.steps) == (False, (), ())


async def test_other_rows_than_expected_are_a_refusal() -> None:
    found = await rehearsed(
        halving(diagnose=budget_probe(expect="one row")), Service(rows={"row": None, "count": 0})
    )
    assert found.refusal == "probe: budget: expected one row, read 0"
    assert found.cases == ()


async def test_an_optional_probe_that_fails_is_no_refusal() -> None:
    whole = halving(diagnose=budget_probe(optional=True), decide=[{"when": "!budget.ok", "do": ["tell"]}])
    whole = whole.model_copy(update={"steps": {"tell": policy({"tell": say()}).steps["tell"]}})
    found = await rehearsed(whole, Service(fails="sql.query"))
    assert (found.case, found.refusal) == (1, "")


async def test_an_expression_without_an_answer_is_a_refusal_and_says_which_case() -> None:
    found = await rehearsed(halving(), Service(rows={"row": None, "count": 0}))
    assert found.refusal.startswith("expression: late-campaign: decide[0].when")
    (first,) = found.cases
    assert first.holds is None
    assert "has no answer" in first.error


async def test_a_label_that_only_an_alert_has_is_a_refusal() -> None:
    whole = policy({"tell": say()}, decide=[{"when": 'labels.tier == "gold"', "do": ["tell"]}])
    found = await rehearsed(whole)
    assert "labels has no 'tier'" in found.refusal


async def test_a_step_that_cannot_be_resolved_is_a_refusal() -> None:
    found = await rehearsed(policy({"pause": post("/pause/${1 / 0}")}))
    assert found.refusal.startswith("pause: late-campaign: steps.pause.with.path")
    assert found.steps[0].risk == "disruptive"


async def test_a_step_made_of_what_an_earlier_one_answers_is_told_later() -> None:
    steps = {"pause": post("/pause"), "tell": say("it is ${steps.pause.result.status}")}
    found = await rehearsed(policy(steps))
    assert found.refusal == ""
    assert "steps" in found.steps[1].later
    together = policy(steps, decide=[{"do": list(steps), "gate": votes(lead=1)}])
    found = await rehearsed(together)  # people would have to agree to what nobody can tell yet
    assert found.refusal.startswith("tell: ")


async def test_a_preview_that_fails_is_a_refusal() -> None:
    found = await rehearsed(halving())
    assert found.refusal == "halve: preview: ledger: the table is not there"


@pytest.mark.parametrize(
    ("mode", "case", "votes_", "steps"),
    [
        ("act", {}, None, ()),
        ("suggest", {}, {"oncall": 1}, ("tell", "pause")),
        ("act", {"gate": votes(lead=1)}, {"lead": 1}, ("tell", "pause")),
        ("observe", {}, None, ()),
    ],
)
async def test_the_gate_is_that_of_the_policys_own_mode(
    mode: str, case: dict[str, Any], votes_: dict[str, int] | None, steps: tuple[str, ...]
) -> None:
    both = {"tell": say(), "pause": post("/pause")}
    found = await rehearsed(policy(both, mode=mode, decide=[{"do": list(both), **case}]))
    assert found.mode == mode
    pause = found.steps[1]
    assert (pause.gate.votes if pause.gate else None) == votes_
    assert (pause.gate.steps if pause.gate else ()) == steps
    assert pause.waived == ("" if votes_ else "the story is not about gates")


async def test_who_covers_an_absence_today_is_among_those_who_may_vote() -> None:
    covers = {"lead": (Cover("dora", START + timedelta(days=1)),), "oncall": (Cover("eve", START),)}
    found = await rehearsed(halving(), Service(picture=PICTURE), catalog=replace(CATALOG, covers=covers))
    gate = found.steps[1].gate
    assert gate is not None
    assert gate.people == {"lead": ["amina", "dora"], "oncall": ["bob", "carl"]}


async def test_rungs_are_told_as_such_and_proofs_are_not_read() -> None:
    rungs = {"first": post("/a", verify=proof()), "second": post("/b", verify=proof())}
    service = Service()
    found = await rehearsed(policy(rungs, decide=[{"try": list(rungs)}]), service)
    assert found.rungs
    assert [step.step for step in found.steps] == ["first", "second"]
    assert service.asked == {}


# ── Repeated steps ──────────────────────────────────────────────────────────────────────────────


def cutting(**rest: Any) -> Policy:
    cut = change(for_each="${budget.rows}", at_most=12, gate=votes(lead=1)) | {
        "with": {"sql": "UPDATE …", "args": ["${each.id}"]}
    }
    after = post("/after/${string(steps.cut.results)}")
    return policy({"cut": cut | rest, "after": after}, diagnose=budget_probe())


def listed(count: int) -> dict[str, Any]:
    return {"rows": [{"id": f"p-{number}"} for number in range(1, count + 1)], "count": count}


async def test_each_item_of_a_list_is_shown_with_what_it_would_change() -> None:
    service = Service(rows=listed(12), picture=PICTURE)
    found = await rehearsed(cutting(), service)
    *items, after = found.steps
    assert [one.step for one in items] == [f"cut[{number}]" for number in range(1, 13)]
    assert 'args=["p-12"]' in items[-1].summary
    assert all(one.picture is not None and one.gate is not None for one in items)
    assert {one.gate.steps for one in items if one.gate is not None} == {("cut",)}
    assert service.asked["preview ledger.execute"] == 12
    assert "steps" in after.later
    text = "\n".join(_told(found))
    assert "  … 2 more items of cut; --json has them all" in text and "cut[11]" not in text
    assert "It would start: cut (12 items), after" in text


async def test_a_list_that_would_be_refused_is_told_and_so_is_one_of_no_items() -> None:
    found = await rehearsed(cutting(), Service(rows=listed(13), picture=PICTURE))
    assert "its list has 13 items, and at_most is 12" in found.refusal
    alone = policy({"cut": change(for_each="${budget.rows}", at_most=3)}, diagnose=budget_probe())
    found = await rehearsed(alone, Service(rows=listed(0), picture=PICTURE))
    assert (found.steps, found.refusal, found.idle) == ((), "", "no items for cut")
    assert "It would do nothing: no items for cut" in "\n".join(_told(found))
