"""What came back, as staff see it: what waits for a person, the last 30 days counted, the latest.

The words of a reply are shown to whoever answers for privacy, by a POST that is written to the person's ledger before
(RULES.md S5); their answer is another. The lists hold shortened addresses and no words of people.
"""

from datetime import timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import record, settle
from gateway.settle import ANSWERS, NotSettled
from gateway.store.returned import WAITING, ReturnedRow
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk, Visitor
from suppression.address import masked

COUNTED: Final = timedelta(days=30)
LISTED: Final = 50
WAIT_LISTED: Final = 200
NAMES: Final = {
    "ses": "Amazon SES", "sendgrid": "SendGrid", "mailgun": "Mailgun", "postmark": "Postmark", "postal": "Postal",
}  # fmt: skip


class Returns:
    """The pages `/staff/returns`, one reply to read, and the form that answers it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        page = self._desk.page
        return [
            Route("/staff/returns", page("returns", self.show), methods=["GET"]),
            Route("/staff/returns/read", page("settle", self.read), methods=["POST"]),
            Route("/staff/returns/answer", page("settle", self.answer), methods=["POST"]),
        ]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The lists of the senders the visitor works for."""
        return await self._page(visitor, before=request.query_params.get("before", ""))

    async def read(self, request: Request, visitor: Visitor) -> Response:
        """One that waits, with its words; the look is written down first."""
        site, row = self._desk.site, await self._asked(request, visitor)
        if row is None:
            return self._desk.gone(visitor)
        if row.task not in WAITING:
            return await self._page(visitor, wrong="gone")
        if row.recipient_key is not None:
            await record.looked(
                site.store, row.controller_id, [row.recipient_key], by=visitor.staff.name, now=site.clock(),
                why="what came back",
            )  # fmt: skip
        else:
            await self._desk.note_look(visitor, [row.controller_id], "reply read", report=row.report_id.hex())
        return self._desk.show("returned", visitor, place="returns", row=row, what=what(row), two=await self._two(row))

    async def answer(self, request: Request, visitor: Visitor) -> Response:
        """What somebody found in it."""
        site, row = self._desk.site, await self._asked(request, visitor)
        said = (await read_form(request)).get("answer", "")
        if row is None or said not in ANSWERS:
            return self._desk.gone(visitor)
        if not settle.may_settle(visitor.staff, row.controller_id):
            return self._desk.forbidden(visitor)
        try:
            task = await settle.settle(
                site.store, site.ring, row.controller_id, row.report_id, said, by=visitor.staff.name, role="privacy",
                two=await self._two(row), now=site.clock(),
            )  # fmt: skip
        except NotSettled as wrong:
            return await self._page(visitor, wrong=wrong.reason)
        return await self._page(visitor, done=task)

    async def _two(self, row: ReturnedRow) -> bool:
        return settle.needs_second(await self._desk.site.store.all_staff(), row.controller_id)

    async def _asked(self, request: Request, visitor: Visitor) -> ReturnedRow | None:
        form = await read_form(request)
        controller = visitor.controllers.get(form.get("controller", ""))
        try:
            report_id = bytes.fromhex(form.get("report", ""))
        except ValueError:
            return None
        return await self._desk.site.store.returned_one(controller.id, report_id) if controller is not None else None

    async def _page(
        self, visitor: Visitor, *, before: str = "", wrong: str | None = None, done: str | None = None
    ) -> Response:
        site = self._desk.site
        start = bytes.fromhex(before) if len(before) == 32 and set(before) <= set("0123456789abcdef") else None
        waiting: list[ReturnedRow] = []
        latest: list[ReturnedRow] = []
        counts: dict[tuple[str, str], int] = {}
        for one in visitor.controllers:
            waiting += await site.store.came_back(one, waiting=True, n=WAIT_LISTED, addresses=True)
            latest += await site.store.came_back(one, past=start, n=LISTED + 1, addresses=True)
            for kind, bounce_class, reason, n in await site.store.count_returned(one, site.clock() - COUNTED):
                place = (bounce_class if kind == "bounce" else kind, reason if kind == "bounce" else "")
                counts[place] = counts.get(place, 0) + n
        hooks = [
            {"name": NAMES[hook.provider], "id": hook.hook_id.hex(), "sender": controller.legal_name or controller.id,
             "since": hook.created_at, "last": hook.last_at}
            for controller in visitor.controllers.values()
            for hook in await site.store.hooks(controller.id) if hook.revoked_at is None
        ]  # fmt: skip
        latest.sort(key=lambda row: row.report_id, reverse=True)
        shown = latest[:LISTED]
        return self._desk.show(
            "returns", visitor, place="returns", status=422 if wrong else 200, wrong=wrong, done=done,
            waiting=[_line(row) for row in sorted(waiting, key=lambda row: row.report_id)],
            latest=[_line(row) for row in shown],
            counts=sorted(counts.items(), key=lambda item: (-item[1], item[0])), may=visitor.may("settle"),
            older=shown[-1].report_id.hex() if len(latest) > LISTED else None, first=start is None, hooks=hooks,
        )  # fmt: skip


def what(row: ReturnedRow) -> str:
    """What sort of thing it is: a class for bounces, else its kind."""
    return row.bounce_class if row.kind == "bounce" else row.kind


def _line(row: ReturnedRow) -> dict[str, Any]:
    """A row as it is listed."""
    return {"row": row, "what": what(row), "who": masked(row.address) if row.address else None}
