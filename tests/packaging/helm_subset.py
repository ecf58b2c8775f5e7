"""Renders the chart's templates: the part of Go's template language and of sprig that the chart keeps to.

Anything outside that part is an error here, so that the chart cannot drift away from what is checked.
What this is not: Helm. See docs/install.md for what it cannot find.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'\s*("(?:[^"\\]|\\.)*"|\(|\)|\||:=|,|[^\s()|,]+)')


class UnsupportedError(Exception):
    """The template uses something that this renderer does not know."""


@dataclass
class _Node:
    kind: str
    words: list[str] = field(default_factory=list)
    text: str = ""
    body: list[_Node] = field(default_factory=list)
    otherwise: list[_Node] = field(default_factory=list)


@dataclass
class Chart:
    """A chart's templates, parsed."""

    about: dict[str, Any]
    defaults: dict[str, Any]
    templates: dict[str, list[_Node]]
    named: dict[str, list[_Node]]

    @classmethod
    def at(cls, folder: Path) -> Chart:
        """Read a chart folder."""
        named: dict[str, list[_Node]] = {}
        templates = {}
        for path in sorted((folder / "templates").iterdir()):
            nodes = _parse(path.read_text())
            named.update({json.loads(node.words[1]): node.body for node in nodes if node.kind == "define"})
            if path.suffix != ".tpl":
                templates[path.name] = [node for node in nodes if node.kind != "define"]
        about = yaml.safe_load((folder / "Chart.yaml").read_text())
        return cls(about, yaml.safe_load((folder / "values.yaml").read_text()), templates, named)

    def render(self, values: dict[str, Any] | None = None, release: str = "fixer") -> dict[str, str]:
        """Template name to text, with these values laid over the chart's own."""
        chart = {
            "Name": self.about["name"],
            "Version": self.about["version"],
            "AppVersion": self.about["appVersion"],
        }
        root = {
            "Values": _laid_over(self.defaults, values or {}),
            "Chart": chart,
            "Release": {"Name": release, "Namespace": "ops", "Service": "Helm"},
        }
        return {name: self._text(nodes, root, {"$": root}) for name, nodes in self.templates.items()}

    def manifests(self, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """All Kubernetes objects that the chart makes of these values."""
        texts = [text for name, text in self.render(values).items() if name.endswith(".yaml")]
        return [one for text in texts for one in yaml.safe_load_all(text) if one is not None]

    def _text(self, nodes: list[_Node], dot: Any, variables: dict[str, Any]) -> str:
        return "".join(self._node(node, dot, variables) for node in nodes)

    def _node(self, node: _Node, dot: Any, variables: dict[str, Any]) -> str:
        match node.kind:
            case "text":
                return node.text
            case "output":
                value = self._pipeline(node.words, dot, variables)
                return (
                    {True: "true", False: "false", None: ""}.get(value, value)
                    if not _plain(value)
                    else str(value)
                )
            case "if":
                truth = _true(self._pipeline(node.words[1:], dot, variables))
                return self._text(node.body if truth else node.otherwise, dot, variables)
            case "with":
                value = self._pipeline(node.words[1:], dot, variables)
                if _true(value):
                    return self._text(node.body, value, variables)
                return self._text(node.otherwise, dot, variables)
            case "range":
                key, comma, item, assign, *source = node.words[1:]
                if (comma, assign) != (",", ":="):
                    raise UnsupportedError(f"range {node.words}")
                items = self._pipeline(source, dot, variables)
                return "".join(
                    self._text(node.body, items[one], {**variables, key: one, item: items[one]})
                    for one in sorted(items)
                )
            case _:
                raise UnsupportedError(node.kind)

    def _pipeline(self, words: list[str], dot: Any, variables: dict[str, Any]) -> Any:
        stages: list[list[str]] = [[]]
        depth = 0
        for word in words:
            depth += {"(": 1, ")": -1}.get(word, 0)
            if word == "|" and depth == 0:
                stages.append([])
            else:
                stages[-1].append(word)
        value: Any = None
        for number, stage in enumerate(stages):
            arguments = self._arguments(stage, dot, variables)
            if number:
                arguments.append(value)
            value = self._call(arguments)
        return value

    def _arguments(self, words: list[str], dot: Any, variables: dict[str, Any]) -> list[Any]:
        found: list[Any] = []
        at = 0
        while at < len(words):
            word = words[at]
            if word == "(":
                end = _closing(words, at)
                found.append(self._pipeline(words[at + 1 : end], dot, variables))
                at = end
            elif word.startswith('"'):
                found.append(json.loads(word))
            elif word.isdigit():
                found.append(int(word))
            elif word.startswith(("$", ".")):
                found.append(_look_up(word, dot, variables))
            else:
                found.append(_Function(word, self))
            at += 1
        return found

    def _call(self, arguments: list[Any]) -> Any:
        first, *rest = arguments
        if isinstance(first, _Function):
            return first(rest)
        if rest:
            raise UnsupportedError(f"a value is given arguments: {arguments}")
        return first

    def include(self, name: str, dot: Any) -> str:
        """A named template's text."""
        return self._text(self.named[name], dot, {"$": dot})


@dataclass(frozen=True)
class _Function:
    name: str
    chart: Chart

    def __call__(self, arguments: list[Any]) -> Any:
        if self.name == "include":
            return self.chart.include(*arguments)
        if self.name not in _FUNCTIONS:
            raise UnsupportedError(f"function {self.name}")
        return _FUNCTIONS[self.name](*arguments)


def _nindent(spaces: int, text: str) -> str:
    return "\n" + "\n".join(" " * spaces + line if line else line for line in text.split("\n"))


def _to_yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=True, width=10**6, allow_unicode=True)).rstrip("\n")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "default": lambda fallback, value: value if _true(value) else fallback,
    "nindent": _nindent,
    "not": lambda value: not _true(value),
    "quote": lambda value: json.dumps(str(value), ensure_ascii=False),
    "sha256sum": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "toYaml": _to_yaml,
    "trimSuffix": lambda suffix, text: text.removesuffix(suffix),
    "trunc": lambda most, text: text[:most],
}


def _plain(value: Any) -> bool:
    return not isinstance(value, bool) and value is not None


def _true(value: Any) -> bool:
    return bool(value)


def _closing(words: list[str], start: int) -> int:
    depth = 0
    for at in range(start, len(words)):
        depth += {"(": 1, ")": -1}.get(words[at], 0)
        if depth == 0:
            return at
    raise UnsupportedError(f"no closing parenthesis: {words}")


def _look_up(path: str, dot: Any, variables: dict[str, Any]) -> Any:
    head, *names = path.split(".")
    value = variables[head] if head else dot
    for name in filter(None, names):
        if name not in value:
            raise UnsupportedError(f"{path}: there is no {name}; Helm would print <no value>")
        value = value[name]
    return value


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _parse(source: str) -> list[_Node]:
    top: list[_Node] = []
    open_nodes: list[_Node] = []
    level = top
    for kind, content in _pieces(source):
        if kind == "text":
            level.append(_Node("text", text=content))
            continue
        words = _WORD.findall(content)
        match words[0]:
            case "if" | "with" | "range" | "define":
                node = _Node(words[0], words)
                level.append(node)
                open_nodes.append(node)
                level = node.body
            case "else":
                if len(words) > 1:
                    raise UnsupportedError("else if")
                level = open_nodes[-1].otherwise
            case "end":
                open_nodes.pop()
                level = _innermost(open_nodes, top)
            case _:
                level.append(_Node("output", words))
    if open_nodes:
        raise UnsupportedError(f"{open_nodes[-1].kind} without end")
    return top


def _innermost(open_nodes: list[_Node], top: list[_Node]) -> list[_Node]:
    if not open_nodes:
        return top
    return open_nodes[-1].otherwise or open_nodes[-1].body


def _pieces(source: str) -> list[tuple[str, str]]:
    pieces: list[tuple[str, str]] = []
    at = 0
    trim = False
    for action in _ACTION.finditer(source):
        text = source[at : action.start()]
        text = text.lstrip() if trim else text
        pieces.append(("text", text.rstrip() if action[1] else text))
        pieces.append(("action", action[2]))
        trim = bool(action[3])
        at = action.end()
    text = source[at:]
    pieces.append(("text", text.lstrip() if trim else text))
    return [piece for piece in pieces if piece[1]]
