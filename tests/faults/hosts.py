"""A host of a test's own on this machine: a network namespace with two cables, either of which can be cut.

One leads to the database, the other to everything else. A cable that is cut swallows what is sent: nobody
is told that a connection has ended, as when a switch dies.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.rig.components import program


class NotAllowedError(Exception):
    """This machine lets nobody make hosts."""


@dataclass(frozen=True)
class Cable:
    """From this machine to a host. Addresses are of a network that has these two only."""

    name: str
    here: str
    there: str

    def cut(self) -> None:
        """From now on it swallows everything."""
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        """As before."""
        _ip("link", "set", self.name, "up")


@dataclass(frozen=True)
class Host:
    """A host."""

    name: str
    database: Cable
    world: Cable

    @property
    def by(self) -> tuple[str, ...]:
        """The words that run a command there."""
        return program("ip"), "netns", "exec", self.name


@contextmanager
def another_host() -> Iterator[Host]:
    """One, for as long as the context lasts.

    Raises:
        NotAllowedError: who runs the tests may make none.
    """
    number = os.getpid() % 16384  # two networks of four addresses each, under 10.213
    name = f"remediator-{number}"
    cables = [_cable(f"rem{number}{end}", 2 * number + side) for side, end in enumerate(("d", "w"))]
    try:
        _ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        raise NotAllowedError(error.stderr.strip()) from None
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        for one in cables:
            far = f"{one.name}x"
            _ip("link", "add", one.name, "type", "veth", "peer", "name", far, "netns", name)
            _ip("addr", "add", f"{one.here}/30", "dev", one.name)
            _ip("-n", name, "addr", "add", f"{one.there}/30", "dev", far)
            _ip("link", "set", one.name, "up")
            _ip("-n", name, "link", "set", far, "up")
        yield Host(name, *cables)
    finally:
        for one in cables:
            subprocess.run([program("ip"), "link", "del", one.name], capture_output=True, check=False)
        _ip("netns", "del", name)


def _cable(name: str, network: int) -> Cable:
    high, low = divmod(4 * network, 256)
    return Cable(name, *(f"10.{213 + high // 256}.{high % 256}.{low + one}" for one in (1, 2)))


def _ip(*words: str) -> None:
    subprocess.run([program("ip"), *words], capture_output=True, text=True, check=True)
