"""One change of a cluster is one request, whatever the API server does; and what is known of it then."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError

from remediator.connectors.kubernetes import Kubernetes, KubernetesSettings, change
from remediator.connectors.kubernetes.amounts import amount, same_amount
from remediator.connectors.kubernetes.connector import KIND
from remediator.core.catalog import Kind
from remediator.core.messages import Done, Refused, Result, Unknown
from remediator.errors import ConnectorError
from remediator.ports import Order
from tests.connectors.cluster import ACTS, SETTINGS, WEB, Shop, call, connector
from tests.connectors.peers import a_port_where_nobody_answers, a_port_where_nobody_listens, closes, peer
from tests.rig.kubernetes import TOKEN, FakeKubernetes, kubeconfig, workload

MISBEHAVIOURS: dict[str, tuple[dict[str, Any], type[Result]]] = {
    "reads and closes": ({"mood": "close"}, Unknown),
    "does it and closes": ({"mood": "close", "applied": True}, Unknown),
    "does it and resets": ({"mood": "reset", "applied": True}, Unknown),
    "reads and hangs": ({"mood": "hang"}, Unknown),
    "does it and hangs": ({"mood": "hang", "applied": True}, Unknown),
    "answers garbage": ({"mood": "garbage"}, Unknown),
    "does it and answers half": ({"mood": "half", "applied": True}, Unknown),
    "answers 500": ({"mood": "status", "status": 500}, Unknown),
    "does it and answers 504": ({"mood": "status", "status": 504, "applied": True}, Unknown),
    "answers 503": ({"mood": "status", "status": 503}, Unknown),
    "answers 200 and no object": ({"mood": "status", "status": 200}, Unknown),
    "answers 429": ({"mood": "status", "status": 429}, Refused),
    "answers 307": ({"mood": "status", "status": 307}, Refused),
}


def test_every_action_is_counted_here() -> None:
    actions = {one.name for one in KIND.operations if one.kind is Kind.ACTION}
    assert {f"kubernetes.{operation}" for operation, _, _ in ACTS.values()} | {
        "kubernetes.restore"
    } == actions


SOME = ("reads and closes", "does it and closes", "does it and answers 504")
TRIED = [("scale", does) for does in MISBEHAVIOURS] + [
    (name, does) for name in ACTS if name != "scale" for does in SOME
]
"""All of them once; of the others, which differ in what they send and in how it is found again, some."""


@pytest.mark.parametrize(("name", "does"), TRIED)
async def test_a_misbehaving_server_hears_one_request_and_is_asked_what_came_of_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, name: str, does: str
) -> None:
    operation, args, verb = ACTS[name]
    mood, outcome = MISBEHAVIOURS[does]
    if mood["mood"] == "hang":
        shop.connector = connector(shop.kube, timeout="300ms")
    await shop.kube.mood(verbs=[verb], **mood)
    result = await shop.act(operation, **args)
    assert [len(await shop.kube.changes()), type(result)] == [1, outcome], result
    if outcome is Refused:
        return
    monkeypatch.setattr(change, "SETTLED", 0)
    happened = mood.get("applied", False)
    became = await (shop.act(operation, **args) if operation == "job" else shop.inquire(operation, **args))
    assert isinstance(became, Done if happened or operation == "job" else Refused), became
    if operation == "job":
        names = [one["body"]["metadata"]["name"] for one in await shop.kube.changes()]
        assert len(names) == 2
        assert len(set(names)) == 1


@pytest.mark.parametrize("happened", [True, False])
async def test_an_undo_whose_answer_was_lost_is_asked_after(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    monkeypatch.setattr(change, "SETTLED", 0)
    for name in ("scale", "resources", "rollback"):
        operation, args, _ = ACTS[name]
        result = await shop.act(operation, key=f"run-1/{name}", **args)
        assert isinstance(result, Done)
        await shop.kube.settle()
        await shop.kube.mood("close", "patch", applied=happened)
        assert isinstance(await shop.undo(result, f"run-1/{name}/undo"), Unknown)
        back = call("restore", **result.result["restore"])
        became = await shop.connector.inquire(back, shop.marks[-1], timeout=5)
        assert isinstance(became, Done if happened else Refused), became
        await shop.undo(result, f"run-1/{name}/undo-again")
        await shop.kube.settle()


# ── Never sent ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ACTS)
async def test_a_server_that_is_not_there_was_never_sent_anything(tmp_path: Path, name: str) -> None:
    operation, args, _ = ACTS[name]

    async def keep(_about: dict[str, Any]) -> str:
        return ""

    path = kubeconfig(tmp_path / "k", f"http://127.0.0.1:{a_port_where_nobody_listens()}", token="t")
    there = Kubernetes(KubernetesSettings.model_validate({**SETTINGS, "kubeconfig": str(path)}))
    result = await there.act(call(operation, **args), order=Order("k", mark=keep), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")


async def test_a_server_that_never_takes_the_call_was_never_sent_anything(tmp_path: Path) -> None:
    with a_port_where_nobody_answers() as port:
        path = kubeconfig(tmp_path / "k", f"http://127.0.0.1:{port}", token="t")
        given = {**SETTINGS, "kubeconfig": str(path), "timeout": "600ms"}
        there = Kubernetes(KubernetesSettings.model_validate(given))
        result = await there.act(call("job", **ACTS["job"][1]), order=Order("k"), timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith("never sent: ")


@pytest.mark.parametrize("name", ACTS)
async def test_what_became_too_late_is_not_sent(shop: Shop, name: str) -> None:
    operation, args, _ = ACTS[name]
    order = Order("k", mark=shop.keep, late=lambda: "this replica's lease was over")
    result = await shop.connector.act(call(operation, **args), order=order, timeout=5)
    assert result == Refused("never sent: this replica's lease was over")
    assert await shop.kube.changes() == []


async def test_a_proxy_in_the_environment_is_not_asked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with peer(closes) as proxy:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("no_proxy", "")
        shop.connector = connector(shop.kube, timeout="5s")
        assert isinstance(await shop.act("restart", **WEB), Done)
    assert proxy.heard == []


# ── Somebody else ───────────────────────────────────────────────────────────────────────────────


async def test_a_status_that_moves_on_is_no_conflict(shop: Shop) -> None:
    await shop.kube.set(touches=2)
    assert isinstance(await shop.act("scale", **WEB, replicas=5), Done)
    answered = [one["answered"] for one in await shop.kube.changes()]
    assert answered == [409, 409, 200]


async def test_a_status_that_never_rests_is_told(shop: Shop) -> None:
    await shop.kube.set(touches=9)
    result = await shop.act("scale", **WEB, replicas=5)
    assert isinstance(result, Refused)
    assert result.reason.startswith(
        "answered 409 Conflict: Operation cannot be fulfilled on deployments.apps"
    )
    assert len(await shop.kube.changes()) == 3


@pytest.mark.parametrize("name", ["scale", "restart", "rollback", "resources"])
async def test_who_was_quicker_is_told(shop: Shop, name: str) -> None:
    operation, args, _ = ACTS[name]

    async def meanwhile(about: dict[str, Any]) -> str:
        shop.marks.append(about)
        await shop.kube.put(workload("web", image="app:8", replicas=4), manager="argocd-controller")
        return ""

    order = Order("run-1/step", mark=meanwhile)
    result = await shop.connector.act(call(operation, **args), order=order, timeout=5)
    assert isinstance(result, Refused)
    assert "; argocd-controller changed it at 2" in result.reason
    assert len(await shop.kube.changes()) == 1
    asked = await shop.inquire(operation, **args)
    assert isinstance(asked, Refused)
    assert "argocd-controller changed it" in asked.reason


@pytest.mark.parametrize("name", ["restart", "rollback", "resources"])
async def test_a_sender_that_wakes_after_it_was_given_up_does_nothing(shop: Shop, name: str) -> None:
    operation, args, _ = ACTS[name]

    async def asleep(about: dict[str, Any]) -> str:
        shop.marks.append(about)
        assert isinstance(
            await shop.inquire(operation, **args), Refused
        )  # another replica looked, and gave up
        return ""

    before = await shop.kube.object("Deployment", "web")
    order = Order("run-1/step", mark=asleep)
    result = await shop.connector.act(call(operation, **args), order=order, timeout=5)
    assert isinstance(result, Refused)
    assert result.reason.endswith("it was given up meanwhile")
    after = await shop.kube.object("Deployment", "web")
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]


async def test_what_cannot_be_told_is_left_to_a_person(shop: Shop) -> None:
    assert isinstance(await shop.act("scale", **WEB, replicas=5), Done)
    await shop.kube.put(workload("web", image="app:2", replicas=7))
    await shop.kube.put(workload("web", image="app:2", replicas=8))
    assert await shop.inquire("scale", **WEB, replicas=5) == Unknown(
        "it was changed 3 times since; whether by this, cannot be told"
    )
    assert isinstance(await shop.act("delete", kind="pod", name="db-0"), Done)
    assert isinstance(await shop.inquire("delete", kind="pod", name="db-0"), Done)
    unreadable = await shop.connector.inquire(call("scale", **WEB, replicas=5), {}, timeout=5)
    assert unreadable == Unknown("its mark cannot be read")


async def test_what_may_still_come_is_asked_about_again(shop: Shop) -> None:
    for name in ("scale", "delete a pod"):
        operation, args, verb = ACTS[name]
        await shop.kube.mood("close", verb)
        assert isinstance(await shop.act(operation, **args), Unknown)
        assert await shop.inquire(operation, **args) is None


@pytest.mark.parametrize("name", ACTS)
async def test_what_rbac_forbids_is_told_with_what_to_do(shop: Shop, name: str) -> None:
    operation, args, verb = ACTS[name]
    await shop.kube.set(forbidden=[f"{verb} {one}" for one in RIGHTS])
    result = await shop.act(operation, **args)
    assert isinstance(result, Refused)
    assert result.reason.startswith("answered 403 Forbidden: ")
    assert "system:serviceaccount:remediator:remediator" in result.reason
    assert result.reason.endswith("docs/kubernetes.md has a Role for each operation")


RIGHTS = ("deployments", "deployments/scale", "pods", "secrets", "jobs")


# ── Logging in ──────────────────────────────────────────────────────────────────────────────────


async def test_a_pod_logs_in_by_its_service_account(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes_asyncio.config import incluster_config

    secure = shop.kube
    token = secure.folder / "token"
    token.write_text(TOKEN)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(secure.secure_port))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(secure.folder / "ca.crt"))
    there = Kubernetes(KubernetesSettings(in_cluster=True, namespaces=("shop",)))
    read = await there.read(call("get", **WEB), timeout=10)
    assert read["spec"]["replicas"] == 3


async def test_outside_a_cluster_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    there = Kubernetes(KubernetesSettings(in_cluster=True, namespaces=("shop",)))
    with pytest.raises(ConnectorError) as error:
        await there.read(call("get", **WEB), timeout=10)
    told = "the pod's service account: Service host/port is not set.; outside a cluster, write kubeconfig:"
    assert str(error.value) == f"cluster: {told}"


async def test_a_server_with_another_authority_is_not_talked_to(kube: FakeKubernetes, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k", f"https://127.0.0.1:{kube.secure_port}", token=TOKEN)
    there = Kubernetes(KubernetesSettings(kubeconfig=path, namespaces=("shop",)))
    with pytest.raises(ConnectorError, match=r"never sent: .*certificate verify failed"):
        await there.read(call("get", **WEB), timeout=10)


async def test_a_login_program_runs_only_where_it_may(shop: Shop, tmp_path: Path) -> None:
    status = {"token": TOKEN}
    said = json.dumps({"apiVersion": EXEC, "kind": "ExecCredential", "status": status})
    program = tmp_path / "login"
    program.write_text(f"#!{sys.executable}\nprint('''{said}''')\n")
    program.chmod(0o755)
    user = {"exec": {"apiVersion": EXEC, "command": str(program), "interactiveMode": "Never"}}
    path = shop.kube.kubeconfig("with-exec", **user)
    given = {**SETTINGS, "kubeconfig": str(path)}
    with pytest.raises(ValueError, match=r"its user runs a program to log in \(exec\); use a token or"):
        KubernetesSettings.model_validate(given)
    there = Kubernetes(KubernetesSettings.model_validate({**given, "exec_plugins": True}))
    assert (await there.read(call("get", **WEB), timeout=10))["spec"]["replicas"] == 3


EXEC = "client.authentication.k8s.io/v1"


async def test_a_token_that_is_not_valid_is_told(shop: Shop) -> None:
    path = shop.kube.kubeconfig("expired", token="old")
    there = Kubernetes(KubernetesSettings(kubeconfig=path, namespaces=("shop",)))
    with pytest.raises(ConnectorError) as error:
        await there.read(call("get", **WEB), timeout=10)
    assert str(error.value) == (
        "cluster: deployment shop/web: answered 401 Unauthorized: Unauthorized; is its token still valid?"
    )


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


def unfit(path: Path, text: str | None = None, **more: Any) -> str:
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValidationError) as error:
        KubernetesSettings.model_validate({"kubeconfig": str(path), "namespaces": ["shop"], **more})
    return error.value.errors()[0]["msg"].removeprefix("Value error, ")


def test_a_kubeconfig_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "k"
    assert unfit(path) == f"kubeconfig {path}: cannot be read: No such file or directory"
    assert unfit(path, "a: [") == f"kubeconfig {path}: is not YAML"
    assert unfit(path, "- 1") == f"kubeconfig {path}: is no kubeconfig"
    assert unfit(path, "{}") == f"kubeconfig {path}: names no current-context; it has: none"
    kubeconfig(path, "https://h", token="t")
    assert unfit(path, context="prod") == f"kubeconfig {path}: has no context 'prod'; it has: here"
    careless = path.read_text().replace("server:", "insecure-skip-tls-verify: true\n    server:")
    told = f"kubeconfig {path}: skips the verification of the server; write certificate-authority"
    assert unfit(path, careless) == told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"in_cluster": True}, "write either in_cluster: true, or kubeconfig: and the path of one"),
        ({"pods": ["other"]}, "namespace other is not among namespaces"),
        ({"secrets": ["web-tls"]}, "'web-tls' is not a secret: write namespace/name"),
        ({"kinds": ["node"]}, "'node' cannot be read; write some of pod, service"),
        ({"workloads": {"web": {}}}, "'web' is not a workload: write namespace/deployment/name"),
        ({"workloads": {"shop/deployment/w*": {}}}, "'shop/deployment/w*' is not a workload"),
        ({"workloads": {"shop/statefulset/db": {"rollback": True}}}, "only Deployments can be rolled back"),
        ({"workloads": {"shop/daemonset/a": {"replicas": {"floor": 1, "ceiling": 2}}}}, "has no number"),
        ({"workloads": {"shop/deployment/a": {"replicas": {"floor": 3, "ceiling": 2}}}}, "floor 3 is above"),
        (
            {"workloads": {"shop/deployment/a": {"memory": {"floor": "4Gi", "ceiling": "2Gi"}}}},
            "floor 4Gi",
        ),
        (
            {"workloads": {"shop/deployment/a": {"memory": {"floor": "4 GB", "ceiling": "2Gi"}}}},
            "not an amount",
        ),
        ({"jobs": {"j": {"namespace": "shop"}}}, "write either cronjob, the name of one, or spec"),
        ({"jobs": {"j": {"namespace": "shop", "spec": {}}}}, "it has no template.spec.containers"),
        ({"jobs": {"J": {"namespace": "shop", "cronjob": "c"}}}, "'J' cannot name a Job"),
        (
            {"jobs": {"j": {"namespace": "shop", "cronjob": "c", "values": {"A B": "x"}}}},
            "not the name of",
        ),
        ({"jobs": {"j": {"namespace": "shop", "cronjob": "c", "values": {"A": "("}}}}, "RE2 does not take"),
    ],
)
def test_settings_that_cannot_be_are_told(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    path = kubeconfig(tmp_path / "k", "https://h", token="t")
    assert told in unfit(path, **more)


def test_a_job_that_goes_too_soon_could_be_begun_twice(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "k", "https://h", token="t")
    spec = {**SETTINGS["jobs"]["reindex"]["spec"], "ttlSecondsAfterFinished": 60}
    told = unfit(path, jobs={"j": {"namespace": "shop", "spec": spec}})
    assert told.startswith("its ttlSecondsAfterFinished is 60: a Job that is gone could be begun")


def test_amounts_are_compared_however_they_are_spelled() -> None:
    assert same_amount("2048Mi", "2Gi")
    assert same_amount("500m", "0.5")
    assert not same_amount("2G", "2Gi")
    assert not same_amount(None, "0")
    assert same_amount(None, None)
    assert same_amount("odd", "odd")
    assert amount("1.5k") == 1500


# ── Documents ───────────────────────────────────────────────────────────────────────────────────

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"


def in_the_docs(word: str) -> list[Any]:
    """The documents of the first YAML block that holds a word."""
    blocks = PAGE.read_text("utf-8").split("```yaml\n")[1:]
    found = next(block for block in blocks if word in block)
    return list(yaml.safe_load_all(found.split("```")[0]))


def test_the_config_and_the_role_of_the_docs_are_valid() -> None:
    (given,) = in_the_docs("in_cluster")
    settings = KubernetesSettings.model_validate(
        {key: value for key, value in given["cluster"].items() if key != "kind"}
    )
    assert settings.workloads.keys() >= {"ingress-nginx/deployment/*"}
    role, binding = in_the_docs("kind: Role")
    for one in (role, binding):
        kubernetes_validate.validate(one, "1.31", strict=True)
    verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "patch", "delete", "create"}


async def test_the_job_that_is_sent_is_valid(shop: Shop) -> None:
    assert isinstance(await shop.act("job", **ACTS["job"][1]), Done)
    (sent,) = await shop.kube.changes()
    kubernetes_validate.validate(sent["body"], "1.31", strict=True)
