"""What every store promises about the material that proves consents: values and calls.

The ledger holds the digest of each piece, and the keys of hash lists, so that what was changed, removed or put in by
hand is found.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from suppression.evidence import Wording
from suppression.proof_meter import Meter
from suppression.provenance import ListSource
from suppression.standing import Standing


class NameTaken(Exception):
    """A name that stands for something else already; names are never reused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWording:
    """A wording on file. `digest` 32 bytes; `first_at`: when this name was first kept."""

    wording: Wording
    digest: bytes
    first_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSource:
    """A version of the file about a list. `at`: when it was kept."""

    source: ListSource
    at: datetime


class Unattached(Exception):
    """A file that cannot be kept for this person; the text says why, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttachment:
    """A file that proves a consent. `consent_id`: of a consent on file, None where it is about all of them.

    `name`: the file's; `by`: who added it. `content` as it is read.
    """

    controller_id: str
    recipient_key: bytes
    at: datetime
    name: str
    media_type: str
    note: str
    consent_id: str | None
    by: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAttachment:
    """What is known of an attachment. `sha256`, `size` (bytes): of the file as it was given. `there`: it still is."""

    attachment_id: bytes
    at: datetime
    name: str
    media_type: str
    note: str
    consent_id: str | None
    by: str
    sha256: str
    size: int
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LivingPage:
    """Those among wanted subjects of the ledger that are people on file. `after` None: that was everybody."""

    subjects: frozenset[bytes]
    after: bytes | None


class Said(NamedTuple):
    """An entry about a piece of material, as the ledger holds it. `at` in milliseconds since 1970 UTC."""

    entry_id: bytes
    seq: int | None
    at: int
    kind: str
    subject: bytes
    public: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amiss:
    """A piece that is not what the ledger says, or an entry whose piece is gone. `entry_id` None: in no entry."""

    entry_id: bytes | None
    seq: int | None
    what: Literal["wording", "source", "attachment", "hash list"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialPage:
    """Some entries about material compared with the pieces themselves. `after` None: that was all.

    `gone`: entries whose piece is not there, by subject, which is right for people who were erased only.
    """

    entries: int
    amiss: tuple[Amiss, ...]
    gone: tuple[tuple[bytes, Amiss], ...]
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingPage:
    """Some people's standings. `unreadable`: rows that do not open, or make no sense. `after` None: that was all."""

    standings: tuple[Standing, ...]
    unreadable: int
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMeter:
    """The last count of a controller's list. `current`: nothing was written to the ledger since it began."""

    meter: Meter
    counted_at: datetime
    current: bool


class Material(Protocol):
    """Calls of a store about material. Each is one transaction."""

    async def keep_wording(self, controller_id: str, wording: Wording, *, at: datetime) -> bytes: ...
    async def wording(self, controller_id: str, wanted: str | bytes) -> KeptWording | None: ...
    async def wordings(self, controller_id: str, *, after: str = "", n: int = 500) -> list[KeptWording]: ...
    async def keep_source(self, controller_id: str, source: ListSource, *, at: datetime) -> None: ...
    async def sources(self, controller_id: str, name: str | None = None) -> list[KeptSource]: ...
    async def attach(self, new: NewAttachment) -> bytes: ...
    async def attachments(self, controller_id: str, recipient_key: bytes) -> list[KeptAttachment]: ...
    async def attachment(self, controller_id: str, recipient_key: bytes, attachment_id: bytes) -> bytes | None: ...
    async def living(self, controller_id: str, subjects: Collection[bytes], *, after: bytes, n: int) -> LivingPage: ...
    async def compare_material(self, controller_id: str, *, after: bytes, n: int) -> MaterialPage: ...
    async def standing_page(self, controller_id: str, *, after: bytes, n: int) -> StandingPage: ...
    async def meter(self, controller_id: str) -> KeptMeter | None: ...
    async def begin_meter(self, controller_id: str, *, now: datetime, until: datetime) -> tuple[bool, bytes]: ...
    async def keep_meter(
        self, controller_id: str, meter: Meter, *, entry_id: bytes, counted_at: datetime, due_at: datetime
    ) -> None: ...
