"""The pack finaegis on a cluster of our own with its releases, real metrics, and commands written down."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.packs.room import PackRoom, example, room, watched
from tests.rig.kubernetes import SETTLE, FakeKubernetes, putting, running, workload
from tests.rig.processes import free_port
from tests.rig.room import until
from tests.rig.slack import running_slack
from tests.worlds.service import Service, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("prometheus", "alertmanager"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "finaegis"
TIMES = {"cooldown": "90s", "after": "3s", "within": "10s", "range": "3s"}
PROGRAM = """#!/bin/sh
cd {folder}
case "$*" in
  *about*) echo '{{"environment": {{"maintenance_mode": false}}}}' ;;
  *horizon:status*)
    if [ -e paused ]; then echo '{{"status": "running", "paused": ["default"]}}'
    else echo '{{"status": "running", "paused": []}}'; fi ;;
  *event-sourcing:errors*) echo '[]' ;;
  *pause-queue*) touch paused; printf '%s\\n' "$*" >> ledger ;;
  *continue-queue*) rm -f paused; printf '%s\\n' "$*" >> ledger ;;
  *) printf '%s\\n' "$*" >> ledger ;;
esac
"""


@dataclass
class Place:
    """The platform: its cluster, its figures, its commands; and the daemon with its people."""

    kube: FakeKubernetes
    folder: Path
    room: PackRoom
    metrics: Service
    errors: list[float] = field(default_factory=lambda: [0.0])

    @property
    def ran(self) -> list[str]:
        """The commands that changed something."""
        return (self.folder / "ledger").read_text().splitlines()

    async def spec(self, name: str) -> dict[str, Any]:
        found = await self.kube.object("Deployment", name, "finaegis")
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec

    async def image(self) -> str:
        return str((await self.spec("finaegis-app"))["template"]["spec"]["containers"][0]["image"])

    async def tick(self) -> None:
        """Its counters grow, by the share of errors."""
        fine = wrong = 1000.0
        while True:
            wrong, fine = wrong + 10 * self.errors[0], fine + 10 * (1 - self.errors[0])
            self.metrics.gauge("http_requests_total", wrong, status="503")
            self.metrics.gauge("http_requests_total", fine, status="200")
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = Path(tmp_path_factory.mktemp("finaegis"))
    (folder / "ledger").touch()
    program = folder / "program"
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(stat.S_IRWXU)
    declared = yaml.safe_load(example(SYSTEM).read_text())["connections"]["app_host"]["commands"]
    commands = {
        name: one | {"argv": [str(program), *one["argv"][1:]], "cwd": str(folder)}
        for name, one in declared.items()
    }
    metrics, port = Service(), free_port()
    async with metrics.serve():
        with (
            running() as kube,
            watched(
                SYSTEM, {"finaegis": metrics.url, "finaegis-http": metrics.url}, port, **TIMES
            ) as prometheus,
            running_slack() as slack,
        ):
            for image in ("finaegis:1", "finaegis:2"):
                app = workload("finaegis-app", namespace="finaegis", image=image)
                await kube.do(putting(app), SETTLE)
            await kube.put(workload("finaegis-horizon", namespace="finaegis", replicas=2))
            connections: dict[str, dict[str, Any]] = {
                "prometheus": {"url": prometheus.url},
                "cluster": {"kubeconfig": str(kube.kubeconfig())},
                "app_host": {"commands": commands},
            }
            with room(
                SYSTEM,
                slack,
                connections,
                times=TIMES,
                port=port,
                MAINTENANCE_BYPASS="canary-bypass",
                FINAEGIS_DB_PASSWORD="canary-db",
            ) as one:
                here = Place(kube, folder, one, metrics)
                ticking = asyncio.create_task(here.tick())
                yield here
                ticking.cancel()


async def test_a_bad_release_is_rolled_back_to_the_revision_that_people_saw(place: Place) -> None:
    """From the counters on, by Prometheus and Alertmanager."""
    replicaset = {"namespace": "finaegis", "replicaset": "finaegis-app-2"}
    place.metrics.gauge("kube_replicaset_spec_replicas", 3, **replicaset)
    place.metrics.gauge("kube_replicaset_created", time.time() - 600, **replicaset)
    place.errors[0] = 0.2
    run = await place.room.run("finaegis-bad-release", "service/finaegis-app", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "from revision 2 to 1", "finaegis:1")
    assert await place.image() == "finaegis:2"
    await place.room.agreed(f"{run['id']}.1", "bob")

    async def rolled_back() -> bool:
        return await place.image() == "finaegis:1"

    await until(rolled_back, "it was not rolled back", within=60)
    place.errors[0] = 0.0
    await place.room.run("finaegis-bad-release", "service/finaegis-app", outcome="fixed")
    assert await place.image() == "finaegis:1"


async def test_more_workers_do_not_help_so_the_one_queue_is_paused_and_continued(place: Place) -> None:
    place.metrics.gauge("finaegis_queue_length", 7200, queue="default")
    run = await place.room.run("finaegis-queue-backlog", "workers/horizon", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "horizon:pause-queue default", within=40)
    assert (await place.spec("finaegis-horizon"))["replicas"] == 2  # given back
    scaled = [one["body"]["spec"] for one in await place.kube.changes() if "/scale" in one["path"]]
    assert scaled == [{"replicas": 5}, {"replicas": 2}]
    await place.room.agreed(f"{run['id']}.2", "bob")
    await eventually(lambda: any("pause-queue" in line for line in place.ran), "it was not paused")
    place.metrics.gauge("finaegis_queue_length", 12, queue="default")
    await place.room.run("finaegis-queue-backlog", "workers/horizon", outcome="fixed")
    assert [line for line in place.ran if "-queue" in line] == [
        "artisan horizon:pause-queue default",
        "artisan horizon:continue-queue default",
    ]


async def test_one_projector_is_replayed_and_no_other(place: Place) -> None:
    place.metrics.gauge("finaegis_projection_lag_events", 5000, projector="AccountBalanceProjector")
    target = "projection/AccountBalanceProjector"
    run = await place.room.run("finaegis-projection-lag", target, stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "amina", "bob")
    await eventually(lambda: any(":replay" in line for line in place.ran), "it was not replayed")
    place.metrics.gauge("finaegis_projection_lag_events", 0, projector="AccountBalanceProjector")
    await place.room.run("finaegis-projection-lag", target, outcome="fixed")
    assert [line for line in place.ran if ":replay" in line] == [
        r"artisan event-sourcing:replay App\Domain\Account\Projectors\AccountBalanceProjector"
    ]


async def test_the_platform_closes_for_its_time_and_opens_by_itself(place: Place) -> None:
    place.metrics.gauge("probe_http_status_code", 200)
    place.metrics.gauge("finaegis_maintenance_asked", 1)
    run = await place.room.run("finaegis-maintenance", "service/finaegis", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "amina", "bob")
    await eventually(lambda: any("down" in line for line in place.ran), "it was not closed")
    place.metrics.gauge("finaegis_maintenance_asked", 0)
    place.metrics.gauge("probe_http_status_code", 503)
    await eventually(lambda: place.ran[-1] == "artisan up", "it was not opened")
    place.metrics.gauge("probe_http_status_code", 200)
    await place.room.run("finaegis-maintenance", "service/finaegis", outcome="fixed")
    assert "artisan down --secret=canary-bypass --render=errors::503" in place.ran
    assert "canary" not in str(await place.room.daemon.journal(run["id"]))


async def test_a_queue_that_would_be_a_command_is_refused(place: Place) -> None:
    hostile = "default; php artisan queue:flush"
    await place.room.fire("FinaegisQueueBacklog", queue=hostile)
    said = await place.room.refused("finaegis-queue-backlog", "FinaegisQueueBacklog", queue=hostile)
    assert "queue" in said["reason"]
