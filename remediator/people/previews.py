"""What a gate's steps would change, on its card: rows before and after, or a summary. Pure.

Nobody approves rows that they were not shown: where the card cannot show all of them, a file in its
thread must, and until that was delivered nobody can approve on the card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from remediator.core.counting import counted
from remediator.core.evidence import Picture
from remediator.core.letters import plainly
from remediator.core.repeating import named
from remediator.core.run import Gate, Run
from remediator.core.steps import base_of
from remediator.people import tables
from remediator.people.blocks import Block, fitting, preformatted, section
from remediator.people.lettering import cut, escaped, spelled

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

    fit: the card shows all of them; missing: how many nobody could list; listed: all of them as texts,
    where the card needs them beside it.
    """

    count: int
    fit: bool
    missing: int = 0
    listed: tuple[str, ...] = ()

    @classmethod
    def of(cls, gate: Gate) -> Rows:
        """As the gate froze them."""
        pictures = _pictures(gate)
        known = {step: one for step, one in pictures.items() if tables.is_tabular(one)}
        shown = list(pictures)[:MOST_PICTURES]
        count = sum(one.count for one in known.values())
        if all(step in shown and tables.on_card(one).whole for step, one in known.items()):
            return cls(count, fit=True)
        missing = sum(max(0, one.count - len(one.rows)) for one in known.values())
        return cls(count, fit=False, missing=missing, listed=() if missing else tuple(_listed(known)))

    def lacking(self, enclosed: Enclosure, page: str, items: int) -> str:
        """Why nobody can approve on the card for want of rows, or of so many items of lists; or ""."""
        if (self.fit and not items) or (enclosed.delivered and not self.missing):
            return ""
        what = " and ".join(["items"] * bool(items) + ["rows"] * (not self.fit))
        if self.missing:
            why = f"{counted(self.missing, 'row')} that would change could not be listed"
        elif enclosed.problem:
            told = cut(escaped(enclosed.problem), 300)
            why = f"The {what} do not fit here, and their file could not be attached ({told})"
        else:
            why = f"The {what} do not fit here, and their file is not attached yet"
        return f"*{why}, so nobody can approve here.* Read and approve on {page}."

    def elsewhere(self, items: int) -> str:
        """Where those are that the card does not show."""
        what = [counted(items, "item")] * bool(items) + [counted(self.count, "row")] * (not self.fit)
        return f"All {' and '.join(what)} stand in the file in this thread." if what else ""


def blocks(gate: Gate, page: str) -> Iterator[Block]:
    """Each step's preview, as much of it as a card can show."""
    pictures = _pictures(gate)
    for step, picture in list(pictures.items())[:MOST_PICTURES]:
        if tables.is_tabular(picture):
            yield section(_heading(step, picture))
            yield preformatted(tables.on_card(picture).text)
        else:
            yield section(fitting(list(_summary(step, picture)), page))
    left = len(pictures) - MOST_PICTURES
    if left > 0:
        yield section(f"… {counted(left, 'more preview')}; see {page}")


def _pictures(gate: Gate) -> dict[str, Picture]:
    """By step; rows that the items of one list would change in the same way stand in one table."""
    found: dict[str, Picture] = {}
    places = {step: place for place, step in enumerate(gate.steps)}
    order = sorted(gate.pictures, key=lambda step: places.get(step, len(places)))
    for _base, group in groupby(order, base_of):
        steps = list(group)
        pictures = [gate.pictures[step] for step in steps]
        if len(steps) == 1:
            found[steps[0]] = pictures[0]
        elif len({one.text for one in pictures}) > 1 or not all(map(tables.is_tabular, pictures)):
            found |= dict(zip(steps, pictures, strict=True))
        else:
            rows = tuple(row for one in pictures for row in one.rows)
            found[named(steps)] = Picture(sum(one.count for one in pictures), pictures[0].text, rows)
    return found


def _heading(step: str, picture: Picture) -> str:
    text = f": {cut(escaped(picture.text), 600)}" if picture.text else ""
    would = f" would change {counted(picture.count, 'row')}" if picture.count else ""
    return f"*{cut(escaped(step), 200)}*{would}{text}"


def _summary(step: str, picture: Picture) -> Iterator[str]:
    yield _heading(step, picture)
    for row in picture.shown[:MOST_ROWS]:
        yield "• " + cut(escaped(spelled(row)), 240)
    left = picture.count - min(len(picture.rows), MOST_ROWS)
    if left > 0 and picture.rows:
        yield f"… {left} more"


def _listed(known: dict[str, Picture]) -> Iterator[str]:
    for step, one in known.items():
        text = f": {one.text}" if one.text else ""
        yield f"{step} would change {counted(one.count, 'row')}{text}"
        yield tables.in_full(one)


def file(run: Run, gate: Gate, parts: list[str]) -> str:
    """What stands in a card's thread; "" where the card needs nothing beside it."""
    told = [part for part in parts if part]
    if not told:
        return ""
    told = [f"gate {gate.id}: {run.policy} on {run.target}, plan {gate.hash}", *told]
    return "\n\n".join(plainly(part, lines=True) for part in told) + "\n"
