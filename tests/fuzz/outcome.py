"""What came of fuzzing one thing: how much was tried, and what did not hold, with which input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """One line of the table."""

    name: str
    engine: str
    executions: int
    taken: int
    """Inputs that were taken, and not refused at the door."""
    seconds: float
    problem: str = ""
    """What was found, with what it was found, and how to see it again; "" where nothing was."""

    def __str__(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0.0
        share = 100 * self.taken / self.executions if self.executions else 0.0
        line = (
            f"{self.name:10} {self.engine:14} {self.executions:9,} executions in {self.seconds:7.1f} s"
            f"  {rate:7,.0f}/s  {share:3.0f} % taken"
        )
        return f"{line}\n{self.problem}" if self.problem else line
