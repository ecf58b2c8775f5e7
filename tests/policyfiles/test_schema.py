"""The schemas that editors are given: those of the models, every key described, at one with the loader."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from remediator.cli import policy as cli
from remediator.documents import read_file
from remediator.policyfiles.schema import POLICY, TESTS, schemas, shipped
from tests.policyfiles.test_corpus import GOOD, ROOT

REPOSITORY = ROOT.parents[1]
PACK = sorted(file for file in (REPOSITORY / "policies").rglob("*.yaml") if file.stem != "alerts")
DEMO = sorted((REPOSITORY / "remediator" / "demo" / "policies").glob("*.yaml"))
EXAMPLE = Path(__file__).parent / "example.yaml"


def validator(name: str) -> Any:
    return jsonschema.Draft7Validator(json.loads(shipped(name)))


def properties(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that the schema knows, wherever it stands."""
    if isinstance(schema, dict):
        for key, item in schema.items():
            if key == "properties":
                yield from ((f"{place}/{name}", one) for name, one in item.items())
            yield from properties(item, f"{place}/{key}")
    elif isinstance(schema, list):
        for number, item in enumerate(schema):
            yield from properties(item, f"{place}/{number}")


@pytest.mark.parametrize("name", [POLICY, TESTS])
def test_what_is_shipped_is_made_from_the_models(name: str) -> None:
    assert shipped(name) == schemas()[name], "run scripts/reference.py"
    jsonschema.Draft7Validator.check_schema(json.loads(shipped(name)))


@pytest.mark.parametrize("name", [POLICY, TESTS])
def test_every_key_is_described(name: str) -> None:
    schema = json.loads(shipped(name))
    known = list(properties(schema))
    assert len(known) > 60
    for place, one in known:  # its own words, or those of the part that it is
        part = schema["definitions"].get(one.get("$ref", "").rpartition("/")[2], {})
        assert one.get("description") or part.get("description"), place


@pytest.mark.parametrize("path", [*GOOD[::4], *PACK, *DEMO, EXAMPLE], ids=lambda path: path.stem)
def test_what_loads_fits_the_schema(path: Path) -> None:
    judge = validator(TESTS if path.stem.endswith(".test") else POLICY)
    for document in read_file(path)[0]:
        assert [one.message for one in judge.iter_errors(document.value)] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("summary:", "sumary:"),
        ("mode: act", "mode: actt"),
        ("3 in 24h", "three"),
        ("restart-worker\n", "RestartWorker\n"),
        ("    do: [restart]", "    do: restart"),
        ("use: http.request", "uses: http.request"),
        ("until: verify.status == 200", "until: 5"),
        ("bounds: {", "bounds: {cooldown: 5 min, "),
        ("bounds: {", "bounds: {at_once: 0, "),
    ],
)
def test_what_an_editor_underlines(old: str, new: str, tmp_path: Path) -> None:
    text = (ROOT / "base.yaml").read_text()
    assert old in text
    (tmp_path / "p.yaml").write_text(text.replace(old, new))
    (document,) = read_file(tmp_path / "p.yaml")[0]
    assert not validator(POLICY).is_valid(document.value)


def test_defaults_are_written_as_people_write_them() -> None:
    bounds = json.loads(shipped(POLICY))["definitions"]["Bounds"]["properties"]
    assert {key: one["default"] for key, one in bounds.items() if "default" in one} == {
        "cooldown": "30m",
        "per_target": "3 in 1d",
        "per_policy": "10 in 1h",
        "at_once": 2,
        "deadline": "6h",
    }


@pytest.mark.parametrize(("words", "name"), [(["schema"], POLICY), (["schema", "--tests"], TESTS)])
def test_the_command_prints_what_is_shipped(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["policy", *words])
    assert args.run(args) == 0
    assert capsys.readouterr().out == shipped(name)
