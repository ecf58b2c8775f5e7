"""Bytes become alerts: recorded webhooks whole, bent ones as far as they can be believed."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.alert import fingerprint
from remediator.errors import IntakeError
from remediator.intake import alertmanager
from remediator.intake.alertmanager import Parsed, parse
from tests.intake.samples import RECORDED, an_alert, recorded, webhook

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def taken(*alerts: Any, **other: Any) -> Parsed:
    return parse(webhook(*alerts, **other), NOON)


def bad(alert: Any) -> str:
    """Why an alert is left out; its sibling is taken all the same."""
    parsed = taken(alert, an_alert("sibling"))
    assert [one.labels["pod"] for one in parsed.delivery.alerts] == ["sibling"]
    (problem,) = parsed.bad
    assert problem.startswith("alerts[0]: ")
    return problem.removeprefix("alerts[0]: ")


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_webhook_is_taken_whole(file: Path) -> None:
    sent = json.loads(file.read_bytes())
    parsed = parse(file.read_bytes(), NOON)
    assert parsed.bad == ()
    assert parsed.delivery.group_key == sent["groupKey"]
    assert parsed.delivery.received_at == NOON
    for one, alert in zip(sent["alerts"], parsed.delivery.alerts, strict=True):
        assert alert.fingerprint == one["fingerprint"]
        assert alert.labels == one["labels"]
        assert alert.annotations == one["annotations"]
        assert alert.status == one["status"]
        assert alert.generator_url == one["generatorURL"]
        assert (alert.ends_at is None) == one["endsAt"].startswith("0001-")


def test_the_status_of_each_alert_counts_not_the_groups() -> None:
    parsed = parse(recorded("group_3_firing-resolved"), NOON)
    assert [alert.status for alert in parsed.delivery.alerts] == ["firing", "resolved", "firing"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-21T07:38:58Z", datetime(2026, 11, 21, 7, 38, 58, tzinfo=UTC)),
        ("2026-11-21T07:38:58.033Z", datetime(2026, 11, 21, 7, 38, 58, 33000, tzinfo=UTC)),
        ("2026-11-21T07:38:17.625946542Z", datetime(2026, 11, 21, 7, 38, 17, 625947, tzinfo=UTC)),
        ("2026-11-21T09:38:58.5+02:00", datetime(2026, 11, 21, 7, 38, 58, 500000, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_go_writes_them(written: str, meant: datetime) -> None:
    (alert,) = taken(an_alert(startsAt=written)).delivery.alerts
    assert alert.starts_at == meant
    assert alert.starts_at.tzinfo is UTC


@pytest.mark.parametrize(
    "written",
    [..., None, "0001-01-01T00:00:00Z", "2026-11-21T07:38:58", "yesterday", 1763710738, "",
     "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-23:00", "2026-11-21T23:59:61Z"],
)  # fmt: skip
def test_an_alert_without_a_start_is_left_out(written: object) -> None:
    assert bad(an_alert(startsAt=written))


def test_no_end_and_gos_zero_time_are_the_same() -> None:
    ends = [..., None, "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00"]
    parsed = taken(*(an_alert(endsAt=end) for end in ends))
    assert [alert.ends_at for alert in parsed.delivery.alerts] == [None] * 4


def test_what_alertmanager_may_add_or_leave_out_is_tolerated() -> None:
    alert = an_alert(annotations=..., generatorURL=..., endsAt=..., fingerprint=..., values={"B": 1.5})
    body = json.dumps({"alerts": [alert], "notification_reason": "new", "routeLabels": {"a": [1]}})
    parsed = parse(body.encode(), NOON)
    (one,) = parsed.delivery.alerts
    assert (one.annotations, one.generator_url, parsed.delivery.group_key) == ({}, "", "")
    assert parsed.bad == ()


@pytest.mark.parametrize("version", ["4", "1", "5", 4, None])
def test_any_version_is_read_alike(version: object) -> None:
    assert len(taken(version=version).delivery.alerts) == 1


def test_a_missing_fingerprint_is_made_of_the_labels_alone() -> None:
    one = an_alert(fingerprint=..., labels={"a": "1", "b": "2"})
    same = an_alert(fingerprint="", labels={"b": "2", "a": "1"}, annotations={}, status="resolved")
    other = an_alert(fingerprint=None, labels={"a": "1", "b": "3"})
    first, second, third = (alert.fingerprint for alert in taken(one, same, other).delivery.alerts)
    assert first == second != third
    assert first == fingerprint({"a": "1", "b": "2"}), "as the tools name it, too"


def test_truncated_alerts_are_carried_to_each_alert() -> None:
    parsed = taken(truncatedAlerts=7)
    assert parsed.delivery.truncated == 7
    assert parsed.delivery.alerts[0].truncated == 7


@pytest.mark.parametrize("count", [-1, "7", 1.5, 2**31, [], True])
def test_an_unknown_count_of_truncated_alerts_is_not_zero(count: object) -> None:
    with pytest.raises(IntakeError, match="truncatedAlerts"):
        taken(truncatedAlerts=count)


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ({}, "no labels"),
        (None, "no labels"),
        (..., "no labels"),
        ([], "Expected `object"),
        ({"pod": 1}, "Expected `str`, got `int`"),
        ({"pod": None}, "Expected `str`"),
        ({"pod": {"a": "b"}}, "Expected `str`"),
        ({"pod": "a\0b"}, "NUL"),
        ({"p\0d": "a"}, "NUL"),
        ({"": "a"}, "empty"),
        ({"pod": "\ud800"}, "half a character"),
        ({"pod": "\udc00\ud800"}, "half a character"),
        ({"\udfff": "a"}, "half a character"),
        ({"n" * 1025: "a"}, "too long"),
        ({"pod": "x" * 16_385}, "longer than 16 KiB"),
        ({"pod": "é" * 8_193}, "longer than 16 KiB"),
        ({f"l{n}": "" for n in range(257)}, "more than 256 labels"),
    ],
)
def test_a_bad_label_costs_its_own_alert_only(labels: object, problem: str) -> None:
    assert problem in bad(an_alert(labels=labels))


@pytest.mark.parametrize(
    "value", ["\\", "\\ud800", "\\\\ud800", "🐢", "\u202egpj.exe", "x" * 16_384, "é" * 8_192, "${7*7}", ""]
)
def test_any_text_is_taken_byte_for_byte(value: str) -> None:
    for sibling in ({}, {"pod": "\ud800"}):  # beside a bad one the body is read another way
        parsed = taken(an_alert("s", labels={"pod": value}), an_alert(labels=sibling))
        assert [alert.labels for alert in parsed.delivery.alerts] == [{"pod": value}]
        assert len(parsed.bad) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"status": ...},
        {"status": "pending"},
        {"status": 1},
        {"fingerprint": "../../etc/passwd"},
        {"fingerprint": "a" * 129},
        {"fingerprint": "a\n"},
        {"fingerprint": 7},
        {"annotations": {"summary": 1}},
        {"annotations": {"summary": "\0"}},
        {"annotations": {"summary": "x" * 65_537}},
        {"annotations": {f"a{n}": "" for n in range(257)}},
        {"generatorURL": 5},
    ],
)
def test_a_bent_alert_costs_itself_only(fields: dict[str, Any]) -> None:
    assert bad(an_alert(**fields))


@pytest.mark.parametrize("alert", [None, 1, "x", [], [[]], True])
def test_what_is_no_alert_at_all_costs_itself_only(alert: object) -> None:
    assert bad(alert)


def test_a_link_that_cannot_be_kept_is_dropped_not_its_alert() -> None:
    parsed = taken(an_alert(generatorURL="http://x/" + "y" * 9000), an_alert(generatorURL="http://x/\0"))
    assert [alert.generator_url for alert in parsed.delivery.alerts] == ["", ""]


@pytest.mark.parametrize("key", ["a\0b", "x" * 20_000, 7, {"a": 1}, "\ud800"])
def test_a_group_key_that_cannot_be_kept_is_dropped(key: object) -> None:
    assert taken(groupKey=key).delivery.group_key == ""


def test_of_a_key_that_comes_twice_the_last_one_counts() -> None:
    body = webhook().replace(b'"pod": "a"', b'"pod": "first", "pod": "last"')
    (alert,) = parse(body, NOON).delivery.alerts
    assert alert.labels["pod"] == "last"
    twice = webhook()[:-1] + b', "alerts": []}'
    assert parse(twice, NOON).delivery.alerts == ()


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"1", b'"x"', b"[]", b"{}", b'{"alerts": null}', b'{"alerts": {}}', b"{",
     b"\xef\xbb\xbf{}",
     b'{"alerts": []} x', b'{"alerts": [NaN]}', b'{"alerts": [], "x": NaN}', b'{"alerts": [{]}',
     b'{"alerts": [], "x": "\x01"}', b'{"alerts": [], "x": "\xff"}', b'{"alerts": [], "x": "\xed\xa0\x80"}',
     webhook(truncatedAlerts="x").replace(b'"x"', b"9" * 1_000_000)],
)  # fmt: skip
def test_what_is_no_webhook_is_refused_whole(body: bytes) -> None:
    with pytest.raises(IntakeError) as caught:
        parse(body, NOON)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 400


def test_a_million_digits_where_nobody_looks_harm_nothing() -> None:
    body = webhook(x="here").replace(b'"here"', b"9" * 1_000_000)
    assert len(parse(body, NOON).delivery.alerts) == 1


@pytest.mark.parametrize("opener", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [33, 1000, 1_000_000])
def test_deep_nesting_is_refused_before_it_is_decoded(opener: bytes, depth: int) -> None:
    with pytest.raises(IntakeError, match="32 levels"):
        parse(b'{"alerts": [], "x": ' + opener * depth, NOON)


def test_brackets_inside_text_are_no_nesting() -> None:
    labels = {"a": "[{" * 1000, "b": '"[' * 1000, "c": "\\[" * 1000, "d": '\\"[' * 1000, "e": "x\\"}
    (alert,) = taken(an_alert(labels=labels)).delivery.alerts
    assert alert.labels == labels
    many = [an_alert(str(number), labels=labels) for number in range(1000)]  # over several pieces
    assert len(taken(*many).delivery.alerts) == 1000


def test_large_and_small_bodies_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [file.read_bytes() for file in RECORDED]
    bodies.append(webhook(an_alert("x"), an_alert(labels={"a": 1}), an_alert("y", status="?"), groupKey=None))
    small = [parse(body, NOON) for body in bodies]
    monkeypatch.setattr(alertmanager, "LARGE", 0)
    assert [parse(body, NOON) for body in bodies] == small


def test_the_limits_on_one_body_are_told_with_a_remedy() -> None:
    assert len(taken(*[an_alert()] * 10_000).delivery.alerts) == 10_000
    with pytest.raises(IntakeError, match="more than 10,000 entries; set max_alerts"):
        taken(*[an_alert()] * 10_001)
    with pytest.raises(IntakeError, match="more than 500,000 values; set max_alerts"):
        taken(x=[0] * 500_001)


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(st.lists(st.dictionaries(texts.filter(bool), texts, min_size=1), max_size=4), st.booleans())
def test_whatever_the_labels_say_they_arrive_unchanged(
    labels: list[dict[str, str]], ascii_only: bool
) -> None:
    alerts = [an_alert(labels=one) for one in labels]
    body = json.dumps({"alerts": alerts}, ensure_ascii=ascii_only).encode()
    assert [alert.labels for alert in parse(body, NOON).delivery.alerts] == labels


@given(st.binary(max_size=200) | st.sampled_from([file.read_bytes() for file in RECORDED]), st.data())
def test_whatever_comes_is_taken_or_refused(body: bytes, data: st.DataObject) -> None:
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        body = body[:at] + data.draw(st.binary(max_size=3)) + body[at + 1 :]
    with suppress(IntakeError):
        assert all(alert.labels for alert in parse(body, NOON).delivery.alerts)
