"""What a statement may be made of: PostgreSQL's pure functions, types, operators and tree nodes.

Everything here reads its arguments and nothing else: no files, no other sessions, no settings, no
sequences, no locks, no sleeping, and nothing that makes gigabytes of a few bytes. What is missing is
refused. A statement that changes may use less than one that reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GATHERING = frozenset(
    """
    avg bit_and bit_or bool_and bool_or count every max min sum
    array_agg json_agg json_object_agg jsonb_agg jsonb_object_agg string_agg
    corr covar_pop covar_samp regr_slope regr_intercept regr_r2
    stddev stddev_pop stddev_samp variance var_pop var_samp
    mode percentile_cont percentile_disc
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
    """.split()
)
"""One value out of many rows."""

SPREADING = frozenset(
    """
    regexp_matches regexp_split_to_table string_to_table generate_series unnest
    json_array_elements json_array_elements_text json_each json_each_text json_object_keys
    jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys
    jsonb_path_query
    """.split()
)
"""Many rows out of one."""

SCALAR = frozenset(
    """
    abs cbrt ceil ceiling degrees div exp floor gcd lcm ln log log10 min_scale mod pi power
    radians round scale sign sqrt trim_scale trunc width_bucket
    acos asin atan atan2 cos sin tan

    ascii bit_length btrim char_length character_length chr concat concat_ws encode initcap left length
    like_escape lower ltrim md5 normalize is_normalized octet_length overlay position regexp_count
    regexp_instr regexp_like regexp_match regexp_replace regexp_split_to_array
    regexp_substr replace reverse right rtrim similar_to_escape split_part
    starts_with strpos string_to_array substr substring to_char to_hex to_number translate
    upper sha224 sha256 sha384 sha512 convert_to

    age clock_timestamp date_bin date_part date_trunc extract isfinite justify_days justify_hours
    justify_interval make_date make_interval make_time make_timestamp make_timestamptz now overlaps
    statement_timestamp timeofday timezone to_date to_timestamp transaction_timestamp

    array_append array_cat array_dims array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_to_string array_upper cardinality trim_array

    array_to_json json_array_length json_build_array
    json_build_object json_extract_path json_extract_path_text json_object
    json_strip_nulls json_typeof row_to_json to_json to_jsonb
    jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_extract_path jsonb_extract_path_text
    jsonb_insert jsonb_object jsonb_path_exists jsonb_path_match
    jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof

    abbrev broadcast family host hostmask masklen netmask network inet_same_family
    num_nonnulls num_nulls
    lower_inc lower_inf upper_inc upper_inf isempty range_merge
    """.split()
)
"""One value out of one row."""

FUNCTIONS = GATHERING | SPREADING | SCALAR

NOW = frozenset({"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday"})
"""Tell the time; so does ``age`` of one value."""

RESTLESS = frozenset({"clock_timestamp", "timeofday"})
"""Differ from row to row."""

TYPES = frozenset(
    """
    bool bpchar varchar text name int2 int4 int8 numeric float4 float8 date time timetz timestamp
    timestamptz interval uuid json jsonb jsonpath inet cidr bytea bit varbit
    int4range int8range numrange daterange tsrange tstzrange
    """.split()
)

OPERATORS = frozenset(
    """
    + - * / % ^ |/ ||/ @ & | # ~ << >> = <> != < <= > >= ||
    ~~ !~~ ~~* !~~* ~* !~ !~* ^@
    -> ->> #> #>> @> <@ ? ?| ?& #- @? @@
    && -|- &< &> <<= >>=
    """.split()
)

SPELLED = frozenset({"BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC", "NOT BETWEEN SYMMETRIC"})
"""What the grammar calls operators too."""

NODES = frozenset(
    """
    SelectStmt ResTarget ColumnRef A_Star A_Const A_Expr A_ArrayExpr A_Indirection A_Indices
    String Integer Float Boolean BitString List ParamRef BoolExpr NullTest BooleanTest CaseExpr CaseWhen
    CoalesceExpr MinMaxExpr RowExpr SubLink TypeCast TypeName CollateClause FuncCall NamedArgExpr
    SQLValueFunction GroupingFunc GroupingSet SortBy WindowDef
    RangeVar RangeSubselect RangeFunction JoinExpr CommonTableExpr
    """.split()
)

TIMELY = frozenset(
    {"date", "time", "timetz", "timestamp", "timestamptz", "daterange", "tsrange", "tstzrange"}
)
"""Types whose texts may say ``now`` or ``tomorrow``."""

FIELDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        words[0]: frozenset(words[1:])
        for words in map(
            str.split,
            """
    ColumnRef fields location
    ParamRef number location
    A_Const isnull ival fval boolval sval location
    A_Expr kind name lexpr rexpr location
    A_ArrayExpr elements location
    A_Indirection arg indirection
    A_Indices is_slice lidx uidx
    BoolExpr boolop args location
    NullTest arg nulltesttype location
    BooleanTest arg booltesttype location
    CaseExpr arg args defresult location
    CaseWhen expr result location
    CoalesceExpr args location
    MinMaxExpr op args location
    RowExpr args row_format location
    TypeCast arg typeName location
    TypeName names typmods typemod arrayBounds location
    CollateClause arg collname location
    FuncCall funcname args funcformat location
    NamedArgExpr name arg argnumber location
    SQLValueFunction op typmod location
    List items
    String sval
    Integer ival
    Float fval
    Boolean boolval
            """.strip().splitlines(),
        )
    }
)
"""What the expressions of a statement that changes may be made of: node → its fields."""

UNWRAPPED: Mapping[str, str] = MappingProxyType(
    {
        "typeName": "TypeName",
        "ival": "Integer",
        "fval": "Float",
        "boolval": "Boolean",
        "sval": "String",
    }
)
"""Fields that hold a node of one kind, without its name."""
