"""Brings a PostgreSQL database to the version of this program: the same numbered files as for SQLite (migrate.py).

Each is applied in one transaction in which nobody else writes; nodes of the version before go on reading meanwhile, and
find another version at their next look. No copy is made here: that is the server's backup.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from gateway.store import dialect
from gateway.store.migrate import MigrationFailed, way
from gateway.store.postgres_server import why
from gateway.store.postgres_thread import connect

PATIENCE = 10.0
STEP_SECONDS = 4 * 3600.0
"""How long one statement of a step may take."""
_ALONE = "SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock(2)"


async def migrate(url: str, name: str, target: int, steps: Mapping[int, str]) -> list[int]:
    """Apply the steps up to `target`; the versions reached, in order. `name`: what the database is called to people.

    MigrationFailed as for SQLite, and where the server cannot be used.
    """
    try:
        db = await connect(url, patience=PATIENCE, answer_seconds=STEP_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as failed:
        raise MigrationFailed(f"{name}: {why(failed)}") from None
    try:
        wanted = way(name, await _version_of(db, name), target, steps)
        for number in wanted:
            await _apply(db, number, steps[number])
        return wanted
    finally:
        await db.close(timeout=2)


async def _version_of(db: "asyncpg.Connection[Any]", name: str) -> int:
    try:
        found = await db.fetchval("SELECT value FROM meta WHERE name = 'schema'")
    except asyncpg.UndefinedTableError:
        found = None
    if found is None or not str(found).isdigit():
        raise MigrationFailed(f"{name}: carries no version; it was not made by consentgate init")
    return int(found)


async def _apply(db: "asyncpg.Connection[Any]", number: int, text: str) -> None:
    try:
        async with db.transaction():
            await db.execute(_ALONE)
            await db.execute(dialect.script(text))
            await db.execute("UPDATE meta SET value = $1 WHERE name = 'schema'", str(number))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as failed:
        raise MigrationFailed(f"migration {number:04}: {why(failed)}; nothing of it was applied") from None
