"""Every test of the store that takes `place` runs on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.store.places import Databases, Files, Place


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
