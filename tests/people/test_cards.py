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
from slack_sdk.models.blocks import InputBlock

from remediator.core.catalog import Risk
from remediator.core.evidence import Picture, Reading
from remediator.core.intention import Intention, UndoPlan
from remediator.core.run import Gate, Member, Outcome, Run, Stage, StepRun, StepState
from remediator.people.cards import Card, gate_card
from remediator.people.lettering import when
from remediator.people.previews import Enclosure
from tests.fakes.slack_blocks import problems
from tests.people.stories import HASH, NOW, PUBLIC, alert, gate, halved, pause, table, vote, waiting, warn

GOLDEN = Path(__file__).parent / "golden"


def card(run: Run, public_url: str = PUBLIC) -> Card:
    assert run.gate is not None
    shown = gate_card(run, run.gate, public_url)
    assert problems(shown.blocks) == []
    return shown


def buttons(shown: Card) -> list[dict[str, Any]]:
    return [one for block in shown.blocks if block["type"] == "actions" for one in block["elements"]]


def inputs(shown: Card) -> list[dict[str, Any]]:
    return [block for block in shown.blocks if block["type"] == "input"]


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


def _rows() -> Run:
    return waiting(gate(pictures={"pause_campaigns": table(halved(17), halved(4), halved(102))}))


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
    asked = gate(state="expired", note="nobody answered within 15m")
    return waiting(asked, stage=Stage.CLOSED, outcome=Outcome.EXPIRED, reason="nobody answered within 15m")


def _items(count: int = 100, **changes: Any) -> Gate:
    """One gate for a step that is repeated for so many items."""
    steps = [
        pause({"method": "POST", "path": f"/api/p/{n}/pause"}, step=f"pause[{n}]")
        for n in range(1, count + 1)
    ]
    pictures = {f"pause[{n}]": table(halved(n)) for n in range(count, 0, -1)}
    return gate(warn(), *steps, **{"pictures": pictures} | changes)


def _repeated() -> Run:
    return waiting(_items())


def _repeating() -> Run:
    asked = _items(state="approved", votes=(vote("amina"), vote("bob", minute=3)))
    at = NOW + timedelta(minutes=4)
    steps = {one.step: StepRun(one.step, intention=one) for one in asked.intentions}
    steps["warn_merchant"] = StepRun("warn_merchant", StepState.DONE, warn(), started_at=at)
    for number, one in enumerate(asked.intentions[1:91], start=1):
        bad = number % 12 == 0
        steps[one.step] = StepRun(
            one.step,
            StepState.REFUSED if bad else StepState.VERIFIED,
            one,
            started_at=at + timedelta(seconds=number),
            error="409: it is running" if bad else "",
            undo_at=None if bad else at + timedelta(hours=24, seconds=number),
        )
    return waiting(asked, stage=Stage.ACTING, steps=steps)


STORIES = [_open, _rows, _approved, _holding, _fixed, _denied, _expired, _repeated, _repeating]


@pytest.mark.parametrize("story", STORIES)
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


@pytest.mark.parametrize("state", ["approved", "denied", "void"])
def test_a_gate_that_is_no_longer_open_has_no_buttons(state: str) -> None:
    shown = card(waiting(gate(state=state, note="the plan has changed")))
    assert buttons(shown) == []
    assert inputs(shown) == []
    assert "the plan has changed" in marked(shown)


def test_a_gate_that_expired_offers_to_ask_again_until_somebody_did() -> None:
    late = gate(state="expired", note="nobody answered in time")
    (again,) = buttons(card(waiting(late, stage=Stage.CLOSED, outcome=Outcome.EXPIRED)))
    assert (again["action_id"], again["value"]) == ("again", "r-1.1")
    asked = msgspec.structs.replace(late, again="r-2", remarks=("amina asked again: run r-2 was opened",))
    shown = card(waiting(asked, stage=Stage.CLOSED, outcome=Outcome.EXPIRED))
    assert buttons(shown) == []
    assert "amina asked again: run r-2 was opened" in marked(shown)


def test_whoever_clicks_may_say_why_in_one_line_that_may_stay_empty() -> None:
    (line,) = inputs(card(waiting()))
    assert (line["label"]["text"], line["optional"]) == ("Reason (for a denial)", True)
    assert "dispatch_action" not in line, "typing alone sends nothing"
    assert line["element"] == {"type": "plain_text_input", "action_id": "reason", "max_length": 500}
    assert InputBlock(**{name: one for name, one in line.items() if name != "type"}).to_dict() == line


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


def test_an_undo_that_is_riskier_than_its_act_says_so() -> None:
    riskier = UndoPlan({"how": "x"}, warn().call, 60.0, risk=Risk.DESTRUCTIVE)
    assert "taken back after 1m, which is destructive while the act is not" in literal(
        card(waiting(gate(pause(undo=riskier))))
    )


def test_the_condition_of_an_undo_stands_on_the_card() -> None:
    still = {"use": "http.get", "via": "api", "with": {}, "when": "verify.json.size == 4"}
    undo = UndoPlan({"use": "x", "still": still}, warn().call, 60.0)
    text = literal(card(waiting(gate(pause(undo=undo)))))
    assert "taken back after 1m, if 'verify.json.size == 4' still holds: " in text
    assert '"still": {"use": "http.get"' in text


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


def test_it_says_that_the_policy_is_stepped_down_and_until_when() -> None:
    text = marked(card(waiting(mode="suggest", down_until=NOW + timedelta(hours=4))))
    assert f"the policy has failed too often: in mode suggest until {when(NOW + timedelta(hours=4))}" in text
    assert "failed too often" not in marked(card(waiting(mode="suggest")))


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
        ({"state": StepState.VERIFIED, "undo_error": "drifted"}, "not wholly taken back: drifted"),
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


# ── Rows before and after ─────────────────────────────────────────────────────────────────────────


def rows(picture: Picture, enclosed: Enclosure | None = None, **changes: Any) -> Card:
    run = waiting(gate(pictures={"pause_campaigns": picture}, **changes))
    assert run.gate is not None
    shown = gate_card(run, run.gate, PUBLIC, enclosed or Enclosure())
    assert problems(shown.blocks) == []
    return shown


def test_rows_that_fit_stand_in_columns_and_can_be_approved() -> None:
    shown = rows(table(halved(17), halved(4)))
    assert "*pause_campaigns* would change 2 rows: updated_at = now()" in marked(shown)
    assert (
        "id    earn_rate        status\n"
        "p-17  0.0700 → 0.0350  active → paused\n"
        "p-4   0.0700 → 0.0350  active → paused"
    ) in literal(shown)
    assert (shown.file, [one["action_id"] for one in buttons(shown)]) == ("", ["approve", "deny"])


@pytest.mark.parametrize(
    "picture",
    [
        table(*(halved(number) for number in range(11))),
        table(halved(17, after={"note": "x" * 101}, before=None)),
    ],
    ids=["long", "wide"],
)
def test_rows_that_do_not_fit_can_be_approved_once_their_file_was_delivered(picture: Picture) -> None:
    waits = rows(picture)
    assert [one["action_id"] for one in buttons(waits)] == ["deny"]
    assert "their file is not attached yet, so nobody can approve here" in marked(waits)
    for one in picture.rows:
        assert f"\n{'' if one['before'] else '+  '}{one['key']['id']}" in waits.file
    failed = rows(picture, Enclosure(problem="missing_scope"))
    assert [one["action_id"] for one in buttons(failed)] == ["deny"]
    assert "could not be attached (missing_scope), so nobody can approve here" in marked(failed)
    assert f"Read and approve on <{PUBLIC}/runs/r-1|" in marked(failed)
    there = rows(picture, Enclosure(delivered=True))
    assert [one["action_id"] for one in buttons(there)] == ["approve", "deny"]
    assert "stand in the file in this thread" in marked(there)
    assert there.file == waits.file == failed.file


def test_the_file_says_what_it_belongs_to_and_holds_every_row() -> None:
    file = rows(table(*(halved(number) for number in range(40)))).file
    assert file.startswith(f"gate r-1.1: loyalty-budget-exhaustion on loyalty-program/p-17, plan {HASH}\n")
    assert "pause_campaigns would change 40 rows: updated_at = now()" in file
    assert sum("0.0700 → 0.0350" in line for line in file.splitlines()) == 40


def test_rows_that_nobody_listed_cannot_be_approved_here_whatever_is_attached() -> None:
    shown = rows(table(halved(17), halved(4), count=3), Enclosure(delivered=True))
    assert [one["action_id"] for one in buttons(shown)] == ["deny"]
    assert "1 row that would change could not be listed, so nobody can approve here" in marked(shown)
    assert shown.file == ""


def test_a_table_behind_the_last_preview_that_a_card_holds_must_be_in_the_file() -> None:
    pictures = {f"step_{number}": table(halved(number)) for number in range(7)}
    run = waiting(gate(pictures=pictures))
    assert run.gate is not None
    shown = gate_card(run, run.gate, PUBLIC)
    assert "step_6 would change 1 row" in shown.file
    assert [one["action_id"] for one in buttons(shown)] == ["deny"]


def test_many_items_can_be_approved_once_all_of_them_stand_in_the_file() -> None:
    asked = _items()
    waits = card(waiting(asked))
    assert [one["action_id"] for one in buttons(waits)] == ["deny"]
    assert "The items and rows do not fit here, and their file is not attached yet" in marked(waits)
    assert "… 90 more of 100 items of pause" in literal(waits)
    assert "on loyalty-program/p-17 (warn_merchant, pause (100 items))" in waits.text
    for number in range(1, 101):
        assert f". pause[{number}]: http.request via loyalty_api (destructive)" in waits.file
        assert f'"/api/p/{number}/pause"' in waits.file
        assert f"\np-{number} " in waits.file
    there = gate_card(waiting(asked), asked, PUBLIC, Enclosure(delivered=True))
    assert [one["action_id"] for one in buttons(there)] == ["approve", "deny"]
    assert "All 100 items and 100 rows stand in the file in this thread" in marked(there)


def test_few_items_stand_on_the_card_whole() -> None:
    shown = card(waiting(_items(10)))
    assert (shown.file, [one["action_id"] for one in buttons(shown)]) == ("", ["approve", "deny"])
    assert "*pause (10 items)* would change 10 rows: updated_at = now()" in marked(shown)


def test_items_whose_statements_differ_have_a_table_each() -> None:
    pictures = {"pause[1]": table(halved(1), text="one"), "pause[2]": table(halved(2), text="other")}
    shown = marked(card(waiting(_items(2, pictures=pictures))))
    assert "*pause[1]* would change 1 row: one" in shown and "*pause[2]* would change 1 row: other" in shown


def test_a_thousand_items_are_shown_within_slacks_limits() -> None:
    shown = card(waiting(_items(1000)))
    assert len(shown.blocks) <= 50
    assert len(json.dumps(shown.blocks)) < 30_000


def test_a_step_beside_a_list_that_does_not_fit_cannot_be_approved_here() -> None:
    steps = [pause({"body": "x" * 20_000}), *_items(20).intentions]
    shown = card(waiting(gate(*steps, pictures={})))
    assert (shown.file, [one["action_id"] for one in buttons(shown)]) == ("", ["deny"])


def test_a_card_whose_steps_do_not_fit_needs_no_file_for_its_rows() -> None:
    asked = gate(pause({"body": "x" * 20_000}), pictures={"pause_campaigns": table(*map(halved, range(20)))})
    run = waiting(asked)
    assert (gate_card(run, asked, PUBLIC).file, card(run).whole) == ("", False)


def test_a_gate_that_is_no_longer_open_wants_no_file() -> None:
    long = table(*(halved(number) for number in range(20)))
    assert rows(long, state="denied").file == ""
    assert "nobody can approve here" not in marked(rows(long, state="denied"))


def test_the_largest_card_has_no_more_blocks_than_slack_takes() -> None:
    many = [pause(step=f"pause_{number}") for number in range(26)]
    pictures = {f"pause_{number}": table(*(halved(row) for row in range(20))) for number in range(9)}
    run = waiting(gate(*many, pictures=pictures))
    assert run.gate is not None
    for enclosed in (Enclosure(), Enclosure(delivered=True)):
        shown = gate_card(run, run.gate, PUBLIC, enclosed)
        assert problems(shown.blocks) == []
        assert 45 < len(shown.blocks) <= 50


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
        pictures={
            "pause_campaigns": Picture(3, text, ({text: text},)),
            text: table({"key": {text: text}, "before": {"note": "a"}, "after": {"note": text}}, text=text),
        },
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
        assert unseen not in shown.file
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


def test_silence_that_counts_as_a_denial_is_not_asked_again() -> None:
    silent = gate(state="expired", late="deny", note="nobody answered within 15m")
    shown = card(waiting(silent, stage=Stage.CLOSED, outcome=Outcome.EXPIRED, reason="nobody answered"))
    assert "Ask again" not in json.dumps(shown.blocks)
    assert "Ask again" in json.dumps(card(_expired()).blocks)
