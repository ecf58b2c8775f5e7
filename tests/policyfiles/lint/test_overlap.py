"""Which selectors may meet: never a no where an alert is wanted by both, and few comparisons among many."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.core.policy import Policy
from remediator.core.selector import parse_selector
from remediator.policyfiles.lint import overlap
from remediator.policyfiles.lint.overlap import Meetings, may_meet
from remediator.policyfiles.loading import parse_text
from tests.policyfiles.lint.test_lint import BASE

MODEL = parse_text(BASE, "base.yaml")


def policy(*selectors: str) -> Policy:
    return MODEL.model_copy(update={"match": tuple(map(parse_selector, selectors))})


@pytest.mark.parametrize(
    ("one", "other", "meets"),
    [
        ('{a="1"}', '{a="1"}', True),
        ('{a="1"}', '{a="2"}', False),
        ('{a="1"}', '{b="1"}', True),
        ('{a="1"}', '{b="1", a!="1"}', False),
        ('{a=~"1|2"}', '{a=~"2|3"}', True),
        ('{a=~"1|2"}', '{a=~"3|4"}', False),
        ('{a=~"1.*"}', '{a="12"}', True),
        ('{a=~"1.*"}', '{a="2"}', False),
        ('{a=~"1.*"}', '{a=~"2.*"}', True),
        ('{a="1", b=""}', '{b=~".+"}', False),
        ('{a="1", b=""}', '{b="x"}', False),
        ('{a="1", b!~".+"}', '{b!=""}', False),
        ('{a="1", a!="1"}', '{a="1"}', False),
    ],
)
def test_selectors_are_compared_label_by_label(one: str, other: str, meets: bool) -> None:
    assert may_meet(parse_selector(one), parse_selector(other)) is meets
    assert may_meet(parse_selector(other), parse_selector(one)) is meets


MATCHERS = st.builds(
    '{}{}"{}"'.format,
    st.sampled_from("ab"),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["x", "y", "x|y", "", "x.*", ".+"]),
)
SELECTORS = st.lists(MATCHERS, min_size=1, max_size=3).map(", ".join)
LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", "y", "xy"]), max_size=2)


@given(st.lists(SELECTORS, min_size=2, max_size=4), LABELS)
def test_two_that_want_one_alert_are_always_told(texts: list[str], labels: dict[str, str]) -> None:
    policies = [policy(f'{{{text}, alertname="X"}}') for text in texts]
    alert = labels | {"alertname": "X"}
    last = len(policies) - 1
    wanted = [n for n, one in enumerate(policies) if any(it.holds(alert) for it in one.selectors)]
    if last in wanted:
        assert set(wanted) - {last} <= set(Meetings(policies).before(last))


def test_a_thousand_that_differ_in_one_label_are_hardly_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []

    def counted(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return may_meet(one, other)

    monkeypatch.setattr(overlap, "may_meet", counted)
    shops = [
        policy(f'{{alertname="X", shop="{n}"}}', f'{{alertname="Y{n}", env!="dev"}}') for n in range(1000)
    ]
    meetings = Meetings(shops)
    assert [list(meetings.before(n)) for n in range(1000)] == [[]] * 1000
    assert not compared
