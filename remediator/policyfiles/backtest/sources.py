"""Where the alerts of a backtest come from: each a stream of deliveries in the order of time.

A source holds one page of its records at a time. What cannot be read is told, counted and left out.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from remediator.core.alert import Delivery
from remediator.core.calls import printable
from remediator.errors import IntakeError
from remediator.intake.alertmanager import Parsed, parse
from remediator.ports import Tx

T = TypeVar("T")

PAGE = 1000
"""Deliveries of a store that are read together."""

MOST_LINE = 64 * 1024 * 1024
"""Bytes of one line of a file; what is longer is no line of ours."""

MOST_KEPT = 2000
"""Bodies whose meaning is remembered; those of a page of a storm would not be worth it."""

BARE = "A line that does not say when it came, came when the latest thing in it began or ended."

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_GZIP = b"\x1f\x8b"


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


class Source(Protocol):
    """Recorded alerts."""

    name: str  # for people: where they were recorded
    assumes: tuple[str, ...]  # what its records cannot tell
    done: float  # how much of it was read: 0 to 1
    problems: Problems

    def deliveries(self) -> Iterator[Delivery]:
        """In the order of time."""
        ...


# ── A file of webhooks ────────────────────────────────────────────────────────────────────────────


class _Line(msgspec.Struct):
    """``{"at": …, "body": {…}}``, or a webhook as it was sent: then there is no body in it."""

    at: datetime | None = None
    body: msgspec.Raw = msgspec.Raw()


_line = msgspec.json.Decoder(_Line)


@dataclass
class WebhookFile:
    """One webhook a line, perhaps gzipped.

    A line says when it came (``{"at": …, "body": {…}}``), or is a bare webhook: then it came when the
    latest thing in it happened. Time never goes back.
    """

    path: Path
    span: Span = Span()
    problems: Problems = field(default_factory=Problems)
    done: float = 0.0

    def __post_init__(self) -> None:
        self._parsed: dict[bytes, Parsed] = {}
        self.name = str(self.path)
        self.assumes: tuple[str, ...] = (BARE,)

    def deliveries(self) -> Iterator[Delivery]:
        """Raises IntakeError when not one line can be read, OSError when the file cannot."""
        last, good = _EARLIEST, 0
        for number, line in self._lines():
            try:
                found = self._read(line, last)
            except (IntakeError, msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
                self.problems.add(f"{self.path}:{number}: {error}")
                continue
            good += 1
            for problem in found[1]:
                self.problems.add(f"{self.path}:{number}: {problem}")
            delivery = found[0]
            last = delivery.received_at
            if self.span.after(last):
                return
            if delivery.alerts and not self.span.before(last):
                yield delivery
        if not good:
            problem = "none of its lines is a webhook" if self.problems.count else "is empty"
            remedy = 'write one a line: {"at": "2026-11-21T12:00:00Z", "body": {"alerts": […]}}'
            raise IntakeError(str(self.path), problem, remedy=remedy)

    def _line(self, stream: Any) -> bytes:
        try:
            line: bytes = stream.readline(MOST_LINE)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.problems.add(f"{self.path}: the rest cannot be unpacked: {error}")
            return b""
        return line

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        size = max(1, self.path.stat().st_size)
        with self.path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            number = 0
            while line := self._line(stream):
                number += 1
                if number % PAGE == 0:
                    self.done = raw.tell() / size
                if not line.isspace():
                    yield number, line
        self.done = 1.0

    def _read(self, line: bytes, last: datetime) -> tuple[Delivery, tuple[str, ...]]:
        written = _line.decode(line)
        if not written.body:
            parsed = self._parse(line, last)
            times = [at for one in parsed.delivery.alerts for at in (one.starts_at, one.ends_at) if at]
            at = max(times, default=last)
        elif written.at is None or written.at.tzinfo is None:
            raise IntakeError("at", "is no time with its zone", remedy='write "at": "2026-11-21T12:00:00Z"')
        else:
            at = written.at.astimezone(UTC)
            parsed = self._parse(bytes(written.body), at)
        return msgspec.structs.replace(parsed.delivery, received_at=max(at, last)), parsed.bad

    def _parse(self, body: bytes, at: datetime) -> Parsed:
        """As the daemon reads it. Alertmanager repeats itself to the byte, so the last bodies are kept."""
        known = self._parsed.get(body)
        if known is None:
            known = self._parsed[body] = parse(body, at, source="file")
            if len(self._parsed) > MOST_KEPT:
                del self._parsed[next(iter(self._parsed))]
        return known


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
    done: float = 0.0
    assumes: tuple[str, ...] = ()

    def deliveries(self) -> Iterator[Delivery]:
        """Page by page."""
        newest = self.ask(lambda tx: tx.last_delivery())
        first = after = self._before_since(newest)
        last = _EARLIEST
        while page := self.ask(lambda tx, after=after: tx.deliveries(after=after, limit=PAGE)):  # type: ignore[misc]
            for received in page:
                last = max(last, received.delivery.received_at)
                if self.span.after(last):
                    return
                if not self.span.before(last):
                    yield msgspec.structs.replace(received.delivery, received_at=last)
            after = page[-1].id
            self.done = (after - first) / max(1, newest - first)
        self.done = 1.0

    def _before_since(self, newest: int) -> int:
        """The number of a delivery before the first that counts: halved down to, since they lie in order."""
        low, high = 0, newest
        while self.span.since is not None and high - low > PAGE:
            middle = (low + high) // 2
            page = self.ask(lambda tx, after=middle: tx.deliveries(after=after, limit=1))  # type: ignore[misc]
            if page and self.span.before(page[0].delivery.received_at):
                low = middle
            else:
                high = middle
        return low


# ── What records look like ────────────────────────────────────────────────────────────────────────


def as_line(at: datetime, body: dict[str, Any]) -> str:
    """A line of a webhook file."""
    return json.dumps({"at": at.isoformat(), "body": body}, separators=(",", ":"), ensure_ascii=False)
