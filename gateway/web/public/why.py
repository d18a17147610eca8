"""Why do I get this? Short answers and the way out; changes nothing (GDPR 12, 14(2)(f); RULES.md 5.1 M8, 6.1)."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.web.public.page import Pages
from gateway.web.public.unsubscribe import Unsubscribe
from gateway.web.public.wording import as_shown
from gateway.web.site import Site
from gateway.words import WORDED_BASES

# The article that allows mail on each ground, as a recipient can look it up.
_ARTICLES: Final[Mapping[str, str]] = {
    "opt_in": "GDPR 6(1)(a), 7; ePD 13(1)",
    "soft_opt_in": "ePD 13(2)",
    "charity": "PECR 22(3A)",
    "b2b": "ePD 13(5)",
    "implied": "CASL 10(9)-(10)",
    "opt_out_regime": "15 USC 7704",
    "service": "GDPR 6(1)(b), (c)",
}


class Why:
    """The page of `/w/`."""

    def __init__(self, site: Site, pages: Pages, stop: Unsubscribe) -> None:
        self._site, self._pages, self._stop = site, pages, stop

    def routes(self) -> list[Route]:
        return [Route("/w/{token}", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """The answers as far as we know them; the address is masked, for a forwarded mail is somebody else's link."""
        about = await self._stop.about(request, "why")
        if isinstance(about, Response):
            return about
        words, language, context, controller = self._site.words, about.language, about.context, about.controller
        worded = context.basis if context.basis in WORDED_BASES else "service"
        purpose = words.purpose(controller, context.purpose, language)
        ground = f"why.ground.{worded}" if context.suppressed is None else "why.ground.stopped"
        version = context.wording_version
        wording = await self._site.store.wording(controller.id, version) if version is not None else None
        return self._pages.show(
            request, "why", language, controller=controller, masked=context.masked_address,
            shown=as_shown(wording.wording) if wording is not None else None,
            ground=words.text(language, ground, purpose=purpose, name=controller.display_name),
            article=words.law(language, _ARTICLES[worded]), since=self._stop.since(about),
            obtained=context.obtained_from, because=words.why(controller, context.purpose, context.basis, language),
            target=self._stop.link(about.token, "unsubscribe", language), **self._stop.buttons(about),
        )  # fmt: skip
