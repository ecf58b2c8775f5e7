"""A pack: the policies that automate one runbook, and its README, which accounts for each section of it.

``runbook.txt`` holds the runbook's headings, as they stand in it (``## …``, ``### …``). A section is a
heading without others under it, known by its path. The README's table has a row for each: policies, or why
there is none. Nothing of this reaches the daemon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from remediator.policyfiles.loading import policy_files

PEOPLE, NOTHING = "**People**: ", "**Nothing to do**: "
"""How the README begins to answer for a section that no policy is for."""

_HEADING = re.compile(r"(#{2,6}) +(.+)")
_LINK = re.compile(r"\]\(([\w-]+\.yaml)\)")
_BAR = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Row:
    """What a README says of one section. ``policies``: the files that it links."""

    section: str
    answer: str

    @property
    def policies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_LINK.findall(self.answer)))

    @property
    def by(self) -> str:
        """``policies``, ``people``, ``nothing``; empty where nobody answers for it."""
        if self.policies:
            return "policies"
        named = {PEOPLE: "people", NOTHING: "nothing"}
        found = [word for mark, word in named.items() if self.answer.startswith(mark)]
        return found[0] if found and len(self.answer) > len(PEOPLE) + 10 else ""


@dataclass(frozen=True)
class Pack:
    """A folder of policies with its README and the headings of its runbook."""

    folder: Path

    @property
    def system(self) -> str:
        return self.folder.name

    @property
    def sections(self) -> tuple[str, ...]:
        """The runbook's sections, in its order."""
        return tuple(_leaves((self.folder / "runbook.txt").read_text("utf-8")))

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the README's first table says of them."""
        return tuple(_rows((self.folder / "README.md").read_text("utf-8")))

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of its policy files."""
        return tuple(sorted(file.name for file in policy_files(self.folder)))

    def gaps(self) -> list[str]:
        """All that its README leaves open, or says of what is not there."""
        rows = [row.section for row in self.rows]
        linked = {name for row in self.rows for name in row.policies}
        return [
            *(f"no row says who answers for: {one}" for one in self.sections if one not in rows),
            *(f"the runbook has no section: {one}" for one in rows if one not in self.sections),
            *(f"two rows are about: {one}" for one in sorted({one for one in rows if rows.count(one) > 1})),
            *(
                f"{row.section}: link its policies, or say why behind {PEOPLE.strip()} or {NOTHING.strip()}"
                for row in self.rows
                if not row.by
            ),
            *(f"there is no policy {name}" for name in sorted(linked - set(self.policies))),
            *(f"no row names {name}" for name in self.policies if name not in linked),
        ]


def packs(folder: Path) -> list[Pack]:
    """Those in the folders of this one, by name."""
    return [Pack(one.parent) for one in sorted(folder.glob("*/runbook.txt"))]


def overview(folder: Path) -> str:
    """Systems × sections of their runbooks, in Markdown: ``policies/README.md``."""
    found = packs(folder)
    return "\n".join([_BEFORE, *map(_counts, found), *(line for one in found for line in _table(one)), ""])


def _counts(pack: Pack) -> str:
    by = [row.by for row in pack.rows]
    shares = " | ".join(str(by.count(word)) for word in ("policies", "people", "nothing"))
    name = pack.system
    return f"| [{name}]({name}/README.md) | {len(pack.policies)} | {len(pack.sections)} | {shares} |"


def _table(pack: Pack) -> Iterator[str]:
    yield from ("", f"## {pack.system}", "", "| section of the runbook | automated by |", "|---|---|")
    for row in pack.rows:
        links = ", ".join(f"[{name.removesuffix('.yaml')}]({pack.system}/{name})" for name in row.policies)
        yield f"| {row.section} | {links or {'people': 'people', 'nothing': '–'}.get(row.by, '**nobody**')} |"


def _leaves(text: str) -> Iterator[str]:
    found = [(len(marks), title) for marks, title in _HEADING.findall(text)]
    path: list[tuple[int, str]] = []
    for (level, title), (following, _) in zip(found, [*found[1:], (0, "")], strict=True):
        path = [*(one for one in path if one[0] < level), (level, title)]
        if following <= level:
            yield " › ".join(title for _, title in path)


def _rows(readme: str) -> Iterator[Row]:
    table = re.search(r"(?:^\|.*\n)+", readme + "\n", re.MULTILINE)
    for line in table[0].splitlines()[2:] if table else ():
        cells = [cell.strip() for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))]
        yield Row(cells[0], " | ".join(cells[1:]))


_BEFORE = """\
# Policies that are shipped

One folder for each runbook that is automated: its policies, their stories, the alerts that fire them, and a
README that says for each section which policy takes care of it, or why people do. Settings that fit are in
[examples](../examples/). Written by `scripts/reference.py` from those READMEs.

| system | policies | sections of its runbook | automated | with people | nothing to do |
|---|---|---|---|---|---|"""
