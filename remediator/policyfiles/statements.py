"""Checks of SQL: does a probe's statement only read, and only what its connection allows?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from remediator.core import sql
from remediator.core.expression import Template
from remediator.core.sqltree import Fault
from remediator.documents.reading import Place
from remediator.policyfiles.uses import Look, Problem, Use


def _check(code: str, doc: str) -> Callable[[Look], Iterator[Problem]]:
    """A check that yields the faults of one code."""

    def found(look: Look) -> Iterator[Problem]:
        for use in look.uses:
            for place, fault in _faults(look, use):
                if fault.code == code:
                    yield Problem(place, fault.problem, fault.remedy, fault.offset)

    found.__doc__ = f"{code}: {doc}"
    return found


def _faults(look: Look, use: Use) -> Iterator[tuple[Place, Fault]]:
    operation, connection = look.operation(use), look.connection(use)
    for name, spec in operation.params.items() if operation and connection else ():
        written = use.arguments.get(name)
        if spec.type != "select" or not isinstance(written, Template) or not written.literal:
            continue
        place = (*use.place, "with", name)
        query = sql.read("".join(map(str, written.pieces)), connection.reach) if connection else []
        if isinstance(query, list):
            yield from ((place, fault) for fault in query)
        elif problem := _miscounted(query.args, use.arguments.get("args", [])):
            yield place, Fault("P207", problem, "write one item of args for each")


def _miscounted(wanted: int, args: object) -> str:
    if not isinstance(args, list) or len(args) == wanted:
        return ""
    return f"the statement takes {wanted} values, and args has {len(args)}"


no_sql = _check("P201", "SQL that PostgreSQL's grammar refuses.")
several = _check("P202", "no statement, or several.")
no_select = _check("P203", "a statement that does more than read.")
unknown_table = _check("P204", "a table that the connection does not list.")
unknown_function = _check("P205", "a function, type or operator that may do more than compute.")
hidden_column = _check("P206", "a way to a column that is hidden.")
miscounted = _check("P207", "values that do not fit $1, $2 …")
