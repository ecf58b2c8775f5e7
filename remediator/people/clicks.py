"""A click in Slack, from raw bytes to a person's word: first proved to be Slack's, then read, then mapped.

A click comes by HTTP, and nothing of it is believed before `verify` has said yes; or by a socket that we
opened to Slack ourselves. Either way its payload is the same. Everything malformed is refused, never
raised. Who may vote on what is the core's question, not this module's.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import parse_qs

from remediator.config import Person
from remediator.config import Slack as SlackApp
from remediator.core.letters import plainly
from remediator.people.cards import MOST_REASON
from remediator.people.lettering import cut

WINDOW = 300
"""Seconds that a signature is good for, either way."""
MOST_BYTES = 1024 * 1024

_SECONDS = re.compile(r"[0-9]{1,12}")
_SUBJECT = re.compile(r"[!-9;-~]{1,200}")
_PREFIX = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Click:
    """One person's click. ``subject`` is a gate's id, a page's for ``ack``, a question's for a verdict."""

    person: str
    action: Literal["approve", "deny", "ack", "again", "happened", "not-happened", "handled"]
    subject: str
    hash_prefix: str  # of the gate that the card showed; of votes only
    user: str  # TEAM/USER, as Slack says
    at: datetime
    reason: str = ""  # of a vote or a verdict; a line, with everything in it that hides spelled out


@dataclass(frozen=True)
class Declined:
    """Why a click does not count, in words for the person who clicked.

    user: TEAM/USER of somebody who is in no config; gate: the one that they clicked on. Else empty.
    """

    reason: str
    user: str = ""
    gate: str = ""


def verify(headers: Mapping[str, str], raw_body: bytes, secret: str, now: datetime) -> bool:
    """Did Slack send these very bytes, within five minutes of ``now``?

    As `slack_sdk.signature.SignatureVerifier`, which raises for a timestamp that is no number and for
    bytes that are no UTF-8; here every malformed input, and a blank secret, is simply a no.
    Source: https://docs.slack.dev/authentication/verifying-requests-from-slack/

    The same bytes sent again within the window are verified again. That is harmless: a vote counts once
    by gate and person, an acknowledgement once by page, and both are bound to what was shown.
    """
    stated = [value for name, value in headers.items() if name.lower() == "x-slack-request-timestamp"]
    signed = [value for name, value in headers.items() if name.lower() == "x-slack-signature"]
    if not secret.strip() or len(stated) != 1 or len(signed) != 1 or len(raw_body) > MOST_BYTES:
        return False
    if not _SECONDS.fullmatch(stated[0]) or abs(now.timestamp() - int(stated[0])) > WINDOW:
        return False
    base = b"v0:" + stated[0].encode() + b":" + raw_body
    expected = "v0=" + hmac.new(secret.encode(), base, sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signed[0].encode("utf-8", "replace"))


def parse_click(raw_body: bytes, app: SlackApp, people: Mapping[str, Person]) -> Click | Declined:
    """Who clicked what, as HTTP brings it. Call only after `verify`."""
    try:
        form = parse_qs(raw_body.decode("ascii"), strict_parsing=True, max_num_fields=1, errors="strict")
        payload = json.loads(form["payload"][0])
    except (ValueError, KeyError, RecursionError):
        return Declined("this is no click")
    return read_click(payload, app, people)


def read_click(payload: object, app: SlackApp, people: Mapping[str, Person]) -> Click | Declined:
    """Who clicked what, whichever door it came through.

    A person is known by team and user id alone, never by a name: whoever is not written in the config
    (a bot, a guest, another team's member) is nobody.
    """
    if not isinstance(payload, dict) or payload.get("type") != "block_actions":
        return Declined("this is no click")
    if app.app_id is not None and payload.get("api_app_id") != app.app_id:
        return Declined("this click came from another Slack app")
    user = _user(payload)
    if isinstance(user, Declined):
        return user
    known = [name for name, person in people.items() if person.slack == user]
    if len(known) != 1:
        who = "nobody whom Remediator knows" if not known else "more than one person"
        clicked = _action(payload, "", user)
        gate = clicked.subject if isinstance(clicked, Click) and clicked.action != "ack" else ""
        return Declined(f"{user} is {who}; see `people` in its config", user, gate)
    return _action(payload, known[0], user)


def _user(payload: Mapping[str, Any]) -> str | Declined:
    match payload:
        case {"user": {"id": str(user), "team_id": str(home)}, "team": {"id": str(team)}} if home == team:
            return f"{team}/{user}"
        case {"user": {"id": str()}, "team": {"id": str()}}:
            return Declined("only members of this Slack team may click")
    return Declined("this click names no user")


def _action(payload: Mapping[str, Any], person: str, user: str) -> Click | Declined:
    match payload.get("actions"):
        case [{"action_id": "approve" | "deny" as action, "value": str(value), "action_ts": str(stamp)}]:
            gate, colon, prefix = value.rpartition(":")
            if not (colon and _SUBJECT.fullmatch(gate) and _PREFIX.fullmatch(prefix)):
                return Declined("this button belongs to no gate")
            subject, shown, reason = gate, prefix, _reason(payload)
        case [{"action_id": "ack" | "again" as action, "value": str(value), "action_ts": str(stamp)}]:
            if not _SUBJECT.fullmatch(value):
                return Declined(f"this button belongs to no {'page' if action == 'ack' else 'gate'}")
            subject, shown, reason = value, "", ""
        case [
            {
                "action_id": "happened" | "not-happened" | "handled" as action,
                "value": str(value),
                "action_ts": str(stamp),
            }
        ]:
            run, _, _ = value.rpartition(".")
            if not (run and _SUBJECT.fullmatch(value)):
                return Declined("this button belongs to no question")
            subject, shown, reason = value, "", _reason(payload)
        case _:
            return Declined("this button means nothing here")
    at = _time(stamp)
    if at is None:
        return Declined("this click has no time")
    return Click(person, action, subject, shown, user, at, reason)


def _reason(payload: Mapping[str, Any]) -> str:
    """What was typed into the card's line; nothing there, or nothing that is text, is no reason."""
    match payload.get("state"):
        case {"values": {"reason": {"reason": {"value": str(text)}}}}:
            return cut(plainly(text.strip()), MOST_REASON)
    return ""


def _time(stamp: str) -> datetime | None:
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,6})?", stamp):
        return None
    return datetime.fromtimestamp(float(stamp), UTC)
