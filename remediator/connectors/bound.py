"""How many rows or sessions a step may touch, as its call says, and what to say when it is another number."""

from __future__ import annotations

from dataclasses import dataclass

from remediator.core.counting import counted
from remediator.core.intention import Call
from remediator.errors import ConnectorError


@dataclass(frozen=True)
class Bound:
    """So many at least, and so many at most. noun: what is counted."""

    least: int
    most: int
    noun: str = "row"

    def broken_by(self, count: int, verb: str) -> str:
        """Why this number may not be; "" when it may. ``verb``: what it does or would do with them."""
        if count > self.most:
            return f"it {verb} more than {self.counted(self.most)}"
        if count < self.least:
            return f"it {verb} {self.counted(count)}, not {self.least}"
        return ""

    def counted(self, count: int) -> str:
        """As people read it."""
        return counted(count, self.noun)


def bound(call: Call, most_of_all: int, noun: str = "row") -> Bound:
    """What the call says under ``rows``. ConnectorError where it says nothing, or more than is allowed."""
    match call.args.get("rows"):
        case {"exactly": int(count), **rest} if not rest and not isinstance(count, bool) and count >= 0:
            found = Bound(count, count, noun)
        case {"at_most": int(most), **rest} if not rest and not isinstance(most, bool) and most >= 0:
            found = Bound(0, most, noun)
        case _:
            raise ConnectorError(call.connection, f"it is not said how many {noun}s", remedy="write rows: 1")
    if found.most > most_of_all:
        raise ConnectorError(
            call.connection,
            f"{found.counted(found.most)} are more than the connection allows ({most_of_all})",
            remedy="ask for fewer, or raise `rows` of the connection",
        )
    return found
