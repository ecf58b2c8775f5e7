"""One world, told to the core and to the clerk of `gate_on_paper` alike; after each event they must agree.

Numbers choose what happens: votes (wrong hashes, strangers, doubled, late, out of order), absences that
begin and end, alerts that end and come back, readings and pictures that change or come late, halts,
another version of the policy, and a vote written into the store behind everybody's back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from msgspec.structs import replace as with_fields

from remediator.core import gate as gates
from remediator.core.catalog import Cover
from remediator.core.evidence import Picture, Reading
from remediator.core.messages import Preview, Previewed, Probe, ProbeRead, TimePassed, Use, VoteCast
from remediator.core.play import next_deadline
from remediator.core.run import Gate, Stage, Vote
from tests.core.campaign import CATALOG, START
from tests.core.gate_on_paper import Ballot, PaperRun, Rota, Stand
from tests.core.gate_worlds import World
from tests.core.stories import Story

PEOPLE = ("amina", "bob", "carl", "dora", "erin", "mallory")
ROLES = {"oncall": {"bob", "carl"}, "lead": {"amina"}, "finance": {"amina", "dora"}}
SPANS = (1, 1, 1, 7, 7, 29, 31, 59, 60, 61, 180, 1000)


def _moment(second: int) -> datetime:
    return START + timedelta(seconds=second)


def _second(moment: datetime) -> int:
    return int((moment - START).total_seconds())


def _asked(key: str) -> str:
    """What is being read, in the clerk's words."""
    kind, _, name = key.partition(":")
    return {"before": "before", "verify": "proof", "diagnose": "figures"}.get(kind, f"picture:{name}")


def _picture(seen: int) -> Picture:
    return Picture(seen, f"{seen} rows")


def _reply(asked: Probe | Preview, value: int | None, now: datetime) -> ProbeRead | Previewed:
    """The answer as the core hears it; None: it cannot be had."""
    if isinstance(asked, Preview):
        picture = None if value is None else _picture(value)
        return Previewed(asked.round, asked.step, picture, "no such table" if value is None else "")
    seen = {"row": {"n": value}, "count": 1, "value": 0}
    reading = Reading(now, ok=True, value=seen) if value is not None else Reading(now, ok=False, error="-")
    return ProbeRead(asked.round, asked.key, reading)


class Game:
    """One world, told to the core and to the clerk alike. ``draw`` turns numbers into choices."""

    def __init__(self, world: World, draw: Callable[[int], int]) -> None:
        self.draw = draw
        starter = ("", "", "", "bob", "amina")[draw(5)]
        self.rota = Rota({role: set(people) for role, people in ROLES.items()})
        self.clerk = PaperRun(
            world.acts,
            world.cases,
            self.rota,
            world.reads_figures,
            starter,
            int(world.policy.bounds.deadline.total_seconds()),
            world.shut,
        )
        self.story = Story(world.policy, opened_by=f"person:{starter}" if starter else "alert")
        self.figure = 0
        self.pictures = dict.fromkeys(world.acts, 0)
        self.cast: list[tuple[int, VoteCast]] = []  # every vote, to be delivered once, twice or late
        self.old: list[Previewed | ProbeRead] = []  # answers that were given before
        self.prompt = draw(3) > 0  # the world answers at once what is read
        self.moves = (
            *(self.votes,) * 8,
            *(self.all_agree, self.all_agree_too_late),
            *(self.absence,) * 3,
            *(self.world_changes,) * 2,
            *(self.vote_comes_again, self.waits, self.jumps, self.alert),
            *(self.answers, self.answers, self.ends, self.ends, self.old_answer, self.beside, self.meddles),
        )
        self._compare()
        self._settle()

    def play(self) -> None:
        self.moves[self.draw(len(self.moves))]()
        self._settle()

    def finish(self) -> None:
        """Everybody answers, nobody votes any more: it comes to its end by itself."""
        self.prompt = True
        self._settle()
        for _ in range(40):
            if self.clerk.phase == "over":
                return
            if self.clerk.phase == "acting":
                self._ends(well=True)
            else:
                self._clock(max(self.clerk.now, self.clerk.next_moment()))
                self._time()
            self._settle()
        raise AssertionError(f"it does not end: {self.clerk.phase}")

    # People

    def votes(self) -> None:
        cards = len(self.story.run.all_gates)
        number = cards - 1 if cards and self.draw(10) else self.draw(cards + 1)
        card = self.story.run.all_gates[number].hash if number < cards else "f" * 64
        wrong = (card[:16], card[:12], card[:11], card[:1], "", "0" * 64, card + "0")
        seen = wrong[one] if (one := self.draw(30)) < len(wrong) else card
        by = self._somebody()
        claimed = self.story.now + timedelta(days=self.draw(3) - 1)  # as the voter's machine has it
        vote = Vote(by, self.draw(16) > 0, claimed, "api", seen)
        self.cast.append((number, VoteCast(f"r1.{number + 1}", vote)))
        if self.draw(6):
            self._deliver(*self.cast[-1])

    def all_agree(self) -> None:
        """Everybody who is asked says yes to the last card."""
        if self.clerk.phase != "open":
            return
        number, card = len(self.clerk.papers) - 1, self.story.gate.hash
        for by in PEOPLE[:5]:
            vote = Vote(by, approve=True, at=self.story.now, via="slack", hash=card)
            self._deliver(number, VoteCast(f"r1.{number + 1}", vote))

    def all_agree_too_late(self) -> None:
        """What they saw has changed meanwhile; perhaps again and again."""
        for _ in range(1 + self.draw(6)):
            if self.clerk.phase == "open":
                self.figure = (self.figure + 1) % 3
                self.pictures = {step: 1 - seen for step, seen in self.pictures.items()}
                self.all_agree()
                self._settle()

    def _somebody(self) -> str:
        """More often than not one of those who are asked."""
        asked = self.clerk.papers[-1].ask.places if self.clerk.papers and self.draw(4) else ()
        asked_people = [
            one for one in PEOPLE if any(self.rota.holds(one, role, self.clerk.now) for role in asked)
        ]
        people = asked_people or PEOPLE
        return people[self.draw(len(people))]

    def vote_comes_again(self) -> None:
        """The store takes votes in any order, and some of them twice."""
        if self.cast:
            self._deliver(*self.cast[self.draw(len(self.cast))])

    def _deliver(self, number: int, event: VoteCast) -> None:
        vote, turned_down = event.vote, len(self.clerk.turned_down)
        self.story.hears(event)
        self.clerk.vote(number, vote.by, yes=vote.approve, seen=vote.hash)
        self._compare()
        if number < len(self.clerk.papers) and len(self.clerk.turned_down) > turned_down:
            remarks = self.story.run.all_gates[number].remarks
            assert any(vote.by in one for one in remarks), "nobody told them why it does not count"

    def absence(self) -> None:
        """Somebody stands in, or does so no more; or a role has other people from now on."""
        agreed = self.clerk.papers[-1].agreed if self.clerk.papers else []
        person = agreed[self.draw(len(agreed))] if agreed and self.draw(2) else PEOPLE[self.draw(5)]
        roles = [one for one in ROLES if self.rota.holds(person, one, self.clerk.now)]
        role = roles[self.draw(len(roles))] if roles and self.draw(2) else list(ROLES)[self.draw(3)]
        match self.draw(4):
            case 0 | 1:
                since = None if self.draw(2) else self.clerk.now + SPANS[self.draw(len(SPANS))]
                until = (since or self.clerk.now) + SPANS[self.draw(len(SPANS))]
                self.rota.stands.append(Stand(role, person, since, until))
            case 2:
                del self.rota.stands[self.draw(3) :]
            case _:
                self.rota.members[role] ^= {person}
        covers = {
            role: tuple(
                Cover(one.person, _moment(one.until), None if one.since is None else _moment(one.since))
                for one in self.rota.stands
                if one.role == role
            )
            for role in ROLES
        }
        members = {role: frozenset(people) for role, people in self.rota.members.items()}
        self.story.sees(catalog=replace(CATALOG, roles=members, covers=covers))
        self._compare()

    # Time

    def waits(self) -> None:
        self._clock(self.clerk.now + SPANS[self.draw(len(SPANS))])
        if self.draw(2):
            self._time()

    def jumps(self) -> None:
        """To the very moment at which something ends, or the last second before it."""
        edges = [edge for one in self.rota.stands for edge in (one.since or 0, one.until)]
        if not self.draw(4):
            edges = [self.clerk.next_moment(), *(one.ends for one in self.clerk.papers)]
        near = [edge - self.draw(2) for edge in edges if edge > self.clerk.now]
        if near:
            self._clock(near[self.draw(len(near))])
            if self.draw(2):
                self._time()

    def _clock(self, second: int) -> None:
        self.story.at(_moment(second))
        self.clerk.now = second
        self._compare()

    def _time(self) -> None:
        self.story.hears(TimePassed())
        self.clerk.time()
        self._compare()

    # The world

    def alert(self) -> None:
        name = ("f1", "f2")[self.draw(2)]
        firing = self.draw(3) == 0
        if not firing and name not in self.clerk.firing:
            return  # nobody tells a run of the end of a stranger
        (self.story.fires if firing else self.story.resolves)(name)
        self.clerk.alert(name, firing=firing)
        self._compare()

    def world_changes(self) -> None:
        if self.draw(2):
            self.figure = self.draw(5)
        else:
            self.pictures[list(self.pictures)[self.draw(len(self.pictures))]] = self.draw(2)

    def answers(self) -> None:
        """Some reading comes, or fails; or from now on they come when they like."""
        if self.story.out:
            self._answer(self.draw(len(self.story.out)), fails=not self.draw(6))
        else:
            self.prompt = bool(self.draw(2))

    def _settle(self) -> None:
        while self.prompt and self.story.out:
            self._answer(0)

    def _answer(self, number: int, *, fails: bool = False) -> None:
        asked = self.story.out.pop(number)
        what = f"picture:{asked.step}" if isinstance(asked, Preview) else _asked(asked.key)
        value = None if fails and what != "proof" else self._as_it_is(what)
        event = _reply(asked, value, self.story.now)
        self.old.append(event)
        self.story.hears(event)
        self.clerk.answered(what, value)
        self._compare()

    def _as_it_is(self, what: str) -> int:
        return self.figure if what == "figures" else self.pictures.get(what.removeprefix("picture:"), 0)

    def old_answer(self) -> None:
        """A reading or a picture is delivered once more; nobody asks for it now."""
        if self.old:
            event = self.old[self.draw(len(self.old))]
            before = self.story.run
            self.story.hears(event)
            assert self.story.run == before, "an old answer changed something"

    def ends(self) -> None:
        if self.story.promises.wire:
            self._ends(well=self.draw(8) > 0)

    def _ends(self, *, well: bool) -> None:
        (self.story.done if well else self.story.refused)()
        self.clerk.ended(well=well)
        self._compare()

    def beside(self) -> None:
        """Halts, other runs, another version of the policy."""
        clerk = self.clerk
        match self.draw(7):
            case 0:
                clerk.halted = True
                self.story.halted()
            case 1 if not self.story.run.locks_target:
                clerk.busy = True
                self.story.sees(holder="r9")
            case 2:
                clerk.cooling = True
                self.story.sees(use=Use(last_act=self.story.now + timedelta(days=1)))
            case 3 | 4:
                clerk.version_runs = not clerk.version_runs
                told = self.draw(2) > 0
                self.story.policy_changes(
                    "v1" if clerk.version_runs else ("v2", None)[self.draw(2)], told=told
                )
                if told:
                    clerk.told_of_policies()
            case _:
                clerk.halted = clerk.busy = clerk.cooling = False
                self.story.sees(halts=(), holder=None, use=Use())
        self._compare()

    def meddles(self) -> None:
        """Somebody changes rows behind everybody's back, when all have agreed: nothing may start of it."""
        run, gate, step = self.story.run, self.story.run.gate, self.story.run.step
        if gate is None or gate.state != "approved" or self.clerk.phase != "checking":
            return
        if step is None or step.intention is None or step.name not in gate.steps:
            return
        call = with_fields(step.intention.call, args={**step.intention.call.args, "path": "/wipe"})
        other = with_fields(step, intention=with_fields(step.intention, call=call))
        match self.draw(3):
            case 0:
                real = self.draw(2) > 0
                vote = Vote(
                    PEOPLE[self.draw(5)], real, self.story.now, "api", "f" * 64 if real else gate.hash
                )
                gate = with_fields(gate, votes=(*gate.votes, vote))
                self.clerk.papers[-1].ballots.append(Ballot(vote.by, vote.approve, self.clerk.now))
            case 1:
                run = with_fields(run, steps={**run.steps, step.name: other})
            case _:
                assert other.intention is not None
                kept = (other.intention if one.step == step.name else one for one in gate.intentions)
                gate = with_fields(gate, intentions=tuple(kept))
                run = with_fields(run, steps={**run.steps, step.name: other})
        self.clerk.papers[-1].spoiled = True
        self.story.decisions[-1] = with_fields(self.story.last, run=with_fields(run, gate=gate))
        self._compare()

    # Do they agree?

    def _compare(self) -> None:
        story, clerk, run = self.story, self.clerk, self.story.run
        if len(run.all_gates) == len(clerk.papers) and clerk.papers and not clerk.papers[-1].card:
            clerk.papers[-1].card = run.all_gates[-1].hash
        assert [gate.state for gate in run.all_gates] == [paper.state for paper in clerk.papers]
        for number, gate in enumerate(run.all_gates):
            self._compare_gate(number, gate)
        assert [act.step for act in story.acts] == clerk.started
        assert (run.stage is Stage.CLOSED) == (clerk.phase == "over"), (run.stage, clerk.phase)
        assert run.outcome == clerk.outcome, run.reason
        assert sorted(map(_asked, run.pending)) == sorted(clerk.wants)
        if clerk.phase != "over":
            asked = (one.key if isinstance(one, Probe) else f"preview:{one.step}" for one in story.out)
            assert sorted(map(_asked, asked)) == sorted(clerk.wants), "what nobody reads never comes"
        assert len(story.paged) == clerk.pages, story.paged
        self._compare_counts()
        self._compare_journal()
        if clerk.waits:
            deadline = next_deadline(run, story.facts)
            assert deadline is not None
            assert _second(deadline) == clerk.next_moment()
        if story.acts and not story.acts[-1].undo:
            self._compare_act()

    def _compare_counts(self) -> None:
        counted = [one for turn in self.story.decisions for one in turn.counted]
        assert [one.what for one in counted if one.kind == "denied"] == self.clerk.denials
        changed = [one for one in self.clerk.started if not self.clerk.acts[one].safe]
        assert len([one for one in counted if one.kind == "act"]) == len(changed)

    def _compare_journal(self) -> None:
        """Every vote is in it, and what became of it; so is what became of each gate."""
        papers, written = self.clerk.papers, Counter(entry.kind for entry in self.story.journal)
        refused = [entry.data["by"] for entry in self.story.journal if entry.kind == "vote-refused"]
        assert refused == self.clerk.turned_down
        assert written["gate-opened"] == len(papers)
        assert written["gate-expired"] == len([one for one in papers if one.state == "expired"])
        assert written["started"] == len(self.clerk.started)
        assert written["closed"] == (self.clerk.phase == "over")
        if not any(one.spoiled for one in papers):
            assert written["vote"] == sum(len(one.ballots) for one in papers)

    def _compare_gate(self, number: int, gate: Gate) -> None:
        paper = self.clerk.papers[number]
        assert gate.steps == paper.steps
        assert +Counter(gate.required) == Counter(paper.ask.places)
        assert (_second(gate.opened_at), _second(gate.expires_at)) == (paper.opened, paper.ends)
        assert gate.late == paper.ask.late
        assert [(vote.by, vote.approve, _second(vote.at)) for vote in gate.votes] == [
            (ballot.by, ballot.yes, ballot.at) for ballot in paper.ballots
        ]
        assert gates.approvers(gate) == paper.agreed
        for other in self.clerk.papers:
            same = (other.ask, other.shown) == (paper.ask, paper.shown)
            assert same or other.card != paper.card, "one hash, and two things to agree to"
        if gate.state == "open":
            missing = Counter(gates.missing(gate, self.story.facts.roles))
            assert missing in paper.missing(self.rota, self.clerk.now)

    def _compare_act(self) -> None:
        """What is sent is what people saw."""
        act = self.story.acts[-1]
        papers = [one for one in self.clerk.papers if one.state == "approved" and act.step in one.steps]
        for paper in papers:
            assert str(act.call.args.get("path", "")) == paper.shown[act.step]
            seen = paper.shown.get(f"picture:{act.step}")
            assert act.shown == (None if seen is None else _picture(seen))


def play(world: World, numbers: bytes) -> Game:
    """As many moves as there are numbers, and then whatever follows by itself."""
    left = list(reversed(numbers))
    game = Game(world, lambda below: left.pop() % below if left else 0)
    while left and game.clerk.phase != "over":
        game.play()
    game.finish()
    return game
