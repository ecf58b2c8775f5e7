"""The part of a PostgreSQL transaction about runs: keeping them, finding them, and what bounds count."""

from __future__ import annotations

from datetime import datetime

import msgspec

from remediator.core.messages import Counted, Seen, Spent, Use
from remediator.core.run import Halt, Run, Stage
from remediator.ports import Aside, PolicyCount, RunFilter, Scope, StageCount
from remediator.store.doubts import with_doubts
from remediator.store.postgres_session import Session, parts
from remediator.store.postgres_writes import array, locks, members, plain, scope_keys, standing, waiting_key
from remediator.store.sqlite_rows import (
    micros,
    micros_or_none,
    moment,
    moment_or_none,
    readable,
    where_all,
)
from remediator.store.steady import Instant

SEEN = "SELECT seen($1, $2) AS facts"
OPEN_RUN = """SELECT id, doc, rev FROM runs WHERE policy = $1 AND target = $2 AND shadow IN (false, true)
 AND open ORDER BY shadow LIMIT 1"""
CLAIM_RUN = "SELECT doc, rev FROM runs WHERE id = $1 AND wake_at <= $2 FOR UPDATE SKIP LOCKED"
RUNS_OF_ALERT = """SELECT one.id, one.doc, one.rev FROM members JOIN runs AS one ON one.id = members.run
 WHERE members.fingerprint = $1"""
# "stage <> 'closed'" beside what implies it is by what the partial index runs_live is found.
OPEN_RUNS = """SELECT id FROM runs WHERE stage NOT IN ('closed', 'holding') AND stage <> 'closed'
 ORDER BY opened_at DESC, id DESC"""
PUT_ASIDE = """UPDATE runs SET wake_at = CASE WHEN wake_at > $4 THEN least(wake_at, $2) ELSE $2 END,
 aside = coalesce(nullif($3, ''), aside)
 WHERE id = (SELECT id FROM runs WHERE id = $1 AND stage <> 'closed' FOR UPDATE SKIP LOCKED)"""
ASIDE = "SELECT id, policy, target, aside FROM runs WHERE aside IS NOT NULL ORDER BY opened_at, id"

_FACTS = {"runs", "acts", "halts"}


class _Facts(msgspec.Struct, frozen=True):
    """What the function ``seen`` answers."""

    last_act: int | None
    last_denial: int | None
    open_runs: int
    holder: str | None
    target_acts: list[int]
    policy_acts: list[int]
    budget_acts: list[tuple[str, int]]
    failures: list[int]
    safe_plays: dict[str, int]
    halts: list[Halt]
    holding: list[Run]


_facts = msgspec.json.Decoder(_Facts)


class RunQuestions(Session):
    """Runs, as `remediator.ports.Tx` has them."""

    __slots__ = ()

    async def run(self, run_id: str) -> Run | None:
        if run_id not in self._known.runs:
            lock = " FOR UPDATE" if self._looked.writes else ""
            sql = f"SELECT doc, rev FROM runs WHERE id = $1{lock}"  # noqa: S608 - fixed pieces
            row = await self._row((), sql, plain(run_id))
            if row is None:
                return None
            self._learn_run(row)
            self._known.mine.add(run_id)
        return self._known.runs[run_id][0]

    async def claim_run(self, run_id: str) -> Run | None:
        if run_id == self._looked.run and run_id not in self._known.saved:
            wake_at = self._looked.wake_at
            return (
                self._known.runs[run_id][0] if wake_at is not None and wake_at <= micros(self.now) else None
            )
        row = await self._row({"runs"}, CLAIM_RUN, plain(run_id), micros(self.now))
        if row is None:
            return None
        self._known.mine.add(run_id)
        return self._learn_run(row)

    async def open_run(self, policy: str, target: str) -> Run | None:
        about = (one for one in self._known.saved.values() if (one.policy, one.target) == (policy, target))
        ours = list(about)
        written = next((one for one in ours if one.open and not one.observes), None)
        if written is not None:
            return written
        row = await self._row({"runs"} if ours else (), OPEN_RUN, plain(policy), plain(target))
        return self._learn_run(row) if row is not None else None

    async def runs_of_alert(self, fingerprint: str) -> list[Run]:
        known = self._known
        if fingerprint in known.runs_of:
            ids = set(known.runs_of[fingerprint]) | set(known.saved)
            found = [known.runs[one][0] for one in ids]
            found = [one for one in found if one.stage is not Stage.CLOSED and fingerprint in one.members]
        else:
            rows = await self._rows({"runs"}, RUNS_OF_ALERT, plain(fingerprint))
            found = [self._learn_run(row) for row in rows]
        return sorted(found, key=lambda one: (one.opened_at, one.id))

    async def runs(self, which: RunFilter) -> list[Run]:
        where = {
            "": [],
            "open": ["stage NOT IN ('closed', 'holding')", "stage <> 'closed'"],
            "closed": ["stage = 'closed'"],
        }.get(which.state, ["stage = $1", "stage <> 'closed'"])
        given = [which.state, plain(which.policy), plain(which.target), plain(which.before)]
        where = where + ["policy = $2"] * bool(which.policy) + ["target = $3"] * bool(which.target)
        if which.before:
            where.append("(opened_at, id) < (SELECT opened_at, id FROM runs WHERE id = $4)")
        rows = await self._rows(
            {"runs"},
            "WITH given AS (SELECT $1::text, $2::text, $3::text, $4::text) "  # noqa: S608 - fixed pieces
            f"SELECT doc, rev FROM runs {where_all(where)} ORDER BY opened_at DESC, id DESC LIMIT $5",
            *given,
            which.limit,
        )
        return readable(self._learn_run, rows)

    async def open_runs(self) -> list[str]:
        return [row["id"] for row in await self._rows({"runs"}, OPEN_RUNS)]

    async def put_aside(self, run_id: str, until: datetime, problem: str) -> None:
        await self._done({"runs"}, PUT_ASIDE, plain(run_id), micros(until), plain(problem), micros(self.now))

    async def aside(self) -> list[Aside]:
        return [Aside(*row) for row in await self._rows({"runs"}, ASIDE)]

    async def save_run(self, run: Run, wake_at: datetime | None) -> None:
        self._may_write()
        known, writes = self._known, self.writes
        old, rev = known.runs.get(run.id, (None, None))
        if old is None or standing(old) != standing(run):
            writes.keys |= {f"3policy:{run.policy}", f"4target:{run.target}"}
            writes.bound = writes.bound or old is None or (locks(run) and not locks(old))
        scope = known.scopes.get(run.id)
        row = (
            run.id, run.policy, run.target, run.version, run.observes, str(run.stage),
            run.open, locks(run), micros_or_none(wake_at), micros(run.opened_at),
            micros_or_none(run.closed_at), str(run.outcome) if run.outcome is not None else None, "",
            array(parts(scope)) if scope is not None else None,
        )  # fmt: skip
        waits = run.id in writes.rows and old is not None and standing(old) == standing(run)
        if waits:
            writes.put_again(writes.rows[run.id], *row)
        else:
            writes.rows[run.id] = writes.put("runs", "run", *row, rev)
        changed = old is None or set(members(old)) != set(members(run))
        if changed and run.id not in writes.members:
            writes.members[run.id] = writes.put("runs", "members", run.id, "")
        if rev is not None and run.id not in known.mine and run.id not in known.saved:
            writes.unlocked.append(run.id)
        if old is None and not self._looked.again:
            known.heads.setdefault(run.id, (0, "0" * 64))  # it is new, and so is its journal
        writes.runs.append(run)
        known.saved[run.id] = run
        known.runs[run.id] = (run, None if rev is None else rev + (not waits))
        known.seen = {one: what for one, what in known.seen.items() if one == run.id}

    async def seen(self, scope: Scope) -> Seen:
        known, asked = self._known, parts(scope)
        if scope.run:
            known.scopes[scope.run] = scope
        ahead = self._looked.seen
        halted = "halts" in self._changed | self.writes.tables
        if not halted and known.seen.get(scope.run, ((), ""))[0] == asked:  # its own writes change nothing
            return _as_seen(_facts.decode(known.seen[scope.run][1]), self._looked.instant)
        if ahead is not None and ahead[0] == asked and not _FACTS & (self._changed | self.writes.tables):
            text = ahead[1]
        else:
            row = await self._row(_FACTS, SEEN, [plain(one) for one in asked], micros(self.now))
            assert row is not None
            text = row["facts"]
        if scope.run:
            known.seen[scope.run] = asked, text
        if not scope_keys(scope) <= self._held:
            known.pending.append((scope, text))
        return _as_seen(_facts.decode(text), self._looked.instant)

    async def count(self, scope: Scope, counted: Counted) -> None:
        self._known.seen = {one: what for one, what in self._known.seen.items() if one == scope.run}
        self._put(
            "acts", "count", scope.policy, scope.target, scope.run, counted.kind, counted.what,
            scope.shadow, scope.budget,
        )  # fmt: skip
        self.writes.keys |= scope_keys(scope)
        self.writes.bound = self.writes.bound or counted.kind == "act"

    async def policy_counts(self) -> list[PolicyCount]:
        rows = await self._rows(
            {"runs"},
            "SELECT policy, outcome, sum(ended)::bigint FROM ("
            "SELECT policy, outcome, count(*) AS ended FROM runs WHERE stage = 'closed' "
            "AND outcome IS NOT NULL GROUP BY policy, outcome UNION ALL "
            "SELECT policy, outcome, runs FROM pruned WHERE outcome <> '') AS each "
            "GROUP BY policy, outcome ORDER BY policy, outcome",
        )
        return [PolicyCount(*row) for row in rows]

    async def stage_counts(self) -> list[StageCount]:
        rows = await self._rows(
            {"runs"},
            "SELECT policy, stage, count(*) FROM runs WHERE stage <> 'closed' "
            "GROUP BY policy, stage ORDER BY policy, stage",
        )
        return [StageCount(*row) for row in rows]

    def _waits(self, waits_for: str, *, woken: bool) -> str:
        """Who waits and who wakes them take turns, so that nobody begins to wait for what has just come."""
        key = waiting_key(waits_for)
        key = f"{key}!" if woken and key == "2halt" else key
        self.writes.keys.add(key)
        self.writes.bound = self.writes.bound or not woken
        return key


def _as_seen(facts: _Facts, instant: Instant) -> Seen:
    steps = (step for run in facts.holding for step in run.steps.values())
    return Seen(
        now=instant.now,
        use=Use(
            last_act=moment_or_none(facts.last_act),
            last_denial=moment_or_none(facts.last_denial),
            target_acts=tuple(moment(at) for at in facts.target_acts),
            policy_acts=tuple(moment(at) for at in facts.policy_acts),
            budget_acts=tuple(Spent(by, moment(at)) for by, at in facts.budget_acts),
            failures=tuple(moment(at) for at in facts.failures),
            open_runs=facts.open_runs,
            safe_plays={what: moment(at) for what, at in facts.safe_plays.items()},
        ),
        halts=with_doubts(facts.halts, instant.doubts),
        holder=facts.holder,
        held=frozenset(step.name for step in steps if step.to_go),
    )
