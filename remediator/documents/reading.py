"""First door of a policy file and of the settings: bytes to plain values, with the place of each.

YAML as people read it, on PyYAML's C parser: ``NO`` is a text, ``1:30`` is not 90, and nothing may
stand for something else (no anchors, aliases, tags or merge keys). Built from events rather than by
PyYAML's composer, so that depth and aliases are refused before they cost anything.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from remediator.documents.finding import Finding

LARGEST = 256 * 1024
"""Bytes that one file may have."""

DEEPEST = 50
"""Levels that maps and lists may nest."""

Place = tuple[str | int, ...]
"""Keys and indices from the document's root: ``("steps", "restart", "with")``."""


class Position(NamedTuple):
    """Where something stands.

    lead: columns from there to a text's first character, or -1 where that cannot be told (block and
    folded texts, escapes).
    """

    line: int
    col: int
    lead: int = -1

    def moved(self, offset: int) -> Position:
        """The position of a text's character number ``offset``."""
        return Position(self.line, self.col + self.lead + offset) if self.lead >= 0 else self


@dataclass
class Document:
    """One YAML document: its value, its text, and where everything in it stands."""

    file: str
    text: str
    line: int
    value: Any = None
    keys: dict[Place, Position] = field(default_factory=dict)
    values: dict[Place, Position] = field(default_factory=dict)

    def position(self, place: Place, *, key: bool = False) -> Position:
        """Of the value there (or its key), or of the nearest thing around it."""
        if key and place in self.keys:
            return self.keys[place]
        while place and place not in self.values:
            place = place[:-1]
        return self.values.get(place, Position(self.line, 1))


class _Refused(Exception):
    """The file breaks one of our own rules."""

    def __init__(self, code: str, message: str, remedy: str, position: Position) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy, self.position = code, message, remedy, position


def read_file(path: Path) -> tuple[list[Document], list[Finding]]:
    """The same of a file, of which no more is read than a file may have; one that cannot be is a finding."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                problem = "cannot be read: this is no regular file"
                return [], [Finding(str(path), 1, 1, "P001", "error", problem, "mend it, or take it away")]
            data = file.read(LARGEST + 1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        return [], [Finding(str(path), 1, 1, "P001", "error", problem, "mend it, or take it away")]
    return read(data, str(path))


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting: nobody may ever write to a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def read(data: bytes, file: str) -> tuple[list[Document], list[Finding]]:
    """The documents of a file, up to the first thing that cannot be read."""
    documents: list[Document] = []
    try:
        text = _decoded(data)
        lines = text.split("\n")
        try:
            documents.extend(_Builder(text, file).documents())
        except yaml.YAMLError as error:
            raise _complaint(error, text, lines) from error
    except _Refused as no:
        found = Finding(file, no.position.line, no.position.col, no.code, "error", no.message, no.remedy)
        return documents, [found]
    return documents, []


# ── Bytes ───────────────────────────────────────────────────────────────────────────────────────


_FORBIDDEN = re.compile("[\0\x85\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""NUL, what YAML 1.1 takes for line breaks while editors do not, and what shows text in another order."""


def _decoded(data: bytes) -> str:
    if len(data) > LARGEST:
        raise _Refused("P001", f"the file has more than {LARGEST} bytes", "split it", Position(1, 1))
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Refused("P001", "this is not UTF-8", "save it as UTF-8", Position(line, 1)) from error
    if bad := _FORBIDDEN.search(text):
        name = "a NUL character" if bad.group() == "\0" else "an invisible line break"
        if bad.group() > "\u2029":
            name = f"a character that shows text in another order, U+{ord(bad.group()):04X}"
        raise _Refused("P001", f"there is {name}", "take it out", _reached(text[: bad.start()]))
    return text


def _reached(before: str) -> Position:
    """The position right behind a text."""
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _complaint(error: yaml.YAMLError, text: str, lines: list[str]) -> _Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        at = Position(mark.line + 1, mark.column + 1)
    else:
        at = _reached(text[: int(getattr(error, "position", 0) or 0)])
    if at.line > len(lines):  # the parser stands behind a last line that has no end
        at = _reached(text)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    line = lines[at.line - 1]
    remedy = ""
    if "${" in "".join(lines[max(at.line - 2, 0) : at.line]):
        remedy = "quote the text that holds ${…}"
    elif line[: len(line) - len(line.lstrip())].count("\t"):
        remedy = "indent with spaces, not with tabs"
    return _Refused("P002", f"this is not YAML: {problem}", remedy, at)


# ── Scalars ─────────────────────────────────────────────────────────────────────────────────────

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_NO_NUMBERS = (".nan", ".inf")
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def resolve(text: str) -> object:
    """The value of a plain scalar: null, a boolean, a number, else the text itself; raises ValueError."""
    if text in _WORDS:
        return _WORDS[text]
    if text.lower().lstrip("+-") in _NO_NUMBERS:
        raise ValueError(f"{text} is no number")
    if not _FLOAT.fullmatch(text):
        return text
    if len(text) > 40:
        raise ValueError("a number has more than 40 digits")
    if _INT.fullmatch(text):
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    if Decimal(repr(number)) != Decimal(text):
        raise ValueError(f"{text} has more digits than are kept: it would be {number!r}")
    return number


# ── Events to values ────────────────────────────────────────────────────────────────────────────


class _Builder:
    """Turns the parser's events into documents."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._lines = text.split("\n")
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._document = Document(file, text, 1)

    def documents(self) -> Iterator[Document]:
        """Each document that is not empty."""
        begun: list[Document] = []
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._document = Document(self._file, "", _position(event).line if begun else 1)
                begun.append(self._document)
                self._document.value = self._value(next(self._events), ())
        for document, after in zip_longest(begun, begun[1:]):
            last = after.line - 1 if after else len(self._lines)
            document.text = "\n".join(self._lines[document.line - 1 : last])
            if document.value is not None:
                yield document

    def _value(self, event: Any, place: Place) -> Any:
        self._check(event, place)
        self._document.values[place] = _position(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        return self._map(place)

    def _check(self, event: Any, place: Place) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise _refused(event, "P003", f"an alias, *{event.anchor}", "write the value out")
        if event.anchor is not None:
            raise _refused(event, "P003", f"an anchor, &{event.anchor}", "write the value out")
        if event.tag is not None:
            raise _refused(event, "P003", f"a tag, {event.tag}", "take it out; quote what is a text")
        if len(place) > DEEPEST:
            raise _refused(event, "P005", f"nested more than {DEEPEST} deep", "flatten it")

    def _scalar(self, event: Any) -> object:
        if "\0" in event.value:
            raise _refused(event, "P001", "there is a NUL character", "take it out")
        if event.style:
            return event.value
        try:
            return resolve(event.value)
        except ValueError as error:
            raise _refused(event, "P006", str(error), "quote it if it is a text") from error

    def _list(self, place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*place, len(items))))
        return items

    def _map(self, place: Place) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, place)
            if key in entries:
                raise _refused(event, "P004", f"the key {key!r} is there twice", "keep one")
            self._document.keys[*place, key] = _position(event)
            entries[key] = self._value(next(self._events), (*place, key))
        return entries

    def _key(self, event: Any, place: Place) -> str:
        self._check(event, place)
        key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            raise _refused(event, "P006", "a key is not a text", "quote it")
        if key == "<<" and not event.style:
            raise _refused(event, "P003", "a merge key, <<", "write the values out")
        return key


def _refused(event: Any, code: str, message: str, remedy: str) -> _Refused:
    return _Refused(code, message, remedy, _position(event))


def _position(event: Any) -> Position:
    start, end = event.start_mark, event.end_mark
    lead = -1
    if isinstance(event, yaml.ScalarEvent) and start.line == end.line:
        quotes = {None: 0, "": 0, "'": 1, '"': 1}.get(event.style)
        if quotes is not None and end.column - start.column == len(event.value) + 2 * quotes:
            lead = quotes
    return Position(start.line + 1, start.column + 1, lead)
