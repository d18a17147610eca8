"""What every store promises about letters that are owed: values and calls.

A letter is owed from the moment of the act that asks for it, and its row is written in that act's own transaction: it
cannot be lost, and costs the act one row. It is written out later, when it is due, by `correspond.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from gateway.store.contract import Act, Arrival

OwedKind = Literal["stopped", "restriction_ends", "obtained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedLetter:
    """One letter that is owed. `letter_id`: of an acknowledgment, that of the opt-out, so that there is one of each.

    `about`: what it is about, without personal data. `written_at`: when it went to the queue; None: not yet.
    """

    controller_id: str
    letter_id: bytes
    kind: OwedKind
    recipient_key: bytes
    due_at: datetime
    about: Mapping[str, Any]
    written_at: datetime | None = None


class Letters(Protocol):
    """Calls of a store about letters that are owed. Each is one transaction. Opt-outs bring theirs with them."""

    async def owe(self, letter: OwedLetter) -> bool: ...
    async def letters_due(self, *, now: datetime, n: int) -> list[OwedLetter]: ...
    async def letters_to(self, controller_id: str, recipient_key: bytes) -> list[OwedLetter]: ...
    async def settle_letters(
        self, owed: Sequence[OwedLetter], arrival: "Arrival | None", acts: "Sequence[Act]", *, now: datetime
    ) -> bool: ...
    async def told_in_mail(self, controller_id: str, recipient_key: bytes) -> bool: ...
    async def put_off_letters(self, owed: Sequence[OwedLetter], until: datetime) -> None: ...
    async def drop_letters(self, *, settled_before: datetime) -> None: ...
