"""The disk under the store is full. What was answered 200 is kept; all else is answered 503."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.policies import UNATTENDED, pausing
from tests.e2e.stage import Stage, stage
from tests.rig.daemon import HOOK_TOKEN, alert, webhook
from tests.rig.room import until
from tests.rig.slack import FakeSlack
from tests.rig.world import LoyaltyWorld

pytestmark = [pytest.mark.e2e, pytest.mark.no_cover]

ACTS, ASKS = "act-now", "pause-campaign"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB, where this process may mount one."""
    disk, mount = tmp_path / "disk", shutil.which("mount")
    disk.mkdir()
    command = [mount or "", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a tmpfs here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def play(one_world: LoyaltyWorld, one_slack: FakeSlack, disk: Path) -> Iterator[Stage]:
    policies = [pausing(ACTS, gate=UNATTENDED), pausing(ASKS)]
    with stage(one_world, one_slack, *policies, store=f"sqlite:///{disk}/state.db") as one:
        yield one


def _fill(disk: Path) -> Path:
    """Not one byte is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 1024, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return ballast


async def _ready(play: Stage) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{play.daemon.url}/readyz") as answer:
        return answer.status == 200


async def _not_ready(play: Stage) -> bool:
    return not await _ready(play)


async def test_a_full_disk_is_told_loses_nothing_and_is_survived(play: Stage, disk: Path) -> None:
    waiting = await play.campaign()
    gate = str((await play.asked(ASKS, waiting))["gate"])
    await play.card(gate)
    ballast = _fill(disk)
    taken: dict[int, list[str]] = {200: [], 503: []}
    refused = 0
    for _ in range(300):
        campaign = await play.campaign()
        status = await _post(play, campaign)
        taken[status].append(campaign)
        refused = refused + 1 if status == 503 else 0
        if refused >= 10:
            break
    assert refused >= 10, "the disk never was full"
    await until(lambda: _not_ready(play), "it says that it is ready")
    status, answer = await play.vote(gate, "amina")
    assert status == 503, answer
    async with aiohttp.ClientSession() as session, session.get(f"{play.daemon.url}/healthz") as healthy:
        assert healthy.status == 200  # restarting it would not help
    ballast.unlink()
    await until(lambda: _ready(play), "it has not recovered")
    for campaign in taken[200]:
        await play.closed(campaign, "fixed")
        assert await play.calls(campaign) == 1
    last = taken[503][-1]
    assert await play.calls(last) == 0  # it was never taken
    assert await _post(play, last) == 200  # Alertmanager sends it again
    await play.closed(last, "fixed")
    for person in ("amina", "bob"):
        assert (await play.vote(gate, person))[0] == 200
    await play.closed(waiting, "fixed")
    said = await play.cli("audit", "verify", "--store", f"sqlite:///{disk}/state.db")
    assert said.status == 0, said


async def test_a_result_waits_until_it_can_be_stored(play: Stage, disk: Path) -> None:
    campaign = await play.campaign()
    await play.world.fault("delay", path=f"/api/campaigns/{campaign}/pause", seconds=1.0)
    await play.fire(ACTS, campaign)
    await until(lambda: play.calls(campaign), "the API was not called")
    ballast = _fill(disk)
    await asyncio.sleep(2.0)
    ballast.unlink()
    await play.closed(campaign, "fixed")
    assert await play.calls(campaign) == 1


async def _post(play: Stage, campaign: str) -> int:
    labels = {"alertname": ACTS, "campaign_id": campaign, "program_id": f"p-{campaign}", "pad": "x" * 2000}
    headers = {"Authorization": f"Bearer {HOOK_TOKEN}"}
    body = webhook(alert("firing", **labels))
    async with (
        aiohttp.ClientSession() as session,
        session.post(play.daemon.hook, json=body, headers=headers) as answer,
    ):
        return answer.status
