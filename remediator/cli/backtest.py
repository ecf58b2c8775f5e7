"""``remediator policy backtest``: what policies would have done to recorded alerts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from remediator.errors import ConfigError, ExpressionError, IntakeError, RemediatorError

if TYPE_CHECKING:
    from remediator.config import Config
    from remediator.core.policyset import PolicySet
    from remediator.documents import Place
    from remediator.policyfiles.backtest.replay import Given, Progress
    from remediator.policyfiles.backtest.result import Result
    from remediator.policyfiles.backtest.sources import Problems, Source, Span
    from remediator.ports import Store, Tx

T = TypeVar("T")

FINE, PROBLEMS, COULD_NOT_RUN = 0, 1, 2
MOST_TOLD = 20
"""Records that could not be read, each told in a line; the rest are counted."""
WEEK = timedelta(days=7)


def add_command(commands: Any) -> None:
    """Add ``backtest`` to ``policy``."""
    command = commands.add_parser(
        "backtest",
        help="what policies would have done to recorded alerts, by the engine itself, in virtual time",
        description="Plays recorded alerts to the engine in virtual time and reports every run that would "
        "have been opened, and what stopped the others. Nothing is asked of any connection, and nothing is "
        "done: probes are answered from recorded readings (--from-store) or not at all, and the report says "
        "how much was known and what is assumed. Exit status: 0 fine, 1 some records could not be read, "
        "or more than one in a hundred is out of order; 2 could not run.",
    )
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="policy files and folders")
    add_source(command, required=True)
    command.add_argument("--config", type=Path, default=Path("remediator.yaml"), help="the daemon's settings")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the result as JSON")
    shown.add_argument("--markdown", action="store_true", help="print it as Markdown, for a pull request")
    command.add_argument("--html", type=Path, metavar="FILE", help="also write a page with a timeline")
    command.set_defaults(run=run_backtest)


def add_source(command: argparse.ArgumentParser, *, required: bool) -> None:
    """The options that say which recorded alerts are played, and how; `player` reads them."""
    source = command.add_mutually_exclusive_group(required=required)
    source.add_argument(
        "--from-store", action="store_true", help="the deliveries and readings of the config's store"
    )
    source.add_argument("--from-file", type=Path, metavar="F", help="webhooks, one a line; may be gzipped")
    source.add_argument("--from-prometheus", metavar="URL", help="the ALERTS series of a Prometheus")
    command.add_argument(
        "--since", type=_when, metavar="WHEN", help="7d, or a time such as 2026-11-14T00:00Z; 7d by default, "
        "of a file all of it",
    )  # fmt: skip
    command.add_argument("--until", type=_when, metavar="WHEN", help="likewise; now by default")
    command.add_argument(
        "--step", type=_step, default=timedelta(minutes=1), metavar="SPAN",
        help="how far apart the samples of Prometheus are read; 1m by default",
    )  # fmt: skip
    command.add_argument(
        "--people", choices=("approve", "silent"), default="approve", help="what people do at gates"
    )
    command.add_argument("--quiet", action="store_true", help="do not tell how far it is")


def has_source(args: argparse.Namespace) -> bool:
    """Were recorded alerts asked for?"""
    return bool(args.from_store or args.from_file or args.from_prometheus)


def run_backtest(args: argparse.Namespace) -> int:
    """0 fine, 1 some records could not be read or many are out of order, 2 could not run."""
    from remediator import connectors
    from remediator.policyfiles.loading import load

    try:
        config = settings(args)
        catalog = connectors.catalog(config, blind=True)
        policies = load(args.paths, catalog).policy_set(catalog)
        result = player(args, config)(policies)
        if args.html is not None:
            from remediator.policyfiles.backtest.page import as_html

            args.html.write_text(as_html(result), encoding="utf-8")
    except (RemediatorError, OSError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT_RUN
    _print(args, result)
    return PROBLEMS if result.doubtful else FINE


def _print(args: argparse.Namespace, result: Result) -> None:
    import msgspec

    from remediator.policyfiles.backtest.reports import as_markdown, as_text

    if args.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        sys.stdout.write("\n")
    else:
        print(as_markdown(result) if args.markdown else as_text(result))


def settings(args: argparse.Namespace) -> Config:
    """The config. No secret is needed but where the records are: no other reference is followed."""
    return _read(args.config, ("store",) if args.from_store else ())


def _read(path: Path, except_at: Place = ()) -> Config:
    """The config, blind but for one place in it."""
    from functools import partial

    from remediator import connectors
    from remediator.config_file import load as load_config

    check = partial(connectors.problems, blind=True)
    return load_config(path, check=check, blind=True, except_at=except_at)


def player(args: argparse.Namespace, config: Config) -> Callable[[PolicySet], Result]:
    """Plays the recorded alerts to a set of policies; to each the same ones."""
    from remediator.policyfiles.backtest.replay import Given, backtest
    from remediator.policyfiles.backtest.sources import Problems

    span, told = _span(args), _Told()

    def played(policies: PolicySet) -> Result:
        problems = Problems(told)
        given = Given(
            policies,
            people=args.people,
            debounce=config.resolved_debounce,
            since=span.since,
            until=span.until,
        )
        tell = _Progress(quiet=args.quiet)
        # Much is made and little is cyclic: looking for cycles costs a tenth, most of it at what is there.
        gc.freeze()
        gc.set_threshold(200_000, 50, 1000)
        try:
            with _source(args, config, span, problems, given) as (source, known):
                result = backtest(source, known, tell)
        finally:
            tell.done()
            told.done()
        if result.disorder and not told.again:
            from remediator.core.letters import plainly

            print(f"{plainly(result.source)}: {result.disorder}", file=sys.stderr)
        told.again = True
        return result

    return played


def _span(args: argparse.Namespace) -> Span:
    """From when to when: back from now, unless it is told; of a file all of it, unless it is told."""
    from remediator.policyfiles.backtest.sources import Span

    now = datetime.now(UTC)
    until = _moment(args.until, now)
    since = _moment(args.since, until or now)
    if args.from_file is not None:
        return _right(Span(since, until))
    until = until or now
    return _right(Span(since or until - WEEK, until))


def _right(span: Span) -> Span:
    from remediator.policyfiles.backtest.sources import newest

    if span.until is not None and span.until > newest():
        problem = f"{span.until:%Y-%m-%d} lies ahead, and nothing of it is recorded"
        raise IntakeError("--until", problem, remedy="leave it out: now, or where the file ends")
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise IntakeError("--since", "is not before --until", remedy="give a span, such as --since 7d")
    return span


@contextlib.contextmanager
def _source(
    args: argparse.Namespace, config: Config, span: Span, problems: Problems, given: Given
) -> Iterator[tuple[Source, Given]]:
    """Where the alerts come from, and what is known beside them."""
    if args.from_file is not None:
        from remediator.policyfiles.backtest.sources import WebhookFile

        yield WebhookFile(args.from_file, span, problems), given
    elif args.from_prometheus is not None:
        from remediator.policyfiles.backtest.alerts_metric import AlertsMetric

        yield AlertsMetric(_prometheus(args.from_prometheus, args.config), span, args.step, problems), given
    else:
        with _open(config, args.config.resolve().parent) as ask:
            from dataclasses import replace

            from remediator.policyfiles.backtest.readings import recorded
            from remediator.policyfiles.backtest.sources import StoredInbox

            source = StoredInbox(ask, f"the store {config.store.partition(':')[0]}", span, problems)
            yield source, replace(given, readings=recorded(ask, given.policies, span))


@contextlib.contextmanager
def _open(config: Config, folder: Path) -> Iterator[Any]:
    """The daemon's store, open for reading beside it, asked by plain calls."""
    from remediator.clock import SystemClock
    from remediator.store import open_store

    store: Store = open_store(config.store, SystemClock(), folder)
    with asyncio.Runner() as runner:

        def ask(work: Callable[[Tx], Awaitable[T]]) -> T:
            return runner.run(_ask(store, work))

        runner.run(store.open_reading())
        try:
            yield ask
        finally:
            runner.run(store.close())


async def _ask(store: Store, work: Callable[[Tx], Awaitable[T]]) -> T:
    return await store.read(work)


def _prometheus(url: str, config: Path) -> Any:
    """Its address, with the headers and the CA of the connection that has the same one."""
    from pydantic import ValidationError

    from remediator.connectors.prometheus import PrometheusSettings

    for name, written in _read(config).connections.items():
        place = ("connections", name)
        if written.get("kind") == "prometheus" and _address(config, place) == url.rstrip("/"):
            about = _read(config, place).connections[name]
            return PrometheusSettings.model_validate({k: v for k, v in about.items() if k != "kind"})
    try:
        return PrometheusSettings.model_validate({"url": url})
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        remedy = "write http://prometheus.example:9090"
        raise IntakeError(
            "--from-prometheus", problem.removeprefix("Value error, "), remedy=remedy
        ) from error


def _address(config: Path, place: tuple[str, str]) -> str:
    """Where a connection leads; nowhere if that is a reference that cannot be followed here."""
    try:
        return str(_read(config, (*place, "url")).connections[place[1]].get("url")).rstrip("/")
    except ConfigError:
        return ""


# ── Arguments ─────────────────────────────────────────────────────────────────────────────────────


def _duration(text: str) -> timedelta:
    from remediator.core.expression import parse_duration

    try:
        span = parse_duration(text)
    except (ExpressionError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if span <= timedelta():
        raise argparse.ArgumentTypeError(f"{text} is no span of time; write 7d")
    return span


def _step(text: str) -> timedelta:
    """Of whole seconds: Prometheus is asked for no less."""
    step = _duration(text)
    if step % timedelta(seconds=1):
        raise argparse.ArgumentTypeError(f"{text} is not whole seconds; write 1m")
    return step


def _when(text: str) -> timedelta | datetime:
    """So long ago, or a time with its zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _duration(text)
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} says no time zone; write 2026-11-14T00:00Z")
    return at.astimezone(UTC)


def _moment(given: timedelta | datetime | None, before: datetime) -> datetime | None:
    return before - given if isinstance(given, timedelta) else given


# ── While it runs ─────────────────────────────────────────────────────────────────────────────────


class _Told:
    """The first problems, each in a line. ``again``: the same record is played once more, and was told."""

    def __init__(self) -> None:
        self._count = 0
        self.again = False

    def __call__(self, problem: str) -> None:
        self._count += 1
        if self._count <= MOST_TOLD and not self.again:
            print(problem, file=sys.stderr)

    def done(self) -> None:
        """How many were not told."""
        if self._count > MOST_TOLD and not self.again:
            print(f"… {self._count - MOST_TOLD} more", file=sys.stderr)


class _Progress:
    """A bar on a terminal, a line now and then elsewhere."""

    WIDTH = 30
    BAR_EVERY_S = 0.1
    LINE_EVERY_S = 10.0

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0.0 if self._terminal else self.LINE_EVERY_S)
        self._drawn = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        about = f"{progress.done:4.0%}  {progress.deliveries:,} deliveries, {progress.at:%Y-%m-%d %H:%M}"
        if self._terminal:
            self._next, self._drawn = now + self.BAR_EVERY_S, True
            full = round(progress.done * self.WIDTH)
            bar = "█" * full + "░" * (self.WIDTH - full)
            print(f"\r{bar} {about}\x1b[K", end="", file=sys.stderr, flush=True)
        else:
            self._next = now + self.LINE_EVERY_S
            print(f"backtest: {about}", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Take the bar away."""
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
