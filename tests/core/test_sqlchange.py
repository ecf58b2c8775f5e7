"""Reading SQL that changes: what says plainly what it changes passes, the rest is refused with its code."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import pytest

from remediator.core.catalog import Reach
from remediator.core.sql.change import Assigned, Change, change

REACH = Reach(
    tables=frozenset({"loyalty_programs", "loyalty_users", "audit.entries", "values", 'a "b"'}),
    hidden=frozenset({"loyalty_users.password_hash"}),
    functions=frozenset({"tier_of"}),
)


def refused(text: str) -> list[str]:
    found = change(text, REACH)
    assert isinstance(found, list), found
    assert found
    return [fault.code for fault in found]


def allowed(text: str) -> Change:
    found = change(text, REACH)
    assert isinstance(found, Change), found
    return found


# ── What passes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3",
        "UPDATE loyalty_programs SET earn_rate = $2 WHERE id = $1;",
        "update loyalty_programs set earn_rate=$1 where id='p-17'",
        "UPDATE loyalty_programs AS p SET earn_rate = 0.05 WHERE p.id = $1",
        "UPDATE loyalty_programs p SET earn_rate = p.earn_rate * 0.5 WHERE p.id = $1 AND p.earn_rate = $2",
        "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1 AND earn_rate = 0.07",
        "UPDATE loyalty_programs SET earn_rate = GREATEST(earn_rate, 0.05) WHERE id = $1",
        "UPDATE loyalty_programs SET earn_rate = earn_rate / 2 WHERE (id = $1 AND (name = $2 AND $3::numeric = earn_rate))",
        "UPDATE loyalty_programs SET earn_rate = earn_rate / 2 WHERE id = $1 AND earn_rate IS NOT DISTINCT FROM $2",
        "UPDATE loyalty_programs SET budget_limit = budget_spent WHERE id = $1",
        "UPDATE loyalty_programs SET name = 'a, b WHERE (c' WHERE id = $1",
        "UPDATE loyalty_programs SET name = 'it''s', \"Odd, name\" = 1 WHERE id = $1",
        "UPDATE loyalty_programs SET name = CASE WHEN budget_spent > 0 THEN 'a' ELSE coalesce($2, 'b') END WHERE id = $1",
        "UPDATE loyalty_programs SET tags = ARRAY[$1, 'b'], extra = jsonb_set(more, '{a,b}', $2::jsonb) WHERE id = $3",
        "UPDATE loyalty_programs SET until = current_timestamp WHERE id = $1",
        "UPDATE loyalty_programs SET until = now() AT TIME ZONE 'Africa/Dakar' WHERE id = $1",
        "UPDATE loyalty_programs SET day = now()::date, until = $2::timestamptz WHERE id = $1",
        "UPDATE loyalty_programs SET earn_rate = round(least($2, 0.07), 4) WHERE id IN ($1, 'p-18')",
        "UPDATE loyalty_programs SET active = NOT frozen WHERE id = ANY($1)",
        "UPDATE loyalty_programs SET earn_rate = -$2 WHERE start_date BETWEEN $1 AND now()",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name LIKE 'Ter%'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name ILIKE $2 ESCAPE '!'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name SIMILAR TO '(a|b)%'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name ~ '^Ter'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE ended_at IS NULL",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name = ''",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name = '$'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name LIKE ''",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE active",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE NOT active",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE active IS FALSE",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE active IS NOT TRUE",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE status <> 'closed'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE status NOT IN ('closed', 'done')",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE NOT (status = 'closed')",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE NOT (status <> 'closed' OR id <> $2)",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE id = $2 OR name = $3",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE true AND id = $2",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE budget_spent > budget_limit AND id = $2",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE now() - start_date > interval '2 hours'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE lower(name) = lower($2)",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE segment ->> 'tier' = 'gold'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE segment @> $2",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE $2 = ANY(tags)",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE (id, name) = ($2, $3)",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE (id, name) IN (($2, $3))",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE tags[1] = 'a'",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE now() BETWEEN start_date AND end_date",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE start_date AT TIME ZONE 'UTC' < now()",
        "UPDATE loyalty_programs SET earn_rate = $1 WHERE name = 'today'",
        "UPDATE loyalty_programs SET note = 'nowhere' WHERE id = $1",
        "UPDATE loyalty_programs SET note = 'Téranga — Dakar' WHERE id = $1",
        "UPDATE audit.entries SET seen = true WHERE entries.id = $1",
        "UPDATE audit.entries e SET \"where\" = 'x' WHERE e.where = $1",
        'UPDATE "a ""b""" SET x = 1 WHERE "a ""b""".id = 2',
        "UPDATE loyalty_users SET name = upper($2) WHERE id = $1",
        "DELETE FROM loyalty_programs WHERE id = $1",
        "DELETE FROM audit.entries AS e WHERE e.at < now() - interval '90 days' AND kind = 'x'",
        "INSERT INTO loyalty_programs (id, name) VALUES ($1, 'x')",
        "INSERT INTO loyalty_programs (id, name, at) VALUES ($1, trim(' x '), now()), ($2, CASE WHEN $3 THEN 'a' END, $4)",
        "INSERT INTO values (values) VALUES (ARRAY[1, 2]), (ARRAY[3])",
        'INSERT INTO loyalty_programs AS values (id, "VALUES") VALUES ((1), (2 + 3) * 4)',
    ],
)
def test_what_says_what_it_changes_may_be_sent(text: str) -> None:
    allowed(text)


# ── What is refused ─────────────────────────────────────────────────────────────────────────────

WHERE = "UPDATE loyalty_programs SET name = $1 WHERE"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        # No SQL, or too much
        ("P201", "UPDAT loyalty_programs SET name = 'x' WHERE id = 1"),
        ("P201", "UPDATE loyalty_programs SET name = 'x WHERE id = 1"),
        ("P201", "UPDATE loyalty_programs SET WHERE id = 1"),
        ("P201", f"{WHERE} id = '{'x' * 20_000}'"),
        ("P201", f"{WHERE} id = '\0'"),
        ("P201", f"{WHERE} id = '\ud800'"),
        ("P201", f"{WHERE} {'NOT ' * 4000} active"),
        ("P201", "INSERT INTO loyalty_programs (id) VALUES ()"),
        ("P201", "UPDATE loyalty_programs SET name = 'x' WHERE id = 1 LIMIT 1"),
        ("P201", "UPDATE loyalty_programs SET name = 'x' WHERE id = $1junk"),
        ("P202", ""),
        ("P202", ";"),
        ("P202", "-- nothing"),
        ("P202", "DELETE FROM loyalty_programs WHERE id = 1; DROP TABLE loyalty_programs"),
        ("P202", "DELETE FROM loyalty_programs WHERE id = 1; DELETE FROM loyalty_programs WHERE id = 2"),
        ("P202", "BEGIN; DELETE FROM loyalty_programs WHERE id = 1; COMMIT"),
        # No change
        ("P203", "SELECT 1"),
        ("P203", "SELECT name INTO x FROM loyalty_programs"),
        ("P203", "TABLE loyalty_programs"),
        ("P203", "VALUES (1)"),
        ("P203", "WITH x AS (DELETE FROM loyalty_programs RETURNING id) SELECT * FROM x"),
        ("P203", "MERGE INTO loyalty_programs p USING loyalty_users u ON p.id = u.id WHEN MATCHED THEN DELETE"),
        ("P203", "TRUNCATE loyalty_programs"),
        ("P203", "COPY loyalty_programs FROM PROGRAM 'id'"),
        ("P203", "DO $$ BEGIN DELETE FROM loyalty_programs; END $$"),
        ("P203", "CALL tier_of(1)"),
        ("P203", "SET session_replication_role = replica"),
        ("P203", "RESET ALL"),
        ("P203", "BEGIN"),
        ("P203", "COMMIT"),
        ("P203", "PREPARE TRANSACTION 'x'"),
        ("P203", "LOCK TABLE loyalty_programs"),
        ("P203", "DROP TABLE loyalty_programs"),
        ("P203", "ALTER TABLE loyalty_programs DISABLE TRIGGER ALL"),
        ("P203", "CREATE TABLE t AS SELECT 1"),
        ("P203", "CREATE RULE r AS ON UPDATE TO loyalty_programs DO INSTEAD NOTHING"),
        ("P203", "GRANT ALL ON loyalty_programs TO public"),
        ("P203", "EXPLAIN ANALYZE DELETE FROM loyalty_programs WHERE id = 1"),
        ("P203", "PREPARE x AS DELETE FROM loyalty_programs WHERE id = 1"),
        ("P203", "EXECUTE x"),
        ("P203", "VACUUM loyalty_programs"),
        ("P203", "REFRESH MATERIALIZED VIEW loyalty_programs"),
        ("P203", "NOTIFY x"),
        # The table
        ("P204", "DELETE FROM secrets WHERE id = 1"),
        ("P204", "DELETE FROM public.loyalty_programs WHERE id = 1"),
        ("P204", "DELETE FROM other.public.loyalty_programs WHERE id = 1"),
        ("P204", "DELETE FROM entries WHERE id = 1"),
        ("P204", "UPDATE pg_authid SET rolsuper = true WHERE rolname = 'x'"),
        ("P204", 'UPDATE "Loyalty_Programs" SET name = $1 WHERE id = 1'),
        ("P204", "INSERT INTO pg_catalog.pg_authid (rolname) VALUES ('x')"),
        ("P204", 'UPDATE "loyalty_programs " SET name = $1 WHERE id = 1'),
        ("P211", "UPDATE ONLY loyalty_programs SET name = $1 WHERE id = 1"),
        ("P211", "DELETE FROM ONLY (loyalty_programs) WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs * SET name = $1 WHERE id = 1"),
        ("P211", "UPDATE audit.entries* SET name = $1 WHERE id = 1"),
        ("P211", "DELETE FROM loyalty_programs * WHERE id = 1"),
        # Functions, operators, types
        ("P205", "UPDATE loyalty_programs SET name = pg_read_file('/etc/passwd') WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = tier_of(id) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = public.upper(name) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET earn_rate = random() WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = gen_random_uuid() WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET number = nextval('s') WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = repeat('x', 1000000000) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = set_config('a', 'b', false) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET number = max($1) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET number = count(*) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET number = row_number() OVER () WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET number = generate_series(1, 2) WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = unnest(tags) WHERE id = 1"),
        ("P205", "INSERT INTO loyalty_programs (id) VALUES (regexp_split_to_table('a b', ' '))"),
        ("P205", f"{WHERE} id = 1 AND pg_sleep(10) IS NULL"),
        ("P205", f"{WHERE} start_date < clock_timestamp()"),
        ("P205", f"{WHERE} note = timeofday()"),
        ("P205", f"{WHERE} pg_try_advisory_lock(1) AND id = 1"),
        ("P205", f"{WHERE} id OPERATOR(public.=) 1"),
        ("P205", f"{WHERE} id === 1"),
        ("P205", f"{WHERE} id === ANY ($1)"),
        ("P205", f"{WHERE} id = 'loyalty_users'::regclass"),
        ("P205", f"{WHERE} id = 'x'::public.mine"),
        ("P205", f"{WHERE} id = 'x'::public.text"),
        ("P205", f"{WHERE} id = public.lower($2)"),
        ("P205", "UPDATE loyalty_programs SET name = 'x'::mine WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET day = name::date WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET day = ('n' || 'ow')::timestamptz WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET day = $1::text::date WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET days = ARRAY[$1::text]::date[] WHERE id = 1"),
        ("P205", "UPDATE loyalty_programs SET name = (place).street WHERE id = 1"),
        # Hidden columns
        ("P206", "UPDATE loyalty_users SET password_hash = $1 WHERE id = 1"),
        ("P206", 'UPDATE loyalty_users SET "password_hash" = $1 WHERE id = 1'),
        ("P206", 'UPDATE loyalty_users SET "PASSWORD_HASH" = $1 WHERE id = 1'),
        ("P206", "UPDATE loyalty_users SET name = password_hash WHERE id = 1"),
        ("P206", "UPDATE loyalty_users u SET name = u.password_hash WHERE id = 1"),
        ("P206", "UPDATE loyalty_users SET name = left(Password_Hash, 1) WHERE id = 1"),
        ("P206", "UPDATE loyalty_users SET name = 'x' WHERE password_hash LIKE 'a%'"),
        ("P206", "DELETE FROM loyalty_users WHERE id = 1 AND loyalty_users.password_hash = $1"),
        ("P206", "INSERT INTO loyalty_users (id, password_hash) VALUES (1, 'x')"),
        # The values
        ("P207", "UPDATE loyalty_programs SET name = $2 WHERE id = $3"),
        ("P207", "DELETE FROM loyalty_programs WHERE id = $2"),
        ("P207", "DELETE FROM loyalty_programs WHERE id = $0"),
        ("P207", "INSERT INTO loyalty_programs (id) VALUES ($1), ($3)"),
        # Which rows
        ("P210", "UPDATE loyalty_programs SET name = $1"),
        ("P210", "DELETE FROM loyalty_programs"),
        ("P210", "DELETE FROM loyalty_programs WHERE true"),
        ("P210", "DELETE FROM loyalty_programs WHERE 1 = 1"),
        ("P210", "DELETE FROM loyalty_programs WHERE $1"),
        ("P210", "DELETE FROM loyalty_programs WHERE $1 = $2"),
        ("P210", "DELETE FROM loyalty_programs WHERE $1 = $1 AND 'a' <> 'b'"),
        ("P210", "DELETE FROM loyalty_programs WHERE id = id"),
        ("P210", "DELETE FROM loyalty_programs WHERE budget_spent >= 0 * budget_limit"),
        ("P210", "DELETE FROM loyalty_programs WHERE id = $1 OR true"),
        ("P210", "DELETE FROM loyalty_programs WHERE id = $1 OR $2 IS NULL"),
        ("P210", "DELETE FROM loyalty_programs WHERE (id = $1 AND active) OR (1 = 1)"),
        ("P210", "DELETE FROM loyalty_programs WHERE id <> 1 OR id <> 2"),
        ("P210", "DELETE FROM loyalty_programs WHERE id = 1 OR NOT (id = 1)"),
        ("P210", "DELETE FROM loyalty_programs WHERE NOT (id = 1 AND id = 2)"),
        ("P210", "DELETE FROM loyalty_programs WHERE NOT false"),
        ("P210", "DELETE FROM loyalty_programs WHERE id IS NOT NULL"),
        ("P210", "DELETE FROM loyalty_programs WHERE NOT (id IS NULL)"),
        ("P210", "DELETE FROM loyalty_programs WHERE id IS NULL OR id IS NOT NULL"),
        ("P210", "DELETE FROM loyalty_programs WHERE (id = 1) IS NOT NULL"),
        ("P210", "DELETE FROM loyalty_programs WHERE active IS NOT UNKNOWN"),
        ("P210", "DELETE FROM loyalty_programs WHERE 1 IS NOT NULL"),
        ("P210", "DELETE FROM loyalty_programs WHERE 1 IN (1, 2)"),
        ("P210", "DELETE FROM loyalty_programs WHERE id IN ($1, id)"),
        ("P210", "DELETE FROM loyalty_programs WHERE 1 BETWEEN 0 AND 2"),
        ("P210", "DELETE FROM loyalty_programs WHERE id BETWEEN id AND $1"),
        ("P210", "DELETE FROM loyalty_programs WHERE id <> ALL($1)"),
        ("P210", "DELETE FROM loyalty_programs WHERE id <> ANY($1)"),
        ("P210", "DELETE FROM loyalty_programs WHERE NOT id = ANY($1)"),
        ("P210", "DELETE FROM loyalty_programs WHERE name LIKE '%'"),
        ("P210", "DELETE FROM loyalty_programs WHERE name ILIKE '%%'"),
        ("P210", "DELETE FROM loyalty_programs WHERE name SIMILAR TO '%'"),
        ("P210", "DELETE FROM loyalty_programs WHERE name ~ '.*'"),
        ("P210", "DELETE FROM loyalty_programs WHERE name ~* ''"),
        ("P210", "DELETE FROM loyalty_programs WHERE name ~~ '%'"),
        ("P210", "DELETE FROM loyalty_programs WHERE number * 0 = 0"),
        ("P210", "DELETE FROM loyalty_programs WHERE number - number = 0"),
        ("P210", "DELETE FROM loyalty_programs WHERE (number * 0) + 1 = 1"),
        ("P210", "DELETE FROM loyalty_programs WHERE number + (number * 0 - number) = 0"),
        ("P210", "DELETE FROM loyalty_programs WHERE (coalesce(tags, $1))[1] = 'a'"),
        ("P210", "DELETE FROM loyalty_programs WHERE number - number * 1 = 0"),
        ("P210", "DELETE FROM loyalty_programs WHERE tags[number] = 'a'"),
        ("P210", "DELETE FROM loyalty_programs WHERE ROW() = ROW()"),
        ("P210", "DELETE FROM loyalty_programs WHERE ~ active"),
        ("P210", "DELETE FROM loyalty_programs WHERE length(name) >= 0"),
        ("P210", "DELETE FROM loyalty_programs WHERE coalesce(name, '') = $1"),
        ("P210", "DELETE FROM loyalty_programs WHERE CASE WHEN id = 1 THEN true ELSE true END"),
        ("P210", "DELETE FROM loyalty_programs WHERE id IS NOT DISTINCT FROM id"),
        ("P210", "DELETE FROM loyalty_programs WHERE ROW(1) = ROW(1)"),
        # Forms
        ("P211", "WITH x AS (SELECT 1) DELETE FROM loyalty_programs WHERE id = 1"),
        ("P211", "WITH x AS (DELETE FROM loyalty_users RETURNING id) UPDATE loyalty_programs SET name = 'x' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = u.name FROM loyalty_users u WHERE loyalty_programs.id = 1"),
        ("P211", "DELETE FROM loyalty_programs USING loyalty_users u WHERE u.id = loyalty_programs.id AND u.id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = 'x' WHERE id = 1 RETURNING name"),
        ("P211", "DELETE FROM loyalty_programs WHERE id = 1 RETURNING *"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1) RETURNING id"),
        ("P211", "UPDATE loyalty_programs SET name = (SELECT name FROM loyalty_users) WHERE id = 1"),
        ("P211", f"{WHERE} id IN (SELECT id FROM loyalty_users)"),
        ("P211", f"{WHERE} EXISTS (SELECT 1) AND id = 1"),
        ("P211", f"{WHERE} id = ANY (SELECT 1)"),
        ("P211", "UPDATE loyalty_programs SET tags = ARRAY(SELECT 1) WHERE id = 1"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1) ON CONFLICT DO NOTHING"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'"),
        ("P211", "INSERT INTO loyalty_programs (id) SELECT 1"),
        ("P211", "INSERT INTO loyalty_programs (id) SELECT id FROM loyalty_users"),
        ("P211", "INSERT INTO loyalty_programs (id) TABLE loyalty_users"),
        ("P211", "INSERT INTO loyalty_programs (id) (VALUES (1) UNION ALL VALUES (2))"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1) ORDER BY 1"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1) LIMIT 1"),
        ("P211", "INSERT INTO loyalty_programs (id) WITH x AS (SELECT 1) VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs DEFAULT VALUES"),
        ("P211", "INSERT INTO loyalty_programs VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs (id, name) VALUES (1, DEFAULT)"),
        ("P211", "INSERT INTO loyalty_programs (id) OVERRIDING SYSTEM VALUE VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs (id) OVERRIDING USER VALUE VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs (id, name) VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs (id) VALUES (1), (2, 3)"),
        ("P211", "INSERT INTO loyalty_programs (id, id) VALUES (1, 2)"),
        ("P211", "INSERT INTO loyalty_programs (tags[1]) VALUES (1)"),
        ("P211", "INSERT INTO loyalty_programs (id, name) VALUES (1, id)"),
        ("P211", "UPDATE loyalty_programs SET name = DEFAULT WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET (name, status) = ('a', 'b') WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET (name, status) = ROW('a', 'b') WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET (name, status) = (SELECT 'a', 'b') WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET tags[1] = 'a' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET place.street = 'a' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs p SET p.name = 'a' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = 'a', name = 'b' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = 'a' WHERE CURRENT OF c"),
        ("P211", "DELETE FROM loyalty_programs WHERE CURRENT OF c"),
        ("P211", "UPDATE loyalty_programs SET name = loyalty_programs.* WHERE id = 1"),
        ("P211", f"{WHERE} id = 1 AND ROW(loyalty_programs.*) IS NULL"),
        ("P211", "UPDATE loyalty_programs SET name = to_jsonb(loyalty_programs) WHERE id = 1"),
        ("P211", "UPDATE loyalty_users u SET name = u::text WHERE id = 1"),
        ("P211", "UPDATE loyalty_users u SET name = loyalty_users.name WHERE id = 1"),
        ("P211", "UPDATE audit.entries SET seen = true WHERE audit.entries.id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = other.name WHERE id = 1"),
        ("P211", f"{WHERE} ctid = '(0,1)'"),
        ("P211", f"{WHERE} xmin = '1' AND id = 1"),
        ("P211", "UPDATE loyalty_programs SET ctid = '(0,1)' WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET name = concat(VARIADIC tags) WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET number = count(DISTINCT id) FILTER (WHERE true) WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET number = GROUPING(id) WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET doc = xmlelement(name a) WHERE id = 1"),
        ("P211", "UPDATE loyalty_programs SET doc = JSON_OBJECT('a': 1) WHERE id = 1"),
        ("P211", f"{WHERE} doc IS JSON AND id = 1"),
        # Reading what is set
        ("P212", "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs p SET earn_rate = p.earn_rate * 0.5 WHERE p.id = $1"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1 AND earn_rate > $2"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = LEAST(earn_rate * 0.5, 1) WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1 OR earn_rate = $2"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1 AND NOT (earn_rate = $2)"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = earn_rate * 0.5 WHERE id = $1 AND round(earn_rate, 1) = $2"),
        ("P212", "UPDATE loyalty_programs SET earn_rate = CASE WHEN earn_rate > 1 THEN 1 ELSE 0 END WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET note = note || $2 WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET active = NOT active WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET a = b, b = a WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET old_rate = earn_rate, earn_rate = $2 WHERE id = $1"),
        ("P212", "UPDATE loyalty_programs SET a = a + 1, b = 2 WHERE id = $1 AND b = $2"),
        # What may hide
        ("P213", "DELETE FROM loyalty_programs WHERE id = 1 -- one"),
        ("P213", "DELETE FROM loyalty_programs WHERE id = 1 --"),
        ("P213", "DELETE FROM loyalty_programs /* all */ WHERE id = 1"),
        ("P213", "DELETE FROM loyalty_programs WHERE/**/id = 1"),
        ("P213", "UPDATE loyalty_programs SET number = 3--2\n WHERE id = 1"),
        ("P213", "UPDATE loyalty_programs SET name = $$x$$ WHERE id = 1"),
        ("P213", "UPDATE loyalty_programs SET name = $a$ WHERE id = 2 $a$ WHERE id = 1"),
        ("P213", f"{WHERE} id = E'a'"),
        ("P213", f"{WHERE} id = e'\\x41'"),
        ("P213", f"{WHERE} id = U&'\\0041'"),
        ("P213", f'{WHERE} U&"id" = 1'),
        ("P213", f"{WHERE} bits = B'01' AND id = 1"),
        ("P213", f"{WHERE} bits = X'1F' AND id = 1"),
        ("P213", f"{WHERE} id = N'a'"),
        ("P213", f"{WHERE} id = 'a'\n'b'"),
        ("P213", f"{WHERE} id = '\\'"),
        ("P213", f'{WHERE} "i\\d" = 1'),
        ("P213", f"{WHERE} id = 'a\u200bb'"),
        ("P213", f"{WHERE} id = '\u202eevil'"),
        ("P213", f"{WHERE} id = 'p\u0430ypal'"),
        ("P213", f"{WHERE} id = 'a\x01'"),
        ("P213", "UPDATE loyalty_programs SET updated_at = 'now' WHERE id = 1"),
        ("P213", "UPDATE loyalty_programs SET updated_at = 'Tomorrow 10:00' WHERE id = 1"),
        ("P213", "UPDATE loyalty_programs SET during = '[now,infinity)' WHERE id = 1"),
        ("P213", "UPDATE loyalty_programs SET day = 'today'::date WHERE id = 1"),
        ("P213", "INSERT INTO loyalty_programs (id, at) VALUES (1, 'yesterday')"),
    ],
)  # fmt: skip
def test_what_does_not_is_refused_with_its_code(code: str, text: str) -> None:
    assert code in refused(text)


def test_every_fault_is_told_with_its_place_in_characters() -> None:
    text = "UPDATE secrets SET name = 'é', note = pg_sleep(1) WHERE name = name"
    found = change(text, REACH)
    assert isinstance(found, list)
    told = {(one.code, text[one.offset :].split("(", maxsplit=1)[0].split(maxsplit=1)[0]) for one in found}
    assert told == {("P204", "secrets"), ("P205", "pg_sleep"), ("P210", "UPDATE")}


def test_a_hidden_column_is_hidden_however_it_is_written() -> None:
    reach = Reach(frozenset({"Users", "s.users"}), frozenset({"S.USERS.Password"}))
    for text in (
        'UPDATE "Users" SET "PassWord" = $1 WHERE id = 1',
        "DELETE FROM s.users WHERE id = 1 AND password = $1",
        'INSERT INTO "Users" (id, "PASSWORD") VALUES (1, 2)',
    ):
        found = change(text, reach)
        assert isinstance(found, list)
        assert [fault.code for fault in found] == ["P206"]


# ── How it is taken apart ───────────────────────────────────────────────────────────────────────


def test_the_runbooks_change_is_taken_apart() -> None:
    text = "UPDATE loyalty_programs SET earn_rate = $2, updated_at = now() WHERE id = $1 AND earn_rate = $3;"
    assert allowed(text) == Change(
        verb="update",
        table="loyalty_programs",
        alias="loyalty_programs",
        text="UPDATE loyalty_programs SET earn_rate = $2, updated_at = pg_catalog.now() WHERE id = $1 AND earn_rate = $3",
        condition="id = $1 AND earn_rate = $3",
        sets=(
            Assigned("earn_rate", "$2", varies=False),
            Assigned("updated_at", "pg_catalog.now()", varies=True),
        ),
        rows=(),
        args=3,
        reads=frozenset({"id", "earn_rate"}),
        dotted={},
    )


def test_texts_of_parts_are_cut_where_the_grammar_says() -> None:
    found = allowed(
        "UPDATE audit.entries AS e SET\n name='a, b WHERE ''c'' = d', \"Set\"=CASE WHEN e.where = ',' THEN (1) ELSE 2 END ,\n"
        " tags = ARRAY['x', $1]  WHERE e.where = 'é' AND (\"a, where\" IN (1, 2)) ; "
    )
    assert [(one.column, one.text) for one in found.sets] == [
        ("name", "'a, b WHERE ''c'' = d'"),
        ("Set", "CASE WHEN e.where = ',' THEN (1) ELSE 2 END"),
        ("tags", "ARRAY['x', $1]"),
    ]
    assert found.condition == "e.where = 'é' AND (\"a, where\" IN (1, 2))"
    assert (found.alias, found.dotted) == ("e", {"audit.entries": frozenset({"where"})})
    assert found.reads == {"where", "a, where"}


def test_rows_of_an_insert_are_cut_value_by_value() -> None:
    found = allowed("INSERT INTO values (values, \"b,\") VALUES (ARRAY[1, 2], ')('), (( $1 ), lower('X, '))")
    assert [[(one.column, one.text) for one in row] for row in found.rows] == [
        [("values", "ARRAY[1, 2]"), ("b,", "')('")],
        [("values", "( $1 )"), ("b,", "pg_catalog.lower('X, ')")],
    ]
    assert (found.verb, found.columns, found.condition, found.sets) == ("insert", ("values", "b,"), "", ())


def test_a_deletion_has_a_condition_and_sets_nothing() -> None:
    found = allowed("DELETE FROM loyalty_programs p WHERE p.id = $1")
    assert (found.verb, found.condition, found.sets, found.rows, found.args) == (
        "delete",
        "p.id = $1",
        (),
        (),
        1,
    )


@pytest.mark.parametrize(
    "text",
    [
        "now()",
        "NOW ( )",
        "pg_catalog.now()",
        "clock_timestamp()",
        "timeofday()",
        "statement_timestamp()",
        "current_timestamp",
        "current_timestamp(2)",
        "current_date",
        "current_time",
        "localtime",
        "localtimestamp(0)",
        "now()::date",
    ],
)
def test_what_tells_the_time_varies(text: str) -> None:
    (one,) = allowed(f"UPDATE loyalty_programs SET x = {text} WHERE id = 1").sets
    assert one.varies


@pytest.mark.parametrize(
    "text",
    [
        "transaction_timestamp() - interval '1 day'",
        "age(start_date)",
        "age($1)",
        "date_trunc('day', now())",
        "CASE WHEN $1 THEN NULL ELSE now() END",
        "coalesce(note, to_char(clock_timestamp(), 'YYYY'))",
        "extract(epoch FROM current_timestamp)",
        "ARRAY[1, extract(epoch FROM now())]",
        "CASE WHEN now() > '2020-01-01' THEN 999 ELSE 5 END",
        "now() + interval '30 days'",
        "coalesce(until, now())",
    ],
)
def test_what_is_made_of_the_time_could_not_be_shown(text: str) -> None:
    assert "P211" in refused(f"UPDATE loyalty_programs SET x = {text} WHERE id = 1")
    assert "P211" in refused(
        f"INSERT INTO loyalty_programs (id, x) VALUES (1, {text.replace('start_date', '$2')})"
    )


@pytest.mark.parametrize(
    "text",
    [
        "$1",
        "'2026-01-01'",
        "age(a, b)",
        "current_user",
        "date_trunc('day', start_date)",
        "$1::timestamptz",
        "upper(note)",
    ],
)
def test_what_does_not_tell_the_time_does_not_vary(text: str) -> None:
    (one,) = allowed(f"UPDATE loyalty_programs SET x = {text} WHERE id = 1").sets
    assert not one.varies


def test_a_column_of_an_insert_varies_when_one_of_its_rows_does() -> None:
    found = allowed("INSERT INTO loyalty_programs (id, at) VALUES (1, $1), (2, now())")
    assert found.varying == {"at"}
