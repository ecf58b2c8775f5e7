"""A difference as the comment of a pull request. Whatever a policy says in it is inert.

Words of policies stand in ``<code>``, and what could be markup in them as entities: there, GitHub makes no
link, mention or reference of them. Differences of texts stand in fences that are longer
than any run of backticks in them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256

from remediator.core.letters import plainly
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.compare import Difference, PolicyChange
from remediator.policyfiles.diff.note import SHORTEST
from remediator.policyfiles.diff.telling import MARKS, summary

LARGEST = 60_000
"""Bytes of one comment; GitHub takes 65,536 characters."""
MOST_WORDS = 400
"""Characters of one change."""
MARK = "<!-- remediator policy diff -->"
"""By this the comment of an earlier push is found and replaced; see `mark_of`."""
_SPECIAL = re.compile(
    r"[&<>`*\[\]|\\~#@!$\n\r\t]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|:(?=[\w+-]+:)|(?<=www)\.", re.IGNORECASE
)
"""What begins markup, a link, a mention or an emoji on GitHub; an underscore inside a word does not."""


def mark_of(*compared: str) -> str:
    """The mark of a comment on these paths: a job that compares others leaves it alone."""
    digest = sha256("\0".join(compared).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{MARK.removesuffix(' -->')} {digest} -->"


def markdown(difference: Difference, further: str = "", *, whole: bool = False, mark: str = MARK) -> str:
    """The comment. ``further``: a section after it, Markdown already; ``whole``: however long that is."""
    head = _head(difference)
    tail = f"\n{further}\n" * bool(further) + f"\n{mark}\n"
    rows = _rows(difference)
    room = sys.maxsize if whole else LARGEST - _size(head) - _size(tail) - 1000
    table, left = _fitting(rows, room)
    details, unshown = _fitting(list(_details(difference)), room - sum(map(_size, table)))
    parts = [head, *_table(table, left), *details]
    if unshown:
        parts.append(f"\n{unshown} differences of texts are too long to be shown here.\n")
    return "".join(parts) + tail


def _head(difference: Difference) -> str:
    verdict = "**Loosened, and no fresh `allow-loosening:` note says why.** " * difference.loosened
    told = f"### Remediator policies\n\n{verdict}{inert(summary(difference).capitalize())}.\n"
    for one in difference.all:
        if one.fresh:
            told += f"\n- {_code(one.name)} says why: {_code(one.note)}"
        elif one.note_is_short and one.unexplained:
            told += f"\n- the note of {_code(one.name)} says too little: write {SHORTEST} letters at least"
        elif one.note and one.unexplained:
            told += f"\n- {_code(one.name)} has an old note, which does not cover this change: rewrite it"
        elif one.note_is_idle:
            told += f"\n- the note of {_code(one.name)} is no longer needed"
    for file, why in sorted(difference.unreadable.items()):
        told += f"\n- {_code(file)} could not be read at the base: {_code(why)}"
    told += "".join(f"\n- not compared: {inert(why)}" for why in difference.untold)
    return f"{told}\n"


def _rows(difference: Difference) -> list[str]:
    found = [(change.direction, one, change) for one in difference.all for change in one.changes]
    return [
        f"| {_mark(direction)} | {_code(one.name)}{_kind(one)} | {_code(str(change))} |\n"
        for direction, one, change in sorted(found, key=lambda row: row[0])
    ]


def _mark(direction: Direction) -> str:
    word = MARKS[direction]
    return f"**{word.lower()}**" if direction.needs_note else word


def _kind(one: PolicyChange) -> str:
    return f" ({one.kind})" if one.kind != "changed" else ""


def _table(rows: Sequence[str], left: int) -> Iterator[str]:
    if rows:
        yield "\n| | policy | change |\n|---|---|---|\n"
    yield from rows
    if left:
        yield f"\n{left} more changes are not shown here: `remediator policy diff --all` lists them all.\n"


def _details(difference: Difference) -> Iterator[str]:
    for one in difference.all:
        for change in one.changes:
            if change.detail:
                yield _detail(one, change)


def _detail(one: PolicyChange, change: Change) -> str:
    text = plainly(change.detail, lines=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    what = f"{_code(one.name)}: {_code(str(change))}"
    return f"\n<details><summary>{what}</summary>\n\n{fence}diff\n{text}\n{fence}\n\n</details>\n"


def inert(text: str) -> str:
    """The text as it is, with nothing in it that Markdown, HTML or GitHub would follow."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", plainly(text))


def _code(text: str) -> str:
    cut = text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]} …"
    return f"<code>{inert(cut)}</code>"


def _fitting(parts: Sequence[str], room: int) -> tuple[list[str], int]:
    """As many as fit, in order, and how many do not."""
    taken: list[str] = []
    for part in parts:
        room -= _size(part)
        if room < 0:
            break
        taken.append(part)
    return taken, len(parts) - len(taken)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
