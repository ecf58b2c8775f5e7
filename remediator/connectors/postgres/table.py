"""What a table is, from the server's catalogue: the facts by which `core.sql.table` judges a change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from remediator.connectors.postgres import values
from remediator.connectors.postgres.names import Standing
from remediator.connectors.postgres.rows import Place, kinds_of
from remediator.core.sql.table import Called, Column, Referrer, Spread, Table

_FACTS = """
    SELECT c.oid, c.relname::text AS bare, n.nspname::text AS schema, c.relkind::text AS kind,
        c.relpersistence = 'p' AS lasting, c.relispartition AS partition,
        row_security_active(c.oid) AS row_security,
        EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid) AS children,
        EXISTS (SELECT FROM pg_catalog.pg_rewrite WHERE ev_class = c.oid) AS rules,
        (SELECT bit_or(tgtype)::int FROM pg_catalog.pg_trigger
            WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A')) AS triggers,
        k.key, coalesce(k.deferrable, false) AS deferrable
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT NOT indimmediate AS deferrable,
            (SELECT array_agg(attname::text ORDER BY place)
                FROM unnest(indkey) WITH ORDINALITY AS part (attnum, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = indrelid AND a.attnum = part.attnum) AS key
        FROM pg_catalog.pg_index WHERE indrelid = c.oid AND indisprimary AND indisvalid
    ) k ON true
    WHERE c.oid = $1::oid AND nspname = $2::text AND relname = $3::text
"""
_COLUMNS = """
    SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, atttypid AS oid,
        attgenerated::text <> '' AS generated, attidentity::text AS identity,
        coalesce(pg_get_expr(adbin, adrelid), pg_get_expr(typdefaultbin, 0), typdefault, '') AS default,
        (SELECT array_agg(DISTINCT other.attname::text)
            FROM pg_depend JOIN pg_attribute other ON other.attrelid = refobjid AND other.attnum = refobjsubid
            WHERE a.attgenerated::text <> '' AND refclassid = 'pg_class'::regclass::oid
            AND refobjid = a.attrelid AND other.attnum <> a.attnum
            AND (classid, objid, objsubid) IN (('pg_attrdef'::regclass::oid, d.oid, 0),
                ('pg_class'::regclass::oid, a.attrelid, a.attnum::int))) AS of
    FROM pg_catalog.pg_attribute a LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
    JOIN pg_type t ON t.oid = atttypid
    WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_REFERRERS = """
    SELECT conname::text AS name, confupdtype::text AS on_update, confdeltype::text AS on_delete,
        (SELECT array_agg(attname::text ORDER BY place)
            FROM unnest(confkey) WITH ORDINALITY AS part (attnum, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = confrelid AND a.attnum = part.attnum) AS columns
    FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1::oid ORDER BY conname, oid
"""
_CALLS = """
    WITH RECURSIVE parts (class, oid, by, filling) AS (
        SELECT 'pg_constraint'::regclass::oid, oid, 'its constraint ' || conname, false
            FROM pg_constraint WHERE conrelid = $1::oid
        UNION ALL SELECT 'pg_class'::regclass::oid, indexrelid, 'its index ' || relname, false
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = $1::oid
        UNION ALL SELECT 'pg_class'::regclass::oid, $1::oid, 'a generated column', false
        UNION ALL SELECT 'pg_attrdef'::regclass::oid, d.oid,
                CASE WHEN attgenerated::text = '' THEN 'the default of ' ELSE 'the generated ' END || attname,
                attgenerated::text = ''
            FROM pg_attrdef d JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
            WHERE adrelid = $1::oid
    ), types (oid) AS (
        SELECT atttypid FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
        UNION SELECT refobjid FROM pg_depend JOIN parts ON classid = class AND objid = oid
            WHERE refclassid = 'pg_type'::regclass::oid
        UNION SELECT CASE WHEN typtype::text = 'd' THEN typbasetype ELSE typelem END
            FROM types JOIN pg_type USING (oid) WHERE typtype::text = 'd' OR typelem <> 0::oid
    ), whole AS (
        SELECT * FROM parts
        UNION ALL SELECT 'pg_constraint'::regclass::oid, c.oid, 'the domain ' || contypid::regtype, false
            FROM types JOIN pg_constraint c ON contypid = types.oid
        UNION ALL SELECT 'pg_type'::regclass::oid, oid, 'the domain ' || oid::regtype, true FROM types
    ), needs AS (
        SELECT by, filling, refclassid, refobjid FROM whole JOIN pg_depend ON classid = class AND objid = oid
    ), called (by, filling, oid) AS (
        SELECT by, filling, refobjid FROM needs WHERE refclassid = 'pg_proc'::regclass::oid
        UNION SELECT by, filling, oprcode::oid FROM needs JOIN pg_operator o ON o.oid = refobjid
            WHERE refclassid = 'pg_operator'::regclass::oid
        UNION SELECT by, filling, amproc::oid FROM needs JOIN pg_opclass o ON o.oid = refobjid
            JOIN pg_amproc ON amprocfamily = opcfamily WHERE refclassid = 'pg_opclass'::regclass::oid
    )
    SELECT by, filling, called.oid::regprocedure::text AS function
    FROM called JOIN pg_proc USING (oid) JOIN pg_language l ON l.oid = prolang
    WHERE lanname::text NOT IN ('internal', 'c') ORDER BY 1, 3
"""
"""What is called beside what the statement says. The server records no built-in function here, and whoever
makes one in C is a superuser."""
_EVENTS = MappingProxyType({"insert": 4, "delete": 8, "update": 16})
"""The bits of pg_trigger.tgtype."""
_SPREADS: Mapping[str, Spread] = MappingProxyType(
    {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}
)


async def facts(place: Place, table: Standing) -> Table:
    """A table. ConnectorError where another one stands there by now."""
    found = await place.database.fetchrow(_FACTS, table.oid, table.schema, table.bare)
    if found is None:
        raise place.error(f"{table} was replaced just now")
    if not found["lasting"]:
        raise place.error(f"{table} is no lasting table: a crash of the server empties it")
    columns = await _columns(place, table)
    triggers = found["triggers"] or 0
    return Table(
        name=table.name,
        oid=table.oid,
        key=tuple(found["key"] or ()),
        columns=MappingProxyType(columns),
        kind=found["kind"],
        children=found["children"],
        partition=found["partition"],
        row_security=found["row_security"],
        triggers=frozenset(event for event, bit in _EVENTS.items() if triggers & bit),
        rules=found["rules"],
        referrers=tuple(map(_referrer, await place.database.fetch(_REFERRERS, table.oid))),
        deferrable=found["deferrable"],
        calls=tuple(Called(**one) for one in await place.database.fetch(_CALLS, table.oid)),
    )


async def _columns(place: Place, table: Standing) -> dict[str, Column]:
    hidden = place.settings.reach.hides(table.bare)
    records = await place.database.fetch(_COLUMNS, table.oid)
    kinds = await kinds_of(place.database, [record["oid"] for record in records])
    return {
        one["name"]: Column(
            name=one["name"],
            type=one["type"],
            base=kinds[one["oid"]] if values.known(kinds[one["oid"]]) else "",
            generated=one["generated"],
            identity=one["identity"] and ("always" if one["identity"] == "a" else "default"),
            hidden=one["name"].lower() in hidden,
            default=one["default"],
            of=frozenset(one["of"] or ()),
        )
        for one in records
    }


def _referrer(one: Any) -> Referrer:
    return Referrer(
        one["name"], tuple(one["columns"]), _SPREADS[one["on_update"]], _SPREADS[one["on_delete"]]
    )
