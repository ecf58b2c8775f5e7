"""How long a server's certificate lasts: one probe, of the servers that the config lists.

The certificate is read and not believed: one that is expired, or that nobody trusts, is what is asked about.
Nothing is sent over the connection. The standard library tells no certificate's parts without trusting it, so
the few that are wanted are read from its bytes here (X.509, RFC 5280).
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from remediator.config import Duration, Section
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.calls import printable
from remediator.core.catalog import Kind, Operation, Param
from remediator.core.cutting import words
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

LONGEST = timedelta(seconds=30)

EXPIRY = Operation(
    name="tls.expiry",
    kind=Kind.PROBE,
    doc="A server's certificate, valid or not: `not_after` (2026-12-20T00:00:00+00:00), `issuer`, `subject`.",
    params={"server": Param("The name under which the connection lists the server.", required=True)},
    longest=LONGEST,
    reads=("not_after", "issuer", "subject"),
)


def _spelled_out(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if colon and not port.isdecimal():
        raise ValueError(f"{value!r} is no server; write one such as shop.example:443")
    return {"host": host, "port": port} if colon else {"host": value}


_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9a-fA-F:]{2,39}")


def _fixed_host(value: str) -> str:
    if not _HOST.fullmatch(value.strip("[]")):
        raise ValueError(f"{value!r} is no host; write one such as shop.example")
    return value.strip("[]")


class Server(Section):
    """Where a certificate is shown."""

    host: Annotated[str, AfterValidator(_fixed_host)] = Field(description="its name or address")
    port: int = Field(default=443, gt=0, lt=65536)
    server_name: Annotated[str | None, AfterValidator(lambda one: one and _fixed_host(one))] = Field(
        default=None, description="the name that it is asked for; its host if left out"
    )


class TlsSettings(Settings):
    """Servers that speak TLS from the first byte."""

    servers: dict[str, Annotated[Server, BeforeValidator(_spelled_out)]] = Field(
        min_length=1, description="them by name: {shop: 'shop.example:443'}"
    )
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)


def listed(call: Call, settings: TlsSettings) -> Server:
    """The server that a call names. ConnectorError where it is not listed."""
    name = str(call.args.get("server"))
    if name not in settings.servers:
        problem = f"not asked: {name[:80]!r} is none of its servers: {', '.join(settings.servers)}"
        raise ConnectorError(call.connection, problem, remedy="list it under servers")
    return settings.servers[name]


class Tls(Unoffered):
    """The listed servers."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._trusting = ssl.create_default_context()
        self._trusting.check_hostname = False
        self._trusting.verify_mode = ssl.CERT_NONE

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`not_after`, `issuer` and `subject`."""
        server = listed(call, self._settings)
        within, where = min(timeout, self._settings.timeout.total_seconds()), f"{server.host}:{server.port}"
        try:
            async with asyncio.timeout(within):
                shown = await self._shown(server)
            return parts(shown)
        except TimeoutError:
            raise ConnectorError(call.connection, f"{where}: no certificate within {within:g} s") from None
        except (OSError, EOFError) as error:  # SSLError is one
            told = printable(words(error))
            raise ConnectorError(call.connection, f"{where}: {told}", remedy="does it speak TLS?") from None
        except ValueError as error:
            raise ConnectorError(
                call.connection, f"{where}: its certificate cannot be read: {error}"
            ) from None

    async def _shown(self, server: Server) -> bytes:
        _, writer = await asyncio.open_connection(
            server.host, server.port, ssl=self._trusting, server_hostname=server.server_name or server.host
        )
        try:
            return writer.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
        finally:
            writer.transport.abort()


# ── X.509 ───────────────────────────────────────────────────────────────────────────────────────────

_SEQUENCE, _SET, _OID, _UTC_TIME, _TIME, _VERSION = 0x30, 0x31, 0x06, 0x17, 0x18, 0xA0
_TEXTS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.25": "DC",
}


def parts(certificate: bytes) -> dict[str, Any]:
    """What is wanted of a certificate (DER). Raises ValueError."""
    ((tag, whole),) = list(_each(certificate))[:1] or [(0, b"")]
    if tag != _SEQUENCE:
        raise ValueError("it is no certificate")
    fields = list(_each(next(_each(whole), (0, b""))[1]))
    if fields and fields[0][0] == _VERSION:
        del fields[0]
    if len(fields) < 5:
        raise ValueError("parts of it are missing")
    _, _, (_, issuer), (_, validity), (_, subject) = fields[:5]
    _, (kind, until) = list(_each(validity))[:2]
    return {"not_after": _moment(kind, until).isoformat(), "issuer": _name(issuer), "subject": _name(subject)}


def _each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values that stand one after the other: tag and content. Raises ValueError."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], int.from_bytes(data[at + 1 : at + 2]), at + 2
        if length & 0x80:
            wide = length & 0x7F
            if not 0 < wide <= 4:
                raise ValueError("a length in it makes no sense")
            length, at = int.from_bytes(data[at : at + wide]), at + wide
        if at + length > len(data):
            raise ValueError("it breaks off")
        yield tag, data[at : at + length]
        at += length


def _moment(kind: int, written: bytes) -> datetime:
    text = written.decode("ascii", "replace")
    if kind == _UTC_TIME and re.fullmatch(r"[0-9]{12}Z", text):
        text = ("19" if text >= "50" else "20") + text
    elif kind != _TIME or not re.fullmatch(r"[0-9]{14}Z", text):
        raise ValueError("its end is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(content: bytes) -> str:
    """As people write it, the most particular first: ``CN=shop.example,O=Shop``."""
    told = []
    for _, several in _each(content):
        for _, one in _each(several):
            (_, oid), (kind, value) = list(_each(one))[:2]
            text = value.decode(_TEXTS.get(kind, "latin-1"), "replace")
            told.append(f"{_NAMES.get(_dotted(oid), _dotted(oid))}={printable(text, 200)}")
    return ",".join(reversed(told))


def _dotted(oid: bytes) -> str:
    numbers, number = [], 0
    for byte in oid:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    if not numbers:
        return "?"
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


KIND = ConnectorKind(
    name="tls",
    doc="Certificates that servers show.",
    operations=(EXPIRY,),
    settings=TlsSettings,
    make=Tls,
    judges={EXPIRY.name: listed},
)
