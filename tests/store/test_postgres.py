"""The PostgreSQL store under contract, on a real server, and what only a server can suffer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from remediator.ports import Store
from tests.rig.postgres import Server
from tests.store.contract import TxContract, store
from tests.store.doubting import DoubtContract, KeptDoubtContract
from tests.store.postgres_rig import TEMPLATE, PostgresRig
from tests.store.promises import PromiseContract
from tests.store.pruning import PruneContract
from tests.store.samples import HandClock
from tests.store.shared import SharedContract
from tests.store.spoiling import SpoilContract

__all__ = ["store"]

pytestmark = [pytest.mark.real, pytest.mark.needs("postgresql")]


@pytest.fixture
async def rig(server: Server, store_database: str) -> AsyncIterator[PostgresRig]:
    rig = PostgresRig(server, store_database)
    yield rig
    await rig.close()
    await rig.clean()


@pytest.fixture
async def own(server: Server, store_database: str) -> AsyncIterator[PostgresRig]:
    """A database of the test's own, for whoever changes more than rows."""
    rig = PostgresRig(server, await server.copy(TEMPLATE))
    yield rig
    await rig.close()


@pytest.fixture
def clock(rig: PostgresRig) -> HandClock:
    return rig.clock


@pytest.fixture
async def two(rig: PostgresRig) -> tuple[Store, Store]:
    return await rig.opened(), await rig.opened()


class TestTx(TxContract):
    pass


class TestPromises(PromiseContract):
    pass


class TestDoubts(DoubtContract, KeptDoubtContract):
    pass


class TestSpoilt(SpoilContract):
    pass


class TestPruning(PruneContract):
    pass


class TestShared(SharedContract):
    pass
