"""The webhook over real HTTP and a real store: who may post, and 200 only for what is committed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web
from pydantic import SecretStr

from remediator.config import Basic, Config, Hook, Hooks
from remediator.core.alert import PORTION
from remediator.errors import StoreError
from remediator.intake import hook as hook_module
from remediator.intake.hook import KEPT_BODY, AlertmanagerHook, check_hook
from remediator.ports import Received, Rejected, Store
from remediator.store import open_store
from tests.intake.samples import an_alert, recorded, webhook
from tests.rig.served import served
from tests.store.samples import NOON, HandClock

TOKEN = "s3cret-tökén"
BEARER = Hook(bearer=SecretStr(TOKEN))
BASIC = Hook(basic=Basic(username="alertmanager", password=SecretStr("pa:ss")))
JSON = {"Content-Type": "application/json"}


@dataclass
class Door:
    """A running server with the hook, and somebody who knocks."""

    store: Store
    session: ClientSession
    depth: int = 0
    accepted: int = 0
    hook: AlertmanagerHook = field(init=False)
    url: str = ""

    @asynccontextmanager
    async def serve(self, hook: Hook, *, loopback: bool = False) -> AsyncIterator[None]:
        self.hook = AlertmanagerHook(hook, loopback, self.store, self.wake, 100, lambda: self.depth)
        app = web.Application()
        app.router.add_route("*", "/hooks/alertmanager", self.hook.handle)
        async with served(app, auto_decompress=False) as url:
            self.url = f"{url}/hooks/alertmanager"
            yield

    def wake(self) -> None:
        self.accepted += 1

    async def post(self, body: Any = None, **headers: str) -> ClientResponse:
        sent = {**JSON, "Authorization": f"Bearer {TOKEN}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        data = recorded("firing") if body is None else body
        skip = ["Content-Type"] if "Content_Type" in headers else []
        async with self.session.post(self.url, data=data, headers=sent, skip_auto_headers=skip) as response:
            await response.read()
            return response

    async def inbox(self) -> list[Received]:
        return await self.store.read(lambda tx: tx.inbox(100))

    async def rejected(self) -> list[Rejected]:
        return await self.store.read(lambda tx: tx.rejected())


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    store = open_store(f"sqlite:///{tmp_path}/state.db", HandClock())
    await store.open()
    async with ClientSession() as session:
        door = Door(store, session)
        async with door.serve(BEARER):
            yield door
    await store.close()


async def test_an_accepted_webhook_is_in_the_inbox_before_it_is_answered(door: Door) -> None:
    response = await door.post()
    assert response.status == 200
    assert await response.json() == {"accepted": 1, "bad": []}
    (row,) = await door.inbox()
    assert row.delivery.alerts[0].fingerprint == "d7c210f5dd99fe1e"
    assert row.delivery.received_at == NOON  # by the store's clock
    assert door.accepted == 1
    assert (door.hook.counts.deliveries, door.hook.counts.alerts) == (1, 1)


async def test_a_bad_alert_is_reported_and_kept_beside_its_accepted_siblings(door: Door) -> None:
    body = webhook(an_alert("a"), an_alert("b", labels={"pod": 1}), an_alert("c"))
    response = await door.post(body)
    assert response.status == 200
    answer = await response.json()
    assert answer["accepted"] == 2
    assert answer["bad"][0].startswith("alerts[1]: ")
    assert len((await door.inbox())[0].delivery.alerts) == 2
    (kept,) = await door.rejected()
    assert kept.problem == answer["bad"][0]
    assert kept.body == body.decode()
    assert door.hook.counts.bad_alerts == 1


async def test_a_webhook_of_bad_alerts_only_is_refused_and_kept(door: Door) -> None:
    response = await door.post(webhook(*[an_alert(status="?")] * 50))
    assert response.status == 400
    assert "and 30 more" in (await response.json())["error"]
    assert await door.inbox() == []
    assert len(await door.rejected()) == 1
    assert door.accepted == 0


async def test_a_webhook_without_alerts_is_fine_and_leaves_nothing(door: Door) -> None:
    response = await door.post(b'{"alerts": []}')
    assert response.status == 200
    assert await door.inbox() == []
    assert door.accepted == 0


async def test_what_cannot_be_parsed_is_kept_bounded(door: Door) -> None:
    response = await door.post(b"\x00\xff not JSON" + b"x" * 100_000)
    assert response.status == 400
    (kept,) = await door.rejected()
    assert kept.body.startswith("\ufffd\ufffd not JSON")
    assert len(kept.body.encode()) <= KEPT_BODY + 10
    assert kept.source == "alertmanager"
    assert door.hook.counts.rejected[400] == 1


async def test_a_large_webhook_is_taken_too(door: Door) -> None:
    alerts = [an_alert(f"{number}", annotations={"summary": "s" * 100}) for number in range(3000)]
    body = webhook(*alerts)
    assert len(body) > 900_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    answers = await asyncio.gather(*(door.post(pieces()) for _ in range(4)))
    assert [one.status for one in answers] == [200] * 4
    kept = await door.store.read(lambda tx: tx.inbox(1000))
    assert {len(row.delivery.alerts) for row in kept} == {PORTION}, "none is so large that it stops the inbox"
    found = Counter(alert.fingerprint for row in kept for alert in row.delivery.alerts)
    assert (len(found), set(found.values())) == (3000, {4})
    assert door.accepted == len(kept)


# ── Who ───────────────────────────────────────────────────────────────────────────────────────────


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN,
     f"Basic {TOKEN}", basic(f"alertmanager:{TOKEN}"), "Basic !!!", "Bearer \udcff", "Digest x"],
)  # fmt: skip
async def test_a_stranger_is_refused_counted_and_not_kept(door: Door, given: str) -> None:
    response = await door.post(Authorization=given)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in await response.text()
    assert await door.inbox() == []
    assert await door.rejected() == []
    assert door.hook.counts.rejected[401] == 1


async def test_two_authorizations_are_none(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))
    token = f"Authorization: Bearer {TOKEN}\r\n"
    writer.write(
        f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n{token}{token}\r\n".encode()
    )
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_stranger_is_refused_before_the_body_is_read(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))
    writer.write(b"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n{")
    async with asyncio.timeout(20):
        assert b" 401 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("given", "status"), [("alertmanager:pa:ss", 200), ("alertmanager:pa", 401), (":", 401)]
)
async def test_basic_authentication(door: Door, given: str, status: int) -> None:
    async with door.serve(BASIC):
        assert (await door.post(Authorization=basic(given))).status == status
        assert (await door.post(Authorization="Bearer alertmanager:pa:ss")).status == 401


@pytest.mark.parametrize(("loopback", "status"), [(True, 200), (False, 401)])
async def test_without_credentials_only_loopback_is_open(door: Door, loopback: bool, status: int) -> None:
    async with door.serve(Hook(), loopback=loopback):
        assert (await door.post(Authorization="")).status == status


def test_an_open_hook_off_loopback_stops_the_start() -> None:
    (problem,) = check_hook(Config(listen="0.0.0.0:8080"))
    assert "set hooks.alertmanager.bearer, or listen on 127.0.0.1" in problem
    assert check_hook(Config()) == []
    assert check_hook(Config(listen="0.0.0.0:8080", hooks=Hooks(alertmanager=BEARER))) == []
    assert check_hook(Config(listen="0.0.0.0:8080", hooks=Hooks(alertmanager=BASIC))) == []


# ── How ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_is_taken(door: Door, method: str) -> None:
    async with door.session.request(method, door.url) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; charset=utf-16", 415),
        ("application/json; boundary=x", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json, text/plain", 415),
        ("", 415),
    ],
)
async def test_only_json_is_taken(door: Door, given: str, status: int) -> None:
    assert (await door.post(Content_Type=given)).status == status


@pytest.mark.parametrize(
    ("given", "status"), [("identity", 200), ("gzip", 415), ("br", 415), ("gzip, gzip", 415)]
)
async def test_nothing_compressed_is_taken(door: Door, given: str, status: int) -> None:
    assert (await door.post(Content_Encoding=given)).status == status


async def test_a_body_over_the_cap_is_refused_without_reading_it_all(door: Door) -> None:
    async with door.serve(Hook(bearer=SecretStr(TOKEN), max_body=1000)):
        assert (await door.post(b"x" * 1001)).status == 413
        reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))
        head = f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"3e9\r\n" + b"x" * 1001 + b"\r\n")  # and no end
        async with asyncio.timeout(20):
            assert b" 413 " in await reader.readline()
        writer.close()
        kept = await door.rejected()
    assert [(one.body, "larger than 1,000 bytes" in one.problem) for one in kept] == [("", True), ("", True)]


async def test_what_is_refused_for_good_is_told_once_it_is_kept(door: Door) -> None:
    told: list[str] = []
    door.hook.on_lost = told.append
    assert (await door.post(b"[]")).status == 400
    assert (await door.post(b"{}", Content_Encoding="gzip")).status == 415
    assert len(told) == len(await door.rejected()) == 2
    assert (await door.post(b"[]", Authorization="Bearer wrong")).status == 401
    assert len(told) == 2


async def test_a_body_that_does_not_arrive_is_given_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_module, "_READ_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))
    head = f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    async with asyncio.timeout(20):
        assert b" 503 " in await reader.readline()  # the sender tries again
    writer.close()


async def test_a_sender_that_hangs_up_leaves_nothing(door: Door) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(door.url.split(":")[2].split("/")[0]))
    head = f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    body = recorded("firing")
    writer.write(
        head.encode() + f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    writer.write(body[:-1])
    await writer.drain()
    writer.close()
    async with asyncio.timeout(20):
        while not door.hook.counts.rejected[400]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert await door.inbox() == []
    assert (await door.post()).status == 200


# ── When it is too much ───────────────────────────────────────────────────────────────────────────


async def test_a_full_inbox_is_503_so_that_alertmanager_tries_again(door: Door) -> None:
    door.depth = 100
    assert (await door.post()).status == 503
    assert await door.inbox() == []
    door.depth = 99
    assert (await door.post()).status == 200


async def test_a_store_that_fails_is_503_and_mends(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(work: object) -> None:
        raise StoreError("store", "disk full", remedy="free some space")

    with monkeypatch.context() as trouble:
        trouble.setattr(door.store, "transact", broken)
        refused = await door.post()
        assert refused.status == 503
        assert await refused.json() == {
            "error": "intake: it could not be stored: store: disk full",
            "remedy": "free some space",
        }
        assert (await door.post(b"no JSON")).status == 400
        assert door.hook.counts.not_kept == 1
    assert door.accepted == 0
    assert (await door.post()).status == 200


async def test_answers_are_short_json_whatever_came(door: Door) -> None:
    for body in (b"x" * 50_000, webhook(*[an_alert(labels={"<script>" * 1000: 1})] * 100)):
        text = await (await door.post(body)).text()
        assert len(text) < 10_000
        assert json.loads(text)["error"]
