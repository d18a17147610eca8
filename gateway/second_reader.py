"""The rows of a large file read by two processes in turns: while nothing is committed yet, there is a core for each.

The second is a fork of the first, which has one thread and no database. It goes through the same lines, reads what is
its turn, and tells over a pipe what it made of it; the first takes all up in the order of the file. Each waits for the
other at every turn, so that no more than one turn is in memory besides.
"""

import contextlib
import itertools
import marshal
import os
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final, NoReturn

from gateway.clerk import Clerk
from gateway.files.native import Native, Stated
from gateway.files.table import Refusal, Row
from gateway.reading import Rejects, each_row, sort_in

FIRST: Final = 100
"""Rows per turn of the first, which has more to do with each row: it takes up the other's too."""
SECOND: Final = 200
"""Rows per turn of the second: not much more than fits a pipe, so that neither waits long."""
_LENGTH: Final = struct.Struct(">I")

Laid = tuple[bytes, tuple[Any, ...]]
"""A row by the key of its person: plain values, which marshal can write."""
Turn = tuple[list[Laid], list[tuple[int, list[str], list[str] | None, str]]]
"""Good rows, then the rejected ones: line, cells, cells as they stand in the file, reason."""


def shared_out(
    rejects: Rejects, clerk: Clerk, laid: Callable[[Stated], Laid], put: Callable[[bytes, tuple[Any, ...]], None]
) -> Iterator[None]:
    """Read the rows of `rejects`: `put` what `laid` makes of the good ones, in their order. Yields after each turn.

    Raises Refusal where the file, or one of the processes, gives out.
    """
    reader = Native(clerk.kind, rejects.table.columns, clerk.controller_id, clerk.purposes)
    with _second(rejects, clerk, reader, laid) as told:
        rows = each_row(rejects.table)
        while some := list(itertools.islice(rows, FIRST)):
            for row in some:
                sort_in(row, reader, clerk, rejects.put, lambda _line, stated: put(*laid(stated)))
            if not sum(1 for _ in itertools.islice(rows, SECOND)):
                break
            _take_up(_next(told), rejects, clerk, put)
            yield
        clerk.summary.unknown.update(_next(told))


def _take_up(turn: Turn, rejects: Rejects, clerk: Clerk, put: Callable[[bytes, tuple[Any, ...]], None]) -> None:
    """What the second made of its turn."""
    good, bad = turn
    for key, row in good:
        put(key, row)
    for line, cells, original, reason in bad:
        clerk.summary.reject(line, reason)
        rejects.put(Row(line, cells, None, original), reason)


@contextlib.contextmanager
def _second(
    rejects: Rejects, clerk: Clerk, reader: Native, laid: Callable[[Stated], Laid]
) -> Iterator[BinaryIO]:  # fmt: skip
    """The second process, and what it tells. It ends with the context: nobody reads on what it writes."""
    ours, theirs = os.pipe()
    try:
        process = os.fork()
    except OSError as failed:
        os.close(ours)
        os.close(theirs)
        what = f"a second process for reading it cannot be started: {failed.strerror}"
        raise Refusal(None, what, "Free memory or processes, then import again") from None
    if not process:
        os.close(ours)
        _work(theirs, rejects, clerk, reader, laid)
    os.close(theirs)
    try:
        with os.fdopen(ours, "rb") as told:
            yield told
    finally:
        os.waitpid(process, 0)


def _next(told: BinaryIO) -> Any:
    length = told.read(_LENGTH.size)
    said = told.read(_LENGTH.unpack(length)[0]) if len(length) == _LENGTH.size else b""
    if not said:
        what = "a process that reads it ended before its time"
        raise Refusal(None, what, "Import it again: rows that were kept are not taken twice")
    return marshal.loads(said)  # noqa: S302 - our own process


# The second process


def _work(
    out: int, rejects: Rejects, clerk: Clerk, reader: Native, laid: Callable[[Stated], Laid]
) -> NoReturn:  # fmt: skip
    """Read what is its turn, tell it, and the names that no setting declares at the end."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or nobody would see that the first is gone
        with os.fdopen(out, "wb") as told:
            rows = each_row(rejects.table)
            while sum(1 for _ in itertools.islice(rows, FIRST)) and (some := list(itertools.islice(rows, SECOND))):
                _tell(told, _read(some, clerk, reader, laid))
            _tell(told, dict(clerk.summary.unknown))
        code = 0
    except (BrokenPipeError, Refusal):  # the first is gone, or finds the same fault at the same line
        pass
    except Exception:  # whatever it is: the frames above are the first's, which would go on a second time
        traceback.print_exc()
    finally:
        os._exit(code)


def _read(some: Sequence[Row], clerk: Clerk, reader: Native, laid: Callable[[Stated], Laid]) -> Turn:
    good: list[Laid] = []
    bad: list[tuple[int, list[str], list[str] | None, str]] = []

    def reject(row: Row, reason: str) -> None:
        bad.append((row.line, row.cells, row.original, reason))

    for row in some:
        sort_in(row, reader, clerk, reject, lambda _line, stated: good.append(laid(stated)))
    return good, bad


def _tell(told: BinaryIO, said: Any) -> None:
    message = marshal.dumps(said)
    told.write(_LENGTH.pack(len(message)) + message)
    told.flush()
