"""``remediator policy preview`` against a real service and a real database: all is read, nothing done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.e2e.policies import PACK, pausing, text
from tests.rig.daemon import SECRETS, settings
from tests.rig.postgres import Server, running_postgres
from tests.rig.room import Said, terminal
from tests.rig.served import served
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e]

SECRET = "canary-of-the-world-token-5f1"


@dataclass
class Desk:
    """A checkout of policies beside a config; no daemon runs."""

    folder: Path
    config: dict[str, Any]

    def policy(self, name: str, written: str) -> None:
        (self.folder / "policies").mkdir(exist_ok=True)
        (self.folder / "policies" / f"{name}.yaml").write_text(written)

    async def preview(self, *words: str, **environment: str) -> Said:
        (self.folder / "remediator.yaml").write_text(json.dumps(self.config))
        given = {**SECRETS, **environment}
        return await terminal("policy", "preview", *words, cwd=self.folder, **given)


@pytest.fixture
async def desk(tmp_path: Path, one_world: LoyaltyWorld) -> Desk:
    await one_world.control("programs/p-1", earn_rate=0.07)
    await one_world.control("campaigns/c-1", status="running", program_id="p-1", points_per_second=0.0)
    one = Desk(tmp_path, settings(world=one_world.url))
    one.policy("pause-campaign", text(pausing()))
    return one


ABOUT = ("--target", "campaign/c-1", "--param", "program_id=p-1")


async def test_it_reads_decides_and_shows_and_the_service_hears_no_act(
    desk: Desk, one_world: LoyaltyWorld
) -> None:
    before = len(await one_world.requests())
    said = await desk.preview("pause-campaign", *ABOUT)
    assert (said.status, said.err) == (0, ""), said
    for line in (
        "pause-campaign on campaign/c-1  (mode act)",
        "params: campaign_id=c-1, program_id=p-1",
        "program: status = 200, json.id = p-1",
        'case 1 does not hold: campaign.json.status != "running"  (campaign.json.status = running)',
        "case 2 does not hold: program.json.earnRate > 0.2  (program.json.earnRate = 0.07)",
        "case 3 holds: always",
        "pause (destructive): POST /api/campaigns/c-1/pause via loyalty_api",
        "needs 1 of oncall (bob) and 1 of ops_marketing (amina) within 30s",
        "It would start: pause",
        "Nothing was changed.",
    ):
        assert line in said.out, line
    asked = (await one_world.requests())[before:]
    assert {(one["method"], one["path"]) for one in asked} == {
        ("GET", "/api/campaigns/c-1"),
        ("GET", "/api/programs/p-1"),
    }
    assert [path.name for path in desk.folder.iterdir() if "db" in path.name] == []


async def test_as_json_it_says_the_same(desk: Desk) -> None:
    found = (await desk.preview("pause-campaign", *ABOUT, "--json")).json
    assert (found["case"], found["refusal"], found["target"]) == (3, "", "campaign/c-1")
    assert [one["holds"] for one in found["cases"]] == [False, False, True]
    (step,) = found["steps"]
    assert step["gate"]["votes"] == {"oncall": 1, "ops_marketing": 1}
    assert found["readings"]["program"]["value"]["json"]["earnRate"] == 0.07


async def test_what_the_policy_would_refuse_exits_1(desk: Desk) -> None:
    said = await desk.preview("pause-campaign", "--target", "campaign/nobody", "--param", "program_id=p-1")
    assert said.status == 1, said
    assert "It would refuse: probe: campaign: loyalty_api: GET /api/campaigns/nobody answered 404" in said.out
    asks_alert = pausing("asks-alert")
    asks_alert["decide"].insert(0, {"when": 'labels.tier == "gold"', "do": "nothing"})
    desk.policy("asks-alert", text(asks_alert))
    said = await desk.preview("asks-alert", *ABOUT)
    assert (said.status, "labels has no 'tier'" in said.out) == (1, True), said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pause-campaign", "--target", "campaign/c-1"), "--param program_id=…: is missing; give a text"),
        (("pause-campaign", "--target", "worker/w-1"), "worker/w-1 is not what pause-campaign acts on"),
        (("pause-campaign",), "--param campaign_id=…: is missing"),
        (("pause-campaign", *ABOUT, "--param", "campaign=c-1"), "did you mean campaign_id?"),
        (
            ("pause-campaign", *ABOUT, "--param", "campaign_id=c-2"),
            "campaign/c-2, not to campaign/c-1",
        ),
        (("pause-campaign", *ABOUT, "--param", "campaign_id=C 2"), "does not fit the pattern"),
        (("pause-campaing", *ABOUT), "there is no policy pause-campaing without errors; there are pause"),
        (("pause-campaign", *ABOUT, "--config", "nowhere.yaml"), "nowhere.yaml: cannot be read"),
    ],
)
async def test_what_cannot_be_tried_exits_2_and_says_why(
    desk: Desk, words: tuple[str, ...], told: str
) -> None:
    said = await desk.preview(*words)
    assert (said.status, said.out) == (2, ""), said
    assert told in said.err
    assert "Traceback" not in said.err


async def test_a_policy_with_errors_is_told_with_them_and_its_neighbours_work(desk: Desk) -> None:
    wrong = pausing("wrong")
    wrong["steps"]["pause"]["via"] = "loyalty_apu"
    desk.policy("wrong", text(wrong))
    said = await desk.preview("wrong", *ABOUT)
    assert (said.status, "did you mean loyalty_api?" in said.err) == (2, True), said
    assert (await desk.preview("pause-campaign", *ABOUT)).status == 0


@pytest.fixture
async def echo() -> AsyncIterator[tuple[str, list[str]]]:
    """A service that answers with the headers that it was sent; and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        status = 500 if "nobody" in request.path else 200
        return web.json_response(
            {"status": "running", "said": request.headers["Authorization"]}, status=status
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app) as url:
        yield url, asked


@pytest.mark.parametrize("campaign", ["c-1", "nobody"])
@pytest.mark.parametrize("form", [(), ("--json",)])
async def test_no_secret_of_the_settings_is_shown_though_the_service_says_it(
    desk: Desk, echo: tuple[str, list[str]], campaign: str, form: tuple[str, ...]
) -> None:
    url, asked = echo
    headers = {"Authorization": "Bearer ${env:HIDDEN}"}
    desk.config["connections"]["loyalty_api"] = {"kind": "http", "base_url": url, "headers": headers}
    blunt = pausing("blunt")
    blunt["decide"] = [{"when": 'campaign.json.said == "x"', "do": "nothing"}, {"do": ["pause"]}]
    blunt["steps"]["pause"]["with"]["body"] = {"said": "${campaign.json.said}"}
    del blunt["steps"]["warn"]
    desk.policy("blunt", text(blunt))
    about = ("--target", f"campaign/{campaign}", "--param", "program_id=p-1")
    said = await desk.preview("blunt", *about, *form, HIDDEN=SECRET)
    assert said.status == (0 if campaign == "c-1" else 1), said
    assert SECRET not in said.out + said.err
    assert "[hidden]" in said.out  # it was echoed indeed
    assert set(asked) == {"GET"}


# ── A change of rows ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_postgres() as running:
        yield running


@pytest.mark.real
@pytest.mark.needs("postgresql")
async def test_it_shows_the_rows_that_would_change_and_changes_none(desk: Desk, server: Server) -> None:
    database = await server.copy()
    desk.policy("budget-exhaustion", (PACK / "budget-exhaustion.yaml").read_text())
    tables = ["loyalty_programs", "loyalty_balances", "loyalty_transactions"]
    desk.config["connections"]["loyalty_db"] = {"kind": "postgres", "dsn": "${env:DSN}", "tables": tables}
    desk.config["roles"] = {
        "oncall": ["bob"],
        "finance_ops": ["amina"],
        "ops_marketing": ["bob"],
        "lead": ["chen"],
    }
    before = await _content(server, database)
    about = ("molam-budget-exhaustion", "--target", "loyalty-program/p-17")
    said = await desk.preview(*about, DSN=server.dsn(database))
    assert said.status == 0, said
    assert "remaining_pct" in said.out
    assert "would change 1" in said.out
    assert "id=p-17: earn_rate 0.0700 → 0.0350" in said.out
    assert "1 of finance_ops (amina)" in said.out
    rows = (await desk.preview(*about, "--json", DSN=server.dsn(database))).json["steps"][-1]["picture"][
        "rows"
    ]
    assert [(row["key"], row["before"]["earn_rate"], row["after"]["earn_rate"]) for row in rows] == [
        ({"id": "p-17"}, "0.0700", "0.0350")
    ]
    assert await _content(server, database) == before


async def _content(server: Server, database: str) -> str:
    """Every row of the table, and who wrote it last."""
    async with server.connected(database) as connection:
        rows = await connection.fetch("SELECT xmin, * FROM loyalty_programs ORDER BY id")
    return hashlib.sha256(repr(rows).encode()).hexdigest()
