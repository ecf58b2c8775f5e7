"""Plays one story: the real engine in virtual time, over the story's world.

Nothing here decides anything. Alerts come in as deliveries, people come to the desk, time passes, and
what there is to see is read from the store.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain

from remediator.core.catalog import Catalog
from remediator.core.policyset import PolicySet
from remediator.documents.reading import Place
from remediator.policyfiles.testing.expectations import judge
from remediator.policyfiles.testing.happenings import Happenings
from remediator.policyfiles.testing.models import Expect, Line
from remediator.policyfiles.testing.reading import Story
from remediator.policyfiles.testing.scene import Failure, Scene
from remediator.policyfiles.testing.seen import Seen
from remediator.policyfiles.testing.standing import quoted


@dataclass(frozen=True)
class Told:
    """A story as it went."""

    story: Story
    failures: tuple[Failure, ...]
    seen: Seen


class Teller:
    """One story on its way."""

    def __init__(self, story: Story, catalog: Catalog, policies: PolicySet) -> None:
        self._scene = Scene(story, catalog, policies)
        self._happenings = Happenings(self._scene)

    def tell(self) -> Told:
        """From its first line to its last. Should the core itself break on it, that is a failure, too."""
        try:
            self._tell()
        except Exception as error:  # noqa: BLE001 - the other stories are told all the same
            problem = f"{type(error).__name__}: {error}"
            self._scene.fail(("name",), "a defect of Remediator", "no error, whatever a story says", problem)
        return Told(self._scene.story, tuple(self._scene.failures), self._scene.look())

    def _tell(self) -> None:
        scene, test = self._scene, self._scene.story.test
        early = scene.standing.early()
        for key in early:
            self._happenings.happens(key, test.story[0], ("story", 0, key))
        self._happenings.begins(test)
        for number, line in enumerate(test.story):
            self._line(line, ("story", number), done=early if number == 0 else [])
        if test.expect is not None:
            scene.rest()
            self._expect(test.expect, ("expect",))
        for name in scene.world.unread:
            remedy = f"a reading: given: {{{quoted(name)}: …}}"
            scene.fail(("name",), f"{name} was asked", remedy, "none is given")
        for kind, step in self._happenings.crashes:
            moment = f"after {kind} {step}".strip()
            scene.fail(("name",), "the crash", moment, "that never came")
        for place, remedy in chain(scene.standing.in_vain(), self._happenings.in_vain()):
            what = " ".join(str(part) for part in (place[2:] if place[0] == "story" else place))
            scene.fail(place, what, "comes to be used", f"never came to be used; {remedy}")

    def _line(self, line: Line, place: Place, done: Collection[str]) -> None:
        """``done``: keys of it that held before the alert."""
        if line.at is not None:
            self._scene.until(self._scene.start + line.at)
        for key in self._scene.story.written(*place):
            if key not in done:
                self._happenings.happens(key, line, (*place, key))
        if line.expect is not None:
            self._expect(line.expect, (*place, "expect"))

    def _expect(self, expect: Expect, place: Place) -> None:
        scene, seen = self._scene, self._scene.look()
        run = len(seen.runs) if expect.run == "last" else expect.run
        for where, expected, actual in judge(expect, seen):
            what = " ".join(str(part) for part in where)
            scene.failures.append(Failure(scene.story.where(*place, *where), what, expected, actual, run))
