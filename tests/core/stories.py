"""Tells what happens to one run, over the real core, in virtual time and the domain's words.

    Story(policy).probe("budget", row={…}).approve("amina").starts("pause").done().closes("fixed")

A probe that was answered once gives the same answer when it is read again, until the story says
otherwise. After every decision the promises that hold for each of them are checked (`Promises`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

import msgspec

from remediator.core import gate as gates
from remediator.core.alert import Alert
from remediator.core.catalog import Catalog, Connection, Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.decide import UNTOUCHED
from remediator.core.durations import Rate
from remediator.core.evidence import Picture, Reading
from remediator.core.expression import parse_duration
from remediator.core.messages import (
    Act,
    AlertHeard,
    Card,
    Decision,
    Done,
    Effect,
    Entry,
    Event,
    Facts,
    Inquire,
    Inquired,
    Marked,
    PolicyChanged,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    Refused,
    Result,
    Settled,
    StepFinished,
    TimePassed,
    Unknown,
    Use,
    VoteCast,
)
from remediator.core.planning import Address, address
from remediator.core.play import Opening, begin, decide, next_deadline
from remediator.core.policy import Policy
from remediator.core.run import Gate, Halt, Run, Stage, StepState, Vote

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
VERSION = "v1"
TARGET = "campaign/c-1"

ROLES = {
    "oncall": frozenset({"bob", "carl"}),
    "lead": frozenset({"amina"}),
    "finance": frozenset({"amina", "dora"}),
}

_HTTP = {
    "method": Param("", escape=Escape.LITERAL),
    "path": Param("", escape=Escape.PATH),
    "body": Param("", type="any"),
}

CATALOG = Catalog.of(
    [
        Operation("sql.query", Kind.PROBE, "", {"sql": Param("", escape=Escape.LITERAL)}),
        Operation("http.get", Kind.PROBE, "", {"path": Param("", escape=Escape.PATH)}),
        Operation("http.request", Kind.ACTION, "", _HTTP, risk=Risk.DISRUPTIVE),
        Operation("sql.execute", Kind.ACTION, "", {}, risk=Risk.DESTRUCTIVE, previews=True),
        Operation("slack.message", Kind.ACTION, "", {"text": Param("", escape=Escape.MRKDWN)}),
        Operation(
            "ledger.execute",
            Kind.ACTION,
            "",
            {"sql": Param("", escape=Escape.LITERAL), "args": Param("", type="list", exact=True)},
            risk=Risk.DESTRUCTIVE,
            fence=Fence.TRANSACTION,
            previews=True,
        ),
        Operation("ledger.restore", Kind.ACTION, "", {}, risk=Risk.DESTRUCTIVE, fence=Fence.TRANSACTION),
    ],
    connections={
        "db": Connection("db", "sql"),
        "api": Connection("api", "http", risks={"POST /safe/*": Risk.SAFE, "DELETE /*": Risk.DESTRUCTIVE}),
        "keyed": Connection("keyed", "http", fence=Fence.KEY),
        "slack": Connection("slack", "slack"),
        "ledger": Connection("ledger", "ledger"),
    },
    roles=ROLES,
    targets=frozenset({"campaign"}),
    budgets={"pauses": Rate(2, timedelta(hours=1))},
)


# ── Policies ──────────────────────────────────────────────────────────────────────────────────────


def post(path: str, **rest: Any) -> dict[str, Any]:
    """A disruptive step: one POST, waived unless the story gives it a gate."""
    call = {"use": "http.request", "via": "api", "with": {"method": "POST", "path": path}}
    return call | {"gate": {"waived": "the story is not about gates"}} | rest


def change(**rest: Any) -> dict[str, Any]:
    """A destructive step: one statement in a transaction that leaves a mark, taken back after an hour."""
    call = {"use": "ledger.execute", "via": "ledger", "with": {"sql": "UPDATE …", "args": ["${campaign}"]}}
    terms = {"rows": 1, "gate": votes(oncall=1), "undo": {"how": "restore", "after": "1h"}}
    return call | terms | rest


def say(text: str = "look at ${campaign}", **rest: Any) -> dict[str, Any]:
    """A safe step: one message."""
    return {"use": "slack.message", "with": {"text": text}} | rest


def votes(within: str = "15m", late: str = "page", **required: Any) -> dict[str, Any]:
    """A gate."""
    return {"votes": required, "within": within, "late": late}


def proof(until: str = "verify.value == 0", **rest: Any) -> dict[str, Any]:
    """A proof by one probe."""
    return {"use": "http.get", "via": "api", "with": {"path": "/health"}, "until": until} | rest


def undo(path: str = "/resume/${campaign}", **rest: Any) -> dict[str, Any]:
    """An undo by one POST."""
    return {"use": "http.request", "via": "api", "with": {"method": "POST", "path": path}} | rest


def policy(steps: Mapping[str, Any] | None = None, **rest: Any) -> Policy:
    """A policy on one campaign; by default it probes nothing and takes all its steps, in order."""
    steps = steps or {}
    text: dict[str, Any] = {
        "policy": "late-campaign",
        "summary": "A campaign is late",
        "mode": "act",
        "match": ['{alertname="CampaignLate"}'],
        "params": {"campaign": {"from": "labels.campaign", "pattern": "[a-z0-9-]{1,20}"}},
        "target": "campaign/${campaign}",
        "decide": [{"do": list(steps)}] if steps else [{"do": "nothing"}],
        "steps": steps,
    }
    return Policy.model_validate(text | rest)


def budget_probe(**rest: Any) -> dict[str, Any]:
    """A probe that reads one row."""
    return {"budget": {"use": "sql.query", "via": "db", "with": {"sql": "SELECT 1"}} | rest}


# ── Promises ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Promises:
    """What holds for every decision, whatever the story is."""

    acts: set[tuple[str, int, bool]] = field(default_factory=set)
    wire: dict[tuple[str, int, bool], Act] = field(default_factory=dict)  # acts without an answer
    inquiries: set[tuple[str, int, bool]] = field(default_factory=set)  # marks that are asked about

    def keep(self, event: Event | None, decision: Decision, facts: Facts) -> None:
        """Assert all of them."""
        run = decision.run
        assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run, "a run survives its storage"
        if isinstance(event, StepFinished):
            self.wire.pop((event.step, event.attempt, event.undo), None)
        if isinstance(event, Inquired):
            self.inquiries.discard((event.step, event.attempt, event.undo))
        for effect in decision.effects:
            assert msgspec.json.decode(msgspec.json.encode(effect), type=Effect) == effect
            if isinstance(effect, Act):
                self._acts(effect, decision, facts)
            if isinstance(effect, Inquire):
                self.inquiries.add((effect.step, effect.attempt, effect.undo))
        self._repeats(decision, facts)
        self._lives(run, facts)
        if "closed" in {entry.kind for entry in decision.entries}:
            self._closed(decision)

    def _acts(self, act: Act, decision: Decision, facts: Facts) -> None:
        run, identity = decision.run, (act.step, act.attempt, act.undo)
        assert identity not in self.acts, f"{identity} is sent twice"
        intent = "undo-started" if act.undo else "started"
        kinds = {(entry.kind, entry.data.get("step")) for entry in decision.entries}
        assert (intent if act.attempt == 1 else "sent-again", act.step) in kinds, "an act without intent"
        assert not any(one.undos or not act.undo for one in facts.halts), "it acts in spite of a halt"
        assert facts.holder is None, "it acts while another run holds the target"
        assert not run.observes
        step = run.steps[act.step]
        assert step.intention is not None
        if act.undo:
            fence = step.intention.undo.fence if step.intention.undo is not None else Fence.NONE
            assert act.attempt == 1 or fence in (Fence.KEY, Fence.TRANSACTION)
            assert not self.inquiries, "an undo is sent while nobody knows whether the last one happened"
        else:
            assert act.call == step.intention.call
            assert act.attempt == 1 or step.intention.fence is Fence.KEY
            self._agreed(run, act, facts)
            if act.attempt == 1:
                self._bounded(decision, facts)
        self.acts.add(identity)
        self.wire[identity] = act

    def _bounded(self, decision: Decision, facts: Facts) -> None:
        """Windows hold for every start; what is counted, for a run's first change."""
        bounds, now = facts.policy.bounds, facts.now
        assert bounds.windows is None or bounds.windows.opens(now) == now, "it starts outside its windows"
        if any(one.kind == "act" for one in decision.counted):
            if bounds.budget is not None:
                rate = facts.catalog.budgets[bounds.budget]
                recent = [one for one in facts.use.budget_acts if one.at > now - rate.per]
                assert len(recent) < rate.limit, "it takes more than the budget has"
            assert decision.run.mode in _allowed(facts), "it acts by itself after it failed too often"

    def _agreed(self, run: Run, act: Act, facts: Facts) -> None:
        intention = run.steps[act.step].intention
        assert intention is not None and run.case is not None
        case = facts.policy.decide[run.case]
        base = act.step.partition("[")[0]
        beside = [one.intention for name, one in run.steps.items() if name.partition("[")[0] == base]
        risk = max((one.risk for one in beside if one is not None), key=lambda risk: risk.rank)
        wanted = gates.need(facts.policy, case, base, risk, run.mode)
        if wanted is None:
            waived = [gate for gate in (case.gate, facts.policy.step(act.step).gate) if gate and gate.waived]
            assert intention.risk is not Risk.DESTRUCTIVE or waived
            return
        given = [gate for gate in run.all_gates if gates.covers(gate, act.step)]
        assert given and intention in given[0].intentions, "a gated step starts without its gate"
        assert all(given[0].hash.startswith(vote.hash) for vote in given[0].votes)
        if act.attempt == 1:
            assert gates.satisfied(wanted.votes, gates.approvers(given[0]), facts.roles)

    def _repeats(self, decision: Decision, facts: Facts) -> None:
        """Items of a list are all there, in order, not too many, and none begins after too many failed."""
        run = decision.run
        for base, found in run.lists.items():
            text = facts.policy.steps[base]
            assert text.at_most is not None and len(found) <= text.at_most
            names = [f"{base}[{number}]" for number in range(1, len(found) + 1)]
            assert [name for name in run.steps if name.partition("[")[0] == base] == names
            planned = [name for name in run.plan if name.partition("[")[0] == base]
            assert planned in ([], names), "a part of a list"
            found_steps = [run.steps[name] for name in names]
            begun = [one.attempt > 0 or one.state is StepState.REFUSED for one in found_steps]
            assert begun == sorted(begun, reverse=True), "an item was begun before an earlier one"
            for act in decision.effects:
                if isinstance(act, Act) and act.step in names and not act.undo and act.attempt == 1:
                    before = [run.steps[name] for name in names[: names.index(act.step)]]
                    failed = sum(not one.worked for one in before)
                    assert failed < (text.stop_after or 1), "it goes on after too many failures"

    def _lives(self, run: Run, facts: Facts) -> None:
        """It waits for something that will come, or for a person who was told."""
        deadline = next_deadline(run, facts)
        waits_for_end = run.stage is Stage.HOLDING and run.resolved_at is None and not run.starter
        assert (
            run.stage in (Stage.CLOSED, Stage.ASKING)
            or deadline
            or run.pending
            or self.wire
            or self.inquiries
            or waits_for_end
        ), f"nothing will ever wake it in {run.stage}"
        if run.stage in UNTOUCHED:
            assert deadline is not None, "it could wait for ever"

    def _closed(self, decision: Decision) -> None:
        run = decision.run
        assert run.outcome is not None
        assert run.closed_at is not None
        assert not self.wire, "it closed while an act was on its way"
        assert not self.inquiries, "it closed while nobody knew what had happened"
        assert all(isinstance(effect, Card) for effect in decision.effects)
        assert not run.temporary, "it closed and left a temporary change behind"
        assert all(gate.state != "open" for gate in run.all_gates)
        assert decision.recheck_at is not None, "a firing alert would be forgotten"


def _allowed(facts: Facts) -> tuple[str, ...]:
    """The modes in which the policy may start a run's first change: counted anew, failure by failure."""
    breaker, failures = facts.policy.bounds.breaker, facts.use.failures
    if breaker is None:
        return ("act", "suggest")
    for last in failures:
        together = [one for one in failures if last - breaker.within < one <= last]
        if len(together) >= breaker.failures and facts.now < last + breaker.for_:
            return () if breaker.mode == "observe" else ("suggest",)
    return ("act", "suggest")


# ── The story ─────────────────────────────────────────────────────────────────────────────────────


class Story:
    """One run from its alert to its end."""

    def __init__(
        self,
        policy: Policy,
        *,
        catalog: Catalog = CATALOG,
        opened_by: str = "alert",
        given: Mapping[str, Mapping[str, Any]] | None = None,
        **seen: Any,
    ) -> None:
        """given: what probes answer from the start; seen: the first `Facts`."""
        facts: dict[str, Any] = {"now": START, "policy": policy, "current": VERSION, "catalog": catalog}
        self.facts = Facts(**facts | seen)
        self.standing: dict[str, dict[str, Any]] = {
            f"diagnose:{name}": dict(value) for name, value in (given or {}).items()
        }
        self.pictures: dict[str, Picture] = {}
        self.decisions: list[Decision] = []
        self.out: list[Probe | Preview] = []
        self.promises = Promises()
        about = address(policy, alert())
        assert isinstance(about, Address), about
        opening = Opening("r1", VERSION, about, alert(), opened_by)
        self._follow(None, begin(opening, self.facts))

    # The run so far

    @property
    def run(self) -> Run:
        return self.last.run

    @property
    def last(self) -> Decision:
        return self.decisions[-1]

    @property
    def now(self) -> datetime:
        return self.facts.now

    @property
    def gate(self) -> Gate:
        assert self.run.gate is not None, "no gate was opened"
        return self.run.gate

    @property
    def journal(self) -> list[Entry]:
        return [entry for decision in self.decisions for entry in decision.entries]

    @property
    def acts(self) -> list[Act]:
        return [one for decision in self.decisions for one in decision.effects if isinstance(one, Act)]

    @property
    def paged(self) -> list[str]:
        return [page.text for decision in self.decisions for page in decision.pages]

    @property
    def paged_keys(self) -> list[str]:
        return [page.key for decision in self.decisions for page in decision.pages]

    @property
    def counted(self) -> list[str]:
        return [one.kind for decision in self.decisions for one in decision.counted]

    # What happens

    def hears(self, event: Event) -> Self:
        """Any event."""
        self._follow(event, decide(self.run, event, self.facts))
        return self

    def _follow(self, event: Event | None, decision: Decision) -> None:
        self.promises.keep(event, decision, self.facts)
        self.decisions.append(decision)
        self.out = [one for one in self.out if one.round == decision.run.round]
        self.out += [one for one in decision.effects if isinstance(one, Probe | Preview)]
        for effect in list(self.out):
            if isinstance(effect, Probe) and effect.key in self.standing and effect in self.out:
                self._answer(effect, self.standing[effect.key])
            elif isinstance(effect, Preview) and effect.step in self.pictures and effect in self.out:
                self.previewed(effect.step, self.pictures[effect.step])

    def _answer(self, probe: Probe, value: Mapping[str, Any], error: str = "") -> None:
        self.out.remove(probe)
        reading = Reading(self.now, not error, dict(value), error)
        self.hears(ProbeRead(probe.round, probe.key, reading))

    def asked(self, key: str) -> Probe:
        """The probe that is being asked for."""
        found = [one for one in self.out if isinstance(one, Probe) and one.key == key]
        assert found, f"{key} is not being read; out are {self.out}"
        return found[0]

    def probe(self, name: str, **value: Any) -> Self:
        """A probe answers, now and whenever it is read again."""
        self.standing[f"diagnose:{name}"] = value
        self._answer(self.asked(f"diagnose:{name}"), value)
        return self

    def probe_fails(self, name: str, error: str = "timeout") -> Self:
        """A probe cannot be read, this once."""
        self._answer(self.asked(f"diagnose:{name}"), {}, error)
        return self

    def now_reads(self, name: str, **value: Any) -> Self:
        """From now on the probe would answer this."""
        self.standing[f"diagnose:{name}"] = value
        return self

    def hangs(self, name: str) -> Self:
        """From now on the probe does not answer by itself."""
        del self.standing[f"diagnose:{name}"]
        return self

    def reads_before(self, **value: Any) -> Self:
        """The reading just before the act."""
        self._answer(self.asked(f"before:{self.run.plan[self.run.cursor]}"), value)
        return self

    def before_fails(self, error: str = "timeout") -> Self:
        """The reading just before the act cannot be had."""
        self._answer(self.asked(f"before:{self.run.plan[self.run.cursor]}"), {}, error)
        return self

    def reads_proof(self, **value: Any) -> Self:
        """The proof is read: now if it is being asked for, else when it next is."""
        self._answer(self._next_proof(), value)
        return self

    def proof_fails(self, error: str = "timeout") -> Self:
        """The same, and it cannot be read."""
        self._answer(self._next_proof(), {}, error)
        return self

    def reads_early(self, step: str, number: int = 0, **value: Any) -> Self:
        """What may end a hold is read."""
        self._answer(self.asked(f"early:{step}:{number}"), value)
        return self

    def early_fails(self, step: str, error: str = "timeout") -> Self:
        """The same, and it cannot be read."""
        self._answer(self.asked(f"early:{step}:0"), {}, error)
        return self

    def reads_undo_proof(self, step: str, **value: Any) -> Self:
        """What proves an undo is read."""
        self._answer(self.asked(f"undo-verify:{step}"), value)
        return self

    def _next_proof(self) -> Probe:
        self.in_stage(Stage.VERIFYING)
        if not self.out:
            deadline = next_deadline(self.run, self.facts)
            assert deadline is not None
            self.at(deadline).hears(TimePassed())
        return self.asked(f"verify:{self.run.plan[self.run.cursor]}")

    def previewed(self, step: str, picture: Picture) -> Self:
        """A preview comes, now and whenever it is asked for again."""
        self.pictures[step] = picture
        found = next(one for one in self.out if isinstance(one, Preview) and one.step == step)
        self.out.remove(found)
        return self.hears(Previewed(found.round, step, picture))

    def approve(self, by: str, *, hash_: str | None = None, gate: str | None = None) -> Self:
        """A person approves what the card shows."""
        return self._votes(by, True, "", hash_, gate)

    def deny(self, by: str, reason: str = "") -> Self:
        """A person denies it."""
        return self._votes(by, False, reason, None, None)

    def _votes(self, by: str, approve: bool, reason: str, hash_: str | None, gate: str | None) -> Self:
        seen = self.gate.hash if hash_ is None else hash_
        vote = Vote(by=by, approve=approve, at=self.now, via="slack", hash=seen, reason=reason)
        return self.hears(VoteCast(gate or self.gate.id, vote))

    def done(self, **result: Any) -> Self:
        """The world did what is on the wire."""
        return self._ends(Done(result))

    def refused(self, reason: str = "409") -> Self:
        """The world did not do it, for certain."""
        return self._ends(Refused(reason))

    def unknown(self, reason: str = "the answer was lost") -> Self:
        """Nobody knows."""
        return self._ends(Unknown(reason))

    def _ends(self, result: Result) -> Self:
        (act,) = self.promises.wire.values()
        return self.hears(StepFinished(act.step, act.attempt, act.undo, result))

    def marks(self, **mark: Any) -> Self:
        """What is on the wire is about to become final."""
        (act,) = self.promises.wire.values()
        return self.hears(Marked(act.step, act.attempt, act.undo, mark or {"result": {}}))

    def told(self, result: Result) -> Self:
        """The mark tells what became of it."""
        ((step, attempt, undo),) = self.promises.inquiries
        return self.hears(Inquired(step, attempt, undo, result))

    def inquires(self) -> Self:
        assert self.promises.inquiries, f"nothing is asked about; {self.run.stage}, {self.run.reason}"
        return self

    def settled(self, verdict: Literal["happened", "not-happened", "handled"], by: str = "bob") -> Self:
        """A person says what became of it."""
        return self.hears(Settled(by, verdict))

    def resolves(self, fingerprint: str = "f1") -> Self:
        """An alert ends."""
        return self.hears(AlertHeard(alert("resolved", fingerprint), self.now))

    def fires(self, fingerprint: str = "f1") -> Self:
        """An alert fires, or fires again."""
        return self.hears(AlertHeard(alert("firing", fingerprint), self.now))

    def sees(self, **facts: Any) -> Self:
        """The world beside the run is another one: halts, holder, use, catalog, current."""
        self.facts = replace(self.facts, **facts)
        return self

    def policy_changes(self, current: str | None = "v2", *, told: bool = True) -> Self:
        """Another version runs now; the run may not have been told yet."""
        self.sees(current=current)
        return self.hears(PolicyChanged()) if told else self

    def halted(self, *, undos: bool = False) -> Self:
        """Somebody throws the kill switch."""
        return self.sees(
            halts=(Halt(id="h", scope="all", reason="stop", by="amina", at=self.now, undos=undos),)
        )

    def at(self, moment: datetime) -> Self:
        """The clock, moved without a word to the run."""
        assert moment >= self.now
        return self.sees(now=moment)

    def tampered(self, **fields: Any) -> Self:
        """Somebody changed the stored run behind its back."""
        self.decisions.append(replace(self.last, run=msgspec.structs.replace(self.run, **fields)))
        return self

    def later(self, span: str) -> Self:
        """The same, by a span."""
        return self.at(self.now + parse_duration(span))

    def passes(self, span: str) -> Self:
        """Time goes by; the run is woken at each of its deadlines."""
        until = self.now + parse_duration(span)
        for _ in range(10_000):
            deadline = next_deadline(self.run, self.facts)
            if self.run.stage is Stage.CLOSED or deadline is None or deadline > until:
                return self.at(until)
            self.at(max(deadline, self.now))
            before = self.run
            self.hears(TimePassed())
            assert self.run != before, f"a deadline in {before.stage} that leads to nothing would spin"
        raise AssertionError("it never comes to rest")

    # What follows

    def in_stage(self, stage: Stage) -> Self:
        assert self.run.stage is stage, f"{self.run.stage} ({self.run.reason})"
        return self

    def asks_people(self, **required: int) -> Self:
        """A gate is open, for these votes."""
        self.in_stage(Stage.WAITING)
        assert self.gate.required == required
        assert Card(self.gate.id) in self.last.effects
        return self

    def starts(self, step: str) -> Self:
        return self._sent(step, undo=False)

    def undoes(self, step: str) -> Self:
        return self._sent(step, undo=True)

    def _sent(self, step: str, *, undo: bool) -> Self:
        wire = [(act.step, act.undo) for act in self.promises.wire.values()]
        assert wire == [(step, undo)], f"on the wire: {wire}; {self.run.stage}, {self.run.reason}"
        return self

    def locks(self, target: str = TARGET) -> Self:
        assert self.run.target == target
        assert self.run.locks_target
        return self

    def starts_nothing(self) -> Self:
        assert not self.acts
        return self

    def holds(self, **until: str) -> Self:
        """Temporary changes stand: step → how long from now ("" for no time box)."""
        self.in_stage(Stage.HOLDING)
        assert not self.run.locks_target
        for name, span in until.items():
            assert self.run.steps[name].undo_at == (self.now + parse_duration(span) if span else None)
        return self

    def step_is(self, name: str, state: StepState) -> Self:
        assert self.run.steps[name].state is state, self.run.steps[name]
        return self

    def closes(self, outcome: str, reason: str = "") -> Self:
        assert self.run.stage is Stage.CLOSED, f"still {self.run.stage}"
        assert self.run.outcome == outcome, f"{self.run.outcome}: {self.run.reason}"
        assert reason in self.run.reason, self.run.reason
        return self

    def refuses(
        self, bound: str, reason: str = "", *, again_in: str | None = None, waits_for: str = ""
    ) -> Self:
        """It closed as refused, and says when the alert is considered again."""
        self.closes("refused", reason)
        no = self.last.refusal
        assert no is not None
        assert no.bound == bound
        assert no.waits_for == waits_for
        if again_in is not None:
            assert no.again_at == self.now + parse_duration(again_in)
        return self

    def writes(self, *kinds: str) -> Self:
        """The journal has these kinds, in this order, perhaps with others between."""
        told = iter(entry.kind for entry in self.journal)
        assert all(kind in told for kind in kinds), [entry.kind for entry in self.journal]
        return self

    def entry(self, kind: str) -> dict[str, Any]:
        """The data of the last line of this kind."""
        found = [entry.data for entry in self.journal if entry.kind == kind]
        assert found, f"no {kind} in {[entry.kind for entry in self.journal]}"
        return found[-1]

    def counts(self, *kinds: str) -> Self:
        assert self.counted == list(kinds)
        return self

    def pages(self, *texts: str) -> Self:
        """Exactly these pages, each by a part of its text."""
        assert len(self.paged) == len(texts), self.paged
        for page, text in zip(self.paged, texts, strict=True):
            assert text in page, page
        return self


def alert(status: Literal["firing", "resolved"] = "firing", fingerprint: str = "f1", **rest: Any) -> Alert:
    """The campaign's alert."""
    labels = {"alertname": "CampaignLate", "campaign": "c-1", "env": "prod"}
    fields: dict[str, Any] = {"labels": labels, "starts_at": START - timedelta(minutes=3)}
    return Alert(fingerprint=fingerprint, status=status, **fields | rest)


def acted(span: str, **rest: Any) -> Use:
    """The bounds' counters when one act was so long before the start."""
    at = START - parse_duration(span)
    return Use(last_act=at, target_acts=(at,), policy_acts=(at,), **rest)
