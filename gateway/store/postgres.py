"""The PostgreSQL store: two databases, named by URLs; any number of nodes, each with one writer and two readers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from gateway.store import dialect
from gateway.store.contract import StoreUnavailable
from gateway.store.postgres_thread import REPORT_SECONDS, PostgresThread, connect, file_of
from gateway.store.sql_store import SCHEMA_VERSION, SqlStore
from suppression.vault import KeyRing

__all__ = ["SCHEMA_VERSION", "PostgresStore", "create", "opened"]

PATIENCE = 10.0
_MAKING = "SELECT pg_advisory_xact_lock(3)"


def create(dsn: str, keys_dsn: str) -> None:
    """Make the tables of a new installation in two databases that are there. Existing ones are left alone, and so are
    keys in a file (`sqlite:FILE`).

    StoreUnavailable where a database cannot be reached or written, or both are one.
    """
    with ThreadPoolExecutor(1) as thread:  # whoever calls may have a loop of its own
        thread.submit(asyncio.run, _create(dsn, keys_dsn)).result()


async def _create(dsn: str, keys_dsn: str) -> None:
    try:
        if file_of(keys_dsn) is None:
            await _make(keys_dsn, dialect.keys_schema(), own="person_keys", other="meta")
        await _make(dsn, dialect.schema(), own="meta", other="person_keys")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as failed:
        raise StoreUnavailable(
            f"the database cannot be made: {failed.args[0] if failed.args else failed!r}"
        ) from failed


async def _make(dsn: str, schema: str, *, own: str, other: str) -> None:
    db = await connect(dsn, patience=PATIENCE)
    try:
        async with db.transaction():
            await db.execute(_MAKING)
            if await db.fetchval("SELECT to_regclass($1)", other) is not None:
                raise StoreUnavailable(
                    "data and keys are one database: make two, so that the copies of one do not keep the keys"
                )
            if await db.fetchval("SELECT to_regclass($1)", own) is None:
                await db.execute(schema)
    finally:
        await db.close()


@contextlib.asynccontextmanager
async def opened(dsn: str, keys_dsn: str, ring: KeyRing) -> AsyncIterator["PostgresStore"]:
    """The store, closed again at the end."""
    store = PostgresStore(dsn, keys_dsn, ring)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


class PostgresStore(SqlStore):
    """See contract.Store, call by call."""

    def __init__(self, dsn: str, keys_dsn: str, ring: KeyRing, *, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another node's transaction before giving up."""
        super().__init__(
            write=PostgresThread(dsn, keys_dsn, ring, read_only=False, patience=patience),
            fast=PostgresThread(dsn, keys_dsn, ring, read_only=True),
            slow=PostgresThread(dsn, keys_dsn, ring, read_only=True, answer_seconds=REPORT_SECONDS),
        )
