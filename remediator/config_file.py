"""Reading `remediator.yaml`: references to secrets resolved, every problem told with its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from remediator.config import Config
from remediator.documents import Document, Finding, Place, nearest, read
from remediator.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([^}]*)\}")


def load(path: Path, env: Mapping[str, str] | None = None, *, secrets: set[str] | None = None) -> Config:
    """The settings. Raises ConfigError with every problem, a line each.

    env: the environment that ``${env:NAME}`` looks into; the process's own by default. secrets: where
    to put every value that a reference stood for, so that logs can hide it.
    """
    document = _document(path)
    resolver = _Resolver(document, os.environ if env is None else env)
    value = resolver.resolved(document.value, ())
    _complain(resolver.problems)
    if secrets is not None:
        secrets |= resolver.secrets
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        _complain([_told(document, one) for one in error.errors(include_url=False, include_input=False)])
        raise
    _complain(list(_cross_checked(document, config)))
    return config


def _document(path: Path) -> Document:
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "write one (see README.md), or name another with --config"
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", remedy=remedy) from error
    documents, findings = read(data, str(path))
    _complain(findings)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise ConfigError(str(path), "is not one YAML map of settings", remedy="see README.md for an example")
    return documents[0]


def _complain(findings: list[Finding]) -> None:
    if findings:
        raise ConfigError("", "\n".join(str(one) for one in sorted(findings)))


def _finding(
    document: Document, place: Place, message: str, remedy: str = "", *, key: bool = False
) -> Finding:
    at = document.position(place, key=key)
    name = ".".join(str(part) for part in place)
    return Finding(document.file, at.line, at.col, "C100", "error", f"{name}: {message}", remedy)


# ── References ────────────────────────────────────────────────────────────────────────────────────


class _Resolver:
    """Replaces every reference in every text."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self._document = document
        self._env = env
        self.problems: list[Finding] = []
        self.secrets: set[str] = set()

    def resolved(self, value: Any, place: Place) -> Any:
        """The value with all its texts resolved."""
        match value:
            case str():
                return _REFERENCE.sub(lambda found: self._looked_up(found[1], place), value)
            case dict():
                return {key: self.resolved(one, (*place, key)) for key, one in value.items()}
            case list():
                return [self.resolved(one, (*place, number)) for number, one in enumerate(value)]
            case _:
                return value

    def _looked_up(self, reference: str, place: Place) -> str:
        secret = _secret(reference, self._env, Path(self._document.file).parent)
        if isinstance(secret, ConfigError):
            self.problems.append(_finding(self._document, place, secret.problem, secret.remedy))
            return "unresolved"
        self.secrets.add(secret)
        return secret


def _secret(reference: str, env: Mapping[str, str], folder: Path) -> str | ConfigError:
    """What ``env:NAME`` or ``file:PATH`` stands for; never blank."""
    kind, _, name = reference.partition(":")
    match kind:
        case "env":
            value, what, remedy = env.get(name), f"the environment variable {name}", f"export {name}=…"
        case "file":
            value, what, remedy = _file(folder / name), f"the file {name}", "write the secret into it"
        case _:
            return ConfigError(
                "", f"${{{reference}}} is no reference", remedy="write ${env:NAME} or ${file:PATH}"
            )
    if value is None:
        return ConfigError("", f"{what} is not there", remedy=remedy)
    if not value.strip():
        return ConfigError("", f"{what} is blank", remedy=remedy)
    return value.strip()


def _file(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


# ── Checks ────────────────────────────────────────────────────────────────────────────────────────


def _told(document: Document, error: Mapping[str, Any]) -> Finding:
    """Pydantic's complaint in our words. Never the input: it may be a secret."""
    place: Place = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        return _finding(document, place, "unknown key", nearest(place[-1], known), key=True)
    if error["type"] == "missing":
        return _finding(document, place, "is missing")
    return _finding(document, place, message)


def _known_keys(place: Place) -> list[str]:
    """The keys that the section at this place takes."""
    model: Any = Config
    for part in place:
        field = getattr(model, "model_fields", {}).get(part)
        inner = field.annotation if field is not None else None
        models = [one for one in (inner, *getattr(inner, "__args__", ())) if hasattr(one, "model_fields")]
        model = models[0] if models else model
    return list(getattr(model, "model_fields", {}))


def _cross_checked(document: Document, config: Config) -> Iterator[Finding]:
    for role, people in config.roles.items():
        for number, person in enumerate(people):
            if person not in config.people:
                remedy = nearest(person, config.people)
                yield _finding(document, ("roles", role, number), f"nobody is called {person}", remedy)
    for chain, rungs in config.escalations.items():
        for number, rung in enumerate(rungs):
            if rung.role not in config.roles:
                place = ("escalations", chain, number, "role")
                yield _finding(
                    document, place, f"there is no role {rung.role}", nearest(rung.role, config.roles)
                )
    hook = config.hooks.alertmanager
    if not config.loopback and hook.bearer is None and hook.basic is None:
        remedy = "set hooks.alertmanager.bearer or .basic, or listen on 127.0.0.1"
        yield _finding(
            document, ("listen",), f"{config.host} is open to others and the hook has no secret", remedy
        )
    if not config.store.startswith("sqlite:///"):
        yield _finding(
            document, ("store",), "only sqlite:///PATH is supported yet", "write sqlite:///remediator.db"
        )
