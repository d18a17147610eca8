"""Where the tests of the store put their databases: files of SQLite, or a pair on a PostgreSQL server."""

import asyncio
import contextlib
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import asyncpg

from gateway.store import dialect, postgres, sqlite
from gateway.store.sql_store import SqlStore
from suppression.vault import KeyRing
from tests.postgres import Pair, Server

Which = Literal["data", "keys"]
REFUSED = (sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError)
"""How a database refuses what its schema forbids."""


class Place(Protocol):
    """The two databases of one installation, and a way to look into them past the store."""

    data: Any
    keys: Any
    on_server: bool

    def opened(self, ring: KeyRing) -> Any: ...
    def store(self, ring: KeyRing, *, patience: float = 5.0) -> SqlStore: ...

    def ask(self, sql: str, *values: Any, of: Which = "data", forged: bool = False) -> list[tuple[Any, ...]]:
        """Run a statement in SQLite's words with ? for values, committed at once; its rows.

        `forged`: past the schema's triggers, as somebody can who holds the database.
        """
        ...

    def columns(self, table: str) -> list[str]: ...

    def on_disk(self) -> bytes:
        """Every octet of both databases' files, logs too."""
        ...


class Files:
    """Two files of SQLite in a folder."""

    on_server = False

    def __init__(self, folder: Path) -> None:
        self.data, self.keys = folder / "data.db", folder / "keys.db"
        sqlite.create(self.data, self.keys)

    def opened(self, ring: KeyRing) -> Any:
        return sqlite.opened(self.data, self.keys, ring)

    def store(self, ring: KeyRing, *, patience: float = 5.0) -> SqlStore:
        return sqlite.SqliteStore(self.data, self.keys, ring, patience=patience)

    def ask(self, sql: str, *values: Any, of: Which = "data", forged: bool = False) -> list[tuple[Any, ...]]:
        file = self.data if of == "data" else self.keys
        with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=20)) as db:
            triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers if forged else ():
                db.execute(f'DROP TRIGGER "{name}"')
            try:
                return db.execute(sql, values).fetchall()
            finally:
                for _, text in triggers if forged else ():
                    db.execute(text)

    def columns(self, table: str) -> list[str]:
        return [name for _, name, *_ in self.ask(f"PRAGMA table_info({table})")]

    def on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.data.parent.iterdir()))


class Databases:
    """Two databases on a PostgreSQL server."""

    on_server = True

    def __init__(self, server: Server, pair: Pair) -> None:
        self.server, self.data, self.keys = server, pair.data, pair.keys

    @classmethod
    def made(cls, server: Server) -> "Databases":
        """A new pair with the schema."""
        pair = server.new_pair()
        postgres.create(*pair)
        return cls(server, pair)

    def emptied(self) -> "Databases":
        """The same as new: emptied takes a tenth of the time that making does."""
        for of in ("data", "keys"):
            self._run(
                "DO $$ DECLARE one text; BEGIN "
                "PERFORM pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid(); "
                "FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP "
                "EXECUTE format('DELETE FROM %I', one); END LOOP; END $$",
                of,
                forged=True,
            )
        self.ask("INSERT INTO meta (name, value) VALUES ('schema', ?)", postgres.SCHEMA_VERSION)
        return self

    def opened(self, ring: KeyRing) -> Any:
        return postgres.opened(self.data, self.keys, ring)

    def store(self, ring: KeyRing, *, patience: float = 5.0) -> SqlStore:
        return postgres.PostgresStore(self.data, self.keys, ring, patience=patience)

    def ask(self, sql: str, *values: Any, of: Which = "data", forged: bool = False) -> list[tuple[Any, ...]]:
        return self._run(dialect.translated(_in_words(sql)).text, of, *values, forged=forged)

    def _run(self, sql: str, of: Which, *values: Any, forged: bool = False) -> list[tuple[Any, ...]]:
        async def run() -> list[tuple[Any, ...]]:
            name = (self.data if of == "data" else self.keys).rpartition("/")[2]
            db = await asyncpg.connect(self.server.url(name, user="postgres"))
            try:
                if forged:
                    await db.execute("SET session_replication_role = replica")
                return [tuple(row) for row in await db.fetch(sql, *values)]
            finally:
                await db.close()

        with ThreadPoolExecutor(1) as thread:  # the test has a loop of its own
            return thread.submit(asyncio.run, run()).result()

    def columns(self, table: str) -> list[str]:
        sql = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 ORDER BY attnum"
        return [name for (name,) in self.ask(sql, table)]

    def on_disk(self) -> bytes:
        """Once all is written back; the write-ahead log is the server's, not the databases'."""
        self.server.ask("CHECKPOINT")
        rows = self.server.ask(
            "SELECT oid FROM pg_database WHERE datname IN "
            f"('{self.data.rpartition('/')[2]}', '{self.keys.rpartition('/')[2]}')"
        )
        return b"".join(
            path.read_bytes() for (oid,) in rows for path in sorted((self.server.data / "base" / oid).iterdir())
        )


def _in_words(sql: str) -> str:
    """What SQLite says otherwise in the statements of tests."""
    sql = re.sub(r"\bx'([0-9a-fA-F]*)'", r"decode('\1', 'hex')", sql)
    sql = re.sub(r"\b(?:zero|random)blob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", sql)
    return re.sub(r"json_array_length\(public, '\$\.keys'\)", "jsonb_array_length(fields(public) -> 'keys')", sql)
