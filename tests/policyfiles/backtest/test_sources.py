"""Recorded alerts, from a file, a store and a Prometheus: in order, in pages, and with what was bad told."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from remediator.connectors.prometheus import PrometheusSettings
from remediator.core.alert import Alert, Delivery, fingerprint
from remediator.errors import ConnectorError, IntakeError
from remediator.policyfiles.backtest import alerts_metric
from remediator.policyfiles.backtest.alerts_metric import AlertsMetric
from remediator.policyfiles.backtest.sources import Problems, Span, StoredInbox, WebhookFile, as_line
from remediator.ports import Received, Tx
from remediator.store.memory import MemoryStore
from tests.connectors.peers import a_port_where_nobody_listens
from tests.rig.prometheus import running_prometheus
from tests.store.samples import NOON as TODAY
from tests.store.samples import HandClock
from tests.store.samples import alert as kept_alert

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
NOON = TODAY - timedelta(days=10)
"""The records lie behind us: what came tomorrow is not believed."""
PAYLOADS = Path(__file__).parents[2] / "payloads"


def body(minute: float, *, ended: float | None = None, name: str = "Stuck") -> dict[str, Any]:
    """A webhook of one alert that began at this minute."""
    one: dict[str, Any] = {
        "status": "firing" if ended is None else "resolved",
        "labels": {"alertname": name},
        "startsAt": (NOON + minute * MINUTE).isoformat(),
        "fingerprint": name,
    }
    if ended is not None:
        one["endsAt"] = (NOON + ended * MINUTE).isoformat()
    return {"alerts": [one]}


def at(minute: float, **about: Any) -> str:
    return as_line(NOON + minute * MINUTE, body(minute, **about))


def minutes(deliveries: Iterator[Delivery]) -> list[float]:
    return [(one.received_at - NOON) / MINUTE for one in deliveries]


# ── A file ────────────────────────────────────────────────────────────────────────────────────────


def written(folder: Path, *lines: str, packed: bool = False) -> Path:
    path = folder / ("alerts.jsonl.gz" if packed else "alerts.jsonl")
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_lines_come_when_they_say_or_when_the_latest_thing_in_them_happened(
    tmp_path: Path, packed: bool
) -> None:
    bare = [json.dumps(body(1)), "", json.dumps(body(1, ended=5)), json.dumps(body(2, name="Late"))]
    file = WebhookFile(written(tmp_path, at(0), *bare, at(9), packed=packed))
    assert minutes(file.deliveries()) == [0, 1, 5, 5, 9]
    assert (file.done, file.problems.count) == (1.0, 0)


def test_time_never_goes_back_and_steps_back_are_counted(tmp_path: Path) -> None:
    file = WebhookFile(written(tmp_path, at(0), at(3), at(1), at(2.9), at(1.9), at(4)))
    assert minutes(file.deliveries()) == [0, 3, 3, 3, 3, 4]
    assert (file.order.late, file.order.first) == (2, 3), "some seconds are none"
    assert file.order.told.startswith("2 lines are older than what came before")
    assert "the first is line 3" in file.order.told


def test_the_end_of_an_alert_tells_that_a_line_without_a_time_lies_in_the_wrong_place(tmp_path: Path) -> None:
    """A repeat of an old alert does not: it begins when it began."""
    lines = [json.dumps(one) for one in (body(300), body(0), body(0, ended=240), body(0, ended=239))]
    file = WebhookFile(written(tmp_path, *lines))
    assert minutes(file.deliveries()) == [300] * 4
    assert (file.order.late, file.order.first) == (1, 4)


def test_a_line_outside_the_span_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    """One line from later neither ends the record nor lifts the others."""
    path = written(tmp_path, at(0), at(90), at(1), at(-9), at(2), at(7), at(3))
    file = WebhookFile(path, Span(NOON, NOON + 5 * MINUTE))
    assert (minutes(file.deliveries()), file.order.late, file.problems.count) == ([0, 1, 2, 3], 0, 0)


@pytest.mark.parametrize("year", ["0001", "1999", "2126", "2999", "9999"])
def test_a_time_that_nobody_can_have_recorded_is_a_bad_line(tmp_path: Path, year: str) -> None:
    told: list[str] = []
    bad = at(1).replace(f'"at":"{NOON:%Y}', f'"at":"{year}')
    file = WebhookFile(written(tmp_path, at(0), bad, at(4)), problems=Problems(told.append))
    assert minutes(file.deliveries()) == [0, 4]
    assert [one.rpartition("alerts.jsonl:")[2].partition(":")[0] for one in told] == ["2"]
    assert "before 2000 or more than a day from now" in told[0]


@pytest.mark.parametrize("bare", [body(1), body(1, ended=2)])
@pytest.mark.parametrize("year", ["2126", "9999"])
def test_so_is_one_whose_newest_alert_begins_or_ends_then(
    tmp_path: Path, bare: dict[str, Any], year: str
) -> None:
    (alert,) = bare["alerts"]
    when = "endsAt" if "endsAt" in alert else "startsAt"
    line = json.dumps({"alerts": [alert | {when: alert[when].replace(f"{NOON:%Y}", year)}]})
    file = WebhookFile(written(tmp_path, at(0), line, at(4)))
    assert (minutes(file.deliveries()), file.problems.count) == ([0, 4], 1)


def test_when_a_firing_alert_might_end_is_not_when_its_line_came(tmp_path: Path) -> None:
    bare = body(1)
    bare["alerts"][0]["endsAt"] = "9999-12-31T23:59:59Z"
    file = WebhookFile(written(tmp_path, json.dumps(bare)))
    assert (minutes(file.deliveries()), file.problems.count) == ([1], 0)


def test_a_mark_of_byte_order_is_read_over(tmp_path: Path) -> None:
    path = written(tmp_path, at(0), at(1))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    file = WebhookFile(path)
    assert (minutes(file.deliveries()), file.problems.count) == ([0, 1], 0)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (json.dumps([body(0), body(1)]), "is a JSON array; write one webhook a line: jq -c '.[]' "),
        (json.dumps([body(0), body(1)], indent=2), "is a JSON array"),
        (json.dumps(body(0), indent=2), "is JSON over several lines; write one webhook a line: jq -c . "),
        (at(0).encode("utf-16"), "is UTF-16"),
    ],
)
def test_a_file_in_another_form_is_one_error_that_names_it(
    tmp_path: Path, data: str | bytes, told: str
) -> None:
    path = tmp_path / "alerts.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    problems: list[str] = []
    with pytest.raises(IntakeError) as error:
        list(WebhookFile(path, problems=Problems(problems.append)).deliveries())
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert problems == []


def test_recorded_webhooks_are_read_as_the_daemon_reads_them(tmp_path: Path) -> None:
    found = sorted(PAYLOADS.glob("*.json"))
    lines = [json.dumps(json.loads(one.read_bytes())) for one in found]
    file = WebhookFile(written(tmp_path, *lines))
    read = [[alert.fingerprint for alert in one.alerts] for one in file.deliveries()]
    assert read == [[alert["fingerprint"] for alert in json.loads(line)["alerts"]] for line in lines]


def test_bad_lines_are_told_with_their_place_and_their_siblings_pass(tmp_path: Path) -> None:
    half = body(4)
    half["alerts"].append({"status": "firing"})
    file = written(
        tmp_path,
        at(0),
        "not json\x1b[2J",
        '{"at": "2026-11-21T12:00:00", "body": {"alerts": []}}',
        '{"body": {"alerts": []}}',
        '{"at": 12, "body": {"alerts": []}}',
        "[]",
        '{"status": "firing"}',
        '{"alerts": [' + "[" * 100 + "]" * 100 + "]}",
        as_line(NOON + 4 * MINUTE, half),
    )
    told: list[str] = []
    read = WebhookFile(file, problems=Problems(told.append))
    assert minutes(read.deliveries()) == [0, 4]
    assert read.problems.count == len(told) == 8
    assert [one.split(":")[1] for one in told] == ["2", "3", "4", "5", "6", "7", "8", "9"]
    assert told[-1].endswith("alerts[1]: has no labels")
    assert all(one.isprintable() for one in told)


USUAL = (
    json.dumps({"at": NOON.isoformat(), "body": body(0)}, separators=(",", ":")).encode().removesuffix(b"}")
)
LONG_WAY = USUAL.replace(b'{"at":', b'{ "at":')
ENDS = (b"}", b"}  \r", b"", b"]", b"}}", b"} x", b',"body":{}}', b',"at":"2000-01-02T00:00:00Z"}')


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("change", [(b"alerts", b"alarms"), (b'"firing"', b'"\\ud800"'), (b"+00:00", b"")])
def test_the_usual_line_is_read_as_any_other(tmp_path: Path, end: bytes, change: tuple[bytes, bytes]) -> None:
    def read(line: bytes) -> tuple[list[Delivery], int]:
        file, problems = tmp_path / "alerts.jsonl", Problems()
        other = USUAL.replace(b"Stuck", b"Other") + b"}"
        file.write_bytes(b"\n".join([other, line, line.replace(*change), other]))
        return list(WebhookFile(file, problems=problems).deliveries()), problems.count

    assert read(USUAL + end) == read(LONG_WAY + end)
    assert len(read(USUAL + b"}")[0]) == 3


@pytest.mark.parametrize("lines", [(), ("x", "y")])
def test_a_file_without_one_webhook_is_an_error_with_a_remedy(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(IntakeError, match="write one a line"):
        list(WebhookFile(written(tmp_path, *lines)).deliveries())


def test_a_file_that_was_cut_gives_what_it_has(tmp_path: Path) -> None:
    path = written(tmp_path, *(at(n) for n in range(2000)), packed=True)
    path.write_bytes(path.read_bytes()[:-200])
    file = WebhookFile(path)
    assert 100 < len(list(file.deliveries())) < 2000
    assert file.problems.count == 1


def test_only_what_lies_in_the_span_counts(tmp_path: Path) -> None:
    path = written(tmp_path, *(at(n) for n in range(10)))
    span = Span(NOON + 3 * MINUTE, NOON + 6 * MINUTE)
    assert minutes(WebhookFile(path, span).deliveries()) == [3, 4, 5, 6]


# ── A store ───────────────────────────────────────────────────────────────────────────────────────


def inbox(*at_minutes: float) -> MemoryStore:
    store = MemoryStore(HandClock())

    async def work(tx: Tx) -> None:
        for minute in at_minutes:
            one = Delivery(source="alertmanager", alerts=(kept_alert(),), received_at=NOON + minute * MINUTE)
            await tx.settle_delivery(await tx.put_delivery(one))

    store.do(work)
    return store


def test_a_stores_deliveries_are_read_in_pages_from_where_they_count() -> None:
    store = inbox(*range(5000))
    asked = itertools.count()

    def ask(work: Callable[[Tx], Awaitable[T]]) -> T:
        next(asked)
        return store.look(work)

    span = Span(NOON + 4990 * MINUTE, NOON + 4995 * MINUTE)
    source = StoredInbox(ask, "the store", span)
    assert minutes(source.deliveries()) == [4990, 4991, 4992, 4993, 4994, 4995]
    assert next(asked) < 10, "it looks for the beginning, rather than reading up to it"
    whole = StoredInbox(store.look, "the store")
    assert minutes(whole.deliveries()) == list(range(5000))
    assert whole.done == 1.0


def test_a_clock_that_went_back_does_not_turn_time() -> None:
    source = StoredInbox(inbox(0, 5, 3, 6).look, "the store")
    assert minutes(source.deliveries()) == [0, 5, 5, 6]
    assert (source.order.late, source.order.first) == (1, 3)


def test_a_clock_that_was_once_in_the_far_future_costs_that_delivery_alone() -> None:
    told: list[str] = []
    century = 100 * 365 * 24 * 60
    source = StoredInbox(inbox(0, century, 4, 900, 6).look, "the store", problems=Problems(told.append))
    source.span = Span(until=NOON + 600 * MINUTE)
    assert minutes(source.deliveries()) == [0, 4, 6]
    assert [one.split(":")[0] for one in told] == ["delivery 2"]


def test_a_row_that_cannot_be_read_costs_that_delivery_alone() -> None:
    told: list[str] = []
    kept = inbox(0, 4, 6)

    def look(work: Any) -> Any:
        found = kept.look(work)
        if not isinstance(found, list):
            return found
        return [msgspec.structs.replace(one, problem="odd") if one.id == 2 else one for one in found]

    source = StoredInbox(look, "the store", problems=Problems(told.append))
    assert minutes(source.deliveries()) == [0, 6]
    assert told == ["delivery 2: odd"]


def test_a_row_that_cannot_be_read_hides_none_of_those_before_it() -> None:
    kept = inbox(*range(5000))
    nothing = Delivery(source="", alerts=(), received_at=datetime.fromtimestamp(0, UTC))

    def look(work: Any) -> Any:
        found = kept.look(work)
        if not isinstance(found, list):
            return found
        odd = 2501  # the first that is looked at on the way to where it begins
        return [Received(odd, nothing, "odd") if one.id == odd else one for one in found]

    source = StoredInbox(look, "the store", Span(NOON + 100 * MINUTE))
    assert minutes(source.deliveries()) == [one for one in range(100, 5000) if one != 2500]


def test_an_empty_store_has_nothing() -> None:
    assert list(StoredInbox(inbox().look, "the store").deliveries()) == []


# ── Prometheus ────────────────────────────────────────────────────────────────────────────────────


def record(firing: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """A Prometheus in whose record these alerts fired at these minutes; returns the pages asked for."""
    pages: list[tuple[float, float]] = []

    def asked(
        _client: object,
        _method: str,
        query: str,
        start: datetime,
        end: datetime,
        step: str,
        *,
        deadline: float,
    ) -> list[dict[str, Any]]:
        assert (query, step) == ('ALERTS{alertstate="firing"}', "60")
        first, last = (start - NOON) / MINUTE, (end - NOON) / MINUTE
        pages.append((first, last))
        return [
            {
                "metric": {"__name__": "ALERTS", "alertstate": "firing", "alertname": name},
                "values": [[(NOON + n * MINUTE).timestamp(), "1"] for n in when if first <= n <= last],
            }
            for name, when in firing.items()
            if any(first <= n <= last for n in when)
        ]

    monkeypatch.setattr(alerts_metric, "asked", asked)
    return pages


def events(until: float) -> list[tuple[float, str, str]]:
    settings = PrometheusSettings(url="http://prometheus.example")
    source = AlertsMetric(settings, Span(NOON, NOON + until * MINUTE))
    return [
        ((one.received_at - NOON) / MINUTE, alert.name, alert.status)
        for one in source.deliveries()
        for alert in one.alerts
    ]


def test_series_become_alerts_that_begin_and_end_across_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = record(
        {"A": [3, 4, 5, 9, 10], "Long": list(range(350, 370)), "Edge": [359], "New": [360]}, monkeypatch
    )
    assert sorted(events(400)) == sorted(
        [
            (3, "A", "firing"),
            (6, "A", "resolved"),
            (9, "A", "firing"),
            (11, "A", "resolved"),
            (350, "Long", "firing"),
            (359, "Edge", "firing"),
            (360, "Edge", "resolved"),
            (360, "New", "firing"),
            (361, "New", "resolved"),
            (370, "Long", "resolved"),
        ]
    )
    assert pages == [(0, 359), (360, 400)]


@pytest.mark.parametrize("step", [7, 11, 13, 60, 7 * 60])
def test_no_sample_is_missing_between_two_pages_whatever_the_step(
    step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert that fires all the time neither begins nor ends where a page does."""
    asked_for: list[datetime] = []

    def asked(*words: Any, deadline: float) -> list[dict[str, Any]]:
        *_, start, end, spacing = words
        assert start == datetime.fromtimestamp(round(start.timestamp()), start.tzinfo)
        count = (end - start) // timedelta(seconds=float(spacing)) + 1
        stamps = [start + number * timedelta(seconds=float(spacing)) for number in range(count)]
        asked_for.extend(stamps)
        values = [[one.timestamp(), "1"] for one in stamps]
        return [{"metric": {"alertname": "Long"}, "values": values}]

    monkeypatch.setattr(alerts_metric, "asked", asked)
    settings = PrometheusSettings(url="http://prometheus.example")
    spacing = timedelta(minutes=step) if step > 7 else timedelta(seconds=step)
    since = NOON + timedelta(microseconds=600_000)
    source = AlertsMetric(settings, Span(since, since + timedelta(days=2)), spacing)
    assert [alert.status for one in source.deliveries() for alert in one.alerts] == ["firing"]
    assert {late - early for early, late in itertools.pairwise(asked_for)} == {spacing}
    assert (asked_for[0], since + timedelta(days=2) - asked_for[-1] < spacing) == (NOON, True)


def test_what_still_fires_at_the_end_has_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    record({"A": [8, 9, 10]}, monkeypatch)
    assert events(10) == [(8, "A", "firing")]


async def test_a_prometheus_that_cannot_be_asked_is_an_error() -> None:
    url = f"http://127.0.0.1:{a_port_where_nobody_listens()}"
    source = AlertsMetric(PrometheusSettings(url=url), Span(NOON, NOON + MINUTE))
    with pytest.raises(ConnectorError, match="cannot be reached"):
        await asyncio.to_thread(lambda: list(source.deliveries()))


@pytest.mark.real
@pytest.mark.needs("prometheus")
async def test_a_real_prometheus_tells_of_its_alerts() -> None:
    rules = [{"alert": "AlwaysOn", "expr": "vector(1) > 0", "labels": {"env": "prod"}}]
    with running_prometheus({}, rules) as metrics:
        (series,) = await metrics.wait_for('ALERTS{alertstate="firing"}')
        began = datetime.fromtimestamp(float((await metrics.query("time()"))[0].value), NOON.tzinfo)
        span = Span(began - 10 * MINUTE, began + MINUTE)
        source = AlertsMetric(PrometheusSettings(url=metrics.url), span, timedelta(seconds=1))
        found = (await asyncio.to_thread(lambda: list(source.deliveries())))[0]
    (alert,) = found.alerts
    labels = {"alertname": "AlwaysOn", "env": "prod"}
    assert (alert.labels, alert.firing, alert.fingerprint) == (labels, True, fingerprint(labels))
    assert abs(alert.starts_at - began) < timedelta(seconds=30)
    assert isinstance(alert, Alert)
    assert series.labels["alertstate"] == "firing"
