"""A Slack of our own: its Web API with its limits, its moods, and people who click.

The real client talks to it with ``AsyncWebClient(token, base_url="http://127.0.0.1:N/api/")``. Tests steer
it through ``/_control/…`` (see ``tests/rig/slack.py`` for the same as Python).
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
from aiohttp import web

from tests.fakes import slack_clicks
from tests.fakes.slack_clicks import Click, Signed
from tests.fakes.slack_workspace import METHODS, Arguments, Mode, Workspace, error, rate_limited

WORKSPACE = web.AppKey("workspace", Workspace)
PORT = web.AppKey("port", int)


# ------------------------------------------------------------------------------------------- Web API


async def _arguments(request: web.Request) -> Arguments:
    if request.content_type == "application/json":
        given = await request.json()
    else:
        given = {**request.query, **await request.post()}
        for key in ("blocks", "attachments", "metadata"):
            if isinstance(given.get(key), str):
                given[key] = json.loads(given[key])
    return dict(given)


async def call(request: web.Request) -> web.StreamResponse:
    """``/api/METHOD``: mood first, then the token, then refusals, then the method."""
    workspace = request.app[WORKSPACE]
    method = request.match_info["method"]
    arguments = await _arguments(request)
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
    token = bearer or arguments.pop("token", "")
    moody = workspace.mode.takes(method)
    mood = workspace.mode.mode if moody else "ok"
    record = {"method": method, "arguments": arguments, "at": time.time(), "mood": mood}
    workspace.calls.append(record)
    match mood:
        case "slow":
            await asyncio.sleep(workspace.mode.delay)
        case "down":
            return _hang_up(request)
        case "5xx":
            return web.Response(status=workspace.mode.status, text="upstream connect error")
        case "429":
            return rate_limited(workspace.mode.retry_after)
    if not token:
        return error("not_authed")
    if token not in {workspace.bot_token, workspace.app_token}:
        return error("invalid_auth")
    if (token == workspace.app_token) is not (method == "apps.connections.open"):
        return error("not_allowed_token_type")
    if workspace.refusals.get(method):
        return error(workspace.refusals[method], needed="files:write", provided="chat:write")
    handler = METHODS.get(method)
    if handler is None:
        return error("unknown_method", req_method=method)
    answer = handler(workspace, arguments)
    if mood == "lost":
        return _hang_up(request)
    return answer


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def upload(request: web.Request) -> web.Response:
    """Where `files.getUploadURLExternal` sends the bytes of a file; its mood is that of ``upload``."""
    workspace = request.app[WORKSPACE]
    workspace.calls.append({"method": "upload", "arguments": {}, "at": time.time(), "mood": "ok"})
    if workspace.mode.takes("upload"):
        return web.Response(status=workspace.mode.status, text="upstream connect error")
    found = workspace.uploads.get(request.match_info["id"])
    problem = found.take(await request.read()) if found is not None else "no such file"
    return web.Response(status=400 if problem else 200, text=problem or "OK")


async def socket(request: web.Request) -> web.StreamResponse:
    """Where `apps.connections.open` leads."""
    return await request.app[WORKSPACE].sockets.serve(request)


async def respond(request: web.Request) -> web.Response:
    """``response_url`` of a callback: kept for the tests."""
    request.app[WORKSPACE].responses.append({"id": request.match_info["id"], "body": await request.json()})
    return web.Response(text="ok")


# ----------------------------------------------------------------------------------------- control API


async def control_log(request: web.Request) -> web.Response:
    """``GET /_control/{messages,calls,responses,clicks,files}``: everything so far, oldest first."""
    workspace = request.app[WORKSPACE]
    logs: dict[str, Any] = {
        "messages": workspace.messages,
        "calls": workspace.calls,
        "responses": workspace.responses,
        "clicks": [click.as_json() for click in workspace.clicks],
        "files": [one.as_json() for one in workspace.uploads.values()],
    }
    return web.json_response(logs[request.match_info["log"]])


async def control_mode(request: web.Request) -> web.Response:
    """``POST /_control/mode``: the fields of ``Mode``; the empty object is ok again."""
    request.app[WORKSPACE].mode = Mode(**await request.json())
    return web.json_response({})


async def control_workspace(request: web.Request) -> web.Response:
    """``POST /_control/workspace``: any of what a workspace has or lacks.

    Keys: per_channel, users (id to fields), missing_channels, refusals (method to error), upload_base.
    """
    workspace = request.app[WORKSPACE]
    given = await request.json()
    workspace.per_channel = float(given.get("per_channel", workspace.per_channel))
    workspace.users.update(given.get("users", {}))
    workspace.missing_channels.update(given.get("missing_channels", []))
    workspace.refusals.update(given.get("refusals", {}))
    workspace.upload_base = given.get("upload_base", workspace.upload_base)
    return web.json_response({})


async def control_sockets(request: web.Request) -> web.Response:
    """``POST /_control/sockets``: what happens to connections, and how they are.

    ``do``: cut, close (with a farewell), say (``message``) or nothing; ``refuses``, ``silent``: of those to
    come. Answers how many are open, how many ever were, and the envelopes that were acknowledged.
    """
    sockets = request.app[WORKSPACE].sockets
    given = await request.json()
    sockets.refuses = given.get("refuses", sockets.refuses)
    sockets.silent = given.get("silent", sockets.silent)
    for one in list(sockets.open):
        match given.get("do"):
            case "cut":
                one.cut()
            case "close":
                await one.stream.close()
            case "say":
                await one.say(**given["message"])
    how = {"open": len(sockets.open), "opened": sockets.opened, "acknowledged": sockets.acknowledged}
    return web.json_response(how)


async def control_reset(request: web.Request) -> web.Response:
    """``POST /_control/reset``: forget all messages, calls, clicks, files and moods."""
    request.app[WORKSPACE].forget()
    return web.json_response({})


def _response_url(request: web.Request, number: int) -> str:
    return f"http://127.0.0.1:{request.app[PORT]}/_hooks/response/{number}"


def _clicked(request: web.Request, click: Click) -> Signed | str:
    workspace = request.app[WORKSPACE]
    if click.replay is not None:
        if not 0 <= click.replay < len(workspace.clicks):
            return f"no former click {click.replay}"
        former = workspace.clicks[click.replay]
        return slack_clicks.sign(former.body, workspace.signing_secret, click) if click.resign else former
    for message in reversed(workspace.messages):
        if click.channel not in {None, message["channel"]} or click.ts not in {None, message["ts"]}:
            continue
        for button in slack_clicks.buttons(message["blocks"]):
            if button.get("action_id") == click.action_id:
                defaults = {
                    key: getattr(workspace, key) for key in ("team_id", "app_id", "bot_user_id", "bot_id")
                }
                url = _response_url(request, len(workspace.clicks))
                payload = slack_clicks.block_actions(click, message, button, defaults, url)
                if click.socket:
                    return Signed({}, slack_clicks.envelope(payload))
                return slack_clicks.sign(slack_clicks.form(payload), workspace.signing_secret, click)
    return f"no message with a button {click.action_id!r}"


async def control_click(request: web.Request) -> web.Response:
    """``POST /_control/click``: the fields of ``Click``; answers what the receiver answered."""
    click = Click(**await request.json())
    signed = _clicked(request, click)
    if isinstance(signed, str):
        return web.json_response({"problem": signed}, status=404)
    return await (_deliver(request, click, signed) if click.socket else _send(request, click.url, signed))


async def control_command(request: web.Request) -> web.Response:
    """``POST /_control/command``: url, command; optional text, user_id, channel, team_id, signature."""
    workspace = request.app[WORKSPACE]
    given = await request.json()
    body = slack_clicks.slash_command(
        given["command"],
        given.get("text", ""),
        user_id=given.get("user_id", "U01ALICE"),
        channel=given.get("channel", "C0OPS"),
        team_id=given.get("team_id") or workspace.team_id,
        app_id=given.get("app_id") or workspace.app_id,
        response_url=_response_url(request, len(workspace.clicks)),
    )
    click = Click(
        given["url"], signature=given.get("signature", "good"), time_offset=given.get("time_offset", 0)
    )
    return await _send(request, given["url"], slack_clicks.sign(body, workspace.signing_secret, click))


async def _deliver(request: web.Request, click: Click, envelope: Signed) -> web.Response:
    """Status 200: it was acknowledged; 0: it was not, or there is no connection."""
    workspace = request.app[WORKSPACE]
    workspace.clicks.append(envelope)
    number = len(workspace.clicks) - 1
    kept = await workspace.sockets.deliver(envelope.body, click.times, click.patience)
    said = {"status": 200 if kept else 0, "body": "", "click": number, "sent": envelope.as_json()}
    return web.json_response(said)


async def _send(request: web.Request, url: str, signed: Signed) -> web.Response:
    clicks = request.app[WORKSPACE].clicks
    clicks.append(signed)
    number = len(clicks) - 1
    timeout = aiohttp.ClientTimeout(total=30)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=signed.body, headers=signed.headers, allow_redirects=False) as answer,
        ):
            said = {"status": answer.status, "body": await answer.text(), "headers": dict(answer.headers)}
    except (aiohttp.ClientError, TimeoutError) as error:
        said = {"status": 0, "body": repr(error), "headers": {}}
    return web.json_response({**said, "click": number, "sent": signed.as_json()})


def application(workspace: Workspace, port: int) -> web.Application:
    """The whole fake as an aiohttp application."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    workspace.base = f"http://127.0.0.1:{port}"
    app[WORKSPACE] = workspace
    app[PORT] = port
    app.router.add_route("*", "/api/{method}", call)
    app.router.add_post("/_hooks/response/{id}", respond)
    app.router.add_post("/_upload/{id}", upload)
    app.router.add_get("/_socket/{ticket}", socket)
    app.router.add_get("/_control/{log:messages|calls|responses|clicks|files}", control_log)
    app.router.add_post("/_control/sockets", control_sockets)
    app.router.add_post("/_control/mode", control_mode)
    app.router.add_post("/_control/workspace", control_workspace)
    app.router.add_post("/_control/reset", control_reset)
    app.router.add_post("/_control/click", control_click)
    app.router.add_post("/_control/command", control_command)
    return app
