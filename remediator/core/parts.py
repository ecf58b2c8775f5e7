"""What the models of the policy language have in common: how their keys are written, and their calls."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from remediator.core.fields import Text, With


class Part(BaseModel):
    """Frozen; unknown keys are errors; ``with_`` is written ``with``.

    What reads them is built when it is first needed, so that the daemon starts fast.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        defer_build=True,
        arbitrary_types_allowed=True,
        alias_generator=lambda name: name.rstrip("_"),
        validate_by_name=True,
        validate_by_alias=True,
    )

    def exactly_one(self, *names: str) -> None:
        """Raise ValueError unless one of these, and no other, is given."""
        given = [name.rstrip("_") for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            words = " or ".join(name.rstrip("_") for name in names)
            raise ValueError(f"needs exactly one of {words}" + (f", not {' and '.join(given)}" * bool(given)))


class Calling(Part):
    """An operation, on a connection, with its arguments."""

    use: Text = Field(description="The operation, such as postgres.query.")
    via: Text | None = Field(default=None, description="The connection; left out for built-in ones.")
    with_: With = Field(default_factory=dict, description="The operation's parameters; texts may hold ${…}.")


class PerhapsCalling(Part):
    """An operation, or another way."""

    use: Text | None = Field(default=None, description="The operation, such as prometheus.query.")
    via: Text | None = Field(default=None, description="The connection; left out for built-in ones.")
    with_: With = Field(default_factory=dict, description="The operation's parameters; texts may hold ${…}.")
