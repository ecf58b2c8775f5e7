"""Policy files to policies: all errors of all files at once, or a set that may run.

Called by the daemon at start and reload, by lint, and by the store for the versions it keeps.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from remediator.core.canonical import digest
from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.documents.finding import Finding, Severity, nearest
from remediator.documents.reading import Document, Place, read, read_file
from remediator.errors import PolicyError
from remediator.policyfiles.checks.table import check
from remediator.policyfiles.checks.uses import Look, Problem

MOST_MENDS = 5
"""How often what is wrong is taken out of a policy, to check the rest."""
DEFINITIONS = ("params", "diagnose", "steps", "decide")


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that may run. ``version``: a hash of its document and of what it uses of the config."""

    policy: Policy
    version: str
    document: Document

    @property
    def text(self) -> str:
        """The document as it was written."""
        return self.document.text

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.document.file

    @property
    def line(self) -> int:
        """The line at which it begins."""
        return self.document.line


@dataclass(frozen=True)
class Loaded:
    """What was found: the policies without errors, and every finding of all files."""

    policies: tuple[LoadedPolicy, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid using this set."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def policy_set(self, catalog: Catalog) -> PolicySet:
        """The policies as a set that runs. Raises PolicyError with every error, a line each."""
        if self.errors:
            raise PolicyError("", "\n".join(str(one) for one in self.errors))
        return self.sound(catalog)

    def sound(self, catalog: Catalog) -> PolicySet:
        """Those without errors, as a set, whatever is wrong with the others. Never one to act by."""
        versioned = (Versioned(one.policy, one.version, one.text, one.file) for one in self.policies)
        return PolicySet.of(versioned, catalog)


def load(paths: Iterable[Path], catalog: Catalog) -> Loaded:
    """The policies of these files and folders; tests and Prometheus' ``alerts.yaml`` are skipped."""
    policies: list[LoadedPolicy] = []
    findings: list[Finding] = []
    for path in dict.fromkeys(chain.from_iterable(map(policy_files, paths))):
        _load_documents(read_file(path), str(path), catalog, policies, findings)
    findings += _namesakes(policies)
    return Loaded(tuple(policies), tuple(sorted(findings)))


def load_text(text: str, catalog: Catalog, file: str) -> Loaded:
    """The policies of one text, such as an old version that the store kept."""
    policies: list[LoadedPolicy] = []
    findings: list[Finding] = []
    _load_documents(read(text.encode("utf-8", "surrogatepass"), file), file, catalog, policies, findings)
    findings += _namesakes(policies)
    return Loaded(tuple(policies), tuple(sorted(findings)))


def parse_text(text: str, file: str) -> Policy:
    """The one policy of a text that was checked when it ran; the catalogue of today does not judge it.

    Raises PolicyError.
    """
    documents, findings = read(text.encode("utf-8", "surrogatepass"), file)
    policy = None
    if len(documents) == 1:
        policy, found = _parse(documents[0])
        findings += found
    if policy is None:
        raise PolicyError(file, "; ".join(map(str, findings)) or "this is not one policy")
    return policy


def policy_files(path: Path) -> Iterator[Path]:
    """The files of policies under a path, in order; a path that is no folder stands for itself.

    What cannot be looked into is among them, so that reading it says why: a closed folder, a link that
    leads nowhere.
    """
    if not os.path.isdir(path):  # noqa: PTH112 -- unlike pathlib's it has an answer for every path
        yield path
        return
    closed: list[OSError] = []
    files: list[Path] = []
    for folder, inner, names in os.walk(path, onerror=closed.append):
        inner[:] = [name for name in inner if not name.startswith(".")]
        files += (Path(folder, name) for name in names if _is_policy(Path(folder, name)))
    yield from sorted([*files, *(Path(error.filename) for error in closed)])


def is_stories(file: Path) -> bool:
    """By its name: does it hold stories?"""
    return file.suffix in (".yaml", ".yml") and file.stem.endswith(".test")


def _is_policy(file: Path) -> bool:
    """By its name: neither hidden, nor stories, nor Prometheus' own rules."""
    other = file.name.startswith(".") or is_stories(file) or file.stem == "alerts"
    return file.suffix in (".yaml", ".yml") and not other and (file.is_symlink() or file.is_file())


def _load_documents(
    this: tuple[list[Document], list[Finding]],
    file: str,
    catalog: Catalog,
    policies: list[LoadedPolicy],
    findings: list[Finding],
) -> None:
    documents, unreadable = this
    findings += unreadable
    if not documents and not unreadable:
        findings.append(Finding(file, 1, 1, "P002", "error", "there is no policy in this file"))
    for document in documents:
        policy, found = _parse(document)
        if policy is not None:
            found = _checked(document, policy, catalog, ())
        else:
            found += _checked_in_part(document, catalog)
        if policy is not None and not any(finding.severity == "error" for finding in found):
            version = _version(document, policy, catalog)
            policies.append(LoadedPolicy(policy, version, document))
        findings += found


def _namesakes(policies: list[LoadedPolicy]) -> Iterator[Finding]:
    first: dict[str, LoadedPolicy] = {}
    for one in policies:
        other = first.setdefault(one.policy.name, one)
        if other is not one:
            problem = f"a policy named {one.policy.name!r} is also at {other.file}:{other.line}"
            yield Finding(one.file, one.line, 1, "P015", "error", problem, "give each its own name")


def _version(document: Document, policy: Policy, catalog: Catalog) -> str:
    """SHA-256 over the document and over what it uses of the config."""
    look = Look(policy, catalog)
    connections = {use.connection for use in look.uses} & catalog.connections.keys()
    roles = {
        "oncall",
        *(role for _, gate in look.gates() for role in gate.votes or ()),
    } & catalog.roles.keys()
    budget = catalog.budgets.get(policy.bounds.budget or "")
    return digest(
        {
            **({"budget": str(budget)} if budget is not None else {}),
            "document": document.value,
            "connections": {name: catalog.connections[name].digest for name in connections},
            "roles": {
                role: [*sorted(catalog.roles[role]), *map(str, catalog.covers.get(role, ()))]
                for role in roles
            },
        }
    )


def _checked(document: Document, policy: Policy, catalog: Catalog, without: Iterable[Place]) -> list[Finding]:
    """What the checks find, but for what stands around places that were taken out."""
    around = [place[:-1] or place for place in without]
    if any(place[:1] == ("decide",) for place in without):
        around.append(("decide",))  # what a case says tells which of the others are reached
    return [
        placed(document, one.code, one.severity, problem)
        for one, problem in check(policy, catalog)
        if not any(problem.place[: len(place)] == place for place in around)
    ]


def _checked_in_part(document: Document, catalog: Catalog) -> list[Finding]:
    """The checks over what is left of a policy that does not parse: people want all errors at once.

    What is wrong is taken out until the rest parses. Where a whole definition had to go, the checks
    would complain of its absence, and are left out.
    """
    value, taken = copy.deepcopy(document.value), list[Place]()
    for _ in range(MOST_MENDS):
        try:
            policy = Policy.model_validate(value, by_alias=True, by_name=False)
        except ValidationError as error:
            errors = [one for one in error.errors(include_url=False) if not _is_echo(dict(one))]
            places = {_within(document, one["loc"], value) for one in errors}
            if any(not place or (place[0] in DEFINITIONS and len(place) <= 2) for place in places):
                return []
            for place in sorted(places, key=len, reverse=True):
                _take_out(value, place)
            taken += places
        else:
            return _checked(document, policy, catalog, taken)
    return []


def _take_out(value: Any, place: Place) -> None:
    *path, last = place
    for part in path:
        value = value[part] if part in (value if isinstance(value, dict) else range(len(value))) else {}
    if isinstance(value, dict):
        value.pop(last, None)
    elif isinstance(value, list) and isinstance(last, int) and last < len(value):
        value.pop(last)


# ── Errors of the model, with their places ──────────────────────────────────────────────────────


def _parse(document: Document) -> tuple[Policy | None, list[Finding]]:
    try:
        return Policy.model_validate(document.value, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, model_findings(document, error, Policy)


def model_findings(document: Document, error: ValidationError, model: type[BaseModel]) -> list[Finding]:
    """What a document has that its model does not want, one finding for each place."""
    findings: dict[tuple[int, int], Finding] = {}
    for one in error.errors(include_url=False):
        if _is_echo(dict(one)):
            continue
        finding = _of_model(document, dict(one), model)
        findings.setdefault((finding.line, finding.col), finding)
    return list(findings.values())


def _is_echo(error: dict[str, Any]) -> bool:
    """Does pydantic only repeat what it says better elsewhere (a list whose items are wrong, a union)?"""
    emptied = error["type"] == "too_short" and bool(error["input"])
    other = error["type"] == "literal_error" and isinstance(error["input"], dict)
    if other and str(error["loc"][-1]).startswith("literal["):  # a word of a union, where a map was meant
        return True
    return emptied or (error["type"] == "int_type" and isinstance(error["input"], dict))


_KINDS = {
    "bool_type": ("true or false must stand here", "write one of them, without quotes"),
    "dict_type": ("a map must stand here", "write it as key: value"),
    "int_type": ("a whole number must stand here", "write it in digits, without quotes: 3"),
    "list_type": ("a list must stand here", "write it as [one, other]"),
    "tuple_type": ("a list must stand here", "write it as [one, other]"),
}


def _of_model(document: Document, error: dict[str, Any], model: type[BaseModel]) -> Finding:
    place = _within(document, error["loc"])
    told = error.get("ctx", {})
    last = error["loc"][-1] if error["loc"] else ""
    match error["type"]:
        case "extra_forbidden":
            problem = Problem(
                place, f"unknown key {last!r}", nearest(last, _known(place[:-1], model)), on_key=True
            )
            return placed(document, "P010", "error", problem)
        case "missing":
            return placed(
                document, "P011", "error", Problem(place, f"the key {last!r} is missing", on_key=True)
            )
        case "expression":
            inner = (*place, *told.get("within", ()))
            problem = Problem(inner, told["problem"], told["remedy"], told["offset"])
            return placed(document, "P013", "error", problem)
        case "literal_error":
            choices = [
                choice.strip("'") for choice in str(told["expected"]).replace(" or ", ", ").split(", ")
            ]
            written = "nothing" if error["input"] is None else repr(error["input"])
            problem = Problem(place, f"{written} cannot stand here", nearest(error["input"], choices))
            return placed(document, "P012", "error", problem)
        case "too_short":
            return placed(document, "P012", "error", Problem(place, "this may not be empty"))
        case "model_type":
            problem = Problem(place, "a map must stand here", "write it as key: value")
            return placed(document, "P012", "error", problem)
        case "string_type":
            remedy = "say why" if last in ("waived", "none") else "quote it"
            problem = Problem(place, "a text must stand here", remedy)
            return placed(document, "P012", "error", problem)
        case "greater_than_equal" | "less_than_equal" as kind:
            bound = f"{told['ge']} or more" if kind == "greater_than_equal" else f"{told['le']} or less"
            return placed(document, "P012", "error", Problem(place, f"this must be {bound}"))
        case kind if kind in _KINDS:
            return placed(document, "P012", "error", Problem(place, *_KINDS[kind]))
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if message[:2] in ("a ", "an") or message.startswith(("greater", "less")):
        message = f"this should be {message}"
    on_key = last == "[key]"
    return placed(document, "P014" if on_key else "P012", "error", Problem(place, message, on_key=on_key))


def _within(document: Document, loc: Iterable[str | int], within: Any = None) -> Place:
    """The part of pydantic's location that the document (or a copy) has: without the tags of unions."""
    place: list[str | int] = []
    value = document.value if within is None else within
    for part in loc:
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part in known:
            value = value[part]
            place.append(part)
    return tuple(place)


def _known(place: Place, root: type[BaseModel]) -> set[str]:
    """The keys that may stand in the map at this place."""
    models: set[type[BaseModel]] = {root}
    for part in place:
        fields = {
            model.model_fields[name]
            for model in models
            for name in model.model_fields
            if (model.model_fields[name].alias or name) == part
        }
        if fields:
            models = {inner for one in fields for inner in _models(one.annotation)}
    return {one.alias or name for model in models for name, one in model.model_fields.items()}


def _models(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for part in get_args(annotation) for model in _models(part)}


def placed(document: Document, code: str, severity: Severity, problem: Problem) -> Finding:
    """The problem with its line."""
    at = document.position(problem.place, key=problem.on_key)
    if problem.offset is not None:
        at = at.moved(problem.offset)
    return Finding(document.file, at.line, at.col, code, severity, problem.message, problem.remedy)
