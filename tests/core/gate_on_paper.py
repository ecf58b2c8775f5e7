"""Gates as careful people would run them on paper: a naive second opinion on what the core does.

Nothing here is taken from the core. Time is whole seconds since the run was opened; ballots lie in the
order in which they came; people are put on places in every possible way; who holds a role is looked up
in a list of names and spans. `test_gate_model` plays the same world against this and against the core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

DEBOUNCE = 60
MOST_VOIDS = 3
STALE = 10
"""Seconds after which figures are too old to begin anything on."""

# ── Who holds which role ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Stand:
    """Somebody stands in for a role, from a moment (None: always before) until just before another."""

    role: str
    person: str
    since: int | None
    until: int


@dataclass
class Rota:
    """Who holds which role, and who stands in."""

    members: dict[str, set[str]]
    stands: list[Stand] = field(default_factory=list)

    def holds(self, person: str, role: str, at: int) -> bool:
        if person in self.members.get(role, ()):
            return True
        for one in self.stands:
            began = one.since is None or one.since <= at
            if (one.person, one.role) == (person, role) and began and at < one.until:
                return True
        return False


# ── One gate ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ask:
    """What a policy asks of people for some steps: one role's name for each place."""

    steps: tuple[str, ...]
    places: tuple[str, ...]
    within: int = 900
    late: str = "page"


@dataclass(frozen=True)
class Ballot:
    """A vote that counts."""

    by: str
    yes: bool
    at: int


@dataclass
class Paper:
    """A gate. ``card``: the hash printed on its card; ``shown``: what people saw there.

    ``spoiled``: somebody changed it, or what it is about, behind everybody's back.
    """

    steps: tuple[str, ...]
    ask: Ask
    opened: int
    shown: Mapping[str, Any]
    card: str = ""
    state: str = "open"
    spoiled: bool = False
    carried: bool = False  # people had agreed
    ballots: list[Ballot] = field(default_factory=list)

    @property
    def ends(self) -> int:
        return self.opened + self.ask.within

    @property
    def agreed(self) -> list[str]:
        """Who said yes in time, each once."""
        return list(
            dict.fromkeys(ballot.by for ballot in self.ballots if ballot.yes and ballot.at < self.ends)
        )

    def seatings(self, rota: Rota, now: int) -> Iterator[tuple[str | None, ...]]:
        """Every way to put people who agreed on the places that they may take: nobody sits twice."""
        fitting = [
            [None, *(one for one in self.agreed if rota.holds(one, role, now))] for role in self.ask.places
        ]
        for seated in product(*fitting):
            people = [one for one in seated if one is not None]
            if len(people) == len(set(people)):
                yield seated

    def is_full(self, rota: Rota, now: int) -> bool:
        return any(None not in seated for seated in self.seatings(rota, now))

    def missing(self, rota: Rota, now: int) -> list[Counter[str]]:
        """What may be said to be missing: each best seating leaves places empty, of one role or another."""
        empty = [
            Counter(role for role, one in zip(self.ask.places, seated, strict=True) if one is None)
            for seated in self.seatings(rota, now)
        ]
        fewest = min(one.total() for one in empty)
        return [one for one in empty if one.total() == fewest]

    def why_not(self, by: str, now: int, rota: Rota, *, yes: bool, seen: str, starter: str) -> str:
        """Why this vote does not count, or ""."""
        if self.state != "open":
            return "not open"
        if now >= self.ends:
            return "late"
        if len(seen) < 12 or self.card[: len(seen)] != seen:
            return "another plan"
        if not any(rota.holds(by, role, now) for role in self.ask.places):
            return "no role"
        if yes and by == starter:
            return "own run"
        if yes and by in [ballot.by for ballot in self.ballots]:
            return "twice"
        return ""


# ── A run, as far as gates are concerned ──────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Act:
    """One step. ``path``: what its call says, ``{n}`` being the figure that was read."""

    path: str = ""
    safe: bool = False
    pictured: bool = False
    proved: bool = False
    reads_before: bool = False  # its proof compares with that


@dataclass(frozen=True)
class Case:
    """A row of the decision table: holds for figures above this."""

    above: int
    steps: tuple[str, ...]
    asks: tuple[Ask, ...]


@dataclass
class PaperRun:
    """What a clerk would do, event by event. ``wants``: what is being read; ``pages``: how many."""

    acts: Mapping[str, Act]
    cases: tuple[Case, ...]
    rota: Rota
    reads_figures: bool
    starter: str = ""
    deadline: int = 6 * 3600
    shut: tuple[tuple[int, int], ...] = ()  # when the policy's windows are shut: from, until just before

    now: int = 0
    phase: str = ""  # figures | pictures | open | checking | acting | proving | over
    wants: set[str] = field(default_factory=set)
    read: dict[str, Any] = field(default_factory=dict)
    read_at: int = 0  # when the figures came
    figure: int = 0  # on which it was decided
    seen: int | None = None  # what a later card shows and asks about: the figure may have moved since
    case: Case | None = None
    at: int = 0
    papers: list[Paper] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    outcome: str | None = None
    pages: int = 0
    denials: list[str] = field(default_factory=list)
    turned_down: list[str] = field(default_factory=list)  # whose votes did not count ...
    reasons: list[str] = field(default_factory=list)  # ... and why
    voids: int = 0
    firing: dict[str, bool] = field(default_factory=dict)
    quiet_since: int | None = None
    # The world beside the run, as it is right now
    version_runs: bool = True
    halted: bool = False
    busy: bool = False  # another run acts on the target
    cooling: bool = False  # another run has just acted

    def __post_init__(self) -> None:
        if not self.starter:
            self.firing = {"f1": True}
        self._diagnose()

    # What is known

    @property
    def step(self) -> str:
        assert self.case is not None
        return self.case.steps[self.at]

    @property
    def acted(self) -> bool:
        return any(not self.acts[step].safe for step in self.started)

    @property
    def is_shut(self) -> bool:
        return any(begin <= self.now < end for begin, end in self.shut)

    @property
    def is_quiet(self) -> bool:
        """Has the trouble been over for so long that it counts?"""
        return self.quiet_since is not None and self.now >= self.quiet_since + DEBOUNCE

    @property
    def waits(self) -> bool:
        """Nothing is on its way to the world, and the run is not over."""
        return self.phase in ("figures", "pictures", "open", "checking")

    def next_moment(self) -> int:
        """When something will happen by itself."""
        moments = [self.deadline]
        if self.quiet_since is not None:
            moments.append(self.quiet_since + DEBOUNCE)
        if self.phase == "open":
            moments.append(self.papers[-1].ends)
        return min(moments)

    def _case_for(self, figure: int) -> Case:
        return next(case for case in self.cases if figure > case.above)

    def _ask(self, step: str) -> Ask | None:
        assert self.case is not None
        return next((ask for ask in self.case.asks if step in ask.steps), None)

    def _approval(self, step: str) -> Paper | None:
        return next((one for one in self.papers if one.state == "approved" and step in one.steps), None)

    def _opens(self, step: str) -> bool:
        """Does it begin what some paper is about?"""
        paper = self._approval(step)
        return paper is not None and not any(one in self.started for one in paper.steps)

    # The way of a run

    def _diagnose(self) -> None:
        self.phase, self.wants = "figures", {"figures"} if self.reads_figures else set()
        if not self.wants:
            self._decide(0)

    def _decide(self, figure: int) -> None:
        self.figure, self.case, self.at = figure, self._case_for(figure), 0
        self._choose()

    def _choose(self) -> None:
        assert self.case is not None
        if self.at < len(self.case.steps) and self.now >= self.deadline:
            self.pages += 1
            return self._over("expired")
        if self.at < len(self.case.steps) and self.is_quiet:
            return self._alert_over()
        while self.at < len(self.case.steps) and (self.acted or self.version_runs):
            if self.step not in self.started:
                return self._ask_or_check()
            self.at += 1
        return self._over("fixed" if self.at == len(self.case.steps) else "refused")

    def _ask_or_check(self) -> None:
        ask = self._ask(self.step)
        if ask is None or self._approval(self.step):
            return self._check()
        if self.halted or self.busy or self.is_shut or (self.cooling and not self.acted):
            return self._stop() if self.acted else self._refused()
        self.phase, self.read, self.seen = "pictures", {}, None
        self.wants = {"figures"} if self.acted and self.reads_figures else set()
        return None if self.wants else self._draw(ask)

    def _draw(self, ask: Ask) -> None:
        """Once the figures are known of which the steps are made, what they would change is drawn."""
        self.seen = self.read.pop("figures", None)
        self.wants = {f"picture:{one}" for one in self._left(ask) if self.acts[one].pictured}
        return None if self.wants else self._open()

    def _left(self, ask: Ask) -> tuple[str, ...]:
        return tuple(one for one in ask.steps if one not in self.started)

    def _open(self) -> None:
        ask = self._ask(self.step)
        assert ask is not None
        shown = self.figure if self.seen is None else self.seen
        calls = {one: self.acts[one].path.format(n=shown) for one in self._left(ask)}
        self.phase, self.wants = "open", set()
        self.papers.append(Paper(tuple(calls), ask, self.now, {**calls, **self.read}))

    def _check(self) -> None:
        """Look once more at what people were shown, before the first change and after each approval."""
        paper = self._approval(self.step)
        self.phase, self.read, self.wants = "checking", {}, set()
        if self.acted and self._opens(self.step) and self.quiet_since is not None and not self.is_quiet:
            return  # it has only just ended: does it stay so?
        if paper is not None and self._looks_again():
            self.wants = {name for name in paper.shown if name.startswith("picture:")}
            if self.reads_figures:
                self.wants.add("figures")
        if self.acts[self.step].reads_before:
            self.wants.add("before")
        if not self.wants:
            self._start()

    def _looks_again(self) -> bool:
        return self._opens(self.step) if self.acted else not self.acts[self.step].safe

    def _checked(self) -> None:
        """Everything was read again."""
        paper = self._approval(self.step)
        if paper is not None and self._looks_again() and (self._too_old() or self._differs(paper)):
            return self._void()
        self.figure = self.read.get("figures", self.figure)
        return self._start()

    def _too_old(self) -> bool:
        """Were the figures read long ago, since something else took its time?"""
        return "figures" in self.read and self.now >= self.read_at + STALE

    def _differs(self, paper: Paper) -> bool:
        """Has anything moved since people saw it?"""
        figure = self.read.get("figures", self.figure)
        shown = self.figure if self.seen is None else self.seen
        case = self.case if self.seen is None else self._case_for(self.seen)
        if figure is None or self._case_for(figure) != case:
            return True
        paths = [self.acts[one].path for one in paper.steps if not self.acts[one].safe]
        if any(path.format(n=figure) != path.format(n=shown) for path in paths):
            return True
        pictures = {name: seen for name, seen in paper.shown.items() if name.startswith("picture:")}
        return any(self.read[name] != seen for name, seen in pictures.items())

    def _void(self) -> None:
        self._tear_up()
        self.voids += 1
        if self.voids > MOST_VOIDS:
            self.pages += 1
            return self._over("failed" if self.acted else "refused")
        return self._choose() if self.acted else self._diagnose()

    def _tear_up(self) -> None:
        for paper in self.papers:
            carried_out = all(one in self.started for one in paper.steps)
            if paper.state == "open" or (paper.state == "approved" and not carried_out):
                paper.state = "void"

    def _start(self) -> None:
        """The last look, at everything that could have changed since people agreed."""
        act, paper = self.acts[self.step], self._approval(self.step)
        first = not self.acted or self._opens(self.step)
        if first and self.quiet_since is not None:
            return self._check() if self.acted and not self.is_quiet else self._alert_over()
        if first and not self.version_runs:
            return self._over("refused")
        if self.halted or self.busy or self.is_shut or (self.cooling and not self.acted and not act.safe):
            return self._stop()
        agreed = paper is not None and not paper.spoiled and paper.is_full(self.rota, self.now)
        if self._ask(self.step) is not None and not agreed:
            return self._stop()
        self.started.append(self.step)
        self.phase, self.wants = "acting", set()
        return None

    def _stop(self) -> None:
        """It may not start. With nothing done that is a refusal; else somebody has to look."""
        if not self.finished:
            return self._refused()
        self.pages += 1
        return self._over("failed")

    def _refused(self) -> None:
        """Something said no. Whoever had agreed before must hear of it."""
        in_vain = any(one.carried and not set(one.steps) & set(self.started) for one in self.papers)
        self.pages += in_vain
        self._over("refused")

    def _alert_over(self) -> None:
        self._over("fixed" if self.acted else "recovered")

    def _over(self, outcome: str) -> None:
        if self.papers and self.papers[-1].state == "open":
            self._tear_up()
        self.phase, self.wants, self.outcome = "over", set(), outcome

    # What happens

    def vote(self, number: int, by: str, *, yes: bool, seen: str) -> None:
        """A vote on the gate of this number (from 0) reaches the store."""
        if self.phase == "over":
            return
        paper = self.papers[number] if number < len(self.papers) else None
        why = "no card"
        if paper is not None:
            why = paper.why_not(by, self.now, self.rota, yes=yes, seen=seen, starter=self.starter)
        if paper is None or why:
            self.turned_down.append(by)
            self.reasons.append(why)
            return
        paper.ballots.append(Ballot(by, yes, self.now))
        if not yes:
            paper.state = "denied"
            self.denials.append("")
            self._over("denied")
        elif paper.is_full(self.rota, self.now):
            paper.state, paper.carried = "approved", True
            self._check()

    def time(self) -> None:
        """Somebody looks at the clock."""
        if not self.waits:
            return
        if self.is_quiet:
            self._alert_over()
        elif self.now >= self.deadline:
            self.pages += 1
            self._over("expired")
        elif self.phase == "open" and self.now >= self.papers[-1].ends:
            self.papers[-1].state = "expired"
            self.denials.append("expired")
            self.pages += self.papers[-1].ask.late == "page"
            self._over("expired")

    def alert(self, name: str, *, firing: bool) -> None:
        """An alert fires, or has ended."""
        if self.phase == "over" or self.firing.get(name) == firing:
            return
        self.firing[name] = firing
        over = not self.starter and not any(self.firing.values())
        self.quiet_since = self.now if over else None
        if self.phase == "checking" and not self.wants and not over:
            self._check()

    def told_of_policies(self) -> None:
        """The run hears that the policies may have changed."""
        if self.waits and not self.version_runs and (not self.acted or self.phase == "open"):
            self._over("refused")

    def answered(self, what: str, value: Any) -> None:
        """What was being read. None: it could not be."""
        if what not in self.wants:
            return None
        self.wants.discard(what)
        self.read[what] = value
        if what == "figures":
            self.read_at = self.now
        if value is None and self.phase == "figures":
            return self._refused()
        if value is None and what.startswith("picture:") and self.phase == "checking":
            return self._void()  # rows that are gone are other rows
        if value is None and not (what == "figures" and self.phase == "checking"):
            return self._stop()
        if self.wants:
            return None
        match self.phase:
            case "figures":
                return self._decide(value)
            case "pictures" if what == "figures":
                ask = self._ask(self.step)
                assert ask is not None
                return self._draw(ask)
            case "pictures":
                return self._open()
            case "checking":
                return self._checked()
        return self._went_well()  # proving

    def ended(self, *, well: bool) -> None:
        """The world answers what was started."""
        if self.phase != "acting":
            return
        if not well:
            self.pages += 1
            self._over("failed")
        elif self.acts[self.step].proved:
            self.phase, self.wants = "proving", {"proof"}
            self.read = {}
        else:
            self._went_well()

    def _went_well(self) -> None:
        self.finished.append(self.step)
        self.at += 1
        self._choose()
