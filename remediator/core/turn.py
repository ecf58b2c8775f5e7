"""One decision in the making: the run so far, and what it leads to. Lives only inside `decide`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from remediator.core.breaker import StepDown, lower, mode_now, stepped_down
from remediator.core.evidence import Reading
from remediator.core.gate import approvers, covers
from remediator.core.intention import Call
from remediator.core.messages import (
    START_WITHIN,
    Act,
    Card,
    Counted,
    Decision,
    Effect,
    Entry,
    Facts,
    Inquire,
    PageWanted,
    Probe,
)
from remediator.core.policy import Policy
from remediator.core.repeating import keeps_version
from remediator.core.run import Gate, Outcome, Question, Refusal, Run, Stage, StepRun, Verdict, Vote
from remediator.core.steps import Step

About = TypeVar("About", Gate, Question)


class Turn:
    """Collects what one event changes, and decides nothing.

    But two rules hold for all who use it: a run never closes over a temporary change (see `close`), and
    no card is left showing what was (see `decision`).
    """

    def __init__(self, run: Run, facts: Facts) -> None:
        """``run`` as it was loaded, ``facts`` as they were read with it."""
        self.run = self._loaded = run
        self.facts = facts
        self._entries: list[Entry] = []
        self._effects: list[Effect] = []
        self._pages: list[PageWanted] = []
        self._counted: list[Counted] = []
        self._refusal: Refusal | None = None
        self._recheck_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """The time of this decision."""
        return self.facts.now

    @property
    def policy(self) -> Policy:
        """The policy, as the run's version has it."""
        return self.facts.policy

    @property
    def step(self) -> StepRun:
        """The step at the cursor."""
        step = self.run.step
        assert step is not None, "the plan has no step left"
        return step

    @property
    def spec(self) -> Step:
        """The policy's text of the step at the cursor."""
        return self.policy.step(self.step.name)

    @property
    def lowered(self) -> str:
        """Why a run that has not acted was opened in a mode that its policy has lost since, or ""."""
        mode = mode_now(self.policy, self.facts)
        if keeps_version(self.run) or not lower(mode, self.run.mode):
            return ""
        return f"the policy has failed too often since this run was opened, and is in mode {mode} now"

    @property
    def recovered(self) -> bool:
        """Have all its alerts been over for so long that it counts?"""
        over = self.run.resolved_at
        return over is not None and self.now >= over + self.facts.debounce

    def decision(self) -> Decision:
        """All of it, to be committed at once; with it whatever people see of the run is seen to."""
        if _visible(self.run) != _visible(self._loaded):
            self.show_card()
        return Decision(
            run=self.run,
            entries=tuple(self._entries),
            effects=tuple(self._effects),
            pages=tuple(self._pages),
            counted=tuple(self._counted),
            refusal=self._refusal,
            recheck_at=self._recheck_at,
        )

    # What can be changed

    def change(self, **fields: Any) -> None:
        """The run, with these fields set."""
        self.run = msgspec.structs.replace(self.run, **fields)

    def change_step(self, name: str, **fields: Any) -> None:
        """One step of the run, with these fields set."""
        changed = msgspec.structs.replace(self.run.steps[name], **fields)
        self.change(steps={**self.run.steps, name: changed})

    def go_on_by(self, readings: Mapping[str, Reading]) -> None:
        """By these figures from here on. What is to be taken back one day keeps those of its own time."""
        steps = self.run.steps
        kept = {
            name: msgspec.structs.replace(step, readings=self.run.readings)
            for name, step in steps.items()
            if step.to_go and not step.readings
        }
        self.change(readings=dict(readings), seen={}, steps={**steps, **kept})

    def change_gate(self, **fields: Any) -> Gate:
        """The run's latest gate, with these fields set."""
        assert self.run.gate is not None
        gate = msgspec.structs.replace(self.run.gate, **fields)
        self.change(gate=gate)
        return gate

    def remark(self, subject: str, text: str) -> None:
        """Something that whoever looks at a gate's or question's card should know; the last few are kept."""

        def remarked(one: About) -> About:
            if one.id != subject or text in one.remarks:
                return one
            return msgspec.structs.replace(one, remarks=(*one.remarks, text)[-5:])

        if self.run.gate is not None:
            past = tuple(remarked(gate) for gate in self.run.past_gates)
            self.change(past_gates=past, gate=remarked(self.run.gate))
        self.change(questions=tuple(remarked(one) for one in self.run.questions))
        self.show_card()

    def refuse_vote(self, gate_id: str, vote: Vote, reason: str) -> None:
        """A vote that does not count is written down, and whoever cast it can see why."""
        self.note("vote-refused", gate=gate_id, by=vote.by, via=vote.via, approve=vote.approve, reason=reason)
        self.remark(gate_id, f"{vote.by}'s vote does not count: {reason}")

    def change_question(self, question_id: str, **fields: Any) -> None:
        """One question of the run, with these fields set."""
        self.change(
            questions=tuple(
                msgspec.structs.replace(one, **fields) if one.id == question_id else one
                for one in self.run.questions
            )
        )

    def refuse_word(self, question: Question, by: str, via: str, reason: str) -> None:
        """A word that does not settle a question is written down, and who said it can see why."""
        self.note("settle-refused", question=question.id, step=question.step, by=by, via=via, reason=reason)
        self.remark(question.id, f"{by}'s word does not count: {reason}")

    def void_gates(self, reason: str) -> None:
        """Whatever was agreed, or is being asked, no longer holds."""
        live = [gate.id for gate in self.run.all_gates if self._is_live(gate)]
        if not live:
            return
        gates = [
            msgspec.structs.replace(gate, state="void", note=f"void: {reason}") if gate.id in live else gate
            for gate in self.run.all_gates
        ]
        self.change(past_gates=tuple(gates[:-1]), gate=gates[-1])
        self.note("gate-void", gates=live, reason=reason)
        self.show_card()

    def _is_live(self, gate: Gate) -> bool:
        """An approval under which nothing is to come any more is history: nothing voids it."""
        ahead = self.run.plan[self.run.cursor :]
        left = any(name in ahead and not self.run.steps[name].attempt for name in gate.steps)
        return gate.state == "open" or (gate.state == "approved" and left)

    def enter(self, stage: Stage) -> None:
        """Go to another stage; `decide` lets it begin."""
        self.change(stage=stage, pending=())

    def note(self, kind: str, **data: Any) -> None:
        """A line for the journal. Values must be plain JSON."""
        self._entries.append(Entry(kind, data))

    def want(self, effect: Effect) -> None:
        """Something that the world must now do."""
        self._effects.append(effect)

    def ask(self, calls: dict[str, Call]) -> None:
        """Send a round of probes and wait for all of them."""
        self.change(round=self.run.round + 1, pending=tuple(calls))
        for key, call in calls.items():
            self.want(Probe(self.run.round, key, call))

    def act(self, name: str, call: Call, *, attempt: int, undo: bool = False) -> None:
        """Send an act or an undo. Committed with this decision, performed after it."""
        key = f"{self.run.id}/{name}/undo" if undo else f"{self.run.id}/{name}"
        start_by = self.now + START_WITHIN
        given = next((gate for gate in self.run.all_gates if covers(gate, name)), None)
        shown = given.pictures.get(name) if given is not None and not undo else None
        approved = tuple(approvers(given)) if given is not None else ()
        whose, where = self.run.policy, self.run.target
        self.want(Act(name, attempt, call, key, start_by, undo, whose, shown, approved, where))

    def inquire(self, name: str, mark: dict[str, Any], *, undo: bool = False) -> None:
        """Ask what became of an act or an undo whose answer was lost, by its mark."""
        step = self.run.steps[name]
        call = step.undo_call if undo else (step.intention.call if step.intention is not None else None)
        assert call is not None
        self.note("inquiring", step=name, undo=undo, why="its mark tells whether it became final")
        self.want(Inquire(name, step.undo_attempt if undo else step.attempt, undo, call, mark))

    def page(self, key: str, text: str) -> None:
        """A person must hear this, once per key and run."""
        where = f"{self.run.policy} on {self.run.target}"
        self._pages.append(PageWanted(f"{self.run.id}:{key}", self.policy.page.chain, f"{where}: {text}"))
        self.note("paged", key=key, text=text)

    def heard(self, text: str, by: str) -> None:
        """A page that tells what somebody has just said has reached them already."""
        self._pages = [
            msgspec.structs.replace(one, heard_by=by) if one.text.endswith(f": {text}") else one
            for one in self._pages
        ]

    def count(self, kind: Any, what: str = "") -> None:
        """Something that the bounds count."""
        self._counted.append(Counted(kind, what))

    def show_card(self) -> None:
        """Every card of the run must show it as it is now."""
        gates, questions = self.run.all_gates, self.run.questions
        for about in (*(one.id for one in gates), *(one.id for one in questions)):
            card = Card(about)
            if card not in self._effects:
                self.want(card)

    def close(self, outcome: Outcome, reason: str, refusal: Refusal | None = None) -> None:
        """The end. Alerts that still fire are decided again after ``recheck``, or as refused.

        What stands only for a time is held and undone first; then the run closes with this verdict.
        """
        if self.run.gate is not None and self.run.gate.state == "open":
            self.void_gates(reason)
        if self.run.temporary:
            self.change(verdict=Verdict(outcome, reason))
            return self.enter(Stage.ENDING)
        self.change(
            stage=Stage.CLOSED,
            pending=(),
            closed_at=self.now,
            outcome=outcome,
            reason=reason,
            wait_until=None,
        )
        told = refusal is None or refusal.bound in ("changed", "fresh")  # decided anew, or paged already
        if outcome is Outcome.REFUSED and not told and self._agreed_in_vain():
            self.page("in-vain", f"people had agreed, and it was not done: {reason}")
        self._refusal = refusal
        self._recheck_at = self.now + self.policy.pause
        self.fail(Verdict(outcome, reason))
        self.note("closed", outcome=str(outcome), reason=reason)
        return self.show_card()

    def fail(self, verdict: Verdict) -> None:
        """Perhaps one more failure of the policy. The one that steps it down is told to people, once."""
        if self.run.failed or verdict.outcome not in (Outcome.INEFFECTIVE, Outcome.FAILED):
            return
        self.change(failed=True)
        self.count("failed", str(verdict.outcome))
        before = self.facts.use.failures
        down = stepped_down(self.policy, (*before, self.now), self.now)
        if down is not None and stepped_down(self.policy, before, self.now) is None:
            self.note("stepped-down", mode=down.mode, until=down.until.isoformat(), why=down.why)
            self.page(
                "breaker",
                f"{self._now_down(down)}. The last one, {self.run.id}, {verdict.outcome}: {verdict.reason}",
            )

    def _now_down(self, down: StepDown) -> str:
        what = {
            "suggest": "every step of it waits for people",
            "observe": "it does nothing and only says what it would do",
        }
        times = f"{down.until:%Y-%m-%d %H:%M:%S} UTC"
        return (
            f"the policy is stepped down from {self.policy.mode} to {down.mode} until {times}: {down.why}. "
            f"Until then {what[down.mode]}; after that it goes on in mode {self.policy.mode} by itself"
        )

    def _agreed_in_vain(self) -> bool:
        """Did people agree to something of which nothing was begun?"""
        steps = self.run.steps
        return any(
            gate.approved_at and not any(steps[name].attempt for name in gate.steps if name in steps)
            for gate in self.run.all_gates
        )

    def refuse(self, bound: str, reason: str) -> None:
        """Close as refused, to be decided again after ``recheck``."""
        again_at = self.now + self.policy.pause
        self.close(Outcome.REFUSED, f"{bound}: {reason}", Refusal(bound, reason, again_at))

    def decide_again(self, reason: str, after: timedelta = timedelta()) -> None:
        """Close, and let the alerts be decided anew, at once unless a pause is given."""
        self.close(Outcome.REFUSED, reason, Refusal("changed", reason, again_at=self.now + after))


def _visible(run: Run) -> object:
    """What cards show of a run, beside what never changes. Empty while it has none."""
    if not run.all_gates and not run.questions:
        return ()
    steps = [
        (one.state, one.started_at, one.error, one.owes_undo, one.undo_at, one.undo_late, one.undo_error)
        for one in run.steps.values()
    ]
    how = (run.stage, run.outcome, run.reason, run.resolved_at)
    return (how, run.all_gates, run.questions, run.members.keys(), run.readings, steps)
