"""What a connector would make of what a story has the world answer: by its own rules, in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediator.connectors import http
from remediator.core.catalog import Catalog, Fence
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.engine.looking import live
from remediator.errors import ConnectorError


def unreadable(call: Call, value: Mapping[str, Any]) -> str:
    """Why the daemon would have no reading of such an answer, or "" when it would."""
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


def ended(call: Call, answer: dict[str, Any], catalog: Catalog) -> Result:
    """How an act ends that was answered so."""
    if call.operation != http.REQUEST.name:
        return Done(answer)
    call = live(call)
    if problem := http.unsendable(call):
        return Refused(f"never sent: {problem}")
    connection = catalog.connections.get(call.connection)
    keyed = connection is not None and connection.fence is Fence.KEY
    return http.judged(answer, "the story says so", http.statuses(call.args.get("ok")), keyed=keyed)
