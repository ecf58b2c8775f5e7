"""alertmanager.silence and its way back, against a real Alertmanager and peers that misbehave."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import ValidationError

from remediator.connectors.alertmanager import RESTORE, SILENCE, Alertmanager, AlertmanagerSettings
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.peers import (
    Behaviour,
    a_port_where_nobody_answers,
    a_port_where_nobody_listens,
    answers,
    closes,
    garbage,
    half,
    hangs,
    only_a_status_line,
    peer,
    resets,
)
from tests.rig.alertmanager import Alertmanager as Real
from tests.rig.alertmanager import running_alertmanager


@pytest.fixture(scope="module")
def server() -> Iterator[Real]:
    with running_alertmanager("http://127.0.0.1:9/nowhere", "t") as running:
        yield running


@dataclass
class Journal:
    """Keeps marks as the store does."""

    no: str = ""
    marks: list[dict[str, Any]] = field(default_factory=list)

    async def mark(self, about: dict[str, Any]) -> str:
        self.marks.append(json.loads(json.dumps(about)))
        return self.no

    def long_ago(self) -> dict[str, Any]:
        """The last mark, of something that would have arrived by now."""
        return {**self.marks[-1], "until": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}


def made(url: str, **more: object) -> Alertmanager:
    return Alertmanager(AlertmanagerSettings.model_validate({"url": url, **more}))


def silence(case: str, **more: object) -> Call:
    args = {"matchers": {"alertname": "HighCpu", "case": case}, "for": "1h", "comment": "a storm"}
    return Call(SILENCE.name, "am", {**args, **more})


def back(done: Result) -> Call:
    assert isinstance(done, Done), done
    return Call(RESTORE.name, "am", done.result["restore"])


async def act(connector: Alertmanager, call: Call, journal: Journal | None = None) -> Result:
    order = Order("run-1/quiet", mark=(journal or Journal()).mark, approved=("amina", "bob"))
    return await connector.act(call, order=order, timeout=5)


async def of(server: Real, case: str) -> list[dict[str, Any]]:
    """The silences of one story."""
    wanted = {"name": "case", "value": case, "isRegex": False, "isEqual": True}
    return [one for one in await server.silences() if wanted in one["matchers"]]


# ── What it silences ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.real
@pytest.mark.needs("alertmanager")
class TestARealOne:
    async def test_a_silence_says_who_agreed_to_what_and_ends_by_itself(self, server: Real) -> None:
        done = await act(made(server.url), silence("says"))
        (found,) = await of(server, "says")
        assert isinstance(done, Done) and done.result["silence"] == found["id"]
        assert found["createdBy"] == "remediator"
        assert found["comment"].startswith(
            "a storm. Remediator, step run-1/quiet; approved by amina, bob; mark "
        )
        assert found["status"] == {"state": "active"}
        assert {one["name"]: one["value"] for one in found["matchers"]} == {
            "alertname": "HighCpu",
            "case": "says",
        }
        lasts = datetime.fromisoformat(found["endsAt"]) - datetime.now(UTC)
        assert timedelta(minutes=59) < lasts <= timedelta(hours=1)
        assert datetime.fromisoformat(done.result["until"]) == datetime.fromisoformat(found["endsAt"])

    async def test_it_silences_what_people_were_shown_and_nothing_else(self, server: Real) -> None:
        def alert(**labels: str) -> dict[str, object]:
            return {"labels": {"case": "shown", **labels}}

        await server.post_all(
            [
                *(alert(alertname="HighCpu", severity="warning", instance=f"i{n}") for n in range(12)),
                alert(alertname="HighCpu", severity="critical"),
                alert(alertname="Else"),
                {"labels": {"alertname": "HighCpu", "case": "shown too"}},
            ]
        )
        picture = await made(server.url).preview(silence("shown"), timeout=5)
        assert picture.text == ('silences {alertname="HighCpu", case="shown"} for 1h; of what fires now:')
        assert picture.rows == (
            {"alertname": "HighCpu", "severity": "critical", "firing": "1"},
            {"alertname": "HighCpu", "severity": "warning", "firing": "up to 100"},
        )
        assert isinstance(await act(made(server.url), silence("shown")), Done)
        mine = [one for one in await server.alerts() if str(one["labels"]["case"]).startswith("shown")]
        silenced = [one["labels"] for one in mine if one["status"]["state"] == "suppressed"]
        assert len(silenced) == 13
        assert all(one["case"] == "shown" and one["alertname"] == "HighCpu" for one in silenced)
        again = await made(server.url).preview(silence("shown"), timeout=5)
        assert again.rows == () and again.text.endswith("nothing of it fires now")

    @pytest.mark.parametrize(
        "value",
        [
            ".*",
            'a"} or {b="',
            "a\\",
            'a",case=~".*',
            "a, b",
            "$(id)",
            "${now}",
            "{{ .Labels }}",
            "'; DROP TABLE x; --",
            "<!channel>",
            "\u202egnp.exe",
            "a b",
            "é ʼ",
        ],
    )
    async def test_a_value_is_one_equality_whatever_it_holds(self, server: Real, value: str) -> None:
        await server.post({"alertname": "HighCpu", "case": value})
        picture = await made(server.url).preview(silence(value), timeout=5)
        assert picture.rows == ({"alertname": "HighCpu", "severity": "", "firing": "1"},)
        assert isinstance(await act(made(server.url), silence(value)), Done)
        (found,) = await of(server, value)
        assert len(found["matchers"]) == 2
        silenced = [
            one["labels"]["case"]
            for one in await server.alerts()
            if found["id"] in one["status"]["silencedBy"]
        ]
        assert silenced == [value]

    async def test_it_is_lifted_before_its_time_and_a_second_time_nothing_happens(self, server: Real) -> None:
        connector, journal = made(server.url), Journal()
        call = back(await act(connector, silence("lifted")))
        assert await act(connector, call, journal) == Done({"silence": call.args["silence"]})
        (found,) = await of(server, "lifted")
        assert found["status"]["state"] == "expired"
        assert await connector.inquire(call, journal.marks[0], timeout=5) == Done(
            {"silence": call.args["silence"]}
        )
        assert await act(connector, call) == Done({"silence": call.args["silence"], "already": True})

    async def test_what_somebody_changed_since_is_left_alone(self, server: Real) -> None:
        connector = made(server.url)
        call = back(await act(connector, silence("changed")))
        (found,) = await of(server, "changed")
        later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
        mine = {key: found[key] for key in ("id", "matchers", "startsAt", "comment")}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{server.url}/api/v2/silences", json={**mine, "endsAt": later, "createdBy": "ann"}
            ) as answer,
        ):
            assert answer.status == 200
        told = await act(connector, call)
        assert isinstance(told, Done) and "was changed since (its author, its end; by ann)" in told.left
        assert [one["status"]["state"] for one in await of(server, "changed")] == ["active"]

    @pytest.mark.parametrize(
        ("case", "edit", "told"),
        [
            ("author", {"createdBy": "ann"}, "(its author; by ann)"),
            (
                "note",
                {"comment": "ann: keep it until the ticket is closed. {}"},
                "(its comment; by remediator)",
            ),
        ],
    )
    async def test_what_somebody_took_over_under_its_id_is_theirs(
        self, server: Real, case: str, edit: dict[str, str], told: str
    ) -> None:
        connector = made(server.url)
        call = back(await act(connector, silence(case)))
        (found,) = await of(server, case)
        mine = {key: found[key] for key in ("id", "matchers", "startsAt", "endsAt", "createdBy", "comment")}
        edited = {**mine, **{key: text.format(mine["comment"]) for key, text in edit.items()}}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.url}/api/v2/silences", json=edited) as answer,
        ):
            assert (await answer.json())["silenceID"] == found["id"]
        journal = Journal()
        left = await act(connector, call, journal)
        assert isinstance(left, Done) and told in left.left
        assert journal.marks == []
        assert [one["status"]["state"] for one in await of(server, case)] == ["active"]

    async def test_a_silence_that_is_not_there_needs_no_lifting(self, server: Real) -> None:
        gone = "00000000-0000-4000-8000-000000000000"
        call = Call(RESTORE.name, "am", {"silence": gone, "sent": {}})
        assert await act(made(server.url), call) == Done({"silence": gone, "already": True})

    async def test_a_lost_answer_is_settled_by_the_mark_in_the_comment(self, server: Real) -> None:
        connector, journal = made(server.url), Journal()
        done = await act(connector, silence("lost"), journal)
        told = await connector.inquire(silence("lost"), journal.marks[0], timeout=5)
        assert isinstance(told, Done) and isinstance(done, Done)
        assert told.result["silence"] == done.result["silence"]
        assert isinstance(await act(connector, back(told)), Done)  # and it can be taken back by that

    async def test_one_that_never_came_is_told_so_once_it_can_come_no_more(self, server: Real) -> None:
        connector, journal = made(server.url), Journal(no="the run does not wait for it any more")
        assert await act(connector, silence("never"), journal) == Refused(
            "never sent: the run does not wait for it any more"
        )
        assert await connector.inquire(silence("never"), journal.marks[0], timeout=5) is None
        assert await connector.inquire(silence("never"), journal.long_ago(), timeout=5) == Refused(
            "there is no silence with its mark"
        )
        assert await of(server, "never") == []

    async def test_a_lifting_that_never_came_is_told_so_likewise(self, server: Real) -> None:
        connector, journal = made(server.url), Journal(no="no")
        call = back(await act(connector, silence("stands")))
        assert await act(connector, call, journal) == Refused("never sent: no")
        assert await connector.inquire(call, journal.marks[0], timeout=5) is None
        told = await connector.inquire(call, journal.long_ago(), timeout=5)
        assert isinstance(told, Refused) and told.reason.endswith("still stands")


# ── What is never sent ──────────────────────────────────────────────────────────────────────────────

REFUSED: list[tuple[dict[str, object], str]] = [
    ({"matchers": {}}, "without any it silences everything"),
    ({"matchers": {"alertname": "HighCpu"}}, "it names alertname alone"),
    ({"matchers": {"alertname": "HighCpu", "env": ""}}, "the matcher of env must be a text of 1 to 1000"),
    ({"matchers": {"alertname": "HighCpu", "env": ["a"]}}, "the matcher of env must be a text"),
    ({"matchers": {"alertname": "HighCpu", "env": "a\nb"}}, "printable characters"),
    ({"matchers": {"alertname": "HighCpu", "env": "\ud800"}}, "surrogates not allowed"),
    ({"matchers": {"a b": "x", "env": "x"}}, "'a b' is no label"),
    ({"matchers": ["alertname"]}, "a silence needs 1 to 20 matchers"),
    ({"for": "5h"}, "no longer than this connection's 14400 s"),
    ({"for": "0s"}, "for must be a time"),
    ({"for": 3600}, "for must be a time"),
    ({"for": "soon"}, "'soon' is not a duration"),
]


@pytest.mark.parametrize(("args", "problem"), REFUSED)
async def test_what_silences_too_much_is_never_sent(args: dict[str, object], problem: str) -> None:
    nowhere = made(f"http://127.0.0.1:{a_port_where_nobody_listens()}")
    told = await act(nowhere, silence("x", **args))
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ") and problem in told.reason
    with pytest.raises(ConnectorError, match="not asked: "):
        await nowhere.preview(silence("x", **args), timeout=5)


async def test_labels_that_a_connection_requires_must_all_be_named_and_are_enough() -> None:
    async with peer(answers(200, b'{"silenceID":"s-1"}')) as other:
        strict = made(other.url, required=["env", "alertname"])
        told = await act(strict, silence("x"))
        assert told == Refused("never sent: a silence of this connection must name env")
        assert other.heard == []
        done = await act(strict, silence("x", matchers={"alertname": "HighCpu", "env": "prod"}))
        assert isinstance(done, Done)
        easy = made(other.url, required=["alertname"])
        assert isinstance(await act(easy, silence("x", matchers={"alertname": "HighCpu"})), Done)


async def test_without_a_journal_or_a_mark_that_was_kept_nothing_is_sent() -> None:
    async with peer(answers(200)) as other:
        told = await made(other.url).act(silence("x"), order=Order("k"), timeout=5)
        assert told == Refused("never sent: nothing would keep its mark")
    assert other.heard == []


async def test_a_mark_that_cannot_be_read_tells_nothing() -> None:
    told = await made("http://127.0.0.1:1").inquire(silence("x"), {"nonce": "a"}, timeout=1)
    assert told == Unknown("its mark cannot be read")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"required": ["a b"]}, "'a b' is no label"),
        ({"longest": "8d"}, "less than or equal to"),
        ({"url": "http://u:p@h"}, "may not hold credentials"),
    ],
)
def test_bad_settings_are_told(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        AlertmanagerSettings.model_validate({"url": "http://h", **settings})


# ── The wire ────────────────────────────────────────────────────────────────────────────────────────

MISBEHAVIOURS: dict[str, tuple[Behaviour, type[Result]]] = {
    "reads and closes": (closes, Unknown),
    "reads and resets": (resets, Unknown),
    "reads and hangs": (hangs, Unknown),
    "answers garbage": (garbage, Unknown),
    "answers half a head": (only_a_status_line, Unknown),
    "answers half a body": (half, Unknown),
    "answers something else": (answers(200, b"[1]"), Unknown),
    "answers no JSON": (answers(200, b"ok"), Unknown),
    "answers 500": (answers(500, b"oops"), Unknown),
    "answers 400": (answers(400, b'"bad matcher"'), Refused),
    "redirects": (answers(307, b"", "Location: /elsewhere"), Refused),
    "does as told": (answers(200, b'{"silenceID":"s-1"}'), Done),
}


@pytest.mark.parametrize("does", MISBEHAVIOURS)
async def test_a_misbehaving_peer_hears_exactly_one_request(does: str) -> None:
    behave, outcome = MISBEHAVIOURS[does]
    async with peer(behave) as other:
        connector = made(other.url, timeout="300ms" if behave is hangs else "5s")
        told = await act(connector, silence("x"))
    assert [len(other.heard), type(told)] == [1, outcome], told
    assert other.heard[0].line == "POST /api/v2/silences HTTP/1.1"


@pytest.mark.parametrize("does", [name for name in MISBEHAVIOURS if not name.startswith("answers no")])
async def test_a_silence_is_told_to_expire_exactly_once(does: str) -> None:
    behave, _ = MISBEHAVIOURS[does]
    sent = {
        "matchers": [{"name": "case", "value": "x", "isRegex": False, "isEqual": True}],
        "endsAt": "2030-01-01T00:00:00+00:00",
        "createdBy": "remediator",
        "comment": "mark n1",
    }
    standing = {**sent, "endsAt": "2030-01-01T00:00:00Z", "status": {"state": "active"}}
    first = answers(200, json.dumps(standing).encode())

    async def behaves(reader: Any, writer: Any) -> None:
        await (first if len(other.heard) == 1 else behave)(reader, writer)

    async with peer(behaves) as other:
        call = Call(RESTORE.name, "am", {"silence": "s-1", "sent": sent})
        told = await act(made(other.url, timeout="300ms" if behave is hangs else "5s"), call)
    assert [one.line.split()[0] for one in other.heard] == ["GET", "DELETE"], told
    if "something else" in does or "as told" in does:
        assert told == Done({"silence": "s-1"})
    else:
        assert isinstance(told, MISBEHAVIOURS[does][1])


async def test_what_was_sent_by_another_matcher_is_left_alone() -> None:
    one = {"name": "case", "value": "x", "isRegex": False, "isEqual": True}
    sent = {
        "matchers": [one],
        "endsAt": "2030-01-01T00:00:00Z",
        "createdBy": "remediator",
        "comment": "mark n1",
    }
    standing = {**sent, "matchers": [{**one, "isEqual": False}], "status": {"state": "active"}}
    async with peer(answers(200, json.dumps(standing).encode())) as other:
        told = await act(made(other.url), Call(RESTORE.name, "am", {"silence": "s-1", "sent": sent}))
    assert isinstance(told, Done) and "(its matchers; by remediator)" in told.left
    assert [one.line.split()[0] for one in other.heard] == ["GET"]


async def test_a_lifting_that_cannot_look_first_is_told_with_its_remedy() -> None:
    nowhere = made(f"http://127.0.0.1:{a_port_where_nobody_listens()}")
    told = await act(nowhere, Call(RESTORE.name, "am", {"silence": "s-1", "sent": {}}))
    assert isinstance(told, Refused) and told.reason.endswith("; is its url right?")


@pytest.mark.parametrize("late", ["this replica's lease was over", ""])
async def test_what_became_too_late_while_connecting_is_not_sent(late: str) -> None:
    async with peer(answers(200, b'{"silenceID":"s-1"}')) as other:
        order = Order("k", mark=Journal().mark, late=lambda: late)
        told = await made(other.url).act(silence("x"), order=order, timeout=5)
    assert (told == Refused(f"never sent: {late}"), len(other.heard)) == (bool(late), int(not late))


async def test_a_peer_that_is_not_there_or_never_takes_the_call_was_never_sent_anything() -> None:
    told = await act(made(f"http://127.0.0.1:{a_port_where_nobody_listens()}"), silence("x"))
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ")
    with a_port_where_nobody_answers() as port:
        told = await act(made(f"http://127.0.0.1:{port}", timeout="4s"), silence("x"))  # half to connect
    assert isinstance(told, Refused) and told.reason.startswith("never sent: ")


Asking = Callable[[Alertmanager], Awaitable[object]]


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (closes, "Server disconnected"),
        (answers(500, b"oops\nnow"), "answered 500: oops·now; is its url right"),
        (answers(200, b"no json"), "Expecting value"),
        (garbage, "am: "),
    ],
)
async def test_what_is_no_answer_is_told_and_never_taken_for_none(behave: Behaviour, problem: str) -> None:
    async with peer(behave) as other:
        connector = made(other.url)
        with pytest.raises(ConnectorError, match=problem):
            await connector.preview(silence("x"), timeout=5)
        journal = Journal()
        await act(connector, silence("x"), journal)
        with pytest.raises(ConnectorError, match=problem):
            await connector.inquire(silence("x"), journal.long_ago(), timeout=5)
