"""redis.info, redis.read and redis.command against a real Redis, and what is known when the line breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from remediator.connectors.redis import INFO, READ, RUN, Redis, RedisSettings
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.peers import a_port_where_nobody_answers, a_port_where_nobody_listens
from tests.rig.processes import Child
from tests.rig.redis import line, raw, running_redis

pytestmark = [pytest.mark.real, pytest.mark.needs("redis")]

COMMANDS = {
    "flush-cache": {"argv": ["FLUSHDB", "ASYNC"]},
    "count": {"argv": ["INCR", "ledger"], "risk": "disruptive"},
    "drop": {"argv": ["UNLINK", {"slot": "key", "pattern": "cache:[a-z0-9:]{1,40}"}], "risk": "safe"},
    "tell": {"argv": ["RPUSH", "told", {"slot": "text", "pattern": "(?s).*"}]},
    "grow": {"argv": ["CONFIG", "SET", "maxmemory", {"slot": "bytes", "type": "int", "max": 10**9}]},
    "evict": {"argv": ["CONFIG", "SET", "maxmemory-policy", "some"]},
    "purge": {"argv": ["MEMORY", "PURGE"]},
}


def settings(port: int, **more: object) -> RedisSettings:
    given = {"url": f"redis://127.0.0.1:{port}/0", "keys": ["queues:*", "cache:*", "h"], "commands": COMMANDS}
    return RedisSettings.model_validate({**given, **more})


@pytest.fixture(scope="module")
def server() -> Iterator[Child]:
    with running_redis() as child:
        yield child


@pytest.fixture
def port(server: Child) -> int:
    raw(server.port, "FLUSHALL")
    return server.port


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


def run(command: str, **slots: object) -> Call:
    return Call(RUN.name, "cache", {"command": command, **({"slots": slots} if slots else {})})


async def act(redis: Redis, call: Call, journal: Journal | None = None, *, timeout: float = 5) -> Result:
    order = Order("run-1/flush", mark=(journal or Journal()).mark)
    return await redis.act(call, order=order, timeout=timeout)


async def asked_about(redis: Redis, journal: Journal) -> Result | None:
    (mark,) = journal.marks
    return await redis.inquire(run("count"), mark, timeout=5)


async def read(redis: Redis, command: str, *rest: str) -> Any:
    args = {"command": command, **dict(zip(("key", "field"), rest, strict=False))}
    return (await redis.read(Call(READ.name, "cache", args), timeout=5))["value"]


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────


async def test_info_is_a_map_of_numbers_and_texts(port: int) -> None:
    raw(port, "SET", "cache:a", "1")
    told = await Redis(settings(port)).read(Call(INFO.name, "cache", {}), timeout=5)
    assert told["role"] == "master"
    assert told["keyspace_hits"] >= 0 and told["maxmemory_policy"] == "noeviction"
    assert told["db0"]["keys"] == 1
    stats = await Redis(settings(port)).read(Call(INFO.name, "cache", {"section": "stats"}), timeout=5)
    assert "keyspace_misses" in stats and "role" not in stats


async def test_each_reading_command_answers_as_redis_does(port: int) -> None:
    raw(port, "RPUSH", "queues:default", "a", "b")
    raw(port, "SETEX", "cache:a", "100", "text")
    raw(port, "HSET", "h", "field", "7")
    redis = Redis(settings(port))
    assert await read(redis, "LLEN", "queues:default") == 2
    assert await read(redis, "GET", "cache:a") == "text"
    assert await read(redis, "GET", "cache:none") is None
    assert 0 < await read(redis, "TTL", "cache:a") <= 100
    assert await read(redis, "TTL", "queues:default") == -1
    assert await read(redis, "EXISTS", "cache:none") == 0
    assert await read(redis, "TYPE", "h") == "hash"
    assert await read(redis, "HGET", "h", "field") == "7"
    assert await read(redis, "HEXISTS", "h", "other") == 0
    assert await read(redis, "DBSIZE") == 3


async def test_only_listed_keys_and_reading_commands_are_asked_about(port: int) -> None:
    redis = Redis(settings(port))
    with pytest.raises(
        ConnectorError, match=r"'sessions:1' is none of the keys that it lists: cache:\*, h, q"
    ):
        await read(redis, "GET", "sessions:1")
    with pytest.raises(ConnectorError, match="needs a key"):
        await read(redis, "FLUSHDB")
    with pytest.raises(ConnectorError, match="needs a key"):
        await read(redis, "KEYS", "cache:a")
    with pytest.raises(ConnectorError, match="HGET needs a field"):
        await read(redis, "HGET", "h")
    with pytest.raises(ConnectorError, match="takes no field"):
        await read(redis, "LLEN", "cache:a", "x")


async def test_a_value_that_is_too_long_is_an_error_and_is_not_fetched(port: int) -> None:
    raw(port, "SETRANGE", "cache:big", "70000", "x")
    raw(port, "SETBIT", "cache:odd", "0", "1")
    redis = Redis(settings(port))
    with pytest.raises(ConnectorError, match="70001 bytes, more than 65536"):
        await read(redis, "GET", "cache:big")
    assert await read(redis, "GET", "cache:odd") == "\N{REPLACEMENT CHARACTER}"


async def test_an_answer_that_is_too_long_is_never_held(port: int) -> None:
    raw(port, "SETRANGE", "big", "3000000", "x")
    commands = {"take": {"argv": ["GETDEL", "big"]}}
    redis, journal = Redis(settings(port, commands=commands)), Journal()
    told = await act(redis, run("take"), journal)
    assert told == Unknown("sent, and then: an answer of more than 1048576 bytes")
    assert await asked_about(redis, journal) == Done({"reply": None})
    assert raw(port, "EXISTS", "big") == ":0\r\n"


async def test_an_error_of_the_server_is_told_in_its_words(port: int) -> None:
    raw(port, "SET", "cache:a", "1")
    with pytest.raises(ConnectorError, match="cache: answered with an error: WRONGTYPE"):
        await read(Redis(settings(port)), "LLEN", "cache:a")


async def test_a_server_that_is_not_there_is_told_with_its_remedy() -> None:
    with pytest.raises(ConnectorError, match=r"Connect call failed.*; is its url right\?"):
        await read(Redis(settings(a_port_where_nobody_listens())), "DBSIZE")


async def test_a_wrong_password_is_told_without_it(port: int) -> None:
    redis = Redis(settings(port, username="ann", password="canary-1"))
    with pytest.raises(
        ConnectorError, match=r"invalid username-password pair.*are its username and password right\?"
    ) as error:
        await read(redis, "DBSIZE")
    assert "canary" not in str(error.value)


async def test_a_user_who_may_not_do_it_is_told_what_to_grant(port: int) -> None:
    raw(port, "ACL", "SETUSER", "bob", "on", ">canary-2", "~*", "+strlen")
    try:
        with pytest.raises(
            ConnectorError, match=r"no permissions to run the 'dbsize' command.*; ACL SETUSER"
        ):
            await read(Redis(settings(port, username="bob", password="canary-2")), "DBSIZE")
    finally:
        raw(port, "ACL", "DELUSER", "bob")


# ── Acting ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_declared_command_is_done_once_and_its_marker_says_so(port: int) -> None:
    redis, journal = Redis(settings(port)), Journal()
    assert await act(redis, run("count"), journal) == Done({"reply": 1})
    assert await asked_about(redis, journal) == Done({"reply": None})
    assert raw(port, "GET", "ledger") == "$1\r\n1\r\n"


async def test_a_flush_leaves_its_own_marker(port: int) -> None:
    raw(port, "SET", "cache:a", "1")
    redis, journal = Redis(settings(port)), Journal()
    assert await act(redis, run("flush-cache"), journal) == Done({"reply": "OK"})
    assert raw(port, "EXISTS", "cache:a") == ":0\r\n"
    assert await asked_about(redis, journal) == Done({"reply": None})


async def test_settings_of_the_server_that_are_listed_may_be_changed(port: int) -> None:
    assert await act(Redis(settings(port)), run("grow", bytes=500_000_000)) == Done({"reply": "OK"})
    assert "500000000" in raw(port, "CONFIG", "GET", "maxmemory")
    assert await act(Redis(settings(port)), run("grow", bytes=0)) == Done({"reply": "OK"})


async def test_people_see_the_very_command_and_where_it_goes(port: int) -> None:
    picture = await Redis(settings(port)).preview(run("drop", key="cache:a"), timeout=5)
    assert picture.text == f"sends UNLINK cache:a to database 0 of redis://127.0.0.1:{port}/0"
    with pytest.raises(ConnectorError, match="declares no command 'flush-cahce'; did you mean flush-cache"):
        await Redis(settings(port)).preview(run("flush-cahce"), timeout=5)


async def test_what_the_server_refuses_was_not_done(port: int) -> None:
    raw(port, "SET", "ledger", "no number")
    told = await act(Redis(settings(port)), run("count"))
    assert told == Refused("the server refused it: value is not an integer or out of range")


async def test_a_mark_that_was_not_kept_lets_nothing_happen(port: int) -> None:
    told = await act(Redis(settings(port)), run("count"), Journal(no="the run does not wait for it any more"))
    assert told == Refused("never sent: the run does not wait for it any more")
    assert raw(port, "EXISTS", "ledger") == ":0\r\n"


async def test_what_became_too_late_while_connecting_is_not_sent(port: int) -> None:
    order = Order("k", mark=Journal().mark, late=lambda: "this replica's lease was over")
    told = await Redis(settings(port)).act(run("count"), order=order, timeout=5)
    assert told == Refused("never sent: this replica's lease was over")
    assert raw(port, "EXISTS", "ledger") == ":0\r\n"


async def test_a_sender_that_wakes_after_it_was_given_up_does_nothing(port: int) -> None:
    redis, journal = Redis(settings(port)), Journal()

    async def somebody_looks() -> None:
        assert await asked_about(redis, journal) == Refused("it never came to be, and was given up")

    journal.meanwhile = somebody_looks
    assert await act(redis, run("count"), journal) == Refused("never done: its marker changed meanwhile")
    assert raw(port, "EXISTS", "ledger") == ":0\r\n"
    assert await asked_about(redis, journal) == Refused("it never came to be, and was given up")


@pytest.mark.parametrize("words", [("FLUSHALL",), ("DEL", "marker")])
async def test_a_marker_that_is_gone_tells_nothing(port: int, words: tuple[str, ...]) -> None:
    redis, journal = Redis(settings(port)), Journal()
    await act(redis, run("count"), journal)
    raw(port, *(journal.marks[0]["marker"] if word == "marker" else word for word in words))
    told = await asked_about(redis, journal)
    assert isinstance(told, Unknown) and "its marker is gone" in told.reason


async def test_another_server_than_the_one_that_was_asked_tells_nothing(port: int) -> None:
    redis, journal = Redis(settings(port)), Journal(no="no")
    await act(redis, run("count"), journal)
    journal.marks[0]["server"] = "f" * 40
    told = await asked_about(redis, journal)
    assert isinstance(told, Unknown) and "started anew since, or failed over" in told.reason
    assert isinstance(await redis.inquire(run("count"), {}, timeout=5), Unknown)


async def test_a_replica_is_refused_and_not_asked_what_became_of_it(port: int) -> None:
    redis, journal = Redis(settings(port)), Journal()
    await act(redis, run("count"), journal)
    raw(port, "REPLICAOF", "127.0.0.1", str(a_port_where_nobody_listens()))
    try:
        assert await act(redis, run("count")) == Refused("never sent: the server is a slave")
        with pytest.raises(ConnectorError, match=r"is a slave; is there a new master\?"):
            await asked_about(redis, journal)
    finally:
        raw(port, "REPLICAOF", "NO", "ONE")


async def test_a_full_server_takes_no_marker_and_is_told_to_be_given_more_memory_which_it_takes(
    port: int,
) -> None:
    raw(port, "CONFIG", "SET", "maxmemory", "1")
    try:
        told = await act(Redis(settings(port)), run("flush-cache"))
        assert isinstance(told, Refused) and told.reason.startswith("never sent: answered with an error: ")
        assert told.reason.endswith(
            "; raise maxmemory first: a declared CONFIG SET needs no room for a marker"
        )
        assert await act(Redis(settings(port)), run("grow", bytes=500_000_000)) == Done({"reply": "OK"})
        assert await act(Redis(settings(port)), run("flush-cache")) == Done({"reply": "OK"})
    finally:
        raw(port, "CONFIG", "SET", "maxmemory", "0")


async def test_whether_a_setting_was_made_the_server_says_itself(port: int) -> None:
    redis, journal = Redis(settings(port)), Journal()
    call = run("grow", bytes=500_000_000)
    try:
        assert await act(redis, call, journal) == Done({"reply": "OK"})
        (mark,) = journal.marks
        assert await redis.inquire(call, mark, timeout=5) == Done({"reply": None})
        raw(port, "CONFIG", "SET", "maxmemory", "400000000")
        assert await redis.inquire(call, mark, timeout=5) == Unknown(
            "maxmemory is 400000000: it was not set, or somebody has set it since"
        )
        told = await redis.inquire(run("purge"), mark, timeout=5)
        assert told == Unknown("nothing tells whether it was done")
    finally:
        raw(port, "CONFIG", "SET", "maxmemory", "0")


async def test_a_setting_that_somebody_made_since_is_left_alone(port: int) -> None:
    redis = Redis(settings(port))
    back = Call(RUN.name, "cache", {"command": "grow", "slots": {"bytes": 0}, "was": 500_000_000})
    picture = await redis.preview(back, timeout=5)
    assert picture.text.endswith("/0, while it is 500000000")
    try:
        assert await act(redis, run("grow", bytes=500_000_000)) == Done({"reply": "OK"})
        raw(port, "CONFIG", "SET", "maxmemory", "800000000")
        journal = Journal()
        assert await act(redis, back, journal) == Refused(
            "never sent: maxmemory is 800000000 and not 500000000: somebody has set it"
        )
        assert journal.marks == []
        raw(port, "CONFIG", "SET", "maxmemory", "500000000")
        assert await act(redis, back) == Done({"reply": "OK"})
    finally:
        raw(port, "CONFIG", "SET", "maxmemory", "0")
    other = Call(RUN.name, "cache", {"command": "count", "was": 1})
    told = await act(redis, other)
    assert told == Refused("never sent: only CONFIG SET knows what it was; leave `was` out")


async def test_a_setting_that_is_late_or_not_taken_is_not_made(port: int) -> None:
    call = run("grow", bytes=500_000_000)
    told = await act(Redis(settings(port)), call, Journal(no="the run does not wait for it any more"))
    assert told == Refused("never sent: the run does not wait for it any more")
    order = Order("k", mark=Journal().mark, late=lambda: "this replica's lease was over")
    assert await Redis(settings(port)).act(call, order=order, timeout=5) == Refused(
        "never sent: this replica's lease was over"
    )
    told = await act(Redis(settings(port)), run("evict"))
    assert isinstance(told, Refused) and told.reason.startswith("the server refused it: CONFIG SET failed")
    assert raw(port, "CONFIG", "GET", "maxmemory").split()[-1] == "0"


# ── Data is inert ───────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    "a b",
    "$5\r\nhello",
    "*1\r\n$8\r\nFLUSHALL",
    'x" FLUSHALL "',
    "a\nFLUSHALL",
    "$(id)",
    "`id`",
    "${now}",
    "{0} %s",
    "<!channel>",
    "'; DROP TABLE x; --",
    "\u202egnp.exe",
    "../../etc/passwd",
    "ʼ",
    "--all",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_value_is_one_word_or_is_refused(port: int, text: str) -> None:
    raw(port, "SET", "keep", "1")
    told = await act(Redis(settings(port)), run("tell", text=text))
    assert raw(port, "EXISTS", "keep") == ":1\r\n"
    if any(char < " " for char in text) or text.startswith("-"):
        assert isinstance(told, Refused) and told.reason.startswith("never sent: text: ")
        assert raw(port, "EXISTS", "told") == ":0\r\n"
    else:
        assert told == Done({"reply": 1})
        assert raw(port, "LINDEX", "told", "0") == f"${len(text.encode())}\r\n{text}\r\n"


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (run("drop", key="cache:a b"), "key: 'cache:a b' does not fit"),
        (run("drop", key="sessions:1"), "does not fit"),
        (run("drop", key=["cache:a", "cache:b"]), "is no text"),
        (run("drop", key=""), "must have 1 to 4096 characters"),
        (run("drop"), "the slot key is empty"),
        (run("drop", key="cache:a", more="cache:b"), "it has no slot 'more'; its slots: key"),
        (run("grow", bytes="1"), "'1' is no whole number"),
        (run("grow", bytes=True), "True is no whole number"),
        (run("grow", bytes=-1), "-1 is not within 0 to 1000000000"),
        (run("eval"), "declares no command 'eval'"),
        (Call(RUN.name, "cache", {"command": "drop", "slots": ["cache:a"]}), "slots must be a map"),
    ],
)
async def test_what_no_slot_takes_is_never_sent(port: int, call: Call, problem: str) -> None:
    told = await act(Redis(settings(port)), call)
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ") and problem in told.reason


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (
            ["EVAL", "return 1", "0"],
            "EVAL return 1 may not be declared; commands that only change data may be",
        ),
        (["SHUTDOWN"], "may not be declared"),
        (["CONFIG", "SET", "dir", "/etc"], "CONFIG SET may set one of maxmemory"),
        (["CONFIG", "SET", {"slot": "name", "pattern": ".*"}, "1"], "CONFIG SET may set one of maxmemory"),
        ([{"slot": "what", "pattern": ".*"}], "the first word says what is done"),
        (["DEL", {"slot": "key"}], "a slot needs a pattern"),
        (["DEL", {"slot": "key", "pattern": "("}], "is not an RE2 pattern"),
        (["DEL", {"slot": "Key", "pattern": "a"}], "is no name of a slot"),
        (["DEL", {"slot": "key", "type": "int", "pattern": "a"}], "of an int, say min and max"),
        (["DEL", {"slot": "key", "text": "a"}], "write a text, or one of slot: and secret:"),
        (["DEL", "a\nb"], "no NUL, newline or other control character"),
        (["DEL", 1], "1 is no word; write it in quotes"),
        ([], "the first word says what is done"),
    ],
)
def test_what_may_not_be_declared_is_told_at_load(argv: list[object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem.replace("(", r"\(").replace("'", "['\"]")):
        settings(1, commands={"it": {"argv": argv}})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "write redis://host:port/database"),
        ("redis://ann:pw@h", "may not hold credentials"),
        ("redis://h/zero", "write redis://"),
        ("redis://h:0", "write redis://"),
        ("redis://h:99999", "is not an address"),
        ("redis://h?db=1", "write redis://"),
    ],
)
def test_an_address_is_one_server_and_nothing_more(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(1, url=url)


# ── The wire ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["closes", "resets", "hangs", "garbage"])
@pytest.mark.parametrize("when", ["swallows and", "passes on and"])
async def test_a_line_that_breaks_at_exec_sees_it_once_and_the_marker_tells(
    port: int, when: str, how: str
) -> None:
    journal, wait = Journal(), 1.0 if how == "hangs" else 5
    async with line(port, f"{when} {how}") as between:
        told = await act(Redis(settings(between.port)), run("count"), journal, timeout=wait)
    assert isinstance(told, Unknown) and told.reason.startswith("sent, and then: "), told
    assert (between.transactions, between.connections) == (1, 1)
    became = await asked_about(Redis(settings(port)), journal)
    done = raw(port, "GET", "ledger") == "$1\r\n1\r\n"
    assert done is (when == "passes on and")
    assert became == (Done({"reply": None}) if done else Refused("it never came to be, and was given up"))


@pytest.mark.parametrize("does", ["swallows and closes", "passes on and resets"])
async def test_a_setting_whose_answer_is_lost_was_sent_once_and_is_asked_about(port: int, does: str) -> None:
    journal, call = Journal(), run("grow", bytes=500_000_000)
    try:
        async with line(port, does, "maxmemory") as between:
            told = await act(Redis(settings(between.port)), call, journal)
        assert isinstance(told, Unknown) and told.reason.startswith("sent, and then: "), told
        assert (between.transactions, between.connections) == (1, 1)
        became = await Redis(settings(port)).inquire(call, journal.marks[0], timeout=5)
        assert isinstance(became, Done if does.startswith("passes") else Unknown)
    finally:
        raw(port, "CONFIG", "SET", "maxmemory", "0")


async def test_an_act_that_is_cancelled_leaves_nothing_open(port: int) -> None:
    journal = Journal()
    async with line(port, "swallows and hangs") as between:
        acting = asyncio.ensure_future(act(Redis(settings(between.port)), run("count"), journal))
        while not between.transactions:  # noqa: ASYNC110 - another task's counter
            await asyncio.sleep(0.01)
        acting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await acting
    assert await asked_about(Redis(settings(port)), journal) == Refused(
        "it never came to be, and was given up"
    )


async def test_a_peer_that_is_not_there_was_never_sent_anything() -> None:
    told = await act(Redis(settings(a_port_where_nobody_listens())), run("count"))
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ")


async def test_a_peer_that_never_takes_the_call_was_never_sent_anything() -> None:
    with a_port_where_nobody_answers() as nobody:
        told = await act(Redis(settings(nobody, timeout="1s")), run("count"))
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ")


async def test_redis_py_by_itself_would_send_it_again_and_again(port: int) -> None:
    # Keeps the reason alive: when this fails, redis-py has changed, and so may we.
    from redis.asyncio import Redis as Client

    heard = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        while data := await reader.read(65536):
            if b"INCR" in data:
                heard += 1
                break
            writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    peer = await asyncio.start_server(serve, "127.0.0.1", 0)
    there = peer.sockets[0].getsockname()[1]
    async with Client(host="127.0.0.1", port=there, protocol=2, socket_timeout=1) as client:
        sending = asyncio.ensure_future(client.incr("ledger"))
        while heard < 2 and not sending.done():  # noqa: ASYNC110 - the peer's counter
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    peer.close()
    assert heard >= 2
