"""One seed: alerts, faults and people over some virtual minutes; then the faults end, and all must settle.

    sim = Simulation(seed=7, alerts=250)
    sim.play()
    problems = check(sim)

Whatever is left to chance comes from one generator, in the order in which things happen in virtual time:
the same seed is the same story, to the letter (`Simulation.trace`).
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from remediator.core.alert import Alert, Delivery
from remediator.errors import StoreError
from remediator.store.memory import MemoryStore
from remediator.store.memory_runs import KeptRun
from remediator.store.steady import Instant
from tests.sim.loop import VirtualLoop
from tests.sim.moments import moment, seconds
from tests.sim.people import EVERYBODY, People
from tests.sim.policies import POLICIES, as_set
from tests.sim.replica import Process, Replica
from tests.sim.settling import unsettled
from tests.sim.world import World

ALERTS_S = 170.0
"""Alerts begin to fire for so long,"""
FAULTS_S = 210.0
"""faults are injected for so long,"""
DAMAGED_S = 100.0
"""rows are damaged for so long: what could not be read is left alone for a minute,"""
SETTLED_S = 60.0
"""and so long after the last of them everything is closed, or waits for somebody who was told."""
DRAIN_S = 180.0
"""So much later at the latest every alert is over and every hold, too."""
FLAPS_S = 8.0
"""A trouble that comes back so soon is the same one to Alertmanager: its alert keeps its start."""
AFTER_S = 20.0
"""So long it is watched on: what is over stays over."""
ODD = b"{}"
"""No run that anybody can read."""
MOST_DAMAGED = 6
REPLICAS = ("a", "b", "c")
NOTES = (
    "all is well",
    "'; DROP TABLE campaigns; --",
    "../../admin",
    "$(reboot) `id` ${campaign} {{ .Labels }}",
    "a/b?c=d#e&f=%2e%2e%2f",
    "<!channel> <https://evil|click> *bold*",
    "\u202egnp.exe \u0000 \r\nHost: evil",
    "-rf /",
    "",
)
"""What alerts say besides: it reaches the world as data, or not at all."""
MOST_RELOADS = 40
SETS = {
    one.version: {name: versioned.version for name, versioned in one.by_name.items()}
    for one in map(as_set, range(MOST_RELOADS))
}
"""What the policies' versions are in each set, by its own version."""


class TrueClock:
    """The store's own: it never jumps, so nothing is in doubt."""

    doubt = None

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def instant(self) -> Instant:
        return Instant(self.now())

    def now(self) -> datetime:
        return moment(self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


@dataclass
class Episode:
    """One trouble of one campaign that one policy's alert tells of."""

    policy: str
    campaign: str
    began: float
    starts: float  # as Alertmanager tells it: of two troubles close together, when the first one began
    note: str
    repeats: bool  # it is told again every half minute; the other only until somebody has heard it
    over: float = 0.0  # when it ended
    firing: bool = False

    @property
    def fingerprint(self) -> str:
        return f"{self.policy}:{self.campaign}"


class Simulation:
    """Everything of one seed."""

    def __init__(self, seed: int, alerts: int) -> None:
        self.seed = seed
        self.alerts = alerts
        self.rng = random.Random(f"remediator {seed}")
        self.loop = VirtualLoop()  # type: ignore[abstract]
        self.store = MemoryStore(TrueClock(self.loop))
        self.store._time = TrueClock(self.loop)  # type: ignore[assignment]  # what a jump costs is lost on it
        self.troubled = True  # faults are being injected
        self.store_down = 0.0  # until when it refuses every commit
        self.crashes = 0
        self.calls = 0  # transactions that were asked for
        self.commits = 0
        self.planned: dict[int, str] = {}  # what befalls the n-th transaction; see `play_one`
        self.accepted: dict[tuple[str, float], float] = {}  # (fingerprint, began) → when it was first taken
        self.answered: Counter[str] = Counter()  # by fingerprint: deliveries that were answered 2xx
        self.sets: list[tuple[float, dict[str, str]]] = []  # when which policies became current
        self.ended = 0.0
        self.episodes: list[Episode] = []
        self.current: dict[str, Episode] = {}  # fingerprint → the episode that its senders tell of
        self.defects: list[str] = []
        self.damaged: set[str] = set()  # runs whose rows could not be read for a while
        self.aside: set[str] = set()  # runs that were put aside, since they could not be decided
        self.taken_over: set[str] = set()  # by their lease's name
        self.zombies: list[str] = []
        self.stuck: list[str] = []
        self._ids = 0
        self._held: dict[int, str] = {}  # effect → who held it after the last commit
        self._current = ""  # the set of policies that is
        self._notes: list[tuple[float, str, str]] = []
        self.world = World(self)
        self.people = People(self)
        self.replicas = [Replica(self, name) for name in REPLICAS]

    # ── For those who play ────────────────────────────────────────────────────────────────────────

    def odds(self, chance: float) -> bool:
        """Does a fault happen now?"""
        return self.troubled and self.rng.random() < chance

    def latency(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def later(self, delay: float, then: Callable[..., object], *args: Any) -> None:
        self.loop.later(delay, then, *args)

    def new_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}-{self._ids:05}"

    def note(self, who: str, what: str) -> None:
        self._notes.append((self.loop.time(), who, what))

    def crash(self, process: Process, why: str) -> None:
        """It dies here and now: whatever it awaits next never comes."""
        if process.replica.process is process:
            self.crashes += 1
            process.replica.crash(why)

    def any_process(self) -> Process | None:
        """One that somebody could reach."""
        alive = [one.process for one in self.replicas if one.process is not None and one.process.joined]
        return self.rng.choice(alive) if alive else None

    def committed(self, by: str) -> None:
        """A replica's transaction was committed. Whose work others went on with may not write any more."""
        self.commits += 1
        self.aside.update(self.store._tables.aside)
        if by in self.taken_over:
            self.zombies.append(f"{by} wrote at {self.loop.time():.1f}, after others had taken over from it")
        holders = self.store._tables.holders
        if holders != self._held:
            self.taken_over |= {
                old for number, old in self._held.items() if old and holders.get(number, old) not in (old, "")
            }
            self._held = dict(holders)
        current = next(reversed(self.store._tables.sets), "")
        if current != self._current:
            self._current = current
            self.sets.append((self.loop.time(), SETS[current]))

    # ── The whole story ───────────────────────────────────────────────────────────────────────────

    def play(self) -> None:
        """From the first alert to the last end."""
        for replica in self.replicas:
            replica.clock.off = timedelta(seconds=self.latency(-3, 3))
            replica.start()
        for _ in range(self.alerts):
            self.later(self.latency(1.0, ALERTS_S), self._some_trouble)
        self.later(3.0, self._fault)
        self.loop.run(FAULTS_S)
        self._calm()
        self._settles()

    def play_one(self, policy: str, planned: dict[int, str]) -> None:
        """One alert and no chance: only these transactions go wrong, counted from the alert on.

        ``planned``: ``crash before`` | ``crash after`` | ``refused`` | ``lost`` (its answer)
        """
        self.troubled = False
        for replica in self.replicas:
            replica.start()
        self.loop.run(1.0)
        self.planned = {self.calls + number: fault for number, fault in planned.items()}
        self._trouble(policy, "c-0")
        self._settles()

    def _settles(self) -> None:
        """A minute later nothing may be left open; then every alert ends, and every hold."""
        self.loop.run(self.loop.time() + SETTLED_S)
        self.stuck = unsettled(self)
        for episode in self.episodes:
            self._over(episode)
        latest = self.loop.time() + DRAIN_S
        while self.loop.time() < latest and not self._idle():
            self.loop.run(self.loop.time() + 5.0)
        self.loop.run(self.loop.time() + AFTER_S)
        self.ended = self.loop.time()
        for replica in self.replicas:
            if replica.process is not None:
                self.loop.end(replica.process.life)
        self.loop.run(self.ended)
        self.defects += self.loop.defects

    def _idle(self) -> bool:
        """Is there nothing left to come?"""
        tables = self.store._tables
        firing = any(row.alert.firing for row in tables.alerts.values())
        untold = any(
            page.acked_at is None and page.id not in self.people.told for page in tables.pages.values()
        )
        return not (tables.live or tables.effects or tables.unsettled or firing or untold)

    def _calm(self) -> None:
        """Faults are over: everything can be reached, and the world does what it is told."""
        self.note("-", "faults are over")
        self.troubled = False
        for after in (0.0, 10.0):  # what was asked for when the faults ended may still be under way
            self.later(after, self.people.look_at_halts)
        self.store_down = self.people.slack_down = self.world.slow_until = 0.0
        for replica in self.replicas:
            replica.without_store = replica.without_world = 0.0
            replica.clock.off = timedelta(seconds=self.latency(-1, 1))
            if replica.process is not None and replica.process.life.frozen_until > self.loop.time():
                replica.process.life.frozen_until = 0.0
                self.loop._thaw(replica.process.life)

    # ── Alerts ────────────────────────────────────────────────────────────────────────────────────

    def _some_trouble(self) -> None:
        campaign = f"c-{self.rng.randrange(self.alerts // 6 + 1)}"
        self._trouble(self.rng.choice(POLICIES).name, campaign)

    def _trouble(self, policy: str, campaign: str) -> None:
        now, before = self.loop.time(), self.current.get(f"{policy}:{campaign}")
        if before is not None and before.firing:
            self._over(before)
        starts = before.starts if before is not None and now - before.over < FLAPS_S else now
        note, repeats = self.rng.choice(NOTES), self.rng.random() < 0.5
        episode = Episode(policy, campaign, now, starts, note, repeats)
        episode.firing = True
        self.episodes.append(episode)
        self.current[episode.fingerprint] = episode
        self.world.campaigns[campaign].troubles += 1
        if self.rng.random() < 0.4:
            self.later(self.latency(10.0, 90.0), self._over, episode)
        self._watch(episode)
        self._send(episode, firing=True)
        if self.rng.random() < 0.3:  # the other of two Alertmanagers, a little behind
            self.later(self.latency(0.0, 8.0), self._send, episode, True)

    def _watch(self, episode: Episode) -> None:
        """Prometheus looks every few seconds whether it is still wrong."""
        if not episode.firing:
            return
        if self.world.campaigns[episode.campaign].troubles == 0:
            self._over(episode)
        else:
            self.later(self.latency(3.0, 6.0), self._watch, episode)

    def _over(self, episode: Episode) -> None:
        if not episode.firing:
            return
        episode.firing = False
        episode.over = self.loop.time()
        campaign = self.world.campaigns[episode.campaign]
        campaign.troubles = max(0, campaign.troubles - 1)
        self.later(self.latency(0.5, 5.0), self._send, episode, False)
        if self.rng.random() < 0.3:
            self.later(self.latency(5.0, 12.0), self._send, episode, False)
        if self.odds(0.15) and self.loop.time() < ALERTS_S:
            self.later(self.latency(2.0, FLAPS_S), self._trouble, episode.policy, episode.campaign)

    def _send(self, episode: Episode, firing: bool) -> None:
        """One webhook: sent again until it is answered 2xx, unless there is newer to tell."""
        if self.current[episode.fingerprint] is not episode or episode.firing is not firing:
            return None
        alert = Alert(
            fingerprint=episode.fingerprint,
            status="firing" if firing else "resolved",
            labels={"alertname": episode.policy, "campaign": episode.campaign, "note": episode.note},
            starts_at=moment(episode.starts),
            ends_at=None if firing else moment(episode.over),
        )
        process = self.any_process()
        if process is None:
            return self.later(self.latency(1.0, 3.0), self._send, episode, firing)
        delivery = Delivery(source="alertmanager", alerts=(alert,), received_at=moment(self.loop.time()))

        async def posted() -> bool:
            try:
                await process.hook(delivery)
            except StoreError:
                return False
            self.answered[alert.fingerprint] += 1
            self.note(process.name, f"2xx {alert.fingerprint} {alert.status}")
            return True

        def answered(task: Any) -> None:
            newest = self.current[episode.fingerprint]
            if episode is not newest or firing is not newest.firing:  # perhaps it overtook the newest
                self.later(self.latency(0.5, 4.0), self._send, newest, newest.firing)
            elif task.cancelled() or not task.result():
                self.later(self.latency(0.5, 4.0), self._send, episode, firing)
            elif firing:
                self.accepted.setdefault((episode.fingerprint, episode.began), self.loop.time())
                if episode.repeats:
                    self.later(self.latency(20.0, 40.0), self._send, episode, True)

        self.loop.spawn(posted(), process.life).add_done_callback(answered)
        return None

    # ── Faults ────────────────────────────────────────────────────────────────────────────────────

    def _fault(self) -> None:
        """One of the larger faults; the small ones are everywhere."""
        if not self.troubled:
            return
        self.later(self.latency(2.0, 9.0), self._fault)
        now, replica = self.loop.time(), self.rng.choice(self.replicas)
        process = replica.process
        match self.rng.randrange(17):
            case 0 | 1 if process is not None:
                self.crash(process, "by chance")
            case 2 | 3 | 4 if process is not None:
                seconds = self.rng.choice((1.0, 5.0, 9.2, 10.5, 12.0, 13.5, 14.5, 20.0))
                self.note(process.name, f"FROZEN {seconds:g}s")
                self.loop.freeze(process.life, seconds)
            case 5 | 6:
                replica.without_store = now + self.latency(2.0, 18.0)
                self.note(replica.name, f"without the store until {replica.without_store:.1f}")
            case 7:
                replica.without_world = now + self.latency(2.0, 15.0)
                self.note(replica.name, f"without the world until {replica.without_world:.1f}")
            case 8:
                replica.clock.off = timedelta(
                    seconds=self.rng.choice((-3600, -60, -5, 2, 8, 30, 3600, 90000))
                )
                self.note(replica.name, f"its clock is off by {replica.clock.off}")
            case 9:
                self.store_down = now + self.latency(1.0, 5.0)
                self.note("-", f"no commits until {self.store_down:.1f}")
            case 10:
                self.people.slack_down = now + self.latency(3.0, 15.0)
            case 11:
                for one in self.replicas:
                    self.later(self.latency(0.0, 15.0), self._reload, one)
            case 12:
                scope = self.rng.choice(("all", "policy:pause", f"target:campaign/c-{self.rng.randrange(9)}"))
                self.people.halt(scope, self.latency(3.0, 20.0), undos=self.rng.random() < 0.3)
            case 13:
                self.world.slow_until = now + self.latency(10.0, 30.0)
                self.note("-", f"the world is slow until {self.world.slow_until:.1f}")
            case 14 | 15:
                self._damage()
            case _:
                if process is not None and self.rng.random() < 0.5:
                    self.note(process.name, "SIGTERM")
                    process.stop()
                policy = self.rng.choice(("pause", "halve", "advise"))
                self.people.starts(policy, f"c-{self.rng.randrange(9)}", self.rng.choice(EVERYBODY))

    def _damage(self) -> None:
        """Some runs' rows cannot be read until somebody mends them; then they have their turn in a minute."""
        tables = self.store._tables
        if self.loop.time() > DAMAGED_S:
            return
        live = sorted(tables.live)
        for run_id in self.rng.sample(live, min(len(live), MOST_DAMAGED)):
            kept = tables.runs[run_id]
            if kept.doc != ODD:
                tables.runs[run_id] = msgspec.structs.replace(kept, doc=ODD)
                self.damaged.add(run_id)
                self.note("-", f"{run_id} cannot be read")
                self.later(self.latency(1.0, 30.0), self._mend, kept)

    def _mend(self, kept: KeptRun) -> None:
        assert self.store._tables.runs[kept.id].doc == ODD, "written over, and had not been read"
        self.store._tables.runs[kept.id] = kept
        self.note("-", f"{kept.id} can be read again")

    def _reload(self, replica: Replica) -> None:
        replica.reloads += 1
        if replica.process is not None:
            self.note(replica.name, f"reads set {replica.reloads} of the policies")
            self.loop.spawn(replica.process.reload(), replica.process.life)

    # ── What is left ──────────────────────────────────────────────────────────────────────────────

    @property
    def trace(self) -> list[str]:
        """Everything that happened, a line each, in order."""
        journals = self.store._tables.journal
        lines = [(at, number, f"{who:<8} {what}") for number, (at, who, what) in enumerate(self._notes)]
        for run, entries in journals.items():
            lines += [(seconds(one.at), one.seq, f"{run:<8} {one.kind} {_told(one.data)}") for one in entries]
        return [f"{at:10.4f} {text}" for at, _, text in sorted(lines)]

    @property
    def hash(self) -> str:
        """Of the trace, and of every link of every journal."""
        heads = sorted(self.store._tables.heads.items())
        return hashlib.sha256("\n".join([*self.trace, repr(heads)]).encode()).hexdigest()


def _told(data: dict[str, Any]) -> str:
    """The short things that a line of a journal says."""
    short = {key: one for key, one in data.items() if isinstance(one, str | int | bool)}
    return " ".join(f"{key}={str(one)[:60]}" for key, one in short.items())
