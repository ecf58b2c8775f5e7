"""What the parts of a transaction in memory share: changes that can be taken back, and deadlines in order."""

from __future__ import annotations

import heapq
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Deadlines(dict[K, datetime], Generic[K]):
    """When each thing is due, and what is due first.

    Set and taken away as in any dict; keys must have an order. A heap holds every deadline that ever
    was set; one that was moved or taken away since is dropped when it comes up.
    """

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[datetime, Any]] = []

    def __setitem__(self, key: K, at: datetime) -> None:
        if self.get(key) != at:
            super().__setitem__(key, at)
            heapq.heappush(self._heap, (at, key))

    def earliest(self) -> datetime | None:
        """When the first of them is due."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            if self.get(key) == at:
                return at
            heapq.heappop(heap)
        return None

    def until(self, now: datetime, limit: int) -> list[K]:
        """What is due by now, earliest first."""
        if (first := self.earliest()) is None or first > now:
            return []
        # Nearly always no other is due: in a heap none precedes these two.
        if all(at > now for at, _ in self._heap[1:3]):
            return [self._heap[0][1]][:limit]
        found: dict[K, datetime] = {}
        while len(found) < limit and (at := self.earliest()) is not None and at <= now:
            _, key = heapq.heappop(self._heap)
            found[key] = at
        for key, at in found.items():
            heapq.heappush(self._heap, (at, key))
        return list(found)


_NOTHING = object()


class Changes:
    """How to take back what a transaction has changed, latest first."""

    __slots__ = ("_back",)

    def __init__(self) -> None:
        self._back: list[tuple[Any, Any, Any]] = []  # what was changed, where, and what stood there

    def __bool__(self) -> bool:
        return bool(self._back)

    def set(self, table: MutableMapping[K, V], key: K, value: V) -> None:
        """``table[key] = value``."""
        self._back.append((table, key, table.get(key, _NOTHING)))
        table[key] = value

    def drop(self, table: MutableMapping[K, Any], key: K) -> bool:
        """``del table[key]``, if it is there."""
        if key not in table:
            return False
        self._back.append((table, key, table.pop(key)))
        return True

    def put(self, table: MutableMapping[K, V], key: K, value: V | None) -> None:
        """Set it, or drop it where there is nothing to set."""
        if value is None:
            self.drop(table, key)
        else:
            self.set(table, key, value)

    def append(self, rows: list[V], row: V) -> None:
        """``rows.append(row)``."""
        rows.append(row)
        self._back.append((rows, len(rows) - 1, _NOTHING))

    def take_back(self) -> None:
        """As if nothing had been changed."""
        while self._back:
            changed, where, before = self._back.pop()
            if before is _NOTHING:
                del changed[where]
            else:
                changed[where] = before
