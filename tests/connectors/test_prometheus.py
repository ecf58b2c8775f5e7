"""Reading Prometheus: what its answers become, and what is no answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from remediator.connectors.prometheus import Prometheus, PrometheusSettings
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from tests.connectors.peers import (
    Behaviour,
    a_port_where_nobody_listens,
    answers,
    closes,
    garbage,
    half,
    hangs,
    peer,
    resets,
    says,
)
from tests.rig.prometheus import running_prometheus


def result(kind: str, value: Any) -> Behaviour:
    return answers(
        200, json.dumps({"status": "success", "data": {"resultType": kind, "result": value}}).encode()
    )


def vector(*values: str) -> Behaviour:
    return result(
        "vector",
        [{"metric": {"n": str(n)}, "value": [1795249569.1, value]} for n, value in enumerate(values)],
    )


async def query(behave: Behaviour, text: str = "up", *, timeout: float = 5) -> dict[str, Any]:
    async with peer(behave) as other:
        metrics = Prometheus(PrometheusSettings(url=other.url))
        try:
            return await metrics.read(Call("prometheus.query", "metrics", {"query": text}), timeout=timeout)
        finally:
            await metrics.close()
            assert len(other.heard) == 1


async def test_one_series_has_a_value() -> None:
    assert await query(vector("0.5")) == {"value": 0.5, "series": [{"labels": {"n": "0"}, "value": 0.5}]}


async def test_no_series_has_no_value() -> None:
    assert await query(vector()) == {"value": None, "series": []}


async def test_several_series_have_no_one_value() -> None:
    read = await query(vector("1", "NaN", "+Inf"))
    assert read["value"] is None
    assert [one["value"] for one in read["series"]] == [1.0, None, None]


async def test_a_scalar_counts_as_one() -> None:
    assert await query(result("scalar", [1795249569.1, "42"])) == {"value": 42.0, "series": []}


@pytest.mark.parametrize(("value", "spelled"), [("NaN", "NaN"), ("+Inf", r"\+Inf"), ("-Inf", "-Inf")])
async def test_a_decision_never_rests_on_a_number_that_is_none(value: str, spelled: str) -> None:
    with pytest.raises(ConnectorError, match=f"metrics: the query answered {spelled}"):
        await query(vector(value))
    with pytest.raises(ConnectorError, match=f"metrics: the query answered {spelled}"):
        await query(result("scalar", [1, value]))


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (result("string", [1, "hello"]), "answers a string"),
        (result("matrix", [{"metric": {}, "values": [[1, "2"]]}]), "answers a range of values"),
        (result("vector", [{"metric": {}, "histogram": [1, {}]}]), "answers a native histogram"),
        (result("vector", [{"metric": {}}]), "no query result"),
        (result("vector", {"a": 1}), "no query result"),
        (answers(200, b"<html>welcome</html>"), "no query result, but a page for people; is its url right"),
        (answers(200, b'{"status":"success"}'), "no query result"),
        (answers(400, b'{"status":"error","error":"parse error"}'), "refused the query: 400, parse error$"),
        (answers(503, b"starting"), "refused the query: 503, starting$"),
        (answers(500, b"<html>oops</html>"), "refused the query: 500, with a page for people$"),
        (says(b"HTTP/1.1 302 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"), "302"),
        (answers(200, b"x" * 17_000_000), "more than 16777216 bytes"),
        (closes, "cannot be reached"),
        (resets, "cannot be reached"),
        (garbage, "cannot be reached"),
        (half, "no query result"),
    ],
)
async def test_what_is_no_answer_is_an_error_after_one_request(behave: Behaviour, problem: str) -> None:
    with pytest.raises(ConnectorError, match=f"^metrics: .*{problem}"):
        await query(behave)


async def test_waiting_ends() -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ConnectorError, match=r"no answer within 0\.3 s"):
            await query(hangs, timeout=0.3)


async def test_an_empty_query_is_not_asked() -> None:
    metrics = Prometheus(PrometheusSettings(url="http://127.0.0.1:1"))
    with pytest.raises(ConnectorError, match="the query is empty"):
        await metrics.read(Call("prometheus.query", "metrics", {"query": " "}), timeout=1)


async def test_nobody_there_is_told_at_once() -> None:
    metrics = Prometheus(PrometheusSettings(url=f"http://127.0.0.1:{a_port_where_nobody_listens()}"))
    async with asyncio.timeout(20):
        with pytest.raises(ConnectorError, match=r"metrics: cannot be reached: .*refused"):
            await metrics.read(Call("prometheus.query", "metrics", {"query": "up"}), timeout=30)
    await metrics.close()


async def test_its_headers_go_along_and_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(vector("1")) as other, peer(closes) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        metrics = Prometheus(
            PrometheusSettings(url=f"{other.url}/prom/", headers={"Authorization": SecretStr("Bearer t")})
        )
        await metrics.read(Call("prometheus.query", "metrics", {"query": 'up{job="a b"}'}), timeout=5)
        await metrics.close()
    assert [len(other.heard), len(proxy.heard)] == [1, 0]
    assert other.heard[0].line == "GET /prom/api/v1/query?query=up%7Bjob%3D%22a+b%22%7D HTTP/1.1"
    assert other.heard[0].header("authorization") == "Bearer t"


@pytest.mark.real
@pytest.mark.needs("prometheus")
async def test_the_real_prometheus_answers_as_the_fake_does() -> None:
    with running_prometheus({}) as real:
        metrics = Prometheus(PrometheusSettings(url=real.url))

        async def read(text: str) -> dict[str, Any]:
            return await metrics.read(Call("prometheus.query", "metrics", {"query": text}), timeout=5)

        assert await read("vector(7)") == {"value": 7.0, "series": [{"labels": {}, "value": 7.0}]}
        assert await read("21 * 2") == {"value": 42.0, "series": []}
        assert await read("nothing_here") == {"value": None, "series": []}
        with pytest.raises(ConnectorError, match="answered NaN"):
            await read("vector(0) / 0")
        with pytest.raises(ConnectorError, match="parse error"):
            await read("sum(")
        with pytest.raises(ConnectorError, match="answers a range"):
            await read("vector(1)[5m:1m]")
        with pytest.raises(ConnectorError, match="answers a string"):
            await read('"hello"')
        await metrics.close()
