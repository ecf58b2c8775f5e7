"""A card shows the run as it is: on every road, also where several replicas show it at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from remediator.core.decide import with_gate
from remediator.core.repeating import enough
from remediator.core.run import Run
from remediator.errors import ConnectorError
from remediator.ports import CardRef, Notifier, Store, Tx

log = logging.getLogger(__name__)


class Showing:
    """Cards of gates and of questions."""

    def __init__(self, store: Store, notifiers: Sequence[Notifier]) -> None:
        self._store = store
        self._notifiers = notifiers

    async def show(self, run_id: str, gate: str) -> str:
        """The problem, or "" when every road shows the run as it is now.

        Another replica may be showing it, too. Whoever finds that it was not alone shows it again.
        """
        alone = True
        while True:
            run, kept = await self._store.read(lambda tx: _card_of(tx, run_id, gate))
            if run is None:
                return ""
            seen = kept if alone or kept is None else msgspec.structs.replace(kept, digest="")
            alone = True
            for notifier in self._notifiers:
                try:
                    shown = await _shown(notifier, run, gate, seen)
                    if shown is not None and shown != kept and not await self._keep(notifier, shown, kept):
                        alone = False
                except ConnectorError as error:
                    return str(error)
            if alone and run == (await self._store.read(lambda tx: _card_of(tx, run_id, gate)))[0]:
                return ""

    async def _keep(self, notifier: Notifier, card: CardRef, old: CardRef | None) -> bool:
        """False when another replica was quicker. Then its card stands, and a second one is taken back."""
        if await self._store.transact(lambda tx: tx.put_card(card, old)):
            return True
        kept = await self._store.read(lambda tx: tx.card(card.gate))
        if kept is not None and (kept.channel, kept.ts) != (card.channel, card.ts):
            log.warning("a card was posted twice", extra={"gate": card.gate})
            await notifier.withdraw(card)
        return False


async def _card_of(tx: Tx, run_id: str, gate: str) -> tuple[Run | None, CardRef | None]:
    return await tx.run(run_id), await tx.card(gate)


async def _shown(notifier: Notifier, run: Run, subject: str, ref: CardRef | None) -> CardRef | None:
    """The card of a gate, or of a question."""
    question = next((one for one in run.questions if one.id == subject), None)
    if question is not None:
        return await notifier.question(run, question, ref)
    return await notifier.card(with_gate(run, subject), ref)


def in_words(run: Run | None, gate_id: str, problem: str) -> str:
    """What a card that cannot be shown would have said."""
    gate = next((one for one in run.all_gates if one.id == gate_id), None) if run is not None else None
    if run is None or gate is None or gate.state != "open":
        return f"the card of gate {gate_id} cannot be brought up to date: {problem}"
    roles = ", ".join(f"{count} of {role}" for role, count in gate.required.items())
    what = enough([one.summary for one in gate.intentions])
    return (
        f"{run.policy} asks for approval on {run.target} and Slack cannot show it ({problem}). "
        f"It would do: {what}. It needs {roles} until {gate.expires_at:%H:%M:%S} UTC. "
        f"Vote on the status page, or: remediator gates approve {gate.id}"
    )
