"""A test file as a value: every key that a story may have, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from remediator.core.fields import Duration, Text

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When stories begin that say nothing else: a Monday morning."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _moment(value: object) -> object:
    """A time with its zone, as ISO writes it."""
    if isinstance(value, datetime):
        return value
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{str(value)[:40]!r} is not a time; write 2026-03-02T09:00:00Z") from None
    if at.tzinfo is None:
        raise ValueError(f"{str(value)[:40]!r} has no zone; write 2026-03-02T09:00:00Z")
    return at.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
OneOrAll = str | list[str]
Whole = Annotated[int, Field(strict=True)]
"""A count: true is not 1."""


class AlertText(_Part):
    """An alert as Alertmanager would send it."""

    labels: dict[str, str] = Field(description="Its labels, alertname among them.")
    annotations: dict[str, str] = Field(default={}, description="Its annotations.")
    fingerprint: str = Field(default="", description="Its identity; by default made of its labels.")


class VoteText(_Part):
    """A person's word on the gate that is open."""

    by: Text = Field(description="Who votes.")
    reason: str = Field(default="", description="What they say to it.")
    on: str = Field(default="", description="The target whose gate is meant, where several are open.")
    counts: bool = Field(default=True, description="false: the vote must be turned away, or the story fails.")


class ResultText(_Part):
    """How an act, or an undo, ends."""

    done: dict[str, Any] | None = Field(default=None, description="It was done, and answers this.")
    refused: Text | None = Field(default=None, description="It was certainly not done; why.")
    unknown: Text | None = Field(default=None, description="It may or may not have happened; why.")
    slow: Duration = Field(default=timedelta(), description="It takes so long.")
    found: Literal["happened", "nothing", "unknown"] = Field(
        default="unknown", description="What its mark tells when the answer was lost (postgres.execute)."
    )


class PictureText(_Part):
    """What a step would change, as its preview shows it."""

    count: Whole | None = Field(default=None, description="How many rows.")
    rows: list[dict[str, Any]] = Field(default=[], description="Each as {key: …, before: …, after: …}.")
    text: str = Field(default="", description="What the preview says in words.")
    error: str = Field(default="", description="Why it cannot be shown.")


ResultWord = Literal["done", "refused", "unknown"]
GIVEN: Mapping[str, TypeAdapter[Any]] = {
    "result": TypeAdapter(ResultWord | ResultText),
    "preview": TypeAdapter(PictureText),
}
"""What may be given of a step from the start, beside readings: ``STEP.result``, ``STEP.preview``."""


class HaltText(_Part):
    """The kill switch."""

    scope: Text = Field(
        default="all", description="all, policy (this one), target (the story's) or whole: policy:NAME."
    )
    reason: Text = Field(default="an incident", description="Why.")
    undos: bool = Field(default=False, description="Whether undos wait as well.")


class BusyText(_Part):
    """Another run acts on the target."""

    until: Duration = Field(description="Until when, since the start.")
    target: str = Field(default="", description="On which target; by default the story's.")


class SettleText(_Part):
    """A person's word on an outcome that nobody could find out."""

    verdict: Literal["happened", "not-happened", "handled"] = Field(description="What became of it.")
    by: str = Field(default="", description="Who says so; by default anybody with a role.")
    reason: str = Field(default="", description="How they know.")


class StartText(_Part):
    """A person starts a run by hand."""

    by: Text = Field(description="Who starts it.")
    params: dict[str, Any] = Field(default={}, description="The policy's params.")


class GateText(_Part):
    """A gate as it should be."""

    steps: list[str] | None = Field(default=None, description="The steps that it covers, in order.")
    votes: dict[str, Whole] | None = Field(default=None, description="Role → how many people.")
    state: Literal["open", "approved", "denied", "expired", "void"] = Field(
        default="open", description="How it stands."
    )
    within: Duration | None = Field(default=None, description="How long people have.")
    late: Literal["page", "deny"] | None = Field(
        default=None, description="What follows when nobody answers."
    )


class RefusalText(_Part):
    """A refusal as it should be."""

    bound: str | None = Field(default=None, description="Which bound said no.")
    reason: OneOrAll = Field(default=[], description="What its reason says, in parts.")
    again: Duration | None = Field(default=None, description="When it is considered again, since the start.")


class Expect(_Part):
    """What should be so at this moment. About the first run, unless ``run`` names another."""

    run: Annotated[int, Field(strict=True, ge=1)] | Literal["last"] = Field(
        default=1, description="Which run is meant, counted from the first; or last."
    )
    runs: Whole | None = Field(default=None, description="How many runs there were.")
    mode: Literal["act", "suggest", "observe"] | None = Field(default=None, description="The run's mode.")
    stage: str | None = Field(default=None, description="Where the run stands: waiting, holding, closed …")
    outcome: str | None = Field(
        default=None, description="How the run ended: fixed, denied …; open if it has not."
    )
    reason: OneOrAll | None = Field(default=None, description="What the outcome's reason says, in parts.")
    case: Whole | Literal["nothing"] | None = Field(
        default=None, description="The case that held, counted from 1; nothing: one that says so."
    )
    gate: GateText | Literal["none"] | None = Field(
        default=None, description="The run's latest gate; none: no open one."
    )
    card: OneOrAll | None = Field(default=None, description="What the latest gate's card says, in parts.")
    args: dict[str, list[Any] | dict[str, Any]] | None = Field(
        default=None, description="Step → its args (a list), or its arguments by name (those that are given)."
    )
    started: OneOrAll | None = Field(
        default=None, description="One step: it has started. A list: these have, and no others."
    )
    order: list[str] | None = Field(default=None, description="The steps that have started, in order.")
    steps: dict[str, str] | None = Field(
        default=None, description="Step → how it stands: verified, refused …"
    )
    would: OneOrAll | None = Field(
        default=None, description="Steps that an observing run says it would take."
    )
    held: OneOrAll | dict[str, Duration] | None = Field(
        default=None, description="Steps whose change stands; or step → until when, since the start."
    )
    undone: OneOrAll | None = Field(
        default=None, description="One step: it was undone. A list: exactly these."
    )
    refused: RefusalText | str | None = Field(
        default=None,
        description="The latest refusal of the story's alert; a text: its bound. none: there is none.",
    )
    pages: OneOrAll | None = Field(
        default=None,
        description="A text: some page says it. A list: these pages, each by what it says, and no others.",
    )


class Line(_Part):
    """One line of a story: time passes; then what is written happens, in its order; then what is expected."""

    at: Duration | None = Field(default=None, description="Let time pass until then, since the start.")
    reading: dict[str, Any] = Field(
        default={}, description="Probe (or step.verify, step.before …) → what it reads from now on."
    )
    result: dict[str, ResultWord | ResultText] = Field(
        default={}, description="Step (or step.undo) → how it ends from now on."
    )
    preview: dict[str, PictureText] = Field(default={}, description="Step → what its preview shows.")
    crash: OneOrAll = Field(
        default=[], description="now; or: after KIND [STEP], the next time the journal says so."
    )
    policy_changes: bool = Field(default=False, description="The policy is replaced by another version.")
    fires: AlertText | Literal["again"] | None = Field(
        default=None, description="An alert fires; again: the story's own."
    )
    resolves: AlertText | Literal["all"] | None = Field(
        default=None, description="An alert resolves, or all do."
    )
    busy: BusyText | None = Field(default=None, description="Another run acts on the target.")
    halt: HaltText | str | None = Field(
        default=None, description="The kill switch is thrown; a text: its scope."
    )
    resume: Literal["all"] | None = Field(default=None, description="Every halt is lifted.")
    start: StartText | None = Field(default=None, description="A person starts a run by hand.")
    approve: str | VoteText | list[str | VoteText] = Field(default=[], description="Who approves.")
    deny: str | VoteText | list[str | VoteText] = Field(default=[], description="Who denies.")
    settle: Literal["happened", "not-happened", "handled"] | SettleText | None = Field(
        default=None, description="A person says what became of an unknown outcome."
    )
    expect: Expect | None = Field(default=None, description="What should be so now.")


class Test(_Part):
    """One story."""

    __test__ = False  # not one of pytest's

    name: Text = Field(description="What the story tells, as a sentence.")
    starts: Moment | None = Field(default=None, description="When it begins; by default as the file says.")
    alert: AlertText | None = Field(default=None, description="The alert that opens it.")
    started_by: Text | None = Field(
        default=None, description="Who starts the run by hand, instead of an alert."
    )
    params: dict[str, Any] = Field(default={}, description="What they give: the policy's params.")
    given: dict[str, Any] = Field(
        default={},
        description="Probe (or step.verify …) → what it reads; STEP.result, STEP.preview: what comes of it.",
    )
    busy: BusyText | None = Field(
        default=None, description="Another run acts on the target before the story begins."
    )
    story: list[Line] = Field(default=[], description="What happens, line by line.")
    expect: Expect | None = Field(
        default=None,
        description="What should be so in the end, once the run has closed, holds or waits for people.",
    )


class TestFile(_Part):
    """One document of a ``*.test.yaml``."""

    __test__ = False

    policy: Text = Field(description="The policy that the stories are about.")
    starts: Moment = Field(default=START, description="When the stories begin.")
    given: dict[str, Any] = Field(
        default={}, description="What probes read and steps come to, unless a story says otherwise."
    )
    tests: list[Test] = Field(description="The stories.", min_length=1)


def voters(one: str | VoteText | list[str | VoteText]) -> list[VoteText]:
    """The votes of a line, however they are written."""
    many = one if isinstance(one, list) else [one]
    return [VoteText(by=vote) if isinstance(vote, str) else vote for vote in many]


def listed(one: OneOrAll) -> list[str]:
    """One or several."""
    return [one] if isinstance(one, str) else list(one)


def result_of(one: Any) -> ResultText:
    """A result, however it is written."""
    if not isinstance(one, str):
        return ResultText.model_validate(one)
    told: Mapping[str, dict[str, Any]] = {
        "done": {},
        "refused": {"refused": "the story says so"},
        "unknown": {"unknown": "no answer came"},
    }
    return ResultText(**told[one])
