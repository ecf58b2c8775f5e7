"""The part of an SQLite transaction about runs: keeping them, finding them, and what bounds count."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from remediator.core.messages import Counted, Seen, Spent, Use
from remediator.core.run import Halt, Run, Stage
from remediator.ports import Aside, PolicyCount, RunFilter, Scope, StageCount
from remediator.store.doubts import with_doubts
from remediator.store.sqlite_rows import (
    Statements,
    as_json,
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    readable,
    where_all,
)
from remediator.store.unread import Docs

_run = Docs(msgspec.json.Decoder(Run))
_halt = Docs(msgspec.json.Decoder(Halt))

_SAVE_RUN = """
INSERT INTO runs (id, policy, target, version, shadow, stage, open, locks, wake_at, opened_at,
                  closed_at, outcome, doc)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    policy = excluded.policy, target = excluded.target, version = excluded.version,
    shadow = excluded.shadow, stage = excluded.stage, open = excluded.open, locks = excluded.locks,
    wake_at = excluded.wake_at, opened_at = excluded.opened_at, closed_at = excluded.closed_at,
    outcome = excluded.outcome, doc = excluded.doc, aside = NULL
"""

_USE = """
SELECT (SELECT at FROM acts WHERE policy = :policy AND target = :target AND shadow = :shadow
         AND kind = 'act' AND run <> :run ORDER BY at DESC LIMIT 1),
       (SELECT at FROM acts AS denial WHERE policy = :policy AND target = :target AND shadow = :shadow
         AND kind = 'denied' AND run <> :run AND NOT (what = 'expired' AND EXISTS (
           SELECT 1 FROM acts WHERE policy = :policy AND target = :target AND shadow = :shadow
             AND kind = 'asked' AND run = denial.run))
         ORDER BY at DESC LIMIT 1),
       coalesce((SELECT runs FROM open_runs WHERE policy = :policy AND shadow = :shadow), 0)
         - (SELECT count(*) FROM runs WHERE id = :run AND policy = :policy AND shadow = :shadow AND open = 1),
       (SELECT id FROM runs WHERE target = :target AND locks = 1 AND id <> :run)
"""

_TARGET_ACTS = """
SELECT max(at) AS last FROM acts
WHERE policy = :policy AND target = :target AND shadow = :shadow AND kind = 'act'
  AND at > :target_since AND run <> :run
GROUP BY run ORDER BY last DESC
"""

_POLICY_ACTS = """
SELECT max(at) AS last FROM acts
WHERE policy = :policy AND shadow = :shadow AND kind = 'act' AND at > :policy_since AND run <> :run
GROUP BY run ORDER BY last DESC
"""

_BUDGET_ACTS = """
SELECT policy, max(at) AS last FROM acts
WHERE budget = :budget AND budget <> '' AND shadow = :shadow AND kind = 'act' AND at > :budget_since
  AND run <> :run
GROUP BY run ORDER BY last DESC
"""

_FAILURES = """
SELECT max(at) AS last FROM acts
WHERE policy = :policy AND kind = 'failed' AND at > :failure_since AND run <> :run
GROUP BY run ORDER BY last DESC
"""

_SAFE_PLAYS = """
SELECT what, max(at) FROM acts
WHERE policy = :policy AND target = :target AND shadow = :shadow AND kind = 'safe' AND run <> :run
GROUP BY what
"""

# Of each safe case the newest line is kept, and the newest of another run: whichever run asks, itself
# left out, finds its answer, and the cost does not grow with history.
_FORGET_OLDER_PLAYS = """
DELETE FROM acts
WHERE policy = :policy AND target = :target AND shadow = :shadow AND kind = 'safe' AND what = :what
  AND id < (SELECT max(id) FROM acts WHERE policy = :policy AND target = :target
             AND shadow = :shadow AND kind = 'safe' AND what = :what)
  AND id < coalesce((SELECT max(id) FROM acts WHERE policy = :policy AND target = :target
             AND shadow = :shadow AND kind = 'safe' AND what = :what AND run <> :run),
            9223372036854775807)
"""


class RunStatements(Statements):
    """Runs, as `remediator.ports.Tx` has them."""

    __slots__ = ()

    async def run(self, run_id: str) -> Run | None:
        return self._one_run("WHERE id = ?", (run_id,))

    async def claim_run(self, run_id: str) -> Run | None:
        return self._one_run("WHERE id = ? AND wake_at <= ?", (run_id, micros(self.now)))

    async def open_run(self, policy: str, target: str) -> Run | None:
        return self._one_run(
            "WHERE policy = ? AND target = ? AND shadow IN (0, 1) AND open = 1 ORDER BY shadow LIMIT 1",
            (policy, target),
        )

    def _one_run(self, tail: str, arguments: Sequence[Any]) -> Run | None:
        row = self._row(f"SELECT doc FROM runs {tail}", arguments)  # noqa: S608 - fixed pieces
        return _run.decode(row[0]) if row else None

    async def runs_of_alert(self, fingerprint: str) -> list[Run]:
        rows = self._rows(
            "SELECT runs.doc FROM members JOIN runs ON runs.id = members.run "
            "WHERE members.fingerprint = ? ORDER BY runs.opened_at, runs.id",
            (fingerprint,),
        )
        return [_run.decode(doc) for (doc,) in rows]

    async def runs(self, which: RunFilter) -> list[Run]:
        where = {
            "": [],
            "open": ["stage NOT IN ('closed', 'holding')", "stage <> 'closed'"],
            "closed": ["stage = 'closed'"],
        }.get(which.state, ["stage = :state", "stage <> 'closed'"])
        where = where + ["policy = :policy"] * bool(which.policy) + ["target = :target"] * bool(which.target)
        if which.before:
            where.append("(opened_at, id) < (SELECT opened_at, id FROM runs WHERE id = :before)")
        rows = self._rows(
            f"SELECT doc FROM runs {where_all(where)} ORDER BY opened_at DESC, id DESC LIMIT :limit",  # noqa: S608 - fixed pieces
            {"state": which.state, "policy": which.policy, "target": which.target, "before": which.before,
             "limit": which.limit},
        )  # fmt: skip
        return readable(lambda row: _run.decode(row[0]), rows)

    async def open_runs(self) -> list[str]:
        rows = self._rows(  # the second condition is by what the partial index runs_live is found
            "SELECT id FROM runs WHERE stage NOT IN ('closed', 'holding') AND stage <> 'closed' "
            "ORDER BY opened_at DESC, id DESC"
        )
        return [run_id for (run_id,) in rows]

    async def put_aside(self, run_id: str, until: datetime, problem: str) -> None:
        self._execute(
            "UPDATE runs SET wake_at = CASE WHEN wake_at > :now THEN min(wake_at, :until) ELSE :until END, "
            "aside = coalesce(nullif(:problem, ''), aside) WHERE id = :run AND stage <> 'closed'",
            {"now": micros(self.now), "until": micros(until), "problem": problem, "run": run_id},
        )

    async def aside(self) -> list[Aside]:
        rows = self._rows(
            "SELECT id, policy, target, aside FROM runs WHERE aside IS NOT NULL ORDER BY opened_at, id"
        )
        return [Aside(*row) for row in rows]

    async def save_run(self, run: Run, wake_at: datetime | None) -> None:
        locks = run.locks_target and not run.observes
        another = f"{run.policy} has another open run on {run.target}, or another run locks that target"
        columns = (
            run.id,
            run.policy,
            run.target,
            run.version,
            run.observes,
            run.stage,
            run.open,
            locks,
            micros_or_none(wake_at),
            micros(run.opened_at),
            micros_or_none(run.closed_at),
            run.outcome,
            as_json(run),
        )
        self._execute(_SAVE_RUN, columns, breach=f"{run.id}: {another}")
        kept = {row[0] for row in self._rows("SELECT fingerprint FROM members WHERE run = ?", (run.id,))}
        wanted = set() if run.stage is Stage.CLOSED else set(run.members)
        for fingerprint in kept - wanted:
            self._execute("DELETE FROM members WHERE fingerprint = ? AND run = ?", (fingerprint, run.id))
        for fingerprint in wanted - kept:
            self._execute("INSERT INTO members (fingerprint, run) VALUES (?, ?)", (fingerprint, run.id))

    async def seen(self, scope: Scope) -> Seen:
        where = {
            "policy": scope.policy,
            "target": scope.target,
            "run": scope.run,
            "shadow": scope.shadow,
            "target_since": micros(self.now - scope.target_window),
            "policy_since": micros(self.now - scope.policy_window),
            "budget": scope.budget,
            "budget_since": micros(self.now - scope.budget_window),
            "failure_since": micros(self.now - scope.failure_window),
        }
        last_act, last_denial, open_runs, holder = self._rows(_USE, where)[0]
        halts = self._rows(
            "SELECT doc FROM halts WHERE lifted_at IS NULL "
            "AND scope IN ('all', 'policy:' || :policy, 'target:' || :target) ORDER BY at, id",
            where,
        )
        holding = self._rows(
            "SELECT doc FROM runs WHERE policy = :policy AND target = :target "
            "AND stage IN ('holding', 'undoing') AND id <> :run",
            where,
        )
        steps = (step for (doc,) in holding for step in _run.decode(doc).steps.values())
        spent = self._rows(_BUDGET_ACTS, where) if scope.budget else ()
        failures = self._rows(_FAILURES, where) if scope.failure_window else ()
        return Seen(
            now=self.now,
            use=Use(
                last_act=moment_or_none(last_act),
                last_denial=moment_or_none(last_denial),
                target_acts=tuple(moment(at) for (at,) in self._rows(_TARGET_ACTS, where)),
                policy_acts=tuple(moment(at) for (at,) in self._rows(_POLICY_ACTS, where)),
                budget_acts=tuple(Spent(by, moment(at)) for by, at in spent),
                failures=tuple(moment(at) for (at,) in failures),
                open_runs=open_runs,
                safe_plays={what: moment(at) for what, at in self._rows(_SAFE_PLAYS, where)},
            ),
            halts=with_doubts((_halt.decode(doc) for (doc,) in halts), self._doubts),
            holder=holder,
            held=frozenset(step.name for step in steps if step.to_go),
        )

    async def count(self, scope: Scope, counted: Counted) -> None:
        row = {
            "policy": scope.policy,
            "target": scope.target,
            "run": scope.run,
            "kind": counted.kind,
            "what": counted.what,
            "at": micros(self.now),
            "shadow": scope.shadow,
            "budget": scope.budget,
        }
        self._execute(
            "INSERT INTO acts (policy, target, run, kind, what, at, shadow, budget) "
            "VALUES (:policy, :target, :run, :kind, :what, :at, :shadow, :budget)",
            row,
        )
        if counted.kind == "safe":
            self._execute(_FORGET_OLDER_PLAYS, row)

    async def policy_counts(self) -> list[PolicyCount]:
        rows = self._rows(
            "SELECT policy, outcome, sum(ended) FROM ("
            "SELECT policy, outcome, count(*) AS ended FROM runs WHERE stage = 'closed' "
            "AND outcome IS NOT NULL GROUP BY policy, outcome UNION ALL "
            "SELECT policy, outcome, runs FROM pruned WHERE outcome <> '') "
            "GROUP BY policy, outcome ORDER BY policy, outcome"
        )
        return [PolicyCount(*row) for row in rows]

    async def stage_counts(self) -> list[StageCount]:
        rows = self._rows(
            "SELECT policy, stage, count(*) FROM runs WHERE stage <> 'closed' "
            "GROUP BY policy, stage ORDER BY policy, stage"
        )
        return [StageCount(*row) for row in rows]
