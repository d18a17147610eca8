"""Which mails do I no longer want: one button per purpose, and one for everything.

The page says what can be stopped, not what somebody gets: it tells the holder of a forwarded link nothing new. Each
button posts to the stop page of its own purpose.
"""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.web.public.page import Pages
from gateway.web.public.unsubscribe import About, Unsubscribe
from gateway.web.site import Site
from gateway.words import sentence_case


class Preferences:
    """The page of `/p/`."""

    def __init__(self, site: Site, pages: Pages, stop: Unsubscribe) -> None:
        self._site, self._pages, self._stop = site, pages, stop

    def routes(self) -> list[Route]:
        return [Route("/p/{token}", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """Changes nothing."""
        about = await self._stop.about(request, "preferences")
        if isinstance(about, Response):
            return about
        choices = [await self._choice(about, purpose) for purpose in about.controller.purposes]
        return self._pages.show(
            request, "choices", about.language, controller=about.controller, masked=about.context.masked_address,
            choices=choices, everything=self._stop.link(about.token, "unsubscribe", about.language),
        )  # fmt: skip

    async def _choice(self, about: About, purpose: str) -> tuple[str, str]:
        """Where the button posts, and what it says. Basis opt-in gives the link the scope of this purpose alone."""
        number = await self._site.store.number(about.controller.id, "purpose", purpose)
        words, language = self._site.words, about.language
        title = words.purpose(about.controller, purpose, language)
        narrowed = replace(about.token, purpose_no=number, basis="opt_in")
        label = sentence_case(words.text(language, "stop.button_purpose", purpose=title))
        return self._stop.link(narrowed, "unsubscribe", language), label
