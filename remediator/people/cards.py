"""A gate's card: what is asked of people, and then what became of it. Pure: from a Run to Slack's blocks.

The buttons are there only while the gate is open, and Approve only when everything that would be done
stands on the card whole, or rows that are too many for it in a file in its thread: nobody approves what
they were not shown. After that the card follows the run to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from remediator.core.canonical import digest
from remediator.core.expression import format_duration
from remediator.core.gate import not_again
from remediator.core.letters import plainly
from remediator.core.run import Gate, Intention, Reading, Run, Stage, StepRun, StepState
from remediator.people import previews
from remediator.people.blocks import (
    SECTION,
    Block,
    button,
    buttons,
    fitting,
    line_input,
    mrkdwn,
    preformatted,
    section,
)
from remediator.people.lettering import counted, cut, escaped, linked, spelled, when
from remediator.people.previews import Enclosure, Rows

MOST_ACTION_BLOCKS = 26
MOST_ACTION_CHARACTERS = 12_000
MOST_FACTS = 12
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
    actions, fits = _actions(gate)
    rows = Rows.of(run, gate)
    lacking = rows.lacking(enclosed, page) if fits else _not_whole(gate, page)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        section(_alert(run)),
        *_evidence(run, page),
        *previews.blocks(gate, page),
        *actions,
        *([section(lacking or rows.elsewhere)] if asking and (lacking or rows.elsewhere) else []),
        section(_people(gate, asking=asking)),
        *(_asking(gate, approvable=not lacking) if asking else [section(_progress(run, gate, page))]),
        *([] if gate.again or not_again(gate) else [buttons("again", again_button(gate.id))]),
        {"type": "context", "elements": [mrkdwn(page)]},
    ]
    what = ", ".join(gate.steps)
    text = cut(f"{escaped(title)} on {escaped(run.target)} ({escaped(what)})", SECTION)
    return Card(blocks, text, not lacking, rows.file if asking and fits else "")


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
        lines.append(cut(f"{escaped(name)}: {_reading(reading)}", 900))
    yield section(fitting(lines, page))


def _reading(reading: Reading) -> str:
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


def _actions(gate: Gate) -> tuple[list[Block], bool]:
    """Every step, whole, as text that nothing interprets; or as many steps as fit, and False."""
    blocks: list[Block] = []
    characters = 0
    for number, intention in enumerate(gate.intentions, start=1):
        text = _intention(number, intention)
        pieces = [preformatted(text[at : at + SECTION]) for at in range(0, len(text), SECTION)]
        characters += len(text)
        if len(blocks) + len(pieces) > MOST_ACTION_BLOCKS or characters > MOST_ACTION_CHARACTERS:
            return blocks, False
        blocks += pieces
    return blocks, True


def _intention(number: int, intention: Intention) -> str:
    call = intention.call
    what = f"{plainly(call.operation)} via {plainly(call.connection)} ({intention.risk})"
    lines = [f"{number}. {plainly(intention.step)}: {what}"]
    if intention.summary:
        lines.append(plainly(intention.summary))
    lines.append(spelled(call.shown, indent=2))
    if intention.verify is not None:
        proof = intention.verify
        lines.append(
            f"proved by {plainly(proof.operation)} via {plainly(proof.connection)}: {spelled(proof.shown)}"
        )
    lines.append(_undo(intention))
    return "\n".join(lines)


def _undo(intention: Intention) -> str:
    undo = intention.undo
    if undo is None:
        return "not taken back by itself"
    after = "" if undo.after_s is None else f" after {format_duration(timedelta(seconds=undo.after_s))}"
    early = f", earlier if {' or '.join(plainly(one) for one in undo.early)}" if undo.early else ""
    how = {"call": undo.call.operation, "args": undo.call.shown} if undo.call is not None else undo.source
    return f"taken back{after}{early}: {spelled(how)}"


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
    lines += [f"• {escaped(name)}: {_step(run.steps.get(name), agreed=agreed)}" for name in gate.steps]
    return fitting(lines, page)


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
