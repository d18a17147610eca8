"""What the store asks of a database's driver; one writer that commits groups, and readers that answer many at once.

A unit of work is a function of the database thread's handles; all units that wait when a transaction begins share it:
one that fails takes only itself back. A call returns after COMMIT. The drivers: sqlite_connection, postgres_thread.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gateway.store.contract import StoreUnavailable
from gateway.store.nodes import Call

if TYPE_CHECKING:
    from gateway.store.keys import Keys

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

GROUP = 512
"""Units in one transaction at most: a bound on how long the others wait."""


class Turn(enum.Enum):
    """Who else may write at the same time, where more than one can (PostgreSQL). SQLite has one writer at a time.

    Readers never wait.
    """

    BESIDE = enum.auto()
    """Others like it: mail on its way. What it reads before it writes may have changed: each statement looks itself."""
    ALONE = enum.auto()
    """Mail on its way, and nobody else: what reads first, and what adds to the ledger, whose ids grow by commit."""
    NOBODY = enum.auto()
    """Nobody. For what destroys keys, and what takes back what mail on its way may be resting on."""


class Rows(Protocol):
    """What a statement gave, as sqlite3's cursors hold it."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection, used in its own thread: as much of sqlite3's as the store needs, and what each does in its way.

    Statements are written for SQLite, and so that they mean the same elsewhere.
    """

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, parameters: Any = ..., /) -> Rows: ...
    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows: ...
    def close(self) -> None: ...

    def begin(self, *, adding: bool = False) -> None:
        """Open a writing transaction, waiting for others as long as the connection is patient.

        `adding`: for rows that do no harm where the rest is not committed; a database may commit each at once.
        """
        ...

    def of_many(self, sql: str, controller_id: str, keys: Sequence[bytes], **named: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement over several keys, in which KEYS stands for them. `named`: its other values."""
        ...

    def each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The statement once for each row of parameters, in order: the row that it returned, or None."""
        ...

    def of_rows(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The same for rows of values of one length, for which WANTED stands."""
        ...

    def insert(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows by a statement that ends in VALUES and a place for each column."""
        ...

    def insert_long(self, sql: str, named: Mapping[str, Any], column: tuple[str, str], pieces: Sequence[bytes]) -> None:
        """Insert a row with a long value, that of :pieces in the statement. `column`: table and name."""
        ...

    def call(self, what: Call) -> None:
        """Let the other processes know, once this transaction is committed. Rare: it holds up other commits."""
        ...

    def let_log_grow(self) -> None:
        """Many rows are going to be written by this connection."""
        ...

    def emptied(self) -> bool:
        """See that nothing that was deleted lingers outside the tables. False where that has to be tried again."""
        ...


@dataclass(slots=True)
class Handles:
    """What a unit of work gets: the data, and the keys."""

    db: Database
    keys: "Keys"


class Thread(Protocol):
    """A pair of connections, to data and keys, with a thread of its own."""

    takes_turns: bool
    """Whether there are others that write at the same time, so that Turn counts."""

    async def open(self) -> None: ...

    async def run(self, work: Callable[[Handles], T]) -> T:
        """Do the work in the database's thread. One hop, whatever the number of statements in it."""
        ...

    async def commit(self, group: Callable[[], Sequence[Callable[[Handles], Any]]], turn: Turn) -> list[Any]:
        """All units in one transaction; the result of each, or how it Failed. StoreUnavailable: it may not be written.

        `group` gives the units, in any thread, and is asked as late as can be: where the transaction has to wait for
        another process, whoever comes meanwhile still gets in. A unit may be run more than once: it changes nothing
        outside the two databases.
        """
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class Failed:
    """What became of a unit that raised an error of its own."""

    why: Exception


class Writer:
    """Groups what waits into one transaction."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._waiting: deque[_Asker] = deque()
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def write(self, unit: Callable[[Handles], T], turn: Turn = Turn.ALONE) -> T:
        """Run the unit in the next transaction; returns its result once that is committed."""
        if self._task.done():
            raise StoreUnavailable("the database is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, unit, done))
        self._wake.set()
        return await done

    async def together(
        self, work: Callable[[Handles, Sequence[Q]], None], items: Sequence[Q], turn: Turn = Turn.ALONE
    ) -> None:
        """Do the work on these items and on those of whoever asks for the same work in the same transaction, at once.

        What fails for all of them is done again for each asker alone.
        """
        await self.write(_Joint(work, items), turn)

    async def close(self) -> None:
        """Commit what waits, then stop."""
        while self._waiting and not self._task.done():
            await asyncio.gather(*(asyncio.shield(done) for *_, done in list(self._waiting)), return_exceptions=True)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            turn = self._waiting[0][0]
            group = _Group(self._waiting, turn if self._thread.takes_turns else None)
            try:
                results = await self._thread.commit(group.units, turn)
            except StoreUnavailable as failed:
                group.give_up(StoreUnavailable(f"the database cannot be written: {failed}"))
            except Exception as odd:  # a fault of ours: whoever asked learns of it, and the writer goes on
                group.give_up(odd)
            else:
                self._answer(group.askers, results)
                del results
            group.forget()

    def _answer(self, askers: "list[list[_Asker]]", results: Sequence[Any]) -> None:
        for several, result in zip(askers, results, strict=True):
            if len(several) > 1 and isinstance(result, Failed):
                again = [(turn, partial(_alone, unit), done) for turn, unit, done in several]
                self._waiting.extendleft(reversed(again))
            else:
                _hand_out([done for *_, done in several], [result] * len(several))


class _Group:
    """Who shares one transaction: whoever waits when it is open and, given a turn, takes the same."""

    def __init__(self, waiting: "deque[_Asker]", turn: Turn | None) -> None:
        """`waiting`: taken from its beginning, in whichever thread, while others may add at its end."""
        self._waiting, self._turn = waiting, turn
        self._at_first = len(waiting)
        self._units: list[Callable[[Handles], Any]] | None = None
        self.askers: list[list[_Asker]] = []
        """Who asked for each unit."""

    def units(self) -> list[Callable[[Handles], Any]]:
        """What is to be done. Decided at the first call."""
        if self._units is None:
            self._units, self.askers = _joined(self._taken(len(self._waiting)))
        return self._units

    def give_up(self, why: Exception) -> None:
        """Tell everybody in it that it failed. Where it was never open, who came meanwhile has a try of their own."""
        if self._units is None:
            self._units, self.askers = _joined(self._taken(self._at_first))
        everybody = [done for several in self.askers for *_, done in several]
        _hand_out(everybody, [Failed(why)] * len(everybody))

    def forget(self) -> None:
        """The database's thread remembers its last work until the next; what was stored is not to stay in memory."""
        self._units, self.askers = [], []

    def _taken(self, most: int) -> "list[_Asker]":
        group: list[_Asker] = []
        left: list[_Asker] = []
        for _ in range(most):
            one = self._waiting.popleft()
            (group if len(group) < GROUP and self._turn in (None, one[0]) else left).append(one)
        self._waiting.extendleft(reversed(left))
        return group


@dataclass(slots=True)
class _Joint:
    """Work on items that is done once for all who ask for it in one transaction."""

    work: Callable[[Handles, Sequence[Any]], None]
    items: Sequence[Any]

    def __call__(self, handles: Handles) -> None:
        self.work(handles, self.items)


def _alone(unit: Callable[[Handles], T], handles: Handles) -> T:
    """The unit, as one that joins no other."""
    return unit(handles)


_Asker = tuple[Turn, Callable[[Handles], Any], "asyncio.Future[Any]"]


def _joined(group: Sequence[_Asker]) -> tuple[list[Callable[[Handles], Any]], list[list[_Asker]]]:
    """Units to run, and who asked for each."""
    units: list[Callable[[Handles], Any]] = []
    askers: list[list[_Asker]] = []
    joint: dict[Callable[..., None], int] = {}
    for turn, unit, done in group:
        place = joint.setdefault(unit.work, len(units)) if isinstance(unit, _Joint) else len(units)
        if place == len(units):
            units.append(unit)
            askers.append([])
        elif isinstance(unit, _Joint) and isinstance(first := units[place], _Joint):
            units[place] = _Joint(unit.work, [*first.items, *unit.items])
        askers[place].append((turn, unit, done))
    return units, askers


def _hand_out(waiting: Sequence["asyncio.Future[Any]"], results: Sequence[Any]) -> None:
    for done, result in zip(waiting, results, strict=True):
        if done.done():
            continue
        if isinstance(result, Failed):
            done.set_exception(result.why)
        else:
            done.set_result(result)


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
