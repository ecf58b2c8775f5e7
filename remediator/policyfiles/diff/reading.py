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
from remediator.policyfiles.diff.note import is_fresh
from remediator.policyfiles.diff.repository import Repository
from remediator.policyfiles.loading import load, parse_text, policy_files

NOTE = b"allow-loosening"
"""Files without it hold no note, and need no reading."""


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
    now = _settings(asked.config)
    with TemporaryDirectory(prefix="remediator-base-") as folder:
        before = _settled(repository, commit, asked.config, now, Path(folder) / "settings")
        places = _places(repository, asked, before.settings[0], now[0])
        folders = _folders(asked, before.settings[0], now[0])
        stood = (*[at for at in [repository.within(folders[0])] if at is not None], *places.base)
        top = Path(folder) / "policies"
        unfollowed = _restore(repository, commit, stood, top)
        base = _base(top, stood, before.settings[1])
    notes = _notes(repository, {commit, repository.merge_base(commit) or commit}, asked, stood)
    base = replace(base, unreadable={**base.unreadable, **unfollowed}, notes=notes)
    head, broken = _head(places.head, folders[1], now[1], repository)
    for path in asked.paths:
        if not path.exists() and not any(
            _lies(one.file, repository.within(path)) for one in base.policies.values()
        ):
            problem = f"is neither in the work tree nor at {asked.base}"
            raise PolicyError(str(path), problem, remedy="name files and folders of policies")
    told = replace(difference(base, head), untold=(*before.untold, *broken))
    told, names = _asked_for(
        told, (base, head), (*places.base, *(_within(repository, one) for one in places.head))
    )
    changes = (*before.changes, *places.changes, *settings.compare(before.settings, now))
    if changes:
        note, name = now[0].allow_loosening or "", asked.config.name
        fresh = is_fresh(note, base.said)
        told = replace(told, settings=PolicyChange(name, "changed", changes, name, "", note, fresh))
    return Compared(commit, _of(base, names), _of(head, names), told)


def _asked_for(
    told: Difference, sides: tuple[Side, Side], inside: Sequence[str]
) -> tuple[Difference, frozenset[str]]:
    """What changed of the policies that lie there, or lay there; and their names."""
    names = {
        name
        for side in sides
        for name, one in side.policies.items()
        if any(_lies(one.file, path) for path in inside)
    }
    found = tuple(one for one in told.policies if not names.isdisjoint((one.name, one.was)))
    return replace(told, policies=found), frozenset(names | {one.was for one in found})


def _of(side: Side, names: frozenset[str]) -> Side:
    return replace(side, policies={name: one for name, one in side.policies.items() if name in names})


@dataclass(frozen=True)
class _Settled:
    """The settings at the base, or those of today where there is nothing to compare with."""

    settings: tuple[Config, Catalog]
    changes: tuple[Change, ...] = ()
    untold: tuple[str, ...] = ()


def _settled(
    repository: Repository, commit: str, file: Path, now: tuple[Config, Catalog], top: Path
) -> _Settled:
    at = repository.within(file)
    if at is None:
        return _Settled(now, untold=(f"the settings: {file} lies outside of the repository",))
    _restore(repository, commit, [at], top)
    if not (top / at).is_file():
        words = f"{file.name} did not stand at the base, and is compared with nothing"
        return _Settled(now, (Change("", words, Direction.UNCLEAR),))
    try:
        return _Settled(_settings(top / at))
    except RemediatorError as error:
        problem = str(error).replace(str(top / at), file.name).splitlines()[0]
        words = f"the settings at the base cannot be read: {problem}"
        return _Settled(now, (Change("", words, Direction.UNCLEAR),))


@dataclass(frozen=True)
class _Places:
    """Where policies are read: as git names it at the base, and in the work tree."""

    base: tuple[str, ...]
    head: tuple[Path, ...]
    changes: tuple[Change, ...] = ()


def _places(repository: Repository, asked: Asked, before: Config, now: Config) -> _Places:
    """What was asked for. Where the settings name another folder now, it stands for the former one."""
    inside = tuple(_within(repository, path) for path in asked.paths)
    if before.policies == now.policies:
        return _Places(inside, asked.paths)
    was, is_ = _folders(asked, before, now)
    old, new = repository.within(was), repository.within(is_)
    if old is None or new is None:
        words = f"the policies lie in {now.policies} now, which is not compared with {before.policies}"
        return _Places(inside, asked.paths, (Change("", words, Direction.UNCLEAR),))
    stood = dict.fromkeys((old, *(old if one == new else one for one in inside)))
    stands = dict.fromkeys(
        (is_, *(path for path, one in zip(asked.paths, inside, strict=True) if one not in (old, new)))
    )
    return _Places(tuple(stood), tuple(stands))


def _folders(asked: Asked, before: Config, now: Config) -> tuple[Path, Path]:
    """All policies of the daemon, on both sides: one that was not asked for may have moved to what was."""
    was, is_ = (asked.config.absolute().parent / one.policies for one in (before, now))
    return was, is_


def _notes(
    repository: Repository, commits: Iterable[str], asked: Asked, stood: Sequence[str]
) -> frozenset[str]:
    """Every note that stood there at one of the commits, of policies and settings."""
    config = repository.within(asked.config)
    inside = [*stood, *([config] if config else [])]
    files = [found for commit in commits for one in inside for found in repository.files(commit, one).items()]
    return frozenset(
        str(document.value[NOTE.decode()])
        for name, data in files
        if data and NOTE in data and _is_yaml(name)
        for document in read(data, name)[0]
        if isinstance(document.value, dict) and NOTE.decode() in document.value
    )


def _lies(file: str, path: str | None) -> bool:
    return path is not None and (not path or file == path or file.startswith(f"{path}/"))


def _settings(file: Path) -> tuple[Config, Catalog]:
    config = load_config(file, check=functools.partial(problems, blind=True), blind=True)
    return config, catalog(config, blind=True)


def _head(
    paths: Sequence[Path], folder: Path, known: Catalog, repository: Repository
) -> tuple[Side, tuple[str, ...]]:
    """The work tree, and what could not be read of the folder that it belongs to.

    What is asked for must be without errors: what cannot run cannot be compared.
    """
    there = [path for path in paths if path.exists()]
    loaded = load(there, known)
    if loaded.errors:
        told = "\n".join(map(str, loaded.errors))
        raise PolicyError("", told, remedy="the policies must pass `remediator policy lint` first")
    ours = {file.resolve() for path in there for file in policy_files(path)}
    others = [file for file in policy_files(folder) if file.resolve() not in ours] if folder.exists() else []
    beside = load(others, known)
    policies = {
        one.policy.name: Written(one.policy, repository.within(Path(one.file)) or one.file)
        for one in (*beside.policies, *loaded.policies)
    }
    errors = (replace(one, file=repository.within(Path(one.file)) or one.file) for one in beside.errors)
    return Side(policies, known), tuple(map(str, errors))


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


def _restore(repository: Repository, commit: str, inside: Iterable[str], top: Path) -> dict[str, str]:
    """Write what stood there into a folder of our own, at the same relative places.

    The links that could not be followed, and why.
    """
    unfollowed: dict[str, str] = {}
    for path in inside:
        for name, data in repository.files(commit, path).items():
            if ".." in Path(name).parts:
                raise PolicyError("git", f"{name!r} is not a path inside the repository")
            if data is None:
                unfollowed |= {name: "is a link to nothing in the repository"} if _is_yaml(name) else {}
                continue
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(data)
    return unfollowed


def _is_yaml(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml")
