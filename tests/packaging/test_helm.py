"""The Helm chart: every object is valid Kubernetes, and as locked down as it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.packaging.helm_subset import Chart, UnsupportedError

FOLDER = Path(__file__).resolve().parents[2] / "helm"

VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example/remediator", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "registry"}],
        "existingSecret": "remediator",
        "secretEnv": {"SLACK_BOT_TOKEN": {"secret": "slack", "key": "bot-token"}},
        "policies": {"loyalty.yaml": "policy: loyalty\nsummary: '${x} {{ not a template }}'\n"},
        "serviceAccount": {"annotations": {"team": "ops"}, "automountToken": True},
        "persistence": {"storageClass": "fast", "size": "5Gi"},
        "podAnnotations": {"prometheus.io/scrape": "true"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "ops", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"podAntiAffinity": {}},
    },
    "postgresql, nothing kept": {
        "config": {"store": "postgresql://db.example/remediator"},
        "persistence": {"enabled": False},
        "serviceAccount": {"create": False},
    },
    "a claim that is there": {"persistence": {"existingClaim": "state"}},
}


@pytest.fixture(scope="module")
def chart() -> Chart:
    return Chart.at(FOLDER)


def one(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
@pytest.mark.parametrize("version", ["1.25", "1.29", "1.32"])
def test_every_object_is_valid(chart: Chart, values: dict[str, Any], version: str) -> None:
    for manifest in chart.manifests(values):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_defaults_make_these_objects(chart: Chart) -> None:
    kinds = sorted(manifest["kind"] for manifest in chart.manifests())
    assert kinds == [
        "ConfigMap",
        "ConfigMap",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
        "ServiceAccount",
    ]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_one_writer_with_no_rights_to_spare(chart: Chart, values: dict[str, Any]) -> None:
    spec = one(chart.manifests(values), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    (container,) = pod["containers"]
    inside = container["securityContext"]
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    wanted = values.get("serviceAccount", {}).get("automountToken", False)
    assert pod["automountServiceAccountToken"] is wanted


def test_secrets_come_by_reference_only(chart: Chart) -> None:
    manifests = chart.manifests(VALUES["everything"])
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "remediator"}}]
    assert container["env"] == [
        {"name": "SLACK_BOT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "slack", "key": "bot-token"}}}
    ]


def test_config_and_policies_arrive_as_they_were_written(chart: Chart) -> None:
    policies = VALUES["everything"]["policies"]
    maps = [one for one in chart.manifests({"policies": policies}) if one["kind"] == "ConfigMap"]
    config, given = maps
    assert yaml.safe_load(config["data"]["remediator.yaml"]) == chart.defaults["config"]
    assert given["data"] == policies


def test_another_config_starts_another_pod_and_another_policy_does_not(chart: Chart) -> None:
    def checksum(values: dict[str, Any]) -> str:
        template = one(chart.manifests(values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert checksum({"config": {"listen": "0.0.0.0:9"}}) != checksum({})
    assert checksum({"policies": {"a.yaml": "policy: a"}}) == checksum({})


def test_state_lives_where_the_values_say(chart: Chart) -> None:
    def state(values: dict[str, Any]) -> dict[str, Any]:
        pod = one(chart.manifests(values), "Deployment")["spec"]["template"]["spec"]
        (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "state"]
        return dict(volume)

    assert state({})["persistentVolumeClaim"] == {"claimName": "fixer"}
    existing = VALUES["a claim that is there"]
    assert state(existing)["persistentVolumeClaim"] == {"claimName": "state"}
    assert "PersistentVolumeClaim" not in {manifest["kind"] for manifest in chart.manifests(existing)}
    assert state({"persistence": {"enabled": False}})["emptyDir"] == {}


def test_the_selector_finds_the_pod(chart: Chart) -> None:
    manifests = chart.manifests()
    deployment, service = one(manifests, "Deployment"), one(manifests, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels


def test_the_notes_name_the_hook(chart: Chart) -> None:
    notes = chart.render({"existingSecret": "s"})["NOTES.txt"]
    assert "http://fixer.ops.svc:8080/hooks/alertmanager" in notes
    assert "existingSecret is empty" not in notes
    assert "existingSecret is empty" in chart.render()["NOTES.txt"]


def test_the_renderer_refuses_what_it_does_not_know(chart: Chart, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    for name in ("Chart.yaml", "values.yaml"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    for template in ("{{ lookup 1 }}", "{{ .Values.nothing }}", "{{ if .Values.image }}"):
        (tmp_path / "templates" / "x.yaml").write_text(template)
        with pytest.raises(UnsupportedError):
            Chart.at(tmp_path).render()
