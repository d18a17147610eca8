"""What tests of the whole program share: one relay per module, where its tests keep out of each other's way."""

from collections.abc import Iterator

import pytest

from tests.installation import Make
from tests.story.relay import Relay, load_people, relaying


@pytest.fixture(scope="module")
def relay(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A running gateway with the four people on file, and the server behind it; shared by the tests of a module."""
    installation = make(tmp_path_factory.mktemp("relay") / "installation")
    load_people(installation)
    with relaying(installation) as running:
        yield running
