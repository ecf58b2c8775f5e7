"""What an API server of Kubernetes keeps: objects with versions, changed only by who has seen the newest.

Optimistic concurrency, generations, field managers, dry runs, patches of three kinds and watches are those
of the real one as far as its documents tell them; schemas are known only where a test needs a refusal.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name


@dataclass(frozen=True)
class Resource:
    """One kind of object, as discovery tells it."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    short: tuple[str, ...] = ()
    scales: bool = False

    @property
    def api_version(self) -> str:
        """As in objects: ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As in messages: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


RESOURCES = {
    one.plural: one
    for one in (
        Resource("pods", "Pod", short=("po",)),
        Resource("secrets", "Secret"),
        Resource("configmaps", "ConfigMap", short=("cm",)),
        Resource("services", "Service", short=("svc",)),
        Resource("deployments", "Deployment", "apps", short=("deploy",), scales=True),
        Resource("replicasets", "ReplicaSet", "apps", short=("rs",), scales=True),
        Resource("statefulsets", "StatefulSet", "apps", short=("sts",), scales=True),
        Resource("daemonsets", "DaemonSet", "apps", short=("ds",)),
        Resource("jobs", "Job", "batch"),
        Resource("cronjobs", "CronJob", "batch", short=("cj",)),
        Resource("horizontalpodautoscalers", "HorizontalPodAutoscaler", "autoscaling", "v2", ("hpa",)),
        Resource("certificates", "Certificate", "cert-manager.io", short=("cert",)),
    )
}


class Problem(Exception):
    """A refusal, as the ``Status`` that is answered."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(frozen=True)
class Writing:
    """Who writes, and how. applies: by a server-side apply, which makes all that it names its own."""

    manager: str = "unknown"
    subresource: str = ""
    dry: bool = False
    applies: bool = False

    @property
    def operation(self) -> str:
        """As the API server names it."""
        return "Apply" if self.applies else "Update"


@dataclass
class Objects:
    """Everything in the cluster. changed: called after each real change, with the key."""

    held: dict[Key, Object] = field(default_factory=dict)
    version: int = 1000
    events: list[tuple[int, str, Key, Object]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    changed: Callable[[Key], None] = lambda _key: None

    def get(self, key: Key) -> Object:
        """A copy. Raises 404."""
        if key not in self.held:
            raise Problem(
                404,
                "NotFound",
                f'{RESOURCES[key[0]].qualified} "{key[2]}" not found',
                name=key[2],
                kind=key[0],
            )
        return copy.deepcopy(self.held[key])

    def all(self, plural: str, namespace: str = "") -> list[Object]:
        """Copies of all of a kind, by name."""
        found = (
            one
            for (kind, ns, _), one in sorted(self.held.items())
            if kind == plural and namespace in ("", ns)
        )
        return copy.deepcopy(list(found))

    def create(self, plural: str, namespace: str, new: Object, how: Writing) -> Object:
        """Raises 409 AlreadyExists, 422."""
        resource, new = RESOURCES[plural], _normal(new)
        meta = new.setdefault("metadata", {})
        if "generateName" in meta and "name" not in meta:
            meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
        name = meta.get("name", "")
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
            raise _invalid(resource, name, "metadata.name: Invalid value")
        key = (plural, namespace, name)
        if key in self.held:
            raise Problem(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', name=name)
        _check(resource, new)
        new |= {"apiVersion": resource.api_version, "kind": resource.kind}
        meta |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": timestamp(),
        }
        meta.pop("resourceVersion", None)
        _own(new, {}, new, how)
        if not how.dry:
            self._keep(key, new, "ADDED")
        return copy.deepcopy(new)

    def update(self, key: Key, new: Object, how: Writing) -> Object:
        """Replace it by what was made of the newest. Raises 409 for somebody who has not seen it."""
        resource, old, new = RESOURCES[key[0]], self.get(key), _normal(new)
        given, meta = new.setdefault("metadata", {}), old["metadata"]
        if given.get("uid", meta["uid"]) != meta["uid"]:
            raise _conflict(
                resource,
                key[2],
                f"Precondition failed: UID in precondition: {given['uid']}, "
                f"UID in object meta: {meta['uid']}",
            )
        if given.get("resourceVersion", meta["resourceVersion"]) != meta["resourceVersion"]:
            raise _conflict(
                resource,
                key[2],
                "the object has been modified; please apply your changes to the latest version and try again",
            )
        for bookkept in ("uid", "creationTimestamp", "generation", "resourceVersion", "managedFields"):
            if bookkept in meta:
                given[bookkept] = copy.deepcopy(meta[bookkept])
        if how.subresource != "status":
            new["status"] = old.get("status", {})
            _check(resource, new)
        if new == old and not how.applies:
            return old
        if new.get("spec") != old.get("spec"):
            given["generation"] = meta["generation"] + 1
        _own(new, old, new, how)
        if not how.dry:
            self._keep(key, new, "MODIFIED")
        return copy.deepcopy(new)

    def patch(self, key: Key, kind: str, patch: Any, how: Writing) -> Object:
        """``kind``: the content type. Applied to the newest, as often as need be."""
        old = self.get(key)
        new = patched(old, kind, patch)
        if "resourceVersion" not in _meta_of(kind, patch):
            new["metadata"].pop("resourceVersion", None)
        return self.update(key, new, how)

    def delete(self, key: Key, options: Object, how: Writing) -> Object:
        """Raises 409 where a precondition does not hold."""
        old, wanted = self.get(key), options.get("preconditions") or {}
        for name, said in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if wanted.get(name) not in (None, old["metadata"][name]):
                raise _conflict(
                    RESOURCES[key[0]],
                    key[2],
                    f"Precondition failed: {said} in precondition: {wanted[name]}, "
                    f"{said} in object meta: {old['metadata'][name]}",
                )
        if not how.dry:
            self.drop(key)
        return old

    def drop(self, key: Key) -> None:
        """It is gone."""
        gone = self.held.pop(key)
        self.version += 1
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", key, gone)

    def _keep(self, key: Key, new: Object, event: str) -> None:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self.held[key] = copy.deepcopy(new)
        self._tell(event, key, copy.deepcopy(new))

    def _tell(self, event: str, key: Key, about: Object) -> None:
        self.events.append((self.version, event, key, about))
        self.changed(key)
        asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self.news:
            self.news.notify_all()


def _normal(value: Any) -> Any:
    """A copy without what says nothing, as typed clients like to send it."""
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _normal(one)
        for name, one in value.items()
        if one is not None and not (one == {} and name in ("resources", "securityContext", "strategy"))
    }


def timestamp(off: timedelta = timedelta(0)) -> str:
    """Now, or so far off, as Kubernetes writes it."""
    return _written(datetime.now(UTC) + off)


def after(earlier: Iterable[str]) -> str:
    """Now, and a second after each of these at least: two releases are never of the same second."""
    return max([timestamp(), *(_written(datetime.fromisoformat(one) + _SECOND) for one in earlier)])


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_SECOND = timedelta(seconds=1)


def _conflict(resource: Resource, name: str, why: str) -> Problem:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Problem(409, "Conflict", message, name=name, group=resource.group, kind=resource.plural)


def _invalid(resource: Resource, name: str, why: str) -> Problem:
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return Problem(422, "Invalid", f'{kind} "{name}" is invalid: {why}', name=name, kind=resource.kind)


# ── Patches ─────────────────────────────────────────────────────────────────────────────────────

MERGED = {"containers", "initContainers", "volumes", "env", "imagePullSecrets", "ephemeralContainers"}
"""Lists that a strategic merge joins by the name of their items."""


def patched(old: Object, kind: str, patch: Any) -> Object:
    """What a patch makes of an object. Raises 415, 422."""
    new = copy.deepcopy(old)
    match kind:
        case "application/merge-patch+json":
            merged: Object = _merged(new, patch)
            return merged
        case "application/strategic-merge-patch+json":
            joined: Object = _strategic(new, patch)
            return joined
        case "application/json-patch+json":
            for operation in patch:
                _operate(new, operation)
            return new
    raise Problem(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")


def _meta_of(kind: str, patch: Any) -> Object:
    """What a patch says of the metadata itself."""
    if kind == "application/json-patch+json":
        start = "/metadata/"
        return {
            one["path"].removeprefix(start): one.get("value")
            for one in patch
            if one["path"].startswith(start) and one["op"] != "test"
        }
    return patch.get("metadata") or {}


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    new = old if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            new.pop(name, None)
        else:
            new[name] = _merged(new.get(name), value)
    return new


def _strategic(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    if patch.get("$patch") == "replace":
        return {name: value for name, value in copy.deepcopy(patch).items() if name != "$patch"}
    new = old if isinstance(old, dict) else {}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            new.pop(name, None)
        elif name in MERGED and isinstance(value, list):
            new[name] = _by_name(new.get(name) or [], value)
        else:
            new[name] = _strategic(new.get(name), value)
    return new


def _by_name(old: list[Object], patch: list[Object]) -> list[Object]:
    new = {one["name"]: one for one in old}
    for one in patch:
        if one.get("$patch") == "delete":
            new.pop(one["name"], None)
        else:
            new[one["name"]] = _strategic(new.get(one["name"]), one)
    return list(new.values())


def _operate(whole: Object, operation: Object) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    try:
        here: Any = whole
        for part in way:
            here = here[int(part)] if isinstance(here, list) else here[part]
        place = int(last) if isinstance(here, list) and last != "-" else last
        match operation["op"]:
            case "test" if here[place] != operation["value"]:
                raise Problem(422, "Invalid", f"testing value {operation['path']} failed")
            case "remove":
                del here[place]
            case "add" if isinstance(here, list):
                here.insert(len(here) if place == "-" else place, operation["value"])
            case "add" | "replace":
                here[place] = operation["value"]
    except (KeyError, IndexError, ValueError):
        problem = f"the server rejected our request due to an error in our request: {operation['path']}"
        raise Problem(422, "Invalid", problem) from None


# ── Who owns which field ────────────────────────────────────────────────────────────────────────


def _own(new: Object, old: Object, wanted: Object, how: Writing) -> None:
    """Whoever changes a field owns it from then on; who owns nothing any more is not listed.

    Who applies a field that is so already owns it beside whoever did. Named items of a list are fields.
    """
    changed = [path for path in _differing(wanted, old, ()) if _owned(path, how)]
    gone = [path for path in _differing(old, wanted, ()) if not _there(wanted, path)]
    entries = [one for one in new["metadata"].get("managedFields", []) if not _same(one, how)]
    former = [one for one in new["metadata"].get("managedFields", []) if _same(one, how)]
    kept = [copy.deepcopy(one) for one in entries]
    for one in kept:
        for path in [*changed, *gone]:
            _cut(one["fieldsV1"], path)
    fields: Object = former[0]["fieldsV1"] if former else {}
    for path in gone:
        _cut(fields, path)
    if how.applies:
        changed = [path for path in _differing(wanted, {}, ()) if _owned(path, how)]
    for path in changed:
        _put(fields, path)
    if changed:
        kept.append(
            {
                "manager": how.manager,
                "operation": how.operation,
                "apiVersion": new.get("apiVersion", ""),
                "time": timestamp(),
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
                **({"subresource": how.subresource} if how.subresource else {}),
            }
        )
    else:
        kept += former
    new["metadata"]["managedFields"] = [one for one in kept if one["fieldsV1"]]


def _same(entry: Object, how: Writing) -> bool:
    whose = (entry["manager"], entry["operation"], entry.get("subresource", ""))
    return bool(whose == (how.manager, how.operation, how.subresource))


def _owned(path: tuple[str, ...], how: Writing) -> bool:
    if path[0] == "status":
        return how.subresource == "status"
    return path[0] not in ("apiVersion", "kind") and (
        path[0] != "metadata" or path[1] in ("labels", "annotations")
    )


def _differing(new: Any, old: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    parts, known = _parts(new, path), _parts(old, path)
    if parts:
        for name, value in parts.items():
            yield from _differing(value, known.get(name), (*path, name))
    elif new != old and len(path) > 1:
        yield path


def _parts(value: Any, path: tuple[str, ...]) -> Object:
    """The fields of a map, or the items of a list that are known by their names."""
    if isinstance(value, list) and path and path[-1] in MERGED and all("name" in one for one in value):
        return {f"k:{json.dumps({'name': one['name']}, separators=(',', ':'))}": one for one in value}
    return value if isinstance(value, dict) else {}


def _there(whole: Any, path: tuple[str, ...]) -> bool:
    for depth, part in enumerate(path):
        parts = _parts(whole, path[:depth])
        if part not in parts:
            return False
        whole = parts[part]
    return True


def _field(part: str) -> str:
    return part if part.startswith("k:") else f"f:{part}"


def _put(fields: Object, path: tuple[str, ...]) -> None:
    for part in path:
        fields = fields.setdefault(_field(part), {})


def _cut(fields: Object, path: tuple[str, ...]) -> None:
    name = _field(path[0])
    if name in fields:
        if len(path) > 1:
            _cut(fields[name], path[1:])
        if len(path) == 1 or not fields[name]:
            del fields[name]


# ── What it refuses ─────────────────────────────────────────────────────────────────────────────

QUANTITY = re.compile(r"(\d+|\d*\.\d+|\d+\.)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def _check(resource: Resource, new: Object) -> None:
    spec, name = new.get("spec") or {}, new["metadata"].get("name", "")
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise Problem(400, "BadRequest", f"{resource.kind} in version v1 cannot be handled: spec.replicas")
    if replicas < 0:
        why = f"spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"
        raise _invalid(resource, name, why)
    template = spec.get("template") or {}
    wanted = (spec.get("selector") or {}).get("matchLabels", {}) if resource.group == "apps" else {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(label) != value for label, value in wanted.items()):
        why = f"spec.template.metadata.labels: Invalid value: {json.dumps(labels)}: `selector` does not match"
        raise _invalid(resource, name, why)
    for number, container in enumerate((template.get("spec") or {}).get("containers") or ()):
        if problem := _unfit(container.get("resources") or {}):
            where = f"spec.template.spec.containers[{number}].resources"
            raise _invalid(resource, name, f"{where}.{problem}")


def _unfit(resources: Object) -> str:
    asked: dict[str, dict[str, float]] = {}
    for part in ("limits", "requests"):
        for name, text in (resources.get(part) or {}).items():
            found = QUANTITY.fullmatch(str(text))
            if not found:
                return f"{part}: quantities must match the regular expression"
            asked.setdefault(part, {})[name] = float(found[1]) * UNITS[found[2] or ""]
    for name, value in asked.get("requests", {}).items():
        if value > asked.get("limits", {}).get(name, value):
            return f"requests: Invalid value: must be less than or equal to {name} limit"
    return ""
