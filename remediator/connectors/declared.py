"""Commands that the config declares word by word, with typed slots which policies fill.

What a policy or an alert gives ends as exactly one word, of the type that the config gives it. It never
changes which command is meant, how many words it has, nor what stands around it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from remediator.config import Secret, Section
from remediator.core.catalog import Command, Escape, Param, Risk
from remediator.core.operators import Wrong, compiled, encodable, fits

LONGEST_WORD = 4096
"""Characters that a value may have."""

COMMAND = Param("The name under which the connection declares it.", escape=Escape.LITERAL, required=True)
SLOTS = Param("Map of a value for each of its slots, such as `{queue: '${queue}'}`.", type="map")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DASHED = ("-", r"\-", "^-", r"^\-")
"""A pattern that begins so means a dash in front; one such as '[-a-z]' merely does not mind."""


def _spelled_out(value: object) -> object:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise ValueError(  # noqa: TRY004 - pydantic's own kind
            f"{value!r} is no word; write it in quotes, or {{slot: name, pattern: '…'}}"
        )
    return value


class Word(Section):
    """One word of a command: a text; or a slot, or a secret, with what stands before it in the same word."""

    text: str | None = Field(default=None, description="the word itself; a plain string says the same")
    slot: str | None = Field(default=None, description="the name by which policies fill it")
    secret: Secret | None = Field(default=None, description="a word that never shows: ${env:NAME}")
    prefix: str = Field(default="", description="what stands before a slot or secret, such as --queue=")
    type: Literal["string", "int"] = Field(default="string", description="string or int, of a slot")
    pattern: str | None = Field(default=None, description="what a string must match, whole (RE2)")
    values: tuple[str, ...] = Field(default=(), description="all that it may be, instead of a pattern")
    min: int | None = Field(default=None, description="the smallest number; 0 if left out")
    max: int | None = Field(default=None, description="the largest number")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in ("text", "slot", "secret") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("write a text, or one of slot: and secret:")
        for part in (self.text or "", self.prefix, *self.values):
            _plain(part)
        if self.slot is not None:
            self._check_slot()
        elif self.model_fields_set - {"text", "secret", "prefix"} or (self.prefix and self.text is not None):
            raise ValueError("only a slot has a type, and what it may be")
        return self

    def _check_slot(self) -> None:
        if not _NAME.fullmatch(self.slot or ""):
            raise ValueError(f"{self.slot!r} is no name of a slot; write one such as queue")
        if self.type == "int":
            if self.pattern is not None or self.values:
                raise ValueError("of an int, say min and max")
            return
        if (self.pattern is None) is not bool(self.values):
            raise ValueError("a slot needs a pattern, such as '[a-z0-9-]{1,64}', or values, or type: int")
        if self.min is not None or self.max is not None:
            raise ValueError("only an int has min and max")
        if self.pattern is not None:
            compiled(self.pattern)

    def filled(self, given: Mapping[str, Any], *, shown: bool = False) -> str:
        """The word as it is sent; or as people see it. Raises ValueError."""
        if self.secret is not None:
            return self.prefix + ("[hidden]" if shown else self.secret.get_secret_value())
        if self.slot is None:
            return self.text or ""
        value = given[self.slot]
        try:
            word = self._number(value) if self.type == "int" else self._string(value)
        except ValueError as error:
            raise ValueError(f"{self.slot}: {error}") from None
        return self.prefix + word

    def _number(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"{_brief(value)} is no whole number")
        least = self.min if self.min is not None else 0
        if value < least or (self.max is not None and value > self.max):
            most = f" to {self.max}" if self.max is not None else " or more"
            raise Wrong(f"{_brief(value)} is not within {least}{most}")
        return str(value)

    def _string(self, value: object) -> str:
        if not isinstance(value, str):
            raise Wrong(f"{_brief(value)} is no text")
        if not value or len(value) > LONGEST_WORD:
            raise Wrong(f"it must have 1 to {LONGEST_WORD} characters, not {len(value)}")
        encodable(value)
        _plain(value)
        if self.values and value not in self.values:
            raise Wrong(f"{_brief(value)} is none of {', '.join(self.values)}")
        if self.pattern is not None and not fits(compiled(self.pattern), value):
            raise Wrong(f"{_brief(value)} does not fit {self.pattern}")
        meant = self.prefix or self.values or (self.pattern or "").startswith(_DASHED)
        if value.startswith("-") and not meant:
            raise Wrong(f"{_brief(value)} begins with - and could pass for an option")
        return value


def _plain(text: str) -> None:
    if _CONTROL.search(text):
        raise ValueError("a word may hold no NUL, newline or other control character")


def _brief(value: object) -> str:
    return repr(value)[:80]


def _literal_first(argv: tuple[Word, ...]) -> tuple[Word, ...]:
    if not argv or not argv[0].text:
        raise ValueError("the first word says what is done, and must be written out")
    return argv


Spelled = Annotated[Word, BeforeValidator(_spelled_out)]
"""A word as people write it: a string, or a map."""
Argv = Annotated[tuple[Spelled, ...], AfterValidator(_literal_first)]
"""A command word by word: texts, and slots such as ``{slot: queue, pattern: '[a-z]{1,32}'}``."""


class Declared(Section):
    """What every declared command has."""

    argv: Argv = Field(description="its words: [FLUSHDB, ASYNC], or with {slot: name, pattern: '…'}")
    risk: Risk = Field(
        default=Risk.DESTRUCTIVE, description="safe, disruptive or destructive; destructive if left out"
    )

    @property
    def slots(self) -> frozenset[str]:
        """The names of its slots."""
        return frozenset(word.slot for word in self.argv if word.slot is not None)

    def words(self, given: object, *, shown: bool = False) -> list[str]:
        """The command with its slots filled; ``shown``: as people see it. Raises ValueError."""
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise ValueError("slots must be a map of values by their slot's name")  # noqa: TRY004 - see above
        for name in sorted(self.slots - given.keys()):
            raise ValueError(f"the slot {name} is empty")
        for name in sorted(map(str, given.keys() - self.slots)):
            known = ", ".join(sorted(self.slots)) or "none"
            raise ValueError(f"it has no slot {name[:80]!r}; its slots: {known}")
        return [word.filled(given, shown=shown) for word in self.argv]


DeclaredT = TypeVar("DeclaredT")
_COMMAND_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


def named(commands: dict[str, Any]) -> dict[str, Any]:
    """The names are such that policies can write them. Raises ValueError."""
    for name in commands:
        if not _COMMAND_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a command's name; write one such as flush-cache")
    return commands


def found(commands: Mapping[str, DeclaredT], name: object, noun: str = "command") -> DeclaredT:
    """The command of this name. Raises ValueError. ``noun``: what they are called."""
    if not isinstance(name, str) or name not in commands:
        near = get_close_matches(str(name), commands, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"it declares {', '.join(commands) or 'none'}"
        raise ValueError(f"the connection declares no {noun} {_brief(name)}; {remedy}")
    return commands[name]


def endpoints(commands: Mapping[str, Declared]) -> dict[str, Risk]:
    """Their risks, as a connection lists them."""
    return {f"COMMAND {name}": command.risk for name, command in commands.items()}


def declared(commands: Mapping[str, Declared], *, reads: frozenset[str] = frozenset()) -> dict[str, Command]:
    """What policies may know of them. ``reads``: those that change nothing."""
    return {
        name: Command(name in reads, one.slots, refusing(functools.partial(one.words, shown=True)))
        for name, one in commands.items()
    }


def refusing(fill: Callable[[object], object]) -> Callable[[object], str]:
    """What tells why slots cannot be filled with these values. ``fill``: fills them, or raises ValueError."""

    def refuses(given: object) -> str:
        try:
            fill(given)
        except ValueError as error:
            return str(error)
        return ""

    return refuses


def spelled(words: Sequence[str]) -> str:
    """A command as people read it: a word with anything unusual in it in quotes."""
    return " ".join(word if _USUAL.fullmatch(word) else repr(word) for word in words)


_USUAL = re.compile(r"[A-Za-z0-9_:./*@%+,=\[\]-]+")
