"""For all tests: which real components are here, and a loud word about those that are not.

A test that drives a real component says so::

    @pytest.mark.needs("prometheus", "alertmanager")

Where one is missing the test is skipped and the summary says so; with ``CI=true`` it fails.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from tests.rig.components import how_to_install, missing
from tests.rig.mariadb import MariaDB, running_mariadb
from tests.rig.postgres import Server, running_postgres
from tests.rig.slack import FakeSlack, running_slack
from tests.rig.world import LoyaltyWorld, running_world

os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""No test talks to anybody for whom the machine's authorities vouch. Each Python that imports aiohttp reads
them all, which takes a fifth of its start: there are hundreds."""
_COVERED = "COVERAGE_PROCESS_CONFIG"
"""Where coverage tells new processes to measure themselves."""
_MISSING = "needs a component that is not installed: "


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    absent = missing(name for marker in item.iter_markers("needs") for name in marker.args)
    if not absent:
        return
    reason = f"{_MISSING}{', '.join(absent)} ({how_to_install(absent)})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coverage is what the stories come to. Random searches would come there too, in twice the time."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What is not covered starts its processes without coverage, too."""
    how = os.environ.get(_COVERED) if item.get_closest_marker("no_cover") else None
    if how is not None:
        del os.environ[_COVERED]
    try:
        return (yield)
    finally:
        if how is not None:
            os.environ[_COVERED] = how


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    silent = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and _MISSING in report.longrepr[2]
    ]
    if not silent:
        return
    reasons = sorted({report.longrepr[2].partition(_MISSING)[2] for report in silent})
    terminalreporter.write_sep(
        "!", f"{len(silent)} tests did NOT run: components are missing", red=True, bold=True
    )
    for reason in reasons:
        terminalreporter.write_line(f"missing: {reason}", red=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One PostgreSQL for all tests of a worker; each has databases of its own."""
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """One MariaDB for all tests of a worker; each has databases of its own."""
    with running_mariadb() as running:
        yield running


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A fake Slack of the test's own."""
    with running_slack() as fake:
        yield fake


@pytest.fixture
def world() -> Iterator[LoyaltyWorld]:
    """A loyalty API of the test's own, with metrics, faults and a ledger."""
    with running_world() as one:
        yield one
