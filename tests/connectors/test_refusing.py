"""What the settings alone refuse: told without the world, by the words with which the connection refuses."""

# ruff: noqa: E501 - in a table of cases, one line is one case
from __future__ import annotations

from typing import Any

import pytest

from remediator.config import Config
from remediator.connectors import KINDS, build, catalog
from remediator.core.catalog import Escape, Kind
from remediator.core.intention import Call
from remediator.core.messages import Refused
from remediator.errors import ConnectorError
from remediator.ports import Order

NOWHERE = "http://127.0.0.1:1"
CONNECTIONS: dict[str, dict[str, Any]] = {
    "am": {"kind": "alertmanager", "url": NOWHERE, "longest": "2h", "required": ["env"]},
    "cluster": {
        "kind": "kubernetes",
        "in_cluster": True,
        "namespaces": ["shop", "bank"],
        "workloads": {
            "shop/deployment/web": {
                "replicas": {"floor": 2, "ceiling": 8},
                "memory": {"floor": "256Mi", "ceiling": "1Gi"},
                "restart": True,
                "rollback": True,
            }
        },
        "pods": ["shop"],
        "secrets": ["shop/web-tls"],
        "jobs": {"reindex": {"namespace": "shop", "cronjob": "reindex", "values": {"INDEX": "[a-z]+"}}},
    },
    "engine": {"kind": "docker", "containers": ["web"]},
    "disks": {"kind": "disk", "mounts": ["/var"]},
    "names": {"kind": "dns", "names": ["*.shop.example"]},
    "certificates": {"kind": "tls", "servers": {"shop": "127.0.0.1:1"}},
    "cache": {"kind": "redis", "url": "redis://127.0.0.1:1/0", "keys": ["queues:*"]},
    "shop_db": {"kind": "mysql", "url": "mysql://127.0.0.1:1/shop", "username": "a", "users": ["web"]},
    "bank_db": {"kind": "postgres", "dsn": "postgresql://a@127.0.0.1:1/bank", "tables": ["t"], "rows": 10},
}
WEB = {"kind": "deployment", "namespace": "shop", "name": "web"}
SILENCED = {"alertname": "Slow", "env": "test"}
IDLE = {"state": "idle in transaction", "longer_than": "10m", "rows": {"at_most": 5}}

REFUSED: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    # (operation, connection, arguments that are fine, what is written over them, why not)
    ("alertmanager.silence", "am", {"matchers": SILENCED, "for": "2h"}, {"for": "121m"}, "no longer than this connection's 7200 s"),
    ("alertmanager.silence", "am", {"matchers": SILENCED, "for": "2h"}, {"matchers": {"alertname": "Slow"}}, "must name env"),
    ("alertmanager.silence", "am", {"matchers": SILENCED, "for": "2h"}, {"for": "a while"}, "a while"),
    ("kubernetes.scale", "cluster", {**WEB, "replicas": 8}, {"replicas": 9}, "9 replicas of shop/deployment/web are outside 2 to 8"),
    ("kubernetes.scale", "cluster", {**WEB, "replicas": 2}, {"replicas": 1}, "outside 2 to 8"),
    ("kubernetes.scale", "cluster", {**WEB, "replicas": 2}, {"name": "api"}, "shop/deployment/api may not be scaled"),
    ("kubernetes.restart", "cluster", WEB, {"name": "api"}, "shop/deployment/api may not be restarted"),
    ("kubernetes.rollback", "cluster", {"namespace": "shop", "name": "web"}, {"name": "api"}, "may not be rolled back"),
    ("kubernetes.resources", "cluster", {**WEB, "container": "app", "limits": {"memory": "1Gi"}}, {"limits": {"memory": "2Gi"}}, "outside 256Mi to 1Gi"),
    ("kubernetes.delete", "cluster", {**WEB, "kind": "pod"}, {"namespace": "bank"}, "pods of bank may not be deleted"),
    ("kubernetes.job", "cluster", {"job": "reindex", "values": {"INDEX": "a"}}, {"values": {"INDEX": "0"}}, "does not fit its pattern"),
    ("kubernetes.get", "cluster", WEB, {"kind": "service"}, "does not let 'service' be read"),
    ("kubernetes.release", "cluster", {"namespace": "shop", "name": "web"}, {"namespace": "test"}, "namespace 'test' is not among those"),
    ("docker.inspect", "engine", {"container": "web"}, {"container": "db"}, "lists no container 'db'"),
    ("docker.restart", "engine", {"container": "web"}, {"container": "db"}, "lists no container 'db'"),
    ("disk.usage", "disks", {"path": "/var"}, {"path": "/"}, "'/' is none of its mounts"),
    ("dns.resolve", "names", {"name": "a.shop.example"}, {"name": "shop.example"}, "is none of its names"),
    ("tls.expiry", "certificates", {"server": "shop"}, {"server": "bank"}, "'bank' is none of its servers"),
    ("redis.read", "cache", {"command": "LLEN", "key": "queues:mail"}, {"key": "sessions"}, "is none of the keys"),
    ("mysql.kill", "shop_db", {**IDLE, "state": "idle", "user": "web"}, {"user": "root"}, "lists no such login"),
    ("postgres.terminate", "bank_db", IDLE, {"rows": {"at_most": 11}}, "11 sessions are more than the connection allows (10)"),
    ("postgres.maintain", "bank_db", {"task": "analyze", "table": "t"}, {"table": "u"}, "lists no table 'u'"),
]  # fmt: skip
CONFIG = Config.model_validate({"connections": CONNECTIONS})
CATALOG = catalog(CONFIG, blind=True)


@pytest.mark.parametrize(
    ("operation", "via", "fine", "written", "why"),
    REFUSED,
    ids=[f"{row[0]}-{number}" for number, row in enumerate(REFUSED)],
)
async def test_what_the_settings_refuse_is_told_by_the_words_of_the_connection(
    operation: str, via: str, fine: dict[str, Any], written: dict[str, Any], why: str
) -> None:
    known = CATALOG.connections[via]
    assert known.refuses(Call(operation, via, fine)) == ""
    call = Call(operation, via, fine | written)
    told = known.refuses(call)
    assert why in told
    live = build(CONFIG)[via]
    try:
        if CATALOG.operations[operation].kind is Kind.PROBE:
            with pytest.raises(ConnectorError) as caught:
                await live.read(call, timeout=5)
            assert caught.value.told == told
        else:
            order = Order("r1/1", mark=_kept)
            assert await live.act(call, order=order, timeout=5) == Refused(f"never sent: {told}")
    finally:
        await live.close()


async def _kept(_mark: dict[str, Any]) -> str:
    return ""


def filled(value: Any, word: str) -> Any:
    match value:
        case dict():
            return {key: filled(one, word) for key, one in value.items()}
        case str():
            return word
    return value


@pytest.mark.parametrize("row", REFUSED, ids=[f"{row[0]}-{number}" for number, row in enumerate(REFUSED)])
def test_a_value_that_is_refused_is_told_so_that_lint_never_takes_one_for_all(row: Any) -> None:
    """Of what a run fills in: by P109, what two values are refused for alike is refused for the rest."""
    operation, via, fine, *_ = row
    for name, spec in CATALOG.operations[operation].params.items():
        if spec.escape is not Escape.LITERAL and name in fine:
            calls = [
                Call(operation, via, {**fine, name: filled(fine[name], word)}) for word in ("one", "other")
            ]
            told = {CATALOG.connections[via].refuses(call) for call in calls}
            assert told == {""} or len(told) == 2, (name, told)


def test_every_judge_of_a_kind_is_asked_by_a_case() -> None:
    judged = {name for kind in KINDS.values() for name in kind.judges}
    assert judged == {row[0] for row in REFUSED}
