"""What is told of stories: a failure with expected and actual side by side, and what happened when."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from remediator.core.counting import counted
from remediator.core.expression import format_duration
from remediator.policyfiles.testing.expectations import spelled
from remediator.policyfiles.testing.scene import Failure
from remediator.policyfiles.testing.seen import Happening
from remediator.policyfiles.testing.teller import Told
from remediator.web import timeline

WIDTH = 100
SIDE = (WIDTH - 8) // 2
MOST_LINES = 40
"""Lines of a timeline; of a longer one the first and the last are told."""

QUIET = frozenset(
    {"labels", "hash", "version", "intention", "identity", "pictures", "readings", "head", "entries"}
)
"""What a timeline leaves out: too long, and no reader looks for it there."""


def failed(told: Told) -> str:
    """A story that went wrong, whole."""
    parts = [f"✗ {told.story.policy.policy.name}: {told.story.name}"]
    parts += ["\n".join(_failure(one)) for one in told.failures]
    parts.append("\n".join(["    What happened, since the start:", *_timeline(_about(told))]))
    return "\n\n".join(parts)


def _about(told: Told) -> list[Happening]:
    """The timeline: whole for the runs that failed to be as expected, in two lines for the others."""
    runs = {one.run for one in told.failures}
    brief = ("opened", "closed")
    return [one for one in told.seen.timeline if one.run in {0, *runs} or one.what in brief]


def _failure(failure: Failure) -> Iterator[str]:
    yield f"  {failure.where}: {failure.what}"
    yield f"    {'expected':<{SIDE}}  actual"
    left, right = (list(_wrapped(text)) for text in (failure.expected, failure.actual))
    for number in range(max(len(left), len(right))):
        one = left[number] if number < len(left) else ""
        other = right[number] if number < len(right) else ""
        yield f"    {one:<{SIDE}}  {other}".rstrip()


def _wrapped(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield from textwrap.wrap(line, SIDE, drop_whitespace=False, break_on_hyphens=False) or [""]


def _timeline(happenings: list[Happening]) -> Iterator[str]:
    lines = list(_lines(happenings, numbered=len({one.run for one in happenings if one.run}) > 1))
    left_out = len(lines) - MOST_LINES
    if left_out <= 0:
        yield from lines
        return
    yield from lines[: MOST_LINES // 2]
    yield f"      … {left_out} more lines …"
    yield from lines[-(MOST_LINES // 2) :]


def _lines(happenings: Iterable[Happening], *, numbered: bool) -> Iterator[str]:
    """A line for each; one for many that say the same, such as readings of a proof that does not hold."""
    for (run, sentence), group in groupby(
        ((one.run, said(one), one.after) for one in happenings), key=itemgetter(0, 1)
    ):
        times = [after for _, _, after in group]
        about = f"run {run}  " if numbered and run else ""
        again = f" ({len(times)} times, until {_clock(times[-1])})" if len(times) > 1 else ""
        yield f"    {_clock(times[0]):>9}  {_cut(about + sentence)}{again}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 2]} …"


def said(one: Happening) -> str:
    """A happening as a sentence: in short where there is one here, else as the web page says it."""
    words = (_SENTENCES if one.run else _OF_NO_RUN).get(one.what)
    if words is not None:
        return words(one.data)
    if one.entry is not None:
        sentence = timeline.told(one.entry).sentence
        return sentence[:1].lower() + sentence[1:]
    told = {key: value for key, value in one.data.items() if key not in QUIET and value not in ("", None)}
    return f"{one.what} {spelled(told)}" if told else one.what


def _opened(data: Mapping[str, Any]) -> str:
    return f"opened on {data['target']}, in mode {data['mode']}"


def _read(data: Mapping[str, Any]) -> str:
    name = data.get("probe") or f"{data.get('step')}.before"
    return f"{name} reads {_short(data['value'])}" if data.get("ok") else f"{name} fails: {data.get('error')}"


def _short(value: Mapping[str, Any]) -> str:
    """A reading without what it says twice."""
    if "row" in value:
        rows = value.get("rows") or []
        value = {"row": rows[0]} if len(rows) == 1 else {"rows": rows or "none"}
    elif "series" in value:
        value = {"value": value["value"]}
    return spelled({key: item for key, item in value.items() if key != "text"})


def _proof(data: Mapping[str, Any]) -> str:
    holds = "holds" if data.get("holds") else "does not hold"
    error = f": {data['error']}" if data.get("error") else f": {_short(data.get('value') or {})}"
    return f"{_of(data)}: the proof {holds}{error}"


def _of(data: Mapping[str, Any]) -> str:
    return f"the undo of {data['step']}" if data.get("undo") else str(data["step"])


def _decided(data: Mapping[str, Any]) -> str:
    steps = ", ".join(data["steps"]) or "do nothing"
    return f"case {data['case'] + 1} holds: {'try ' if data.get('rungs') else ''}{steps}"


def _asks(data: Mapping[str, Any]) -> str:
    votes = ", ".join(f"{count} of {role}" for role, count in data["votes"].items())
    return f"gate {data['gate']} asks {votes} for {', '.join(one['step'] for one in data['steps'])}"


def _vote(data: Mapping[str, Any]) -> str:
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"{data['by']} {'approves' if data['approve'] else 'denies'}{why}"


def _finished(data: Mapping[str, Any]) -> str:
    return f"{_of(data)} is {data['result']}" + (f": {data['reason']}" if data.get("reason") else "")


def _holds(data: Mapping[str, Any]) -> str:
    return f"still holds {data['left']}" if data.get("left") else f"holds {', '.join(data['until'])}"


def _why(words: str) -> Callable[[Mapping[str, Any]], str]:
    """``STEP words: reason``."""

    def sentence(data: Mapping[str, Any]) -> str:
        return f"{_of(data)} {words}" + (f": {data['reason']}" if data.get("reason") else "")

    return sentence


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "opened": _opened,
    "reading": _read,
    "before": _read,
    "decided": _decided,
    "repeated": lambda data: f"{data['step']} for {counted(data['items'], 'item')}",
    "previewed": lambda data: (
        f"{data['step']} would change {counted(data['count'], 'row')}"
        if data["count"]
        else f"{data['step']} is shown"
    ),
    "gate-opened": _asks,
    "vote": _vote,
    "vote-refused": lambda data: f"{data['by']}'s vote does not count: {data['reason']}",
    "gate-approved": lambda data: f"approved by {', '.join(data['by'])}",
    "gate-void": lambda data: f"void: {data['reason']}",
    "fresh": lambda data: f"looked again: {data['change'] or 'nothing has changed'}",
    "started": lambda data: f"{data['step']} starts",
    "marked": lambda data: f"{_of(data)} leaves its mark",
    "finished": _finished,
    "unknown": _why("may or may not have happened"),
    "proof": _proof,
    "verified": _why("is proved"),
    "unverified": _why("is not proved"),
    "undo-started": lambda data: f"the undo of {data['step']} starts",
    "undone": lambda data: f"{data['step']} is undone",
    "holding": _holds,
    "paged": lambda data: f"pages: {data['text']}",
    "closed": lambda data: f"closed as {data['outcome']}: {data['reason']}",
}


def _refused(data: Mapping[str, Any]) -> str:
    again = f"; again at {_clock(data['again'])}" if data.get("again") is not None else ""
    return f"refused by {data['bound']}: {data['reason']}{again}"


_OF_NO_RUN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "refused": _refused,
    "pages": lambda data: f"pages: {data['text']}",
}


def _clock(after: timedelta) -> str:
    return format_duration(after) if after else "0s"
