"""Files that nobody wrote in good faith, or that something broke: a finding at a place, never a traceback."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.documents.finding import Finding
from remediator.policyfiles.lint.linting import lint
from remediator.policyfiles.lint.reports import FORMATS
from tests.policyfiles.test_corpus import BAD, GOOD, ROOT, corpus

BASE = (ROOT / "base.yaml").read_bytes()
NAMED = b"policy: restart-worker\ntests: [{name: it is named}]\n"


def found(folder: Path, data: bytes, name: str = "one.yaml") -> tuple[Finding, ...]:
    """What lint says of a file of these bytes; everything that it says can be printed."""
    (folder / "named.test.yaml").write_bytes(NAMED)
    (folder / name).write_bytes(data)
    loaded = lint([folder / "one.yaml"], corpus())
    for report in FORMATS.values():
        report(loaded).encode()
    return loaded.findings


def bomb(levels: int) -> bytes:
    """Each list ten times the one before it: all of them would fill any memory."""
    names = "abcdefghijklmnopqrstuvwxyz"[:levels]
    first = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    rest = (f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in pairwise(names))
    return (first + "".join(rest)).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a bomb of aliases": (bomb(20), "1:4: P003 an anchor"),
    "an alias of itself": (b"a: &a [*a]", "1:4: P003"),
    "a merge key": (b"a: {<<: {b: 1}}", "1:5: P003"),
    "a tag that runs": (b"!!python/object/apply:os.system ['true']", "1:1: P003"),
    "a key twice": (BASE + b"summary: again\n", "20:1: P004"),
    "a tab": (b"policy: x\nbounds:\n\tat_once: 1\n", "3:1: P002"),
    "300 KiB": (b"# " + b"x" * 300 * 1024, "1:1: P001 the file has more than 262144 bytes"),
    "300 KiB of a list": (b"- x\n" * 77_000, "1:1: P001"),
    "a NUL": (BASE.replace(b"stuck", b"st\0uck"), "2:24: P001 there is a NUL"),
    "an escaped NUL": (BASE.replace(b"A worker is stuck", b'"st\\0uck"'), "2:10: P001 there is a NUL"),
    "UTF-16": (BASE.decode().encode("utf-16"), "1:1: P001 this is not UTF-8"),
    "UTF-16 without a mark": (BASE.decode().encode("utf-16-le"), "1:2: P001 there is a NUL"),
    "UTF-32": (BASE.decode().encode("utf-32-be"), "1:1: P001"),
    "Latin-1": (BASE.replace(b"stuck", "gestört".encode("latin-1")), "2:1: P001 this is not UTF-8"),
    "half a character": (BASE.replace(b"stuck", "\ud800".encode("utf-8", "surrogatepass")), "2:1: P001"),
    "half a character, escaped": (BASE.replace(b"A worker is stuck", b'"\\ud800"'), "P002"),
    "an overlong NUL": (BASE.replace(b"stuck", b"\xc0\x80"), "2:1: P001"),
    "an invisible line break": (BASE.replace(b"stuck", "\u2028".encode()), "2:22: P001"),
    "200,000 brackets": (b"[" * 200_000, "P005"),
    "nested maps": (b"a: " + b"{a: " * 20_000, "P005"),
    "51 levels": (b"a:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, 60)), "P005"),
    "an expression that is nested": (BASE.replace(b"health.json.n != 200", b"(" * 1000), "P013"),
    "a template that is nested": (BASE.replace(b"${name}", b"${" + b"[" * 500, 1), "P013"),
    "a pattern that explodes": (BASE.replace(b"[a-z0-9-]{1,64}", b"((a{1,100}){1,100}){1,100}"), "P012"),
    "a number of a million digits": (BASE.replace(b"3 in 24h", b"1" * 200_000), "P006"),
    "many years": (BASE.replace(b"3 in 24h", b"3 in 999999999999d"), "P012"),
    "many runs": (BASE.replace(b"3 in 24h", b"9999999999999 in 1h"), "P012"),
    "a document of words": (b"just words", "1:1: P012"),
    "five hundred documents": (b"--- {}\n" * 500, "1:5: P011"),
    "an unknown key of many letters": (BASE + b"x" * 100_000 + b": 1\n", "P002"),
    "a key that hides": (BASE + '"sum\u202emary": x\n'.encode(), "20:5: P001"),
    "nothing": (b"", "1:1: P002 there is no policy"),
    "a mark and nothing": (b"\xef\xbb\xbf", "1:1: P002 there is no policy"),
    "an end": (b"...\n", "P002"),
    "a directive": (b"%YAML 9.9\n---\na: 1\n", "P002"),
}


@pytest.mark.parametrize("story", HOSTILE)
def test_a_hostile_file_is_refused_at_a_place(story: str, tmp_path: Path) -> None:
    data, words = HOSTILE[story]
    first = found(tmp_path, data)[0]
    assert first.severity == "error"
    assert words in str(first)


@pytest.mark.parametrize("story", HOSTILE)
def test_a_test_file_is_read_by_the_same_reader(story: str, tmp_path: Path) -> None:
    data, words = HOSTILE[story]
    (tmp_path / "one.yaml").write_bytes(BASE)
    (tmp_path / "named.test.yaml").write_bytes(data)
    loaded = lint([tmp_path / "one.yaml"], corpus())
    told = [one.code for one in loaded.findings if one.file.endswith("named.test.yaml")]
    unread = "P00" in words and "no policy" not in words
    assert told == (re.findall("P[0-9]+", words) if unread else [])


@pytest.mark.parametrize("path", [*GOOD, *BAD][::7], ids=lambda path: path.stem)
def test_a_file_of_windows_means_the_same_at_the_same_place(path: Path, tmp_path: Path) -> None:
    plain = path.read_bytes()
    there = [(one.code, one.line, one.col) for one in found(tmp_path, plain)]
    windows = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")
    assert [(one.code, one.line, one.col) for one in found(tmp_path, windows)] == there


def many(section: str, text: str) -> bytes:
    """The base policy with a section that is nearly as long as a file may be."""
    lines = "".join(text.replace("%", str(number)) for number in range(200_000 // (len(text) + 4)))
    written = f"{section}:\n{lines}"
    return re.sub(
        rf"^{section}:.*?(?=^[a-z]+:)", written, BASE.decode(), flags=re.MULTILINE | re.DOTALL
    ).encode()


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("match", '  - \'{a=~"%.*", b!=""}\'\n'),
        ("decide", "  - when: health.status == %\n    do: [restart]\n"),
        (
            "decide",
            f"  - when: {' && '.join(f'(a{n} > % || b{n} > 1)' for n in range(150))}\n    do: nothing\n",
        ),
    ],
)
def test_a_long_policy_takes_seconds_at_most(section: str, text: str, tmp_path: Path) -> None:
    data = many(section, text)
    assert 150_000 < len(data) < 256 * 1024
    begun = time.process_time()
    found(tmp_path, data)
    assert time.process_time() - begun < 15, "compared with each other it would take minutes"


def test_many_days_that_never_come_are_found_soon(tmp_path: Path) -> None:
    watch = (
        b"watch: {use: prometheus.query, via: prometheus, with: {query: up}, key: [worker], cron: 0 0 30 2 *}"
    )
    watched = BASE.replace(b"match: ['{alertname=\"WorkerStuck\"}']", watch)
    begun = time.process_time()
    findings = found(tmp_path, b"---\n".join([watched] * 40))
    assert time.process_time() - begun < 5, "years were counted up to 9999"
    assert sum(one.code == "P139" for one in findings) == 40


# ── What is no file ─────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "folder.yaml" / "inner.yaml").write_bytes(BASE)
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "nowhere.yaml").symlink_to("gone.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def forbidden(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    loaded = lint([tmp_path, tmp_path / "missing.yaml"], corpus())
    told = {Path(one.file).name: one.message for one in loaded.findings if one.code == "P001"}
    assert {name: message.partition(": ")[2] for name, message in told.items()} == {
        "closed": "Is a directory",  # to root, whom this test may be run by, nothing is closed
        "loop.yaml": "Too many levels of symbolic links",
        "missing.yaml": "No such file or directory",
        "nowhere.yaml": "No such file or directory",
    }
    assert [one.file for one in loaded.policies] == [str(tmp_path / "folder.yaml" / "inner.yaml")]


def test_a_file_whose_name_is_no_text_can_be_told(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.yaml")
    (tmp_path / name).write_bytes(b"a: [")
    loaded = lint([tmp_path], corpus())
    for report in FORMATS.values():
        assert re.search("udcff|%FF", report(loaded).encode().decode())


def test_a_file_that_never_ends_is_left_early() -> None:
    (finding,) = lint([Path("/dev/zero")], corpus()).findings
    assert str(finding) == (
        "/dev/zero:1:1: P001 cannot be read: this is no regular file; mend it, or take it away"
    )


# ── Whatever else ───────────────────────────────────────────────────────────────────────────────

TEXTS = [path.read_text() for path in GOOD]
PLAIN = [one for text in TEXTS for one in yaml.safe_load_all(text)]
LETTERS = list("\t\n\r :-{}[]'\"|>#&*!%@`$\0\ud800é\ufeff\u202e(")
WORDS = "${ ${name} $${ null ~ true 1e999 '' *x &x 0 -1 1d and each verify 1e99"
PIECES = [*LETTERS, *WORDS.split(), "- ", "? ", "---\n", "<<: ", "!!str ", "SELECT 1;", "x: &y 1\n"]


@st.composite
def torn(draw: st.DrawFn) -> str:
    """A good policy with some of it cut out, put in twice or written over."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 3, 20, 200]))
        put = draw(st.sampled_from(PIECES) | st.just(text[at : at + length] * 2))
        text = text[:at] + put + text[at + length :]
    return text


SCALARS = [None, True, 0, -5, 0.5, 10**9, "", "x", "5m", "3 in 24h", "${name}", "${health.status}", "nothing"]
SCALARS += ["health.status == 200", "restart", "postgres.query", "postgres.execute", '{a="b"}', "loyalty_db"]
KEYS = ["use", "via", "with", "when", "do", "none", "votes", "name", "until", "sql", "args", "how", "after"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def twisted(draw: st.DrawFn) -> str:
    """A good policy with some of its values in the place of others, or made up; still YAML."""
    value = copy.deepcopy(draw(st.sampled_from(PLAIN)))
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(value))
        *path, last = draw(st.sampled_from(every[1:]))
        moved = there(value, draw(st.sampled_from(every)))
        there(value, path)[last] = copy.deepcopy(draw(VALUES | st.just(moved)))
    return json.dumps(value, indent=1)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything inside a value, itself first."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*place, key))


def there(value: Any, place: Sequence[Any]) -> Any:
    """What stands at a place."""
    return functools.reduce(lambda inside, part: inside[part], place, value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(torn() | twisted())
def test_nothing_makes_lint_stumble(tmp_path: Path, text: str) -> None:
    last = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 2
    for one in found(tmp_path, text.encode("utf-8", "surrogatepass")):
        assert 1 <= one.line <= last and one.col >= 1
        assert one.message
