"""One decision, allowed or not, with its full explanation, as it fell and as it would fall today.

That somebody looked is written to the ledger (RULES.md S5): an entry about the look, which changes nothing of what is
known or decided. The URL holds a message id and a copy number, nothing of a person (P9).
"""

import asyncio
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway import explain
from gateway.explain import Explained, Mine
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
        return [Route(one, self._desk.page("decisions", self.show), methods=["GET"])]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """One decision."""
        site, asked = self._desk.site, request.path_params
        async with asyncio.timeout(PATIENCE):
            decided = await find(site, visitor, asked["controller"], asked["message_id"], asked["copy_no"])
            if decided is None:
                return self._desk.gone(visitor)
            now = site.clock()
            [one] = await explain.decisions(site.store, mine_of(site), [decided], now=now)
            await explain.looked(
                site.store, decided.controller_id, explain.on_file([one]), by=visitor.staff.name, now=now
            )
        controller = visitor.controllers[decided.controller_id]
        words, language = site.words, visitor.language
        return self._desk.show(
            "decision", visitor, place="blocked", decided=decided, who=self._who(one, visitor),
            message_id=str(UUID(bytes=decided.message_id)), family=family(decided.reason_code),
            told=tell(words, language, one.then, controller), unknown=one.unknown,
            changed=tell(words, language, one.changed, controller) if one.changed else None,
            today=tell(words, language, one.today, controller) if one.today else None,
            same=one.today is not None and one.today.code == one.then.code,
        )  # fmt: skip

    def _who(self, one: Explained, visitor: Visitor) -> str:
        """The person as this role may see them; by the start of their key where the address is gone."""
        if one.address is None:
            return one.decided.recipient_key.hex()[:8]
        return one.address if visitor.may("addresses") else masked(one.address)
