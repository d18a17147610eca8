"""The SQLite store: one database file, one file of keys."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from gateway.store.sql_store import SCHEMA_VERSION, SqlStore
from gateway.store.sqlite_connection import SqliteThread
from suppression.vault import KeyRing

__all__ = ["SCHEMA_VERSION", "SqliteStore", "create", "opened"]


def create(path: Path, keys_path: Path) -> None:
    """Make a new database and its keys database, readable by the owner only. Existing ones are left alone."""
    create_keys(keys_path)
    _make(path, "schema.sql")


def create_keys(path: Path) -> None:
    """The keys database alone, beside data that is on a server."""
    _make(path, "keys_schema.sql")


def _make(file: Path, schema: str) -> None:
    file.touch(mode=0o600, exist_ok=True)
    db = sqlite3.connect(file, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        if not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            db.executescript("BEGIN;" + (files("gateway.store") / "sql" / schema).read_text() + "COMMIT;")
    finally:
        db.close()


@contextlib.asynccontextmanager
async def opened(path: Path, keys_path: Path, ring: KeyRing) -> AsyncIterator["SqliteStore"]:
    """The store, closed again at the end."""
    store = SqliteStore(path, keys_path, ring)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


class SqliteStore(SqlStore):
    """See contract.Store, call by call."""

    def __init__(self, path: Path, keys_path: Path, ring: KeyRing, *, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another process's transaction before giving up."""
        super().__init__(
            write=SqliteThread(path, keys_path, ring, read_only=False, patience=patience),
            fast=SqliteThread(path, keys_path, ring, read_only=True),
            slow=SqliteThread(path, keys_path, ring, read_only=True),
        )
