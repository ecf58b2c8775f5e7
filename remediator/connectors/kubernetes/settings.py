"""How a cluster is configured: the way to it, and what exactly may be read and changed there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import re2
import yaml
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from remediator.config import Duration, Section
from remediator.connectors.kubernetes.amounts import amount
from remediator.connectors.kubernetes.kinds import KINDS, WORKLOADS, Place, is_name, is_namespace
from remediator.connectors.settings import BLIND, Settings

LONGEST = timedelta(seconds=30)
"""The longest that one request may be given."""
SHORTEST_TTL = 3600
"""Seconds that a finished Job must stay: as long as it is there, it cannot be begun a second time."""
READABLE = (
    *("pod", "service", *WORKLOADS, "replicaset", "job", "cronjob", "horizontalpodautoscaler", "secret"),
    "certificate",
)
DEFAULT_READABLE = ("pod", *WORKLOADS, "replicaset", "job")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _amount(value: str) -> str:
    amount(value)
    return value


Amount = Annotated[str, AfterValidator(_amount)]


class Replicas(Section):
    """How few and how many."""

    floor: int = Field(ge=0, description="how few replicas there may be")
    ceiling: int = Field(gt=0, le=10_000, description="how many replicas there may be")

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.floor > self.ceiling:
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}")
        return self


class Amounts(Section):
    """How little and how much of one resource."""

    floor: Amount = Field(description="how little, such as 256Mi")
    ceiling: Amount = Field(description="how much, such as 4Gi")

    @model_validator(mode="after")
    def _ordered(self) -> Amounts:
        if amount(self.floor) > amount(self.ceiling):
            raise ValueError(f"floor {self.floor} is above ceiling {self.ceiling}")
        return self


class Workload(Section):
    """What may be done to one workload; what is not written may not be done."""

    replicas: Replicas | None = Field(default=None, description="the bounds of kubernetes.scale")
    restart: bool = Field(default=False, description="whether it may be restarted")
    rollback: bool = Field(default=False, description="whether a Deployment may be rolled back")
    memory: Amounts | None = Field(default=None, description="the bounds of its containers' memory")
    cpu: Amounts | None = Field(default=None, description="the bounds of its containers' CPU")


class JobSettings(Section):
    """A Job that may be begun: the template of a CronJob there, or one written here."""

    namespace: str = Field(description="where it runs")
    cronjob: str | None = Field(default=None, description="the CronJob whose template it is made of")
    spec: dict[str, Any] | None = Field(default=None, description="the spec of a Job, as Kubernetes has it")
    values: dict[str, str] = Field(
        default={},
        description="environment variables of its first container that policies fill in, each with the "
        "pattern that a value must fit",
    )

    @model_validator(mode="after")
    def _whole(self) -> JobSettings:
        if (self.cronjob is None) == (self.spec is None):
            raise ValueError("write either cronjob, the name of one, or spec, that of a Job")
        if not is_namespace(self.namespace) or not is_name(self.cronjob or "one"):
            raise ValueError("namespace and cronjob must be names as Kubernetes has them")
        if self.spec is not None and (problem := unfit_spec(self.spec)):
            raise ValueError(problem)
        for name, pattern in self.values.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of an environment variable")
            try:
                re2.compile(pattern)
            except re2.error as error:
                raise ValueError(f"values.{name}: RE2 does not take this pattern: {error}") from None
        return self


def unfit_spec(spec: Mapping[str, Any]) -> str:
    """Why no Job may be made of this spec, or ""."""
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers or not isinstance(containers[0], dict):
        return "it has no template.spec.containers"
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        return "its template.spec.restartPolicy must be Never or OnFailure"
    ttl = spec.get("ttlSecondsAfterFinished")
    if ttl is not None and (not isinstance(ttl, int) or ttl < SHORTEST_TTL):
        return (
            f"its ttlSecondsAfterFinished is {ttl}: a Job that is gone could be begun a second time; "
            f"leave it out, or write {SHORTEST_TTL} at least"
        )
    return ""


class KubernetesSettings(Settings):
    """A Kubernetes cluster."""

    in_cluster: bool = Field(default=False, description="true: as the pod's own service account")
    kubeconfig: Path | None = Field(default=None, description="the kubeconfig file that leads to it")
    context: str | None = Field(default=None, description="its context; else the file's current one")
    exec_plugins: bool = Field(
        default=False, description="true: programs that the kubeconfig names may be run to log in"
    )
    namespaces: tuple[str, ...] = Field(description="the namespaces that policies may name")
    kinds: tuple[str, ...] = Field(
        default=DEFAULT_READABLE, description="the kinds of objects that kubernetes.get may read"
    )
    workloads: dict[str, Workload] = Field(
        default={},
        description="what may be done to which workload: 'shop/deployment/web', or 'shop/deployment/*'",
    )
    pods: tuple[str, ...] = Field(default=(), description="namespaces whose pods may be deleted")
    secrets: tuple[str, ...] = Field(
        default=(),
        description="secrets that may be deleted, and looked at without their contents: 'shop/web-tls'",
    )
    jobs: dict[str, JobSettings] = Field(default={}, description="Jobs that may be begun, by name")
    timeout: Duration = Field(default=timedelta(seconds=10), gt=timedelta(0), le=LONGEST)

    @field_validator("namespaces", "pods")
    @classmethod
    def _are_namespaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in value if not is_namespace(one)]:
            raise ValueError(f"{wrong[0]!r} is not a namespace")
        return tuple(sorted(set(value)))

    @field_validator("kinds")
    @classmethod
    def _are_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in value if one not in READABLE]:
            raise ValueError(f"{wrong[0]!r} cannot be read; write some of {', '.join(READABLE)}")
        return tuple(sorted(set(value)))

    @field_validator("secrets")
    @classmethod
    def _are_secrets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            namespace, slash, name = one.partition("/")
            if not (slash and is_namespace(namespace) and is_name(name)):
                raise ValueError(f"{one!r} is not a secret: write namespace/name")
        return tuple(sorted(set(value)))

    @field_validator("workloads")
    @classmethod
    def _are_workloads(cls, value: dict[str, Workload]) -> dict[str, Workload]:
        for place, allowed in value.items():
            namespace, kind, name = (*place.split("/"), "", "", "")[:3]
            whole = is_namespace(namespace) and kind in WORKLOADS and (name == "*" or is_name(name))
            if not whole or place.count("/") != 2:
                raise ValueError(f"{place!r} is not a workload: write namespace/deployment/name")
            if allowed.rollback and kind != "deployment":
                raise ValueError(f"{place}: only Deployments can be rolled back")
            if allowed.replicas and kind == "daemonset":
                raise ValueError(f"{place}: a DaemonSet has no number of replicas")
        return value

    @field_validator("jobs")
    @classmethod
    def _are_jobs(cls, value: dict[str, JobSettings]) -> dict[str, JobSettings]:
        for name in value:
            if not is_namespace(name) or len(name) > 40:
                raise ValueError(f"{name!r} cannot name a Job: small letters, digits and -, 40 at most")
        return value

    @model_validator(mode="after")
    def _reaches(self, info: ValidationInfo) -> KubernetesSettings:
        if self.in_cluster == (self.kubeconfig is not None):
            raise ValueError("write either in_cluster: true, or kubeconfig: and the path of one")
        named = [one.partition("/")[0] for one in (*self.workloads, *self.secrets)]
        for namespace in (*named, *self.pods, *(job.namespace for job in self.jobs.values())):
            if namespace not in self.namespaces:
                raise ValueError(f"namespace {namespace} is not among namespaces")
        if self.kubeconfig is not None and not (info.context or {}).get(BLIND):
            problem = _unfit_kubeconfig(self.kubeconfig, self.context, plugins=self.exec_plugins)
            if problem:
                raise ValueError(f"kubeconfig {self.kubeconfig}: {problem}")
        return self

    def allowed(self, place: Place) -> Workload:
        """What may be done to a workload."""
        return rights(self.workloads, str(place))


def rights(workloads: Mapping[str, Workload], place: str) -> Workload:
    """What may be done to ``shop/deployment/web``. The exact name wins over a star."""
    any_name = f"{place.rpartition('/')[0]}/*"
    return workloads.get(place) or workloads.get(any_name) or Workload()


def _unfit_kubeconfig(path: Path, context: str | None, *, plugins: bool) -> str:
    """What is wrong with it, or "". Nothing of what stands in it is told but names."""
    try:
        read = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (yaml.YAMLError, UnicodeDecodeError):
        return "is not YAML"
    if not isinstance(read, dict):
        return "is no kubeconfig"
    wanted = context or read.get("current-context")
    contexts = {one.get("name"): one.get("context") or {} for one in _listed(read, "contexts")}
    if wanted not in contexts:
        known = ", ".join(sorted(map(str, contexts))) or "none"
        return f"{f'has no context {wanted!r}' if wanted else 'names no current-context'}; it has: {known}"
    cluster = _named(read, "cluster", contexts[wanted])
    if not cluster.get("server"):
        return f"context {wanted!r} names no cluster with a server"
    if cluster.get("insecure-skip-tls-verify"):
        return "skips the verification of the server; write certificate-authority"
    program = {"exec", "auth-provider"} & _named(read, "user", contexts[wanted]).keys()
    if program and not plugins:
        return (
            f"its user runs a program to log in ({program.pop()}); use a token or a client certificate, "
            "or write exec_plugins: true"
        )
    return ""


def _named(read: dict[str, Any], what: str, context: dict[str, Any]) -> dict[str, Any]:
    """The user or the cluster of a context."""
    found = (one.get(what) for one in _listed(read, f"{what}s") if one.get("name") == context.get(what))
    return next(found, None) or {}


def _listed(read: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [one for one in read.get(name) or () if isinstance(one, dict)]


assert set(READABLE) <= KINDS.keys()
