"""Policies of the end-to-end stories: the shipped ones, quicker, and small ones that need no Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PACK = Path(__file__).resolve().parents[2] / "policies" / "molam-loyalty"

SHORTER = {
    "within: 5m": "within: 3s",
    "every: 15s": "every: 1s",
    "within: 10m": "within: 4s",
    "every: 30s": "every: 1s",
    "after: 12h": "after: 6s",
    "recheck: 10m": "recheck: 2s",
    "recheck: 15m": "recheck: 2s",
}

PAUSE_PATH = "/api/campaigns/${campaign_id}/pause"
RESUME_PATH = "/api/campaigns/${campaign_id}/resume"
STAYS = {"none": "people decide when it goes on"}
UNPROVABLE = {"none": "this story wants a step that nothing can prove"}


def pack(name: str, **replaced: str) -> str:
    """A policy of the pack, quicker. ``replaced``: further exact replacements, ``old=new`` by text."""
    text = (PACK / f"{name}.yaml").read_text()
    for old, new in {**SHORTER, **replaced}.items():
        text = text.replace(old, new)
    return text


def stuck_campaign(**replaced: str) -> str:
    """Retrigger alone; pausing needs the on-call and marketing, two different people."""
    votes = {"votes: {ops_marketing: 1}": "votes: {oncall: 1, ops_marketing: 1}"}
    return pack("stuck-campaign", **votes, **replaced)


def gated(within: str = "30s", late: str = "page", **votes: int) -> dict[str, Any]:
    """A gate; by default of two roles."""
    return {"votes": votes or {"oncall": 1, "ops_marketing": 1}, "within": within, "late": late}


def pausing(name: str = "pause-campaign", *, alert: str = "", **step: Any) -> dict[str, Any]:
    """Pauses a campaign that runs, proved by the API itself. ``step``: replaces keys of the pause.

    It fires for the alert ``name``, where ``alert`` names no other. The campaign's own program is read
    too: above an earn rate of 0.2 the case is another one.
    """
    pause: dict[str, Any] = {
        "use": "http.request",
        "via": "loyalty_api",
        "with": {"method": "POST", "path": PAUSE_PATH, "body": {"reason": "it spends too fast"}},
        "gate": gated(),
        "verify": {
            "use": "http.get",
            "via": "loyalty_api",
            "with": {"path": "/api/campaigns/${campaign_id}"},
            "until": 'verify.json.status == "paused"',
            "within": "3s",
            "every": "1s",
        },
        "undo": STAYS,
    }
    return {
        "policy": name,
        "summary": "A campaign spends too fast",
        "severity": "high",
        "mode": "act",
        "match": [f'{{alertname="{alert or name}"}}'],
        "recheck": "1s",
        "params": {
            "campaign_id": {"from": "labels.campaign_id", "type": "string", "pattern": "[a-z0-9-]{1,64}"},
            "program_id": {"from": "labels.program_id", "type": "string", "pattern": "[a-z0-9-]{1,64}"},
        },
        "target": "campaign/${campaign_id}",
        "bounds": {
            "cooldown": "3s",
            "per_target": "50 in 1h",
            "per_policy": "500 in 1h",
            "at_once": 100,
            "deadline": "2m",
        },
        "diagnose": {
            "campaign": _get("/api/campaigns/${campaign_id}"),
            "program": _get("/api/programs/${program_id}"),
        },
        "decide": [
            {"when": 'campaign.json.status != "running"', "do": "nothing"},
            {"when": "program.json.earnRate > 0.2", "do": ["warn", "pause"]},
            {"do": ["pause"]},
        ],
        "steps": {
            "warn": {
                "use": "people.page",
                "with": {"text": "Program ${program_id} gives ${program.json.earnRate} points"},
            },
            "pause": {**pause, **step},
        },
        "page": {"chain": "default"},
    }


def holding(after: str = "2s", **step: Any) -> dict[str, Any]:
    """Pauses without asking anybody, and resumes after a time."""
    undo = {
        "use": "http.request",
        "with": {"method": "POST", "path": RESUME_PATH, "body": {"reason": "the pause has run its time"}},
        "after": after,
    }
    return pausing("hold-campaign", **{"gate": UNATTENDED, "undo": undo, **step})


UNATTENDED = {"waived": "this story is about something else than approvals"}


def _get(path: str) -> dict[str, Any]:
    return {"use": "http.get", "via": "loyalty_api", "with": {"path": path}}


def text(policy: dict[str, Any]) -> str:
    """As a policy file: JSON is YAML."""
    return json.dumps(policy, indent=1)
