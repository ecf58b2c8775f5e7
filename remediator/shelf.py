"""The running policies and how they are replaced: all or nothing, the old set kept on any error."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet, Versioned
from remediator.errors import PolicyError, RemediatorError
from remediator.policyfiles.diff.compare import Side, Written
from remediator.policyfiles.diff.compare import difference as judged
from remediator.policyfiles.diff.telling import lines
from remediator.policyfiles.loading import Loaded, load, parse_text, policy_files
from remediator.ports import KeptPolicy, Reloaded

log = logging.getLogger(__name__)

NOTHING = "nothing changed"
"""What a reload says that changed nothing."""
READINGS = 3
"""Times that a folder is read which changes under our hands."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Of each file its path, time, size and inode: enough to see that something may have changed."""


class Shelf:
    """Holds the running set.

    content: a hash of the files that it was read from. refused: what is wrong with those that are there
    now, a problem each, and refused_content their hash; empty while the running set is what is there.
    """

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._set = PolicySet.of((), catalog)
        self._followers: list[Callable[[PolicySet], Awaitable[None]]] = []
        self._untold: list[Callable[[PolicySet], Awaitable[None]]] = []
        self._one_at_a_time = asyncio.Lock()
        self.content = ""
        self.refused: tuple[str, ...] = ()
        self.refused_content = ""

    def __call__(self) -> PolicySet:
        """The running set."""
        return self._set

    def follow(self, changed: Callable[[PolicySet], Awaitable[None]]) -> None:
        """Call this after each change; once more, until it succeeds, if it fails. See `tell`."""
        self._followers.append(changed)

    def load(self) -> None:
        """Read the folder for the first time. Raises PolicyError with every error, a line each."""
        self._set, self.content = self._read()

    async def reload(self) -> Reloaded:
        """Read the folder again; says what changed. Raises PolicyError, and then nothing changed."""
        async with self._one_at_a_time:
            try:
                new, content = await asyncio.to_thread(self._read)
            except PolicyError as error:
                self.refuse(str(error), await asyncio.to_thread(self.look_closely))
                raise
            told = await asyncio.to_thread(_told, self._set, new)
            self._set = new
            self.accept(content)
            self._untold = list(self._followers)
            await self._tell()
            log.info("policies reloaded", extra={"what": told.what, "version": told.version})
            for line in told.changes:
                log.info("policy changed", extra={"change": line})
            return told

    async def tell(self) -> None:
        """Followers that could not take up the running set try again."""
        if self._untold:
            async with self._one_at_a_time:
                await self._tell()

    async def _tell(self) -> None:
        for changed in list(self._untold):
            try:
                await changed(self._set)
            except RemediatorError as error:
                log.warning("a change of policies is taken up later", extra={"problem": str(error)})
            except Exception:  # a defect of ours: the other followers hear of it all the same
                log.exception("a change of policies cannot be taken up")
            else:
                self._untold.remove(changed)

    def refuse(self, problems: str, content: str) -> None:
        """What is there now cannot be used, and why, a line each; the running set goes on."""
        self.refused, self.refused_content = tuple(problems.splitlines()), content

    def accept(self, content: str) -> None:
        """What is there now is what runs."""
        self.content, self.refused, self.refused_content = content, (), ""

    # ── The folder ────────────────────────────────────────────────────────────────────────────────

    def look(self) -> Signature:
        """What the folder looks like from afar. Links are followed: a ConfigMap swaps one."""
        seen = ((str(file), file.stat()) for file in self._files())
        return tuple((name, now.st_mtime_ns, now.st_size, now.st_ino) for name, now in seen)

    def look_closely(self) -> str:
        """A hash of what the files hold, by their names; empty when they cannot be read now."""
        found = hashlib.sha256()
        try:
            for file in self._files():
                name = file.relative_to(self._folder).as_posix().encode("utf-8", "surrogateescape")
                found.update(hashlib.sha256(name).digest() + hashlib.sha256(file.read_bytes()).digest())
        except OSError:
            return ""
        return found.hexdigest()

    def _files(self) -> Iterator[Path]:
        return policy_files(self._folder) if self._folder.exists() else iter(())

    def _read(self) -> tuple[PolicySet, str]:
        """The folder as it was at one moment: read until it did not change while it was read."""
        if not self._folder.exists():
            remedy = "create it, or set `policies:` in the config"
            raise PolicyError(str(self._folder), "there is no such folder of policies", remedy=remedy)
        for _ in range(READINGS):
            before = self.look_closely()
            loaded = load([self._folder], self._catalog)
            if before and before == self.look_closely():
                break
        else:
            raise PolicyError(str(self._folder), "cannot be read, or keeps changing", remedy="try again")
        _complain(loaded)
        versioned = [Versioned(one.policy, one.version, one.text, one.file) for one in loaded.policies]
        return PolicySet.of(versioned, self._catalog), before


def read_kept(kept: KeptPolicy) -> Policy:
    """An older version, as the store kept it. It was checked when it ran; it is not judged again."""
    return parse_text(kept.text, kept.file)


def difference(old: PolicySet, new: PolicySet) -> str:
    """What changed, in one line."""
    added = sorted(new.by_name.keys() - old.by_name.keys())
    gone = sorted(old.by_name.keys() - new.by_name.keys())
    both = old.by_name.keys() & new.by_name.keys()
    changed = sorted(name for name in both if old.by_name[name].version != new.by_name[name].version)
    parts = [
        f"{word} {', '.join(names)}"
        for word, names in (("added", added), ("changed", changed), ("removed", gone))
        if names
    ]
    return "; ".join(parts) or NOTHING


def _told(old: PolicySet, new: PolicySet) -> Reloaded:
    changes = lines(judged(_side(old, new), _side(new, old)))
    return Reloaded(difference(old, new), tuple(changes), new.version)


def _side(policies: PolicySet, other: PolicySet) -> Side:
    """Those that the other set does not have just so."""
    written = {
        name: Written(one.policy, one.file)
        for name, one in policies.by_name.items()
        if one.version != other.version_of(name)
    }
    return Side(written, policies.catalog)


def _complain(loaded: Loaded) -> None:
    for finding in loaded.findings:
        if finding.severity == "warning":
            log.warning("policy warning", extra={"finding": str(finding)})
    if loaded.errors:
        raise PolicyError("", "\n".join(str(one) for one in loaded.errors))
