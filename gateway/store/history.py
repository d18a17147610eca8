"""What every store promises about the past: people's entries opened, decisions as they fell. Values and calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from suppression.history import Entry, Listed

if TYPE_CHECKING:
    from gateway.store.contract import Who


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """Entries about a person under one key, and what the list has under it, by id. `controller_id` None: everywhere."""

    controller_id: str | None
    entries: tuple[Entry, ...]
    listed: Mapping[bytes, Listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was written down about one person, opened. The keys are in the order in which `people` looks them up.

    `recipient_key`: the key their rows stand under; `seen` False where there is none that opens (never seen, or
    erased). `own` has the entries under that key. `elsewhere` has those under other live keys and of global scope, of
    which only suppressions count. `sealed`: a standing is stored that nobody can open. `unreadable`: entries that do
    not open, without their fields. `hashed_since`: since when a list has the hash of the address (ms).
    """

    controller_id: str
    recipient_key: bytes
    seen: bool
    addressed: bool
    sealed: bool
    own: Owned
    elsewhere: tuple[Owned, ...]
    unreadable: tuple[Entry, ...]
    hashed_since: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision on one copy as it is stored. `kind`: what the classifier found, as JSON (weigh.Case).

    `packs`: as in contract.Ruling. `accept_code`: the code at acceptance; the others are those of the last decision.
    """

    controller_id: str
    message_id: bytes
    copy_no: int
    recipient_key: bytes
    state: str
    verdict: str
    reason_code: str
    accept_code: str
    cite: str
    as_of: datetime
    basis: str | None
    packs: str
    trace: tuple[str, ...]
    stream: str
    campaign: str
    mode: str
    accepted_at: datetime
    kind: Mapping[str, Any]
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What serves staff and the person only: `said` has address, and name and external id where given."""

    said: Mapping[str, str]
    first_seen: datetime


class Past(Protocol):
    """Calls of a store about the past. Each reads in one transaction."""

    async def histories(self, wanted: Sequence[Who]) -> list[History]: ...
    async def profile(self, controller_id: str, recipient_key: bytes) -> Profile | None: ...
    async def addresses(self, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, str]: ...
    async def decided(self, controller_id: str, message_id: bytes, copy_no: int) -> Decided | None: ...
    async def decided_of_message(
        self, controller_id: str, message_id: bytes, *, after: int, n: int
    ) -> list[Decided]: ...  # fmt: skip
    async def decided_after(
        self, controller_id: str, *, after: tuple[bytes, int], upto: bytes, n: int
    ) -> list[Decided]: ...  # fmt: skip
    async def decided_about(
        self, controller_id: str, recipient_keys: Sequence[bytes], *, since: datetime, n: int
    ) -> list[Decided]: ...
