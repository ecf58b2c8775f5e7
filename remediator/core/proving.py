"""Does an expression hold over a reading, and for how long? For acts, for undos, and before undos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.core.evidence import Proof, Reading
from remediator.core.expression import Expression
from remediator.core.policy import Policy
from remediator.core.program import shown
from remediator.core.run import Run, StepRun
from remediator.core.scopes import proof_scope
from remediator.core.steps import EarlyProbe, Verify
from remediator.errors import EvaluationError

UNSEEN = timedelta(minutes=1)
"""How much later than planned a reading may come, at least, and still belong to those before it."""


@dataclass(frozen=True)
class Asked:
    """What has to hold, how long, how often it is looked at, and where the policy says so."""

    until: Expression
    every: timedelta
    lasting: timedelta
    place: str

    @classmethod
    def by(cls, said: Verify | EarlyProbe, place: str) -> Asked:
        """As a policy says it; ``said`` has an ``until``."""
        assert said.until is not None
        return cls(said.until, said.every, said.for_, f"{place}.until")


def proof_of_undo(policy: Policy, name: str) -> Asked:
    """What proves the undo of a step that has such a proof."""
    undo = policy.step(name).undo
    assert undo is not None and undo.proof is not None
    return Asked.by(undo.proof, f"{policy.policy}: steps.{name}.undo.verify")


def condition(policy: Policy, name: str) -> Asked:
    """What must hold, at one moment, for the undo of a step to be sent that has such a condition."""
    undo = policy.step(name).undo
    assert undo is not None and undo.still is not None
    place = f"{policy.policy}: steps.{name}.undo.still.when"
    return Asked(undo.still.when, timedelta(), timedelta(), place)


def holds(
    run: Run, policy: Policy, asked: Asked, step: StepRun, reading: Reading, now: datetime
) -> tuple[bool, str]:
    """Whether it holds over this reading for a step; an error means "not yet" and is told."""
    if not reading.ok:
        return False, reading.error
    try:
        scope = proof_scope(run, policy, step, now, reading)
        return asked.until.evaluate(scope, place=asked.place) is True, ""
    except EvaluationError as error:
        return False, str(error)


def read_as(run: Run, policy: Policy, asked: Asked, step: StepRun, reading: Reading, now: datetime) -> str:
    """What the expression saw, for people: ``verify.json.size = 6``."""
    seen = asked.until.values(proof_scope(run, policy, step, now, reading))
    return ", ".join(f"{path} = {shown(value)}" for path, value in seen.items())


def followed(proof: Proof, asked: Asked, reading: Reading, now: datetime, *, held: bool) -> Proof:
    """The proof with one more reading in it.

    The next one comes after ``every``, sooner when it will have held long enough by then, and never
    later than ``by``. Whether it held while nobody looked, as after a stop, is not known: it begins anew.
    What was read was so when it was asked for, whenever that is heard; but whoever answers slowly is left
    alone for ``every`` all the same.
    """
    at = reading.at
    unseen = proof.next_at is not None and at > proof.next_at + max(asked.every, UNSEEN)
    since = (at if proof.since is None or unseen else proof.since) if held else None
    times = [now + asked.every, since + asked.lasting if since is not None else None, proof.by]
    return Proof(reading, since, min(at for at in times if at is not None), proof.by)


def enough(proof: Proof, asked: Asked) -> bool:
    """Has it held as long as it must?"""
    return (
        proof.since is not None
        and proof.reading is not None
        and proof.reading.at >= proof.since + asked.lasting
    )
