"""What a connection may declare as a statement, and what becomes of the values of its slots."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from remediator.connectors.mysql import MysqlSettings, values
from remediator.connectors.mysql.link import set_up
from remediator.connectors.mysql.statement import Prepared, Slot
from remediator.core.catalog import Command, Risk

NAME = {"pattern": "[a-z]{1,8}"}


def settings(**more: Any) -> MysqlSettings:
    given = {"url": "mysql://127.0.0.1:3306/shop", "username": "remediator"}
    return MysqlSettings.model_validate({**given, **more})


@pytest.mark.parametrize(
    ("sql", "text", "slots"),
    [
        ("SELECT 1", "SELECT 1", []),
        (
            "UPDATE t SET a = :a\n WHERE b = :b_2 AND c=:a",
            "UPDATE t SET a = ?  WHERE b = ? AND c=?",
            ["a", "b_2", "a"],
        ),
        ("SELECT ':a', \"?\", `--`, 'it''s' FROM t", "SELECT ':a', \"?\", `--`, 'it''s' FROM t", []),
        ("SELECT a-1, b->'$.x' FROM t", "SELECT a-1, b->'$.x' FROM t", []),
        ("SELECT é FROM t", "SELECT é FROM t", []),
    ],
)
def test_a_slot_becomes_a_question_mark_and_the_rest_stays(sql: str, text: str, slots: list[str]) -> None:
    prepared = Prepared(sql)
    assert (prepared.text, prepared.slots) == (text, slots)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT 1; DELETE FROM t", "';' may not stand"),
        ("SELECT 1 -- all", "'--' may not stand"),
        ("SELECT 1 # all", "'#' may not stand"),
        ("SELECT /*! SLEEP(9) */ 1", "'/*' may not stand"),
        ("SELECT ?", "'?' may not stand in a declared statement; a slot is written :name"),
        ("SELECT @@version", "'@' may not stand"),
        ("SELECT 'a\\' OR 1", "no backslash"),
        ("SELECT 'a", '"\'" may not stand'),
        ("SELECT :A", "':' may not stand"),
        ("SELECT 1 INTO OUTFILE '/x'", "INTO may not stand in a statement that only reads"),
        ("SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE may not stand"),
        ("SELECT sleep(9)", "SLEEP may not stand"),
        ("DROP TABLE t", "DROP may not be declared"),
        ("CALL p()", "CALL may not be declared"),
        ("SET x = 1", "SET may not be declared"),
        ("KILL 1", "KILL may not be declared"),
        ("", "This may not be declared"),
        ("DELETE FROM t", "DELETE needs a WHERE"),
        ("UPDATE t SET a = 'WHERE'", "UPDATE needs a WHERE"),
        ("SELECT :name", "it does not say what :name may be"),
    ],
)
def test_what_may_not_be_declared_is_told_at_load(sql: str, problem: str) -> None:
    with pytest.raises(ValidationError) as error:
        settings(statements={"it": {"sql": sql}})
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ({"sql": "SELECT 1", "slots": {"a": NAME}}, "the slot a stands nowhere in it"),
        ({"sql": "SELECT :a", "slots": {"A": NAME}}, "'A' is no name of a slot"),
        ({"sql": "SELECT :a", "slots": {"a": {}}}, "a string needs a pattern"),
        ({"sql": "SELECT :a", "slots": {"a": {"type": "int", "pattern": "1"}}}, "a string needs a pattern"),
        ({"sql": "SELECT :a", "slots": {"a": {**NAME, "max": 3}}}, "only a number has min and max"),
        ({"sql": "SELECT :a", "slots": {"a": {"pattern": "("}}}, "is not an RE2 pattern"),
        ({"sql": "SELECT 1", "preview": "SELECT 1"}, "a preview is a SELECT beside a statement"),
        ({"sql": "DELETE FROM t WHERE 1", "preview": "DELETE FROM t WHERE 1"}, "a preview is a SELECT"),
        ({"sql": "DELETE FROM t WHERE 1", "preview": "SELECT :a"}, "it does not say what :a may be"),
        ({"sql": "DELETE FROM t WHERE 1", "preview": "SHOW STATUS"}, "a preview is a SELECT beside a"),
        ({"sql": "DELETE FROM t WHERE 1", "preview": "SELECT 1 UNION SELECT 2"}, "UNION may not stand in a"),
        ({"sql": "DELETE FROM t WHERE 1", "preview": "SELECT 1 FROM t FOR UPDATE"}, "it is asked once more"),
        ({"sql": "SELECT 1", "rows": 0}, "greater than 0"),
    ],
)
def test_a_statement_that_does_not_fit_its_slots_is_told_at_load(
    statement: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError) as error:
        settings(statements={"it": statement})
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"url": "mysql://h"}, "write mysql://host:port/database"),
        ({"url": "mysql://ann:pw@h/shop"}, "may not hold credentials"),
        ({"url": "mysql://h:99999/shop"}, "is not an address"),
        ({"url": "mysql://h/shop?ssl=0"}, "write mysql://"),
        ({"url": "http://h/shop"}, "write mysql://"),
        ({"users": ["system user"]}, "is none whose sessions may be ended"),
        ({"users": ["remediator"]}, "is our own login"),
        ({"marks": "a; b"}, "is no table"),
        ({"statements": {"It": {"sql": "SELECT 1"}}}, "cannot be a command's name"),
    ],
)
def test_bad_settings_are_told_at_load(more: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as error:
        settings(**more)
    assert problem in str(error.value)


def test_policies_know_what_is_declared_and_what_it_costs() -> None:
    known = settings(
        statements={
            "stuck": {"sql": "SELECT id FROM jobs WHERE queue = :queue", "slots": {"queue": NAME}},
            "requeue": {"sql": "UPDATE jobs SET n = 0 WHERE id = 1", "risk": "disruptive"},
            "drop": {"sql": "DELETE FROM jobs WHERE id = 1"},
        }
    )
    assert known.declared == {
        "stuck": Command(reads=True, slots=frozenset({"queue"})),
        "requeue": Command(reads=False),
        "drop": Command(reads=False),
    }
    assert known.risks == {"COMMAND requeue": Risk.DISRUPTIVE, "COMMAND drop": Risk.DESTRUCTIVE}
    assert known.declared["stuck"].refuses({"queue": "mail"}) == ""
    assert known.declared["stuck"].refuses({}) == "the slot queue is empty"


# ── Values ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("slot", "value", "literal"),
    [
        ({"pattern": "(?s).*"}, "a'b\\\"\n;--", "_utf8mb4 X'6127625c220a3b2d2d'"),
        ({"values": ["é"]}, "é", "_utf8mb4 X'c3a9'"),
        ({"type": "int", "max": 9}, 9, "9"),
        ({"type": "int", "min": -5}, -5, "-5"),
        ({"type": "int"}, 3.0, "3"),
        ({"type": "number"}, 0.07, "0.07"),
        ({"type": "number"}, Decimal("12345678901234567890.10"), "12345678901234567890.10"),
        ({"type": "number"}, 1e-7, "0.0000001"),
        ({"type": "bool"}, True, "1"),
        ({"type": "time"}, "2026-01-02T03:04:05+03:00", "_utf8mb4 X'" + b"2026-01-02 00:04:05".hex() + "'"),
        ({"type": "time"}, "2026-01-02", "_utf8mb4 X'" + b"2026-01-02 00:00:00".hex() + "'"),
    ],
)
def test_a_value_is_sent_in_letters_that_mean_nothing_to_sql(
    slot: dict[str, object], value: object, literal: str
) -> None:
    assert Slot.model_validate(slot).literal(value) == literal


@pytest.mark.parametrize(
    ("slot", "value", "problem"),
    [
        (NAME, "A", "'A' does not fit"),
        (NAME, "a\n", "does not fit"),
        (NAME, "", "must have 1 to 4096 characters"),
        (NAME, None, "None is no text"),
        (NAME, ["a"], "is no text"),
        (NAME, "a\0", "holds a NUL"),
        (NAME, "\ud800", "half a character"),
        ({"values": ["a"]}, "b", "is none of a"),
        ({"type": "int"}, "1", "'1' is no number"),
        ({"type": "int"}, True, "True is no number"),
        ({"type": "int"}, 1.5, "1.5 is no whole number"),
        ({"type": "int"}, -1, "-1 is not within 0 or more"),
        ({"type": "int", "max": 5}, 6, "6 is not within 0 to 5"),
        ({"type": "int"}, 2**63, "is out of range"),
        ({"type": "number"}, float("nan"), "no finite number"),
        ({"type": "number"}, Decimal("1e99"), "more than 65 digits"),
        ({"type": "bool"}, 1, "1 is neither true nor false"),
        ({"type": "time"}, "soon", "'soon' is no ISO time"),
    ],
)
def test_a_value_that_does_not_fit_its_slot_is_refused(
    slot: dict[str, object], value: object, problem: str
) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        Slot.model_validate(slot).literal(value)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("kind", "told", "value"),
    [
        (246, "0.0700", Decimal("0.0700")),
        (3, "7", 7),
        (5, "0.5", 0.5),
        (12, "2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        (12, "0000-00-00 00:00:00", None),
        (7, "2026-01-02 03:04:05.5", "2026-01-02T03:04:05.500000+00:00"),
        (10, "2026-01-02", "2026-01-02"),
        (10, "0000-00-00", None),
        (245, '{"a": 0.10}', {"a": Decimal("0.10")}),
        (16, b"\x01", 1),
        (252, b"text", "text"),
        (253, "text", "text"),
        (253, None, None),
    ],
)
def test_what_the_server_tells_becomes_a_plain_value(kind: int, told: object, value: object) -> None:
    assert values.read(kind, told) == value


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(ValueError, match="select HEX"):
        values.read(252, b"\xff")


@pytest.mark.parametrize(
    ("version", "limit"),
    [("10.11.19-MariaDB", "max_statement_time = 1.5"), ("8.4.3", "max_execution_time = 1500")],
)
def test_both_families_are_told_how_long_a_statement_may_take(version: str, limit: str) -> None:
    assert limit in set_up(settings(timeout="1500ms"), version)


def test_time_is_written_in_utc_whatever_zone_it_had() -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert values.moment(noon.isoformat()) == values.moment("2026-01-02T12:00:00")
