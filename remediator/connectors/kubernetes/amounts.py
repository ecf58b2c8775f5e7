"""Quantities as Kubernetes writes them: ``512Mi``, ``250m``, ``2``."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTP", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTP", 1)},
}


def amount(text: object) -> Decimal:
    """As a number. Raises ValueError."""
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is not an amount; write 512Mi, 2Gi, 250m or '2'")
    return Decimal(found[1]) * _UNITS[found[2] or ""]


def same_amount(one: object, other: object) -> bool:
    """2048Mi is 2Gi."""
    if one is None or other is None:
        return one is other
    try:
        return amount(str(one)) == amount(str(other))
    except ValueError:
        return one == other
