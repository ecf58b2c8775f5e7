"""Tells what happens to one run, over the real core, in virtual time and the domain's words.

    Story(policy).probe("budget", row={…}).approve("amina").starts("pause").done().closes("fixed")

A probe that was answered once gives the same answer when it is read again, until the story says
otherwise. After every decision the promises that hold for each of them are checked (`Promises`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self

import msgspec

from remediator.core.catalog import Catalog
from remediator.core.evidence import Picture, Reading
from remediator.core.expression import parse_duration
from remediator.core.messages import (
    Act,
    AlertHeard,
    CameLate,
    Card,
    Decision,
    Done,
    Entry,
    Event,
    Facts,
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
    VoteCast,
)
from remediator.core.planning import Address, address
from remediator.core.play import Opening, begin, decide, next_deadline
from remediator.core.policy import Policy
from remediator.core.run import Gate, Halt, Run, Stage, StepState, Vote
from tests.core.campaign import CATALOG, START, TARGET, VERSION, alert
from tests.core.promises import Promises


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

    def reads_still(self, step: str, *, age: str = "0s", **value: Any) -> Self:
        """What says whether an undo may still be sent is read, perhaps some time ago."""
        probe = self.asked(f"still:{step}")
        self.out.remove(probe)
        reading = Reading(self.now - parse_duration(age), ok=True, value=value)
        return self.hears(ProbeRead(probe.round, probe.key, reading))

    def still_fails(self, step: str, error: str = "timeout") -> Self:
        """The same, and it cannot be read."""
        self._answer(self.asked(f"still:{step}"), {}, error)
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

    def settled(
        self, verdict: Literal["happened", "not-happened", "handled"], by: str = "bob", question: str = ""
    ) -> Self:
        """A person says what became of it; of the open question, if not of another one."""
        asked = self.run.question.id if self.run.question is not None else ""
        return self.hears(Settled(by, verdict, question=question or asked))

    def comes_late(self, result: Result, *, undo: bool = False) -> Self:
        """What was sent last answers after all."""
        act = [one for one in self.acts if one.undo == undo][-1]
        return self.hears(CameLate(act.step, act.attempt, undo, result))

    def resolves(self, fingerprint: str = "f1") -> Self:
        """An alert ends."""
        return self.hears(AlertHeard(alert("resolved", fingerprint), self.now))

    def fires(self, fingerprint: str = "f1") -> Self:
        """An alert fires, or fires again."""
        return self.hears(AlertHeard(alert("firing", fingerprint), self.now))

    def sees(self, **facts: Any) -> Self:
        """The world beside the run is another one: halts, holder, use, catalog, current."""
        self.facts = msgspec.structs.replace(self.facts, **facts)
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
        run = msgspec.structs.replace(self.run, **fields)
        self.decisions.append(msgspec.structs.replace(self.last, run=run))
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
