"""The settings against their older selves: roles, people, endpoints, tables, budgets, chains.

A policy may stay as it is and yet become looser, because what it leans on did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from remediator.config import Budget, Config, Hook, Person, Role, Rung
from remediator.connectors import connected
from remediator.core.catalog import Catalog
from remediator.policyfiles.diff.allowed import ALLOWED, WAYS
from remediator.policyfiles.diff.bounds import rate
from remediator.policyfiles.diff.chains import reached
from remediator.policyfiles.diff.change import Change, Direction, spelled
from remediator.policyfiles.diff.connections import endpoints, reach
from remediator.policyfiles.diff.judges import (
    At,
    Judge,
    Table,
    acts,
    arrow,
    elsewhere,
    fields,
    members,
    more_is_looser,
    named,
    neutral,
    part,
    subset,
    told,
    unclear,
)


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
    "bot_token": told("bot_token", Direction.ACTS),
    "signing_secret": told("signing_secret", Direction.UNCLEAR),  # whoever has it may vote for anybody
    "app_token": told("app_token", Direction.UNCLEAR),
    "channel": unclear("channel"),  # who is asked and paged there?
    "app_id": told("app_id", Direction.UNCLEAR, gone=Direction.LOOSENED),
    "api_url": unclear("api_url"),
}
PAGE_HOOK: Table = {
    "url": told("url", Direction.UNCLEAR),
    "headers": told("headers", Direction.ACTS),
}


def _listen(at: At, old: str, new: str) -> Iterator[Change]:
    """Whom it leaves out matters, not on which port."""
    closed, open_ = at.old.loopback, not at.new.loopback
    direction = (
        Direction.ACTS if closed is not open_ else Direction.LOOSENED if open_ else Direction.TIGHTENED
    )
    yield Change(at.where, f"listen {old} → {new}", direction)


def _kept(name: str) -> Judge:
    """How long what happened can be looked up; None: for ever."""

    def judge(at: At, old: timedelta | None, new: timedelta | None) -> Iterator[Change]:
        shorter = new is not None and (old is None or new < old)
        words = " → ".join("for ever" if one is None else spelled(one) for one in (old, new))
        yield Change(at.where, f"{name} {words}", Direction.LOOSENED if shorter else Direction.TIGHTENED)

    return judge


def _archive(at: At, old: str | None, new: str | None) -> Iterator[Change]:
    one = Direction.LOOSENED if new is None else Direction.TIGHTENED
    both = old is not None and new is not None
    words, _ = arrow("archive", old, new)
    yield Change(at.where, words, Direction.ACTS if both else one)


RETENTION: Table = {
    "deliveries": acts("deliveries"),
    "alerts": acts("alerts"),
    "runs": _kept("runs"),
    "counters": _kept("counters"),
    "archive": _archive,
}
LIMITS: Table = {
    "inbox": acts("inbox"),
    "probes_at_once": acts("probes_at_once"),
    "acts_at_once": more_is_looser("acts_at_once"),
}
CONFIG: Table = {
    "listen": _listen,
    "public_url": neutral("public_url"),
    "store": unclear("store"),  # halts, counters and holds stay behind in the other one
    "policies": acts("policies"),
    "reload": acts("reload"),
    "retention": part("retention", RETENTION),
    "hooks": part("hooks", HOOKS),
    "connections": elsewhere,  # by `compare`, from the catalogue
    "people": named("people", "person", _person),
    "roles": named("roles", "role", _role),
    "targets": members("targets"),
    "slack": part("slack", SLACK),
    "page_webhook": part("page_webhook", PAGE_HOOK),
    "escalations": named("escalations", "chain", _chain, added=Direction.TIGHTENED),
    "budgets": named("budgets", "budget", _budget, added=Direction.TIGHTENED),
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
    settings = [connected(config) for config, _ in (old, new)]
    for name in sorted({*old[0].connections, *new[0].connections}):
        here = at.inside(f"connections.{name}")
        if name not in before or name not in after:
            yield Change(here.where, "added" if name in after else "removed", Direction.NEUTRAL)
            continue
        yield from endpoints(here, before[name], after[name])
        yield from reach(here, before[name], after[name])
        table = ALLOWED[after[name].kind] if before[name].kind == after[name].kind else {}
        yield from fields(here, settings[0][name], settings[1][name], table)
        written = [config.connections[name] for config, _ in (old, new)]
        for key in sorted(written[0].keys() | written[1].keys()):
            if written[0].get(key) != written[1].get(key) and key not in table:
                yield Change(here.where, f"{key} changed", _otherwise(key))  # never a value: it may be secret


def _otherwise(key: str) -> Direction:
    """Where it leads, or as whom; of another kind, what is allowed there cannot be compared."""
    return Direction.ACTS if key in WAYS else Direction.UNCLEAR
