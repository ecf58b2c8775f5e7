"""What Slack sends when a person clicks or types a command: signed, form-encoded, every part settable."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

Signature = Literal["good", "corrupt", "other-secret", "missing"]


@dataclass(frozen=True)
class Click:
    """One click, as the control API takes it (``POST /_control/click``)."""

    url: str
    """Where to send it, such as ``http://127.0.0.1:8080/hooks/slack/actions``."""
    action_id: str = ""
    user_id: str = "U01ALICE"
    channel: str | None = None
    """None: any channel."""
    ts: str | None = None
    """The message; None: the newest one that has such a button."""
    value: str | None = None
    """None: the button's own."""
    block_id: str | None = None
    team_id: str | None = None
    """None: the workspace's own. Others forge a click from another workspace."""
    app_id: str | None = None
    signature: Signature = "good"
    time_offset: float = 0.0
    """Seconds added to the signature's time; -400 makes it stale."""
    timestamp: str | None = None
    """The header's very text, such as ``soon``; it is signed as it is."""
    replay: int | None = None
    """Send a former request again, byte by byte, headers included: its number in ``/_control/clicks``."""
    resign: bool = False
    """With ``replay``: the former body with a new time and signature, as Slack's own retry would be."""
    typed: dict[str, str] = field(default_factory=dict)
    """What stands in the message's input blocks: ``block_id`` to text."""
    socket: bool = False
    """Through Socket Mode; ``url`` and signature do not matter. ``replay`` sends a former envelope again."""
    times: int = 1
    """With ``socket``: how often the same envelope is sent."""
    patience: float = 5.0
    """With ``socket``: seconds to wait for its acknowledgement."""


@dataclass(frozen=True)
class Signed:
    """A request as it goes over the wire; through a socket it is an envelope, and has no headers."""

    headers: dict[str, str]
    body: str

    def as_json(self) -> dict[str, Any]:
        """For the control API's answers."""
        return asdict(self)


def sign(body: str, secret: str, click: Click) -> Signed:
    """Slack's v0 signature.

    Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    at = click.timestamp if click.timestamp is not None else str(int(time.time() + click.time_offset))
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp": at}
    key = "not-the-secret" if click.signature == "other-secret" else secret
    digest = hmac.new(key.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
    if click.signature == "corrupt":
        digest = ("1" if digest[0] == "0" else "0") + digest[1:]
    if click.signature != "missing":
        headers["X-Slack-Signature"] = f"v0={digest}"
    return Signed(headers, body)


def form(payload: dict[str, Any]) -> str:
    """A callback's body, as it is posted."""
    return urlencode({"payload": json.dumps(payload)})


def envelope(payload: dict[str, Any]) -> str:
    """The same as it goes through a socket.

    Source: https://docs.slack.dev/apis/events-api/using-socket-mode/
    """
    number = str(uuid.uuid4())
    return json.dumps(
        {"envelope_id": number, "type": "interactive", "accepts_response_payload": True, "payload": payload}
    )


def block_actions(
    click: Click, message: dict[str, Any], button: dict[str, Any], defaults: dict[str, str], response_url: str
) -> dict[str, Any]:
    """A ``block_actions`` callback for one button of one message."""
    team = click.team_id or defaults["team_id"]
    app = click.app_id or defaults["app_id"]
    name = click.user_id.lower()
    payload: dict[str, Any] = {
        "type": "block_actions",
        "api_app_id": app,
        "token": "verification-token",
        "team": {"id": team, "domain": "t"},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": click.user_id, "username": name, "name": name, "team_id": team},
        "container": {
            "type": "message",
            "message_ts": message["ts"],
            "channel_id": message["channel"],
            "is_ephemeral": message["ephemeral"],
        },
        "trigger_id": f"{secrets.randbelow(10**10)}.{secrets.randbelow(10**10)}.{secrets.token_hex(12)}",
        "channel": {"id": message["channel"], "name": "general"},
        "message": {
            "type": "message",
            "ts": message["ts"],
            "user": defaults["bot_user_id"],
            "bot_id": defaults["bot_id"],
            "app_id": app,
            "text": message["text"],
            "blocks": message["blocks"],
        },
        "state": {"values": typed(message["blocks"], click.typed)},
        "response_url": response_url,
        "actions": [
            {
                "type": "button",
                "action_id": button["action_id"],
                "block_id": click.block_id or button["block_id"],
                "text": button.get("text"),
                "value": click.value if click.value is not None else button.get("value", ""),
                "action_ts": f"{time.time():.6f}",
            }
        ],
    }
    return payload


def typed(blocks: list[dict[str, Any]], texts: dict[str, str]) -> dict[str, Any]:
    """What stands in the input blocks of a message; null where nobody typed."""
    return {
        block["block_id"]: {
            block["element"]["action_id"]: {
                "type": block["element"]["type"],
                "value": texts.get(block["block_id"]) or block["element"].get("initial_value"),
            }
        }
        for block in blocks
        if block["type"] == "input"
    }


def slash_command(
    command: str, text: str, *, user_id: str, channel: str, team_id: str, app_id: str, response_url: str
) -> str:
    """The body of a slash command."""
    return urlencode(
        {
            "token": "verification-token",
            "team_id": team_id,
            "team_domain": "t",
            "channel_id": channel,
            "channel_name": "general",
            "user_id": user_id,
            "user_name": user_id.lower(),
            "command": command,
            "text": text,
            "api_app_id": app_id,
            "is_enterprise_install": "false",
            "response_url": response_url,
            "trigger_id": f"{secrets.randbelow(10**10)}.{secrets.token_hex(12)}",
        }
    )


def buttons(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All buttons of a message, each with its ``block_id``."""
    found = []
    for block in blocks:
        elements = [*block.get("elements", []), block.get("accessory", {})]
        found += [
            {**element, "block_id": block.get("block_id", "")}
            for element in elements
            if isinstance(element, dict) and element.get("type") == "button"
        ]
    return found
