"""Reading the JSON form of facts: which fields an object has, of what kind, and what is wrong with one that fails.

Each record module reads its object in one hand-written fast pass; only when that pass fails does `fault` walk the
object by its `Shape` to say exactly which field is wrong. Messages name the field and the expectation, never the value
that was found: values are personal data.

Instants are ISO 8601 in UTC with a final Z (`2026-03-02T10:00:00Z`, a fraction of a second is allowed), days are
`YYYY-MM-DD`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

_ZERO = timedelta(0)


class FactsError(ValueError):
    """The facts cannot be read. `path` is the field (`consents[0].given_at`), `what` says what is wrong."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


def instant(text: str) -> datetime:
    """Read one instant, aware UTC. Raises ValueError on any other form, TypeError when it is no text."""
    # The separators are checked because fromisoformat also takes week dates and basic forms of the same length.
    if (
        text[10] == "T"
        and text[4] == "-" == text[7]
        and text[13] == ":" == text[16]
        and (text[19:] == "Z" or (text[19] == "." and text[-1] == "Z" and 21 < len(text) < 28))
    ):
        return datetime.fromisoformat(text)
    raise ValueError("not an instant")


def instant_or_none(text: str | None) -> datetime | None:
    """Read one instant, or None where the fact is not known."""
    return None if text is None else instant(text)


def day(text: str) -> date:
    """Read one calendar day `YYYY-MM-DD`. Raises ValueError on any other form."""
    if len(text) == 10 and text[4] == "-" == text[7]:
        return date.fromisoformat(text)
    raise ValueError("not a day")


def written(at: datetime) -> str:
    """Write an instant in the form `instant` reads."""
    return at.replace(tzinfo=None).isoformat() + "Z"


def written_or_none(at: datetime | None) -> str | None:
    """Write an instant, or None where the fact is not known."""
    return None if at is None else written(at)


def require_utc(name: str, at: datetime) -> None:
    """Refuse a naive or non-UTC time: a wrong zone would move the dates on which rules turn (RULES 2.1.5, 2.1.6).

    Called only when the zone is not the one UTC object, which it nearly always is.
    """
    if at.utcoffset() != _ZERO:
        raise ValueError(f"{name} must be an aware UTC datetime")


def strings(values: object) -> tuple[str, ...]:
    """Read a list of non-empty texts. Raises ValueError otherwise."""
    if values == []:
        return ()
    if type(values) is list and {*map(type, values)} == {str} and "" not in values:
        return tuple(values)
    raise ValueError("not a list of texts")


class Kind:
    """What one field may hold: `good` is the test, `wanted` completes the sentence "must be ..."."""

    __slots__ = ("good", "wanted")

    def __init__(self, wanted: str, good: Callable[[Any], object]) -> None:
        self.wanted = wanted
        self.good = good


def _reads(read: Callable[[Any], object]) -> Callable[[Any], object]:
    def good(value: object) -> bool:
        try:
            read(value)
        except (ValueError, TypeError, IndexError):
            return False
        return True

    return good


FLAG = Kind("true or false", lambda v: type(v) is bool)
COUNT = Kind("a whole number of 0 or more", lambda v: type(v) is int and v >= 0)
TEXT = Kind("a non-empty text", lambda v: type(v) is str and v)
TEXT_OR_NULL = Kind("a non-empty text or null", lambda v: v is None or (type(v) is str and v))
TEXTS = Kind("a list of non-empty texts", _reads(strings))
TEXTS_OR_NULL = Kind("a list of non-empty texts, or null", lambda v: v is None or TEXTS.good(v))
UNIQUE_TEXTS = Kind("a list of different non-empty texts", lambda v: TEXTS.good(v) and len({*v}) == len(v))
INSTANT = Kind("an instant in UTC such as 2026-03-02T10:00:00Z", lambda v: type(v) is str and _reads(instant)(v))
INSTANT_OR_NULL = Kind(INSTANT.wanted + ", or null", lambda v: v is None or INSTANT.good(v))
INSTANTS = Kind("a list of instants in UTC", lambda v: type(v) is list and all(INSTANT.good(x) for x in v))
DAY_OR_NULL = Kind("a day such as 1990-05-17, or null", lambda v: v is None or (type(v) is str and _reads(day)(v)))
OBJECT = Kind("an object", lambda v: type(v) is dict)
OBJECTS = Kind("a list of objects", lambda v: type(v) is list and all(type(x) is dict for x in v))
PAIRS = Kind(
    "a list of pairs of non-empty texts", lambda v: type(v) is list and all(TEXTS.good(x) and len(x) == 2 for x in v)
)


def one_of(values: frozenset[str]) -> Kind:
    """A text out of a closed list."""
    return Kind("one of " + ", ".join(sorted(values)), lambda v: type(v) is str and v in values)


def one_of_or_null(values: frozenset[str]) -> Kind:
    """A text out of a closed list, or null."""
    return Kind("null or one of " + ", ".join(sorted(values)), lambda v: v is None or (type(v) is str and v in values))


Shape = Mapping[str, Kind]


def fault(data: object, shape: Shape, path: str) -> FactsError:
    """The FactsError that names the first thing wrong with `data`: no object, a field missing, unknown or of no use."""
    if type(data) is not dict:
        return FactsError(path, "must be an object")
    for name, kind in shape.items():
        if name not in data:
            return FactsError(f"{path}.{name}", f"is missing; give {kind.wanted}")
    for name in data:
        if name not in shape:
            return FactsError(f"{path}.{name}", "is not a field of the facts; remove it or correct its name")
    for name, kind in shape.items():
        if not kind.good(data[name]):
            return FactsError(f"{path}.{name}", f"must be {kind.wanted}")
    return FactsError(path, "cannot be read; compare it with decisions.schema.json")
