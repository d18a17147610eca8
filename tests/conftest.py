"""Fixtures all tests share: where the corpus lies, a made installation, a gateway that runs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import postgres
from tests.installation import MADE_PORTS, ROOT, Gateway, Installation, Make, consentgate, fresh

# A busy machine is slow now and then; what a property test finds must not depend on it.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

LEFT_OUT = pytest.StashKey[int]()
"""How many tests were left out because the corpus is missing."""


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
    config.stash[LEFT_OUT] = len(left)
    items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs a share of the tests tells the one that started it how many it left out."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["left out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All of them have left out the same ones; one that died says nothing."""
    stash = node.config.stash
    stash[LEFT_OUT] = max(stash.get(LEFT_OUT, 0), getattr(node, "workeroutput", {}).get("left out", 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Nobody takes a run without the corpus for a whole one."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(f"shared corpus not found: {count} more tests over it were left out")


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
        smtp, http, back = MADE_PORTS
        ports = ["--smtp-port", smtp, "--http-port", http, "--return-port", back]
        done = consentgate("init", place, "--example", *ports)
        assert done.returncode == 0, done.stderr.decode()
        yield place


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with the capture route, on free ports of its own."""
    return fresh(made, tmp_path / "installation")


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> str:
    """Which database the installations of a module or test are on (`on_both`)."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture(scope="session")
def made_on_server(postgresql: postgres.Server) -> Iterator[tuple[Path, postgres.Pair]]:
    """The same example installation on PostgreSQL; its databases are templates for others."""
    pair = postgresql.new_pair()
    with tempfile.TemporaryDirectory(prefix="consentgate-") as folder:
        place = Path(folder) / "made"
        smtp, http, back = MADE_PORTS
        ports = ["--smtp-port", smtp, "--http-port", http, "--return-port", back]
        done = consentgate(
            "init", place, "--example", *ports, "--database", pair.data, "--keys-database", pair.keys
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        yield place, pair


@pytest.fixture(scope="module")
def make(request: pytest.FixtureRequest, database: str) -> Iterator[Make]:
    """Makes an example installation in a folder that is not there yet, on the database of this module or test."""
    if database == "sqlite":
        made: Path = request.getfixturevalue("made")
        yield lambda place: fresh(made, place)
        return
    server: postgres.Server = request.getfixturevalue("postgresql")
    on_server, like = request.getfixturevalue("made_on_server")
    pairs: list[postgres.Pair] = []

    def make(place: Path) -> Installation:
        pair = server.new_pair(like=like)
        pairs.append(pair)
        new = fresh(on_server, place)
        new.change(like.data, pair.data)
        new.change(like.keys, pair.keys)
        new.server, new.pair = server, pair
        return new

    yield make
    for pair in pairs:
        server.drop(pair)


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
