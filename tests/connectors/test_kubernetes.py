"""Kubernetes through the real client library, against an API server that keeps versions and a ledger."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remediator.connectors.kubernetes.owners import LAST_APPLIED
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from tests.connectors.cluster import ACTS, NIGHTLY, WEB, Shop, call
from tests.rig.kubernetes import SETTLE, TOKEN, putting, workload


def done(result: Result | None) -> dict[str, Any]:
    assert isinstance(result, Done), result
    return result.result


def refused(result: Result | None) -> str:
    assert isinstance(result, Refused), result
    return result.reason


async def web(shop: Shop) -> dict[str, Any]:
    found = await shop.kube.object("Deployment", "web")
    assert found is not None
    return found


async def image(shop: Shop) -> str:
    return str((await web(shop))["spec"]["template"]["spec"]["containers"][0]["image"])


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


async def test_an_object_is_read_without_what_must_not_leave(shop: Shop) -> None:
    read = await shop.read("deployment", "web")
    assert read["spec"]["replicas"] == 3
    assert read["rolled_out"] is True
    assert read["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "DB_PASSWORD", "value": "[hidden]"}
    ]
    assert "managedFields" not in read["metadata"]
    secret = await shop.read("secret", "web-tls")
    assert secret["data"] == {"tls.crt": "[hidden]", "tls.key": "[hidden]"}
    assert "canary" not in str(read) + str(secret)


async def test_what_containers_and_strangers_hold_is_not_read_out(shop: Shop) -> None:
    given = workload("web", image="app:2")
    get = {"path": "/", "httpHeaders": [{"name": "Authorization", "value": "canary-header"}]}
    hook = {"preStop": {"exec": {"command": ["/bin/stop", "canary-hook"]}}}
    given["spec"]["template"]["spec"]["containers"][0] |= {
        "command": ["/bin/app", "canary-command"],
        "args": ["--key=canary-args"],
        "livenessProbe": {"httpGet": get},
        "lifecycle": hook,
    }
    notes = {"cert-manager.io/certificate-name": "web", "vendor.example/token": "canary-note"}
    notes[LAST_APPLIED] = "canary-applied"
    given["metadata"]["annotations"] = notes
    given["spec"]["template"]["metadata"]["annotations"] = notes
    await shop.kube.put(given)
    read = await shop.read("deployment", "web")
    assert "canary" not in str(read)
    (container,) = read["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["[hidden]", "[hidden]"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/"
    told = read["spec"]["template"]["metadata"]["annotations"]
    assert told == {"cert-manager.io/certificate-name": "web", "vendor.example/token": "[hidden]"}


async def test_a_secret_that_is_not_listed_is_not_even_looked_at(shop: Shop) -> None:
    before = len(await shop.kube.requests())
    with pytest.raises(ConnectorError, match="does not list the secret shop/other"):
        await shop.read("secret", "other")
    assert len(await shop.kube.requests()) == before


async def test_what_kubectl_waits_for_is_told(shop: Shop) -> None:
    assert (await shop.read("pod", "db-0"))["ready"] is True
    assert (await shop.read("statefulset", "db"))["rolled_out"] is True
    await shop.kube.set(bad=["app:3"])
    await shop.kube.put(workload("web", image="app:3"))
    await shop.kube.settle()
    assert (await shop.read("deployment", "web"))["rolled_out"] is False
    assert (await shop.read("job", "reindex"))["metadata"]["uid"] == ""


@pytest.mark.parametrize(
    ("kind", "name", "namespace", "told"),
    [
        ("deployment", "none", "shop", "cluster: there is no deployment shop/none"),
        (
            "cronjob",
            "nightly",
            "shop",
            "cluster: not asked: the connection does not let 'cronjob' be read;",
        ),
        ("deployment", "web", "kube-system", "cluster: namespace 'kube-system' is not among those that the"),
        ("deployment", "../secrets/web-tls", "shop", "cluster: '../secrets/web-tls' cannot be the name of"),
        ("deployment", "web?dryRun=All", "shop", "cluster: 'web?dryRun=All' cannot be the name of an object"),
        ("deployment", "a..b", "shop", "cluster: 'a..b' cannot be the name of an object"),
        ("deployment", "web\n", "shop", "cluster: 'web\\n' cannot be the name of an object"),
        ("deployment", 7, "shop", "cluster: 7 cannot be the name of an object"),
    ],
)
async def test_what_cannot_be_read_is_told(
    shop: Shop, kind: str, name: Any, namespace: str, told: str
) -> None:
    before = len(await shop.kube.requests())
    with pytest.raises(ConnectorError) as error:
        await shop.connector.read(call("get", kind=kind, name=name, namespace=namespace), timeout=5)
    assert str(error.value).startswith(told)
    assert len(await shop.kube.requests()) - before == (name == "none")


# ── Previews, and what was approved ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ACTS)
async def test_a_preview_is_tried_by_the_server_and_changes_nothing(shop: Shop, name: str) -> None:
    operation, args, _ = ACTS[name]
    before = await shop.kube.object("Deployment", "web")
    picture = await shop.preview(operation, **args)
    assert picture.count == len(picture.rows) == 1
    assert picture.rows[0]["before"] != picture.rows[0]["after"]
    assert "canary" not in str(picture)
    assert await shop.kube.changes() == []
    (dry,) = await shop.kube.requests("patch", "delete", "create")
    assert dry["query"]["dryRun"] == "All"
    assert await shop.kube.object("Deployment", "web") == before
    assert await shop.preview(operation, **args) == picture  # read again before the act, it is the same


@pytest.mark.parametrize("name", ACTS)
async def test_what_was_approved_is_done_by_one_request(shop: Shop, name: str) -> None:
    operation, args, verb = ACTS[name]
    picture = await shop.preview(operation, **args)
    done(await shop.act(operation, shown=picture, **args))
    (sent,) = await shop.kube.changes()
    assert sent["verb"] == verb
    assert sent["user_agent"] == "remediator"
    assert sent["authorization"] == f"Bearer {TOKEN}"
    if verb == "patch":
        assert {"uid", "resourceVersion"} <= sent["body"]["metadata"].keys()
        assert sent["type"] == "application/strategic-merge-patch+json"
    if verb == "delete":
        assert sent["body"]["preconditions"].keys() == {"uid", "resourceVersion"}


async def test_what_is_no_longer_as_approved_is_not_touched(shop: Shop) -> None:
    picture = await shop.preview("scale", **WEB, replicas=5)
    await shop.kube.put(workload("web", image="app:2", replicas=4))
    told = refused(await shop.act("scale", shown=picture, **WEB, replicas=5))
    assert told == (
        "never sent: shop/deployment/web is no longer as it was approved: "
        "scales shop/deployment/web from 4 to 5 replicas"
    )
    await shop.kube.settle()
    rolled = await shop.preview("rollback", name="web")
    await shop.kube.put(workload("web", image="app:3"))
    await shop.kube.settle()
    assert "no longer as it was approved" in refused(await shop.act("rollback", shown=rolled, name="web"))
    pod = await shop.preview("delete", kind="pod", name="db-0")
    await shop.act("delete", kind="pod", name="db-0", key="somebody/else")
    await shop.kube.settle()
    assert "no longer the one" in refused(await shop.act("delete", shown=pod, kind="pod", name="db-0"))


async def test_a_dry_run_that_the_server_refuses_is_told_before_anybody_is_asked(shop: Shop) -> None:
    await shop.kube.put(workload("web", image="app:2", resources={"requests": {"memory": "3Gi"}}))
    with pytest.raises(ConnectorError, match=r"the dry run answered 422 Invalid: .* less than or equal"):
        await shop.preview("resources", **WEB, container="app", limits={"memory": "2Gi"})


async def test_nothing_is_sent_whose_mark_is_not_kept(shop: Shop) -> None:
    async def lost(_about: dict[str, Any]) -> str:
        return "the run does not wait for it any more"

    shop.keep = lost  # type: ignore[assignment,method-assign]
    for operation, args, _ in ACTS.values():
        if operation != "job":
            told = refused(await shop.act(operation, **args))
            assert told == "never sent: the run does not wait for it any more"
    assert await shop.kube.changes() == []


# ── Scale ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_scale_goes_through_its_subresource_and_back(shop: Shop) -> None:
    result = await shop.act("scale", **WEB, replicas=5)
    assert done(result)["after"] == {"replicas": 5}
    (sent,) = await shop.kube.changes()
    assert sent["path"] == "/apis/apps/v1/namespaces/shop/deployments/web/scale"
    assert done(await shop.undo(result))["after"] == {"replicas": 3}
    assert (await web(shop))["spec"]["replicas"] == 3
    assert done(await shop.undo(result))["already"] == {"replicas": 3}


async def test_an_undo_never_stomps_a_newer_number(shop: Shop) -> None:
    result = await shop.act("scale", **WEB, replicas=5)
    await shop.kube.put(workload("web", image="app:2", replicas=9))
    undone = await shop.undo(result)
    assert isinstance(undone, Done)
    assert undone.left == "shop/deployment/web was left alone: it holds replicas 9, not replicas 5"
    assert (await web(shop))["spec"]["replicas"] == 9


async def test_what_people_have_set_for_good_is_not_taken_back(shop: Shop) -> None:
    """To the same number: by a server-side apply they own it too; `kubectl apply` writes it down."""
    scaled = await shop.act("scale", **WEB, replicas=5)
    await shop.kube.put(workload("web", image="app:2", replicas=5), manager="flux", applies=True)
    undone = await shop.undo(scaled)
    assert isinstance(undone, Done)
    assert undone.left == (
        "shop/deployment/web was left alone: it holds replicas 5, which flux has made its own since"
    )
    assert (await web(shop))["spec"]["replicas"] == 5
    args: dict[str, Any] = {"container": "app", "limits": {"memory": "2Gi"}}
    for ship in (_by_kubectl_apply, _with_a_new_image):
        await shop.kube.put(workload("web", image="app:2"))
        resized = await shop.act("resources", **WEB, **args)
        await ship(shop)
        undone = await shop.undo(resized)
        assert isinstance(undone, Done)
        assert "left alone: it " in undone.left
        containers = (await web(shop))["spec"]["template"]["spec"]["containers"]
        assert containers[0]["resources"] == {"limits": {"memory": "2Gi"}}


async def test_what_its_shipper_has_left_so_is_theirs(shop: Shop) -> None:
    """An update leaves no trace at a number that it does not change, but it would have set it back."""
    await shop.kube.put(workload("web", image="app:2", replicas=4), manager="helm")
    await shop.kube.age("Deployment", hours=2)
    scaled = await shop.act("scale", **WEB, replicas=5)
    result = done(scaled)["restore"]
    result["at"] -= 60  # the ages of a cluster are told by the second
    await shop.kube.put(workload("web", image="app:3", replicas=5), manager="helm")
    undone = await shop.undo(scaled)
    assert isinstance(undone, Done)
    assert undone.left == (
        "shop/deployment/web was left alone: "
        "it was changed since by helm, which had set it before, and left at replicas 5"
    )
    assert (await web(shop))["spec"]["replicas"] == 5


async def test_what_another_has_written_who_never_set_the_number_says_nothing_of_it(shop: Shop) -> None:
    await shop.kube.put(workload("web", image="app:2", replicas=4), manager="helm")
    await shop.kube.age("Deployment", hours=2)
    scaled = await shop.act("scale", **WEB, replicas=5)
    done(scaled)["restore"]["at"] -= 60
    await shop.kube.put(workload("web", image="app:3", replicas=5), manager="kubectl-set")
    assert done(await shop.undo(scaled))["after"] == {"replicas": 4}


async def _by_kubectl_apply(shop: Shop) -> None:
    shipped = workload("web", image="app:2", resources={"limits": {"memory": "2048Mi"}})
    notes = (await web(shop))["metadata"]["annotations"] | {LAST_APPLIED: json.dumps(shipped)}
    given = await web(shop)
    given["metadata"]["annotations"] = notes
    await shop.kube.put(given, manager="kubectl-client-side-apply")


async def _with_a_new_image(shop: Shop) -> None:
    """By an update that says nothing of what it left as it was, as Helm's."""
    given = workload("web", image="app:3", resources={"limits": {"memory": "2Gi"}})
    await shop.kube.put(given, manager="helm")


async def test_what_others_change_beside_it_does_not_keep_a_change(shop: Shop) -> None:
    resized = await shop.act("resources", **WEB, container="app", limits={"memory": "2Gi"})
    given = await web(shop)
    given["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "another"
    given["spec"]["replicas"] = 4
    await shop.kube.put(given, manager="kubectl-edit")
    assert done(await shop.undo(resized))["after"] == {"limits.memory": None}


@pytest.mark.parametrize(
    ("replicas", "told"),
    [
        (1, "never sent: 1 replicas of shop/deployment/web are outside 2 to 10; ask for a number between"),
        (11, "never sent: 11 replicas of shop/deployment/web are outside 2 to 10"),
        (3, "never sent: shop/deployment/web has 3 replicas already"),
        (2.5, "never sent: replicas must be a whole number, not 2.5"),
        (True, "never sent: replicas must be a whole number"),
    ],
)
async def test_a_number_outside_its_bounds_is_refused(shop: Shop, replicas: Any, told: str) -> None:
    assert refused(await shop.act("scale", **WEB, replicas=replicas)).startswith(told)
    assert await shop.kube.changes() == []


async def test_an_autoscaler_in_charge_is_told(shop: Shop) -> None:
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    hpa = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "web-hpa", "namespace": "shop"}}
    result = await shop.act("scale", **WEB, replicas=5)
    await shop.kube.put({**hpa, "spec": {"scaleTargetRef": target, "minReplicas": 2}})
    told = refused(await shop.act("scale", **WEB, replicas=6))
    assert told.startswith(
        "never sent: the HorizontalPodAutoscaler web-hpa scales shop/deployment/web; it would"
    )
    undone = await shop.undo(result)
    assert isinstance(undone, Done)
    assert "the HorizontalPodAutoscaler web-hpa scales" in undone.left


async def test_a_star_stands_for_any_name_and_an_exact_name_wins(shop: Shop) -> None:
    done(await shop.act("scale", kind="statefulset", name="db", replicas=5))
    told = refused(await shop.act("restart", kind="daemonset", name="other"))
    assert told == (
        "never sent: shop/daemonset/other may not be restarted; "
        "list it under workloads: shop/daemonset/other: {restart: true}"
    )


# ── Restart, rollback, resources ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "name"), [("deployment", "web"), ("statefulset", "db"), ("daemonset", "agent")]
)
async def test_a_restart_makes_the_pods_anew_and_says_whose_it_was(shop: Shop, kind: str, name: str) -> None:
    result = done(await shop.act("restart", kind=kind, name=name, key="run-7/again"))
    assert result["after"]["by"] == "run-7/again"
    first = result["after"]["restarted"]
    second = done(await shop.act("restart", kind=kind, name=name, key="run-8/again"))
    assert (second["before"]["by"], second["before"]["restarted"]) == ("run-7/again", first)


async def test_a_restart_that_would_restart_nothing_is_refused(shop: Shop) -> None:
    await shop.kube.put(workload("web", image="app:2", paused=True))
    assert refused(await shop.act("restart", **WEB)).startswith(
        "never sent: shop/deployment/web is paused; kubectl"
    )
    await shop.kube.put(workload("agent", "DaemonSet", updateStrategy={"type": "OnDelete"}))
    assert "has the strategy OnDelete" in refused(await shop.act("restart", kind="daemonset", name="agent"))


async def test_a_rollback_shows_the_revision_that_it_resolved(shop: Shop) -> None:
    picture = await shop.preview("rollback", name="web")
    assert picture.text == (
        "rolls shop/deployment/web back from revision 2 to 1 (app=app:1), which changes containers.app.image"
    )
    result = await shop.act("rollback", shown=picture, name="web")
    assert await image(shop) == "app:1"
    await shop.kube.settle()
    assert (await web(shop))["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert done(await shop.undo(result))["after"]["images"] == "app=app:2"
    assert await image(shop) == "app:2"


async def test_a_rollback_shows_what_else_it_changes_and_not_to_what(shop: Shop) -> None:
    given = workload("web", image="app:2", resources={"limits": {"memory": "2Gi"}})
    given["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "canary-other"
    await shop.kube.do(putting(given), SETTLE)
    picture = await shop.preview("rollback", name="web")
    fields = "containers.app.env.DB_PASSWORD.value", "containers.app.resources.limits.memory"
    assert picture.text.endswith(f"back from revision 3 to 2 (app=app:2), which changes {', '.join(fields)}")
    (row,) = picture.rows
    assert [[row[side][field] for field in fields] for side in ("before", "after")] == [
        ["[hidden]", "2Gi"],
        ["[hidden]", None],
    ]
    assert "canary" not in str(picture)
    result = await shop.act("rollback", shown=picture, name="web")
    await shop.kube.settle()
    assert done(await shop.undo(result))["after"]["containers.app.resources.limits.memory"] == "2Gi"


async def test_what_merely_restarted_or_resized_pods_is_no_release(shop: Shop) -> None:
    await shop.act("resources", **WEB, container="app", limits={"memory": "2Gi"})
    await shop.kube.settle()
    other = await shop.preview("rollback", name="web", images="other")
    assert other.text.startswith("rolls shop/deployment/web back from revision 3 to 1 (app=app:1)")
    told = refused(await shop.act("rollback", name="web", revision=2, images="other"))
    assert told.endswith("revision 2 of shop/deployment/web is no other release: it has the same images")
    done(await shop.act("rollback", shown=other, name="web", images="other"))
    await shop.kube.settle()
    told = refused(await shop.act("rollback", name="web", images="other"))
    assert "has no earlier revision with other images to go back to" in told
    told = refused(await shop.act("rollback", name="web"))
    assert (
        "has no earlier revision to go back to" in told
    )  # one restarted, too, is of the release that was left
    assert (await shop.preview("rollback", name="web", revision=2)).text.startswith("rolls")  # asked for so


async def test_a_release_is_as_old_as_its_images_are_there(shop: Shop) -> None:
    await shop.kube.age("ReplicaSet", hours=5)
    await shop.act("restart", **WEB)
    await shop.kube.settle()
    release = await shop.release("web")
    assert (release["revision"], release["images"]) == (3, "app=app:2")
    assert release["age"] >= 5 * 3600
    assert release["before"] == {"revision": 1, "images": "app=app:1"}


async def test_a_release_that_was_gone_back_to_is_as_old_as_that(shop: Shop) -> None:
    await shop.kube.age("ReplicaSet", hours=5)
    await shop.kube.do(putting(workload("web", image="app:1"), manager="kubectl-rollout"), SETTLE)
    release = await shop.release("web")
    assert (release["revision"], release["images"]) == (3, "app=app:1")
    assert release["age"] < 3600
    assert (release["before"], release["back_from"]) == (None, {"revision": 2, "images": "app=app:2"})


async def test_what_a_person_rolled_back_from_is_not_rolled_back_to(shop: Shop) -> None:
    await shop.kube.do(putting(workload("web", image="app:3")), SETTLE)
    await shop.kube.do(putting(workload("web", image="app:2"), manager="kubectl-rollout"), SETTLE)
    await shop.act("restart", **WEB)
    await shop.kube.settle()
    release = await shop.release("web")
    assert (release["revision"], release["images"]) == (5, "app=app:2")
    assert release["before"] == {"revision": 1, "images": "app=app:1"}
    assert release["back_from"] == {"revision": 3, "images": "app=app:3"}
    done(await shop.act("rollback", name="web", images="other"))
    await shop.kube.settle()
    assert await image(shop) == "app:1"
    for told in (
        refused(await shop.act("rollback", name="web")),
        refused(await shop.act("rollback", name="web", images="other")),
    ):
        assert "to go back to" in told and told.count("web-") == 3  # both releases, and the restarted pods


async def test_an_older_release_that_is_shipped_anew_is_gone_back_to(shop: Shop) -> None:
    """By a template of its own, as Helm does that notes the time in it."""
    anew = workload("web", image="app:1")
    anew["spec"]["template"]["metadata"]["annotations"] = {"rolled": "at noon"}
    await shop.kube.do(putting(anew, manager="helm"), SETTLE)
    release = await shop.release("web")
    assert (release["before"], release["back_from"]) == (None, {"revision": 2, "images": "app=app:2"})


async def test_a_release_after_the_one_that_was_gone_back_from_has_gone_back_from_nothing(shop: Shop) -> None:
    for put in ("app:1", "app:3"):
        await shop.kube.do(putting(workload("web", image=put)), SETTLE)
    release = await shop.release("web")
    assert (release["before"], release["back_from"]) == ({"revision": 3, "images": "app=app:1"}, None)


async def test_a_certificate_of_cert_manager_is_read_with_what_it_says_of_it(shop: Shop) -> None:
    failed = {"type": "Issuing", "status": "False", "reason": "Failed", "message": "429 rateLimited"}
    status = {"conditions": [{"type": "Ready", "status": "True"}, failed], "lastFailureTime": "2026-03-01"}
    held = {"kind": "Certificate", "metadata": {"name": "web-tls", "namespace": "shop"}, "status": status}
    await shop.kube.put({**held, "spec": {"secretName": "web-tls", "keystores": {"jks": "canary"}}})
    read = await shop.read("certificate", "web-tls")
    assert (read["ready"], read["status"]["conditions"][1]) == (True, failed)
    assert "canary" not in str(read)


async def test_a_second_rollback_does_not_bring_the_bad_release_back(shop: Shop) -> None:
    done(await shop.act("rollback", name="web"))
    await shop.kube.settle()
    told = refused(await shop.act("rollback", name="web"))
    assert "to go back to; kept are 3, 2, the current one is 3; rolled back from was web-" in told
    assert await image(shop) == "app:1"
    await shop.kube.put(workload("web", image="app:3"))
    await shop.kube.settle()
    done(await shop.act("rollback", name="web"))
    assert await image(shop) == "app:1"  # not app:2, from which it was rolled back once


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        (7, "has no revision 7; kept are 2, 1, the current one is 2"),
        (2, "is at revision 2 already"),
        (0, "revision must be a number from 1, not 0"),
    ],
)
async def test_a_revision_that_cannot_be_is_told(shop: Shop, revision: int, told: str) -> None:
    assert told in refused(await shop.act("rollback", name="web", revision=revision))


async def test_a_rollback_is_not_taken_back_over_a_newer_release(shop: Shop) -> None:
    result = await shop.act("rollback", name="web")
    await shop.kube.settle()
    await shop.kube.put(workload("web", image="app:9"))
    undone = await shop.undo(result)
    assert isinstance(undone, Done)
    assert "holds images app=app:9" in undone.left
    assert await image(shop) == "app:9"


async def test_a_controller_that_is_behind_is_waited_for_by_nobody(shop: Shop) -> None:
    await shop.kube.set(delay=60)
    await shop.kube.settle()  # whoever was on the way has come
    await shop.kube.put(workload("web", image="app:3"))
    assert "its controller has not seen its newest change" in refused(await shop.act("rollback", name="web"))


async def test_resources_are_set_within_their_bounds_and_taken_back(shop: Shop) -> None:
    limits: dict[str, Any] = {"container": "app", "limits": {"memory": "2048Mi"}}
    picture = await shop.preview("resources", **WEB, **limits)
    assert picture.text.startswith(
        "sets limits.memory unset → 2048Mi of container app of shop/deployment/web"
    )
    result = await shop.act("resources", shown=picture, **WEB, **limits)
    found = await web(shop)
    assert found["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"memory": "2048Mi"}}
    same = await shop.act("resources", **WEB, container="app", limits={"memory": "2Gi"})
    assert refused(same) == "never sent: shop/deployment/web has these resources already"
    done(await shop.undo(result))
    assert (await web(shop))["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {}}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (
            {"container": "app", "limits": {"memory": "8Gi"}},
            "limits.memory 8Gi of shop/deployment/web is",
        ),
        (
            {"container": "app", "limits": {"memory": "1 GB"}},
            "limits.memory: '1 GB' is not an amount; write",
        ),
        (
            {"container": "app", "limits": {"cpu": "2"}},
            "shop/deployment/web may not be given other cpu; list",
        ),
        ({"container": "app", "limits": {"nvidia.com/gpu": "2"}}, "only memory and cpu can be set"),
        ({"container": "sidecar", "limits": {"memory": "1Gi"}}, "has no container 'sidecar', but: app"),
        ({"container": "app"}, "write the container, and limits or requests"),
    ],
)
async def test_other_resources_are_refused(shop: Shop, args: dict[str, Any], told: str) -> None:
    assert told in refused(await shop.act("resources", **WEB, **args))
    assert await shop.kube.changes() == []


# ── Deletions and Jobs ──────────────────────────────────────────────────────────────────────────


async def test_a_secret_that_is_named_is_deleted_and_comes_again(shop: Shop) -> None:
    await shop.kube.set(again=["shop/web-tls"])
    old = (await shop.read("secret", "web-tls"))["metadata"]["uid"]
    assert done(await shop.act("delete", kind="secret", name="web-tls"))["uid"] == old
    await shop.kube.settle()
    assert (await shop.read("secret", "web-tls"))["metadata"]["uid"] != old


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"kind": "secret", "name": "other"}, "secret shop/other may not be deleted; list it under secrets"),
        ({"kind": "deployment", "name": "web"}, "kind must be one of pod, secret, not 'deployment'"),
        ({"kind": "pod", "name": "stray"}, "nobody would make shop/pod/stray anew: it has no owner"),
        ({"kind": "pod", "name": "gone"}, "there is no pod shop/gone"),
        ({"kind": "pod", "name": "x", "namespace": "kube-system"}, "namespace 'kube-system' is not among"),
    ],
)
async def test_nothing_else_is_deleted(shop: Shop, args: dict[str, Any], told: str) -> None:
    await shop.kube.put({"kind": "Pod", "metadata": {"name": "stray", "namespace": "shop"}, "spec": {}})
    assert told in refused(await shop.act("delete", **args))
    assert await shop.kube.changes() == []


async def test_a_job_is_begun_once_however_often_it_is_sent(shop: Shop) -> None:
    args: dict[str, Any] = {"job": "reindex", "values": {"ORDER": "o-1"}}
    first, again = [done(await shop.act("job", **args)) for _ in range(2)]
    other = done(await shop.act("job", key="run-2/step", **args))
    assert first == again
    assert other["name"] != first["name"]
    made = await shop.kube.object("Job", first["name"])
    assert made is not None
    env = made["spec"]["template"]["spec"]["containers"][0]["env"]
    assert env == [{"name": "FIXED", "value": "x"}, {"name": "ORDER", "value": "o-1"}]
    await shop.kube.settle()
    assert (await shop.read("job", "reindex"))["finished"] == "Complete"


async def test_a_job_of_a_cronjob_is_what_was_approved(shop: Shop) -> None:
    picture = await shop.preview("job", job="nightly")
    assert picture.rows[0]["after"]["images"] == "n=nightly:3"
    changed = {
        **NIGHTLY,
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}},
    }
    await shop.kube.put(changed)
    told = refused(await shop.act("job", shown=picture, job="nightly"))
    assert told == "never sent: cronjob shop/nightly: it has no template.spec.containers"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"job": "drop"}, "the connection declares no job 'drop', but: nightly, reindex"),
        ({"job": "reindex"}, "job reindex takes the values ORDER"),
        ({"job": "reindex", "values": {"ORDER": "o-1", "PATH": "/x"}}, "job reindex takes the values ORDER"),
        (
            {"job": "reindex", "values": {"ORDER": "$(rm -rf /)"}},
            "ORDER of job reindex: '$(rm -rf /)' does not fit its pattern",
        ),
        (
            {"job": "reindex", "values": {"ORDER": "o-1\n"}},
            "ORDER of job reindex: 'o-1·' does not fit its pattern",
        ),
    ],
)
async def test_a_job_that_is_not_declared_so_is_refused(shop: Shop, args: dict[str, Any], told: str) -> None:
    assert told in refused(await shop.act("job", **args))
    assert await shop.kube.changes() == []
