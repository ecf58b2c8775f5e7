"""Selectors as Alertmanager reads them, and an index that ten thousand policies do not slow down."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediator.core.matching import Index, Matcher, parse_selector
from remediator.errors import ExpressionError

M = tuple[str, str, str]


def read(text: str) -> list[M]:
    return [(one.name, one.op, one.value) for one in parse_selector(text).matchers]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the usual
        ('{alertname="X"}', [("alertname", "=", "X")]),
        ('{alertname="X", env=~"a|b"}', [("alertname", "=", "X"), ("env", "=~", "a|b")]),
        (
            '{a="x",b!="y",c=~"z",d!~"w"}',
            [("a", "=", "x"), ("b", "!=", "y"), ("c", "=~", "z"), ("d", "!~", "w")],
        ),
        ('{ a = "x" , b != "y" }', [("a", "=", "x"), ("b", "!=", "y")]),
        ('{a="x",}', [("a", "=", "x")]),
        ('{a="x" , }', [("a", "=", "x")]),
        ('  {a="x"}  ', [("a", "=", "x")]),
        ('{\n  a="x",\n  b="y"\n}', [("a", "=", "x"), ("b", "=", "y")]),
        # bare
        ("alertname=X", [("alertname", "=", "X")]),
        ('alertname="X"', [("alertname", "=", "X")]),
        ("alertname = X", [("alertname", "=", "X")]),
        ("a=x,b=y", [("a", "=", "x"), ("b", "=", "y")]),
        ("a=x, b!=y,", [("a", "=", "x"), ("b", "!=", "y")]),
        ("a=~x.*", [("a", "=~", "x.*")]),
        ("a=x|y", [("a", "=", "x|y")]),
        ("{a=x}", [("a", "=", "x")]),
        ("a=9", [("a", "=", "9")]),
        ("a=x-y_z.w:v/u", [("a", "=", "x-y_z.w:v/u")]),
        # UTF-8 names
        ('{"my label"="x"}', [("my label", "=", "x")]),
        ('"my label"=x', [("my label", "=", "x")]),
        ('{"my.label"=~"x", b="y"}', [("my.label", "=~", "x"), ("b", "=", "y")]),
        ("my.label=x", [("my.label", "=", "x")]),
        ("été=chaud", [("été", "=", "chaud")]),
        ('{"a\\"b"="x"}', [('a"b', "=", "x")]),
        ('{"\\u00e9"="x"}', [("é", "=", "x")]),
        ("😀=x", [("😀", "=", "x")]),
        # escapes
        ('{a="x\\"y"}', [("a", "=", 'x"y')]),
        ('{a="x\\\\y"}', [("a", "=", "x\\y")]),
        ('{a="x\\ny"}', [("a", "=", "x\ny")]),
        ('{a=~"\\\\d+"}', [("a", "=~", "\\d+")]),
        ('{a=~"\\d+"}', [("a", "=~", "\\d+")]),  # classic: a spurious backslash stands for itself
        ('{a=~"a\\.b"}', [("a", "=~", "a\\.b")]),
        # marks inside quotes
        ('{a="x,y"}', [("a", "=", "x,y")]),
        ('{a="}"}', [("a", "=", "}")]),
        ('{a="{x}"}', [("a", "=", "{x}")]),
        ('{a="b=c"}', [("a", "=", "b=c")]),
        ('{a=~"x{2,3}"}', [("a", "=~", "x{2,3}")]),
        ('{a="it\'s"}', [("a", "=", "it's")]),
        ('{a=" x "}', [("a", "=", " x ")]),
        # unquoted values of the classic grammar
        ("a=x y", [("a", "=", "x y")]),
        ("{a=~[a-c]{2}}", [("a", "=~", "[a-c]{2}")]),
        ("a=x=y", [("a", "=", "x=y")]),
        ("a=x!", [("a", "=", "x!")]),
        ("a:b=x", [("a:b", "=", "x")]),
        # empties beside something that must be there
        ('{a="x",b=""}', [("a", "=", "x"), ("b", "=", "")]),
        ('{a="x",b=~".*"}', [("a", "=", "x"), ("b", "=~", ".*")]),
        ('{a!=""}', [("a", "!=", "")]),
        ('{a=~".+"}', [("a", "=~", ".+")]),
        ('{a!~""}', [("a", "!~", "")]),
        ('a=x,b=""', [("a", "=", "x"), ("b", "=", "")]),
    ],
)
def test_a_selector_is_read_as_alertmanager_reads_it(text: str, expected: list[M]) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "every alert"),
        ("   ", "every alert"),
        ("{}", "every alert"),
        ('{a=""}', "every alert"),
        ('{a=~".*"}', "every alert"),
        ('{a=~"|x"}', "every alert"),
        ('{a!="x"}', "every alert"),
        ('{a!~"x",b=""}', "every alert"),
        ('{a="x"', "closing brace"),
        ('a="x"}', "}"),
        ('{a="x"}}', "follow"),
        ('{a="x"} b="y"', "follow"),
        ("a", "expected ="),
        ("=x", "label's name"),
        ('{a="x" b="y"}', "comma"),
        ("a=x,,b=y", "label's name"),
        (",a=x", "label's name"),
        ('{a="x}', "value"),
        ("a=~(", "RE2"),
        ('{a=~"(?=x)"}', "RE2"),
        ("a='x'", "'"),
        ("a==x", "value"),
        ('a=x"y', "comma"),
        ('{a="\\u00e9"}', "differently"),
        ('{a="\\x41"}', "differently"),
        ("a=" + "x" * 5000, "4096"),
        ("a=~[a-c]{2}", "comma"),  # Alertmanager would take the last brace away
        ("alertname is X", "expected ="),
        ("alertname: X", "expected ="),
    ],
)
def test_what_is_no_selector(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_selector(text)
    assert words in str(caught.value)
    assert 0 <= caught.value.offset <= len(text)


@pytest.mark.parametrize(
    ("op", "value", "labels", "holds"),
    [
        ("=", "x", {"a": "x"}, True),
        ("=", "x", {}, False),
        ("=", "", {}, True),
        ("!=", "x", {}, True),
        ("!=", "", {}, False),
        ("=~", "x", {"a": "xx"}, False),
        ("=~", "x|y", {"a": "y"}, True),
        ("=~", "x|", {}, True),
        ("=~", "x.", {"a": "x\n"}, False),
        ("=~", "(?i)X", {"a": "x"}, True),
        ("!~", "x|y", {"a": "z"}, True),
        ("!~", "x|y", {"a": "y"}, False),
        ("!~", ".+", {}, True),
        ("=~", "x.", {"a": "x\ud800"}, True),  # as Go reads it: a replacement character
        ("=~", "x", {"a": "x\ud800"}, False),
    ],
)
def test_when_a_matcher_holds(op: str, value: str, labels: dict[str, str], holds: bool) -> None:
    assert Matcher("a", op, value).holds(labels) is holds


def test_the_first_matcher_that_says_no_is_named() -> None:
    selector = parse_selector('{alertname="X", env=~"prod|staging", "my team"!="a"}')
    labels = {"alertname": "X", "env": "dev"}
    assert not selector.holds(labels)
    assert [str(one) for one in selector.noes(labels)] == ['env=~"prod|staging"']
    assert selector.noes({"alertname": "X", "env": "prod"}) == ()


@example([("a", "=", "x\ty")])
@example([("a", "=", "x\x15y"), ("b", "!=", "\\t")])
@given(
    st.lists(st.tuples(st.text(min_size=1), st.sampled_from(["=", "!="]), st.text()), min_size=1, max_size=3)
)
def test_what_a_selector_writes_it_reads_again(parts: list[M]) -> None:
    matchers = [Matcher(*part) for part in parts]
    text = "{" + ", ".join(map(str, matchers)) + "}"
    try:
        again = parse_selector(text)
    except ExpressionError as no:
        problem = no.problem
    else:
        assert list(again.matchers) == matchers
        return
    assert "every alert" in problem


@given(st.text(alphabet="ab{}=!~,\"' \\|(x", max_size=20))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    try:
        selector = parse_selector(text)
    except ExpressionError:
        return
    assert not selector.holds({})


# ── The index ───────────────────────────────────────────────────────────────────────────────────


def test_keys_come_in_the_order_they_were_put_in_and_once() -> None:
    index = Index.of(
        [
            ("third rule", [parse_selector('a=~"x.*"')]),
            ("both", [parse_selector("a=xy"), parse_selector("b=z")]),
            ("choice", [parse_selector('{b=~"y|z"}')]),
            ("other", [parse_selector("a=q")]),
        ]
    )
    assert index.find({"a": "xy", "b": "z"}) == ["third rule", "both", "choice"]
    assert index.find({"a": "q"}) == ["other"]
    assert index.find({}) == []


SELECTORS = st.sampled_from(
    [
        "a=x",
        "a=y,b!=z",
        '{a=~"x|y"}',
        '{a=~".+"}',
        '{a!="",b="z"}',
        "b=z,a=x",
        '{c!~""}',
        '{a=~"x|y",b=~"z|w"}',
    ]
)
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["x", "y", "z", "w", ""]))


@given(st.lists(st.lists(SELECTORS, max_size=3), max_size=8), LABELS)
def test_the_index_finds_what_asking_each_selector_finds(
    rules: list[list[str]], labels: dict[str, str]
) -> None:
    parsed = [(number, [parse_selector(text) for text in texts]) for number, texts in enumerate(rules)]
    wanted = [number for number, selectors in parsed if any(one.holds(labels) for one in selectors)]
    assert Index.of(parsed).find(labels) == wanted


def _per_alert(policies: int) -> float:
    index = Index.of(
        (number, [parse_selector(f'{{env=~"prod|staging", team="shop", alertname="X_{number}"}}')])
        for number in range(policies)
    )
    labels = [
        {"alertname": f"X_{n % policies}", "env": "prod", "team": "shop", "pod": "p"} for n in range(2000)
    ]
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        for one in labels:
            assert len(index.find(one)) == 1
        best = min(best, (time.process_time() - begun) / len(labels))
    return best


def test_ten_thousand_policies_cost_about_what_ten_do() -> None:
    assert _per_alert(10_000) < max(5 * _per_alert(10), 20e-6)
