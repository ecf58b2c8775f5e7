"""Whatever is posted: one of six answers, bounded memory, a loop that never stalls, nothing half-stored."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from remediator.ports import Received
from remediator.store import open_store
from tests.hostile.bodies import MEGABYTE, Knock, knocks
from tests.intake.samples import an_alert, webhook
from tests.store.samples import HandClock

pytestmark = pytest.mark.no_cover

TOKEN = "honest-sender"
MAX_BODY = 32 * MEGABYTE
ANSWERS = {200, 400, 401, 413, 415, 503}
STALL_MS = 250
MEMORY_MB = 400


@dataclass
class Door:
    port: int
    url: str
    process: subprocess.Popen[str]

    def knock(self, knock: Knock) -> tuple[int, Any]:
        """Status and answer. A server that answers early may close before all is sent."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        headers |= knock.headers
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.putrequest("POST", "/hooks/alertmanager", skip_accept_encoding=True)
            for name, value in headers.items():
                if value:
                    client.putheader(name, value.encode())
            client.putheader("Content-Length", str(len(knock.body)))
            client.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.send(knock.body)  # it may answer and close before it has all: the answer counts
            response = client.getresponse()
            return response.status, json.loads(response.read())
        finally:
            client.close()

    def health(self) -> dict[str, float]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("GET", "/health")
        answer: dict[str, float] = json.loads(client.getresponse().read())
        client.close()
        return answer

    async def inbox(self) -> list[Received]:
        """What was stored; the door is closed for good."""
        self.process.terminate()
        self.process.wait(10)
        store = open_store(self.url, HandClock())
        await store.open()
        kept = await store.read(lambda tx: tx.inbox(1_000_000))
        await store.close()
        return kept


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    url = f"sqlite:///{tmp_path}/state.db"
    command = [sys.executable, "-m", "tests.hostile.door", url, TOKEN, str(MAX_BODY)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    door = Door(int(process.stdout.readline()), url, process)
    yield door
    process.kill()
    process.wait()
    process.stdout.close()


async def test_no_payload_gets_past_the_door(door: Door) -> None:
    accepted = 0
    stalls: dict[str, float] = {}
    count = 0
    door.health()
    for knock in knocks(MAX_BODY, TOKEN):
        count += 1
        status, answer = door.knock(knock)
        assert status in ANSWERS, f"{knock.name}: {status}"
        assert len(json.dumps(answer)) < 20_000, knock.name
        accepted += answer["accepted"] if status == 200 else 0
        stall, again = door.health()["stall_ms"], 5
        while stall >= STALL_MS and again:  # the machine's doing, unless it is so each time
            accepted += door.knock(knock)[1].get("accepted", 0)
            stall, again = door.health()["stall_ms"], again - 1
        if stall >= STALL_MS:
            stalls[knock.name] = stall
    assert count >= 300
    assert not stalls, f"the loop stood still (ms): {stalls}"
    assert door.health()["peak_mb"] < MEMORY_MB
    status, answer = door.knock(Knock("an honest one", webhook(an_alert("last"))))
    assert (status, answer["accepted"]) == (200, 1)
    kept = await door.inbox()
    assert sum(len(row.delivery.alerts) for row in kept) == accepted + 1
    for row in kept:
        for alert in row.delivery.alerts:
            texts = [*alert.labels, *alert.labels.values(), alert.fingerprint, alert.generator_url]
            assert alert.labels
            assert not any("\0" in text for text in texts)
            assert alert.starts_at.utcoffset() is not None
            "".join(texts).encode()  # no half characters


async def test_a_good_alert_survives_every_bad_sibling(door: Door) -> None:
    for knock in knocks(MAX_BODY, TOKEN):
        if b'"pod": "good"' in knock.body and not knock.headers:
            status, answer = door.knock(knock)
            if status == 400:  # only what is no JSON at all may take its siblings along
                with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
                    json.loads(knock.body, parse_constant=lambda name: float("not " + name))
            else:
                assert (status, answer["accepted"] >= 1) == (200, True), knock.name


async def test_many_large_payloads_at_once_wait_for_each_other(door: Door) -> None:
    large = [*islice((one for one in knocks(MAX_BODY, TOKEN) if len(one.body) > MAX_BODY - MEGABYTE), 4)]
    answers = await asyncio.gather(*(asyncio.to_thread(door.knock, knock) for knock in large * 4))
    assert {status for status, _ in answers} <= ANSWERS
    assert door.health()["peak_mb"] < MEMORY_MB
