"""A click: proved to be Slack's, by a person whom the config knows, on a card that we made; else refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import Clock, SignatureVerifier

from remediator.config import Person
from remediator.people.clicks import Click, Declined, parse_click, read_click, verify
from tests.people.stories import HASH, NOW, PEOPLE, slack_app

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
APP = slack_app(app_id="A01APP")
PAYLOAD: dict[str, Any] = {
    "type": "block_actions",
    "api_app_id": "A01APP",
    "team": {"id": "T01TEST", "domain": "t"},
    "user": {"id": "U01ALICE", "username": "alice", "name": "alice", "team_id": "T01TEST"},
    "container": {"type": "message", "message_ts": "1795249569.000001", "channel_id": "C01GEN"},
    "message": {"text": "approve?", "blocks": []},
    "actions": [
        {
            "type": "button",
            "action_id": "approve",
            "block_id": "gate",
            "value": f"r-1.1:{HASH[:16]}",
            "action_ts": "1795249569.914",
        }
    ],
}


def body(payload: Any = None, **changes: Any) -> bytes:
    return urlencode({"payload": json.dumps({**PAYLOAD, **changes} if payload is None else payload)}).encode()


def pressed(**changes: Any) -> bytes:
    return body(actions=[{**PAYLOAD["actions"][0], **changes}])


def signed(
    raw: bytes, *, secret: str = SECRET, at: datetime = NOW, stamp: str | None = None
) -> dict[str, str]:
    stamp = stamp if stamp is not None else str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + raw, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def declined(raw: bytes) -> str:
    found = parse_click(raw, APP, PEOPLE)
    assert isinstance(found, Declined), found
    return found.reason


# ── The signature ─────────────────────────────────────────────────────────────────────────────────


def test_what_slack_signed_is_slacks() -> None:
    raw = body()
    assert verify(signed(raw), raw, SECRET, NOW)
    assert verify({name.lower(): value for name, value in signed(raw).items()}, raw, SECRET, NOW)


@pytest.mark.parametrize("seconds", [-300, -299, 0, 299, 300])
def test_a_signature_is_good_for_five_minutes_either_way(seconds: int) -> None:
    raw = body()
    assert verify(signed(raw), raw, SECRET, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-3600, -301, 301, 400, 86_400])
def test_a_stale_or_early_click_is_refused(seconds: int) -> None:
    raw = body()
    assert not verify(signed(raw), raw, SECRET, NOW + timedelta(seconds=seconds))


def test_a_replay_within_the_window_is_the_same_click() -> None:
    # Harmless: a vote counts once by gate and person, and is bound to the hash that the card showed.
    raw = body()
    later = NOW + timedelta(seconds=200)
    assert verify(signed(raw), raw, SECRET, later)
    assert parse_click(raw, APP, PEOPLE) == parse_click(raw, APP, PEOPLE)
    assert not verify(signed(raw), raw, SECRET, later + timedelta(seconds=200))


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "soon",
        "nan",
        "inf",
        "1e9",
        "-1",
        "1_795_249_569",
        " 1795249569",
        "1795249569.5",
        "٣",
        "9" * 400,
        "0x10",
    ],
)
def test_a_timestamp_that_is_no_number_is_refused_and_not_raised(stamp: str) -> None:
    raw = body()
    assert not verify(signed(raw, stamp=stamp), raw, SECRET, NOW)


def test_forged_signatures_are_refused() -> None:
    raw = body()
    good = signed(raw)
    for forged in (
        signed(raw, secret="another"),
        {**good, "X-Slack-Signature": good["X-Slack-Signature"][:-1]},
        {**good, "X-Slack-Signature": good["X-Slack-Signature"].upper()},
        {**good, "X-Slack-Signature": good["X-Slack-Signature"].removeprefix("v0=")},
        {**good, "X-Slack-Signature": "é"},
        {**good, "X-Slack-Signature": "\ud800"},
        {**good, "X-Slack-Signature": ""},
        {"X-Slack-Request-Timestamp": good["X-Slack-Request-Timestamp"]},
        {"X-Slack-Signature": good["X-Slack-Signature"]},
        {**good, "x-slack-signature": "v0=00"},
        {},
    ):
        assert not verify(forged, raw, SECRET, NOW)
    assert not verify(good, raw + b" ", SECRET, NOW)
    assert not verify(good, b"", SECRET, NOW)


@pytest.mark.parametrize("secret", ["", " ", "\n"])
def test_without_a_secret_nothing_is_slacks(secret: str) -> None:
    raw = body()
    assert not verify(signed(raw, secret=secret), raw, secret, NOW)


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    raw = b"payload=\xff\xfe"
    assert not verify(signed(b"payload="), raw, SECRET, NOW)
    assert declined(raw) == "this is no click"


def test_a_body_of_two_megabytes_is_refused() -> None:
    raw = b"payload=" + b"x" * 2_000_000
    assert not verify(signed(raw), raw, SECRET, NOW)


@given(st.binary(max_size=60), st.integers(-400, 400), st.booleans())
def test_it_agrees_with_slacks_own_verifier(tail: bytes, seconds: int, honest: bool) -> None:
    raw = b"payload=" + tail.hex().encode()
    headers = signed(raw, secret=SECRET if honest else "other")
    now = NOW + timedelta(seconds=seconds)

    class At(Clock):
        def now(self) -> float:
            return now.timestamp()

    assert verify(headers, raw, SECRET, now) == SignatureVerifier(SECRET, At()).is_valid_request(raw, headers)


# ── The click ─────────────────────────────────────────────────────────────────────────────────────


def test_a_known_person_approves_what_the_card_showed() -> None:
    assert parse_click(body(), APP, PEOPLE) == Click(
        person="amina",
        action="approve",
        subject="r-1.1",
        hash_prefix=HASH[:16],
        user="T01TEST/U01ALICE",
        at=datetime(2026, 11, 21, 8, 26, 9, 914000, tzinfo=UTC),
    )


def test_a_page_is_acknowledged() -> None:
    click = parse_click(pressed(action_id="ack", value="pg-1"), APP, PEOPLE)
    assert isinstance(click, Click)
    assert (click.action, click.subject, click.hash_prefix) == ("ack", "pg-1", "")


def test_a_gate_that_expired_is_wished_to_be_asked_again() -> None:
    click = parse_click(pressed(action_id="again", value="r-1.1"), APP, PEOPLE)
    assert isinstance(click, Click)
    assert (click.action, click.subject, click.hash_prefix) == ("again", "r-1.1", "")


def typed(value: Any) -> Any:
    return {"values": {"reason": {"reason": {"type": "plain_text_input", "value": value}}}}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (typed("the sale ends tonight"), "the sale ends tonight"),
        (typed("  spaces  "), "spaces"),
        (typed("\u202etonight\nAPPROVED"), r"\u202etonight\u000aAPPROVED"),
        (typed("half\ud800"), r"half\ud800"),
        (typed("<!channel> & *bold*"), "<!channel> & *bold*"),
        (typed("x" * 600), "x" * 498 + " …"),
        (typed(""), ""),
        (typed(None), ""),
        (typed(7), ""),
        (typed(["x"]), ""),
        ({"values": {"reason": {"other": {"value": "x"}}}}, ""),
        ({"values": {"other": {"reason": {"value": "x"}}}}, ""),
        ({"values": []}, ""),
        ({}, ""),
        (None, ""),
        ("x", ""),
    ],
)
def test_what_was_typed_is_the_reason_bounded_and_inert(state: Any, reason: str) -> None:
    for action in ("deny", "approve"):
        click = parse_click(
            body(actions=[{**PAYLOAD["actions"][0], "action_id": action}], state=state), APP, PEOPLE
        )
        assert isinstance(click, Click)
        assert click.reason == reason


def test_an_acknowledgement_has_no_reason() -> None:
    acked = {**PAYLOAD["actions"][0], "action_id": "ack", "value": "pg-1"}
    click = parse_click(body(actions=[acked], state=typed("x")), APP, PEOPLE)
    assert isinstance(click, Click)
    assert click.reason == ""


def test_an_app_without_a_configured_id_takes_any() -> None:
    assert isinstance(parse_click(body(api_app_id="A99"), slack_app(), PEOPLE), Click)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"api_app_id": "A99EVIL"}, "another Slack app"),
        ({"api_app_id": None}, "another Slack app"),
        ({"user": {"id": "U99NOBODY", "team_id": "T01TEST"}}, "nobody whom Remediator knows"),
        ({"user": {"id": "U01ALICE", "team_id": "T99"}}, "only members of this Slack team"),
        ({"team": {"id": "T99"}}, "only members of this Slack team"),
        (
            {"team": {"id": "T99"}, "user": {"id": "U01ALICE", "team_id": "T99"}},
            "nobody whom Remediator knows",
        ),
        ({"user": {"id": "U01ALICE"}}, "only members of this Slack team"),
        ({"user": {"id": "B01BOT", "team_id": "T01TEST"}}, "nobody whom Remediator knows"),
        ({"user": {"id": "u01alice", "team_id": "T01TEST"}}, "nobody whom Remediator knows"),
        ({"user": {"name": "alice", "team_id": "T01TEST"}}, "names no user"),
        ({"user": ["U01ALICE"]}, "names no user"),
        ({"user": None}, "names no user"),
        ({"team": None}, "names no user"),
    ],
)
def test_whoever_the_config_does_not_name_is_nobody(changes: dict[str, Any], reason: str) -> None:
    assert reason in declined(body(**changes))


def test_an_account_that_two_people_share_is_nobodys() -> None:
    people = {**PEOPLE, "alice2": Person(slack="T01TEST/U01ALICE")}
    found = parse_click(body(), APP, people)
    assert isinstance(found, Declined)
    assert "more than one person" in found.reason


@pytest.mark.parametrize(
    ("button", "reason"),
    [
        ({"action_id": "approve_all"}, "means nothing"),
        ({"action_id": None}, "means nothing"),
        ({"value": None}, "means nothing"),
        ({"value": ["r-1.1"]}, "means nothing"),
        ({"action_ts": None}, "means nothing"),
        ({"value": "r-1.1"}, "belongs to no gate"),
        ({"value": f":{HASH[:16]}"}, "belongs to no gate"),
        ({"value": "r-1.1:"}, "belongs to no gate"),
        ({"value": f"r-1.1:{HASH}"}, "belongs to no gate"),
        ({"value": f"r-1.1:{HASH[:15]}"}, "belongs to no gate"),
        ({"value": f"r-1.1:{HASH[:15]}G"}, "belongs to no gate"),
        ({"value": f"r 1:{HASH[:16]}"}, "belongs to no gate"),
        ({"value": f"{'r' * 300}:{HASH[:16]}"}, "belongs to no gate"),
        ({"value": f"r-1\u202e:{HASH[:16]}"}, "belongs to no gate"),
        ({"action_id": "ack", "value": ""}, "belongs to no page"),
        ({"action_id": "ack", "value": "a\nb"}, "belongs to no page"),
        ({"action_id": "again", "value": ""}, "belongs to no gate"),
        ({"action_id": "again", "value": "r 1"}, "belongs to no gate"),
        ({"action_id": "handled", "value": "r 1.1"}, "belongs to no question"),
        ({"action_id": "handled", "value": "r-1"}, "belongs to no question"),
        ({"action_id": "happened", "value": ".1"}, "belongs to no question"),
        ({"action_ts": "soon"}, "has no time"),
        ({"action_ts": "99999999999999999999"}, "has no time"),
    ],
)
def test_a_button_that_is_not_ours_means_nothing(button: dict[str, Any], reason: str) -> None:
    assert reason in declined(pressed(**button))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"payload=",
        b"payload",
        b"other=1",
        b"payload={}&payload={}",
        body() + b"&x=1",
        b"payload=[]",
        b"payload=null",
        b"payload=%ff",
        b"payload=" + b"[" * 100_000,
        b"payload=" + b"1" * 100_000,
        b"payload={" + b'"a":' * 10,
        body({"type": "view_submission"}),
        json.dumps(PAYLOAD).encode(),
        "payload=é".encode(),
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_what_is_no_click_is_refused_and_not_raised(raw: bytes) -> None:
    assert declined(raw) == "this is no click"


@pytest.mark.parametrize("actions", [None, [], {}, "approve", [None], PAYLOAD["actions"] * 2])
def test_a_click_is_on_exactly_one_button(actions: Any) -> None:
    assert "means nothing" in declined(body(actions=actions))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["type", "api_app_id", "team", "user", "actions", "state"]), json_values)
def test_no_payload_breaks_the_parser(key: str, value: Any) -> None:
    payload = deepcopy(PAYLOAD)
    payload[key] = value
    found = parse_click(body(payload), APP, PEOPLE)
    assert isinstance(found, Declined) or key == "state" or payload == PAYLOAD


@given(json_values)
def test_whatever_comes_through_a_socket_is_a_click_or_is_refused(payload: Any) -> None:
    assert isinstance(read_click(payload, APP, PEOPLE), Declined)
    assert read_click(PAYLOAD, APP, PEOPLE) == parse_click(body(), APP, PEOPLE)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    assert isinstance(parse_click(raw, APP, PEOPLE), Declined)
    assert isinstance(parse_click(b"payload=" + raw, APP, PEOPLE), Declined)
