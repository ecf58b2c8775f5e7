"""What a story's world answers: readings, previews and results as the story gives them, else the obvious.

A step without a given result is done at once; a preview without a given one shows as many rows as the
step may change; a probe without a reading cannot be read, and the story is told so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from remediator.core.catalog import Catalog, Fence
from remediator.core.counting import counted
from remediator.core.evidence import Picture, Reading
from remediator.core.exact import kept
from remediator.core.intention import Call
from remediator.core.messages import (
    Act,
    Card,
    Done,
    Event,
    Inquire,
    Inquired,
    Marked,
    Preview,
    Previewed,
    Probe,
    ProbeRead,
    Refused,
    Result,
    StepFinished,
    Unknown,
)
from remediator.core.planning import RESTORE
from remediator.core.policy import Policy
from remediator.core.steps import AtMost
from remediator.documents.reading import Place
from remediator.engine.looking import GRACE_S, longest
from remediator.engine.virtual import Virtual
from remediator.policyfiles.testing import answers, shapes
from remediator.policyfiles.testing.models import PictureText, ResultText, result_of
from remediator.ports import Pending

PAGE = "people.page"


@dataclass
class Given:
    """Something that holds from now on. ``place``: the line that says so; ``used``: somebody came to ask."""

    value: Any
    place: Place = ()
    used: bool = False


@dataclass
class World:
    """Holds what stands now; performs every effect by it.

    standing: by the names of ``given``: a probe's, ``STEP.result``, ``STEP.undo.result``, ``STEP.preview``.
    """

    policy: Policy
    catalog: Catalog
    standing: dict[str, Given] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)  # probes that were asked, and have no reading

    def performer(self, play: Callable[[], Virtual]) -> Callable[[Pending], None]:
        """What `Virtual` hands committed effects to."""
        return lambda pending: self._perform(pending, play())

    def _perform(self, pending: Pending, play: Virtual) -> None:
        effect, run = pending.effect, pending.run
        match effect:
            case Probe(round=number, key=key):
                play.tell(run, ProbeRead(number, key, self._read(effect, key, play)), pending.id)
            case Preview(round=number, step=step, call=call):
                picture, problem = self._preview(step, call)
                play.tell(run, Previewed(number, step, picture, problem), pending.id)
            case Act():
                self._act(pending, effect, play)
            case Inquire(step=step, attempt=attempt, undo=undo):
                found = self._inquired(effect)
                play.tell(run, Inquired(step, attempt, undo, found), pending.id)
            case Card():
                play.do(play.store.transact(lambda tx: tx.drop_effect(pending.id)))

    def _asked(self, name: str) -> Given | None:
        """What is given of it, or of the whole step where it is an item."""
        given = self.standing.get(name) or self.standing.get(shapes.whole(name))
        if given is not None:
            given.used = True
        return given

    # ── Reading ───────────────────────────────────────────────────────────────────────────────────

    def _read(self, effect: Probe, key: str, play: Virtual) -> Reading:
        name = self._named(key)
        given = self._asked(name)
        if given is None:
            if name not in self.unread:
                self.unread.append(name)
            return Reading(play.clock.at, ok=False, error="the story gives no reading of it")
        answer = shapes.answer(given.value, shapes.reads(self.catalog, effect.call.operation))
        if isinstance(answer, str):
            return Reading(play.clock.at, ok=False, error=answer)
        if problem := answers.unreadable(effect.call, answer, self.catalog):
            return Reading(play.clock.at, ok=False, error=problem)
        return Reading(play.clock.at, ok=True, value=kept(answer))

    def _named(self, key: str) -> str:
        """A step that only one probe may undo early has no number for it."""
        name = probe_name(key)
        return name if shapes.whole(name) in shapes.probes(self.policy) else name.rpartition(".")[0]

    def _preview(self, step: str, call: Call) -> tuple[Picture | None, str]:
        given = self._asked(f"{step}.preview")
        told = PictureText() if given is None else PictureText.model_validate(given.value)
        if told.error:
            return None, told.error
        rows = tuple(kept(shapes.exact(row)) for row in told.rows)
        operation = self.catalog.operations.get(call.operation)
        counts = operation is None or operation.counts
        count = told.count if told.count is not None else len(rows) or (self._rows(step) if counts else 0)
        if problem := answers.unshown(call, count, self.catalog):
            return None, problem
        return Picture(count, told.text or f"{counted(count, 'row')} of the story", rows), ""

    def _rows(self, step: str) -> int:
        match self.policy.step(step).rows:
            case int(exactly):
                return exactly
            case AtMost(at_most=most):
                return most
        return 1

    # ── Acting ────────────────────────────────────────────────────────────────────────────────────

    def _act(self, pending: Pending, effect: Act, play: Virtual) -> None:
        told = self._told(effect.step, undo=effect.undo)
        result, after = self._result(effect, told), told.slow
        limit = longest(self.catalog, effect.call.operation)
        if after.total_seconds() > limit + GRACE_S:
            result, after = Unknown(f"no answer within {limit:g} s"), timedelta(seconds=limit + GRACE_S)
        if effect.call.operation == PAGE and isinstance(result, Done):
            text, chain = str(effect.call.args.get("text")), str(effect.call.args.get("chain") or "default")
            play.do(play.paging.open(f"step:{effect.key}", text, run=pending.run, chain=chain))
        if not isinstance(result, Refused) and self._leaves_a_mark(effect):
            mark = {"result": self._answer(effect, told.done or {})}
            play.tell(pending.run, Marked(effect.step, effect.attempt, effect.undo, mark))
        event: Event = StepFinished(effect.step, effect.attempt, effect.undo, result)
        if after:
            play.later(after, lambda: play.tell(pending.run, event, pending.id))
        else:
            play.tell(pending.run, event, pending.id)

    def _told(self, step: str, *, undo: bool) -> ResultText:
        given = self._asked(f"{step}{'.undo' if undo else ''}.result")
        return ResultText() if given is None else result_of(given.value)

    def _result(self, effect: Act, told: ResultText) -> Result:
        if told.refused is not None:
            return Refused(told.refused)
        if told.unknown is not None:
            return Unknown(told.unknown)
        return answers.ended(effect.call, self._answer(effect, told.done or {}), self.catalog)

    def _answer(self, effect: Act | Inquire, told: dict[str, Any]) -> dict[str, Any]:
        """What its connector would return, as far as anything looks at it."""
        args: dict[str, Any] = {}
        if effect.call.args.get("undo") == RESTORE:
            args = {"count": self._rows(effect.step), RESTORE: {"table": "of the story", "rows": []}}
        elif effect.call.operation.startswith("http."):
            args = {"status": 200}
        answer: dict[str, Any] = kept({**args, **shapes.exact(told)})
        return answer

    def _leaves_a_mark(self, effect: Act) -> bool:
        operation = self.catalog.operations.get(effect.call.operation)
        connection = self.catalog.connections.get(effect.call.connection)
        fences = (operation.fence if operation else None, connection.fence if connection else None)
        return Fence.TRANSACTION in fences

    def _inquired(self, effect: Inquire) -> Result:
        told = self._told(effect.step, undo=effect.undo)
        match told.found:
            case "happened":
                return Done(self._answer(effect, told.done or {}))
            case "nothing":
                return Refused("its mark tells that it never became final")
            case "unknown":
                return Unknown("its mark cannot be asked about any more")


def probe_name(key: str) -> str:
    """The name that stories use for what an effect reads: ``verify:pause`` is ``pause.verify``."""
    kind, _, name = key.partition(":")
    match kind:
        case "diagnose":
            return name
        case "undo-verify":
            return f"{name}.undo"
        case "early":
            step, _, number = name.rpartition(":")
            return f"{step}.early.{int(number) + 1}"
    return f"{name}.{kind}"
