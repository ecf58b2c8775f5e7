"""mysql.query and mysql.execute against a real MariaDB, and what is known when the line breaks."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from remediator.connectors.mysql import EXECUTE, QUERY, Mysql, MysqlSettings
from remediator.connectors.mysql.link import Link
from remediator.connectors.mysql.statement import Prepared
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.mysqlproxy import line
from tests.connectors.peers import a_port_where_nobody_answers, a_port_where_nobody_listens
from tests.rig.mariadb import LOGIN, PASSWORD, MariaDB

pytestmark = [pytest.mark.real, pytest.mark.needs("mariadb")]

TABLES = (
    """CREATE TABLE jobs (id VARCHAR(200) PRIMARY KEY, queue VARCHAR(40) NOT NULL, tries INT NOT NULL,
        fee DECIMAL(20,4), due DATETIME, seen TIMESTAMP NULL, done BOOLEAN, raw BLOB) ENGINE=InnoDB""",
    """INSERT INTO jobs VALUES ('j-1', 'mail', 3, 0.07, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 1, 'x'),
        ('j-2', 'mail', 0, NULL, NULL, NULL, 0, X'ff')""",
    "INSERT INTO jobs SELECT CONCAT('bulk-', seq), 'bulk', 0, 1, NULL, NULL, 0, NULL FROM seq_1_to_20",
    "CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM",
    """CREATE TABLE marks (step VARCHAR(200) PRIMARY KEY, state VARCHAR(16) NOT NULL,
        at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB""",
)
JOB = {"pattern": "(?s).*"}
STATEMENTS: dict[str, dict[str, object]] = {
    "job": {"sql": "SELECT id, tries, fee, due, seen, done FROM jobs WHERE id = :job", "slots": {"job": JOB}},
    "raw": {"sql": "SELECT raw FROM jobs WHERE id = :job", "slots": {"job": JOB}},
    "bulk": {"sql": "SELECT id FROM jobs WHERE queue = 'bulk'", "rows": 5},
    "twins": {"sql": "SELECT id, id FROM jobs"},
    "slow": {"sql": "SELECT COUNT(*) AS n FROM seq_1_to_100000000 WHERE seq % 7 = 3"},
    "connections": {"sql": "SHOW GLOBAL STATUS LIKE 'Threads_connected'"},
    "sneaky": {"sql": "WITH a AS (SELECT 1) SELECT fire() AS fired"},
    "ledger": {
        "sql": "UPDATE jobs SET tries = tries + 1 WHERE id = :job",
        "slots": {"job": JOB},
        "preview": "SELECT id, tries FROM jobs WHERE id = :job",
    },
    "retry": {
        "sql": "UPDATE jobs SET tries = :now, fee = :fee WHERE queue = :queue AND tries = :was",
        "slots": {
            "queue": {"pattern": "[a-z]{1,9}"},
            "was": {"type": "int"},
            "now": {"type": "int", "max": 10},
            "fee": {"type": "number"},
        },
        "rows": 30,
    },
    "again": {
        "sql": "UPDATE jobs SET tries = 0 WHERE queue = :queue AND tries > 0",
        "slots": {"queue": {"pattern": "[a-z]{1,9}"}},
        "preview": """WITH stuck AS (SELECT id, tries, fee FROM jobs WHERE queue = :queue AND tries > 0)
            SELECT * FROM stuck ORDER BY id""",
    },
    "tell": {"sql": "INSERT INTO jobs (id, queue, tries) VALUES (:job, 'told', 0)", "slots": {"job": JOB}},
    "grow": {"sql": "UPDATE jobs SET queue = :queue WHERE id = 'j-1'", "slots": {"queue": JOB}},
    "old": {"sql": "DELETE FROM old WHERE id > 0"},
}


@pytest.fixture(scope="module")
def template(mariadb: MariaDB) -> list[str]:
    return []


@pytest.fixture
def database(mariadb: MariaDB, template: list[str]) -> str:
    if not template:
        template.append(mariadb.fresh(*TABLES))
    name = template[0]
    mariadb.run("DELETE FROM jobs", "DELETE FROM marks", *TABLES[1:3], database=name)
    return name


Make = Callable[..., Mysql]


@pytest.fixture
async def make(mariadb: MariaDB, database: str) -> AsyncIterator[Make]:
    made: list[Mysql] = []

    def build(port: int = 0, **more: object) -> Mysql:
        given = {
            "url": f"mysql://127.0.0.1:{port or mariadb.port}/{database}",
            "username": LOGIN,
            "password": PASSWORD,
            "statements": STATEMENTS,
            "marks": "marks",
        }
        made.append(Mysql(MysqlSettings.model_validate({**given, **more})))
        return made[-1]

    yield build
    for one in made:
        await one.close()


@dataclass
class Journal:
    """Keeps marks as the store does."""

    no: str = ""
    meanwhile: Callable[[], Awaitable[object]] | None = None
    marks: list[dict[str, Any]] = field(default_factory=list)

    async def mark(self, about: dict[str, Any]) -> str:
        self.marks.append(json.loads(json.dumps(about)))
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.no


def asks(statement: str, **slots: object) -> Call:
    return Call(QUERY.name, "shop", {"statement": statement, **({"slots": slots} if slots else {})})


def changes(statement: str, rows: object = 1, **slots: object) -> Call:
    bound = {"exactly": rows} if isinstance(rows, int) else rows
    given = {"statement": statement, "rows": bound, **({"slots": slots} if slots else {})}
    return Call(EXECUTE.name, "shop", given)


LEDGER = changes("ledger", job="j-1")


async def act(mysql: Mysql, call: Call, journal: Journal | None = None, *, timeout: float = 5) -> Result:
    order = Order("run-1/retry", mark=(journal or Journal()).mark)
    return await mysql.act(call, order=order, timeout=timeout)


async def asked_about(mysql: Mysql, journal: Journal) -> Result | None:
    return await mysql.inquire(LEDGER, journal.marks[0], timeout=5)


def tries(mariadb: MariaDB, database: str) -> int:
    ((found,),) = mariadb.run("SELECT tries FROM jobs WHERE id = 'j-1'", database=database)
    return int(found)


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


async def test_rows_are_plain_values_and_decimals_exact(make: Make) -> None:
    told = await make().read(asks("job", job="j-1"), timeout=5)
    row = {
        "id": "j-1",
        "tries": 3,
        "fee": Decimal("0.0700"),
        "due": "2026-01-02T03:04:05",
        "seen": "2026-01-02T00:04:05+00:00",  # the server's own zone is Nairobi's
        "done": 1,
    }
    assert told == {"rows": [row], "row": row, "count": 1}
    none = await make().read(asks("job", job="j-0"), timeout=5)
    assert none == {"rows": [], "row": None, "count": 0}
    (shown,) = (await make().read(asks("connections"), timeout=5))["rows"]
    assert shown["Variable_name"] == "Threads_connected"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (asks("bulk"), "it answers more than 5 rows"),
        (asks("twins"), "there are two columns 'id'; name one of them with AS"),
        (asks("raw", job="j-2"), "column raw: its bytes are no text"),
        (asks("jbo"), "not asked: the connection declares no statement 'jbo'; did you mean job"),
        (asks("ledger", job="j-1"), "not asked: ledger changes rows"),
        (asks("job"), "not asked: the slot job is empty"),
        (asks("sneaky"), "answered with an error: 1792, Cannot execute statement in a READ ONLY transaction"),
    ],
)
async def test_what_is_no_answer_is_told(
    make: Make, mariadb: MariaDB, database: str, call: Call, problem: str
) -> None:
    mariadb.run(
        "CREATE OR REPLACE FUNCTION fire() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM jobs; RETURN 1; "
        "END",
        f"GRANT EXECUTE ON {database}.* TO {LOGIN}",
        database=database,
    )
    with pytest.raises(ConnectorError) as error:
        await make().read(call, timeout=5)
    assert problem in str(error.value)


async def test_an_answer_that_is_too_big_is_not_fetched(make: Make) -> None:
    with pytest.raises(ConnectorError, match="it answers more than 40 bytes"):
        await make(bytes=40, statements={"all": {"sql": "SELECT id FROM jobs"}}).read(asks("all"), timeout=5)


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(make: Make) -> None:
    with pytest.raises(ConnectorError, match=r"1969, Query execution was interrupted|no answer within"):
        await make(timeout="100ms").read(asks("slow"), timeout=5)


async def test_what_is_wrong_with_the_way_is_told_without_the_password(make: Make) -> None:
    with pytest.raises(ConnectorError, match=r"Connection refused.*; is its url right\?"):
        await make(a_port_where_nobody_listens()).read(asks("bulk"), timeout=5)
    with pytest.raises(ConnectorError, match="1045, Access denied") as error:
        await make(password="canary-2").read(asks("bulk"), timeout=5)
    assert "canary" not in str(error.value)


# ── Changing ────────────────────────────────────────────────────────────────────────────────────


async def test_a_declared_statement_is_done_once_and_its_mark_says_so(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    mysql, journal = make(), Journal()
    assert await act(mysql, LEDGER, journal) == Done({"rows": 1})
    assert await asked_about(mysql, journal) == Done({"rows": 1})
    assert tries(mariadb, database) == 4


async def test_values_arrive_exactly_as_they_are(make: Make, mariadb: MariaDB, database: str) -> None:
    fee = Decimal("1234567890123456.0700")
    call = changes("retry", {"at_most": 20}, queue="bulk", was=0, now=7, fee=fee)
    assert await act(make(), call) == Done({"rows": 20})
    found = mariadb.run("SELECT DISTINCT tries, fee FROM jobs WHERE queue = 'bulk'", database=database)
    assert found == [(7, fee)]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            changes("retry", 19, queue="bulk", was=0, now=7, fee=1),
            "never committed: it changed more than 19 rows",
        ),
        (
            changes("retry", 21, queue="bulk", was=0, now=7, fee=1),
            "never committed: it changed 20 rows, not 21",
        ),
        (changes("ledger", job="j-0"), "never committed: it changed 0 rows, not 1"),
        (
            changes("retry", 31, queue="bulk", was=0, now=7, fee=1),
            "31 rows are more than the connection allows (30)",
        ),
        (changes("grow", queue="x" * 41), "never committed: 1406, Data too long for column"),
        (changes("old", {"at_most": 5}), "old could not be rolled back: it is no table of InnoDB"),
        (changes("job", job="j-1"), "never sent: job only reads"),
        (changes("retry", queue="BULK", was=0, now=7, fee=1), "queue: 'BULK' does not fit"),
        (changes("retry", queue="bulk", was=0, now=11, fee=1), "now: 11 is not within 0 to 10"),
        (changes("ledger", None, job="j-1"), "it is not said how many rows"),
    ],
)
async def test_what_does_not_fit_leaves_no_trace(
    make: Make, mariadb: MariaDB, database: str, call: Call, problem: str
) -> None:
    before = mariadb.run("SELECT * FROM jobs ORDER BY id", database=database)
    told = await act(make(), call)
    assert isinstance(told, Refused) and problem in told.reason, told
    assert mariadb.run("SELECT * FROM jobs ORDER BY id", database=database) == before
    assert mariadb.run("SELECT * FROM marks", database=database) == []


async def test_people_see_the_statement_its_values_and_what_its_preview_shows(make: Make) -> None:
    picture = await make().preview(LEDGER, timeout=5)
    assert picture.text == "sends UPDATE jobs SET tries = tries + 1 WHERE id = :job with job = 'j-1'"
    assert (picture.count, picture.rows) == (1, ({"id": "j-1", "tries": 3},))
    plain = await make().preview(changes("grow", queue="mail"), timeout=5)
    assert (plain.count, plain.rows) == (0, ())
    with pytest.raises(ConnectorError, match="declares no statement 'grwo'; did you mean grow"):
        await make().preview(changes("grwo"), timeout=5)


AGAIN = changes("again", {"at_most": 5}, queue="mail")


@pytest.mark.parametrize(
    "meanwhile",
    [
        "INSERT INTO jobs (id, queue, tries) VALUES ('j-9', 'mail', 3)",
        "DELETE FROM jobs WHERE id = 'j-1'",
        "UPDATE jobs SET id = 'j-7' WHERE id = 'j-1'",
        "UPDATE jobs SET tries = 4 WHERE id = 'j-1'",
    ],
)
async def test_what_is_otherwise_than_people_saw_is_not_changed(
    make: Make, mariadb: MariaDB, database: str, meanwhile: str
) -> None:
    mysql = make()
    seen = await mysql.preview(AGAIN, timeout=5)
    assert seen.rows == ({"id": "j-1", "tries": 3, "fee": Decimal("0.0700")},)
    order = Order("run-1/again", seen, Journal().mark)
    mariadb.run(meanwhile, database=database)
    before = mariadb.run("SELECT * FROM jobs ORDER BY id", database=database)
    told = await mysql.act(AGAIN, order=order, timeout=5)
    assert told == Refused("never sent: its preview answers otherwise than when it was approved; ask anew")
    assert mariadb.run("SELECT * FROM jobs ORDER BY id", database=database) == before
    fresh = Order("run-2/again", await mysql.preview(AGAIN, timeout=5), Journal().mark)
    assert isinstance(await mysql.act(AGAIN, order=fresh, timeout=5), Done)


async def test_between_the_last_look_and_the_change_nobody_comes_in(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    import pymysql

    mysql, said = make(timeout="30s"), []

    async def somebody_else() -> None:
        mariadb.run("SET SESSION innodb_lock_wait_timeout = 1")
        for statement in (
            "UPDATE jobs SET tries = 9 WHERE id = 'j-2'",
            "INSERT INTO jobs (id, queue, tries) VALUES ('j-9', 'mail', 3)",
        ):
            try:
                await asyncio.to_thread(mariadb.run, statement, database=database)
            except pymysql.err.OperationalError as error:
                said.append(str(error))

    seen = await mysql.preview(AGAIN, timeout=5)
    original = Link.prepared

    async def looked(link: Link, statement: Prepared, *rest: Any, **more: Any) -> Any:
        found = await original(link, statement, *rest, **more)
        if "FOR UPDATE" in statement.text:
            await somebody_else()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "prepared", looked)
        told = await mysql.act(AGAIN, order=Order("k", seen, Journal().mark), timeout=60)
    assert told == Done({"rows": 1})
    assert len(said) == 2 and all("Lock wait timeout" in one for one in said)


async def test_a_mark_that_was_not_kept_or_a_lease_that_is_over_lets_nothing_happen(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    mysql = make()
    told = await act(mysql, LEDGER, Journal(no="the run does not wait for it any more"))
    assert told == Refused("never committed: the run does not wait for it any more")
    order = Order("k", mark=Journal().mark, late=lambda: "this replica's lease was over")
    assert await mysql.act(LEDGER, order=order, timeout=5) == Refused(
        "never committed: this replica's lease was over"
    )
    told = await mysql.act(LEDGER, order=Order("k"), timeout=5)
    assert told == Refused("never sent: nothing would keep the mark of its transaction")
    assert tries(mariadb, database) == 3


async def test_one_that_is_open_still_is_not_given_up_and_afterwards_is_done(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    mysql, journal, seen = make(), Journal(), []

    async def somebody_looks() -> None:
        seen.append(await asked_about(make(), journal))

    journal.meanwhile = somebody_looks
    assert await act(mysql, LEDGER, journal) == Done({"rows": 1})
    assert seen == [None]
    assert await asked_about(mysql, journal) == Done({"rows": 1})
    assert tries(mariadb, database) == 4


async def test_one_that_was_given_up_can_come_to_be_no_more(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    journal = Journal(no="no")
    await act(make(), LEDGER, journal)
    given_up = Refused("it never came to be, and was given up")
    assert await asked_about(make(), journal) == given_up
    assert await asked_about(make(), journal) == given_up
    with pytest.raises(Exception, match="Duplicate entry"):
        mariadb.run(
            f"INSERT INTO marks (step, state) VALUES ('{journal.marks[0]['key']}', 'done')", database=database
        )


async def test_without_a_table_for_marks_a_lost_answer_stays_unknown(make: Make) -> None:
    mysql, journal, seen = make(marks=None), Journal(), []

    async def somebody_looks() -> None:
        seen.append(await asked_about(mysql, journal))

    journal.meanwhile = somebody_looks
    assert await act(mysql, LEDGER, journal) == Done({"rows": 1})
    assert seen == [None]
    told: object = None
    for _ in range(1000):  # until the server has seen the end of its session
        if told := await asked_about(mysql, journal):
            break
        await asyncio.sleep(0.02)
    assert isinstance(told, Unknown) and "names no table for marks" in told.reason
    assert await mysql.inquire(LEDGER, {}, timeout=5) == Unknown("its mark cannot be read")


async def test_a_read_only_server_is_left_alone(make: Make, mariadb: MariaDB, database: str) -> None:
    journal = Journal()
    mysql = make()
    await act(mysql, LEDGER, journal)
    mariadb.run("SET GLOBAL read_only = 1")
    try:
        told = await act(mysql, LEDGER)
        assert told == Refused("never sent: the server is read-only; is it a replica?")
        assert await asked_about(mysql, journal) is None
    finally:
        mariadb.run("SET GLOBAL read_only = 0")


HOSTILE = [
    "a'; DROP TABLE jobs; --",
    "' OR '1'='1",
    "\\' OR 1=1 -- ",
    "\\",
    '"',
    "`x`",
    "a\nb\r\n\tc",
    "/*!50000 DROP TABLE jobs */",
    "?",
    "%s %(a)s",
    ":job",
    "@remediator",
    "$(id)",
    "${now}",
    "{0}",
    "\u202egnp.exe",
    "ʼ \N{FULLWIDTH APOSTROPHE}",
    "\N{PILE OF POO}",
    "\x1a",
    b"bf27".hex(),
    "縗'",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_value_is_data_whatever_it_holds(
    make: Make, mariadb: MariaDB, database: str, text: str
) -> None:
    assert await act(make(), changes("tell", job=text)) == Done({"rows": 1})
    found = mariadb.run("SELECT id FROM jobs WHERE queue = 'told'", database=database)
    assert found == [(text,)]
    told = await make().read(asks("job", job=text), timeout=5)
    assert told["row"]["id"] == text


# ── The wire ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["closes", "resets", "hangs", "garbage"])
@pytest.mark.parametrize("when", ["swallows and", "passes on and"])
@pytest.mark.parametrize("marks", ["marks", None])
async def test_a_line_that_breaks_at_commit_hears_it_once_and_the_mark_tells(
    make: Make, mariadb: MariaDB, database: str, marks: str | None, when: str, how: str
) -> None:
    journal, wait = Journal(), 0.5 if how == "hangs" else 5
    async with line(mariadb.port, b"COMMIT", f"{when} {how}") as between:
        told = await act(make(between.port, marks=marks), LEDGER, journal, timeout=wait)
    assert isinstance(told, Unknown) and told.reason.startswith("COMMIT was sent, and then: "), told
    assert (between.heard, between.connections) == ([b"COMMIT"], 1)
    became = await asked_about(make(), journal)
    while became is None:
        became = await asked_about(make(), journal)
    done = tries(mariadb, database) == 4
    assert done is (when == "passes on and")
    if marks is None:
        assert isinstance(became, Unknown)
    else:
        assert became == (Done({"rows": 1}) if done else Refused("it never came to be, and was given up"))


@pytest.mark.parametrize(
    "watched", [b"SET SESSION", b"START", b"INSERT INTO `marks`", b"PREPARE", b"EXECUTE"]
)
@pytest.mark.parametrize("does", ["swallows and resets", "passes on and closes"])
async def test_a_line_that_breaks_before_commit_changed_nothing(
    make: Make, mariadb: MariaDB, database: str, watched: bytes, does: str
) -> None:
    async with line(mariadb.port, watched, does) as between:
        told = await act(make(between.port), LEDGER)
    assert isinstance(told, Refused) and told.reason.startswith("never committed: "), told
    assert (len(between.heard), between.connections) == (1, 1)
    assert tries(mariadb, database) == 3


async def test_an_act_that_is_cancelled_leaves_neither_thread_nor_session(
    make: Make, mariadb: MariaDB, database: str
) -> None:
    journal = Journal()
    async with line(mariadb.port, b"COMMIT", "swallows and hangs") as between:
        acting = asyncio.ensure_future(act(make(between.port), LEDGER, journal))
        while not between.heard:  # noqa: ASYNC110 - the peer's counter
            await asyncio.sleep(0.01)
        acting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await acting
    while await asked_about(make(), journal) is None:
        pass
    assert await asked_about(make(), journal) == Refused("it never came to be, and was given up")
    assert tries(mariadb, database) == 3


async def test_a_peer_that_is_not_there_or_never_takes_the_call_was_never_sent_anything(make: Make) -> None:
    told = await act(make(a_port_where_nobody_listens()), LEDGER)
    assert isinstance(told, Refused) and told.reason.startswith("never committed: ")
    with a_port_where_nobody_answers() as nobody:
        told = await act(make(nobody, timeout="300ms"), LEDGER)
    assert isinstance(told, Refused) and told.reason.startswith("never committed: ")


async def test_closing_lets_the_threads_end(make: Make) -> None:
    mysql = make()
    await mysql.read(asks("connections"), timeout=5)
    await mysql.close()
    await asyncio.sleep(0.05)
    assert not [one for one in threading.enumerate() if one.name.startswith("mysql") and one.is_alive()]
