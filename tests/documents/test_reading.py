"""YAML as people read it: what the reader takes, what it refuses, and where it says things stand."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.documents.reading import read, resolve


def value(text: str | bytes) -> Any:
    documents, findings = read(text.encode() if isinstance(text, str) else text, "web.yaml")
    assert findings == []
    return documents[0].value


def refused(data: str | bytes) -> str:
    _, findings = read(data.encode() if isinstance(data, str) else data, "web.yaml")
    assert len(findings) == 1
    return str(findings[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("True", "True"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("Null", "Null"),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("+5", "+5"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        (".5", ".5"),
        ("1.", "1."),
        ("=", "="),
    ],
)
def test_plain_scalars(text: str, expected: object) -> None:
    assert resolve(text) == expected
    assert type(resolve(text)) is type(expected)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.Inf", "+.inf"])
def test_what_yaml_takes_for_a_number_and_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        resolve(text)
    assert value(f"a: '{text}'") == {"a": text}


def test_quoted_scalars_are_texts() -> None:
    assert value("a: ['5', \"true\", '']\nb: |\n  1\n") == {"a": ["5", "true", ""], "b": "1\n"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a: &x 1\nb: *x", "web.yaml:1:4: P003 an anchor"),
        ("a: [*x]", "P003 an alias"),
        ("a: !!str 1", "P003 a tag"),
        ("a: !!python/object/apply:os.system [ls]", "P003 a tag"),
        ("a: ! 1", "P003 a tag"),
        ("<<: {a: 1}", "P003 a merge key"),
        ("a: 1\nb: 2\na: 3", "web.yaml:3:1: P004 the key 'a' is there twice"),
        ("a: {b: 1, b: 2}", "web.yaml:1:11: P004"),
        ("1: a", "P006 a key is not a text; quote it"),
        ("true: a", "P006 a key is not a text"),
        ("[a]: b", "P006"),
        ("? {a: 1}\n: b", "P006"),
        ("a: 1e999", "P006 1e999 is too large"),
        ("a: " + "1" * 5000, "P006 a number has more than 40 digits"),
        ("\ta: 1", "P002 this is not YAML"),
        (
            "a:\n\tb: 1",
            "web.yaml:2:1: P002 this is not YAML: found character that cannot start any token; indent",
        ),
        ("a: 1\nb", "web.yaml:2:2: P002 this is not YAML: could not find expected ':'"),
        ("a: [1", "P002"),
        ("a: 'x", "P002"),
        ("a: [${x}]", "quote the text that holds ${…}"),
        ("a: {b: ${x}}", "quote the text that holds ${…}"),
        ("a: ${x ? 1 : 2}", "quote the text that holds ${…}"),
        ("a: x\0y", "web.yaml:1:5: P001 there is a NUL"),
        ('a: "x\\0y"', "web.yaml:1:4: P001 there is a NUL"),
        ("a: 1\nb: x\u2028y", "web.yaml:2:5: P001 there is an invisible line break"),
        ("\r\r%", "web.yaml:3:2: P002"),
        ("a: \x01", "web.yaml:1:4: P002"),
        (b"a: 1\nb: \xff", "web.yaml:2:1: P001 this is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "P001 this is not UTF-8"),
        ("a: " + "x" * 300 * 1024, "P001 the file has"),
        ("[" * 52 + "]" * 52, "P005 nested more than 50 deep"),
    ],
)
def test_what_the_reader_refuses(data: str | bytes, words: str) -> None:
    assert words in refused(data)


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 250_000,
        "{a: " * 60_000,
        "- " * 125_000,
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
        "? " * 100_000,
    ],
)
def test_bombs_are_cheap(bomb: str) -> None:
    begun = time.process_time()
    assert refused(bomb)
    assert time.process_time() - begun < 2


def test_fifty_levels_are_fine() -> None:
    assert value("[" * 50 + "]" * 50)


def test_windows_files_are_tolerated() -> None:
    assert value(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n  y\r\n") == {"a": 1, "b": "x\ny\n"}


def test_several_documents_keep_their_texts_and_lines() -> None:
    documents, findings = read(b"# first\na: 1\n---\n# second\nb: 2\n---\n", "web.yaml")
    assert findings == []
    assert [(one.value, one.line) for one in documents] == [({"a": 1}, 1), ({"b": 2}, 3)]
    again, _ = read(documents[1].text.encode(), "web.yaml")
    assert again[0].value == {"b": 2}


def test_nothing_at_all() -> None:
    assert read(b"", "web.yaml") == ([], [])
    assert read(b"# just words\n", "web.yaml") == ([], [])


def test_places_of_keys_values_and_characters() -> None:
    text = "a:\n  é: [x, 'it', \"${b +}\"]\n  f: >\n    folded\n"
    document = read(text.encode(), "web.yaml")[0][0]
    assert (document.position(("a", "é"), key=True).line, document.position(("a", "é"), key=True).col) == (
        2,
        3,
    )
    quoted = document.position(("a", "é", 2))
    assert (quoted.line, quoted.col) == (2, 16)
    assert quoted.moved(5).col == 22
    assert document.position(("a", "é", 0)).moved(0).col == 7
    folded = document.position(("a", "f"))
    assert folded.moved(3) == folded
    assert document.position(("a", "missing", 7)) == document.position(("a",))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc é:#-{}[]$\"'", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
)


@given(PLAIN)
def test_json_means_the_same_in_yaml(plain: object) -> None:
    import json

    assert value(json.dumps({"x": plain}, ensure_ascii=False)) == {"x": plain}


@given(
    st.binary(max_size=200) | st.text("ab:- \n\t[]{}&*!|>'\"#%@`?,\r\0\ufeff", max_size=60).map(str.encode)
)
def test_no_bytes_make_the_reader_stumble(data: bytes) -> None:
    _, findings = read(data, "web.yaml")
    assert len(findings) <= 1
