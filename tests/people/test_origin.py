"""Where bytes for Slack may go: to the side that the settings name, and nowhere else."""

from __future__ import annotations

import pytest

from remediator.people.origin import of_slack

API = "https://slack.com/api/"


@pytest.mark.parametrize(
    "address",
    [
        "https://files.slack.com/upload/v1/ABC",
        "https://slack.com/x",
        "wss://wss-primary.slack.com/link/?ticket=1",
        "https://FILES.Slack.com/x",
        "https://files.slack.com:443/x",
    ],
)
def test_slacks_own_hosts_are_slacks(address: str) -> None:
    assert of_slack(address, API)


@pytest.mark.parametrize(
    "address",
    [
        "http://files.slack.com/x",
        "ws://wss-primary.slack.com/x",
        "https://slack.com.evil.example/x",
        "https://evilslack.com/x",
        "https://files.slack.com@evil.example/x",
        "https://user:word@files.slack.com/x",
        "https://169.254.169.254/latest/meta-data",
        "https://files.slack.com:8443/x",
        "https://files.slack.com:nonsense/x",
        "https://[::1/x",
        "file:///etc/passwd",
        "//files.slack.com/x",
        "files.slack.com",
        "",
    ],
)
def test_everything_else_is_not(address: str) -> None:
    assert not of_slack(address, API)


def test_a_slack_of_the_tests_is_its_own_port_alone() -> None:
    api = "http://127.0.0.1:4711/api/"
    assert of_slack("http://127.0.0.1:4711/_upload/1", api)
    assert of_slack("ws://127.0.0.1:4711/_socket/1", api)
    assert not of_slack("http://127.0.0.1:4712/_upload/1", api)
    assert not of_slack("http://localhost:4711/_upload/1", api)
