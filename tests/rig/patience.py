"""How long tests wait for what must come in the end. No promise: those have limits of their own."""

from __future__ import annotations

PATIENCE_S = 120.0
"""Ten times what it takes on a machine that is busy otherwise. Whoever waits so long has found a defect."""
