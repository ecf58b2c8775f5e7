"""Wiring: the only place that names concrete classes. Starts everything in order, stops it in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from remediator import connectors
from remediator.clock import SystemClock, new_id
from remediator.config import Config
from remediator.connectors.people import People
from remediator.core.catalog import BUILT_IN
from remediator.core.messages import Act, Entry, Result
from remediator.core.policyset import PolicySet
from remediator.core.steps import base_of
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.desk import PeoplesDesk
from remediator.engine.doubting import own_up
from remediator.engine.driver import Driver
from remediator.engine.explain import explain
from remediator.engine.hiding import Discreet, hider
from remediator.engine.membership import Membership
from remediator.engine.paging import Paging
from remediator.engine.perform import Performer
from remediator.engine.retention import Keeps, Retention
from remediator.engine.schedule import Schedule
from remediator.errors import ConfigError, RemediatorError, StoreError
from remediator.intake.hook import AlertmanagerHook
from remediator.people.identity import person_of
from remediator.people.interactivity import Clicks, SlackActions
from remediator.people.pages import Pager
from remediator.people.slack import SlackRoad
from remediator.people.socketmode import SlackSocket
from remediator.people.webhook import WebhookRoad
from remediator.ports import SYSTEM, Answer, Clock, Connector, Notifier, Store
from remediator.reloading import Reloading
from remediator.shelf import NOTHING, Shelf, read_kept
from remediator.store import open_store
from remediator.store.archive import Archive
from remediator.store.journal import verify
from remediator.telemetry import Metrics, TimedStore
from remediator.web.server import make_app
from remediator.web.services import Services

log = logging.getLogger(__name__)

STOP_WITHIN_S = 7.0
"""For acts on the wire, from when a stop began."""
TOLD_WITHIN_S = 5.0
"""For the store to hear of it, unless it hangs."""
STOPPED_WITHIN_S = 8.0
"""By then both; together with all the rest, a stop takes less than ten seconds."""


@dataclass
class App:
    """One daemon. `running` is its whole life."""

    config: Config
    folder: Path  # relative paths of the config start here
    clock: Clock = field(default_factory=SystemClock)
    freshness: timedelta = timedelta(seconds=10)
    address: str = ""  # where it listens, once it does
    secrets: Collection[str] = ()  # what the settings' references stood for; shown nowhere
    _asides: set[asyncio.Task[None]] = field(default_factory=set)
    _writable: bool = True  # as the last pulse found

    def __post_init__(self) -> None:
        """Everything that can be refused is refused here, before anything is opened."""
        self.catalog = connectors.catalog(self.config)
        self.shelf = Shelf(self.folder / self.config.policies, self.catalog)
        self.shelf.load()
        self.metrics = Metrics()
        self.metrics.policies(self.shelf())
        self.metrics.refused(lambda: self.shelf.refused)
        store = open_store(self.config.store, self.clock, self.folder)
        self.store: Store = TimedStore(store, self.metrics)
        self.connections: dict[str, Connector] = connectors.build(self.config)
        self._wire()

    def _wire(self) -> None:
        config = self.config
        clock = self.store.clock  # its time is everybody's
        self.roads = _roads(config)
        self.pager = Pager(self.roads, config, clock)
        self.paging = Paging(self.store, clock, self.pager.deliver, new_id)
        terms = Terms(config.resolved_debounce, self.freshness)
        self.decisions = Decisions(self.shelf, read_kept, new_id, terms)
        self.driver = Driver(self.store, self.decisions, clock, self.paging.poke, self.paging.open)
        hide = hider(self.secrets)
        self.performer = Performer(
            self.store,
            clock,
            {name: Discreet(connection, hide) for name, connection in self.connections.items()},
            self.roads,
            catalog=lambda: self.catalog,
            at_once=(config.limits.probes_at_once, config.limits.acts_at_once),
        )
        self.performer.on_step = self._step_ended
        self.driver.attach(self.performer)
        self.store.follow(self._woken)
        host = f"{socket.gethostname()}:{os.getpid()}"
        self.membership = Membership(self.store, clock, self.shelf, new_id, host)
        self.membership.attach(self.driver, self.performer)
        people = self.connections[BUILT_IN["people"]]
        assert isinstance(people, People)
        people.attach(self.paging.open)
        self.performer.attach(self.driver, self._page_about, lambda: self.membership.lease)
        self.schedule = Schedule(self.store, self.clock, self.performer, self.driver)
        self.retention = self._retention()
        self.desk = PeoplesDesk(self.store, self.driver, new_id, self.shelf, self.shelf.reload)
        self.clicks = Clicks(self.desk, self._whisper, self.desk.turn_away)
        self.socket = self._slack_socket()
        self.desk.on_reload = self._tell_of_reload
        self.shelf.follow(self._policies_changed)
        self.hook = AlertmanagerHook(
            config.hooks.alertmanager,
            config.loopback,
            self.store,
            self.driver.accepted,
            config.limits.inbox,
            depth=lambda: self.driver.depth,
        )
        self.hook.on_lost = self._webhook_lost
        self.metrics.deliveries(self.hook.counts.by_result)
        self.web = make_app(self._services())

    def _retention(self) -> Retention:
        kept = self.config.retention
        keeps = Keeps(kept.deliveries, kept.alerts, kept.runs, kept.counters)
        archive = Archive(self.folder / kept.archive, self.store.clock.now).keep if kept.archive else None
        return Retention(self.store, keeps, self.shelf, verify, archive, self.paging.open)

    def _services(self) -> Services:
        return Services(
            config=self.config,
            store=self.store,
            desk=self.desk,
            feed=self.driver,
            policies=self.shelf,
            refused=lambda: self.shelf.refused,
            identify=lambda token: person_of(token, self.config.people),
            ready=self.problems,
            metrics=lambda: self.metrics.scrape(self.store),
            explain=lambda tx, alert: explain(tx, self.shelf(), alert),
            extra_routes=(
                ("POST", "/hooks/alertmanager", self.hook.handle),
                ("POST", "/hooks/slack/actions", SlackActions(self.config, self.clicks, self.clock)),
            ),
        )

    def problems(self) -> list[str]:
        """Why it is not ready; empty when it is."""
        works = self.driver.store_works and self._writable
        return [*([] if works else ["the store does not work: nothing starts"]), *self.membership.problems()]

    def _woken(self) -> None:
        """Another daemon has left something to do."""
        self.driver.woken()
        self.paging.poke()

    def warnings(self) -> list[str]:
        """What lets it start, and may surprise somebody at night."""
        told = []
        if not self.shelf().by_name:
            told.append(f"there is no policy in {self.config.policies}: nothing will be done about any alert")
        if not self.roads:
            told.append("neither slack nor page_webhook is configured: pages show on the status page only")
        return told

    def _step_ended(self, act: Act, result: Result) -> None:
        base = base_of(act.step)  # items are as many as a list is long
        step = f"{base} (undo)" if act.undo else base
        self.metrics.step(act.policy, step, type(result).__name__.lower())

    def _webhook_lost(self, problem: str) -> None:
        """A sender's alerts were refused for good; it must not wait for the page."""
        text = (
            f"a webhook of Alertmanager was refused for good, and its alerts with it: {problem}. See /status"
        )
        self._aside(self._page_quietly("webhook", text))

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    def _tell_of_reload(self, by: str, answer: Answer) -> None:
        """The channel sees what changed, loosened first, or that nothing could be."""
        data = answer.data or {}
        told = data.get("changes", ()) if answer.ok else data.get("problems", ())
        if answer.ok and not told and answer.text == NOTHING:
            return
        head = (
            f"Policies reloaded ({by}): {answer.text}"
            if answer.ok
            else f"Policies not reloaded ({by}): {answer.text}; the running ones go on"
        )
        for road in self.roads:
            if isinstance(road, SlackRoad):
                self._aside(road.announce(head, told))

    async def _reload(self, by: str) -> Answer:
        return await self.desk.reload(by=by)

    async def _page_quietly(self, key: str, text: str) -> None:
        with contextlib.suppress(RemediatorError):
            await self.paging.open(key, text)

    async def _page_about(self, run: str, about: str, problem: str) -> None:
        await self.paging.open(f"{about}:{run}", problem, run=run)

    async def _whisper(self, user: str, text: str) -> None:
        for road in self.roads:
            if isinstance(road, SlackRoad):
                await road.whisper(user, text)

    def _slack_socket(self) -> SlackSocket | None:
        slack = self.config.slack
        if slack is None or slack.app_token is None:
            return None
        return SlackSocket(slack, self.config.people, self.clicks, self.clock, self._slack_is_silent)

    async def _slack_is_silent(self, problem: str) -> None:
        """Whoever clicks on a card now waits in vain, and must know."""
        how = "vote on the status page, or: remediator gates approve ID"
        text = f"clicks in Slack do not arrive: no connection for a minute ({problem}). Meanwhile {how}"
        await self._page_quietly("slack-socket", text)

    async def _policies_changed(self, policies: PolicySet) -> None:
        self.metrics.policies(policies)
        self.schedule.follow(policies)
        await self.membership.renew()  # they are current from now on, before anybody is told
        await self.driver.policies_changed()

    async def _pulse(self) -> None:
        """A write every so often: a full disk, or a clock that jumped, shows before the next alert."""
        try:
            doubted = await self.store.transact(lambda tx: own_up(tx, new_id))
        except StoreError as error:
            log.warning("the store takes nothing", extra={"problem": str(error)})
            if not self._writable:  # twice in a row
                await self.paging.without_store(error.problem)
            self._writable = False
        else:
            self._writable = True
            self.paging.with_store()
            if doubted:
                log.error("the store doubts, and nothing starts", extra={"see": "/status"})
                self.paging.poke()

    async def _forget(self) -> None:
        with contextlib.suppress(RemediatorError):
            await self.retention.prune()

    async def _wake_left(self) -> None:
        with contextlib.suppress(RemediatorError):
            await self.desk.wake_left()

    async def _page_impatient(self) -> None:
        with contextlib.suppress(RemediatorError):
            await self.paging.page_impatient(self.shelf())

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Everything started, in order; stopped in reverse. A dead part stops the daemon."""
        await self.store.open()
        try:
            running = self.shelf()
            versions = {name: one.version for name, one in running.by_name.items()}
            started = {"version": running.version, "policies": versions}
            await self.store.transact(lambda tx: tx.journal(SYSTEM, [Entry("started", started)]))
            await self.membership.begin()  # first: what the loops begin is begun under its lease
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(self.driver.run(), name="driver"),
                    tasks.create_task(self.paging.run(), name="paging"),
                ]
                self.schedule.start(
                    {
                        "patience": (15.0, self._page_impatient),
                        "left asleep": (15.0, self._wake_left),
                        "pulse": (2.0, self._pulse),
                        "reload": (2.0, self.shelf.tell),
                        "retention": (600.0, self._forget),
                    }
                )
                self.schedule.follow(self.shelf())
                if self.config.reload.watch:
                    watch = Reloading(self.shelf, self._reload, self.config.reload.every.total_seconds())
                    loops.append(tasks.create_task(watch.run(), name="reloading"))
                member = tasks.create_task(self.membership.run(), name="membership")
                await self.membership.recover()
                async with self._hearing(tasks), self._listening():
                    yield self
                    began = self.clock.monotonic()
                self.schedule.stop()
                for loop in loops:
                    loop.cancel()
                spent = self.clock.monotonic() - began
                await self.performer.finish(max(0.0, STOP_WITHIN_S - spent))
                member.cancel()  # only now: without a beat, others would take what is still on the wire
                spent = self.clock.monotonic() - began
                await self._leave(max(1.0, min(TOLD_WITHIN_S, STOPPED_WITHIN_S - spent)))
        finally:
            for connection in self.connections.values():
                await connection.close()
            await self.store.close()

    async def _leave(self, within_s: float) -> None:
        """The last words; it stops without them, too: what it holds is then taken over as if it had died."""
        try:
            async with asyncio.timeout(within_s):
                await self.membership.leave()
                await self.store.transact(lambda tx: tx.journal(SYSTEM, [Entry("stopped", {})]))
        except (StoreError, TimeoutError) as error:
            told = "it stops, and the store could not be told: what is left goes on as after a crash"
            log.warning(told, extra={"problem": str(error) or f"no answer within {within_s:.1f} s"})

    @contextlib.asynccontextmanager
    async def _hearing(self, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
        """Clicks, through both doors; the votes in hand are committed before anything else ends."""
        socket = tasks.create_task(self.socket.run(), name="slack-socket") if self.socket else None
        try:
            yield
        finally:
            if socket is not None:
                socket.cancel()
                await asyncio.wait([socket])
            await self.clicks.finish()

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        runner = web.AppRunner(
            self.web, access_log=None, auto_decompress=False, handle_signals=False, shutdown_timeout=2.0
        )
        await runner.setup()
        site = web.TCPSite(runner, self.config.host, self.config.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            remedy = "stop what listens there, or set another `listen:`"
            raise ConfigError("listen", f"{self.config.listen}: {error.strerror}", remedy=remedy) from error
        host, port = runner.addresses[0][:2]
        self.address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        try:
            yield
        finally:
            await runner.cleanup()


async def serve(app: App, ready: Callable[[App], None]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads the policies again."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    reloads: set[asyncio.Task[object]] = set()

    def reload() -> None:
        task: asyncio.Task[object] = loop.create_task(_reload(app))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    async with app.running():
        ready(app)
        gc.collect()
        gc.freeze()  # what was loaded stays: the collector need not visit it again and again
        await stop.wait()
        log.info("stopping")


async def _reload(app: App) -> None:
    answer = await app.desk.reload(by="SIGHUP")
    level = logging.INFO if answer.ok else logging.ERROR
    log.log(level, answer.text, extra={"problems": (answer.data or {}).get("problems")})


def _roads(config: Config) -> list[Notifier]:
    roads: list[Notifier] = []
    if config.slack is not None:
        roads.append(SlackRoad(config.slack, config.public_url, config.people))
    if config.page_webhook is not None:
        roads.append(WebhookRoad(config.page_webhook, config.public_url))
    return roads
