"""One alert as Alertmanager knows it, and one delivery of several."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Identity is (fingerprint, starts_at): repeats and HA duplicates share it."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""
    truncated: int = 0  # alerts that the sender left out of this delivery
    source: str = "alertmanager"  # alertmanager | grafana | watch:<policy> | person:<name>

    @property
    def firing(self) -> bool:
        """Does it fire, as far as the sender knew?"""
        return self.status == "firing"

    @property
    def name(self) -> str:
        """Its ``alertname`` label, for people."""
        return self.labels.get("alertname", "(no alertname)")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What one webhook (or one watch reading) brought."""

    source: str
    alerts: tuple[Alert, ...]
    received_at: datetime
    group_key: str = ""
    truncated: int = 0


def fingerprint(labels: Mapping[str, str]) -> str:
    """As Alertmanager makes it, for alerts that bring none: FNV-1a over the sorted labels.

    Source: prometheus/common, model/signature.go.
    """
    written = b"".join(
        part.encode("utf-8", "surrogatepass") + b"\xff"
        for name in sorted(labels)
        for part in (name, labels[name])
    )
    found = 0xCBF29CE484222325
    for byte in written:
        found = ((found ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"
