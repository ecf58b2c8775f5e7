"""Which real programs the tests drive, where they are found, and how to have them."""

from __future__ import annotations

import functools
import glob
import os
import shutil
from collections.abc import Iterable

_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# component -> (names of its program, or patterns of its path; Debian package)
_COMPONENTS: dict[str, tuple[tuple[str, ...], str]] = {
    "prometheus": (("prometheus",), "prometheus"),
    "promtool": (("promtool",), "prometheus"),
    "alertmanager": (("prometheus-alertmanager", "alertmanager"), "prometheus-alertmanager"),
    "amtool": (("amtool",), "prometheus-alertmanager"),
    "chromium": (("chromium", "chromium-browser"), "chromium"),
    "openssl": (("openssl",), "openssl"),
    "ip": (("ip",), "iproute2"),
    "redis": (("redis-server",), "redis-server"),
    "mariadb": (("mariadbd",), "mariadb-server"),
    "postgresql": (("postgres", "/usr/lib/postgresql/*/bin/postgres"), "postgresql"),
}


@functools.cache
def find(component: str) -> str | None:
    """The path of a component's program, or None where it is not installed."""
    names, _package = _COMPONENTS[component]
    for name in names:
        if name.startswith("/"):
            found = sorted(glob.glob(name), reverse=True)  # noqa: PTH207 - an absolute pattern
            if found:
                return found[0]
        elif path := shutil.which(name, path=_SEARCH):
            return path
    return None


def program(component: str) -> str:
    """The path of a component's program.

    Raises:
        FileNotFoundError: it is not installed; mark the test with ``needs``.
    """
    path = find(component)
    if path is None:
        message = f"{component} is not installed: {how_to_install([component])}"
        raise FileNotFoundError(message)
    return path


def missing(components: Iterable[str]) -> list[str]:
    """Those of the components that are not installed."""
    return [component for component in dict.fromkeys(components) if find(component) is None]


def how_to_install(components: Iterable[str]) -> str:
    """The command that installs them on Debian."""
    packages = sorted({_COMPONENTS[component][1] for component in components})
    return f"apt-get install --no-install-recommends {' '.join(packages)}"
