"""What every part of the store stands on: threads, reading and writing, and the sealing of its entries."""

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

from gateway.store import sealing
from gateway.store.connection import Handles, Thread, Turn, Writer
from gateway.store.evidence import Sealing

T = TypeVar("T")
SEAL_SECONDS = 1.0
"""How long entries of this process wait at most while it goes on writing."""


class SqlBase:
    """One writer and two readers, each a thread of its own. The parts of the store derive from it."""

    _writer: Writer

    def __init__(self, *, write: Thread, fast: Thread, slow: Thread) -> None:
        """`fast`: for decisions, which never wait behind a long report."""
        self._write_thread, self._fast_thread, self._slow_thread = write, fast, slow
        self._threads = (write, fast, slow)
        self._unsealed_since: float | None = None
        """When this process wrote entries that it has not sealed yet (monotonic seconds)."""

    async def _read(self, work: Callable[[Handles], T]) -> T:
        return await self._slow_thread.run(work)

    async def _write(self, unit: Callable[[Handles], T], turn: Turn = Turn.ALONE) -> T:
        return await self._writer.write(unit, turn)

    async def _enter(self, unit: Callable[[Handles], T], turn: Turn = Turn.ALONE) -> T:
        """Write what may add to the ledger. Whoever goes on writing for long seals meanwhile."""
        self._note_entries()
        done = await self._write(unit, turn)
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
