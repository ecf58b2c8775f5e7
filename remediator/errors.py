"""The whole error hierarchy. A "no" of the core is a value; these are bugs and a broken world.

RemediatorError            place, problem, remedy: what a person needs to mend it
├── ConfigError            remediator.yaml cannot be used; the daemon refuses to start
├── PolicyError            a policy cannot be used; the running set is kept
├── ExpressionError        an expression cannot be parsed
├── EvaluationError        an expression has no answer for these values; the run is refused
├── IntakeError            bytes that are not alerts (4xx; kept for the operator)
│   └── Overloaded         not now (503; the sender retries)
├── ConnectorError         a probe could not be read
└── StoreError             state cannot be read or written; nothing starts
    ├── LeaseLost          other replicas have taken over; this one begins anew
    └── SchemaTooNew       the database was written by a newer version
"""

from __future__ import annotations


class RemediatorError(Exception):
    """An error that names its place, the problem and a remedy, as fields."""

    def __init__(self, place: str, problem: str, *, remedy: str = "") -> None:
        """Shown as ``place: problem; remedy`` (empty parts left out)."""
        super().__init__(place, problem, remedy)
        self.place = place
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.place}: {self.told}" if self.place else self.told

    @property
    def told(self) -> str:
        """The problem and its remedy, where everybody knows the place."""
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class ConfigError(RemediatorError):
    """The daemon's settings cannot be used."""


class PolicyError(RemediatorError):
    """A policy document cannot be used."""


class ExpressionError(RemediatorError):
    """An expression or template cannot be parsed."""

    def __init__(self, place: str, problem: str, *, remedy: str = "", offset: int = 0) -> None:
        """``offset``: characters from the start of the expression's text to the problem."""
        super().__init__(place, problem, remedy=remedy)
        self.offset = offset


class EvaluationError(RemediatorError):
    """An expression has no answer for these values."""


class IntakeError(RemediatorError):
    """Bytes from outside that are not what they claim to be."""

    def __init__(self, place: str, problem: str, *, status: int = 400, remedy: str = "") -> None:
        """``status``: the HTTP status the sender is answered with."""
        super().__init__(place, problem, remedy=remedy)
        self.status = status


class Overloaded(IntakeError):
    """Too much at once; the sender should retry."""

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__("intake", problem, status=503, remedy=remedy)


class ConnectorError(RemediatorError):
    """A connection could not be read."""


class StoreError(RemediatorError):
    """The store cannot be read or written."""


class LeaseLost(StoreError):
    """This replica was silent for too long, and others have taken over what it did."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of Remediator."""
