"""What every store promises about mail that waits for an answer: held messages, answers, and texts that repeat.

An answer is an entry of the ledger (kind "mail_ruling") and nothing else. Release and drop are once only: a copy that
is in state "held" no more is passed by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.store.contract import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody said about mail like this. `service`: it is service mail; else it counts as marketing.

    `skeleton`: of the text, hex; `likeness`: of sender and form of subject; `signs`: those it had.
    """

    answer_id: bytes
    at: datetime
    stream: str
    skeleton: str
    likeness: str
    signs: tuple[str, ...]
    service: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A text and who got it in one window, as a bitmap. `before`: the window before."""

    controller_id: str
    stream: str
    skeleton: bytes
    slot: int
    people: int
    before: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMail:
    """One message that waits for an answer. `copies`: how many of it do."""

    controller_id: str
    message_id: bytes
    stream: str
    campaign: str
    skeleton: str
    likeness: str
    signs: tuple[str, ...]
    subject: str
    at: datetime
    expires_at: datetime
    copies: int


class Holding(Protocol):
    """Calls of a store about mail that waits for an answer. Each is one transaction."""

    async def held_mail(self, controller_id: str, *, n: int) -> list[HeldMail]: ...
    async def held_copies(self, controller_id: str, message_id: bytes) -> list[tuple[int, bytes | None]]: ...
    async def expired_mail(self, *, now: datetime, n: int) -> list[tuple[str, bytes]]: ...
    async def let_go(self, controller_id: str, message_ids: Sequence[bytes], *, now: datetime) -> int: ...
    async def end_held(
        self, controller_id: str, message_id: bytes, *, state: str, reply: str, now: datetime,
        notice: "Arrival | None",
    ) -> int: ...  # fmt: skip
    async def mail_answers(self, *, known: bytes) -> tuple[bytes, Mapping[str, Sequence[Answer]]] | None: ...
    async def join_seen(self, seen: Sequence[Seen]) -> list[Seen]: ...
    async def forget_seen(self, *, before_slot: int) -> None: ...
