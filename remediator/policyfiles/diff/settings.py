"""The settings against their older selves: roles, people, endpoints, tables, budgets, chains.

A policy may stay as it is and yet become looser, because what it leans on did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from remediator.config import Budget, Config, Hook, Person, Role, Rung
from remediator.core.catalog import Catalog
from remediator.policyfiles.diff.bounds import rate
from remediator.policyfiles.diff.chains import reached
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.connections import DECLARED, declared, endpoints, reach
from remediator.policyfiles.diff.judges import (
    At,
    Judge,
    Table,
    acts,
    elsewhere,
    fields,
    members,
    more_is_looser,
    neutral,
    part,
    subset,
    unclear,
)


def _named(
    under: str,
    what: str,
    changed: Callable[[At, Any, Any], Iterator[Change]],
    *,
    added: Direction = Direction.NEUTRAL,
) -> Callable[[At, Mapping[str, Any], Mapping[str, Any]], Iterator[Change]]:
    """A map of things by name: each that is on both sides is judged by ``changed``."""

    def judge(at: At, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        for name in sorted(old.keys() | new.keys()):
            if name not in old:
                yield Change(at.where, f"{what} {name} added", added)
            elif name not in new:
                yield Change(at.where, f"{what} {name} removed", added.reversed)
            elif old[name] != new[name]:
                yield from changed(at.inside(f"{under}.{name}"), old[name], new[name])

    return judge


def _role(at: At, old: Role, new: Role) -> Iterator[Change]:
    if set(old.people) != set(new.people):
        yield Change(at.where, *subset("people", old.people, new.people))
    if old.covers != new.covers:
        words = [list(map(str, role.covers)) for role in (old, new)]
        yield Change(at.where, *subset("cover", words[0], words[1]))


def _person(at: At, old: Person, new: Person) -> Iterator[Change]:
    """Somebody else may vote under this name."""
    for name in ("slack", "token_sha256"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            direction = Direction.TIGHTENED if after is None else Direction.UNCLEAR
            yield Change(at.where, f"{name} {'changed' if after else 'removed'}", direction)


def _budget(at: At, old: Budget, new: Budget) -> Iterator[Change]:
    yield from rate("limit")(at, old.rate, new.rate)


def _chain(at: At, old: Sequence[Rung], new: Sequence[Rung]) -> Iterator[Change]:
    words = [", ".join(f"{one.role} after {spelled(one.after)}" for one in chain) for chain in (old, new)]
    name = at.where.partition(".")[2]
    direction = reached(at.before.escalations[name], at.after.escalations[name])
    yield Change(at.where, f"{words[0] or 'nobody'} → {words[1] or 'nobody'}", direction)


def _told(name: str, direction: Direction, *, gone: Direction | None = None) -> Judge:
    """That it changed, and never its value. ``gone``: the direction of its removal."""

    def judge(at: At, old: object, new: object) -> Iterator[Change]:
        if gone is None or (old is not None and new is not None):
            yield Change(at.where, f"{name} changed", direction)
        else:
            added = old is None
            yield Change(
                at.where, f"{name} {'added' if added else 'removed'}", gone.reversed if added else gone
            )

    return judge


def _proved(at: At, old: Hook, new: Hook) -> Iterator[Change]:
    """Who may post alerts, and thereby open runs: whoever has the bearer, or the name and password."""
    ways = [[name for name in ("bearer", "basic") if getattr(hook, name) is not None] for hook in (old, new)]
    if ways[0] != ways[1]:
        words = [" or ".join(one) or "nothing" for one in ways]
        direction = Direction.LOOSENED if not ways[1] else Direction.TIGHTENED
        both = bool(ways[0] and ways[1])
        yield Change(
            at.where, f"asks senders for {words[1]}, was {words[0]}", Direction.UNCLEAR if both else direction
        )
    yield from fields(at, old, new, HOOK)


def _secret(name: str) -> Judge:
    """One that is on both sides; that it came or went is told by `_proved`."""

    def judge(at: At, old: object, new: object) -> Iterator[Change]:
        if old is not None and new is not None:
            yield Change(at.where, f"{name} changed", Direction.ACTS)

    return judge


def _alertmanager(at: At, old: Hook, new: Hook) -> Iterator[Change]:
    yield from _proved(at.inside("alertmanager"), old, new)


HOOK: Table = {"bearer": _secret("bearer"), "basic": _secret("basic"), "max_body": acts("max_body")}
HOOKS: Table = {"alertmanager": _alertmanager}
SLACK: Table = {
    "bot_token": _told("bot_token", Direction.ACTS),
    "signing_secret": _told("signing_secret", Direction.UNCLEAR),  # whoever has it may vote for anybody
    "app_token": _told("app_token", Direction.UNCLEAR),
    "channel": acts("channel"),
    "app_id": _told("app_id", Direction.UNCLEAR, gone=Direction.LOOSENED),
    "api_url": unclear("api_url"),
}
PAGE_HOOK: Table = {
    "url": _told("url", Direction.ACTS),
    "headers": _told("headers", Direction.ACTS),
}
LIMITS: Table = {
    "inbox": acts("inbox"),
    "probes_at_once": acts("probes_at_once"),
    "acts_at_once": more_is_looser("acts_at_once"),
}
CONFIG: Table = {
    "listen": acts("listen"),
    "public_url": neutral("public_url"),
    "store": acts("store"),
    "policies": acts("policies"),
    "reload": acts("reload"),
    "retention": acts("retention"),
    "hooks": part("hooks", HOOKS),
    "connections": elsewhere,  # by `compare`, from the catalogue
    "people": _named("people", "person", _person),
    "roles": _named("roles", "role", _role),
    "targets": members("targets"),
    "slack": part("slack", SLACK),
    "page_webhook": part("page_webhook", PAGE_HOOK),
    "escalations": _named("escalations", "chain", _chain, added=Direction.TIGHTENED),
    "budgets": _named("budgets", "budget", _budget, added=Direction.TIGHTENED),
    "limits": part("limits", LIMITS),
    "resolved_debounce": more_is_looser("resolved_debounce"),  # what has resolved goes on so long
    "page_repeat": more_is_looser("page_repeat"),
    "allow_loosening": elsewhere,  # told with the settings
}


def compare(old: tuple[Config, Catalog], new: tuple[Config, Catalog]) -> tuple[Change, ...]:
    """Everything that changed, what needs eyes first."""
    at = At("", old[0], new[0], old[1], new[1])
    found = [*fields(at, old[0], new[0], CONFIG), *_connections(at, old, new)]
    return tuple(sorted(found, key=lambda one: one.direction))


# ── Connections ─────────────────────────────────────────────────────────────────────────────────


def _connections(at: At, old: tuple[Config, Catalog], new: tuple[Config, Catalog]) -> Iterator[Change]:
    before, after = old[1].connections, new[1].connections
    for name in sorted({*old[0].connections, *new[0].connections}):
        here = at.inside(f"connections.{name}")
        if name not in before or name not in after:
            yield Change(here.where, "added" if name in after else "removed", Direction.NEUTRAL)
            continue
        yield from endpoints(here, before[name], after[name])
        yield from reach(here, before[name], after[name])
        written = [side[0].connections[name] for side in (old, new)]
        for key, noun in DECLARED.items():
            yield from declared(here, noun, *(one.get(key, {}) for one in written))
        judged = JUDGED | before[name].limits.keys() | after[name].limits.keys()
        for key in sorted(written[0].keys() | written[1].keys()):
            if written[0].get(key) != written[1].get(key) and key not in judged:
                yield Change(here.where, f"{key} changed", Direction.ACTS)  # never a value: it may be secret


JUDGED = frozenset({*DECLARED, "endpoints", "tables", "hidden", "functions"})
"""Settings of a connection that are compared by what they mean."""
