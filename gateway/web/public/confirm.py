"""The page behind the link of a confirmation mail: one button, so that no scanner confirms (RULES.md 5.2.2, P4).

GET shows what is asked and changes nothing. POST confirms; a second one says the same. A link that is too old says so
and leads to the form.
"""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.confirm import Seen
from gateway.web.public.page import Pages
from gateway.web.public.unsubscribe import failed
from gateway.web.site import PATIENCE, Site
from gateway.words import Language

_NOTICES = {"already": "again", "expired": "expired", "overtaken": "overtaken"}


class Confirm:
    """The pages of `/c/`."""

    def __init__(self, site: Site, pages: Pages) -> None:
        self._site, self._pages, self._words = site, pages, site.words

    def routes(self) -> list[Route]:
        return [
            Route("/c/{token}", self.show, methods=["GET"]),
            Route("/c/{token}", self.act, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """What is asked, and the button."""
        return await self._answer(request, self._site.confirmations.look)

    async def act(self, request: Request) -> Response:
        """Confirm. Whatever the body says: whoever posts here means it."""
        return await self._answer(request, self._site.confirmations.confirm)

    async def _answer(self, request: Request, call: Callable[[str], Awaitable[Seen | None]]) -> Response:
        text = request.path_params["token"]
        try:
            async with asyncio.timeout(PATIENCE):
                seen = await call(text)
        except Exception as error:  # nothing may look like a confirmation that is not committed
            failed("c", error)
            return self._pages.notice(
                request, "down", self._pages.language(request), status=503, headers={"Retry-After": "60"}
            )
        if seen is None:
            return self._pages.notice(request, "missing", self._pages.language(request), status=404)
        language = self._words.pick([self._pages.wish(request), seen.language, seen.controller.language])
        if seen.state == "waiting":
            return self._ask(request, seen, text, language)
        if seen.state == "confirmed":
            return self._confirmed(request, seen, language)
        return self._said(request, seen, language)

    def _ask(self, request: Request, seen: Seen, text: str, language: Language) -> Response:
        say, parent = self._words.text, seen.parent
        return self._pages.show(
            request, "confirm", language, controller=seen.controller, heading=say(language, "confirm.title"),
            text=say(
                language, "confirm.parent" if parent else "confirm.text", name=seen.controller.display_name
            ),
            purposes=self._purposes(seen, language), masked=seen.masked_address,
            target=f"/c/{text}?lang={language}", note=say(language, "confirm.not_you"), link=None,
            button=say(language, "confirm.button_parent" if parent else "confirm.button"),
        )  # fmt: skip

    def _confirmed(self, request: Request, seen: Seen, language: Language) -> Response:
        """What happens next, and how to stop it; the truth where something still stands in the way."""
        say, name = self._words.text, seen.controller.display_name
        if seen.barred:
            contact = seen.controller.opt_out_contact or seen.controller.legal_name
            return self._pages.show(
                request, "plain", language, controller=seen.controller, heading=say(language, "barred.title"),
                lines=[say(language, "barred.text", contact=contact)], link=None,
            )  # fmt: skip
        link = None
        if seen.preferences is not None:
            link = (f"/p/{seen.preferences}?lang={language}", say(language, "page.preferences", name=name))
        return self._pages.show(
            request, "confirm", language, controller=seen.controller, heading=say(language, "confirmed.title"),
            text=say(language, "confirmed.text", name=name), purposes=self._purposes(seen, language),
            masked=seen.masked_address, target=None, note=say(language, "sign_up.withdraw"), link=link,
        )  # fmt: skip

    def _said(self, request: Request, seen: Seen, language: Language) -> Response:
        """Confirmed before, too late, or overruled by an opt-out since: with the way to begin anew."""
        say, about, controller = self._words.text, _NOTICES[seen.state], seen.controller
        forms = list(controller.forms)
        form = seen.form or (forms[0] if len(forms) == 1 else None)
        link = None
        if form is not None and seen.state != "already":
            link = (f"/s/{controller.id}/{form}?lang={language}", say(language, "expired.link"))
        return self._pages.show(
            request, "plain", language, controller=controller, heading=say(language, f"{about}.title"),
            lines=[say(language, f"{about}.text", name=controller.display_name)], link=link,
            status=410 if seen.state == "expired" else 200,
        )  # fmt: skip

    def _purposes(self, seen: Seen, language: Language) -> list[str]:
        return [self._words.purpose(seen.controller, purpose, language) for purpose in seen.purposes]
