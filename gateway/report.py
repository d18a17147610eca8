"""What a marketer may see: campaigns, what was kept out and why, captured mail. Reads only."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gateway.store.contract import Store
from gateway.store.reporting import HeldOut


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedRow:
    """One copy that was blocked or put off. `recipient`: the recipient key in hex; `address` only where asked for.

    `packs`: those applied, as CODE@VERSION joined by "+"; `country_from`: declared, billing, default or unknown.
    """

    at: datetime
    controller: str
    stream: str
    campaign: str
    subject: str
    message_id: str
    copy_no: int
    recipient: str
    address: str | None
    decision: str
    reason_code: str
    cite: str
    mode: str
    packs: str
    country_from: str


Cursor = tuple[datetime, bytes, int]
"""Where the next page of blocked rows goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """One campaign of one stream. Counts are copies.

    `mode`: "rehearse" for what was only decided, in a row of its own beside what left; "observe" where something was
    let through that would have been blocked (`observed`, part of `allowed`); else "enforce". `open`: rehearsed copies
    that can still be released; `released`: those that were. `maybe_twice`: how often the reply to a whole copy was
    lost, so that it went again. `stopped`: too many complained, and nobody let it go on yet. `flagged`:
    copies of service mail that looks like advertising and was let pass all the same (`mislabelled = "allow-and-flag"`).
    """

    controller: str
    stream: str
    campaign: str
    subject: str
    first_at: datetime
    last_at: datetime
    accepted: int
    allowed: int
    blocked: int
    deferred: int
    delivered: int
    captured: int
    bounced: int
    opted_out: int
    blocked_by_reason: dict[str, int]
    mode: str = "enforce"
    observed: int = 0
    observed_by_reason: dict[str, int] = field(default_factory=dict)
    open: int = 0
    released: int = 0
    complaints: int = 0
    maybe_twice: int = 0
    stopped: bool = False
    flagged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRow:
    """One copy that was kept instead of handed over."""

    controller: str
    message_id: str
    copy_no: int
    at: datetime
    stream: str
    campaign: str
    subject: str
    recipient: str
    address: str | None
    size: int


PAGE = 500
COUNTS = (
    "accepted", "deferred", "delivered", "captured", "bounced", "opted_out", "open", "released", "complaints",
    "maybe_twice", "flagged",
)  # fmt: skip
REHEARSED = "rehearsed/"
"""What stands before the names of counts of a rehearsal."""


async def blocked(
    store: Store, *, controllers: Iterable[str], since: datetime | None = None, stream: str | None = None,
    campaign: str | None = None, reason: str | None = None, addresses: bool = False, before: Cursor | None = None,
    limit: int = 100,
) -> list[BlockedRow]:  # fmt: skip
    """The newest `limit` copies kept out, of all the named controllers, that meet every filter."""
    found: list[BlockedRow] = []
    for controller in controllers:
        n = 0
        async for row in each_blocked(
            store, controller, since=since, stream=stream, campaign=campaign, reason=reason, addresses=addresses,
            before=before,
        ):  # fmt: skip
            found.append(row)
            n += 1
            if n >= limit:
                break
    found.sort(key=lambda row: (row.at, row.message_id, row.copy_no), reverse=True)
    return found[:limit]


async def each_blocked(
    store: Store, controller: str, *, since: datetime | None = None, stream: str | None = None,
    campaign: str | None = None, reason: str | None = None, addresses: bool = False, before: Cursor | None = None,
    observed: bool = False,
) -> AsyncIterator[BlockedRow]:  # fmt: skip
    """All copies of one controller that were kept out and meet the filters, newest first, page by page.

    `observed`: those that were let through instead, although the reason code would have blocked.
    """
    listing = store.let_through if observed else store.held_out
    while True:
        page = await listing(controller, since=since, before=before, n=PAGE, addresses=addresses)
        for row in page:
            if stream in (None, row.stream) and campaign in (None, row.campaign) and reason in (None, row.reason_code):
                yield _blocked(controller, row)
        if len(page) < PAGE:
            return
        before = (page[-1].at, page[-1].message_id, page[-1].copy_no)


def cursor(row: BlockedRow) -> Cursor:
    """The place behind a row, for the next page."""
    return row.at, UUID(row.message_id).bytes, row.copy_no


def _blocked(controller: str, row: HeldOut) -> BlockedRow:
    packs, _, country_from = row.packs.partition(" ")
    return BlockedRow(
        at=row.at, controller=controller, stream=row.stream, campaign=row.campaign, subject=row.subject,
        message_id=str(UUID(bytes=row.message_id)), copy_no=row.copy_no, recipient=row.recipient_key.hex(),
        address=row.address, decision=row.verdict, reason_code=row.reason_code, cite=row.cite, mode=row.mode,
        packs=packs, country_from=country_from,
    )  # fmt: skip


async def campaigns(
    store: Store, *, controllers: Iterable[str], limit: int = 100, rehearsed: bool | None = False
) -> list[CampaignRow]:
    """The newest `limit` campaigns of the named controllers. Costs the same for any number of recipients.

    `rehearsed`: False for what was to leave, True for rehearsals, None for both.
    """
    found = []
    stops = {
        (one.controller_id, one.stream, one.campaign) for one in await store.campaign_stops()
        if one.released_at is None
    }  # fmt: skip
    for controller in controllers:
        for (stream, campaign), counts in (await store.tallies(controller)).items():
            ways = [
                (way, mine) for way in (False, True)
                if rehearsed in (None, way) and (mine := _of(counts, rehearsed=way)).get("accepted")
            ]  # fmt: skip
            span = await store.campaign(controller, stream, campaign) if ways else None
            if span is not None:
                stopped = (controller, stream, campaign) in stops
                found += [
                    _campaign(controller, stream, campaign, span, mine, way, stopped and not way) for way, mine in ways
                ]
    found.sort(key=lambda row: row.last_at, reverse=True)
    return found[:limit]


def _of(counts: Mapping[str, int], *, rehearsed: bool) -> dict[str, int]:
    """The counts of what was to leave, or of the rehearsal under the same names."""
    return {k.removeprefix(REHEARSED): n for k, n in counts.items() if k.startswith(REHEARSED) == rehearsed}


def _campaign(
    controller: str, stream: str, campaign: str, span: tuple[datetime, datetime, str], counts: Mapping[str, int],
    rehearsed: bool, stopped: bool,
) -> CampaignRow:  # fmt: skip
    blocked, observed = _reasons(counts, "blocked/"), _reasons(counts, "observed/")
    passed = sum(observed.values())
    return CampaignRow(
        controller=controller, stream=stream, campaign=campaign, first_at=span[0], last_at=span[1], subject=span[2],
        allowed=counts.get("allowed", 0) + passed, blocked=sum(blocked.values()), blocked_by_reason=blocked,
        observed=passed, observed_by_reason=observed,
        stopped=stopped, mode="rehearse" if rehearsed else "observe" if passed else "enforce",
        **{k: counts.get(k, 0) for k in COUNTS},
    )  # fmt: skip


def _reasons(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    return {k.removeprefix(kind): n for k, n in counts.items() if k.startswith(kind) and n > 0}


async def captured(
    store: Store, *, controllers: Iterable[str], addresses: bool = False, limit: int = 100
) -> list[CapturedRow]:
    """The newest captured copies of the named controllers."""
    found = [
        CapturedRow(
            controller=controller, message_id=str(UUID(bytes=row.message_id)), copy_no=row.copy_no, at=row.at,
            stream=row.stream, campaign=row.campaign, subject=row.subject, recipient=row.recipient_key.hex(),
            address=row.address, size=row.size,
        )
        for controller in controllers
        for row in await store.captured(controller, before=None, n=limit, addresses=addresses)
    ]  # fmt: skip
    found.sort(key=lambda row: row.at, reverse=True)
    return found[:limit]
