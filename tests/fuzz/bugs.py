"""Planted bugs: what is fuzzed, broken on purpose in one place. A fuzzer that misses one proves nothing.

None shows with the first seeds as they are: it takes changes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from remediator.core import selector
from remediator.documents import reading
from remediator.intake import alertmanager
from remediator.people import clicks

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Bug:
    """Where it is, what is wrong, in words, and how it is made so."""

    target: str
    what: str
    plant: Plant


BUGS: dict[str, Bug] = {}


def bug(target: str, what: str) -> Callable[[Plant], Plant]:
    """Registers one, by its function's name."""

    def kept(plant: Plant) -> Plant:
        BUGS[plant.__name__.replace("_", "-")] = Bug(target, what, plant)
        return plant

    return kept


@bug("webhook", "names of labels and annotations are stored with underscores for what is no letter")
def names_are_mended(patch: pytest.MonkeyPatch) -> None:
    known = alertmanager._checked

    def mended(texts: dict[str, str]) -> dict[str, str]:
        return {re.sub(r"\W", "_", name, flags=re.ASCII): value for name, value in texts.items()}

    def checked(alert: Any, truncated: int, source: str) -> Any:
        found = known(alert, truncated, source)
        return msgspec.structs.replace(
            found, labels=mended(found.labels), annotations=mended(found.annotations)
        )

    patch.setattr(alertmanager, "_checked", checked)


@bug("matchers", "a printed value is quoted, and nothing in it is escaped")
def nothing_is_escaped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(selector, "_quoted", lambda text: f'"{text}"')


@bug("policies", "columns of what is no YAML count from nought")
def columns_from_nought(patch: pytest.MonkeyPatch) -> None:
    known = reading._complaint

    def complaint(*given: Any) -> Any:
        found = known(*given)
        found.position = found.position._replace(col=found.position.col - 1)
        return found

    patch.setattr(reading, "_complaint", complaint)


@bug("clicks", "members of other teams are taken for ours")
def teams_are_not_compared(patch: pytest.MonkeyPatch) -> None:
    def user(payload: dict[str, Any]) -> str | clicks.Declined:
        match payload:
            case {"user": {"id": str(user)}, "team": {"id": str(team)}}:
                return f"{team}/{user}"
        return clicks.Declined("this click names no user")

    patch.setattr(clicks, "_user", user)
