"""What a step will do, exactly: calls that are resolved and hold no secret. People vote on these."""

from __future__ import annotations

from typing import Any

import msgspec

from remediator.core.catalog import Fence, Risk
from remediator.core.exact import shown


class Call(msgspec.Struct, frozen=True):
    """One fully resolved use of an operation. Holds no secret: the connection adds those."""

    operation: str
    connection: str
    args: dict[str, Any]  # as `exact.kept`

    @property
    def shown(self) -> dict[str, Any]:
        """The arguments as people read them."""
        told: dict[str, Any] = shown(self.args)
        return told


class UndoPlan(msgspec.Struct, frozen=True):
    """How a step is taken back. A call is None while it still needs what the act returns."""

    source: dict[str, Any]  # the policy's text of it: part of what is approved
    call: Call | None
    after_s: float | None  # time box, seconds from the act
    early: tuple[str, ...] = ()  # unverified | resolved
    fence: Fence = Fence.NONE  # of the service that is asked to undo, which may be another one
    probes: tuple[Call | None, ...] = ()  # what is read while the change is held, and may end it early
    verify: Call | None = None  # what proves the undo
    risk: Risk | None = None  # what taking it back may cost, where that is more than the act
    still: Call | None = None  # what is read just before it is sent, and may keep it from being sent


_LATER = ("probes", "verify", "risk", "still")
"""What undos have had only since gates were first stored."""


class Intention(msgspec.Struct, frozen=True):
    """Exactly what a step will do. A gate's votes bind to the hash of these."""

    step: str
    call: Call
    risk: Risk  # the worst of the act and its undo: who agrees to the one agrees to the other
    fence: Fence
    verify: Call | None
    undo: UndoPlan | None
    summary: str = ""  # one line for people: ``POST /api/campaigns/c-1/pause``

    def identity(self) -> dict[str, Any]:
        """What the hash covers. What versions that opened gates did not know is left out."""
        told: dict[str, Any] = msgspec.to_builtins(self)
        if self.undo is not None:
            told["undo"] = {key: one for key, one in told["undo"].items() if one or key not in _LATER}
        return told
