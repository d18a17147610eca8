"""Who was kept out and why, as a list and as a file. The address in full for the privacy officer only, by a button.

A GET shortens every address and writes nothing (P4). Whole addresses, and since when a reason has held, are shown by a
POST; so is the file. Both are written to the ledger before (RULES.md S5).

Filters stand in the URL, so they hold no personal data: a period, a reason code, a stream, a campaign's digest (P9).
"""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway import explain, report
from gateway.files.outgoing import harmless
from gateway.report import BlockedRow, CampaignRow, Cursor
from gateway.web.staff.campaigns import campaign_id, find_campaign
from gateway.web.staff.decisions import decision_path, mine_of
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import family
from gateway.words import GROUND_AND_STEP, Reason, Words
from suppression.address import masked

PERIODS: Final = {"day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30), "all": None}
_PAGE: Final = 50
_COLUMNS: Final = (
    "at", "controller", "stream", "campaign", "subject", "message_id", "recipient", "address", "decision",
    "reason_code", "reason", "legal_ground", "cite", "next_step", "mode",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the visitor asked to see. Unknown values in the URL mean "everything"."""

    period: str
    reason: str | None
    stream: str | None
    campaign: CampaignRow | None

    def since(self, now: datetime) -> datetime | None:
        """Where the period begins."""
        length = PERIODS[self.period]
        return now - length if length else None

    def query(self, **more: str) -> str:
        """The same filters as a query string."""
        chosen = {"period": self.period, "reason": self.reason, "stream": self.stream}
        chosen["campaign"] = campaign_id(self.campaign) if self.campaign else None
        return urlencode({name: value for name, value in (chosen | more).items() if value})


class Blocked:
    """The pages `/staff/blocked` and `/staff/blocked.csv`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/staff/blocked", self._desk.page("blocked", self.show), methods=["GET"]),
            Route("/staff/blocked", self._desk.page("addresses", self.reveal), methods=["POST"]),
            Route("/staff/blocked.csv", self._desk.page("blocked", self.download), methods=["POST"]),
        ]

    async def _filters(self, request: Request, visitor: Visitor) -> Filters:
        asked = request.query_params
        campaign = None
        if asked.get("campaign"):
            campaign = await find_campaign(
                self._desk.site.store, visitor.controllers, asked["campaign"], rehearsed=None
            )
        period = asked.get("period") or ("all" if campaign else "week")
        streams = {name for controller in visitor.controllers.values() for name in controller.streams}
        return Filters(
            period=period if period in PERIODS else "week", campaign=campaign,
            reason=asked["reason"] if asked.get("reason") in GROUND_AND_STEP else None,
            stream=asked["stream"] if asked.get("stream") in streams else None,
        )  # fmt: skip

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """One page of the list, newest first."""
        return await self._page(request, visitor, whole=False)

    async def reveal(self, request: Request, visitor: Visitor) -> Response:
        """The same page with whole addresses."""
        return await self._page(request, visitor, whole=True)

    async def _page(self, request: Request, visitor: Visitor, *, whole: bool) -> Response:
        site, filters = self._desk.site, await self._filters(request, visitor)
        rows = await report.blocked(
            site.store, controllers=visitor.controllers if filters.campaign is None else [filters.campaign.controller],
            since=filters.since(site.clock()), reason=filters.reason, addresses=True, limit=_PAGE + 1,
            stream=filters.campaign.stream if filters.campaign else filters.stream,
            campaign=filters.campaign.campaign if filters.campaign else None,
            before=read_cursor(request.query_params.get("before", "")),
        )  # fmt: skip
        shown = rows[:_PAGE]
        older = filters.query(before=write_cursor(report.cursor(shown[-1]))) if len(rows) > _PAGE else None
        if whole:
            for controller, n in Counter(row.controller for row in shown).items():
                await self._desk.note_look(visitor, [controller], "addresses shown", page="blocked", rows=n)
        since = await self._since(shown) if whole else {}
        listed = [
            {
                "row": row, "who": _who(row, whole=whole), "family": family(row.reason_code),
                "words": _reason(site.words, row, visitor),
                "why": decision_path(row.controller, row.message_id, row.copy_no),
                "since": since.get((row.message_id, row.copy_no)),
            }
            for row in shown
        ]  # fmt: skip
        streams = sorted({name for controller in visitor.controllers.values() for name in controller.streams})
        return self._desk.show(
            "blocked", visitor, place="blocked", rows=listed, filters=filters, streams=streams, periods=list(PERIODS),
            reasons=await self._reasons(visitor, filters), older=older, csv=filters.query(),
            campaign=campaign_id(filters.campaign) if filters.campaign else None,
            whole=whole, here=filters.query(before=request.query_params.get("before", "")),
            first=not request.query_params.get("before"), every=filters.query(campaign=""),
        )  # fmt: skip

    async def _since(self, rows: Sequence[BlockedRow]) -> dict[tuple[str, int], datetime]:
        """Since when the reason of each row has held, where that is dated, by message and copy."""
        site, since = self._desk.site, {}
        for controller in {row.controller for row in rows}:
            mine = [row for row in rows if row.controller == controller]
            found = [await site.store.decided(controller, UUID(row.message_id).bytes, row.copy_no) for row in mine]
            for one in await explain.decisions(site.store, mine_of(site), [one for one in found if one is not None]):
                if one.then.since is not None:
                    since[str(UUID(bytes=one.decided.message_id)), one.decided.copy_no] = one.then.since
        return since

    async def _reasons(self, visitor: Visitor, filters: Filters) -> list[tuple[str, str]]:
        """The reasons to choose from: those that occurred, in words."""
        rows = await report.campaigns(self._desk.site.store, controllers=visitor.controllers, limit=500)
        codes = {code for row in rows for code in row.blocked_by_reason} | ({filters.reason} - {None})
        words = self._desk.site.words
        worded = {code: words.reason(code, visitor.language).sentence for code in codes if code}
        return sorted(worded.items(), key=lambda item: item[1])

    async def download(self, request: Request, visitor: Visitor) -> Response:
        """The whole list as CSV, page by page, however long it is; what was asked for is on record, whoever asks."""
        filters = await self._filters(request, visitor)
        await self._desk.note_look(
            visitor, _controllers(filters, visitor), "list of kept out downloaded", period=filters.period,
            reason=filters.reason, stream=filters.stream, addresses=visitor.may("addresses"),
        )  # fmt: skip
        headers = {"Content-Disposition": 'attachment; filename="consentgate-blocked.csv"'}
        return StreamingResponse(self._lines(filters, visitor), 200, headers, media_type="text/csv; charset=utf-8")

    async def _lines(self, filters: Filters, visitor: Visitor) -> AsyncIterator[str]:
        site = self._desk.site
        yield "\ufeff" + line(_COLUMNS)  # the mark makes spreadsheets read UTF-8
        for controller in _controllers(filters, visitor):
            rows = report.each_blocked(
                site.store, controller, since=filters.since(site.clock()), reason=filters.reason, addresses=True,
                stream=filters.campaign.stream if filters.campaign else filters.stream,
                campaign=filters.campaign.campaign if filters.campaign else None,
            )  # fmt: skip
            async for row in rows:
                reason = _reason(site.words, row, visitor)
                who = _who(row, whole=visitor.may("addresses")) if row.address else ""
                yield line((
                    row.at.astimezone(UTC).isoformat(), row.controller, row.stream, row.campaign, row.subject,
                    row.message_id, row.recipient, who, row.decision,
                    row.reason_code, reason.sentence, reason.ground, row.cite, reason.next_step, row.mode,
                ))  # fmt: skip


def _controllers(filters: Filters, visitor: Visitor) -> list[str]:
    return list(visitor.controllers) if filters.campaign is None else [filters.campaign.controller]


def _who(row: BlockedRow, *, whole: bool) -> str:
    """The person, whole or shortened; by the start of their key where the address is gone."""
    if row.address is None:
        return row.recipient[:8]
    return row.address if whole else masked(row.address)


def _reason(words: Words, row: BlockedRow, visitor: Visitor) -> Reason:
    return words.reason(row.reason_code, visitor.language)


def line(cells: tuple[str, ...]) -> str:
    """One line of CSV (RFC 4180); a cell that would run as a formula gets an apostrophe in front."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(harmless(cells))
    return text.getvalue()


def write_cursor(place: Cursor) -> str:
    """The place behind a row, for a URL: a time, a message id and a number; nothing about a person."""
    at, message_id, copy_no = place
    return f"{round(at.timestamp() * 1000)}-{message_id.hex()}-{copy_no}"


def read_cursor(text: str) -> Cursor | None:
    """The other way round; None where it is not one of ours."""
    try:
        milliseconds, message_id, copy_no = text.split("-")
        at = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        return at, bytes.fromhex(message_id), int(copy_no)
    except (ValueError, OverflowError, OSError):
        return None
