"""Alerts from Prometheus's own record of them: ranges of ``ALERTS{alertstate="firing"}``, page by page.

The series tell at each step whether an alert fired; from that come its beginning and its end, with the
step as their error. What Alertmanager would have added (annotations, external labels, grouping,
silences, repeats) they do not tell.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from remediator.connectors.prometheus import PrometheusSettings, asked, connected
from remediator.core.alert import Alert, Delivery, fingerprint
from remediator.core.expression import format_duration
from remediator.errors import ConnectorError
from remediator.policyfiles.backtest.sources import Order, Problems, Span

QUERY = 'ALERTS{alertstate="firing"}'
MOST_POINTS = 10_000
"""Steps of one page: Prometheus refuses more than 11,000."""
LONGEST_PAGE = timedelta(hours=6)
WITHIN_S = 60.0
NOT_TOLD = (
    "The record has no annotations, nor what Prometheus adds when it sends alerts (external_labels); "
    "silences, inhibitions and grouping of Alertmanager are not in it either."
)
_OWN = ("__name__", "alertstate")


@dataclass
class _Firing:
    """An alert that fired when it was last seen."""

    labels: dict[str, str]
    since: datetime
    seen: datetime


@dataclass
class AlertsMetric:
    """The alerts of a Prometheus, or of what speaks its API."""

    settings: PrometheusSettings
    span: Span  # with both ends
    step: timedelta = timedelta(minutes=1)  # of whole seconds
    problems: Problems = field(default_factory=Problems)
    order: Order = field(default_factory=Order)
    done: float = 0.0

    def __post_init__(self) -> None:
        self.name = f"{QUERY} of {self.settings.url}"
        step = format_duration(self.step)
        error = f"Alerts began and ended within {step} of what is told: the samples are so far apart."
        self.assumes: tuple[str, ...] = (error, NOT_TOLD)

    def deliveries(self) -> Iterator[Delivery]:
        """Raises ConnectorError where Prometheus cannot be asked."""
        start, end = self.span.since, self.span.until
        assert start is not None and end is not None, "a range has two ends"
        client, firing = connected(self.settings), dict[str, _Firing]()
        at = start = start.replace(microsecond=0)  # Prometheus is asked for whole seconds
        between = self.step * (max(1, min(MOST_POINTS, LONGEST_PAGE // self.step)) - 1)
        while at <= end:  # the samples of all pages lie on one grid: none is missing between two pages
            last = min(at + between, end)
            yield from self._events(self._page(client, at, last), firing, last)
            at = last + self.step
            self.done = min(1.0, (at - start) / (end - start)) if end > start else 1.0
        self.done = 1.0

    def _page(self, client: Any, start: datetime, end: datetime) -> list[dict[str, Any]]:
        step = str(round(self.step.total_seconds()))
        try:
            found: list[dict[str, Any]] = asked(
                client, "custom_query_range", QUERY, start, end, step, deadline=time.monotonic() + WITHIN_S
            )
        except TimeoutError:
            raise ConnectorError(
                self.settings.url, f"no answer within {WITHIN_S:g} s", remedy="is Prometheus overloaded?"
            ) from None
        except ConnectorError as error:
            raise ConnectorError(self.settings.url, error.problem, remedy=error.remedy) from error
        return found

    def _events(
        self, series: list[dict[str, Any]], firing: dict[str, _Firing], end: datetime
    ) -> Iterator[Delivery]:
        """What began and what ended in one page; all of one moment together."""
        moments: dict[datetime, dict[str, Alert]] = {}
        for one in series:
            labels = {name: value for name, value in one["metric"].items() if name not in _OWN}
            identity = fingerprint(labels)
            for stamp, _ in one["values"]:
                self._seen(moments, firing, identity, labels, datetime.fromtimestamp(stamp, UTC))
        for identity in [one for one, about in firing.items() if about.seen + self.step <= end]:
            self._over(moments, firing, identity)
        for at, alerts in sorted(moments.items()):
            yield Delivery(source="prometheus", alerts=tuple(alerts.values()), received_at=at)

    def _seen(
        self,
        moments: dict[datetime, dict[str, Alert]],
        firing: dict[str, _Firing],
        identity: str,
        labels: dict[str, str],
        at: datetime,
    ) -> None:
        about = firing.get(identity)
        if about is not None and at - about.seen > 1.5 * self.step:
            self._over(moments, firing, identity)
            about = None
        if about is None:
            firing[identity] = _Firing(labels, at, at)
            moments.setdefault(at, {})[identity] = _alert(identity, labels, "firing", at)
        else:
            about.seen = at

    def _over(
        self, moments: dict[datetime, dict[str, Alert]], firing: dict[str, _Firing], identity: str
    ) -> None:
        about = firing.pop(identity)
        at = about.seen + self.step
        moments.setdefault(at, {})[identity] = _alert(identity, about.labels, "resolved", about.since, at)


def _alert(
    identity: str,
    labels: dict[str, str],
    status: Literal["firing", "resolved"],
    starts_at: datetime,
    ends_at: datetime | None = None,
) -> Alert:
    return Alert(
        fingerprint=identity,
        status=status,
        labels=labels,
        starts_at=starts_at,
        ends_at=ends_at,
        source="prometheus",
    )
