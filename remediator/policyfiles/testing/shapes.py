"""What people write of a reading, completed to what a connector would have answered.

Numbers: a fraction in the rows of a query is the very decimal that is written, as NUMERIC is read from
PostgreSQL; everywhere else (Prometheus, JSON) it is a double, as it is there.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy, Probe
from remediator.core.steps import EarlyProbe, Still, Verify

_ITEM = re.compile(r"\[[0-9]+\]")

Answer = dict[str, Any] | str
"""What a probe reads, or why it fails."""
Reads = Probe | Verify | EarlyProbe | Still
"""What a policy reads by."""


def probes(policy: Policy) -> dict[str, Reads]:
    """Everything that a policy reads, by the names that stories use."""
    found: dict[str, Reads] = dict(policy.diagnose)
    for name, step in policy.steps.items():
        if step.verify is not None and step.verify.use is not None:
            found[f"{name}.verify"] = step.verify
            if step.compares:
                found[f"{name}.before"] = step.verify
        undo = step.undo
        if undo is None:
            continue
        if undo.verify is not None and undo.verify.use is not None:
            found[f"{name}.undo"] = undo.verify
        if undo.still is not None:
            found[f"{name}.still"] = undo.still
        for number, probe in enumerate(undo.probes):
            found[f"{name}.early" if len(undo.probes) == 1 else f"{name}.early.{number + 1}"] = probe
    return found


def whole(name: str) -> str:
    """The name without the number of an item: ``retry[2].verify`` is one of ``retry.verify``."""
    return _ITEM.sub("", name)


def reads(catalog: Catalog, operation: str) -> tuple[str, ...]:
    """The names that a reading of this operation may have; empty: any."""
    spec = catalog.operations.get(operation)
    return spec.reads if spec is not None else ()


def answer(written: Any, names: tuple[str, ...]) -> Answer:
    """The reading whole, or the error that it is. ``names``: those that the operation gives."""
    if isinstance(written, dict) and set(written) == {"error"} and "error" not in names:
        return str(written["error"])
    if not isinstance(written, dict):
        return _completed({"value": written}, names)
    if written.get("ok") is False:
        return "it could not be read"
    return _completed({key: item for key, item in written.items() if key != "ok"}, names)


def _completed(value: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if "rows" in names:
        return _rows(value)
    if "series" in names:
        return _series(value)
    if "lines" in names:
        return _printed(value)
    if "json" in names:
        body = value.get("json")
        text = "" if body is None else json.dumps(body)
        return {"status": 200, "json": body, "text": text} | value
    return value


def _rows(value: dict[str, Any]) -> dict[str, Any]:
    """A row alone is the only one; rows alone have a first one."""
    if "rows" in value:
        rows = list(value["rows"] or [])
    else:
        rows = [value["row"]] if value.get("row") is not None else []
    rows = [exact(row) for row in rows]
    count = value.get("count", len(rows))
    return {"rows": rows, "row": rows[0] if rows else None, "count": count}


def _printed(value: dict[str, Any]) -> dict[str, Any]:
    """What a command prints, in whichever form it is written."""
    body, lines = value.get("json"), value.get("lines")
    out = "".join(f"{line}\n" for line in lines) if lines else "" if body is None else json.dumps(body)
    out = value.get("out", out)
    return {"exit": 0, "out": out, "lines": out.splitlines(), "json": body} | value


def _series(value: dict[str, Any]) -> dict[str, Any]:
    """A value alone is that of one series; one series alone has the value."""
    if "series" in value:
        series = [{"labels": {}, **one} for one in value["series"] or []]
        alone = series[0].get("value") if len(series) == 1 else None
        return {"series": series, "value": value.get("value", alone)}
    alone = value.get("value")
    if isinstance(alone, int) and not isinstance(alone, bool):
        alone = float(alone)
    return {"series": [] if alone is None else [{"labels": {}, "value": alone}], "value": alone}


def exact(value: Any) -> Any:
    """A fraction as the decimal that was written."""
    match value:
        case float():
            return Decimal(repr(value))
        case dict():
            return {key: exact(item) for key, item in value.items()}
        case list():
            return [exact(item) for item in value]
    return value
