"""How full the file systems of this machine are: one probe, of the mount points that the config lists."""

from __future__ import annotations

import asyncio
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from remediator.config import Duration
from remediator.connectors.aside import Aside, TooManyError
from remediator.connectors.settings import Settings
from remediator.connectors.unoffered import Unoffered
from remediator.core.catalog import Kind, Operation, Param
from remediator.core.intention import Call
from remediator.errors import ConnectorError
from remediator.ports import ConnectorKind

LONGEST = timedelta(seconds=30)

USAGE = Operation(
    name="disk.usage",
    kind=Kind.PROBE,
    doc="How full a file system is: `used_pct` as df counts it, `free_bytes` for users that are not root.",
    params={
        "path": Param("The mount point, one that the connection lists, such as /var/lib.", required=True)
    },
    longest=LONGEST,
    reads=("used_pct", "free_bytes"),
)

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def _absolute(value: tuple[str, ...]) -> tuple[str, ...]:
    for path in value:
        if not path.startswith("/") or os.path.normpath(path) != path or not path.isprintable():
            raise ValueError(f"{path!r} is no mount point; write one such as / or /var/lib")
    return tuple(sorted(set(value)))


class DiskSettings(Settings):
    """File systems of this machine."""

    mounts: Annotated[tuple[str, ...], AfterValidator(_absolute)] = Field(
        min_length=1, description="the mount points that may be asked about, such as [/, /var/lib/data]"
    )
    timeout: Duration = Field(default=timedelta(seconds=5), gt=timedelta(0), le=LONGEST)


class Disk(Unoffered):
    """The listed file systems."""

    def __init__(self, settings: DiskSettings) -> None:
        self._settings = settings
        self._aside = Aside()

    async def read(self, call: Call, *, timeout: float) -> dict[str, Any]:
        """`used_pct` and `free_bytes`."""
        path = mount(call, self._settings)
        within = min(timeout, self._settings.timeout.total_seconds())
        try:
            async with asyncio.timeout(within):
                return await self._aside.ask(lambda: usage(path))
        except TimeoutError:
            remedy = "is it a network file system that is gone?"
            raise ConnectorError(
                call.connection, f"{path} does not answer within {within:g} s", remedy=remedy
            ) from None
        except TooManyError as error:
            raise ConnectorError(call.connection, str(error)) from None
        except OSError as error:
            remedy = "is it mounted?"
            raise ConnectorError(
                call.connection, f"{path}: {error.strerror or error}", remedy=remedy
            ) from None


def mount(call: Call, settings: DiskSettings) -> str:
    """The mount point that a call names. ConnectorError where it is not listed."""
    path = call.args.get("path")
    if path not in settings.mounts:
        listed = ", ".join(settings.mounts)
        problem = f"not asked: {str(path)[:80]!r} is none of its mounts: {listed}"
        raise ConnectorError(call.connection, problem, remedy="list it under mounts")
    return str(path)


def usage(path: str) -> dict[str, Any]:
    """Of one mount point. Raises OSError, also where nothing is mounted: that would be another's figures."""
    if not _mounted(path):
        raise OSError(None, "nothing is mounted there")
    found = os.statvfs(path)
    used = found.f_blocks - found.f_bfree
    ours = used + found.f_bavail  # without what is kept for root, as df counts
    used_pct = round(100.0 * used / ours, 2) if ours > 0 else 0.0
    return {"used_pct": used_pct, "free_bytes": found.f_bavail * found.f_frsize}


def _mounted(path: str) -> bool:
    """Bind mounts too, which `os.path.ismount` does not see."""
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # no Linux
        return os.path.ismount(path)
    return any(_OCTAL.sub(lambda one: chr(int(one[1], 8)), line.split(" ")[4]) == path for line in lines)


KIND = ConnectorKind(
    name="disk",
    doc="File systems of this machine.",
    operations=(USAGE,),
    settings=DiskSettings,
    make=Disk,
    judges={USAGE.name: mount},
)
