"""Somebody who takes a node's name on PostgreSQL in the instant in which the node loses its connection."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from gateway.store.postgres_nodes import NAMES

_HELD = (
    "FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = $2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@asynccontextmanager
async def name_taken(url: str, worker: str) -> AsyncIterator[None]:
    """The name of a worker that is at work is another's, who was waiting for it, until the end of the block."""
    key = zlib.crc32(worker.encode()) - 2**31
    lock = NAMES, key % 2**32
    other, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        waiting = asyncio.create_task(other.execute("SELECT pg_advisory_lock($1, $2)", NAMES, key))
        while not await watcher.fetchval(f"SELECT count(*) {_HELD} AND NOT granted", *lock):
            await asyncio.sleep(0.01)
        await watcher.execute(f"SELECT pg_terminate_backend(pid) {_HELD} AND granted", *lock)
        await waiting
        yield
    finally:
        await other.close()
        await watcher.close()
