"""What every part of the SQLite store stands on: threads, reading and writing, and the sealing of its entries."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

from gateway.store import sealing
from gateway.store.connection import Handles, Thread, Writer
from gateway.store.contract import StoreUnavailable
from gateway.store.evidence import Sealing
from suppression.vault import KeyRing

T = TypeVar("T")
SEAL_SECONDS = 1.0
"""How long entries of this process wait at most while it goes on writing."""


class SqliteBase:
    """One writer and two readers, each a thread of its own. The parts of the store derive from it."""

    _writer: Writer

    def __init__(self, path: Path, keys_path: Path, ring: KeyRing, *, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another process's transaction before giving up."""
        self._write_thread = Thread(path, keys_path, ring, read_only=False, patience=patience)
        self._fast_thread = Thread(path, keys_path, ring, read_only=True)  # decisions: never behind a long report
        self._slow_thread = Thread(path, keys_path, ring, read_only=True)
        self._threads = (self._write_thread, self._fast_thread, self._slow_thread)
        self._unsealed_since: float | None = None
        """When this process wrote entries that it has not sealed yet (monotonic seconds)."""

    async def _read(self, work: Callable[[Handles], T]) -> T:
        return await translated(self._slow_thread, work)

    async def _write(self, unit: Callable[[Handles], T]) -> T:
        return await self._writer.write(unit)

    async def _enter(self, unit: Callable[[Handles], T]) -> T:
        """Write what may add to the ledger. Whoever goes on writing for long seals meanwhile."""
        self._note_entries()
        done = await self._write(unit)
        if monotonic() - (self._unsealed_since or monotonic()) > SEAL_SECONDS:
            await self.seal()
        return done

    def _note_entries(self) -> None:
        if self._unsealed_since is None:
            self._unsealed_since = monotonic()

    async def _seal_own(self) -> None:
        """Before the store is closed: what this process wrote gets its place."""
        if self._unsealed_since is not None:
            await self.seal()

    async def seal(self) -> Sealing:
        """Seal all that waits, in transactions short enough for mail to pass between them."""
        self._unsealed_since = None
        sealed = 0
        while True:
            done = await self._write(sealing.seal)
            sealed += done.entries
            if done.entries < sealing.BATCH:
                return Sealing(entries=sealed, refused=done.refused)


async def translated(thread: Thread, work: Callable[[Handles], T]) -> T:
    """What a reading thread gives; the driver's errors as StoreUnavailable."""
    try:
        return await thread.run(work)
    except sqlite3.Error as failed:
        raise StoreUnavailable(f"the database cannot be read: {failed}") from failed
