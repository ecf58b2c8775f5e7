"""FinAegis: a ledger in a cluster, its artisan, a real MariaDB, a door with a certificate, Stripe's word."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rig.certificates import certificate
from tests.rig.kubernetes import SETTLE, FakeKubernetes, putting, running, workload
from tests.rig.mariadb import MariaDB
from tests.rig.processes import scratch
from tests.worlds.scripts import Scripts
from tests.worlds.service import Reply, Service

CANARY = "canary-of-finaegis"
APP, APP_PASSWORD = "finaegis", "canary-of-the-app"
MOST = 40
"""Connections that MariaDB takes, its last one beside, for who administers it."""
GiB = 1024**3
AMOUNTS = {"1Gi": GiB, "2Gi": 2 * GiB}
DAYS = {"old": 2, "fake": 365, "new": 90}
"""How long the certificates last that visitors may be shown."""
SECRET = ("Secret", "finaegis-tls")
BY_CERT_MANAGER = {"cert-manager.io/certificate-name": "finaegis-tls"}


class Door:
    """What visitors meet: an ingress that speaks TLS. ``shown``: which certificate."""

    def __init__(self, folder: Path) -> None:
        names = dict.fromkeys(DAYS, "/O=FinAegis/CN=finaegis.example.com") | {
            "fake": "/O=Acme Co/CN=Kubernetes Ingress Controller Fake Certificate"
        }
        self._files = {
            name: certificate(folder, name, subject=names[name], days=days) for name, days in DAYS.items()
        }
        self._ends = {name: time.time() + 86400 * days for name, days in DAYS.items()}
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.shown = ""
        self.port = 0
        self.show("old")

    @property
    def ends(self) -> float:
        """When the one that is shown does."""
        return self._ends[self.shown]

    def show(self, name: str) -> None:
        """From the next visitor on."""
        if name != self.shown:
            self._context.load_cert_chain(*self._files[name])
            self.shown = name

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """On loopback, until the block ends."""
        served = await asyncio.start_server(
            lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=self._context
        )
        self.port = served.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            served.close()


@dataclass
class Finaegis:
    """The platform.

    broken: images of which every fifth answer is an error; slow: answers take 0.5 to 1 s; used: bytes of
    memory of each of its pods; failed: payment jobs that stand as failed, and hopeless: those of them that
    fail whenever they are tried; queues: how many jobs wait; lag: events that a projector is behind, and
    stuck: projectors that fail at an event.
    """

    kube: FakeKubernetes
    database: MariaDB
    schema: str
    folder: Path
    door: Door
    metrics: Service = field(default_factory=Service)
    exporters: Service = field(default_factory=Service)
    probes: Service = field(default_factory=Service)
    stripe: Service = field(default_factory=Service)
    broken: set[str] = field(default_factory=set)
    slow: bool = False
    used: int = GiB // 4
    cpu: float = 0.2
    failed: list[str] = field(default_factory=list)
    hopeless: set[str] = field(default_factory=set)
    unsynced: int = 0
    queues: dict[str, int] = field(default_factory=lambda: {"default": 12, "payments": 0})
    lag: dict[str, int] = field(default_factory=lambda: {"AccountBalanceProjector": 0})
    stuck: set[str] = field(default_factory=set)
    maintenance_asked: bool = False
    closed: bool = False
    indicator: str = "none"
    discrepancies: int = 0
    sessions: list[Any] = field(default_factory=list)
    _paused: set[str] = field(default_factory=set)
    _fine: float = 1000.0
    _wrong: float = 1000.0
    _quick: float = 1000.0
    _idled: float = 0.0
    _measured: float = field(default_factory=time.monotonic)
    _first: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        self.scripts = Scripts(self.folder, "name=$2")
        self.stripe.on(
            "GET", "/api/v2/status.json", lambda _: Reply(200, {"status": {"indicator": self.indicator}})
        )
        self.scripts.answers("event-sourcing:verify", "echo 'Aggregate 4711: gap after event 12'; exit 1")
        self.tell()

    async def deployed(self, name: str) -> dict[str, Any]:
        """The spec of one of its Deployments."""
        found = await self.kube.object("Deployment", name, "finaegis")
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec

    async def container(self) -> dict[str, Any]:
        """The application's."""
        found: dict[str, Any] = (await self.deployed("finaegis-app"))["template"]["spec"]["containers"][0]
        return found

    # ── The database ──────────────────────────────────────────────────────────────────────────────

    def connections(self) -> tuple[int, int]:
        """How many MariaDB has, and how many of them are at work; ours is one."""
        told = self.database.run(
            "SELECT variable_name, variable_value FROM information_schema.global_status"
            " WHERE variable_name IN ('THREADS_CONNECTED', 'THREADS_RUNNING')"
        )
        counts = {name: int(value) for name, value in told}
        return counts["THREADS_CONNECTED"], counts["THREADS_RUNNING"]

    async def connect(self, count: int, *, at_work: bool = False) -> list[int]:
        """The numbers of so many more sessions of the application; they idle, or wait for a lock."""

        def one() -> Any:
            session = self.database.connected(self.schema, APP, APP_PASSWORD)
            if at_work:
                session._execute_command(3, f"SELECT GET_LOCK('{APP}', 900)")  # nobody reads the answer
            return session

        more = [await asyncio.to_thread(one) for _ in range(count)]
        self.sessions += more
        return [session.thread_id() for session in more]

    def connected(self, *, idle: int = 0) -> list[int]:
        """Sessions of the application, as the server tells; idle: those that idle for so many seconds."""
        idling = f" AND command = 'Sleep' AND time >= {idle}" if idle else ""
        found = f"SELECT id FROM information_schema.processlist WHERE user = '{APP}'{idling} ORDER BY id"
        return [number for (number,) in self.database.run(found)]

    def hang_up(self) -> None:
        """All sessions of the application end."""
        self.database.run(f"KILL USER {APP}")
        while self.sessions:
            self.sessions.pop().close()

    # ── What it does by itself ────────────────────────────────────────────────────────────────────

    async def lives(self) -> None:
        """What was run has its effect, the ingress shows what it has, exporters measure. Until cancelled."""
        while True:
            for line in self.scripts.news():
                self._ran(line)
            objects = {(one["kind"], one["metadata"]["name"]): one for one in await self.kube.objects()}
            self._ingress(objects)
            self._measure_cluster(objects)
            self._measure()
            self.tell()
            await asyncio.sleep(0.2)

    def _ran(self, line: str) -> None:
        """What follows from a command: soon, so what it prints proves nothing."""
        match line.split()[1:]:
            case ["horizon:pause-queue", queue]:
                self._paused.add(queue)
            case ["horizon:continue-queue", queue]:  # its workers take it up anew
                self._paused.discard(queue)
                self.queues[queue] = 12
            case ["queue:retry", job] if job in self.failed and job not in self.hopeless:
                self.failed.remove(job)
            case ["payments:sync", *_]:
                self.unsynced = 0
            case ["event-sourcing:replay", projector]:
                self.lag[projector.rpartition("\\")[2]] = 0
            case ["down", *_]:
                self.closed = True
            case ["up"]:
                self.closed = False
            case [_, "restart", "php-fpm"]:
                self.hang_up()

    def _ingress(self, objects: Mapping[tuple[str, str], dict[str, Any]]) -> None:
        """Without the secret that it knows it shows a certificate of its own, until it was started anew."""
        uid = objects[SECRET]["metadata"]["uid"] if SECRET in objects else ""
        template = objects["Deployment", "nginx-ingress-controller"]["spec"]["template"]
        now = uid, json.dumps(template)
        self._first = self._first or now
        if uid != self._first[0]:
            self.door.show("new" if uid and now[1] != self._first[1] else "fake")

    def _measure_cluster(self, objects: Mapping[tuple[str, str], dict[str, Any]]) -> None:
        """As kube-state-metrics and cAdvisor do; the first pod's container was killed for its memory."""
        gauge = self.exporters.gauge
        self.exporters.gauges.update(dict.fromkeys(self.exporters.gauges, 0.0))  # some are of pods that went
        for (kind, name), one in objects.items():
            where = {"namespace": one["metadata"]["namespace"]}
            if kind == "ReplicaSet":
                created = datetime.fromisoformat(one["metadata"]["creationTimestamp"]).timestamp()
                gauge("kube_replicaset_created", created, replicaset=name, **where)
                gauge("kube_replicaset_spec_replicas", one["spec"]["replicas"], replicaset=name, **where)
            if kind == "Pod" and name.startswith("finaegis-app-"):
                where |= {"pod": name, "container": "app"}
                limit = AMOUNTS[one["spec"]["containers"][0]["resources"]["limits"]["memory"]]
                gauge("kube_pod_container_resource_limits", limit, resource="memory", **where)
                gauge("container_memory_working_set_bytes", self.used, id="/kubepods/b", **where)
                if name.endswith("-0"):
                    gauge("container_memory_working_set_bytes", GiB // 2, id="/kubepods/a", **where)
        connected, at_work = self.connections()
        gauge("mysql_global_status_threads_connected", connected)
        gauge("mysql_global_status_threads_running", at_work)
        gauge("mysql_global_variables_max_connections", MOST)
        share = 0.2 * (self._image(objects) in self.broken)
        self._wrong, self._fine = self._wrong + 20 * share, self._fine + 20 * (1 - share)

    def _image(self, objects: Mapping[tuple[str, str], dict[str, Any]]) -> str:
        spec = objects["Deployment", "finaegis-app"]["spec"]["template"]["spec"]
        return str(spec["containers"][0]["image"])

    def _measure(self) -> None:
        gauge, total = self.metrics.gauge, self._wrong + self._fine
        self._quick += 0 if self.slow else 20
        gauge("http_requests_total", self._wrong, status="503")
        gauge("http_requests_total", self._fine, status="200")
        for le, count in (("0.5", self._quick), ("1", total), ("2", total), ("+Inf", total)):
            gauge("http_request_duration_seconds_bucket", count, le=le)
        for queue, waiting in self.queues.items():
            gauge("finaegis_queue_length", waiting, queue=queue)
        for projector, behind in self.lag.items():
            gauge("finaegis_projection_lag_events", behind, projector=projector)
        gauge("finaegis_failed_jobs", len(self.failed), queue="payments")
        gauge("finaegis_payments_unsynced", self.unsynced)
        gauge("finaegis_maintenance_asked", self.maintenance_asked)
        gauge("finaegis_reconciliation_discrepancies", self.discrepancies)
        gauge("finaegis_reconciliation_timestamp_seconds", time.time() - 3600)

        now = time.monotonic()
        self._idled, self._measured = self._idled + (now - self._measured) * (1 - self.cpu), now
        self.probes.gauge("node_cpu_seconds_total", self._idled, mode="idle", cpu="0")
        self.probes.gauge("probe_http_status_code", 503 if self.closed else 200)
        self.probes.gauge("probe_success", not self.closed)
        self.probes.gauge("probe_ssl_earliest_cert_expiry", self.door.ends)

    def tell(self) -> None:
        """What artisan prints from now on."""
        self.scripts.says("about", {"environment": {"maintenance_mode": self.closed}})
        self.scripts.says("horizon:status", {"status": "running", "paused": sorted(self._paused)})
        self.scripts.says(
            "queue:failed", [{"id": job, "failed_at": "2026-11-21 07:00:00"} for job in self.failed]
        )
        self.scripts.says("webhooks:status", {"pending": 3})
        self.scripts.says("event-sourcing:errors", [{"projector": one, "event": 81231} for one in self.stuck])
        self.scripts.says("reconcile:report", {"ran": True, "discrepancies": self.discrepancies})


def secret(annotations: Mapping[str, str]) -> dict[str, Any]:
    """The one with the certificate."""
    meta = {"name": "finaegis-tls", "namespace": "finaegis", "annotations": dict(annotations)}
    data = {"tls.crt": CANARY, "tls.key": CANARY}
    return {"kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "data": data}


@asynccontextmanager
async def finaegis(database: MariaDB) -> AsyncIterator[Finaegis]:
    """The platform, open; gone at the end. Its secret is none of cert-manager's."""
    schema = database.fresh("CREATE TABLE ledger_entries (id INT)")
    most = database.run("SELECT @@GLOBAL.max_connections")[0][0]
    database.run(
        f"CREATE USER {APP} IDENTIFIED BY '{APP_PASSWORD}'",
        f"GRANT ALL ON {schema}.* TO {APP}",
        f"SET GLOBAL max_connections = {MOST}",
        f"SELECT GET_LOCK('{APP}', 0)",
    )
    try:
        with scratch("finaegis", ours=True) as folder, running() as kube:
            await _put_up(kube)
            system = Finaegis(kube, database, schema, folder, Door(folder))
            async with (
                system.metrics.serve(),
                system.exporters.serve(),
                system.probes.serve(),
                system.stripe.serve(),
                system.door.open(),
            ):
                living = asyncio.create_task(system.lives())
                try:
                    yield system
                finally:
                    living.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await living
                    system.hang_up()
    finally:
        database.run(
            f"SELECT RELEASE_LOCK('{APP}')",
            f"SET GLOBAL max_connections = {most}",
            f"DROP USER {APP}",
            f"DROP DATABASE {schema}",
        )


async def _put_up(kube: FakeKubernetes) -> None:
    """Two releases of the application, its workers, the ingress and its certificate."""
    await kube.set(again=["finaegis/finaegis-tls"])
    for image in ("finaegis:1", "finaegis:2"):
        limits = {"limits": {"memory": "1Gi"}}
        app = workload("finaegis-app", namespace="finaegis", image=image, replicas=2, resources=limits)
        await kube.do(putting(app), SETTLE)
    await kube.put(
        workload("finaegis-horizon", namespace="finaegis", replicas=2),
        workload("nginx-ingress-controller", namespace="ingress-nginx", replicas=1),
        secret({}),
        {
            "kind": "Certificate",
            "metadata": {"name": "finaegis-tls", "namespace": "finaegis"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        },
    )
