"""An entry of the suppression list: scope and reason, from when to when it works, whom it covers, which speaks first.

The entry itself knows no address: the store hands over only entries that already matched the recipient.

Source: GDPR art. 7(3), 17, 21(3); Directive 2002/58/EC art. 13(2); RULES 2.1.5, 2.1.10 and table C1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from suppression.fields import (
    INSTANT,
    INSTANT_OR_NULL,
    TEXT_OR_NULL,
    Shape,
    fault,
    instant,
    instant_or_none,
    one_of,
    require_utc,
    written,
    written_or_none,
)
from suppression.frozen import quick_init

Scope = Literal["global", "sender", "purpose"]
Reason = Literal["unsubscribe", "objection", "complaint", "erasure", "admin"]

#: In the order in which they speak when several entries match (C1).
SCOPES: tuple[Scope, ...] = ("global", "sender", "purpose")
REASONS: tuple[Reason, ...] = ("erasure", "objection", "complaint", "unsubscribe", "admin")

#: The code of an entry by its reason; the other reasons take the code of their scope.
CODE_OF_REASON: dict[str, str] = {
    "erasure": "ERASED_DO_NOT_CONTACT",
    "objection": "OBJECTED_TO_MARKETING",
    "complaint": "COMPLAINT_RECEIVED",
}
CODE_OF_SCOPE: dict[str, str] = {
    "global": "SUPPRESSED_GLOBAL",
    "sender": "SUPPRESSED_SENDER",
    "purpose": "SUPPRESSED_PURPOSE",
}

HASH_LIST = "hash-list"
"""The source of an entry of somebody whose address is on a list of hashes."""

_SCOPES = frozenset(SCOPES)
_REASONS = frozenset(REASONS)
_SHAPE: Shape = {
    "scope": one_of(_SCOPES),
    "controller_id": TEXT_OR_NULL,
    "purpose": TEXT_OR_NULL,
    "reason": one_of(_REASONS),
    "at": INSTANT,
    "lifted_at": INSTANT_OR_NULL,
}
_FIELDS = itemgetter(*_SHAPE)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """A record that forbids marketing. `controller_id` or `purpose` None covers every controller or purpose (C1).

    `at` and `lifted_at` are aware UTC; a pause has its `lifted_at` in the future from the start (RULES 2.1.10).
    `lifted_for`: purposes for which alone it was lifted, each with the instant; the law reads it through `for_purpose`.
    `source`: where the entry came from ("page", "import", HASH_LIST); it explains, and decides nothing.
    """

    scope: Scope
    controller_id: str | None
    purpose: str | None
    reason: Reason
    at: datetime
    lifted_at: datetime | None
    lifted_for: tuple[tuple[str, datetime], ...] = ()
    source: str | None = None

    def __post_init__(self) -> None:
        if self.at.tzinfo is not UTC:
            require_utc("at", self.at)
        if self.lifted_at is not None and self.lifted_at.tzinfo is not UTC:
            require_utc("lifted_at", self.lifted_at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "suppressions[]") -> Suppression:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            scope, controller_id, purpose, reason, at, lifted_at = _FIELDS(data)
            if (
                len(data) == 6
                and scope in _SCOPES
                and reason in _REASONS
                and (controller_id is None or (type(controller_id) is str and controller_id))
                and (purpose is None or (type(purpose) is str and purpose))
            ):
                return cls(
                    scope=scope,
                    controller_id=controller_id,
                    purpose=purpose,
                    reason=reason,
                    at=instant(at),
                    lifted_at=instant_or_none(lifted_at),
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _SHAPE, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "scope": self.scope,
            "controller_id": self.controller_id,
            "purpose": self.purpose,
            "reason": self.reason,
            "at": written(self.at),
            "lifted_at": written_or_none(self.lifted_at),
        }


def in_force(since: datetime, lifted_at: datetime | None, as_of: datetime) -> bool:
    """Whether an entry that began at `since` works at `as_of`: begun, and not lifted by then (RULES 2.1.5)."""
    return since <= as_of and (lifted_at is None or lifted_at > as_of)


def for_purpose(entry: Suppression, purpose: str | None) -> Suppression:
    """The entry as it stands in the way of messages of one purpose, in the schema's own terms.

    Who objected to everything and signs up anew for one thing has agreed to that one thing: the consent lifts what it
    covers and nothing else (RULES 2.1.10 a), also for purposes that are declared later.
    """
    if not entry.lifted_for:
        return entry
    ends = [at for at in (entry.lifted_at, dict(entry.lifted_for).get(purpose or "")) if at is not None]
    return replace(entry, lifted_at=min(ends, default=None), lifted_for=())


def covers(entry: Suppression, *, controller_id: str, purpose: str | None, as_of: datetime) -> bool:
    """Whether an entry stands in the way of a message of this controller and purpose at `as_of` (C1).

    A message without purpose is covered by no entry that names one; an entry without one covers every message.
    """
    if not in_force(entry.at, entry.lifted_at, as_of):
        return False
    if entry.scope == "sender":
        return entry.controller_id is None or entry.controller_id == controller_id
    if entry.scope == "purpose":
        return (entry.controller_id is None or entry.controller_id == controller_id) and (
            entry.purpose is None or entry.purpose == purpose
        )
    return True


def first(entries: Iterable[Suppression]) -> Suppression | None:
    """The entry whose code is given when several cover: widest scope, then gravest reason (C1)."""
    return min(entries, key=order, default=None)


def code(entry: Suppression) -> str:
    """The reason code of an entry: by its reason, else by its scope (C1)."""
    return CODE_OF_REASON.get(entry.reason) or CODE_OF_SCOPE.get(entry.scope, "SUPPRESSED_GLOBAL")


def order(entry: Suppression) -> tuple[int, int]:
    """The place of an entry among several that cover: widest scope, then gravest reason (C1)."""
    return SCOPES.index(entry.scope), REASONS.index(entry.reason)
