"""Reading `remediator.yaml`: references to secrets resolved, every problem told with its place."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from remediator.config import Config
from remediator.documents import Document, Finding, Place, nearest, read
from remediator.errors import ConfigError

_REFERENCE = re.compile(r"\$\{([^}]*)\}")


Check = Callable[[Config], Iterable[ConfigError]]
"""What is wrong with the settings beyond their form; each place reads ``connections.loyalty_db.dsn``."""


def load(
    path: Path,
    env: Mapping[str, str] | None = None,
    *,
    secrets: set[str] | None = None,
    check: Check = lambda _config: (),
    blind: bool = False,
    except_at: Place = (),
) -> Config:
    """The settings. Raises ConfigError with every problem, a line each.

    env: the environment that ``${env:NAME}`` looks into; the process's own by default. secrets: where
    to put every value that a reference stood for, so that logs can hide it. check: `connectors.problems`,
    which this floor may not know. blind: no reference is followed, and each stands for something of the
    right form: the tools of policy authors need no secret, and run where there is none. except_at: the
    one place below which a blind reader does follow them, such as ``("store",)``.
    """
    document = _document(path)
    env = os.environ if env is None else env
    resolver = _Blind(document, env, except_at) if blind else _Resolver(document, env)
    value = resolver.resolved(document.value, ())
    if secrets is not None:
        secrets |= resolver.secrets
    config, problems = _validated(document, value)
    problems += (_placed(document, error) for error in check(config))
    known = {(one.line, one.col) for one in resolver.problems}  # what follows of an unresolved one is no news
    told = (one for one in problems if (one.line, one.col) not in known)
    literal = _literal_secrets(document, document.value, ())
    _complain([*resolver.problems, *literal, *(_without(resolver.secrets, one) for one in told)])
    return config


def _validated(document: Document, value: dict[str, Any]) -> tuple[Config, list[Finding]]:
    """The settings with their problems; sections that cannot be used are left out of the settings."""
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        broken = {one["loc"][0] for one in wrong}
        config = Config.model_validate({key: part for key, part in value.items() if key not in broken})
        return config, [*(_told(document, one) for one in wrong), *_cross_checked(document, config, broken)]
    return config, list(_cross_checked(document, config, set()))


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


def _without(secrets: Collection[str], finding: Finding) -> Finding:
    """The finding with no secret in its words: somebody may have put one where a number belongs."""
    message = finding.message
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, "…") if len(secret) > 3 else message
    return replace(finding, message=message)


def _finding(
    document: Document, place: Place, message: str, remedy: str = "", *, key: bool = False
) -> Finding:
    at = document.position(place, key=key)
    name = ".".join(str(part) for part in place)
    return Finding(document.file, at.line, at.col, "C100", "error", f"{name}: {message}", remedy)


def _placed(document: Document, error: ConfigError) -> Finding:
    """A problem that was found by its name in the settings, with its place in the file."""
    place: Place = ()
    rest = error.place
    while rest:  # names may hold dots: the longest one that is there
        parts = rest.split(".")
        names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        name = next((one for one in names if (*place, one) in document.keys), None)
        if name is None:
            break
        place, rest = (*place, name), rest[len(name) + 1 :]
    at = document.position(place, key=bool(rest))
    message = f"{error.place}: {error.problem}"
    return Finding(document.file, at.line, at.col, "C100", "error", message, error.remedy)


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


class _Blind(_Resolver):
    """Follows no reference, but for one place; what it puts for each differs from all others."""

    def __init__(self, document: Document, env: Mapping[str, str], except_at: Place) -> None:
        super().__init__(document, env)
        self._except_at = except_at

    def _looked_up(self, reference: str, place: Place) -> str:
        sees = bool(self._except_at) and place[: len(self._except_at)] == self._except_at
        if sees or reference.partition(":")[0] not in ("env", "file"):
            return super()._looked_up(reference, place)
        mark = hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()
        name = str(place[-1]) if place else ""
        if name == "token_sha256":
            return mark
        if name == "dsn":
            return f"postgresql://unknown:{mark}@unknown.invalid/unknown"
        if name == "store":
            return f"sqlite:{mark}.db"
        if name == "channel":
            return f"C0{mark.upper()}"
        return f"https://unknown.invalid/{mark}" if name.endswith("url") else mark


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
    fields = getattr(model, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _cross_checked(document: Document, config: Config, broken: Collection[object]) -> Iterator[Finding]:
    """What the sections say of each other, as far as they can be read."""
    if "people" not in broken:
        yield from _members(document, config)
        yield from _twins(document, config)
    if "roles" not in broken:
        yield from _rungs(document, config)
    hook = config.hooks.alertmanager
    if "hooks" not in broken and not config.loopback and hook.bearer is None and hook.basic is None:
        remedy = "set hooks.alertmanager.bearer or .basic, or listen on 127.0.0.1"
        yield _finding(
            document, ("listen",), f"{config.host} is open to others and the hook has no secret", remedy
        )
    if not config.store.startswith(("sqlite:", "postgresql:", "postgres:")):
        yield _finding(
            document,
            ("store",),
            "neither SQLite nor PostgreSQL",
            "write sqlite:///PATH, sqlite:state.db beside the settings, or postgresql://LOGIN:${env:NAME}@HOST/DATABASE",
        )


_SECRET_KEYS = frozenset({"bearer", "password", "secret", "bot_token", "app_token", "signing_secret", "dsn"})
_PASSWORD_IN_URL = re.compile(r"[^:/]+://[^/@]*:[^/@]+@")
_SECRET_HEADER = re.compile(r"authorization|token|secret|key|cookie|passw", re.IGNORECASE)


def _literal_secrets(document: Document, value: Any, place: Place) -> Iterator[Finding]:
    """Secrets that are written out: they would end in backups, reviews and chats."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _literal_secrets(document, item, (*place, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _literal_secrets(document, item, (*place, number))
    elif isinstance(value, str) and place and not _REFERENCE.search(value):
        name = str(place[-1])
        header = len(place) > 1 and place[-2] in ("headers", "env") and _SECRET_HEADER.search(name)
        if header or name in _SECRET_KEYS or (place == ("store",) and _PASSWORD_IN_URL.match(value)):
            remedy = "write ${env:NAME} or ${file:PATH}"
            yield _finding(document, place, "a secret may stand here by reference only", remedy)


def _twins(document: Document, config: Config) -> Iterator[Finding]:
    """Two people who could not be told apart: neither would be let in."""
    for field, what in (("slack", "Slack id"), ("token_sha256", "token")):
        first: dict[str, str] = {}
        for name, person in config.people.items():
            mark = getattr(person, field)
            if mark is not None and first.setdefault(mark, name) != name:
                problem = f"{name} and {first[mark]} have the same {what}"
                yield _finding(document, ("people", name, field), problem, "give each their own")


def _members(document: Document, config: Config) -> Iterator[Finding]:
    for role, found in config.roles.items():
        place: Place = ("roles", role)
        inner = (*place, "people") if (*place, "people") in document.keys else place
        named = [((*inner, number), person) for number, person in enumerate(found.people)]
        named += [((*place, "cover", number, "by"), one.by) for number, one in enumerate(found.cover)]
        for where, person in named:
            if person not in config.people:
                remedy = nearest(person, config.people)
                yield _finding(document, where, f"nobody is called {person}", remedy)


def _rungs(document: Document, config: Config) -> Iterator[Finding]:
    for chain, rungs in config.escalations.items():
        for number, rung in enumerate(rungs):
            if rung.role not in config.roles:
                place = ("escalations", chain, number, "role")
                yield _finding(
                    document, place, f"there is no role {rung.role}", nearest(rung.role, config.roles)
                )
