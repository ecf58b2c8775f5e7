"""The policies of the simulated world: between them every way in which a run can go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from remediator.core.durations import Rate
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.ports import KeptPolicy
from tests.core.campaign import CATALOG as CAMPAIGN
from tests.core.campaign import change, policy, post, proof, say, still, undo, votes

CATALOG = replace(CAMPAIGN, budgets={"pauses": Rate(14, timedelta(minutes=4))})

_BOUNDS = {
    "cooldown": "40s",
    "per_target": "3 in 4m",
    "per_policy": "40 in 4m",
    "at_once": 5,
    "deadline": "4m",
}
NOTE = {"from": "labels.note", "pattern": "(?s).{0,99}"}
"""A parameter that takes whatever an alert says; it must arrive as it is, and as nothing else."""
_NOTED = {"params": {"campaign": {"from": "labels.campaign", "pattern": "[a-z0-9-]{1,20}"}, "note": NOTE}}
_DIAGNOSE = {"budget": {"use": "http.get", "via": "api", "with": {"path": "/budget/${campaign}"}}}


def _proof(**rest: Any) -> dict[str, Any]:
    path = {"path": "/health/${campaign}"}
    return proof(within="15s", every="5s") | {"with": path} | rest


def _one(name: str, steps: dict[str, Any], *, bounds: dict[str, Any] | None = None, **rest: Any) -> Policy:
    given = {
        "policy": name,
        "match": [f'{{alertname="{name}"}}'],
        "bounds": _BOUNDS | (bounds or {}),
        "recheck": "20s",
        "diagnose": _DIAGNOSE,
    }
    return policy(steps, **given | rest)


POLICIES: tuple[Policy, ...] = (
    _one(
        "pause",
        {
            "pause": post(
                "/pause/${campaign}",
                gate=votes("45s", oncall=1),
                verify=_proof(),
                undo=undo(after="50s", early=["unverified", "resolved"]),
                on_failure="undo_all",
            )
        },
        bounds={"budget": "pauses"},
        decide=[{"when": "budget.row.left > 90", "do": "nothing"}, {"do": ["pause"]}],
    ),
    _one(
        "ladder",
        {
            "keyed": post("/keyed/${campaign}", via="keyed", verify=_proof()),
            "soft": post(
                "/soft/${campaign}/${note}",
                verify=_proof(),
                undo=undo(
                    "/-soft/${campaign}", after="40s", still=still("verify.value == 0", "/claim/${campaign}")
                )
                | {"via": "keyed"},
            ),
            "hard": post("/hard/${campaign}", gate=votes("40s", "deny", lead=1), verify=_proof()),
        },
        decide=[{"try": ["keyed", "soft", "hard"]}],
        **_NOTED,
    ),
    _one(
        "halve",
        {
            "warn": say("${budget.row.left} left of ${campaign}"),
            "halve": change(
                gate=None,
                verify=_proof(),
                undo={"how": "restore", "after": "45s"},
            )
            | {"with": {"sql": "halve", "args": ["${campaign}", "${budget.row.left}"]}},
        },
        decide=[{"do": ["warn", "halve"], "gate": votes("60s", oncall=1, finance=1)}],
    ),
    _one(
        "items",
        {
            "warn": say("${string(each)}", for_each="${[1, 2]}", at_most=3, on_failure="continue"),
            "each_one": post(
                "/item/${campaign}/${string(each)}",
                for_each="${[1, 2, 3]}",
                at_most=3,
                stop_after=2,
                on_failure="undo_all",
                undo=undo("/-item/${campaign}/${string(each)}", via="keyed", after="30s"),
            ),
        },
        mode="act",
    ),
    _one(
        "brisk",
        {"retry": post("/retry/${campaign}", verify=_proof())},
        bounds={
            "budget": "pauses",
            "breaker": {"failures": 2, "within": "3m", "mode": "suggest", "for": "1m"},
            "windows": {"not": ["10:02-10:03 UTC"]},
            "cooldown": "20s",
        },
    ),
    _one(
        "notice",
        {"warn": say("${campaign}: ${note}")},
        decide=[{"when": "budget.row.left >= 0", "do": ["warn"]}],
        **_NOTED,
    ),
    _one(
        "advise",
        {"cut": change(undo=None, gate=votes("45s", oncall=2)), "tell": say()},
        mode="suggest",
        bounds={"at_once": 2},
    ),
    _one("watchful", {"pause": post("/pause/${campaign}", undo=undo(after="1m"))}, mode="observe"),
)


def as_set(number: int) -> PolicySet:
    """The running set after so many reloads: each rewrites some of the policies, and keeps their bounds."""

    def version(place: int) -> int:
        return max((one for one in range(1, number + 1) if (one + place) % 3 == 0), default=0)

    names = (f"{policy.name}@{version(place)}" for place, policy in enumerate(POLICIES))
    versioned = (Versioned(one, name, one.name, one.name) for one, name in zip(POLICIES, names, strict=True))
    return PolicySet.of(versioned, CATALOG)


def read_kept(kept: KeptPolicy) -> Policy:
    """An older version as it was kept; only its name tells it from others."""
    return next(one for one in POLICIES if one.name == kept.name)
