"""The pages: what they say, how they negotiate, that they stay quick, and how journals read."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remediator.core.messages import Entry
from remediator.core.run import Outcome, Run, Stage, StepState
from remediator.ports import JournalEntry, Tx
from remediator.web import timeline, wording
from tests.store.samples import NOON, a_run
from tests.web.conftest import Site
from tests.web.scene import (
    BUDGET,
    alert,
    asking,
    closed,
    fill,
    holding,
    journal,
    run,
    thrown_halt,
    waiting,
    working,
)

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


class _Text(HTMLParser):
    """What a reader sees, tags left out; and that every tag that is opened is closed."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [name for name, _ in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


def text_of(page: str) -> str:
    parser = _Text()
    parser.feed(page)
    assert parser.open == []
    assert not [name for name in parser.attributes if name == "style" or name.startswith("on")]
    return re.sub(r"\s+", " ", "".join(parser.seen))


async def keep(site: Site, one: Run) -> None:
    await site.store.transact(lambda tx: tx.save_run(one, None))


async def page(site: Site, path: str = "/status") -> str:
    status, body = await site.get(path, Accept=BROWSER)
    assert status == 200, body
    return text_of(body)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html"),
        ("*/*", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html;q=0.5, application/json", "application/json"),
        ("application/json;q=0.2, text/html", "text/html"),
        ("application/json;q=nonsense", "text/html"),
        ("application/*", "application/json"),
    ],
)
async def test_the_status_is_a_page_or_json_as_the_client_prefers(site: Site, accept: str, kind: str) -> None:
    async with site.client.get(f"{site.url}/status", headers={"Accept": accept}) as answer:
        assert answer.content_type == kind
        assert answer.headers["Vary"] == "Accept"


async def test_a_calm_night_says_so(site: Site) -> None:
    told = await page(site)
    assert "All is well" in told
    assert "No run is open." in told
    assert "Nothing is refused." in told
    assert "Needs you now" not in told


async def test_what_needs_a_person_comes_first_and_whole(site: Site) -> None:
    await fill(site.store)
    told = await page(site)
    assert "2 things need you" in told
    for words in (
        "loyalty-budget-exhaustion on loyalty-program/p-17",
        "UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3",
        '["p-17", 0.035, 0.07]',
        "would change 1 row",
        "id earn_rate p-17 0.0700 → 0.0350",
        "taken back after 1 d, earlier if unverified",
        "amina approved by slack 1 min ago: the merchant knows",
        "waits for 1 of ops_marketing (bob, chidi)",
        "If nobody answers until 12:12:00 UTC, nothing is done and a person is paged",
        "12 min left",
        "It is unknown whether restart_worker happened: no answer within 10 s",
        "Page opened 2 min ago",
        "will undo halve_earn_rate",
        "22 h 55 min",
        "considered again in 18 min",
        "considered again after target worker/w-3",
        "the body ends too early",
    ):
        assert words in told, words
    assert told.index("Needs you now") < told.index("Open runs") < told.index("Holds")


async def test_every_outcome_stands_in_a_word_with_its_reason(site: Site) -> None:
    await fill(site.store)
    told = await page(site)
    for outcome in Outcome:
        assert wording.OUTCOMES[outcome].word == str(outcome)
        assert str(outcome) in told
    assert "denied by amina: the merchant asked us to wait" in told


async def test_trouble_of_its_own_is_the_top_line(site: Site) -> None:
    site.problems.append("no notifier works")
    assert "Not well" in await page(site)
    site.problems.clear()
    await site.store.transact(lambda tx: tx.put_halt(thrown_halt()))
    told = await page(site)
    assert "Halted in part" in told
    assert "Halted: policy:stuck-worker by bob just now: deploying the queue" in told


async def test_a_run_that_was_put_aside_is_told(site: Site) -> None:
    run = a_run()
    await site.store.transact(lambda tx: tx.save_run(run, None))
    await site.store.transact(lambda tx: tx.put_aside(run.id, tx.now, "a stage of tomorrow"))
    (problem,) = (await site.json("/status", Accept="application/json"))["problems"]
    assert problem.startswith(f"run {run.id} (")
    assert "is put aside, it cannot be decided: a stage of tomorrow" in problem


async def test_truncated_deliveries_are_told(site: Site) -> None:
    from tests.web.scene import _heard

    await site.store.transact(lambda tx: tx.put_alert(_heard(alert(truncated=7))))
    assert "Alertmanager left 7 alerts out of a delivery" in await page(site)


async def test_json_says_what_the_page_says(site: Site) -> None:
    await fill(site.store)
    status = await site.json(
        "/status", Accept="application/json", Authorization="Bearer bob-token-0123456789"
    )
    assert status["you"] == "bob"
    assert (status["healthy"], status["needs_you"], status["store"]) == (True, 2, "up")
    assert [gate["id"] for gate in status["gates"]] == [f"{waiting().id}.1"]
    assert [one["id"] for one in status["asking"]] == [asking().id]
    assert status["holds"][0]["undo_at"] == "2026-11-22T10:55:00Z"
    assert {one["bound"] for one in status["refusals"]} == {"cooldown", "target"}


@pytest.mark.parametrize(
    "one", [waiting(), asking(), holding(), working(), closed(1, Outcome.FIXED, "done"), run()]
)
async def test_every_run_has_its_page(site: Site, one: Any) -> None:
    async def work(tx: Tx) -> None:
        await tx.save_run(one, None)
        await tx.journal(one.id, journal(one))

    await site.store.transact(work)
    told = await page(site, f"/runs/{one.id}")
    assert f"{one.policy} on {one.target}" in told
    assert "Every line is linked to the one before it by its hash. To verify: remediator audit verify" in told
    head = await site.store.read(lambda tx: tx.journal_head(one.id))
    assert head is not None
    assert head.hash[:8] in told


async def test_a_run_by_hand_says_who_started_it_everywhere(site: Site) -> None:
    by_hand: dict[str, Any] = {
        "opened_by": "person:amina",
        "members": {},
        "alert": alert(labels={"alertname": BUDGET}, annotations={"summary": "started by hand by amina"}),
    }
    asked = waiting(1, **by_hand)
    ended = closed(2, Outcome.FIXED, "halve_earn_rate proved", **by_hand)
    for one in (asked, ended):
        await keep(site, one)
    told = await page(site, "/status")
    assert "started by hand by amina" in told
    assert "◆waiting loyalty-budget-exhaustion on loyalty-program/p-17" in told
    assert "a gate is open: people have to agree · step warn_merchant · started by amina" in told
    assert "halve_earn_rate proved · started by amina" in told
    own = await page(site, f"/runs/{asked.id}")
    assert "Started by hand" in own
    assert "firing since" not in own
    rows = (await site.json("/api/v1/runs"))["runs"]
    assert {row["opened_by"] for row in rows} == {"person:amina"}


async def test_a_run_of_a_policy_that_is_stepped_down_says_until_when(site: Site) -> None:
    until = NOON + timedelta(hours=4)
    lowered = waiting(mode="suggest", down_until=until)
    await keep(site, lowered)
    assert f"mode suggest, stepped down until {wording.moment(until)}" in await page(site)
    own = await page(site, f"/runs/{lowered.id}")
    assert f"stepped down after failures until {wording.moment(until)}" in own
    (row,) = (await site.json("/api/v1/runs"))["runs"]
    assert row["down_until"] == "2026-11-21T16:00:00Z"


async def test_an_expired_gate_offers_to_ask_again_until_somebody_did(site: Site) -> None:
    asked = waiting()
    assert asked.gate is not None
    for again, offered in (("", True), ("r-2", False)):
        gate = msgspec.structs.replace(asked.gate, state="expired", again=again)
        late = msgspec.structs.replace(asked, gate=gate, stage=Stage.CLOSED, outcome=Outcome.EXPIRED)
        await keep(site, late)
        told = await page(site, f"/runs/{late.id}")
        assert (f"remediator gates ask {gate.id}" in told, "asked again by run r-2" in told) == (
            offered,
            not offered,
        )


async def test_a_run_shows_its_proof(site: Site) -> None:
    await fill(site.store)
    told = await page(site, f"/runs/{holding().id}")
    assert "Before value 40.0" in told
    assert "Proof value 18.0" in told


async def test_an_unknown_run_is_a_small_page_for_people(site: Site) -> None:
    status, body = await site.get("/runs/none", Accept=BROWSER)
    assert status == 404
    assert "there is no such run" in text_of(body)


async def test_the_fragment_is_the_changing_part_alone(site: Site) -> None:
    _, body = await site.get("/status?fragment=1", Accept="text/html")
    assert body.lstrip().startswith('<div id="fragment"')
    assert "<script" not in body


async def test_the_front_door_leads_to_the_status(site: Site) -> None:
    async with site.client.get(f"{site.url}/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/status")


async def test_static_files_are_kept_long_under_their_hash(site: Site) -> None:
    _, body = await site.get("/status", Accept=BROWSER)
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', body)
    assert len(set(found)) == 3
    for path in found:
        async with site.client.get(site.url + path) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
        async with site.client.get(site.url + path.split("?")[0]) as answer:
            assert answer.headers["Cache-Control"] == "no-cache"
            etag = answer.headers["ETag"]
        async with site.client.get(site.url + path.split("?")[0], headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304


@pytest.mark.parametrize("number", [0, 200])
async def test_the_page_is_made_in_less_than_100_ms(site: Site, number: int) -> None:
    async def work(tx: Tx) -> None:
        for at in range(number):
            made = (waiting if at < 20 else run)(at, target=f"loyalty-program/p-{at}")
            await tx.save_run(made, None)
            await tx.save_run(closed(at + 200, Outcome.FIXED, "done"), None)

    await site.store.transact(work)
    await site.get("/status", Accept=BROWSER)  # templates are compiled once
    took = []
    for _ in range(5):
        began = time.process_time()  # others may be busy on this machine
        status, _body = await site.get("/status", Accept=BROWSER)
        took.append(time.process_time() - began)
        assert status == 200
    assert min(took) < 0.1, took


# ── Timeline ──────────────────────────────────────────────────────────────────────────────────────


def line(kind: str, **data: Any) -> timeline.Told:
    return timeline.told(
        JournalEntry(run="r-1", seq=1, at=NOON, kind=kind, data=data, previous="0" * 64, hash="ab" * 32)
    )


def test_every_kind_of_line_has_a_sentence_of_its_own() -> None:
    made = [timeline.told(_entry(one)) for one in journal(waiting())]
    assert {one.entry.kind for one in made} <= set(timeline._KINDS)
    for one in made:
        assert one.sentence[0].isupper() or one.entry.kind in (
            "vote",
            "vote-refused",
            "acknowledged",
            "settled",
        )
        assert "{" not in one.sentence


def test_whatever_a_run_notes_has_a_sentence() -> None:
    """A stage that notes something new must also say how it reads."""
    package = Path(timeline.__file__).parents[1]
    noted = {
        kind
        for file in (package / "core").rglob("*.py")
        for kind in re.findall(r'\.note\(\s*"([a-z-]+)"', file.read_text("utf-8"))
    }
    assert len(noted) > 25
    assert noted - set(timeline._KINDS) == set()


def _entry(entry: Entry) -> JournalEntry:
    return JournalEntry(
        run="r-1", seq=1, at=NOON, kind=entry.kind, data=entry.data, previous="0" * 64, hash="ab" * 32
    )


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("decided", {"case": 0, "steps": [], "rungs": False}, "Decided: case 1 holds, do nothing"),
        ("decided", {"case": 1, "steps": ["a", "b"], "rungs": True}, "Decided: case 2 holds, try a, b"),
        ("reading", {"probe": "b", "ok": True, "value": {"value": 4.0}}, "Probe b read value = 4.0"),
        ("resolved", {"fingerprint": "f", "all_resolved": False}, "Alert f resolved"),
        ("settled", {"by": "bob", "step": "s", "verdict": "handled"}, "bob says of s: taken over"),
        (
            "opened",
            {"by": "person:amina", "target": "w/1", "mode": "act"},
            "Run opened by amina on w/1, mode act",
        ),
        (
            "opened",
            {"by": "watch", "target": "w/1", "mode": "suggest", "stepped_down_until": "2026-03-04T14:00:00Z"},
            "Run opened by its watch on w/1, mode suggest, stepped down until 2026-03-04 14:00:00 UTC",
        ),
        (
            "stepped-down",
            {"mode": "suggest", "until": "2026-03-04T14:00:00Z", "why": "3 of its runs failed"},
            "The policy is stepped down to suggest until 2026-03-04 14:00:00 UTC: 3 of its runs failed",
        ),
        ("taken-over", {"by": "bob", "until": "noon"}, "Taken over: by = bob, until = noon"),
        ("holding", {"until": {"s": "resolved"}}, "Holding s until the alert resolves"),
        (
            "holding",
            {
                "until": {
                    "s[1]": "2026-03-04T10:00:00+00:00",
                    "s[2]": "2026-03-04T10:00:01+00:00",
                    "t": "resolved",
                }
            },
            "Holding s (2 items) until 2026-03-04 10:00:00 UTC or later, t until the alert resolves",
        ),
        ("repeated", {"step": "s", "items": 2}, "Step s is repeated for 2 items"),
        (
            "still",
            {"step": "s", "holds": True, "value": {"exit": 0}},
            "The undo of s may be sent (exit = 0)",
        ),
        (
            "still",
            {"step": "s", "holds": False, "value": {"exit": 1}},
            "The undo of s may not be sent any more (exit = 1)",
        ),
        (
            "still",
            {"step": "s", "holds": False, "error": "timeout"},
            "Whether the undo of s may be sent cannot be told: timeout",
        ),
        (
            "gate-opened",
            {"steps": [{"step": "s[1]"}, {"step": "s[2]"}], "votes": {"oncall": 1}},
            "Gate opened for s (2 items): needs 1 of oncall",
        ),
        ("vote", {"erased": "ab" * 32}, "Vote (its data was erased for privacy)"),
    ],
)
def test_a_journal_reads_as_sentences(kind: str, data: dict[str, Any], sentence: str) -> None:
    assert line(kind, **data).sentence == sentence


@pytest.mark.parametrize("kind", sorted(timeline._KINDS))
def test_a_line_that_lacks_everything_is_told_all_the_same(kind: str) -> None:
    for data in ({}, dict.fromkeys(("step", "steps", "until", "votes", "labels", "value", "case"), 7)):
        assert line(kind, **data).sentence


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────


def test_every_state_has_a_look() -> None:
    assert set(wording.STAGES) == set(Stage)
    assert set(wording.OUTCOMES) == set(Outcome)
    assert set(wording.STEPS) == set(StepState)
    assert {wording.stop(stage) for stage in Stage} <= set(wording.FLOW)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (125, "2 min 05 s"),
        (3600, "1 h"),
        (11520, "3 h 12 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_spans_have_two_units_at_most(seconds: int, told: str) -> None:
    assert wording.span(seconds) == told
    assert wording.left(NOON + timedelta(seconds=seconds), NOON) == (told if seconds else "any moment")


async def test_the_page_and_the_script_count_alike(site: Site) -> None:
    _, body = await site.get("/static/page.js")
    assert "any moment" in body
    assert "just now" in body
    assert json.dumps("remediator.token") in body


async def test_what_is_kept_exactly_is_shown_plainly_everywhere(site: Site) -> None:
    """No reader of the API, and no page, meets the spelling in which decimals are stored."""
    mark = {"xid": "7", "result": {"restore": {"before": {"#": "0.0700"}}}}
    one = waiting()
    done = msgspec.structs.replace(
        one.steps["halve_earn_rate"], mark=mark, undo_mark=mark, result=mark["result"]
    )
    await site.store.transact(
        lambda tx: tx.save_run(
            msgspec.structs.replace(one, steps={**one.steps, "halve_earn_rate": done}), None
        )
    )
    for path in ("/api/v1/gates", f"/api/v1/runs/{one.id}", "/status", f"/runs/{one.id}"):
        for accept in (BROWSER, "application/json"):
            _status, body = await site.get(path, Accept=accept)
            assert '"#"' not in body
            assert "&#34;#&#34;" not in body


# ── Long lists ──────────────────────────────────────────────────────────────────────────────────


def repeated(count: int = 100) -> Run:
    """A run that holds what a step did for each of so many items; every tenth was refused."""
    one = holding()
    base = next(step for step in one.steps.values() if step.owes_undo)
    steps = {}
    for number in range(1, count + 1):
        name = f"pause[{number}]"
        refused = {"state": StepState.REFUSED, "error": "409", "result": None} if number % 10 == 0 else {}
        steps[name] = msgspec.structs.replace(base, name=name, **refused)
    lists = {"pause": [{"id": number} for number in range(count)]}
    return msgspec.structs.replace(one, steps=steps, plan=tuple(steps), lists=lists)


async def test_a_list_of_items_is_told_as_one_and_can_be_opened(site: Site) -> None:
    await site.store.transact(lambda tx: tx.save_run(repeated(), None))
    told = text_of(await page(site, f"/runs/{repeated().id}"))
    assert "pause (100 items)" in told
    assert "10 refused" in told
    assert "Each item" in told and "pause[100]" in told
    status = text_of(await page(site))
    assert status.count("will undo") == 1
    assert "will undo pause (90 items)" in status and "the first at" in status


def test_the_gravest_of_its_items_stands_for_a_list() -> None:
    (one,) = wording.together(repeated().planned)
    assert (one.worst, one.listed, len(one.steps)) == (StepState.REFUSED, True, 100)
    assert [each.name for each in wording.together(working().planned)] == list(working().plan)
