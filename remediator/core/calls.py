"""One use of an operation, resolved: its arguments filled in and made inert, its risk, its fence. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import re2

from remediator.core.canonical import inert
from remediator.core.catalog import BUILT_IN, Catalog, Connection, Escape, Fence, Operation, Risk
from remediator.core.cutting import shortened
from remediator.core.exact import kept, plain
from remediator.core.expression import Expression, Template
from remediator.core.intention import Call
from remediator.core.operators import compiled, fits
from remediator.core.risk import COMMAND, Segment, risk_at_most, risk_of, segments
from remediator.errors import EvaluationError


def resolved(
    use: str,
    via: str | None,
    arguments: Mapping[str, Any],
    scope: Mapping[str, Any],
    catalog: Catalog,
    place: str,
) -> Call:
    """The call that a policy writes, with what the scope knows. Raises EvaluationError."""
    operation, connection = found(use, via, catalog, place)
    args: dict[str, Any] = {}
    for name, value in arguments.items():
        param = operation.params.get(name)
        escape = param.escape if param is not None else Escape.LITERAL
        filled = _filled(value, scope, escape, f"{place}.with.{name}")
        args[name] = kept(filled if param is not None and param.exact else plain(filled))
    return Call(use, connection.name, args)


def found(use: str, via: str | None, catalog: Catalog, place: str) -> tuple[Operation, Connection]:
    """The operation and the connection that a policy names. Raises EvaluationError: a reload takes some."""
    operation, name = catalog.operations.get(use), via or BUILT_IN.get(use.partition(".")[0], "")
    connection = catalog.connections.get(name)
    if operation is None or connection is None:
        raise EvaluationError(place, f"{use} via {name or 'nothing'} is not there any more")
    return operation, connection


def _filled(value: Any, scope: Mapping[str, Any], escape: Escape, place: str) -> Any:
    match value:
        case Template():
            return value.render(scope, escape, place=place)
        case dict():
            return {key: _filled(item, scope, escape, f"{place}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [_filled(item, scope, escape, f"{place}[{n}]") for n, item in enumerate(value)]
        case _:
            return value


def templates(value: Any) -> list[Template]:
    """Every template in some arguments."""
    match value:
        case Template():
            return [value]
        case dict():
            return [one for item in value.values() for one in templates(item)]
        case list() | tuple():
            return [one for item in value for one in templates(item)]
        case _:
            return []


def as_text(value: Any) -> Any:
    """Arguments as the policy writes them, expressions and all."""
    match value:
        case Template():
            return value.text
        case dict():
            return {key: as_text(item) for key, item in value.items()}
        case list() | tuple():
            return [as_text(item) for item in value]
        case _:
            return inert(value)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def printable(text: str, limit: int = 300) -> str:
    """Text from outside, fit for one line of a journal or a reason."""
    return shortened(_CONTROL.sub("·", text), limit)


def fence_of(use: str, via: str, catalog: Catalog) -> Fence:
    """What makes a second sending harmless: the operation itself, or the service behind the connection."""
    operation, connection = catalog.operations.get(use), catalog.connections.get(via)
    if operation is not None and operation.fence is not Fence.NONE:
        return operation.fence
    return connection.fence if connection is not None else Fence.NONE


def call_risk(call: Call, catalog: Catalog) -> Risk:
    """What this very call may cost, after the connection's endpoint list."""
    operation, connection = catalog.operations[call.operation], catalog.connections[call.connection]
    method, path = _endpoint(call.args)
    return risk_of(operation, connection, method, str(path))


def _endpoint(arguments: Mapping[str, Any]) -> tuple[str, Any]:
    """The method and path by which a connection says what a call costs; what is declared has its name."""
    for name in ("command", "statement"):
        if name in arguments:
            return COMMAND, arguments[name]
    return str(arguments.get("method", "")), arguments.get("path", "")


def _anything(_: Expression) -> str:
    return ".+"


def highest_risk(
    operation: Operation,
    connection: Connection,
    arguments: Mapping[str, Any],
    values: Callable[[Expression], str] = _anything,
) -> tuple[Risk, str]:
    """What a call may cost, whatever its expressions give; and the endpoint that says so.

    values: what an expression may give, as a regular expression.
    """
    method, path = _endpoint(arguments)
    return risk_at_most(operation, connection, method, _open(path, values))


def _open(path: object, values: Callable[[Expression], str]) -> Sequence[Segment]:
    """A path as far as it is known. An expression's value is always within one segment."""
    parts: list[list[str | Expression]] = [[]]
    for piece in path.pieces if isinstance(path, Template) else ():
        first, *more = piece.split("/") if isinstance(piece, str) else [piece]
        parts[-1].append(first)
        parts += [[one] for one in more]
    if len(parts) > 1 and parts[-1] == [""]:
        parts.pop()  # as `segments` does
    return [_segment(part, values) for part in parts]


def _segment(part: Sequence[str | Expression], values: Callable[[Expression], str]) -> Segment:
    if not any(isinstance(piece, Expression) for piece in part):
        return segments("".join(map(str, part)))[0]
    text = "".join(
        f"(?:{values(piece)})" if isinstance(piece, Expression) else re2.escape(unquote(piece))
        for piece in part
    )
    return lambda wanted: fits(compiled(text), unquote(wanted))


def previews(call: Call, catalog: Catalog) -> bool:
    """Can it be shown what this call would change?"""
    operation = catalog.operations.get(call.operation)
    return operation is not None and operation.previews


def offered(call: Call, catalog: Catalog) -> bool:
    """Is what it needs still there? A reload may have taken a connection away."""
    return call.operation in catalog.operations and call.connection in catalog.connections


def summary(call: Call) -> str:
    """One line for people: what would be done, values included."""
    args = call.shown
    if "method" in args and "path" in args:
        line = f"{args.pop('method')} {args.pop('path')} via {call.connection}"
    else:
        line = f"{call.operation} via {call.connection}"
    rest = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in args.items())
    return f"{line} ({rest})" if rest else line
