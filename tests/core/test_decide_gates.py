"""Stories of people who agree, refuse, are late, or are not asked at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from remediator.core.catalog import Risk
from remediator.core.evidence import Picture
from remediator.core.messages import Card, Previewed, VoteCast
from remediator.core.policy import Policy
from remediator.core.run import Run, Stage, Vote
from tests.core.campaign import (
    CATALOG,
    ROLES,
    START,
    VERSION,
    acted,
    budget_probe,
    policy,
    post,
    proof,
    say,
    undo,
    votes,
)
from tests.core.stories import Story

OLDER = Path(__file__).with_name("run_before_probes.json")
DELETE = {"use": "http.request", "via": "api", "with": {"method": "DELETE", "path": "/${campaign}"}}


def gated(**required: Any) -> Policy:
    return policy({"pause": post("/pause/${campaign}", gate=votes(**required))})


def with_roles(**roles: set[str]) -> Any:
    return replace(CATALOG, roles=ROLES | {role: frozenset(people) for role, people in roles.items()})


def test_a_disruptive_step_asks_one_of_the_on_call_by_default() -> None:
    story = Story(policy({"pause": post("/pause", gate=None)})).asks_people(oncall=1).starts_nothing()
    assert story.gate.late == "page"
    assert story.gate.expires_at == START + timedelta(minutes=15)
    story.approve("bob").starts("pause").done().closes("fixed").counts("act")
    story.writes("gate-opened", "vote", "gate-approved", "started", "finished", "closed")


def test_a_destructive_step_without_a_gate_is_refused() -> None:
    story = Story(policy({"wipe": DELETE})).refuses("gate", "wipe is destructive and has no gate")
    story.starts_nothing().counts()


WIPES = undo() | {"with": {"method": "DELETE", "path": "/${campaign}"}, "after": "1m"}


@pytest.mark.parametrize("early", [[], ["resolved"]])
def test_a_safe_step_whose_undo_is_destructive_is_refused_without_a_gate(early: list[str]) -> None:
    steps = {"mark": post("/safe/${campaign}", gate=None, undo=WIPES | {"early": early})}
    Story(policy(steps)).refuses("gate", "the undo of mark is destructive and has no gate").starts_nothing()


def test_who_agrees_to_a_step_agrees_to_its_riskier_undo() -> None:
    steps = {"mark": post("/safe/${campaign}", gate=votes(lead=1), undo=WIPES)}
    story = Story(policy(steps)).asks_people(lead=1).starts_nothing()
    story.approve("amina").starts("mark").counts("act").done().passes("1m").undoes("mark")


def test_an_undo_that_is_disruptive_asks_the_on_call_by_default() -> None:
    steps = {"mark": post("/safe/${campaign}", gate=None, undo=undo(after="1h"))}
    Story(policy(steps)).asks_people(oncall=1).starts_nothing()


def test_an_undo_made_of_what_the_act_answers_counts_as_the_worst_that_it_may_become() -> None:
    steps: dict[str, Any] = {"mark": post("/safe/${campaign}", gate=None)}
    path = "/safe/${steps.mark.result.id}"
    steps["mark"]["undo"] = undo(path, after="1h")
    Story(policy(steps)).starts("mark")
    named = {"POST /safe/*": Risk.SAFE, "POST /safe/main": Risk.DESTRUCTIVE}
    api = replace(CATALOG.connections["api"], risks=named)
    endpoints = replace(CATALOG, connections={**CATALOG.connections, "api": api})
    Story(policy(steps), catalog=endpoints).refuses(
        "gate", "the undo of mark is destructive"
    ).starts_nothing()


def test_an_undo_that_became_riskier_since_people_agreed_is_not_started_with() -> None:
    api = replace(CATALOG.connections["api"], risks={"* /*/*": Risk.DESTRUCTIVE, "POST /pause/*": Risk.SAFE})
    riskier = replace(CATALOG, connections={**CATALOG.connections, "api": api})
    steps = {"pause": post("/pause/${campaign}", gate=votes(oncall=1), undo=undo(after="1h"))}
    story = Story(policy(steps)).sees(catalog=riskier).approve("bob")
    story.refuses("gate", "riskier").starts_nothing()


def test_what_was_approved_before_undos_were_weighed_is_undone_all_the_same() -> None:
    steps = {"mark": post("/safe/${campaign}", gate=votes(lead=1), undo=WIPES)}
    story = Story(policy(steps)).approve("amina").done()
    mark = story.run.steps["mark"]
    assert mark.intention is not None and mark.intention.undo is not None
    before = with_fields(mark.intention, risk=Risk.SAFE, undo=with_fields(mark.intention.undo, risk=None))
    story.tampered(steps={"mark": with_fields(mark, intention=before)}).passes("1m").undoes("mark")


def test_a_destructive_step_with_a_gate_asks() -> None:
    Story(policy({"wipe": DELETE | {"gate": votes(lead=1)}})).asks_people(lead=1).approve("amina").starts(
        "wipe"
    )


def test_a_gate_of_a_case_is_one_card_for_all_its_steps() -> None:
    steps = {"warn": say(), "pause": post("/pause", gate=None), "wipe": DELETE}
    case = {"do": list(steps), "gate": votes(finance=1, oncall=1)}
    story = Story(policy(steps, decide=[case])).asks_people(finance=1, oncall=1)
    assert story.gate.steps == ("warn", "pause", "wipe")
    story.approve("amina").in_stage(Stage.WAITING).approve("bob")
    story.starts("warn").done().starts("pause").done().starts("wipe").done().closes("fixed")
    assert len(story.run.all_gates) == 1


def test_a_gate_of_a_step_is_asked_for_when_its_turn_comes() -> None:
    steps = {"warn": say(), "pause": post("/a", gate=votes(lead=1)), "cut": post("/b", gate=votes(oncall=1))}
    story = Story(policy(steps)).starts("warn").done().asks_people(lead=1).approve("amina").starts("pause")
    story.done().asks_people(oncall=1).approve("carl").starts("cut").done().closes("fixed")
    assert [gate.id for gate in story.run.all_gates] == ["r1.1", "r1.2"]


def test_a_waived_step_asks_nobody() -> None:
    story = Story(policy({"pause": post("/pause")})).starts("pause")
    assert story.run.gate is None


def test_a_waived_case_waives_for_its_steps_even_destructive_ones() -> None:
    case = {"do": ["wipe"], "gate": {"waived": "a copy is kept"}}
    Story(policy({"wipe": DELETE}, decide=[case])).starts("wipe")


def test_the_same_person_fills_one_place_only() -> None:
    story = Story(gated(finance=1, lead=1)).approve("amina").in_stage(Stage.WAITING)
    story.approve("amina").in_stage(Stage.WAITING)
    assert story.entry("vote-refused")["reason"] == "amina has voted already"
    story.approve("dora").starts("pause")


def test_a_vote_without_the_role_does_not_count() -> None:
    story = Story(gated(lead=1)).approve("bob").in_stage(Stage.WAITING).approve("mallory")
    assert "mallory has none of the roles lead" in story.entry("vote-refused")["reason"]
    assert story.gate.votes == ()


def test_a_stranger_cannot_deny_either() -> None:
    Story(gated(lead=1)).deny("bob").in_stage(Stage.WAITING).approve("amina").starts("pause")


def test_who_started_the_run_by_hand_may_not_approve_it_but_may_deny_it() -> None:
    story = Story(gated(oncall=1), opened_by="person:bob").approve("bob").in_stage(Stage.WAITING)
    assert "may not approve" in story.entry("vote-refused")["reason"]
    story.deny("bob").closes("denied")


def test_a_denial_is_final_and_imposes_the_cooldown_on_asking_again() -> None:
    story = Story(gated(oncall=2)).approve("bob").deny("carl", "not on a Friday")
    story.closes("denied", "denied by carl: not on a Friday").starts_nothing().counts("denied").pages()
    no = story.last.refusal
    assert no is not None
    assert (no.bound, no.again_at) == ("gate", START + timedelta(minutes=30))
    decision = story.approve("bob").last
    assert not decision.effects
    assert not decision.entries


def test_an_expired_gate_pages_and_imposes_the_cooldown() -> None:
    story = Story(gated(oncall=2)).approve("bob").passes("15m").closes("expired", "approved only by bob")
    story.starts_nothing().counts("denied").pages("gate r1.1 expired").writes("gate-expired", "closed")
    assert story.gate.state == "expired"
    assert story.last.refusal is not None
    assert story.last.refusal.again_at == START + timedelta(minutes=45)


def test_an_expired_gate_that_denies_does_not_page() -> None:
    pause = post("/pause", gate=votes(late="deny", oncall=1))
    Story(policy({"pause": pause})).passes("15m").closes("expired", "nobody answered").pages().counts(
        "denied"
    )


def test_a_vote_at_the_very_end_is_too_late() -> None:
    story = Story(gated(oncall=1)).later("15m").approve("bob").in_stage(Stage.WAITING).starts_nothing()
    assert story.entry("vote-refused")["reason"] == "the gate has expired"
    story.passes("0s").closes("expired")


def test_the_time_of_a_vote_is_the_time_at_which_it_is_counted() -> None:
    story = Story(gated(oncall=1))
    ahead = Vote(by="bob", approve=True, at=START + timedelta(days=1), via="api", hash=story.gate.hash)
    story.hears(VoteCast(story.gate.id, ahead)).starts("pause")
    assert story.gate.votes[0].at == START


@pytest.mark.parametrize("seen", ["0" * 64, "", "x"])
def test_a_vote_on_another_plan_does_not_count(seen: str) -> None:
    story = Story(gated(oncall=1)).approve("bob", hash_=seen).in_stage(Stage.WAITING)
    assert "the plan has changed" in story.entry("vote-refused")["reason"]


def test_a_card_may_carry_the_beginning_of_the_hash_but_no_mere_letter_of_it() -> None:
    story = Story(gated(oncall=1))
    story.approve("bob", hash_=story.gate.hash[:1]).in_stage(Stage.WAITING)
    story.approve("bob", hash_=story.gate.hash[:16]).starts("pause")


def test_a_vote_on_an_older_gate_is_refused_aloud() -> None:
    steps = {"pause": post("/a", gate=votes(lead=1)), "cut": post("/b", gate=votes(oncall=1))}
    story = Story(policy(steps)).approve("amina").done().asks_people(oncall=1)
    story.approve("bob", gate="r1.1").in_stage(Stage.WAITING)
    refused = story.entry("vote-refused")
    assert (refused["gate"], refused["by"]) == ("r1.1", "bob")
    assert "no longer open" in refused["reason"]
    story.approve("bob").starts("cut")


def test_a_vote_on_a_gate_that_never_was_is_refused_aloud() -> None:
    story = Story(gated(oncall=1)).approve("bob", gate="r2.1").in_stage(Stage.WAITING)
    assert story.entry("vote-refused")["gate"] == "r2.1"


def test_a_vote_while_no_gate_is_open_is_refused_aloud() -> None:
    story = Story(policy({"pause": post("/pause", gate=votes(oncall=1))})).approve("bob").starts("pause")
    story.approve("carl")
    assert story.entry("vote-refused")["reason"] == "the gate is no longer open: approved by bob"


def test_a_role_that_is_lost_between_vote_and_start_refuses() -> None:
    steps = {"warn": say(), "pause": post("/pause", gate=None)}
    case = {"do": list(steps), "gate": votes(oncall=1)}
    story = Story(policy(steps, decide=[case])).approve("bob").starts("warn")
    story.sees(catalog=with_roles(oncall={"carl"})).done()
    story.closes("failed", "no longer hold the roles").pages("stopped before pause")


def test_a_role_that_is_lost_before_the_last_vote_does_not_count() -> None:
    story = Story(gated(oncall=2)).approve("bob").sees(catalog=with_roles(oncall={"carl"})).approve("carl")
    story.in_stage(Stage.WAITING).starts_nothing()


def test_a_step_that_became_riskier_since_it_was_planned_is_refused() -> None:
    api = replace(CATALOG.connections["api"], risks={})
    riskier = replace(CATALOG, connections={**CATALOG.connections, "api": api})
    wipe = DELETE | {"with": {"method": "POST", "path": "/safe/x"}, "gate": votes(oncall=1)}
    story = Story(policy({"wipe": wipe})).sees(catalog=riskier).approve("bob")
    story.refuses("gate", "riskier").starts_nothing()


def test_a_connection_that_is_gone_refuses() -> None:
    gone = {name: one for name, one in CATALOG.connections.items() if name != "api"}
    story = Story(gated(oncall=1)).sees(catalog=replace(CATALOG, connections=gone)).approve("bob")
    story.starts_nothing().closes("refused", "api")


def approved_but_not_started() -> Story:
    story = Story(policy({"pause": post("/pause", verify=proof(), gate=votes(oncall=1))}))
    return story.approve("bob").in_stage(Stage.PREPARING)


def test_another_step_than_the_approved_one_never_starts() -> None:
    story = approved_but_not_started()
    step = story.run.steps["pause"]
    assert step.intention is not None
    call = with_fields(step.intention.call, args={"method": "POST", "path": "/wipe"})
    other = with_fields(step, intention=with_fields(step.intention, call=call))
    story.tampered(steps={"pause": other}).reads_before(value=1)
    story.refuses("gate", "not the one that was approved").starts_nothing()


@pytest.mark.parametrize("changed", [{"target": "campaign/c-2"}, {"version": "v2"}, {"id": "r2"}])
def test_an_approval_for_another_run_target_or_version_starts_nothing(changed: dict[str, str]) -> None:
    story = approved_but_not_started().sees(current=changed.get("version", VERSION)).tampered(**changed)
    story.reads_before(value=1).refuses("gate", "the plan is not the one that was approved").starts_nothing()


def test_a_vote_that_was_slipped_in_starts_nothing() -> None:
    story = approved_but_not_started()
    vote = Vote(by="carl", approve=True, at=START, via="api", hash="f" * 64)
    story.tampered(gate=with_fields(story.gate, votes=(*story.gate.votes, vote))).reads_before(value=1)
    story.refuses("gate", "voted on another plan").starts_nothing()


def test_what_is_known_to_be_refused_bothers_nobody() -> None:
    story = Story(gated(oncall=1), use=acted("10m")).refuses("cooldown", again_in="20m")
    assert story.run.gate is None


# ── Previews ──────────────────────────────────────────────────────────────────────────────────────

SQL = {"use": "sql.execute", "via": "db", "with": {}, "gate": votes(lead=1)}


def test_people_see_what_would_change_before_they_are_asked() -> None:
    story = Story(policy({"halve": SQL})).in_stage(Stage.PREVIEWING).starts_nothing()
    story.previewed("halve", Picture(1, "0.07 -> 0.035")).asks_people(lead=1)
    assert story.gate.pictures == {"halve": Picture(1, "0.07 -> 0.035")}
    story.approve("amina").starts("halve").done().closes("fixed")


def test_a_preview_that_fails_refuses() -> None:
    story = Story(policy({"halve": SQL}))
    story.hears(Previewed(story.run.round, "halve", None, "no such table"))
    story.refuses("preview", "halve: no such table")


def test_other_rows_at_the_click_void_the_gate_even_without_a_probe() -> None:
    story = Story(policy({"halve": SQL})).previewed("halve", Picture(1, "one row"))
    story.pictures["halve"] = Picture(2, "two rows")
    story.approve("amina").asks_people(lead=1).starts_nothing().writes(
        "gate-approved", "gate-void", "gate-opened"
    )
    assert story.run.all_gates[0].state == "void"
    story.approve("amina").starts("halve")


def test_each_gate_shows_and_compares_its_own_pictures_only() -> None:
    steps = {"warn": say(), "halve": SQL, "quarter": SQL | {"gate": None}}
    story = Story(policy(steps, mode="suggest")).previewed("quarter", Picture(1, "q"))
    story.asks_people(oncall=1).approve("bob").starts("warn").done()
    story.previewed("halve", Picture(1, "h")).asks_people(lead=1)
    assert set(story.gate.pictures) == {"halve"}
    story.approve("amina").starts("halve").done().starts("quarter").done().closes("fixed")


# ── A gate in the middle of a run ─────────────────────────────────────────────────────────────────

HELD = {
    "pause": post("/pause", undo=undo(after="1h")),
    "cut": post("/cut", gate=votes(oncall=1)),
}


def test_a_denial_in_the_middle_leaves_no_temporary_change_behind() -> None:
    story = Story(policy(HELD)).starts("pause").done().deny("bob").holds(pause="1h")
    story.passes("1h").undoes("pause").done().closes("denied", "denied by bob").counts("act", "denied")


def test_an_expiry_in_the_middle_leaves_no_temporary_change_behind() -> None:
    story = Story(policy(HELD)).starts("pause").done().passes("15m").holds(pause="45m").pages("expired")
    story.passes("45m").undoes("pause").done().closes("expired")


def test_a_deadline_in_the_middle_leaves_no_temporary_change_behind() -> None:
    bounds = {"deadline": "10m"}
    story = Story(policy(HELD, bounds=bounds)).starts("pause").done().passes("10m").holds(pause="50m")
    assert story.gate.state == "void"
    story.pages("deadline").passes("50m").undoes("pause").done().closes("expired", "deadline")


def test_an_approval_that_was_carried_out_is_never_called_void() -> None:
    steps = {"pause": post("/a", gate=votes(lead=1)), "cut": post("/b", gate=votes(oncall=1))}
    story = Story(policy(steps)).approve("amina").done().resolves().passes("1m").closes("fixed")
    assert [gate.state for gate in story.run.all_gates] == ["approved", "void"]


def test_the_card_is_shown_again_at_each_vote_and_at_the_end() -> None:
    story = Story(gated(oncall=2))
    assert Card("r1.1") in story.approve("bob").last.effects
    assert Card("r1.1") in story.approve("carl").last.effects
    assert Card("r1.1") in story.done().last.effects


def test_whoever_approved_may_still_deny_while_the_gate_is_open() -> None:
    story = Story(gated(oncall=1, lead=1)).approve("bob").deny("bob", "I looked again")
    story.closes("denied", "denied by bob: I looked again").starts_nothing().counts("denied")


def test_what_was_done_before_a_gate_that_nobody_answered_is_told() -> None:
    steps = {"freeze": post("/freeze"), "lock": post("/lock", gate=votes(within="10m", oncall=1))}
    told = Story(policy(steps)).starts("freeze").done().asks_people(oncall=1).passes("10m")
    told.closes("expired", "done before, and standing: freeze").pages("done before, and standing: freeze")
    assert "Nothing was done" not in told.paged[0]


def test_what_was_done_before_a_denial_is_told() -> None:
    steps = {"freeze": post("/freeze"), "lock": post("/lock", gate=votes(within="10m", oncall=1))}
    told = Story(policy(steps)).starts("freeze").done().asks_people(oncall=1).deny("bob", "not now")
    told.closes("denied", "denied by bob: not now; done before, and standing: freeze")


def test_who_agreed_in_vain_hears_of_it() -> None:
    story = Story(policy({"pause": post("/pause", gate=votes(oncall=1))})).asks_people(oncall=1)
    story.sees(holder="r9").approve("bob").refuses("target", waits_for="target:campaign/c-1")
    story.pages("people had agreed, and it was not done: target: run r9 is acting")


# ── Before people are asked for what follows ──────────────────────────────────────────────────────

LATER = {"pause": post("/pause"), "cut": post("/cut", gate=votes(oncall=1))}


def test_people_are_not_asked_for_a_later_step_that_may_not_start() -> None:
    told = Story(policy(LATER)).halted().done().closes("failed", "halted by amina")
    told.pages("stopped before cut: halted by amina")
    told = Story(policy(LATER, bounds={"windows": {"only": ["Wed 10:00-10:30 UTC"]}})).later("40m").done()
    told.closes("failed", "windows: ").pages("stopped before cut: ")
    assert told.run.all_gates == ()


# ── What an older version asked ───────────────────────────────────────────────────────────────────


def test_a_gate_that_an_older_version_opened_still_holds() -> None:
    """Its run as it was stored before undos could be proved, or ended early by a probe."""
    steps = {
        "a": post(
            "/a/${campaign}",
            verify=proof(within="5m"),
            undo=undo("/-a", after="1h", early="unverified"),
        ),
        "b": post("/b", undo=undo("/-b", after="2h")),
    }
    text = policy(steps, diagnose=budget_probe(), decide=[{"do": ["a", "b"], "gate": votes(oncall=1)}])
    told = Story(text, given={"budget": {"row": {"x": 1}, "count": 1}}).asks_people(oncall=1)
    stored = msgspec.json.decode(OLDER.read_bytes(), type=Run)
    assert stored.gate is not None
    assert (stored.gate.hash, stored.gate.intentions) == (told.gate.hash, told.gate.intentions)
    told.tampered(**msgspec.structs.asdict(stored)).approve("bob").reads_before(value=1).starts("a")
