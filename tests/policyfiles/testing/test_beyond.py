"""A story is refused what the daemon's settings would refuse: by the connection's own judgement and words."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediator.config import Config
from remediator.connectors import catalog
from remediator.policyfiles.testing.reports import as_text
from remediator.policyfiles.testing.running import Report, Suite, find, run

KNOWN = catalog(
    Config.model_validate(
        {
            "connections": {
                "cluster": {
                    "kind": "kubernetes",
                    "in_cluster": True,
                    "namespaces": ["shop"],
                    "workloads": {"shop/deployment/*": {"replicas": {"floor": 2, "ceiling": 8}}},
                },
                "alertmanager": {"kind": "alertmanager", "url": "http://am:9093", "longest": "2h"},
            },
            "targets": ["deployment"],
        }
    ),
    blind=True,
)
POLICY = """\
policy: busy
summary: A service has too much to do
mode: act
match: ['{alertname="Busy"}']
params: {wanted: {from: labels.wanted, type: int}, name: {from: labels.name, pattern: '[a-z]{1,9}'}}
target: deployment/${name}
diagnose:
  now: {use: kubernetes.get, via: cluster, with: {kind: KIND, namespace: shop, name: '${name}'}}
decide: [{do: [STEP]}]
steps:
  scale:
    use: kubernetes.scale
    via: cluster
    with: {kind: deployment, namespace: shop, name: '${name}', replicas: '${wanted}'}
    gate: {waived: so that the story is short}
    verify: {none: it is in the patch}
    undo: {none: meant to stay}
  quiet:
    use: alertmanager.silence
    via: alertmanager
    with: {matchers: {alertname: Busy, name: '${name}'}, for: LASTS}
    gate: {waived: so that the story is short}
    verify: {none: it is in the answer}
""".replace("now:", "state:")
STORY = """\
policy: busy
tests:
  - name: it is done
    alert: {labels: {alertname: Busy, name: web, wanted: 'WANTED'}}
    given: {state: {spec: {replicas: 2}}}
    expect: {outcome: fixed, started: STEP}
"""


def found(folder: Path, **written: str) -> Suite:
    words = {"KIND": "deployment", "STEP": "scale", "LASTS": "1h", "WANTED": "8"} | written
    for name, text in (("busy.yaml", POLICY), ("busy.test.yaml", STORY)):
        for word, value in words.items():
            text = text.replace(word, value)  # noqa: PLW2901 - one word after the other
        (folder / name).write_text(text)
    return find([folder], KNOWN, frozenset())


def told(folder: Path, **written: str) -> Report:
    suite = found(folder, **written)
    assert not suite.findings, suite.findings
    return run(suite, KNOWN)


@pytest.mark.parametrize("written", [{}, {"STEP": "quiet", "LASTS": "2h"}])
def test_what_the_settings_allow_is_done(tmp_path: Path, written: dict[str, str]) -> None:
    assert not told(tmp_path, **written).failed


def test_what_the_settings_refuse_is_refused(tmp_path: Path) -> None:
    report = told(tmp_path, WANTED="9")
    assert report.failed
    assert "never sent: 9 replicas of shop/deployment/web are outside 2 to 8" in as_text(report)


@pytest.mark.parametrize("written", [{"STEP": "quiet", "LASTS": "3h"}, {"KIND": "service"}])
def test_what_they_refuse_whatever_a_run_fills_in_is_an_error_of_the_policy(
    tmp_path: Path, written: dict[str, str]
) -> None:
    assert [one.message for one in found(tmp_path, **written).findings] == ["the policy busy has errors"]
