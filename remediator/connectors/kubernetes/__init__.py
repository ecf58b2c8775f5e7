"""Kubernetes: objects read, workloads scaled, restarted, rolled back, resized; pods deleted, Jobs begun."""

from remediator.connectors.kubernetes.connector import KIND, Kubernetes
from remediator.connectors.kubernetes.settings import KubernetesSettings

__all__ = ["KIND", "Kubernetes", "KubernetesSettings"]
