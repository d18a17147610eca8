"""The text of a CSV file as rows with line numbers: UTF-8, a header line, `,` `;` or tab between cells (RFC 4180).

A fault of the file as a whole (encoding, header) is a Refusal: nothing of it is read. A fault of one line is that
line's own: a row with a wrong number of cells, or a quotation mark that is never closed, is handed on with what is
wrong, and reading goes on with the next line. Memory is bounded by the longest line and by LINES_PER_ROW.
"""

import codecs
import csv
import difflib
import io
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

LINE_BYTES: Final = 1 << 20
"""The longest line that is read, in bytes: what is longer is no CSV file."""
LINES_PER_ROW: Final = 100
"""The most lines one row may take: past that, a quotation mark was left open."""
DELIMITERS: Final = (",", ";", "\t")
MARKS: Final = ("line", "reason")
"""The last two columns of a file of rejected rows: not read again when the corrected file comes back."""


class Refusal(Exception):
    """The file cannot be taken in at all. Holds no cell of it. `line` counts from 1, None: the whole file."""

    def __init__(self, line: int | None, what: str, remedy: str) -> None:
        super().__init__((f"line {line}: " if line is not None else "") + f"{what}. {remedy}.")
        self.line, self.what, self.remedy = line, what, remedy


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it begins on (from 1), and its cells. `fault` is None, or says why the cells mean nothing.

    `original`: the cells as they stand in the file, where `cells` are made from them.
    """

    line: int
    cells: list[str]
    fault: str | None
    original: list[str] | None = None


class Rows(Protocol):
    """Rows under a header. `columns` name the cells of a row; `header` and `delimiter` are those of the file.

    `width`: how many cells of the file are its own; what follows are the marks of a file of rejected rows.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def header(self) -> list[str]: ...
    @property
    def delimiter(self) -> str: ...
    @property
    def width(self) -> int: ...
    def __iter__(self) -> Iterator[Row]: ...


def check_text(pieces: Iterable[bytes]) -> None:
    """Refuse what is not UTF-8 text, naming line and byte. `pieces`: lines, each at most LINE_BYTES + 1 long."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, before = 1, 0
    for piece in pieces:
        if before == 0:
            _check_marks(piece)
        if len(piece) > LINE_BYTES:
            raise Refusal(line, "is longer than a megabyte, so this is no CSV file", "Save it as CSV, a row per line")
        try:
            decoder.decode(piece)
        except UnicodeDecodeError as wrong:
            raise Refusal(line, _not_utf_8(piece, wrong.start, before), _REMEDY) from None
        if b"\0" in piece:
            raise Refusal(line, "holds a NUL byte, so this is no CSV file in UTF-8", "Save it as CSV UTF-8")
        line += piece.endswith(b"\n")
        before += len(piece)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Refusal(line, "ends in the middle of a character", "Export the file anew, it was cut off") from None


_REMEDY: Final = (
    "Save the file as CSV UTF-8 and try again, or convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW.csv"
)
_MARKS: Final = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


def _check_marks(start: bytes) -> None:
    """Refuse text in another encoding that says so in its first bytes."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            remedy = f"Save it as CSV UTF-8, or convert it: iconv -f {name} -t UTF-8 FILE > NEW.csv"
            raise Refusal(None, f"the file is {name} text, not UTF-8 text", remedy)


def _not_utf_8(line: bytes, at: int, before: int) -> str:
    """Which byte it is, counted from 1, and what it probably means."""
    byte = line[at]
    meant = bytes([byte]).decode("cp1252", "replace")
    guess = f", in Windows-1252 it is {meant}" if meant.isprintable() and meant != "\N{REPLACEMENT CHARACTER}" else ""
    return f"is not UTF-8 text: byte 0x{byte:02X} is number {at + 1} of the line, {before + at + 1} of the file{guess}"


class Table:
    """A header and the rows below it, read as they are asked for.

    `columns` are the names that count, `header` all of them as they stand in the file. `marked`: the file is one of
    rejected rows; its two last columns are no part of `columns`.
    """

    def __init__(
        self, lines: Iterable[str], known: Collection[str] | None, header: Sequence[str] | None = None
    ) -> None:  # fmt: skip
        """`lines` with their ends, split at LF, CRLF or CR. Raises Refusal where the header is not one of `known`.

        `known` None: any header will do. `header`: of a file that has none, with commas.
        """
        self._lines = _Lines(iter(lines))
        if header is None:
            self._begin(known)
        else:
            self.delimiter, self.header = ",", list(header)
            self.marked, self.columns, self.width = False, tuple(map(str.lower, header)), len(header)

    def _begin(self, known: Collection[str] | None) -> None:
        """Read the header."""
        first = next((line for line in self._lines if line.strip()), None)
        if first is None:
            raise Refusal(None, "the file is empty", "Its first line must name the columns, email among them")
        at = self._lines.count
        if known is None:
            self.delimiter = max(DELIMITERS, key=lambda mark: len(_cells(first, mark)))
        else:
            known = frozenset(known)
            self.delimiter = max(DELIMITERS, key=lambda mark: len(known & _names(first, mark)))
        self.header = _cells(first, self.delimiter)
        names = [cell.strip().lower() for cell in self.header]
        self.marked = len(names) > 2 and tuple(names[-2:]) == MARKS
        self.columns = tuple(names[:-2] if self.marked else names)
        self.width = len(self.columns)
        if known is not None:
            _check_header(at, self.columns, known)

    def __iter__(self) -> Iterator[Row]:
        """The rows. Empty lines are passed over."""
        lines, width = self._lines, len(self.header)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        while True:
            lines.begin()
            line = lines.count + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                first = lines.first_again()
                yield Row(line, _cells(first, self.delimiter), self._too_long(first) or _OPEN_QUOTE)
                continue
            if len(cells) == width:
                yield Row(line, cells, None)
            elif cells:
                what = f"row: has {len(cells)} cells, the header has {width}. Put cells that hold "
                yield Row(line, cells, what + f"{_NAMES[self.delimiter]} or a line break in quotation marks.")

    def _too_long(self, line: str) -> str | None:
        """What is wrong with a line that has a cell longer than the csv module reads; None where no cell is."""
        most, quoted, cell, length = csv.field_size_limit(), False, 0, 0
        for mark in line:
            quoted ^= mark == '"'
            if mark == self.delimiter and not quoted:
                cell, length = cell + 1, 0
                continue
            length += 1
            if length > most:
                name = f" ({_shown(self.header[cell].strip())})" if cell < len(self.header) else ""
                return f"row: cell {cell + 1}{name} is longer than {most:,} characters. Shorten it or empty it."
        return None


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_OPEN_QUOTE = (
    'row: has a quotation mark that is not closed or not doubled. Write "" for one inside a cell that stands in quotes.'
)


class _Lines:
    """The physical lines, counted, with those of the row under way kept so that they can be read again."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._again: deque[str] = deque()
        self._row: list[str] = []
        self.count = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._source)
        self._row.append(line)
        self.count += 1
        if len(self._row) > LINES_PER_ROW:
            raise csv.Error("too many lines")
        return line

    def begin(self) -> None:
        """A new row begins."""
        self._row.clear()

    def first_again(self) -> str:
        """Give up the row under way: its first line is returned, the others will be read as rows of their own."""
        first, *others = self._row or [""]
        self._again.extendleft(reversed(others))
        self.count -= len(others)
        return first


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line on its own, forgiving quotation marks."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line.rstrip("\r\n")]


def _names(line: str, delimiter: str) -> set[str]:
    return {cell.strip().lower() for cell in _cells(line, delimiter)}


def _check_header(line: int, columns: tuple[str, ...], known: Collection[str]) -> None:
    for number, name in enumerate(columns, 1):
        if not name:
            raise Refusal(line, f"column {number} has no name", "Name it or remove it")
        if name not in known:
            near = difflib.get_close_matches(name[:64], known, 1, 0.5)
            hint = f"Did you mean {near[0]}?" if near else f"The columns are {', '.join(sorted(known))}."
            raise Refusal(line, f"there is no column {_shown(name)}", f"{hint} Correct its name or remove it")
    for name in columns:
        if columns.count(name) > 1:
            raise Refusal(line, f"the column {name} stands there twice", "Remove one of them")
    if "email" not in columns:
        raise Refusal(line, "there is no column email", "Name the column that holds the addresses email")


def _shown(name: str) -> str:
    """A name as it can be printed. A header may be a row of data: what looks like an address is not repeated."""
    return "that looks like an address" if "@" in name else ascii(name[:40])


def written(cells: Iterable[str], delimiter: str) -> str:
    """One row as a line of CSV."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter).writerow(cells)
    return line.getvalue()
