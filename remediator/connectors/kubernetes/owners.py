"""Whose is a field? Asked before an undo takes it back: what people have made their own is left to them.

The API server keeps which manager set which field. Somebody who sets a field to what it is already becomes
its second owner by a server-side apply; by ``kubectl apply`` they say so in an annotation of what was applied
last. Other updates that leave a field as it is leave no trace at it; but where whoever set it before us has
shipped the object since, as Helm does, it would have been set back unless they meant it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from remediator.connectors.kubernetes.amounts import same_amount
from remediator.connectors.kubernetes.link import MANAGER

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Path = tuple[str, ...]
"""As the API server spells it: ``f:spec``, ``f:replicas``, ``k:{"name":"app"}``."""


def path_of(field: str, container: str | None) -> Path:
    """Of ``replicas``, or of ``limits.memory`` of a container."""
    if container is None:
        return "f:spec", f"f:{field}"
    part, name = field.split(".", 1)
    item = f"k:{json.dumps({'name': container}, separators=(',', ':'))}"
    template = ("f:spec", "f:template", "f:spec", "f:containers")
    return (*template, item, "f:resources", f"f:{part}", f"f:{name}")


def other_owner(held: Mapping[str, Any], path: Path, value: object) -> str:
    """Who has made a field their own that we set to this value; "" where it is ours alone."""
    kept = [one for one in held["metadata"].get("managedFields") or () if isinstance(one, dict)]
    owners = [str(one.get("manager")) for one in kept if _has(one.get("fieldsV1"), path)]
    others = [one for one in owners if one != MANAGER]
    if others:
        return others[-1]
    if kept and not owners:
        return "somebody"
    applied = _applied(held, path)
    return "kubectl apply" if applied is not None and same_amount(str(applied), str(value)) else ""


def declared_by(held: Mapping[str, Any], path: Path) -> str:
    """Who set it before us, by a manifest or by hand; "" for nobody, or a controller."""
    return next((manager for manager, one in _by_hand(held) if _has(one.get("fieldsV1"), path)), "")


def shipped_since(held: Mapping[str, Any], managers: Collection[str], at: float) -> str:
    """Which of them has written to the object after this second; "" for none."""
    return next(
        (
            manager
            for manager, one in _by_hand(held)
            if manager in managers and datetime.fromisoformat(str(one["time"])).timestamp() > at
        ),
        "",
    )


def _by_hand(held: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those that wrote the object itself, not its scale or its status."""
    for one in held["metadata"].get("managedFields") or ():
        if one.get("manager") not in (None, MANAGER) and not one.get("subresource") and one.get("time"):
            yield str(one["manager"]), one


def _has(fields: Any, path: Path) -> bool:
    for part in path:
        if not isinstance(fields, dict) or part not in fields:
            return False
        fields = fields[part]
    return True


def _applied(held: Mapping[str, Any], path: Path) -> Any:
    """What `kubectl apply` wrote there last; None where it wrote nothing."""
    try:
        here = json.loads((held["metadata"].get("annotations") or {}).get(LAST_APPLIED, ""))
        for part in path:
            kind, name = part[:2], part[2:]
            if kind == "k:":
                wanted = json.loads(name)["name"]
                here = next(one for one in here if one["name"] == wanted)
            else:
                here = here[name]
    except (ValueError, KeyError, TypeError, StopIteration):
        return None
    return here
