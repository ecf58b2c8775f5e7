"""One PostgreSQL for all stories of this folder, a fresh copy of the loyalty tables for each; one cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from remediator.connectors.postgres import Postgres, PostgresSettings
from tests.connectors.cluster import IN_THE_SHOP, Shop
from tests.connectors.cluster import connector as cluster
from tests.rig.kubernetes import FakeKubernetes, running
from tests.rig.postgres import Server


@pytest.fixture
async def database(server: Server) -> AsyncIterator[str]:
    name = await server.copy()
    yield name
    await server.drop(name)


@pytest.fixture
async def connector(server: Server, database: str) -> AsyncIterator[Callable[..., Postgres]]:
    """Makes connectors on the story's database; they are closed at its end."""
    made: list[Postgres] = []

    def make(**settings: object) -> Postgres:
        given = {
            "dsn": server.dsn(database),
            "tables": ["loyalty_programs", "loyalty_campaigns", "loyalty_users"],
            "hidden": ["loyalty_users.password_hash"],
            **settings,
        }
        made.append(Postgres(PostgresSettings.model_validate(given)))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture(scope="session")
def kube() -> Iterator[FakeKubernetes]:
    with running(secure=True) as fake:
        yield fake


@pytest.fixture
async def shop(kube: FakeKubernetes) -> AsyncIterator[Shop]:
    """Deployment web at its second revision, StatefulSet db, DaemonSet agent, a secret, a CronJob."""
    await kube.do(*IN_THE_SHOP)
    made = Shop(kube, cluster(kube))
    yield made
    made.close()
