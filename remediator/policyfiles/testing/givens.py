"""What a story gives: is it what a probe could read, or a step could come to?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from remediator.core.counting import counted
from remediator.documents import nearest
from remediator.documents.reading import Place
from remediator.policyfiles.checks.uses import Problem
from remediator.policyfiles.testing import shapes
from remediator.policyfiles.testing.models import GIVEN, PictureText
from remediator.policyfiles.testing.naming import Names, named


class Givens:
    """Asked of ``given``, and of the lines that change it."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def given(self, written: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        """Readings by the names of probes; what steps come to by STEP.result and STEP.preview."""
        readings = dict(written)
        for name, value in written.items():
            step, _, what = name.rpartition(".")
            if what not in GIVEN:
                continue
            del readings[name]
            known = self._names.acts if what == "result" else set(self._names.policy.steps)
            ends = {f"{one}.{what}" for one in known}
            if shapes.whole(name) not in ends:
                problem = f"the policy has no step {step!r}"
                yield Problem((*place, name), problem, nearest(name, ends), on_key=True)
            if what == "preview":
                yield from self.previewed(step, (*place, name))
            try:
                given = GIVEN[what].validate_python(value)
            except ValidationError:
                remedy = "write it as on a line of the story, such as refused or {refused: why}"
                yield Problem((*place, name), f"this is no {what}", remedy)
                continue
            if isinstance(given, PictureText):
                yield from pictured(given, (*place, name))
        yield from self.readings(readings, place)

    def readings(self, readings: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        """Each as its operation could answer."""
        probes = self._names.probes
        idle = {name for name in readings if shapes.whole(name) not in probes and _proof_of(name) in probes}
        for name in idle:
            step = name.rpartition(".")[0]
            problem = f"no proof of {step} looks at before, so it is never read"
            yield Problem((*place, name), problem, "leave it out", on_key=True)
        told = {name: value for name, value in readings.items() if name not in idle}
        yield from named(told, probes, "probe", place)
        for name, value in readings.items():
            probe = self._names.probes.get(shapes.whole(name))
            names = shapes.reads(self._names.known.catalog, probe.use or "") if probe is not None else ()
            if not names:
                continue
            if not isinstance(value, dict):
                if "value" not in names or isinstance(value, list | str):
                    problem = f"this is not what {probe.use if probe else ''} reads"
                    yield Problem((*place, name), problem, f"write a map of {', '.join(names)}")
                continue
            if "rows" in names:
                yield from self._rows(value, self._names.columns(shapes.whole(name)), (*place, name))
            if "series" in names:
                yield from self._numbers(value, (*place, name))
            if {"status", "json"} <= set(names) and not isinstance(value.get("status", 200), int):
                yield Problem((*place, name, "status"), "a status is a number", "write it as 503")
            for key in value:
                if key not in {*names, "error", "ok"}:
                    problem = f"{probe.use if probe else ''} reads no {key!r}"
                    yield Problem((*place, name, key), problem, nearest(key, names), on_key=True)

    def _rows(self, value: Mapping[str, Any], columns: frozenset[str], place: Place) -> Iterator[Problem]:
        """A row has the columns that its SELECT names, and no others; some may be left out."""
        rows: list[tuple[Place, Any]] = [(("row",), value.get("row"))]
        several = value.get("rows")
        if isinstance(several, list):
            first = several[0] if several else None
            if "row" in value and value["row"] != first:
                yield Problem(
                    (*place, "row"), "row is the first of rows", "write one of the two", on_key=True
                )
            if value.get("count", len(several)) != len(several):
                problem = f"{counted(len(several), 'row')} are not {value['count']}"
                yield Problem((*place, "count"), problem, "leave count out", on_key=True)
        elif value.get("row") is not None and value.get("count", 1) != 1:
            problem = f"one row is not {value['count']}"
            yield Problem((*place, "count"), problem, "write all of them under rows", on_key=True)
        if several is not None and not isinstance(several, list):
            yield Problem((*place, "rows"), "rows are a list of maps", "write [{column: value}]")
        elif several is not None:
            rows += [(("rows", number), row) for number, row in enumerate(several)]
        for there, row in rows:
            if row is not None and not isinstance(row, dict):
                yield Problem((*place, *there), "a row is a map", "write {column: value}")
            for column in row if isinstance(row, dict) and columns else ():
                if column not in columns:
                    problem = f"the SELECT has no column {column!r}"
                    yield Problem((*place, *there, column), problem, nearest(column, columns), on_key=True)

    def _numbers(self, value: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        """Prometheus' values are numbers, and NaN is none: its connector refuses it."""
        series = value["series"] if isinstance(value.get("series"), list) else []
        read: list[tuple[Place, Any]] = [(("value",), value.get("value"))]
        for number, one in enumerate(series):
            if isinstance(one, dict):
                read.append((("series", number, "value"), one.get("value")))
        for there, one in read:
            if one is not None and (isinstance(one, bool) or not isinstance(one, int | float)):
                remedy = "write a number; what cannot be read is {error: why}"
                yield Problem((*place, *there), f"prometheus.query reads no {one!r}"[:80], remedy)

    def previewed(self, name: str, place: Place) -> Iterator[Problem]:
        """What is never previewed has no picture."""
        step = self._names.policy.steps.get(shapes.whole(name))
        operation = self._names.known.catalog.operations.get(step.use) if step is not None else None
        if operation is not None and not operation.previews:
            yield Problem(place, f"{operation.name} is never previewed", "leave it out", on_key=True)


def _proof_of(name: str) -> str:
    """``pause.verify`` of ``pause.before``: the same probe, read after the act."""
    step, _, what = shapes.whole(name).rpartition(".")
    return f"{step}.verify" if what == "before" else ""


def pictured(picture: PictureText, place: Place) -> Iterator[Problem]:
    """A picture shows all that it counts; one that could not be made shows nothing."""
    if picture.error and picture.model_fields_set != {"error"}:
        yield Problem(place, "a preview that fails shows nothing", "keep error alone")
    if picture.rows and picture.count is not None and picture.count != len(picture.rows):
        problem = f"{counted(len(picture.rows), 'row')} are not {picture.count}"
        yield Problem((*place, "count"), problem, "leave count out", on_key=True)
