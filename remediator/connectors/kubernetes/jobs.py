"""kubernetes.job: begins a Job that the connection declares, once: its name follows from the step's key.

A second sending meets the first one's Job: "already exists" means done. Values from policies become values
of environment variables, each fitting its pattern; nothing else of the Job can be changed by them.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import Any

import re2

from remediator.connectors.kubernetes.change import INTENT
from remediator.connectors.kubernetes.kinds import KINDS, Place
from remediator.connectors.kubernetes.link import (
    MANAGER,
    SERVER_TIMEOUT,
    Answer,
    AnsweredError,
    Link,
    LostError,
    NeverSentError,
    judged,
)
from remediator.connectors.kubernetes.settings import JobSettings, KubernetesSettings, unfit_spec
from remediator.connectors.kubernetes.workloads import LONGEST
from remediator.core.calls import printable
from remediator.core.canonical import digest
from remediator.core.catalog import Escape, Fence, Kind, Operation, Param, Risk
from remediator.core.evidence import Picture
from remediator.core.exact import same
from remediator.core.intention import Call
from remediator.core.messages import Done, Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import Order

JOB = Operation(
    name="kubernetes.job",
    kind=Kind.ACTION,
    doc="Begin a Job that the connection declares, of a CronJob's template or of its own.",
    params={
        "job": Param("The name of one of the connection's jobs.", escape=Escape.LITERAL, required=True),
        "values": Param("Map of the environment variables that it lets policies fill in.", type="strings"),
    },
    risk=Risk.DESTRUCTIVE,
    fence=Fence.KEY,
    longest=LONGEST,
    previews=True,
)

JOB_LABEL = "remediator/job"
"""The label by which the Jobs of one declared name are found."""
LONGEST_VALUE = 4096
"""Characters of one value."""


@dataclass(frozen=True)
class Beginning:
    """A call of kubernetes.job, judged."""

    name: str
    job: str
    settings: JobSettings
    values: dict[str, str]

    async def picture(self, link: Link) -> Picture:
        """What it would run; the API server tries it without doing it. ConnectorError."""
        spec = await self._spec(link)
        try:
            await self._send(link, spec, f"preview:{self.job}", {"dryRun": "All"})
        except (NeverSentError, LostError, AnsweredError) as error:
            raise ConnectorError(self.name, f"begins job {self.job}: the dry run {error}") from None
        return Picture(1, f"begins job {self.job} in {self.settings.namespace}", (self._row(spec),))

    async def done(self, link: Link, order: Order) -> Result:
        """Begin it. Never raises for what the world does."""
        try:
            spec = await self._spec(link)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if order.shown is not None and not same((self._row(spec),), order.shown.rows):
            return Refused(f"never sent: job {self.job} is no longer as it was approved")
        try:
            begun = await self._send(link, spec, order.key, {}, order)
        except AnsweredError as error:
            if error.reason != "AlreadyExists":
                return judged(error)
            return await self._known(link, order.key, error)
        except (NeverSentError, LostError) as error:
            return judged(error)
        return Done(self._result(begun))

    async def _known(self, link: Link, key: str, error: AnsweredError) -> Result:
        """There is one of this name: ours, begun by an earlier sending."""
        try:
            there = await link.get(self.name, self._place(key))
        except ConnectorError as gone:
            return judged(LostError(f"{error}; and then: {gone.told}"))
        if (there.object["metadata"].get("annotations") or {}).get(INTENT) != key:
            return Refused(f"{error}; it is somebody else's")
        return Done(self._result(there))

    def _result(self, begun: Answer) -> dict[str, Any]:
        meta = begun.object["metadata"]
        return {"kind": "job", "namespace": self.settings.namespace, "name": meta["name"], "uid": meta["uid"]}

    def _place(self, key: str) -> Place:
        name = f"{self.job}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        return Place(KINDS["job"], self.settings.namespace, name)

    async def _spec(self, link: Link) -> dict[str, Any]:
        """The spec of the Job, with the values. ConnectorError."""
        spec = self.settings.spec
        if self.settings.cronjob is not None:
            place = Place(KINDS["cronjob"], self.settings.namespace, self.settings.cronjob)
            held = await link.get(self.name, place)
            spec = ((held.object.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
            if problem := unfit_spec(spec):
                raise ConnectorError(self.name, f"cronjob {place.namespace}/{place.name}: {problem}")
        spec = copy.deepcopy(dict(spec or {}))
        first = spec["template"]["spec"]["containers"][0]
        kept = [one for one in first.get("env") or () if one.get("name") not in self.values]
        given = [{"name": name, "value": value} for name, value in sorted(self.values.items())]
        if kept or given:
            first["env"] = kept + given
        return spec

    def _row(self, spec: dict[str, Any]) -> dict[str, Any]:
        containers = spec["template"]["spec"]["containers"]
        images = ", ".join(f"{one.get('name')}={one.get('image')}" for one in containers)
        key = {"kind": "job", "namespace": self.settings.namespace, "name": self.job}
        return {
            "key": key,
            "before": {},
            "after": {"images": images, **self.values, "template": digest(spec)[:16]},
        }

    async def _send(
        self, link: Link, spec: dict[str, Any], key: str, query: dict[str, str], order: Order | None = None
    ) -> Answer:
        place = self._place(key)
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": place.name,
                "namespace": place.namespace,
                "labels": {JOB_LABEL: self.job},
                "annotations": {INTENT: key},
            },
            "spec": spec,
        }
        late = {"late": order.late} if order is not None else {}
        query = {"fieldManager": MANAGER, "timeout": SERVER_TIMEOUT, **query}
        return await link.send("POST", place.kind.path(place.namespace), query=query, body=body, **late)


def beginning(call: Call, settings: KubernetesSettings) -> Beginning:
    """What a call asks for. ConnectorError where it may not be asked."""
    job, values = call.args.get("job"), call.args.get("values") or {}
    declared = settings.jobs.get(str(job))
    if declared is None:
        known = ", ".join(sorted(settings.jobs)) or "none"
        raise ConnectorError(call.connection, f"the connection declares no job {job!r}, but: {known}")
    if not isinstance(values, dict) or values.keys() != declared.values.keys():
        wanted = ", ".join(sorted(declared.values)) or "none"
        raise ConnectorError(call.connection, f"job {job} takes the values {wanted}")
    for name, value in values.items():
        fits = isinstance(value, str) and len(value) <= LONGEST_VALUE and "\0" not in value
        if not fits or not re2.fullmatch(declared.values[name], value):
            given = printable(str(value), 80)
            problem = f"values.{name} of job {job}: {given!r} does not fit its pattern"
            raise ConnectorError(call.connection, problem)
    return Beginning(call.connection, str(job), declared, dict(values))
