"""A list of recipients: one address a line, or CSV with a column `email`. Rows come as they are asked for."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain

from gateway.files.table import DELIMITERS, LINE_BYTES, Refusal

COLUMN = "email"


def recipients(lines: Iterable[bytes]) -> Iterator[str]:
    """The addresses, as they stand there, in order; empty lines and empty cells are passed over.

    The first line decides: where one of its cells says `email`, it is a header. Raises Refusal where it is another
    header, and at the line that is no text.
    """
    texts = _decoded(lines)
    number, first = next(((n, line) for n, line in enumerate(texts, 1) if line.strip()), (0, ""))
    if not first:
        return
    for delimiter in DELIMITERS:
        names = [cell.strip().lower() for cell in next(csv.reader([first], delimiter=delimiter), [])]
        if COLUMN in names:
            at = names.index(COLUMN)
            reader = csv.reader(texts, delimiter=delimiter)
            try:
                yield from filter(None, (row[at].strip() for row in reader if len(row) > at))
            except csv.Error:
                what = "belongs to a row with a quotation mark that is not closed"
                raise Refusal(reader.line_num + 1, what, "Close or double it, or write one address a line") from None
            return
    if "@" not in first and any(delimiter in first for delimiter in DELIMITERS):
        raise Refusal(number, f"names no column {COLUMN}", "Name it so, or write one address a line")
    yield from filter(None, (line.strip() for line in chain([first], texts)))


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_BYTES:
            raise Refusal(number, "is longer than a megabyte", "Write one address a line, or a CSV with a column email")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise Refusal(number, "is not UTF-8 text", "Save the file as UTF-8 and try again") from None
