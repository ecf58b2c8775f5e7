"""What the config declares, by a real daemon: a Redis is flushed and a worker restarted, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.rig.daemon import Daemon, alert, daemon, settings, webhook
from tests.rig.redis import line, raw, running_redis
from tests.rig.room import until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("redis"),
]

POLICY = """
policy: {name}
summary: The cache serves nothing and its worker hangs
mode: act
match: ['{{alertname="{name}"}}']
params:
  worker: {{from: labels.worker, pattern: '[a-z0-9 ;$()-]{{1,64}}'}}
target: worker/${{worker}}
bounds: {{per_target: 3 in 24h}}
diagnose:
  cache: {{use: redis.info, via: cache}}
  pending: {{use: redis.read, via: cache, with: {{command: LLEN, key: 'queues:${{worker}}'}}}}
  status: {{use: command.read, via: host, with: {{command: status}}}}
decide:
  - when: cache.role == "master" && pending.value == 2 && status.json.up
    do: [{steps}]
steps:
  flush:
    use: redis.command
    via: {cache}
    with: {{command: flush-cache}}
    gate: {{waived: the cache fills itself}}
    verify:
      use: redis.read
      via: cache
      with: {{command: EXISTS, key: cache:old}}
      until: verify.value == 0
    undo: {{none: the cache fills itself}}
  restart:
    use: command.run
    via: host
    with: {{command: restart, slots: {{worker: '${{worker}}'}}}}
    gate: {{waived: a restart loses nothing}}
    verify: {{use: command.read, via: host, with: {{command: starts}}, until: 'size(verify.lines) == 1'}}
    undo: {{none: a restart is one}}
"""
PROGRAM = """#!/bin/sh
case "$1" in
status) echo '{"up": true}' ;;
starts) [ ! -f LEDGER ] || cat LEDGER ;;
restart) shift; echo "$#:$*" >>LEDGER; [ "$1" != slow ] || sleep 60 ;;
esac
"""
PATHS = {"PATH": "/usr/bin:/bin"}


@dataclass
class Play:
    daemon: Daemon
    redis: int
    ledger: Path

    async def fire(self, policy: str, worker: str) -> None:
        raw(self.redis, "RPUSH", f"queues:{worker}", "a", "b")
        assert await self.daemon.webhook(webhook(alert(alertname=policy, worker=worker))) == 200

    async def begun(self) -> bool:
        return bool(self.starts) and raw(self.redis, "EXISTS", "cache:old") == ":0\r\n"

    @property
    def starts(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Play]:
    tmp_path = tmp_path_factory.mktemp("declared")
    program, ledger = tmp_path / "program", tmp_path / "ledger"
    program.write_text(PROGRAM.replace("LEDGER", str(ledger)))
    program.chmod(0o755)
    worker = {"slot": "worker", "pattern": "[a-z0-9-]{1,64}"}
    commands = {
        "status": {"argv": [str(program), "status"], "reads": True},
        "starts": {"argv": [str(program), "starts"], "reads": True, "env": PATHS},
        "restart": {"argv": [str(program), "restart", worker], "env": PATHS},
    }
    with running_redis() as server:
        async with line(server.port, "passes on and hangs") as broken:
            cache = {
                "kind": "redis",
                "keys": ["queues:*", "cache:*"],
                "commands": {"flush-cache": {"argv": ["DEL", "cache:old", "ledger"]}},
            }
            connections = {
                "cache": {**cache, "url": f"redis://127.0.0.1:{server.port}"},
                "broken_cache": {**cache, "url": f"redis://127.0.0.1:{broken.port}"},
                "host": {"kind": "command", "commands": commands},
            }
            policies = {
                "both": POLICY.format(name="both", steps="restart, flush", cache="cache"),
                "lost": POLICY.format(name="lost", steps="flush", cache="broken_cache"),
                "slow": POLICY.format(name="slow", steps="restart", cache="cache"),
            }
            config = settings(world="http://127.0.0.1:9", connections=connections)
            with daemon(config, policies) as one:
                yield Play(one, server.port, ledger)


@pytest.fixture
def play(shared: Play) -> Play:
    raw(shared.redis, "FLUSHALL")
    raw(shared.redis, "SET", "cache:old", "1")
    shared.ledger.unlink(missing_ok=True)
    return shared


async def test_both_are_done_once_and_proved_and_a_hostile_label_is_one_word_or_nothing(play: Play) -> None:
    await play.fire("both", "email")
    run = await play.daemon.wait_outcome("fixed", policy="both")
    assert play.starts == ["1:email"]
    assert raw(play.redis, "EXISTS", "cache:old") == ":0\r\n"
    did = (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["steps"]
    assert did["flush"]["result"] == {"reply": 1} and did["restart"]["result"]["exit"] == 0
    await play.fire("both", "a b; $(id)")
    run = await play.daemon.wait_outcome("failed", policy="both")
    assert "never started: worker: 'a b; $(id)' does not fit" in run["reason"]
    assert play.starts == ["1:email"]


async def test_a_daemon_that_is_killed_meanwhile_does_neither_twice(play: Play) -> None:
    await play.fire("lost", "cron")
    await play.fire("slow", "slow")
    await until(play.begun, "neither was begun")
    raw(play.redis, "SET", "ledger", "whoever flushes again takes this along")
    assert play.daemon.child is not None
    play.daemon.child.kill()
    await asyncio.to_thread(play.daemon.start)
    lost = await play.daemon.wait_outcome("fixed", policy="lost")
    slow = await play.daemon.wait_outcome("fixed", policy="slow")
    assert "found-out" in await play.daemon.kinds(lost["id"])
    assert "unknown" in await play.daemon.kinds(slow["id"])
    assert play.starts == ["1:slow"]
    assert raw(play.redis, "EXISTS", "ledger") == ":1\r\n"
