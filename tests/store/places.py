"""Where the tests of the store put their databases: files of SQLite, or a pair on a PostgreSQL server."""

import asyncio
import contextlib
import json
import re
import sqlite3
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import asyncpg

from gateway.store import dialect, postgres, sqlite
from gateway.store.postgres_thread import connect
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


class Prepared(NamedTuple):
    """The types of a statement's values and of what it gives."""

    parameters: list[str]
    columns: list[str]


_KINDS = {"int8": "bigint", "int4": "integer", "bool": "boolean"}


class Databases:
    """Two databases on a PostgreSQL server."""

    on_server = True

    def __init__(self, server: Server, pair: Pair) -> None:
        """`pair`: two databases that are empty."""
        self.server, self.data, self.keys = server, pair.data, pair.keys
        postgres.create(*pair)
        self._loop = asyncio.new_event_loop()  # a test has a loop of its own
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: dict[Which, asyncpg.Connection[asyncpg.Record]] = {}

    def close(self) -> None:
        """Let go of the server."""
        for one in self._open.values():
            self._wait(one.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

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

    def script(self, sql: str) -> None:
        """Run statements of PostgreSQL as they are, on the data."""
        self._wait(self._scripted(sql))

    async def _scripted(self, sql: str) -> None:
        await (await self._connection("data")).execute(sql)

    def prepared(self, text: str, of: Which = "data") -> "Prepared":
        """What the server makes of a statement."""

        async def prepare() -> Prepared:
            made = await (await self._connection(of)).prepare(text)
            return Prepared(
                [_KINDS.get(one.name, one.name) for one in made.get_parameters()],
                [_KINDS.get(one.type.name, one.type.name) for one in made.get_attributes()],
            )

        made: Prepared = self._wait(prepare())
        return made

    def plan(self, statement: dialect.Statement, of: Which = "data") -> dict[str, Any]:
        """How the server goes about a statement, whatever its values, in a session as the store's are."""

        async def explain() -> str:
            db = await connect(self.data if of == "data" else self.keys, patience=5.0)
            try:
                await db.execute(f"SET plan_cache_mode = force_generic_plan; PREPARE asked AS {statement.text}")
                values = f"({', '.join(['NULL'] * len(statement.names))})" if statement.names else ""
                found: str = await db.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{values}")
                return found
            finally:
                await db.close()

        [made] = json.loads(self._wait(explain()))
        plan: dict[str, Any] = made["Plan"]
        return plan

    async def _connection(self, of: Which) -> "asyncpg.Connection[asyncpg.Record]":
        db = self._open.get(of)
        if db is None or db.is_closed():
            name = (self.data if of == "data" else self.keys).rpartition("/")[2]
            db = self._open[of] = await asyncpg.connect(self.server.url(name, user="postgres"))
        return db

    def _run(self, sql: str, of: Which, *values: Any, forged: bool = False) -> list[tuple[Any, ...]]:
        return self._wait(self._asked(sql, of, values, "replica" if forged else "origin"))

    async def _asked(self, sql: str, of: Which, values: tuple[Any, ...], role: str) -> list[tuple[Any, ...]]:
        db = await self._connection(of)
        await db.execute(f"SET session_replication_role = {role}")
        return [tuple(row) for row in await db.fetch(sql, *values)]

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

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
    sql = re.sub(r"CAST\((\w+ \|\| x'\w+') AS BLOB\)", r"\1", sql)
    sql = re.sub(r"\bx'([0-9a-fA-F]*)'", r"decode('\1', 'hex')", sql)
    sql = re.sub(r"\bzeroblob\((\d+|length\(\w+\))\)", r"decode(repeat('00', \1), 'hex')", sql)
    sql = re.sub(r"CAST\(replace\((\w+), ", r"convert_to(replace(convert_from(\1, 'UTF8'), ", sql)
    sql = re.sub(r"\) AS BLOB\)", r"), 'UTF8')", sql)
    return re.sub(r"json_array_length\(public, '\$\.keys'\)", "jsonb_array_length(fields(public) -> 'keys')", sql)
