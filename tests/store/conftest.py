"""The contract suites fail with pytest's own words, though their modules are not named test_*."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.postgres import Server

pytest.register_assert_rewrite("tests.store.contract", "tests.store.promises", "tests.store.shared")


@pytest.fixture(scope="session")
def store_database(server: Server) -> str:
    """One for all that only change rows."""
    from tests.store.postgres_rig import TEMPLATE, lay_out_once

    lay_out_once(server)
    return asyncio.run(server.copy(TEMPLATE))
