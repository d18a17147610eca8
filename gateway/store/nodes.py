"""The processes that share one database: each under its own name, one of them keeping house, and what they call out.

What is called out is a courtesy: whoever misses a call finds the same by looking, a little later.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol

Call = Literal["work", "stops", "answers"]
"""Copies were left for anybody to take; a campaign was stopped or let go; held mail was answered for."""
CHANNEL: Final = "consentgate"
"""Where calls are heard on a server."""
CALLS: Final[tuple[Call, ...]] = ("work", "stops", "answers")


class NameTaken(Exception):
    """Another process works under the name of this worker: both would take the other's copies for their own."""

    def __init__(self, worker: str) -> None:
        super().__init__(f"another gateway on this database is called {worker.rpartition('-')[0]}")


class Nodes(Protocol):
    """This process among the others."""

    async def join(self, worker: str) -> None:
        """Take part under a name, until closed. NameTaken, or StoreUnavailable when the database is away."""
        ...

    @property
    def named(self) -> bool:
        """Whether our name is ours. Without it nothing may be claimed or sent."""
        ...

    def on_name(self, *, lost: Callable[[], None], taken: Callable[[], None]) -> None:
        """What to do when nobody knows any more whose our name is, and when another has it."""
        ...

    async def keeps_house(self) -> bool:
        """Whether this is the one process that sweeps, seals and writes what is due; a task that is free is taken.

        False also while the database is away. For a moment two may hold it: what it stands for has to bear that.
        """
        ...

    def on(self, call: Call, then: Callable[[], None]) -> None:
        """What to do when somebody calls."""
        ...

    async def close(self) -> None: ...


class FileNodes:
    """The processes of one machine around a database in a file. Names are apart already: serve.lock sees to that.

    Nothing is called out: files have no bell, and everybody looks often.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}.house")
        self._lock: int | None = None
        self._ours = False

    async def join(self, worker: str) -> None:
        """Names need no keeping here."""

    @property
    def named(self) -> bool:
        return True

    def on_name(self, *, lost: Callable[[], None], taken: Callable[[], None]) -> None:
        """Nobody takes it."""

    async def keeps_house(self) -> bool:
        """A lock on a file beside the database, which the system gives up with the process that has it (flock(2))."""
        if self._ours:
            return True
        if self._lock is None:
            self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._ours = True
        return True

    def on(self, call: Call, then: Callable[[], None]) -> None:
        """Nobody calls."""

    async def close(self) -> None:
        lock, self._lock, self._ours = self._lock, None, False
        if lock is not None:
            os.close(lock)
