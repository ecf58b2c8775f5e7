"""A MariaDB and an Alertmanager, by a real daemon: a job is retried once, a storm is silenced for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.connectors.mysqlproxy import Line, line
from tests.rig.alertmanager import Alertmanager, running_alertmanager
from tests.rig.daemon import Daemon, alert, daemon, settings, webhook
from tests.rig.mariadb import LOGIN, PASSWORD, MariaDB
from tests.rig.room import until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("mariadb", "alertmanager"),
]

RETRY = """
policy: {name}
summary: A job has failed
mode: act
match: ['{{alertname="{name}"}}']
params:
  worker: {{from: labels.worker, pattern: '[a-z0-9 ;=\\-]{{1,64}}'}}
target: worker/${{worker}}
bounds: {{per_target: 3 in 24h}}
diagnose:
  job: {{use: mysql.query, via: shop_db, with: {{statement: job, slots: {{job: '${{worker}}'}}}}}}
decide:
  - when: job.count == 1
    do: [retry]
steps:
  retry:
    use: mysql.execute
    via: {via}
    with: {{statement: retry, slots: {{job: '${{worker}}', fee: '${{job.row.fee}}'}}}}
    rows: 1
    gate: {{waived: a retry loses nothing}}
    verify:
      use: mysql.query
      via: shop_db
      with: {{statement: job, slots: {{job: '${{worker}}'}}}}
      until: verify.row.tries == before.row.tries + 1 || verify.row.tries == 1
    undo: {{none: it was to be done anyway}}
"""
QUIET = """
policy: quiet
summary: A storm of alerts about one worker
mode: act
match: ['{alertname="quiet"}']
params:
  worker: {from: labels.worker, pattern: '[a-z]{1,64}'}
target: worker/${worker}
bounds: {per_target: 3 in 24h}
decide:
  - do: [silence]
steps:
  silence:
    use: alertmanager.silence
    via: alerts
    with: {matchers: {alertname: noise, worker: '${worker}'}, for: 1h}
    gate: {waived: it ends by itself}
    verify: {none: Alertmanager says so itself}
    undo: {how: restore, after: 1s}
"""
STATEMENTS = {
    "job": {
        "sql": "SELECT id, tries, fee FROM jobs WHERE id = :job",
        "slots": {"job": {"pattern": "(?s).{1,64}"}},
    },
    "retry": {
        "sql": "UPDATE jobs SET tries = tries + 1 WHERE id = :job AND fee = :fee",
        "slots": {"job": {"pattern": "[a-z-]{1,64}"}, "fee": {"type": "number"}},
    },
}


@dataclass
class Play:
    daemon: Daemon
    mariadb: MariaDB
    database: str
    broken: Line
    alerts: Alertmanager

    async def fire(self, policy: str, worker: str) -> None:
        assert await self.daemon.webhook(webhook(alert(alertname=policy, worker=worker))) == 200

    def tries(self) -> dict[str, int]:
        return dict(self.mariadb.run("SELECT id, tries FROM jobs", database=self.database))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def play(mariadb: MariaDB) -> AsyncIterator[Play]:
    database = mariadb.fresh(
        "CREATE TABLE jobs (id VARCHAR(64) PRIMARY KEY, tries INT NOT NULL, fee DECIMAL(8,4)) ENGINE=InnoDB",
        "INSERT INTO jobs VALUES ('mail', 0, 0.07), ('cron', 0, 0.07), ('a; drop table jobs', 0, 0.07)",
        "CREATE TABLE marks (step VARCHAR(200) PRIMARY KEY, state VARCHAR(16) NOT NULL) ENGINE=InnoDB",
    )
    shop = {"kind": "mysql", "username": LOGIN, "password": "${env:SHOP_PASSWORD}", "marks": "marks"}
    with running_alertmanager("http://127.0.0.1:9/nowhere", "t") as alerts:
        async with line(mariadb.port, b"COMMIT", "passes on and hangs") as broken:
            connections = {
                name: {**shop, "url": f"mysql://127.0.0.1:{port}/{database}", "statements": STATEMENTS}
                for name, port in (("shop_db", mariadb.port), ("broken_db", broken.port))
            }
            connections["alerts"] = {"kind": "alertmanager", "url": alerts.url}
            policies = {
                "retry": RETRY.format(name="retry", via="shop_db"),
                "lost": RETRY.format(name="lost", via="broken_db"),
                "quiet": QUIET,
            }
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SHOP_PASSWORD", PASSWORD)
                with daemon(settings(world="http://127.0.0.1:9", connections=connections), policies) as one:
                    yield Play(one, mariadb, database, broken, alerts)


async def test_a_job_is_retried_once_and_a_hostile_label_stays_data(play: Play) -> None:
    await play.fire("retry", "mail")
    run = await play.daemon.wait_outcome("fixed", policy="retry")
    did = (await play.daemon.get(f"/api/v1/runs/{run['id']}"))["steps"]
    assert did["retry"]["result"] == {"rows": 1}
    await play.fire("retry", "a; drop table jobs")
    run = await play.daemon.wait_outcome("failed", policy="retry")
    assert "never sent: job: 'a; drop table jobs' does not fit" in run["reason"]
    assert play.tries() == {"mail": 1, "cron": 0, "a; drop table jobs": 0}


async def test_a_daemon_that_is_killed_at_commit_finds_out_and_does_it_once(play: Play) -> None:
    async def committed() -> bool:
        return bool(play.broken.heard) and play.tries()["cron"] == 1

    await play.fire("lost", "cron")
    await until(committed, "it was not committed")
    assert play.daemon.child is not None
    play.daemon.child.kill()
    await asyncio.to_thread(play.daemon.start)
    lost = await play.daemon.wait_outcome("fixed", policy="lost")
    assert "found-out" in await play.daemon.kinds(lost["id"])
    assert (play.tries()["cron"], play.broken.heard) == (1, [b"COMMIT"])


async def test_a_silence_stands_for_its_time_and_is_lifted(play: Play) -> None:
    await play.fire("quiet", "mail")
    run = await play.daemon.wait_outcome("fixed", policy="quiet")
    (silence,) = await play.alerts.silences()
    assert silence["status"]["state"] == "expired"
    assert f"step {run['id']}/silence; nobody was asked; mark " in silence["comment"]
    assert {one["name"]: one["value"] for one in silence["matchers"]} == {
        "alertname": "noise",
        "worker": "mail",
    }
