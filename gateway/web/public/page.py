"""How a recipient's page is made: language, accent colour, and a policy that lets nothing in from outside.

The style sheet stands in the page, allowed by its hash, so that one request gives a finished page on a slow phone.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from gateway.config import Controller
from gateway.web.edge import STRICT
from gateway.web.site import Site
from gateway.words import Language, accepted, is_language, template_folder

DEFAULT_ACCENT: Final = "#14532d"
_AA_CONTRAST: Final = 4.5


class Pages:
    """Makes recipients' pages; one per process."""

    def __init__(self, site: Site) -> None:
        self._words = site.words
        css = (template_folder() / "public" / "page.css").read_text(encoding="utf-8")
        accents = {controller.accent for controller in site.config.controllers.values()} | {DEFAULT_ACCENT}
        self._styles = {accent: _style(css, accent if readable(accent) else DEFAULT_ACCENT) for accent in accents}

    def language(self, request: Request, known: str | None = None) -> Language:
        """The visitor's choice, else the language the mail was in, else the browser's."""
        return self._words.pick(
            [request.query_params.get("lang"), known, *accepted(request.headers.get("accept-language"))]
        )

    def wish(self, request: Request) -> str | None:
        """The first language that the visitor asks for and we speak, in the address or by their browser."""
        asked = [request.query_params.get("lang"), *accepted(request.headers.get("accept-language"))]
        return next((one for one in asked if one and is_language(one.split("-")[0].lower())), None)

    def show(
        self, request: Request, template: str, language: Language, *, controller: Controller | None = None,
        status: int = 200, headers: Mapping[str, str] | None = None, **values: object,
    ) -> Response:  # fmt: skip
        """A whole page. Without a controller it is nobody's: our default colour and no name on top."""
        style, allowed = self._styles[controller.accent if controller else DEFAULT_ACCENT]
        page = self._words.render(
            f"public/{template}.html", language, controller=controller, style=style,
            switch={code: f"?{urlencode({'lang': code})}" for code in ("nl", "en", "fr", "de")},
            zone=zone_of(controller), **values,
        )  # fmt: skip
        fields = {
            "Content-Security-Policy": f"{STRICT.decode()}; style-src '{allowed}'", "Content-Language": language,
            "Vary": "Accept-Language",
        }  # fmt: skip
        return Response(page, status, fields | dict(headers or {}), media_type="text/html")

    def notice(
        self, request: Request, about: str, language: Language, *, controller: Controller | None = None, status: int,
        headers: Mapping[str, str] | None = None, lines: Sequence[str] = (),
    ) -> Response:  # fmt: skip
        """A page that only says something: the catalogue's `about.title` and `about.text`, then more lines."""
        return self.show(
            request, "plain", language, controller=controller, status=status, headers=headers, link=None,
            heading=self._words.text(language, f"{about}.title"),
            lines=[self._words.text(language, f"{about}.text"), *lines],
        )  # fmt: skip


def zone_of(controller: Controller | None) -> ZoneInfo:
    """The zone that dates are shown in."""
    return ZoneInfo(controller.timezone if controller else "UTC")


def readable(accent: str) -> bool:
    """Whether white text on this colour, and this colour on white, meet WCAG 2.2 AA (1.4.3: 4.5 to 1)."""
    return bool(re.fullmatch(r"#[0-9a-fA-F]{6}", accent)) and 1.05 / (_luminance(accent) + 0.05) >= _AA_CONTRAST


def _luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it, 0 to 1."""
    shares = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _style(css: str, accent: str) -> tuple[Markup, str]:
    """The style sheet with the accent in it, and the source expression that allows exactly this text."""
    text = f":root{{--accent:{accent}}}\n{css}"
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"  # noqa: S704 - our own file and a checked colour, no visitor's text in it
