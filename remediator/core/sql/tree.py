"""PostgreSQL's own grammar as plain trees: text in, statements or a fault out. Shared by what judges SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 20_000
"""Characters of one statement."""


@dataclass(frozen=True)
class Fault:
    """Why a statement may not be sent. ``code``: that of the lint; ``offset``: in characters."""

    code: str
    problem: str
    remedy: str = ""
    offset: int = 0


class Judging:
    """Whoever walks through a statement, and gathers what is wrong with it. ``source``: its bytes."""

    def __init__(self, source: bytes) -> None:
        self.faults: list[Fault] = []
        self._source = source

    def _fault(self, code: str, problem: str, remedy: str = "", node: Any = None) -> None:
        """It is wrong at this node."""
        self.faults.append(Fault(code, problem, remedy, place(self._source, node)))


def parsed(text: str, remedy: str) -> dict[str, Any] | Fault:
    """The tree of the one statement that the text holds. ``remedy``: what to write where it holds several."""
    import pgparse  # 11 MB that are loaded only where somebody writes SQL

    if len(text) > LONGEST or "\0" in text:
        return Fault("P201", f"this is longer than {LONGEST} characters, or holds a NUL")
    try:
        statements = pgparse.parse(text)
    except pgparse.PGQueryError as error:
        return Fault("P201", f"this is no SQL: {error.message}", offset=max(0, (error.position or 1) - 1))
    except (RecursionError, UnicodeEncodeError):
        return Fault("P201", "this is nested too deeply, or holds half a character", "write it shorter")
    if len(statements) != 1:
        problem = f"there are {len(statements)} statements" if statements else "there is no statement"
        return Fault("P202", problem, remedy)
    statement: dict[str, Any] = statements[0]["stmt"]
    return statement


def nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every node and every field that holds one, in no order: ``("FuncCall", {…})``, ``("alias", {…})``."""
    left = [tree]
    while left:
        one = left.pop()
        if isinstance(one, list):
            left.extend(one)
        elif isinstance(one, dict):
            for key, item in one.items():
                if isinstance(item, dict | list):
                    yield key, item
                    left.append(item)


def strings(names: list[Any]) -> list[str]:
    """A name's parts: ``["pg_catalog", "now"]``."""
    return [one["String"]["sval"] for one in names if "String" in one]


def place(source: bytes, node: Any) -> int:
    """Where a node stands, in characters."""
    at = node.get("location", 0) if isinstance(node, dict) else 0
    return len(source[: max(0, at)].decode(errors="ignore"))


def worded(kind: str) -> str:
    """A kind of node, for people."""
    return f"{kind.removesuffix('Stmt').removesuffix('Clause')} (of PostgreSQL's grammar)"


def spelled(source: bytes, names: Iterable[int]) -> str:
    """The text with ``pg_catalog.`` before the built-in functions whose bare names begin at these bytes."""
    text, end = b"", len(source)
    for at in sorted(names, reverse=True):
        text = b"pg_catalog." + source[at:end] + text
        end = at
    return (source[:end] + text).decode()
