"""Where the alerts of a backtest come from: each a stream of deliveries in the order of time.

A source holds one page of its records at a time. What cannot be read is told, counted and left out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from remediator.core.alert import Delivery
from remediator.core.calls import printable
from remediator.errors import IntakeError
from remediator.intake.alertmanager import Parsed, parse
from remediator.policyfiles.backtest.repeats import Repeats
from remediator.ports import Received, Tx

T = TypeVar("T")

PAGE = 1000
"""Deliveries of a store that are read together."""

MOST_LINE = 64 * 1024 * 1024
"""Bytes of one line of a file; what is longer is no line of ours."""

BUFFER = 64 * 1024
"""Bytes of a file that are read together: few enough to stay in a processor's own memory until decoded."""

BARE = "A line that does not say when it came, came when the latest thing in it began or ended."

SLACK = timedelta(minutes=1)
"""How far back a record may step in time: two Alertmanagers, or a clock that is set, do so by seconds."""

LATE_END = timedelta(hours=1)
"""The same for a line that does not say when it came, by the end of an alert: that is told within minutes."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Span:
    """From when to when records count; open at either end where it is None."""

    since: datetime | None = None
    until: datetime | None = None

    def before(self, at: datetime) -> bool:
        """Is it too early?"""
        return self.since is not None and at < self.since

    def after(self, at: datetime) -> bool:
        """Is it too late?"""
        return self.until is not None and at > self.until


@dataclass
class Problems:
    """What could not be read, told as it comes."""

    tell: Callable[[str], None] = lambda _: None
    count: int = 0

    def add(self, problem: str) -> None:
        """One more record, or part of one, that is left out."""
        self.count += 1
        self.tell(printable(problem))


@dataclass
class Order:
    """The order of time in a record: what steps back in it comes when the latest before it came."""

    unit: str = "record"
    units: str = "records"
    latest: datetime = _EARLIEST
    late: int = 0  # records that are older than one before them by more than `SLACK` ...
    first: int = 0  # ... and the first of these

    def place(self, at: datetime, number: int) -> datetime:
        """When a record is taken to have come."""
        if at < self.latest:
            if self.latest - at > SLACK:
                self.note(number)
            return self.latest
        self.latest = at
        return at

    def note(self, number: int) -> None:
        """One that lies in the wrong place."""
        self.late += 1
        self.first = self.first or number

    @property
    def told(self) -> str:
        """Nothing where all is in order."""
        if not self.late:
            return ""
        each = f"1 {self.unit} is" if self.late == 1 else f"{self.late:,} {self.units} are"
        return (
            f"{each} older than what came before by more than a minute, the first is {self.unit} "
            f"{self.first:,}; each is taken to have come when the latest before it did"
        )


def newest() -> datetime:
    """No moment after it is believed to have been recorded."""
    return datetime.now(UTC) + timedelta(days=1)


def plausible(at: datetime, last: datetime) -> datetime:
    """A moment that may have been recorded, up to the last one. Raises IntakeError for any other."""
    if _OLDEST <= at <= last:
        return at
    raise IntakeError(
        "at",
        f"{at:%Y-%m-%d} is before 2000 or more than a day from now",
        remedy="mend the time, or leave it out",
    )


class Source(Protocol):
    """Recorded alerts."""

    name: str  # for people: where they were recorded
    assumes: tuple[str, ...]  # what its records cannot tell
    done: float  # how much of it was read: 0 to 1
    problems: Problems
    order: Order

    def deliveries(self) -> Iterator[Delivery]:
        """In the order of time."""
        ...


# ── A file of webhooks ────────────────────────────────────────────────────────────────────────────


class _Line(msgspec.Struct):
    """``{"at": …, "body": {…}}``, or a webhook as it was sent: then there is no body in it."""

    at: datetime | None = None
    body: msgspec.Raw = msgspec.Raw()


_line = msgspec.json.Decoder(_Line)
_WRITE = 'write one a line: {"at": "2026-11-21T12:00:00Z", "body": {"alerts": […]}}'


@dataclass
class WebhookFile:
    """One webhook a line, perhaps gzipped.

    A line says when it came (``{"at": …, "body": {…}}``), or is a bare webhook: then it came when the
    latest thing in it happened. Time never goes back: a line that steps back is counted.
    """

    path: Path
    span: Span = Span()
    problems: Problems = field(default_factory=Problems)
    order: Order = field(default_factory=lambda: Order("line", "lines"))
    done: float = 0.0

    def __post_init__(self) -> None:
        self._newest = newest()
        self._heard = _EARLIEST  # by which everything so far had come
        self.name = str(self.path)
        self.assumes: tuple[str, ...] = (BARE,)

    def deliveries(self) -> Iterator[Delivery]:
        """Raises IntakeError when the file cannot be read, or not one alert of it."""
        number = good = 0
        repeats, first, last = Repeats(), *self._counting()
        for number, line in self._lines():
            again = repeats.read(line)
            if again is not None and first <= (at := again.received_at) <= last:
                good += 1
                self._heard = max(self._heard, at)
                yield _came_at(again, self.order.place(at, number))
                continue
            try:
                found = self._read(number, line)
            except (IntakeError, msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
                if not good and not self.problems.count:
                    self._check_form(line)
                self.problems.add(f"{self.path}:{number}: {error}")
                continue
            if found is None:
                good += 1
                continue
            at, parsed = found
            for problem in parsed.bad:
                self.problems.add(f"{self.path}:{number}: {problem}")
            if parsed.delivery.alerts:
                good += 1
                yield _came_at(parsed.delivery, self.order.place(at, number))
            if not parsed.bad:
                repeats.learn(line, parsed.delivery)
        if not good:
            problem = "none of its lines is a webhook with an alert in it" if number else "is empty"
            raise IntakeError(str(self.path), problem, remedy=_WRITE)

    def _check_form(self, first: bytes) -> None:
        """Raises IntakeError for a file that is JSON in another form: its every line would be bad."""
        if first.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise IntakeError(str(self.path), "is UTF-16", remedy="write it as UTF-8")
        if first.lstrip().startswith(b"["):
            problem, remedy = "is a JSON array", f"write one webhook a line: jq -c '.[]' {self.path}"
            raise IntakeError(str(self.path), problem, remedy=remedy)
        if first.rstrip().endswith((b"{", b"[", b",")):
            problem = "is JSON over several lines"
            raise IntakeError(
                str(self.path), problem, remedy=f"write one webhook a line: jq -c . {self.path}"
            )

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            raw = BufferedReader(self.path.open("rb", buffering=0), BUFFER)
            size = max(1, self.path.stat().st_size)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise IntakeError(str(self.path), problem, remedy="name a file of webhooks") from error
        with raw:
            packed = raw.peek(2)[:2] == _GZIP
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            for number, line in enumerate(self._unpacked(stream), start=1):
                if number % PAGE == 0:
                    self.done = raw.tell() / size
                if number == 1:
                    line = line.removeprefix(_MARK)  # noqa: PLW2901
                if line and not line.isspace():
                    yield number, line
        self.done = 1.0

    def _unpacked(self, stream: Any) -> Iterator[bytes]:
        try:
            yield from iter(partial(stream.readline, MOST_LINE), b"")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.problems.add(f"{self.path}: the rest cannot be unpacked: {error}")

    def _read(self, number: int, line: bytes) -> tuple[datetime, Parsed] | None:
        """A line and when it came; None when that does not count."""
        written = _line.decode(line)
        if not written.body:
            parsed = parse(line, self._heard, source="file")
            at = self._came(number, parsed.delivery)
        elif written.at is None or written.at.tzinfo is None:
            raise IntakeError("at", "is no time with its zone", remedy='write "at": "2026-11-21T12:00:00Z"')
        else:
            parsed, at = None, plausible(written.at.astimezone(UTC), self._newest)
            self._heard = max(self._heard, at)
        if self.span.before(at) or self.span.after(at):
            return None
        if parsed is None:
            parsed = parse(bytes(written.body), at, source="file")
        return at, parsed

    def _counting(self) -> tuple[datetime, datetime]:
        """From when to when a line counts: what is out of the span, or beyond belief, does not."""
        since, until = self.span.since or _OLDEST, self.span.until or self._newest
        return max(since, _OLDEST), min(until, self._newest)

    def _came(self, number: int, delivery: Delivery) -> datetime:
        """When a line came that does not say it: never before what was heard by then."""
        ends = [one.ends_at for one in delivery.alerts if one.ends_at is not None and not one.firing]
        if ends and max(ends) < self._heard - LATE_END:
            self.order.note(number)
        happened = max([*ends, *(one.starts_at for one in delivery.alerts)], default=self._heard)
        self._heard = max(
            self._heard, happened if happened == self._heard else plausible(happened, self._newest)
        )
        return self._heard


def _came_at(delivery: Delivery, at: datetime) -> Delivery:
    """The delivery, at another time than it says perhaps."""
    if delivery.received_at == at:
        return delivery
    return msgspec.structs.replace(delivery, received_at=at)


# ── The daemon's own store ────────────────────────────────────────────────────────────────────────


class Asks(Protocol):
    """A store that is open for reading, asked by plain calls."""

    def __call__(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """What the work finds."""
        ...


@dataclass
class StoredInbox:
    """The deliveries that a daemon has taken."""

    ask: Asks
    name: str
    span: Span = Span()
    problems: Problems = field(default_factory=Problems)
    order: Order = field(default_factory=lambda: Order("delivery", "deliveries"))
    done: float = 0.0
    assumes: tuple[str, ...] = ()

    def deliveries(self) -> Iterator[Delivery]:
        """Page by page."""
        newest = self.ask(lambda tx: tx.last_delivery())
        first = after = self._before_since(newest)
        while page := self._after(after, PAGE):
            for received in page:
                at = self._at(received)
                if at is not None and not self.span.before(at) and not self.span.after(at):
                    at = self.order.place(at, received.id)
                    yield _came_at(received.delivery, at)
            after = page[-1].id
            self.done = (after - first) / max(1, newest - first)
        self.done = 1.0

    def _after(self, number: int, limit: int) -> list[Received]:
        return self.ask(lambda tx: tx.deliveries(after=number, limit=limit))

    def _at(self, received: Received) -> datetime | None:
        """When it came; None, and told, where its row, or a clock wrong beyond belief, does not say."""
        if received.problem:
            self.problems.add(f"delivery {received.id}: {received.problem}")
            return None
        try:
            return plausible(received.delivery.received_at, newest())
        except IntakeError as error:
            self.problems.add(f"delivery {received.id}: {error}")
            return None

    def _before_since(self, newest: int) -> int:
        """The number of a delivery before the first that counts: halved down to, since they lie in order.

        One that does not say when it came is taken to count: rather too much is read than too little.
        """
        low, high = 0, newest
        while self.span.since is not None and high - low > PAGE:
            middle = (low + high) // 2
            page = self._after(middle, 1)
            says = page and not page[0].problem and page[0].delivery.received_at >= _OLDEST
            if says and self.span.before(page[0].delivery.received_at):
                low = middle
            else:
                high = middle
        return low


# ── What records look like ────────────────────────────────────────────────────────────────────────


def as_line(at: datetime, body: dict[str, Any]) -> str:
    """A line of a webhook file."""
    return json.dumps({"at": at.isoformat(), "body": body}, separators=(",", ":"), ensure_ascii=False)
