"""Spelling a statement's names out with their schema, so that the server finds these and no others.

What is sent runs under a search_path of ``pg_catalog`` alone: a bare name of a table, or of a listed
function, would not be found there, and may not be searched for where others can put their own. The
schema is written before it, and proved: the text must then parse to the same tree, with these
schemas in it and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediator.core.sql.tree import Fault, parsed

BUILT_IN = "pg_catalog"
_STUCK = Fault("P211", "its names cannot be spelled out safely", "write it more plainly")


def spelled(text: str, schemas: Mapping[int, str]) -> str | Fault:
    """The statement with these schemas before the bare names of tables and functions at these bytes."""
    source, begun, found = text.encode(), 0, b""
    for at in sorted(schemas):
        found += source[begun:at] + quoted(schemas[at]).encode() + b"."
        begun = at
    result = (found + source[begun:]).decode()
    original, new = parsed(text, ""), parsed(result, "")
    if isinstance(original, Fault) or isinstance(new, Fault):
        return _STUCK
    left = dict(schemas)
    try:
        proved = _with(original, left) == _with(new, {}) and not left
    except RecursionError:
        return _STUCK
    return result if proved else _STUCK


def _with(tree: Any, left: dict[int, str]) -> Any:
    """The tree without places, with these schemas. What is found is taken out of ``left``."""
    match tree:
        case list():
            return [_with(item, left) for item in tree]
        case {"relname": str(), "location": int(at)} if "schemaname" not in tree and at in left:
            tree = {**tree, "schemaname": left.pop(at)}
        case {"funcname": [only], "location": int(at)} if at in left:
            tree = {**tree, "funcname": [{"String": {"sval": left.pop(at)}}, only]}
    if not isinstance(tree, dict):
        return tree
    return {key: _with(item, left) for key, item in tree.items() if key != "location"}


def quoted(name: str) -> str:
    """An identifier, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'
