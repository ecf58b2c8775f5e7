"""Rows that a store cannot read: another version's, or damaged. Lists leave them out, and go on."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from remediator.ports import Disposition, Unreadable

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Iterable[Any])
V = TypeVar("V")

_KEYS = {"alerts": 1, "dispositions": 2, "effects": 2, "pages": 1}
"""The tables whose lists leave out what cannot be read, and how many columns tell people which row it is."""


class Docs(Generic[V]):
    """Reads what stands in a ``doc``; whatever is wrong with it is a DecodeError.

    msgspec has another error where bytes are no letters, as when a disk has turned a bit of a text.
    """

    def __init__(self, decoder: msgspec.json.Decoder[V]) -> None:
        self._decoder = decoder

    def decode(self, doc: str | bytes) -> V:
        """Raises DecodeError."""
        try:
            return self._decoder.decode(doc)
        except UnicodeDecodeError as error:
            raise msgspec.DecodeError(str(error)) from None


def own(found: Disposition, policy: str, fingerprint: str) -> None:
    """Raises DecodeError for what stands in another's row: deciding it would leave that row due."""
    told, keys = (found.policy, found.fingerprint), (policy, fingerprint)
    if any(one.replace("\0", "␀") != key.replace("\0", "␀") for one, key in zip(told, keys, strict=True)):
        raise msgspec.DecodeError(f"it is about policy {found.policy} and alert {found.fingerprint}")


class Unread:
    """What the lists of one store have left out since its start, each row told once."""

    def __init__(self) -> None:
        self._known: set[Unreadable] = set()
        self._news: deque[Unreadable] = deque()  # threads of the store add to it

    def news(self) -> list[Unreadable]:
        """What was left out for the first time since this was asked last."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def listed(self, table: str, read: Callable[[K], V], rows: Iterable[K]) -> list[V]:
        """What can be read of a list, whose rows begin with the columns of their key."""
        return self.sorted_out(table, read, rows)[0]

    def sorted_out(
        self, table: str, read: Callable[[K], V], rows: Iterable[K]
    ) -> tuple[list[V], list[Unreadable]]:
        """What can be read, and what cannot."""
        found, unread = list[V](), list[Unreadable]()
        for row in rows:
            try:
                found.append(read(row))
            except msgspec.DecodeError as error:
                key = tuple(row)[: _KEYS[table]]
                unread.append(Unreadable(table, tuple(map(str, key)), str(error)))
        for one in unread:
            self._note(one)
        return found, unread

    def _note(self, row: Unreadable) -> None:
        """Logged once."""
        if row in self._known:
            return
        self._known.add(row)
        self._news.append(row)
        about = {"table": row.table, "key": " ".join(row.key), "problem": row.problem}
        log.warning("a row cannot be read, and is left out", extra=about)
