"""Commands at once: each is a process of its own, forked from one that has imported everything already.

What a command prints, reads and answers is its own, and so are its life and its death. Only the imports,
which take most of its time, were made once for all of a worker. That it can start from nothing is shown
where it is run within another host, in a policy repository, by the demo and by the benchmarks.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_MOST = 1 << 20
"""Bytes of one request: words, folder and environment."""


def can_be(env: Mapping[str, str]) -> bool:
    """Who is counted by coverage has to start, and to end, as a Python of its own."""
    return "COVERAGE_PROCESS_CONFIG" not in env


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], within: float
) -> subprocess.CompletedProcess[str]:
    """``remediator WORDS``, as `subprocess.run` would run it. Raises TimeoutExpired."""
    if not can_be(env):
        command = [sys.executable, "-m", "remediator", *words]
        return subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=cwd, timeout=within, check=False
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(words, cwd=cwd, env=env, out=out, err=err)
        try:
            status = process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(words), status, out.read().decode(), err.read().decode())


class Forked:
    """``remediator WORDS`` as its own process, with the ways of a `subprocess.Popen`."""

    def __init__(
        self, words: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: IO[bytes], err: IO[bytes]
    ) -> None:
        self.words = list(words)
        self.returncode: int | None = None
        self._asking = threading.Lock()
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.connect(str(_parent()))
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        asked = json.dumps({"words": self.words, "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(self._line, [asked], [out.fileno(), err.fileno()])
        self.pid = int(self._line.recv(64))

    def poll(self) -> int | None:
        """The exit status (negative: a signal), or None while it runs. Also while another thread waits."""
        with self._asking:
            if self.returncode is None:
                with contextlib.suppress(BlockingIOError):
                    self.returncode = int(self._line.recv(64, socket.MSG_DONTWAIT))
                    self._line.close()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended. Raises TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while (status := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(self.words, timeout or 0)
            time.sleep(pause)
            pause = min(0.05, pause * 2)
        return status

    def send_signal(self, signal: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _parent() -> Path:
    """Where the process that forks them listens. It ends with us, whose end it sees in its standard input."""
    folder = tempfile.mkdtemp(prefix="remediator-forked-")
    path = Path(folder) / "socket"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(process.communicate)
    return path


def main(path: str) -> None:
    """Import, listen, fork for whoever comes, until standard input ends."""
    _import_everything()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them but by their line
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            Path(path).unlink()
            Path(path).parent.rmdir()
            return
        line, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _command(line)
            return
        line.close()


def _import_everything() -> None:
    import remediator

    for module in pkgutil.walk_packages(remediator.__path__, "remediator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("asyncpg")
    gc.freeze()


def _command(line: socket.socket) -> None:
    """One process runs the command, as if it had just started; one waits for it, and tells of its end."""
    message, streams, _, _ = socket.recv_fds(line, _MOST, 2)
    child = os.fork()
    if child:
        line.send(str(child).encode())
        _, how = os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            line.send(str(os.waitstatus_to_exitcode(how)).encode())
        os._exit(0)
    line.close()
    asked: dict[str, Any] = json.loads(message)
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["remediator", *asked["words"]]
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    from remediator import cli

    sys.exit(cli.main(asked["words"]))


if __name__ == "__main__":
    main(sys.argv[1])
