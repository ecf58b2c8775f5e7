"""The policies that `test_gate_model` is about, each written twice: for the core, and for the clerk."""

from __future__ import annotations

from dataclasses import dataclass

from remediator.core.policy import Policy
from tests.core.campaign import budget_probe, policy, post, proof, say, votes
from tests.core.gate_on_paper import Act, Ask, Case


@dataclass(frozen=True)
class World:
    """A policy, and the same once more as the clerk reads it."""

    policy: Policy
    acts: dict[str, Act]
    cases: tuple[Case, ...]
    shut: tuple[tuple[int, int], ...] = ()  # when its windows are shut, in seconds since the run was opened

    @property
    def reads_figures(self) -> bool:
        return bool(self.policy.diagnose)


_ROWS = {"use": "sql.execute", "via": "db", "with": {}}
_FIGURES = budget_probe()
_TWO = ("pause[1]", "pause[2]")
_BY_FIGURE = post("/pause/${budget.row.n}", gate=None)

WORLDS = {
    "two of the on-call": World(
        policy({"pause": post("/pause", gate=votes("10m", "deny", oncall=2))}),
        {"pause": Act("/pause")},
        (Case(-1, ("pause",), (Ask(("pause",), ("oncall", "oncall"), 600, "deny"),)),),
    ),
    "three roles, read before the act": World(
        policy({"pause": post("/pause", gate=votes("1h", finance=1, lead=1, oncall=1), verify=proof())}),
        {"pause": Act("/pause", proved=True, reads_before=True)},
        (Case(-1, ("pause",), (Ask(("pause",), ("finance", "lead", "oncall"), 3600),)),),
    ),
    "a message and a change on one card": World(
        policy(
            {"warn": say("${budget.row.n}"), "pause": post("/pause", gate=None)},
            diagnose=_FIGURES,
            decide=[
                {"when": "budget.row.n > 2", "do": ["pause"], "gate": votes(lead=1)},
                {"do": ["warn", "pause"], "gate": votes(finance=1, oncall=1)},
            ],
        ),
        {"warn": Act(safe=True), "pause": Act("/pause")},
        (
            Case(2, ("pause",), (Ask(("pause",), ("lead",)),)),
            Case(-1, ("warn", "pause"), (Ask(("warn", "pause"), ("finance", "oncall")),)),
        ),
    ),
    "rows of two tables": World(
        policy(
            {"halve": _ROWS, "quarter": _ROWS},
            decide=[{"do": ["halve", "quarter"], "gate": votes(finance=2, oncall=1)}],
        ),
        {"halve": Act(pictured=True), "quarter": Act(pictured=True)},
        (
            Case(
                -1,
                ("halve", "quarter"),
                (Ask(("halve", "quarter"), ("finance", "finance", "oncall")),),
            ),
        ),
    ),
    "one gate after the other": World(
        policy(
            {
                "warn": say(),
                "pause": post("/pause", gate=votes(finance=1, lead=1), verify=proof("verify.value == 0")),
                "cut": _ROWS | {"gate": votes("5m", "deny", oncall=2)},
            },
            bounds={"deadline": "2h"},
        ),
        {"warn": Act(safe=True), "pause": Act("/pause", proved=True), "cut": Act(pictured=True)},
        (
            Case(
                -1,
                ("warn", "pause", "cut"),
                (Ask(("pause",), ("finance", "lead")), Ask(("cut",), ("oncall", "oncall"), 300, "deny")),
            ),
        ),
    ),
    "one card for each item of a list": World(
        policy(
            {
                "warn": say(),
                "pause": post("/pause/${string(each)}", gate=None)
                | {"for_each": "${[1, 2].filter(one, one <= budget.row.n + 1)}", "at_most": 2},
            },
            diagnose=_FIGURES,
            decide=[{"do": ["warn", "pause"], "gate": votes(finance=1, oncall=1)}],
        ),
        {"warn": Act(safe=True), "pause[1]": Act("/pause/1"), "pause[2]": Act("/pause/2")},
        # To the clerk every length of the list is a case of its own.
        (
            Case(0, ("warn", *_TWO), (Ask(("warn", *_TWO), ("finance", "oncall")),)),
            Case(-1, ("warn", _TWO[0]), (Ask(("warn", _TWO[0]), ("finance", "oncall")),)),
        ),
    ),
    "rows of each item": World(
        policy(
            {
                "cut": _ROWS
                | {"for_each": "${[1, 2, 3].filter(one, one == 1 || one > budget.row.n)}", "at_most": 3}
                | {"gate": votes(lead=1), "verify": proof(), "with": {"args": ["${each}"]}}
            },
            diagnose=_FIGURES,
        ),
        {f"cut[{number}]": Act(pictured=True, proved=True, reads_before=True) for number in (1, 2, 3)},
        (
            Case(2, ("cut[1]",), (Ask(("cut[1]",), ("lead",)),)),
            Case(1, ("cut[1]", "cut[2]"), (Ask(("cut[1]", "cut[2]"), ("lead",)),)),
            Case(-1, ("cut[1]", "cut[2]", "cut[3]"), (Ask(("cut[1]", "cut[2]", "cut[3]"), ("lead",)),)),
        ),
    ),
    "suggestions": World(
        policy(
            {"warn": say(), "pause": _BY_FIGURE | {"gate": votes(lead=1, finance=1)}, "keep": post("/keep")},
            diagnose=_FIGURES,
            mode="suggest",
        ),
        {"warn": Act(safe=True), "pause": Act("/pause/{n}"), "keep": Act("/keep")},
        (
            Case(
                -1,
                ("warn", "pause", "keep"),
                (Ask(("warn", "keep"), ("oncall",)), Ask(("pause",), ("lead", "finance"))),
            ),
        ),
    ),
    "a later card, by what was read since": World(
        policy(
            {
                "pause": post("/pause", gate=votes(oncall=1)),
                "cut": post("/cut/${budget.row.n}", gate=votes(oncall=1, finance=1)),
                "warn": say("${budget.row.n}"),
            },
            diagnose=_FIGURES,
            decide=[{"when": "budget.row.n > 3", "do": ["warn"]}, {"do": ["pause", "cut"]}],
            bounds={"windows": {"not": ["10:01-10:03 UTC", "10:05-10:10 UTC", "11:15-12:30 Africa/Lagos"]}},
        ),
        {"warn": Act(safe=True), "pause": Act("/pause"), "cut": Act("/cut/{n}")},
        (
            Case(3, ("warn",), ()),
            Case(-1, ("pause", "cut"), (Ask(("pause",), ("oncall",)), Ask(("cut",), ("oncall", "finance")))),
        ),
        shut=((60, 180), (300, 600), (900, 5400)),
    ),
}
