"""The scene of one story: the engine and its store in virtual time, over the story's world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Stage
from remediator.documents.reading import Place
from remediator.engine.decisions import Decisions, Terms
from remediator.engine.desk import PeoplesDesk
from remediator.engine.virtual import Virtual, VirtualClock
from remediator.policyfiles.loading import LoadedPolicy, parse_text
from remediator.policyfiles.testing.reading import Story
from remediator.policyfiles.testing.seen import Seen, Watcher
from remediator.policyfiles.testing.standing import Standing
from remediator.policyfiles.testing.world import World
from remediator.ports import KeptPolicy, Reloaded, RunFilter
from remediator.store.memory import MemoryStore

DEBOUNCE = timedelta(minutes=1)
LONGEST = timedelta(days=2)
"""How long a story without times is followed until its run rests."""

AT_REST = (Stage.CLOSED, Stage.WAITING, Stage.HOLDING, Stage.ASKING)
ANOTHER = "another-policy"


@dataclass(frozen=True)
class Failure:
    """Something that is not as the story says. ``run``: which it is about, from 1."""

    where: str
    what: str
    expected: str
    actual: str
    run: int = 1


@dataclass
class Scene:
    """Nothing here decides anything: it is the production engine that plays."""

    story: Story
    catalog: Catalog
    policies: PolicySet
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.story.test.starts or self.story.file.starts
        self.clock = VirtualClock(self.start)
        self.store = MemoryStore(self.clock)
        self.standing = Standing(self.story)
        self.world = World(self.policy, self.catalog, dict(self.standing.first))
        self._ids: dict[str, int] = {}
        decisions = Decisions(lambda: self.policies, self._read_old, self.new_id, Terms(DEBOUNCE))
        self.play: Virtual = Virtual(
            self.store, self.clock, decisions, self.world.performer(lambda: self.play), self.new_id
        )
        self.desk = PeoplesDesk(self.store, self.play.driver, self.new_id, lambda: self.policies, _no_reload)
        self.watcher = Watcher(self.store, self.start, self.policy.name)

    @property
    def policy(self) -> Policy:
        """The policy that the story is about."""
        return self.story.policy.policy

    @property
    def now(self) -> datetime:
        """The moment that the story has come to."""
        return self.clock.at

    def new_id(self, prefix: str) -> str:
        """The next one of its kind: a story told again has the same."""
        self._ids[prefix] = self._ids.get(prefix, 0) + 1
        return f"{prefix}-{self._ids[prefix]}"

    def _read_old(self, kept: KeptPolicy) -> Policy:
        return self.policy if kept.name == ANOTHER else parse_text(kept.text, kept.file)

    def fail(self, place: Place, what: str, expected: str, actual: str) -> None:
        """Something is not as the story says at this place of it."""
        self.failures.append(Failure(self.story.where(*place), what, expected, actual))

    def note(self, what: str, data: Mapping[str, Any]) -> None:
        """Something that the story did now, for its timeline."""
        self.watcher.note(self.now, what, data)

    def look(self) -> Seen:
        """What there is to see now."""
        return self.watcher.look(self.now)

    def until(self, at: datetime) -> None:
        """Every deadline at its moment; refusals that outlast their patience are paged when they do."""
        while True:
            patience = self.now + self.policy.patience
            overdue = self.store.look(lambda tx: tx.dispositions(refused_only=True))
            paged_at = [
                one.refused_since + self.policy.patience
                for one in overdue
                if one.refused_since is not None and not one.paged
            ]
            step = min([at, patience, *paged_at])
            self.play.until(step)
            self.play.page_impatient(self.policies)
            self.watcher.refusals(self.now)
            if step >= at:
                return

    def rest(self) -> None:
        """Let time pass until every run has closed, holds, or waits for people."""
        latest = self.now + LONGEST
        while (moment := self.play.next_moment()) is not None and moment <= latest:
            live = self.store.look(lambda tx: tx.runs(RunFilter(state="open", policy=self.policy.name)))
            if all(run.stage in AT_REST for run in live):
                return
            self.until(moment)

    def change_policy(self) -> None:
        """From now on another version of it runs."""
        self.note("the policy changes", {})
        self.policies = running(self.story.policy, self.catalog, f"+{self.new_id('version')}")
        self.play.change_policies()


def running(policy: LoadedPolicy, catalog: Catalog, change: str = "") -> PolicySet:
    """The policy alone, as the running set."""
    version = f"{policy.version}{change}"
    return PolicySet.of([Versioned(policy.policy, version, policy.text, policy.file)], catalog)


async def _no_reload() -> Reloaded:
    raise AssertionError("a story reloads nothing")
