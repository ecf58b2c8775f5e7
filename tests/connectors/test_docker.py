"""Docker through the real client library, against an engine that writes down what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from remediator.connectors import docker as module
from remediator.connectors.docker import INSPECT, RESTART, Docker, DockerSettings
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.rig.docker import FakeDocker, running


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDocker]:
    with running() as made:
        yield made


@pytest.fixture
async def engine(fake: FakeDocker) -> FakeDocker:
    await fake.reset()
    await fake.put("horizon")
    return fake


def connector(engine: FakeDocker, **more: Any) -> Docker:
    given = {"host": f"unix://{engine.socket}", "containers": ["horizon", "gone"], **more}
    return Docker(DockerSettings.model_validate(given))


def call(container: Any = "horizon", operation: str = RESTART.name) -> Call:
    return Call(operation, "engine", {"container": container})


class Marks(list[dict[str, Any]]):
    async def keep(self, about: dict[str, Any]) -> str:
        self.append(about)
        return ""


async def restart(
    there: Docker, container: str = "horizon", *, shown: Picture | None = None
) -> tuple[Result, Marks]:
    marks = Marks()
    result = await there.act(call(container), order=Order("run-1/step", shown, marks.keep), timeout=5)
    return result, marks


async def test_a_container_is_read_without_its_environment(engine: FakeDocker) -> None:
    read = await connector(engine).read(call(operation=INSPECT.name), timeout=5)
    assert read["State"]["Running"] is True
    assert read["Config"]["Env"] == ["DB_PASSWORD=[hidden]", "EMPTY=[hidden]"]
    assert "canary" not in str(read)


@pytest.mark.parametrize("name", ["other", "../horizon", "horizon/json?x=", "", None, 7])
async def test_a_container_that_is_not_listed_is_never_asked_for(engine: FakeDocker, name: Any) -> None:
    there = connector(engine)
    with pytest.raises(ConnectorError, match="the connection lists no container"):
        await there.read(call(name, INSPECT.name), timeout=5)
    result = await there.act(call(name), order=Order("k", mark=Marks().keep), timeout=5)
    assert isinstance(result, Refused) and "; it lists " in result.reason
    assert await engine._get("requests") == []


async def test_what_is_not_there_is_told(engine: FakeDocker) -> None:
    with pytest.raises(ConnectorError, match="engine: there is no container gone"):
        await connector(engine).read(call("gone", INSPECT.name), timeout=5)
    with pytest.raises(ConnectorError, match=r"1\.40 is too old"):
        await connector(engine, api_version="1.40").read(call(operation=INSPECT.name), timeout=5)


async def test_a_restart_is_shown_and_done_by_one_request(engine: FakeDocker) -> None:
    there = connector(engine, stop_timeout="20s")
    picture = await there.preview(call(), timeout=5)
    assert picture.text == "restarts container horizon: 20 s to stop, then it is killed"
    assert await engine.restarts() == []
    result, marks = await restart(there, shown=picture)
    assert isinstance(result, Done)
    (sent,) = await engine.restarts()
    assert sent["query"] == {"t": "20"}
    assert sent["path"].endswith(f"/containers/{marks[0]['id']}/restart")
    late, _ = await restart(there, shown=picture)
    assert late == Refused("never sent: container horizon is no longer as it was approved")
    assert len(await engine.restarts()) == 1


MISBEHAVIOURS: dict[str, tuple[dict[str, Any], type[Result]]] = {
    "reads and closes": ({"mood": "close"}, Unknown),
    "does it and closes": ({"mood": "close", "applied": True}, Unknown),
    "does it and resets": ({"mood": "reset", "applied": True}, Unknown),
    "reads and hangs": ({"mood": "hang"}, Unknown),
    "answers garbage": ({"mood": "garbage"}, Unknown),
    "answers 500": ({"mood": "status", "status": 500}, Unknown),
    "answers 409": ({"mood": "status", "status": 409}, Refused),
}


@pytest.mark.parametrize("does", MISBEHAVIOURS)
async def test_a_misbehaving_engine_hears_one_request_and_is_asked_what_came_of_it(
    engine: FakeDocker, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    mood, outcome = MISBEHAVIOURS[does]
    if mood["mood"] == "hang":
        monkeypatch.setattr(module, "STARTING", -0.5)
    there = connector(engine, stop_timeout="1s")
    await engine._post("mood", verbs=["post"], **mood)
    result, marks = await restart(there)
    assert [len(await engine.restarts()), type(result)] == [1, outcome], result
    if outcome is Unknown:
        happened = mood.get("applied", False)
        if not happened and mood["mood"] != "hang":
            assert await there.inquire(call(), marks[0], timeout=5) is None
        monkeypatch.setattr(module, "STARTING", -10)
        became = await there.inquire(call(), marks[0], timeout=5)
        assert isinstance(became, Done if happened else Refused), became


async def test_a_container_that_stopped_and_did_not_start_is_left_to_a_person(
    engine: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.stubborn("horizon")
    there = connector(engine)
    result, marks = await restart(there)
    assert isinstance(result, Unknown)
    assert "Cannot restart container" in result.reason
    monkeypatch.setattr(module, "STARTING", -60)
    assert await there.inquire(call(), marks[0], timeout=5) == Unknown(
        "the container is exited, and was not started"
    )
    await engine.put("horizon")
    made_anew = await there.inquire(call(), marks[0], timeout=5)
    assert made_anew == Unknown("the container was made anew since")


async def test_what_is_never_sent_is_told(engine: FakeDocker, tmp_path: Path) -> None:
    nowhere = connector(engine, host=f"unix://{tmp_path}/none.sock")
    with pytest.raises(ConnectorError, match=r"Cannot connect .*does its host lead to a Docker engine"):
        await nowhere.read(call(operation=INSPECT.name), timeout=5)
    marks = Marks()
    order = Order("k", mark=marks.keep, late=lambda: "this replica's lease was over")
    result = await connector(engine).act(call(), order=order, timeout=5)
    assert result == Refused("never sent: this replica's lease was over")
    assert await engine.restarts() == []
    assert isinstance(await connector(engine).act(call(), order=Order("k"), timeout=5), Refused)


async def test_an_engine_is_reached_by_tls_with_a_client_certificate(engine: FakeDocker) -> None:
    host = f"https://127.0.0.1:{engine.secure_port}"
    secure = {"host": host, "client_certificate": str(engine.certificate)}
    there = connector(engine, **secure, ca=str(engine.certificate))
    result, _ = await restart(there)
    assert isinstance(result, Done)
    assert len(await engine.restarts()) == 1
    with pytest.raises(ConnectorError, match="certificate verify failed"):
        await connector(engine, **secure).read(call(operation=INSPECT.name), timeout=5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"host": "tcp://host:2375"}, "without TLS anybody is root there"),
        ({"host": "http://host:2375"}, "without TLS anybody is root there"),
        ({"host": "https://host:2376/path"}, "without TLS anybody is root there"),
        ({"host": "https://host:2376"}, "asks for a client_certificate"),
        (
            {"host": "https://host:2376", "client_certificate": "/none.pem"},
            "client_certificate: cannot be read",
        ),
        ({"containers": ["a/b"]}, "'a/b' cannot be the name of a container"),
    ],
)
def test_settings_that_cannot_be_are_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DockerSettings.model_validate({"containers": [], **given})
