"""How commands are configured: each word by word, with all that it may have and cost."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from remediator.config import Duration, Section
from remediator.connectors.declared import Declared, Spelled, Word, declared, endpoints, named
from remediator.connectors.settings import BLIND, Settings
from remediator.core.catalog import Command, Risk

LONGEST = timedelta(minutes=10)
"""The longest that one call may take, and that one command may be given with the time to end it."""

MiB = 1024 * 1024


class Exits(Section):
    """What an exit status means. One that stands nowhere: nobody knows what was done."""

    done: tuple[int, ...] = Field(
        default=(0,), description="it was done, or of one that reads: it is an answer"
    )
    refused: tuple[int, ...] = Field(default=(), description="nothing at all was done, and that is certain")

    @model_validator(mode="after")
    def _tells_them_apart(self) -> Self:
        if not self.done or not all(0 <= one <= 125 for one in (*self.done, *self.refused)):
            raise ValueError("write statuses from 0 to 125; others are told by shells and signals")
        if both := set(self.done) & set(self.refused):
            raise ValueError(f"{min(both)} cannot mean both done and refused")
        return self


def _variables(value: dict[str, Word]) -> dict[str, Word]:
    for name, word in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} cannot be a variable's name")
        if word.slot is not None:
            raise ValueError(f"the variable {name} cannot be a slot: policies fill words of the command only")
    return value


class DeclaredCommand(Declared):
    """A command of this machine."""

    reads: bool = Field(default=False, description="it changes nothing, so command.read may run it")
    cwd: Path = Field(default=Path("/"), description="the folder in which it runs, absolute")
    env: Annotated[dict[str, Spelled], AfterValidator(_variables)] = Field(
        default={},
        description="all of its environment, and not even PATH beside it: {PATH: /bin, KEY: {secret: …}}",
    )
    within: Duration = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        le=timedelta(minutes=9),
        description="how long it may take",
    )
    output: int = Field(default=64 * 1024, gt=0, le=MiB, description="bytes of its output that are kept")
    memory: int = Field(
        default=4096 * MiB,
        ge=16 * MiB,
        description="bytes of address space that each of its processes may have",
    )
    processes: int | None = Field(
        default=None, gt=0, description="processes that its user may have at once; not asked of root"
    )
    exits: Exits = Exits()

    @model_validator(mode="after")
    def _can_be_run(self, info: ValidationInfo) -> Self:
        if not self.path.is_absolute() or not self.cwd.is_absolute():
            raise ValueError(
                "write the absolute path of the program and of its folder: nothing is searched for"
            )
        if not (info.context or {}).get(BLIND) and (problem := self.unsafe()):
            raise ValueError(problem)
        return self

    @property
    def path(self) -> Path:
        """The program."""
        return Path(self.argv[0].text or "")

    def unsafe(self) -> str:
        """Why the program may not be run as it is now; "" when it may."""
        place, found = self.path, None
        try:
            for place, found in _way(self.path):
                if problem := _open_to_others(place, found):
                    return f"{self.path} {problem}"
        except OSError as error:
            return f"{self.path} cannot be run: {error.strerror}"
        if found is None or not stat.S_ISREG(found.st_mode) or not os.access(place, os.X_OK):
            return f"{self.path} is no program that may be executed; chmod a+x, or name another"
        return ""


MOST_LINKS = 40
"""As many as the kernel follows."""


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each folder and link that leads to it, from the root on, and at last itself. Raises OSError."""
    at, ahead, links = Path("/"), list(reversed(path.parts)), 0
    while ahead:
        name = ahead.pop()
        here = at.parent if name == ".." else at / name
        found = here.lstat()
        yield here, found
        if not stat.S_ISLNK(found.st_mode):
            at = here
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        ahead += reversed(here.readlink().parts)


def _open_to_others(place: Path, found: os.stat_result) -> str:
    """How somebody who is neither root nor us could put another program there; "" where nobody can.

    In a sticky folder, such as /tmp, nobody replaces what belongs to somebody else.
    """
    mode = found.st_mode
    if found.st_uid not in (0, os.geteuid()):
        return f"may be replaced by uid {found.st_uid}, to whom {place} belongs; chown -h root {place}"
    if stat.S_ISLNK(mode) or not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    if not stat.S_ISDIR(mode):
        return f"may be written by others than its owner; chmod go-w {place}"
    return "" if mode & stat.S_ISVTX else f"may be replaced by others, through {place}; chmod go-w {place}"


class CommandSettings(Settings):
    """Commands that may be run on this machine, each as it is written here."""

    commands: Annotated[dict[str, DeclaredCommand], AfterValidator(named)] = Field(
        description="them by name: {retry-job: {argv: [/usr/bin/php, artisan, …], risk: disruptive}}"
    )

    @property
    def risks(self) -> Mapping[str, Risk]:
        """Those of the commands."""
        return endpoints(self.commands)

    @property
    def declared(self) -> Mapping[str, Command]:
        """What policies may know of the commands."""
        reading = frozenset(name for name, command in self.commands.items() if command.reads)
        return declared(self.commands, reads=reading)
