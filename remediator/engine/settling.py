"""A person says what became of an outcome that nobody knows. In one transaction with what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from remediator.core.messages import Settled
from remediator.engine.decisions import Committed, Decisions
from remediator.ports import Answer, Tx


@dataclass(frozen=True)
class Settling:
    """What they are told, and what has to be done now."""

    answer: Answer
    done: Committed = field(default_factory=Committed)


async def settle(tx: Tx, decisions: Decisions, run_id: str, word: Settled) -> Settling:
    """Hand the word to the run, and say what it makes of it."""
    run = await tx.run(run_id)
    if run is None:
        return Settling(Answer(ok=False, text=f"there is no run {run_id}", status=404))
    asked = run.question
    no = await decisions.objection(tx, run, word)
    done = await decisions.advance(tx, run_id, word)
    if no or asked is None:
        late = asked is None or word.question not in ("", asked.id)
        text = f"this word does not count: {no}"
        return Settling(Answer(ok=False, text=text, status=409 if late else 403), done)
    data = {"run": run_id, "question": asked.id}
    return Settling(Answer(ok=True, text=f"{word.by} says: {word.verdict}", data=data), done)
