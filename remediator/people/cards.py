"""A gate's card: what is asked of people, and then what became of it. Pure: from a Run to Slack's blocks.

The buttons are there only while the gate is open, and Approve only when everything that would be done
stands on the card whole, or items and rows that are too many for it in a file in its thread: nobody
approves what they were not shown. After that the card follows the run to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from remediator.core.canonical import digest
from remediator.core.counting import counted
from remediator.core.evidence import Reading
from remediator.core.gate import not_again
from remediator.core.letters import plainly
from remediator.core.repeating import named
from remediator.core.run import Gate, Run, Stage, StepRun, StepState
from remediator.core.steps import base_of
from remediator.people import previews
from remediator.people.blocks import (
    SECTION,
    Block,
    button,
    buttons,
    fitting,
    line_input,
    mrkdwn,
    section,
)
from remediator.people.lettering import cut, escaped, linked, spelled, when
from remediator.people.plans import Plan
from remediator.people.previews import Enclosure, Rows

MOST_FACTS = 12
MOST_WRONG = 5
"""Items of one list that went wrong and are told one by one."""
MOST_REASON = 500
"""Characters of the line in which a person may say why."""

_TITLES = {
    "open": "Approval needed",
    "approved": "Approved",
    "denied": "Denied",
    "expired": "Nobody answered in time",
    "void": "No longer valid",
}


@dataclass(frozen=True)
class Card:
    """What Slack is given. ``whole``: everything that would be done is shown.

    file: what must stand in the card's thread before anybody can approve on it; "" where nothing must.
    """

    blocks: list[Block]
    text: str
    whole: bool = True
    file: str = ""

    @property
    def digest(self) -> str:
        """The same card has the same digest, so that it is not sent again."""
        return digest([self.blocks, self.text])


_NOT_YET = Enclosure()


def gate_card(run: Run, gate: Gate, public_url: str, enclosed: Enclosure = _NOT_YET) -> Card:
    """The card of one gate of a run, as the run is now. ``enclosed``: see `Card.file`."""
    page = linked(public_url, run.id, f"the page of run {run.id}")
    title = cut(plainly(f"{_TITLES[gate.state]}: {run.policy}"), 150)
    asking = gate.state == "open" and run.stage is not Stage.CLOSED
    plan, rows = Plan.of(gate), Rows.of(gate)
    lacking = rows.lacking(enclosed, page, plan.items) if plan.fits else _not_whole(gate, page)
    elsewhere = rows.elsewhere(plan.items)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        section(_alert(run)),
        *_evidence(run, page),
        *previews.blocks(gate, page),
        *plan.blocks,
        *([section(lacking or elsewhere)] if asking and (lacking or elsewhere) else []),
        section(_people(gate, asking=asking)),
        *(_asking(gate, approvable=not lacking) if asking else [section(_progress(run, gate, page))]),
        *([] if gate.again or not_again(gate) else [buttons("again", again_button(gate.id))]),
        {"type": "context", "elements": [mrkdwn(page)]},
    ]
    what = named(gate.steps)
    text = cut(f"{escaped(title)} on {escaped(run.target)} ({escaped(what)})", SECTION)
    file = previews.file(run, gate, [plan.listed, *rows.listed]) if asking and plan.fits else ""
    return Card(blocks, text, not lacking, file)


# ── What is the matter ────────────────────────────────────────────────────────────────────────────


def _alert(run: Run) -> str:
    alert = run.alert
    severity = f" · {escaped(alert.labels['severity'])}" if alert.labels.get("severity") else ""
    lines = [cut(f"*{escaped(alert.name)}*{severity} · on *{escaped(run.target)}*", 600)]
    told = alert.annotations.get("summary") or alert.annotations.get("description")
    if told and not run.starter:
        lines.append(cut(escaped(told, lines=True), 1200))
    others = sum(one != alert.fingerprint for one in run.members)
    more = f" · and {counted(others, 'more alert')}" if others else ""
    since = f"started by {escaped(run.starter)}" if run.starter else "firing since"
    over = f" · *resolved* {when(run.resolved_at)}" if run.resolved_at is not None else ""
    lines.append(f"{since} {when(alert.starts_at)}{more}{over}")
    if run.down_until is not None:
        lines.append(f"the policy has failed too often: in mode {run.mode} until {when(run.down_until)}")
    return "\n".join(lines)


def _evidence(run: Run, page: str) -> Iterator[Block]:
    if not run.evidence:
        return
    lines = ["*Evidence*"]
    for name, reading in run.evidence.items():
        lines.append(cut(f"{escaped(name)}: {reading_line(reading)}", 900))
    yield section(fitting(lines, page))


def reading_line(reading: Reading) -> str:
    """What a probe read, in one line."""
    if not reading.ok:
        return f"could not be read: {escaped(reading.error)}"
    value = reading.shown
    if "row" in value:  # a query: its first row and how many there are say it all
        value = {"row": value["row"], "count": value.get("count")}
    elif value.get("value") is not None:  # one series
        value = {"value": value["value"]}
    elif value.get("json") is not None:
        value = {name: item for name, item in value.items() if name != "text"}  # the same, unread
    facts = list(_facts("", value))
    shown = " · ".join(f"{escaped(name)} = {cut(escaped(fact), 120)}" for name, fact in facts[:MOST_FACTS])
    return shown + (f" · … {len(facts) - MOST_FACTS} more" if len(facts) > MOST_FACTS else "")


def _facts(name: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """A nested value as ``row.name`` → ``Teranga``."""
    if isinstance(value, Mapping) and value and depth < 3:
        for key, item in value.items():
            yield from _facts(f"{name}.{key}" if name else str(key), item, depth + 1)
    elif isinstance(value, list | tuple) and len(value) > 3:
        yield name, f"[{counted(len(value), 'item')}]"
    else:
        yield name, value if isinstance(value, str) else spelled(value)


# ── What would be done ────────────────────────────────────────────────────────────────────────────


def _not_whole(gate: Gate, page: str) -> str:
    steps = counted(len(gate.intentions), "step")
    return (
        f"*This card is too small for the {steps}, so nobody can approve here.* Read and approve on {page}."
    )


# ── Who, until when, and what came of it ──────────────────────────────────────────────────────────


def _people(gate: Gate, *, asking: bool) -> str:
    needs = " and ".join(f"{count} of {escaped(role)}" for role, count in gate.required.items())
    distinct = ", different people" if sum(gate.required.values()) > 1 else ""
    lines = [f"*Needs* {needs}{distinct}"]
    if asking:
        then = "a person is paged" if gate.late == "page" else "it counts as denied"
        lines.append(f"until {when(gate.expires_at)}, then {then}")
    elif gate.note:
        lines.append(cut(escaped(gate.note), 600))
    for vote in gate.votes:
        word = "approved" if vote.approve else "denied"
        why = f": {cut(escaped(vote.reason), 300)}" if vote.reason else ""
        lines.append(f"• {escaped(vote.by)} {word} {when(vote.at)} by {escaped(vote.via)}{why}")
    lines += [f"_{cut(escaped(remark), 300)}_" for remark in gate.remarks]
    return cut("\n".join(lines), SECTION)


def _asking(gate: Gate, *, approvable: bool) -> list[Block]:
    value = f"{gate.id}:{gate.hash[:16]}"
    approve = [button("Approve", "approve", value, style="primary")] if approvable else []
    deny = button("Deny", "deny", value, style="danger")
    return [line_input("reason", "Reason (for a denial)", MOST_REASON), buttons("gate", *approve, deny)]


def again_button(gate: str) -> Block:
    """For whatever tells that this gate expired."""
    return button("Ask again", "again", gate)


def _progress(run: Run, gate: Gate, page: str) -> str:
    agreed = gate.state == "approved"
    lines = [
        f"*Outcome: {run.outcome}* · {cut(escaped(run.reason), 600)}" if run.outcome else f"*Now {run.stage}*"
    ]
    for base, group in groupby(gate.steps, base_of):
        names = list(group)
        if names == [base]:
            lines.append(f"• {escaped(base)}: {_step(run.steps.get(base), agreed=agreed)}")
        else:
            lines += _items(run, names, agreed=agreed)
    return fitting(lines, page)


def _items(run: Run, names: list[str], *, agreed: bool) -> Iterator[str]:
    """A list as a whole, and the first of its items that went wrong."""
    steps = [run.steps.get(name, StepRun(name)) for name in names]
    words = Counter(_ITEMS[one.state] or ("next" if agreed else "not started") for one in steps)
    told = ", ".join(f"{count} {word}" for word, count in words.items())
    until = [one.undo_at for one in steps if one.owes_undo and one.undo_at is not None]
    stands = f"; {len(until)} stand, the first until {when(min(until))}" if until else ""
    yield f"• {escaped(named(names))}: {told}{stands}"
    wrong = [one for one in steps if one.undo_error or one.undo_late or one.state in _WRONG]
    for one in wrong[:MOST_WRONG]:
        yield f"• {escaped(one.name)}: {_step(one, agreed=agreed)}"
    if len(wrong) > MOST_WRONG:
        yield f"… {len(wrong) - MOST_WRONG} more of them"


_ITEMS = {
    StepState.PLANNED: "",
    StepState.STARTED: "started",
    StepState.DONE: "done",
    StepState.VERIFIED: "proved",
    StepState.UNVERIFIED: "not proved",
    StepState.REFUSED: "refused",
    StepState.UNKNOWN: "unknown",
    StepState.UNDONE: "taken back",
}
_WRONG = (StepState.UNVERIFIED, StepState.REFUSED, StepState.UNKNOWN)


def _step(step: StepRun | None, *, agreed: bool) -> str:
    if step is None or step.state is StepState.PLANNED:
        return "next" if agreed else "not started"
    error = f": {cut(escaped(step.error), 300)}" if step.error else ""
    at = f" {when(step.started_at)}" if step.started_at is not None else ""
    words = {
        StepState.STARTED: f"started{at}",
        StepState.DONE: f"done{at}",
        StepState.VERIFIED: f"done{at}, and proved to have worked",
        StepState.UNVERIFIED: f"done{at}, not proved to have worked{error}",
        StepState.REFUSED: f"refused{error}",
        StepState.UNKNOWN: f"outcome unknown{error}",
        StepState.UNDONE: f"done{at}, and taken back",
    }
    return words[step.state] + _hold(step)


def _hold(step: StepRun) -> str:
    if step.undo_error:
        return f"; not wholly taken back: {cut(escaped(step.undo_error), 300)}"
    if not step.owes_undo:
        return ""
    late = ", which is overdue: a person was paged" if step.undo_late else ""
    return f"; stands until {when(step.undo_at)}{late}" if step.undo_at is not None else ""
