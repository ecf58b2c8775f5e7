"""Block Kit's limits, as the real Slack enforces them.

Source: https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MOST_BLOCKS = 50
MOST_TEXT = 40_000
_STYLES = {"primary", "danger"}
_INPUTS = {
    "plain_text_input",
    "email_text_input",
    "url_text_input",
    "number_input",
    "rich_text_input",
    "checkboxes",
    "radio_buttons",
    "datepicker",
    "timepicker",
    "datetimepicker",
    *(
        f"{many}{kind}_select"
        for many in ("", "multi_")
        for kind in ("static", "external", "users", "conversations", "channels")
    ),
}
"""Elements that an input block of a message may hold."""
_LINE = {
    "type",
    "action_id",
    "placeholder",
    "initial_value",
    "multiline",
    "min_length",
    "max_length",
    "dispatch_action_config",
    "focus_on_load",
}
_RICH = {"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"}
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
        case "input":
            yield from _input(block, place)
        case "rich_text":
            yield from _rich_text(block, place)
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


def _input(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """An input block: docs.slack.dev/reference/block-kit/blocks/input-block."""
    yield from _known(
        block, {"type", "block_id", "label", "element", "hint", "optional", "dispatch_action"}, place
    )
    yield from _text(block.get("label"), 2000, f"{place}/label", plain=True)
    if "hint" in block:
        yield from _text(block["hint"], 2000, f"{place}/hint", plain=True)
    for name in ("optional", "dispatch_action"):
        if not isinstance(block.get(name, False), bool):
            yield f"{place}/{name}", "must be a boolean"
    element, at = block.get("element"), f"{place}/element"
    if not isinstance(element, dict):
        yield place, "missing required field: element"
    elif element.get("type") not in _INPUTS:
        yield f"{at}/type", "unsupported type"
    elif element["type"] == "plain_text_input":
        yield from _line(element, at)


def _line(element: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Its line of text: docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element."""
    yield from _known(element, _LINE, place)
    yield from _length(element.get("action_id", "x"), 255, f"{place}/action_id")
    if "placeholder" in element:
        yield from _text(element["placeholder"], 150, f"{place}/placeholder", plain=True)
    if not isinstance(element.get("initial_value", ""), str):
        yield f"{place}/initial_value", "must be a string"
    for name in ("multiline", "focus_on_load"):
        if not isinstance(element.get(name, False), bool):
            yield f"{place}/{name}", "must be a boolean"
    for name, least in (("min_length", 0), ("max_length", 1)):
        length = element.get(name, least)
        if not isinstance(length, int) or isinstance(length, bool):
            yield f"{place}/{name}", "must be an integer"
        elif not least <= length <= 3000:
            yield f"{place}/{name}", f"must be between {least} and 3000"


def _rich_text(block: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    elements = block.get("elements")
    if not isinstance(elements, list):
        yield f"{place}/elements", "must be an array"
        return
    for index, element in enumerate(elements):
        at = f"{place}/elements/{index}"
        if not isinstance(element, dict) or element.get("type") not in _RICH:
            yield f"{at}/type", "unsupported type"
            continue
        for number, piece in enumerate(element.get("elements", [])):
            if piece.get("type") == "text":
                yield from _length(piece.get("text"), MOST_TEXT, f"{at}/elements/{number}/text")


def _known(given: dict[str, Any], known: set[str], place: str) -> Iterator[tuple[str, str]]:
    for name in given:
        if name not in known:
            yield place, f"invalid additional property: {name}"


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
