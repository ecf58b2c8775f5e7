"""One act is one request on the wire, whatever the peer does to us; and what is then known of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from pydantic import SecretStr

from remediator.config import Slack
from remediator.connectors import KINDS
from remediator.connectors.http import METHODS, Http, HttpSettings
from remediator.connectors.once import send_only_once
from remediator.connectors.slack import SlackMessages, SlackSettings
from remediator.core.catalog import Kind
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.ports import Connector, Order
from tests.connectors.peers import (
    Behaviour,
    a_port_where_nobody_answers,
    a_port_where_nobody_listens,
    answers,
    closes,
    garbage,
    half,
    hangs,
    only_a_status_line,
    peer,
    resets,
    says,
)

REDIRECT = {
    code: says(
        f"HTTP/1.1 {code} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode(), then_close=False
    )
    for code in (301, 302, 303, 307, 308)
}

MISBEHAVIOURS: dict[str, tuple[Behaviour, type[Result]]] = {
    "reads and closes": (closes, Unknown),
    "reads and resets": (resets, Unknown),
    "reads and hangs": (hangs, Unknown),
    "answers garbage": (garbage, Unknown),
    "answers half a head": (only_a_status_line, Unknown),
    "answers half a body": (half, Unknown),
    "answers 500": (answers(500, b"oops", kind="text/plain"), Unknown),
    "answers 503": (answers(503, b'{"ok":false}'), Unknown),
    "answers 404": (answers(404, b'{"ok":false}'), Refused),
    "answers 429": (answers(429, b'{"ok":false,"error":"ratelimited"}', "Retry-After: 1"), Refused),
    **{f"redirects with {code}": (behave, Refused) for code, behave in REDIRECT.items()},
}


def http_request(url: str) -> Connector:
    return Http(HttpSettings(base_url=url))


def slack_message(url: str) -> Connector:
    app = Slack(
        bot_token=SecretStr("xoxb-1"), signing_secret=SecretStr("s"), channel="C0OPS", api_url=f"{url}/api/"
    )
    return SlackMessages(SlackSettings.of(app))


ACTS: dict[str, tuple[Callable[[str], Connector], Call]] = {
    **{
        f"http.request {method}": (
            http_request,
            Call(
                "http.request",
                "api",
                {"method": method, "path": "/api/campaigns/c-1/pause", "body": {"a": 1}},
            ),
        )
        for method in METHODS
    },
    "http.request DELETE without body": (
        http_request,
        Call("http.request", "api", {"method": "DELETE", "path": "/api/workers/w-1"}),
    ),
    "slack.message": (slack_message, Call("slack.message", "slack", {"channel": "C0OPS", "text": "hello"})),
}


NO_WIRE = {"people.page"}  # commits a row of our own
ELSEWHERE = {  # counted in files of their own: COMMITs, sessions, indexes, EXECs, starts
    "alertmanager.silence",
    "alertmanager.restore",
    "command.run",
    "docker.restart",
    "kubernetes.scale",
    "kubernetes.restart",
    "kubernetes.rollback",
    "kubernetes.resources",
    "kubernetes.restore",
    "kubernetes.delete",
    "kubernetes.job",
    "redis.command",
    "mysql.execute",
    "mysql.kill",
    "postgres.execute",
    "postgres.restore",
    "postgres.terminate",
    "postgres.maintain",
}


def test_every_action_of_every_kind_is_counted_here() -> None:
    actions = {one.name for kind in KINDS.values() for one in kind.operations if one.kind is Kind.ACTION}
    assert {name.split()[0] for name in ACTS} == actions - NO_WIRE - ELSEWHERE


@pytest.mark.parametrize("does", MISBEHAVIOURS)
async def test_a_misbehaving_peer_hears_exactly_one_request(does: str) -> None:
    behave, outcome = MISBEHAVIOURS[does]

    async def told(name: str) -> tuple[int, type[Result], Result]:
        make, call = ACTS[name]
        async with peer(behave) as other:
            connector = make(other.url)
            within = 4 if behave is hangs else 30
            result = await connector.act(call, order=Order("run-1/pause"), timeout=within)
            await connector.close()
        return len(other.heard), type(result), result

    for name, one in zip(ACTS, await asyncio.gather(*map(told, ACTS)), strict=True):
        assert one[:2] == (1, outcome), (name, one)


@pytest.mark.parametrize("name", ACTS)
async def test_a_peer_that_is_not_there_was_never_sent_anything(name: str) -> None:
    make, call = ACTS[name]
    connector = make(f"http://127.0.0.1:{a_port_where_nobody_listens()}")
    result = await connector.act(call, order=Order("run-1/pause"), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")


async def test_a_peer_that_never_takes_the_call_was_never_sent_anything() -> None:
    async def told(name: str) -> Result:
        make, call = ACTS[name]
        with a_port_where_nobody_answers() as port:
            return await make(f"http://127.0.0.1:{port}").act(call, order=Order("run-1/pause"), timeout=8)

    for name, result in zip(ACTS, await asyncio.gather(*map(told, ACTS)), strict=True):
        assert isinstance(result, Refused), (name, result)
        assert result.reason.startswith("never sent: ")


@pytest.mark.parametrize("name", [name for name in ACTS if name.startswith("http.request")])
async def test_what_became_too_late_while_connecting_is_not_sent(name: str) -> None:
    make, call = ACTS[name]
    async with peer(answers(200)) as other:
        order = Order("run-1/pause", late=lambda: "this replica's lease was over")
        result = await make(other.url).act(call, order=order, timeout=5)
    assert result == Refused("never sent: this replica's lease was over")
    assert other.heard == []


@pytest.mark.parametrize("name", ACTS)
async def test_a_peer_that_does_as_told_is_done_with_one_request(name: str) -> None:
    make, call = ACTS[name]
    async with peer(answers(200, b'{"ok":true,"channel":"C0OPS","ts":"1.2"}')) as other:
        result = await make(other.url).act(call, order=Order("run-1/pause"), timeout=5)
    assert isinstance(result, Done), result
    assert len(other.heard) == 1


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        peer(answers(200, b'{"ok":true,"channel":"C0OPS","ts":"1.2"}')) as other,
        peer(closes) as proxy,
    ):
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "")
        for make, call in ACTS.values():
            assert isinstance(await make(other.url).act(call, order=Order("k"), timeout=5), Done)
    assert [len(other.heard), len(proxy.heard)] == [len(ACTS), 0]


async def test_if_aiohttp_loses_its_switch_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        """An aiohttp of the future, without the private switch."""

    with pytest.raises(aiohttp.ClientError, match="only once"):
        send_only_once(Session())  # type: ignore[arg-type]

    def lost(_session: object) -> None:
        monkeypatch.undo()
        send_only_once(Session())  # type: ignore[arg-type]

    monkeypatch.setattr("remediator.connectors.once.send_only_once", lost)
    async with peer(answers(200)) as other:
        result = await http_request(other.url).act(ACTS["http.request PUT"][1], order=Order("k"), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")
    assert other.heard == []


async def test_without_the_switch_aiohttp_would_send_a_put_twice() -> None:
    # Keeps the reason alive: when this fails, aiohttp has changed, and so may we.
    async with peer(closes) as other, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.put(other.url, data=b"x")
    assert len(other.heard) == 2
