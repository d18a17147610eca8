"""Every test of the store that takes `place` runs on both databases."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.store.sql_store import SqlStore
from tests.postgres import Server
from tests.store.places import Databases, Files, Place
from tests.store.test_contract import Home


@pytest.fixture(scope="session")
def databases(postgresql: Server) -> Iterator[Databases]:
    """One pair for all tests of a process."""
    made = Databases(postgresql, postgresql.new_pair())
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Two empty databases."""
    if request.param == "sqlite":
        return Files(tmp_path)
    made: Databases = request.getfixturevalue("databases")
    return made.emptied()


@pytest.fixture
def home(place: Place) -> Home:
    return Home(place)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened
