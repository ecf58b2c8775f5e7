"""Starts one command, watches over it, and ends all that it started. A program of its own: run by path.

It outlives whoever asked: standard input is the line to the daemon, and when that closes, because the daemon
stopped or died, the command ends too. So it does when its time is up, whatever the daemon is doing.

The first line of standard input says what to run, as JSON: argv, env, cwd, seconds, grace,
memory, processes.
The descriptor that its argument names is told ``{"pid": n}``, and at the end ``{"failed": why}`` when it
could not be started, else ``{"exit": n}``, ``{"signal": n}`` or ``{"stopped": why}``. Only the standard
library: it must start fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from typing import NoReturn

LINE = 0
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def main(report: int) -> None:
    """Run it to its end, and tell ``report``."""
    os.set_inheritable(report, False)  # noqa: FBT003 - by position only

    def say(**told: object) -> None:
        with contextlib.suppress(OSError):
            os.write(report, json.dumps(told).encode() + b"\n")

    asked = _first_line()
    if not asked:
        return None  # it was not meant to be started after all
    wanted = json.loads(asked)
    deadline = time.monotonic() + wanted["seconds"]
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # what its command leaves behind becomes a child of ours
    told, tells = os.pipe()
    waits, goes = os.pipe()
    itself = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(goes)
        _become(wanted, itself, waits, tells)
    say(pid=pid)
    os.write(goes, b"!")
    os.close(tells)
    problem = _whether_it_runs(told, deadline)
    if problem is not None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return say(failed=problem) if problem else say(stopped="it did not start in time")
    stopped = _until_over(pid, woken, deadline)
    status = _end(pid, wanted["grace"]) if stopped else os.waitpid(pid, 0)[1]
    _sweep(pid, wanted["grace"])
    if stopped:
        return say(stopped=stopped)
    return say(exit=os.WEXITSTATUS(status)) if os.WIFEXITED(status) else say(signal=os.WTERMSIG(status))


def _first_line() -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(LINE, 65536)
        if not byte:
            return b""
        line += byte
    return bytes(line)


def _become(wanted: dict[str, object], keeper: int, waits: int, tells: int) -> NoReturn:
    """In the child: become the command, in a session of its own, or say why not.

    Not before the daemon was told of it, which ends it should ``keeper`` be killed.
    """
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends when the keeper is killed
        if os.getppid() != keeper or not os.read(waits, 1):
            os._exit(127)
        signal.set_wakeup_fd(-1)
        for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(one, signal.SIG_DFL)  # also what whoever started the daemon ignored: nohup does
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_AS, wanted["memory"])
        if wanted["processes"] is not None:
            _limit(resource.RLIMIT_NPROC, wanted["processes"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(str(wanted["cwd"]))
        os.umask(0o077)
        argv, env = wanted["argv"], wanted["env"]
        assert isinstance(argv, list) and isinstance(env, dict)
        os.execve(argv[0], argv, env)  # noqa: S606 - the words of the config, never a shell
    except BaseException as error:  # noqa: BLE001 - nothing of the keeper may go on in the child
        reason = error.strerror if isinstance(error, OSError) else repr(error)
        os.write(tells, str(reason).encode()[:500])
    finally:
        os._exit(127)


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(option, value)


def _limit(what: int, most: object) -> None:
    assert isinstance(most, int)
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _whether_it_runs(told: int, deadline: float) -> str | None:
    """None: it runs. Else why it does not; "" where that is not known."""
    ready, _, _ = select.select([told, LINE], [], [], max(0.0, deadline - time.monotonic()))
    if told not in ready:
        return ""
    return os.read(told, 500).decode("utf-8", "replace") or None


def _until_over(pid: int, woken: int, deadline: float) -> str:
    """Wait. "" when it ended by itself, else why it must end."""
    while True:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return ""
        left = deadline - time.monotonic()
        if left <= 0:
            return "its time was up"
        ready, _, _ = select.select([LINE, woken], [], [], left)
        if LINE in ready:
            return "the daemon stopped"
        if woken in ready:
            os.read(woken, 512)


def _end(pid: int, grace: float) -> int:
    """Ask the whole group to end, and end it. Returns the leader's status."""
    _signal(pid, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.01)
    _signal(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _sweep(pid: int, grace: float) -> None:
    """What the command left behind in its group ends, too."""
    until = time.monotonic() + grace
    number = int(signal.SIGTERM)
    while time.monotonic() < until and _signal(pid, number):
        number = 0
        _reap(pid)
        time.sleep(0.01)
    _signal(pid, signal.SIGKILL)
    _reap(pid)


def _reap(group: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass


def _signal(group: int, number: int) -> bool:
    """False when nobody is left to hear it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody is there, with other rights
        return True
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends when its line closes, and not before its command
    main(int(sys.argv[1]))
