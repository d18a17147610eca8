"""One person: what is on the ledger about them, what each stream may send them now and why, and their latest mail.

Searched by the whole address, in a POST, so that none stands in a URL, a log or a history (P9). Each look is written
to the ledger (RULES.md S5). What may be done for a person (restrict, correct, export, erase) is done on the command
line by whoever may; this page only shows.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import appraise, explain, record
from gateway.config import Controller
from gateway.recall import lookup
from gateway.sentences import tell
from gateway.store.contract import Who
from gateway.timeline import timeline
from gateway.web.public.form import read_form
from gateway.web.site import PATIENCE
from gateway.web.staff.decisions import find, mine_of, path_of
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import family
from suppression.address import canonical, masked
from suppression.proof_meter import in_force

LATELY: Final = timedelta(days=92)
LISTED: Final = 50
"""Mails listed at most; the timeline is shown whole: it is the answer to who asks what is known (GDPR art. 15)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Whom the form asks for. `address` None: the key is known, the address is not, or not any more."""

    controller: Controller
    who: Who
    address: str | None


class People:
    """The page `/staff/people`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        return [
            Route("/staff/people", self._desk.page("people", self.ask), methods=["GET"]),
            Route("/staff/people", self._desk.page("people", self.show), methods=["POST"]),
        ]

    async def ask(self, request: Request, visitor: Visitor) -> Response:
        """The form alone."""
        return self._form(visitor)

    def _form(self, visitor: Visitor, *, status: int = 200, problem: str | None = None, **found: Any) -> Response:
        return self._desk.show(
            "people", visitor, place="people", status=status, problem=problem, controllers=visitor.controllers,
            **{"found": None, **found},
        )  # fmt: skip

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The person asked for by address, or as the recipient of a decision."""
        form = await read_form(request)
        async with asyncio.timeout(PATIENCE):
            wanted = await self._wanted(visitor, form)
            if wanted is None:
                return self._form(visitor, status=422, problem="people.not_address")
            return self._form(visitor, found=await self._found(visitor, wanted))

    async def _wanted(self, visitor: Visitor, form: dict[str, str]) -> _Wanted | None:
        site = self._desk.site
        if form.get("decision"):
            controller_id, _, rest = form["decision"].partition("/")
            message_id, _, number = rest.partition("/")
            copy_no = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else -1
            decided = await find(site, visitor, controller_id, message_id, copy_no)
            if decided is None:
                return None
            address = await site.store.address(controller_id, decided.recipient_key)
            return _Wanted(
                controller=visitor.controllers[controller_id], address=address,
                who=lookup(site.ring, controller_id, decided.recipient_key, address),
            )  # fmt: skip
        address = canonical(form.get("address", "").strip())
        name = form.get("controller") or next(iter(visitor.controllers), "")
        if address is None or name not in visitor.controllers:
            return None
        controller = visitor.controllers[name]
        return _Wanted(controller=controller, who=lookup(site.ring, name, None, address), address=address)

    async def _found(self, visitor: Visitor, wanted: _Wanted) -> dict[str, Any]:
        """Everything about one person, and the entry that says who looked."""
        site, controller, now = self._desk.site, wanted.controller, self._desk.site.clock()
        words, language = site.words, visitor.language
        [person] = await site.store.people([wanted.who])
        [history] = await site.store.histories([wanted.who])
        erased = not person.seen and any(s.reason == "erasure" for s in person.suppressions)
        if person.seen:
            await record.looked(site.store, controller.id, [person.recipient_key], by=visitor.staff.name, now=now)
        may = explain.may_receive_person(mine_of(site), controller, person, now=now)
        decided = await site.store.decided_about(
            controller.id, wanted.who.recipient_keys, since=now - LATELY, n=LISTED
        )  # fmt: skip
        shown = wanted.address
        return {
            "controller": controller, "erased": erased, "known": person.seen or bool(person.suppressions),
            "who": (shown if visitor.may("addresses") else masked(shown)) if shown else person.recipient_key.hex()[:8],
            "may": [
                {"stream": name, "verdict": said.verdict, "told": tell(words, language, said, controller),
                 "family": family(said.code)}
                for name, said in may.items()
            ],
            "proof": [
                {"graded": one, "purposes": [words.purpose(controller, x, language) for x in one.consent.purposes]}
                for one in await appraise.graded(site.store, controller.id, person.standing.consents)
                if in_force(one.consent, controller.id, now)
            ],
            "moments": timeline(words, language, history, controller),
            "mails": [
                {"row": one, "sentence": words.reason(one.reason_code, language).sentence, "link": path_of(one),
                 "family": family(one.reason_code)}
                for one in decided
            ],
        }  # fmt: skip
