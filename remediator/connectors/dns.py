"""What a name stands for, by the resolver of this machine: one probe, of the names that the config lists."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from remediator.config import Duration
from remediator.connectors.aside import Aside, TooManyError
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import Escape, Kind, Operation, Param
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

LONGEST = timedelta(seconds=30)

RESOLVE = Operation(
    name="dns.resolve",
    kind=Kind.PROBE,
    doc="The `addresses` of a name, sorted, as this machine resolves it; an empty list where there are none.",
    params={
        "name": Param("The name, one that the connection lists, such as shop.example.", required=True),
        "family": Param(
            "`ipv4` or `ipv6`; both if left out.", escape=Escape.LITERAL, choices=("ipv4", "ipv6")
        ),
    },
    longest=LONGEST,
    reads=("addresses",),
)

_FAMILIES = {None: socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_NONE = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")
_PATTERN = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def _listed(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if not _PATTERN.fullmatch(name) or len(name) > 253:
            raise ValueError(f"{name!r} is no name; write one such as shop.example, or '*.internal.example'")
    return tuple(sorted({name.lower() for name in value}))


class DnsSettings(Settings):
    """Names, by the resolver of this machine."""

    names: Annotated[tuple[str, ...], AfterValidator(_listed)] = Field(
        min_length=1, description="the names that may be asked about, such as [shop.example, '*.internal']"
    )
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)


class Dns(Unoffered):
    """The listed names."""

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings
        self._aside = Aside()

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`addresses`."""
        name, family = asked(call, self._settings)
        within = min(timeout, self._settings.timeout.total_seconds())
        try:
            async with asyncio.timeout(within):
                found = await self._aside.ask(lambda: _resolved(name, family))
        except TimeoutError:
            raise ConnectorError(call.connection, f"{name}: no answer within {within:g} s") from None
        except TooManyError as error:
            raise ConnectorError(call.connection, str(error)) from None
        except OSError as error:
            raise ConnectorError(call.connection, f"{name}: {error.strerror or error}") from None
        return {"addresses": found}


def asked(call: Call, settings: DnsSettings) -> tuple[str, int]:
    """The name that a call asks about, and the family of addresses. ConnectorError where it is not listed."""
    name, family = call.args.get("name"), call.args.get("family")
    if not isinstance(name, str) or not _lists(settings, name) or family not in _FAMILIES:
        listed = ", ".join(settings.names)
        problem = f"not asked: {str(name)[:80]!r} is none of its names: {listed}"
        raise ConnectorError(call.connection, problem, remedy="list it under names")
    return name, _FAMILIES[family]


def _lists(settings: DnsSettings, name: str) -> bool:
    plain = name.lower().removesuffix(".")
    if not _NAME.fullmatch(name) or len(plain) > 253:
        return False
    above = plain.partition(".")[2]
    return any(one in (plain, f"*.{above}") for one in settings.names)


def _resolved(name: str, family: int) -> list[str]:
    """Sorted, IPv4 before IPv6. Raises OSError; that there is no such name is an answer."""
    try:
        found = socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in _NONE:
            return []
        raise
    addresses = {ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found}
    return [str(one) for one in sorted(addresses, key=lambda one: (one.version, int(one)))]


KIND = ConnectorKind(
    name="dns",
    doc="Names, by the resolver of this machine.",
    operations=(RESOLVE,),
    settings=DnsSettings,
    make=Dns,
    judges={RESOLVE.name: asked},
)
