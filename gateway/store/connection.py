"""SQLite connections: one writer that commits groups, and readers that answer many questions per hop.

A unit of work is a function of the database thread's handles; all units that wait when a transaction begins share it,
each in a savepoint of its own: one that fails takes only itself back. A call returns after COMMIT (WAL,
synchronous=FULL: the commit is on disk).
"""

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Generic, TypeVar

import aiosqlite

from gateway.store.contract import StoreUnavailable
from gateway.store.keys import Keys
from suppression.vault import KeyRing

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

ASK_SECONDS = 0.003
"""How often a transaction asks whether another process has finished its own."""
GROUP = 512
"""Units in one transaction at most: a bound on how long the others wait."""


@dataclass(slots=True)
class Handles:
    """What a unit of work gets: the data, and the keys."""

    db: sqlite3.Connection
    keys: Keys


def _unusable(file: Path) -> str | None:
    """What keeps a database file from being used, and what to do: SQLite would not even name the file."""
    if not file.exists():
        return f"there is no file {file}. Restore it from your copy, or make a new installation with: consentgate init."
    for path, what in ((file, "file"), (file.parent, "folder")):
        if not os.access(path, os.R_OK | os.W_OK):
            return f"the {what} {path} cannot be written by this user. Correct its owner or mode."
    return None


class Thread:
    """One SQLite connection with a thread of its own (aiosqlite)."""

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
            )
            self._connection = await connection
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "mmap_size=268435456"):
                if not (self._read_only and pragma.startswith("journal_mode")):
                    await self._connection.execute(f"PRAGMA {pragma}")
            self._handles = Handles(self._connection._conn, Keys(keys_path, self._ring, self._patience))
            self._opened = [(file, _identity(file)) for file in self._paths]
        except (sqlite3.Error, OSError) as failed:
            await self.close()
            if connection is not None:
                connection._thread.join(self._patience)  # or its last word finds the event loop closed
            raise StoreUnavailable(f"the database does not open: {failed}") from failed

    async def run(self, work: Callable[[Handles], T]) -> T:
        """Do the work in the database's thread. One hop, whatever the number of statements in it."""
        if self._connection is None or self._handles is None:
            raise StoreUnavailable("the database is closed")
        # aiosqlite's public calls hop once per statement; its own way to run a function hops once per function.
        # tests/store pins this name to the locked version.
        result: T = await self._connection._execute(self._guarded, work)  # type: ignore[no-untyped-call]
        return result

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


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino


class Writer:
    """Groups what waits into one transaction."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._waiting: deque[tuple[Callable[[Handles], Any], asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def write(self, unit: Callable[[Handles], T]) -> T:
        """Run the unit in the next transaction; returns its result once that is committed."""
        if self._task.done():
            raise StoreUnavailable("the database is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((unit, done))
        self._wake.set()
        return await done

    async def close(self) -> None:
        """Commit what waits, then stop."""
        while self._waiting and not self._task.done():
            await asyncio.gather(*(asyncio.shield(done) for _, done in self._waiting), return_exceptions=True)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
            units = [unit for unit, _ in group]
            try:
                results = await self._thread.run(partial(commit, units=units))
            except (sqlite3.Error, StoreUnavailable) as failed:
                results = [_Failed(StoreUnavailable(f"the database cannot be written: {failed}"))] * len(group)
            _hand_out([done for _, done in group], results)
            units.clear()  # the database's thread, too, remembers its last work until the next
            del group, results


def _hand_out(waiting: Sequence["asyncio.Future[Any]"], results: Sequence[Any]) -> None:
    for done, result in zip(waiting, results, strict=True):
        if done.done():
            continue
        if isinstance(result, _Failed):
            done.set_exception(result.why)
        else:
            done.set_result(result)


@dataclass(slots=True)
class _Failed:
    why: Exception


def commit(handles: Handles, units: Sequence[Callable[[Handles], Any]]) -> list[Any]:
    """All units in one transaction; the result or the failure of each. A failed COMMIT raises: nothing was written."""
    db, results = handles.db, []
    begin(db)
    try:
        for unit in units:
            db.execute("SAVEPOINT unit")
            try:
                results.append(unit(handles))
            except sqlite3.OperationalError:
                raise  # disk full, locked, gone: the whole transaction is in doubt
            except Exception as failed:  # the unit's own fault is the caller's to see; its neighbours go on
                db.execute("ROLLBACK TO unit")
                results.append(_Failed(failed))
            db.execute("RELEASE unit")
        handles.keys.commit()  # first: a row whose key is missing could not be read
        db.execute("COMMIT")
    except BaseException:
        handles.keys.rollback()
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return results


def begin(db: sqlite3.Connection) -> None:
    """Open a writing transaction, waiting for other processes as long as the connection is patient.

    SQLite itself asks for a taken lock ever more rarely, after a while ten times a second: whoever writes batch after
    batch would hardly ever be found between two.
    """
    patience = db.execute("PRAGMA busy_timeout").fetchone()[0]
    until = monotonic() + patience / 1000
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as failed:
                if failed.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > until:
                    raise
            sleep(ASK_SECONDS)
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")


class Gatherer(Generic[Q, A]):
    """Answers questions in batches: while one batch is under way the next one gathers, without a timer."""

    def __init__(self, answer: Callable[[Sequence[Q]], Any], *, limit: int = 1024) -> None:
        self._answer = answer
        self._limit = limit
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="store-reader")

    def ask(self, question: Q) -> "asyncio.Future[A]":
        """The answer, from state committed after this call."""
        done: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        if self._task.done():
            done.set_exception(StoreUnavailable("the database is closed"))
            return done
        self._waiting.append((question, done))
        self._wake.set()
        return done

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for _, done in self._waiting:
            if not done.done():
                done.set_exception(StoreUnavailable("the database is closed"))

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            try:
                answers = await self._answer([question for question, _ in batch])
            except Exception as failed:  # every asker learns of it; the next batch tries again
                for _, done in batch:
                    if not done.done():
                        done.set_exception(failed)
                continue
            _hand_out([done for _, done in batch], answers)
            del batch, answers
