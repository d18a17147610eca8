"""What tests of the whole program share: one relay per module, where its tests keep out of each other's way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.relay import Relay, fresh, load_people, relaying


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A running gateway with the four people on file, and the server behind it; shared by the tests of a module."""
    installation = fresh(made, tmp_path_factory.mktemp("relay") / "installation")
    load_people(installation)
    with relaying(installation) as running:
        yield running
