"""Reading SQL: what only reads passes, what nobody thought of is refused, each with its code."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import pytest

from remediator.core.catalog import Reach
from remediator.core.sql import reading as sql
from remediator.core.sql.spelling import spelled
from remediator.core.sql.tree import Fault

REACH = Reach(
    tables=frozenset({"loyalty_programs", "loyalty_campaigns", "loyalty_users", "audit.entries"}),
    hidden=frozenset({"loyalty_users.password_hash"}),
    functions=frozenset({"tier_of", "audit.digest"}),
)


def refused(text: str) -> list[str]:
    found = sql.read(text, REACH)
    assert isinstance(found, list), found
    return [fault.code for fault in found]


def allowed(text: str) -> sql.Query:
    found = sql.read(text, REACH)
    assert isinstance(found, sql.Query), found
    return found


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT name, round(100 * (budget_limit - budget_spent) / budget_limit, 2) AS left FROM loyalty_programs WHERE id = $1",
        "SELECT * FROM loyalty_programs p JOIN loyalty_campaigns c ON c.program_id = p.id",
        "SELECT count(*), max(start_date) FILTER (WHERE status = 'scheduled') FROM loyalty_campaigns GROUP BY status",
        "WITH late AS (SELECT * FROM loyalty_campaigns), n AS (SELECT count(*) FROM late) SELECT * FROM n",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
        "SELECT id FROM loyalty_programs UNION SELECT id FROM loyalty_campaigns ORDER BY 1 LIMIT 5",
        "SELECT target_segment->>'tier', target_segment #>> '{a,b}' FROM loyalty_campaigns WHERE target_segment @> $1",
        "SELECT extract(epoch FROM now() - start_date), start_date AT TIME ZONE 'UTC' FROM loyalty_campaigns",
        "SELECT row_number() OVER (PARTITION BY status ORDER BY id) FROM loyalty_campaigns",
        "SELECT id FROM loyalty_programs WHERE id = ANY($1::text[]) AND name NOT ILIKE '%x%' AND earn_rate BETWEEN 0 AND 1",
        "SELECT CASE WHEN earn_rate > 0 THEN 'a' ELSE NULLIF('b', $1) END, coalesce(name, ''), greatest(1, 2) FROM loyalty_programs",
        "SELECT day FROM generate_series(now() - interval '1 day', now(), '1 hour') AS day",
        "SELECT tier_of(id), audit.digest(name), pg_catalog.lower(name) FROM loyalty_programs",
        "SELECT id FROM audit.entries; -- the end",
        "SELECT u.id, u.name FROM loyalty_users u WHERE EXISTS (SELECT 1 FROM loyalty_programs WHERE id = u.id)",
        "SELECT count(*) FROM loyalty_users",
    ],
)
def test_what_only_reads_may_be_asked(text: str) -> None:
    allowed(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("P201", "SELEC 1"),
        ("P201", "SELECT 'unterminated"),
        ("P201", "SELECT " + "+".join(["1"] * 6000)),
        ("P201", "SELECT " + " " * 20_000),
        ("P201", "SELECT '\0'"),
        ("P201", "SELECT '\ud800'"),
        ("P202", ""),
        ("P202", "-- nothing"),
        ("P202", "SELECT 1; SELECT 2"),
        ("P202", "SELECT 1; DROP TABLE loyalty_programs"),
        ("P203", "UPDATE loyalty_programs SET earn_rate = 0"),
        ("P203", "INSERT INTO loyalty_programs VALUES (1)"),
        ("P203", "DELETE FROM loyalty_programs"),
        ("P203", "MERGE INTO loyalty_programs p USING loyalty_campaigns c ON true WHEN MATCHED THEN DELETE"),
        ("P203", "TRUNCATE loyalty_programs"),
        ("P203", "DROP TABLE loyalty_programs"),
        ("P203", "CREATE TABLE t AS SELECT 1"),
        ("P203", "COPY loyalty_programs TO PROGRAM 'id'"),
        ("P203", "DO $$ BEGIN PERFORM 1; END $$"),
        ("P203", "CALL tier_of(1)"),
        ("P203", "SET statement_timeout = 0"),
        ("P203", "BEGIN"),
        ("P203", "COMMIT"),
        ("P203", "LOCK TABLE loyalty_programs"),
        ("P203", "VACUUM"),
        ("P203", "EXPLAIN ANALYZE SELECT 1"),
        ("P203", "LISTEN x"),
        ("P203", "NOTIFY x"),
        ("P203", "PREPARE x AS SELECT 1"),
        ("P203", "EXECUTE x"),
        ("P203", "DECLARE c CURSOR FOR SELECT 1"),
        ("P203", "SELECT * INTO t FROM loyalty_programs"),
        ("P203", "SELECT id FROM loyalty_programs FOR UPDATE"),
        ("P203", "SELECT id FROM loyalty_programs FOR KEY SHARE SKIP LOCKED"),
        ("P203", "SELECT (SELECT id FROM loyalty_programs LIMIT 1 FOR SHARE)"),
        ("P203", "WITH x AS (UPDATE loyalty_programs SET name = '' RETURNING id) SELECT * FROM x"),
        ("P203", "WITH x AS (DELETE FROM loyalty_programs RETURNING id) SELECT 1"),
        ("P203", "SELECT * FROM (WITH loyalty_secrets AS (SELECT 1) SELECT * FROM loyalty_secrets) s"),
        ("P203", "SELECT id FROM loyalty_programs TABLESAMPLE system (1)"),
        ("P203", "SELECT xmlelement(name a)"),
        ("P204", "SELECT * FROM loyalty_secrets"),
        ("P204", "TABLE loyalty_secrets"),
        ("P204", "SELECT * FROM public.loyalty_programs"),
        ("P204", "SELECT * FROM pg_authid"),
        ("P204", "SELECT * FROM entries"),
        ("P204", 'SELECT * FROM "Loyalty_Programs"'),
        ("P204", "SELECT 1 FROM loyalty_programs WHERE EXISTS (SELECT 1 FROM information_schema.tables)"),
        ("P204", "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a"),
        ("P205", "SELECT pg_sleep(10)"),
        ("P205", "SELECT set_config('a', 'b', false)"),
        ("P205", "SELECT nextval('s')"),
        ("P205", "SELECT pg_terminate_backend(1)"),
        ("P205", "SELECT pg_read_file('/etc/passwd')"),
        ("P205", "SELECT lo_import('/etc/passwd')"),
        ("P205", "SELECT dblink_exec('x', 'y')"),
        ("P205", "SELECT query_to_xml('select 1', true, true, '')"),
        ("P205", "SELECT pg_advisory_lock(1)"),
        ("P205", "SELECT pg_notify('a', 'b')"),
        ("P205", "SELECT repeat('x', 1000000000)"),
        ("P205", "SELECT public.lower(name) FROM loyalty_programs"),
        ("P205", "SELECT * FROM pg_ls_dir('.') f"),
        ("P205", "SELECT 1 ORDER BY random()"),
        ("P205", "SELECT 'pg_authid'::regclass"),
        ("P205", "SELECT name::public.mine FROM loyalty_programs"),
        ("P205", "SELECT 1 OPERATOR(public.+) 2"),
        ("P205", "SELECT 1 === 2"),
        ("P205", "SELECT 1 WHERE 1 === ANY (SELECT 2)"),
        ("P205", "SELECT id FROM loyalty_programs ORDER BY id USING <<<"),
        ("P205", "SELECT (p).tier_of FROM loyalty_programs p"),
        ("P206", "SELECT * FROM loyalty_users"),
        ("P206", "SELECT u.* FROM loyalty_users u"),
        ("P206", "TABLE loyalty_users"),
        ("P206", "SELECT password_hash FROM loyalty_users"),
        ("P206", 'SELECT u."password_hash" FROM loyalty_users u'),
        ("P206", 'SELECT U&"password\\005fhash" FROM loyalty_users'),
        ("P206", "SELECT id FROM loyalty_users WHERE password_hash LIKE 'a%'"),
        ("P206", "SELECT id FROM loyalty_users ORDER BY password_hash"),
        ("P206", "SELECT u FROM loyalty_users u"),
        ("P206", "SELECT loyalty_users FROM loyalty_users"),
        ("P206", "SELECT to_jsonb(u) ->> $1 FROM loyalty_users u"),
        ("P206", "SELECT count(u) FROM loyalty_users u"),
        ("P206", "SELECT u.c FROM loyalty_users u(a, b, c)"),
        ("P206", "SELECT j.c FROM (loyalty_users JOIN loyalty_programs ON true) AS j(a, b, c)"),
        ("P206", "SELECT 1 FROM loyalty_users NATURAL JOIN loyalty_programs"),
        ("P206", "SELECT 1 FROM loyalty_users JOIN loyalty_programs USING (password_hash)"),
        ("P206", "WITH x AS (SELECT * FROM loyalty_users) SELECT 1 FROM x"),
        ("P206", "SELECT 1 FROM loyalty_programs WHERE EXISTS (SELECT * FROM loyalty_users)"),
        ("P206", "SELECT ROW(u.*) FROM loyalty_users u"),
        ("P207", "SELECT $2"),
        ("P207", "SELECT $1, $3"),
        ("P207", "SELECT $0"),
    ],
)
def test_what_might_do_more_is_refused_with_its_code(code: str, text: str) -> None:
    assert code in refused(text)


def test_a_hidden_column_is_hidden_however_it_is_written() -> None:
    reach = Reach(frozenset({"Users", "s.users"}), frozenset({"S.USERS.Password"}))
    for text in (
        'SELECT "PassWord" FROM "Users"',
        "SELECT password FROM s.users",
        'SELECT u.* FROM "Users" u',
    ):
        found = sql.read(text, reach)
        assert isinstance(found, list)
        assert {fault.code for fault in found} == {"P206"}


def test_built_in_functions_are_spelled_out_and_nothing_else_changes() -> None:
    text = "SELECT 'é', Upper(name), \"lower\"(name), tier_of(id), trim(name), count(*) FROM loyalty_programs -- now()"
    assert allowed(text).text({"loyalty_programs": "public"}, {"tier_of": 'Odd "One'}) == (
        'SELECT \'é\', "pg_catalog".Upper(name), "pg_catalog"."lower"(name), "Odd ""One".tier_of(id), '
        'trim(name), "pg_catalog".count(*) FROM "public".loyalty_programs -- now()'
    )


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (
            "SELECT loyalty_programs.id FROM loyalty_programs, audit.entries e",
            'SELECT loyalty_programs.id FROM "s".loyalty_programs, audit.entries e',
        ),
        (
            "WITH loyalty_programs AS (SELECT id FROM loyalty_programs) SELECT id FROM loyalty_programs",
            'WITH loyalty_programs AS (SELECT id FROM "s".loyalty_programs) SELECT id FROM loyalty_programs',
        ),
        (
            'SELECT (SELECT count(*) FROM ONLY/**/"loyalty_programs") FROM audit . entries, (TABLE loyalty_campaigns) t',
            'SELECT (SELECT "pg_catalog".count(*) FROM ONLY/**/"s"."loyalty_programs") FROM audit . entries, (TABLE "s".loyalty_campaigns) t',
        ),
        (
            "SELECT 'loyalty_programs' FROM LOYALTY_programs",
            "SELECT 'loyalty_programs' FROM \"s\".LOYALTY_programs",
        ),
    ],
)
def test_tables_are_named_with_their_schema_where_they_are_tables(written: str, sent: str) -> None:
    names = {"loyalty_programs": "s", "loyalty_campaigns": "s", "audit.entries": "elsewhere"}
    assert allowed(written).text(names, {}) == sent


def test_what_would_be_another_statement_with_its_names_spelled_out_is_refused() -> None:
    assert spelled("SELECT c FROM a, b", {14: "s"}) == 'SELECT c FROM "s".a, b'
    for places in ({7: "s"}, {15: "s"}, {14: "s", 18: "s"}):
        assert isinstance(spelled("SELECT c FROM a, b", places), Fault)


def test_names_after_a_dot_are_told_for_the_database_to_judge() -> None:
    query = allowed(
        "WITH x AS (SELECT 1 AS a) SELECT p.id, x.a, audit.entries.at FROM loyalty_programs p, x, audit.entries"
    )
    assert query.dotted == {"loyalty_programs": {"id"}, "audit.entries": {"at"}}


def test_every_fault_is_told_with_its_place_in_characters() -> None:
    text = "SELECT 'é', pg_sleep(1) FROM loyalty_secrets"
    found = sql.read(text, REACH)
    assert isinstance(found, list)
    assert [
        (one.code, text[one.offset :].split("(", maxsplit=1)[0].split(maxsplit=1)[0]) for one in found
    ] == [
        ("P205", "pg_sleep"),
        ("P204", "loyalty_secrets"),
    ]
    assert "audit.entries, loyalty_campaigns" in found[1].remedy
