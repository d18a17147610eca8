"""What every store promises about proofs: the rows that a bundle is made of. Values and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from suppression.chain import Stored

if TYPE_CHECKING:
    from gateway.store.contract import Who


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEntry:
    """One entry as it is stored, and what its commitment binds: the blind and the private fields. None: no private
    part, or nobody can open it."""

    stored: Stored
    opened: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One copy of a message: the decision on it, and what became of it. `kind`, `packs`: as in history.Decided.

    `digest`: SHA-256 of the message as it was accepted; None where it was refused, or the only recipient was erased.
    `size` in bytes. `ended_at` None: it waits still. `address` None: not asked for, or not on file.
    """

    message_id: bytes
    copy_no: int
    recipient_key: bytes
    address: str | None
    accepted_at: datetime
    stream: str
    campaign: str
    mode: str
    kind: Mapping[str, Any]
    subject: str
    size: int
    digest: bytes | None
    state: str
    verdict: str
    reason_code: str
    accept_code: str
    cite: str
    as_of: datetime
    basis: str | None
    packs: str
    trace: tuple[str, ...]
    ended_at: datetime | None
    reply: str | None


Place = tuple[bytes, int]
"""Message id and number of a copy: where a page ends."""


class Proofs(Protocol):
    """Calls of a store about proofs. Each reads in one transaction."""

    async def entries_shown(self, who: Who) -> list[ShownEntry]: ...
    async def wording_entries(self, controller_id: str, names: Sequence[str]) -> list[Stored]: ...
    async def passages_of(
        self, controller_id: str, recipient_key: bytes, *, after: Place, n: int
    ) -> list[Passage]: ...  # fmt: skip
    async def passages_in(
        self, controller_id: str, stream: str, campaign: str, *, after: Place, n: int, addresses: bool
    ) -> list[Passage]: ...
