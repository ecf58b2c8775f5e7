"""A Docker engine of our own, on a socket of this machine and by TCP: containers, restarts, moods, a ledger.

Run it as its own process: ``python -m tests.fakes.docker --port N --socket PATH``; the real client talks to
the socket, tests steer it through ``/_control/…`` on the port (see ``tests/rig/docker.py``).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.moods import Mood, misbehave

OLDEST, NEWEST = (1, 44), (1, 51)


@dataclass
class Engine:
    """stubborn: containers that cannot be started again."""

    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    moods: list[Mood] = field(default_factory=list)
    stubborn: set[str] = field(default_factory=set)

    def put(self, name: str, **state: Any) -> None:
        """Create one, running."""
        self.containers[name] = {
            "Id": hashlib.sha256(f"{name}{time.time()}".encode()).hexdigest(),
            "Name": f"/{name}",
            "RestartCount": 0,
            "Config": {"Image": f"{name}:1", "Env": ["DB_PASSWORD=canary-password", "EMPTY="]},
            "State": {"Status": "running", "Running": True, "StartedAt": _now(), **state},
        }

    def find(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """By name or id, as Docker does."""
        for own, one in self.containers.items():
            if own == name or (len(name) >= 12 and one["Id"].startswith(name)):
                return own, one
        return None


ENGINE = web.AppKey("engine", Engine)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


async def serve(request: web.Request) -> web.StreamResponse:
    """``/v1.N/…``: recorded, then done, unless a mood has it otherwise."""
    engine = request.app[ENGINE]
    noted = {"method": request.method, "path": request.path, "query": dict(request.query), "at": time.time()}
    engine.requests.append(noted)
    mood = next((one for one in engine.moods if one.takes(request.method.lower())), None)
    if mood is not None and not mood.applied and (instead := await misbehave(request, mood)) is not None:
        return instead
    answer = _done(engine, request)
    if mood is not None and mood.applied and (instead := await misbehave(request, mood)) is not None:
        return instead
    return answer


def _done(engine: Engine, request: web.Request) -> web.Response:
    version = tuple(int(part) for part in request.match_info["version"].split("."))
    if not OLDEST <= version <= NEWEST:
        return _error(400, f"client version {request.match_info['version']} is too old. Minimum is 1.44")
    name = request.match_info["name"]
    found = engine.find(name)
    if found is None:
        return _error(404, f"No such container: {name}")
    own, one = found
    if request.method == "GET" and request.match_info["what"] == "json":
        return web.json_response(one)
    if request.method == "POST" and request.match_info["what"] == "restart":
        if own in engine.stubborn:
            one["State"] |= {"Status": "exited", "Running": False}
            return _error(500, f"Cannot restart container {name}: driver failed programming")
        one["State"] |= {"Status": "running", "Running": True, "StartedAt": _now()}
        return web.Response(status=204)
    return _error(404, "page not found")


async def control(request: web.Request) -> web.Response:
    """``POST /_control/{reset,put,mood,stubborn}``, ``GET /_control/{requests,containers}``."""
    engine = request.app[ENGINE]
    given = await request.json() if request.can_read_body else {}
    match request.match_info["what"]:
        case "reset":
            engine.__init__()  # type: ignore[misc]
        case "put":
            engine.put(**given)
        case "mood":
            engine.moods.append(Mood(**{**given, "verbs": tuple(given["verbs"])}))
        case "stubborn":
            engine.stubborn.add(given["name"])
        case "requests":
            return web.json_response(engine.requests)
        case "containers":
            return web.json_response(engine.containers)
    return web.json_response({})


async def ready(_request: web.Request) -> web.Response:
    """``GET /``."""
    return web.Response(text="OK")


async def _serve(options: argparse.Namespace) -> None:
    app = web.Application()
    app[ENGINE] = Engine()
    app.router.add_get("/", ready)
    app.router.add_route("*", "/_control/{what}", control)
    app.router.add_route("*", "/v{version}/containers/{name}/{what}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, options.socket).start()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    if options.tls:
        port, cert, key = options.tls
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=cert)
        trust.load_cert_chain(cert, key)
        trust.verify_mode = ssl.CERT_REQUIRED
        await web.TCPSite(runner, "127.0.0.1", int(port), ssl_context=trust).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--tls", nargs=3, metavar=("PORT", "CERT", "KEY"), help="of clients that CERT signed")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
