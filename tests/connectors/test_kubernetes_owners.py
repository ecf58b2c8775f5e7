"""Whose a field of an object is, by what the API server keeps of its writers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remediator.connectors.kubernetes.owners import (
    LAST_APPLIED,
    declared_by,
    other_owner,
    path_of,
    shipped_since,
)

LIMIT = path_of("limits.memory", "app")
COUNT = path_of("replicas", None)
AT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def fields(*path: str) -> dict[str, Any]:
    """As the API server writes that one field is owned."""
    return {path[0]: fields(*path[1:])} if path else {}


def wrote(manager: str, *path: str, time: str = "2026-01-01T00:00:10Z", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields(*path), **more}


def held(*entries: dict[str, Any], applied: object = None) -> dict[str, Any]:
    notes = {} if applied is None else {LAST_APPLIED: json.dumps(applied)}
    return {"metadata": {"annotations": notes, "managedFields": list(entries)}}


def app(**limits: str) -> dict[str, Any]:
    """What `kubectl apply` may have written down."""
    container = {"name": "app", "resources": {"limits": limits}}
    return {"spec": {"template": {"spec": {"containers": [{"name": "other"}, container]}}}}


@pytest.mark.parametrize(
    ("found", "owner"),
    [
        (held(wrote("remediator", *LIMIT)), ""),
        (held(wrote("remediator", *LIMIT), wrote("helm", *path_of("limits.cpu", "app"))), ""),
        (held(wrote("remediator", *LIMIT), wrote("helm", *path_of("limits.memory", "other"))), ""),
        (held(wrote("remediator", *LIMIT), wrote("flux", *LIMIT)), "flux"),
        (held(wrote("helm", *LIMIT)), "helm"),
        (held(wrote("helm", *COUNT)), "somebody"),
        (held(), ""),  # somebody has emptied the list: only the values can tell
        (held(wrote("remediator", *LIMIT), applied=app(memory="2048Mi")), "kubectl apply"),
        (held(wrote("remediator", *LIMIT), applied=app(memory="1Gi")), ""),
        (held(wrote("remediator", *LIMIT), applied=app()), ""),
        (held(wrote("remediator", *LIMIT), applied={"spec": None}), ""),
        (held(wrote("remediator", *LIMIT), applied="no object"), ""),
    ],
)
def test_who_else_owns_a_field_that_we_set(found: dict[str, Any], owner: str) -> None:
    assert other_owner(found, LIMIT, "2Gi") == owner


def test_who_set_it_before_us_and_has_written_since() -> None:
    scaled = wrote("kubectl", *COUNT, subresource="scale")
    assert declared_by(held(scaled, wrote("remediator", *COUNT)), COUNT) == ""
    assert declared_by(held(wrote("helm", *COUNT)), COUNT) == "helm"
    shipped = held(wrote("helm", *LIMIT), wrote("kubectl-set", *LIMIT))
    assert shipped_since(shipped, ["helm"], AT) == "helm"
    assert shipped_since(shipped, ["helm"], AT + 10) == ""
    assert shipped_since(shipped, ["flux"], AT) == ""
