"""What operators' machines read: one log line per event, and the metrics of `GET /metrics`.

Counts that the store holds as rows (runs, gates, holds, pages, refusals) are read from it, so they
survive a restart and are the same for every replica; only what no row remembers is counted here.
"""

from __future__ import annotations

import json
import logging
import platform
import re
import sys
import time
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, TypeVar

from remediator.core.policyset import PolicySet
from remediator.core.run import Stage
from remediator.errors import StoreError
from remediator.ports import NOTHING, Ahead, Clock, PolicyCount, Store, Tx, Unreadable

T = TypeVar("T")

# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────

MOST = 8192
"""Characters of one field; a log must not fill a disk with one hostile label."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(r"token|secret|passw|authorization|api_?key|cookie|dsn", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"  # headers
    r"|\bxox[a-z]-[\w-]+|\bxapp-[\w-]+"  # Slack's tokens
    r"|(?<=://)[^/\s@:]*:[^/\s@]*(?=@)"  # user:password@ in addresses
)
_HIDDEN = "(hidden)"


class JsonLines(logging.Formatter):
    """Each record as one line of JSON in ASCII: whatever a label holds, a line stays a line.

    secrets: values that never show, wherever they turn up.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(sorted((one for one in secrets if one), key=len, reverse=True))

    def format(self, record: logging.LogRecord) -> str:
        """The fields ``time level logger event``, then the record's own."""
        return json.dumps(self._fields(record), ensure_ascii=True, default=str)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._told("event", record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _OWN and name not in fields:
                fields[name] = self._told(name, value)
        if record.exc_info and record.exc_info[0] is not None:
            fields["traceback"] = self._told("traceback", self.formatException(record.exc_info))
        return fields

    def _told(self, name: str, value: Any) -> Any:
        """The value, with what is secret hidden and what is endless cut."""
        if _SECRET_NAME.search(name) and value not in (None, "", (), []):
            return _HIDDEN
        match value:
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {str(key): self._told(str(key), item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._told("", item) for item in value]
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = _SECRET_VALUE.sub(_HIDDEN, text)
        return text if len(text) <= MOST else f"{text[:MOST]}… ({len(text)} characters)"


class PlainLines(JsonLines):
    """The same for a person at a terminal: ``09:14:50 warning engine.driver: event  run=r-1``."""

    def format(self, record: logging.LogRecord) -> str:
        """Control characters are escaped; a traceback keeps its lines."""
        fields = self._fields(record)
        at, level, logger = (str(fields.pop(name)) for name in ("time", "level", "logger"))
        event, trace = _escaped(str(fields.pop("event"))), str(fields.pop("traceback", ""))
        rest = "".join(f"  {name}={_escaped(_spelled(value))}" for name, value in fields.items())
        short = logger.removeprefix("remediator.")
        lines = "".join(f"\n    {_escaped(line)}" for line in trace.splitlines())
        return f"{at[11:19]} {level:7} {short}: {event}{rest}{lines}"


def configure_logging(level: str = "info", *, json: bool = True, secrets: Collection[str] = ()) -> None:
    """Send everything to standard error, once. Raises ValueError for a level that is none."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"{level!r} is not a log level; write debug, info, warning or error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(secrets) if json else PlainLines(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for chatty in ("aiohttp.access", "apscheduler", "asyncio", "urllib3", "slack_sdk"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _escaped(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


# ── Metrics ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Census:
    """What the store's rows say, read together."""

    inbox: int
    ended: tuple[PolicyCount, ...]
    stages: Mapping[tuple[str, str], int]  # (policy, stage) of runs that are not closed
    gates: int
    pages: int
    refusals: int
    replicas: int


async def take_census(tx: Tx) -> Census:
    """To be read in one go: ``store.read(take_census)``."""
    stages = Tally({(one.policy, one.stage): one.runs for one in await tx.stage_counts()})
    return Census(
        inbox=await tx.inbox_depth(),
        ended=tuple(await tx.policy_counts()),
        stages=stages,
        gates=sum(runs for (_, stage), runs in stages.items() if stage == Stage.WAITING),
        pages=len(await tx.pages()),
        refusals=len(await tx.dispositions(refused_only=True)),
        replicas=max(1, sum(one.until > tx.now for one in await tx.replicas())),
    )


class Metrics:
    """The daemon's metrics, in a registry of their own."""

    def __init__(self) -> None:
        import prometheus_client as prometheus  # it weighs 60 ms, and not every command serves

        self._prometheus = prometheus
        self.registry = prometheus.CollectorRegistry()

        def counter(name: str, doc: str, *labels: str) -> prometheus.Counter:
            return prometheus.Counter(f"remediator_{name}", doc, labels, registry=self.registry)

        def gauge(name: str, doc: str, *labels: str) -> prometheus.Gauge:
            return prometheus.Gauge(f"remediator_{name}", doc, labels, registry=self.registry)

        self._steps = counter("steps", "Steps that ended, undos included.", "policy", "step", "result")
        self._commits = prometheus.Histogram(
            "remediator_store_commit_seconds",
            "From asking for a transaction to its durable commit.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self._store_up = gauge("store_up", "1 while the store answers.")
        self._policies = gauge("policies", "Running policies.", "mode")
        self._refused = gauge(
            "policies_refused",
            "Problems that keep the policies in the folder from running; the older ones run.",
        )
        gauge("build_info", "Always 1; the version is in the label.", "version", "python").labels(
            _version(), platform.python_version()
        ).set(1)
        self._takes = True  # writes, as the last one found
        self._census: Census | None = None
        self.registry.register(_Rows(lambda: self._census))

    # What others call

    def deliveries(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Ask this, whenever metrics are read: (source, result) → how many webhooks ended so.

        The result ``alerts`` counts the alerts of accepted ones.
        """
        self.registry.register(_Deliveries(count))

    def step(self, policy: str, step: str, result: str) -> None:
        """A step ended: ``done``, ``refused`` or ``unknown``."""
        self._steps.labels(policy, step, result).inc()

    def commit(self, seconds: float) -> None:
        """A transaction was committed."""
        self._commits.observe(seconds)

    def store_up(self, up: bool) -> None:  # noqa: FBT001 - it is the value
        """Does the store answer?"""
        self._takes = up
        self._store_up.set(up)

    def policies(self, running: PolicySet) -> None:
        """The set that runs now."""
        modes = Tally(one.policy.mode for one in running.by_name.values())
        for mode in ("observe", "suggest", "act"):
            self._policies.labels(mode).set(modes[mode])

    def refused(self, problems: Callable[[], Sequence[str]]) -> None:
        """Where to ask what keeps the policies in the folder from running."""
        self._refused.set_function(lambda: len(problems()))

    async def scrape(self, store: Store) -> bytes:
        """Everything, with the store's rows as they are now; without them when it does not answer."""
        try:
            self._census = await store.read(take_census)
        except StoreError:
            self._census = None
        self._store_up.set(self._census is not None and self._takes)
        return self.render()

    def render(self) -> bytes:
        """The text format of Prometheus, version 0.0.4."""
        return self._prometheus.generate_latest(self.registry)


class _Rows:
    """Turns the last census into metrics whenever somebody asks."""

    def __init__(self, census: Callable[[], Census | None]) -> None:
        self._census = census

    def describe(self) -> Iterable[Any]:
        """Nothing to declare beforehand."""
        return ()

    def collect(self) -> Iterable[Any]:
        """No census, no numbers: an old one would look like a calm one."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        seen = self._census()
        if seen is None:
            return
        for name, doc, number in (
            ("inbox_depth", "Deliveries that wait.", seen.inbox),
            ("gates_open", "Gates that wait for votes.", seen.gates),
            ("holds", "Runs whose temporary change stands.", _holding(seen)),
            ("pages_open", "Pages that nobody has acknowledged.", seen.pages),
            ("replicas", "Daemons that live, of those that share the store.", seen.replicas),
            ("refusals_standing", "Alerts that a bound keeps from being acted on.", seen.refusals),
        ):
            yield GaugeMetricFamily(f"remediator_{name}", doc, value=number)
        ended = CounterMetricFamily(
            "remediator_runs", "Closed runs, by outcome.", labels=("policy", "outcome")
        )
        for one in seen.ended:
            ended.add_metric([one.policy, one.outcome], one.runs)
        yield ended
        live = GaugeMetricFamily("remediator_runs_open", "Runs by stage.", labels=("policy", "stage"))
        for (policy, stage), number in sorted(seen.stages.items()):
            if stage != Stage.HOLDING:
                live.add_metric([policy, stage], number)
        yield live


class _Deliveries:
    """Turns what the doors have counted into metrics."""

    def __init__(self, count: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._count = count

    def describe(self) -> Iterable[Any]:
        """Nothing to declare beforehand."""
        return ()

    def collect(self) -> Iterable[Any]:
        """Two counters."""
        from prometheus_client.core import CounterMetricFamily

        webhooks = CounterMetricFamily(
            "remediator_deliveries", "Webhooks, by what became of them.", labels=("source", "result")
        )
        alerts = CounterMetricFamily(
            "remediator_alerts", "Alerts in accepted deliveries, repeats included.", labels=("source",)
        )
        for (source, result), number in self._count().items():
            if result == "alerts":
                alerts.add_metric([source], number)
            else:
                webhooks.add_metric([source, result], number)
        yield webhooks
        yield alerts


def _holding(census: Census) -> int:
    return sum(number for (_, stage), number in census.stages.items() if stage == Stage.HOLDING)


def _version() -> str:
    try:
        return metadata.version("remediator")
    except metadata.PackageNotFoundError:
        return "unknown"


class TimedStore:
    """A `remediator.ports.Store` whose commits are measured."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    @property
    def shared(self) -> bool:
        """See `remediator.ports.Store`."""
        return self._store.shared

    @property
    def clock(self) -> Clock:
        """See `remediator.ports.Store`."""
        return self._store.clock

    def write_as(self, replica: str) -> None:
        """See `remediator.ports.Store`."""
        self._store.write_as(replica)

    def follow(self, woken: Callable[[], None]) -> None:
        """See `remediator.ports.Store`."""
        self._store.follow(woken)

    def unread(self) -> list[Unreadable]:
        """See `remediator.ports.Store`."""
        return self._store.unread()

    async def open(self) -> None:
        """See `remediator.ports.Store`."""
        await self._store.open()
        self._metrics.store_up(up=True)

    async def open_reading(self) -> None:
        """See `remediator.ports.Store`."""
        await self._store.open_reading()

    async def close(self) -> None:
        """See `remediator.ports.Store`."""
        await self._store.close()

    async def transact(self, work: Callable[[Tx], Awaitable[T]], ahead: Ahead = NOTHING) -> T:
        """See `remediator.ports.Store`."""
        began = time.perf_counter()
        try:
            value = await self._store.transact(work, ahead)
        except StoreError:
            self._metrics.store_up(up=False)
            raise
        self._metrics.commit(time.perf_counter() - began)
        self._metrics.store_up(up=True)
        return value

    async def read(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """See `remediator.ports.Store`."""
        return await self._store.read(work)
