"""The pieces of Slack's messages, and how much one of them holds. Pure.

Source: https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

from typing import Any

Block = dict[str, Any]

SECTION = 2900
"""Characters of one text; Slack refuses more than 3000."""


def section(text: str) -> Block:
    """A paragraph in which markup is read."""
    return {"type": "section", "text": mrkdwn(text)}


def mrkdwn(text: str) -> Block:
    """Text in which markup is read, but no bare address becomes a link."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def preformatted(text: str) -> Block:
    """Literal text: no markup is read in it, so nothing is escaped and nothing is lost."""
    piece = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [piece]}


def button(words: str, action: str, value: str, *, style: str = "") -> Block:
    """A button; its action and value come back with a click."""
    how = {"style": style} if style else {}
    text = {"type": "plain_text", "text": words, "emoji": False}
    return {"type": "button", "action_id": action, **how, "text": text, "value": value}


def confirming(one: Block, title: str, text: str) -> Block:
    """The same button, behind a question that has to be answered first."""
    words = {"title": title, "text": text, "confirm": "Yes", "deny": "No"}
    asked = {name: {"type": "plain_text", "text": told, "emoji": False} for name, told in words.items()}
    return {**one, "confirm": asked}


def buttons(name: str, *elements: Block) -> Block:
    """A row of buttons."""
    return {"type": "actions", "block_id": name, "elements": list(elements)}


def line_input(name: str, label: str, most: int) -> Block:
    """One line that may stay empty. A click on a button of the message brings along what stands in it."""
    return {
        "type": "input",
        "block_id": name,
        "optional": True,
        "label": {"type": "plain_text", "text": label, "emoji": False},
        "element": {"type": "plain_text_input", "action_id": name, "max_length": most},
    }


def fitting(lines: list[str], page: str) -> str:
    """As many lines as one section holds, and how many it does not."""
    kept: list[str] = []
    room = SECTION - 400
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    return "\n".join([*kept, *([f"… {left} more; see {page}"] if left else [])])
