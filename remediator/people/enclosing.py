"""A file in a card's thread: the items and rows that the card cannot show, whole.

Slack takes a file in three calls: where to put it, the bytes, and "show it there". slack_sdk's
`files_upload_v2` makes them in one go; here they are made one by one, so that the bytes go only to
Slack's own side, and so that a file is never shown twice when an answer was lost.
Source: https://docs.slack.dev/messaging/working-with-files/#uploading_files
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from remediator.core.cutting import words
from remediator.people.calling import SlackCalls
from remediator.people.origin import of_slack
from remediator.ports import CardRef

WITHIN = 30.0
"""Seconds for the bytes."""
MOST_BYTES = 8 * 1024 * 1024
LOST = "?"
"""In place of a file's id: Slack may show it, and never said so. It is not sent again."""


@dataclass(frozen=True)
class Enclosed:
    """``file``: the id of what stands in the thread, or `LOST`; "" where nothing does: see ``problem``."""

    file: str = ""
    problem: str = ""


async def enclose(slack: SlackCalls, card: CardRef, name: str, text: str) -> Enclosed:
    """Show this text as a file in the card's thread. Never raises."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > MOST_BYTES:
        return Enclosed(problem=f"{len(data)} bytes are too many")
    place = await slack.call(
        "files_getUploadURLExternal", {"filename": name, "length": len(data)}, ("upload_url", "file_id")
    )
    if place.error:
        return Enclosed(problem=place.error)
    url, file = str(place.data["upload_url"]), str(place.data["file_id"])
    if not of_slack(url, slack.app.api_url):
        return Enclosed(problem="Slack named an address that is not its own")
    problem = await _send(url, data)
    if problem:
        return Enclosed(problem=problem)
    where = {"channel_id": card.channel, "thread_ts": card.ts}
    shown = await slack.call(
        "files_completeUploadExternal", {"files": [{"id": file, "title": name}], **where}
    )
    if shown.error:
        return Enclosed(LOST if shown.unknown else "", shown.error)
    return Enclosed(file)


async def _send(url: str, data: bytes) -> str:
    """The problem, or "" once Slack has the bytes. Nobody sees them yet."""
    try:
        async with (
            asyncio.timeout(WITHIN),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.post(url, data=data, allow_redirects=False) as answer,
        ):
            return "" if answer.status == 200 else f"the upload was answered {answer.status}"
    except TimeoutError:
        return f"the upload took longer than {WITHIN:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return words(error)
