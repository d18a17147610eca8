"""Instants as other tools write them: ISO 8601 with or without zone, Unix time, RFC 5322, Go, JavaScript.

A date that could be two days (03/04/2026) is not read at all. One without a zone is read in the zone the importing
person gave, else as UTC, and counted, so that it is told.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

EARLIEST, LATEST = 1990, 2100
"""Years of an act that somebody may have written down; outside them a number meant something else."""
_ISO: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?)?"
    r" ?(Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?(?: (?:UTC|GMT|[A-Z]{2,5}|[+-][0-9]{2,4}))?"
)
_DAY_FIRST: Final = re.compile(
    r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})(?:[T ,]+([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?)?"
)
_SCRIPT: Final = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([0-9]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT([+-][0-9]{4})"
    r"(?: \(.*\))?"
)
_UNIX: Final = re.compile(r"([0-9]{9,10})(?:\.[0-9]{1,9})?|([0-9]{12,13})")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Moment(NamedTuple):
    """An instant in UTC, whole seconds, and whether the text said in which zone."""

    at: datetime
    zoned: bool

    @property
    def text(self) -> str:
        """As a cell of our own format."""
        return self.at.replace(tzinfo=None).isoformat() + "Z"


def read(cell: str, zone: tzinfo, *, late: bool = False) -> Moment | None:
    """The instant a cell says, or None where it says none that is sure.

    `zone`: for texts without one. `late`: of an hour that clocks passed twice take the second, as for an opt-out.
    """
    for form in (_unix, _iso, _day_first, _script, _mail):
        try:
            found = form(cell, zone, late)
        except (ValueError, OverflowError, IndexError, TypeError):
            continue
        if found is not None and EARLIEST <= found.at.year < LATEST:
            return found
    return None


def _utc(at: datetime, zoned: bool) -> Moment:
    return Moment(at.astimezone(UTC).replace(microsecond=0), zoned)


def _unix(cell: str, zone: tzinfo, late: bool) -> Moment | None:
    found = _UNIX.fullmatch(cell)
    if found is None:
        return None
    return _utc(datetime.fromtimestamp(int(found[1]) if found[1] else int(found[2]) // 1000, UTC), True)


def _local(parts: tuple[int, ...], zone: tzinfo, late: bool) -> Moment:
    year, month, day, hour, minute, second = parts
    return _utc(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone, fold=int(late)), False)


def _iso(cell: str, zone: tzinfo, late: bool) -> Moment | None:
    found = _ISO.fullmatch(cell)
    if found is None:
        return None
    parts = tuple(int(part or 0) for part in found.groups()[:6])
    if found[7] is None:
        return _local(parts, zone, late)
    return _utc(_local(parts, UTC, late).at.replace(tzinfo=_offset(found[7])), True)


def _offset(said: str) -> tzinfo:
    if not said.startswith(("+", "-")):
        return UTC
    digits = said[1:].replace(":", "")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-ahead if said[0] == "-" else ahead)


def _day_first(cell: str, zone: tzinfo, late: bool) -> Moment | None:
    """21/11/2026 and 11/21/2026 are sure, 03/04/2026 is not."""
    found = _DAY_FIRST.fullmatch(cell)
    if found is None:
        return None
    one, other = int(found[1]), int(found[2])
    if one <= 12 and other <= 12 and one != other:
        return None
    day, month = (one, other) if other <= 12 else (other, one)
    return _local((int(found[3]), month, day, *(int(part or 0) for part in found.groups()[3:])), zone, late)


def _script(cell: str, zone: tzinfo, late: bool) -> Moment | None:
    found = _SCRIPT.fullmatch(cell)
    if found is None:
        return None
    parts = (int(found[3]), _MONTHS.index(found[1]) + 1, *(int(found[number]) for number in (2, 4, 5, 6)))
    return _utc(_local(parts, UTC, late).at.replace(tzinfo=_offset(found[7])), True)


def _mail(cell: str, zone: tzinfo, late: bool) -> Moment | None:
    """RFC 5322 3.3, as Mailgun writes it. "-0000" is UTC there, said by somebody who does not tell where they are."""
    if ":" not in cell or not cell[:1].isalnum() or not cell.isascii():
        return None
    at = parsedate_to_datetime(cell)
    return _utc(at if at.tzinfo is not None else at.replace(tzinfo=UTC), True)
