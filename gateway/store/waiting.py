"""What every store promises about copies that wait, as staff sees them and acts on them: pages, holds, moves.

Pages are walked with a cursor and cost the same wherever one stands, however much waits. A move touches only copies
that are still as they were read: what a worker took meanwhile is passed by, and a hold stops it before it leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from gateway.store.returned import STOPPED

if TYPE_CHECKING:
    from gateway.store.evidence import Note

HELD: Final = "held by an operator"
"""What is said of a copy that a hold set aside."""


class CopyKey(NamedTuple):
    """Which copy."""

    controller_id: str
    message_id: bytes
    copy_no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCopy:
    """A copy that has not left. `said`: the last answer to it, or why it is held; None: it was never tried, or waits
    for an answer about its message. `rcpt`: its recipient, packed; None where that does not open. `at`: when it came.
    `maybe_twice`: how often a reply to its final dot was lost.
    """

    key: CopyKey
    state: str
    stream: str
    campaign: str
    route: str
    due_at: datetime | None
    attempts: int
    reason_code: str
    said: str | None
    rcpt: bytes | None
    at: datetime
    maybe_twice: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Mail that an operator stopped. `stream`, `campaign`: "" for every one."""

    controller_id: str
    stream: str
    campaign: str
    at: datetime


class Line(NamedTuple):
    """Copies in one order: `queued` ones of a route and turn by when they are due, `claimed` ones by who has them,
    `held` ones of a controller."""

    state: Literal["queued", "claimed", "held"]
    route: str = ""
    turn: int = 0
    controller_id: str = ""


class Halted(NamedTuple):
    """What may not leave now. Each place is controller, stream and campaign; "" for every one."""

    holds: frozenset[tuple[str, str, str]] = frozenset()
    stops: frozenset[tuple[str, str, str]] = frozenset()

    def reason(self, controller_id: str, stream: str, campaign: str) -> str:
        """Why mail of a campaign may not leave; "" where it may. Of a campaign that complaints stopped only marketing
        stays: the caller knows whether a copy is."""
        if self.is_held(controller_id, stream, campaign):
            return HELD
        return STOPPED if (controller_id, stream, campaign) in self.stops else ""

    def is_held(self, controller_id: str, stream: str, campaign: str) -> bool:
        """Whether a hold is about mail of this campaign."""
        return bool(self.holds) and not self.holds.isdisjoint(
            ((controller_id, stream, campaign), (controller_id, stream, ""), (controller_id, "", ""))
        )


class Depth(NamedTuple):
    """How many copies of a stream wait for a route or are on their way, and how many are held."""

    controller_id: str
    stream: str
    route: str
    waiting: int
    held: int


class Waiting(Protocol):
    """Copies that wait. Each call is one transaction."""

    async def lines(self) -> list[Line]:
        """Every line that has copies now."""
        ...

    async def line_page(
        self, line: Line, *, past: tuple[object, ...] | None, n: int
    ) -> tuple[list[WaitingCopy], tuple[object, ...] | None]:
        """The next n copies of a line behind a place, and the place of the last; None: there are no more."""
        ...

    async def waiting_copies(self, message_id: bytes) -> list[WaitingCopy]:
        """Copies of one message that have not left."""
        ...

    async def depths(self) -> list[Depth]: ...
    async def halted(self) -> Halted: ...
    async def holds(self) -> list[Hold]: ...
    async def put_hold(self, hold: Hold, notes: "Sequence[Note]") -> bool: ...
    async def lift_hold(self, hold: Hold, notes: "Sequence[Note]") -> bool: ...
    async def hold_copies(self, keys: Sequence[CopyKey]) -> int: ...
    async def release_copies(self, keys: Sequence[CopyKey], *, now: datetime) -> int: ...
    async def drop_copies(self, keys: Sequence[CopyKey], *, now: datetime) -> int: ...
