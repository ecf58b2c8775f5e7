"""Checks of values: do arguments and params have the shape that their receiver takes?"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from remediator.core.catalog import Escape, Kind, Operation
from remediator.core.catalog import Param as Spec
from remediator.core.escaping import checked_path
from remediator.core.expression import Expression, Template, parse_duration
from remediator.core.intention import Call
from remediator.core.opening import Param
from remediator.core.parameters import is_number
from remediator.core.planning import with_bounds
from remediator.documents.finding import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Look, Problem, Use, templates


def unknown_argument(look: Look) -> Iterator[Problem]:
    """P105: an argument that the operation does not take."""
    for use in look.uses:
        operation = look.operation(use)
        for name in use.arguments if operation else ():
            if operation and name not in operation.params:
                place = (*use.place, "with", name)
                remedy = nearest(name, operation.params)
                yield Problem(place, f"{use.operation} takes no {name!r}", remedy, on_key=True)


def missing_argument(look: Look) -> Iterator[Problem]:
    """P106: an argument that the operation cannot do without."""
    for use in look.uses:
        operation = look.operation(use)
        for name, spec in operation.params.items() if operation else ():
            if spec.required and name not in use.arguments:
                yield Problem(
                    (*use.place, "with"), f"{use.operation} needs {name!r}: {spec.doc}", on_key=True
                )


def wrong_argument(look: Look) -> Iterator[Problem]:
    """P107: an argument of another type, or a value that cannot be made inert there."""
    for use in look.uses:
        operation = look.operation(use)
        for name, value in use.arguments.items() if operation else ():
            if operation and name in operation.params:
                yield from _argument((*use.place, "with", name), name, value, operation.params[name])


def _argument(place: Place, name: str, value: Any, spec: Spec) -> Iterator[Problem]:
    if not _TYPES.get(spec.type, lambda _: True)(value):
        yield Problem(place, f"{name} must be {_WORDS.get(spec.type, spec.type)}")
        return
    for inner, template in templates(value, place):
        if reason := template.check(spec.escape):
            yield Problem(inner, reason, _remedy(spec))
        elif spec.escape is Escape.PATH and (reason := _misplaced(template)):
            slash = template.text.startswith("/")
            remedy = "write %20 for a space; what follows ? goes under query" if slash else _FROM_SLASH
            yield Problem(inner, reason, remedy)
        elif spec.escape is Escape.PROMQL and (reason := _unbalanced(template)):
            yield Problem(inner, reason, "mend the PromQL")
    if spec.choices and isinstance(value, Template) and value.literal:
        text = str(value.pieces[0]) if value.pieces else ""
        if text not in spec.choices:
            yield Problem(place, f"{name} cannot be {text!r}", nearest(text, spec.choices))


_FILLINGS = ("one", "other")
"""What may come of an expression: what is refused for both, by the same words, is not refused for these."""


def refused_argument(look: Look) -> Iterator[Problem]:
    """P109: arguments that the connection's settings refuse, whatever a run fills in."""
    for use in look.uses:
        operation, connection = look.operation(use), look.connection(use)
        if operation is None or connection is None or not _whole_call(look, use, operation):
            continue
        told = {connection.refuses(_call(look, use, filling)) for filling in _FILLINGS}
        if len(told) == 1 and (problem := told.pop()):
            yield Problem((*use.place, "with"), f"{connection.name} refuses this: {problem}", on_key=True)


def _whole_call(look: Look, use: Use, operation: Operation) -> bool:
    """Is all there that a connection looks at, and of its type? What is not has a finding of its own."""
    required = {name for name, spec in operation.params.items() if spec.required}
    if not required <= use.arguments.keys() <= operation.params.keys():
        return False
    step = look.policy.steps.get(str(use.place[1])) if use.place[0] == "steps" else None
    if operation.counts and (step is None or step.rows is None):
        return False
    given = [(value, operation.params[name]) for name, value in use.arguments.items()]
    return not any(
        (_whole(value) and spec.type not in ("string", "int")) or any(_argument((), "", value, spec))
        for value, spec in given
    )


def _call(look: Look, use: Use, filling: str) -> Call:
    """With what the step says beside its arguments, where it is the step's own act."""
    arguments = {name: _with(value, filling) for name, value in use.arguments.items()}
    call = Call(use.operation, use.connection, arguments)
    acts = use.wants is Kind.ACTION and len(use.place) == len(("steps", "its name"))
    return with_bounds(look.policy.steps[str(use.place[1])], call) if acts else call


def _with(value: Any, filling: str) -> Any:
    """The value with this in the place of each expression."""
    match value:
        case Template():
            return "".join(filling if isinstance(piece, Expression) else piece for piece in value.pieces)
        case dict():
            return {key: _with(item, filling) for key, item in value.items()}
        case list():
            return [_with(item, filling) for item in value]
    return value


_PROMQL = re.compile(
    r"""(?P<whole>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*)|[()\[\]{}"'`]""", re.DOTALL
)
_CLOSES = {")": "(", "]": "[", "}": "{"}


def _unbalanced(template: Template) -> str:
    """The bracket or quote of a PromQL text that has no other; "" where each has."""
    text = "".join("0" if isinstance(piece, Expression) else piece for piece in template.pieces)
    opened: list[str] = []
    for found in _PROMQL.finditer(text):
        mark = found.group()
        if found["whole"] is not None:
            continue
        if mark in _CLOSES.values():
            opened.append(mark)
        elif mark not in _CLOSES:
            return f"the quote {mark} is never closed"
        elif not opened or opened.pop() != _CLOSES[mark]:
            return f"{mark} closes nothing"
    return f"{opened[-1]} is never closed" if opened else ""


_SHARE = re.compile(
    r"(?P<name>[a-zA-Z_:][\w:]*)\{(?P<part>[^}]*)\}\[[^\]]*\][)\s]*/[^/]*?(?<![\w:])(?P=name)"
    r"(?:\{(?P<whole>[^}]*)\})?\["
)
_JOINED = re.compile(r"\b(or|by|without|on|ignoring)\b")
"""Words that say what is missing, or that there are several shares: nothing is guessed of them."""


def idle_share(look: Look) -> Iterator[Problem]:
    """P175: a share of a counter that is nothing, not 0, as long as its part was never counted."""
    for use in look.uses:
        operation = look.operation(use)
        for name, value in use.arguments.items() if operation else ():
            spec = operation.params.get(name) if operation else None
            if spec is None or spec.escape is not Escape.PROMQL:
                continue
            for place, template in templates(value, (*use.place, "with", name)):
                if counter := _share(template):
                    problem = f"where no {counter} of that kind was counted yet, this reads nothing, not 0"
                    yield Problem(place, problem, "write (sum(…) or vector(0)) / (sum(…) > 0)")


def _share(template: Template) -> str:
    """The counter whose part is divided by the whole of it, and that nothing stands in for; "" for none."""
    text = _bare("".join("0" if isinstance(piece, Expression) else piece for piece in template.pieces))
    if _JOINED.search(re.sub(r"\{[^}]*\}", "", text)):
        return ""
    for found in _SHARE.finditer(text):
        part, whole = ({one.strip() for one in (found[side] or "").split(",")} for side in ("part", "whole"))
        if part - whole - {""}:
            return found["name"]
    return ""


def _bare(text: str) -> str:
    """PromQL whose quoted texts hold nothing that means something outside of them."""
    return _PROMQL.sub(
        lambda found: re.sub(r"[^\w\"']", "_", found["whole"]) if found["whole"] else found[0], text
    )


_FROM_SLASH = "write what follows the connection's base_url, from its slash: /api/workers"


def _misplaced(template: Template) -> str:
    """Why no request could be sent to this path, whatever its values are."""
    try:
        checked_path("".join("x" if isinstance(piece, Expression) else piece for piece in template.pieces))
    except ValueError as error:
        return str(error)
    return ""


def _remedy(spec: Spec) -> str:
    if spec.type in ("select", "change"):
        return "write $1 in the SQL, and the expression in args"
    return "write it out, or pass the value as another argument" if spec.escape is Escape.LITERAL else ""


def _whole(value: Any) -> bool:
    """A whole expression: its type shows only when the run has its values."""
    return isinstance(value, Template) and value.whole is not None


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, Template),
    "select": lambda value: isinstance(value, Template),
    "change": lambda value: isinstance(value, Template),
    "int": lambda value: _whole(value) or (is_number(value) and isinstance(value, int)),
    "number": lambda value: _whole(value) or is_number(value),
    "bool": lambda value: _whole(value) or isinstance(value, bool),
    "map": lambda value: _whole(value) or isinstance(value, dict),
    "list": lambda value: _whole(value) or isinstance(value, list),
    "strings": lambda value: (
        isinstance(value, dict) and all(isinstance(one, Template) for one in value.values())
    ),
}
_WORDS = {
    "string": "a text",
    "select": "a text",
    "change": "a text",
    "int": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "map": "a map",
    "list": "a list",
    "strings": "a map of texts",
}


# ── Params ──────────────────────────────────────────────────────────────────────────────────────


def open_param(look: Look) -> Iterator[Problem]:
    """P121: a text from an alert without a pattern that bounds it."""
    for name, param in look.policy.params.items():
        if param.type == "string" and param.pattern is None:
            remedy = "such as pattern: '[a-z0-9-]{1,64}'"
            yield Problem(("params", name), f"{name} is a string and needs a pattern", remedy, on_key=True)


_ANYTHING = ("x" * 300, "../..", "a b", "'; --", "<!channel>", "\u202e")


def any_text(look: Look) -> Iterator[Problem]:
    """P125: a pattern that takes any text."""
    for name, param in look.policy.params.items():
        if param.pattern is not None and all(map(param.pattern.matches, _ANYTHING)):
            problem = f"{param.pattern} takes any text, however long"
            yield Problem(("params", name, "pattern"), problem, "say what it may be: '[a-z0-9-]{1,64}'")


def empty_choice(look: Look) -> Iterator[Problem]:
    """P122: an enum without values, or values without an enum."""
    for name, param in look.policy.params.items():
        if (param.type == "enum") is not bool(param.values):
            remedy = "write type: enum and values: [a, b]"
            yield Problem(("params", name), f"{name}: enum and values go together", remedy, on_key=True)


def wrong_default(look: Look) -> Iterator[Problem]:
    """P123: a default that is not of the param's type."""
    for name, param in look.policy.params.items():
        if param.has_default and not _fits(param):
            yield Problem(
                ("params", name, "default"), f"{param.default!r} is no {param.type} that {name} allows"
            )


def unused_param(look: Look) -> Iterator[Problem]:
    """P124: a param that nothing looks at."""
    used = {name for seen in look.expressions for name in seen.expression.names}
    for name in look.policy.params:
        if name not in used:
            problem = f"nothing uses the param {name!r}"
            yield Problem(("params", name), problem, "use it, or take it out", on_key=True)


def _fits(param: Param) -> bool:
    value = param.default
    match param.type:
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return is_number(value)
        case "bool":
            return isinstance(value, bool)
        case "enum":
            return value in param.values
        case "string":
            return isinstance(value, str) and (param.pattern is None or param.pattern.matches(value))
    return isinstance(value, str) and _reads(_READERS[param.type], value)


_READERS: dict[str, Callable[[str], object]] = {
    "uuid": uuid.UUID,
    "duration": parse_duration,
    "time": datetime.fromisoformat,
}


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return bool(re.fullmatch(r"[ -~]+", text))
