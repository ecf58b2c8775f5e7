"""The command line, as people type it: against a running daemon, and against none."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from remediator.cli import parser
from remediator.cli.examples import EXAMPLES, commands
from tests.e2e.policies import PACK, UNATTENDED, UNPROVABLE, pausing, text
from tests.e2e.stage import Stage, stage
from tests.rig.daemon import settings
from tests.rig.processes import free_port
from tests.rig.room import terminal
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e]

ACTS, ASKS, BLIND = "act-now", "pause-campaign", "pause-unproved"
ALL = {path: (text, command) for path, text, command in commands(parser())}


@pytest.fixture(scope="module")
def play(one_world: LoyaltyWorld, one_slack: FakeSlack) -> Iterator[Stage]:
    policies = [
        pausing(ACTS, gate=UNATTENDED),
        pausing(ASKS),
        pausing(BLIND, gate=UNATTENDED, verify=UNPROVABLE),
    ]
    with stage(one_world, one_slack, *policies) as one:
        yield one


# ── Help ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ALL)
def test_the_help_of_every_command_teaches(path: str) -> None:
    told, command = ALL[path]
    shown = command.format_help()
    assert told
    assert command.description
    assert "examples:\n  remediator " in shown
    for action in command._actions:
        assert action.help, f"{path}: {action.dest} is not explained"


@pytest.mark.parametrize("path", EXAMPLES)
def test_every_example_is_a_command(path: str) -> None:
    for line in EXAMPLES[path]:
        given = parser().parse_args(shlex.split(line))
        assert given.run
        assert line.startswith(path)


async def test_help_version_of_the_truth_costs_no_daemon() -> None:
    said = await terminal("--help")
    assert said.status == 0
    for command in ("serve", "demo", "gates", "halt", "audit"):
        assert command in said.out
    said = await terminal("gates", "approve", "--help")
    assert (said.status, "remediator gates approve r-" in said.out) == (0, True)


# ── Against a daemon ──────────────────────────────────────────────────────────────────────────────


async def test_runs_are_listed_and_shown_with_their_timeline(play: Stage) -> None:
    campaign = await play.campaign()
    await play.fire(ACTS, campaign)
    run = await play.closed(campaign, "fixed")
    listed = await play.cli("runs", "list", "--target", f"campaign/{campaign}")
    assert listed.status == 0
    assert run["id"] in listed.out
    assert "fixed" in listed.out
    rows = (await play.cli("runs", "list", "--policy", ACTS, "--json")).json["runs"]
    assert {one["policy"] for one in rows} == {ACTS}
    shown = await play.cli("runs", "show", run["id"])
    for word in (
        "Run opened by alert",
        "Decided: case",
        "started, attempt 1",
        "proved to have worked",
        "Run closed",
    ):
        assert word in shown.out
    whole = (await play.cli("runs", "show", run["id"], "--json")).json
    assert whole["run"]["id"] == run["id"]
    assert [one["seq"] for one in whole["journal"]] == list(range(1, len(whole["journal"]) + 1))


async def test_what_is_not_there_is_told_and_exits_2(play: Stage) -> None:
    for words in (
        ("runs", "show", "r-nothing"),
        ("runs", "show", "../../gates"),
        ("gates", "approve", "r-nothing.1"),
        ("resume", "h-nothing"),
        ("pages", "ack", "p-nothing"),
        ("runs", "settle", "r-nothing", "happened"),
    ):
        said = await play.cli(*words, by="bob")
        assert (said.status, said.out) == (2, ""), (words, said)
        assert "no " in said.err
        assert "Traceback" not in said.err
    said = await play.cli("runs", "list", "--state", "sideways")
    assert said.status == 2
    assert "state" in said.err


async def test_gates_are_listed_whole_approved_and_denied(play: Stage) -> None:
    campaign, other = await play.campaign(), await play.campaign()
    gate = str((await play.asked(ASKS, campaign))["gate"])
    second = str((await play.asked(ASKS, other))["gate"])
    listed = await play.cli("gates", "list")
    assert f"POST /api/campaigns/{campaign}/pause via loyalty_api" in listed.out
    assert "1 × oncall, 1 × ops_marketing" in listed.out
    assert f"remediator gates approve {gate}" in listed.out
    found = (await play.cli("gates", "list", "--json")).json["gates"]
    assert {gate, second} <= {one["id"] for one in found}

    said = await play.cli("gates", "approve", gate)
    assert (said.status, "REMEDIATOR_TOKEN" in said.err) == (2, True), said
    said = await play.cli("gates", "approve", gate, REMEDIATOR_TOKEN="wrong-token-of-nobody")
    assert said.status == 2
    said = await play.cli("gates", "deny", second, by="bob")
    assert (said.status, "--reason" in said.err) == (2, True), said
    said = await play.cli("gates", "deny", second, "--reason", "not today", by="bob")
    assert (said.status, "bob denied" in said.out) == (0, True), said
    said = await play.cli("gates", "approve", gate, "--json", by="amina")
    assert (said.status, said.json["data"]["counted"]) == (0, True), said
    said = await play.cli("gates", "approve", gate, by="amina")
    assert (said.status, "amina has voted already" in said.err) == (2, True), said
    assert (await play.cli("gates", "approve", gate, by="bob")).status == 0
    await play.closed(campaign, "fixed")
    assert (await play.calls(campaign), await play.calls(other)) == (1, 0)


async def test_a_halt_is_thrown_listed_and_lifted(play: Stage) -> None:
    campaign = await play.campaign()
    about = f"campaign/{campaign}"
    assert (await play.cli("halt", by="bob")).status == 2
    assert (await play.cli("halt", "--reason", "I look at it", "--target", about)).status == 2
    said = await play.cli("halt", "--reason", "I look at it", "--target", about, by="bob")
    assert said.status == 0
    halt = said.out.split()[-1]
    assert f"remediator resume {halt}" in said.out
    await play.fire(ACTS, campaign)
    listed = await play.cli("resume")
    assert f"{halt}  target:{about}  by bob: I look at it" in listed.out
    refusals = (await play.daemon.get("/status"))["refusals"]
    assert [one["bound"] for one in refusals if one["target"] == about] == ["halt"]
    assert (await play.cli("resume", halt, by="bob")).status == 0
    await play.closed(campaign, "fixed")


async def test_pages_are_listed_and_acknowledged_and_unknown_outcomes_settled(play: Stage) -> None:
    campaign = await play.campaign()
    await play.world.fault("close", path=f"/api/campaigns/{campaign}/pause")
    await play.fire(BLIND, campaign)
    run = await play.run_at("asking", campaign)
    listed = await play.cli("pages", "list")
    assert "it is unknown whether pause happened" in listed.out
    pages = (await play.cli("pages", "list", "--json")).json["pages"]
    page = next(one for one in pages if one["run"] == run["id"])
    assert (await play.cli("pages", "ack", page["id"])).status == 2
    assert (await play.cli("pages", "ack", page["id"], by="bob")).status == 0
    assert page["id"] not in (await play.cli("pages", "list")).out
    assert (await play.cli("runs", "settle", run["id"], "perhaps", by="bob")).status == 2
    assert (await play.cli("runs", "settle", f"{run['id']}.q1", "handled", by="bob")).status == 0
    await play.closed(campaign, "handed-over")


# ── Against none ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", sorted(path for path in ALL if "--url" in ALL[path][1].format_help()))
async def test_without_a_daemon_every_command_says_so(path: str, tmp_path: Path) -> None:
    line = max(EXAMPLES[path], key=lambda one: "--json" not in one)
    url = f"http://127.0.0.1:{free_port()}"
    said = await terminal(*shlex.split(line), by="bob", cwd=tmp_path, REMEDIATOR_URL=url)
    assert (said.status, said.out) == (2, ""), said
    assert said.err.startswith(f"{url}: no daemon answers")
    assert "start it, or give --url" in said.err
    assert "Traceback" not in said.err


async def test_an_address_that_is_none_is_told() -> None:
    said = await terminal("runs", "list", REMEDIATOR_URL="file:///etc/passwd")
    assert (said.status, "not an address" in said.err) == (2, True), said


# ── Policies ──────────────────────────────────────────────────────────────────────────────────────


async def test_lint_finds_everything_at_once_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "remediator.yaml").write_text(json.dumps(settings(world="http://127.0.0.1:9")))
    (tmp_path / "policies").mkdir()
    good, bad = tmp_path / "policies" / "good.yaml", tmp_path / "policies" / "bad.yaml"
    good.write_text(text(pausing()))
    given = {"HOOK_TOKEN": "t", "LOYALTY_TOKEN": "t"}
    said = await terminal("policy", "lint", "policies/good.yaml", cwd=tmp_path, **given)
    assert (said.status, "1 policy without errors; 0 errors" in said.out) == (0, True), said
    wrong = pausing("wrong")
    wrong["step"] = wrong.pop("steps")
    wrong["bounds"]["cooldown"] = "5 min"
    bad.write_text(text(wrong))
    said = await terminal("policy", "lint", "policies", "--json", cwd=tmp_path, **given)
    assert said.status == 1, said
    findings = [one for one in said.json["findings"] if one["severity"] == "error"]
    assert len(findings) >= 2
    assert all(one["file"].endswith("bad.yaml") and one["line"] and one["col"] for one in findings)
    assert any("did you mean steps?" in one["remedy"] for one in findings)
    said = await terminal("policy", "lint", "policies/good.yaml", cwd=tmp_path)
    assert said.status == 0, f"a reviewer has no secrets, and needs none: {said}"
    said = await terminal("policy", "lint", "nowhere.yaml", cwd=tmp_path, **given)
    assert said.status != 0
    assert "nowhere.yaml" in said.out + said.err
    assert "Traceback" not in said.err


async def test_the_schema_knows_every_key_of_the_shipped_policies() -> None:
    said = await terminal("policy", "schema")
    assert said.status == 0
    known = said.json["properties"]
    for file in (one for one in PACK.glob("*.yaml") if not one.stem.endswith(".test")):
        keys = [line.partition(":")[0] for line in file.read_text().splitlines() if line[:1].islower()]
        assert file.name == "alerts.yaml" or set(keys) <= set(known), file
