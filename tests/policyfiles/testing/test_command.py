"""``remediator policy test`` at the command line: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest

from remediator.cli import main
from remediator.policyfiles.testing.running import find, run
from remediator.policyfiles.testing.telling import failed
from tests.policyfiles.testing.stage import CONFIG, HEAD, PAUSE, REPOSITORY, known, story, suite, tell

RIGHT = story(
    "- {approve: bob, expect: {started: pause}}\n- {at: 12h, expect: {undone: pause}}", name="it pauses"
)
WRONG = story("- expect: {outcome: fixed, started: []}", name='"it <fixes> \\a it"')
QUIET = story("- expect: {runs: 1}", name="it asks")


def at(folder: Path, *options: str) -> int:
    return main(["policy", "test", str(folder), "--config", str(CONFIG), *options])


def test_a_story_that_fails_is_told_whole(tmp_path: Path) -> None:
    """The golden text of a failure: expected and actual side by side, and what happened when."""
    lines = """
        - at: 90s
          approve: {by: bob, reason: the sale is over}
        - at: 2m
          expect: {steps: {pause: unverified}, held: {pause: 6h}, pages: [the campaign, somebody]}
    """
    (told,) = tell(tmp_path, story(lines, name="the pause does not help")).told
    assert failed(told).replace(str(tmp_path), "") == dedent("""\
        ✗ pause-campaign: the pause does not help

          /pause.test.yaml:13:63: pages
            expected                                        actual
            the campaign                                    none
            somebody

          /pause.test.yaml:13:24: steps pause
            expected                                        actual
            unverified                                      verified

          /pause.test.yaml:13:51: held pause
            expected                                        actual
            until 6h                                        until 12h1m30s

            What happened, since the start:
                   0s  alert fires {alertname: CampaignLate, campaign_id: c-1}
                   0s  opened on campaign/c-1, in mode act
                   0s  campaign reads {status: 200, json: {status: late}}
                   0s  case 2 holds: pause
                   0s  gate r-1.1 asks 1 of ops_marketing for pause
                1m30s  bob approves: the sale is over
                1m30s  approved by bob
                1m30s  pause.before reads {status: 200, json: {status: late}}
                1m30s  looked again: nothing has changed
                1m30s  pause starts
                1m30s  pause is done
                1m30s  pause: the proof holds: {status: 200, json: {status: paused}}
                1m30s  pause is proved
                1m30s  holds pause""")


def test_a_story_that_fails_tells_what_is_still_held(tmp_path: Path) -> None:
    """Of two changes one is taken back before the other: its time box is the shorter one."""
    pause = PAUSE[PAUSE.index("  pause:") : PAUSE.index("page:")]
    hide = pause.replace("  pause:", "  hide:").replace("/pause", "/hide").replace("after: 12h", "after: 6h")
    policy = PAUSE.replace("do: [pause]", "do: [pause, hide]").replace("page:", f"{hide}page:")
    given = HEAD.replace(
        "tests:", "  hide.before: {json: {status: late}}\n  hide.verify: {json: {status: paused}}\ntests:"
    )
    lines = (
        "- {approve: bob}\n- {approve: bob}\n- {at: 5m, resolves: all}\n- {at: 7h, expect: {outcome: fixed}}"
    )
    both = suite(tmp_path, given + story(lines), {"pause.yaml": policy})
    (told,) = run(both, known()[0]).told
    whole = failed(told)
    assert "  holds pause, hide\n" in whole
    assert whole.endswith("  still holds pause")


def test_a_story_about_another_run_shows_the_others_in_short(tmp_path: Path) -> None:
    lines = """
        - deny: {by: bob, reason: no}
        - at: 45m
          expect: {run: 2, outcome: denied}
    """
    (told,) = tell(tmp_path, story(lines, name="asked again after the cooldown")).told
    assert failed(told).replace(str(tmp_path), "") == dedent("""\
        ✗ pause-campaign: asked again after the cooldown

          /pause.test.yaml:12:24: outcome
            expected                                        actual
            denied                                          open (waiting)

            What happened, since the start:
                   0s  alert fires {alertname: CampaignLate, campaign_id: c-1}
                   0s  run 1  opened on campaign/c-1, in mode act
                   0s  run 1  closed as denied: denied by bob: no
                  30m  run 2  opened on campaign/c-1, in mode act
                  30m  run 2  campaign reads {status: 200, json: {status: late}}
                  30m  run 2  case 2 holds: pause
                  30m  run 2  gate r-2.1 asks 1 of ops_marketing for pause""")


def test_it_ends_as_the_stories_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite(tmp_path, HEAD + RIGHT)
    assert at(tmp_path) == 0
    said = capsys.readouterr().out
    assert "pause-campaign       1/2     1/1     1/1     1/1  case 1" in said
    assert "1 story, 0 failed; 80 % of what policies can do was reached" in said
    suite(tmp_path, HEAD + RIGHT + WRONG)
    assert at(tmp_path) == 1
    assert "2 stories, 1 failed" in capsys.readouterr().out
    suite(tmp_path, HEAD + "  - nonsense\n")
    assert at(tmp_path) == 1
    said = capsys.readouterr().out
    assert "0 stories, 0 failed, 1 problem in test files; 1 story of these files was not told" in said
    assert "pause-campaign  " not in said  # a table would look as if nothing were written


def test_stories_beside_a_wrong_one_are_said_to_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite(tmp_path, HEAD + RIGHT + QUIET + "  - {nam: c}\n")
    assert at(tmp_path, "--json", "--cover-all") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["untold"], told["coverage"], told["percent"]) == (3, {}, None)


def test_words_that_no_story_says_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite(tmp_path, HEAD + RIGHT + QUIET)
    assert at(tmp_path, "-k", "zzz") == 2
    assert "none of 2 stories in" in capsys.readouterr().err


GATED = "gate: {votes: {ops_marketing: 1}, within: 30m, late: page}"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ((GATED, ""), "pause-campaign       1/2     0/1     1/1     0/1"),  # it asks by default
        ((GATED, "gate: {waived: 'it hurts nobody'}"), "pause-campaign       1/2     1/1       –     0/1"),
        (("- do: [pause]", f"- do: [pause]\n    {GATED}"), "never asked, as its cases ask: gate pause"),
        (("mode: act", "mode: suggest"), "pause-campaign       1/2     0/1     1/1     0/1"),
    ],
)
def test_gates_are_counted_as_the_core_asks_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], line: str
) -> None:
    text = PAUSE.replace("/pause'", "/nudge'").replace(*change)
    suite(tmp_path, HEAD + QUIET, {"pause.yaml": text})
    assert at(tmp_path) == 0
    assert line in capsys.readouterr().out


def test_whoever_reads_along_may_stop(tmp_path: Path) -> None:
    failing = "".join(story("- expect: {outcome: fixed}", name=f"s{number}") for number in range(40))
    suite(tmp_path, HEAD + failing)  # more than a pipe's buffer takes at once
    command = [sys.executable, "-m", "remediator", "policy", "test", str(tmp_path), "--config", str(CONFIG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Errno" not in process.stderr.read()


def test_a_timeline_speaks_in_sentences_and_tells_every_page(tmp_path: Path) -> None:
    lines = """
        - halt: {reason: it reads nonsense}
          approve: bob
        - at: 40m
          expect: {pages: []}
    """
    (told,) = tell(tmp_path, story(lines)).told
    text = failed(told)
    assert "15m  pages: " in text
    assert "refused by halt: halted by amina (all): it reads nonsense" in text
    late = """
        - at: 31m
          expect: {outcome: fixed}
    """
    (told,) = tell(tmp_path, story(late)).told
    assert "gate expired: nobody answered in time" in failed(told)


def test_what_fell_in_one_moment_is_told_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    lines = """
        - at: 1m
          fires: {labels: {alertname: CampaignLate, campaign_id: c-2}}
        - at: 1m
          approve: {by: bob, reason: go, on: campaign/c-1}
        - at: 1m
          halt: {reason: it reads nonsense}
        - at: 2m
          expect: {outcome: fixed}
    """
    (told,) = tell(tmp_path, story(lines)).told
    text = failed(told)
    came = ["fires {alertname: CampaignLate, campaign_id: c-2}", "bob approves", "halted"]
    places = [text.index(words) for words in came]
    assert places == sorted(places), text


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--cover-all"], 1),
        (["--fail-under", "81"], 1),
        (["--fail-under", "80"], 0),
        (["-k", "it pauses", "--cover-all"], 2),
        (["-k", "it pauses", "--fail-under", "1"], 2),
    ],
)
def test_too_little_that_was_reached_is_a_failure_where_it_is_wanted(
    tmp_path: Path, options: list[str], status: int
) -> None:
    suite(tmp_path, HEAD + RIGHT)
    assert at(tmp_path, *options) == status


def test_only_stories_with_these_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite(tmp_path, HEAD + RIGHT + QUIET)
    assert at(tmp_path, "-k", "pause-campaign ASKS", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in told["stories"]] == ["it asks"]


def test_json_and_junit_tell_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite(tmp_path, HEAD + RIGHT + WRONG)
    junit = tmp_path / "out" / "stories.xml"
    junit.parent.mkdir()
    assert at(tmp_path, "--json", "--junit", str(junit)) == 1
    told = json.loads(capsys.readouterr().out)
    assert [(one["ok"], len(one["failures"])) for one in told["stories"]] == [(True, 0), (False, 1)]
    assert told["stories"][1]["failures"][0] | {"where": ""} == {
        "where": "",
        "what": "outcome",
        "expected": "fixed",
        "actual": "open (waiting)",
    }
    assert told["coverage"]["pause-campaign"] == {
        "percent": 80.0,
        "missing": {"cases": ["case 1"]},
        "idle": [],
    }
    root = ET.fromstring(junit.read_text())
    assert root.attrib | {"time": ""} == {
        "name": "remediator policy test",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "time": "",
    }
    cases = root.findall("testcase")
    assert [one.attrib["name"] for one in cases] == ["it pauses", "it <fixes> � it"]
    failure = cases[1].find("failure")
    assert failure is not None
    assert "What happened" in (failure.text or "")


def test_what_cannot_be_told_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", str(tmp_path / "nowhere"), "--config", str(CONFIG)]) == 2
    (tmp_path / "pause.yaml").write_text(PAUSE)
    assert at(tmp_path) == 2
    assert "no stories in" in capsys.readouterr().err
    assert main(["policy", "test", str(tmp_path), "--config", str(tmp_path / "no.yaml")]) == 2


def test_a_policy_or_a_test_file_may_be_named_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite(tmp_path, HEAD + QUIET)
    for name in ("pause.yaml", "pause.test.yaml"):
        assert main(["policy", "test", str(tmp_path / name), "--config", str(CONFIG)]) == 0
        assert "1 story, 0 failed" in capsys.readouterr().out


def test_watching_tells_them_again_after_a_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(tmp_path, HEAD + QUIET)
    naps = 0

    def nap(_seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            (tmp_path / "pause.test.yaml").write_text(HEAD + QUIET + RIGHT)
        if naps == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", nap)
    assert at(tmp_path, "--watch") == 0
    said = capsys.readouterr().out
    assert said.index("1 story, 0 failed") < said.index("2 stories, 0 failed")


def test_watching_goes_on_when_the_settings_are_broken_for_a_moment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(tmp_path, HEAD + QUIET)
    settings = tmp_path / "settings.yml"
    settings.write_text("connections: [")
    naps = iter([lambda: shutil.copy(CONFIG, settings)])

    def nap(_seconds: float) -> None:
        next(naps, _stop)()

    monkeypatch.setattr(time, "sleep", nap)
    assert main(["policy", "test", str(tmp_path), "--config", str(settings), "--watch"]) == 0
    told = capsys.readouterr()
    assert "settings.yml" in told.err
    assert "1 story, 0 failed" in told.out


def _stop() -> None:
    raise KeyboardInterrupt


def test_the_story_of_the_language_itself_holds(tmp_path: Path) -> None:
    """As the policy language tells it: what is read just before the act is given only after it."""
    shared = REPOSITORY / "tests" / "policyfiles"
    folder, config = tmp_path / "policies", tmp_path / "remediator.yaml"
    folder.mkdir()
    for name in ("example.yaml", "example.test.yaml"):
        shutil.copy(shared / name, folder)
    config.write_text(f"budgets: {{loyalty-earn-rates: {{limit: 5, per: 24h}}}}\n{CONFIG.read_text()}")
    assert main(["policy", "test", str(folder), "--config", str(config)]) == 0


@pytest.mark.parametrize("percent", ["-1", "101", "nan", "many"])
def test_what_is_no_percentage_is_told(
    tmp_path: Path, percent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite(tmp_path, HEAD + RIGHT)
    with pytest.raises(SystemExit):
        at(tmp_path, f"--fail-under={percent}")
    assert "--fail-under" in capsys.readouterr().err


def test_a_junit_file_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite(tmp_path, HEAD + RIGHT)
    assert at(tmp_path, "--junit", str(tmp_path / "none" / "x.xml")) == 2
    assert "x.xml: cannot be written: No such file or directory; name a file" in capsys.readouterr().err


def test_only_what_is_named_is_asked_how_much_of_it_was_reached(tmp_path: Path) -> None:
    other = PAUSE.replace("pause-campaign", "other")
    suite(tmp_path, HEAD + RIGHT, {"pause.yaml": PAUSE, "other.yaml": other})
    for named in ("pause.yaml", "pause.test.yaml"):
        found = find([tmp_path / named], *known())
        assert [one.policy.name for one in found.policies] == ["pause-campaign"]
    assert len(find([tmp_path], *known()).policies) == 2
