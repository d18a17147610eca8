"""Captured mail: what would have left, shown so that nothing in it can act.

The HTML stands in a frame with `sandbox` and a policy of its own: no scripts, no forms, no outside resources, no way
out of the frame. Our own links in it are dead, so that nobody unsubscribes a customer by looking. Addresses are
shortened; a POST shows them whole outside the frame to whom may see them, and is written to the ledger (RULES.md S5).
"""

import asyncio
from collections import Counter
from typing import get_args
from urllib.parse import quote
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import record, report
from gateway.web.site import PATIENCE
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.shown_mail import ShownMail, read_mail
from suppression.address import masked
from suppression.link_token import Kind

_LISTED = 100
MOST_COPIES = 1_000_000
"""No message has as many: a number over it, which may be too long for the database, is nobody's."""
SANDBOX = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


class Captured:
    """The pages `/staff/captured`, one mail, and its HTML for the frame."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        one = "/staff/captured/{controller}/{message_id}/{copy_no:int}"
        return [
            Route("/staff/captured", self._desk.page("captured", self.list), methods=["GET"]),
            Route("/staff/captured", self._desk.page("addresses", self.reveal_list), methods=["POST"]),
            Route(one, self._desk.page("captured", self.show), methods=["GET"]),
            Route(one, self._desk.page("addresses", self.reveal), methods=["POST"]),
            Route(one + "/html", self._desk.page("captured", self.html), methods=["GET"]),
        ]

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """The newest captured copies."""
        return await self._list(visitor, whole=False)

    async def reveal_list(self, request: Request, visitor: Visitor) -> Response:
        """The same with whole addresses."""
        return await self._list(visitor, whole=True)

    async def _list(self, visitor: Visitor, *, whole: bool) -> Response:
        rows = await report.captured(
            self._desk.site.store, controllers=visitor.controllers, addresses=True, limit=_LISTED
        )
        if whole:
            for controller, n in Counter(row.controller for row in rows).items():
                await self._desk.note_look(visitor, [controller], "addresses shown", page="captured", rows=n)
        listed = []
        for row in rows:
            path = "/".join(quote(step, safe="") for step in (row.controller, row.message_id, str(row.copy_no)))
            shown = row.address if whole or row.address is None else masked(row.address)
            who = shown or row.recipient[:8]
            listed.append({"row": row, "who": who, "link": f"/staff/captured/{path}"})
        return self._desk.show("captured", visitor, place="captured", rows=listed, whole=whole)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """One mail: header fields, the text part, the HTML in its frame, names of attachments."""
        return await self._show(request, visitor, whole=False)

    async def reveal(self, request: Request, visitor: Visitor) -> Response:
        """The same with whole addresses, but in the frame."""
        return await self._show(request, visitor, whole=True)

    async def _show(self, request: Request, visitor: Visitor, *, whole: bool) -> Response:
        mail = await self._mail(request, visitor, whole=whole)
        if mail is None:
            return self._desk.gone(visitor)
        frame = f"{request.url.path}/html" if mail.html is not None else None
        return self._desk.show(
            "mail", visitor, place="captured", frames=True, mail=mail, frame=frame, back=None, whole=whole,
            path=request.url.path,
        )  # fmt: skip

    async def html(self, request: Request, visitor: Visitor) -> Response:
        """The HTML part for the frame; also harmless when opened by itself."""
        mail = await self._mail(request, visitor, whole=False)
        if mail is None or mail.html is None:
            return self._desk.gone(visitor)
        headers = {"Content-Security-Policy": SANDBOX, "Content-Disposition": "inline"}
        return Response(mail.html, 200, headers, media_type="text/html; charset=utf-8")

    async def _mail(self, request: Request, visitor: Visitor, *, whole: bool) -> ShownMail | None:
        """The mail of the path, if it is one of this visitor's controllers. `whole`: the look is on record."""
        path, site = request.path_params, self._desk.site
        controller, copy_no, id_ = path["controller"], path["copy_no"], _uuid(path["message_id"])
        if controller not in visitor.controllers or id_ is None or copy_no > MOST_COPIES:
            return None
        async with asyncio.timeout(PATIENCE):
            raw = await site.captured_mail(controller, str(id_), copy_no)
            copy = await site.store.copy(controller, id_.bytes, copy_no)
            address = await site.store.address(controller, copy["recipient_key"]) if copy else None
            if raw is None:
                return None
            if whole and copy is not None and address is not None:
                await record.looked(
                    site.store, controller, [copy["recipient_key"]], by=visitor.staff.name, now=site.clock()
                )
        return await asyncio.to_thread(  # a mail may be as long as mail may be
            read_mail, raw, public_url=site.config.public_url, recipient=address, mask=not whole,
            is_token=lambda text: any(site.tokens.open(kind, text) for kind in get_args(Kind)),
        )  # fmt: skip


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
