"""The API: what is taken, what is refused and in which words, what is given."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest

from remediator.errors import StoreError
from remediator.ports import Answer
from remediator.web.access import Access
from remediator.web.routes import ROUTES
from tests.web.conftest import TOKENS, Opened, Site
from tests.web.scene import ENDED, HASH, asking, fill, holding, policies, thrown_halt, waiting, working

GATE = f"{waiting().id}.1"


async def test_runs_are_listed_newest_first_and_in_pages(site: Site) -> None:
    await fill(site.store)
    first = await site.json("/api/v1/runs?limit=5")
    assert len(first["runs"]) == 5
    assert first["before"] == first["runs"][-1]["id"]
    second = await site.json(f"/api/v1/runs?limit=50&before={first['before']}")
    assert second["before"] is None
    numbers = [run["id"] for run in first["runs"] + second["runs"]]
    assert len(set(numbers)) == len(numbers) == len(ENDED) + 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=open", {waiting().id, asking().id, working().id}),
        ("state=holding", {holding().id}),
        ("state=asking", {asking().id}),
        ("state=open&policy=stuck-worker", {asking().id, working().id}),
        ("target=worker/w-7", {working().id}),
    ],
)
async def test_runs_are_filtered(site: Site, query: str, expected: set[str]) -> None:
    await fill(site.store)
    assert {run["id"] for run in (await site.json(f"/api/v1/runs?{query}"))["runs"]} == expected


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("stat=open", "'stat' is not a parameter here; known: state, policy"),
        ("state=ajar", "state is one of open, diagnosing"),
        ("state=", "state is one of open, diagnosing"),
        ("limit=", "limit is a whole number from 1 to 500"),
        ("limit=0", "limit is a whole number from 1 to 500"),
        ("limit=1e3", "limit is a whole number"),
        ("limit=99999", "limit is a whole number"),
        ("limit=%D9%A3", "limit is a whole number"),
        ("limit=1&limit=2", "limit is given 2 times"),
        ("before=r-none", "before is not the id of a run"),
        ("target=a%00b", "control characters"),
        ("target=%ED%A0%80", "target"),
    ],
)
async def test_a_query_that_cannot_be_taken_says_why(site: Site, query: str, told: str) -> None:
    status, body = await site.get(f"/api/v1/runs?{query}", Accept="application/json")
    if status == 200:  # the client may have mended a broken escape into plain text
        assert "%ED" in query
        return
    assert status == 400
    assert told in json.loads(body)["error"]


async def test_one_run_is_given_whole_with_its_journal(site: Site) -> None:
    await fill(site.store)
    run = await site.json(f"/api/v1/runs/{waiting().id}")
    assert run["gate"]["intentions"][1]["call"]["args"]["args"] == ["p-17", 0.035, 0.07]
    entries = (await site.json(f"/api/v1/runs/{waiting().id}/journal"))["entries"]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[1]["previous"] == entries[0]["hash"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/runs/none",
        "/api/v1/runs/none/journal",
        "/api/v1/runs/" + "x" * 500,
        "/api/v1/runs/%00",
        "/api/v1/runs/%2e%2e%2f%2e%2e",
        "/api/v1/runs/é",
        "/static/server.py",
        "/api/v2/runs",
    ],
)
async def test_what_is_not_there_is_404_in_json(site: Site, path: str) -> None:
    status, body = await site.get(path)
    assert status == 404
    problem = json.loads(body)
    assert problem["status"] == 404
    assert problem["request"]


async def test_an_open_gate_says_what_it_binds_and_who_is_missing(site: Site) -> None:
    await fill(site.store)
    (gate,) = (await site.json("/api/v1/gates"))["gates"]
    assert gate["id"] == GATE
    assert gate["hash"] == HASH
    assert gate["missing"] == {"ops_marketing": 1}
    assert gate["people"]["ops_marketing"] == ["bob", "chidi"]
    assert gate["votes"][0]["by"] == "amina"
    assert gate["steps"][1]["picture"]["count"] == 1
    assert gate["steps"][1]["undo"] == {"after_s": 86400.0, "early": ["unverified"], "how": "restore"}


async def test_policies_are_given_with_the_outcomes_of_their_runs(site: Site) -> None:
    await fill(site.store)
    rows = {row["name"]: row for row in (await site.json("/api/v1/policies"))["policies"]}
    assert rows["slow-checkout"]["outcomes"] == {"observed": 1}
    assert rows["slow-checkout"]["mode"] == "observe"
    assert rows["stuck-worker"]["outcomes"]["fixed"] == 1


async def test_policies_that_cannot_be_used_are_told_beside_those_that_run(site: Site) -> None:
    told = await site.json("/api/v1/policies")
    assert (told["version"], told["refused"]) == (policies().version, [])
    site.refused += ["policies/web.yaml:3:1: P010 unknown key", "<b>another</b>"]
    assert (await site.json("/api/v1/policies"))["refused"] == site.refused
    (problem,) = (await site.json("/status", Accept="application/json"))["problems"]
    assert "the older ones run on: policies/web.yaml:3:1: P010 unknown key (and 1 more problems)" in problem
    assert "P010 unknown key" in (await site.get("/status", Accept="text/html"))[1]
    assert (await site.get("/readyz"))[0] == 200  # the running policies do their work


async def test_the_other_lists_are_given(site: Site) -> None:
    await fill(site.store)
    await site.store.transact(lambda tx: tx.put_halt(thrown_halt()))
    assert (await site.json("/api/v1/halts"))["halts"][0]["scope"] == "policy:stuck-worker"
    assert (await site.json("/api/v1/pages"))["pages"][0]["id"] == "p-1"
    assert (await site.json("/api/v1/rejected"))["rejected"][0]["problem"] == "the body ends too early"
    assert (await site.json("/api/v1/alerts?state=firing"))["alerts"][0]["deliveries"] == 1


async def test_a_vote_reaches_the_desk_in_the_name_of_its_token(site: Site) -> None:
    body = {"vote": "approve", "reason": "seen", "hash": HASH[:16], "via": "page"}
    status, told = await site.ask("POST", f"/api/v1/gates/{GATE}/votes", body)
    assert (status, told) == (200, {"ok": True, "text": "heard", "data": {"id": "x"}})
    said = {"gate": GATE, "by": "amina", "approve": True, "via": "page", "reason": "seen", "seen": HASH[:16]}
    assert site.desk.asked == [("vote", said)]


async def test_a_no_of_the_desk_keeps_its_words_and_its_status(site: Site) -> None:
    site.desk.answer = Answer(ok=False, text="the gate has expired", status=409)
    status, told = await site.ask("POST", f"/api/v1/gates/{GATE}/votes", {"vote": "deny"})
    assert (status, told["ok"], told["text"]) == (409, False, "the gate has expired")


@pytest.mark.parametrize(
    ("body", "scope"),
    [
        ({}, "all"),
        ({"policy": "stuck-worker"}, "policy:stuck-worker"),
        ({"target": "worker/w-3"}, "target:worker/w-3"),
    ],
)
async def test_a_halt_names_its_scope(site: Site, body: dict[str, Any], scope: str) -> None:
    assert (await site.ask("POST", "/api/v1/halts", body | {"reason": "deploying", "undos": True}))[0] == 200
    assert site.desk.asked == [
        ("halt", {"by": "amina", "scope": scope, "reason": "deploying", "undos": True})
    ]


async def test_the_other_changes_reach_the_desk(site: Site) -> None:
    assert (await site.ask("DELETE", "/api/v1/halts/h-1"))[0] == 200
    assert (await site.ask("POST", "/api/v1/policies/reload"))[0] == 200
    assert (await site.ask("POST", "/api/v1/pages/p-1/ack", {}))[0] == 200
    settle = {"verdict": "not-happened", "reason": "looked"}
    assert (await site.ask("POST", f"/api/v1/runs/{asking().id}/settle", settle))[0] == 200
    assert [what for what, _ in site.desk.asked] == ["resume", "reload", "acknowledge", "settle"]


async def test_a_gate_that_expired_is_asked_again_by_whoever_says_so(site: Site) -> None:
    for body, via in (({}, "api"), ({"via": "cli"}, "cli")):
        assert (await site.ask("POST", f"/api/v1/gates/{GATE}/ask", body))[0] == 200
        assert site.desk.asked.pop() == ("ask-again", {"gate": GATE, "by": "amina", "via": via})
    site.desk.answer = Answer(ok=False, text="not asked again: no alert fires any more", status=409)
    status, told = await site.ask("POST", f"/api/v1/gates/{GATE}/ask", {})
    assert (status, told["text"]) == (409, "not asked again: no alert fires any more")


async def test_a_run_by_hand_reaches_the_desk_and_is_answered_with_its_page(site: Site) -> None:
    site.desk.answer = Answer(ok=True, text="run r-1 of stuck-worker", data={"run": "r-1"})
    body = {"policy": "stuck-worker", "params": {"worker": "w-3", "size": 4, "force": True}, "key": "k-1"}
    status, told = await site.ask("POST", "/api/v1/runs", body)
    assert (status, told["data"]) == (200, {"run": "r-1", "page": "https://remediator.example/runs/r-1"})
    assert site.desk.asked == [("start", {**body, "by": "amina"})]


async def test_a_run_that_may_not_be_started_says_why_and_which_one_is_open(site: Site) -> None:
    site.desk.answer = Answer(ok=False, text="run r/2 is open already", status=409, data={"run": "r/2"})
    status, told = await site.ask("POST", "/api/v1/runs", {"policy": "stuck-worker"})
    assert (status, told["ok"], told["text"]) == (409, False, "run r/2 is open already")
    assert told["data"]["page"] == "https://remediator.example/runs/r%2F2"


VOTES = f"/api/v1/gates/{GATE}/votes"


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (VOTES, {}, "missing required field 'vote'"),
        (VOTES, {"vote": "yes"}, "invalid enum value 'yes'"),
        (VOTES, {"vote": "approve", "as": "bob"}, "unknown field 'as'"),
        (VOTES, {"vote": "approve", "reason": 7}, "expected 'str', got 'int' - at '$.reason'"),
        (VOTES, {"vote": "approve", "reason": "x" * 501}, "length <= 500"),
        (VOTES, {"vote": "approve", "hash": "../.."}, "matching regex"),
        (VOTES, [], "expected 'object', got 'array'"),
        (VOTES, b"", "truncated"),
        (VOTES, b"{", "truncated"),
        (VOTES, b'{"vote": "approve"} x', "malformed"),
        (VOTES, b"\xff\xfe", "malformed"),
        (VOTES, b"[" * 60_000, "cannot be taken"),
        ("/api/v1/halts", {}, "missing required field 'reason'"),
        ("/api/v1/halts", {"reason": "  "}, "say why"),
        ("/api/v1/halts", {"reason": "x", "polcy": "a"}, "unknown field 'polcy'"),
        ("/api/v1/halts", {"reason": "x", "policy": ""}, "length >= 1"),
        ("/api/v1/halts", {"reason": "x", "policy": None}, "expected"),
        ("/api/v1/halts", {"reason": "x", "undos": "yes"}, "expected 'bool', got 'str'"),
        ("/api/v1/halts", {"reason": "x", "policy": "a", "target": "b/c"}, "not both"),
        ("/api/v1/pages/p-1/ack", {"by": "bob"}, "unknown field 'by'"),
        ("/api/v1/runs", {}, "missing required field 'policy'"),
        ("/api/v1/runs", {"policy": "x", "params": ["a"]}, "expected 'object', got 'array' - at '$.params'"),
        ("/api/v1/runs", {"policy": "x", "params": {"a": {}}}, "at '$.params[...]'"),
        ("/api/v1/runs", {"policy": "x", "opened_by": "bob"}, "unknown field 'opened_by'"),
        ("/api/v1/runs", {"policy": "x", "key": "k" * 201}, "length <= 200"),
    ],
)
async def test_a_body_that_cannot_be_taken_says_why(site: Site, path: str, body: Any, told: str) -> None:
    status, answer = await site.ask("POST", path, body)
    assert status == 400
    assert told in answer["error"]
    assert site.desk.asked == []


async def test_a_body_over_64_kib_is_refused_however_it_comes(site: Site) -> None:
    async def dripping() -> Any:
        for _ in range(70):
            yield b" " * 1024

    headers = {"Authorization": "Bearer amina-token-0123456789", "Content-Type": "application/json"}
    for data in (b" " * 70_000, dripping()):
        async with site.client.post(f"{site.url}/api/v1/halts", data=data, headers=headers) as answer:
            assert answer.status == 413


async def test_a_packed_body_is_refused(site: Site) -> None:
    status, answer = await site.ask(
        "POST", "/api/v1/halts", gzip.compress(b'{"reason": "x"}'), Content_Encoding="gzip"
    )
    assert status == 415, answer
    assert site.desk.asked == []


async def test_a_store_that_fails_is_503_and_still_shows_a_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_work: Any) -> Any:
        raise StoreError("/var/lib/state.db", "disk I/O error", remedy="check its disk")

    monkeypatch.setattr(site.store, "read", broken)
    status, body = await site.get("/api/v1/runs")
    assert status == 503
    assert "disk I/O error" in json.loads(body)["error"]
    status, body = await site.get("/status", Accept="text/html")
    assert status == 503
    assert "The store does not answer" in body
    assert (await site.get("/runs/r-1", Accept="text/html"))[0] == 503


async def test_what_cannot_be_read_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def torn(*_: Any, **__: Any) -> Any:
        raise msgspec.ValidationError("Object missing required field `id`")

    monkeypatch.setattr(site.desk, "vote", torn)
    vote = {"vote": "approve"}
    status, body = await site.ask("POST", "/api/v1/gates/r-1.1/votes", vote)
    assert (status, "cannot be read until somebody has mended it" in body["error"]) == (500, True), body
    monkeypatch.setattr(site.store, "read", torn)
    status, page = await site.get("/runs/r-1", Accept="text/html")
    assert (status, "cannot be read until somebody has mended it" in page) == (500, True)


async def test_a_bug_is_500_without_a_word_of_its_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_work: Any) -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(site.store, "read", broken)
    for accept in ("application/json", "text/html"):
        status, body = await site.get("/runs/r-1", Accept=accept)
        assert status == 500
        assert "secret" not in body
        assert "Traceback" not in body


async def test_the_description_names_every_route_and_resolves_its_references(site: Site) -> None:
    document = await site.json("/api/v1/openapi.json")
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]["/api/v1/halts"]) == {"get", "post"}
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"], reference
    numbers = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(numbers) == len(set(numbers))
    assert all(one["summary"] for path in document["paths"].values() for one in path.values())
    vote = document["paths"]["/api/v1/gates/{id}/votes"]["post"]
    assert vote["security"] == [{"token": []}]


async def test_the_description_is_of_the_routes_that_there_are(site: Site) -> None:
    document = await site.json("/api/v1/openapi.json")
    described = {
        f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations
    }
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in site.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    doors = {route.name for route in ROUTES if route.access is Access.ITSELF}
    assert described == served - doors


@pytest.mark.parametrize("exposed", [False, True])
async def test_the_description_says_who_may_ask(open_site: Opened, *, exposed: bool) -> None:
    site = await open_site(exposed=exposed)
    headers = {"Authorization": f"Bearer {TOKENS['amina']}"}
    paths = (await site.json("/api/v1/openapi.json", **headers))["paths"]
    nobody: list[dict[str, list[str]]] = [] if exposed else [{}]
    assert paths["/api/v1/runs"]["get"]["security"] == [*nobody, {"token": []}, {"basic": []}]
    assert paths["/api/v1/runs"]["post"]["security"] == [{"token": []}]
    assert paths["/healthz"]["get"]["security"] == [{}]


async def test_the_description_knows_what_is_answered_as_a_page(site: Site) -> None:
    paths = (await site.json("/api/v1/openapi.json"))["paths"]
    assert set(paths["/runs/{id}"]["get"]["responses"]["404"]["content"]) == {"application/json", "text/html"}
    assert set(paths["/api/v1/runs/{id}"]["get"]["responses"]["404"]["content"]) == {"application/json"}
    down = paths["/status"]["get"]["responses"]["503"]["content"]
    assert down["application/json"]["schema"]["$ref"].endswith("/StatusShape")


async def test_metrics_and_health_answer(site: Site) -> None:
    async with site.client.get(f"{site.url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"remediator_build_info" in await answer.read()
    assert await site.json("/healthz") == {"status": "ok", "problems": []}
    site.problems.append("the store does not work")
    assert (await site.get("/readyz"))[0] == 503
    assert "the store does not work" in (await site.get("/readyz"))[1]
