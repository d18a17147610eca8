"""A connection to PostgreSQL, asked as sqlite3's is: the data, and the keys.

Whoever asks waits in a thread of its own for what the server says (postgres_thread.py). Statements are put in its words
(dialect.py) and planned once. The driver's errors come through as they are.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from gateway.store.dialect import one_row, translated
from gateway.store.nodes import CHANNEL, Call
from gateway.store.sqlite_connection import SqliteConnection

DRIVER: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, sqlite3.Error,
)  # fmt: skip
"""What a connection raises, that to a file of keys included."""
EMPTY_MS: Final = 250
"""How long writing the keys anew waits for others (ms): others wait behind it."""
_NOTED: Final = "SELECT name, file, pg_relation_filenode(name) FROM destroyed ORDER BY name"
_MEANWHILE: Final = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
_SOMEBODY_LOOKS: Final = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_xmin IS NOT NULL LIMIT 1"
)


class Again(Exception):
    """Another node made a key that this one was about to make, or emptied the box that it was to be put into."""


def is_odd_value(failed: BaseException) -> bool:
    """Whether the driver refused a value before it asked the server."""
    return isinstance(failed, asyncpg.InterfaceError) and isinstance(failed, ValueError)


class _Prepared(NamedTuple):
    """A statement the server knows, and what its values are called and of what type."""

    statement: "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"
    names: tuple[str | int, ...]
    types: tuple[str, ...]

    def values(self, parameters: Any) -> list[Any]:
        """The values of one call in the order of the places."""
        given = [parameters[name] for name in self.names] if isinstance(parameters, Mapping) else parameters
        return [_value(kind, value) for kind, value in zip(self.types, given, strict=True)]


def _value(kind: str, value: Any) -> Any:
    if kind == "text":
        return value.replace("\0", "\ufffd") if value is not None and "\0" in value else value
    if kind == "int8":
        return int(value) if value is True or value is False else value
    return value


class _Rows:
    """What a statement gave; also the cursor that aiosql asks for."""

    __slots__ = ("_at", "_connection", "_rows", "rowcount")

    def __init__(self, connection: "PostgresConnection") -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self._at = 0
        self.rowcount = -1

    def execute(self, sql: str, parameters: Any = (), /) -> "_Rows":
        self._rows, self.rowcount = self._connection.ask(sql, parameters)
        self._at = 0
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> "_Rows":
        self._connection.executemany(sql, parameters)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        if self._at >= len(self._rows):
            return None
        self._at += 1
        return self._rows[self._at - 1]

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._at = self._rows[self._at :], len(self._rows)
        return rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchall())

    def close(self) -> None:
        self._rows = []


class PostgresConnection:
    """See connection.Database, call by call."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", wait: Callable[[Coroutine[Any, Any, Any]], Any], *,
        read_only: bool,
    ) -> None:  # fmt: skip
        """`wait`: runs a coroutine to its end on the loop of the connection."""
        self._connection = connection
        self._wait = wait
        self._begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else "BEGIN"
        self._prepared: dict[tuple[str, bool], _Prepared] = {}

    @property
    def in_transaction(self) -> bool:
        return self._connection.is_in_transaction()

    def close(self) -> None:
        with contextlib.suppress(*DRIVER):
            self._wait(self._connection.close(timeout=2))

    def cut(self) -> None:
        """Close without a word to the server, which may not be there."""
        self._connection.terminate()

    def script(self, sql: str) -> str:
        """Run statements without values, as they are; what the last one says."""
        status: str = self._wait(self._connection.execute(sql))
        return status

    def cursor(self) -> _Rows:
        return _Rows(self)

    def execute(self, sql: str, parameters: Any = (), /) -> _Rows:
        return _Rows(self).execute(sql, parameters)

    def ask(self, sql: str, parameters: Any) -> tuple[list[tuple[Any, ...]], int]:
        """The rows of a statement, and how many rows it changed or gave."""
        if sql == "BEGIN":
            self.script(self._begin)
            return [], -1
        if sql in {"COMMIT", "ROLLBACK"}:
            self._end(sql)
            return [], -1
        prepared = self._prepare(sql)
        records = self._wait(prepared.statement.fetch(*prepared.values(parameters)))
        count = (prepared.statement.get_statusmsg() or "").rpartition(" ")[2]
        return [tuple(record) for record in records], int(count) if count.isdigit() else -1

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Rows:
        prepared = self._prepare(sql)
        values = [prepared.values(one) for one in parameters]
        if values:
            self._wait(prepared.statement.executemany(values))
        return _Rows(self)

    def insert(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.executemany(sql, rows)

    def begin(self, *, adding: bool = False) -> None:
        if not adding:
            self.script(self._begin)

    def of_many(self, sql: str, controller_id: str, keys: Sequence[bytes], **named: Any) -> Iterator[tuple[Any, ...]]:
        if keys:
            yield from self.execute(sql, {"controller_id": controller_id, "keys": list(keys), **named})

    def each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """All of them sent before the first is answered."""
        if not rows:
            return []
        prepared = self._prepare(sql, each=True)
        records = self._wait(prepared.statement.fetchmany([prepared.values(row) for row in rows]))
        return [tuple(record)[:-1] if record[-1] else None for record in records]

    def of_rows(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        if rows:
            yield from self.execute(sql, {f"w{n}": list(column) for n, column in enumerate(zip(*rows, strict=True))})

    def insert_long(self, sql: str, named: Mapping[str, Any], column: tuple[str, str], pieces: Sequence[bytes]) -> None:
        self.execute(sql, {**named, "pieces": b"".join(pieces)})

    def call(self, what: Call) -> None:
        self.execute("SELECT pg_notify(CAST(? AS text), CAST(? AS text))", (CHANNEL, what))

    def let_log_grow(self) -> None:
        """Nothing to say: the server decides."""

    def emptied(self) -> bool:
        """Whatever is sealed in the data is unreadable without its key; its rows need no more than to be deleted."""
        return True

    def _prepare(self, sql: str, *, each: bool = False) -> _Prepared:
        known = self._prepared.get((sql, each))
        if known is None:
            text, names = translated(sql)
            name = f"consentgate_{len(self._prepared)}"  # without one the server would plan it anew each time
            statement = self._wait(self._connection.prepare(one_row(text) if each else text, name=name))
            types = tuple(one.name for one in statement.get_parameters())
            known = self._prepared[sql, each] = _Prepared(statement, names, types)
        return known

    def _end(self, sql: str) -> None:
        status = self.script(sql)
        if sql == "COMMIT" and status != sql:  # the server rolls back what had an error, and says no more than that
            raise asyncpg.InFailedSQLTransactionError("a statement had failed")


class PostgresKeysConnection(PostgresConnection):
    """The connection to the keys database. Keys are added one by one, and destroyed in a transaction."""

    def ask(self, sql: str, parameters: Any) -> tuple[list[tuple[Any, ...]], int]:
        try:
            return super().ask(sql, parameters)
        except _MEANWHILE:
            raise Again from None

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Rows:
        try:
            return super().executemany(sql, parameters)
        except _MEANWHILE:
            raise Again from None

    def emptied(self) -> bool:
        """Write tables anew of which something was destroyed: a deleted row stays in its page until then.

        False while somebody may still see it: for them it would be kept. Both are small, keys of hours and of boxes: it
        takes milliseconds, and waits for others a quarter of a second at most.
        """
        noted = self.execute(_NOTED).fetchall()
        if not noted:
            return True
        if self.execute(_SOMEBODY_LOOKS).fetchone() is not None:
            return False
        self.script(f"SET lock_timeout = {EMPTY_MS}")
        try:
            for one in noted:
                self._write_anew(*one)
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                self.script("CHECKPOINT")  # so that the log they stood in is written over soon
        except asyncpg.LockNotAvailableError:
            return False
        finally:
            self.script("RESET lock_timeout")
        return True

    def _write_anew(self, table: str, file: int, now: int) -> None:
        if file == now:
            self.script(f'VACUUM (FULL) "{table}"')
        self.execute("DELETE FROM destroyed WHERE name = ? AND file = ?", (table, file))


class KeysFile(SqliteConnection):
    """Keys in a file of SQLite beside data on a server: nobody waits for a server while they hold the file."""

    def begin(self, *, adding: bool = False) -> None:
        if not adding:
            super().begin()

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        alone = not self.in_transaction
        if alone:
            super().begin()
        try:
            done = super().executemany(sql, parameters)
        except sqlite3.IntegrityError:
            if alone:
                self.execute("ROLLBACK")
            raise Again from None
        if alone:
            self.execute("COMMIT")
        return done
