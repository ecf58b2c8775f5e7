"""What a policy says of one step: the act, who must agree to it, what proves it, how it is taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from remediator.core.expression import Expression, Template
from remediator.core.fields import Count, Duration, Text
from remediator.core.parts import Calling, Part, PerhapsCalling


class Gate(Part):
    """People who must agree, or the reason why none need to."""

    votes: dict[Text, Count] | None = Field(
        default=None, min_length=1, description="Role → votes; distinct people."
    )
    within: Duration = Field(default=timedelta(minutes=15), description="How long the gate stays open.")
    late: Literal["page", "deny"] = Field(default="page", description="What expiry does.")
    waived: Text | None = Field(
        default=None,
        description="Why this is safe unattended. On a case: for those of its steps that have no gate.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self.exactly_one("votes", "waived")
        return self


class Verify(PerhapsCalling):
    """How a step is proved to have worked, or why nothing can prove it."""

    until: Expression | None = Field(
        default=None,
        description="True once it has worked; sees verify, and before: the same, read just before the act. "
        "Where that cannot be read, a step whose proofs look at it is not started.",
    )
    within: Duration = Field(default=timedelta(minutes=10), description="How long to wait for it.")
    every: Duration = Field(default=timedelta(seconds=30), description="How often to look.")
    for_: Duration = Field(default=timedelta(), description="How long it must stay true.")
    none: Text | None = Field(default=None, description="Why nothing can prove it.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self.exactly_one("use", "none")
        if self.use and self.until is None:
            raise ValueError("needs until: the expression that proves it")
        if self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        return self


class EarlyProbe(Calling):
    """A reading that ends a hold before its time."""

    until: Expression = Field(description="True when the undo should come; sees verify, this reading.")
    every: Duration = Field(default=timedelta(seconds=30), description="How often to look.")
    for_: Duration = Field(default=timedelta(), description="How long it must stay true.")

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        return self


class Still(Calling):
    """A reading that says whether a change may still be taken back."""

    when: Expression = Field(
        description="True while the undo may be sent; sees verify, this reading. Where it is not, somebody "
        "has changed it since: it is left as it is, and a person is paged."
    )


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _check_early(value: object) -> object:
    known = ("unverified", "resolved")
    for one in value if isinstance(value, list | tuple) else ():
        if isinstance(one, str) and one not in known:
            raise ValueError(f"{one!r} is neither {known[0]}, {known[1]} nor a probe")
    return value


Early = Literal["unverified", "resolved"] | EarlyProbe


class Undo(PerhapsCalling):
    """How and when a step is taken back, or why it is meant to stay."""

    how: Literal["restore"] | None = Field(default=None, description="restore: generated from before-images.")
    after: Duration | None = Field(default=None, description="The time box.")
    early: Annotated[
        tuple[Early, ...],
        BeforeValidator(_check_early),
        BeforeValidator(_listed, json_schema_input_type=Early | tuple[Early, ...]),
    ] = Field(default=(), description="What brings the undo before its time; one, or a list.")
    still: Still | None = Field(
        default=None,
        description="Read just before the undo is sent: may it still be? For what compares nothing itself.",
    )
    verify: Verify | None = Field(default=None, description="How the undo is proved to have worked.")
    none: Text | None = Field(default=None, description="Why it is meant to stay.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self.exactly_one("how", "use", "none")
        if self.none is None and self.after is None and not self.early:
            raise ValueError("needs after (a time box) or early")
        if self.none is not None and self.still is not None:
            raise ValueError("still is for a step that is taken back")
        return self

    @property
    def probes(self) -> tuple[EarlyProbe, ...]:
        """The readings that may end the hold."""
        return tuple(one for one in self.early if isinstance(one, EarlyProbe))

    @property
    def proof(self) -> Verify | None:
        """How the undo is proved, where it is."""
        return self.verify if self.verify is not None and self.verify.use is not None else None


class AtMost(Part):
    """An upper limit of rows."""

    at_most: Count = Field(description="The most rows that may change.")


MOST_ITEMS = 1000
"""Items of one repeated step: a run is kept whole, and asked about whole."""


def base_of(step: str) -> str:
    """The policy's name of a run's step: ``retry`` of ``retry[3]``, which is its third item."""
    return step.partition("[")[0]


class Step(Calling):
    """One action with its gate, verification and undo."""

    rows: Count | AtMost | None = Field(default=None, description="Rows it must change, exactly or at most.")
    gate: Gate | None = Field(
        default=None,
        description="Who must agree first, to the step and its undo; a case's gate stands in its place.",
    )
    verify: Verify | None = Field(default=None, description="How it is proved to have worked.")
    undo: Undo | None = Field(default=None, description="How it is taken back.")
    on_failure: Literal["page", "undo_all", "continue"] = Field(
        default="page", description="What a failure leads to."
    )
    for_each: Template | None = Field(default=None, description="Repeats the step for each item of a list.")
    at_most: Annotated[Count, Field(ge=1, le=MOST_ITEMS)] | None = Field(
        default=None, description="The most items; required with for_each. A longer list is refused whole."
    )
    stop_after: Annotated[Count, Field(ge=1)] | None = Field(
        default=None, description="Failed items after which no further one is begun; 1 where none is written."
    )

    @model_validator(mode="after")
    def _repeats(self) -> Self:
        if self.for_each is None:
            for part in ("at_most", "stop_after"):
                if getattr(self, part) is not None:
                    raise ValueError(f"{part} is for a step with for_each")
            return self
        if self.for_each.whole is None:
            raise ValueError("for_each is one expression that gives a list: for_each: ${failed.rows}")
        if self.at_most is None:
            raise ValueError("for_each needs at_most: the most items that it may have")
        return self

    @property
    def compares(self) -> bool:
        """Does what judges it, its undo or the end of its hold look at what was read before the act?"""
        undo = self.undo
        asked = [self.verify.until] if self.verify is not None else []
        if undo is not None:
            asked += [one.until for one in (undo.verify, *undo.probes) if one is not None]
            asked += [undo.still.when] if undo.still is not None else []
        return any("before" in one.names for one in asked if one is not None)
