"""disk.usage, dns.resolve and tls.expiry: what is listed is asked, quickly, and nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from remediator.connectors import aside
from remediator.connectors.disk import USAGE, Disk, DiskSettings
from remediator.connectors.dns import RESOLVE, Dns, DnsSettings
from remediator.connectors.tls import EXPIRY, Tls, TlsSettings, parts
from remediator.connectors.unoffered import Unoffered
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from tests.connectors.peers import a_port_where_nobody_answers, a_port_where_nobody_listens
from tests.rig.certificates import certificate as signed


async def ask(connector: Unoffered, operation: str, timeout: float = 5, **args: object) -> dict[str, Any]:
    return await connector.read(Call(operation, "here", args), timeout=timeout)


# ── disk ────────────────────────────────────────────────────────────────────────────────────────────


def disk(*mounts: str) -> Disk:
    return Disk(DiskSettings.model_validate({"mounts": mounts}))


async def test_the_root_is_as_full_as_df_says() -> None:
    read = await ask(disk("/"), USAGE.name, path="/")
    df = await asyncio.create_subprocess_exec("df", "-P", "-B1", "/", stdout=asyncio.subprocess.PIPE)
    told = (await df.communicate())[0].decode().splitlines()[1].split()
    assert abs(read["used_pct"] - float(told[4].rstrip("%"))) <= 1.0
    assert abs(read["free_bytes"] - int(told[3])) < 500_000_000


async def test_only_a_listed_mount_point_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="'/etc' is none of its mounts: /; list it under mounts"):
        await ask(disk("/"), USAGE.name, path="/etc")
    with pytest.raises(ConnectorError, match="none of its mounts"):
        await ask(disk("/"), USAGE.name, path=["/"])


async def test_where_nothing_is_mounted_the_parents_figures_are_not_told(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match=r"nothing is mounted there; is it mounted\?"):
        await ask(disk(str(tmp_path)), USAGE.name, path=str(tmp_path))


async def test_a_file_system_that_hangs_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()
    monkeypatch.setattr(os, "statvfs", lambda _path: gone.wait(10))
    root = disk("/")
    try:
        for _ in range(aside.MOST):
            with pytest.raises(ConnectorError, match=r"does not answer within 0\.01 s"):
                await ask(root, USAGE.name, timeout=0.01, path="/")
        with pytest.raises(ConnectorError, match="8 questions before it have no answer yet"):
            await ask(root, USAGE.name, path="/")
    finally:
        gone.set()


def test_an_answer_that_comes_after_the_end_of_the_loop_is_heard_by_nobody() -> None:
    late, asked = threading.Event(), aside.Aside()

    async def give_up() -> None:
        async with asyncio.timeout(0.01):
            await asked.ask(lambda: late.wait(10))

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    late.set()
    for thread in threading.enumerate():
        if thread.name == "aside":
            thread.join(5)
    assert asked._asking == 0


@pytest.mark.parametrize("path", ["var", "/var/", "/a/../b", "/a\nb"])
def test_a_mount_point_is_an_absolute_path(path: str) -> None:
    with pytest.raises(ValidationError, match="is no mount point"):
        disk(path)


# ── dns ─────────────────────────────────────────────────────────────────────────────────────────────


def dns(*names: str) -> Dns:
    return Dns(DnsSettings.model_validate({"names": names}))


async def test_a_name_stands_for_its_addresses() -> None:
    read = await ask(dns("localhost"), RESOLVE.name, name="localhost", family="ipv4")
    assert read == {"addresses": ["127.0.0.1"]}


async def test_addresses_are_sorted_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(name: str, *_rest: object) -> list[tuple[Any, ...]]:
        told = ["2001:db8::1", "10.0.0.10", "10.0.0.9", "10.0.0.9", "fe80::1%eth0"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in told]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    read = await ask(dns("*.shop.example"), RESOLVE.name, name="API.shop.example.")
    assert read["addresses"] == ["10.0.0.9", "10.0.0.10", "2001:db8::1", "fe80::1"]


async def test_no_such_name_is_an_answer_and_no_resolver_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def fails(*_given: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert await ask(dns("shop.example"), RESOLVE.name, name="shop.example") == {"addresses": []}
    error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    with pytest.raises(ConnectorError, match=r"here: shop\.example: Temporary failure in name resolution"):
        await ask(dns("shop.example"), RESOLVE.name, name="shop.example")


@pytest.mark.parametrize(
    "name",
    ["other.example", "a.b.shop.example", "shop.example\n", "shop.example.evil", "", "-a.shop.example", None],
)
async def test_only_a_listed_name_is_asked_about(name: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(ConnectorError, match=r"is none of its names: \*\.shop\.example, shop\.example"):
        await ask(dns("shop.example", "*.shop.example"), RESOLVE.name, name=name)


@pytest.mark.parametrize("name", ["*", "a b", "shop.*", "http://shop", "a..b", "x" * 64])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(ValidationError, match="is no name"):
        dns(name)


# ── tls ─────────────────────────────────────────────────────────────────────────────────────────────


needs_openssl = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of nobody's authority, for two days, with its key in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subject = "/C=SN/O=Té ranga/OU=Shop/CN=shop.example"
    cert, key = signed(folder, subject=subject)
    both = folder / "both.pem"
    both.write_text(Path(cert).read_text() + Path(key).read_text())
    return both


@asynccontextmanager
async def server(certificate: Path) -> AsyncIterator[tuple[int, list[str]]]:
    """Shows it, and hears which name it was asked for."""
    names: list[str] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(str(name))
    running = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1], names
    finally:
        running.close()
        await asyncio.sleep(0)


def tls(port: int, **more: object) -> Tls:
    return Tls(TlsSettings.model_validate({"servers": {"shop": {"host": "127.0.0.1", "port": port, **more}}}))


@needs_openssl
async def test_a_certificate_that_nobody_trusts_is_read(certificate: Path) -> None:
    async with server(certificate) as (port, names):
        read = await ask(tls(port, server_name="shop.example"), EXPIRY.name, server="shop")
    assert names == ["shop.example"]
    assert read["subject"] == read["issuer"] == "CN=shop.example,OU=Shop,O=Té ranga,C=SN"
    left = datetime.fromisoformat(read["not_after"]) - datetime.now(UTC)
    assert timedelta(days=1, hours=23) < left <= timedelta(days=2)


@needs_openssl
def test_openssl_reads_the_same(certificate: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----BEGIN P")[0])
    told = subprocess.run(
        [
            "openssl",
            "x509",
            "-in",
            certificate,
            "-noout",
            "-enddate",
            "-subject",
            "-nameopt",
            "RFC2253,-esc_msb",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    until = datetime.strptime(told[0], "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert parts(der)["not_after"] == until.isoformat()
    assert told[1] == f"subject={parts(der)['subject']}"


@needs_openssl
def test_a_broken_certificate_is_an_error_wherever_it_breaks(certificate: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text().partition("-----BEGIN P")[0])
    for at in range(0, len(der), 3):
        with pytest.raises(ValueError, match=r"."):
            parts(der[:at])
    for at in range(min(len(der), 200)):
        for byte in (0x00, 0x30, 0x80, 0x84, 0xFF):
            with suppress(ValueError):
                assert set(parts(der[:at] + bytes([byte]) + der[at + 1 :])) == {
                    "not_after",
                    "issuer",
                    "subject",
                }


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ((0x17, b"261220000000Z"), "2026-12-20T00:00:00+00:00"),
        ((0x17, b"500101000000Z"), "1950-01-01T00:00:00+00:00"),
        ((0x18, b"20500101000000Z"), "2050-01-01T00:00:00+00:00"),
        ((0x18, b"99991231235959Z"), "9999-12-31T23:59:59+00:00"),
    ],
)
def test_both_spellings_of_a_time_are_read(written: tuple[int, bytes], told: str) -> None:
    def der(tag: int, *content: bytes) -> bytes:
        whole = b"".join(content)
        return bytes([tag, len(whole)]) + whole

    start, until = der(0x17, b"260101000000Z"), der(*written)
    fields = (der(0x02, b"\1"), der(0x30), der(0x30), der(0x30, start, until), der(0x30))
    assert parts(der(0x30, der(0x30, *fields))) == {"not_after": told, "issuer": "", "subject": ""}


async def test_what_shows_no_certificate_is_told_with_its_remedy() -> None:
    nobody = a_port_where_nobody_listens()
    with pytest.raises(ConnectorError, match=rf"here: 127\.0\.0\.1:{nobody}: .*; does it speak TLS\?"):
        await ask(tls(nobody), EXPIRY.name, server="shop")
    plain = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    with pytest.raises(ConnectorError, match=r"does it speak TLS\?"):
        await ask(tls(plain.sockets[0].getsockname()[1]), EXPIRY.name, server="shop")
    plain.close()


async def test_a_server_that_never_answers_is_given_up() -> None:
    late = pytest.raises(ConnectorError, match=r"no certificate within 0\.2 s")
    with a_port_where_nobody_answers() as silent, late:
        await ask(tls(silent), EXPIRY.name, timeout=0.2, server="shop")


async def test_only_a_listed_server_is_asked() -> None:
    with pytest.raises(ConnectorError, match="'other' is none of its servers: shop; list it under servers"):
        await ask(tls(1), EXPIRY.name, server="other")


def test_a_server_is_written_short_or_long() -> None:
    servers = TlsSettings.model_validate({"servers": {"a": "shop.example:8443", "b": "shop.example"}}).servers
    assert [(one.host, one.port) for one in servers.values()] == [
        ("shop.example", 8443),
        ("shop.example", 443),
    ]
    for wrong in ("shop.example:https", "a b", "shop.example/x", "shop.example:0"):
        with pytest.raises(ValidationError):
            TlsSettings.model_validate({"servers": {"a": wrong}})
