"""The policies that run now, each in one version, and the older versions that runs still follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from remediator.core.alert import Alert
from remediator.core.canonical import digest
from remediator.core.catalog import Catalog
from remediator.core.matching import Index
from remediator.core.policy import Policy

WATCH = "watch:"
"""Prefix of the source of alerts that a policy's own watch has made."""


@dataclass(frozen=True)
class Versioned:
    """A policy, and the hash of its document and of the connections and roles that it uses."""

    policy: Policy
    version: str
    text: str = ""
    file: str = ""


@dataclass(frozen=True)
class PolicySet:
    """All that may be decided by. Replaced whole, never changed."""

    catalog: Catalog
    by_name: Mapping[str, Versioned]
    _index: Index[str] = field(repr=False)

    @classmethod
    def of(cls, policies: Iterable[Versioned], catalog: Catalog) -> PolicySet:
        """A set of these; names are unique."""
        by_name = {one.policy.name: one for one in policies}
        index = Index.of((name, one.policy.selectors) for name, one in by_name.items() if one.policy.match)
        return cls(catalog, by_name, index)

    @cached_property
    def version(self) -> str:
        """A hash of all its policies, by their names and versions."""
        return digest({name: one.version for name, one in self.by_name.items()})

    def matching(self, alert: Alert) -> list[Versioned]:
        """The policies that want this alert. A watch's alerts belong to its own policy alone."""
        if alert.source.startswith(WATCH):
            owner = self.by_name.get(alert.source.removeprefix(WATCH))
            return [owner] if owner is not None else []
        return [self.by_name[name] for name in self._index.find(alert.labels)]

    def version_of(self, name: str) -> str | None:
        """The running version of a policy, or None when it is gone."""
        found = self.by_name.get(name)
        return found.version if found is not None else None
