"""Test files that are wrong: every fault with its place and a remedy, and never a traceback."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.policyfiles.testing.checking import KINDS
from remediator.policyfiles.testing.expecting import BOUNDS
from remediator.policyfiles.testing.models import Expect, Line, Test, TestFile
from remediator.policyfiles.testing.running import run
from tests.policyfiles.testing.stage import ALERT, HALVE, HEAD, PAUSE, REPOSITORY, known, story, suite

WRONG = [
    # lines of a story, place, what is said
    ("- expct: {}", "10:9", "unknown key 'expct'; did you mean expect?"),
    ("- expect: {outcom: fixed}", "10:18", "unknown key 'outcom'; did you mean outcome?"),
    ("- expect: {outcome: fixd}", "10:27", "'fixd' can never be; did you mean fixed?"),
    ("- expect: {stage: wating}", "10:25", "'wating' can never be; did you mean waiting?"),
    ("- expect: {started: pasue}", "10:27", "the policy has no step 'pasue'; did you mean pause?"),
    ("- expect: {order: [pause, resume]}", "10:33", "the policy has no step 'resume'"),
    ("- expect: {steps: {pause: verifed}}", "10:33", "'verifed' can never be; did you mean verified?"),
    (
        "- expect: {gate: {votes: {marketing: 1}}}",
        "10:33",
        "no role 'marketing'; did you mean ops_marketing?",
    ),
    ("- expect: {gate: {steps: [puase]}}", "10:33", "the policy has no step 'puase'"),
    ("- expect: {args: {pause: [c-1]}}", "10:32", "pause has no args; write its arguments by name"),
    ("- expect: {args: {pause: {metod: POST}}}", "10:33", "no argument 'metod'; did you mean method?"),
    ("- expect: {case: 3}", "10:24", "the policy has 2 cases"),
    ("- expect: {refused: cooldwn}", "10:27", "'cooldwn' can never be; did you mean cooldown?"),
    ("- expect: {}", "10:17", "this expects nothing"),
    ("- expect: {run: 0, outcome: fixed}", "10:23", "this must be 1 or more"),
    (
        "- reading: {campain: {json: 1}}\n- expect: {runs: 1}",
        "10:19",
        "no probe 'campain'; did you mean campaign?",
    ),
    (
        "- reading: {campaign: {jsn: 1}}\n- expect: {runs: 1}",
        "10:30",
        "http.get reads no 'jsn'; did you mean json?",
    ),
    ("- reading: {campaign: late}\n- expect: {runs: 1}", "10:29", "this is not what http.get reads"),
    (
        "- result: {pause.undone: done}\n- expect: {runs: 1}",
        "10:18",
        "no step 'pause.undone'; did you mean pause.undo?",
    ),
    ("- result: {pause: finished}\n- expect: {runs: 1}", "10:25", "'finished' cannot stand here"),
    (
        "- reading: {campaign: {status: late}}\n- expect: {runs: 1}",
        "10:38",
        "a status is a number; write it as 503",
    ),
    ("- {halt: foo, expect: {runs: 1}}", "10:16", "'foo' is nothing that can be halted; write all, policy"),
    ("- {at: 99999d, expect: {runs: 1}}", "10:14", "this is too long for a story; end it within 400 days"),
    ("- expect: {card: ''}", "10:24", "an empty text is part of every text; write [] for none"),
    ("- expect: {pages: [a, '']}", "10:25", "an empty text is part of every text"),
    ("- expect: {refused: {reason: ''}}", "10:36", "an empty text is part of every text"),
    ("- expect: {card: ' '}", "10:24", "an empty text is part of every text; write [] for none"),
    ("- expect: {pages: [' ']}", "10:25", "an empty text is part of every text"),
    ("- expect: {gate: {}}", "10:24", "this expects nothing; write gate: {state: open}"),
    ("- expect: {refused: {}}", "10:27", "this expects nothing; write the bound, or none"),
    ("- expect: {runs: true}", "10:24", "a whole number must stand here; write it in digits"),
    ("- approve: []\n- expect: {runs: 1}", "10:9", "nothing happens by this; say what does, or take it out"),
    ("- policy_changes: false\n- expect: {runs: 1}", "10:9", "nothing happens by this"),
    ("- expect: {steps: {}}", "10:25", "this expects nothing; name steps under steps, or leave it out"),
    ("- expect: {args: {pause: {}}}", "10:32", "this expects nothing; name its arguments"),
    ("- preview: {pause: {count: 1}}\n- expect: {runs: 1}", "10:19", "http.request is never previewed"),
    ("- crash: sometimes\n- expect: {runs: 1}", "10:16", "'sometimes' is no moment to crash at"),
    (
        "- crash: after startd\n- expect: {runs: 1}",
        "10:16",
        "no journal says 'startd'; did you mean started?",
    ),
    ("- approve: bobb\n- expect: {runs: 1}", "10:18", "nobody called 'bobb'; did you mean bob?"),
    ("- {at: 5m, expect: {runs: 1}}\n- {at: 4m, expect: {runs: 1}}", "11:14", "time does not go back"),
    ("- {at: soon, expect: {runs: 1}}", "10:14", "'soon' is not a duration"),
    ("- {}\n- expect: {runs: 1}", "10:9", "nothing happens on this line"),
    ("- at: 5m", "7:11", "this story expects nothing, so it cannot fail"),
]


@pytest.mark.parametrize(("lines", "place", "said"), WRONG)
def test_a_fault_is_told_with_its_place_and_a_remedy(
    tmp_path: Path, lines: str, place: str, said: str
) -> None:
    found = suite(tmp_path, HEAD + story(lines))
    assert found.stories == ()
    assert f"pause.test.yaml:{place}: " in str(found.findings[0])
    assert said in str(found.findings[0])
    assert len(found.findings) == 1


@pytest.mark.parametrize("key", [name for name in Expect.model_fields if name not in ("run", "runs")])
def test_a_blank_expectation_is_told(tmp_path: Path, key: str) -> None:
    (finding,) = suite(tmp_path, HEAD + story(f"- expect:\n    {key}:")).findings
    assert f":11:11: T001 nothing stands behind {key!r}; write what is meant" in str(finding)


BLANK = [name for name, one in Line.model_fields.items() if one.default is None and name != "expect"]


@pytest.mark.parametrize("key", [*BLANK, "reading", "result", "preview", "crash", "approve", "deny"])
def test_a_blank_key_of_a_line_is_told(tmp_path: Path, key: str) -> None:
    (finding,) = suite(tmp_path, HEAD + story(f"- {key}:\n  expect: {{runs: 1}}")).findings
    assert finding.line == 10
    assert ("nothing stands behind" in finding.message) == (key in BLANK)


FILES = [
    (
        "policy: puase-campaign\ntests: [{name: a}]\n",
        "there is no policy 'puase-campaign' here; did you mean",
    ),
    ("policy: pause-campaign\ntests: []\n", "this may not be empty"),
    ("policy: pause-campaign\n", "the key 'tests' is missing"),
    (
        "policy: pause-campaign\ntests:\n  - {name: a, expect: {runs: 1}}\n",
        "begins with either alert or started_by",
    ),
    (
        f"policy: pause-campaign\ntests:\n  - name: a\n    {ALERT}\n    params: {{a: 1}}",
        "brings its own params",
    ),
    (
        "policy: pause-campaign\ntests:\n  - {name: a, alert: {labels: {n: 17}}, expect: {runs: 1}}\n",
        "a text must stand here; quote it",
    ),
    (
        "policy: pause-campaign\nstarts: monday\ntests:\n  - {name: a, started_by: bob, expect: {runs: 1}}\n",
        "'monday' is not a time",
    ),
    (
        "policy: pause-campaign\nstarts: 2026-03-02T09:00:00\ntests: [{name: a, started_by: bob}]",
        "has no zone",
    ),
    (
        HEAD + story("- expect: {runs: 1}", begins=f"{ALERT}\n    given: {{pause.result: refuse}}"),
        "this is no result; write it as on a line of the story",
    ),
    (
        HEAD + story("- expect: {runs: 1}", begins=f"{ALERT}\n    given: {{pase.result: refused}}"),
        "the policy has no step 'pase'; did you mean pause.result?",
    ),
    (HEAD + story("- expect: {runs: 1}") * 2, "another story has this name"),
    ("a: &a [1]\nb: *a\n", "an anchor"),
    ("policy: a\npolicy: b\n", "is there twice"),
    ("policy: a\n\ttests: []\n", "this is not YAML"),
    ("- just\n- a list\n", "a map must stand here"),
    ("", "there is no story in this file"),
    ("policy: \x00\n", "there is a NUL character"),
    ("policy: pause-campaign\ntests: " + "[" * 100 + "]" * 100 + "\n", "nested more than 50 deep"),
    ("# " + "x" * 300_000, "the file has more than 262144 bytes"),
]


@pytest.mark.parametrize(("text", "said"), FILES)
def test_a_file_that_is_wrong_is_told_and_nothing_breaks(tmp_path: Path, text: str, said: str) -> None:
    found = suite(tmp_path, text)
    assert found.stories == ()
    assert said in "\n".join(map(str, found.findings))


def test_what_a_step_can_never_come_to_is_not_expected_of_it(tmp_path: Path) -> None:
    lines = "- expect: {held: pause, undone: [], steps: {pause: verified}}"
    stays = re.sub(r"    verify:\n(.*\n)+?    undo:\n(.*\n)+?page:", "    %s\n    %s\npage:", PAUSE) % (
        "verify: {none: the service says so}",
        "undo: {none: a pause stays}",
    )
    found = suite(
        tmp_path, HEAD.replace("  pause.before", "  #").replace("  pause.verify", "  #") + story(lines)
    )
    assert found.findings == ()
    head = re.sub(r"  pause.*\n", "", HEAD)
    found = suite(tmp_path, head + story(lines), {"pause.yaml": stays})
    told = [str(one).partition("T001 ")[2] for one in found.findings]
    assert told == [
        "pause has no undo: it can never be held; leave it out",
        "'verified' can never be; known: done, planned, refused, started, unknown",
    ]


def test_a_reading_from_before_an_act_that_no_proof_compares_with_is_idle(tmp_path: Path) -> None:
    lines = story("- reading: {pause.before: {json: {status: late}}}\n- expect: {runs: 1}")
    policies = {"pause.yaml": PAUSE.replace("before.ok && ", "")}
    found = suite(tmp_path, HEAD + lines, policies)
    idle = "no proof of pause looks at before, so it is never read; leave it out"
    assert [str(one).partition("test.yaml:")[2] for one in found.findings] == [
        f"4:3: T001 {idle}",
        f"10:19: T001 {idle}",
    ]
    without = "".join(one for one in HEAD.splitlines(keepends=True) if "before" not in one)
    assert suite(tmp_path, without + story("- expect: {runs: 1}"), policies).findings == ()


def test_a_policy_with_errors_is_not_mistaken_for_one_that_is_not_there(tmp_path: Path) -> None:
    broken = PAUSE.replace("ops_marketing: 1", "nobody: 1")
    found = suite(tmp_path, HEAD + story("- expect: {runs: 1}"), {"pause.yaml": broken})
    (finding,) = found.findings
    assert "the policy pause-campaign has errors; see: remediator policy lint" in str(finding)


def test_whatever_lies_beside_them_is_told_or_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder.test.yaml").mkdir()
    (tmp_path / "link.test.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden.test.yaml").write_text("nonsense")
    (tmp_path / "bytes.test.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bom.test.yaml").write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    os.mkfifo(tmp_path / "pipe.test.yaml")
    found = suite(tmp_path, HEAD + story("- expect: {runs: 1}"))
    told = sorted(str(one).partition(f"{tmp_path}/")[2] for one in found.findings)
    assert told == [
        "bom.test.yaml:6:7: P012 a list must stand here; write it as [one, other]",
        "bytes.test.yaml:1:1: P001 this is not UTF-8; save it as UTF-8",
        "link.test.yaml:1:1: P001 cannot be read: No such file or directory; mend it, or take it away",
    ]
    assert len(found.stories) == 1


MEASURED = PAUSE.replace(
    "{use: http.get, via: loyalty_api, with: {path: '/api/campaigns/${campaign_id}'}}",
    "{use: prometheus.query, via: prometheus, with: {query: late}}",
).replace('campaign.json.status != "late"', "campaign.value == 0.0")


@pytest.mark.parametrize(
    "value", ["{value: '1.0'}", "{value: '.nan'}", "{value: true}", "{series: [{value: a}]}"]
)
def test_what_prometheus_never_answers_is_no_reading(tmp_path: Path, value: str) -> None:
    head = HEAD.replace("{json: {status: late}}", value, 1)
    (finding,) = suite(tmp_path, head + story("- expect: {runs: 1}"), {"pause.yaml": MEASURED}).findings
    assert "prometheus.query reads no" in str(finding)
    assert finding.line == 3


QUERIED = PAUSE.replace(
    "{use: http.get, via: loyalty_api, with: {path: '/api/campaigns/${campaign_id}'}}",
    "{use: postgres.query, via: loyalty_db, with: {sql: 'SELECT name, %s FROM loyalty_programs'}}",
).replace('campaign.json.status != "late"', 'campaign.row.name == "ended"')
ROWS = [
    ("earn_rate AS rate", "{row: {name: a, rat: 1}}", "the SELECT has no column 'rat'; did you mean rate?"),
    (
        "earn_rate AS rate",
        "{rows: [{name: a}, {nam: a}]}",
        "the SELECT has no column 'nam'; did you mean name?",
    ),
    ("earn_rate AS rate", "{row: [a]}", "a row is a map; write {column: value}"),
    ("earn_rate AS rate", "{rows: {name: a}}", "rows are a list of maps"),
    ("earn_rate AS rate", "{row: {rate: 1}}", ""),
    ("coalesce(earn_rate, 0)", "{row: {name: a, whatever: 1}}", ""),
]


@pytest.mark.parametrize(("column", "value", "said"), ROWS)
def test_a_row_has_the_columns_of_its_select(tmp_path: Path, column: str, value: str, said: str) -> None:
    head = HEAD.replace("{json: {status: late}}", value, 1)
    found = suite(tmp_path, head + story("- expect: {runs: 1}"), {"pause.yaml": QUERIED % column})
    assert said in "".join(str(one) for one in found.findings)
    assert len(found.findings) == bool(said)


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "other.test.yaml").write_text("policy: nothing-like-it\ntests: [{name: a}]\n")
    wrong = story("- expect: {started: a}\n- expect: {started: b}", name="one")
    found = suite(tmp_path, HEAD + wrong + story("- expct: {}", name="two"))
    assert len(found.findings) == 2  # a file that does not fit the model is not checked further
    assert len(suite(tmp_path, HEAD + wrong).findings) == 3


words = st.sampled_from(
    [
        *Line.model_fields,
        *Expect.model_fields,
        *TestFile.model_fields,
        *Test.model_fields,
        "pause",
        "c-1",
        "5m",
        "1",
    ]
)
values = st.recursive(
    st.one_of(words, st.integers(-2, 3), st.booleans(), st.none(), st.floats(0, 1), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(words, values, max_size=5))
def test_whatever_stands_in_a_line_is_read_or_refused(tmp_path: Path, line: dict[str, object]) -> None:
    text = HEAD + f"  - name: a\n    {ALERT}\n    story: [{json.dumps(line)}]\n"
    found = suite(tmp_path, text)
    assert found.stories or found.findings
    run(found, known()[0])


def core() -> Iterator[str]:
    for folder in ("core", "engine"):
        for file in (REPOSITORY / "remediator" / folder).rglob("*.py"):
            yield file.read_text()


def test_the_known_bounds_and_journal_lines_are_those_of_the_core() -> None:
    source = "\n".join(core())
    refusals = set(re.findall(r'(?:Refusal|refuse|stop_before)\(\s*(?:turn, )?"([a-z_-]+)"', source))
    assert refusals <= BOUNDS, refusals - BOUNDS
    kinds = set(re.findall(r'\.note\(\s*"([a-z-]+)"', source))
    assert kinds <= KINDS, kinds - KINDS
    assert KINDS - kinds <= {"joined", "firing", "resolved"}  # named by what happened


def test_every_key_is_described() -> None:
    for model in (TestFile, Test, Line, Expect):
        assert [name for name, one in model.model_fields.items() if not one.description] == []


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ("{row: {id: a}, rows: [{id: b}]}", "row is the first of rows; write one of the two"),
        ("{rows: [{id: a}], count: 5}", "1 row are not 5; leave count out"),
        ("{row: {id: a}, count: 5}", "one row is not 5; write all of them under rows"),
        ("{rows: [{id: a}, {id: b}], row: {id: a}, count: 2}", ""),
        ("{count: 5}", ""),
    ],
)
def test_a_reading_does_not_contradict_itself(tmp_path: Path, reading: str, said: str) -> None:
    counting = MEASURED_ROWS
    text = f"policy: pause-campaign\ngiven: {{campaign: {reading}}}\ntests:\n" + story("- expect: {runs: 1}")
    found = suite(tmp_path, text, {"pause.yaml": counting})
    assert [said in str(one) for one in found.findings] == ([True] if said else [])


MEASURED_ROWS = PAUSE.replace(
    "{use: http.get, via: loyalty_api, with: {path: '/api/campaigns/${campaign_id}'}}\ndecide:",
    "{use: postgres.query, via: loyalty_db, with: {sql: SELECT id FROM loyalty_programs}}\ndecide:",
).replace('campaign.json.status != "late"', "campaign.count == 0")


@pytest.mark.parametrize("year", ["0001", "9999"])
@pytest.mark.parametrize("of_story", [True, False])
def test_a_story_does_not_begin_at_the_end_of_time(tmp_path: Path, year: str, of_story: bool) -> None:
    starts = f"starts: {year}-01-01T00:00:00Z"
    text = HEAD + story("- expect: {runs: 1}", begins=f"{ALERT}\n    {starts}" if of_story else ALERT)
    text = text if of_story else text.replace("tests:", f"{starts}\ntests:")
    (finding,) = suite(tmp_path, text).findings
    assert f"T001 no story begins in the year {int(year)}; write 2026" in str(finding)


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ("{count: 1, rows: [{key: {id: 1}}, {key: {id: 2}}]}", "2 rows are not 1; leave count out"),
        ("{count: 1, error: gone}", "a preview that fails shows nothing"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_a_picture_does_not_contradict_itself(
    tmp_path: Path, picture: str, said: str, *, given: bool
) -> None:
    line = "- expect: {runs: 1}" if given else f"- preview: {{halve: {picture}}}\n- expect: {{runs: 1}}"
    head = f"policy: pause-campaign\ngiven: {{halve.preview: {picture}}}\ntests:\n"
    text = (head if given else "policy: pause-campaign\ntests:\n") + story(line)
    (finding,) = suite(tmp_path, text, {"pause.yaml": HALVE.replace("ROWS", "1")}).findings
    assert said in str(finding)
