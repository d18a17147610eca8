"""One cell of an import file as a value of the decision schema.

Each reader takes a trimmed, non-empty text and returns the value in the JSON form of decisions.schema.json, or raises
BadCell, whose text says what is wrong and what to write instead, without repeating the cell: cells are personal data.
"""

import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import Any, Final

Read = Callable[[str], Any]

LONGEST_TEXT: Final = 4000
"""Characters in one text; a longer one is a mistake, and would be sealed into the ledger for good."""

_UTC_SECONDS = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,4}")
_NOT_INSTANT = "is not an instant. Write it as 2026-03-02T10:00:00Z or 2026-03-02T11:00:00+01:00."


class BadCell(ValueError):
    """The cell cannot be read; the text is for the person who made the file."""


def text(cell: str) -> str:
    """Any text."""
    if len(cell) > LONGEST_TEXT:
        raise BadCell(f"is longer than {LONGEST_TEXT} characters. Shorten it.")
    return cell


def flag(cell: str) -> bool:
    """`true` or `false`, nothing else: what a tool means by `1` or `yes` in a column is a guess."""
    if cell == "true":
        return True
    if cell == "false":
        return False
    raise BadCell("must be true or false, in small letters. An empty cell takes the value that blocks.")


def instant(cell: str) -> str:
    """An instant in ISO 8601 with a zone, as UTC in whole seconds (RULES.md 2.1.5). Fractions are cut off."""
    try:
        if _UTC_SECONDS.fullmatch(cell):
            datetime.fromisoformat(cell)
            return cell
        found = _INSTANT.fullmatch(cell)
        if found is None:
            raise BadCell(_NOT_INSTANT)
        if found[1] is None:
            raise BadCell("has no time zone. Write 2026-03-02T10:00:00Z or 2026-03-02T11:00:00+01:00.")
        at = datetime.fromisoformat(cell.replace(",", ".")).astimezone(UTC)
    except BadCell:
        raise
    except (ValueError, OverflowError):
        raise BadCell(_NOT_INSTANT) from None
    return at.replace(tzinfo=None, microsecond=0).isoformat() + "Z"


def day(cell: str) -> str:
    """A calendar day."""
    try:
        if _DAY.fullmatch(cell):
            date.fromisoformat(cell)
            return cell
    except ValueError:
        pass
    raise BadCell("is not a day. Write it as 1990-05-17.")


def count(cell: str) -> int:
    """A whole number from 0."""
    if cell.isascii() and cell.isdigit() and len(cell) <= 6:
        return int(cell)
    raise BadCell("must be a whole number of 0 or more.")


def country(cell: str) -> str:
    """An ISO 3166 two-letter code, in capitals."""
    if not _COUNTRY.fullmatch(cell):
        raise BadCell("is not a country. Write its ISO 3166 code of two letters, such as NL.")
    return cell.upper()


def language(cell: str) -> str:
    """A language tag (RFC 5646), its first part in small letters."""
    if not _LANGUAGE.fullmatch(cell):
        raise BadCell("is not a language. Write its code, such as nl or de-AT.")
    first, *rest = cell.split("-")
    return "-".join([first.lower(), *rest])


def items(read: Read) -> Read:
    """A list with `|` between its items; a lone `|` is the list without items."""

    def cells(cell: str) -> list[Any]:
        if cell == "|":
            return []
        parts = [part.strip() for part in cell.split("|")]
        if "" in parts:
            raise BadCell("has an empty item. Write one | between two items, none before the first or after the last.")
        return [read(part) for part in parts]

    return cells


def one_of(values: Collection[str]) -> Read:
    """A word of a closed list."""

    def word(cell: str) -> str:
        if cell not in values:
            raise BadCell(f"must be one of {', '.join(sorted(values))}.")
        return cell

    return word


def empty(what: str) -> Read:
    """A column that may be there, but must not say anything."""

    def nothing(cell: str) -> None:
        raise BadCell(what)

    return nothing
