"""Files that are given to the fake Slack: begun, uploaded, and then shown in a channel or a thread.

Source: https://docs.slack.dev/messaging/working-with-files/#uploading_files
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Self


@dataclass
class Upload:
    """One file. ``content`` is None until its bytes have come; nobody sees it before it is shared."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    shared: bool = False
    channel: str = ""
    thread_ts: str = ""
    title: str = ""

    @classmethod
    def new(cls, name: str, length: int) -> Self:
        """Begun: Slack has said where its bytes are to go."""
        return cls(f"F0{secrets.token_hex(4).upper()}", name, length)

    def take(self, content: bytes) -> str:
        """Its bytes; the problem, or ""."""
        if self.content is not None:
            return "this URL was used before"
        if len(content) != self.length:
            return f"{len(content)} bytes, and {self.length} were announced"
        self.content = content
        return ""

    def as_json(self) -> dict[str, Any]:
        """For the control API's answers."""
        text = None if self.content is None else self.content.decode("utf-8", "replace")
        return {**vars(self), "content": text}
