"""Statements that the config declares, with typed slots that policies fill.

The text of a statement never holds a value: the server prepares it with question marks where its slots are,
and is given the values beside it. What a statement means, the server's own grammar judges; here it is only
made sure that it is one that reads or one that changes rows, and that nothing in it hides a slot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from remediator.config import Section
from remediator.connectors.mysql import values
from remediator.core.catalog import Risk
from remediator.core.operators import compiled, fits

READS = frozenset({"SELECT", "SHOW", "WITH"})
CHANGES = frozenset({"UPDATE", "DELETE", "INSERT", "REPLACE"})
FORBIDDEN = frozenset(
    {"INTO", "LOAD_FILE", "GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "SLEEP", "BENCHMARK", "NEXTVAL"}
)
"""What a statement that only reads may not say: it would write, wait or take something."""

UNLOCKABLE = frozenset({"UNION", "INTERSECT", "EXCEPT", "FOR", "LOCK"})
"""What a preview may not say: the act asks it once more with FOR UPDATE behind it."""

_TOKEN = re.compile(
    r"""(?P<quoted>'[^']*'|"[^"]*"|`[^`]*`)|:(?P<slot>[a-z][a-z0-9_]*)|(?P<bad>--|\#|/\*|;|\?|@|:=|['"`:])"""
    r"""|(?P<word>[^\W\d][\w$]*)|\d[\w.]*|\s+|.""",
    re.DOTALL,
)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Slot(Section):
    """What one value of a statement may be."""

    type: Literal["string", "int", "number", "bool", "time"] = Field(
        default="string", description="string, int, number, bool or time (ISO)"
    )
    pattern: str | None = Field(default=None, description="what a string must match, whole (RE2)")
    values: tuple[str, ...] = Field(default=(), description="all that it may be, instead of a pattern")
    min: int | None = Field(default=None, description="the smallest number; 0 if left out")
    max: int | None = Field(default=None, description="the largest number")

    @model_validator(mode="after")
    def _says_what_it_may_be(self) -> Self:
        if (self.type == "string") is not ((self.pattern is not None) is not bool(self.values)):
            raise ValueError(
                "a string needs a pattern, such as '[a-z0-9-]{1,64}', or values; nothing else has"
            )
        if self.type not in ("int", "number") and (self.min is not None or self.max is not None):
            raise ValueError("only a number has min and max")
        if self.pattern is not None:
            compiled(self.pattern)
        return self

    def literal(self, value: object) -> str:
        """The value as it is sent. Raises ValueError."""
        match self.type:
            case "string":
                return self._string(value)
            case "bool":
                return values.truth(value)
            case "time":
                return values.moment(value)
        exact = values.whole(value) if self.type == "int" else values.number(value)
        least = self.min if self.min is not None else 0
        given = Decimal(exact)
        if given < least or (self.max is not None and given > self.max):
            most = f" to {self.max}" if self.max is not None else " or more"
            raise ValueError(f"{exact} is not within {least}{most}")
        return exact

    def _string(self, value: object) -> str:
        literal = values.text(value)
        if self.values and value not in self.values:
            raise ValueError(f"{values.brief(value)} is none of {', '.join(self.values)}")
        if self.pattern is not None and not fits(compiled(self.pattern), str(value)):
            raise ValueError(f"{values.brief(value)} does not fit {self.pattern}")
        return literal


class Prepared:
    """A text with question marks, and the slots for which they stand, in order. Raises ValueError."""

    def __init__(self, sql: str) -> None:
        if "\\" in sql:
            raise ValueError("a declared statement holds no backslash: pass what needs one as a value")
        self.slots: list[str] = []
        self.words: list[str] = []
        parts: list[str] = []
        for token in _TOKEN.finditer(sql):
            if token["bad"]:
                raise ValueError(
                    f"{token['bad']!r} may not stand in a declared statement; a slot is written :name"
                )
            if token["slot"]:
                self.slots.append(token["slot"])
            elif token["word"]:
                self.words.append(token["word"])
            parts.append("?" if token["slot"] else token[0])
        self.text = " ".join("".join(parts).split("\n")).strip()
        self.names = [token["quoted"][1:-1] for token in _TOKEN.finditer(sql) if token["quoted"]] + self.words

    @property
    def verb(self) -> str:
        return self.words[0].upper() if self.words else ""

    @property
    def reads(self) -> bool:
        return self.verb in READS

    def check(self) -> None:
        """Raises ValueError."""
        said = {word.upper() for word in self.words}
        if self.reads:
            if found := said & FORBIDDEN:
                raise ValueError(f"{min(found)} may not stand in a statement that only reads")
        elif self.verb not in CHANGES:
            raise ValueError(
                f"{self.verb or 'This'} may not be declared; "
                "write one SELECT, SHOW, UPDATE, INSERT, REPLACE or DELETE"
            )
        elif self.verb in ("UPDATE", "DELETE") and "WHERE" not in said:
            raise ValueError(f"{self.verb} needs a WHERE")


class Statement(Section):
    """One statement, with all that it may cost."""

    sql: str = Field(description="the statement, with :name where a value stands")
    slots: dict[str, Slot] = Field(default={}, description="what each :name may be")
    risk: Risk = Field(
        default=Risk.DESTRUCTIVE, description="safe, disruptive or destructive; destructive if left out"
    )
    rows: int = Field(
        default=1000, gt=0, le=100_000, description="rows that it may change or answer, at most"
    )
    preview: str | None = Field(
        default=None,
        description="a SELECT by the same slots, which shows what would change; asked again before it does",
    )

    @model_validator(mode="after")
    def _may_be_declared(self) -> Self:
        for name in self.slots:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a slot; write one such as job_id")
        self.prepared.check()
        named = set(self.prepared.slots)
        if self.preview is not None:
            shown = Prepared(self.preview)
            if self.reads or shown.verb not in ("SELECT", "WITH"):
                raise ValueError("a preview is a SELECT beside a statement that changes rows")
            shown.check()
            if found := {word.upper() for word in shown.words} & UNLOCKABLE:
                raise ValueError(f"{min(found)} may not stand in a preview: it is asked once more FOR UPDATE")
            named |= set(shown.slots)
        if unknown := sorted(named - self.slots.keys()):
            raise ValueError(f"it does not say what :{unknown[0]} may be; write it under slots")
        if unused := sorted(self.slots.keys() - named):
            raise ValueError(f"the slot {unused[0]} stands nowhere in it; write :{unused[0]}")
        return self

    @property
    def prepared(self) -> Prepared:
        return Prepared(self.sql)

    @property
    def reads(self) -> bool:
        """Does it change nothing?"""
        return self.prepared.reads

    def filled(self, given: object) -> dict[str, str]:
        """A literal for each slot. Raises ValueError."""
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise ValueError("slots must be a map of values by their slot's name")  # noqa: TRY004 - likewise
        for name in sorted(self.slots.keys() - given.keys()):
            raise ValueError(f"the slot {name} is empty")
        for name in sorted(map(str, given.keys() - self.slots.keys())):
            known = ", ".join(sorted(self.slots)) or "none"
            raise ValueError(f"it has no slot {name[:80]!r}; its slots: {known}")
        literals = {}
        for name, slot in self.slots.items():
            try:
                literals[name] = slot.literal(given[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return literals
