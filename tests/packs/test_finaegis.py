"""The pack finaegis on a cluster with its releases, a real MariaDB, a door with a certificate, and artisan.

Its two most dangerous policies are certificate-expiry, which deletes what only somebody else makes anew, and
payment-failures, which moves money. What has a target of its own happens `beside` the rest, as troubles do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.packs.beside import Beside
from tests.packs.room import PackRoom, example, room, watched
from tests.rig.daemon import PEOPLE
from tests.rig.mariadb import LOGIN, PASSWORD, MariaDB
from tests.rig.processes import free_port
from tests.rig.room import until
from tests.rig.slack import running_slack
from tests.worlds.finaegis import BY_CERT_MANAGER, CANARY, MOST, Finaegis, GiB, finaegis, secret
from tests.worlds.service import TOKEN, eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.real,
    pytest.mark.needs("prometheus", "alertmanager", "mariadb", "openssl"),
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SYSTEM = "finaegis"
TIMES = {"after": "3s", "within": "60s", "range": "6s", "recheck": "4s"}
WHAT_DOES_NOT_HELP_IS_SOON_GIVEN_UP = {
    f"within: 60s\n      every: 1s\n{rest}": f"within: {soon}\n      every: 1s\n{rest}"
    for rest, soon in (
        ("    undo: {how: restore, after: 3s", "4s"),  # queue-backlog: scale_up
        ("      for: 1s\n    undo: {none: 'caches fill", "4s"),  # memory-pressure: clear_caches
        ("      for: 1s\n    undo: {none: 'a payment", "15s"),  # payment-failures: retry
    )
}
LESS = "when: verify.value <= 0.75 * limit.value\n      after: "
LESS_IS_USED_BY_THEN = {f"{LESS}3s": f"{LESS}8s"}  # memory-pressure: more_memory
A, B, C = (f"5d0c2f5e-0d3b-4c4c-9a57-0a1b2c3d4e{last}" for last in ("5a", "5b", "5c"))


@dataclass
class Place:
    """The platform, and the daemon with its people."""

    finaegis: Finaegis
    room: PackRoom


beside: Beside[Place] = Beside()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(mariadb: MariaDB, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    shipped = yaml.safe_load(example(SYSTEM).read_text())["connections"]
    seconds = yaml.safe_dump(shipped["finaegis_db"]["statements"]).replace("time > 300", "time > 1")
    async with finaegis(mariadb) as system:
        port = free_port()
        jobs = {"finaegis": system.metrics.url, "exporters": system.exporters.url}
        jobs |= {f"finaegis-{name}": system.probes.url for name in ("tls", "http", "node")}
        with watched(SYSTEM, jobs, port, **TIMES) as prometheus, running_slack() as slack:
            connections: dict[str, dict[str, Any]] = {
                "prometheus": {"url": prometheus.url},
                "stripe_status": {
                    "base_url": system.stripe.url,
                    "headers": {"Authorization": "Bearer ${env:STRIPE_TOKEN}"},
                },
                "certificates": {"servers": {"platform": f"127.0.0.1:{system.door.port}"}},
                "finaegis_db": {
                    "url": f"mysql://127.0.0.1:{mariadb.port}/{system.schema}",
                    "username": LOGIN,
                    "statements": yaml.safe_load(seconds),
                },
                "cluster": {"kubeconfig": str(system.kube.kubeconfig())},
                "app_host": {"commands": system.scripts.declared(shipped["app_host"]["commands"])},
            }
            with room(
                SYSTEM,
                slack,
                connections,
                times=TIMES,
                replaced={
                    "longer_than: 5m": "longer_than: 1s",
                    **WHAT_DOES_NOT_HELP_IS_SOON_GIVEN_UP,
                    **LESS_IS_USED_BY_THEN,
                },
                port=port,
                MAINTENANCE_BYPASS=f"{CANARY}-bypass",
                FINAEGIS_DB_PASSWORD=PASSWORD,
                STRIPE_TOKEN=TOKEN,
            ) as one:
                there = Place(system, one)
                async with beside.begun(there, request):
                    yield there


# ── The application, one trouble after the other ────────────────────────────────────────────────


async def test_a_bad_release_is_rolled_back_to_the_revision_that_people_saw(place: Place) -> None:
    system = place.finaegis
    system.broken.add("finaegis:2")
    run = await place.room.run("finaegis-bad-release", "service/finaegis-app", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "from revision 2 to 1", "finaegis:1")
    assert (await system.container())["image"] == "finaegis:2"
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("finaegis-bad-release", "service/finaegis-app", id=run["id"], outcome="fixed")
    assert (await system.container())["image"] == "finaegis:1"


async def test_where_clear_caches_do_not_help_there_is_more_memory_for_a_while(place: Place) -> None:
    """A container was killed for its memory before, so its pod stands twice in what cAdvisor tells."""
    system = place.finaegis
    system.used = 96 * GiB // 100
    run = await place.room.run("finaegis-memory-pressure", "service/finaegis-app", stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "artisan optimize:clear")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "limits.memory 1Gi → 2Gi")
    assert "artisan optimize:clear" in system.scripts.ran
    assert (await system.container())["resources"] == {"limits": {"memory": "1Gi"}}
    await place.room.agreed(f"{run['id']}.2", "bob")
    await place.room.entry(run["id"], "verified")
    system.used = GiB // 4  # what ate it was found, which is looked at before the old limit comes back
    await place.room.run("finaegis-memory-pressure", "service/finaegis-app", id=run["id"], outcome="fixed")
    assert (await system.container())["resources"] == {"limits": {"memory": "1Gi"}}
    given = [
        one["body"]["spec"]["template"]["spec"]["containers"]
        for one in await system.kube.changes()
        if "limits" in str(one["body"])
    ]
    assert given[1:] == [  # behind the release that was taken back
        [{"name": "app", "resources": {"limits": {"memory": amount}}}] for amount in ("2Gi", "1Gi")
    ]


async def test_the_platform_closes_for_its_time_and_opens_by_itself(place: Place) -> None:
    system = place.finaegis
    system.maintenance_asked = True
    run = await place.room.run("finaegis-maintenance", "service/finaegis", stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "amina", "bob")
    await eventually(lambda: system.closed, "it was not closed")
    system.maintenance_asked = False
    await place.room.run("finaegis-maintenance", "service/finaegis", id=run["id"], outcome="fixed")
    assert [line for line in system.scripts.ran if line.split()[1] in ("down", "up")] == [
        f"artisan down --secret={CANARY}-bypass --render=errors::503",
        "artisan up",
    ]
    assert not system.closed
    assert CANARY not in str(await place.room.daemon.journal(run["id"]))


# ── The two most dangerous ──────────────────────────────────────────────────────────────────────


@beside
async def test_a_certificate_is_made_anew_when_two_agree_and_where_somebody_makes_it(place: Place) -> None:
    system, target = place.finaegis, "certificate/finaegis-tls"
    told = await place.room.paged("none of cert-manager's")
    assert "CN=finaegis.example.com" in told["text"]
    await system.kube.put(secret(BY_CERT_MANAGER))
    run = await place.room.run("finaegis-certificate-expiry", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "finaegis/secret/finaegis-tls", "nginx-ingress-controller")
    await place.room.agreed(f"{run['id']}.1", "bob")
    old = await system.kube.object("Secret", "finaegis-tls", "finaegis")
    assert (system.door.shown, await _renewals(system)) == ("old", [])
    await place.room.agreed(f"{run['id']}.1", "amina")
    await place.room.run("finaegis-certificate-expiry", target, id=run["id"], outcome="fixed")
    new = await system.kube.object("Secret", "finaegis-tls", "finaegis")
    assert old is not None and new is not None
    assert old["metadata"]["uid"] != new["metadata"]["uid"]
    assert system.door.shown == "new"
    deleted, restarted = await _renewals(system)
    assert (deleted["path"], deleted["body"]["preconditions"]["uid"]) == (
        "/api/v1/namespaces/finaegis/secrets/finaegis-tls",
        old["metadata"]["uid"],
    )
    assert "kubectl.kubernetes.io/restartedAt" in str(restarted["body"])
    assert CANARY not in str(await place.room.daemon.journal(run["id"]))


async def _renewals(system: Finaegis) -> list[dict[str, Any]]:
    places = ("/secrets/", "/deployments/nginx-ingress-controller")
    return [one for one in await system.kube.changes() if any(place in one["path"] for place in places)]


@beside
async def test_payments_are_synced_and_then_retried_one_by_one_while_stripe_is_up(place: Place) -> None:
    system, target = place.finaegis, "payments/stripe"
    system.indicator, system.failed, system.unsynced = "major", [A, B], 4
    await place.room.paged("Stripe itself reports major")
    system.indicator = "minor"
    run = await place.room.run("finaegis-payment-failures", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "payments:sync", f"queue:retry {A}", f"queue:retry {B}")
    await place.room.agreed(f"{run['id']}.1", "bob")
    system.failed.append(C)
    system.hopeless.add(C)
    system.tell()
    await place.room.agreed(f"{run['id']}.1", "chen")  # to a list that is no longer the one
    await place.room.card_says(f"{run['id']}.2", *(f"queue:retry {job}" for job in (A, B, C)))
    assert _money(system) == []
    await place.room.agreed(f"{run['id']}.2", "chen", "bob")
    await place.room.run("finaegis-payment-failures", target, id=run["id"], outcome="ineffective")
    sync, *retried = (f"artisan {one}" for one in ("payments:sync --since=3 days ago", *_retry(A, B, C)))
    assert _money(system) == [sync, *retried]
    assert (system.failed, system.unsynced) == ([C], 0)

    system.hopeless.clear()
    run = await place.room.run("finaegis-payment-failures", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", f"queue:retry {C}")
    assert A not in str((await place.room.card(f"{run['id']}.1"))["blocks"])
    await place.room.agreed(f"{run['id']}.1", "chen", "bob")
    await place.room.run("finaegis-payment-failures", target, id=run["id"], outcome="fixed")
    assert _money(system) == [sync, *retried, sync, retried[-1]]


def _money(system: Finaegis) -> list[str]:
    return [line for line in system.scripts.ran if "payments:" in line or "queue:retry" in line]


def _retry(*jobs: str) -> list[str]:
    return [f"queue:retry {job}" for job in jobs]


# ── Every other ─────────────────────────────────────────────────────────────────────────────────


@beside
async def test_idle_sessions_are_ended_and_php_is_restarted_where_none_idle(place: Place) -> None:
    system, target = place.finaegis, "database/finaegis"
    idle = await system.connect(MOST - 10)

    async def idles() -> bool:
        return system.connected(idle=3) == idle

    await until(idles, "they do not idle")
    at_work = await system.connect(MOST - 2 - len(idle), at_work=True)  # two are left, one of them to us
    run = await place.room.run("finaegis-database-connections", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", f"ends {len(idle)} sessions idle for longer than 1 s")
    assert system.connected() == [*idle, *at_work]
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("finaegis-database-connections", target, id=run["id"], outcome="fixed")
    assert system.connected() == at_work
    assert not any("php-fpm" in line for line in system.scripts.ran)

    await system.connect(len(idle), at_work=True)
    run = await place.room.run("finaegis-database-connections", target, stage="waiting")
    await place.room.card_says(f"{run['id']}.1", "systemctl restart php-fpm")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.run("finaegis-database-connections", target, id=run["id"], outcome="fixed")
    await eventually(lambda: not system.connected(), "it has sessions still")
    assert [line for line in system.scripts.ran if "php-fpm" in line] == [
        "-n /usr/bin/systemctl restart php-fpm"
    ]


@beside
async def test_more_workers_do_not_help_so_the_one_queue_is_paused_and_continued(place: Place) -> None:
    system, target = place.finaegis, "workers/horizon"
    system.queues["default"] = 7200
    run = await place.room.run("finaegis-queue-backlog", target, stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "bob")
    await place.room.card_says(f"{run['id']}.2", "horizon:pause-queue default")
    assert (await system.deployed("finaegis-horizon"))["replicas"] == 2  # given back
    scaled = [one["body"]["spec"] for one in await system.kube.changes() if "/scale" in one["path"]]
    assert scaled == [{"replicas": 5}, {"replicas": 2}]
    await place.room.agreed(f"{run['id']}.2", "bob")
    await place.room.run("finaegis-queue-backlog", target, id=run["id"], outcome="fixed")
    assert [line for line in system.scripts.ran if "-queue" in line] == [
        "artisan horizon:pause-queue default",
        "artisan horizon:continue-queue default",
    ]


@beside
async def test_one_projector_is_replayed_once_it_would_get_through_and_no_other(place: Place) -> None:
    system, target = place.finaegis, "projection/AccountBalanceProjector"
    system.stuck.add("AccountBalanceProjector")
    system.tell()
    system.lag["AccountBalanceProjector"] = 5000
    await place.room.paged("a replay would stop there again")
    system.stuck.clear()
    run = await place.room.run("finaegis-projection-lag", target, stage="waiting")
    await place.room.agreed(f"{run['id']}.1", "amina", "bob")
    await place.room.run("finaegis-projection-lag", target, id=run["id"], outcome="fixed")
    assert [line for line in system.scripts.ran if ":replay" in line] == [
        r"artisan event-sourcing:replay App\Domain\Account\Projectors\AccountBalanceProjector"
    ]


@beside
async def test_warnings_are_told_and_what_is_critical_and_has_no_remedy_is_paged(place: Place) -> None:
    system = place.finaegis
    system.slow, system.cpu = True, 0.97
    told = await place.room.paged("cpu is critical")
    assert "Horizon is running" in told["text"]
    said = "Warning: p95 is above its threshold. Horizon is running."

    async def there() -> bool:
        return any(one["text"] == said for one in await place.room.slack.messages("C0FINAEGIS"))

    await until(there, "the channel was not told")
    system.slow, system.cpu = False, 0.2
    assert not any("<@" in one["text"] for one in await place.room.slack.messages("C0FINAEGIS"))


@beside
async def test_what_does_not_agree_is_told_to_finance_and_left_as_it_is(place: Place) -> None:
    place.finaegis.discrepancies = 2
    told = await place.room.paged("2 discrepancies in today's reconciliation")
    place.finaegis.discrepancies = 0
    assert "The events of the accounts are NOT whole" in told["text"]
    assert f"<@{PEOPLE['chen']}>" in told["text"]
    assert not any("reconcile" in line for line in place.finaegis.scripts.ran)


async def test_a_queue_that_would_be_a_command_is_refused(place: Place) -> None:
    hostile = "default; php artisan queue:flush"
    await place.room.fire("FinaegisQueueBacklog", queue=hostile)
    said = await place.room.refused("finaegis-queue-backlog", "FinaegisQueueBacklog", queue=hostile)
    assert "queue" in said["reason"]


async def test_the_escalations_are_the_runbooks_four_levels() -> None:
    """15 minutes, 30 minutes, an hour."""
    levels = yaml.safe_load(example(SYSTEM).read_text())["escalations"]["critical"]
    assert [(one["role"], one["after"]) for one in levels] == [
        ("oncall", "0m"),
        ("team_lead", "15m"),
        ("cto", "45m"),
        ("ceo", "1h45m"),
    ]
