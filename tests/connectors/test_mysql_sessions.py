"""mysql.kill against a real MariaDB: who is ended, who is left alone, and what a broken line leaves known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from remediator.connectors.mysql import KILL, Mysql, MysqlSettings
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.mysqlproxy import line
from tests.rig.mariadb import LOGIN, PASSWORD, MariaDB

pytestmark = [pytest.mark.real, pytest.mark.needs("mariadb")]

Make = Callable[..., Mysql]
Opens = Callable[..., Any]


@pytest.fixture(scope="module")
def logins(mariadb: MariaDB) -> str:
    """A database that two applications use."""
    name = mariadb.fresh("CREATE TABLE t (id INT)")
    for user in ("shop", "report", "Shop", "shöp", LOGIN.capitalize()):
        mariadb.run(f"CREATE USER `{user}` IDENTIFIED BY 'x'", f"GRANT ALL ON {name}.* TO `{user}`")
    return name


@pytest.fixture
def opens(mariadb: MariaDB, logins: str) -> Iterator[Opens]:
    """Sessions of applications, which have idled for longer than a second."""
    opened: list[Any] = []

    def session(user: str = "shop", *, idle: float = 1.1) -> Any:
        connection = mariadb.connected(logins, user, "x")
        opened.append(connection)
        if idle:
            wait(mariadb, connection, idle)
        return connection

    yield session
    for one in opened:
        if one.open:
            one.close()


def wait(mariadb: MariaDB, connection: Any, seconds: float) -> None:
    number = connection.thread_id()
    mariadb.run(
        "SET @until = NOW(6) + INTERVAL 5 SECOND",
        f"""BEGIN NOT ATOMIC WHILE NOW(6) < @until AND (SELECT time_ms FROM information_schema.processlist
            WHERE id = {number}) < {seconds * 1000} DO DO SLEEP(0.02); END WHILE; END""",
    )


@pytest.fixture
async def make(mariadb: MariaDB, logins: str) -> AsyncIterator[Make]:
    made: list[Mysql] = []

    def build(port: int = 0, **more: object) -> Mysql:
        given = {
            "url": f"mysql://127.0.0.1:{port or mariadb.port}/{logins}",
            "username": LOGIN,
            "password": PASSWORD,
            "users": ["shop"],
            "sessions": 10,
        }
        made.append(Mysql(MysqlSettings.model_validate({**given, **more})))
        return made[-1]

    yield build
    for one in made:
        await one.close()


def kill(rows: object = None, **more: object) -> Call:
    given = {"state": "idle", "longer_than": "1s", "rows": rows or {"at_most": 5}}
    return Call(KILL.name, "shop", {**given, **more})


async def ended(mysql: Mysql, call: Call, shown: Picture | None = None, **order: Any) -> Any:
    return await mysql.act(call, order=Order("run-1/kill", shown, **order), timeout=8)


def there(mariadb: MariaDB, connection: Any) -> bool:
    number = connection.thread_id()
    return bool(mariadb.run(f"SELECT 1 FROM information_schema.processlist WHERE id = {number}"))


async def test_idle_sessions_of_listed_logins_end_and_nobody_else_s(
    mariadb: MariaDB, make: Make, opens: Opens, logins: str
) -> None:
    young, other = opens(idle=0), opens("report", idle=0)
    idle = opens()
    young.ping(reconnect=False)  # it has just said something
    picture = await make().preview(kill(), timeout=5)
    (row,) = picture.rows
    assert picture.text == "ends 1 session idle for longer than 1 s"
    assert row["key"]["id"] == idle.thread_id() and row["key"]["user"] == "shop"
    assert row["before"] == {"db": logins, "command": "Sleep", "in_transaction": False}
    assert row["after"] == {}
    told = await ended(make(), kill(), picture)
    assert told == Done({"rows": 1, "ended": [{**row["key"], **row["before"]}], "left": []})
    assert [there(mariadb, one) for one in (idle, young, other)] == [False, True, True]
    assert await ended(make(), kill(), picture) == Done({"rows": 0, "ended": [], "left": [row["key"]]})


async def test_a_login_is_meant_letter_for_letter_whatever_the_server_takes_for_the_same(
    mariadb: MariaDB, make: Make, opens: Opens
) -> None:
    alike = [opens(user, idle=0) for user in ("Shop", "shöp", LOGIN.capitalize())]
    idle = opens()
    for one in alike:
        wait(mariadb, one, 1.1)
    (row,) = (await make().preview(kill(), timeout=5)).rows
    assert row["key"]["id"] == idle.thread_id()
    pretender = {**row, "key": {**row["key"], "id": alike[0].thread_id(), "user": "Shop"}}
    told = await ended(make(), kill(), Picture(1, "", (pretender,)))
    assert told == Done({"rows": 0, "ended": [], "left": [pretender["key"]]})
    told = await ended(make(users=[LOGIN.capitalize()]), kill({"exactly": 1}))
    assert isinstance(told, Done) and told.result["ended"][0]["id"] == alike[2].thread_id()
    assert [there(mariadb, one) for one in (*alike, idle)] == [True, True, False, True]


async def test_one_in_a_transaction_is_not_idle_and_is_ended_only_by_that_name(
    mariadb: MariaDB, make: Make, opens: Opens
) -> None:
    holding, reader = opens(idle=0), opens(idle=0)
    for one, said in ((holding, "INSERT INTO t VALUES (7)"), (reader, "SELECT * FROM t")):
        one.autocommit(False)
        one.cursor().execute(said)
    idle = opens()
    for one in (holding, reader):
        wait(mariadb, one, 1.1)
    both = {holding.thread_id(), reader.thread_id()}
    picture = await make().preview(kill(), timeout=5)
    assert [row["key"]["id"] for row in picture.rows] == [idle.thread_id()]
    shown = await make().preview(kill(state="idle in transaction"), timeout=5)
    assert shown.text == "ends 2 sessions idle in transaction for longer than 1 s"
    assert {row["key"]["id"] for row in shown.rows} == both
    assert all(row["before"]["in_transaction"] is True for row in shown.rows)
    told = await ended(make(), kill(), shown)  # seen so, and asked for as idle: they are not
    assert isinstance(told, Done) and told.result["ended"] == []
    assert there(mariadb, holding) and there(mariadb, reader)
    told = await ended(make(), kill(state="idle in transaction"), shown)
    assert isinstance(told, Done) and {one["id"] for one in told.result["ended"]} == both
    assert there(mariadb, idle)


async def test_one_that_became_busy_or_is_another_since_is_left_alone(
    mariadb: MariaDB, make: Make, opens: Opens
) -> None:
    idle, later = opens(idle=0), opens()
    wait(mariadb, idle, 1.1)
    picture = await make().preview(kill(), timeout=5)
    assert picture.count == 2
    third = opens()
    idle.ping(reconnect=False)
    told = await ended(make(), kill(), picture)
    assert isinstance(told, Done)
    assert [one["id"] for one in told.result["ended"]] == [later.thread_id()]
    assert [one["id"] for one in told.result["left"]] == [idle.thread_id()]
    assert [there(mariadb, one) for one in (idle, later, third)] == [True, False, True]


async def test_statements_that_run_too_long_are_ended_too(mariadb: MariaDB, make: Make, opens: Opens) -> None:
    busy = opens(idle=0)
    busy._execute_command(3, "SELECT SLEEP(20)")
    wait(mariadb, busy, 1.1)
    told = await ended(make(), kill({"exactly": 1}, state="busy", user="shop"))
    assert isinstance(told, Done) and told.result["ended"][0]["command"] == "Query"
    assert not there(mariadb, busy)


async def test_more_than_the_step_allows_are_none(mariadb: MariaDB, make: Make, opens: Opens) -> None:
    both = opens(idle=0), opens()
    wait(mariadb, both[0], 1.1)
    told = await ended(make(), kill({"at_most": 1}))
    assert told == Refused("never sent: it would end more than 1 session")
    with pytest.raises(ConnectorError, match="would end more than 1 session"):
        await make().preview(kill({"at_most": 1}), timeout=5)
    assert all(there(mariadb, one) for one in both)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (kill(state="asleep"), "state must be one of idle, idle in transaction, busy"),
        (kill(longer_than=300), "longer_than and user texts"),
        (kill(longer_than="soon"), "'soon' is not a duration"),
        (kill(longer_than="0s"), "longer_than must be a second at least"),
        (kill(user="report"), "lists no such login whose sessions may be ended: shop; see users"),
        (kill(user="shop' OR user <> '"), "lists no such login"),
        (kill({"at_most": 11}), "11 sessions are more than the connection allows (10)"),
        (kill({"at_least": 1}), "it is not said how many sessions"),
    ],
)
async def test_what_may_not_be_asked_is_never_sent(make: Make, call: Call, problem: str) -> None:
    told = await ended(make(1), call)
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ") and problem in told.reason


async def test_a_login_that_sees_too_little_is_told_instead_of_nothing_found(
    mariadb: MariaDB, make: Make, opens: Opens
) -> None:
    opens(idle=0)
    with pytest.raises(ConnectorError, match="may not see what others do; GRANT PROCESS"):
        await make(username="report", password="x").preview(kill(), timeout=5)


async def test_a_lease_that_is_over_lets_nothing_happen(mariadb: MariaDB, make: Make, opens: Opens) -> None:
    idle = opens()
    told = await ended(make(), kill(), late=lambda: "this replica's lease was over")
    assert told == Refused("never sent: this replica's lease was over")
    assert there(mariadb, idle)


@pytest.mark.parametrize(
    "does", ["swallows and resets", "passes on and closes", "swallows and garbage", "passes"]
)
async def test_a_session_is_told_once_however_the_line_breaks(
    mariadb: MariaDB, make: Make, opens: Opens, does: str
) -> None:
    idle = opens()
    async with line(mariadb.port, b"KILL", does) as between:
        told = await ended(make(between.port), kill())
    assert between.heard == [f"KILL CONNECTION {idle.thread_id()}".encode()]
    assert between.connections == 1
    if does == "passes":
        assert isinstance(told, Done), told
    else:
        assert isinstance(told, Unknown), told
        assert told.reason.startswith(f"{idle.thread_id()} told to end, and then: ")
