"""The fake Docker engine as its own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.rig.certificates import certificate
from tests.rig.processes import Child, Program, free_port, python_module, scratch, start


@dataclass
class FakeDocker:
    """A running fake; the real client is pointed to its socket."""

    child: Child
    socket: Path
    secure_port: int
    certificate: Path
    """Of the engine and of its clients: certificate and key in one file."""

    async def reset(self) -> None:
        """No containers, a good mood."""
        await self._post("reset")

    async def put(self, name: str, **state: object) -> None:
        """A running container, made anew where there is one of the name."""
        await self._post("put", name=name, **state)

    async def mood(self, mood: str, *verbs: str, **settings: object) -> None:
        """See ``tests.fakes.moods.Mood``; verbs are methods in small letters."""
        await self._post("mood", mood=mood, verbs=list(verbs), **settings)

    async def stubborn(self, name: str) -> None:
        """It cannot be started again."""
        await self._post("stubborn", name=name)

    async def containers(self) -> dict[str, dict[str, Any]]:
        """Them by name, as the engine describes them."""
        return dict(await self._get("containers"))

    async def restarts(self) -> list[dict[str, Any]]:
        """Recorded requests that would change something."""
        return [one for one in await self._get("requests") if one["method"] != "GET"]

    async def _get(self, what: str) -> Any:
        url = f"{self.child.url}/_control/{what}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.json()

    async def _post(self, what: str, **given: object) -> None:
        url = f"{self.child.url}/_control/{what}"
        async with aiohttp.ClientSession() as session, session.post(url, json=given) as answer:
            assert answer.status == 200, await answer.text()


@contextmanager
def running() -> Iterator[FakeDocker]:
    """Start one, and end it."""
    with scratch("docker") as folder:
        socket, port = folder / "docker.sock", free_port()
        cert, key = certificate(folder)
        both = folder / "both.pem"
        both.write_text(Path(cert).read_text() + Path(key).read_text())
        tls = ["--tls", str(port), cert, key]
        program = Program(
            "docker",
            lambda own: python_module(
                "tests.fakes.docker", "--port", str(own), "--socket", str(socket), *tls
            ),
        )
        with start(program, folder) as child:
            yield FakeDocker(child, socket, port, both)
