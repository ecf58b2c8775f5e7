"""Reading the settings: every problem at once, each with its place and remedy, and no secret in sight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from remediator.config import Config
from remediator.config_file import load
from remediator.errors import ConfigError

ENV = {"HOOK": "a-hook-token", "SLACK": "xoxb-1", "SIGN": "signing"}

WHOLE = """
listen: 127.0.0.1:0
hooks: {alertmanager: {bearer: "${env:HOOK}"}}
connections:
  api: {kind: http, base_url: http://127.0.0.1:1, headers: {Authorization: "Bearer ${file:token}"}}
people: {amina: {slack: T01/U0AMINA}, bob: {slack: T01/U0BOB}}
roles: {oncall: [bob], lead: [amina]}
slack: {bot_token: "${env:SLACK}", signing_secret: "${env:SIGN}", channel: C0OPS}
escalations: {default: [{role: oncall}, {role: lead, after: 15m}]}
"""


def read(folder: Path, text: str, secrets: set[str] | None = None) -> Config:
    (folder / "token").write_text("api-token\n")
    (folder / "remediator.yaml").write_text(text)
    return load(folder / "remediator.yaml", ENV, secrets=secrets)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [line.partition("remediator.yaml:")[2] for line in str(caught.value).splitlines()]


def test_references_are_looked_up_in_the_environment_and_in_files(tmp_path: Path) -> None:
    secrets: set[str] = set()
    config = read(tmp_path, WHOLE, secrets)
    assert config.hooks.alertmanager.bearer is not None
    assert config.hooks.alertmanager.bearer.get_secret_value() == "a-hook-token"
    assert config.connections["api"]["headers"]["Authorization"] == "Bearer api-token"
    assert secrets == {"a-hook-token", "api-token", "xoxb-1", "signing"}
    assert "a-hook-token" not in repr(config)


def test_every_problem_is_told_at_once_with_its_place_and_remedy(tmp_path: Path) -> None:
    text = WHOLE.replace("lead: [amina]", "lead: [aminaa]").replace("role: lead,", "role: leed,")
    text = text.replace("${env:HOOK}", "${env:NOWHERE}") + "\nlisten_to: nobody\nstore: mysql://x\n"
    told = problems(tmp_path, text)
    for place, words in (
        ("3:", "the environment variable NOWHERE is not there; export NOWHERE"),
        ("7:", "nobody is called aminaa; did you mean amina?"),
        ("9:", "there is no role leed; did you mean lead?"),
        ("11:", "unknown key; did you mean listen?"),
        ("12:", "neither SQLite nor PostgreSQL"),
    ):
        assert any(line.startswith(place) and words in line for line in told), (words, told)


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ('bearer: "${env:HOOK}"', "hooks.alertmanager.bearer"),
        ('Authorization: "Bearer ${file:token}"', "connections.api.headers.Authorization"),
        ('bot_token: "${env:SLACK}"', "slack.bot_token"),
        ('signing_secret: "${env:SIGN}"', "slack.signing_secret"),
    ],
)
def test_a_secret_that_is_written_out_is_refused_and_not_repeated(
    tmp_path: Path, written: str, place: str
) -> None:
    name = written.partition(":")[0]
    (told,) = problems(tmp_path, WHOLE.replace(written, f"{name}: written-out-secret"))
    assert f"{place}: a secret may stand here by reference only; write ${{env:NAME}}" in told
    assert "written-out-secret" not in told


SIGNED = 'signing_secret: "${env:SIGN}"'


@pytest.mark.parametrize(
    "written", ['app_token: "${env:SIGN}"', f'{SIGNED}, app_token: "${{env:SLACK}}"', SIGNED]
)
def test_clicks_come_through_either_door_or_both(tmp_path: Path, written: str) -> None:
    slack = read(tmp_path, WHOLE.replace(SIGNED, written)).slack
    assert slack is not None
    doors = {"signing_secret": slack.signing_secret, "app_token": slack.app_token}
    assert {name for name, secret in doors.items() if secret} == {name for name in doors if name in written}


def test_the_token_of_the_socket_is_a_secret_too(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, WHOLE.replace(SIGNED, "app_token: xapp-written-out"))
    assert "slack.app_token: a secret may stand here by reference only" in told


def test_a_slack_whose_clicks_could_not_arrive_is_refused(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, WHOLE.replace(f"{SIGNED}, ", ""))
    assert told.startswith("8:8: ")
    assert "slack: write signing_secret (" in told
    assert "or app_token (" in told


def test_two_people_who_could_not_be_told_apart_are_refused(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, WHOLE.replace("U0BOB", "U0AMINA"))
    assert "bob and amina have the same Slack id" in told


def test_without_credentials_it_listens_on_loopback_only(tmp_path: Path) -> None:
    text = WHOLE.replace("127.0.0.1:0", "0.0.0.0:80").replace(
        'hooks: {alertmanager: {bearer: "${env:HOOK}"}}', ""
    )
    (told,) = problems(tmp_path, text)
    assert "0.0.0.0 is open to others and the hook has no secret" in told


def test_a_blank_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "remediator.yaml").write_text(WHOLE)
    (tmp_path / "token").write_text(" \n")
    with pytest.raises(ConfigError, match="the file token is blank"):
        load(tmp_path / "remediator.yaml", ENV)


# ── Cover for an absence ──────────────────────────────────────────────────────────────────────────

AWAY = "lead: {people: [amina], cover: [{by: bob, from: 2026-12-20T00:00Z, until: 2027-01-03T00:00+01:00}]}"


def with_lead(written: str) -> str:
    return WHOLE.replace("lead: [amina]", written)


def test_a_role_names_cover_for_an_absence(tmp_path: Path) -> None:
    config = read(tmp_path, with_lead(AWAY))
    for at, holds in (
        ("2026-12-19T23:59:59Z", {"amina"}),
        ("2026-12-20T00:00:00Z", {"amina", "bob"}),
        ("2027-01-02T22:59:59Z", {"amina", "bob"}),
        ("2027-01-02T23:00:00Z", {"amina"}),
    ):
        assert config.people_of("lead", datetime.fromisoformat(at)) == holds, at
    assert config.people_of("oncall", datetime.fromisoformat("2026-12-24T00:00Z")) == {"bob"}


def test_cover_without_a_beginning_holds_at_once(tmp_path: Path) -> None:
    config = read(
        tmp_path, with_lead("lead: {people: [amina], cover: [{by: bob, until: 2027-01-03T00:00Z}]}")
    )
    assert config.people_of("lead", datetime(2026, 1, 1, tzinfo=UTC)) == {"amina", "bob"}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (AWAY.replace("by: bob", "by: bobb"), "cover.0.by: nobody is called bobb; did you mean bob?"),
        (AWAY.replace("[amina]", "[aminaa]"), "people.0: nobody is called aminaa; did you mean amina?"),
        (AWAY.replace(", until: 2027-01-03T00:00+01:00", ""), "roles.lead.cover.0.until: is missing"),
        (AWAY.replace("from:", "form:"), "roles.lead.cover.0.form: unknown key; did you mean from?"),
        (AWAY.replace("cover:", "covers:"), "roles.lead.covers: unknown key; did you mean cover?"),
        (AWAY.replace("00:00Z", "00:00"), "'2026-12-20T00:00' says no time zone; write one such as"),
        (AWAY.replace("2026-12-20T00:00Z", "christmas"), "'christmas' is not a time; write one such as"),
        (AWAY.replace("2026-12-20T00:00Z", "20261220"), "roles.lead.cover.0.from: write a time such as"),
        (AWAY.replace("2027", "2025"), "roles.lead.cover.0: it is over before it begins"),
        ("lead: amina", "roles.lead: write a list of people, or people: and cover:"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_cover_is_told_with_its_place(tmp_path: Path, written: str, told: str) -> None:
    assert any(line.startswith("7:") and told in line for line in problems(tmp_path, with_lead(written)))


# ── Budgets ───────────────────────────────────────────────────────────────────────────────────────


def test_a_budget_is_a_number_of_runs_over_a_time(tmp_path: Path) -> None:
    config = read(tmp_path, f"{WHOLE}budgets: {{earn-rates: {{limit: 5, per: 24h}}}}\n")
    assert str(config.budgets["earn-rates"].rate) == "5 in 1d"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{limit: 5}", "10:23: C100 budgets.earn-rates.per: is missing"),
        ("{limit: 5, pre: 24h}", "10:34: C100 budgets.earn-rates.pre: unknown key; did you mean per?"),
        ("{limit: many, per: 24h}", "10:31: C100 budgets.earn-rates.limit: input should be a valid integer"),
        (
            "{limit: -1, per: 24h}",
            "10:31: C100 budgets.earn-rates.limit: input should be greater than or equal",
        ),
        ("{limit: 5, per: day}", "10:39: C100 budgets.earn-rates.per: 'day' is not a duration; write 30s"),
        ("{limit: 5, per: 0s}", "10:39: C100 budgets.earn-rates.per: input should be greater than 0"),
    ],
)
def test_a_budget_that_says_something_else_is_refused_at_its_place(
    tmp_path: Path, written: str, told: str
) -> None:
    found = problems(tmp_path, f"{WHOLE}budgets: {{earn-rates: {written}}}\n")
    assert any(told in one for one in found), found


def test_what_is_over_is_kept_for_a_time_or_for_ever(tmp_path: Path) -> None:
    kept = read(tmp_path, "retention: {runs: keep, deliveries: 7d, archive: journals}").retention
    assert (kept.runs, kept.deliveries, kept.alerts) == (None, timedelta(days=7), timedelta(days=30))
    for written, told in (("runs: 12h", "too soon"), ("alerts: ", "or keep")):
        (problem,) = problems(tmp_path, f"retention: {{{written}}}")
        assert "retention." in problem
        assert told in problem
