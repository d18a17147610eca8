"""Calendar months and completed years, on UTC dates (RULES 2.1.6, 2.1.7)."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime


def plus_months(day: date, months: int) -> date:
    """The day so many calendar months later; a missing day becomes the last of its month. Never past date.max."""
    index = day.year * 12 + day.month - 1 + months
    year, month = index // 12, index % 12 + 1
    if year > 9999:
        return date.max
    return date(year, month, day.day if day.day < 29 else min(day.day, monthrange(year, month)[1]))


def within_months(anchor: datetime, months: int, as_of: datetime) -> bool:
    """Whether the date of `as_of` is not past the date of `anchor` plus so many months. Both aware UTC."""
    return as_of.date() <= plus_months(anchor.date(), months)


def completed_years(birth: date, on: date) -> int:
    """Age on a day. Born 29 February: a year is completed on 1 March in common years. Negative before birth."""
    return on.year - birth.year - ((on.month, on.day) < (birth.month, birth.day))


def birthday(birth: date, age: int) -> date:
    """The first day on which `age` years are completed."""
    year = birth.year + age
    if year > 9999:
        return date.max
    if (birth.month, birth.day) == (2, 29) and monthrange(year, 2)[1] == 28:
        return date(year, 3, 1)
    return date(year, birth.month, birth.day)
