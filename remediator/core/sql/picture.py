"""Statements derived from a change: to look at what it would do, to lock, to do it, and to take it back.

Pure text, asked of what `change.change` has accepted and `table.objection` has let pass. Every
statement that is derived from a change takes the change's own values, all of them, so that the server can
tell their types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from remediator.core.sql.change import Assigned, Change
from remediator.core.sql.spelling import quoted
from remediator.core.sql.table import Table

Part = Literal["key", "before", "after", "varies", "shape", "length"]
"""What a column of a result is. ``varies`` is there for the server alone, and is dropped. Two are true where
a value cannot be believed: ``shape``, an array is of another shape than its list tells; ``length``, the cast
cut what an assignment refuses.
"""

Parts = tuple[tuple[Part, str], ...]


@dataclass(frozen=True)
class Derived:
    """A statement.

    columns: what each column of its result is, in order, by place and not by name; limited: behind the
    change's values it takes one more, how many rows at most; params: of a statement that takes no values
    of the change, what $1, $2 … stand for.
    """

    text: str
    columns: Parts = ()
    limited: bool = False
    params: Parts = ()


# ── From the change itself ──────────────────────────────────────────────────────────────────────


def looking(change: Change, table: Table) -> Derived:
    """A SELECT of what would change, in the order of the key.

    UPDATE: key, before and after of each set column that does not vary: an application that touches
    ``updated_at`` has not changed what people agreed to. DELETE: key, and before of everything that can be
    carried and shown. INSERT: the rows of VALUES (key and after), cast to the columns' types; not limited.

    WHERE stands inside, so that the server tells the types of values in the same order as in the change.
    """
    if change.verb == "insert":
        return _values(change, table)
    alias = quoted(change.alias)
    before = _kept(change) if change.verb == "update" else _shown(table)
    parts = (
        *_key(table),
        *_parts("before", before),
        *((_after(one), one.column) for one in change.sets),
    )
    held = _shapes(((name, f"{alias}.{quoted(name)}") for name in (*table.key, *before)), table)
    doubts = (*held, *_doubts(change.sets, table))
    terms = (
        *(f"{alias}.{quoted(name)}" for name in (*table.key, *before)),
        *(_cast(one, table) for one in change.sets),
        *(term for _, term in doubts),
    )
    used = [name for name in table.columns if name in {*table.key, *before, *change.reads}]
    text = (
        f"SELECT {', '.join(terms)}"
        f" FROM (SELECT {_qualified(change, used)} FROM {table.name} AS {alias} WHERE ({change.condition}))"
        f" AS {alias} ORDER BY {_qualified(change, table.key)} LIMIT ${change.args + 1}"
    )
    return Derived(text, (*parts, *(part for part, _ in doubts)), limited=True)


def locking(change: Change, table: Table) -> Derived:
    """The same, FOR UPDATE. Not for an INSERT."""
    assert change.verb != "insert", "there is nothing to lock"
    look = looking(change, table)
    return replace(look, text=f"{look.text} FOR UPDATE")


def changing(change: Change, table: Table) -> Derived:
    """The change, giving back its key, and after of each set column.

    INSERT: after of everything that can be carried and shown and is not generated, whatever it was set from;
    DELETE: the key.
    """
    after = tuple((_after(one), one.column) for one in change.sets)
    if change.verb == "insert":
        after = _parts("after", _inserted(table))
    parts = (*_key(table), *after)
    alias = quoted(change.alias)
    doubts = _shapes(((name, f"{alias}.{quoted(name)}") for _, name in parts), table)
    returned = ", ".join((_qualified(change, (name for _, name in parts)), *(term for _, term in doubts)))
    return Derived(f"{change.text} RETURNING {returned}", (*parts, *(part for part, _ in doubts)))


def _values(change: Change, table: Table) -> Derived:
    rows = ", ".join(f"({', '.join(_row(row, table))})" for row in change.rows)
    keyed = {name: part for part, name in (*_key(table), *_parts("varies", change.varying))}
    parts = tuple((keyed.get(name, "after"), name) for name in change.columns)
    doubts = _doubts(change.rows[0], table) if change.rows else ()
    return Derived(f"VALUES {rows}", (*parts, *(part for part, _ in doubts)))


def _row(row: Iterable[Assigned], table: Table) -> Iterator[str]:
    row = tuple(row)
    yield from (_cast(one, table) for one in row)
    yield from (term for _, term in _doubts(row, table))


def _after(one: Assigned) -> Part:
    return "varies" if one.varies else "after"


def _cast(one: Assigned, table: Table) -> str:
    return f"({one.text})::{table.columns[one.column].type}"


# ── Values that cannot be believed ──────────────────────────────────────────────────────────────

Doubts = tuple[tuple[tuple[Part, str], str], ...]
"""Columns of a result behind its values, each with its term. They stand last: the casts before them have
told the server the types of the change's values."""


def _doubts(written: Sequence[Assigned], table: Table) -> Doubts:
    """Of what is written: its shape, and was it cut? An assignment cuts nothing but spaces."""
    shapes = _shapes(((one.column, _cast(one, table)) for one in written), table)
    sized = (one for one in written if table.columns[one.column].sized)
    return (*shapes, *((("length", one.column), _is_cut(one, table)) for one in sized))


def _shapes(terms: Iterable[tuple[str, str]], table: Table) -> Doubts:
    """Of every array: does it begin elsewhere than at 1, or is it JSON of several dimensions?"""
    found = ((name, term, table.columns[name]) for name, term in terms)
    return tuple(
        (("shape", name), _is_odd(term, json=column.is_json)) for name, term, column in found if column.array
    )


def _is_odd(term: str, *, json: bool) -> str:
    elsewhere = f"pg_catalog.replace(pg_catalog.array_dims({term}), '[1:', '') LIKE '%[%'"
    return f"({elsewhere} OR pg_catalog.array_ndims({term}) > 1)" if json else f"({elsewhere})"


def _is_cut(one: Assigned, table: Table) -> str:
    whole = f"({one.text})::{table.columns[one.column].base}"
    cut, uncut = (f'pg_catalog.rtrim(({term})::text) COLLATE "C"' for term in (_cast(one, table), whole))
    return f"({cut} IS DISTINCT FROM {uncut})"


def _qualified(change: Change, names: Iterable[str]) -> str:
    return ", ".join(f"{quoted(change.alias)}.{quoted(name)}" for name in names)


def _shown(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.rest if column.shown)


def _inserted(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.rest if column.shown and not column.generated)


def _parts(part: Part, names: Iterable[str]) -> Parts:
    return tuple((part, name) for name in names)


def standing(table: Table) -> Derived:
    """Is there a row with this key? Takes the key, and gives it back."""
    text = f"SELECT {_list(table.key)} FROM {table.name} WHERE {_by_key(table)}"
    return Derived(text, _key(table), params=_key(table))


# ── The way back, one row at a time, by its key ─────────────────────────────────────────────────


def holding(change: Change, table: Table) -> Derived:
    """Lock one row and read, as ``after``, what the change left there and drift is told by.

    Takes the key. UPDATE: the set columns that do not vary; INSERT: everything that `changing` gives back;
    DELETE: nothing but the key, for a row that is there again.
    """
    names = {"update": _kept(change), "insert": _inserted(table), "delete": ()}[change.verb]
    parts = (*_key(table), *_parts("after", names))
    doubts = _shapes(((name, quoted(name)) for _, name in parts), table)
    columns = ", ".join((_list(name for _, name in parts), *(term for _, term in doubts)))
    text = f"SELECT {columns} FROM {table.name} WHERE {_by_key(table)} FOR UPDATE"
    return Derived(text, (*parts, *(part for part, _ in doubts)), params=_key(table))


def restoring(change: Change, table: Table) -> Derived:
    """Take the change back on one row; gives back the key, or no row where there was nothing to do.

    UPDATE: sets the columns that do not vary (takes their ``before``, then the key). INSERT: deletes the
    row (takes the key). DELETE: inserts it again (takes key and ``before`` of every column that is not
    generated), unless its key is taken.
    """
    back = {"update": _setting_back, "insert": _deleting, "delete": _inserting}[change.verb]
    text, params = back(change, table)
    return Derived(f"{text} RETURNING {_list(table.key)}", _key(table), params=params)


def _setting_back(change: Change, table: Table) -> tuple[str, Parts]:
    before = _parts("before", _kept(change))
    sets = ", ".join(f"{quoted(name)} = ${number}" for number, (_, name) in enumerate(before, 1))
    text = f"UPDATE {table.name} SET {sets} WHERE {_by_key(table, len(before))}"
    return text, (*before, *_key(table))


def _deleting(_change: Change, table: Table) -> tuple[str, Parts]:
    return f"DELETE FROM {table.name} WHERE {_by_key(table)}", _key(table)


def _inserting(_change: Change, table: Table) -> tuple[str, Parts]:
    whole = (*_key(table), *_parts("before", _shown(table)))
    params = tuple((part, name) for part, name in whole if not table.columns[name].generated)
    given = any(table.columns[name].identity == "always" for _, name in params)
    text = (
        f"INSERT INTO {table.name} ({_list(name for _, name in params)})"
        f"{' OVERRIDING SYSTEM VALUE' if given else ''}"
        f" VALUES ({', '.join(f'${number}' for number in range(1, len(params) + 1))})"
        f" ON CONFLICT ({_list(table.key)}) DO NOTHING"
    )
    return text, params


def _kept(change: Change) -> tuple[str, ...]:
    return tuple(one.column for one in change.sets if not one.varies)


def _key(table: Table) -> Parts:
    return _parts("key", table.key)


def _by_key(table: Table, before: int = 0) -> str:
    return " AND ".join(f"{quoted(name)} = ${before + number}" for number, name in enumerate(table.key, 1))


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))
