"""Selectors and the alerts that they take, as Alertmanager's newest release has it.

Each row: a selector, the alerts of `ALERTS` that it takes (by their letters; ``-`` in front: all but these;
REFUSED: it is no selector), and, where it differs, what Alertmanager 0.25 says. That release, which Debian
ships, knows the classic grammar alone. OURS marks what we refuse although Alertmanager would take it,
because nobody can mean it: a selector that takes every alert, and one that the two grammars read in two
ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALERTS: Mapping[str, Mapping[str, str]] = {
    "n": {"z": "z"},
    "e": {"a": "", "z": "z"},
    "r": {"b": "z"},
    "x": {"a": "x"},
    "y": {"a": "y"},
    "X": {"a": "X"},
    "u": {"a": "xy"},
    "9": {"a": "9"},
    "é": {"a": "é"},
    "l": {"a": "x\ny"},
    "t": {"a": "x\ty"},
    "q": {"a": 'x"y'},
    "k": {"a": "x\\y"},
    "c": {"a": "x,y"},
    "s": {"a": " x "},
    "S": {"a": "x y"},
    "d": {"a": "prod-1.2"},
    "D": {"a": "prod-1x2"},
    "m": {"a": "{x}"},
    "o": {"a": "b=c"},
    "p": {"a": "x|y"},
    "i": {"a": "it's"},
    "b": {"a": "x", "b": "z"},
    "w": {"a": "y", "b": "w"},
    "N": {"a": "x\\ny"},  # a backslash and an n
    "U": {"a": "\\u00e9"},  # six characters
    "A": {"alertname": "Disk", "env": "prod", "a": "z"},
    "B": {"alertname": "Disk", "env": "dev", "a": "z"},
}
"""Letter → labels. Classic names only, so that 0.25 takes them as well."""
MODERN: Mapping[str, Mapping[str, str]] = {
    "1": {"my label": "x"},
    "2": {"my.label": "x"},
    "3": {"été": "x"},
    "4": {'a"b': "x"},
    "5": {"😀": "x"},
    "6": {"a-b": "x"},
    "7": {"9a": "x"},
}
"""Alerts whose labels have names that only UTF-8 mode takes."""

REFUSED, OURS = "refused", "ours"


@dataclass(frozen=True)
class Row:
    """``takes``: letters, or REFUSED, or OURS. ``old``: the same of 0.25 where it differs."""

    text: str
    takes: str
    old: str | None = None

    @property
    def refused(self) -> bool:
        """Do we take it for no selector?"""
        return self.takes in (REFUSED, OURS)

    @property
    def alerts(self) -> frozenset[str]:
        """The letters of the alerts that it takes."""
        return letters(self.takes)

    @property
    def refused_before(self) -> bool:
        """Does 0.25 take it for no selector?"""
        return (self.takes if self.old is None else self.old) == REFUSED

    @property
    def alerts_before(self) -> frozenset[str]:
        """The letters that 0.25 takes, of those alerts that it can hold."""
        return letters(self.takes if self.old is None else self.old) & ALERTS.keys()


def letters(told: str) -> frozenset[str]:
    """``xb``: these; ``-xb``: all but these."""
    every = frozenset([*ALERTS, *MODERN])
    return every - frozenset(told[1:]) if told.startswith("-") else frozenset(told)


NONE = "ner1234567"  # alerts without a label a, or with an empty one
X = "xb"
CLASSIC_ONLY = REFUSED  # of 0.25, which reads no quoted names, and no blanks around braces

ROWS: tuple[Row, ...] = (
    # equality, and the ways of writing it
    Row("a=x", X),
    Row('a="x"', X),
    Row("{a=x}", X),
    Row('{a="x"}', X),
    Row('{a="x",}', X),
    Row('{a="x" ,}', X),
    Row('{a="x", }', X),
    Row("a=x,", X),
    Row('a="x",', X),
    Row("a = x", X),
    Row("a= x", X),
    Row("a =x", X),
    Row('a = "x"', X),
    Row('{ a = "x" }', X),
    Row(' {a="x"} ', X, CLASSIC_ONLY),
    Row('\t{\ta\t=\t"x"\t}\t', X, CLASSIC_ONLY),
    Row('{\n  a="x"\n}', X),
    Row('\n{a="x"}\n', X, CLASSIC_ONLY),
    Row('{a\n=\n"x"}', X),
    Row("a=y", "yw"),
    Row("a=xy", "u"),
    Row("a=X", "X"),
    Row('a="X"', "X"),
    Row("a=9", "9"),
    Row("a=é", "é"),
    Row('a="é"', "é"),
    Row("a=prod-1.2", "d"),
    Row('a="prod-1.2"', "d"),
    Row("b=z", "rb"),
    Row("z=z", "ne"),
    Row("A=x", ""),
    Row("nosuch=x", ""),
    Row('a=" x "', "s"),
    Row('a="x "', ""),
    Row("a= x ", X),
    Row('a="x y"', "S"),
    Row("a=x y", "S"),
    Row('a="x,y"', "c"),
    Row('a="{x}"', "m"),
    Row('{a="{x}"}', "m"),
    Row('a="b=c"', "o"),
    Row("a=b=c", "o"),
    Row('a="x|y"', "p"),
    Row("a=x|y", "p"),
    Row('a="it\'s"', "i"),
    Row("a=it's", "i"),
    Row('alertname="Disk"', "AB"),
    Row("alertname=Disk", "AB"),
    # negation: a label that is missing is an empty one, and differs from every value
    Row('b!="z",a="x"', "x"),
    Row('a!="x",b="z"', "r"),
    Row('a!="x",a="y"', "yw"),
    Row('a!="y",a="y"', ""),
    Row('a!=""', f"-{NONE}"),
    Row("a!=,b=z", "b"),
    Row('a!="",b!="z",a="x"', "x"),
    Row('a!="x",a!=""', f"-{NONE}{X}"),
    Row('nosuch!="q",a="x"', X),
    Row('nosuch!="",a="x"', ""),
    Row("a != y, a=x", X),
    Row('{alertname="Disk",env!="prod"}', "B"),
    Row('{alertname="Disk",env!="dev",env!="prod"}', ""),
    Row('{alertname!="Disk",b="z"}', "rb"),
    Row('a!="x"', OURS, f"-{X}"),
    Row('a!="x",b!="z"', OURS, f"-{X}r"),
    Row("nosuch!=x", OURS, "-"),
    # empty and missing
    Row('a=""', OURS, NONE),
    Row("a=", OURS, NONE),
    Row('a="",b="z"', "r"),
    Row("a=,b=z", "r"),
    Row('b="",a="x"', "x"),
    Row('z="z",a=""', "ne"),
    Row('nosuch="",a="x"', X),
    Row("{}", OURS, "-"),
    Row("", OURS, "-"),
    Row("  ", OURS, "-"),
    Row("{ }", OURS, "-"),
    Row('a=~""', OURS, NONE),
    Row('a=~"",b="z"', "r"),
    Row('a!~""', f"-{NONE}"),
    Row('a!~".+",b="z"', "r"),
    Row('a=~".+",b="z"', "b"),
    Row('a=~".*",b="z"', "rb"),
    Row('a=~".*"', OURS, "-l"),
    Row('a=~"x?"', OURS, NONE + X),
    Row('a=~"x|"', OURS, NONE + X),
    Row('a=~"|x",b="z"', "rb"),
    Row('a=~"x?",b="z"', "rb"),
    Row('a!~"x",b="z"', "r"),
    Row('a!~"x"', OURS, f"-{X}"),
    Row('a!~"x|"', f"-{NONE}{X}"),
    # regular expressions are anchored at both ends
    Row("a=~x", X),
    Row('a=~"x"', X),
    Row('{a=~"x"}', X),
    Row('a=~"x."', "u"),
    Row('a=~".x"', ""),
    Row('a=~"x.*"', "xbuqkctSpN"),
    Row('a=~"x.y"', "qkctSp"),
    Row('a=~"(?s)x.y"', "qkctSpl"),
    Row('a=~"(?s:.)*x"', X),
    Row('a=~".*x.*"', "xbuqkctSpNsmD"),
    Row('a=~"^x$"', X),
    Row('a=~"^x"', X),
    Row('a=~"x$"', X),
    Row('a=~"x$|y"', "xbyw"),
    Row('a=~"^(x|y)$"', "xbyw"),
    Row('a=~"x|y"', "xbyw"),
    Row("a=~x|y", "xbyw"),
    Row('a=~"(x|y)"', "xbyw"),
    Row('a=~"(?:x|y)"', "xbyw"),
    Row('a=~"(?P<one>x)"', X),
    Row('a=~"x|y|xy"', "xbywu"),
    Row('a=~"xy|x"', "xbu"),
    Row('a=~"x(y)?"', "xbu"),
    Row('a=~"x+"', X),
    Row('a=~"[xy]"', "xbyw"),
    Row('a=~"[^x]"', "ywX9éAB"),
    Row('a=~"[x-z]"', "xbywAB"),
    Row('a=~"[[:alpha:]]"', "xbywXAB"),
    Row('a=~"."', "xbywX9éAB"),
    Row('a=~".{1}"', "xbywX9éAB"),
    Row('a=~".{2}"', "u"),
    Row('a=~"x{1,2}y"', "u"),
    Row("{a=~.{2}}", "u"),
    Row('a=~"(?i)x"', "xbX"),
    Row('a=~"(?i:x)y?"', "xbXu"),
    Row('a=~"(?i)é"', "é"),
    Row('a=~"É"', ""),
    Row('a=~"(?i)É"', "é"),
    Row('a=~"prod.*"', "dD"),
    Row("a=~prod.*", "dD"),
    Row('a=~"prod-1.2"', "dD"),
    Row('a=~"prod"', ""),
    Row('a=~".*1.*"', "dD"),
    Row('a=~"x|prod.*"', "xbdD"),
    Row('alertname=~"Disk|Memory"', "AB"),
    Row('alertname=~"Di"', ""),
    Row('alertname=~"Di.+",env=~"prod|staging"', "A"),
    Row('alertname=~"Di.+",env!~"prod|staging"', "B"),
    Row('a!~"x|y",a!=""', f"-{NONE}xbyw"),
    Row('a!~".*",b="z"', ""),
    Row('a!~"x.*",a=~".+"', "yX9ésdDmoiwUAB"),
    Row('a=~"x",a!~"y"', X),
    Row('a=~"x",b!~"z"', "x"),
    Row('a=~"x",b=~"z"', "b"),
    Row('a=~"x",b!~".+"', "x"),
    Row("a =~ x", X),
    Row('a=~ "x"', X),
    Row("a !~ x, b=z", "r"),
    # escapes: what both grammars know
    Row(r'a="x\"y"', "q"),
    Row(r'a="x\\y"', "k"),
    Row(r'a="x\ny"', "l"),
    Row(r'a="x\\ny"', "N"),
    Row(r'a=~"x\\\\y"', "k"),
    Row(r'a=~"x\\ny"', "l"),
    Row(r'a=~"x\ny"', "l"),
    Row(r'a=~"\\d"', "9"),
    Row(r'a=~"\\w"', "xbywX9AB"),
    Row(r'a=~"\\w+"', "xbywX9uAB"),
    Row(r'a=~"x\\sy"', "ltS"),
    Row(r'a=~"\\S"', "xbywX9éAB"),
    Row(r'a=~"\\p{L}"', "xbywXéAB"),
    Row(r'a=~"\\p{Lu}"', "X"),
    Row(r'a=~"\\Qx|y\\E"', "p"),
    Row(r'a=~"x\\|y"', "p"),
    Row(r'a=~"x[|]y"', "p"),
    Row(r'a=~"prod-1\\.2"', "d"),
    Row(r'a=~"\\Ax\\z"', X),
    Row(r'a=~"\\bx\\b"', X),
    Row(r'a=~"\\x78"', X),
    Row(r'a=~"\\x{e9}"', "é"),
    Row(r'a=~"x\\ty"', "t"),
    # escapes that only the classic grammar lets stand for themselves
    Row(r'a=~"\d"', "9"),
    Row(r'a=~"\w+"', "xbywX9uAB"),
    Row(r'a=~"prod-1\.2"', "d"),
    Row(r'a=~"x\|y"', "p"),
    Row(r'a=~"\p{Lu}"', "X"),
    Row(r"a=~\d", "9"),
    Row(r"a=~prod-1\.2", "d"),
    Row(r"a=x\\y", "k"),
    Row(r"a=x\ny", "l"),
    # escapes that the two grammars read in two ways
    Row(r'a="\u00e9"', OURS, "U"),
    Row(r'a="x\ty"', OURS, ""),
    Row(r'a="\x78"', OURS, ""),
    Row(r'a=~"\bx\b"', OURS, X),
    Row(r'a=~"\x78"', OURS, X),
    Row(r'a=~"x\ty"', OURS, "t"),
    # several matchers: all must hold
    Row("a=x,b=z", "b"),
    Row('a="x",b="z"', "b"),
    Row('{a="x",b="z"}', "b"),
    Row('{a="x",b="z",}', "b"),
    Row('{ a="x" , b="z" , }', "b"),
    Row("a=x, b=z", "b"),
    Row("a=x ,b=z", "b"),
    Row('a="x", b=z', "b"),
    Row("b=z,a=x", "b"),
    Row("a=x,a=x", X),
    Row("a=x,a=y", ""),
    Row("a=x,b=w", ""),
    Row("a=y,b=w", "w"),
    Row('a="x",b=~"z|w"', "b"),
    Row('a=~"x|y",b=~"z|w"', "bw"),
    Row('a=~"x|y",b=""', "xy"),
    Row('alertname="Disk",env="prod",a="z"', "A"),
    # names of the classic grammar
    Row("a_b=x", ""),
    Row("_=x", ""),
    Row("a1=x", ""),
    Row("a:b=x", ""),
    Row(":=x", ""),
    Row("__name__=x", ""),
    # names in UTF-8: quoted, or bare where no character of them is reserved
    Row('"a"="x"', X, CLASSIC_ONLY),
    Row('{"a"="x"}', X, CLASSIC_ONLY),
    Row('{"a"=x}', X, CLASSIC_ONLY),
    Row('{ "a" = "x" , "b" = "z" }', "b", CLASSIC_ONLY),
    Row('{"my label"="x"}', "1", CLASSIC_ONLY),
    Row('"my label"=x', "1", CLASSIC_ONLY),
    Row('{"my label"=~"x|y"}', "1", CLASSIC_ONLY),
    Row('{"my label"!="",a=""}', "1", CLASSIC_ONLY),
    Row('{"my label"!="x",a="x"}', X, CLASSIC_ONLY),
    Row("my label=x", REFUSED),
    Row("my.label=x", "2", CLASSIC_ONLY),
    Row('"my.label"=x', "2", CLASSIC_ONLY),
    Row("{my.label=x}", "2", CLASSIC_ONLY),
    Row("été=x", "3", CLASSIC_ONLY),
    Row('"été"=x', "3", CLASSIC_ONLY),
    Row(r'{"\u00e9t\u00e9"="x"}', "3", CLASSIC_ONLY),
    Row('{"a\\"b"="x"}', "4", CLASSIC_ONLY),
    Row("😀=x", "5", CLASSIC_ONLY),
    Row(r'{"\U0001F600"="x"}', "5", CLASSIC_ONLY),
    Row("a-b=x", "6", CLASSIC_ONLY),
    Row('{"a-b"="x",a!="x"}', "6", CLASSIC_ONLY),
    Row("9a=x", "7", CLASSIC_ONLY),
    Row("1=x", "", CLASSIC_ONLY),
    Row('{"my label"=x,été=x}', "", CLASSIC_ONLY),
    # what is no selector
    Row("a", REFUSED),
    Row("{a}", REFUSED),
    Row('"a"', REFUSED),
    Row("=x", REFUSED),
    Row('{="x"}', REFUSED),
    Row("a x", REFUSED),
    Row("a: x", REFUSED),
    Row("a is x", REFUSED),
    Row('{a="x"', OURS, X),
    Row('a="x"}', OURS, X),
    Row('{a="x', REFUSED),
    Row('a="x', REFUSED),
    Row('a=x"', REFUSED),
    Row('a=x"y', REFUSED),
    Row('a="x"y', REFUSED),
    Row('a="x"y"', REFUSED),
    Row('{a="x" b="z"}', REFUSED),
    Row("a~x", REFUSED),
    Row("a~=x", REFUSED),
    Row("a!x", REFUSED),
    Row("a<x", REFUSED),
    Row(",a=x", REFUSED),
    Row("a=x,,b=z", REFUSED),
    Row("{,}", REFUSED),
    Row(",", REFUSED),
    Row("a=~(", REFUSED),
    Row('a=~"("', REFUSED),
    Row('a=~"x)"', REFUSED),
    Row('a=~"["', REFUSED),
    Row('a=~"*"', REFUSED),
    Row('a=~"x{2,1}"', REFUSED),
    Row('a=~"(?=x)"', REFUSED),
    Row('a=~"(?!x)"', REFUSED),
    Row('a=~"(?<!x)y"', REFUSED),
    Row(r'a=~"(x)\\1"', REFUSED),
    Row('a=~"x++"', REFUSED),
    Row(r'a=~"\\Qx"', REFUSED),
    Row('a!~"("', REFUSED),
    Row(r'a="x\"', REFUSED),
    Row('{"a="x"}', REFUSED),
    Row('{""x"="y"}', REFUSED),
    Row("'a'=x", REFUSED),
    Row("a b=x", REFUSED),
)  # fmt: skip
