"""One PostgreSQL for all stories of this folder; a fresh copy of the loyalty tables for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from remediator.connectors.postgres import Postgres, PostgresSettings
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
