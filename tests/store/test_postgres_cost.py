"""What a decision costs on PostgreSQL: its round trips, and that nothing it asks grows with history."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from remediator.core.alert import Delivery
from remediator.core.evidence import Reading
from remediator.core.messages import Act, Done, Probe, ProbeRead, StepFinished
from remediator.core.policyset import PolicySet
from remediator.ports import NOTHING, Ahead, Pending, Tx
from remediator.store import postgres_runs, postgres_session, postgres_tx
from remediator.store.postgres_alerts import CLAIM_INBOX, WAKE_SOME
from remediator.store.postgres_runs import CLAIM_RUN, OPEN_RUN, RUNS_OF_ALERT
from remediator.store.postgres_session import parts
from tests.core.campaign import CATALOG, budget_probe, policy, post
from tests.engine.world import Engine, alert
from tests.rig.postgres import Server
from tests.store.postgres_rig import TEMPLATE, PostgresRig
from tests.store.samples import NOON, delivery, scope

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]


@pytest.fixture
async def rig(server: Server, store_database: str) -> AsyncIterator[PostgresRig]:
    rig = PostgresRig(server, store_database)
    yield rig
    await rig.close()
    await rig.clean()


def _event(one: Pending, now: Any) -> Any:
    match one.effect:
        case Act(step=step, attempt=attempt, undo=undo):
            return StepFinished(step, attempt, undo, Done())
        case Probe(round=number, key=key):
            return ProbeRead(number, key, Reading(now, ok=True, value={"value": 1.0}))
    return None


async def _a_run(one: Engine, rig: PostgresRig, number: int) -> dict[str, list[int]]:
    """A run of its own from its alert to its end; the round trips of each transaction, by what it was for."""
    cost: dict[str, list[int]] = {}

    async def costs(what: str, work: Any, ahead: Ahead = NOTHING) -> None:
        before = len(rig.trouble.asked)
        done = await one.store.transact(work, ahead)
        cost.setdefault(what, []).append(len(rig.trouble.asked) - before)
        one.pending += getattr(done, "pending", [])

    heard = delivery().__class__(
        source="alertmanager", alerts=(alert(f"f{number}", campaign=f"c-{number}"),), received_at=NOON
    )
    await costs("accept", lambda tx: tx.put_delivery(heard))

    async def admit(tx: Tx) -> Any:
        (received,) = await tx.claim_inbox(10, 10)
        return await one.decisions.admit(tx, received)

    await costs("open", admit)
    while one.pending:
        pending = one.pending.pop(0)
        event = _event(pending, NOON)
        if event is not None:
            work = partial(one.decisions.advance, run_id=pending.run, event=event, effect=pending.id)
            await costs("advance", work, Ahead(run=pending.run, effect=pending.id))
    return cost


async def test_a_decision_takes_four_round_trips(rig: PostgresRig) -> None:
    store = await rig.opened()
    one = Engine(store, rig.clock, PolicySet.of((), CATALOG))  # type: ignore[arg-type]
    one.runs_with(policy({"pause": post("/pause/${campaign}")}, diagnose=budget_probe()))
    await _a_run(one, rig, 1)  # statements are prepared once for each connection
    cost = await _a_run(one, rig, 2)
    (first, second) = await one.runs()
    assert (first.stage, second.stage) == ("closed", "closed")
    assert len(cost["advance"]) >= 2
    assert max(cost["advance"]) <= 4, cost
    assert cost["accept"] == [4]
    ends = [sql for sql in rig.trouble.asked if "COMMIT" in sql]
    assert set(ends[-3:]) == {postgres_session.FINISH}, (
        "whoever waits for its locks would wait for the daemon"
    )
    assert max(cost["open"]) <= 8, cost


async def test_a_hundred_alerts_of_one_run_are_one_row_written_once(rig: PostgresRig) -> None:
    """Each wrote the run whole, and asked again what it was bound by: the cost grew with their cube."""
    store = await rig.opened()
    one = Engine(store, rig.clock, PolicySet.of((), CATALOG))  # type: ignore[arg-type]
    one.runs_with(policy({"pause": post("/pause")}, params={}, target="campaign/all"))
    await one.delivers(*(alert(f"first-{number}") for number in range(10)))
    names, kinds = [f"then-{number}" for number in range(100)], []
    heard = Delivery(source="alertmanager", alerts=tuple(alert(name) for name in names), received_at=NOON)
    await store.transact(lambda tx: tx.put_delivery(heard))
    before = len(rig.trouble.asked)

    async def admit(tx: Any) -> None:
        (received,) = await tx.claim_inbox(10, 100)
        await one.decisions.admit(tx, received)
        kinds.extend(tx.writes.kinds)

    await store.transact(admit)
    assert (kinds.count("run"), kinds.count("members")) == (1, 1)
    assert len(rig.trouble.asked) - before <= 9
    (run,) = await one.runs()
    assert len(run.members) == 110
    assert [one.id for one in await store.read(lambda tx: tx.runs_of_alert("then-99"))] == [run.id]
    await one.delivers(*(alert(name, firing=False) for name in [*names, *run.members]))
    (run,) = await one.runs()
    assert run.resolved_at is not None


_MANY = """
INSERT INTO runs (id, policy, target, version, shadow, stage, open, locks, wake_at, opened_at, doc)
 SELECT 'r' || n, 'p' || n % 50, 't' || n, 'v1', false, 'waiting', true, false, n, n, '{}'
 FROM generate_series(1, 20000) AS n;
INSERT INTO members SELECT 'f' || n, 'r' || n FROM generate_series(1, 20000) AS n;
INSERT INTO journal SELECT 'r' || n % 20000, n / 20000 + 1, n, 'k', '{}', '', ''
 FROM generate_series(1, 100000) AS n;
INSERT INTO heads SELECT 'r' || n, 5, '' FROM generate_series(1, 20000) AS n;
INSERT INTO acts (policy, target, run, kind, what, at, shadow, budget)
 SELECT 'p' || n % 50, 't' || n, 'r' || n, 'act', '', n, false, 'b' || n % 9
 FROM generate_series(1, 20000) AS n;
INSERT INTO inbox SELECT n, '{}', n FROM generate_series(1, 20000) AS n;
INSERT INTO waiting SELECT n FROM generate_series(19000, 20000) AS n;
INSERT INTO dispositions SELECT 'p' || n % 50, 'f' || n, 'refused', n, n, '', '{}'
 FROM generate_series(1, 20000) AS n;
INSERT INTO effects SELECT n, 'r' || n, 'Probe', '{}', 'd' || n % 3 FROM generate_series(1, 20000) AS n;
INSERT INTO pages SELECT 'p' || n, 'k' || n, '', true, n, n, '{}' FROM generate_series(1, 5000) AS n;
INSERT INTO alerts SELECT 'f' || n, true, 's', n, '{}' FROM generate_series(1, 20000) AS n;
ANALYZE"""

ASKED: dict[str, tuple[Any, ...]] = {
    CLAIM_INBOX: (64, 100, []),
    WAKE_SOME: ("halt", 9000, 10_000),
    postgres_tx.DUE_RUNS: (9000, 64),
    postgres_tx.DUE_AGAIN: (9000, 64),
    postgres_tx.DUE_PAGES: (9000, 64),
    postgres_tx.NEXT_DUE: (),
    postgres_tx.HOLDERS: ("d9",),
    postgres_runs.OPEN_RUNS: (),
    postgres_runs.ASIDE: (),
    postgres_runs.PUT_ASIDE: ("r77", 9000, "", 8000),
    CLAIM_RUN: ("r77", 9000),
    OPEN_RUN: ("p7", "t7"),
    RUNS_OF_ALERT: ("f7",),
    "SELECT seen($1, $2)": (list(parts(scope("r7", policy="p7", target="t7", budget="b1"))), 9000),
    postgres_session.LOOK: ("d1", None, [], "r78", 78, [True, True]),
    "SELECT * FROM hear($1, $2, $3)": (["1alert:f7"], True, ["f7"]),
}
"""Every question that is asked while the daemon works, and one of everything inside the functions."""

_SMALL = {"meta", "replicas", "sets", "halts", "open_runs"}
"""Tables of a few rows. (Of halts only those in force are read, by their index.)"""


async def test_what_is_asked_while_the_daemon_works_takes_an_index(
    server: Server, store_database: str
) -> None:
    database = await server.copy(TEMPLATE)
    async with server.connected(database) as connection:
        await connection.execute(f"SET search_path = remediator; {_MANY}")
    pool = PostgresRig(server, database)
    store = await pool.opened()
    connection = await store._pool.dial()  # type: ignore[attr-defined] # with its session's settings
    plans: list[str] = []
    connection.add_log_listener(lambda _, message: plans.append(message.message))
    await connection.execute(
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET client_min_messages = log;"
        "SET auto_explain.log_nested_statements = on"
    )
    for sql, arguments in ASKED.items():
        before = len(plans)
        await connection.fetch(sql, *arguments)
        assert len(plans) > before, sql
    await connection.close()
    await pool.close()
    for plan in plans:
        for table in re.findall(r"Seq Scan on (\w+)", plan):
            assert table in _SMALL, plan
    whole = "\n".join(plans)
    for index in ("runs_wake", "dispositions_again", "pages_next", "acts_on_target", "acts_of_policy",
                  "acts_of_budget", "effects_held", "waiting_pkey", "members_pkey",
                  "runs_one_open"):  # fmt: skip
        assert index in whole, f"{index} is not used"
