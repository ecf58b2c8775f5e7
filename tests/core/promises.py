"""The promises of the core that hold for every decision, whatever happens to a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from remediator.core import gate as gates
from remediator.core.catalog import Fence, Risk
from remediator.core.decide import UNTOUCHED
from remediator.core.messages import (
    Act,
    Card,
    Decision,
    Effect,
    Event,
    Facts,
    Inquire,
    Inquired,
    Refused,
    StepFinished,
)
from remediator.core.play import next_deadline
from remediator.core.run import Run, Stage, StepState


@dataclass
class Promises:
    """What holds for every decision, whatever the story is."""

    acts: set[tuple[str, int, bool]] = field(default_factory=set)
    wire: dict[tuple[str, int, bool], Act] = field(default_factory=dict)  # acts without an answer
    inquiries: set[tuple[str, int, bool]] = field(default_factory=set)  # marks that are asked about
    unsent: set[tuple[str, int]] = field(default_factory=set)  # undos that we know were not sent
    changed: bool = False  # has the run begun something that is not safe?

    def keep(self, event: Event | None, decision: Decision, facts: Facts) -> None:
        """Assert all of them."""
        run = decision.run
        assert msgspec.json.decode(msgspec.json.encode(run), type=Run) == run, "a run survives its storage"
        if isinstance(event, StepFinished):
            self.wire.pop((event.step, event.attempt, event.undo), None)
            if event.undo and isinstance(event.result, Refused) and event.result.unsent:
                self.unsent.add((event.step, event.attempt))
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
            before = {(act.step, attempt) for attempt in range(1, act.attempt)}
            assert before <= self.unsent or fence in (Fence.KEY, Fence.TRANSACTION)
            assert not self.inquiries, "an undo is sent while nobody knows whether the last one happened"
            self._still(act, decision, facts)
        else:
            assert act.call == step.intention.call
            assert act.attempt == 1 or step.intention.fence is Fence.KEY
            self._agreed(run, act, facts)
            if act.attempt == 1:
                self._bounded(decision, facts, changes=step.intention.risk is not Risk.SAFE)
        self.acts.add(identity)
        self.wire[identity] = act

    def _still(self, act: Act, decision: Decision, facts: Facts) -> None:
        """An undo with a condition goes out with a reading that says so, each time that it is sent."""
        undo = facts.policy.step(act.step).undo
        if undo is None or undo.still is None:
            return
        told = {entry.kind: entry.data for entry in decision.entries if entry.data.get("step") == act.step}
        assert told["still"]["holds"], "an undo is sent, and nobody has read that it may be"

    def _bounded(self, decision: Decision, facts: Facts, *, changes: bool) -> None:
        """Windows hold for every start; what is counted, for a run's first change. Every change counts."""
        bounds, now = facts.policy.bounds, facts.now
        assert bounds.windows is None or bounds.windows.opens(now) == now, "it starts outside its windows"
        assert [one.kind for one in decision.counted].count("act") == changes
        if changes and not self.changed:
            if bounds.budget is not None:
                rate = facts.catalog.budgets[bounds.budget]
                recent = [one for one in facts.use.budget_acts if one.at > now - rate.per]
                assert len(recent) < rate.limit, "it takes more than the budget has"
            assert decision.run.mode in _allowed(facts), "it acts by itself after it failed too often"
        self.changed |= changes

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
