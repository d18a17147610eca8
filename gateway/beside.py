"""The reading half of an import in a process of its own, beside the one that commits: a core each.

What it needs, keys among it, goes to it through a pipe, never by argument, environment or file; so does what it
makes: rows in the order of the tables, each with what would be written if its person is new, sealed. It sees no
database. The pipe is its bound: it waits when the other side is behind, and ends when that side is gone. The handle of
the file is handed on, so that both mean the same file.
"""

import asyncio
import contextlib
import gc
import io
import itertools
import marshal
import os
import pickle
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.clerk import Clerk
from gateway.files.native import Stated
from gateway.files.table import Refusal
from gateway.reading import BATCH, HELD, Placed, Rejects, Source, lay_aside
from gateway.second_reader import shared_out
from gateway.spill import Spill
from gateway.store.ahead import Random, first_row, new_id, with_entry
from gateway.store.contract import Statement, Stop, Who
from gateway.store.sealed_rows import SealedBatch, SealedRows
from suppression import ledger
from suppression.chain import following

AHEAD_BYTES: Final = 4_000_000
"""What may wait in the process that commits, about twice this: a bound on its memory, some five commits' worth."""
_LENGTH: Final = struct.Struct(">I")

READ: Final = "read"
"""So many bytes of the file are read."""
SORTED: Final = "sorted"
"""All of it is read; so many rows are good."""
ROWS: Final = "rows"
"""Some good rows, field by field: the next commit's worth."""
DONE: Final = "done"
"""There are no more: `Rest` as a tuple."""
REFUSED: Final = "refused"
"""The file cannot be taken in: line, what, remedy."""


class Rest(NamedTuple):
    """What is told once, at the end: the rejected rows, and names that the settings do not declare."""

    rejected: int
    first_rejected: list[tuple[int, str]]
    unknown: dict[str, int]
    written: bool


class _Order(NamedTuple):
    handle: int
    file: Path
    clerk: Clerk


# The side that commits


@contextlib.asynccontextmanager
async def started(handle: int, file: Path, clerk: Clerk) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """Start the other process; what it tells, in order, DONE last. It is ended with the context, whatever happens.

    Raises Refusal where it refuses the file, cannot be started, or ends before it is done.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gateway.beside",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=AHEAD_BYTES, pass_fds=(handle,),
            start_new_session=True,  # an interruption from the keyboard is ours alone: we end it
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except OSError as failed:
        what = f"a second process for reading it cannot be started: {failed.strerror}"
        raise Refusal(None, what, "Free memory or processes, then import again") from None
    told = _told(process, pickle.dumps(_Order(handle, file, clerk)))
    try:
        yield told
    finally:
        await told.aclose()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _told(process: asyncio.subprocess.Process, order: bytes) -> AsyncGenerator[tuple[str, Any], None]:
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(order)
        process.stdin.close()
        what = None
        while what != DONE:
            (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
            what, said = marshal.loads(await process.stdout.readexactly(length))  # noqa: S302 - our own process
            if what == REFUSED:
                raise Refusal(*said)
            yield what, said
    except (asyncio.IncompleteReadError, ConnectionError):
        code = await process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        raise Refusal(
            None, f"the process that reads it ended before its time ({how})",
            "Import it again: rows that were kept are not taken twice",
        ) from None  # fmt: skip


def taken_up(fields: tuple[Any, ...], clerk: Clerk) -> list[Stop] | SealedBatch:
    """Rows from the other process, field by field, as the store takes them."""
    if clerk.kind != "suppressions":
        return SealedBatch(clerk.controller_id, SealedRows(*fields), clerk.mark, clerk.mark_that_stays)
    return [
        clerk.stop(Who(clerk.controller_id, keys, global_keys), Stated(*stated))
        for keys, global_keys, *stated in zip(*fields, strict=True)
    ]


# The side that reads


def main() -> None:
    """Read one order from standard input, and answer on standard output."""
    order: _Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    gc.set_threshold(100_000, 50, 50)  # rows make many objects and no cycles
    out = sys.stdout.fileno()
    try:
        for what, said in _answers(order):
            _send(out, what, said)
    except Refusal as refusal:
        _send(out, REFUSED, (refusal.line, refusal.what, refusal.remedy))
    except BrokenPipeError:  # nobody is there any more to commit anything
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _send(out: int, what: str, said: Any) -> None:
    """Without Python's buffer, which loses bytes of a message when the process is stopped and goes on (Ctrl-Z, fg)."""
    message = marshal.dumps((what, said))
    for piece in (_LENGTH.pack(len(message)), message):
        left = memoryview(piece)
        while left:
            left = left[os.write(out, left) :]


def _answers(order: _Order) -> Iterator[tuple[str, Any]]:
    clerk = order.clerk
    with io.BufferedReader(Placed(order.handle)) as raw, Spill(HELD) as spill:
        source, press = Source(raw), _Press(clerk)
        with Rejects(order.file, source.rows(clerk.kind), dry=False) as rejects:
            for _ in shared_out(rejects, clerk, press.laid, partial(lay_aside, spill)):
                yield READ, source.tell()
        yield SORTED, spill.rows
        rows = spill.sorted()
        while some := list(itertools.islice(rows, BATCH)):
            yield ROWS, tuple(zip(*itertools.starmap(press.row, some), strict=True))
    summary = clerk.summary
    yield DONE, tuple(Rest(summary.rejected, summary.first_rejected, dict(summary.unknown), rejects.written))


class _Press:
    """Makes of rows what goes over the pipe: what they say when they are read, what is sealed when they are sorted."""

    def __init__(self, clerk: Clerk) -> None:
        self._clerk = clerk
        self._random = Random()
        self._last: bytes | None = None
        self.row = self._as_it_is if clerk.kind == "suppressions" else self._sealed

    def laid(self, stated: Stated) -> tuple[bytes, tuple[Any, ...]]:
        """A row by its key, as the canonical JSON of what it says, which is smaller and quicker than the fields."""
        clerk = self._clerk
        keys, global_keys = clerk.keys(stated.address)
        if clerk.kind == "suppressions":
            return keys[0], (keys, global_keys, stated.address, stated.fields, stated.opted_out)
        said = clerk.file(Who(clerk.controller_id, keys, global_keys), stated)
        assert isinstance(said, Statement)
        plains = tuple(said.encoded) or tuple(ledger.encode(fields) for _, fields in said.entries)
        kinds = tuple(kind for kind, _ in said.entries)
        return keys[0], (
            keys, global_keys, stated.address, kinds, plains, dict(said.profile), said.purposes, stated.opted_out
        )  # fmt: skip

    def _as_it_is(self, *row: Any) -> tuple[Any, ...]:
        """An opt-out is bound to what stands already."""
        return row

    def _sealed(
        self, keys: tuple[bytes, ...], global_keys: tuple[bytes, ...], address: str, kinds: tuple[str, ...],
        plains: tuple[bytes, ...], profile: dict[str, str], purposes: list[str] | None, marks_stay: bool,
    ) -> tuple[Any, ...]:  # fmt: skip
        """One row, sealed as if its person were new: the fields of `SealedRows`."""
        clerk, random, place = self._clerk, self._random, keys[0]
        fresh = first_row(
            clerk.controller_id, place, address, profile, kinds[0], plains[0], alone=len(plains) == 1, random=random
        )
        self._last = ledger_id = following(self._last, new_id())
        fresh = with_entry(
            fresh, clerk.controller_id, place, plains[0], entry_id=ledger_id, ring=clerk.ring, random=random
        )
        return (
            keys, global_keys, address, kinds, plains[1:], profile, purposes, marks_stay,
            fresh.secret.secret, *fresh[1:],
        )  # fmt: skip


if __name__ == "__main__":
    main()
