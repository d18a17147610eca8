"""Campaigns and one campaign: the funnel, the reasons with their legal ground, and what would change them."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import record, report
from gateway.mail.complaint_rate import rate
from gateway.recognised import doubt, recognised
from gateway.report import CampaignRow
from gateway.resume import resume
from gateway.store.contract import Store
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import counted_reasons, funnel

_LISTED = 200
_FINDABLE = 5_000


def campaign_id(row: CampaignRow) -> str:
    """A campaign in a URL."""
    return record.campaign_id(row.controller, row.stream, row.campaign)


async def find_campaign(
    store: Store, controllers: Iterable[str], wanted: str, *, rehearsed: bool | None = False
) -> CampaignRow | None:
    """The campaign of an id, among those of these controllers. `rehearsed` as in `report.campaigns`."""
    rows = await report.campaigns(store, controllers=controllers, limit=_FINDABLE, rehearsed=rehearsed)
    return next((row for row in rows if campaign_id(row) == wanted), None)


class Campaigns:
    """The pages `/staff/campaigns` and `/staff/campaigns/{id}`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/staff/campaigns", self._desk.page("campaigns", self.list), methods=["GET"]),
            Route("/staff/campaigns/{id}", self._desk.page("campaigns", self.show), methods=["GET"]),
            Route("/staff/campaigns/{id}/resume", self._desk.page("resume", self.resume), methods=["POST"]),
        ]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """The latest campaigns, newest first."""
        rows = await report.campaigns(self._desk.site.store, controllers=visitor.controllers, limit=_LISTED)
        listed = [(campaign_id(row), row) for row in rows]
        return self._desk.show("campaigns", visitor, place="campaigns", campaigns=listed)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """One campaign."""
        return await self._page(request, visitor)

    async def resume(self, request: Request, visitor: Visitor) -> Response:
        """Let a campaign go on that complaints had stopped."""
        site, why = self._desk.site, (await read_form(request)).get("why", "").strip()
        row = await find_campaign(site.store, visitor.controllers, request.path_params["id"])
        if row is None or not why:
            return await self._page(request, visitor)
        again = await resume(
            site.store, row.controller, row.stream, row.campaign, by="privacy", user=visitor.staff.name, why=why,
            now=site.clock(),
        )  # fmt: skip
        return await self._page(request, visitor, resumed=again is not None)

    async def _page(self, request: Request, visitor: Visitor, *, resumed: bool = False) -> Response:
        row = await find_campaign(self._desk.site.store, visitor.controllers, request.path_params["id"])
        if row is None:
            return self._desk.gone(visitor)
        kind = await self._desk.site.store.campaign_kind(row.controller, row.stream, row.campaign)
        site, link = self._desk.site, f"/staff/blocked?campaign={campaign_id(row)}&reason="
        return self._desk.show(
            "campaign", visitor, place="campaigns", resumed=resumed,
            rated=rate(row.complaints, row.delivered), row=row, id=campaign_id(row), funnel=funnel([row]),
            reasons=counted_reasons(row.blocked_by_reason, site.words, visitor.language, link),
            kind=kind, doubt=doubt(site.words, visitor.language, kind),
            matched=recognised(site.words, visitor.language, kind.get("matched", ())),
            observed=[
                (count, site.words.reason(code, visitor.language))
                for code, count in sorted(row.observed_by_reason.items(), key=lambda item: (-item[1], item[0]))
            ],
        )  # fmt: skip
