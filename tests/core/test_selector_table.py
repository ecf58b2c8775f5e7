"""Our matchers beside Alertmanager's: one table, which a real amtool judges too where it can."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from remediator.core.matching import Index, parse_selector
from remediator.errors import ExpressionError
from tests.core.selector_table import ALERTS, MODERN, ROWS, Row
from tests.rig.components import program

READ = [row for row in ROWS if not row.refused]


@pytest.mark.parametrize("row", READ, ids=[row.text for row in READ])
def test_a_selector_takes_these_alerts(row: Row) -> None:
    selector = parse_selector(row.text)
    index = Index.of([("here", [selector])])
    every = {**ALERTS, **MODERN}
    taken = {letter for letter, labels in every.items() if selector.holds(labels)}
    assert taken == row.alerts
    assert {letter for letter, labels in every.items() if index.find(labels)} == row.alerts
    assert parse_selector(str(selector)) == selector


@pytest.mark.parametrize("text", [row.text for row in ROWS if row.refused])
def test_this_is_no_selector(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_selector(text)


def test_the_table_is_long_and_says_nothing_twice() -> None:
    assert len({row.text for row in ROWS}) == len(ROWS) >= 200


# ── The judge ───────────────────────────────────────────────────────────────────────────────────


def _config(rows: Iterable[tuple[int, Row]], file: Path) -> Path:
    """One routing tree with a route and a receiver for each row."""
    numbered = dict(rows)
    routes = [
        {"receiver": f"row-{number}", "matchers": [row.text], "continue": True}
        for number, row in numbered.items()
    ]
    receivers = [{"name": name} for name in ("nobody", *(f"row-{number}" for number in numbered))]
    file.write_text(json.dumps({"route": {"receiver": "nobody", "routes": routes}, "receivers": receivers}))
    return file


def _escaped(value: str) -> str:
    """As the classic grammar has it, which knows these three escapes alone."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _asked(file: Path, labels: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Which receivers get an alert with these labels, as amtool says."""
    told = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
    argv = [
        program("amtool"),
        "config",
        "routes",
        "test",
        f"--config.file={file}",
        "--no-version-check",
        *told,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.real
@pytest.mark.needs("amtool")
def test_amtool_says_the_same(tmp_path: Path) -> None:
    readable = [(number, row) for number, row in enumerate(ROWS) if not row.refused_before]
    file = _config(readable, tmp_path / "all.yml")
    taken: dict[int, set[str]] = {number: set() for number, _ in readable}
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda letter: (letter, _asked(file, ALERTS[letter])), ALERTS)
        for letter, answer in answers:
            assert answer.returncode == 0, answer.stderr
            for name in answer.stdout.strip().split(","):
                if name != "nobody":
                    taken[int(name.removeprefix("row-"))].add(letter)
    wrong = {
        row.text: (sorted(taken[number]), sorted(row.alerts_before))
        for number, row in readable
        if taken[number] != row.alerts_before
    }
    assert wrong == {}


@pytest.mark.real
@pytest.mark.needs("amtool")
def test_amtool_refuses_the_same(tmp_path: Path) -> None:
    unreadable = [(number, row) for number, row in enumerate(ROWS) if row.refused_before]

    def judged(one: tuple[int, Row]) -> str:
        number, row = one
        answer = _asked(_config([one], tmp_path / f"{number}.yml"), ALERTS["x"])
        return "" if answer.returncode else row.text

    with ThreadPoolExecutor(2) as pool:
        assert [text for text in pool.map(judged, unreadable) if text] == []
