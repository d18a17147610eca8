"""PostgreSQL: connections to the data and the keys, each pair with a thread and an event loop of its own.

The store's functions ask a connection as they ask sqlite3's, and wait in their own thread for what it says: one hop
per unit of work, and sealing stays off the loop that mail runs on. Several nodes write side by side, each transaction
in its Turn (connection.py). A transaction that could not be finished for the others' sake, or whose connection was lost
before its COMMIT was sent, is tried again; one whose COMMIT was not answered may or may not have been written, and is
told as not written.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import asyncpg
import uvloop
from asyncpg.connect_utils import SessionAttribute

from gateway.store.boxes import BoxedKeys
from gateway.store.connection import Failed, Handles, Turn
from gateway.store.contract import StoreUnavailable
from gateway.store.keys import Keys
from gateway.store.postgres_connection import (
    DRIVER,
    Again,
    KeysFile,
    PostgresConnection,
    PostgresKeysConnection,
    is_odd_value,
)  # fmt: skip
from gateway.store.sqlite_connection import keys_connection
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
_OF_THE_CONNECTION: Final = (
    asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError, OSError, TimeoutError,
)  # fmt: skip
_OWN_FAULTS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.RaiseError)
"""What a unit gets wrong by itself, so that its neighbours go on."""
_IN_THE_WAY: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_PRIMARY_GONE: Final = (asyncpg.ReadOnlySQLTransactionError, asyncpg.CannotConnectNowError)


def _is_lost(failed: BaseException) -> bool:
    """Whether the connection is of no use any more."""
    if is_odd_value(failed):
        return False
    if isinstance(failed, _OF_THE_CONNECTION):
        return True
    severity = getattr(failed, "severity_en", None) or getattr(failed, "severity", None)
    return severity in {"FATAL", "PANIC"} or isinstance(failed, _PRIMARY_GONE)


def _said(failed: BaseException) -> str:
    """What a driver's error says, without the values it names."""
    if isinstance(failed, OSError) and not isinstance(failed, TimeoutError):
        return f"no server answers ({os.strerror(failed.errno)})" if failed.errno else "no server answers"
    return str(failed.args[0]) if failed.args else type(failed).__name__


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

    async def commit(self, group: Callable[[], Sequence[Callable[[Handles], Any]]], turn: Turn) -> list[Any]:
        return await self._hop(functools.partial(self._commit, group(), turn))

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
                if not isinstance(failed, DRIVER):
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
                if not isinstance(failed, (*DRIVER, Again)):
                    raise
                again = isinstance(failed, (Again, *_IN_THE_WAY)) or (lost and not one.committing)
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
        except (*DRIVER, ValueError) as failed:
            self._drop()
            self._pause = min(max(2 * self._pause, PAUSES[0]), PAUSES[1])
            self._not_before = monotonic() + self._pause
            self._why = f"the database does not open: {_said(failed)}"
            raise StoreUnavailable(self._why) from failed
        self._pause = 0.0
        self._handles = Handles(data, keys)
        return self._handles

    def _keys(self) -> Keys:
        if (file := file_of(self._dsns[1])) is not None:
            return Keys(keys_connection(file, self._patience, KeysFile), self._ring)
        keys = PostgresKeysConnection(self._connect(self._dsns[1]), self._wait, read_only=self._read_only)
        self._connections.append(keys)
        keys.script("SET plan_cache_mode = force_generic_plan")  # looked up by their key alone: else planned each time
        return BoxedKeys(keys, self._ring)

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
            except DRIVER:
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
            self._handles.keys.settle(failed=True)
            return Failed(_without_values(failed))
        db.script("RELEASE unit")
        self._handles.keys.settle(failed=False)
        return result


def _is_own_fault(failed: Exception) -> bool:
    return isinstance(failed, _OWN_FAULTS) or is_odd_value(failed) or not isinstance(failed, (*DRIVER, Again))


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
    # No statements kept by the driver: those of the store are prepared once and by name (postgres_connection.py).
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
