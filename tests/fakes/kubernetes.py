"""A Kubernetes of our own: an API server with its controllers, its refusals, its moods, and a ledger.

Run it as its own process: ``python -m tests.fakes.kubernetes --port N``; the real clients, kubectl among
them, talk to it. Tests steer it through ``/_control/…`` (see ``tests/rig/kubernetes.py``). Every request is
recorded with its body before anything is done with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web

from tests.fakes.kubernetes_controllers import Controllers
from tests.fakes.kubernetes_objects import (
    RESOURCES,
    Key,
    Object,
    Objects,
    Problem,
    Resource,
    Writing,
    patched,
    timestamp,
)
from tests.fakes.moods import Mood, misbehave

USER = "system:serviceaccount:remediator:remediator"


@dataclass
class Cluster:
    """forbidden: what the user may not, as ``verb resource`` (``patch deployments/scale``; verb ``*``)."""

    token: str
    objects: Objects = field(default_factory=Objects)
    requests: list[dict[str, Any]] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    moods: list[Mood] = field(default_factory=list)
    touches: int = 0  # how often a status moves on just before an object is changed
    controllers: Controllers = field(init=False)

    def __post_init__(self) -> None:
        self.controllers = Controllers(self.objects)
        self.objects.changed = self.controllers.changed


CLUSTER = web.AppKey("cluster", Cluster)


@dataclass(frozen=True)
class Asked:
    """One request, understood."""

    verb: str  # get list watch create update patch delete
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]
    kind: str  # content type
    body: Any

    @property
    def key(self) -> Key:
        """Of the object."""
        return self.resource.plural, self.namespace, self.name

    @property
    def how(self) -> Writing:
        """Who writes."""
        return Writing(
            self.query.get("fieldManager", "unknown"), self.subresource, self.query.get("dryRun") == "All"
        )

    @property
    def right(self) -> str:
        """As RBAC names it."""
        return self.resource.plural + (f"/{self.subresource}" if self.subresource else "")


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


async def serve(request: web.Request) -> web.StreamResponse:
    """Every path below ``/api`` and ``/apis``: recorded, let in or not, done, answered."""
    cluster = request.app[CLUSTER]
    raw = await request.read()
    body = json.loads(raw) if raw else None
    asked = _understood(request, body)
    noted = {
        "at": time.time(),
        "method": request.method,
        "path": request.path,
        "query": dict(request.query),
        "type": request.content_type,
        "body": body,
        "verb": asked.verb if isinstance(asked, Asked) else "",
        "authorization": request.headers.get("Authorization", ""),
        "user_agent": request.headers.get("User-Agent", ""),
        "answered": 0,
    }
    cluster.requests.append(noted)
    verb = ("dry-" if asked is not None and asked.how.dry else "") + str(noted["verb"])
    mood = next((one for one in cluster.moods if verb and one.takes(verb)), None)
    if mood is not None and not mood.applied and (instead := await misbehave(request, mood)) is not None:
        return instead
    try:
        answer = await _answer(request, cluster, asked)
    except Problem as problem:
        answer = web.json_response(problem.status, status=problem.code)
    if mood is not None and mood.applied and (instead := await misbehave(request, mood)) is not None:
        return instead
    noted["answered"] = answer.status
    return answer


_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+))?(?:/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?)?"
)


def _understood(request: web.Request, body: Any) -> Asked | None:
    found = _PATH.fullmatch(request.path)
    resource = RESOURCES.get(found["plural"] or "") if found is not None else None
    if found is None or resource is None or resource.api_version != _version(found):
        return None
    name, query = found["name"] or "", dict(request.query)
    verb = _VERBS.get(request.method, "get" if name else "list")
    if verb == "list" and query.get("watch") in ("true", "1"):
        verb = "watch"
    return Asked(
        verb, resource, found["namespace"] or "", name, found["sub"] or "", query, request.content_type, body
    )


def _version(found: re.Match[str]) -> str:
    return found["core"] or f"{found['group']}/{found['version']}"


async def _answer(request: web.Request, cluster: Cluster, asked: Asked | None) -> web.StreamResponse:
    if request.headers.get("Authorization", "") != f"Bearer {cluster.token}":
        raise Problem(401, "Unauthorized", "Unauthorized")
    if asked is None:
        return _discovery(request.path)
    if cluster.forbidden & {f"{asked.verb} {asked.right}", f"* {asked.right}"}:
        raise _forbidden(asked)
    if asked.verb == "watch":
        return await _watch(request, cluster.objects, asked)
    if asked.verb in ("patch", "update", "delete") and cluster.touches and not asked.how.dry:
        cluster.touches -= 1
        _touch(cluster.objects, asked.key)
    status = 201 if asked.verb == "create" else 200
    return web.json_response(_done(cluster.objects, asked), status=status)


def _forbidden(asked: Asked) -> Problem:
    group = f'API group "{asked.resource.group}"'
    message = (
        f'{asked.resource.qualified} "{asked.name}" is forbidden: User "{USER}" cannot {asked.verb} resource '
        f'"{asked.right}" in {group} in the namespace "{asked.namespace}"'
    )
    return Problem(403, "Forbidden", message, name=asked.name, kind=asked.resource.plural)


def _done(objects: Objects, asked: Asked) -> Object:
    if asked.subresource == "scale" and asked.resource.scales:
        return _scale(objects, asked)
    if asked.subresource:
        raise Problem(404, "NotFound", "the server could not find the requested resource")
    match asked.verb:
        case "get":
            return objects.get(asked.key)
        case "list":
            return _list(objects, asked)
        case "create":
            return objects.create(asked.resource.plural, asked.namespace, asked.body, asked.how)
        case "update":
            return objects.update(asked.key, asked.body, asked.how)
        case "patch":
            return objects.patch(asked.key, asked.kind, asked.body, asked.how)
    options = {**(asked.body or {})}
    gone = objects.delete(asked.key, options, Writing(dry=asked.how.dry or options.get("dryRun") == ["All"]))
    if asked.resource.plural == "pods":
        return gone
    details = {"name": asked.name, "kind": asked.resource.plural, "uid": gone["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _list(objects: Objects, asked: Asked) -> Object:
    found = [
        one for one in objects.all(asked.resource.plural, asked.namespace) if _selected(one, asked.query)
    ]
    return {
        "kind": f"{asked.resource.kind}List",
        "apiVersion": asked.resource.api_version,
        "metadata": {"resourceVersion": str(objects.version)},
        "items": found,
    }


def _selected(one: Object, query: dict[str, str]) -> bool:
    labels = one["metadata"].get("labels") or {}
    wanted = [
        part.split("=", 1) for part in query.get("labelSelector", "").replace("==", "=").split(",") if part
    ]
    fields = [part.split("=", 1) for part in query.get("fieldSelector", "").split(",") if part]
    return all(labels.get(name) == value for name, value in wanted) and all(
        one["metadata"].get(name.removeprefix("metadata.")) == value for name, value in fields
    )


# ── The scale subresource ───────────────────────────────────────────────────────────────────────


def _scale(objects: Objects, asked: Asked) -> Object:
    held = objects.get(asked.key)
    if asked.verb == "get":
        return _as_scale(held)
    new = asked.body if asked.verb == "update" else _patched_scale(_as_scale(held), asked)
    meta = new.get("metadata", {})
    held["spec"]["replicas"] = (new.get("spec") or {}).get("replicas", 0)
    held["metadata"] |= {name: meta[name] for name in ("uid", "resourceVersion") if meta.get(name)}
    if not meta.get("resourceVersion"):
        held["metadata"].pop("resourceVersion")
    return _as_scale(objects.update(asked.key, held, asked.how))


def _patched_scale(scale: Object, asked: Asked) -> Object:
    """A scale with a patch applied; its version stays only where the patch gives one."""
    if "resourceVersion" not in (asked.body.get("metadata") or {}):
        scale["metadata"].pop("resourceVersion")
    return patched(scale, asked.kind, asked.body)


def _as_scale(held: Object) -> Object:
    meta = {name: held["metadata"][name] for name in ("name", "namespace", "uid", "creationTimestamp")}
    labels = (held["spec"].get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {**meta, "resourceVersion": held["metadata"].get("resourceVersion", "")},
        "spec": {"replicas": held["spec"].get("replicas", 1)},
        "status": {
            "replicas": held.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{name}={value}" for name, value in labels.items()),
        },
    }


def _touch(objects: Objects, key: Key) -> None:
    """Its status moves on, as those of sick pods do."""
    if key in objects.held:
        held = objects.get(key)
        held.setdefault("status", {})["touched"] = objects.version
        del held["metadata"]["resourceVersion"]
        objects.update(key, held, Writing("kube-controller-manager", "status"))


# ── Watches, and what there is at all ───────────────────────────────────────────────────────────


async def _watch(request: web.Request, objects: Objects, asked: Asked) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "application/json"})
    await stream.prepare(request)
    since = int(asked.query.get("resourceVersion") or objects.version)
    until = asyncio.timeout(float(asked.query.get("timeoutSeconds") or 300))
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with until:
            while True:
                for version, event, key, about in objects.events:
                    fits = key[0] == asked.resource.plural and asked.namespace in ("", key[1])
                    if version > since and fits and _selected(about, asked.query):
                        line = json.dumps({"type": event, "object": about}).encode()
                        await stream.write(line + b"\n")
                since = max(since, objects.version)
                async with objects.news:
                    await objects.news.wait()
    return stream


_TOLD = ["create", "delete", "get", "list", "patch", "update", "watch"]


def _discovery(path: str) -> web.Response:
    groups = sorted({one.group for one in RESOURCES.values() if one.group})
    versions = {one.api_version for one in RESOURCES.values()}
    if path == "/version":
        return web.json_response({"major": "1", "minor": "32", "gitVersion": "v1.32.4-fake"})
    if path == "/api":
        return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
    if path == "/apis":
        return web.json_response(
            {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(one) for one in groups]}
        )
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in versions:
        raise Problem(404, "NotFound", "the server could not find the requested resource")
    listed = [line for one in RESOURCES.values() if one.api_version == version for line in _resources(one)]
    told = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed}
    return web.json_response(told)


def _group(name: str) -> Object:
    version = next(one for one in RESOURCES.values() if one.group == name)
    told = {"groupVersion": version.api_version, "version": version.version}
    return {"name": name, "versions": [told], "preferredVersion": told}


def _resources(one: Resource) -> list[Object]:
    told = {
        "name": one.plural,
        "singularName": one.kind.lower(),
        "namespaced": True,
        "kind": one.kind,
        "verbs": _TOLD,
        "shortNames": list(one.short),
    }
    scale = {
        "name": f"{one.plural}/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }
    return [told, scale] if one.scales else [told]


# ── Control ─────────────────────────────────────────────────────────────────────────────────────


async def control(request: web.Request) -> web.Response:
    """``POST /_control/do``: steps, such as ``["put", {…}]``; ``GET /_control/{requests,objects}``."""
    cluster = request.app[CLUSTER]
    match request.match_info["what"]:
        case "requests":
            return web.json_response(cluster.requests)
        case "objects":
            return web.json_response(list(cluster.objects.held.values()))
    for what, given in await request.json():
        _do(cluster, what, given)
    return web.json_response({})


def _do(cluster: Cluster, what: str, given: dict[str, Any]) -> None:
    match what:
        case "reset":
            cluster.__init__(cluster.token)  # type: ignore[misc]
        case "put":
            for one in given["objects"]:
                how = Writing(given.get("manager", "kubectl-create"), applies=given.get("applies", False))
                _put(cluster.objects, one, how)
        case "mood":
            cluster.moods.append(Mood(**{**given, "verbs": tuple(given.get("verbs", ()))}))
        case "set":
            cluster.forbidden = set(given.get("forbidden", cluster.forbidden))
            cluster.touches = given.get("touches", cluster.touches)
            cluster.controllers.delay = given.get("delay", cluster.controllers.delay)
            for name in ("bad", "failing", "again"):
                getattr(cluster.controllers, name).update(given.get(name, ()))
        case "age":
            aged = [one for one in cluster.objects.held.values() if one["kind"] == given["kind"]]
            aged.sort(key=lambda one: str(one["metadata"]["creationTimestamp"]), reverse=True)
            for number, one in enumerate(aged):  # they stay in their order
                made = timestamp(-timedelta(hours=given["hours"], seconds=number))
                one["metadata"]["creationTimestamp"] = made
                for entry in one["metadata"]["managedFields"]:
                    entry["time"] = made
        case "sync":
            for key in [*cluster.objects.held, *cluster.controllers.coming]:
                cluster.controllers.sync(key)


def _put(objects: Objects, one: Object, how: Writing) -> None:
    """Create it, or make it so, whatever it was."""
    plural = next(name for name, resource in RESOURCES.items() if resource.kind == one["kind"])
    key = (plural, one["metadata"].get("namespace", "default"), one["metadata"]["name"])
    if key not in objects.held:
        objects.create(plural, key[1], one, how)
        return
    held = objects.get(key)
    held["metadata"] = {**held["metadata"], **one["metadata"]}
    held["metadata"].pop("resourceVersion", None)
    objects.update(key, {**held, **one, "metadata": held["metadata"]}, how)


async def ready(_request: web.Request) -> web.Response:
    """``GET /``."""
    return web.Response(text="ok")


def application(token: str) -> web.Application:
    """The whole fake as an aiohttp application."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app[CLUSTER] = Cluster(token)
    app.router.add_get("/", ready)
    app.router.add_route("*", "/_control/{what}", control)
    app.router.add_route("*", "/version", serve)
    app.router.add_route("*", "/{path:apis?(/.*)?}", serve)
    return app


def main() -> None:
    """Serve on loopback until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", default="sa-token")
    parser.add_argument("--tls", nargs=3, metavar=("PORT", "CERT", "KEY"), help="listen there too, with TLS")
    options = parser.parse_args()
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    runner = web.AppRunner(application(options.token), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    if options.tls:
        port, cert, key = options.tls
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust.load_cert_chain(cert, key)
        await web.TCPSite(runner, "127.0.0.1", int(port), ssl_context=trust).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
