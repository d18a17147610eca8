"""Fixtures all tests share: where the corpus lies, a made installation, a gateway that runs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import postgres
from tests.installation import ROOT, Gateway, Installation, consentgate, free_ports

# A busy machine is slow now and then; what a property test finds must not depend on it.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def found_corpus() -> Path | None:
    """The shared corpus, beside the folder the checkout lies in or in it; None where it is not."""
    for folder in (ROOT.parent / "shared" / "corpus", ROOT / "shared" / "corpus"):
        if (folder / "README.md").is_file():
            return folder
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the corpus is missing, one test of each file over it is skipped and says so; the others are left out."""
    if found_corpus() is not None:
        return
    told: set[Path] = set()
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        over_corpus = "corpus" in getattr(item, "fixturenames", ())
        (left if over_corpus and item.path in told else kept).append(item)
        if over_corpus:
            told.add(item.path)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The shared corpus; tests over it are skipped where it is not."""
    found = found_corpus()
    if found is None:
        pytest.skip("shared corpus not found: the tests of this file over it are not run")
    return found


@pytest.fixture(scope="session")
def made() -> Iterator[Path]:
    """One example installation, made by the command; tests get copies of it."""
    with tempfile.TemporaryDirectory(prefix="consentgate-") as folder:
        place = Path(folder) / "made"
        # below those the system gives away, or a copy could get one of them and have it replaced twice
        ports = ["--smtp-port", 20001, "--http-port", 20002, "--return-port", 20003]
        done = consentgate("init", place, "--example", *ports)
        assert done.returncode == 0, done.stderr.decode()
        yield place


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with the capture route, on free ports of its own."""
    place = tmp_path / "installation"
    shutil.copytree(made, place)
    smtp, http, back = free_ports(3)
    words = [line.split(" ", 1) for line in (place / "passwords.txt").read_text().splitlines()]
    new = Installation(dir=place, smtp_port=smtp, http_port=http, return_port=back, passwords=dict(words))
    for old, port in ((20001, smtp), (20002, http), (20003, back)):
        new.change(f":{old}", f":{port}")
    return new


@pytest.fixture
def gateway(installation: Installation) -> Iterator[Gateway]:
    """A running gateway with the four people on file. Captures, unless the test starts it anew with a smarthost."""
    installation.load_people()
    running = Gateway(installation)
    try:
        yield running.start()
    finally:
        running.kill()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A PostgreSQL server for the tests of one process; each takes databases of its own on it."""
    with postgres.running() as running:
        yield running


@pytest.fixture
def empty_pair(postgresql: postgres.Server) -> Iterator[postgres.Pair]:
    """Two empty databases, for data and for keys; removed afterwards, whoever still uses them."""
    pair = postgresql.new_pair()
    yield pair
    postgresql.drop(pair)
