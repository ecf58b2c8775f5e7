"""What a policy says of the time before a run: its parameters, its bounds, its watch."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from remediator.core import windows
from remediator.core.durations import Rate
from remediator.core.expression import Expression
from remediator.core.fields import Count, Duration, PatternText, RateText, Text, WindowText
from remediator.core.parts import Calling, Part


class Param(Part):
    """One typed value taken from the alert: the only way for alert data to reach an action."""

    from_: Expression = Field(description="An expression over labels and annotations.")
    type: Literal["string", "int", "number", "bool", "uuid", "duration", "time", "enum"] = Field(
        default="string", description="What the value must be."
    )
    pattern: PatternText | None = Field(default=None, description="RE2, anchored; required for type string.")
    values: tuple[str, ...] = Field(default=(), description="The allowed values of type enum.")
    default: Any = Field(default=None, description="Stands in when the alert lacks the value.")

    @property
    def has_default(self) -> bool:
        """May the alert lack the value?"""
        return "default" in self.model_fields_set


class Breaker(Part):
    """Ineffective or failed runs step the policy down."""

    failures: Count = Field(description="So many failures ...")
    within: Duration = Field(description="... within this long ...")
    mode: Literal["observe", "suggest"] = Field(description="... lower the policy to this mode ...")
    for_: Duration = Field(description="... for this long.")

    @property
    def memory(self) -> timedelta:
        """How long a failure can matter."""
        return self.within + self.for_

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not self.within or not self.for_:
            raise ValueError("within and for must be longer than no time at all")
        return self


class Windows(Part):
    """When a run may open and a step may start: days, hours, and the zone whose clocks they are of."""

    not_: tuple[WindowText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Never in these windows, such as Fri 16:00-20:00 Africa/Dakar.",
    )
    only: tuple[WindowText, ...] | None = Field(
        default=None,
        min_length=1,
        description="Only in these windows, such as Mon-Fri 09:00-17:00 Europe/Berlin.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        self.exactly_one("not_", "only")
        return self

    def opens(self, now: datetime) -> datetime | None:
        """The next moment, now included, at which anything may start. None: not for weeks."""
        return windows.out_of(self.not_, now) if self.not_ else windows.into(self.only or (), now)

    def told(self, now: datetime) -> str:
        """What says no now, in words."""
        if self.not_:
            return f"nothing may start in {', '.join(map(str, windows.forbidding(self.not_, now)))}"
        return f"nothing may start outside {' and '.join(map(str, self.only or ()))}"


class Bounds(Part):
    """How much one policy may do."""

    cooldown: Duration = Field(default=timedelta(minutes=30), description="Per target, from the last act.")
    per_target: RateText = Field(
        default=Rate(3, timedelta(hours=24)),
        description="Runs on one target that started an act that is not safe.",
    )
    per_policy: RateText = Field(
        default=Rate(10, timedelta(hours=1)), description="The same, on all targets."
    )
    at_once: Count = Field(default=2, description="Runs that may be open at the same time.")
    deadline: Duration = Field(
        default=timedelta(hours=6), description="A run's life, gates included, holds excluded."
    )
    budget: Text | None = Field(default=None, description="A budget of the config, shared by policies.")
    breaker: Breaker | None = Field(default=None, description="Steps the policy down after failures.")
    windows: Windows | None = Field(default=None, description="When runs may open and steps may start.")


class Watch(Calling):
    """Opens runs without Alertmanager: one per row or series of a probe."""

    every: Duration | None = Field(default=None, description="How often to look.")
    cron: Text | None = Field(default=None, description="When to look, as five cron fields.")
    timezone: Text | None = Field(default=None, description="The zone of cron, such as Africa/Dakar.")
    key: tuple[Text, ...] = Field(
        min_length=1, description="The columns or labels that are a row's identity."
    )

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        self.exactly_one("every", "cron")
        if self.every is not None and self.every < timedelta(seconds=1):
            raise ValueError("every is less than a second")
        if self.timezone and not self.cron:
            raise ValueError("timezone needs cron")
        return self
