"""What a gate's card shows: everything that would be done, whole, or no Approve button."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.run import (
    Gate,
    Intention,
    Member,
    Outcome,
    Picture,
    Reading,
    Run,
    Stage,
    StepRun,
    StepState,
    UndoPlan,
)
from remediator.people.cards import Card, gate_card
from tests.fakes.slack_blocks import problems
from tests.people.stories import HASH, NOW, PUBLIC, alert, gate, pause, vote, waiting, warn

GOLDEN = Path(__file__).parent / "golden"


def card(run: Run, public_url: str = PUBLIC) -> Card:
    assert run.gate is not None
    shown = gate_card(run, run.gate, public_url)
    assert problems(shown.blocks) == []
    return shown


def buttons(shown: Card) -> list[dict[str, Any]]:
    return [one for block in shown.blocks if block["type"] == "actions" for one in block["elements"]]


def literal(shown: Card) -> str:
    """All text that Slack shows as it is."""
    return "".join(
        piece["text"]
        for block in shown.blocks
        if block["type"] == "rich_text"
        for element in block["elements"]
        for piece in element["elements"]
    )


def marked(shown: Card) -> str:
    """All text in which Slack reads markup."""

    def texts(value: Any) -> Iterator[str]:
        match value:
            case {"type": "mrkdwn", "text": str(text)}:
                yield text
            case {"type": "rich_text"}:
                return
            case dict():
                for one in value.values():
                    yield from texts(one)
            case list():
                for one in value:
                    yield from texts(one)

    return "\n".join([*texts(shown.blocks), shown.text])


# ── Golden cards ──────────────────────────────────────────────────────────────────────────────────


def progressed(asked: Gate, state: StepState, **changes: Any) -> dict[str, StepRun]:
    first, second = asked.intentions
    at = NOW + timedelta(minutes=4)
    return {
        first.step: StepRun(first.step, StepState.DONE, first, started_at=at),
        second.step: StepRun(second.step, state, second, started_at=at, **changes),
    }


def _open() -> Run:
    return waiting(gate(votes=(vote("amina"),)))


def _approved() -> Run:
    asked = gate(state="approved", votes=(vote("amina"), vote("bob", minute=3)))
    return waiting(asked, stage=Stage.VERIFYING, steps=progressed(asked, StepState.DONE))


def _holding() -> Run:
    asked = gate(state="approved", votes=(vote("amina"), vote("bob", minute=3)))
    steps = progressed(asked, StepState.VERIFIED, undo_at=NOW + timedelta(hours=24))
    return waiting(asked, stage=Stage.HOLDING, steps=steps)


def _fixed() -> Run:
    asked = gate(state="approved", votes=(vote("amina"), vote("bob", minute=3)))
    steps = progressed(asked, StepState.UNDONE, undo_started=True)
    return waiting(asked, stage=Stage.CLOSED, steps=steps, outcome=Outcome.FIXED, reason="proved by spend")


def _denied() -> Run:
    asked = gate(
        state="denied", votes=(vote("bob", approve=False, reason="big sale today"),), note="bob denied"
    )
    return waiting(asked, stage=Stage.CLOSED, outcome=Outcome.DENIED, reason="bob denied: big sale today")


def _expired() -> Run:
    asked = gate(state="expired", late="deny", note="nobody answered within 15m")
    return waiting(asked, stage=Stage.CLOSED, outcome=Outcome.EXPIRED, reason="nobody answered within 15m")


@pytest.mark.parametrize("story", [_open, _approved, _holding, _fixed, _denied, _expired])
def test_the_card_reads_as_the_golden_one(story: Any) -> None:
    shown = card(story())
    file = GOLDEN / f"{story.__name__.strip('_')}.json"
    found = json.dumps({"text": shown.text, "blocks": shown.blocks}, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(found)
    assert found == file.read_text()


# ── The buttons ───────────────────────────────────────────────────────────────────────────────────


def test_the_buttons_name_the_gate_and_what_it_showed() -> None:
    approve, deny = buttons(card(waiting()))
    assert [approve["action_id"], deny["action_id"]] == ["approve", "deny"]
    assert {approve["value"], deny["value"]} == {f"r-1.1:{HASH[:16]}"}


@pytest.mark.parametrize("state", ["approved", "denied", "expired", "void"])
def test_a_gate_that_is_no_longer_open_has_no_buttons(state: str) -> None:
    shown = card(waiting(gate(state=state, note="the plan has changed")))
    assert buttons(shown) == []
    assert "the plan has changed" in marked(shown)


def test_a_closed_run_has_no_buttons_whatever_its_gate_says() -> None:
    assert buttons(card(waiting(stage=Stage.CLOSED, outcome=Outcome.RECOVERED, reason="resolved"))) == []


def test_what_does_not_fit_whole_cannot_be_approved_here() -> None:
    shown = card(waiting(gate(pause({"body": "x" * 20_000}))))
    assert not shown.whole
    assert [one["action_id"] for one in buttons(shown)] == ["deny"]
    assert "nobody can approve here" in marked(shown)
    assert f"<{PUBLIC}/runs/r-1|" in marked(shown)


def test_many_steps_that_do_not_fit_cannot_be_approved_here() -> None:
    many = [pause(step=f"pause_{number}") for number in range(60)]
    shown = card(waiting(gate(*many)))
    assert [one["action_id"] for one in buttons(shown)] == ["deny"]
    assert len(shown.blocks) <= 50


def test_a_long_step_that_fits_in_pieces_is_whole() -> None:
    body = "".join(f"{number:05}," for number in range(1500))
    shown = card(waiting(gate(pause({"body": body}))))
    assert body in literal(shown)
    assert [one["action_id"] for one in buttons(shown)] == ["approve", "deny"]


def test_the_buttons_outlive_a_change_of_nothing() -> None:
    assert card(waiting()).digest == card(waiting()).digest
    assert card(waiting()).digest != card(waiting(gate(votes=(vote("amina"),)))).digest


# ── What it says ──────────────────────────────────────────────────────────────────────────────────


def test_it_shows_each_step_with_operation_connection_arguments_proof_and_undo() -> None:
    text = literal(card(waiting()))
    for said in (
        "2. pause_campaigns: http.request via loyalty_api (destructive)",
        "POST /api/programs/p-17/pause",
        '"for": "24h"',
        "proved by prometheus.query via prometheus",
        "taken back after 1d, earlier if unverified",
        "/api/programs/p-17/resume",
    ):
        assert said in text
    assert "not taken back by itself" in text


def test_a_written_undo_shows_its_resolved_call() -> None:
    undo = UndoPlan({"how": "x"}, warn().call, None)
    assert 'taken back: {"call": "slack.message"' in literal(card(waiting(gate(pause(undo=undo)))))


def test_it_counts_other_alerts_and_says_who_started_it() -> None:
    members = {name: Member(firing=True, since=NOW) for name in ("f1", "f2", "f3")}
    text = marked(card(waiting(members=members, opened_by="person:amina")))
    assert "and 2 more alerts" in text
    assert "started by amina" in text
    alone = marked(card(waiting(members={}, opened_by="person:amina")))
    assert "started by amina" in alone
    assert "firing since" not in alone
    assert "more alert" not in alone
    joined = {"f9": Member(firing=True, since=NOW)}
    assert "and 1 more alert" in marked(card(waiting(members=joined, opened_by="person:amina")))


def test_an_alert_that_says_nothing_still_has_a_card() -> None:
    assert "(no alertname)" in marked(card(waiting(alert=alert(labels={}, annotations={}), readings={})))


def test_without_a_public_url_it_names_the_run() -> None:
    assert "the page of run r-1" in marked(card(waiting(), public_url=""))
    assert "<http" not in marked(card(waiting(), public_url=""))


def test_one_approver_need_not_be_different_people() -> None:
    assert "different people" not in marked(card(waiting(gate(required={"oncall": 1}))))


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"state": StepState.STARTED}, "started"),
        ({"state": StepState.UNVERIFIED, "error": "still 41"}, "not proved to have worked: still 41"),
        ({"state": StepState.REFUSED, "error": "answered 404"}, "refused: answered 404"),
        ({"state": StepState.UNKNOWN, "error": "no answer"}, "outcome unknown: no answer"),
        ({"state": StepState.VERIFIED, "undo_at": NOW, "undo_late": True}, "overdue: a person was paged"),
        ({"state": StepState.VERIFIED, "undo_error": "drifted"}, "could not be taken back: drifted"),
    ],
)
def test_it_follows_each_step(step: dict[str, Any], said: str) -> None:
    asked = gate(state="approved")
    steps = progressed(asked, **step)
    assert said in marked(card(waiting(asked, stage=Stage.ACTING, steps=steps)))


def test_a_step_that_is_next_and_one_that_never_started() -> None:
    assert "pause_campaigns: next" in marked(card(waiting(gate(state="approved"), stage=Stage.ACTING)))
    assert "pause_campaigns: not started" in marked(card(waiting(gate(state="denied"))))


def test_evidence_and_previews_that_do_not_fit_are_cut_visibly() -> None:
    readings = {f"probe_{n}": Reading(NOW, ok=True, value={"text": "y" * 500}) for n in range(40)}
    rows = tuple({"id": n} for n in range(50))
    pictures = {f"step_{n}": Picture(50, "campaigns", rows) for n in range(9)}
    shown = card(waiting(gate(pictures=pictures), readings=readings))
    text = marked(shown)
    assert "more; see <https://remediator.example/runs/r-1|" in text
    assert "… 40 more" in text
    assert "3 more previews" in text
    assert [one["action_id"] for one in buttons(shown)] == ["approve", "deny"]


def test_a_deep_reading_becomes_names_and_values() -> None:
    value = {"json": {"status": {"phase": "Failed", "pods": [1, 2, 3, 4]}, "ok": True}, "status": 200}
    text = marked(card(waiting(readings={"job": Reading(NOW, ok=True, value=value)})))
    assert "json.status.phase = Failed · json.status.pods = [4 items] · json.ok = true · status = 200" in text


# ── Hostile texts ─────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "<!channel>",
    "<!here|now>",
    "<@U01ALICE>",
    "<#C01GEN>",
    "<https://evil.example|Approve>",
    "a & b",
    "&lt;!channel&gt;",
    "```\ninjected",
    "*bold* _it_ ~s~ `code`",
    "\u202etxt.exe",
    "zero\u200bwidth",
    "p\u0430ypal",
    "line\r\nbreak",
    "bell\x07",
    "tag\U000e0041",
    "half\ud800",
    "x" * 10_000,
]


def everywhere(text: str) -> Run:
    asked = gate(
        pause({"path": text, text: "key"}, summary=text),
        note=text,
        votes=(vote("amina", reason=text),),
        pictures={"pause_campaigns": Picture(3, text, ({text: text},))},
    )
    return waiting(
        asked,
        target=f"loyalty-program/{text}"[:400],
        alert=alert(labels={"alertname": text, "severity": text[:100]}, annotations={"summary": text}),
        readings={
            "p": Reading(NOW, ok=True, value={"text": text, text: 1}),
            "q": Reading(NOW, ok=False, error=text),
        },
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("state", ["open", "denied"])
def test_hostile_text_makes_no_mention_and_no_link_and_hides_nothing(text: str, state: str) -> None:
    run = everywhere(text)
    assert run.gate is not None
    run = msgspec.structs.replace(
        run, gate=msgspec.structs.replace(run.gate, state=state), reason=text, outcome=Outcome.DENIED
    )
    shown = card(run)
    said = marked(shown)
    for mark in ("<!channel", "<!here", "<@", "<#", "<https://evil"):
        assert mark not in said
    for unseen in ("\u202e", "\u200b", "\U000e0041", "\ud800", "\x07", "\r"):
        assert unseen not in said
        assert unseen not in literal(shown)
    json.dumps(shown.blocks, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("\u202etxt", r"\u202etxt"),
        ("a\u200bb", r"a\u200bb"),
        ("p\u0430ypal", r"p\u0430ypal"),
        ("a\u00a0b", r"a\u00a0b"),
        ("привет café", "привет café"),
        ("<!channel>", "<!channel>"),
        ("```", "```"),
    ],
)
def test_an_argument_is_shown_letter_by_letter(text: str, spelled: str) -> None:
    intention: Intention = pause({"path": text})
    assert f'"path": "{spelled}"' in literal(card(waiting(gate(intention))))
