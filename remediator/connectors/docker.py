"""A Docker engine: a container looked at, without its environment, and restarted, where the config lists it.

Docker has no compare-and-set: a restart is one request with no condition. What can be said afterwards is
whether the container was started since: its start time is marked before the request, and asked after it. A
container that stands started anew was restarted, whoever did it; one that does not, once the engine must be
through with it, was not.
"""

from __future__ import annotations

import asyncio
import copy
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from pydantic import Field, ValidationInfo, field_validator, model_validator

from remediator.config import Duration
from remediator.connectors import once
from remediator.connectors.once import NEVER_SENT, never_late
from remediator.connectors.settings import BLIND, Authorities, Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.calls import printable
from remediator.core.catalog import Fence, Kind, Operation, Param, Risk
from remediator.core.cutting import words
from remediator.core.evidence import Picture
from remediator.core.exact import same
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order

LONGEST_STOP = timedelta(minutes=5)
"""The longest that a container may be given to stop by itself."""
STARTING = 30.0
"""Seconds that the engine may take to start a container, after it has stopped it."""
MARKED = 5.0
"""Seconds for the mark to be kept."""

_CONTAINER = Param("One of the connection's containers, by name.", required=True)

INSPECT = Operation(
    name="docker.inspect",
    kind=Kind.PROBE,
    doc="A container as the engine describes it, without the values of its environment.",
    params={"container": _CONTAINER},
    longest=timedelta(seconds=30),
    reads=("Id", "Name", "State", "Config", "RestartCount"),
)
RESTART = Operation(
    name="docker.restart",
    kind=Kind.ACTION,
    doc="Restart a container: it is told to stop, killed once its time is up, and started.",
    params={"container": _CONTAINER},
    risk=Risk.DISRUPTIVE,
    fence=Fence.TRANSACTION,
    longest=LONGEST_STOP + timedelta(minutes=2),
    previews=True,
)

HIDDEN = "[hidden]"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")


class DockerSettings(Settings):
    """A Docker engine."""

    host: str = Field(
        default="unix:///var/run/docker.sock", description="unix:///path/of/its/socket, or https://host:2376"
    )
    ca: Authorities = None
    client_certificate: Path | None = Field(default=None, description="a PEM file with certificate and key")
    containers: tuple[str, ...] = Field(description="the containers that policies may name")
    api_version: str = Field(
        default="1.44", pattern=r"1\.\d{2}", description="the version of its API; 1.44 is Docker 25"
    )
    stop_timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=LONGEST_STOP,
        description="how long a container may take to stop before it is killed",
    )
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=INSPECT.longest)

    @field_validator("host")
    @classmethod
    def _is_one(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
            return value
        plain = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme == "https" and parts.hostname and plain:
            return value
        raise ValueError(
            "write unix:///var/run/docker.sock or https://host:2376; without TLS anybody is root there"
        )

    @field_validator("containers")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in value if not _NAME.fullmatch(one)]:
            raise ValueError(f"{wrong[0]!r} cannot be the name of a container")
        return tuple(sorted(set(value)))

    @model_validator(mode="after")
    def _is_whole(self, info: ValidationInfo) -> DockerSettings:
        blind = (info.context or {}).get(BLIND)
        if self.host.startswith("https:") and self.client_certificate is None:
            raise ValueError("over TLS the engine asks for a client_certificate: write its PEM file")
        if self.client_certificate is not None and not blind:
            try:
                _trust(self)
            except OSError as error:  # SSLError is one
                raise ValueError(f"client_certificate: cannot be read: {words(error)}") from None
        return self


def _trust(settings: DockerSettings) -> ssl.SSLContext:
    trust = ssl.create_default_context(cafile=str(settings.ca) if settings.ca is not None else None)
    if settings.client_certificate is not None:
        trust.load_cert_chain(settings.client_certificate)
    return trust


class Docker(Unoffered):
    """A configured Docker engine."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._trust = _trust(settings) if settings.host.startswith("https:") else None

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """The container."""
        return shown(await self._inspected(call, timeout))

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """The container as it runs now."""
        row = _row(named(call, self._settings), await self._inspected(call, timeout))
        within = self._settings.stop_timeout.total_seconds()
        text = f"restarts container {row['key']['container']}: {within:g} s to stop, then it is killed"
        return Picture(1, text, (row,))

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Restart it, by one request."""
        if call.operation != RESTART.name:
            return await super().act(call, order=order, timeout=timeout)
        if order.mark is None:
            return Refused("never sent: nothing would keep its mark")
        try:
            name, held = named(call, self._settings), await self._inspected(call, timeout)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        row = _row(name, held)
        if order.shown is not None and not same((row,), order.shown.rows):
            return Refused(f"never sent: container {name} is no longer as it was approved")
        mark = {"id": held["Id"], "started": row["before"]["started"], "at": time.time()}
        mark["result"] = {"container": name, "before": row["before"]}
        if reason := await _marked(order, mark):
            return Refused(f"never sent: {reason}")
        stop = self._settings.stop_timeout.total_seconds()
        result = await self._restart(held["Id"], stop, order.late)
        return Done(mark["result"]) if result is None else result

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """Was it started since? None while the engine may still be at it; raises ConnectorError."""
        if call.operation != RESTART.name:
            return await super().inquire(call, mark, timeout=timeout)
        at = mark.get("at")
        if not isinstance(at, int | float):
            return Unknown("its mark cannot be read")
        held = await self._inspected(call, timeout)
        state = held.get("State") or {}
        if held["Id"] != mark.get("id"):
            return Unknown("the container was made anew since")
        if state.get("StartedAt") != mark.get("started") and state.get("Running"):
            return Done(mark.get("result") or {})
        if time.time() < at + self._settings.stop_timeout.total_seconds() + STARTING:
            return None
        if not state.get("Running"):
            return Unknown(f"the container is {state.get('Status', 'stopped')}, and was not started")
        return Refused("it was not restarted")

    async def _inspected(self, call: Call, timeout: float) -> dict[str, Any]:
        """Raises ConnectorError."""
        from aiodocker.exceptions import DockerError

        name, within = named(call, self._settings), min(timeout, self._settings.timeout.total_seconds())
        try:
            async with asyncio.timeout(within):
                found = await self._client(within, never_late, lambda there: there.containers.get(name))
        except TimeoutError:
            raise ConnectorError(call.connection, f"no answer within {within:g} s") from None
        except DockerError as error:
            if error.status == 404:
                raise ConnectorError(call.connection, f"there is no container {name}") from None
            told = printable(words(error.__context__ or error) if error.status == 900 else str(error))
            raise ConnectorError(call.connection, f"container {name}: {told}", remedy=_remedy(told)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectorError(call.connection, f"container {name}: {printable(words(error))}") from None
        whole = found._container  # noqa: SLF001 - all that the engine said of it
        if not isinstance(whole, dict) or not isinstance(whole.get("Id"), str):
            raise ConnectorError(
                call.connection, "answered something that is no container", remedy=_remedy("")
            )
        return whole

    async def _restart(self, container: str, stop: float, late: Callable[[], str]) -> Result | None:
        """None where it was done."""
        from aiodocker.exceptions import DockerError

        within = stop + STARTING
        try:
            async with asyncio.timeout(within):
                await self._client(
                    within, late, lambda there: there.containers.container(container).restart(t=round(stop))
                )
        except TimeoutError:
            return Unknown(f"no answer within {within:g} s")
        except DockerError as error:
            return _judged(error)
        except NEVER_SENT as error:
            return Refused(f"never sent: {words(error)}")
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            return Unknown(f"sent, and then: {printable(words(error))}")
        return None

    async def _client(self, within: float, late: Callable[[], str], ask: Callable[[Any], Any]) -> Any:
        """What the library's client answers; under it stands a connection of ours, for one request."""
        import aiodocker

        host, version = self._settings.host, f"v{self._settings.api_version}"
        if self._trust is None:
            way, host = once.over_unix(urlsplit(host).path, late), "unix://localhost"
        else:
            way = once.over_tcp(late, self._trust)
        async with once.session(way, within) as session:
            there = aiodocker.Docker(host, connector=way, session=session, api_version=version)
            try:
                return await ask(there)
            finally:
                await there.close()


def named(call: Call, settings: DockerSettings) -> str:
    """The container that a call names. ConnectorError where it may not be named."""
    name = call.args.get("container")
    if name not in settings.containers:
        known = ", ".join(settings.containers) or "none"
        raise ConnectorError(
            call.connection, f"the connection lists no container {name!r}", remedy=f"it lists {known}"
        )
    return str(name)


async def _marked(order: Order, mark: dict[str, Any]) -> str:
    assert order.mark is not None
    try:
        async with asyncio.timeout(MARKED):
            return await order.mark(mark)
    except TimeoutError:
        return f"its mark was not kept within {MARKED:g} s"


def _judged(error: Any) -> Result:
    """By the status; the library's own 900 is for a line that breaks, or was never there."""
    if error.status == 900:
        inner = error.__context__
        if isinstance(inner, NEVER_SENT):
            return Refused(f"never sent: {printable(words(inner))}")
        return Unknown(f"sent, and then: {printable(words(inner or error))}")
    told = printable(str(error))
    # A 500 may be said of a container that stopped and could not be started.
    return Refused(f"answered {told}") if 300 <= error.status < 500 else Unknown(f"answered {told}")


def _remedy(told: str) -> str:
    if "ermission denied" in told:
        return "may this user open the socket?"
    return "does its host lead to a Docker engine?"


def _row(name: str, held: Mapping[str, Any]) -> dict[str, Any]:
    state = held.get("State") or {}
    before = {
        "image": (held.get("Config") or {}).get("Image", ""),
        "status": state.get("Status", ""),
        "started": state.get("StartedAt", ""),
    }
    return {"key": {"container": name, "id": held["Id"][:12]}, "before": before, "after": {"started": "now"}}


def shown(held: Mapping[str, Any]) -> dict[str, Any]:
    """A container as it may be shown."""
    told = copy.deepcopy(dict(held))
    config = told.get("Config") or {}
    config["Env"] = [
        f"{one.partition('=')[0]}={HIDDEN}" for one in config.get("Env") or () if isinstance(one, str)
    ]
    return told


KIND = ConnectorKind(
    name="docker",
    doc="A Docker engine, by aiodocker.",
    operations=(INSPECT, RESTART),
    settings=DockerSettings,
    make=Docker,
    needs="aiodocker",
    judges={INSPECT.name: named, RESTART.name: named},
)
