"""``POST /hooks/slack/actions``: nothing unsigned is heard, and nobody who is not in the config."""

from __future__ import annotations

import asyncio
import hmac
import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode

from multidict import CIMultiDict, CIMultiDictProxy
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from remediator.config import Config
from remediator.core.letters import unseen
from remediator.people.cards import MOST_REASON
from remediator.people.clicks import read_click
from remediator.people.interactivity import Clicks, SlackActions
from remediator.ports import Answer
from tests.fuzz.requests import Request, read, written
from tests.fuzz.target import Target
from tests.people.stories import NOW, PEOPLE, slack_app
from tests.people.test_clicks import PAYLOAD, SECRET, body
from tests.store.samples import HandClock

LONGEST = 4 * 1024
SIGN = "sign"
"""In the place of a signature: the true one is put there, for nobody guesses it."""
STAMP = str(int(NOW.timestamp()))
USUAL = {"X-Slack-Request-Timestamp": STAMP, "X-Slack-Signature": SIGN}
ACTIONS = ("approve", "deny", "ack", "again", "happened", "not-happened", "handled")
WORDS = [
    *(
        b'"type": "block_actions"',
        b'"team": {"id": "T01TEST"}',
        b'"user": {',
        b'"actions": [{',
        b'"state": {',
    ),
    *(b"T01TEST", b"U01ALICE", b"U02BOB", b"A01APP", b"team_id", b"action_ts", b"action_id", b"value", b"id"),
    *(
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b", ",
        b": ",
        b"null",
        b"\\u0000",
        b"\\ud800",
        b"\\u202e",
        b"\\n",
        b"\xff",
    ),
    *(b"payload=", b"%7B", b"%22", b"%00", b"%FF", b"&", b"+", "é".encode(), b"r-1.1:0123456789abcdef", b"."),
    *(b"X-Slack-Signature: ", b"X-Slack-Request-Timestamp: ", b"v0=", STAMP.encode(), b"\n\n", b"1e9", b"-1"),
    *(name.encode() for name in ACTIONS),
]


@dataclass
class Desk:
    """Keeps what it was asked."""

    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def _hear(self, what: str, subject: str, said: dict[str, Any]) -> Answer:
        self.asked.append((what, subject, said))
        return Answer(ok=True, text="heard")

    async def vote(self, gate: str, **said: Any) -> Answer:
        return self._hear("approve" if said["approve"] else "deny", gate, said)

    async def acknowledge(self, page: str, **said: Any) -> Answer:
        return self._hear("ack", page, said)

    async def ask_again(self, gate: str, **said: Any) -> Answer:
        return self._hear("again", gate, said)

    async def settle(self, run: str, **said: Any) -> Answer:
        return self._hear(said["verdict"], run, said)


class Now(SlackClock):
    """Slack's own verifier, at our time."""

    def now(self) -> float:
        return NOW.timestamp()


def target() -> Target:
    loop, clock = asyncio.new_event_loop(), HandClock(NOW)
    app = slack_app(app_id="A01APP")
    config = Config.model_construct(slack=app, people=PEOPLE)
    theirs = SignatureVerifier(SECRET, Now())

    async def nobody(*_told: str) -> None:
        return None

    async def answered(request: Any) -> tuple[int, Desk]:
        desk = Desk()
        clicks = Clicks(desk, nobody, nobody)  # type: ignore[arg-type]
        response = await SlackActions(config, clicks, clock)(request)
        await clicks.finish()
        return response.status, desk

    def check(data: bytes) -> bool:
        request = _signed(read(data, USUAL, loop, _form))
        status, desk = loop.run_until_complete(answered(request))
        assert status in (200, 401), status
        assert status == 401 or _proved(theirs, request), request.headers
        assert len(desk.asked) <= (status == 200)
        for what, subject, said in desk.asked:
            _plausible(what, subject, said)
            _ones_own(said["by"], request.body)
        read_click(_json(data), app, PEOPLE)  # what comes through the socket is no form
        return bool(desk.asked)

    payloads = [*map(_pressed, ACTIONS), *_typed(), *_strange()]
    seeds = [json.dumps(one, indent=0).encode() for one in payloads]
    seeds += [written({"X-Slack-Signature": one}, seeds[0]) for one in ("v0=", "v0=" + "0" * 64, "é")]
    late = [str(int(STAMP) + seconds) for seconds in (-301, -300, 300, 301)]
    seeds += [written({"X-Slack-Request-Timestamp": one}, seeds[0]) for one in (*late, "soon", "²", "-1")]
    seeds += [body(), body(actions=[])]
    return Target(check, [one for one in seeds if len(one) <= LONGEST], WORDS, LONGEST, loop.close)


def _pressed(action: str) -> dict[str, Any]:
    button = PAYLOAD["actions"][0] | {"action_id": action}
    return PAYLOAD | {"actions": [button if action in ("approve", "deny") else button | {"value": "r-1.1"}]}


def _typed() -> list[dict[str, Any]]:
    texts = ("big sale today", "\u202e", "x" * 600, "a\nb", " ")
    return [PAYLOAD | {"state": {"values": {"reason": {"reason": {"value": one}}}}} for one in texts]


def _strange() -> list[dict[str, Any]]:
    users = ({"id": "U02BOB", "team_id": "T01TEST"}, {"id": "U9", "team_id": "T01TEST"}, {"id": "U9"}, None)
    actions: list[Any] = [[], None, [{}], "x"]
    return [PAYLOAD | {"user": one} for one in users] + [PAYLOAD | {"actions": one} for one in actions]


def _form(text: bytes) -> bytes:
    """A payload in JSON as Slack packs it; anything else as it is."""
    return urlencode({"payload": text}).encode() if text.startswith(b"{") else text


def _signed(request: Request) -> Request:
    """With the true signature wherever one is asked for."""
    stamp = request.headers["X-Slack-Request-Timestamp"].encode("utf-8", "replace")
    true = "v0=" + hmac.new(SECRET.encode(), b"v0:" + stamp + b":" + request.body, sha256).hexdigest()
    given = [(name, true if value == SIGN else value) for name, value in request.headers.items()]
    return replace(request, headers=CIMultiDictProxy(CIMultiDict(given)))


def _proved(theirs: SignatureVerifier, request: Request) -> bool:
    """In the opinion of Slack's own library. Of bytes that are no UTF-8 it has none."""
    try:
        return bool(theirs.is_valid_request(request.body.decode(), dict(request.headers)))
    except UnicodeDecodeError:
        return True
    except (TypeError, ValueError):
        return False


def _plausible(what: str, subject: str, said: dict[str, Any]) -> None:
    assert what in ACTIONS
    assert said["by"] in PEOPLE
    assert PEOPLE[said["by"]].slack is not None
    assert 0 < len(subject) <= 200
    assert subject.isascii()
    assert subject.isprintable()
    assert len(said.get("reason", "")) <= MOST_REASON
    assert not any(unseen(letter) and letter != " " for letter in said.get("reason", ""))


def _ones_own(person: str, body: bytes) -> None:
    """Whoever is heard clicked, as a member of the team that the click comes from."""
    payload = json.loads(parse_qs(body.decode())["payload"][0])
    assert payload["user"]["team_id"] == payload["team"]["id"]
    assert PEOPLE[person].slack == f"{payload['team']['id']}/{payload['user']['id']}"


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
