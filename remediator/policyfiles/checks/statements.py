"""Checks of SQL: does a probe's statement only read, and an action's change what it says, where it may?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from remediator.core.catalog import Reach
from remediator.core.expression import Template
from remediator.core.sql import change, reading
from remediator.core.sql.tree import Fault
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Look, Problem, Use

Judge = Callable[[str, Reach], reading.Query | change.Change | list[Fault]]

JUDGES: Mapping[str, Judge] = MappingProxyType({"select": reading.read, "change": change.change})
"""The type of a parameter that holds SQL → what may stand there."""


def _check(code: str, doc: str) -> Callable[[Look], Iterator[Problem]]:
    """A check that yields the faults of one code."""

    def found(look: Look) -> Iterator[Problem]:
        for use in look.uses:
            for place, fault in _faults(look, use):
                if fault.code == code:
                    yield Problem(place, fault.problem, fault.remedy, fault.offset)

    found.__doc__ = f"{code}: {doc}"
    return found


def changes(look: Look, use: Use) -> Iterator[change.Change]:
    """The changes that stand in an operation's arguments and have no fault."""
    yield from (found for *_, found in _judged(look, use) if isinstance(found, change.Change))


def columns(look: Look, use: Use) -> frozenset[str]:
    """The columns that a probe's SELECT names; empty where it does not tell them all."""
    found = [one.columns for _, one in _judged(look, use) if isinstance(one, reading.Query)]
    return frozenset(found[0] or ()) if len(found) == 1 else frozenset()


def _faults(look: Look, use: Use) -> Iterator[tuple[Place, Fault]]:
    for place, found in _judged(look, use):
        if isinstance(found, list):
            yield from ((place, fault) for fault in found)
        elif problem := _miscounted(found.args, use.arguments.get("args", [])):
            yield place, Fault("P207", problem, "write one item of args for each")


def _judged(look: Look, use: Use) -> Iterator[tuple[Place, reading.Query | change.Change | list[Fault]]]:
    operation, connection = look.operation(use), look.connection(use)
    if operation is None or connection is None:
        return
    for name, spec in operation.params.items():
        written = use.arguments.get(name)
        if spec.type in JUDGES and isinstance(written, Template) and written.literal:
            text = "".join(map(str, written.pieces))
            yield (*use.place, "with", name), _judgement(spec.type, text, connection.reach)


@functools.lru_cache(maxsize=1024)
def _judgement(kind: str, text: str, reach: Reach) -> reading.Query | change.Change | list[Fault]:
    """Kept, since every check of SQL asks for it."""
    return JUDGES[kind](text, reach)


def _miscounted(wanted: int, args: object) -> str:
    if not isinstance(args, list) or len(args) == wanted:
        return ""
    return f"the statement takes {wanted} values, and args has {len(args)}"


no_sql = _check("P201", "SQL that PostgreSQL's grammar refuses.")
several = _check("P202", "no statement, or several.")
wrong_kind = _check("P203", "a statement that does more than read, or one that is no change.")
unknown_table = _check("P204", "a table that the connection does not list.")
unknown_function = _check("P205", "a function, type or operator that may do more than compute.")
hidden_column = _check("P206", "a way to a column that is hidden.")
miscounted = _check("P207", "values that do not fit $1, $2 …")
every_row = _check("P210", "a change without WHERE, or with one that may hold for every row.")
wrong_form = _check("P211", "a form that may not stand in a change: WITH, FROM, a subquery, ON CONFLICT …")
reads_itself = _check("P212", "a change that a second time would change again: compare and set.")
hiding = _check("P213", "a spelling in a change that a reviewer may read wrongly: comments, E'…', $$…$$ …")
