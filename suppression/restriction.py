"""What a person may put in the way of all processing: a restriction and an erasure request.

Source: GDPR art. 17, 18; RULES A6, C2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from suppression.fields import (
    INSTANT,
    INSTANT_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Shape,
    fault,
    instant,
    one_of,
    require_utc,
    written,
    written_or_none,
)
from suppression.frozen import quick_init

RestrictionScope = Literal["all", "marketing", "purpose"]
ErasureStatus = Literal["open", "completed", "refused"]

_SCOPES = frozenset(("all", "marketing", "purpose"))
_STATUSES = frozenset(("open", "completed", "refused"))

_RESTRICTION: Shape = {
    "controller_id": TEXT,
    "scope": one_of(_SCOPES),
    "purpose": TEXT_OR_NULL,
    "from": INSTANT,
    "lifted_at": INSTANT_OR_NULL,
}
_RESTRICTION_FIELDS = itemgetter(*_RESTRICTION)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """Store only, nothing else (GDPR art. 18), from `since` until `lifted_at` (aware UTC; None: not lifted)."""

    controller_id: str
    scope: RestrictionScope
    purpose: str | None
    since: datetime
    lifted_at: datetime | None

    def __post_init__(self) -> None:
        if self.since.tzinfo is not UTC:
            require_utc("since", self.since)
        if self.lifted_at is not None and self.lifted_at.tzinfo is not UTC:
            require_utc("lifted_at", self.lifted_at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "restrictions[]") -> Restriction:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            controller_id, scope, purpose, since, lifted_at = _RESTRICTION_FIELDS(data)
            if (
                len(data) == 5
                and type(controller_id) is str
                and controller_id
                and scope in _SCOPES
                and (purpose is None or (type(purpose) is str and purpose))
            ):
                return cls(
                    controller_id=controller_id,
                    scope=scope,
                    purpose=purpose,
                    since=instant(since),
                    lifted_at=None if lifted_at is None else instant(lifted_at),
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _RESTRICTION, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "controller_id": self.controller_id,
            "scope": self.scope,
            "purpose": self.purpose,
            "from": written(self.since),
            "lifted_at": written_or_none(self.lifted_at),
        }


_ERASURE_REQUEST: Shape = {"controller_id": TEXT, "received_at": INSTANT, "status": one_of(_STATUSES)}
_ERASURE_REQUEST_FIELDS = itemgetter(*_ERASURE_REQUEST)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRequest:
    """A request to be erased (GDPR art. 17) at one controller; `received_at` is aware UTC."""

    controller_id: str
    received_at: datetime
    status: ErasureStatus

    def __post_init__(self) -> None:
        if self.received_at.tzinfo is not UTC:
            require_utc("received_at", self.received_at)

    @classmethod
    def from_dict(cls, data: Any, path: str = "erasure_requests[]") -> ErasureRequest:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            controller_id, received_at, status = _ERASURE_REQUEST_FIELDS(data)
            if len(data) == 3 and type(controller_id) is str and controller_id and status in _STATUSES:
                return cls(controller_id=controller_id, received_at=instant(received_at), status=status)
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _ERASURE_REQUEST, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {
            "controller_id": self.controller_id,
            "received_at": written(self.received_at),
            "status": self.status,
        }
