"""How commands are configured: each word by word, with all that it may have and cost."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
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
        try:
            real = self.path.resolve(strict=True)
            found = real.stat()
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            return f"{self.path} cannot be run: {reason}"
        if not stat.S_ISREG(found.st_mode) or not os.access(real, os.X_OK):
            return f"{self.path} is no program that may be executed; chmod a+x, or name another"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{real} may be written by others than its owner; chmod go-w {real}"
        for folder in real.parents:
            mode = folder.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return f"{real} may be replaced by anybody, through {folder}; chmod o-w {folder}"
        return ""


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
