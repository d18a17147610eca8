"""A file of consents, sales, people or suppressions into memory (`consentgate import`).

Read whole and sorted as the tables are, then committed in batches: what was committed stays, and the same file again
changes nothing, so an import that was cut short is simply run again. No row lifts an opt-out, and rows of erased people
are passed over. What cannot be read goes to a file beside the first, with line and reason.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final

from gateway import beside
from gateway.beside import Rest
from gateway.clerk import Clerk, Summary
from gateway.config import Controller
from gateway.files.native import Kind, Native, Stated
from gateway.files.table import Rows
from gateway.foresee import Foresight
from gateway.reading import BATCH, HELD, Rejects, Source, each_row, lay_aside, opened, rejected_path, sort_in
from gateway.spill import Spill
from gateway.store.contract import Statement, Stop, Store, Taken, Who
from gateway.store.sealed_rows import SealedBatch
from suppression.vault import KeyRing

GAP_SECONDS: Final = 0.01
"""Between two commits, at least: others who wait for the database ask for it more often than that."""
BESIDE_BYTES: Final = 4_000_000
"""A file from which on reading it is worth a process of its own: some twenty thousand rows."""

Progress = Callable[[int, int], None]
"""Called with the work done so far and the work there is, in units of its own."""


async def take_in(
    file: Path, kind: Kind, *, store: Store, controller: Controller, ring: KeyRing, now: datetime, dry: bool = False,
    progress: Progress | None = None, import_id: bytes = b"", list_name: str | None = None,
    foresight: Foresight | None = None,
) -> Summary:  # fmt: skip
    """Take in one file. `dry`: look only, write nothing; a row that stands twice in the file then counts as new twice.

    `import_id`: what its entries in the ledger are marked with, so that the import can be undone. `list_name`: the list
    of a third party that all of its consents come from.
    Raises Refusal where the file as a whole cannot be read: then nothing was taken in. Raises StoreUnavailable; the
    batches before it are kept.
    """
    desk = Desk(
        store=store,
        controller=controller,
        ring=ring,
        now=now,
        dry=dry,
        import_id=import_id,
        list_name=list_name,
        foresight=foresight,
    )
    progress = progress or _unwatched
    with opened(file) as source:
        size = os.fstat(source.fileno()).st_size
        if size >= BESIDE_BYTES and not dry:
            return await _take_in_beside(file, kind, source, size, desk, progress)
        with Rejects(file, source.rows(kind), dry=dry) as rejects:
            summary = await take_in_rows(
                rejects.table, kind, desk=desk, rejects=rejects,
                tell=lambda: progress(source.tell(), size * 3),  # reading takes about a third of the time
                committed=lambda done, rows: progress(size + size * 2 * done // rows, size * 3),
            )  # fmt: skip
            summary.rejected_file = rejects.path if rejects.written else None
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What stays the same for all rows of an import. `import_id` empty: its entries are not marked.

    `list_name`: the list of a third party they come from; None where each row says so, or none does. `foresight`: who
    is told of each row what would become of it, in a dry run.
    """

    store: Store
    controller: Controller
    ring: KeyRing
    now: datetime
    dry: bool = False
    import_id: bytes = b""
    list_name: str | None = None
    foresight: Foresight | None = None


async def take_in_rows(
    rows: Rows, kind: Kind, *, desk: Desk, rejects: Rejects, tell: Callable[[], None] | None = None,
    committed: Progress | None = None,
) -> Summary:  # fmt: skip
    """Take in rows in the native columns: all are read, then committed in batches.

    `tell` is called now and then while they are read, `committed` after each commit with the rows done and all rows.
    """
    clerk = await _clerk(kind, desk)
    summary = clerk.summary
    reader = Native(kind, rows.columns, clerk.controller_id, clerk.purposes)
    rejected = None if desk.foresight is None else partial(desk.foresight.reject, kind)
    tell, committed = tell or _unwatched, committed or _unwatched
    with Spill(HELD) as spill:

        def lay(line: int, stated: Stated) -> None:
            keys, global_keys = clerk.keys(stated.address)
            said = (stated.address, stated.fields, stated.opted_out)
            lay_aside(spill, keys[0], (line, keys, global_keys, *said))

        for number, row in enumerate(each_row(rows), 1):
            sort_in(row, reader, clerk, rejects.put, lay, rejected)
            if number % BATCH == 0:
                tell()
                await asyncio.sleep(0)
        tell()
        done = 0
        async for lines, batch in _batches(spill, clerk):
            taken = await _put(desk.store, batch, at=desk.now, dry=desk.dry)
            if desk.foresight is not None:
                await desk.foresight.look(desk.store, lines, batch, taken)
            summary.count(taken)
            done += len(batch)
            committed(done, spill.rows)
    return summary


async def _take_in_beside(
    file: Path, kind: Kind, source: Source, size: int, desk: Desk, progress: Progress
) -> Summary:  # fmt: skip
    """The same with the file read, and what is new sealed, by another process: this one looks up and commits."""
    clerk = await _clerk(kind, desk)
    summary = clerk.summary
    rows = 0
    async with beside.started(source.fileno(), file, clerk) as told, _Commits(desk, summary) as commits:
        async for what, said in told:
            if what == beside.READ:
                progress(said, size * 3)
            elif what == beside.SORTED:
                rows = said
                progress(size, size * 3)
            elif what == beside.ROWS:
                await commits.add(beside.taken_up(said, clerk))
                progress(size + size * 2 * commits.done // rows, size * 3)
            elif what == beside.DONE:
                rest = Rest(*said)
                summary.rejected, summary.first_rejected = rest.rejected, rest.first_rejected
                summary.unknown.update(rest.unknown)
                summary.rejected_file = rejected_path(file) if rest.written else None
    progress(size * 3, size * 3)
    return summary


class _Commits:
    """One batch is committed while the next one is made. The last one counts when the context ends."""

    def __init__(self, desk: Desk, summary: Summary) -> None:
        self._desk, self._summary = desk, summary
        self._under_way: asyncio.Task[list[Taken]] | None = None
        self._free_from = 0.0
        self.done = 0
        """Rows that were committed."""

    async def add(self, batch: Sequence[Stop] | SealedBatch) -> None:
        """Begin with a batch once the one before it is committed, and others had the database in between."""
        await self._finish()
        await asyncio.sleep(self._free_from - monotonic())
        self._under_way = asyncio.create_task(self._commit(batch))

    async def _commit(self, batch: Sequence[Stop] | SealedBatch) -> list[Taken]:
        store, at = self._desk.store, self._desk.now
        if isinstance(batch, SealedBatch):
            return await store.take_in_sealed(batch, at=at)
        return await store.take_in_stops(batch, at=at, dry=False)

    async def _finish(self) -> None:
        if self._under_way is not None:
            taken = await self._under_way
            self._under_way = None
            self._summary.count(taken)
            self.done += len(taken)
            self._free_from = monotonic() + GAP_SECONDS

    async def __aenter__(self) -> "_Commits":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._finish()


async def _clerk(kind: Kind, desk: Desk) -> Clerk:
    """A clerk for the rows of one kind. Their lists of third parties are as they are on file now."""
    who = desk.controller
    return Clerk(
        kind, who.id, tuple(who.purposes), frozenset(who.categories), desk.ring,
        desk.now.astimezone(UTC).replace(microsecond=0), Summary(), desk.import_id,
        {one.source.name: one.source for one in await desk.store.sources(who.id)}, desk.list_name,
    )  # fmt: skip


def _unwatched(*reached: int) -> None:
    """Nobody looks at the progress."""


async def _batches(spill: Spill, clerk: Clerk) -> AsyncIterator[tuple[list[int], list[Statement | Stop]]]:
    """What the rows say, a commit's worth at a time, with the lines they stand on.

    The next batch is made between commits, not beside them: other processes get the database in the gaps, so that no
    opt-out waits for an import.
    """
    rows = spill.sorted()
    while True:
        began = monotonic()
        some = list(itertools.islice(rows, BATCH))
        batch = [
            clerk.file(Who(clerk.controller_id, keys, global_keys), Stated(*stated))
            for _, keys, global_keys, *stated in some
        ]
        if not batch:
            return
        await asyncio.sleep(GAP_SECONDS - (monotonic() - began))
        yield [line for line, *_ in some], batch


async def _put(store: Store, batch: Sequence[Statement | Stop], *, at: datetime, dry: bool) -> list[Taken]:
    stops = [one for one in batch if isinstance(one, Stop)]
    statements = [one for one in batch if isinstance(one, Statement)]
    taken = await store.take_in_stops(stops, at=at, dry=dry) if stops else []
    return taken + (await store.take_in(statements, at=at, dry=dry) if statements else [])
