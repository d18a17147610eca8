"""What every store promises about rehearsals: copies that were decided and put by, and their release.

A call that returns has committed (P1). Release is once only: a copy that is in state "rehearsed" no more is passed by,
so that whoever was cut off by a crash goes on where it stopped, and two at the same time double nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.store.contract import Arrival, Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCopy:
    """One recipient of a rehearsed message. `rcpt`: RCPT address and DSN parameters, packed; None: unreadable now.

    `verdict` and `reason_code` are those of the rehearsal.
    """

    copy_no: int
    recipient_key: bytes
    rcpt: bytes | None
    verdict: str
    reason_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedMessage:
    """A message whose copies are put by. `kind`: what the classifier found."""

    controller_id: str
    message_id: bytes
    at: datetime
    stream: str
    campaign: str
    kind: Mapping[str, Any]
    size: int
    copies: tuple[RehearsedCopy, ...]


class ReleasedCopy(NamedTuple):
    """One copy, decided again: "queued" on its route, or "blocked"."""

    copy_no: int
    state: str
    ruling: "Ruling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """All put-by copies of one message, to be let go or kept out together. `notice`: the report on the latter."""

    controller_id: str
    message_id: bytes
    stream: str
    campaign: str
    mode: str
    copies: tuple[ReleasedCopy, ...]
    notice: "Arrival | None" = None


class Moved(NamedTuple):
    """How many copies a release moved."""

    queued: int
    blocked: int


class Rehearsals(Protocol):
    """Put-by copies by campaign. A store has these calls beside those of contract.py."""

    async def rehearsed(
        self, controller_id: str, stream: str, campaign: str, *, after: bytes, n: int
    ) -> list[RehearsedMessage]:
        """The next messages of a campaign that have put-by copies, oldest first, until there are n copies."""
        ...

    async def release(self, released: Sequence[Released], *, at: datetime) -> Moved:
        """Move put-by copies, in one transaction."""
        ...
