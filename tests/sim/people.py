"""The people of the simulated world: what they were shown and told, and what they answer.

They vote in time, late, twice at once, without the role, on another plan than the one that is shown, or
against it. Whoever is paged about an unknown outcome, or comes upon its card, looks at the world and says
what is there; some name only the run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from remediator.core.run import Gate, Page, Question, Run
from remediator.engine.setbacks import UNREADY
from remediator.errors import ConnectorError
from remediator.ports import Answer, CardRef, Told
from tests.core.campaign import ROLES

if TYPE_CHECKING:
    from tests.sim.replica import Process
    from tests.sim.simulation import Simulation

EVERYBODY = ("amina", "bob", "carl", "dora")


@dataclass(frozen=True)
class Cast:
    """A vote as it was cast. ``ok``: it was answered that it counts; None when no answer came."""

    at: float
    gate: str
    by: str
    approve: bool
    seen: str
    answered_at: float | None = None
    ok: bool | None = None


@dataclass(frozen=True)
class Switch:
    """A halt as people know it: in force from the answer on, until somebody asks to lift it."""

    id: str
    scope: str
    undos: bool
    since: float
    until: float = float("inf")


@dataclass
class People:
    """Everybody, and the log of their Slack."""

    sim: Simulation
    slack_down: float = 0.0  # until when
    cards: dict[str, str] = field(default_factory=dict)  # gate → the state last shown
    shown: dict[str, Gate] = field(default_factory=dict)  # gate → as first shown
    starters: dict[str, str] = field(default_factory=dict)  # run → who started it by hand
    votes: list[Cast] = field(default_factory=list)
    told: dict[str, list[float]] = field(default_factory=dict)  # page → when somebody was told
    halts: list[Switch] = field(default_factory=list)
    looked: defaultdict[tuple[str, str], list[float]] = field(  # (run, step) → when they looked at the world
        default_factory=lambda: defaultdict(list)
    )
    _settling: set[str] = field(default_factory=set)

    def road(self, process: Process) -> Road:
        """How a process reaches them."""
        return Road(self, process)

    # ── What they see ─────────────────────────────────────────────────────────────────────────────

    def sees(self, run: Run) -> None:
        gate = run.gate
        assert gate is not None
        self.cards[gate.id] = gate.state
        if gate.state != "open" or gate.id in self.shown:
            return
        self.shown[gate.id] = gate
        if run.starter:
            self.starters[run.id] = run.starter
        self._plan_votes(gate, run.starter)

    def _plan_votes(self, gate: Gate, starter: str) -> None:
        sim = self.sim
        within = (gate.expires_at - gate.opened_at).total_seconds()
        right = [name for role, count in gate.required.items() for name in sorted(ROLES[role])[: count + 1]]
        mood = sim.rng.random()
        if mood < 0.12 and sim.troubled:
            right = right[:1]  # not enough, it will expire
        for by in dict.fromkeys(right):
            self._votes(sim.latency(0.5, 12.0), gate, by, approve=True)
        if not sim.troubled:
            return
        if mood > 0.92:
            self._votes(sim.latency(0.2, 10.0), gate, sim.rng.choice(right), approve=False)
        if sim.odds(0.3):
            self._votes(sim.latency(0.1, 5.0), gate, sim.rng.choice(EVERYBODY), approve=True)
        if sim.odds(0.2):
            self._votes(sim.latency(0.1, 5.0), gate, "mallory", approve=True)
        if sim.odds(0.2):
            self._votes(sim.latency(0.1, 5.0), gate, sim.rng.choice(right), approve=True, seen="f" * 16)
        if sim.odds(0.2):
            self._votes(within + sim.latency(-2.0, 5.0), gate, sim.rng.choice(right), approve=True)
        if starter:
            self._votes(0.2, gate, starter, approve=True)

    def _votes(self, after: float, gate: Gate, by: str, *, approve: bool, seen: str = "") -> None:
        for _ in range(2 if self.sim.odds(0.15) else 1):  # a double click
            cast = (gate.id, by, approve, seen or gate.hash[:16])
            self.sim.later(max(0.0, after + self.sim.latency(0.0, 0.3)), self._votes_now, *cast)

    def _votes_now(self, gate: str, by: str, approve: bool, seen: str) -> None:
        at = self.sim.loop.time()
        number = len(self.votes)
        self.votes.append(Cast(at, gate, by, approve, seen))

        async def vote(process: Process) -> None:
            if by == "mallory":
                return await process.desk.turn_away(gate, by, "nobody knows her")
            answer = await process.desk.vote(gate, by=by, approve=approve, via="slack", seen=seen)
            now = self.sim.loop.time()
            self.votes[number] = Cast(at, gate, by, approve, seen, now, answer.ok)
            return None

        self.asks(vote, tries=3)

    def asks(self, wish: Callable[[Process], Awaitable[None]], tries: int) -> None:
        """Somebody wants something of some replica, and tries another when that fails."""
        process = self.sim.any_process()

        async def asked() -> None:
            assert process is not None
            try:
                await wish(process)
            except UNREADY:
                self._again(wish, tries)

        if process is None:
            return self._again(wish, tries)
        task = self.sim.loop.spawn(asked(), process.life)
        task.add_done_callback(lambda done: self._again(wish, tries) if done.cancelled() else done.result())
        return None

    def _again(self, wish: Callable[[Process], Awaitable[None]], tries: int) -> None:
        if tries > 1:
            self.sim.later(self.sim.latency(0.5, 3.0), self.asks, wish, tries - 1)

    def hears(self, page: Page) -> None:
        """Somebody is paged."""
        self.told.setdefault(page.id, []).append(self.sim.loop.time())
        about = page.key.partition(":")[2]
        if about.startswith("unknown:") and page.id not in self._settling:
            self._settling.add(page.id)
            (question,) = re.findall(r"runs settle (\S+)", page.text)
            self.sim.later(self.sim.latency(3.0, 20.0), self._looks, question, about.removeprefix("unknown:"))
        if self.sim.rng.random() < 0.5:
            self.sim.later(self.sim.latency(1.0, 20.0), self._acknowledges, page.id)

    def comes_upon(self, question: Question) -> None:
        """Somebody sees its card, whom nobody has paged."""
        if question.open and question.id not in self._settling and self.sim.odds(0.2):
            self._settling.add(question.id)
            self.sim.later(self.sim.latency(1.0, 10.0), self._looks, question.id, question.step)

    def _looks(self, question: str, step: str) -> None:
        run = question.rpartition(".")[0]
        found = self.sim.world.holds(f"{run}/{step}")
        verdict = "happened" if found else "not-happened"
        if self.sim.odds(0.1):
            verdict = "handled"
        if self.sim.odds(0.2):  # somebody who is not asked guesses
            self._settles(question, "dora", "not-happened")
        self.looked[run, step].append(self.sim.loop.time())
        self._settles(question, self.sim.rng.choice(("bob", "carl")), verdict)

    def _settles(self, question: str, by: str, verdict: str) -> None:
        named = "" if self.sim.odds(0.6) else question

        async def settle(process: Process) -> None:
            run = question.rpartition(".")[0]
            answer = await process.desk.settle(run, by=by, verdict=verdict, reason="looked", question=named)
            if not answer.ok and not named:
                await process.desk.settle(run, by=by, verdict=verdict, reason="looked", question=question)

        self.asks(settle, tries=200)  # they were paged: they do not give up before it is taken

    def _acknowledges(self, page: str) -> None:
        async def ack(process: Process) -> None:
            await process.desk.acknowledge(page, by="bob")

        self.asks(ack, tries=2)

    # ── What they want ────────────────────────────────────────────────────────────────────────────

    def halt(self, scope: str, seconds: float, *, undos: bool) -> None:
        """Somebody throws the switch, and lifts it after a while."""

        async def throw(process: Process) -> None:
            answer = await process.desk.halt(by="amina", scope=scope, reason="drill", undos=undos)
            if answer.ok and answer.data is not None:
                halt = answer.data["halt"]
                self.sim.note("amina", f"halted {scope}")
                self.halts.append(Switch(halt, scope, undos, self.sim.loop.time()))
                self.sim.later(seconds, self.resume, len(self.halts) - 1)

        self.asks(throw, tries=3)

    def resume(self, number: int) -> None:
        """Lifted again; tried until it is."""
        switch = self.halts[number]
        self.halts[number] = Switch(switch.id, switch.scope, switch.undos, switch.since, self.sim.loop.time())

        async def lift(process: Process) -> None:
            await self._lifts(process, switch.id)
            self.sim.note("amina", f"resumed {switch.scope}")

        self.asks(lift, tries=50)

    def look_at_halts(self) -> None:
        """Lift those that nobody knows of: the answer to whoever threw the switch was lost."""
        known = {one.id for one in self.halts}
        for halt in [one for one in self.sim.store._tables.halts if one not in known]:
            self.asks(lambda process, halt=halt: self._lifts(process, halt), tries=50)  # type: ignore[misc]

    async def _lifts(self, process: Process, halt: str) -> None:
        await process.desk.resume(halt, by="amina")

    def starts(self, policy: str, campaign: str, by: str) -> None:
        """Somebody starts a run by hand."""
        key = f"hand-{self.sim.loop.time()}"

        async def start(process: Process) -> None:
            answer: Answer = await process.desk.start(policy, {"campaign": campaign}, by=by, key=key)
            self.sim.note(by, f"starts {policy} on {campaign}: {answer.text}")

        self.asks(start, tries=2)


class Road:
    """Slack, from one process: a `remediator.ports.Notifier`."""

    road = "slack"

    def __init__(self, people: People, process: Process) -> None:
        self._people = people
        self._sim = people.sim
        self._process = process

    async def _goes(self) -> bool:
        await self._sim.loop.pause(self._sim.latency(0.01, 0.3))
        return self._people.slack_down <= self._sim.loop.time() and not self._sim.odds(0.03)

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        if not await self._goes():
            return Told(ok=False, road=self.road, detail="503")
        assert people, "nobody is told"
        self._people.hears(page)
        return Told(ok=not self._sim.odds(0.03), road=self.road)  # the answer may be lost

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        if not await self._goes():
            raise ConnectorError(self.road, "503")
        assert run.gate is not None
        self._people.sees(run)
        if self._sim.odds(0.03):
            raise ConnectorError(self.road, "the answer was lost")
        ts = ref.ts if ref is not None else f"{self._sim.loop.time():.6f}"
        return CardRef(run.gate.id, "C0OPS", ts, run.gate.state)

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        if not await self._goes():
            raise ConnectorError(self.road, "503")
        self._people.comes_upon(question)
        return ref or CardRef(question.id, "C0OPS", f"{self._sim.loop.time():.6f}")

    async def withdraw(self, ref: CardRef) -> None:
        """Another daemon's card is the one that stays."""
        await self._goes()
