"""The running policies and how they are replaced: all or nothing, the old set kept on any error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from remediator.core.catalog import Catalog
from remediator.core.policy import Policy
from remediator.core.policyset import PolicySet
from remediator.errors import PolicyError
from remediator.policyfiles.loading import Loaded, load, parse_text
from remediator.ports import KeptPolicy

log = logging.getLogger(__name__)


class Shelf:
    """Holds the running set."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self._set = PolicySet.of((), catalog)
        self._followers: list[Callable[[PolicySet], Awaitable[None]]] = []

    def __call__(self) -> PolicySet:
        """The running set."""
        return self._set

    def follow(self, changed: Callable[[PolicySet], Awaitable[None]]) -> None:
        """Call this after each change."""
        self._followers.append(changed)

    def load(self) -> None:
        """Read the folder for the first time. Raises PolicyError with every error, a line each."""
        self._set = self._read()

    async def reload(self) -> str:
        """Read the folder again; says what changed. Raises PolicyError, and then nothing changed."""
        new = await asyncio.to_thread(self._read)
        told = difference(self._set, new)
        self._set = new
        for changed in self._followers:
            await changed(new)
        log.info("policies reloaded", extra={"what": told})
        return told

    def _read(self) -> PolicySet:
        if not self._folder.exists():
            remedy = "create it, or set `policies:` in the config"
            raise PolicyError(str(self._folder), "there is no such folder of policies", remedy=remedy)
        loaded = load([self._folder], self._catalog)
        _complain(loaded)
        return loaded.policy_set(self._catalog)


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
    return "; ".join(parts) or "nothing changed"


def _complain(loaded: Loaded) -> None:
    for finding in loaded.findings:
        if finding.severity == "warning":
            log.warning("policy warning", extra={"finding": str(finding)})
