"""The first half of an import: rows are read, those that cannot be are written apart, the others are sorted."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

from gateway.clerk import Clerk
from gateway.files import clash, native, table
from gateway.files.native import Kind, Native, Rejected, Stated
from gateway.files.table import Refusal, Row, Rows, Table
from gateway.spill import Spill

BATCH: Final = 2000
"""Rows per commit: a bound on how long another process waits for the database (about a tenth of a second)."""
HELD: Final = 16_384
"""Rows in memory while the file is sorted; what is more goes to a temporary file: a bound on memory."""


def rejected_path(file: Path) -> Path:
    """Where the rejected rows of a file go: FILE.csv has FILE.rejected.csv."""
    return file.with_suffix(".rejected.csv") if file.suffix.lower() == ".csv" else Path(f"{file}.rejected.csv")


def each_row(rows: Rows) -> Iterator[Row]:
    try:
        yield from rows
    except UnicodeDecodeError:
        raise Refusal(None, "the file changed while it was read", "Let it be finished, then import it again") from None


def sort_in(
    row: Row,
    reader: Native,
    clerk: Clerk,
    reject: Callable[[Row, str], None],
    lay: Callable[[int, Stated], None],
    tell: Callable[[int, str], None] | None = None,
) -> None:
    """Read a row and let it be laid aside with its line, or be rejected with the reason.

    `tell`: of a row that is rejected, its line and the reason.
    """
    result = reader.read(row.cells) if row.fault is None else Rejected((row.fault,))
    if isinstance(result, Stated):
        lay(row.line, result)
        return
    reason = " ".join(result.reasons)
    clerk.summary.reject(row.line, reason)
    reject(row, reason)
    if tell is not None:
        tell(row.line, reason)


def lay_aside(spill: Spill, key: bytes, row: tuple[Any, ...]) -> None:
    """Lay a row aside in the order of the tables, so that a commit touches few of their pages."""
    try:
        spill.put(key, row)
    except OSError as failed:
        what = f"the folder for temporary files cannot be written: {failed.strerror}"
        raise Refusal(None, what, "Make room there, or name another one in TMPDIR") from None


class Placed(io.RawIOBase):
    """The file behind a handle, read from a place of its own: processes that share it do not move each other."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """From the start of the file, or from where it is read now."""
        if whence == os.SEEK_END:
            raise io.UnsupportedOperation("the end of the file is not asked for")
        self._at = offset + (self._at if whence == os.SEEK_CUR else 0)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        got = os.preadv(self._handle, [buffer], self._at)
        self._at += got
        return got


class Source:
    """The file, read over one handle: to see that it is text, for what occurs twice in it, and for its rows."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def tell(self) -> int:
        return self._raw.tell()

    def rows(self, kind: Kind) -> Rows:
        """The rows of the file, once it has proved to be text; those that contradict earlier ones have a fault."""
        table.check_text(iter(partial(self._raw.readline, table.LINE_BYTES + 1), b""))
        rows, text = self._table(kind)
        if not clash.applies(kind, rows.columns):
            return rows
        names = clash.repeated(rows, kind)
        text.detach()  # or the file would be closed with it
        return clash.Weighed(self._table(kind)[0], kind, names)

    def _table(self, kind: Kind) -> tuple[Table, io.TextIOWrapper]:
        self._raw.seek(0)
        text = io.TextIOWrapper(self._raw, encoding="utf-8-sig", newline="")
        return Table(text, native.columns(kind)), text


@contextlib.contextmanager
def opened(file: Path) -> Iterator[Source]:
    try:
        raw = file.open("rb")
    except OSError as failed:
        raise Refusal(None, f"{file} cannot be read: {failed.strerror}", "Check its path and mode") from None
    with raw:
        if not raw.seekable():
            raise Refusal(None, f"{file} is no plain file", "Save what it gives as a file and import that")
        yield Source(raw)


class Rejects:
    """FILE.rejected.csv: the original cells, then line and reason. Made with the first rejected row, owner-only.

    The cells stand as they were given, so that the corrected file can be imported: nothing is put in front of one that
    a spreadsheet would take for a formula. The reason never begins like one, since it begins with a column's name.
    """

    def __init__(self, file: Path, rows: Rows, *, dry: bool) -> None:
        self.path = rejected_path(file)
        self.table = rows
        self.written = False
        self._width = rows.width
        self._dry = dry
        self._out: io.TextIOWrapper | None = None

    def __enter__(self) -> "Rejects":
        if not self._dry:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as failed:
                raise self._refusal(failed) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._out is not None:
            self._out.close()

    def put(self, row: Row, reason: str) -> None:
        """Add a row."""
        if self._dry:
            return
        out = self._out = self._out or self._made()
        given = row.cells if row.original is None else row.original
        cells = given[: self._width]
        cells += [""] * (self._width - len(cells))
        surplus = given[len(self.table.header) :]
        if surplus:
            reason += " Left over: " + table.written(surplus, self.table.delimiter).rstrip("\r\n")
        out.write(table.written([*cells, str(row.line), reason], self.table.delimiter))

    def _made(self) -> io.TextIOWrapper:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as failed:
            raise self._refusal(failed) from None
        self.written = True
        out = os.fdopen(handle, "w", encoding="utf-8", newline="")
        header = self.table.header[: self._width]
        out.write(table.written([*header, *table.MARKS], self.table.delimiter))
        return out

    def _refusal(self, failed: OSError) -> Refusal:
        what = f"there are rows to reject, and {self.path} cannot be written: {failed.strerror}"
        return Refusal(None, what, "Make its folder writable and import again; rows that were kept are not taken twice")
