"""Policies of the fault runs: one for each way in which a second execution is prevented, or is not."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.policies import STAYS, UNATTENDED, UNPROVABLE, gated

PROVED = "proved"  # no fence: a probe proves it, or a person looks
BLIND = "blind"  # no fence and no probe: a person looks
AGREED = "agreed"  # two people must agree
HELD = "held"  # taken back after some seconds
KEYED = "keyed"  # the service does a repeated request only once
AWARDED = "awarded"  # a row more in a database: fenced by its transaction
SCARCE = "scarce"  # few at once, few in an hour
WATCHED = "watched"  # opened by what a schedule finds
KINDS = (PROVED, BLIND, AGREED, HELD, KEYED, AWARDED, SCARCE)

AT_ONCE, PER_HOUR = 3, 8
"""The bounds of `SCARCE`."""

AWARDS = """CREATE TABLE awards (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, thing text NOT NULL,
 at timestamptz NOT NULL DEFAULT clock_timestamp())"""
"""The ledger of `AWARDED`: each row is an effect."""


def _policy(name: str, act: dict[str, Any], **more: Any) -> dict[str, Any]:
    step = {"gate": UNATTENDED, "verify": UNPROVABLE, "undo": STAYS, **act}
    return {
        "policy": name,
        "summary": "A thing is in trouble",
        "severity": "high",
        "mode": "act",
        "match": [f'{{alertname="{name}"}}'],
        "recheck": "2h",
        "params": {"thing": {"from": "labels.thing", "type": "string", "pattern": "[a-z0-9-]{1,64}"}},
        "target": "thing/${thing}",
        "bounds": {
            "cooldown": "1s",
            "per_target": "3 in 2h",
            "per_policy": "100000 in 1h",
            "at_once": 500,
            "deadline": "10m",
        },
        "diagnose": {"found": {**_get(), "optional": True}},
        "decide": [{"when": 'found.ok && found.json.status == "paused"', "do": "nothing"}, {"do": ["pause"]}],
        "steps": {"pause": step},
        "page": {"chain": "default"},
        **more,
    }


def _get() -> dict[str, Any]:
    return {"use": "http.get", "via": "service", "with": {"path": "/things/${thing}"}}


def _post(what: str, via: str = "service") -> dict[str, Any]:
    return {
        "use": "http.request",
        "via": via,
        "with": {"method": "POST", "path": f"/things/${{thing}}/{what}"},
    }


def _held() -> dict[str, Any]:
    return {**_post("pause"), "undo": {**_post("resume"), "after": "3s"}}


def _awarded() -> dict[str, Any]:
    sql = {"sql": "INSERT INTO awards (thing) VALUES ($1)", "args": ["${thing}"]}
    return {"use": "postgres.execute", "via": "loyalty_db", "with": sql, "rows": 1}


def _scarce() -> dict[str, Any]:
    bounds = _policy("", {})["bounds"]
    return {**bounds, "at_once": AT_ONCE, "per_policy": f"{PER_HOUR} in 1h"}


def policies() -> dict[str, str]:
    """By name, as files: JSON is YAML."""
    proof = {**_get(), "until": 'verify.json.status == "paused"', "within": "4s", "every": "1s"}
    every = (
        _policy(PROVED, {**_post("pause"), "verify": proof}),
        _policy(BLIND, _post("pause")),
        _policy(AGREED, {**_post("pause"), "gate": gated("20s")}),
        _policy(HELD, _held()),
        _policy(KEYED, _post("pause", "keyed")),
        _policy(AWARDED, _awarded()),
        _policy(SCARCE, {**_post("pause"), "verify": proof}, bounds=_scarce()),
    )
    return {one["policy"]: json.dumps(one, indent=1) for one in every}


def watching() -> dict[str, str]:
    """A policy that looks around each second."""
    look = {
        "every": "1s",
        "use": "http.get",
        "via": "service",
        "with": {"path": "/troubles"},
        "key": ["thing"],
    }
    one = _policy(WATCHED, _post("pause"), watch=look)
    one.pop("match")
    return {WATCHED: json.dumps(one, indent=1)}
