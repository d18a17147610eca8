"""What every store promises about mail that came back and what it does: values and calls (DESIGN.md section 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from gateway.store.corresponding import OwedLetter

if TYPE_CHECKING:
    from gateway.mail.event import BounceClass, Reason
    from gateway.store.contract import Act, Arrival, SuppressionRow
    from gateway.store.evidence import Note

Task = Literal["noted", "open", "proposed", "objection", "no_objection", "done"]
"""What is to be done about it: nothing; a person has to look; one did and proposes that it is no objection; the three
answers."""
WAITING: Final = ("open", "proposed")
STOPPED: Final = "too many complaints"
"""What stands in the reply of a copy that was set aside because its campaign was stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCopy:
    """A copy that left, as far as what comes back about it needs it.

    `return_to`: the tool's own MAIL FROM, None where it is not kept (any more); `notify`: what the tool asked to be
    told (RFC 3461 4.1). `recipient_key`, `address`: None for whoever was erased.
    """

    recipient_key: bytes | None
    address: str | None
    stream: str
    campaign: str
    return_to: str | None
    notify: frozenset[str]


class Refusal(NamedTuple):
    """A final answer at hand-over, judged as a report is. `said`: its words, without addresses."""

    bounce_class: "BounceClass"
    reason: "Reason"
    status: str | None
    undeliverable: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """One thing that came back about one address: stored with all that follows from it, or not at all.

    `digest`: tells repeats (keyed). `proven`: it carries an id or token of ours, or its source was authenticated.
    `dead`: it says so credibly, and counts as one of the two it takes. `recipient_key` None: nobody in particular.
    `content`: what is personal or written by others, sealed. `stop`: the opt-out it amounts to, with its entries.
    `forward`: the report on its way to the tool. `owed`: the letter that acknowledges the opt-out.
    """

    controller_id: str
    report_id: bytes
    at: datetime
    digest: bytes
    kind: str
    source: str
    proven: bool
    bounce_class: "BounceClass" = "none"
    reason: "Reason" = "undefined"
    status: str | None = None
    dead: bool = False
    task: Task = "noted"
    recipient_key: bytes | None = None
    message_id: bytes | None = None
    copy_no: int | None = None
    stream: str = ""
    campaign: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    stop: "SuppressionRow | None" = None
    acts: "Sequence[Act]" = ()
    forward: "Arrival | None" = None
    owed: OwedLetter | None = None


class Heeded(NamedTuple):
    """What became of it. `repeat`: it had come before, nothing changed. `placed`: the opt-out as it stands.

    `marked`: the address is undeliverable from now on. `complaints`, `sent`: of its campaign, after a complaint.
    """

    repeat: bool = False
    placed: "SuppressionRow | None" = None
    marked: bool = False
    complaints: int = 0
    sent: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedRow:
    """One report as it is listed. `content` empty where it cannot be read (any more); `address` where asked for."""

    controller_id: str
    report_id: bytes
    at: datetime
    kind: str
    source: str
    proven: bool
    bounce_class: str
    reason: str
    status: str | None
    dead: bool
    task: Task
    recipient_key: bytes | None
    message_id: bytes | None
    stream: str
    campaign: str
    content: Mapping[str, str]
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStop:
    """A campaign that was stopped since too many complained. `released_at`: somebody let it go on."""

    controller_id: str
    stream: str
    campaign: str
    at: datetime
    complaints: int
    sent: int
    released_at: datetime | None = None


class Returns(Protocol):
    """Calls of a store about what came back. Each is one transaction."""

    async def sent_copy(self, controller_id: str, message_id: bytes, copy_no: int) -> SentCopy | None: ...
    async def copy_for(self, controller_id: str, message_id: bytes, recipient_key: bytes) -> int | None: ...
    async def heed(self, returned: Returned) -> Heeded: ...
    async def came_back(
        self, controller_id: str, *, since: datetime | None = None, kinds: Sequence[str] = (), waiting: bool = False,
        recipient_key: bytes | None = None, past: bytes | None = None, n: int, addresses: bool = False,
    ) -> list[ReturnedRow]: ...  # fmt: skip
    async def count_returned(self, controller_id: str, since: datetime) -> list[tuple[str, str, str, int]]: ...
    async def returned_one(self, controller_id: str, report_id: bytes) -> ReturnedRow | None: ...
    async def settle(
        self, controller_id: str, report_id: bytes, task: Task, acts: "Sequence[Act]", *,
        lifts: "Sequence[tuple[SuppressionRow, Sequence[Act]]]" = (), by: str, now: datetime,
    ) -> bool: ...  # fmt: skip
    async def works_again(self, act: "Act") -> bool: ...
    async def campaign_stops(self) -> list[CampaignStop]: ...
    async def release_campaign(
        self, controller_id: str, stream: str, campaign: str, *, notes: "Sequence[Note]", now: datetime
    ) -> int | None: ...
    async def drop_returned(self, *, before: datetime, routes_before: datetime, n: int) -> int: ...
