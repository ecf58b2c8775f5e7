"""The demo: a world that goes wrong, the real daemon as its own process, and every decision on screen."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml
from aiohttp import web

from remediator.demo.loyalty import small_business
from remediator.demo.story import TROUBLES, Sender
from remediator.demo.world import TOKEN, World, application
from remediator.ports import JournalEntry
from remediator.web.timeline import told

POLICIES = Path(__file__).parent / "policies"
PERSON = "amina"
START_WITHIN_S = 15.0
AUTO_WITHIN_S = 58.0

BOLD, DIM, GREEN, YELLOW, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[33m", "\033[31m", "\033[0m"
SHOWN = frozenset(
    """
    opened decided would started unverified verified gate-opened vote gate-approved gate-expired
    holding undo-started undone undo-failed unknown asking paged closed
    """.split()
)
"""Kinds of journal lines that are worth a line on the screen; the run's page shows all."""


@dataclass(frozen=True)
class Urls:
    """Where the demo's own servers are."""

    api: str
    pager: str


@dataclass
class Stage:
    """What is set up: where the daemon is, and who may talk to it."""

    folder: Path
    world: World
    url: str
    token: str
    hook_token: str
    colour: bool
    seen: dict[str, int] = field(default_factory=dict)  # run → journal lines shown
    announced: set[str] = field(default_factory=set)  # gates

    def say(self, text: str, style: str = "") -> None:
        """One line on the screen."""
        print(f"{style}{text}{PLAIN}" if self.colour and style else text, flush=True)


async def show(*, port: int, auto: bool) -> int:
    """Play it. 0: every run ended as told; 1: one did not; 2: it could not start."""
    folder = Path(tempfile.mkdtemp(prefix="remediator-demo-"))
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with _world() as (world, urls), _daemon(folder, world, urls, port) as stage:
            return await _play(stage, stop, auto=auto)
    except _CannotStartError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _CannotStartError(Exception):
    """The daemon did not come up; the message holds what it said."""


# ── Setting up ────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def _world() -> AsyncIterator[tuple[World, Urls]]:
    world = World(small_business(time.time()))
    async with _serving(application(world)) as api, _serving(_pager()) as pager:
        yield world, Urls(api, f"{pager}/page")


@contextlib.asynccontextmanager
async def _serving(app: web.Application) -> AsyncIterator[str]:
    """An application on a free loopback port; its address."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _pager() -> web.Application:
    """The demo's pager service: what it gets is already on the screen, as the run's line says."""

    async def page(_request: web.Request) -> web.Response:
        return web.json_response({"accepted": True})

    app = web.Application()
    app.router.add_post("/page", page)
    return app


@contextlib.asynccontextmanager
async def _daemon(folder: Path, world: World, urls: Urls, port: int) -> AsyncIterator[Stage]:
    """The daemon as operators start it: a config, secrets in the environment, its own process."""
    token, hook_token = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    port = _free_port(port)
    config = folder / "remediator.yaml"
    config.write_text(yaml.safe_dump(_config(port, urls, token), sort_keys=False), "utf-8")
    log = (folder / "daemon.log").open("wb")
    environment = {**os.environ, "HOOK_TOKEN": hook_token, "LOYALTY_TOKEN": TOKEN}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "remediator", "serve", "--config", str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C is for us; we end it in good order
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url, process, folder / "daemon.log")
        yield Stage(folder, world, url, token, hook_token, sys.stdout.isatty())
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        log.close()


def _config(port: int, urls: Urls, token: str) -> dict[str, Any]:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"http://127.0.0.1:{port}",
        "store": "sqlite:state.db",
        "policies": str(POLICIES),
        "hooks": {"alertmanager": {"bearer": "${env:HOOK_TOKEN}"}},
        "connections": {
            "loyalty_api": {
                "kind": "http",
                "base_url": urls.api,
                "headers": {"Authorization": "Bearer ${env:LOYALTY_TOKEN}"},
                "endpoints": {
                    "POST /api/workers/*": "safe",
                    "POST /api/campaigns/*/pause": "destructive",
                    "PUT /api/programs/*": "destructive",
                },
            }
        },
        "people": {PERSON: {"token_sha256": digest}, "bob": {}},
        "roles": {"oncall": ["bob"], "ops_marketing": [PERSON], "finance_ops": ["bob"]},
        "targets": ["campaign", "worker", "service", "loyalty-program"],
        "page_webhook": {"url": urls.pager},
        "escalations": {"default": [{"role": "oncall", "after": "0s"}]},
        "resolved_debounce": "2s",
    }


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    give_up = time.monotonic() + START_WITHIN_S
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < give_up and process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise _CannotStartError(f"the daemon did not start:\n{_said(log)}")


def _said(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:]


def _free_port(wanted: int) -> int:
    """The wanted port, or any; never one where somebody else's daemon listens."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise _CannotStartError(f"--port {wanted}: {error.strerror}; give another, or none") from error
        number: int = listener.getsockname()[1]
        return number


# ── Playing ───────────────────────────────────────────────────────────────────────────────────────


async def _play(stage: Stage, stop: asyncio.Event, *, auto: bool) -> int:
    stage.say("Remediator demo", BOLD)
    stage.say(f"  status page  {stage.url}/status")
    if not auto:
        stage.say(
            f"  your token   {stage.token}   ({PERSON}, of ops_marketing: asked for when you approve there)"
        )
    sender = Sender(stage.world.business, f"{stage.url}/hooks/alertmanager", stage.hook_token)
    async with aiohttp.ClientSession() as session:
        tasks = [
            asyncio.create_task(_break_things(stage)),
            asyncio.create_task(sender.run()),
            asyncio.create_task(_watch(stage, session, auto=auto)),
        ]
        stopped = asyncio.create_task(stop.wait())
        limit = AUTO_WITHIN_S if auto else None
        await asyncio.wait([stopped, tasks[2]], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finished = tasks[2].done() and not tasks[2].cancelled()
        if finished and not auto and tasks[2].exception() is None:
            stage.say("\nLook around on the status page; Ctrl-C ends the demo.", BOLD)
            await stop.wait()
        for task in (*tasks, stopped):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for problem in (one for one in results if isinstance(one, Exception)):
            stage.say(f"the demo broke: {type(problem).__name__}", RED)
            return 2
        return await _verdict(stage, session, auto=auto)


async def _break_things(stage: Stage) -> None:
    for trouble in TROUBLES:
        stage.say(f"\n{trouble.title}: {trouble.told}", BOLD)
        trouble.cause(stage.world.business)
        await asyncio.sleep(3.0)


async def _watch(stage: Stage, session: aiohttp.ClientSession, *, auto: bool) -> None:
    """Show each new journal line, until every trouble's run has closed."""
    while True:
        stage.world.business.advance(time.time())
        runs = (await _get(session, f"{stage.url}/api/v1/runs"))["runs"]
        for run in reversed(runs):
            await _show_run(stage, session, run)
            if run["stage"] == "waiting":
                await _gate(stage, session, run, auto=auto)
        if _ended(runs):
            return
        await asyncio.sleep(0.3)


def _ended(runs: list[dict[str, Any]]) -> bool:
    closed = {run["policy"] for run in runs if run["outcome"]}
    return all(trouble.policy in closed for trouble in TROUBLES) and not any(
        not run["outcome"] for run in runs
    )


async def _show_run(stage: Stage, session: aiohttp.ClientSession, run: dict[str, Any]) -> None:
    answer = await _get(session, f"{stage.url}/api/v1/runs/{run['id']}/journal")
    entries = msgspec.convert(answer["entries"], list[JournalEntry])
    for entry in entries[stage.seen.get(run["id"], 0) :]:
        if entry.kind in SHOWN:
            style = {"closed": GREEN, "gate-opened": YELLOW, "undo-failed": RED}.get(entry.kind, "")
            stage.say(f"  {entry.at:%H:%M:%S}  {run['policy']:<22} {told(entry).sentence}", style)
    stage.seen[run["id"]] = len(entries)


async def _gate(stage: Stage, session: aiohttp.ClientSession, run: dict[str, Any], *, auto: bool) -> None:
    gate = str(run["gate"])
    if gate in stage.announced:
        return
    stage.announced.add(gate)
    if auto:
        headers = {"Authorization": f"Bearer {stage.token}"}
        body = {"vote": "approve", "reason": "the demo approves by itself"}
        async with session.post(
            f"{stage.url}/api/v1/gates/{gate}/votes", json=body, headers=headers
        ) as answer:
            stage.say(f"  {(await answer.json())['text']}", YELLOW)
        return
    stage.say("\n  It waits for you. Approve on the status page, or in another terminal:", YELLOW)
    command = f"REMEDIATOR_URL={stage.url} REMEDIATOR_TOKEN={stage.token} {_program()} gates approve {gate}"
    stage.say(f"  {command}\n", BOLD)


def _program() -> str:
    """How to call the command line from here: as this very demo was."""
    if sys.argv[0].endswith("__main__.py"):
        return f"{sys.executable} -m remediator"
    return os.path.relpath(sys.argv[0])


async def _get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url, headers={"Accept": "application/json"}) as answer:
        answer.raise_for_status()
        return await answer.json()


async def _verdict(stage: Stage, session: aiohttp.ClientSession, *, auto: bool) -> int:
    """What each run came to, against what it should have."""
    runs = (await _get(session, f"{stage.url}/api/v1/runs"))["runs"]
    stage.say("")
    wrong = 0
    for trouble in TROUBLES:
        first = [run for run in runs if run["policy"] == trouble.policy][-1:]
        came = first[0]["outcome"] or first[0]["stage"] if first else "no run"
        good = came == trouble.outcome
        wrong += not good
        expected = "" if good else f" (should be {trouble.outcome})"
        stage.say(f"  {'✓' if good else '✗'} {trouble.title}: {came}{expected}", GREEN if good else RED)
    ledger = [str(entry["path"]) for entry in stage.world.ledger.entries]
    stage.say(f"  what the loyalty API was made to do: {', '.join(ledger) or 'nothing'}", DIM)
    return int(wrong > 0) if auto else 0
