"""An HTTP service: what is asked arrives byte by byte as approved, and what is answered stays data."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from remediator.connectors.http import MOST_BYTES, Http, HttpSettings
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.peers import Peer, a_port_where_nobody_listens, answers, closes, hangs, peer, says

HOSTILE = [
    "../../admin",
    "a/b",
    "a?x=1",
    "a#f",
    "a&b=c",
    "a;b",
    "a b",
    "%2e%2e",
    "$(reboot)",
    "'; DROP TABLE x; --",
    "<script>",
    "{{7*7}}",
    "${7*7}",
    "ünïcödé",
    "\u202eevil",
    "\r\nX-Evil: 1",
    "a\x00b",
]


def service(other: Peer, **settings: Any) -> Http:
    return Http(HttpSettings(base_url=other.url, **settings))


def get(path: str = "/x", **args: Any) -> Call:
    return Call("http.get", "loyalty_api", {"path": path, **args})


def post(path: str = "/x", **args: Any) -> Call:
    return Call("http.request", "loyalty_api", {"method": "POST", "path": path, **args})


# ── The probe ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_probe_reads_status_json_and_text() -> None:
    async with peer(answers(200, b'{"depth": 7}')) as other:
        assert await service(other).read(get("/queue"), timeout=5) == {
            "status": 200,
            "json": {"depth": 7},
            "text": '{"depth": 7}',
        }
    assert other.heard[0].line == "GET /queue HTTP/1.1"


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 60_000, b'"\\ud800"', b"1" * 5000]
)
async def test_what_is_no_json_is_null_and_its_text_is_kept(body: bytes) -> None:
    async with peer(answers(200, body)) as other:
        read = await service(other).read(get(), timeout=5)
    assert read["json"] is None
    assert read["text"] == body.decode()


async def test_an_answer_in_another_spelling_is_decoded_leniently() -> None:
    async with peer(answers(200, b"caf\xe9 \x00 \xf0\x9f\x92\xb8")) as other:
        read = await service(other).read(get(), timeout=5)
    assert read["text"] == "caf\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER} \N{MONEY WITH WINGS}"


async def test_only_the_first_64_kib_are_kept() -> None:
    async with peer(answers(200, b"x" * 5_000_000)) as other:
        read = await service(other).read(get(), timeout=5)
    assert read["text"] == "x" * MOST_BYTES + "…"


async def test_what_is_just_as_long_is_whole() -> None:
    whole = json.dumps("x" * (MOST_BYTES - 2)).encode()
    async with peer(answers(200, whole)) as other:
        read = await service(other).read(get(), timeout=5)
    assert read["text"] == whole.decode()
    assert read["json"] == "x" * (MOST_BYTES - 2)


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    async with peer(answers(200, bomb, "Content-Encoding: gzip")) as other:
        with pytest.raises(ConnectorError, match="was not asked for"):
            await service(other).read(get(), timeout=5)
        assert await service(other).act(post(), order=Order("k"), timeout=5) == Done(
            {"status": 200, "json": None, "text": ""}
        )
    assert other.heard[0].header("accept-encoding") == "identity"


async def test_another_status_than_expected_is_an_error_that_names_the_remedy() -> None:
    async with peer(answers(404)) as other:
        with pytest.raises(ConnectorError) as error:
            await service(other).read(get("/gone"), timeout=5)
        assert str(error.value) == (
            "loyalty_api: GET /gone answered 404, not 2xx; write expect_status if this status is meant"
        )
        assert (await service(other).read(get("/gone", expect_status=404), timeout=5))["status"] == 404


async def test_a_probe_does_not_follow_redirects() -> None:
    redirect = says(b"HTTP/1.1 302 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
    async with peer(redirect) as other:
        with pytest.raises(ConnectorError, match="answered 302"):
            await service(other).read(get(), timeout=5)
    assert len(other.heard) == 1


async def test_a_broken_world_is_an_error_that_names_connection_and_problem() -> None:
    async with peer(closes) as other:
        with pytest.raises(ConnectorError, match=r"loyalty_api: GET /x: Server disconnected"):
            await service(other).read(get(), timeout=5)
        assert len(other.heard) == 1
    async with peer(hangs) as other:
        with pytest.raises(ConnectorError, match=r"loyalty_api: no answer within 0\.2 s"):
            await service(other).read(get(), timeout=0.2)
    nowhere = Http(HttpSettings(base_url=f"http://127.0.0.1:{a_port_where_nobody_listens()}"))
    with pytest.raises(ConnectorError, match="Cannot connect"):
        await nowhere.read(get(), timeout=5)


# ── The action ────────────────────────────────────────────────────────────────────────────────────


async def test_an_act_sends_what_was_approved() -> None:
    async with peer(answers(202, b'{"job": 1}')) as other:
        result = await service(other, headers={"Authorization": "Bearer t"}).act(
            post(
                "/api/campaigns/c-1/pause",
                query={"dry": False, "n": 3, "tag": ["a b", "c&d"]},
                body={"reason": "budget", "rate": "0.035"},
                headers={"X-Source": "remediator"},
            ),
            order=Order("run-1/pause"),
            timeout=5,
        )
    assert result == Done({"status": 202, "json": {"job": 1}, "text": '{"job": 1}'})
    heard = other.heard[0]
    assert heard.line == "POST /api/campaigns/c-1/pause?dry=false&n=3&tag=a%20b&tag=c%26d HTTP/1.1"
    assert json.loads(heard.body) == {"reason": "budget", "rate": "0.035"}
    assert heard.header("content-type") == "application/json"
    assert heard.header("authorization") == "Bearer t"
    assert heard.header("x-source") == "remediator"
    assert heard.header("idempotency-key") is None


async def test_nothing_is_sent_as_a_body_unless_there_is_one() -> None:
    async with peer(answers(200)) as other:
        await service(other).act(post(), order=Order("k"), timeout=5)
        await service(other).act(post(body=None), order=Order("k"), timeout=5)
    assert [one.body for one in other.heard] == [b"", b"null"]


async def test_each_try_carries_the_same_key_where_the_service_honours_one() -> None:
    async with peer(answers(200)) as other:
        honours = service(other, idempotency_header="Idempotency-Key")
        await honours.act(post(), order=Order("run-1/pause"), timeout=5)
        await honours.act(post(), order=Order("run-1/pause"), timeout=5)
    assert [one.header("idempotency-key") for one in other.heard] == ["run-1/pause", "run-1/pause"]


async def test_a_conflict_over_our_own_key_is_no_refusal() -> None:
    async with peer(answers(409, b"in progress")) as other:
        assert isinstance(await service(other).act(post(), order=Order("k"), timeout=5), Refused)
        result = await service(other, idempotency_header="Idempotency-Key").act(
            post(), order=Order("k"), timeout=5
        )
    assert result == Unknown("answered 409: in progress")


async def test_only_the_listed_statuses_count_as_done() -> None:
    async with peer(answers(404)) as other:
        assert isinstance(await service(other).act(post(ok=[200, 404]), order=Order("k"), timeout=5), Done)
    async with peer(answers(202)) as other:
        assert isinstance(await service(other).act(post(ok=[200]), order=Order("k"), timeout=5), Unknown)


async def test_a_refusal_says_status_and_the_start_of_the_answer() -> None:
    async with peer(answers(422, b"no such\r\n campaign " + b"y" * 10_000)) as other:
        result = await service(other).act(post(), order=Order("k"), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("answered 422: no such campaign yyy")
    assert len(result.reason) < 350


# ── Hostile values ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "x",
        "",
        "//evil.example/x",
        "/a//b",
        "/a/../b",
        "/a/..",
        "/./a",
        "/a/%2e%2e/b",
        "/a/%2E./b",
        "/a/..%2fb",
        "/a%2Fb",
        "/a/..;/b",
        "/a\\b",
        "/a%5Cb",
        "/a b",
        "/a\r\nHost: evil",
        "/a%0d%0aX: y",
        "/a%00",
        "/ü",
        "/a?b=c",
        "/a#b",
        "/a%zz",
        None,
        7,
    ],
)
async def test_a_path_that_leads_elsewhere_is_never_sent(path: str) -> None:
    async with peer(answers(200)) as other:
        result = await service(other).act(post(path), order=Order("k"), timeout=5)
        assert isinstance(result, Refused)
        assert result.reason.startswith("never sent: the path ")
        with pytest.raises(ConnectorError, match="not asked: the path "):
            await service(other).read(get(path), timeout=5)
    assert other.heard == []


async def test_a_path_is_sent_as_it_was_approved_without_normalising() -> None:
    path = "/v1/~a/x%20y/%E2%82%AC;v=1/"
    async with peer(answers(200)) as other:
        await Http(HttpSettings(base_url=f"{other.url}/api/")).act(post(path), order=Order("k"), timeout=5)
    assert other.heard[0].line == f"POST /api{path} HTTP/1.1"


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_hostile_value_in_a_query_stays_one_value(value: str) -> None:
    from urllib.parse import parse_qsl, urlsplit

    async with peer(answers(200)) as other:
        await service(other).act(post(query={"q": value, value: "v"}), order=Order("k"), timeout=5)
    target = other.heard[0].line.split(" ")[1]
    assert parse_qsl(urlsplit(target).query) == [("q", value), (value, "v")]
    assert len(other.heard) == 1
    assert other.heard[0].header("x-evil") is None


@pytest.mark.parametrize("value", HOSTILE)
async def test_a_hostile_value_in_a_body_stays_one_string(value: str) -> None:
    async with peer(answers(200)) as other:
        await service(other).act(post(body={"v": value}), order=Order("k"), timeout=5)
    assert json.loads(other.heard[0].body) == {"v": value}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "b\r\nX-Evil: 1"},
        {"X-A": "é"},
        {"X-A\r\nX-Evil": "1"},
        {"": "1"},
        {"Host": "evil"},
        {"authorization": "Bearer stolen"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Cookie": "a=b"},
        {"x-own": "replaced"},
        {"Idempotency-Key": "mine"},
    ],
)
async def test_a_header_that_a_policy_may_not_set_is_never_sent(headers: dict[str, str]) -> None:
    async with peer(answers(200)) as other:
        result = await service(other, headers={"X-Own": "s"}, idempotency_header="Idempotency-Key").act(
            post(headers=headers), order=Order("k"), timeout=5
        )
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")
    assert other.heard == []


@pytest.mark.parametrize(
    "args",
    [
        {"method": "GET"},
        {"method": "post"},
        {"query": ["a"]},
        {"query": {"a": None}},
        {"query": {"a": {"b": 1}}},
        {"body": {"a": float("nan")}},
        {"ok": []},
        {"ok": [500]},
        {"ok": [True]},
        {"ok": 200},
    ],
)
async def test_arguments_that_mean_nothing_are_never_sent(args: dict[str, Any]) -> None:
    async with peer(answers(200)) as other:
        result = await service(other).act(post(**args), order=Order("k"), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")
    assert other.heard == []
