"""What a gate's steps would change, on its card: rows before and after, or a summary. Pure.

Nobody approves rows that they were not shown: where the card cannot show all of them, a file in its
thread must, and until that was delivered nobody can approve on the card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from remediator.core.letters import plainly
from remediator.core.run import Gate, Picture, Run
from remediator.people import tables
from remediator.people.blocks import Block, fitting, preformatted, section
from remediator.people.lettering import counted, cut, escaped, spelled

MOST_PICTURES = 6
MOST_ROWS = 10
"""Lines of a summary."""


@dataclass(frozen=True)
class Enclosure:
    """What became of the file that a card needs beside it: ``delivered``, or why it was not."""

    delivered: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Rows:
    """All rows of a gate's previews of SQL. A preview of another kind is a summary, never more than that.

    fit: the card shows all of them; missing: how many nobody could list; file: all of them as a text,
    where the card needs one beside it.
    """

    count: int
    fit: bool
    missing: int = 0
    file: str = ""

    @classmethod
    def of(cls, run: Run, gate: Gate) -> Rows:
        """As the gate froze them."""
        known = {step: one for step, one in gate.pictures.items() if tables.is_tabular(one)}
        shown = list(gate.pictures)[:MOST_PICTURES]
        count = sum(one.count for one in known.values())
        if all(step in shown and tables.on_card(one).whole for step, one in known.items()):
            return cls(count, fit=True)
        missing = sum(max(0, one.count - len(one.rows)) for one in known.values())
        return cls(count, fit=False, missing=missing, file="" if missing else _file(run, gate, known))

    def lacking(self, enclosed: Enclosure, page: str) -> str:
        """Why nobody can approve on the card for want of rows, or ""."""
        if self.fit or (enclosed.delivered and not self.missing):
            return ""
        if self.missing:
            why = f"{counted(self.missing, 'row')} that would change could not be listed"
        elif enclosed.problem:
            told = cut(escaped(enclosed.problem), 300)
            why = f"The rows do not fit here, and their file could not be attached ({told})"
        else:
            why = "The rows do not fit here, and their file is not attached yet"
        return f"*{why}, so nobody can approve here.* Read and approve on {page}."

    @property
    def elsewhere(self) -> str:
        """Where those are that the card does not show."""
        return "" if self.fit else f"All {counted(self.count, 'row')} stand in the file in this thread."


def blocks(gate: Gate, page: str) -> Iterator[Block]:
    """Each step's preview, as much of it as a card can show."""
    for step, picture in list(gate.pictures.items())[:MOST_PICTURES]:
        if tables.is_tabular(picture):
            yield section(_heading(step, picture))
            yield preformatted(tables.on_card(picture).text)
        else:
            yield section(fitting(list(_summary(step, picture)), page))
    left = len(gate.pictures) - MOST_PICTURES
    if left > 0:
        yield section(f"… {counted(left, 'more preview')}; see {page}")


def _heading(step: str, picture: Picture) -> str:
    text = f": {cut(escaped(picture.text), 600)}" if picture.text else ""
    return f"*{cut(escaped(step), 200)}* would change {counted(picture.count, 'row')}{text}"


def _summary(step: str, picture: Picture) -> Iterator[str]:
    yield _heading(step, picture)
    for row in picture.shown[:MOST_ROWS]:
        yield "• " + cut(escaped(spelled(row)), 240)
    left = picture.count - min(len(picture.rows), MOST_ROWS)
    if left > 0 and picture.rows:
        yield f"… {left} more"


def _file(run: Run, gate: Gate, known: dict[str, Picture]) -> str:
    parts = [f"gate {gate.id}: {run.policy} on {run.target}, plan {gate.hash}"]
    for step, one in known.items():
        text = f": {one.text}" if one.text else ""
        parts += [f"{step} would change {counted(one.count, 'row')}{text}", tables.in_full(one)]
    return "\n\n".join(plainly(part, lines=True) for part in parts) + "\n"
