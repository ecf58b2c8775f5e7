"""Policies of the end-to-end stories: the shipped ones, with their times shortened to seconds."""

from __future__ import annotations

from pathlib import Path

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
