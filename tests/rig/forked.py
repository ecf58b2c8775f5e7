"""Commands at once: each is a process of its own, forked from one that has imported everything already.

What a command prints, reads and answers is its own. Only the imports, which take most of its time, were
made once for all of a worker; that they can be made is shown by every daemon, which starts from nothing.
"""

from __future__ import annotations

import array
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
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.rig.processes import python_module

_COVERED = "COVERAGE_PROCESS_CONFIG"
"""Where coverage tells new processes to measure themselves."""
_MOST = 1 << 20
"""Bytes of one request: words, folder and environment."""


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], within: float
) -> subprocess.CompletedProcess[str]:
    """``remediator WORDS``, as `subprocess.run` would run it. Raises TimeoutError, or what that raises."""
    if _COVERED in env:  # who is counted has to start, and to end, as a Python of its own
        return subprocess.run(
            python_module("remediator", *words),
            capture_output=True,
            text=True,
            env=env,
            cwd=cwd,
            timeout=within,
            check=False,
        )
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line,
    ):
        line.settimeout(within)
        line.connect(str(_parent()))
        asked = json.dumps({"words": list(words), "cwd": str(cwd), "env": dict(env)}).encode()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST)
        streams = array.array("i", [out.fileno(), err.fileno()])
        line.sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        child = int(line.recv(64))
        try:
            status = int(line.recv(64) or -1)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(words), status, out.read().decode(), err.read().decode())


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

    def end() -> None:
        process.communicate()
        path.unlink()
        path.parent.rmdir()

    atexit.register(end)
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
            return
        line, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            line.send(str(os.getpid()).encode())
            line.send(str(_command(line)).encode())
            os._exit(0)
        line.close()


def _import_everything() -> None:
    import remediator

    for module in pkgutil.walk_packages(remediator.__path__, "remediator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("asyncpg")
    gc.freeze()


def _command(line: socket.socket) -> int:
    message, ancillary, _, _ = line.recvmsg(_MOST, socket.CMSG_SPACE(8))
    asked: dict[str, Any] = json.loads(message)
    streams = array.array("i")
    streams.frombytes(ancillary[0][2])
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["remediator", *asked["words"]]
    status: object = 1
    try:
        from remediator import cli

        status = cli.main(asked["words"])
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - as an interpreter tells it
        traceback.print_exc()
    for stream_out in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream_out.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    main(sys.argv[1])
