"""PostgreSQL connections: the data and the keys, each pair with a thread and an event loop of its own.

The store's functions ask a connection as they ask sqlite3's, and wait in their own thread for what it says: one hop
per unit of work, and sealing stays off the loop that mail runs on. Several nodes write side by side, each transaction
in its Turn (connection.py). A transaction that could not be finished for the others' sake, or whose connection was lost
before its COMMIT was sent, is tried again; one whose COMMIT was not answered may or may not have been written, and is
told as not written.
"""

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import uvloop
from asyncpg.connect_utils import SessionAttribute

from gateway.store.connection import Database, Failed, Handles, Turn
from gateway.store.contract import StoreUnavailable
from gateway.store.dialect import one_row, translated
from gateway.store.keys import Keys
from gateway.store.nodes import CHANNEL, Call
from gateway.store.sqlite_connection import SqliteConnection, keys_connection
from suppression.vault import KeyRing

T = TypeVar("T")

TRIES: Final = 4
"""How often a transaction is begun that others were in the way of."""
PAUSES: Final = (0.05, 2.0)
"""How long nobody asks a server that did not answer: the first time, and at most (seconds)."""
ANSWER_SECONDS: Final = 60.0
"""From when on a statement's connection counts as lost, where a decision or a sender waits for it."""
REPORT_SECONDS: Final = 900.0
"""The same for statements that read much."""
_LOCKS: Final = {
    Turn.BESIDE: "SELECT pg_advisory_xact_lock_shared(2)",
    Turn.ALONE: "SELECT pg_advisory_xact_lock(1)",
    Turn.NOBODY: "SELECT pg_advisory_xact_lock(1); SELECT pg_advisory_xact_lock(2)",
}
"""Whose turn it is, held until the end of the transaction. Whoever writes alone stands in nobody's way but its own."""
_PLANS: Final = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}
"""Statements are written for loops over indexes, which is all that SQLite does. A plan that reads a table whole, made
while that was small, would be kept."""
_DRIVER: Final = (
    asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, sqlite3.Error,
)  # fmt: skip
_OF_THE_CONNECTION: Final = (
    asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError, OSError, TimeoutError,
)  # fmt: skip
_OWN_FAULTS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.RaiseError)
"""What a unit gets wrong by itself, so that its neighbours go on."""
_IN_THE_WAY: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_PRIMARY_GONE: Final = (asyncpg.ReadOnlySQLTransactionError, asyncpg.CannotConnectNowError)


EMPTY_MS: Final = 250
"""How long writing the keys anew waits for others (ms): others wait behind it."""
LARGEST: Final = 100_000_000
"""Octets of a table of keys up to which it is written anew while mail goes on: some 800,000 people."""
_NOTED: Final = "SELECT name, file, pg_relation_filenode(name), pg_table_size(name) FROM destroyed ORDER BY name"
_SOMEBODY_LOOKS: Final = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_xmin IS NOT NULL LIMIT 1"
)


class _Again(Exception):
    """Another node made a key that this one was about to make."""


def _is_lost(failed: BaseException) -> bool:
    """Whether the connection is of no use any more."""
    if _is_odd_value(failed):
        return False
    if isinstance(failed, _OF_THE_CONNECTION):
        return True
    severity = getattr(failed, "severity_en", None) or getattr(failed, "severity", None)
    return severity in {"FATAL", "PANIC"} or isinstance(failed, _PRIMARY_GONE)


def _is_odd_value(failed: BaseException) -> bool:
    """Whether the driver refused a value before it asked the server."""
    return isinstance(failed, asyncpg.InterfaceError) and isinstance(failed, ValueError)


def _said(failed: BaseException) -> str:
    """What a driver's error says, without the values it names."""
    return str(failed.args[0]) if failed.args else type(failed).__name__


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
        with contextlib.suppress(*_DRIVER):
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
        except asyncpg.UniqueViolationError:
            raise _Again from None

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> _Rows:
        try:
            return super().executemany(sql, parameters)
        except asyncpg.UniqueViolationError:
            raise _Again from None

    def emptied(self) -> bool:
        """Write tables anew of which something was destroyed: a deleted row stays in its page until then.

        False while somebody may still see it: for them it would be kept. It takes a second for some 300,000 people, in
        which nobody is looked up, and waits for others a quarter of a second at most. A table so large that mail would
        be put off meanwhile is left to whoever keeps the server (docs/scaling.md).
        """
        noted = self.execute(_NOTED).fetchall()
        if not noted:
            return True
        if self.execute(_SOMEBODY_LOOKS).fetchone() is not None:
            return False
        self.script(f"SET lock_timeout = {EMPTY_MS}")
        try:
            done = [self._written_anew(*one) for one in noted]
            with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
                self.script("CHECKPOINT")  # so that the log they stood in is written over soon
        except asyncpg.LockNotAvailableError:
            return False
        finally:
            self.script("RESET lock_timeout")
        return all(done)

    def _written_anew(self, table: str, file: int, now: int, octets: int) -> bool:
        if file == now:
            if octets > LARGEST:
                return False
            self.script(f'VACUUM (FULL) "{table}"')
        self.execute("DELETE FROM destroyed WHERE name = ? AND file = ?", (table, file))
        return True


class _KeysFile(SqliteConnection):
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
            raise _Again from None
        if alone:
            self.execute("COMMIT")
        return done


class PostgresThread:
    """One pair of connections with a thread of its own. See connection.Thread, call by call."""

    takes_turns = True

    def __init__(
        self, dsn: str, keys_dsn: str, ring: KeyRing, *, read_only: bool, patience: float = 5.0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:  # fmt: skip
        """`keys_dsn`: also `sqlite:FILE`, where one machine alone uses the database. `patience`: seconds to wait for
        another node's transaction, and for a connection."""
        self._dsns = (dsn, keys_dsn)
        self._ring = ring
        self._read_only = read_only
        self._patience = patience
        self._answer_seconds = answer_seconds
        self._handles: Handles | None = None
        self._connections: list[PostgresConnection] = []
        self._executor: ThreadPoolExecutor | None = None
        self._pause, self._not_before, self._why = 0.0, 0.0, ""

    async def open(self) -> None:
        self._executor = ThreadPoolExecutor(1, "postgres")
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        try:
            await self._hop(self._connected)
        except StoreUnavailable:
            await self.close()
            raise

    async def run(self, work: Callable[[Handles], T]) -> T:
        return await self._hop(functools.partial(self._run, work))

    async def commit(self, units: Sequence[Callable[[Handles], Any]], turn: Turn) -> list[Any]:
        return await self._hop(functools.partial(self._commit, units, turn))

    async def close(self) -> None:
        if self._executor is not None:
            executor, self._executor = self._executor, None
            try:
                await asyncio.get_running_loop().run_in_executor(executor, self._close)
            finally:
                executor.shutdown(wait=False)

    async def _hop(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            raise StoreUnavailable("the database is closed")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    # in the thread

    def _run(self, work: Callable[[Handles], T]) -> T:
        for last in (False, True):
            handles = self._connected()
            try:
                return work(handles)
            except BaseException as failed:
                lost = self._clean_up(failed)
                if not isinstance(failed, _DRIVER):
                    raise
                if last or not lost:
                    raise StoreUnavailable(f"the database cannot be read: {_said(failed)}") from failed
        raise AssertionError("not reached")

    def _commit(self, units: Sequence[Callable[[Handles], Any]], turn: Turn) -> list[Any]:
        apart = False
        for left in reversed(range(TRIES)):
            one = _Transaction(self._connected(), units, turn)
            try:
                return one.run(apart=apart)
            except BaseException as failed:
                lost = self._clean_up(failed)
                if isinstance(failed, _OneFailed):
                    apart = True
                    continue
                if not isinstance(failed, (*_DRIVER, _Again)):
                    raise
                again = isinstance(failed, (_Again, *_IN_THE_WAY)) or (lost and not one.committing)
                if not again or not left:
                    raise StoreUnavailable(_said(failed)) from failed
        raise StoreUnavailable("others were in the way again and again")

    def _connected(self) -> Handles:
        if self._handles is not None:
            return self._handles
        if monotonic() < self._not_before:
            raise StoreUnavailable(self._why)
        try:
            keys = self._keys()
            data = PostgresConnection(self._connect(self._dsns[0]), self._wait, read_only=self._read_only)
            self._connections.append(data)
        except (*_DRIVER, ValueError) as failed:
            self._drop()
            self._pause = min(max(2 * self._pause, PAUSES[0]), PAUSES[1])
            self._not_before = monotonic() + self._pause
            self._why = f"the database does not open: {_said(failed)}"
            raise StoreUnavailable(self._why) from failed
        self._pause = 0.0
        self._handles = Handles(data, Keys(keys, self._ring))
        return self._handles

    def _keys(self) -> Database:
        if (file := file_of(self._dsns[1])) is not None:
            return keys_connection(file, self._patience, _KeysFile)
        keys = PostgresKeysConnection(self._connect(self._dsns[1]), self._wait, read_only=self._read_only)
        self._connections.append(keys)
        return keys

    def _connect(self, dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
        return self._wait(
            connect(dsn, patience=self._patience, answer_seconds=self._answer_seconds, read_only=self._read_only)
        )

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _clean_up(self, failed: BaseException) -> bool:
        """After an error: nothing stays open. Whether the connections were lost."""
        if not _is_lost(failed):
            try:
                for one in self._connections:
                    if one.in_transaction:
                        one.script("ROLLBACK")
                if self._handles is not None:
                    self._handles.keys.rollback()
                return False
            except _DRIVER:
                pass
        self._drop()
        return True

    def _drop(self) -> None:
        self._let_go_of_file()
        for one in self._connections:
            one.cut()
        self._connections, self._handles = [], None

    def _let_go_of_file(self) -> None:
        if self._handles is not None and file_of(self._dsns[1]) is not None:
            self._handles.keys.close()

    def _close(self) -> None:
        self._let_go_of_file()
        for one in self._connections:
            one.close()
        self._connections, self._handles = [], None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class _OneFailed(Exception):
    """A unit failed by its own fault, and its neighbours with it: they are run again, each by itself."""


class _Transaction:
    """Units that are committed together, in their turn."""

    def __init__(self, handles: Handles, units: Sequence[Callable[[Handles], Any]], turn: Turn) -> None:
        self._handles, self._units, self._turn = handles, units, turn
        self.committing = False
        """From here on nobody knows whether it was written, until the server says so."""

    def run(self, *, apart: bool) -> list[Any]:
        """Run them. `apart`: each in a savepoint of its own, which costs two round trips each."""
        db, results = self._handles.db, list[Any]()
        assert isinstance(db, PostgresConnection)
        db.script(f"BEGIN; {_LOCKS[self._turn]}")
        for unit in self._units:
            if apart:
                results.append(self._apart(db, unit))
                continue
            try:
                results.append(unit(self._handles))
            except Exception as failed:
                if len(self._units) > 1 and _is_own_fault(failed):
                    raise _OneFailed from failed
                if not _is_own_fault(failed):
                    raise
                db.script("ROLLBACK")
                self._handles.keys.rollback()
                return [Failed(_without_values(failed))]
        self._handles.keys.commit()  # first: a row whose key is missing could not be read
        self.committing = True
        db.execute("COMMIT")
        return results

    def _apart(self, db: PostgresConnection, unit: Callable[[Handles], Any]) -> Any:
        db.script("SAVEPOINT unit")
        try:
            result = unit(self._handles)
        except Exception as failed:
            if not _is_own_fault(failed):
                raise
            db.script("ROLLBACK TO unit")
            return Failed(_without_values(failed))
        db.script("RELEASE unit")
        return result


def _is_own_fault(failed: Exception) -> bool:
    return isinstance(failed, _OWN_FAULTS) or _is_odd_value(failed) or not isinstance(failed, (*_DRIVER, _Again))


def _without_values(failed: Exception) -> Exception:
    """The error as it may be logged: the server's names the values of the row."""
    if isinstance(failed, asyncpg.PostgresError):
        failed.detail = None
    return failed


def file_of(dsn: str) -> Path | None:
    """The file of a database that is not on a server (`sqlite:FILE`)."""
    return Path(dsn.removeprefix("sqlite:")) if dsn.startswith("sqlite:") else None


async def connect(
    dsn: str, *, patience: float, answer_seconds: float = ANSWER_SECONDS, read_only: bool = False
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection to the primary among the hosts of a DSN, whose commits are on disk when they are answered.

    Raises the driver's errors; ValueError for a database that does not keep UTF-8.
    """
    settings = {
        "application_name": "consentgate", "default_transaction_isolation": "read committed", **_PLANS,
        "lock_timeout": str(int(patience * 1000)), "statement_timeout": "0",
        "idle_in_transaction_session_timeout": "60000", "tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }  # fmt: skip
    made: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        dsn, timeout=patience, command_timeout=answer_seconds, statement_cache_size=0, server_settings=settings,
        target_session_attrs=SessionAttribute.read_write,
    )  # fmt: skip
    try:
        if made.get_settings().server_encoding != "UTF8":
            raise ValueError("the database does not keep UTF-8: make it with ENCODING 'UTF8'")
        await made.execute(
            "SET default_transaction_read_only = on" if read_only else
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
        )  # fmt: skip
    except BaseException:
        made.terminate()
        raise
    return made
