"""What a connector would make of what a story has the world answer: by its own rules, in its own words."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from remediator.connectors import command, http, mysql
from remediator.connectors.bound import bound
from remediator.connectors.postgres.change import EXECUTE
from remediator.connectors.postgres.sessions import TERMINATE
from remediator.core.catalog import Catalog, Fence
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.engine.looking import live
from remediator.errors import ConnectorError


def unreadable(call: Call, value: Mapping[str, Any], catalog: Catalog) -> str:
    """Why the daemon would have no reading of such an answer, or "" when it would."""
    if problem := _unfilled(call, catalog):
        return f"not asked: {problem}"
    if problem := _beyond(call, catalog):
        return f"{call.connection}: {problem}"
    try:
        if call.operation == http.GET.name:
            _check_http(live(call), value["status"])
    except ConnectorError as error:
        return str(error)
    return ""


def _check_http(call: Call, status: int) -> None:
    if problem := http.unsendable(call):
        raise ConnectorError(call.connection, f"not asked: {problem}")
    http.check_answered(call, str(call.args.get("path")), status)


def _unfilled(call: Call, catalog: Catalog) -> str:
    """Why a declared command or statement would not take what its slots are given, or "" when it would."""
    connection = catalog.connections.get(call.connection)
    name = call.args.get("command", call.args.get("statement"))
    if connection is None or not isinstance(name, str) or name not in connection.commands:
        return ""
    return connection.commands[name].refuses(live(call).args.get("slots"))


def _beyond(call: Call, catalog: Catalog) -> str:
    """Why its connection's settings alone would refuse it, such as a ceiling, or "" where they would not."""
    connection = catalog.connections.get(call.connection)
    return connection.refuses(live(call)) if connection is not None else ""


def _never(call: Call) -> str:
    return "never started" if call.operation == command.RUN.name else "never sent"


def unshown(call: Call, count: int, catalog: Catalog) -> str:
    """Why nobody would be asked about such a change, of so many rows or sessions, or "" when people would."""
    if problem := _unfilled(call, catalog):
        return f"{_never(call)}: {problem}"
    if problem := _beyond(call, catalog):
        return f"{call.connection}: {problem}"
    match call.operation:
        case EXECUTE.name:
            return _miscounted(call, count, "would change") or ("" if count else "it would change no row")
        case TERMINATE.name | mysql.KILL.name:
            return _miscounted(call, count, "would end", "session")
    return ""


def _miscounted(call: Call, count: int, verb: str, noun: str = "row") -> str:
    try:
        return bound(call, sys.maxsize, noun).broken_by(count, verb)
    except ConnectorError as error:
        return str(error)


def ended(call: Call, answer: dict[str, Any], catalog: Catalog) -> Result:
    """How an act ends that was answered so."""
    if problem := _unfilled(call, catalog):
        return Refused(f"{_never(call)}: {problem}")
    if problem := _beyond(call, catalog):
        return Refused(f"never sent: {problem}")
    if call.operation != http.REQUEST.name:
        count = answer.get("count", answer.get("rows"))
        if call.operation in (EXECUTE.name, mysql.EXECUTE.name) and isinstance(count, int):
            problem = _miscounted(call, count, "changed")
            return Refused(f"never committed: {problem}") if problem else Done(answer)
        return Done(answer)
    call = live(call)
    if problem := http.unsendable(call):
        return Refused(f"never sent: {problem}")
    connection = catalog.connections.get(call.connection)
    keyed = connection is not None and connection.fence is Fence.KEY
    return http.judged(answer, "the story says so", http.statuses(call.args.get("ok")), keyed=keyed)
