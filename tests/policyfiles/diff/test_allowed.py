"""What a connection allows, in words and both ways round: every field of every kind's settings."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from remediator.config import Config
from remediator.connectors import KINDS, catalog
from remediator.core.catalog import Catalog
from remediator.policyfiles.diff.allowed import ALLOWED, WAYS
from remediator.policyfiles.diff.change import Direction
from remediator.policyfiles.diff.policy import compare as compare_policies
from remediator.policyfiles.diff.settings import compare
from tests.core.campaign import policy

LOOSENED, UNCLEAR, ACTS, TIGHTENED, NEUTRAL = Direction

WHOLE: dict[str, dict[str, Any]] = {
    "alertmanager": {"url": "http://am:9093", "longest": "2h", "required": ["env", "team"]},
    "command": {
        "commands": {
            "retry": {
                "argv": ["/bin/true", {"slot": "job", "pattern": "[0-9]{1,9}"}],
                "risk": "disruptive",
                "cwd": "/srv",
                "env": {"PATH": "/bin"},
                "within": "30s",
                "output": 4096,
                "memory": 64 * 1024 * 1024,
                "processes": 8,
                "exits": {"done": [0], "refused": [3]},
            }
        }
    },
    "disk": {"mounts": ["/", "/var"]},
    "dns": {"names": ["shop.example", "bank.example"]},
    "docker": {"containers": ["web", "worker"]},
    "http": {"base_url": "http://api", "endpoints": {"POST /restart": "disruptive"}},
    "kubernetes": {
        "in_cluster": True,
        "namespaces": ["shop", "jobs"],
        "kinds": ["pod", "deployment"],
        "workloads": {
            "shop/deployment/*": {"restart": True},
            "shop/deployment/web": {
                "replicas": {"floor": 2, "ceiling": 8},
                "memory": {"floor": "256Mi", "ceiling": "1Gi"},
                "cpu": {"floor": "100m", "ceiling": "2"},
                "rollback": True,
            },
        },
        "pods": ["shop", "jobs"],
        "secrets": ["shop/web-tls", "shop/api-tls"],
        "jobs": {"reindex": {"namespace": "jobs", "cronjob": "reindex", "values": {"INDEX": "[a-z]{1,9}"}}},
    },
    "mysql": {
        "url": "mysql://db/shop",
        "username": "remediator",
        "tls": True,
        "statements": {
            "drop": {
                "sql": "DELETE FROM jobs WHERE id = :id",
                "slots": {"id": {"type": "int"}},
                "risk": "disruptive",
                "rows": 10,
                "preview": "SELECT id FROM jobs WHERE id = :id",
            }
        },
        "marks": "remediator_marks",
        "users": ["web", "worker"],
        "sessions": 20,
        "timeout": "5s",
        "lock_timeout": "1s",
        "bytes": 1000,
    },
    "postgres": {
        "dsn": "postgresql://db/shop",
        "tables": ["a", "b"],
        "hidden": ["a.c"],
        "functions": ["f", "g"],
    },
    "prometheus": {"url": "http://prometheus:9090"},
    "redis": {
        "url": "redis://cache:6379/0",
        "keys": ["queues:*", "sessions:*"],
        "commands": {"drop": {"argv": ["UNLINK", "cache:a"], "risk": "safe"}},
    },
    "tls": {"servers": {"shop": "shop.example:443", "bank": "bank.example:443"}},
}

WEB, DROP, RETRY = "workloads|shop/deployment/web", "statements|drop", "commands|retry"
GONE = object()

TABLE: list[tuple[str, str, object, Direction, str]] = [
    ("alertmanager", "url", "http://other:9093", UNCLEAR, "connections.one: url changed"),
    ("alertmanager", "longest", "24h", LOOSENED, "longest 2h → 1d"),
    ("alertmanager", "required", ["env"], LOOSENED, "required lost team"),
    ("alertmanager", "required", ["env", "site"], UNCLEAR, "required gained site and lost team"),
    ("alertmanager", "required", GONE, LOOSENED, "required lost env, team"),
    ("command", "commands|more", {"argv": ["/bin/false"]}, LOOSENED, "command more added"),
    ("command", f"{RETRY}|argv", ["/bin/true", "all"], UNCLEAR, "commands.retry: argv changed"),
    ("command", f"{RETRY}|risk", "safe", LOOSENED, "COMMAND retry is safe, was disruptive"),
    ("command", f"{RETRY}|reads", True, LOOSENED, "commands.retry: reads false → true"),
    ("command", f"{RETRY}|cwd", "/", UNCLEAR, "commands.retry: cwd /srv → /"),
    ("command", f"{RETRY}|env", {"PATH": "/opt"}, UNCLEAR, "commands.retry: env changed"),
    ("command", f"{RETRY}|within", "5m", LOOSENED, "commands.retry: within 30s → 5m"),
    ("command", f"{RETRY}|output", 8192, LOOSENED, "commands.retry: output 4096 → 8192"),
    ("command", f"{RETRY}|memory", 128 * 1024 * 1024, LOOSENED, "commands.retry: memory 67108864 → 134217728"),
    ("command", f"{RETRY}|processes", GONE, LOOSENED, "commands.retry: processes 8 → none"),
    ("command", f"{RETRY}|exits|done", [0, 1], LOOSENED, "commands.retry.exits: done gained 1"),
    ("command", f"{RETRY}|exits|refused", [3, 4], LOOSENED, "commands.retry.exits: refused gained 4"),
    ("disk", "mounts", ["/", "/var", "/home"], LOOSENED, "mounts gained /home"),
    ("disk", "timeout", "3s", ACTS, "timeout changed"),
    ("dns", "names", ["shop.example", "bank.example", "*.example"], LOOSENED, "names gained *.example"),
    ("docker", "containers", ["web", "worker", "db"], LOOSENED, "containers gained db"),
    ("docker", "stop_timeout", "2s", LOOSENED, "stop_timeout 10s → 2s"),
    ("http", "endpoints|POST /restart", "safe", LOOSENED, "POST /restart is safe, was disruptive"),
    ("http", "base_url", "http://other", UNCLEAR, "base_url changed"),
    ("kubernetes", "exec_plugins", True, LOOSENED, "exec_plugins false → true"),
    ("kubernetes", "namespaces", ["shop", "jobs", "bank"], LOOSENED, "namespaces gained bank"),
    ("kubernetes", "kinds", ["pod", "deployment", "secret"], LOOSENED, "kinds gained secret"),
    ("kubernetes", f"{WEB}|replicas|ceiling", 20, LOOSENED, f"{WEB.replace('|', '.')}.replicas: ceiling 8 → 20"),
    ("kubernetes", f"{WEB}|replicas|floor", 0, LOOSENED, "web.replicas: floor 2 → 0"),
    ("kubernetes", f"{WEB}|replicas", GONE, TIGHTENED, 'replicas removed (was {"ceiling": 8, "floor": 2})'),
    ("kubernetes", f"{WEB}|memory|ceiling", "2Gi", LOOSENED, "web.memory: ceiling 1Gi → 2Gi"),
    ("kubernetes", f"{WEB}|memory|floor", "64Mi", LOOSENED, "web.memory: floor 256Mi → 64Mi"),
    ("kubernetes", f"{WEB}|cpu|ceiling", "2500m", LOOSENED, "web.cpu: ceiling 2 → 2500m"),
    ("kubernetes", f"{WEB}|cpu", GONE, TIGHTENED, "cpu removed"),
    ("kubernetes", f"{WEB}|restart", True, LOOSENED, "web: restart false → true"),
    ("kubernetes", f"{WEB}|rollback", GONE, TIGHTENED, "web: rollback true → false"),
    ("kubernetes", "workloads|jobs/deployment/db", {"restart": True}, LOOSENED, "jobs/deployment/db: restart false → true"),
    ("kubernetes", "workloads|shop/deployment/api", {"restart": False}, TIGHTENED, "shop/deployment/api: restart true → false"),
    ("kubernetes", "pods", ["shop"], TIGHTENED, "pods lost jobs"),
    ("kubernetes", "secrets", ["shop/web-tls", "shop/api-tls", "shop/key"], LOOSENED, "secrets gained shop/key"),
    ("kubernetes", "jobs|more", {"namespace": "jobs", "cronjob": "a"}, LOOSENED, "job more added"),
    ("kubernetes", "jobs|reindex|namespace", "shop", UNCLEAR, "jobs.reindex: namespace jobs → shop"),
    ("kubernetes", "jobs|reindex|cronjob", "rebuild", UNCLEAR, "jobs.reindex: cronjob reindex → rebuild"),
    ("kubernetes", "jobs|reindex|values", {}, UNCLEAR, "jobs.reindex: values"),
    ("mysql", "tls", False, LOOSENED, "tls true → false"),
    ("mysql", "statements|jobs", {"sql": "SELECT id FROM jobs"}, LOOSENED, "statement jobs added"),
    ("mysql", f"{DROP}|sql", "DELETE FROM jobs WHERE id <> :id", UNCLEAR, "statements.drop: sql DELETE"),
    ("mysql", f"{DROP}|slots|id|type", "number", UNCLEAR, "statements.drop: slots"),
    ("mysql", f"{DROP}|risk", "safe", LOOSENED, "COMMAND drop is safe, was disruptive"),
    ("mysql", f"{DROP}|rows", 500, LOOSENED, "statements.drop: rows 10 → 500"),
    ("mysql", f"{DROP}|preview", GONE, LOOSENED, "statements.drop: preview removed"),
    ("mysql", "marks", GONE, LOOSENED, "marks removed"),
    ("mysql", "marks", "marks", UNCLEAR, "marks changed"),
    ("mysql", "users", ["web", "worker", "admin"], LOOSENED, "users gained admin"),
    ("mysql", "sessions", 100, LOOSENED, "sessions 20 → 100"),
    ("mysql", "timeout", "30s", LOOSENED, "timeout 5s → 30s"),
    ("mysql", "lock_timeout", "2s", LOOSENED, "lock_timeout 1s → 2s"),
    ("mysql", "bytes", 2000, LOOSENED, "bytes 1000 → 2000"),
    ("mysql", "username", "other", UNCLEAR, "username changed"),
    ("postgres", "tables", ["a", "b", "c"], LOOSENED, "tables gained c"),
    ("postgres", "rows", 5000, LOOSENED, "rows 1000 → 5000"),
    ("prometheus", "url", "http://other:9090", UNCLEAR, "url changed"),
    ("redis", "keys", ["queues:*", "sessions:*", "*"], LOOSENED, "keys gained *"),
    ("redis", "commands|flush", {"argv": ["FLUSHDB"]}, LOOSENED, "command flush added"),
    ("redis", "commands|drop|argv", ["UNLINK", "cache:b"], UNCLEAR, "commands.drop: argv changed"),
    ("redis", "commands|drop|risk", "destructive", TIGHTENED, "COMMAND drop is destructive, was safe"),
    ("tls", "servers|more", "more.example:443", LOOSENED, "server more added"),
    ("tls", "servers|shop", "shop.example:8443", UNCLEAR, "servers.shop: port 443 → 8443"),
    ("tls", "servers|shop", {"host": "shop.example", "server_name": "a.example"}, UNCLEAR, "servers.shop: server_name none → a.example"),
    ("tls", "timeout", "3s", ACTS, "timeout changed"),
    ("prometheus", "headers", {"X-Scope-OrgID": "test"}, UNCLEAR, "headers changed"),
    ("tls", "servers|shop", "other.example:443", UNCLEAR, "servers.shop: host shop.example → other.example"),
]  # fmt: skip


def side(kind: str, written: dict[str, Any]) -> tuple[Config, Catalog]:
    config = Config.model_validate({"connections": {"one": {"kind": kind, **written}}})
    return config, catalog(config, blind=True)


def changed(kind: str, place: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(WHOLE[kind])
    *path, last = place.split("|")
    inner = document
    for name in path:
        inner = inner.setdefault(name, {})
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return document


@pytest.mark.parametrize(
    ("kind", "place", "value", "direction", "words"), TABLE, ids=[f"{row[0]}-{row[1]}-{number}" for number, row in enumerate(TABLE)]
)  # fmt: skip
def test_what_is_allowed_is_told_in_words_and_turns_round(
    kind: str, place: str, value: object, direction: Direction, words: str
) -> None:
    before, after = side(kind, WHOLE[kind]), side(kind, changed(kind, place, value))
    (there,) = compare(before, after)
    assert words in str(there)
    assert there.direction is direction
    (back,) = compare(after, before)
    assert back.direction is direction.reversed
    assert compare(before, before) == ()


def test_a_workload_without_an_entry_is_what_the_star_leaves_it() -> None:
    before = side("kubernetes", WHOLE["kubernetes"])
    after = side("kubernetes", changed("kubernetes", WEB, GONE))
    told = {(str(one).partition("web: ")[2], one.direction) for one in compare(before, after)}
    assert ("restart false → true", LOOSENED) in told, "only the star holds for it now"
    assert ("rollback true → false", TIGHTENED) in told


@pytest.mark.parametrize("labels", [["alertname"], ["alertname", "env"]])
def test_to_require_alertname_alone_lets_through_what_none_required_did_not(labels: list[str]) -> None:
    none, some = (side("alertmanager", {"url": "http://am", "required": one}) for one in ([], labels))
    (there,), (back,) = compare(none, some), compare(some, none)
    alone = len(labels) == 1
    assert [there.direction, back.direction] == ([UNCLEAR, UNCLEAR] if alone else [TIGHTENED, LOOSENED])


def test_amounts_are_compared_by_what_they_are_worth() -> None:
    same = side("kubernetes", changed("kubernetes", f"{WEB}|memory|ceiling", "1025Mi"))
    (there,) = compare(side("kubernetes", WHOLE["kubernetes"]), same)
    assert (there.words, there.direction) == ("ceiling 1Gi → 1025Mi", LOOSENED)


def test_another_kind_of_connection_is_not_compared_and_says_so() -> None:
    found = compare(side("disk", WHOLE["disk"]), side("dns", WHOLE["dns"]))
    assert ("connections.one: kind changed", UNCLEAR) in [(str(one), one.direction) for one in found]


def test_a_step_that_goes_to_another_connection_with_other_bounds_needs_a_note() -> None:
    written = {"one": {"kind": "kubernetes", **WHOLE["kubernetes"]}}
    wide = changed("kubernetes", f"{WEB}|replicas|ceiling", 500)
    written |= {"wide": {"kind": "kubernetes", **wide}, "same": written["one"]}
    known = catalog(Config.model_validate({"connections": written}), blind=True)

    def via(name: str) -> list[Direction]:
        old, new = (
            policy({"restart": {"use": "kubernetes.restart", "via": one, "with": {"name": "web"}}})
            for one in ("one", name)
        )
        return [one.direction for one in compare_policies(old, new, (known, known))]

    assert via("wide") == [UNCLEAR, UNCLEAR]
    assert via("same") == [UNCLEAR]


# ── Nothing is forgotten ────────────────────────────────────────────────────────────────────────

PLACES = {
    "base_url", "ca", "client_certificate", "context", "dsn", "headers", "host", "in_cluster", "kubeconfig",
    "url", "username",
}  # fmt: skip
"""Where a connection leads, and as whom. What honours a key is judged as the fence."""


def parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    def within(annotation: object) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from parts(annotation)
        for one in get_args(annotation):
            yield from within(one)

    yield model
    for field in model.model_fields.values():
        yield from within(field.annotation)


@pytest.mark.parametrize(
    "kind", [one for one in KINDS.values() if not one.built_in], ids=lambda one: one.name
)
def test_every_setting_of_a_connection_is_judged_or_says_where_it_leads(kind: Any) -> None:
    judged = ALLOWED[kind.name].keys()
    assert judged | PLACES | WAYS >= kind.settings.model_fields.keys()
    assert not judged - kind.settings.model_fields.keys()


JUDGED_APART = {"Word", "Slot", "Server", "Replicas", "Amounts"}


def test_every_field_of_what_is_declared_has_a_case() -> None:
    tried = {(kind, name) for kind, place, *_ in TABLE for name in place.split("|")}
    for kind in KINDS.values():
        if kind.built_in:
            continue
        for model in list(parts(kind.settings))[1:]:
            if model.__name__ not in JUDGED_APART:
                missing = {name for name in model.model_fields if (kind.name, name) not in tried}
                assert missing <= {"spec"}, (model.__name__, missing)
