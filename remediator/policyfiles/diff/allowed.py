"""What a connection allows, against its older self: a table of fields for each kind of connection.

A field that no table names says where something is reached, and as whom, not what may be done there.
`settings` tells that it changed, and never its value: it may be secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from remediator.connectors.kubernetes.amounts import amount
from remediator.connectors.kubernetes.settings import Workload, rights
from remediator.policyfiles.diff.change import Change, Direction
from remediator.policyfiles.diff.judges import (
    At,
    Table,
    each,
    elsewhere,
    fields,
    less_is_looser,
    members,
    more_is_looser,
    named,
    part,
    scale,
    subset,
    told,
    unclear,
)

_NO_YES = (False, True)
"""Of what is allowed, the looser last."""

# ── What is declared by name ────────────────────────────────────────────────────────────────────

_WORDS = told("argv", Direction.UNCLEAR)  # a word may be a secret
_COMMAND: Table = {"argv": _WORDS, "risk": elsewhere}
_EXITS: Table = {"done": members("done"), "refused": members("refused")}
_OF_THE_MACHINE: Table = {
    **_COMMAND,
    "reads": scale("reads", *_NO_YES),
    "cwd": unclear("cwd"),
    "env": told("env", Direction.UNCLEAR),
    "within": more_is_looser("within"),
    "output": more_is_looser("output"),
    "memory": more_is_looser("memory"),
    "processes": more_is_looser("processes"),
    "exits": part("exits", _EXITS),
}
_STATEMENT: Table = {
    "sql": unclear("sql"),
    "slots": unclear("slots"),
    "risk": elsewhere,
    "rows": more_is_looser("rows"),
    "preview": told("preview", Direction.UNCLEAR, gone=Direction.LOOSENED),
}
_JOB: Table = {
    "namespace": unclear("namespace"),
    "cronjob": unclear("cronjob"),
    "spec": told("spec", Direction.UNCLEAR),
    "values": unclear("values"),
}
_SERVER: Table = {"host": unclear("host"), "port": unclear("port"), "server_name": unclear("server_name")}

# ── Kubernetes ──────────────────────────────────────────────────────────────────────────────────

_REPLICAS: Table = {"floor": less_is_looser("floor"), "ceiling": more_is_looser("ceiling")}
_AMOUNTS: Table = {
    "floor": less_is_looser("floor", by=amount),
    "ceiling": more_is_looser("ceiling", by=amount),
}
_WORKLOAD: Table = {
    "replicas": part("replicas", _REPLICAS, added=Direction.LOOSENED),
    "restart": scale("restart", *_NO_YES),
    "rollback": scale("rollback", *_NO_YES),
    "memory": part("memory", _AMOUNTS, added=Direction.LOOSENED),
    "cpu": part("cpu", _AMOUNTS, added=Direction.LOOSENED),
}


def _workloads(at: At, old: Mapping[str, Workload], new: Mapping[str, Workload]) -> Iterator[Change]:
    """By what holds for each: one that has no entry any more may still be under a star."""
    for place in sorted(old.keys() | new.keys()):
        yield from fields(at.inside(f"workloads.{place}"), rights(old, place), rights(new, place), _WORKLOAD)


# ── Others ──────────────────────────────────────────────────────────────────────────────────────


def _required(at: At, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Where none is required, one is beside alertname: to require that one alone allows other silences."""
    words, direction = subset("required", old, new, Direction.TIGHTENED)
    alone = not (old and new) and {*old, *new} == {"alertname"}
    yield Change(at.where, words, Direction.UNCLEAR if alone else direction)


ALLOWED: Mapping[str, Table] = {
    "alertmanager": {"longest": more_is_looser("longest"), "required": _required},
    "command": {"commands": named("commands", "command", each(_OF_THE_MACHINE), added=Direction.LOOSENED)},
    "disk": {"mounts": members("mounts")},
    "dns": {"names": members("names")},
    "docker": {
        "containers": members("containers"),
        "stop_timeout": less_is_looser("stop_timeout"),  # once it is over the container is killed
    },
    "http": {"endpoints": elsewhere},
    "kubernetes": {
        "exec_plugins": scale("exec_plugins", *_NO_YES),
        "namespaces": members("namespaces"),
        "kinds": members("kinds"),
        "workloads": _workloads,
        "pods": members("pods"),
        "secrets": members("secrets"),
        "jobs": named("jobs", "job", each(_JOB), added=Direction.LOOSENED),
    },
    "mysql": {
        "tls": scale("tls", *reversed(_NO_YES)),
        "statements": named("statements", "statement", each(_STATEMENT), added=Direction.LOOSENED),
        "marks": told("marks", Direction.UNCLEAR, gone=Direction.LOOSENED),
        "users": members("users"),
        "sessions": more_is_looser("sessions"),
        "timeout": more_is_looser("timeout"),
        "lock_timeout": more_is_looser("lock_timeout"),
        "bytes": more_is_looser("bytes"),
    },
    "postgres": dict.fromkeys(
        (
            "tables",
            "hidden",
            "functions",
            "statement_timeout",
            "lock_timeout",
            "upkeep_timeout",
            "rows",
            "bytes",
        ),
        elsewhere,
    ),
    "prometheus": {},
    "redis": {
        "keys": members("keys"),
        "commands": named("commands", "command", each(_COMMAND), added=Direction.LOOSENED),
    },
    "tls": {"servers": named("servers", "server", each(_SERVER), added=Direction.LOOSENED)},
}
"""Kind of connection → what of its settings says what may be done there. ``elsewhere``: in `connections`."""


WAYS = frozenset({"api_version", "idempotency_header", "password", "timeout"})
"""Settings by which the same is reached, as the same login, in another way. All others lead elsewhere: what
is read there decides, and what is done there is done to something else."""


def bounds_more(kind: str) -> bool:
    """Do such a connection's settings bound what may be done there beyond what `connections` compares?"""
    return any(judge is not elsewhere for judge in ALLOWED.get(kind, {}).values())
