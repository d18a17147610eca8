"""Service mail that looks like advertising and waits for an answer: what it is, why it waits, and two buttons.

An operator answers too, and sees no subject (RULES.md S2); the answer counts for mail like it from then on.
"""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway import question
from gateway.recognised import listed
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk, Visitor


class Held:
    """The page `/staff/held` and its form."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        page = self._desk.page
        return [
            Route("/staff/held", page("held", self.index), methods=["GET"]),
            Route("/staff/held", page("held", self.answer), methods=["POST"]),
        ]

    async def index(self, request: Request, visitor: Visitor) -> Response:
        """What waits for an answer, the oldest first."""
        return await self._page(visitor)

    async def answer(self, request: Request, visitor: Visitor) -> Response:
        """An answer from the form; settles all mail like it."""
        site, form = self._desk.site, await read_form(request)
        controller = form.get("controller", "")
        service = {"yes": True, "no": False}.get(form.get("service", ""))
        try:
            message_id = UUID(form.get("message", "")).bytes
        except ValueError:
            return self._desk.gone(visitor)
        if controller not in visitor.controllers or service is None:
            return self._desk.gone(visitor)
        try:
            await question.answer(
                site.store, site.config, site.notices, controller, message_id, service=service,
                why=form.get("why", ""), by=visitor.staff.name, channel="web", now=site.clock(),
            )  # fmt: skip
        except question.NotAnswered as wrong:
            return await self._page(visitor, wrong=wrong.reason)
        return RedirectResponse("/staff/held", 303)

    async def _page(self, visitor: Visitor, *, wrong: str = "") -> Response:
        site = self._desk.site
        waiting = await question.questions(site.store, visitor.controllers)
        asked = [
            (one, str(UUID(bytes=one.first.message_id)), listed(site.words, visitor.language, one.first.signs))
            for one in waiting
        ]
        return self._desk.show(
            "held", visitor, place="held", asked=asked, wrong=wrong, several=len(visitor.controllers) > 1,
            subjects=visitor.may("campaigns"),
        )  # fmt: skip
