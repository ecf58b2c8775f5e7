"""What a gate's steps would do, on its card, as text that nothing interprets. Pure.

Every step stands there whole. Of a long list of items the first few do, and all of them in the file in the
card's thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from remediator.core.counting import counted
from remediator.core.expression import format_duration
from remediator.core.intention import Intention
from remediator.core.letters import plainly
from remediator.core.run import Gate
from remediator.core.steps import base_of
from remediator.people.blocks import SECTION, Block, preformatted
from remediator.people.lettering import spelled

MOST_BLOCKS = 26
MOST_CHARACTERS = 12_000
MOST_ITEMS = 10
"""Items of one list on a card."""


@dataclass(frozen=True)
class Plan:
    """A gate's steps on its card.

    fits: nothing but items of lists is left out; items: how many the lists have of which some are;
    listed: all those, whole, for the file in the thread.
    """

    blocks: list[Block]
    fits: bool
    items: int = 0
    listed: str = ""

    @classmethod
    def of(cls, gate: Gate) -> Plan:
        """As the gate froze them. Steps that are no items come first to their room on the card."""
        texts = {one.step: _text(number, one) for number, one in enumerate(gate.intentions, start=1)}
        single = [text for step, text in texts.items() if base_of(step) == step]
        lists = len({base_of(step) for step in texts if base_of(step) != step})
        places = (
            MOST_BLOCKS - sum(len(_pieces(text)) for text in single) - lists
        )  # a line for each that is cut
        letters = MOST_CHARACTERS - sum(map(len, single))
        if places < 0 or letters < 0:
            return cls(list(_as_many(texts)), fits=False)
        blocks: list[Block] = []
        left_out: list[str] = []
        for base, group in groupby(texts, base_of):
            steps = list(group)
            if steps == [base]:
                blocks += _blocks(texts[base])
                continue
            shown = 0
            for step in steps[:MOST_ITEMS]:
                pieces = _pieces(texts[step])
                if len(pieces) > places or len(texts[step]) > letters:
                    break
                places, letters, shown = places - len(pieces), letters - len(texts[step]), shown + 1
                blocks += _blocks(texts[step])
            if shown < len(steps):
                blocks.append(
                    preformatted(f"… {len(steps) - shown} more of {counted(len(steps), 'item')} of {base}")
                )
                left_out += steps
        listed = "\n\n".join(texts[step] for step in left_out)
        return cls(blocks, fits=True, items=len(left_out), listed=listed)


def _pieces(text: str) -> list[str]:
    return [text[at : at + SECTION] for at in range(0, len(text), SECTION)]


def _blocks(text: str) -> list[Block]:
    return [preformatted(piece) for piece in _pieces(text)]


def _as_many(texts: dict[str, str]) -> Iterator[Block]:
    """As many steps as fit."""
    places, letters = MOST_BLOCKS, MOST_CHARACTERS
    for text in texts.values():
        places, letters = places - len(_pieces(text)), letters - len(text)
        if places < 0 or letters < 0:
            return
        yield from _blocks(text)


def _text(number: int, intention: Intention) -> str:
    call = intention.call
    what = f"{plainly(call.operation)} via {plainly(call.connection)} ({intention.risk})"
    lines = [f"{number}. {plainly(intention.step)}: {what}"]
    if intention.summary:
        lines.append(plainly(intention.summary))
    lines.append(spelled(call.shown, indent=2))
    if intention.verify is not None:
        proof = intention.verify
        lines.append(
            f"proved by {plainly(proof.operation)} via {plainly(proof.connection)}: {spelled(proof.shown)}"
        )
    lines.append(_undo(intention))
    return "\n".join(lines)


def _undo(intention: Intention) -> str:
    undo = intention.undo
    if undo is None:
        return "not taken back by itself"
    after = "" if undo.after_s is None else f" after {format_duration(timedelta(seconds=undo.after_s))}"
    early = f", earlier if {' or '.join(plainly(one) for one in undo.early)}" if undo.early else ""
    how = {"call": undo.call.operation, "args": undo.call.shown} if undo.call is not None else undo.source
    how = {**how, **{key: one for key, one in undo.source.items() if key in ("judged", "still")}}
    risk = "" if undo.risk is None else f", which is {undo.risk} while the act is not"
    when = undo.source.get("still", {}).get("when")
    still = f", if '{plainly(when)}' still holds" if when else ""
    return f"taken back{after}{early}{still}{risk}: {spelled(how)}"
