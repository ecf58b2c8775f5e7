"""A whole policy against its older self. The tables of all its parts are named here."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from remediator.core.catalog import Catalog
from remediator.core.opening import Bounds, Breaker, Param, Watch, Windows
from remediator.core.policy import Case, Page, Policy, Probe
from remediator.core.steps import EarlyProbe, Gate, Step, Still, Undo, Verify
from remediator.policyfiles.checks.safety import step_risks
from remediator.policyfiles.checks.uses import Look
from remediator.policyfiles.diff import gates
from remediator.policyfiles.diff.bounds import BOUNDS, BREAKER, WINDOWS
from remediator.policyfiles.diff.chains import chain
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.deciding import CASE, PROBE, decided, diagnosed
from remediator.policyfiles.diff.judges import (
    At,
    Table,
    elsewhere,
    fields,
    neutral,
    part,
    scale,
    unclear,
)
from remediator.policyfiles.diff.moved import renamed, with_names
from remediator.policyfiles.diff.opening import PARAM, WATCH, matched, params, watched
from remediator.policyfiles.diff.proofs import EARLY, STILL, UNDO, VERIFY
from remediator.policyfiles.diff.steps import STEP, steps

PAGE: Table = {"chain": chain}
POLICY: Table = {
    "policy": elsewhere,  # the name and the note are told with the policy
    "allow_loosening": elsewhere,
    "summary": neutral("summary"),
    "owner": neutral("owner"),
    "runbook": neutral("runbook"),
    "severity": scale("severity", "critical", "high", "medium", "low"),  # how late refusals page
    "mode": scale("mode", "observe", "suggest", "act"),
    "match": matched,
    "watch": watched,
    "recheck": neutral("recheck"),
    "params": elsewhere,  # these three by `compare`
    "target": unclear("target"),
    "bounds": part("bounds", BOUNDS),
    "diagnose": diagnosed,
    "decide": elsewhere,
    "steps": elsewhere,
    "page": part("page", PAGE),
}
TABLES: Mapping[type[BaseModel], Table] = {
    Policy: POLICY,
    Watch: WATCH,
    Param: PARAM,
    Bounds: BOUNDS,
    Breaker: BREAKER,
    Windows: WINDOWS,
    Probe: PROBE,
    Case: CASE,
    Gate: gates.GATE,
    Step: STEP,
    Verify: VERIFY,
    Undo: UNDO,
    EarlyProbe: EARLY,
    Still: STILL,
    Page: PAGE,
}
"""Model → the judges of its fields, all of them. Rows that may change (``AtMost``) are judged whole."""


def compare(old: Policy, new: Policy, catalogs: tuple[Catalog, Catalog]) -> tuple[Change, ...]:
    """Everything that changed in meaning, what needs eyes first. Each is judged in its own catalogue."""
    names = renamed(old, new, step_risks(Look(new, catalogs[1])))
    told = [Change(f"steps.{now}", f"renamed from {was}", Direction.ACTS) for was, now in names.items()]
    old = with_names(old, names)
    at = At("", old, new, *catalogs)
    risks = step_risks(Look(old, catalogs[0])), step_risks(Look(new, catalogs[1]))
    found = [
        *told,
        *fields(at, old, new, POLICY),
        *params(at, old.params, new.params),
        *decided(at, old, new, risks),
        *steps(at, old.steps, new.steps, risks),
    ]
    return tuple(sorted(found, key=lambda one: one.direction))
