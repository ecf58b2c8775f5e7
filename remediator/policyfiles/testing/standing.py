"""What a story gives its world: from the start, and from a line on; and what of it nobody ever asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, takewhile

from remediator.documents.reading import Place
from remediator.policyfiles.testing.reading import Story
from remediator.policyfiles.testing.world import Given

STEPS_END = (".result", ".preview")
EARLY = ("result", "preview")
"""What the first line may say of the time before the alert."""


class Standing:
    """What stands when. ``lines``: key of a line → by the names of ``given``; ``first``: at the start."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.lines = [self._gives(number) for number in range(len(story.test.story))]
        self.first = self._from_the_start()

    def early(self) -> list[str]:
        """What begins the first line, without a time: it holds before the alert fires."""
        if not self._story.test.story or self._story.test.story[0].at is not None:
            return []
        begins = takewhile(lambda key: key in (*EARLY, "reading"), self._story.written("story", 0))
        return [key for key in begins if key in EARLY]

    def in_vain(self) -> Iterator[tuple[Place, str]]:
        """What the story says, and nobody ever asked for. Readings under its name may lie idle."""
        for name, given in self.first.items():
            if name in self._story.test.given and name.endswith(STEPS_END) and not given.used:
                yield given.place, "take it out"
        for line in self.lines:
            for name, given in chain.from_iterable(one.items() for one in line.values()):
                if not given.used:
                    yield given.place, f"to hold from the start, write given: {{{quoted(name)}: …}}"

    def _gives(self, number: int) -> dict[str, dict[str, Given]]:
        """What a line gives from then on: key of the line → by the names of ``given``."""
        line = self._story.test.story[number]
        ends = {"reading": "", "result": ".result", "preview": ".preview"}
        return {
            key: {
                f"{name}{end}": Given(value, ("story", number, key, name))
                for name, value in getattr(line, key).items()
            }
            for key, end in ends.items()
        }

    def _from_the_start(self) -> dict[str, Given]:
        """What stands at the start; before a line changes a reading, the first that gives one holds."""
        given = {**self._story.file.given, **self._story.test.given}
        first = {name: Given(value, ("given", name)) for name, value in given.items()}
        for line in self.lines:
            for name, reading in line["reading"].items():
                first.setdefault(name, reading)
        return first


def quoted(name: str) -> str:
    """A key as YAML wants it: an item's name, with its brackets, in quotes."""
    return f'"{name}"' if "[" in name else name
