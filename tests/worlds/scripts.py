"""What an operator's commands run: programs that write down what they were given, and answer as told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!/bin/sh
{find}
if [ -n "$name" ] && [ -f "answers/$name" ]; then . "answers/$name"; fi
printf '%s\\n' "$*" >>ledger
"""


class Scripts:
    """Programs in a folder. One that has an answer only reads; what any other was given is in the ledger."""

    def __init__(self, folder: Path, find: str, *, programs: tuple[str, ...] = ("program",)) -> None:
        """``find``: how a shell finds ``name`` in the words, under which an answer may stand."""
        self._folder = folder
        self._programs = programs
        self._answers: dict[str, str] = {}
        self._told = 0
        (folder / "answers").mkdir()
        (folder / "ledger").touch()
        for name in programs:
            (folder / name).write_text(_PROGRAM.format(find=find))
            (folder / name).chmod(0o755)

    @property
    def ran(self) -> list[str]:
        """What changed something, as its words were given, oldest first; without those for npm itself."""
        lines = (self._folder / "ledger").read_text().splitlines()
        return [line.removeprefix("run --silent ") for line in lines]

    def news(self) -> Iterator[str]:
        """What was run since this was asked last."""
        for line in self.ran[self._told :]:
            self._told += 1
            yield line

    def declared(self, commands: Mapping[str, Any]) -> dict[str, Any]:
        """The config's commands, word by word, but for the programs: these here."""
        return {
            name: one | {"argv": [self._program(one["argv"][0]), *one["argv"][1:]], "cwd": str(self._folder)}
            for name, one in commands.items()
        }

    def _program(self, path: str) -> str:
        name = Path(path).name
        return str(self._folder / (name if name in self._programs else self._programs[0]))

    def says(self, name: str, answer: Any) -> None:
        """It prints this as JSON from now on."""
        self.answers(name, f"echo '{json.dumps(answer)}'; exit 0")

    def answers(self, name: str, shell: str) -> None:
        """What a reading one does from now on; never half of it."""
        if self._answers.get(name) != shell:
            new = self._folder / "new"
            new.write_text(shell)
            new.rename(self._folder / "answers" / name)
            self._answers[name] = shell
