"""One alert as Alertmanager knows it, and one delivery of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec

PORTION = 100
"""Alerts that are kept, and decided on, together: some milliseconds each time, also in a storm."""


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

    def parts(self) -> Iterator[Delivery]:
        """As several, of `PORTION` alerts each: one that cannot be decided on whole would stop all."""
        for at in range(0, len(self.alerts), PORTION):
            yield msgspec.structs.replace(self, alerts=self.alerts[at : at + PORTION])


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
