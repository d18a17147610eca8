"""What every store promises about imports as wholes: that they happened, and that one can be taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from suppression.standing import Document

if TYPE_CHECKING:
    from gateway.store.contract import Taken, Who
    from gateway.store.sealed_rows import SealedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import. `digest`: SHA-256 of the file. `by`: who ran it, in their own words.

    `stated`: what that person said of all rows. `counts` None: it was cut short, or is under way. `undone_at` None: it
    stands.
    """

    controller_id: str
    import_id: bytes
    at: datetime
    kind: str
    form: str
    digest: bytes
    by: str
    stated: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] | None = None
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndonePage:
    """Some people looked at. `changed`: whose standing is another now. `opted_out`: who keep an opt-out it brought.

    `unknown`: of whom nothing is left. `unreadable`: left alone, since their entries cannot be read. `after` None: that
    was all.
    """

    people: int
    changed: int
    opted_out: int
    unknown: int
    unreadable: int
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """Somebody with an address on file. `name`, `external_id`: empty where none was given.

    `declared`: facts that somebody declared about them, by schema name; empty where nobody did.
    """

    recipient_key: bytes
    address: str
    name: str
    external_id: str
    declared: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterPage:
    """Some of a controller's people. `unreadable`: rows that do not open. `after` None: that was all."""

    people: tuple[Enrolled, ...]
    unreadable: int
    after: bytes | None


class Imported(Protocol):
    """Calls of a store about imports and exports. Each is one transaction."""

    async def put_import(self, brought: Import) -> None: ...
    async def imports(self, controller_id: str) -> Sequence[Import]: ...
    async def take_in_sealed(self, batch: SealedBatch, *, at: datetime) -> list[Taken]: ...
    async def add_hashes(
        self, controller_id: str, hashes: Sequence[tuple[str, bytes]], *, at: datetime, dry: bool
    ) -> list[bool]: ...
    async def undo_import(
        self, controller_id: str, import_id: bytes, *, after: bytes, n: int, at: datetime
    ) -> UndonePage: ...
    async def roster(self, controller_id: str, *, after: bytes, n: int) -> RosterPage: ...
    async def nameless(self, controller_id: str) -> int: ...
    async def documents(self, wanted: Sequence[Who]) -> list[tuple[Document, Mapping[str, str]]]: ...
