"""Why did, or didn't, it act? What every policy says to one alert, with the first "no" and its values.

Asks what the deciding transactions ask, in their order, and writes nothing: the index of selectors, the
parameters and the target, what stands from before, the open run, the bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from remediator.core import planning, play
from remediator.core.alert import Alert
from remediator.core.catalog import Catalog
from remediator.core.matching import Matcher, nearest
from remediator.core.messages import Seen
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.core.run import Refusal, Run
from remediator.engine.decisions import asked
from remediator.ports import Disposition, Explanation, Misfit, Said, Tx

_ORDER = (
    "run-opened",
    "joined",
    "holding",
    "would-open",
    "would-join",
    "closed",
    "refused",
    "unasked",
    "resolved",
    "not-matched",
)


async def explain(tx: Tx, policies: PolicySet, alert: Alert) -> Explanation:
    """All that can be said: the store is asked, too."""
    matching = policies.matching(alert)
    said = [
        await _asked(tx, one, policies.catalog, alert) if one in matching else _unmatched(one, alert)
        for one in policies.by_name.values()
    ]
    return Explanation(alert=alert, at=tx.now, stored=True, policies=_sorted(said))


def explain_alone(policies: PolicySet, alert: Alert, now: datetime) -> Explanation:
    """What can be said without a store: selectors, parameters and targets."""
    matching = policies.matching(alert)
    said = [
        _alone(one, alert) if one in matching else _unmatched(one, alert) for one in policies.by_name.values()
    ]
    return Explanation(alert=alert, at=now, stored=False, policies=_sorted(said))


# ── It matches ────────────────────────────────────────────────────────────────────────────────────


async def _asked(tx: Tx, versioned: Versioned, catalog: Catalog, alert: Alert) -> Said:
    policy = versioned.policy
    if not alert.firing:
        return await _over(tx, versioned, alert)
    standing = await tx.disposition(policy.name, alert.fingerprint)
    if standing is None:
        return await _now(tx, versioned, catalog, alert)
    run = await tx.run(standing.run) if standing.run else None
    more: dict[str, Any] = {}
    if standing.kind in ("refused", "holding", "closed"):
        now = await _now(tx, versioned, catalog, alert)
        more["now"] = f"{now.bound}: {now.reason}" if now.bound else _would(now)
    return _said(
        versioned,
        says=standing.kind,
        bound=standing.bound,
        reason=_stands(standing, run),
        target=standing.target,
        params=standing.params,
        run=standing.run,
        since=standing.refused_since or standing.since,
        again_at=standing.again_at,
        waits_for=standing.waits_for,
        **more,
    )


async def _now(tx: Tx, versioned: Versioned, catalog: Catalog, alert: Alert) -> Said:
    """What would come of it this moment."""
    policy = versioned.policy
    address = planning.address(policy, alert)
    if isinstance(address, Refusal):
        return _refused(versioned, address)
    about = {"target": address.target, "params": address.params}
    run = await tx.open_run(policy.name, address.target)
    if run is not None:
        return _said(versioned, says="would-join", reason=_how(run), run=run.id, **about)
    _, seen, no = await asked(tx, policy, catalog, address)
    if no is not None:
        return _refused(versioned, no, **about)
    return _said(versioned, says="would-open", reason=_mode(policy, seen), **about)


def _mode(policy: Policy, seen: Seen) -> str:
    """What it would do less than the policy's own word for it says."""
    down = play.stepped_down(policy, seen.use.failures, seen.now)
    mode = down.mode if down is not None else policy.mode
    less = ["it would only say what it would do"] if mode == "observe" else []
    if down is not None:
        less.append(f"stepped down to {mode} until {down.until:%Y-%m-%d %H:%M:%S} UTC: {down.why}")
    return "; ".join(less)


async def _over(tx: Tx, versioned: Versioned, alert: Alert) -> Said:
    name = versioned.policy.name
    runs = [run for run in await tx.runs_of_alert(alert.fingerprint) if run.policy == name]
    if not runs:
        return _said(versioned, says="resolved", reason="it has resolved: there is nothing to decide")
    run = runs[-1]
    reason = f"it has resolved; {_how(run)}"
    return _said(versioned, says="resolved", reason=reason, run=run.id, target=run.target, params=run.params)


def _alone(versioned: Versioned, alert: Alert) -> Said:
    if not alert.firing:
        return _said(versioned, says="resolved", reason="it has resolved: there is nothing to decide")
    address = planning.address(versioned.policy, alert)
    if isinstance(address, Refusal):
        return _refused(versioned, address)
    reason = "it matches; bounds, halts and other runs were not asked, since there is no store"
    return _said(versioned, says="unasked", reason=reason, target=address.target, params=address.params)


def _stands(standing: Disposition, run: Run | None) -> str:
    """Why it stands so, in words."""
    if standing.kind in ("run-opened", "joined") and run is not None:
        return _how(run)
    if standing.kind == "closed" and run is not None:
        return f"run {run.id} ended as {run.outcome}: {standing.reason}"
    return standing.reason


def _how(run: Run) -> str:
    return f"run {run.id} is {run.outcome or run.stage}" + (f": {run.reason}" if run.reason else "")


def _would(now: Said) -> str:
    return f"it would join run {now.run}" if now.says == "would-join" else "it would open a run"


# ── It does not ───────────────────────────────────────────────────────────────────────────────────


def _unmatched(versioned: Versioned, alert: Alert) -> Said:
    policy = versioned.policy
    if policy.watch is not None:
        return _said(versioned, says="not-matched", bound="match", reason="only its own watch opens its runs")
    found = nearest(policy.selectors, alert.labels)
    if found is None or not found[1]:
        reason = "the alert was made by another policy's watch"
        return _said(versioned, says="not-matched", bound="match", reason=reason)
    selector, noes = found
    misfits = tuple(Misfit(one.name, str(one), alert.labels.get(one.name)) for one in noes)
    which = "" if len(policy.selectors) == 1 else f" (the nearest of {len(policy.selectors)} lines)"
    return _said(
        versioned,
        says="not-matched",
        bound="match",
        reason="; ".join(_misfit(one, alert) for one in noes) + which,
        selector=str(selector),
        misfits=misfits,
    )


def _misfit(matcher: Matcher, alert: Alert) -> str:
    found = alert.labels.get(matcher.name)
    told = f"{matcher.name} is {found!r}" if found is not None else f"there is no label {matcher.name}"
    return f"wants {matcher}, and {told}"


# ── Both ──────────────────────────────────────────────────────────────────────────────────────────


def _refused(versioned: Versioned, no: Refusal, **about: Any) -> Said:
    more = {"again_at": no.again_at, "waits_for": no.waits_for}
    return _said(versioned, says="refused", bound=no.bound, reason=no.reason, **more, **about)


def _said(versioned: Versioned, **what: Any) -> Said:
    return Said(policy=versioned.policy.name, mode=versioned.policy.mode, file=versioned.file, **what)


def _sorted(said: Iterable[Said]) -> tuple[Said, ...]:
    return tuple(
        sorted(said, key=lambda one: (_ORDER.index(one.says), len(one.misfits), one.policy)),
    )
