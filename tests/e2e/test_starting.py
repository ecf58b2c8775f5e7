"""What cannot run does not start: exit 2, everything that is wrong at once, with its place and its remedy."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from remediator.clock import SystemClock
from remediator.store.sqlite import SqliteStore
from tests.e2e.policies import pausing, text
from tests.e2e.stage import stage
from tests.rig.daemon import SECRETS, settings
from tests.rig.processes import free_port
from tests.rig.room import Said, terminal
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e]

PLACE = re.compile(r"\.yaml:[0-9]+:[0-9]+: ")


@dataclass
class Folder:
    """A config and policies, to be started. ``environment``: what the references look into."""

    path: Path
    config: dict[str, Any]
    port: int
    environment: dict[str, str] = field(default_factory=lambda: SECRETS | {"LOYALTY_TOKEN": "t"})

    def policy(self, name: str, words: str) -> None:
        (self.path / "policies").mkdir(exist_ok=True)
        (self.path / "policies" / f"{name}.yaml").write_text(words)

    async def serve(self, config: str = "") -> Said:
        """Start it, and see it end."""
        (self.path / "remediator.yaml").write_text(config or json.dumps(self.config, indent=1))
        said = await terminal("serve", cwd=self.path, **self.environment)
        assert "Traceback" not in said.err, said.err
        assert said.status == 2, said
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", self.port)) != 0, "something listens"
        return said


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    port = free_port()
    one = Folder(tmp_path, settings(world="http://127.0.0.1:9") | {"listen": f"127.0.0.1:{port}"}, port)
    one.policy("pause-campaign", text(pausing()))
    return one


def _told(said: Said, *words: str) -> None:
    """One line holds all these words, and its place."""
    lines = [line for line in said.err.splitlines() if all(word in line for word in words)]
    assert lines, f"{words} in no line of:\n{said.err}"
    assert PLACE.search(lines[0]), f"no place in: {lines[0]}"


async def test_all_that_is_wrong_with_the_settings_is_told_at_once(folder: Folder) -> None:
    folder.config["polices"] = "./policies"
    folder.config["hooks"]["alertmanager"]["bearer"] = "${env:NOWHERE_TO_BE_FOUND}"
    folder.config["connections"]["broken"] = {"kind": "htp"}
    folder.config["connections"]["worse"] = {"kind": "http", "base_url": "ftp://x", "timout": "3s"}
    folder.config["roles"] = {"oncall": ["bobb"], "lead": ["chen"]}
    folder.config["escalations"] = {"default": [{"role": "onkall"}]}
    folder.config["resolved_debounce"] = "1 minute"
    said = await folder.serve()
    _told(said, "polices", "did you mean policies?")
    _told(said, "NOWHERE_TO_BE_FOUND", "export NOWHERE_TO_BE_FOUND")
    _told(said, "connections.broken.kind", "'htp' is not a kind", "did you mean http?")
    _told(said, "connections.worse.base_url", "http://host:port")
    _told(said, "connections.worse.timout", "did you mean timeout?")
    _told(said, "nobody is called bobb", "did you mean bob?")
    _told(said, "no role onkall", "did you mean oncall?")
    _told(said, "resolved_debounce", "duration")


@pytest.mark.parametrize("blank", ["", "   ", "\n"], ids=repr)
async def test_a_blank_secret_is_refused_by_its_name(folder: Folder, blank: str) -> None:
    folder.environment["HOOK_TOKEN"] = blank
    _told(await folder.serve(), "HOOK_TOKEN is blank", "export HOOK_TOKEN")
    folder.environment["HOOK_TOKEN"] = "well"
    (folder.path / "secret").write_text(blank)
    folder.config["hooks"]["alertmanager"]["bearer"] = "${file:secret}"
    _told(await folder.serve(), "secret is blank", "write the secret into it")


async def test_two_errors_in_two_policies_are_told_together(folder: Folder) -> None:
    wrong = pausing("one")
    wrong["steps"]["pause"]["via"] = "loyalty_apu"
    wrong["diagnose"]["campaign"]["use"] = "http.gett"
    folder.policy("one", text(wrong))
    worse = pausing("two")
    worse["decide"][0]["when"] = "campaign.json.status !== 1"
    worse["steps"]["pause"].pop("gate")
    folder.policy("two", text(worse))
    folder.policy("three", "policy: three\nmatch: [\n")
    said = await folder.serve()
    _told(said, "one.yaml", "loyalty_apu", "did you mean loyalty_api?")
    _told(said, "one.yaml", "http.gett", "did you mean http.get?")
    _told(said, "two.yaml", "write == to compare")
    _told(said, "three.yaml")
    folder.policy("two", text(worse | {"decide": [{"do": ["pause"]}]}))
    _told(await folder.serve(), "two.yaml", "gate")


async def test_a_config_that_is_missing_or_no_map_or_no_yaml_is_told_plainly(folder: Folder) -> None:
    for words, expected in (
        ("- a\n- b\n", "not one YAML map"),
        ("listen: [", ""),
        ("\x00", ""),
        ("a: 1\na: 2\n", ""),
    ):
        said = await folder.serve(words)
        assert "remediator.yaml" in said.err
        assert expected in said.err
    (folder.path / "remediator.yaml").unlink()
    said = await terminal("serve", cwd=folder.path)
    assert (said.status, "cannot be read" in said.err, "--config" in said.err) == (2, True, True), said


async def test_a_folder_of_policies_that_is_missing_is_told(folder: Folder) -> None:
    folder.config["policies"] = "nowhere"
    said = await folder.serve()
    assert "nowhere" in said.err
    assert "no such folder" in said.err


async def test_a_store_that_cannot_be_is_told(folder: Folder) -> None:
    folder.config["store"] = "sqlite:////nowhere/at/all/state.db"
    assert "/nowhere/at/all" in (await folder.serve()).err
    (folder.path / "state.db").write_bytes(b"this is no database, and never was one" * 100)
    folder.config["store"] = "sqlite:state.db"
    assert "state.db" in (await folder.serve()).err
    folder.config["store"] = "mysql://nope"
    _told(await folder.serve(), "store", "sqlite:///")


async def test_a_store_of_a_newer_version_is_left_as_it_is(folder: Folder) -> None:
    store = SqliteStore(folder.path / "state.db", SystemClock())
    await store.open()
    await store.close()
    with contextlib.closing(sqlite3.connect(folder.path / "state.db")) as file, file:
        file.execute("UPDATE meta SET value = value + 1 WHERE key = 'schema'")
    said = await folder.serve()
    for words in ("state.db: has schema version", "this program knows", "install the newer version again"):
        assert words in said.err


async def test_a_port_in_use_is_told(folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", folder.port))
        taken.listen()
        (folder.path / "remediator.yaml").write_text(json.dumps(folder.config))
        said = await terminal("serve", cwd=folder.path, **folder.environment)
    assert said.status == 2, said
    assert "Traceback" not in said.err
    assert f"127.0.0.1:{folder.port}" in said.err
    assert "another `listen:`" in said.err


async def test_a_store_that_another_daemon_uses_is_left_alone(
    folder: Folder, one_world: LoyaltyWorld, one_slack: FakeSlack
) -> None:
    with stage(one_world, one_slack, pausing()) as play:
        folder.config["store"] = f"sqlite:///{play.daemon.folder}/state.db"
        said = await folder.serve()
        assert "in use by another daemon" in said.err
        assert play.daemon.child is not None
        assert f"process {play.daemon.child.pid}" in said.err
        campaign = await play.campaign()
        await play.asked("pause-campaign", campaign)
