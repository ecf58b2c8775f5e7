"""A Kubernetes cluster: what it offers, and to whom each call goes.

The probes: `reading`. Actions on workloads: `workloads` says what is to be changed, `restore` what is to be
taken back, `change` does it. `removal` deletes, `jobs` begins. The way to the API server is `link`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from remediator.connectors.kubernetes import change, jobs, reading, removal, workloads
from remediator.connectors.kubernetes import restore as restoring
from remediator.connectors.kubernetes.change import Wanted
from remediator.connectors.kubernetes.jobs import JOB
from remediator.connectors.kubernetes.link import Link
from remediator.connectors.kubernetes.reading import GET, RELEASE
from remediator.connectors.kubernetes.removal import DELETE
from remediator.connectors.kubernetes.restore import RESTORE
from remediator.connectors.kubernetes.settings import KubernetesSettings
from remediator.connectors.kubernetes.workloads import RESOURCES, RESTART, ROLLBACK, SCALE
from remediator.connectors.unoffered import Unoffered
from remediator.core.evidence import Picture
from remediator.core.intention import Call
from remediator.core.messages import Refused, Result
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind, Order


class Kubernetes(Unoffered):
    """A configured cluster."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._link = Link(settings)

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """An object, or a release."""
        try:
            async with asyncio.timeout(timeout):
                match call.operation:
                    case GET.name:
                        return await reading.read(self._link, call, self._settings)
                    case RELEASE.name:
                        return await reading.release(self._link, call, self._settings)
        except TimeoutError:
            raise _late(call, timeout) from None
        except ConnectorError as error:
            raise _of(call, error) from None
        return await super().read(call, timeout=timeout)

    async def preview(self, call: Call, *, timeout: float) -> Picture:
        """What it would change, tried by the API server without being done."""
        try:
            async with asyncio.timeout(timeout):
                match call.operation:
                    case DELETE.name:
                        return await removal.removal(call, self._settings).picture(self._link)
                    case JOB.name:
                        return await jobs.beginning(call, self._settings).picture(self._link)
                if (wanted := _wanted(call, self._settings)) is not None:
                    return await change.picture(self._link, wanted)
        except TimeoutError:
            raise _late(call, timeout) from None
        except ConnectorError as error:
            raise _of(call, error) from None
        return await super().preview(call, timeout=timeout)

    async def act(self, call: Call, *, order: Order, timeout: float) -> Result:
        """Do it, once. Each request has its own time; all of them together fit into the operation's."""
        try:
            match call.operation:
                case DELETE.name:
                    return await removal.removal(call, self._settings).done(self._link, order)
                case JOB.name:
                    return await jobs.beginning(call, self._settings).done(self._link, order)
                case RESTORE.name:
                    return await restoring.restoring(call, self._settings).restored(self._link, order)
            wanted = _wanted(call, self._settings)
        except ConnectorError as error:
            return Refused(f"never sent: {error.told}")
        if wanted is None:
            return await super().act(call, order=order, timeout=timeout)
        return await change.make(self._link, wanted, order)

    async def inquire(self, call: Call, mark: dict[str, Any], *, timeout: float) -> Result | None:
        """What became of a marked change."""
        try:
            async with asyncio.timeout(timeout):
                if call.operation == DELETE.name:
                    return await removal.removal(call, self._settings).became(self._link, mark)
                if call.operation == RESTORE.name:
                    place = restoring.restoring(call, self._settings).place
                    return await change.inquire(self._link, call.connection, place, mark)
                if (wanted := _wanted(call, self._settings)) is not None:
                    return await change.inquire(self._link, call.connection, wanted.place, mark)
        except TimeoutError:
            raise _late(call, timeout) from None
        except ConnectorError as error:
            raise _of(call, error) from None
        return await super().inquire(call, mark, timeout=timeout)


_CHANGES: Mapping[str, Callable[[Call, KubernetesSettings], Wanted]] = {
    SCALE.name: workloads.scaling,
    RESTART.name: workloads.restarting,
    ROLLBACK.name: workloads.rolling,
    RESOURCES.name: workloads.resizing,
}


def _wanted(call: Call, settings: KubernetesSettings) -> Wanted | None:
    judged = _CHANGES.get(call.operation)
    return judged(call, settings) if judged is not None else None


def _late(call: Call, timeout: float) -> ConnectorError:
    return ConnectorError(call.connection, f"no answer within {timeout:g} s")


def _of(call: Call, error: ConnectorError) -> ConnectorError:
    """With the connection's name: the way there does not know it."""
    return ConnectorError(call.connection, error.problem, remedy=error.remedy)


KIND = ConnectorKind(
    name="kubernetes",
    doc="A Kubernetes cluster, by kubernetes_asyncio.",
    operations=(GET, RELEASE, SCALE, RESTART, ROLLBACK, RESOURCES, DELETE, JOB, RESTORE),
    settings=KubernetesSettings,
    make=Kubernetes,
    needs="kubernetes_asyncio",
    judges={
        **_CHANGES,
        DELETE.name: removal.removal,
        JOB.name: jobs.beginning,
        GET.name: reading.looked,
        RELEASE.name: reading.released,
    },
)
