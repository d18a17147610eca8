"""JSON of strangers, read field by field: each mistake names its field, and nothing that was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from gateway.mail.came_back import bare_address

LONGEST: Final = 64 * 1024
"""Characters of one text that are looked at."""
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Malformed(Exception):
    """A body that is not as its provider describes it. `field`: where, as `bounce.bouncedRecipients.0.emailAddress`."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"{field} {what}")
        self.field, self.what = field, what


def parsed(body: bytes | str, field: str = "body") -> Any:
    """A JSON text (RFC 8259, UTF-8) as a value. Raises Malformed."""
    try:
        text = body if isinstance(body, str) else body.decode("utf-8")
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Malformed(field, "is not JSON in UTF-8") from None


def _no_number(_: str) -> NoReturn:
    raise ValueError


class Fields:
    """An object of a JSON text. `place`: its path, "" for the outermost."""

    __slots__ = ("place", "said")

    def __init__(self, said: Any, place: str = "") -> None:
        if not isinstance(said, dict):
            raise Malformed(place or "body", "is not an object")
        self.said: Mapping[str, Any] = said
        self.place = place

    def at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name

    def text(self, name: str) -> str:
        """A text that has to be there. Raises Malformed."""
        found = self.word(name)
        if not found:
            raise Malformed(self.at(name), "is missing, or no text")
        return found

    def word(self, name: str) -> str:
        """A text; "" where there is none. Numbers are texts."""
        value = self.said.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return ""
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            return ""
        return clean(str(value))

    def flag(self, name: str) -> bool:
        """True or false that has to be there. Raises Malformed."""
        value = self.said.get(name)
        if not isinstance(value, bool):
            raise Malformed(self.at(name), "is missing, or neither true nor false")
        return value

    def address(self, name: str) -> str:
        """An e-mail address that has to be there, bare or with a name before it. Raises Malformed."""
        written = self.text(name)
        found = bare_address(written[:1000])
        if found is None:
            raise Malformed(self.at(name), "is not an e-mail address")
        return found

    def inner(self, name: str) -> Fields:
        """An object that has to be there. Raises Malformed."""
        return Fields(self.said.get(name), self.at(name))

    def maybe(self, name: str) -> Fields:
        """An object; an empty one where there is none."""
        value = self.said.get(name)
        return Fields(value if isinstance(value, dict) else {}, self.at(name))

    def items(self, name: str) -> list[Fields]:
        """A list of objects that has to be there. Raises Malformed."""
        value = self.said.get(name)
        if not isinstance(value, list):
            raise Malformed(self.at(name), "is missing, or no list")
        return [Fields(one, f"{self.at(name)}.{number}") for number, one in enumerate(value)]

    def listed(self, name: str) -> list[Any]:
        """A list of anything; empty where there is none."""
        value = self.said.get(name)
        return value if isinstance(value, list) else []

    def seconds(self, name: str, now: datetime) -> datetime:
        """An instant in seconds since 1970; `now` where there is none that makes sense."""
        return since_1970(self.said.get(name)) or now

    def instant(self, name: str, now: datetime) -> datetime:
        """An instant in ISO 8601 with zone; `now` where there is none that makes sense."""
        return iso(self.word(name)) or now


def since_1970(value: Any) -> datetime | None:
    """Seconds since 1970, as number or digits, to an instant of this age; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found if _FIRST < found < _LAST else None


def iso(text: str) -> datetime | None:
    """An ISO 8601 instant with zone; None for anything else. Fractions finer than microseconds are cut."""
    try:
        written = datetime.fromisoformat(text[:40])
        if written.tzinfo is None:
            return None
        found = written.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if _FIRST < found < _LAST else None


def clean(text: str) -> str:
    """A text that can be written as UTF-8 (JSON may hold halves of characters), of bounded length."""
    return text[:LONGEST].encode("utf-8", "replace").decode()


def texts_of(value: Any) -> tuple[str, ...]:
    """The texts in a flat object or list: metadata, custom arguments, variables."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(clean(one) for one in value[:200] if isinstance(one, str))
    return (clean(value),) if isinstance(value, str) else ()
