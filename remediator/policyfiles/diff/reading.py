"""The two sides of a comparison: the work tree, and what stood at a git ref, settings included."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from remediator.config import Config
from remediator.config_file import load as load_config
from remediator.connectors import catalog, problems
from remediator.core.catalog import Catalog
from remediator.documents.reading import read
from remediator.errors import PolicyError, RemediatorError
from remediator.policyfiles.diff import settings
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.compare import Difference, PolicyChange, Side, Written, difference
from remediator.policyfiles.diff.repository import Repository
from remediator.policyfiles.loading import load, parse_text, policy_files


@dataclass(frozen=True)
class Asked:
    """What is to be compared. ``config``: the settings' file."""

    base: str
    paths: tuple[Path, ...]
    config: Path


@dataclass(frozen=True)
class Compared:
    """Both sides with what they stood on, and what changed."""

    commit: str
    base: Side
    head: Side
    difference: Difference


def compared(asked: Asked) -> Compared:
    """Read both sides and compare them. Raises PolicyError or ConfigError."""
    repository = Repository.of(asked.paths[0])
    commit = repository.commit(asked.base)
    config, known = _settings(asked.config)
    head = _head(asked.paths, known, repository)
    with TemporaryDirectory(prefix="remediator-base-") as folder:
        top = Path(folder)
        inside = [_within(repository, path) for path in asked.paths]
        at = repository.within(asked.config)
        _restore(repository, commit, [*inside, *([at] if at else [])], top)
        stood = at is not None and (top / at).is_file()
        settled = _base_settings(top / str(at), asked.config) if stood else (config, known)
        unclear = settled if isinstance(settled, Change) else None
        before = (config, known) if isinstance(settled, Change) else settled
        base = _base(top, inside, before[1])
    for path in asked.paths:
        if not path.exists() and not any(
            _lies(one.file, repository.within(path)) for one in base.policies.values()
        ):
            problem = f"is neither in the work tree nor at {asked.base}"
            raise PolicyError(str(path), problem, remedy="name files and folders of policies")
    told = difference(base, head)
    first = [unclear] if unclear else [_new(asked.config)] if at and not stood else []
    changes = (*first, *settings.compare(before, (config, known)))
    if changes:
        note = config.allow_loosening or ""
        fresh = bool(note) and note != before[0].allow_loosening
        name = asked.config.name
        told = replace(told, settings=PolicyChange(name, "changed", changes, name, "", note, fresh))
    return Compared(commit, base, head, told)


def _new(config: Path) -> Change:
    return Change(
        "", f"{config.name} did not stand at the base, and is compared with nothing", Direction.ACTS
    )


def _lies(file: str, path: str | None) -> bool:
    return path is not None and (not path or file == path or file.startswith(f"{path}/"))


def _settings(file: Path) -> tuple[Config, Catalog]:
    config = load_config(file, check=functools.partial(problems, blind=True), blind=True)
    return config, catalog(config, blind=True)


def _base_settings(file: Path, named: Path) -> tuple[Config, Catalog] | Change:
    try:
        return _settings(file)
    except RemediatorError as error:
        problem = str(error).replace(str(file), named.name).splitlines()[0]
        return Change("", f"the settings at the base cannot be read: {problem}", Direction.UNCLEAR)


def _head(paths: Sequence[Path], known: Catalog, repository: Repository) -> Side:
    """The work tree, which must be without errors: what cannot run cannot be compared."""
    there = [path for path in paths if path.exists()]
    loaded = load(there, known)
    if loaded.errors:
        told = "\n".join(map(str, loaded.errors))
        raise PolicyError("", told, remedy="the policies must pass `remediator policy lint` first")
    return Side(
        {
            one.policy.name: Written(one.policy, repository.within(Path(one.file)) or one.file)
            for one in loaded.policies
        },
        known,
    )


def _base(top: Path, inside: Iterable[str], known: Catalog) -> Side:
    """What stood at the base. It is only read, not checked: today's rules do not judge it."""
    policies: dict[str, Written] = {}
    unreadable: dict[str, str] = {}
    for path in inside:
        for file in policy_files(top / path) if (top / path).exists() else ():
            name = file.relative_to(top).as_posix()
            documents, found = read(file.read_bytes(), name)
            if found:
                unreadable[name] = "; ".join(map(str, found))
            for document in documents:
                try:
                    policy = parse_text(document.text, name)
                    policies[policy.name] = Written(policy, name)
                except PolicyError as error:
                    unreadable[name] = str(error)
    return Side(policies, known, unreadable)


def _within(repository: Repository, path: Path) -> str:
    found = repository.within(path)
    if found is None:
        remedy = "compare the folders of one repository at a time"
        raise PolicyError(str(path), f"lies outside of {repository.root}", remedy=remedy)
    return found


def _restore(repository: Repository, commit: str, inside: Iterable[str], top: Path) -> None:
    """Write what stood there into a folder of our own, at the same relative places."""
    for path in inside:
        for name, data in repository.files(commit, path).items():
            if ".." in Path(name).parts:
                raise PolicyError("git", f"{name!r} is not a path inside the repository")
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
