"""What the fake Slack knows and does: its messages, its moods and the methods of its Web API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes import slack_blocks
from tests.fakes.slack_clicks import Signed
from tests.fakes.slack_files import Upload
from tests.fakes.slack_socket import Sockets

Arguments = dict[str, Any]


@dataclass
class Mode:
    """How the API behaves: ok, slow, down (closes unanswered), lost (does it, then closes), 5xx, 429."""

    mode: str = "ok"
    delay: float = 1.0
    """Seconds, for ``slow``."""
    retry_after: int = 1
    """Seconds, for ``429``."""
    status: int = 503
    """For ``5xx``."""
    methods: list[str] | None = None
    """Only these methods; None: all."""
    times: int | None = None
    """Only so many calls, then ok again; None: until told otherwise."""

    def takes(self, method: str) -> bool:
        """Whether this call is met by the mode; counts it."""
        if self.mode == "ok" or (self.methods is not None and method not in self.methods) or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class Workspace:
    """All that the fake knows."""

    bot_token: str
    signing_secret: str
    app_token: str = "xapp-test"
    base: str = ""
    """Where it listens."""
    team_id: str = "T01TEST"
    app_id: str = "A01APP"
    bot_user_id: str = "U0BOT"
    bot_id: str = "B0BOT"
    per_channel: float = 0.0
    """Most ``chat.postMessage`` per second and channel; 0: no limit."""
    mode: Mode = field(default_factory=Mode)
    messages: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    clicks: list[Signed] = field(default_factory=list)
    responses: list[dict[str, Any]] = field(default_factory=list)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing_channels: set[str] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)
    """Methods that are refused, and with which error: ``missing_scope``."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    """Files that were begun, by their id."""
    upload_base: str = ""
    """Where files are uploaded, if not here: a Slack that names an address of somebody else."""
    sockets: Sockets = field(default_factory=Sockets)
    _last_post: dict[str, float] = field(default_factory=dict)
    _last_ts: int = 0

    def forget(self) -> None:
        """As it was when it started; connections stay."""
        for log in (self.messages, self.calls, self.clicks, self.responses):
            log.clear()
        for known in (self.users, self.missing_channels, self.refusals, self.uploads):
            known.clear()
        self.mode, self.per_channel, self.upload_base = Mode(), 0.0, ""

    def next_ts(self) -> str:
        """A message's id: seconds and microseconds, never twice."""
        self._last_ts = max(self._last_ts + 1, int(time.time() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def too_soon(self, channel: str) -> int:
        """Seconds to wait before the next message in a channel; 0: none."""
        if self.per_channel <= 0:
            return 0
        now = time.monotonic()
        if now - self._last_post.get(channel, float("-inf")) < 1 / self.per_channel:
            return max(1, round(1 / self.per_channel))
        self._last_post[channel] = now
        return 0

    def message(self, channel: str | None, ts: str) -> dict[str, Any] | None:
        """The message with that id."""
        for one in self.messages:
            if one["ts"] == ts and channel in {None, one["channel"]}:
                return one
        return None


def error(name: str, **more: object) -> web.Response:
    """A refusal in Slack's way: 200 with ``ok: false``."""
    return web.json_response({"ok": False, "error": name, **more})


def _ok(**more: object) -> web.Response:
    return web.json_response({"ok": True, **more})


def rate_limited(seconds: int) -> web.Response:
    """429, with the seconds to wait."""
    return web.json_response(
        {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(seconds)}
    )


def _auth_test(workspace: Workspace, _arguments: Arguments) -> web.Response:
    return _ok(
        url="https://t.slack.com/",
        team="t",
        user="remediator",
        team_id=workspace.team_id,
        user_id=workspace.bot_user_id,
        bot_id=workspace.bot_id,
        is_enterprise_install=False,
    )


def _refuse(workspace: Workspace, arguments: Arguments) -> web.Response | None:
    channel = arguments.get("channel")
    if not channel or channel in workspace.missing_channels:
        return error("channel_not_found")
    blocks = arguments.get("blocks")
    if not arguments.get("text") and not blocks and not arguments.get("attachments"):
        return error("no_text")
    if len(arguments.get("text") or "") > slack_blocks.MOST_TEXT:
        return error("msg_too_long")
    if blocks:
        problems = slack_blocks.problems(blocks)
        if problems:
            detail = {"messages": [f"[ERROR] {problem}" for problem in problems]}
            return error("invalid_blocks", errors=problems, response_metadata=detail)
    return None


def _named(blocks: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Blocks with the ids that Slack gives where the sender gave none."""
    named = []
    for index, block in enumerate(blocks or []):
        elements = [
            {"action_id": f"a{index}{number}", **one}
            if isinstance(one, dict) and one.get("type") == "button"
            else one
            for number, one in enumerate(block.get("elements", []))
        ]
        element = {"element": {"action_id": f"a{index}", **block["element"]}} if "element" in block else {}
        named.append({"block_id": f"b{index}", **block, **({"elements": elements} if elements else element)})
    return named


def _keep(workspace: Workspace, arguments: Arguments, *, ephemeral: bool) -> dict[str, Any]:
    message = {
        "channel": arguments["channel"],
        "ts": workspace.next_ts(),
        "text": arguments.get("text", ""),
        "blocks": _named(arguments.get("blocks")),
        "thread_ts": arguments.get("thread_ts"),
        "metadata": arguments.get("metadata"),
        "ephemeral": ephemeral,
        "user": arguments.get("user"),
        "updates": 0,
        "versions": [],
        "at": time.time(),
    }
    workspace.messages.append(message)
    return message


def _shown(workspace: Workspace, message: dict[str, Any]) -> dict[str, Any]:
    bot = {
        "type": "message",
        "user": workspace.bot_user_id,
        "bot_id": workspace.bot_id,
        "app_id": workspace.app_id,
    }
    return {**bot, **{key: message[key] for key in ("ts", "text", "blocks")}}


def _post_message(workspace: Workspace, arguments: Arguments) -> web.Response:
    refusal = _refuse(workspace, arguments)
    if refusal is not None:
        return refusal
    wait = workspace.too_soon(arguments["channel"])
    if wait:
        return rate_limited(wait)
    message = _keep(workspace, arguments, ephemeral=False)
    return _ok(channel=message["channel"], ts=message["ts"], message=_shown(workspace, message))


def _post_ephemeral(workspace: Workspace, arguments: Arguments) -> web.Response:
    refusal = _refuse(workspace, arguments)
    if refusal is not None:
        return refusal
    if not arguments.get("user"):
        return error("user_not_in_channel")
    return _ok(message_ts=_keep(workspace, arguments, ephemeral=True)["ts"])


def _update(workspace: Workspace, arguments: Arguments) -> web.Response:
    refusal = _refuse(workspace, arguments)
    if refusal is not None:
        return refusal
    message = workspace.message(arguments["channel"], arguments.get("ts", ""))
    if message is None or message["ephemeral"]:
        return error("message_not_found")
    message["versions"].append({"text": message["text"], "blocks": message["blocks"]})
    message["text"] = arguments.get("text", "")
    message["blocks"] = _named(arguments.get("blocks"))  # text without blocks removes the blocks
    message["updates"] += 1
    return _ok(
        channel=message["channel"], ts=message["ts"], text=message["text"], message=_shown(workspace, message)
    )


def _open(workspace: Workspace, arguments: Arguments) -> web.Response:
    users = [user for user in str(arguments.get("users", "")).split(",") if user]
    if not users:
        return error("users_list_not_supplied")
    if any(workspace.users.get(user, {}).get("missing") for user in users):
        return error("user_not_found")
    kind = "D" if len(users) == 1 else "G"
    return _ok(no_op=True, already_open=True, channel={"id": f"{kind}0{'0'.join(sorted(users))}"})


def _connections_open(workspace: Workspace, _arguments: Arguments) -> web.Response:
    ticket = workspace.sockets.ticket()
    return _ok(url=f"{workspace.base.replace('http', 'ws', 1)}/_socket/{ticket}")


def _get_upload_url(workspace: Workspace, arguments: Arguments) -> web.Response:
    length = str(arguments.get("length", ""))
    if not arguments.get("filename") or not length.isdigit() or int(length) < 1:
        return error("invalid_arguments")
    upload = Upload.new(str(arguments["filename"]), int(length))
    workspace.uploads[upload.id] = upload
    base = workspace.upload_base or workspace.base
    return _ok(upload_url=f"{base}/_upload/{upload.id}", file_id=upload.id)


def _complete_upload(workspace: Workspace, arguments: Arguments) -> web.Response:
    given = arguments.get("files")
    files = json.loads(given) if isinstance(given, str) else given
    channel, thread = arguments.get("channel_id"), arguments.get("thread_ts")
    if not files or len(files) > 10:
        return error("invalid_arguments")
    if channel in workspace.missing_channels:
        return error("channel_not_found")
    if thread and workspace.message(channel, thread) is None:
        return error("thread_not_found")
    uploads = [workspace.uploads.get(one.get("id", "")) for one in files]
    shared = [one for one in uploads if one is not None and one.content is not None and not one.shared]
    if len(shared) != len(files):
        return error("file_not_found")
    for one, told in zip(shared, files, strict=True):
        one.shared, one.channel, one.thread_ts = True, channel or "", thread or ""
        one.title = told.get("title") or one.name
    return _ok(files=[{"id": one.id, "title": one.title, "name": one.name} for one in shared])


def _users_info(workspace: Workspace, arguments: Arguments) -> web.Response:
    user = str(arguments.get("user", ""))
    known = workspace.users.get(user, {})
    if not user or known.get("missing"):
        return error("user_not_found")
    person = {
        "id": user,
        "team_id": workspace.team_id,
        "name": user.lower(),
        "deleted": False,
        "is_bot": False,
    }
    return _ok(user={**person, "is_restricted": False, "is_ultra_restricted": False, **known})


METHODS: dict[str, Callable[[Workspace, Arguments], web.Response]] = {
    "apps.connections.open": _connections_open,
    "auth.test": _auth_test,
    "chat.postMessage": _post_message,
    "chat.postEphemeral": _post_ephemeral,
    "chat.update": _update,
    "conversations.open": _open,
    "files.completeUploadExternal": _complete_upload,
    "files.getUploadURLExternal": _get_upload_url,
    "users.info": _users_info,
}
