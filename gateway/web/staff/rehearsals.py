"""Rehearsals: the verdict on a campaign before it leaves, what could be mended, and the release of its lawful part.

Releasing has a page of its own that says how many would get the mail; only its button acts (P4). It goes on in the
background: the page shows how many copies are still there.
"""

import asyncio
from typing import Any, Final, get_args

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway import report
from gateway.rehearse import KEPT, Campaign, Outlook
from gateway.report import CampaignRow
from gateway.show import INVENTED
from gateway.web.site import PATIENCE
from gateway.web.staff.campaigns import campaign_id, find_campaign
from gateway.web.staff.captured import SANDBOX
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import counted_reasons, family, funnel
from gateway.web.staff.shown_mail import ShownMail, read_mail
from gateway.words import Language
from suppression.address import masked
from suppression.link_token import Kind
from suppression.reason_code import ACTOR

DECIDED_ANEW: Final = 5_000
"""Up to so many copies a page decides anew; of more it shows what was decided when they came in."""
CLIPPED: Final = 102 * 1024
"""From this length on Gmail cuts the HTML off, and the footer with it (bytes)."""
_LISTED: Final = 200
_RELEASERS: Final = ("privacy", "marketer")


class Rehearsed:
    """The pages `/staff/rehearsals`, one campaign, its mail, and its release."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        page, one = self._desk.page, "/staff/rehearsals/{id}"
        return [
            Route("/staff/rehearsals", page("rehearsals", self.index), methods=["GET"]),
            Route(one, page("rehearsals", self.show), methods=["GET"]),
            Route(one, page("addresses", self.reveal), methods=["POST"]),
            Route(one + "/mail", page("rehearsals", self.mail), methods=["GET"]),
            Route(one + "/mail/html", page("rehearsals", self.html), methods=["GET"]),
            Route(one + "/release", page("rehearsals", self.confirm), methods=["GET"]),
            Route(one + "/release", page("rehearsals", self.release), methods=["POST"]),
        ]

    async def index(self, request: Request, visitor: Visitor) -> Response:
        """The latest rehearsals, newest first."""
        rows = await report.campaigns(
            self._desk.site.store, controllers=visitor.controllers, limit=_LISTED, rehearsed=True
        )
        listed = [(campaign_id(row), row) for row in rows]
        return self._desk.show("rehearsals", visitor, place="rehearsals", campaigns=listed)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """One rehearsal: who would get it now, why others would not, what could be mended and by whom."""
        return await self._show(request, visitor, whole=False)

    async def reveal(self, request: Request, visitor: Visitor) -> Response:
        """The same with whole addresses of the people it names; on record (RULES.md S5)."""
        return await self._show(request, visitor, whole=True)

    async def _show(self, request: Request, visitor: Visitor, *, whole: bool) -> Response:
        going = frozenset(self._desk.site.rehearsals.under_way)  # before the row: a release may end while it is read
        row = await self._row(request, visitor)
        if row is None:
            return self._desk.gone(visitor)
        under_way = bool(row.open) and _campaign(row) in going
        outlook = None if under_way else await self._outlook(row)
        if whole:
            shown = sum(map(len, outlook.samples.values())) if outlook else 0
            await self._desk.note_look(visitor, [row.controller], "addresses shown", page="rehearsal", rows=shown)
        mail = await self._mail(row, visitor) if row.open else None
        return self._desk.show(
            "rehearsal", visitor, place="rehearsals", row=row, id=campaign_id(row), funnel=funnel([row]),
            reasons=self._reasons(row, outlook, visitor, whole), rescues=self._rescues(outlook, visitor),
            anew=outlook is not None, allowed=_allowed(row, outlook), kept_until=row.last_at + KEPT,
            under_way=under_way, lights=_lights(*mail) if mail else None, known=self._known(row), whole=whole,
        )  # fmt: skip

    def _known(self, row: CampaignRow) -> bool:
        """Whether the settings still know the stream."""
        return row.stream in self._desk.site.config.controllers[row.controller].streams

    async def _row(self, request: Request, visitor: Visitor) -> CampaignRow | None:
        return await find_campaign(
            self._desk.site.store, visitor.controllers, request.path_params["id"], rehearsed=True
        )  # fmt: skip

    async def _outlook(self, row: CampaignRow) -> Outlook | None:
        """The verdict of now; None where there is too much to decide, or nothing left."""
        if not 0 < row.open <= DECIDED_ANEW or not self._known(row):
            return None
        async with asyncio.timeout(PATIENCE):
            return await self._desk.site.rehearsals.outlook(_campaign(row), most=DECIDED_ANEW)

    def _reasons(
        self, row: CampaignRow, outlook: Outlook | None, visitor: Visitor, whole: bool
    ) -> list[dict[str, Any]]:
        counts = row.blocked_by_reason
        if outlook is not None:
            counts = {code: n for code, n in outlook.reasons.items() if not code.startswith("ALLOW_")}
        found = counted_reasons(counts, self._desk.site.words, visitor.language)
        return [
            one | {"samples": _who(outlook.samples.get(one["code"], []) if outlook else [], whole)} for one in found
        ]  # fmt: skip

    def _rescues(self, outlook: Outlook | None, visitor: Visitor) -> list[dict[str, Any]]:
        """What somebody could mend, the most people first."""
        words, found = self._desk.site.words, []
        for (code, lacking), count in outlook.rescues.most_common() if outlook else ():
            detail = self._about(lacking, visitor.language) if lacking else ""
            if code == "CONSENT_UNPROVEN" and lacking:
                pieces = [piece.removesuffix("_version") for piece in lacking.split(", ")]
                detail = " ".join(words.text(visitor.language, f"lack.{piece}") for piece in pieces)
            by = f"rehearsals.by.{ACTOR[code]}"
            found.append({
                "count": count, "words": words.reason(code, visitor.language), "detail": detail,
                "by": words.text(visitor.language, by), "family": family(code),
            })  # fmt: skip
        return found

    def _about(self, pairs: str, language: Language) -> str:
        """The pairs of product categories to rule on, as the page Rules writes them."""
        words = self._desk.site.words
        said = [pair.partition("~") for pair in pairs.split(" or ")]
        named = ", ".join(words.text(language, "rules.and", first=one, other=other) for one, _, other in said)
        return words.text(language, "rehearsals.lacking", what=named)

    async def _mail(self, row: CampaignRow, visitor: Visitor) -> tuple[bytes, ShownMail] | None:
        """A mail of the campaign for an invented recipient, its links dead."""
        site = self._desk.site
        if not self._known(row):
            return None
        async with asyncio.timeout(PATIENCE):
            raw = await site.rehearsals.sample(_campaign(row))
        if raw is None:
            return None
        return raw, await asyncio.to_thread(
            read_mail, raw, public_url=site.config.public_url, recipient=INVENTED, mask=True,
            is_token=lambda text: any(site.tokens.open(kind, text) for kind in get_args(Kind)),
        )  # fmt: skip

    async def mail(self, request: Request, visitor: Visitor) -> Response:
        """The mail as it would leave."""
        row = await self._row(request, visitor)
        shown = await self._mail(row, visitor) if row is not None else None
        if row is None or shown is None:
            return self._desk.gone(visitor)
        back = f"/staff/rehearsals/{campaign_id(row)}"
        frame = f"{request.url.path}/html" if shown[1].html is not None else None
        return self._desk.show(
            "mail", visitor, place="rehearsals", frames=True, mail=shown[1], frame=frame, back=back, whole=False,
            path=None,
        )  # fmt: skip

    async def html(self, request: Request, visitor: Visitor) -> Response:
        """Its HTML for the frame; also harmless when opened by itself."""
        row = await self._row(request, visitor)
        shown = await self._mail(row, visitor) if row is not None else None
        if shown is None or shown[1].html is None:
            return self._desk.gone(visitor)
        headers = {"Content-Security-Policy": SANDBOX, "Content-Disposition": "inline"}
        return Response(shown[1].html, 200, headers, media_type="text/html; charset=utf-8")

    async def confirm(self, request: Request, visitor: Visitor) -> Response:
        """What the button would do. Changes nothing."""
        row = await self._row(request, visitor)
        if row is None or not row.open or not self._known(row):
            return self._desk.gone(visitor)
        outlook = await self._outlook(row)
        return self._desk.show(
            "release", visitor, place="rehearsals", row=row, id=campaign_id(row), allowed=_allowed(row, outlook),
            anew=outlook is not None,
        )  # fmt: skip

    async def release(self, request: Request, visitor: Visitor) -> Response:
        """Let the lawful part go, and say so at once; asked again it goes on with what is left."""
        row = await self._row(request, visitor)
        if row is None or not self._known(row):
            return self._desk.gone(visitor)
        role = next(role for role in _RELEASERS if role in visitor.staff.roles)
        self._desk.site.rehearsals.begin(_campaign(row), by=role, user=visitor.staff.name)
        return RedirectResponse(f"/staff/rehearsals/{campaign_id(row)}", 303)


def _campaign(row: CampaignRow) -> Campaign:
    return Campaign(controller_id=row.controller, stream=row.stream, campaign=row.campaign)


def _allowed(row: CampaignRow, outlook: Outlook | None) -> int:
    """How many of those still there may receive it; where nobody decided anew, as it was found when they came in."""
    if outlook is not None:
        return outlook.verdicts["allow"]
    return min(row.open, max(0, row.allowed - row.released))


def _who(addresses: list[str], whole: bool) -> str:
    """People, with whole addresses or shortened ones."""
    if whole:
        return ", ".join(addresses)
    return ", ".join(dict.fromkeys(masked(address) for address in addresses if "@" in address))


def _lights(raw: bytes, mail: ShownMail) -> dict[str, Any]:
    """What a mailbox provider will look at in the mail as it would leave."""
    head = raw.partition(b"\r\n\r\n")[0].lower()
    clipped = mail.html is not None and len(mail.html.encode()) > CLIPPED
    return {
        "size": len(raw), "one_click": b"\r\nlist-unsubscribe-post:" in head,
        "signed": b"\ndkim-signature:" in head, "clipped": clipped,
    }  # fmt: skip
