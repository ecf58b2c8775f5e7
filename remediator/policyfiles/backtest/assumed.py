"""What a backtest takes for granted where the record is silent. Every report says it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from remediator.core.expression import Expression
from remediator.core.intention import Call
from remediator.core.planning import RESTORE, needs_results
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.steps import Step, Undo, Verify

_PROBES = (
    "Probes are answered by what was recorded for the same policy, target and probe within 5 minutes. "
    "A probe that no record answers is not guessed: its run stays open until its alerts resolve or its "
    "deadline passes, and counts towards at_once meanwhile."
)
_STEPS = (
    "Steps are done at once, proofs hold, undos may be sent and work, and no reading ends a hold early. "
    "What a step would have changed is not known."
)
_BELIEF = (
    "No reading is believed that was recorded after a step of this backtest, on its target and in the same "
    "trouble. Alerts go on as they were recorded, whatever the steps would have made of them."
)
_QUIET = "Nobody halts anything, takes a target over, denies, or starts a run by hand; watches do not look."
_ENDS = (
    "An alert fires until the record says that it has resolved; one whose end is not in it fires to the end "
    "of the backtest, and is decided on again and again."
)
_ALWAYS = (_PROBES, _STEPS, _BELIEF, _QUIET, _ENDS)
SINCE = (
    "What came before --since is not heard: an alert that began before it begins with its first repeat after "
    "it, and is not there when none came. Cooldowns, limits and budgets begin empty, and no run is open."
)
ASSUMPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "approve": (*_ALWAYS, "Whoever may approve does so 2 minutes after the gate opened."),
        "silent": (*_ALWAYS, "Nobody answers a gate."),
    }
)


def assuming(policies: PolicySet) -> PolicySet:
    """The same policies, with proofs that hold."""
    return PolicySet.of((_held(one) for one in policies.by_name.values()), policies.catalog)


def did(call: Call) -> dict[str, Any]:
    """What a step is taken to have answered: enough for its undo to be made of it."""
    return {RESTORE: {"table": "", "rows": []}} if "undo" in call.args else {}


def _held(one: Versioned) -> Versioned:
    steps = {name: _proved(step) for name, step in one.policy.steps.items()}
    policy: Policy = one.policy.model_copy(update={"steps": steps})
    return Versioned(policy, one.version, one.text, one.file)


def _proved(step: Step) -> Step:
    changes: dict[str, Any] = {}
    if step.verify is not None:
        changes["verify"] = _true(step.verify)
    if step.undo is not None:
        changes["undo"] = _works(step, step.undo)
    return step.model_copy(update=changes)


def _works(step: Step, undo: Undo) -> Undo:
    """Nobody changes anything meanwhile. What is made of the act's answer goes without: none has come."""
    changes: dict[str, Any] = {"still": None}
    if needs_results(step.model_copy(update={"with_": undo.with_, "verify": None})):
        changes["with_"] = {}
    if undo.verify is not None:
        changes["verify"] = _true(undo.verify)
    return undo.model_copy(update=changes)


def _true(verify: Verify) -> Verify:
    """It holds, whatever is read; what it compares with is read before the act all the same."""
    if verify.use is None:
        return verify
    compares = verify.until is not None and "before" in verify.until.names
    return verify.model_copy(update={"until": _TRUE_BESIDE if compares else _TRUE})


_TRUE = Expression.parse("true")
_TRUE_BESIDE = Expression.parse("true || before.ok")
