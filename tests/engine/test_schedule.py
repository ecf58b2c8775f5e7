"""Watches: when they fire, and what their rows become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remediator.core.evidence import Reading
from remediator.core.opening import Watch
from remediator.core.policy import Policy
from remediator.engine.schedule import named_weekdays, rows_of, trigger_of, watched_alerts

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)  # a Saturday


def watching(**watch: Any) -> Policy:
    return Policy.model_validate(
        {
            "policy": "late-campaigns",
            "summary": "Campaigns that are late",
            "watch": {"use": "sql.query", "via": "db", "key": ["campaign_id"]} | (watch or {"every": "5m"}),
            "target": "campaign/all",
            "decide": [{"do": "nothing"}],
        }
    )


def watch_of(policy: Policy) -> Watch:
    assert policy.watch is not None
    return policy.watch


@pytest.mark.parametrize(
    ("cron", "named"),
    [
        ("0 4 * * 0", "0 4 * * sun"),
        ("0 4 * * 7", "0 4 * * sun"),
        ("0 4 * * 1-5", "0 4 * * mon,tue,wed,thu,fri"),
        ("0 4 * * 0-2", "0 4 * * sun,mon,tue"),
        ("0 4 * * 1,3,6", "0 4 * * mon,wed,sat"),
        ("0 4 * * */2", "0 4 * * sun,tue,thu,sat"),
        ("0 4 * * mon-fri", "0 4 * * mon-fri"),
        ("*/5 * * * *", "*/5 * * * *"),
    ],
)
def test_weekdays_count_from_sunday_as_cron_does(cron: str, named: str) -> None:
    assert named_weekdays(cron) == named


def test_a_cron_line_for_sunday_fires_on_sunday() -> None:
    fires = trigger_of(watch_of(watching(cron="30 4 * * 0"))).get_next_fire_time(None, NOW)
    assert fires == datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def test_a_cron_line_keeps_its_time_zone() -> None:
    watch = watch_of(watching(cron="0 9 * * *", timezone="Asia/Tokyo"))
    assert trigger_of(watch).get_next_fire_time(None, NOW).astimezone(UTC) == datetime(
        2026, 11, 22, tzinfo=UTC
    )


def test_each_new_row_fires_and_each_row_that_has_gone_resolves() -> None:
    policy = watching()
    rows: list[dict[str, Any]] = [
        {"campaign_id": "c-1", "name": "Tabaski", "late": 3},
        {"campaign_id": "c-2", "name": None, "late": 1.5},
    ]
    first = watched_alerts(policy, rows, {}, NOW)
    assert [(one.status, one.labels["campaign_id"]) for one in first] == [
        ("firing", "c-1"),
        ("firing", "c-2"),
    ]
    assert first[0].labels == {
        "campaign_id": "c-1",
        "name": "Tabaski",
        "late": "3",
        "alertname": "late-campaigns",
    }
    known = {one.fingerprint: one for one in first}
    later = watched_alerts(policy, rows[:1], known, NOW + timedelta(minutes=5))
    assert [(one.status, one.labels["campaign_id"]) for one in later] == [("resolved", "c-2")]
    assert later[0].starts_at == NOW


def test_a_row_is_the_same_by_its_key_alone() -> None:
    policy = watching()
    (before,) = watched_alerts(policy, [{"campaign_id": "c-1", "late": 3}], {}, NOW)
    known = {before.fingerprint: before}
    assert watched_alerts(policy, [{"campaign_id": "c-1", "late": 4}], known, NOW) == []


def test_a_failed_probe_is_no_empty_list() -> None:
    assert rows_of(Reading(NOW, ok=False, error="timeout")) is None
    assert rows_of(Reading(NOW, ok=True, value={"rows": []})) == []
    assert rows_of(Reading(NOW, ok=True, value={"series": [{"labels": {"a": "b"}, "value": 1.0}]})) == [
        {"a": "b"}
    ]
    assert rows_of(Reading(NOW, ok=True, value={"json": {"no": "list"}})) is None
