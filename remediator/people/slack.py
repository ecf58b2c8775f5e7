"""The Slack road: gates' cards and pages, in the channel of the config."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from remediator.config import Person
from remediator.config import Slack as SlackApp
from remediator.core.cutting import words
from remediator.core.run import Gate, Page, Question, Run
from remediator.errors import ConnectorError
from remediator.people.blocks import Block, button, buttons, mrkdwn, section
from remediator.people.calling import WITHIN, Answer, SlackCalls
from remediator.people.cards import Card, again_button, gate_card
from remediator.people.enclosing import LOST, enclose
from remediator.people.lettering import cut, escaped, linked
from remediator.people.previews import Enclosure
from remediator.people.questions import question_card
from remediator.ports import CardRef, Told

log = logging.getLogger(__name__)

MOST_LINES = 20
"""Lines of one announcement."""
MOST_DRAWINGS = 8
"""Times that one card is drawn before it is given up: posted, its file attached, and shown to be."""

_GONE = frozenset({"message_not_found", "cant_update_message", "channel_not_found", "edit_window_closed"})
_MESSAGE = ("channel", "ts")


class SlackRoad:
    """A Notifier: cards and pages in one channel."""

    road = "slack"

    def __init__(self, app: SlackApp, public_url: str, people: Mapping[str, Person]) -> None:
        self._app = app
        self._public_url = public_url.rstrip("/")
        self._people = people
        self._slack = SlackCalls(app)
        self._posted: dict[str, CardRef] = {}  # gate → its card, until the caller could keep it
        self._unenclosed: dict[str, str] = {}  # gate → why its file is not there

    async def card(self, run: Run, ref: CardRef | None) -> CardRef | None:
        """Post the card of the run's gate, or update the one that ``ref`` names.

        None: the run has no such gate. Raises ConnectorError when the card could not be shown as the
        run is now: call again, with the same ref.

        A card that needs a file in its thread is posted first, and can be approved only afterwards.
        """
        gate = _gate_of(run, ref)
        if gate is None:
            return ref
        ref, tried = self._posted.get(gate.id, ref), False
        for _ in range(MOST_DRAWINGS):
            card = gate_card(run, gate, self._public_url, self._enclosure(gate, ref))
            if ref is None or ref.digest != card.digest:
                ref = await self._show(gate, card, ref)
            elif card.file and not ref.attached and not tried:
                ref, tried = await self._enclose(gate, card, ref), True
            else:
                break
            if ref is not None:
                self._posted[gate.id] = ref
        if ref is None:
            raise ConnectorError("slack", f"the card of gate {gate.id} goes whenever it is shown")
        self._posted.pop(gate.id, None)
        if gate.state != "open":
            self._unenclosed.pop(gate.id, None)
        return ref

    async def question(self, run: Run, question: Question, ref: CardRef | None) -> CardRef | None:
        """The same for what people are asked about an unknown outcome."""
        ref = self._posted.get(question.id, ref)
        card = question_card(run, question, self._public_url)
        for _ in range(2):  # a message that is gone is posted anew
            if ref is not None and ref.digest == card.digest:
                break
            ref = await self._show(question, card, ref)
        if ref is None:
            raise ConnectorError("slack", f"the card of question {question.id} goes whenever it is shown")
        return ref

    async def withdraw(self, ref: CardRef) -> None:
        """Its buttons go; a line stays, so that nobody wonders."""
        text = "This card was posted twice; the other one counts."
        content = {"text": text, "blocks": [section(text)]}
        answer = await self._slack.call("chat_update", {"channel": ref.channel, "ts": ref.ts, **content})
        if answer.error:
            log.warning("a second card stays", extra={"gate": ref.gate, "problem": answer.error})

    def _enclosure(self, gate: Gate, ref: CardRef | None) -> Enclosure:
        if ref is not None and ref.attached == LOST:
            return Enclosure(problem="Slack did not say whether it arrived")
        delivered = ref is not None and bool(ref.attached)
        return Enclosure(delivered, "" if delivered else self._unenclosed.get(gate.id, ""))

    async def _show(self, about: Gate | Question, card: Card, ref: CardRef | None) -> CardRef | None:
        """Where the card stands now. None: it is gone, and its file with it; to be posted anew."""
        content = {"text": card.text, "blocks": card.blocks}
        if ref is None:
            answer = await self._post(content)
        else:
            where = {"channel": ref.channel, "ts": ref.ts}
            answer = await self._slack.call("chat_update", {**where, **content}, _MESSAGE)
            if answer.error in _GONE:
                return None
        if answer.error:
            kind = "question" if isinstance(about, Question) else "gate"
            raise ConnectorError("slack", f"the card of {kind} {about.id} could not be shown: {answer.error}")
        attached = ref.attached if ref is not None else ""
        return CardRef(about.id, str(answer.data["channel"]), str(answer.data["ts"]), card.digest, attached)

    async def _enclose(self, gate: Gate, card: Card, ref: CardRef) -> CardRef:
        """Once for each card: what was delivered, or may have been, is never sent again."""
        came = await enclose(self._slack, ref, f"{gate.id}.txt", card.file)
        if came.problem:
            log.warning("rows could not be attached", extra={"gate": gate.id, "problem": came.problem})
            self._unenclosed[gate.id] = came.problem
        return msgspec.structs.replace(ref, attached=came.file)

    async def page(self, page: Page, people: Sequence[str]) -> Told:
        """Mention these people by their Slack ids; where none of them has one, the whole channel."""
        ids = {person: self._slack_id(person) for person in people}
        mentions = " ".join(f"<@{found}>" for found in ids.values() if found) or "<!channel>"
        unknown = [person for person, found in ids.items() if not found]
        also = f" (and {escaped(', '.join(unknown))})" if unknown else ""
        text = f"{mentions}{also} {cut(escaped(page.text, lines=True), 2000)}"
        answer = await self._post({"text": text, "blocks": self._page_blocks(page, text)})
        if answer.error:
            return Told(ok=False, road=self.road, detail=answer.error)
        return Told(ok=True, road=self.road, detail=f"{mentions} in {self._app.channel}")

    async def announce(self, head: str, lines: Sequence[str]) -> None:
        """Tell the channel of something that asks nothing of anybody. Best effort."""
        shown = [cut(escaped(line), 400) for line in lines[:MOST_LINES]]
        left = len(lines) - len(shown)
        also = [f"… and {left} more"] * bool(left > 0)
        text = "\n".join([cut(escaped(head), 600), *(f"• {line}" for line in [*shown, *also])])
        answer = await self._post({"text": cut(text, 3500), "mrkdwn": False})
        if answer.error:
            log.warning("the channel could not be told", extra={"what": head, "problem": answer.error})

    async def whisper(self, user: str, text: str) -> None:
        """Tell one person (TEAM/USER) something that only they see. Best effort."""
        from slack_sdk.errors import SlackApiError

        person = user.rpartition("/")[2]
        try:
            async with asyncio.timeout(WITHIN):
                await self._slack.client.chat_postEphemeral(
                    channel=self._app.channel, user=person, text=cut(escaped(text), 1000)
                )
        except (SlackApiError, TimeoutError, OSError, aiohttp.ClientError) as error:
            log.warning("a person could not be told", extra={"user": user, "problem": words(error)})

    def _page_blocks(self, page: Page, text: str) -> list[Block]:
        acknowledge = button("Acknowledge", "ack", page.id, style="primary")
        _, expired, gate = page.key.partition(":expired:")  # as the stage that waits names it
        again = [again_button(gate)] if expired else []
        words = f"run {page.run}" if page.run else f"page {page.id}"
        about = linked(self._public_url if page.run else "", page.run, words)
        return [
            {"type": "section", "text": mrkdwn(text)},
            buttons("page", acknowledge, *again),
            {"type": "context", "elements": [mrkdwn(about)]},
        ]

    def _slack_id(self, person: str) -> str:
        known = self._people.get(person)
        return known.slack.rpartition("/")[2] if known is not None and known.slack else ""

    async def _post(self, content: Mapping[str, Any]) -> Answer:
        where = {"channel": self._app.channel, "unfurl_links": False, "unfurl_media": False}
        return await self._slack.call("chat_postMessage", {**where, **content}, _MESSAGE)


def _gate_of(run: Run, ref: CardRef | None) -> Gate | None:
    if ref is None:
        return run.gate
    return next((gate for gate in run.all_gates if gate.id == ref.gate), None)
