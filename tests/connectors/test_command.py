"""command.read and command.run with real processes: started once, as declared, and surely over at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remediator.config import Config
from remediator.connectors import catalog, problems
from remediator.connectors.command import READ, RUN, Commands, CommandSettings, keeper
from remediator.connectors.settings import BLIND
from remediator.core.catalog import Command, Risk
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.rig.patience import PATIENCE_S

RECORDING = """\
#!/bin/sh
printf '%s' started >>LEDGER
for word; do printf ' <%s>' "$word" >>LEDGER; done
printf '\\n' >>LEDGER
BODY
"""


class Room:
    """A folder with a program that writes down each of its starts, and what comes after that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.program = folder / "program"

    def does(self, body: str = "exit 0") -> None:
        self.program.write_text(RECORDING.replace("LEDGER", str(self.ledger)).replace("BODY", body))
        self.program.chmod(0o755)

    def commands(self, *words: object, **more: object) -> Commands:
        command = {"argv": [str(self.program), *words], "within": "30s", **more}
        return Commands(CommandSettings.model_validate({"commands": {"it": command}}))

    @property
    def starts(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def left(self, name: str = "pids") -> list[int]:
        """Of the processes that a command wrote down, those that are still there."""
        pids = [int(word) for word in (self.folder / name).read_text().split()]
        return [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until(holds: Callable[[], object], within: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(keeper, "GRACE", 0.3)
    made = Room(tmp_path)
    made.does()
    return made


async def act(commands: Commands, *, late: str = "", timeout: float = 30, **slots: object) -> Result:
    call = Call(RUN.name, "host", {"command": "it", **({"slots": slots} if slots else {})})
    return await commands.act(call, order=Order("k", late=lambda: late), timeout=timeout)


async def read(commands: Commands, **slots: object) -> dict[str, Any]:
    call = Call(READ.name, "host", {"command": "it", **({"slots": slots} if slots else {})})
    return await commands.read(call, timeout=30)


# ── What it answers ─────────────────────────────────────────────────────────────────────────────────


async def test_what_a_reading_command_prints_is_read(room: Room) -> None:
    room.does("""echo '{"pending": 7}'; echo careful >&2""")
    assert await read(room.commands(reads=True)) == {
        "exit": 0,
        "out": '{"pending": 7}\n',
        "lines": ['{"pending": 7}'],
        "json": {"pending": 7},
    }
    room.does("echo one; echo two; exit 3")
    told = await read(room.commands(reads=True, exits={"done": [0, 3]}))
    assert (told["exit"], told["lines"], told["json"]) == (3, ["one", "two"], None)


async def test_what_it_prints_is_data_whatever_it_is(room: Room) -> None:
    room.does(r"printf 'a\000b\377 NaN'")
    assert (await read(room.commands(reads=True)))["out"] == "a\ufffdb\ufffd NaN"


async def test_a_status_that_is_no_answer_is_told_with_what_it_complained_about(room: Room) -> None:
    room.does("echo fine; echo 'no such queue' >&2; exit 4")
    with pytest.raises(ConnectorError, match="host: it: it ended with 4: no such queue"):
        await read(room.commands(reads=True))


@pytest.mark.parametrize(
    ("body", "became"),
    [
        (
            "echo all of them",
            Done({"exit": 0, "out": "all of them\n", "lines": ["all of them"], "json": None}),
        ),
        ("echo nothing to do; exit 65", Refused("it ended with 65: nothing to do")),
        ("echo half of them >&2; exit 1", Unknown("it ended with 1: half of them")),
        ("kill -SEGV $$", Unknown("it was ended by SIGSEGV")),
        ("exit 137", Unknown("it ended with 137")),
    ],
)
async def test_its_status_says_what_became_of_an_act(room: Room, body: str, became: Result) -> None:
    room.does(body)
    assert await act(room.commands(exits={"refused": [65]})) == became
    assert room.starts == ["started"]


async def test_only_one_that_reads_is_read_and_only_one_that_does_not_is_run(room: Room) -> None:
    with pytest.raises(ConnectorError, match="not asked: it changes something"):
        await read(room.commands())
    assert await act(room.commands(reads=True)) == Refused(
        "never started: it is declared as one that only reads"
    )
    assert room.starts == []


async def test_people_see_the_very_words_and_no_secret(room: Room) -> None:
    words = ["down", {"secret": "canary-1", "prefix": "--secret="}, {"slot": "why", "pattern": ".*"}]
    call = Call(RUN.name, "host", {"command": "it", "slots": {"why": "a 'b"}})
    picture = await room.commands(*words).preview(call, timeout=5)
    assert picture.text == f"""runs {room.program} down --secret=[hidden] "a 'b" in /"""
    assert await act(room.commands(*words), why="x") != Refused("")
    assert room.starts == ["started <down> <--secret=canary-1> <x>"]


# ── How it is started ───────────────────────────────────────────────────────────────────────────────


ENV = {"PATH": "/usr/bin:/bin", "APP": "one", "KEY": {"secret": "canary-3"}}


async def test_its_environment_is_what_is_declared_and_nothing_else(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-2")
    room.does("cat /proc/self/environ | tr '\\000' '\\n'; pwd; cat; ls -l /proc/self/fd | wc -l; umask")
    told = await read(room.commands(reads=True, env=ENV, cwd=str(room.folder)))
    assert sorted(line for line in told["lines"] if "=" in line) == [
        "APP=one",
        "KEY=canary-3",
        "PATH=/usr/bin:/bin",
        f"PWD={room.folder}",  # the shell's own
    ]
    assert told["lines"][-3:] == [str(room.folder), "5", "0077"]  # total, 0, 1, 2 and the folder itself


async def test_no_signal_that_we_ignore_is_ignored_by_it(room: Room) -> None:
    room.does("grep SigIgn /proc/self/status")
    ours = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        ignored = (await read(room.commands(reads=True, env={"PATH": "/bin"})))["out"].split()[1]
    finally:
        signal.signal(signal.SIGHUP, ours)
    assert int(ignored, 16) & 0x7FFFFFFF == 0, "those that have names: 32 and 33 are the C library's own"


async def test_what_cannot_be_executed_was_never_started(room: Room) -> None:
    commands = room.commands()
    room.program.write_text("#!/no/such/interpreter\n")
    assert await act(commands) == Refused("never started: No such file or directory")
    room.program.unlink()
    told = await act(commands)
    assert told == Refused(f"never started: {room.program} cannot be run: No such file or directory")
    room.does()
    assert await act(room.commands(cwd=str(room.folder / "gone"))) == Refused(
        "never started: No such file or directory"
    )
    assert room.starts == []


async def test_what_became_too_late_is_not_started(room: Room) -> None:
    told = await act(room.commands(), late="this replica's lease was over")
    assert told == Refused("never started: this replica's lease was over")
    assert room.starts == []


async def test_a_program_that_others_may_write_is_not_run(room: Room) -> None:
    commands = room.commands()
    room.program.chmod(0o775)
    told = await act(commands)
    assert (
        isinstance(told, Refused)
        and f"may be written by others than its owner; chmod go-w {room.program}" in told.reason
    )
    room.program.chmod(0o755)
    room.folder.chmod(0o777)
    told = await act(commands)
    assert (
        isinstance(told, Refused)
        and f"may be replaced by others, through {room.folder}; chmod go-w " in told.reason
    )
    room.folder.chmod(0o770)
    assert isinstance(await act(commands), Refused)
    room.folder.chmod(0o1777)  # sticky, as /tmp: what is ours stays where it is
    assert isinstance(await act(commands), Done)
    assert room.starts == ["started"]


async def test_a_link_is_as_safe_as_each_folder_on_its_way(room: Room) -> None:
    shared, own = room.folder / "shared", room.folder / "own"
    for folder in (shared, own):
        folder.mkdir(0o755)
    (own / "program").symlink_to("../shared/../program")
    (shared / "program").symlink_to(own / "program")
    it = {"argv": [str(shared / "program")]}
    commands = Commands(CommandSettings.model_validate({"commands": {"it": it}}))
    assert isinstance(await act(commands), Done)
    shared.chmod(0o777)
    told = await act(commands)
    assert told == Refused(
        f"never started: {shared}/program may be replaced by others, through {shared}; chmod go-w {shared}"
    )
    shared.chmod(0o755)
    own.chmod(0o777)
    told = await act(commands)
    assert isinstance(told, Refused) and f"through {own}; chmod go-w {own}" in told.reason
    (own / "program").unlink()
    (own / "program").symlink_to(shared / "program")
    own.chmod(0o755)
    told = await act(commands)
    assert isinstance(told, Refused) and "cannot be run: Too many levels of symbolic links" in told.reason
    assert room.starts == ["started"]


@pytest.mark.parametrize("whose", ["program", "link", "folder"])
async def test_what_belongs_to_another_user_is_not_run(
    room: Room, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    link = room.folder / "link"
    link.symlink_to(room.program)
    theirs = {"program": room.program, "link": link, "folder": room.folder}[whose]
    commands = Commands(CommandSettings.model_validate({"commands": {"it": {"argv": [str(link)]}}}))
    real = Path.lstat

    def owned(path: Path) -> os.stat_result:
        found = real(path)
        return os.stat_result((*found[:4], 65534, *found[5:])) if path == theirs else found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", owned)
        told = await act(commands)
    assert told == Refused(
        f"never started: {link} may be replaced by uid 65534, to whom {theirs} belongs; "
        f"chown -h root {theirs}"
    )
    assert isinstance(await act(commands), Done)


# ── Data is inert ───────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "a b",
    "$(id)",
    "`id`",
    "; rm -rf /",
    "&& id",
    "| id",
    "> /tmp/x",
    "*",
    "~root",
    "'",
    '"',
    "\\",
    "${now}",
    "%s{0}",
    "<!channel>",
    "\u202egnp.exe",
    "ʼ\U0001f600",
    "../../etc/passwd",
    "--force",
    "-rf",
    "a\nb",
    "a\0b",
    "a\x1b[2J",
    "\udc80",
    "x" * 5000,
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_value_is_one_word_or_is_refused(room: Room, text: str) -> None:
    commands = room.commands("queue:retry", {"slot": "job", "pattern": "(?s).*"}, "end")
    told = await act(commands, job=text)
    unfit = (
        text.startswith("-")
        or not text
        or len(text) > 4096
        or any(one < " " or "\ud800" <= one < "\ue000" for one in text)
    )
    if unfit:
        assert isinstance(told, Refused) and told.reason.startswith("never started: job: ")
        assert room.starts == []
    else:
        assert isinstance(told, Done), told
        assert room.starts == [f"started <queue:retry> <{text}> <end>"]


@pytest.mark.parametrize(
    ("slot", "value", "word"),
    [
        ({"type": "int", "max": 100}, 7, "7"),
        ({"type": "int", "prefix": "--limit="}, 7, "--limit=7"),
        ({"type": "int", "min": -5}, -5, "-5"),
        ({"values": ["default", "-all"]}, "-all", "-all"),
        ({"pattern": "-[a-z]"}, "-a", "-a"),
        ({"pattern": ".*", "prefix": "--queue="}, "--x", "--queue=--x"),
        ({"type": "int"}, -1, ""),
        ({"type": "int", "max": 100}, 101, ""),
        ({"type": "int"}, 1.0, ""),
        ({"type": "int"}, "7", ""),
        ({"values": ["default"]}, "other", ""),
        ({"pattern": "[a-z]+"}, "abc\n", ""),
        ({"pattern": r"\-[a-z]"}, "-a", "-a"),
        ({"pattern": "[a-z-]+"}, "-a", ""),
        ({"pattern": "[-a-z0-9]{1,64}"}, "-rf", ""),
        ({"pattern": r"[\-a-z]+"}, "-rf", ""),
        ({"pattern": "(?:[-a-z]+)"}, "-rf", ""),
        ({"pattern": "-?[a-z]+|x"}, "-rf", "-rf"),
        ({"pattern": "[a-z]+"}, {"a": "b"}, ""),
    ],
)
async def test_a_slot_takes_what_its_type_says(
    room: Room, slot: dict[str, object], value: object, word: str
) -> None:
    told = await act(room.commands({"slot": "it", **slot}), it=value)
    assert isinstance(told, Done if word else Refused), told
    assert room.starts == ([f"started <{word}>"] if word else [])


# ── Its end ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stubborn", [False, True])
async def test_one_that_hangs_is_ended_with_all_that_it_started(room: Room, stubborn: bool) -> None:
    trap = "trap '' TERM; " if stubborn else ""
    room.does(f"{trap}sleep 60 & echo $$ $! >{room.folder}/pids; wait; sleep 60")
    began = time.monotonic()
    told = await act(room.commands(env={"PATH": "/bin:/usr/bin"}, within="800ms"))
    assert told == Unknown("it was ended: its time was up")
    assert time.monotonic() - began < 20  # and not the minute that it would sleep
    assert room.left() == []
    assert room.starts == ["started"]


async def test_what_a_command_leaves_behind_in_its_group_ends_with_it(room: Room) -> None:
    room.does(f"sleep 60 & echo $! >{room.folder}/pids; echo done")
    told = await act(room.commands(env={"PATH": "/bin:/usr/bin"}))
    assert isinstance(told, Done) and told.result["out"] == "done\n"
    assert room.left() == []


async def test_one_who_leaves_the_group_keeps_nobody_waiting(room: Room) -> None:
    room.does(f"setsid sh -c 'echo $$ >{room.folder}/pids; exec sleep 60' & sleep 0.2; echo done")
    began = time.monotonic()
    told = await act(room.commands(env={"PATH": "/bin:/usr/bin"}))
    try:
        assert isinstance(told, Done) and told.result["out"] == "done\n"
        assert time.monotonic() - began < 20
    finally:
        for pid in room.left():
            os.kill(pid, signal.SIGKILL)


async def test_a_flood_is_bounded_and_does_not_stop_the_command(room: Room) -> None:
    room.does("head -c 20000000 /dev/zero | tr '\\000' x; echo end >&2")
    told = await act(room.commands(env={"PATH": "/bin:/usr/bin"}, output=1000))
    assert isinstance(told, Done) and told.result["out"] == "x" * 1000 + "…" and told.result["cut"] is True
    with pytest.raises(
        ConnectorError, match="prints more than 1000 bytes; let it print less, or raise its output"
    ):
        await read(room.commands(env={"PATH": "/bin:/usr/bin"}, output=1000, reads=True))


async def test_memory_is_bounded() -> None:
    words = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=900M", "count=1"]
    command = {"argv": words, "memory": 500_000_000}
    told = await act(Commands(CommandSettings.model_validate({"commands": {"it": command}})))
    assert isinstance(told, Unknown) and "memory exhausted" in told.reason


async def test_an_act_that_is_cancelled_ends_its_command(room: Room) -> None:
    room.does(f"sleep 60 & echo $$ $! >{room.folder}/pids; wait")
    acting = asyncio.ensure_future(act(room.commands(env={"PATH": "/bin:/usr/bin"})))
    await until(
        lambda: len((room.folder / "pids").read_text().split()) == 2 if (room.folder / "pids").exists() else 0
    )
    acting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await acting
    assert room.left() == []


ALONE = """\
import asyncio, sys
from remediator.connectors.command import Commands, CommandSettings
from remediator.core.intention import Call
from remediator.ports import Order

command = {"argv": [sys.argv[1]], "env": {"PATH": "/bin:/usr/bin"}}
commands = Commands(CommandSettings.model_validate({"commands": {"it": command}}))
asyncio.run(commands.act(Call("command.run", "host", {"command": "it"}), order=Order("k"), timeout=60))
"""


@pytest.mark.parametrize("whom", ["the daemon", "the keeper"])
async def test_when_the_daemon_or_the_keeper_is_killed_the_command_ends_and_is_not_started_again(
    room: Room, whom: str
) -> None:
    room.does(f"sleep 60 & echo $$ $! >{room.folder}/pids; wait")
    daemon = subprocess.Popen([sys.executable, "-c", ALONE, str(room.program)])  # noqa: ASYNC220
    try:
        written = room.folder / "pids"
        await until(lambda: written.exists() and len(written.read_text().split()) == 2)
        if whom == "the daemon":
            daemon.kill()
        else:
            os.kill(parent(int(written.read_text().split()[0])), signal.SIGKILL)
        await until(lambda: room.left() == [])
    finally:
        daemon.kill()
        daemon.wait()
    assert room.starts == ["started"]


DYING = """\
import os, signal, sys, time
sys.path.insert(0, {folder!r})
import keeper

real, itself = os.fork, os.getpid()

def fork():
    pid = real()
    if pid:
        time.sleep({before})  # in which a child that asks nobody has long become the command
        os.kill(itself, signal.SIGKILL)
    while {waits} and os.getppid() == itself:
        time.sleep(0.01)
    return pid

os.fork = fork
keeper.main(2)
"""


@pytest.mark.parametrize(("before", "waits"), [(0, True), (1, False)], ids=["at once", "a moment later"])
def test_a_keeper_that_is_killed_before_it_told_of_its_child_leaves_no_command(
    room: Room, before: int, waits: bool
) -> None:
    wanted = {
        "argv": [str(room.program)],
        "env": {},
        "cwd": "/",
        "seconds": 30,
        "grace": 0.3,
        "memory": 2**32,
        "processes": None,
    }
    code = DYING.format(before=before, waits=waits, folder=str(Path(keeper.__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as dying:
        assert dying.stdin is not None and dying.stdout is not None
        dying.stdin.write(json.dumps(wanted) + "\n")
        dying.stdin.flush()
        assert dying.stdout.read() == ""  # to its end: nobody is left who holds it
        assert dying.wait() == -signal.SIGKILL
    assert room.starts == []


# ── What is told at load ────────────────────────────────────────────────────────────────────────────


def told(**command: object) -> list[str]:
    given = {"host": {"kind": "command", "commands": {"it": command}}}
    return [str(one) for one in problems(Config.model_validate({"connections": given}))]


def test_what_may_not_be_declared_is_told_with_its_place_and_remedy(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.touch()
    loose.chmod(0o777)
    plain = tmp_path / "plain"
    plain.touch()
    place = "connections.host.commands.it"
    assert told(argv=["php", "artisan"]) == [
        f"{place}: write the absolute path of the program and of its folder: nothing is searched for"
    ]
    assert told(argv=["/no/such"]) == [f"{place}: /no/such cannot be run: No such file or directory"]
    assert told(argv=[str(plain)]) == [
        f"{place}: {plain} is no program that may be executed; chmod a+x, or name another"
    ]
    assert told(argv=[str(loose)]) == [
        f"{place}: {loose} may be written by others than its owner; chmod go-w {loose}"
    ]
    assert told(argv=["/bin/sh"], exits={"refused": [0]}) == [
        f"{place}.exits: 0 cannot mean both done and refused"
    ]
    slot = {"slot": "a", "pattern": "b"}
    assert told(argv=["/bin/sh"], env={"LD_PRELOAD": slot}) == [
        f"{place}.env: the variable LD_PRELOAD cannot be a slot: policies fill words of the command only"
    ]
    assert told(argv=["/bin/sh"], env={"A B": "x"}) == [f"{place}.env: 'A B' cannot be a variable's name"]
    assert told(argv=["/bin/sh"], exits={"dnoe": [1]}) == [
        f"{place}.exits.dnoe: unknown key; did you mean done?"
    ]
    assert told(argv=["/bin/sh"], within="1h")[0].startswith(f"{place}.within: ")
    assert told(argv=["/bin/sh"]) == []


def test_a_blind_reader_looks_at_no_file() -> None:
    given = {"commands": {"it": {"argv": ["/no/such"]}}}
    CommandSettings.model_validate(given, context={BLIND: True})


def test_the_catalogue_knows_each_command_by_name() -> None:
    commands = {
        "status": {"argv": ["/bin/sh", "-c", "true"], "reads": True},
        "restart": {"argv": ["/bin/sh", {"slot": "what", "values": ["a"]}], "risk": "disruptive"},
    }
    given = {"connections": {"host": {"kind": "command", "commands": commands}}}
    found = catalog(Config.model_validate(given)).connections["host"]
    assert found.commands == {
        "status": Command(reads=True),
        "restart": Command(reads=False, slots=frozenset({"what"})),
    }
    assert found.risks["COMMAND restart"] is Risk.DISRUPTIVE
