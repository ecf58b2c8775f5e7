"""A record is read alike, whether what was said before is known or every line is read whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediator.core.alert import Delivery
from remediator.errors import IntakeError
from remediator.policyfiles.backtest.repeats import Repeats
from remediator.policyfiles.backtest.sources import Problems, WebhookFile

EXAMPLES = 60 if os.environ.get("CI") == "true" else 300

Read = tuple[list[Delivery], list[str], int]
"""The deliveries, the problems that were told, and how many lines were out of order."""


def read(lines: list[bytes]) -> Read:
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alerts.jsonl"
        path.write_bytes(b"\n".join(lines))
        source = WebhookFile(path, problems=Problems(told.append))
        found: list[Delivery] = []
        try:
            found += source.deliveries()
        except IntakeError as error:
            told.append(error.problem)
    return found, [one.removeprefix(str(path)) for one in told], source.order.late


def read_whole(lines: list[bytes]) -> Read:
    """Nothing is ever known."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repeats, "read", lambda _self, _line: None)
        return read(lines)


# ── Lines that differ in little ───────────────────────────────────────────────────────────────────

LONG = "l" * (16 * 1024 + 1)
STATUSES = ['"firing"', '"firing"', '"resolved"', '"odd"', "null", '"firin\\u0067"']
LABELS = [
    '{"alertname":"A","pod":"x"}',
    '{"alertname":"A","pod":"x"}',
    '{ "alertname":"A","pod":"x"}',
    '{"alertname":"B"}',
    "{}",
    "null",
    '{"alertname":1}',
    '{"a\\u0000":"b"}',
    '{"":"b"}',
    f'{{"a":"{LONG}"}}',
]
ANNOTATIONS = [
    '{"summary":"7 times"}',
    '{"summary":"8 times"}',
    "{}",
    "null",
    '{"summary":"é \\" \\n"}',
    '{"summary":7}',
    '{"summary":"\\u0000"}',
    '{"summary":"\\ud800"}',
    '{"":"empty"}',
    f'{{"{LONG}":"name"}}',
    f'{{"summary":"{LONG * 5}"}}',
    "[" * 40 + "]" * 40,
]
STARTS = [
    '"2026-11-01T10:00:00Z"',
    '"2026-11-01T10:00:00Z"',
    '"2026-11-01T11:00:00+01:00"',
    '"2026-11-01T10:00:00"',
    '"0001-01-01T00:00:00Z"',
    "7",
]
ENDS = ['"0001-01-01T00:00:00Z"', '"2026-11-01T12:00:00Z"', "null", '"never"', '"9999-12-31T23:59:59-01:00"']
LINKS = ['"http://prometheus/graph"', '""', "null", "7", f'"{LONG}"']
FINGERPRINTS = ['"f-1"', '"f-1"', '"f-2"', '""', "null", '"no fingerprint"']
TIMES = [
    '"2026-11-01T10:05:00+00:00"',
    '"2026-11-01T10:10:00Z"',
    '"2026-11-01T11:15:00+01:00"',
    '"2026-11-01T10:00:00"',
    '"1999-11-01T10:00:00Z"',
    "7",
]
AROUND = [
    "",
    ',"truncatedAlerts":2',
    ',"truncatedAlerts":-1',
    ',"groupKey":7',
    ',"groupKey":"k","other":{}',
    ',"groupKey":"\\u0000"',
]


@st.composite
def an_alert(draw: st.DrawFn) -> bytes:
    """One as it should be, but for two fields at most."""
    values = [STATUSES, LABELS, ANNOTATIONS, STARTS, ENDS, LINKS, FINGERPRINTS]
    chosen = [one[0] for one in values]
    for field in draw(st.lists(st.sampled_from([0, 1, 2, 2, 2, 3, 4, 5, 6]), max_size=2)):
        chosen[field] = draw(st.sampled_from(values[field]))
    names = ("status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint")
    said = [f'"{name}":{value}' for name, value in zip(names, chosen, strict=True)]
    left_out = draw(st.sampled_from([None, None, None, 2, 3, 4, 6]))
    return ("{" + ",".join(one for place, one in enumerate(said) if place != left_out) + "}").encode()


@st.composite
def a_line(draw: st.DrawFn) -> bytes:
    alerts = b",".join(draw(st.lists(an_alert(), min_size=1, max_size=2)))
    around = draw(st.sampled_from([AROUND[0], AROUND[0], *AROUND])).encode()
    body = b'{"alerts":[%b]%b}' % (alerts, around)
    if draw(st.sampled_from([False, False, False, True])):
        return body
    time = draw(st.sampled_from([TIMES[0], TIMES[1], *TIMES])).encode()
    return b'{"at":%b,"body":%b}' % (time, body)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(a_line(), min_size=1, max_size=8))
def test_what_is_known_changes_nothing_of_what_is_read(lines: list[bytes]) -> None:
    assert read(lines) == read_whole(lines)


# ── The property can fail ─────────────────────────────────────────────────────────────────────────


def one(**other: str) -> bytes:
    said = {
        "status": STATUSES[0],
        "labels": LABELS[0],
        "annotations": ANNOTATIONS[0],
        "startsAt": STARTS[0],
        "endsAt": ENDS[0],
        "generatorURL": LINKS[0],
        "fingerprint": FINGERPRINTS[0],
    } | other
    alert = ",".join(f'"{name}":{value}' for name, value in said.items())
    return f'{{"at":{TIMES[0]},"body":{{"alerts":[{{{alert}}}]}}}}'.encode()


def test_a_repeat_is_known_by_all_that_it_says_but_its_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[bool] = []
    true = Repeats.read

    def watched(self: Repeats, line: bytes) -> Delivery | None:
        found = true(self, line)
        known.append(found is not None)
        return found

    monkeypatch.setattr(Repeats, "read", watched)
    others: dict[str, Any] = {
        "annotations": ANNOTATIONS[1],
        "status": STATUSES[2],
        "labels": LABELS[3],
        "startsAt": STARTS[2],
        "endsAt": ENDS[1],
        "generatorURL": LINKS[1],
        "fingerprint": FINGERPRINTS[2],
    }
    for name, value in others.items():
        known.clear()
        _, problems, _ = read([one(), one(), one(**{name: value})])
        assert known == [False, True, name == "annotations"], name
        assert not problems
    assert read([one(), one(annotations=ANNOTATIONS[1])])[0][1].alerts[0].annotations == {
        "summary": "8 times"
    }
    assert read([one(), one(annotations=ANNOTATIONS[6])])[1][0].startswith(":2: alerts[0]: annotation")
