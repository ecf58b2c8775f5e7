"""What a change would have meant for recorded alerts, in the comment of a pull request."""

from __future__ import annotations

from datetime import UTC, datetime

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet
from remediator.policyfiles.backtest.result import Overlap, PolicySeen, Result
from remediator.policyfiles.diff.compare import Side, Written, difference
from remediator.policyfiles.diff.markdown import LARGEST, markdown
from remediator.policyfiles.diff.replayed import as_json, as_markdown, replayed

CATALOG = Catalog.of((), targets=frozenset({"service"}))


def side(*names: str) -> Side:
    """Policies of these names, on one kind of target."""
    made = [
        Policy.model_validate(
            {
                "policy": name,
                "summary": "x",
                "match": [f"alertname={name}"],
                "target": "service/x",
                "decide": [{"do": "nothing"}],
            }
        )
        for name in names
    ]
    return Side({one.name: Written(one) for one in made}, CATALOG)


def result(*policies: PolicySeen, source: str = "alerts.jsonl") -> Result:
    return Result(
        source=source,
        since=datetime(2026, 11, 1, tzinfo=UTC),
        until=datetime(2026, 11, 8, tzinfo=UTC),
        people="approve",
        deliveries=1200,
        alerts=5000,
        troubles=40,
        policies=policies,
        runs=(),
    )


def test_both_sets_are_played_and_what_differs_is_told() -> None:
    asked: list[set[str]] = []

    def play(policies: PolicySet) -> Result:
        asked.append(set(policies.by_name))
        runs = 3 if len(asked) == 1 else 14
        overlaps = (Overlap("db-restart", 2, ("service/x",)),) if runs == 14 else ()
        return result(
            PolicySeen(policy="web", mode="act", runs=runs, overlaps=overlaps, answered=3, unknown=1),
            PolicySeen(policy="same", mode="act", runs=5),
        )

    found = replayed(side("web", "same"), side("web", "same", "new"), play)
    assert asked == [{"web", "same"}, {"web", "same", "new"}]
    told = as_markdown(found)
    assert "40 troubles in 1,200 deliveries, 2026-11-01 00:00 to 2026-11-08 00:00 UTC" in told
    assert "75% is on record" in told
    (line,) = [line for line in told.splitlines() if line.startswith("- ")]
    assert line.startswith("- <code>web</code> would have run 14 times instead of 3; 2 overlap with db")
    assert as_json(found)["policies"] == [
        {"policy": "web", "words": "would have run 14 times instead of 3; 2 overlap with db-restart"}
    ]


def test_a_change_that_would_have_changed_nothing_says_so() -> None:
    found = replayed(side("web"), side("web"), lambda _: result(PolicySeen(policy="web", mode="act", runs=1)))
    assert "Nothing would have been different." in as_markdown(found)


def test_the_section_is_inert_and_fits_into_the_comment() -> None:
    counts = iter((1, 2))

    def play(_: PolicySet) -> Result:
        runs = next(counts)
        many = [PolicySeen(policy=f"p-{number}", mode="act", runs=runs) for number in range(300)]
        return result(*many, source="</code>@everyone|`x`\u202e")

    section = as_markdown(replayed(side(), side(), play))
    assert "and 250 more policies" in section
    assert not {"@", "|", "`", "\u202e"} & set(section)
    comment = markdown(difference(side(), side("web")), section)
    assert section in comment
    assert len(comment.encode()) < LARGEST
