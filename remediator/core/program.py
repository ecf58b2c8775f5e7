"""An expression made ready to run: its tree written as CEL, and compiled once. Called by expression.

Every path (``budget.row.name``) becomes a call that looks it up here when, and only when, CEL asks for
it; every operator becomes a call of `operators`; ``&&`` and ``||`` become choices, which unlike
CEL's own never swallow an error. Callbacks must not raise (the engine prints what they raise): they
record what is wrong, and `Program.run` raises it afterwards.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.machinery import PathFinder
from typing import Any, Literal

from remediator.core import operators, syntax
from remediator.core.operators import Unread, Wrong
from remediator.core.syntax import Node


def _load_engine() -> Any:
    """The Rust extension alone: importing its package would pull in a prompt library."""
    package = importlib.util.find_spec("cel")
    found = package and PathFinder.find_spec("cel.cel", package.submodule_search_locations)
    if not found or not found.loader:
        raise ImportError("the package common-expression-language is not installed")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


_engine = _load_engine()


class Missing(Wrong):
    """A name or key is not there."""


# ── Paths ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Path:
    """``root.key[0]``: a place in the scope. ``offset``: where in the expression's text."""

    root: str
    keys: tuple[str | int, ...] = ()
    offset: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return self.root + "".join(map(_spelled, self.keys))

    def find(self, scope: Mapping[str, object]) -> object:
        """The very value; raises Missing, or Wrong where the way leads through no map or list."""
        if self.root not in scope:
            raise Missing(f"{self.root!r} is not known here")
        value = scope[self.root]
        for depth, key in enumerate(self.keys):
            value = self._step(value, key, depth)
        return value

    def has(self, scope: Mapping[str, object]) -> bool:
        """``has(path)``: is the last key there? Everything before it must be."""
        parent = Path(self.root, self.keys[:-1]).find(scope)
        try:
            self._step(parent, self.keys[-1], len(self.keys) - 1)
        except Missing:
            return False
        return True

    def _step(self, value: object, key: str | int, depth: int) -> object:
        if isinstance(value, Mapping):
            if key in value:
                return value[key]
            known = ", ".join(map(str, value)) or "nothing"
            raise Missing(f"{self._up_to(depth)} has no {str(key)!r}; it has {_short(known)}")
        if isinstance(value, (list, tuple)) and isinstance(key, int):
            if 0 <= key < len(value):
                return value[key]
            raise Missing(f"{self._up_to(depth)} has no item {key}; it has {len(value)}")
        raise Wrong(f"{self._up_to(depth)} is {operators.kind_of(value)} and has no {str(key)!r}")

    def _up_to(self, depth: int) -> Path:
        return Path(self.root, self.keys[:depth])


def _spelled(key: str | int) -> str:
    plain = isinstance(key, str) and key.isascii() and key.isidentifier()
    return f".{key}" if plain else f"[{json.dumps(key, ensure_ascii=False)}]"


def _short(text: str, limit: int = 200) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # a message must be fit to be printed
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown(value: object) -> str:
    """The value for an error message: at most 200 characters."""
    try:
        return _short(json.dumps(value, ensure_ascii=False, default=str))
    except (TypeError, ValueError):  # a key that is no text, a value that holds itself
        return _short(repr(value))


def _path(node: Node, bound: frozenset[str]) -> Path | None:
    """The path that a node is, unless it hangs on a loop's variable."""
    keys: list[str | int] = []
    while isinstance(node, syntax.Item) and isinstance(node.key, syntax.Literal):
        key = node.key.value
        if isinstance(key, bool) or not isinstance(key, str | int):
            return None
        keys.append(key)
        node = node.of
    if isinstance(node, syntax.Name) and node.name not in bound:
        return Path(node.name, tuple(reversed(keys)), node.offset)
    return None


# ── Writing CEL ─────────────────────────────────────────────────────────────────────────────────

_GETTERS = frozenset(syntax.METHODS) - frozenset(operators.FUNCTIONS)
_CALLBACKS: dict[str, Callable[..., Any]] = {
    "__negate": operators.negate,
    **dict(operators.MARKS.values()),
    **{f"__{name}": function for name, function in operators.FUNCTIONS.items()},
}


_Ask = Literal["value", "has", "null"]


class _Writer:
    """Writes one tree; remembers the paths and functions that it came across."""

    def __init__(self) -> None:
        self.slots: dict[tuple[Path, _Ask], int] = {}  # (path, what is asked of it) → its number
        self.functions: set[str] = set()
        self.paths: list[Path] = []

    def write(self, node: Node, bound: frozenset[str] = frozenset()) -> str:
        """``bound``: the variables of the loops around it."""
        path = _path(node, bound)
        if path is not None:
            return self._slot(path)
        write = functools.partial(self.write, bound=bound)
        match node:
            case syntax.Literal(value=value):
                return _literal(value)
            case syntax.Name(name=name):
                return name
            case syntax.Item(of=of, key=key):
                return f"{write(of)}[{write(key)}]"
            case syntax.Has(item=item):
                asked = _path(item, bound)
                return self._slot(asked, "has") if asked else f"({write(item.key)} in {write(item.of)})"
            case syntax.Call(name=name, args=args) if name in _GETTERS:
                return f"{write(args[0])}.{name}()"
            case syntax.Call(name=name, args=args):
                return self._call(f"__{name}", *map(write, args))
            case syntax.Loop(macro=macro, of=of, variable=variable, bodies=bodies):
                inner = (self.write(body, bound | {variable}) for body in bodies)
                return f"{write(of)}.{macro}({', '.join((variable, *inner))})"
            case syntax.Unary(mark=mark, of=of):
                return f"(!{write(of)})" if mark == "!" else self._call("__negate", write(of))
            case syntax.Binary(mark=mark, left=left, right=right):
                return self._infix(mark, left, right, bound)
            case syntax.Choice(when=when, then=then, other=other):
                return f"({write(when)} ? {write(then)} : {write(other)})"
            case syntax.Sequence(items=items):
                return f"[{', '.join(map(write, items))}]"
            case syntax.Mapping(entries=entries):
                return f"{{{', '.join(f'{write(key)}: {write(value)}' for key, value in entries)}}}"

    def _infix(self, mark: str, left: Node, right: Node, bound: frozenset[str]) -> str:
        write = functools.partial(self.write, bound=bound)
        if mark == "&&":
            return f"({write(left)} ? {_boolean(right, write(right))} : false)"
        if mark == "||":
            return f"({write(left)} ? true : {_boolean(right, write(right))})"
        if mark in ("==", "!=") and (_is_null(left) or _is_null(right)):
            path = _path(right if _is_null(left) else left, bound)
            if path is not None:
                return f"({self._slot(path, 'null')} {mark} true)"
            return f"({write(left)} {mark} {write(right)})"
        return self._call(operators.MARKS[mark][0], write(left), write(right))

    def _call(self, function: str, *args: str) -> str:
        self.functions.add(function)
        return f"{function}({', '.join(args)})"

    def _slot(self, path: Path, ask: _Ask = "value") -> str:
        self.paths.append(path)
        return f"__at({self.slots.setdefault((path, ask), len(self.slots))})"


def _boolean(node: Node, text: str) -> str:
    """CEL lets any value leave a choice; && and || must only let booleans out."""
    certain = isinstance(node, syntax.Binary) and node.mark not in "+-*/%"
    return text if certain or isinstance(node, syntax.Has) else f"({text} ? true : false)"


def _is_null(node: Node) -> bool:
    return isinstance(node, syntax.Literal) and node.value is None


def _literal(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"({value!r})"
        case _:
            return '"' + "".join(map(_letter, str(value))) + '"'


def _letter(letter: str) -> str:
    return "\\" + letter if letter in '"\\' else letter if letter.isprintable() else f"\\U{ord(letter):08x}"


# ── Values on their way into CEL ────────────────────────────────────────────────────────────────


def _enter(value: object) -> object:
    """The value as CEL takes it; raises Wrong for a number that CEL could not hold."""
    if isinstance(value, Decimal):
        value = _nearest(value)
    if isinstance(value, int) and not isinstance(value, bool) and _too_large(value):
        raise Wrong("a whole number is beyond 64 bits")
    operators.check_finite(value if isinstance(value, float) else None)
    return _inner(value)


def _inner(value: object) -> object:
    """Inside lists and maps an impossible number becomes NaN, which every operator refuses."""
    match value:
        case None | bool() | float() | timedelta():
            return value
        case str():
            return operators.encodable(value)
        case int():
            return math.nan if _too_large(value) else value
        case Decimal():
            return _nearest(value)
        case datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case Mapping():
            return {str(key): _inner(item) for key, item in value.items()}
        case list() | tuple():
            return [_inner(item) for item in value]
    raise Wrong(f"{operators.kind_of(value)} cannot be part of an expression")


def _too_large(number: int) -> bool:
    return not operators.SMALLEST <= number <= operators.LARGEST


def _nearest(number: Decimal) -> float:
    return float(number) if number.is_finite() else math.nan


# ── Running ─────────────────────────────────────────────────────────────────────────────────────


class _Cell:
    """What went wrong first in one evaluation, and which values it saw."""

    def __init__(self, used: dict[str, object]) -> None:
        self.used = used
        self.wrong: Exception | None = None

    def guard(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Call, and record instead of raising."""
        try:
            return function(*args)
        except (ValueError, TypeError, ArithmeticError) as error:
            self.wrong = self.wrong or error
            return None


class Program:
    """A compiled tree. ``paths``: all that it may look up, with their offsets."""

    def __init__(self, tree: Node) -> None:
        """Raises ValueError when CEL refuses what was written."""
        writer = _Writer()
        text = writer.write(tree)
        self.paths = tuple(writer.paths)
        self.bare = _path(tree, frozenset())
        self._told = str(self.bare)
        self._slots = tuple(writer.slots)
        self._functions = tuple(writer.functions)
        self._compiled: Any = None if self.bare else _engine.compile(text)

    def run(self, scope: Mapping[str, object], used: dict[str, object]) -> object:
        """The answer; raises Wrong. ``used`` is filled with the values of the paths it looked up."""
        if self.bare is not None:
            used[self._told] = answer = self.bare.find(scope)
        else:
            answer = self._execute(scope, _Cell(used))
        operators.check_finite(answer)
        return answer

    def _execute(self, scope: Mapping[str, object], cell: _Cell) -> object:
        context = _engine.Context()
        context.add_function("__at", lambda slot: cell.guard(self._look_up, (slot, scope, cell)))
        for name in self._functions:
            context.add_function(name, _recording(_CALLBACKS[name], cell))
        try:
            answer: object = self._compiled.execute(context)
        except Exception as error:
            raise cell.wrong or Wrong(_in_words(error)) from error
        if cell.wrong is not None:
            raise cell.wrong
        return answer

    def _look_up(self, slot: int, scope: Mapping[str, object], cell: _Cell) -> object:
        path, ask = self._slots[slot]
        if ask == "has":
            return path.has(scope)
        cell.used[str(path)] = value = path.find(scope)
        return value is None or isinstance(value, Unread) if ask == "null" else _enter(value)


def _recording(function: Callable[..., Any], cell: _Cell) -> Callable[..., Any]:
    return lambda *args: cell.guard(function, args)


def _in_words(error: Exception) -> str:
    """The engine's own complaints, said for a policy's author."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, KeyError):
        return f"there is no {text!r}"
    if isinstance(error, TypeError) or "Undefined variable or function" in text:
        return "a value is not of the kind that is asked for here"
    return _short(text.partition("Check ")[0].strip().rstrip("."))


def walk(tree: Node) -> Iterator[Node]:
    """Every node of a tree."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        left.extend(syntax.parts(node))
