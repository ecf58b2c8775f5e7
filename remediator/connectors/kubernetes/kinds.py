"""Which kinds of objects policies may name, where each lives, and how one object is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of object, by the name that policies use."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Of one object, or of all in a namespace."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


KINDS = {
    one.name: one
    for one in (
        Kind("pod", "pods"),
        Kind("service", "services"),
        Kind("secret", "secrets"),
        Kind("deployment", "deployments", "apps"),
        Kind("replicaset", "replicasets", "apps"),
        Kind("statefulset", "statefulsets", "apps"),
        Kind("daemonset", "daemonsets", "apps"),
        Kind("job", "jobs", "batch"),
        Kind("cronjob", "cronjobs", "batch"),
        Kind("horizontalpodautoscaler", "horizontalpodautoscalers", "autoscaling", "v2"),
        Kind("certificate", "certificates", "cert-manager.io"),
    )
}
HIDDEN = "[hidden]"
"""Stands for a value that must not leave the cluster."""
WORKLOADS = ("deployment", "statefulset", "daemonset")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_namespace(text: object) -> bool:
    """As Kubernetes names them: small letters, digits and hyphens."""
    return isinstance(text, str) and _LABEL.fullmatch(text) is not None


def is_name(text: object) -> bool:
    """As Kubernetes names objects: dots too, but never two of them, which would be a way up in a path."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None and ".." not in text


@dataclass(frozen=True)
class Place:
    """One object."""

    kind: Kind
    namespace: str
    name: str

    @property
    def key(self) -> dict[str, Any]:
        """As pictures and results hold it."""
        return {"kind": self.kind.name, "namespace": self.namespace, "name": self.name}

    def path(self, subresource: str = "") -> str:
        """Where the API server has it."""
        return self.kind.path(self.namespace, self.name, subresource)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.kind.name}/{self.name}"
