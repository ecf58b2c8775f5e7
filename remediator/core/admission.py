"""From a matched alert, or a person's wish, to a run: may one be opened, and how does it begin?"""

from __future__ import annotations

from typing import Any

import msgspec

from remediator.core import bounds, breaker, planning
from remediator.core.alert import Alert
from remediator.core.calls import printable
from remediator.core.catalog import Catalog
from remediator.core.messages import Facts, Seen
from remediator.core.planning import Address
from remediator.core.policy import Policy
from remediator.core.run import Member, Refusal, Run


class Opening(msgspec.Struct, frozen=True):
    """An alert that a policy matches, with the identity that its run would have.

    Where a person opens the run, the alert only stands where texts and expressions look for one.
    """

    run_id: str
    version: str
    address: Address
    alert: Alert
    opened_by: str = "alert"  # alert | watch | person:<name>
    rewordings: int = 0  # how many runs before it have ended since the alert said something else

    @property
    def members(self) -> tuple[str, ...]:
        """The alerts whose end ends the run, and that are decided again when it closes."""
        return () if self.opened_by.startswith("person:") else (self.alert.fingerprint,)


def refusal(policy: Policy, catalog: Catalog, address: Address, seen: Seen) -> Refusal | None:
    """Why no run may be opened now, or None."""
    ask = bounds.Ask(policy, address.target, seen, catalog.budgets)
    observes = breaker.mode_now(policy, seen) == "observe"
    return bounds.to_observe(ask) if observes else bounds.to_open(ask)


def new_run(opening: Opening, facts: Facts) -> Run:
    """The run as it begins, in a lower mode than the policy's if that has failed too often."""
    down = breaker.stepped_down(facts.policy, facts.use.failures, facts.now)
    return Run(
        id=opening.run_id,
        policy=facts.policy.policy,
        version=opening.version,
        mode=down.mode if down is not None else facts.policy.mode,
        down_until=down.until if down is not None else None,
        target=opening.address.target,
        opened_at=facts.now,
        opened_by=opening.opened_by,
        alert=opening.alert,
        members={one: Member(firing=True, since=facts.now) for one in opening.members},
        params=opening.address.params,
        rewordings=opening.rewordings,
    )


def reworded(run: Run, policy: Policy, alert: Alert) -> str:
    """How what the run is about differs from what its opener says now; "" where it does not.

    Once it has acted, or where a person started it, nobody asks any more.
    """
    opener = run.alert
    if run.acted or run.starter or (alert.fingerprint, alert.firing) != (opener.fingerprint, True):
        return run.reworded
    was, now = planning.address(policy, opener), planning.address(policy, alert)
    if was == now or isinstance(was, Refusal):
        return ""
    if isinstance(now, Refusal):
        told = now.reason
    elif was.target != now.target:
        told = f"{was.target} → {now.target}"
    else:
        moved = (name for name in now.params if was.params[name] != now.params[name])
        told = ", ".join(f"{name}: {was.params[name]} → {now.params[name]}" for name in moved)
    return f"the alert says something else now: {printable(told, 300)}"


def described(run: Run, facts: Facts) -> dict[str, Any]:
    """The first line of the run's journal."""
    down = {"stepped_down_until": run.down_until.isoformat()} if run.down_until is not None else {}
    return {
        "policy": run.policy,
        "version": run.version,
        "mode": run.mode,
        **down,
        "target": run.target,
        "by": run.opened_by,
        "params": run.params,
        "fingerprint": run.alert.fingerprint,
        "labels": run.alert.labels,
        "truncated": run.alert.truncated,
        "at_once": facts.use.open_runs + 1,
    }
