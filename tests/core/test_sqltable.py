"""What a table itself forbids to a change, each with its reason."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from remediator.core.catalog import Reach
from remediator.core.sql.change import Change, change
from remediator.core.sql.table import Column, Referrer, Table, objection

REACH = Reach(frozenset({"loyalty_programs"}))
COLUMNS = {
    column.name: column
    for column in (
        Column("tenant", "text", "text"),
        Column("id", "text", "text"),
        Column("code", "text", "text"),
        Column("name", "text", "text"),
        Column("earn_rate", "numeric(6,4)", "numeric"),
        Column("updated_at", "timestamp with time zone", "timestamptz"),
    )
}
TABLE = Table('"public"."loyalty_programs"', ("tenant", "id"), COLUMNS)
UPDATE = "UPDATE loyalty_programs SET earn_rate = $1, updated_at = now() WHERE id = $2"
INSERT = "INSERT INTO loyalty_programs (tenant, id, name) VALUES ($1, $2, $3)"
DELETE = "DELETE FROM loyalty_programs WHERE id = $1"
ALL = (UPDATE, INSERT, DELETE)


def read(text: str) -> Change:
    found = change(text, REACH)
    assert isinstance(found, Change), found
    return found


def told(text: str, table: Table = TABLE, *, restores: bool = False) -> str:
    return objection(read(text), table, restores=restores)


def with_columns(**columns: Column) -> Table:
    return replace(TABLE, columns={**COLUMNS, **columns})


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize("restores", [False, True])
def test_nothing_is_held_against_a_plain_table_with_a_composite_key(text: str, restores: bool) -> None:
    assert told(text, restores=restores) == ""


@pytest.mark.parametrize("text", ALL)
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"kind": "v"}, "it is a view"),
        ({"kind": "m"}, "it is a materialized view"),
        ({"kind": "f"}, "it is a foreign table"),
        ({"kind": "p"}, "it is a partitioned table"),
        ({"kind": "S"}, "it is a sequence"),
        ({"kind": "c"}, "it is not a plain table"),
        ({"partition": True}, "it is a partition of another table"),
        ({"children": True}, "other tables inherit from it, and would change with it"),
        ({"row_security": True}, "row-level security hides rows of it from this login"),
        ({"rules": True}, "it has a rule, which may rewrite the statement"),
        ({"key": ()}, "it has no primary key"),
        ({"name": '"pg_catalog"."pg_authid"'}, "it is one of the system's own tables"),
        ({"name": '"information_schema"."sql_parts"'}, "it is one of the system's own tables"),
    ],
)
def test_only_plain_tables_may_change(text: str, facts: dict[str, Any], reason: str) -> None:
    assert told(text, replace(TABLE, **facts)) == reason


@pytest.mark.parametrize("text", ALL)
def test_a_key_must_be_visible(text: str) -> None:
    assert told(text, with_columns(id=Column("id", "mood", ""))).startswith(
        "id, of its primary key, is of type mood"
    )
    assert told(text, with_columns(id=Column("id", "text", "text", hidden=True))).endswith("is hidden")


@pytest.mark.parametrize(("text", "event"), [(UPDATE, "update"), (INSERT, "insert"), (DELETE, "delete")])
def test_a_trigger_for_this_event_may_do_anything(text: str, event: str) -> None:
    others = frozenset({"update", "insert", "delete"}) - {event}
    assert told(text, replace(TABLE, triggers=frozenset({event}))).startswith(f"a trigger fires on {event}")
    assert told(text, replace(TABLE, triggers=others)) == ""


@pytest.mark.parametrize(("text", "event"), [(INSERT, "delete"), (DELETE, "insert")])
def test_a_trigger_that_the_restore_would_fire_counts_when_it_is_generated(text: str, event: str) -> None:
    table = replace(TABLE, triggers=frozenset({event}))
    assert told(text, table) == ""
    assert (
        told(text, table, restores=True)
        == f"a trigger fires on {event}, and may do anything, when it is restored"
    )


@pytest.mark.parametrize("spread", ["cascade", "set null", "set default"])
def test_foreign_keys_that_carry_the_change_to_other_rows_forbid_it(spread: Any) -> None:
    deleting = replace(TABLE, referrers=(Referrer("users_program", ("tenant", "id"), on_delete=spread),))
    reason = f"other rows would change with it, by the foreign key users_program (on delete {spread})"
    assert told(DELETE, deleting) == reason
    assert told(UPDATE, deleting) == ""
    assert told(INSERT, deleting) == ""
    assert told(INSERT, deleting, restores=True) == f"{reason}, when it is restored"
    updating = replace(TABLE, referrers=(Referrer("users_code", ("code",), on_update=spread),))
    assert "users_code (on update" in told("UPDATE loyalty_programs SET code = $1 WHERE id = $2", updating)
    assert told(UPDATE, updating) == ""
    assert told(DELETE, updating) == ""


def test_foreign_keys_that_only_forbid_are_the_servers_affair() -> None:
    table = replace(TABLE, referrers=(Referrer("a", ("id",), "restrict", "restrict"), Referrer("b", ("id",))))
    assert told(DELETE, table) == ""
    assert told("UPDATE loyalty_programs SET code = $1 WHERE id = $2", table) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("UPDATE loyalty_programs SET id = $1 WHERE id = $2", "id is of the primary key, by which rows are known"),
        ("UPDATE loyalty_programs SET total = $1 WHERE id = $2", "total is generated, and cannot be written"),
        ("UPDATE loyalty_programs SET number = $1 WHERE id = $2", "number is always given by the database"),
        ("UPDATE loyalty_programs SET place = $1 WHERE id = $2", "place is of type point, whose values cannot be carried"),
        ("UPDATE loyalty_programs SET secret = $1 WHERE id = $2", "secret is a hidden column"),
        ("UPDATE loyalty_programs SET name = secret WHERE id = $1", "secret is a hidden column"),
        ("UPDATE loyalty_programs SET name = nobody WHERE id = $1", "it has no column 'nobody'"),
        ("UPDATE loyalty_programs SET nobody = 1 WHERE id = $1", "it has no column 'nobody'"),
        ("DELETE FROM loyalty_programs WHERE id = $1 AND loyalty_programs.row_to_json IS NULL", "it has no column 'row_to_json'"),
        ("DELETE FROM loyalty_programs WHERE secret = $1", "secret is a hidden column"),
        ("INSERT INTO loyalty_programs (id, number) VALUES (1, 2)", "number is always given by the database"),
        ("INSERT INTO loyalty_programs (id, place) VALUES (1, $1)", "place is of type point, whose values cannot be carried"),
        ("INSERT INTO loyalty_programs (id, total) VALUES (1, 2)", "total is generated, and cannot be written"),
    ],
)  # fmt: skip
def test_columns_that_may_not_be_written_or_read(text: str, reason: str) -> None:
    table = with_columns(
        total=Column("total", "integer", "int4", generated=True),
        number=Column("number", "bigint", "int8", identity="always"),
        place=Column("place", "point", ""),
        secret=Column("secret", "text", "text", hidden=True),
    )
    assert told(text, table) == reason


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (Column("x", "text", "text", hidden=True), "x is hidden, so rows cannot be restored"),
        (
            Column("x", "point", ""),
            "x is of type point, whose values cannot be carried, so rows cannot be restored",
        ),
    ],
)
def test_whole_rows_can_be_restored_only_when_all_of_them_is_known(column: Column, reason: str) -> None:
    table = with_columns(x=column)
    for text in (INSERT, DELETE):
        assert told(text, table) == ""
        assert told(text, table, restores=True) == reason
    assert told(UPDATE, table, restores=True) == ""
    assert (
        told(DELETE, with_columns(x=replace(column, hidden=False, base="", generated=True)), restores=True)
        == ""
    )


def test_the_spelling_of_json_cannot_be_restored() -> None:
    table = with_columns(doc=Column("doc", "json", "json"))
    assert told(DELETE, table, restores=True).startswith("doc is of type json")
    assert told("UPDATE loyalty_programs SET doc = $1 WHERE id = $2", table, restores=True).startswith(
        "doc is of"
    )
    assert told("UPDATE loyalty_programs SET doc = $1 WHERE id = $2", table) == ""
    assert told(INSERT, table, restores=True) == ""
    assert told(DELETE, with_columns(doc=Column("doc", "jsonb", "jsonb")), restores=True) == ""


def test_an_update_that_sets_only_times_leaves_nothing_to_restore() -> None:
    text = "UPDATE loyalty_programs SET updated_at = now() WHERE id = $1"
    assert told(text) == ""
    assert told(text, restores=True) == "nothing could be restored: every value that is set tells the time"


def test_a_deferrable_key_does_not_tell_that_a_row_is_there_again() -> None:
    table = replace(TABLE, deferrable=True)
    assert told(DELETE, table) == ""
    assert told(DELETE, table, restores=True).startswith("its primary key is deferrable")
    assert told(UPDATE, table, restores=True) == ""
