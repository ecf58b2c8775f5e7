"""What people write of a reading is what a connector would have answered; decimals stay exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from remediator.policyfiles.testing.shapes import answer, probes, reads
from tests.policyfiles.testing.stage import PACK, known

ROWS = ("rows", "row", "count")
SERIES = ("value", "series")
HTTP = ("status", "json", "text")
PRINTED = ("exit", "out", "lines", "json")
AS_WRITTEN = {
    ("value",),
    ("used_pct", "free_bytes"),
    ("addresses",),
    ("not_after", "issuer", "subject"),
    ("Id", "Name", "State", "Config", "RestartCount"),
    ("metadata", "spec", "status", "rolled_out", "ready", "finished"),
    ("revision", "images", "since", "age", "before", "back_from"),
}

WRITTEN = [
    (
        {"row": {"a": 0.07}},
        ROWS,
        {"rows": [{"a": Decimal("0.07")}], "row": {"a": Decimal("0.07")}, "count": 1},
    ),
    ({"row": {"a": 7}}, ROWS, {"rows": [{"a": 7}], "row": {"a": 7}, "count": 1}),
    ({"row": None}, ROWS, {"rows": [], "row": None, "count": 0}),
    ({"rows": [{"a": 1}, {"a": 2}]}, ROWS, {"rows": [{"a": 1}, {"a": 2}], "row": {"a": 1}, "count": 2}),
    ({"rows": None}, ROWS, {"rows": [], "row": None, "count": 0}),
    ({"count": 3}, ROWS, {"rows": [], "row": None, "count": 3}),
    (0.83, SERIES, {"series": [{"labels": {}, "value": 0.83}], "value": 0.83}),
    (1, SERIES, {"series": [{"labels": {}, "value": 1.0}], "value": 1.0}),
    ({"value": None}, SERIES, {"series": [], "value": None}),
    ({"series": [{"value": 2.0}]}, SERIES, {"series": [{"labels": {}, "value": 2.0}], "value": 2.0}),
    (
        {"series": [{"labels": {"a": "1"}, "value": 1.0}, {"labels": {"a": "2"}, "value": 2.0}]},
        SERIES,
        {
            "series": [{"labels": {"a": "1"}, "value": 1.0}, {"labels": {"a": "2"}, "value": 2.0}],
            "value": None,
        },
    ),
    ({"json": {"a": 0.5}}, HTTP, {"status": 200, "json": {"a": 0.5}, "text": '{"a": 0.5}'}),
    ({"status": 404}, HTTP, {"status": 404, "json": None, "text": ""}),
    ({"lines": ["a", "b"]}, PRINTED, {"exit": 0, "out": "a\nb\n", "lines": ["a", "b"], "json": None}),
    ({"json": [1]}, PRINTED, {"exit": 0, "out": "[1]", "lines": ["[1]"], "json": [1]}),
    ({"out": "a\nb", "exit": 3}, PRINTED, {"exit": 3, "out": "a\nb", "lines": ["a", "b"], "json": None}),
    (7, ("value",), {"value": 7}),
    ({"error": "timeout"}, HTTP, "timeout"),
    ({"error": "E1", "code": 7}, (), {"error": "E1", "code": 7}),
    ({"ok": False}, SERIES, "it could not be read"),
    ({"ok": True, "value": 1.5}, SERIES, {"series": [{"labels": {}, "value": 1.5}], "value": 1.5}),
]


@pytest.mark.parametrize(("written", "names", "wanted"), WRITTEN)
def test_a_reading_is_completed(written: Any, names: tuple[str, ...], wanted: Any) -> None:
    found = answer(written, names)
    assert found == wanted
    assert repr(found) == repr(wanted)  # a decimal is no double, though it compares as one


def test_every_operation_that_reads_has_a_shape_here() -> None:
    """A new probe with names of its own is written as it answers, unless it is like one of these."""
    catalog, _ = known()
    shapes = {spec.reads for spec in catalog.operations.values() if spec.reads}
    assert shapes <= {ROWS, SERIES, HTTP, PRINTED} | AS_WRITTEN


def test_the_probes_of_a_policy_have_their_names() -> None:
    from remediator.policyfiles.loading import load

    catalog, _ = known()
    by_name = {one.policy.name: one.policy for one in load([PACK], catalog).policies}
    policy = by_name["molam-budget-exhaustion"]
    assert list(probes(policy)) == ["budget", "spending", "halve_earn_rate.verify", "halve_earn_rate.before"]
    assert reads(catalog, policy.diagnose["budget"].use or "") == ROWS
