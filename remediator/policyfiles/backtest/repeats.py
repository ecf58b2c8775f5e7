"""Lines of a record that say again what a line before them said are read more quickly.

Most of a record is repeats. Of an alert that comes again with the same bytes, its annotations apart, what
was decoded and checked then is right now: only the annotations and the frame around it are read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from remediator.core.alert import Alert, Delivery
from remediator.errors import IntakeError
from remediator.intake.alertmanager import MAX_ALERTS, MAX_ANNOTATION, MAX_GROUP_KEY, plain
from remediator.intake.shape import check_shape


class _Alert(msgspec.Struct, rename="camel"):
    fingerprint: str
    status: Raw
    labels: Raw
    starts_at: Raw
    ends_at: Raw = Raw()
    generator_url: Raw = msgspec.field(default=Raw(), name="generatorURL")
    annotations: dict[str, str] | None = None

    def said(self) -> bytes:
        """What it says, its fingerprint and annotations apart: to the byte, and in one piece."""
        return b",".join((self.status, self.labels, self.starts_at, self.ends_at, self.generator_url))


class _Body(msgspec.Struct, rename="camel"):
    alerts: Annotated[list[_Alert], Meta(max_length=MAX_ALERTS)]
    group_key: Annotated[str, Meta(max_length=MAX_GROUP_KEY // 4)] = ""
    truncated_alerts: Annotated[int, Meta(ge=0, lt=2**31)] = 0


class _Line(msgspec.Struct):
    at: Annotated[datetime, Meta(tz=True)]
    body: _Body


_line = msgspec.json.Decoder(_Line)


class Repeats:
    """What each alert said when a line with it was last read whole."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[bytes, Alert]] = {}

    def read(self, line: bytes) -> Delivery | None:
        """A line (``{"at": …, "body": {…}}``) of which every alert is known; None for any other."""
        written = _decoded(line)
        if written is None or "\0" in written.body.group_key:
            return None
        body, alerts = written.body, []
        for one in body.alerts:
            said, known = self._known.get(one.fingerprint, _NOTHING)
            annotations = one.annotations or {}
            if known is None or said != one.said() or not plain(annotations, MAX_ANNOTATION):
                return None
            alerts.append(replace(known, annotations=annotations, truncated=body.truncated_alerts))
        return Delivery(
            source="file",
            alerts=tuple(alerts),
            received_at=written.at.astimezone(UTC),
            group_key=body.group_key,
            truncated=body.truncated_alerts,
        )

    def learn(self, line: bytes, delivery: Delivery) -> None:
        """A line that was read whole, and all of it was good."""
        written = _decoded(line)
        if written is None or len(written.body.alerts) != len(delivery.alerts):
            return
        for one, alert in zip(written.body.alerts, delivery.alerts, strict=True):
            self._known[one.fingerprint] = one.said(), alert


_NOTHING: tuple[None, None] = (None, None)


def _decoded(line: bytes) -> _Line | None:
    try:
        check_shape(line)
        return _line.decode(line)
    except (IntakeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
