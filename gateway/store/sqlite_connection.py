"""SQLite connections: the data and the keys, each pair with a thread of its own.

All units that wait when a transaction begins share it, each in a savepoint of its own. COMMIT means that it is on disk
(WAL, synchronous=FULL).
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, TypeVar

import aiosqlite

from gateway.store.connection import Failed, Handles, Turn
from gateway.store.contract import StoreUnavailable
from gateway.store.keys import Keys
from gateway.store.nodes import Call
from suppression.vault import KeyRing

T = TypeVar("T")

ASK_SECONDS: Final = 0.003
"""How often a transaction asks whether another process has finished its own."""
AT_ONCE: Final = 1000
"""Values in one statement; every SQLite takes that many."""
STEPS: Final = (16, 4, 1)
"""Rows in one INSERT: few lengths, so that few statements are kept ready."""
CACHE_KB: Final = 8192
"""Pages that a connection keeps; a worker has three. What is read comes from the system's cache otherwise, as fast."""
LOG_PAGES: Final = 8000
"""Pages of the write-ahead log (4 kB each) that a process which takes in files lets come together before it moves them
into the database: a page that many rows change is then moved once, and others find no more than 32 MB left to move."""


class SqliteConnection(sqlite3.Connection):
    """See connection.Database, call by call."""

    def begin(self, *, adding: bool = False) -> None:
        """Wait for other processes as long as the connection is patient.

        SQLite itself asks for a taken lock ever more rarely, after a while ten times a second: whoever writes batch
        after batch would hardly ever be found between two.
        """
        patience = self.execute("PRAGMA busy_timeout").fetchone()[0]
        until = monotonic() + patience / 1000
        self.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    self.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as failed:
                    if failed.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until:
                        raise
                sleep(ASK_SECONDS)
        finally:
            self.execute(f"PRAGMA busy_timeout = {patience}")

    def of_many(self, sql: str, controller_id: str, keys: Sequence[bytes], **named: Any) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            names, filled = _with_places(sql, len(some))
            values = {"controller_id": controller_id, **named, **dict(zip(names, some, strict=True))}
            yield from self.execute(filled, values)

    def each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        return [self.execute(sql, row).fetchone() for row in rows]

    def of_rows(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        if not rows:
            return
        width = len(rows[0])
        step = AT_ONCE // width
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            yield from self.execute(_with_rows(sql, len(some), width), [value for row in some for value in row])

    def insert(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Several rows in one statement: for each statement other threads get their turn, and have to give it back."""
        left = list(rows)
        while left:
            some = left[: next(step for step in STEPS if step <= len(left))]
            del left[: len(some)]
            filled, names = _with_values(sql, len(some))
            self.execute(filled, [row[name] for row in some for name in names])

    def insert_long(self, sql: str, named: Mapping[str, Any], column: tuple[str, str], pieces: Sequence[bytes]) -> None:
        """Into a row made for it: SQLite would copy a value twice."""
        (cache,) = self.execute("PRAGMA cache_size").fetchone()
        self.execute("PRAGMA cache_size = -2048")  # its pages go to the log at once, and push no others out
        try:
            room = sql.rstrip("; ").replace(":pieces", "zeroblob(:size)") + " RETURNING rowid"
            (row,) = self.execute(room, {**named, "size": sum(map(len, pieces))}).fetchone()
            with self.blobopen(*column, row) as stored:
                for piece in pieces:
                    stored.write(piece)
        finally:
            self.execute(f"PRAGMA cache_size = {cache}")

    def call(self, what: Call) -> None:
        """Files have no bell."""

    def let_log_grow(self) -> None:
        self.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")

    def emptied(self) -> bool:
        """Move the write-ahead log into the database and cut it off; False where another connection is in its way.

        It waits for readers a quarter of a second at most: writers wait behind it.
        """
        patience = self.execute("PRAGMA busy_timeout").fetchone()[0]
        self.execute("PRAGMA busy_timeout = 250")
        try:
            return not self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError:
            return False
        finally:
            self.execute(f"PRAGMA busy_timeout = {patience}")


@lru_cache(maxsize=128)
def _with_places(sql: str, n: int) -> tuple[Sequence[str], str]:
    names = [f"k{number}" for number in range(n)]
    return names, sql.replace("KEYS", ",".join(":" + name for name in names))


@lru_cache(maxsize=128)
def _with_values(sql: str, n: int) -> tuple[str, tuple[str, ...]]:
    """An INSERT of one row as one of n rows, and which columns' values stand in each."""
    into, values, places = sql.rstrip("; \n").rpartition("VALUES ")
    names = tuple(place.strip().removeprefix(":") for place in places.strip("()").split(","))
    return into + values + ", ".join([f"({', '.join('?' * len(names))})"] * n), names


@lru_cache(maxsize=128)
def _with_rows(sql: str, n: int, width: int) -> str:
    return sql.replace("WANTED", ",".join([f"({', '.join('?' * width)})"] * n))


def keys_connection(
    path: Path, patience: float, factory: type[SqliteConnection] = SqliteConnection
) -> SqliteConnection:
    """A connection to the keys database, which destroys what is deleted in the file itself."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # never made here: an empty one would look like nobody's
        uri=True, timeout=patience, isolation_level=None, check_same_thread=False, factory=factory,
    )  # fmt: skip
    db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON")
    return db


class SqliteThread:
    """One pair of connections with a thread of its own (aiosqlite). See connection.Thread, call by call."""

    takes_turns = False

    def __init__(self, path: Path, keys_path: Path, ring: KeyRing, *, read_only: bool, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another process's transaction."""
        self._paths = (path, keys_path)
        self._patience = patience
        self._ring = ring
        self._read_only = read_only
        self._connection: aiosqlite.Connection | None = None
        self._handles: Handles | None = None

    async def open(self) -> None:
        path, keys_path = self._paths
        if odd := _unusable(path) or _unusable(keys_path):
            raise StoreUnavailable(f"the database does not open: {odd}")
        connection = None
        mode = "ro" if self._read_only else "rw"
        try:
            connection = aiosqlite.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=self._patience,
                isolation_level=None,
                cached_statements=256,
                factory=SqliteConnection,
            )
            self._connection = await connection
            for pragma in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{CACHE_KB}", "mmap_size=268435456"):
                if not (self._read_only and pragma.startswith("journal_mode")):
                    await self._connection.execute(f"PRAGMA {pragma}")
            db = self._connection._conn
            assert isinstance(db, SqliteConnection)
            self._handles = Handles(db, Keys(keys_connection(keys_path, self._patience), self._ring))
            self._opened = [(file, _identity(file)) for file in self._paths]
        except (sqlite3.Error, OSError) as failed:
            await self.close()
            if connection is not None:
                connection._thread.join(self._patience)  # or its last word finds the event loop closed
            raise StoreUnavailable(f"the database does not open: {failed}") from failed

    async def run(self, work: Callable[[Handles], T]) -> T:
        if self._connection is None or self._handles is None:
            raise StoreUnavailable("the database is closed")
        # aiosqlite's public calls hop once per statement; its own way to run a function hops once per function.
        # tests/store pins this name to the locked version.
        try:
            result: T = await self._connection._execute(self._guarded, work)  # type: ignore[no-untyped-call]
        except sqlite3.Error as failed:
            raise StoreUnavailable(f"the database cannot be read: {failed}") from failed
        return result

    async def commit(self, group: Callable[[], Sequence[Callable[[Handles], Any]]], turn: Turn) -> list[Any]:
        if self._connection is None or self._handles is None:
            raise StoreUnavailable("the database is closed")
        work = partial(commit, group=group)
        try:
            results: list[Any] = await self._connection._execute(self._guarded, work)  # type: ignore[no-untyped-call]
        except sqlite3.Error as failed:
            raise StoreUnavailable(str(failed)) from failed
        return results

    def _guarded(self, work: Callable[[Handles], T]) -> T:
        """Only while the files are where they were: what is written to a file that was moved or deleted is lost."""
        assert self._handles is not None
        for file, identity in self._opened:
            try:
                in_place = _identity(file) == identity
            except OSError as gone:
                raise StoreUnavailable(f"{file.name} cannot be reached: {gone.strerror}") from gone
            if not in_place:
                raise StoreUnavailable(f"{file.name} was replaced while it was in use: restart")
        return work(self._handles)

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if self._handles is not None:
                self._handles.keys.close()
            await connection.close()


def _unusable(file: Path) -> str | None:
    """What keeps a database file from being used, and what to do: SQLite would not even name the file."""
    if not file.exists():
        return f"there is no file {file}. Restore it from your copy, or make a new installation with: consentgate init."
    for path, what in ((file, "file"), (file.parent, "folder")):
        if not os.access(path, os.R_OK | os.W_OK):
            return f"the {what} {path} cannot be written by this user. Correct its owner or mode."
    return None


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino


def commit(handles: Handles, group: Callable[[], Sequence[Callable[[Handles], Any]]]) -> list[Any]:
    """All units in one transaction; the result or the failure of each. A failed COMMIT raises: nothing was written.

    Another process may be writing: only when it is done are the units asked for.
    """
    db, results = handles.db, []
    db.begin()
    try:
        for unit in group():
            db.execute("SAVEPOINT unit")
            try:
                results.append(unit(handles))
                handles.keys.settle(failed=False)
            except sqlite3.OperationalError:
                raise  # disk full, locked, gone: the whole transaction is in doubt
            except Exception as failed:  # the unit's own fault is the caller's to see; its neighbours go on
                db.execute("ROLLBACK TO unit")
                handles.keys.settle(failed=True)
                results.append(Failed(failed))
            db.execute("RELEASE unit")
        handles.keys.commit()  # first: a row whose key is missing could not be read
        db.execute("COMMIT")
    except BaseException:
        handles.keys.rollback()
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return results
