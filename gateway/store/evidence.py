"""What every store promises about the ledger's chain, its projection, and the erasure of a person: values and calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from suppression.chain import Head, Stored, Tail

if TYPE_CHECKING:
    from gateway.store.contract import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One entry for the ledger about no person: of a kind in ledger.CONTROLLER_KINDS.

    `public` holds no personal data, names of staff included; `private` is sealed under the controller's own key.
    """

    controller_id: str
    kind: str
    public: Mapping[str, Any]
    private: Mapping[str, Any] | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """What one call sealed. `refused`: controllers whose end record is not genuine; nothing is sealed behind it."""

    entries: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEnd:
    """Where a controller's chain ends; `tail` None: it never began. `genuine`: the record is as it was written."""

    tail: Tail | None
    genuine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRest:
    """The end of a chain and what stands behind it, seen at one instant.

    `unsealed`: ids and instants (ms since 1970) of entries that wait for their place. `claiming`: ids of entries that
    say they have one, behind the end. `orphaned`: there is no chain, and yet rows that only a ledger can have brought.
    """

    end: ChainEnd
    unsealed: tuple[tuple[bytes, int], ...]
    claiming: tuple[bytes, ...]
    orphaned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHead:
    """A signed head. `public_key` 32 bytes, `signature` 64 bytes."""

    head: Head
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row of the projection that is not what the ledger amounts to. `recipient_key` None: of no known person."""

    controller_id: str
    recipient_key: bytes | None
    table: Literal["standing", "suppressions", "keys", "hash_suppressions"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltPage:
    """Some people's rows, or lists of hashes, compared with the ledger. `skipped`: people whose key is gone.

    `after` None: that was all.
    """

    people: int
    skipped: int
    differences: tuple[Difference, ...]
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """An erasure to be carried out (GDPR art. 17). `recipient_keys`: of all live key ids, newest first.

    `address`: whoever else has their data is told of it (art. 19), sealed, until they all know.
    """

    controller_id: str
    recipient_keys: tuple[bytes, ...]
    at: datetime
    by: str
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure found. `already`: the person had been erased before; what came since is erased now.

    `recipient_key`: the one the tombstone stands under. Counts are rows.
    """

    recipient_key: bytes
    already: bool
    known: bool
    ended: int
    captured: int
    history: int


class Evidence(Protocol):
    """Calls of a store about the ledger and about erasure. Each is one transaction."""

    async def note(
        self, controller_id: str, kind: str, public: Mapping[str, Any], private: Mapping[str, Any] | None = None, *,
        at: datetime,
    ) -> None: ...  # fmt: skip
    async def note_change(self, name: str, value: str, notes: Sequence[Note]) -> bool: ...
    async def seal(self) -> Sealing: ...
    async def ledgers(self) -> list[str]: ...
    async def chain_end(self, controller_id: str) -> ChainEnd: ...
    async def chain_entries(self, controller_id: str, *, after: bytes, upto: bytes, n: int) -> list[Stored]: ...
    async def chain_rest(self, controller_id: str, *, after: bytes, n: int) -> ChainRest: ...
    async def heads(self, controller_id: str) -> list[KeptHead]: ...
    async def keep_heads(self, heads: Sequence[KeptHead], letters: Sequence["Arrival"] = ()) -> int: ...
    async def rebuild(self, controller_id: str, *, after: bytes, n: int, write: bool) -> RebuiltPage: ...
    async def rebuild_lists(self, controller_id: str, *, after: bytes, n: int, write: bool) -> RebuiltPage: ...
    async def erase(self, erasure: Erasure) -> Erased: ...
    async def forget_erased(self) -> int: ...
    async def empty_logs(self) -> bool: ...
