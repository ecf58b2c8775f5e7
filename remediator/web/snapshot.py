"""Everything that the status page shows, read together: one look at the store, one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from remediator.core.alert import Alert
from remediator.core.policyset import PolicySet
from remediator.core.run import Halt, Page, Run, Stage
from remediator.errors import StoreError
from remediator.ports import Aside, Disposition, PolicyCount, Rejected, Replica, RunFilter, Tx
from remediator.web.services import Services
from remediator.web.shapes import PolicyRow, RefusalRow, StatusShape
from remediator.web.views import gate_row, open_gate, policy_rows, refusal_row, run_row

MOST_RUNS = 200
MOST_RECENT = 40
MOST_REFUSALS = 100
MOST_REJECTED = 20
MOST_BODY = 2000
"""Characters of a rejected body; `/api/v1/rejected` has all that was kept."""


@dataclass(frozen=True)
class Rows:
    """What the store held."""

    now: datetime
    halts: Sequence[Halt] = ()
    pages: Sequence[Page] = ()
    live: Sequence[Run] = ()  # open, newest first
    holding: Sequence[Run] = ()
    closed: Sequence[Run] = ()
    counts: Sequence[PolicyCount] = ()
    refusals: Sequence[tuple[Disposition, Alert | None]] = ()
    refused: int = 0  # of which only the oldest are in ``refusals``
    rejected: Sequence[Rejected] = ()
    inbox: int = 0
    truncated: int = 0
    replicas: Sequence[Replica] = ()  # none where the store is one daemon's own
    aside: Sequence[Aside] = ()


@dataclass(frozen=True)
class Snapshot:
    """The daemon at one moment, as people see it."""

    rows: Rows
    policies: PolicySet
    problems: list[str] = field(default_factory=list)  # the worst first
    store_up: bool = True
    you: str | None = None

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.rows.now

    @property
    def roles(self) -> Mapping[str, frozenset[str]]:
        """Who holds which role at this moment."""
        return self.policies.catalog.roles_at(self.now)

    @property
    def waiting(self) -> list[Run]:
        """Runs at an open gate; the first to expire first."""
        found = [(gate.expires_at, run) for run in self.rows.live if (gate := open_gate(run)) is not None]
        return [run for _, run in sorted(found, key=lambda pair: (pair[0], pair[1].id))]

    @property
    def asking(self) -> list[Run]:
        """Runs with an unknown outcome, the oldest first."""
        return [run for run in reversed(self.rows.live) if run.stage is Stage.ASKING]

    @property
    def holds(self) -> list[Run]:
        """Runs whose change stands for a time, the first to be undone first."""
        return sorted(self.rows.holding, key=lambda run: (run_row(run).undo_at or _LAST, run.id))

    @property
    def needs_you(self) -> int:
        """How many things wait for a person."""
        return len(self.waiting) + len(self.asking) + len(self.other_pages)

    def pages_of(self, run: Run) -> list[Page]:
        """Open pages about a run."""
        return [page for page in self.rows.pages if page.run == run.id]

    @property
    def other_pages(self) -> list[Page]:
        """Open pages but those about unknown outcomes, which are settled rather than read."""
        asking = {run.id for run in self.asking}
        return [page for page in self.rows.pages if page.run not in asking]

    @property
    def healthy(self) -> bool:
        """Does it work as it should? That it waits for people is no fault of it."""
        return self.store_up and not self.problems

    @property
    def policy_rows(self) -> list[PolicyRow]:
        """Running policies with the outcomes of their runs."""
        return policy_rows(self.policies, self.rows.counts)

    @property
    def refusal_rows(self) -> list[RefusalRow]:
        """Refusals that stand, the oldest first."""
        return [refusal_row(*one) for one in self.rows.refusals]

    def shape(self) -> StatusShape:
        """As JSON has it."""
        rows, roles = self.rows, self.roles
        return StatusShape(
            now=self.now,
            healthy=self.healthy,
            needs_you=self.needs_you,
            problems=self.problems,
            you=self.you,
            store="up" if self.healthy else "down",
            inbox=rows.inbox,
            truncated=rows.truncated,
            replicas=list(rows.replicas),
            halts=list(rows.halts),
            gates=[gate_row(run, gate, roles) for run in self.waiting if (gate := run.gate) is not None],
            asking=[run_row(run) for run in self.asking],
            pages=list(rows.pages),
            runs=[run_row(run) for run in rows.live],
            holds=[run_row(run) for run in self.holds],
            recent=[run_row(run) for run in rows.closed],
            policies=self.policy_rows,
            refusals=self.refusal_rows,
            rejected=list(rows.rejected),
        )


_LAST = datetime.max.replace(tzinfo=UTC)


async def take(services: Services, you: str | None) -> Snapshot:
    """Look now. A store that does not answer is part of the picture, not an error."""
    problems = list(services.ready())
    refused = services.refused()
    if refused:
        more = f" (and {len(refused) - 1} more problems)" if len(refused) > 1 else ""
        problems.append(
            f"the policies in the folder cannot be used, and the older ones run on: {refused[0]}{more}"
        )
    try:
        rows = await services.store.read(_read)
    except StoreError as error:
        told = f"the store does not answer ({error.problem}); nothing starts until it does"
        nothing = Rows(now=datetime.now(UTC))
        return Snapshot(nothing, services.policies(), [told, *problems], store_up=False, you=you)
    if rows.truncated:
        told = (
            f"Alertmanager left {rows.truncated} alerts out of a delivery; raise max_alerts in its receiver"
        )
        problems.append(told)
    problems += [
        f"run {one.run} ({one.policy} on {one.target}) is put aside, it cannot be decided: {one.problem}"
        for one in rows.aside
    ]
    return Snapshot(rows, services.policies(), problems, you=you)


async def _read(tx: Tx) -> Rows:
    refused = await tx.dispositions(refused_only=True)
    refusals: list[tuple[Disposition, Alert | None]] = []
    for standing in refused[:MOST_REFUSALS]:
        row = await tx.alert(standing.fingerprint)
        refusals.append((standing, row.alert if row is not None else None))
    firing = await tx.alerts(firing_only=True)
    return Rows(
        now=tx.now,
        halts=await tx.halts(),
        pages=await tx.pages(),
        live=await tx.runs(RunFilter(state="open", limit=MOST_RUNS)),
        holding=await tx.runs(RunFilter(state="holding", limit=MOST_RUNS)),
        closed=await tx.runs(RunFilter(state="closed", limit=MOST_RECENT)),
        counts=await tx.policy_counts(),
        refusals=refusals,
        refused=len(refused),
        rejected=[_short(one) for one in (await tx.rejected())[:MOST_REJECTED]],
        inbox=await tx.inbox_depth(),
        truncated=max((row.alert.truncated for row in firing), default=0),
        replicas=await tx.replicas(),
        aside=await tx.aside(),
    )


def _short(one: Rejected) -> Rejected:
    return msgspec.structs.replace(one, body=one.body[:MOST_BODY])
