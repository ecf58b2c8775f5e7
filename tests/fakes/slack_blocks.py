"""Block Kit's limits, as the real Slack enforces them.

Source: https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MOST_BLOCKS = 50
MOST_TEXT = 40_000
_STYLES = {"primary", "danger"}
_BLOCK_TYPES = {"section", "header", "context", "actions", "divider", "image", "input", "rich_text"}


def problems(blocks: object) -> list[str]:
    """What is wrong with the blocks, in the real one's words; empty where all is well."""
    if not isinstance(blocks, list):
        return ["must be an array [json-pointer:/blocks]"]
    if len(blocks) > MOST_BLOCKS:
        return [f"no more than {MOST_BLOCKS} items allowed [json-pointer:/blocks]"]
    found: list[str] = []
    ids: set[str] = set()
    for index, block in enumerate(blocks):
        place = f"/blocks/{index}"
        found.extend(f"{problem} [json-pointer:{at}]" for at, problem in _block(block, place))
        identity = block.get("block_id") if isinstance(block, dict) else None
        if identity is not None and identity in ids:
            found.append(f"`block_id` {identity} already exists [json-pointer:{place}/block_id]")
        ids.add(str(identity))
    return found


def _block(block: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(block, dict) or block.get("type") not in _BLOCK_TYPES:
        yield f"{place}/type", "unsupported type"
        return
    yield from _length(block.get("block_id", "x"), 255, f"{place}/block_id")
    match block["type"]:
        case "section":
            yield from _section(block, place)
        case "header":
            yield from _text(block.get("text"), 150, f"{place}/text", plain=True)
        case "context":
            elements = block.get("elements", [])
            yield from _count(elements, 1, 10, f"{place}/elements")
            for index, element in enumerate(elements):
                if element.get("type") != "image":
                    yield from _text(element, 3000, f"{place}/elements/{index}")
        case "actions":
            yield from _actions(block, place)
        case _:
            return


def _section(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    if "text" not in block and "fields" not in block:
        yield place, "missing required field: text or fields"
    if "text" in block:
        yield from _text(block["text"], 3000, f"{place}/text")
    fields = block.get("fields")
    if fields is not None:
        yield from _count(fields, 1, 10, f"{place}/fields")
        for index, one in enumerate(fields):
            yield from _text(one, 2000, f"{place}/fields/{index}")
    if "accessory" in block:
        yield from _element(block["accessory"], f"{place}/accessory")


def _actions(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    elements = block.get("elements", [])
    yield from _count(elements, 1, 25, f"{place}/elements")
    ids: set[str] = set()
    for index, element in enumerate(elements):
        at = f"{place}/elements/{index}"
        yield from _element(element, at)
        identity = element.get("action_id")
        if identity is not None and identity in ids:
            yield f"{at}/action_id", f"`action_id` {identity} already exists"
        ids.add(str(identity))


def _element(element: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(element, dict) or "type" not in element:
        yield place, "missing required field: type"
        return
    yield from _length(element.get("action_id", "x"), 255, f"{place}/action_id")
    if "confirm" in element:
        yield from _confirm(element["confirm"], f"{place}/confirm")
    if element["type"] != "button":
        return
    yield from _text(element.get("text"), 75, f"{place}/text", plain=True)
    yield from _length(element.get("value", "x"), 2000, f"{place}/value")
    yield from _length(element.get("url", "x"), 3000, f"{place}/url")
    if element.get("style", "primary") not in _STYLES:
        yield f"{place}/style", "must be one of: primary, danger"


def _confirm(confirm: Any, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(confirm, dict):
        yield place, "must be an object"
        return
    yield from _text(confirm.get("title"), 100, f"{place}/title", plain=True)
    yield from _text(confirm.get("text"), 300, f"{place}/text")
    yield from _text(confirm.get("confirm"), 30, f"{place}/confirm", plain=True)
    yield from _text(confirm.get("deny"), 30, f"{place}/deny", plain=True)


def _text(text: Any, most: int, place: str, *, plain: bool = False) -> Iterator[tuple[str, str]]:
    if not isinstance(text, dict):
        yield place, "must be a text object"
        return
    if text.get("type") not in ({"plain_text"} if plain else {"plain_text", "mrkdwn"}):
        yield f"{place}/type", "unsupported type"
    yield from _length(text.get("text"), most, f"{place}/text")


def _length(value: Any, most: int, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield place, "must be a string"
    elif not value:
        yield place, "must be more than 0 characters"
    elif len(value) > most:
        yield place, f"must be less than {most + 1} characters"


def _count(items: Any, least: int, most: int, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(items, list):
        yield place, "must be an array"
    elif len(items) < least:
        yield place, f"no less than {least} items allowed"
    elif len(items) > most:
        yield place, f"no more than {most} items allowed"
