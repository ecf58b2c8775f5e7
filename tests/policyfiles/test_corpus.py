"""The corpus of bad policies and their good twins, and the page of every code: each says what it must.

A file in ``bad/`` begins with what lint finds in it, a line each: ``# expect: P101 at 14:10: words``.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from remediator.config_file import load as load_config
from remediator.connectors import catalog, problems
from remediator.core.catalog import Catalog
from remediator.policyfiles.lint.codes import CODES, index, page
from remediator.policyfiles.lint.linting import lint

ROOT = Path(__file__).resolve().parents[1] / "policies"
BAD = sorted(path for path in (ROOT / "bad").glob("*.yaml") if not path.stem.endswith(".test"))
GOOD = sorted(path for path in (ROOT / "good").glob("*.yaml") if not path.stem.endswith(".test"))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "lint" / "README.md"
OF_POLICIES = {code for code in CODES if code.startswith("P")}
EXPECTED = re.compile(rb"^# expect: (.*)$", re.MULTILINE)


@functools.cache
def corpus() -> Catalog:
    """What the corpus may name. None of its secrets is set."""
    check = functools.partial(problems, blind=True)
    config = load_config(ROOT / "remediator.yaml", {}, check=check, blind=True)
    return catalog(config, blind=True)


def found(path: Path) -> list[str]:
    """What lint says about a file, without the file's place."""
    told = []
    for one in lint([path], corpus()).findings:
        remedy = f"; {one.remedy}" if one.remedy else ""
        told.append(
            f"{one.code} at {one.line}:{one.col}: {one.message}{remedy}".replace(f"{path.parent}/", "")
        )
    return told


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_policy_is_found_out_where_it_is_bad(path: Path) -> None:
    expected = [line.decode() for line in EXPECTED.findall(path.read_bytes())]
    assert expected and found(path) == expected
    assert path.stem[1:4] in ("000", "200") or any(one.startswith(path.stem[:4]) for one in expected)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_its_good_twin_passes_without_a_word(path: Path) -> None:
    assert found(path) == []


def test_every_code_is_in_the_corpus_with_its_twin() -> None:
    said = {line.decode()[:4] for path in BAD for line in EXPECTED.findall(path.read_bytes())}
    assert said == OF_POLICIES
    assert {path.stem[:4] for path in GOOD} == OF_POLICIES
    assert len(BAD) >= 120


# ── Pages ───────────────────────────────────────────────────────────────────────────────────────


def overlaid(fragment: str) -> str:
    """The corpus' base policy with the keys of a page's example in place of its own; one per document."""
    base = re.split(r"^(?=[a-z_]+:)", (ROOT / "base.yaml").read_text(), flags=re.MULTILINE)
    policies = []
    for part in re.split(r"^---\n", fragment, flags=re.MULTILINE):
        keys = re.findall(r"^([a-z_]+):", part, flags=re.MULTILINE)
        keys += ["match"] if "watch" in keys else []
        policies.append("".join(block for block in base if block.partition(":")[0] not in keys) + part)
    return "---\n".join(policies)


@pytest.mark.parametrize("code", sorted(OF_POLICIES))
def test_the_examples_of_a_page_are_as_bad_and_as_good_as_it_says(code: str, tmp_path: Path) -> None:
    text = page(code)
    assert text.startswith(f"# {code}: {CODES[code].title}\n\n{CODES[code].severity.capitalize()}. ")
    bad, good = re.findall(r"^(?:Bad|Good):\n\n```yaml\n(.*?)```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "all.test.yaml").write_bytes((ROOT / "good" / "all.test.yaml").read_bytes())
    file = tmp_path / "policy.yaml"
    file.write_text(overlaid(bad))
    assert code in {finding.code for finding in lint([file], corpus()).findings}
    file.write_text(overlaid(good))
    assert found(file) == []


def test_every_code_has_its_page_and_no_page_is_left_over() -> None:
    from importlib.resources import files

    pages = files("remediator.policyfiles.lint").joinpath("pages").iterdir()
    assert {one.name for one in pages} == {f"{code}.md" for code in CODES}


def test_the_index_of_the_documentation_is_that_of_the_checks() -> None:
    assert DOCS.read_text() == index(), "run scripts/reference.py"
