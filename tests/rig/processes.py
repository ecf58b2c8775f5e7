"""A child process on loopback: started on a free port, waited for, ended by its own id, its log kept."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.rig.forked import Forked, can_be
from tests.rig.patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]


class DidNotStartError(RuntimeError):
    """A child ended, or was not ready in time; the message holds the end of its log."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def python_module(module: str, *options: str) -> list[str]:
    """The command line that runs a module of this repository with this Python."""
    return [sys.executable, "-m", module, *options]


@contextmanager
def scratch(prefix: str, *, ours: bool = False) -> Iterator[Path]:
    """A temporary folder that an unprivileged child may use, or ``ours`` alone; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"remediator-{prefix}-"))
    try:
        if os.geteuid() == 0 and not ours:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Child:
    """One running process. ``url`` is where it listens; ``log`` is a file with all it printed."""

    name: str
    process: subprocess.Popen[bytes] | Forked
    port: int
    folder: Path
    log: Path
    host: str = "127.0.0.1"
    _ended: bool = field(default=False, repr=False)

    @property
    def url(self) -> str:
        """``http://HOST:PORT``, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def said(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()
        self._ended = True

    def freeze(self) -> None:
        """SIGSTOP: alive and silent."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after ``freeze``."""
        self.process.send_signal(signal.SIGCONT)

    def end(self, *, within: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after ``within`` seconds. Returns the exit status (negative: a signal)."""
        if not self._ended:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self._ended = True
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.end()
        if kind is not None:  # pytest shows what was printed while a test failed
            print(f"---- {self.name} said ----\n{self.said()[-8000:]}")


@dataclass(frozen=True)
class Program:
    """How to start a child. ``argv`` is asked again, with another port, if the first was taken."""

    name: str
    argv: Callable[[int], list[str]]
    ready: str = "/"
    """A path that answers below 500 once the child is ready."""
    is_ready: Callable[[int], bool] | None = None
    """Asked with the port instead, where the child does not speak HTTP; may raise OSError."""
    unprivileged: bool = False
    """Run as ``nobody`` when the tests run as root (the child then reaches only its folder)."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the test's own environment."""
    start_within: float = PATIENCE_S
    host: str = "127.0.0.1"


def start(program: Program, folder: Path, *, port: int | None = None) -> Child:
    """Start a child and wait until it is ready. End it with ``child.end()`` or as a context manager.

    Args:
        program: what to start.
        folder: its working folder (but see ``Program.unprivileged``); the log is written there.
        port: a fixed loopback port; a free one by default, tried again if it was taken meanwhile.

    Raises:
        DidNotStartError: it ended, or was not ready within ``start_within``.
    """
    attempts = 1 if port is not None else 3
    for attempt in range(1, attempts + 1):
        child = _spawn(program, folder, port if port is not None else free_port())
        try:
            _wait_until_ready(child, program)
        except DidNotStartError as error:
            child.end(within=1)
            if attempt < attempts and "address already in use" in str(error).lower():
                continue
            raise
        except BaseException:
            child.end(within=1)
            raise
        return child
    raise AssertionError


def _spawn(program: Program, folder: Path, port: int) -> Child:
    log = folder / f"{program.name}.log"
    as_nobody = program.unprivileged and os.geteuid() == 0
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **program.environment}
    match program.argv(port):
        case [sys.executable, "-m", "remediator", *words] if can_be(environment):
            with log.open("ab") as output:
                forked = Forked(words, cwd=REPOSITORY, env=environment, out=output, err=output)
            return Child(program.name, forked, port, folder, log, program.host)
        case argv:
            pass
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=folder if program.unprivileged else REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            user="nobody" if as_nobody else None,
            group="nogroup" if as_nobody else None,
            extra_groups=[] if as_nobody else None,
        )
    return Child(program.name, process, port, folder, log, program.host)


def _wait_until_ready(child: Child, program: Program) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + program.start_within
    while time.monotonic() < give_up:
        if child.process.poll() is not None:
            message = f"{child.name} ended with {child.process.returncode}:\n{child.said()[-4000:]}"
            raise DidNotStartError(message)
        try:
            if program.is_ready is not None:
                if program.is_ready(child.port):
                    return
            else:
                with opener.open(child.url + program.ready, timeout=2):
                    return
        except urllib.error.HTTPError as answer:
            answer.close()
            if answer.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.02)
    message = f"{child.name} was not ready within {program.start_within} s:\n{child.said()[-4000:]}"
    raise DidNotStartError(message)
