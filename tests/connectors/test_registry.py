"""The registry's contract: what every kind of connection must say of itself, and how settings are judged."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import pytest

from remediator.config import Config
from remediator.connectors import KINDS, build, catalog, problems
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import BUILT_IN, Escape, Fence, Kind, Operation, Risk
from remediator.core.durations import Rate
from remediator.core.intention import Call
from remediator.core.messages import Refused
from remediator.errors import ConfigError, ConnectorError
from remediator.ports import ConnectorKind, Order

OPERATIONS = [operation for kind in KINDS.values() for operation in kind.operations]
TYPES = {"string", "int", "number", "bool", "map", "list", "any", "strings", "select", "change"}

WHATEVER_IS_THERE = {"redis.info"}  # what it reads has names of its own

SETTINGS: dict[str, dict[str, object]] = {
    "alertmanager": {"url": "http://127.0.0.1:1"},
    "command": {"commands": {"it": {"argv": ["/bin/sh", "-c", "true"]}}},
    "disk": {"mounts": ["/"]},
    "dns": {"names": ["shop.example"]},
    "docker": {"containers": ["horizon"]},
    "http": {"base_url": "http://127.0.0.1:1"},
    "kubernetes": {"in_cluster": True, "namespaces": ["shop"]},
    "mysql": {"url": "mysql://127.0.0.1:1/shop", "username": "ann"},
    "postgres": {"dsn": "postgresql://ann@127.0.0.1:1/loyalty", "tables": ["loyalty_programs"]},
    "prometheus": {"url": "http://127.0.0.1:1"},
    "redis": {"url": "redis://127.0.0.1:1/0"},
    "slack": {},
    "tls": {"servers": {"shop": "shop.example:443"}},
    "people": {},
}


def config(**connections: dict[str, object]) -> Config:
    return Config.model_validate({"connections": connections})


def told(**connections: dict[str, object]) -> list[str]:
    return [str(problem) for problem in problems(config(**connections))]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
class TestAnOperation:
    def test_belongs_to_its_kind_and_says_what_it_does(self, operation: Operation) -> None:
        assert operation in KINDS[operation.connector].operations
        assert operation.doc.endswith(".")
        assert re.fullmatch(r"[a-z]+\.[a-z]+", operation.name)

    def test_describes_each_parameter_and_how_it_is_escaped(self, operation: Operation) -> None:
        assert operation.params or operation.internal
        for param in operation.params.values():
            assert param.doc.endswith(".")
            assert param.type in TYPES
            assert isinstance(param.escape, Escape)

    def test_ends_within_a_stated_time(self, operation: Operation) -> None:
        assert 0 < operation.longest.total_seconds() <= 3600

    def test_a_probe_names_what_it_reads_and_is_safe(self, operation: Operation) -> None:
        if operation.kind is Kind.PROBE:
            assert operation.reads or operation.name in WHATEVER_IS_THERE
            assert operation.risk is Risk.SAFE
        else:
            assert not operation.reads


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda one: one.name)
class TestAKind:
    def test_has_described_settings_and_makes_a_connector_without_touching_the_world(
        self, kind: ConnectorKind
    ) -> None:
        assert issubclass(kind.settings, Settings)
        assert kind.settings.__doc__
        assert kind.doc.endswith(".")
        kind.make(kind.settings.model_validate(SETTINGS[kind.name]))

    def test_offers_what_its_operations_say_and_refuses_the_rest(self, kind: ConnectorKind) -> None:
        connector = type(kind.make(kind.settings.model_validate(SETTINGS[kind.name])))
        assert issubclass(connector, Unoffered)
        kinds = {operation.kind for operation in kind.operations}
        assert (connector.read is not Unoffered.read) == (Kind.PROBE in kinds)
        assert (connector.act is not Unoffered.act) == (Kind.ACTION in kinds)
        assert (connector.preview is not Unoffered.preview) == any(one.previews for one in kind.operations)


async def test_what_is_not_offered_is_refused_with_a_reason() -> None:
    nothing = Unoffered()
    call = Call("http.get", "api", {})
    with pytest.raises(ConnectorError, match=r"api: http\.get is no probe"):
        await nothing.read(call, timeout=1)
    with pytest.raises(ConnectorError, match="has no preview"):
        await nothing.preview(call, timeout=1)
    assert isinstance(await nothing.act(call, order=Order(""), timeout=1), Refused)
    await nothing.close()


def test_the_built_in_connections_are_always_there() -> None:
    assert {name: one.kind for name, one in catalog(Config()).connections.items()} == dict(BUILT_IN)
    assert set(build(Config())) == set(BUILT_IN.values())


def test_the_catalogue_knows_what_policies_may_name() -> None:
    found = catalog(
        Config.model_validate(
            {
                "connections": {
                    "loyalty_api": {
                        "kind": "http",
                        "base_url": "http://127.0.0.1:3077/",
                        "headers": {"Authorization": "Bearer canary-1"},
                        "endpoints": {"POST /api/workers/*": "safe"},
                        "idempotency_header": "Idempotency-Key",
                    }
                },
                "people": {"bob": {}},
                "roles": {"oncall": ["bob"]},
                "targets": ["campaign"],
                "escalations": {"default": [{"role": "oncall"}]},
                "budgets": {"earn-rates": {"limit": 5, "per": "24h"}},
            }
        )
    )
    api = found.connections["loyalty_api"]
    assert (api.kind, api.fence, dict(api.risks)) == ("http", Fence.KEY, {"POST /api/workers/*": Risk.SAFE})
    assert found.operations.keys() >= {"http.get", "http.request", "prometheus.query", "slack.message"}
    assert found.roles == {"oncall": frozenset({"bob"})}
    assert found.targets == frozenset({"campaign"})
    assert found.escalations == {"default": {"oncall": timedelta()}}
    assert found.budgets == {"earn-rates": Rate(5, timedelta(hours=24))}


def digest_of(**settings: object) -> str:
    return catalog(config(api={"kind": "http", "base_url": "http://a", **settings})).connections["api"].digest


def test_a_connections_digest_follows_its_settings_but_not_its_secrets() -> None:
    assert digest_of(headers={"X-Key": "one"}) == digest_of(headers={"X-Key": "two"})
    assert digest_of() != digest_of(headers={"X-Key": "one"})
    assert digest_of() != digest_of(endpoints={"POST /x": "destructive"})


def test_all_problems_are_told_at_once_each_with_its_place_and_remedy() -> None:
    assert told(
        api={"kind": "htpp"},
        metrics={"kind": "prometheus", "url": "http://user:canary-2@host"},
        loyalty_api={"kind": "http", "base_ulr": "http://a", "timeout": "soon"},
        other={},
        slack={"kind": "http"},
    ) == [
        "connections.api.kind: 'htpp' is not a kind of connection; did you mean http?",
        "connections.metrics.url: may not hold credentials; write them as a header with ${env:NAME}",
        (
            "connections.loyalty_api.base_url: is missing; "
            "write its address, such as https://loyalty.internal:3077"
        ),
        "connections.loyalty_api.timeout: 'soon' is not a duration; write 30s, 5m, 2h, 7d or 24h5m",
        "connections.loyalty_api.base_ulr: unknown key; did you mean base_url?",
        (
            "connections.other.kind: is missing; "
            f"write one of {', '.join(name for name in SETTINGS if name not in BUILT_IN)}"
        ),
        "connections.slack: this connection is built in; give yours another name",
    ]


def test_a_client_library_that_is_missing_is_told_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remediator.connectors.find_spec", lambda _name: None)
    given = config(cache={"kind": "redis", "url": "redis://127.0.0.1"})
    assert [str(one) for one in problems(given)] == [
        (
            "connections.cache.kind: redis needs the Python package redis, which is not installed; "
            "pip install 'remediator[redis]'"
        )
    ]
    assert problems(given, blind=True) == []


def test_a_wrong_key_of_a_declared_command_is_told_with_those_that_it_has() -> None:
    commands = {
        "flush": {"agrv": ["FLUSHDB"]},
        "drop": {"argv": ["DEL", {"slot": "key", "patern": "a"}]},
        "stop": {"argv": ["SHUTDOWN"]},
        "all": {"argv": "FLUSHALL"},
        "key": "DEL",
    }
    assert told(cache={"kind": "redis", "url": "redis://127.0.0.1", "commands": commands}) == [
        (
            "connections.cache.commands.flush.argv: is missing; "
            "write its words: [FLUSHDB, ASYNC], or with {slot: name, pattern: '…'}"
        ),
        "connections.cache.commands.flush.agrv: unknown key; did you mean argv?",
        "connections.cache.commands.drop.argv.1.patern: unknown key; did you mean pattern?",
        (
            "connections.cache.commands.stop: the command SHUTDOWN may not be declared; commands that only "
            "change data may be, such as FLUSHDB, UNLINK or EXPIRE: see docs/redis.md"
        ),
        (
            "connections.cache.commands.all.argv: is no list; "
            "write its words: [FLUSHDB, ASYNC], or with {slot: name, pattern: '…'}"
        ),
        "connections.cache.commands.key: is no map",
    ]


def test_a_broken_config_has_neither_catalogue_nor_connectors() -> None:
    broken = config(api={"kind": "ftp"}, b={"kind": "http"})
    for use in (catalog, build):
        with pytest.raises(ConfigError, match=r"(?s)connections\.api\.kind.*connections\.b\.base_url"):
            use(broken)
    with pytest.raises(ConfigError) as one:
        build(config(api={"kind": "http"}))
    assert one.value.place == "connections.api.base_url"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "host:80",
        "http://",
        "http://h/?q=1",
        "http://h/#f",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://hé",
        "http://h:99999",
        "http://u@h",
    ],
)
def test_a_base_url_is_a_fixed_host_and_nothing_more(url: str) -> None:
    (problem,) = told(api={"kind": "http", "base_url": url})
    assert problem.startswith("connections.api.base_url: ")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"headers": {"X-Key": "a\r\nX-Evil: b"}}, "headers"),
        ({"headers": {"X Key": "a"}}, "headers"),
        ({"headers": {"X-Key": "  "}}, "headers.X-Key"),
        ({"endpoints": {"FETCH /x": "safe"}}, "endpoints"),
        ({"endpoints": {"POST /x*": "safe"}}, "endpoints"),
        ({"endpoints": {"POST /x": "harmless"}}, "endpoints.POST /x"),
        ({"idempotency_header": "Authorization"}, "idempotency_header"),
        ({"idempotency_header": "Idempotency Key"}, "idempotency_header"),
        ({"timeout": "5m"}, "timeout"),
        ({"timeout": "0s"}, "timeout"),
        ({"ca": "/nowhere/ca.pem"}, "ca"),
    ],
)
def test_bad_settings_are_told_with_their_place(settings: dict[str, object], place: str) -> None:
    (problem,) = told(api={"kind": "http", "base_url": "http://h", **settings})
    assert problem.startswith(f"connections.api.{place}: ")


def test_no_problem_shows_a_secret() -> None:
    for header in ("canary-3\n", "canary-3\x00"):
        (problem,) = told(api={"kind": "http", "base_url": "http://h", "headers": {"Authorization": header}})
        assert "canary" not in problem


def test_the_registry_weighs_little_until_it_is_used() -> None:
    script = (
        "import sys, remediator.connectors, remediator.people.slack, remediator.people.clicks\n"
        "heavy = {'asyncpg', 'pgparse', 'slack_sdk', 'prometheus_api_client', 'requests', 'redis'}\n"
        "heavy |= {'kubernetes_asyncio', 'aiodocker'}\n"
        "heavy |= {'pymysql'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
