"""What a story expects, compared with what is to be seen. One function for each key, in a table.

A function says what is expected and what is, in words; nothing when they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from remediator.core.counting import counted
from remediator.core.exact import revived
from remediator.core.expression import format_duration
from remediator.core.run import Gate, Run, StepRun
from remediator.people.cards import gate_card
from remediator.policyfiles.testing.models import Expect, GateText, OneOrAll, RefusalText, listed
from remediator.policyfiles.testing.seen import Seen
from remediator.policyfiles.testing.shapes import whole

Miss = tuple[tuple[str | int, ...], str, str]
"""The place within the expectation, what was expected, and what is."""

URL = "https://remediator.example"


def judge(expect: Expect, seen: Seen) -> list[Miss]:
    """All that is not as expected."""
    misses = [miss for key in ABOUT_ALL if (miss := _asked(key, ABOUT_ALL[key], expect, seen))]
    wanted = [key for key in ABOUT_RUN if key in expect.model_fields_set]
    run = _run(expect, seen)
    meant = wanted or [key for key in ("run", "refused") if _means_a_run(key, expect)]
    if meant and run is None:
        which = "a run" if expect.run in (1, "last") else f"run {expect.run}"
        return [*misses, ((meant[0],), which, _runs(seen))]
    for key in wanted:
        assert run is not None
        misses += [((key, *place), one, other) for place, one, other in ABOUT_RUN[key](expect, run, seen)]
    return misses


def _means_a_run(key: str, expect: Expect) -> bool:
    """Nothing is refused to what was never opened: then ``refused: none`` would say nothing."""
    bound = expect.refused.bound if isinstance(expect.refused, RefusalText) else expect.refused
    return key in expect.model_fields_set and expect.runs != 0 and (key == "run" or bound == "none")


def _asked(
    key: str, about: Callable[[Any, Seen], tuple[str, str] | None], expect: Expect, seen: Seen
) -> Miss | None:
    if key not in expect.model_fields_set:
        return None
    told = about(getattr(expect, key), seen)
    return ((key,), *told) if told is not None else None


def _run(expect: Expect, seen: Seen) -> Run | None:
    number = len(seen.runs) if expect.run == "last" else expect.run
    return seen.runs[number - 1] if 1 <= number <= len(seen.runs) else None


def _runs(seen: Seen) -> str:
    refused = f"; refused: {seen.refused.bound}: {seen.refused.reason}" if seen.refused else ""
    return (counted(len(seen.runs), "run") if seen.runs else "no run was opened") + refused


# ── About all of it ───────────────────────────────────────────────────────────────────────────────


def _count(wanted: int, seen: Seen) -> tuple[str, str] | None:
    return None if len(seen.runs) == wanted else (str(wanted), str(len(seen.runs)))


def _refusal(wanted: RefusalText | str, seen: Seen) -> tuple[str, str] | None:
    refused = seen.refused
    actual = f"{refused.bound}: {refused.reason}" if refused is not None else "none"
    if isinstance(wanted, str):
        wanted = RefusalText(bound=wanted)
    if wanted.bound == "none":
        return None if refused is None else ("none", actual)
    if refused is None:
        return _refusal_text(wanted), actual
    again = refused.again_at - seen.start if refused.again_at is not None else None
    same = (
        wanted.bound in (None, refused.bound)
        and all(part in refused.reason for part in listed(wanted.reason))
        and wanted.again in (None, again)
    )
    when = f", again at {format_duration(again)}" if again is not None and wanted.again is not None else ""
    return None if same else (_refusal_text(wanted), f"{actual}{when}")


def _refusal_text(wanted: RefusalText) -> str:
    parts = " … ".join(listed(wanted.reason))
    when = f", again at {format_duration(wanted.again)}" if wanted.again is not None else ""
    return ": ".join(part for part in (wanted.bound or "", parts) if part) + when


def _pages(wanted: OneOrAll, seen: Seen) -> tuple[str, str] | None:
    texts = [page.text for page in seen.pages]
    actual = "\n".join(texts) or "none"
    if isinstance(wanted, str):
        return None if any(wanted in text for text in texts) else (f"a page that says: {wanted}", actual)
    left = list(texts)
    for part in wanted:
        found = next((text for text in left if part in text), None)
        if found is None:
            return "\n".join(wanted), actual
        left.remove(found)
    return None if not left else ("\n".join(wanted) or "none", actual)


ABOUT_ALL: Mapping[str, Callable[[Any, Seen], tuple[str, str] | None]] = {
    "runs": _count,
    "refused": _refusal,
    "pages": _pages,
}

# ── About one run ─────────────────────────────────────────────────────────────────────────────────


def _mode(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    yield from _word(expect.mode, run.mode)


def _stage(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    yield from _word(expect.stage, str(run.stage))


def _outcome(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    outcome = str(run.outcome or "open")
    if outcome != expect.outcome:
        why = f": {run.reason}" if run.reason else f" ({run.stage})"
        yield (), str(expect.outcome), f"{outcome}{why}"


def _reason(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    parts = listed(expect.reason or [])
    if not all(part in run.reason for part in parts) or bool(parts) != bool(run.reason):
        yield (), " … ".join(parts) or "none", run.reason or "none"


def _case(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    decided = [entry.data for entry in seen.journals[run.id] if entry.kind == "decided"]
    actual = "none"
    if decided:
        actual = str(decided[-1]["case"] + 1) if decided[-1]["steps"] else "nothing"
    yield from _word(str(expect.case), actual)


def _gate(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    gate, wanted = run.gate, expect.gate
    if wanted == "none":
        if gate is not None and gate.state == "open":
            yield (), "no open gate", _gate_text(gate)
        return
    assert isinstance(wanted, GateText)
    if gate is None:
        yield (), "a gate", f"none; the run is {run.stage}"
        return
    if gate.state != wanted.state:
        yield ("state",), wanted.state, f"{gate.state}{f': {gate.note}' if gate.note else ''}"
    if wanted.steps is not None and not _in_order(wanted.steps, gate.steps):
        yield ("steps",), _names(wanted.steps), _names(gate.steps)
    if wanted.votes is not None and gate.required != wanted.votes:
        yield ("votes",), _counts(wanted.votes), _counts(gate.required)
    within = gate.expires_at - gate.opened_at
    if wanted.within is not None and within != wanted.within:
        yield ("within",), format_duration(wanted.within), format_duration(within)
    if wanted.late is not None and gate.late != wanted.late:
        yield ("late",), wanted.late, gate.late


def _card(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    parts = listed(expect.card or [])
    if not parts:
        if run.gate is not None:
            yield (), "no card", card_text(run, run.gate)
        return
    if run.gate is None:
        yield (), "\n".join(parts), "the run has no card"
        return
    text = card_text(run, run.gate)
    missing = [part for part in parts if part not in text]
    if missing:
        yield (), "\n".join(missing), text


def _args(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    for name, wanted in (expect.args or {}).items():
        intentions = [step.intention for step in _items(run, name) if step.intention is not None]
        if not intentions:
            yield (name,), spelled(wanted), "the step was not resolved"
        for intention in intentions:
            yield from _called(name, wanted, revived(intention.call.args))


def _called(name: str, wanted: list[Any] | dict[str, Any], args: Mapping[str, Any]) -> Iterator[Miss]:
    if isinstance(wanted, list):
        if not same(wanted, args.get("args")):
            yield (name,), spelled(wanted), spelled(args.get("args"))
        return
    for key, value in wanted.items():
        if not same(value, args.get(key)):
            yield (name, key), spelled(value), spelled(args.get(key))


def _started(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    yield from _some(expect.started, started(run, seen))


def _order(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    actual, wanted = started(run, seen), expect.order or []
    if not _in_order(wanted, actual):
        yield (), _names(wanted), _names(actual)


def _steps(expect: Expect, run: Run, _seen: Seen) -> Iterator[Miss]:
    for name, wanted in (expect.steps or {}).items():
        others = [step for step in _items(run, name) if str(step.state) != wanted]
        actual = "\n".join(_stands(step, name) for step in others)
        if others or (wanted != "planned" and not _items(run, name)):
            yield (name,), wanted, actual or "planned"


def _items(run: Run, name: str) -> list[StepRun]:
    """The step of that name; or all items of it."""
    return [step for step in run.steps.values() if name in (step.name, whole(step.name))]


def _stands(step: StepRun, name: str) -> str:
    item = f"{step.name} " if step.name != name else ""
    return f"{item}{step.state}{f': {step.error}' if step.error else ''}"


def _would(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    lines = [entry.data for entry in seen.journals[run.id] if entry.kind == "would"]
    yield from _some(expect.would, [str(data["step"]) for data in lines])


def _held(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    standing = {name: step.undo_at for name, step in run.steps.items() if step.owes_undo}
    if not isinstance(expect.held, dict):
        yield from _some(expect.held, list(standing))
        return
    for name, wanted in expect.held.items():
        until = standing.get(name)
        actual = _since(until, seen) if name in standing else "it does not stand"
        if actual != format_duration(wanted):
            yield (name,), f"until {format_duration(wanted)}", f"until {actual}" if until else actual


def _since(at: datetime | None, seen: Seen) -> str:
    return format_duration(at - seen.start) if at is not None else "no time"


def _undone(expect: Expect, run: Run, seen: Seen) -> Iterator[Miss]:
    lines = [str(entry.data["step"]) for entry in seen.journals[run.id] if entry.kind == "undone"]
    yield from _some(expect.undone, lines)


ABOUT_RUN: Mapping[str, Callable[[Expect, Run, Seen], Iterator[Miss]]] = {
    "mode": _mode,
    "stage": _stage,
    "outcome": _outcome,
    "reason": _reason,
    "case": _case,
    "gate": _gate,
    "card": _card,
    "args": _args,
    "started": _started,
    "order": _order,
    "steps": _steps,
    "would": _would,
    "held": _held,
    "undone": _undone,
}

# ── Values and words ──────────────────────────────────────────────────────────────────────────────


def started(run: Run, seen: Seen) -> list[str]:
    """The steps that a run has started, in order, each once."""
    lines = (entry for entry in seen.journals[run.id] if entry.kind == "started")
    return list(dict.fromkeys(str(entry.data["step"]) for entry in lines))


def card_text(run: Run, gate: Gate) -> str:
    """All that a card says, as text."""
    return "\n".join(_texts(gate_card(run, gate, URL).blocks))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for key, item in value.items():
            if key != "text" or not isinstance(item, str):
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def same(wanted: Any, actual: Any) -> bool:
    """The same value, numbers by what they are worth: 0.035 is the decimal 0.0350, and not true."""
    match wanted, actual:
        case (bool(), _) | (_, bool()):
            return wanted is actual
        case (int() | float() | Decimal(), int() | float() | Decimal()):
            return _worth(wanted) == _worth(actual)
        case (dict(), dict()):
            return wanted.keys() == actual.keys() and all(same(wanted[key], actual[key]) for key in wanted)
        case (list(), list() | tuple()):
            pairs = zip(wanted, actual, strict=False)
            return len(wanted) == len(actual) and all(same(one, other) for one, other in pairs)
    return bool(wanted == actual)


def _worth(number: float | Decimal) -> Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def spelled(value: Any) -> str:
    """A value as a test file would write it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {spelled(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(spelled, value)) + "]"
        case None | True | False:
            return {None: "null", True: "true", False: "false"}[value]
        case timedelta():
            return format_duration(value) if value else "0s"
    return str(value)


def _word(wanted: str | None, actual: str) -> Iterator[Miss]:
    if wanted != actual:
        yield (), str(wanted), actual


def _some(wanted: Any, actual: list[str]) -> Iterator[Miss]:
    """One: it is among them. Several: these, and no others. A repeated step counts whole, or by items."""
    many = [wanted] if isinstance(wanted, str) else list(wanted)
    by_item = any("[" in name for name in many)
    there = list(dict.fromkeys(actual if by_item else map(whole, actual)))
    missing = isinstance(wanted, str) and wanted not in there
    if missing or (not isinstance(wanted, str) and sorted(many) != sorted(there)):
        yield (), _names(many), _names(actual)


def _in_order(wanted: list[str], actual: Iterable[str]) -> bool:
    """These and no others, in this order. A repeated step counts whole, or by items."""
    by_item = any("[" in name for name in wanted)
    return wanted == (list(actual) if by_item else list(dict.fromkeys(map(whole, actual))))


def _names(names: Any) -> str:
    return ", ".join(names) or "none"


def _counts(votes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {role}" for role, count in votes.items()) or "none"


def _gate_text(gate: Gate) -> str:
    return f"{gate.id} for {_names(gate.steps)}, {_counts(gate.required)}"
