"""A journal told in words: one sentence per line. A kind that is not known is shown plainly. Pure.

Whatever a line holds may be missing (erased for privacy) or strange; a sentence is made all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from remediator.core.counting import counted
from remediator.core.repeating import named
from remediator.core.steps import base_of
from remediator.ports import JournalEntry
from remediator.web.lettering import as_json, facts
from remediator.web.wording import moment, outcome

MOST_FACTS = 6


@dataclass(frozen=True)
class Told:
    """One line of the timeline."""

    entry: JournalEntry
    sentence: str
    tone: str

    @property
    def hash(self) -> str:
        """Enough of it to compare by eye."""
        return self.entry.hash[:8]

    @property
    def detail(self) -> str:
        """The line's data, whole."""
        return as_json(self.entry.data, indent=2) if self.entry.data else ""


class _Data:
    """A line's data, read without trust."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.raw = data

    def __getitem__(self, name: str) -> str:
        value = self.raw.get(name, "")
        return value if isinstance(value, str) else as_json(value)

    def names(self, name: str) -> str:
        """A list of names, as people write them."""
        value = self.raw.get(name)
        return ", ".join(str(one) for one in value) if isinstance(value, list | tuple) else self[name]

    def truth(self, name: str) -> bool:
        """Is it true, and nothing like it?"""
        return self.raw.get(name) is True

    def number(self, name: str) -> int:
        """A whole number; 0 for anything else."""
        value = self.raw.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else 0

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A map; empty for anything else."""
        value = self.raw.get(name)
        return value if isinstance(value, Mapping) else {}

    def value(self) -> str:
        """What a probe read, in a few facts."""
        found = facts(self.mapping("value"))
        told = ", ".join(f"{name} = {text[:80]}" for name, text in found[:MOST_FACTS])
        return f"{told}, …" if len(found) > MOST_FACTS else told

    def because(self, name: str = "reason") -> str:
        """``: reason``, or nothing."""
        return f": {self[name]}" if self[name] else ""


def _opened(data: _Data) -> str:
    labels = data.mapping("labels")
    by = {"alert": f"by alert {labels.get('alertname', '(no alertname)')}", "watch": "by its watch"}
    who = by.get(data["by"], f"by {data['by'].removeprefix('person:')}")
    until = data["stepped_down_until"]
    down = f", stepped down until {_time(until)}" if until else ""
    return f"Run opened {who} on {data['target']}, mode {data['mode']}{down}"


def _joined(data: _Data) -> str:
    labels = data.mapping("labels")
    return f"Alert {labels.get('alertname', data['fingerprint'])} joined the run"


def _firing(data: _Data) -> str:
    return f"Alert {data['fingerprint']} fires again"


def _resolved(data: _Data) -> str:
    over = "; with it all alerts of the run have resolved" if data.truth("all_resolved") else ""
    return f"Alert {data['fingerprint']} resolved{over}"


def _reading(data: _Data) -> str:
    if data.truth("ok"):
        return f"Probe {data['probe']} read {data.value() or 'nothing'}"
    return f"Probe {data['probe']} could not be read{data.because('error')}"


def _decided(data: _Data) -> str:
    case, steps = data.number("case") + 1, data.names("steps")
    if not steps:
        return f"Decided: case {case} holds, do nothing"
    return f"Decided: case {case} holds, {'try' if data.truth('rungs') else 'do'} {steps}"


def _would(data: _Data) -> str:
    if data["error"]:
        return f"Would do {data['step']}, but it cannot be resolved{data.because('error')}"
    return f"Would do {data['step']}: {data['summary']} ({data['risk']})"


def _foreseen(count: int) -> str:
    return f": it would change {counted(count, 'row')}" if count else ""


def _gate_opened(data: _Data) -> str:
    steps = data.raw.get("steps")
    names = (
        [str(one.get("step", "")) for one in steps if isinstance(one, dict)]
        if isinstance(steps, list)
        else []
    )
    votes = " and ".join(f"{count} of {role}" for role, count in data.mapping("votes").items())
    return f"Gate opened for {named(names)}: needs {votes}"


def _vote(data: _Data) -> str:
    word = "approved" if data.truth("approve") else "denied"
    return f"{data['by']} {word} by {data['via']}{data.because()}"


def _vote_refused(data: _Data) -> str:
    word = "approve" if data.truth("approve") else "deny"
    return f"{data['by']} wanted to {word}, which does not count{data.because()}"


def _before(data: _Data) -> str:
    if data.truth("ok"):
        return f"Before {data['step']}: {data.value() or 'nothing'}"
    return f"The reading before {data['step']} failed{data.because('error')}"


def _fresh(data: _Data) -> str:
    if data.truth("same"):
        return "Read again just before the act: nothing has changed"
    return f"Read again just before the act, and it has changed{data.because('change')}"


def _told(data: _Data) -> str:
    lines = data.raw.get("told")
    reached = "; ".join(str(one) for one in lines) if isinstance(lines, list) else ""
    return (
        f"Page told: {reached}" if reached else f"Page {data['page']} reached nobody{data.because('error')}"
    )


def _started(data: _Data) -> str:
    summary = data.mapping("intention").get("summary", "")
    told = f": {summary}" if summary else ""
    return f"Step {data['step']} started, attempt {data['attempt']}{told}"


def _finished(data: _Data) -> str:
    if data["result"] == "done":
        return f"Step {data['step']} done"
    return f"Step {data['step']} was {data['result']} by the world{data.because()}"


def _sent_again(data: _Data) -> str:
    return f"{_first_up(_which(data))} sent again, attempt {data['attempt']}{data.because('why')}"


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _which(data: _Data) -> str:
    """The step, or its undo."""
    return f"the undo of {data['step']}" if data.truth("undo") else f"step {data['step']}"


def _found_out(data: _Data) -> str:
    final = "it became final" if data["became"] == "final" else "nothing was changed"
    return f"Found out about {_which(data)}: {final}{data.because()}"


def _undone(data: _Data) -> str:
    if data["left"]:
        return f"The undo of {data['step']} is not whole{data.because('left')}"
    return f"Step {data['step']} undone"


def _proof(data: _Data) -> str:
    holds = "it holds" if data.truth("holds") else "not yet"
    return f"Proof of {_which(data)}: {holds} ({data.value() or data['error'] or 'nothing read'})"


def _still(data: _Data) -> str:
    if data["error"]:
        return f"Whether the undo of {data['step']} may be sent cannot be told{data.because('error')}"
    holds = "may be sent" if data.truth("holds") else "may not be sent any more"
    return f"The undo of {data['step']} {holds} ({data.value() or 'nothing read'})"


def _early(data: _Data) -> str:
    if data.truth("ends"):
        return f"The hold of {data['step']} ends early: {data['until']}"
    if data["error"]:
        return f"What may end the hold of {data['step']} cannot be told{data.because('error')}"
    holds = "it holds" if data.truth("holds") else "not yet"
    return f"What may end the hold of {data['step']}, {data['until']}: {holds}"


def _verified(data: _Data) -> str:
    lost = ", which settles its lost answer" if data.truth("settles_unknown") else ""
    return f"{_first_up(_which(data))} is proved to have worked{lost}"


def _holding(data: _Data) -> str:
    if data["left"]:
        return f"Still holding {data['left']}"
    owed = data.mapping("until")
    until = []
    for _, group in groupby(owed, base_of):
        steps = list(group)
        first = min((str(owed[step]) for step in steps), default="")
        until.append(f"{named(steps)} until {_time(first)}" + " or later" * (len(steps) > 1))
    return f"Holding {', '.join(until)}"


def _time(at: Any) -> str:
    try:
        return moment(datetime.fromisoformat(at))
    except (TypeError, ValueError):
        return "the alert resolves" if at == "resolved" else str(at)


def _settled(data: _Data) -> str:
    words = {"happened": "it happened", "not-happened": "it did not happen", "handled": "taken over"}
    return (
        f"{data['by']} says of {data['step']}: {words.get(data['verdict'], data['verdict'])}{data.because()}"
    )


def _stepped_down(data: _Data) -> str:
    return f"The policy is stepped down to {data['mode']} until {_time(data['until'])}{data.because('why')}"


_KINDS: dict[str, tuple[Callable[[_Data], str], str]] = {
    "opened": (_opened, "busy"),
    "joined": (_joined, "calm"),
    "firing": (_firing, "calm"),
    "resolved": (_resolved, "good"),
    "reading": (_reading, "calm"),
    "decided": (_decided, "busy"),
    "would": (_would, "calm"),
    "repeated": (
        lambda data: f"Step {data['step']} is repeated for {counted(data.number('items'), 'item')}",
        "calm",
    ),
    "skipped": (lambda data: f"Step {data['step']} skipped{data.because()}", "warn"),
    "previewed": (
        lambda data: f"Previewed {data['step']}{_foreseen(data.number('count'))}",
        "calm",
    ),
    "gate-opened": (_gate_opened, "warn"),
    "vote": (_vote, "busy"),
    "vote-refused": (_vote_refused, "warn"),
    "turned-away": (lambda data: f"{data['by']} clicked and was turned away{data.because()}", "warn"),
    "gate-approved": (lambda data: f"Gate approved by {data.names('by')}", "good"),
    "asked-again": (lambda data: f"Asking again, at the wish of {data['by']}: {data['answer']}", "busy"),
    "gate-expired": (lambda _: "Gate expired: nobody answered in time", "warn"),
    "gate-void": (lambda data: f"Gate void{data.because()}", "warn"),
    "before": (_before, "calm"),
    "fresh": (_fresh, "calm"),
    "started": (_started, "busy"),
    "finished": (_finished, "busy"),
    "unknown": (
        lambda data: f"It is unknown whether {_which(data)} happened{data.because()}",
        "bad",
    ),
    "marked": (lambda data: f"Marked before it becomes final: {_which(data)}", "calm"),
    "inquiring": (lambda data: f"Asking what became of {_which(data)}{data.because('why')}", "warn"),
    "found-out": (_found_out, "busy"),
    "sent-again": (_sent_again, "warn"),
    "proof": (_proof, "calm"),
    "verified": (_verified, "good"),
    "unverified": (
        lambda data: f"{_first_up(_which(data))} is not proved to have worked{data.because()}",
        "bad",
    ),
    "stepped-down": (_stepped_down, "bad"),
    "early": (_early, "calm"),
    "holding": (_holding, "calm"),
    "still": (_still, "calm"),
    "undo-waits": (lambda data: f"The undo of {data['step']} waits{data.because()}", "warn"),
    "undo-put-off": (lambda data: f"The undo of {data['left']} is put off{data.because()}", "warn"),
    "undo-needless": (lambda data: f"The undo of {data['step']} is not needed{data.because()}", "good"),
    "undo-started": (lambda data: f"Undo of {data['step']} started", "busy"),
    "undone": (_undone, "good"),
    "undo-failed": (lambda data: f"The undo of {data['step']} went wrong{data.because()}", "bad"),
    "asking": (lambda data: f"Asking people what became of {data['step']}{data.because()}", "bad"),
    "settled": (_settled, "busy"),
    "settle-refused": (
        lambda data: f"The word of {data['by']} on {data['step']} does not count{data.because()}",
        "warn",
    ),
    "settling": (
        lambda data: f"Whether {data['step']} happened can be told from {_time(data['until'])} on",
        "warn",
    ),
    "late-result": (
        lambda data: f"The lost answer about {_which(data)} came after all: {data['said']}",
        "warn",
    ),
    "paged": (lambda data: f"Paged: {data['text']}", "bad"),
    "told": (_told, "calm"),
    "acknowledged": (lambda data: f"{data['by']} acknowledged page {data['page']}{data.because()}", "busy"),
    "closed": (lambda data: f"Run closed, {data['outcome']}{data.because()}", "calm"),
}


def told(entry: JournalEntry) -> Told:
    """A journal's line, in words."""
    if set(entry.data) == {"erased"}:
        return Told(entry, f"{_title(entry.kind)} (its data was erased for privacy)", "calm")
    known = _KINDS.get(entry.kind)
    if known is None:
        rest = ", ".join(f"{name} = {text[:80]}" for name, text in facts(entry.data)[:MOST_FACTS])
        return Told(entry, f"{_title(entry.kind)}{': ' if rest else ''}{rest}", "calm")
    sentence, tone = known
    data = _Data(entry.data)
    if entry.kind == "closed":
        tone = outcome(data["outcome"]).tone
    if entry.kind == "finished" and data["result"] != "done":
        tone = "bad"
    if entry.kind == "undone" and data["left"]:
        tone = "bad"
    if entry.kind == "vote" and not data.truth("approve"):
        tone = "warn"
    if entry.kind == "fresh" and not data.truth("same"):
        tone = "warn"
    if entry.kind in ("reading", "before") and not data.truth("ok"):
        tone = "warn"
    return Told(entry, sentence(data), tone)


def _title(kind: str) -> str:
    return kind[:1].upper() + kind[1:].replace("-", " ")
