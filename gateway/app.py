"""The composition root: the only module that names a database and reads the clock.

What only `serve` needs is loaded by `serve` alone: commands beside it start in a fraction of the time.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import log
from gateway.addressees import targets
from gateway.config import Config, Database
from gateway.keys import key_ring
from gateway.store import migrate, sqlite
from gateway.store.contract import Store
from gateway.store.nodes import FileNodes, Nodes
from gateway.store.sql_store import SqlStore

if TYPE_CHECKING:
    from gateway.store import moving

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
ARENAS = 2
LARGE_BLOCK = 512 * 1024
"""Blocks of memory from this size on go back to the system when they are freed (bytes)."""


def clock() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


def create_store(config: Config) -> None:
    """Make the databases of a new installation. StoreUnavailable names the one on a server that cannot be used."""
    if (files := _files(config)) is not None:
        sqlite.create(*files)
        return
    from gateway.store import postgres, postgres_server

    for place in (config.database, config.keys):
        if place.file is None:
            asyncio.run(postgres_server.check_new(place.url, place.name))
    if config.keys.file is not None:
        sqlite.create_keys(config.keys.file)
    postgres.create(config.database.url, config.keys.url)


def _files(config: Config) -> tuple[Path, Path] | None:
    """The files of data and keys; None where the data is on a server."""
    if config.database.file is None or config.keys.file is None:
        return None
    return config.database.file, config.keys.file


def migrate_store(config: Config) -> list[int]:
    """Bring the database to this version; the versions reached. OSError while a gateway is serving it."""
    with _only_one(config):
        if config.database.file is not None:
            return migrate.migrate(config.database.file, int(sqlite.SCHEMA_VERSION), migrate.known())
        from gateway.store import postgres_migrate

        place = config.database
        work = postgres_migrate.migrate(place.url, place.name, int(sqlite.SCHEMA_VERSION), migrate.known())
        return asyncio.run(work)


def move_store(config: Config, data: Database, keys: Database, told: "moving.Told") -> "list[moving.Moved]":
    """Move what is in files to where `data` and `keys` say, if that is elsewhere; the keys first.

    NotMoved where that cannot be done; OSError while a gateway is serving the installation.
    """
    from gateway.store import moving

    moved = []
    with _only_one(config):
        for before, after, ring in ((config.keys, keys, key_ring(config)), (config.database, data, None)):
            if before.file is not None and after.file is None:
                moved += asyncio.run(moving.move(before.file, after.url, after.name, keys=ring, told=told))
    return moved


@contextlib.asynccontextmanager
async def opened_store(config: Config) -> AsyncIterator[Store]:
    """The store of an installation, closed again at the end. StoreUnavailable when it cannot be used."""
    async with _store(config) as store:
        store.tell(targets(config))
        yield store


def _store(config: Config) -> contextlib.AbstractAsyncContextManager[SqlStore]:
    if (files := _files(config)) is not None:
        return sqlite.opened(*files, key_ring(config))
    from gateway.store import postgres

    return postgres.opened(config.database.url, config.keys.url, key_ring(config))


@contextlib.asynccontextmanager
async def joined(config: Config, worker: str) -> AsyncIterator[Nodes]:
    """This process among those that share the database. NameTaken, or StoreUnavailable when that is away."""
    nodes: Nodes = _nodes(config)
    try:
        await nodes.join(worker)
        yield nodes
    finally:
        await nodes.close()


def _nodes(config: Config) -> Nodes:
    if config.database.file is not None:
        return FileNodes(config.database.file)
    from gateway.store import postgres_nodes

    return postgres_nodes.PostgresNodes(config.database.url)


def serve(config: Config, *, workers: int = 1) -> int:
    """Run until SIGTERM or SIGINT. Exit code 0 when stopped, 1 when it could not start."""
    from gateway import serve as story

    log.configure(config.log.format, config.log.level)
    _give_large_blocks_back()
    try:
        with _only_one(config):
            return story.serve(config, workers=workers, clock=clock, joined=_at_work)
    except OSError as refused:
        print(f"consentgate: {refused}", file=sys.stderr)
        return 1


@contextlib.asynccontextmanager
async def _at_work(config: Config, worker: str) -> AsyncIterator[tuple[Nodes, Store]]:
    """A worker's place among all, and the store. NameTaken, or StoreUnavailable when that is away."""
    async with joined(config, worker) as nodes, opened_store(config) as store:
        yield nodes, store


def _give_large_blocks_back() -> None:
    """Messages of many megabytes are to leave no trace in our memory once they are gone (P11).

    glibc gives back what it mapped, but maps ever less after each large block that is freed, up to 32 MB, and keeps the
    rest, for each of many arenas. Options that are set stay as they are (mallopt(3)); other C libraries have none.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, LARGE_BLOCK)
        set_option(M_ARENA_MAX, ARENAS)


@contextlib.contextmanager
def _only_one(config: Config) -> Iterator[None]:
    """One gateway per installation and machine: two would take each other's claimed copies for their own."""
    lock = os.open(config.dir / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OSError(f"another gateway is serving {config.path}; stop it first") from None
    try:
        yield
    finally:
        os.close(lock)
