"""A question's card: an outcome that nobody knows, with all that helps to find out. Pure, as `cards`.

Its buttons carry the question's id, and each asks once more before it counts. They are there only while
the question is open; afterwards the card says who settled it.
"""

from __future__ import annotations

from remediator.core.letters import plainly
from remediator.core.run import Question, Run, StepRun
from remediator.people.blocks import SECTION, Block, button, buttons, confirming, line_input, mrkdwn, section
from remediator.people.cards import MOST_REASON, Card, reading_line
from remediator.people.lettering import cut, escaped, linked, when

WORDS = {
    "happened": "It happened",
    "not-happened": "It did not happen",
    "handled": "I'll handle it",
}
_MEANS = {
    "happened": "The run goes on as if the answer had come.",
    "not-happened": "The step counts as refused. It is not sent again.",
    "handled": "The run ends, and the rest is yours. What stands for a time is still taken back.",
}
_SAID = {"happened": "it happened", "not-happened": "it did not happen", "handled": "took it over"}


def question_card(run: Run, question: Question, public_url: str) -> Card:
    """The card of one question of a run, as the run is now."""
    page = linked(public_url, run.id, f"the page of run {run.id}")
    asking = question.open and run.question == question
    title = cut(plainly(f"{'Did this happen?' if asking else 'Settled'}: {run.policy}"), 150)
    step = run.steps.get(question.step, StepRun(question.step))
    lines = [_asked(run, question, step), *_settled(question)]
    lines += [f"_{cut(escaped(remark), 300)}_" for remark in question.remarks]
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        section(cut(_sent(run, step), SECTION)),
        section(cut("\n".join(lines), SECTION)),
        *(_buttons(question, run) if asking else []),
        {"type": "context", "elements": [mrkdwn(page)]},
    ]
    text = cut(f"{escaped(title)} on {escaped(run.target)} ({escaped(step.name)})", SECTION)
    return Card(blocks, text)


def _sent(run: Run, step: StepRun) -> str:
    """What, where to, when, and what came back."""
    lines = [f"*{escaped(step.name)}* on *{escaped(run.target)}*"]
    if step.intention is not None:
        lines.append(f"*Sent* {cut(escaped(step.intention.summary), 1200)}")
        lines.append(f"*To* {escaped(step.intention.call.connection)}")
    if step.started_at is not None:
        again = f", {step.attempt} times in all" if step.attempt > 1 else ""
        lines.append(f"*Started* {when(step.started_at)}{again}")
    if step.error:
        lines.append(f"*Problem* {cut(escaped(step.error), 600)}")
    if step.proof is not None:
        lines.append(f"*Last look* {when(step.proof.at)}: {cut(reading_line(step.proof), 600)}")
    else:
        lines.append("*Last look* none: nothing that the policy reads can tell")
    return "\n".join(lines)


def _asked(run: Run, question: Question, step: StepRun) -> str:
    if not question.open or run.question != question:
        return f"*Asked* {when(question.asked_at)}"
    return (
        f"It is unknown whether *{escaped(step.name)}* happened. Look, then say so. "
        "Nothing is sent again, and no other run acts on this target until it is settled."
    )


def _settled(question: Question) -> list[str]:
    if question.by:
        why = f": {cut(escaped(question.reason), 300)}" if question.reason else ""
        said = _SAID.get(question.verdict, escaped(question.verdict))
        at = f" {when(question.at)}" if question.at is not None else ""
        return [f"• *{escaped(question.by)}*: {said}{at} by {escaped(question.via)}{why}"]
    return [cut(escaped(question.late), 600)] if question.late else []


def _buttons(question: Question, run: Run) -> list[Block]:
    about = f"{run.policy} on {run.target}: {question.step}"
    each = [
        confirming(button(words, verdict, question.id), f"{words}?", f"{cut(about, 180)}. {_MEANS[verdict]}")
        for verdict, words in WORDS.items()
    ]
    return [line_input("reason", "What you saw", MOST_REASON), buttons("question", *each)]
