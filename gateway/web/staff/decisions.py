"""One decision, allowed or not, with its full explanation, as it fell and as it would fall today.

A GET shows the result, without anything known of the person, and writes nothing (P4). Its button shows the facts too:
that somebody looked at a person is written to the ledger (RULES.md S5). The URL holds a message id and a copy number,
nothing of a person (P9).
"""

import asyncio
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import explain, record
from gateway.explain import Explained, Mine
from gateway.recognised import doubt
from gateway.sentences import tell
from gateway.store.history import Decided
from gateway.web.site import PATIENCE, Site
from gateway.web.staff.captured import MOST_COPIES
from gateway.web.staff.desk import Desk, Visitor
from gateway.web.staff.figures import family
from suppression.address import masked


def mine_of(site: Site) -> Mine:
    """What explaining needs of a site."""
    return Mine(config=site.config, scales=site.scales, ring=site.ring)


def path_of(decided: Decided) -> str:
    """Where the page of a decision is."""
    return decision_path(decided.controller_id, str(UUID(bytes=decided.message_id)), decided.copy_no)


def decision_path(controller: str, message_id: str, copy_no: int) -> str:
    """The same from a report's columns."""
    return f"/staff/decisions/{controller}/{message_id}/{copy_no}"


async def find(site: Site, visitor: Visitor, controller: str, message_id: str, copy_no: int) -> Decided | None:
    """The decision asked for; None where there is none, or it is another controller's."""
    try:
        key = UUID(message_id).bytes
    except ValueError:
        return None
    if controller not in visitor.controllers or not 0 <= copy_no < MOST_COPIES:
        return None
    return await site.store.decided(controller, key, copy_no)


class Decisions:
    """The page `/staff/decisions/...`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[Route]:
        one = "/staff/decisions/{controller}/{message_id}/{copy_no:int}"
        return [
            Route(one, self._desk.page("decisions", self.result), methods=["GET"]),
            Route(one, self._desk.page("decisions", self.facts), methods=["POST"]),
        ]

    async def result(self, request: Request, visitor: Visitor) -> Response:
        """What was decided, by which rule, and what would help."""
        site = self._desk.site
        async with asyncio.timeout(PATIENCE):
            decided = await self._decided(request, visitor)
            if decided is None:
                return self._desk.gone(visitor)
            address = await site.store.address(decided.controller_id, decided.recipient_key)
        controller = visitor.controllers[decided.controller_id]
        who = masked(address) if address is not None else decided.recipient_key.hex()[:8]
        told = tell(site.words, visitor.language, explain.result_of(decided), controller)
        return self._show(visitor, decided, who=who, told=told, facts=False)

    async def facts(self, request: Request, visitor: Visitor) -> Response:
        """The same with what is known of the person, then and today; the look is on record."""
        site, now = self._desk.site, self._desk.site.clock()
        async with asyncio.timeout(PATIENCE):
            decided = await self._decided(request, visitor)
            if decided is None:
                return self._desk.gone(visitor)
            [one] = await explain.decisions(site.store, mine_of(site), [decided], now=now)
            await record.looked(
                site.store, decided.controller_id, explain.on_file([one]), by=visitor.staff.name, now=now
            )
        controller = visitor.controllers[decided.controller_id]
        words, language = site.words, visitor.language
        return self._show(
            visitor, decided, who=self._who(one, visitor), facts=True, unknown=one.unknown,
            told=tell(words, language, one.then, controller),
            changed=tell(words, language, one.changed, controller) if one.changed else None,
            today=tell(words, language, one.today, controller) if one.today else None,
            same=one.today is not None and one.today.code == one.then.code,
        )  # fmt: skip

    async def _decided(self, request: Request, visitor: Visitor) -> Decided | None:
        asked = request.path_params
        return await find(self._desk.site, visitor, asked["controller"], asked["message_id"], asked["copy_no"])

    def _show(self, visitor: Visitor, decided: Decided, **shown: Any) -> Response:
        return self._desk.show(
            "decision", visitor, place="blocked", decided=decided, message_id=str(UUID(bytes=decided.message_id)),
            family=family(decided.reason_code), path=path_of(decided),
            doubt=doubt(self._desk.site.words, visitor.language, decided.kind), **shown,
        )  # fmt: skip

    def _who(self, one: Explained, visitor: Visitor) -> str:
        """The person as this role may see them; by the start of their key where the address is gone."""
        if one.address is None:
            return one.decided.recipient_key.hex()[:8]
        return one.address if visitor.may("addresses") else masked(one.address)
