"""The rules as staff see them: packs by country, what a sender changed and why, and rulings on similar products.

Whoever answers for privacy rules whether two kinds of products are similar, on a form that asks whether this customer
would be surprised (RULES.md Q3). What would let mail through that was kept out waits for a second person where two may
agree (S3); what keeps mail back counts at once.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import rule, sheet
from gateway.config import Controller
from gateway.mail.categories import fold
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk, Visitor


class Rules:
    """The pages `/staff/rules`, one pack, and the forms for rulings."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        page = self._desk.page
        return [
            Route("/staff/rules", page("rules", self.show), methods=["GET"]),
            Route("/staff/rules", page("rule", self.rule), methods=["POST"]),
            Route("/staff/rules/answer", page("rule", self.answer), methods=["POST"]),
            Route("/staff/rules/packs/{code}", page("rules", self.pack), methods=["GET"]),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Packs in force and pairs of categories, of one sender."""
        controller = _chosen(visitor, request.query_params.get("controller"))
        if controller is None:
            return self._desk.gone(visitor)
        asked = {name: request.query_params.get(name, "") for name in ("first", "other")}
        return await self._page(visitor, controller, form=asked)

    async def rule(self, request: Request, visitor: Visitor) -> Response:
        """A ruling from the form."""
        site, form = self._desk.site, await read_form(request)
        controller = _chosen(visitor, form.get("controller"))
        if controller is None:
            return self._desk.forbidden(visitor)
        similar = {"yes": True, "no": False}.get(form.get("similar", ""))
        if similar is None:
            return await self._page(visitor, controller, form=form, wrong="answer")
        second = rule.needs_second(await site.store.all_staff(), controller.id, similar=similar)
        try:
            state = await rule.rule(
                site.store, controller, form.get("first", ""), form.get("other", ""), similar=similar,
                why=form.get("why", ""), by=visitor.staff.name, channel="web", now=site.clock(), second=second,
            )  # fmt: skip
        except rule.NotRuled as wrong:
            return await self._page(visitor, controller, form=form, wrong=wrong.reason)
        return await self._page(visitor, controller, done="ruled" if state == "in force" else "proposed")

    async def answer(self, request: Request, visitor: Visitor) -> Response:
        """The second person's answer to a proposal."""
        site, form = self._desk.site, await read_form(request)
        controller = _chosen(visitor, form.get("controller"))
        if controller is None:
            return self._desk.forbidden(visitor)
        try:
            proposal = bytes.fromhex(form.get("proposal", ""))
            agree = form.get("answer") == "agree"
            state = await rule.answer(
                site.store, controller, proposal, agree=agree, by=visitor.staff.name, now=site.clock()
            )
        except rule.NotRuled as wrong:
            return await self._page(visitor, controller, wrong=wrong.reason)
        except ValueError:
            return self._desk.gone(visitor)
        return await self._page(visitor, controller, done="ruled" if state == "in force" else "declined")

    async def pack(self, request: Request, visitor: Visitor) -> Response:
        """One pack with everything in it."""
        site, code = self._desk.site, request.path_params["code"]
        controller = _chosen(visitor, request.query_params.get("controller"))
        packs = site.config.packs.at(site.clock())
        if controller is None or code not in packs:
            return self._desk.gone(visitor)
        found = sheet.sheet(site.words, visitor.language, packs[code], controller)
        return self._desk.show(
            "pack", visitor, place="rules", sheet=found, controller=controller, date=self._day(visitor),
            versions=site.config.packs.versions[code],
        )  # fmt: skip

    def _day(self, visitor: Visitor) -> Any:
        return lambda on: sheet.day(self._desk.site.words, visitor.language, on)

    async def _page(
        self, visitor: Visitor, controller: Controller, *, form: Mapping[str, str] | None = None,
        wrong: str | None = None, done: str | None = None,
    ) -> Response:  # fmt: skip
        site = self._desk.site
        packs = site.config.packs.at(site.clock())
        sheets = [sheet.sheet(site.words, visitor.language, pack, controller) for pack in packs.values()]
        sheets.sort(key=lambda one: fold(one.place))
        rulings = await site.store.rulings(controller.id)
        may = visitor.may("rule") and rule.may_rule(visitor.staff, controller.id)
        two = may and rule.needs_second(await site.store.all_staff(), controller.id, similar=True)
        return self._desk.show(
            "rules", visitor, place="rules", status=422 if wrong else 200, controller=controller, sheets=sheets,
            date=self._day(visitor), pairs=rule.pairs(controller, rulings), proposals=rule.open_proposals(rulings),
            questions=await rule.questions(site.store, controller, now=site.clock()), may_rule=may, two=two,
            form=form or {}, wrong=wrong, done=done, marks=list(dict.fromkeys(chain(*(one.marks for one in sheets)))),
        )  # fmt: skip


def _chosen(visitor: Visitor, name: str | None) -> Controller | None:
    """The sender asked for, one of the visitor's; without a wish the first."""
    if name:
        return visitor.controllers.get(name)
    return next(iter(visitor.controllers.values()), None)
