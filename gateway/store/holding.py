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

    `skeleton`: of the text, hex; `likeness`: of sender and form of subject; `signs`: those it had. `why` and `by` are
    empty where their key is gone. `channel`: "web" or "command line".
    """

    answer_id: bytes
    at: datetime
    stream: str
    skeleton: str
    likeness: str
    signs: tuple[str, ...]
    service: bool
    channel: str
    why: str = ""
    by: str = ""


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
    """A question: messages with the same text that wait for one answer. `message_id`: the first of them.

    `subject` of that one. Counts are messages and copies. `expires_at`: of the one that has waited longest.
    """

    controller_id: str
    stream: str
    message_id: bytes
    skeleton: str
    likeness: str
    signs: tuple[str, ...]
    subject: str
    first_at: datetime
    expires_at: datetime
    messages: int
    copies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage:
    """One held message. `rcpts`: copy number and RCPT, packed; None: unreadable now."""

    controller_id: str
    message_id: bytes
    stream: str
    campaign: str
    rcpts: tuple[tuple[int, bytes | None], ...]


class Holding(Protocol):
    """Calls of a store about mail that waits for an answer. Each is one transaction."""

    async def held_mail(self, controller_id: str, *, n: int) -> list[HeldMail]: ...
    async def held_messages(
        self, controller_id: str, *, stream: str, skeleton: str, likeness: str, n: int
    ) -> list[HeldMessage]: ...
    async def held_question(self, controller_id: str, message_id: bytes) -> HeldMail | None: ...
    async def expired_mail(self, *, now: datetime, n: int) -> list[HeldMessage]: ...
    async def let_go(self, messages: Sequence[HeldMessage], *, now: datetime) -> int: ...
    async def end_held(
        self, messages: Sequence[HeldMessage], *, state: str, reply: str, now: datetime, notices: Sequence["Arrival"]
    ) -> int: ...  # fmt: skip
    async def mail_answers(self) -> Mapping[str, Sequence[Answer]]: ...
    async def newest_answers(self) -> bytes: ...
    async def join_seen(self, seen: Sequence[Seen]) -> list[Seen]: ...
    async def forget_seen(self, *, before_slot: int) -> int: ...
