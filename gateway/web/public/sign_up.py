"""The sign-up form and its answer (RULES.md 4.3): a box per purpose, none ticked, who sends, how to stop, the notice.

No cookie, so nobody's session can be abused and no CSRF token is needed; a form on the controller's own site posts here
too. What was on the screen is kept word for word as a wording, and the consent names it. The answer is the same, and
takes as long, whoever asks and whatever is known of the address.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Controller, Form
from gateway.web.guard import client_key
from gateway.web.public.form import evenly, read_form
from gateway.web.public.page import Pages
from gateway.web.public.shown_form import ShownForm, snippet_prefix
from gateway.web.public.unsubscribe import failed
from gateway.web.site import PATIENCE, Site
from gateway.wish import Wish
from gateway.words import Language
from suppression.address import canonical

_OLDEST: Final = timedelta(days=130 * 366)
_ORIGIN: Final = re.compile(r"https://([a-z0-9.-]{1,253})(?::[0-9]{1,5})?")
_USER_AGENT: Final = 300
"""Characters kept of what a browser says it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What somebody filled in, as typed. `parent`: the address is that of a parent."""

    ticked: tuple[str, ...] = ()
    address: str = ""
    birth: str = ""
    parent: bool = False
    wrong: Mapping[str, str] = field(default_factory=dict)


class SignUp:
    """The pages of `/s/`."""

    def __init__(self, site: Site, pages: Pages) -> None:
        self._site, self._pages, self._words = site, pages, site.words
        self._shown = ShownForm(site.config, site.words, site.sign_ups.age)
        self._kept: set[str] = set()
        """Wordings that this process has seen kept."""

    def routes(self) -> list[Route]:
        return [
            Route("/s/{controller}/{form}", self.show, methods=["GET"]),
            Route("/s/{controller}/{form}", self.take, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form; changes nothing."""
        named = self._named(request)
        if named is None:
            return self._missing(request)
        return self._form(request, *named, Filled())

    async def take(self, request: Request) -> Response:
        """A form was sent: say what is wrong with it, or take the sign-up and say what comes next."""
        named = self._named(request)
        if named is None:
            return self._missing(request)
        controller, form = named
        language, said = self._language(request, controller), await read_form(request)
        filled = Filled(
            ticked=tuple(p for p in form.purposes if said.get(f"purpose-{p}")), address=said.get("address", "").strip(),
            birth=said.get("birth", "").strip(), parent=bool(said.get("parent")) and form.ask_birth_date,
        )  # fmt: skip
        now = self._site.clock()
        born = self._birth(controller, filled.birth, now) if self._asks_birth(form, filled) else None
        wrong = self._wrong(form, filled, born, language)
        if wrong:
            return self._form(request, controller, form, replace(filled, wrong=wrong), status=422)
        today = now.astimezone(ZoneInfo(controller.timezone)).date()
        if born is not None and self._site.sign_ups.is_minor(controller, born, today):
            return self._form(request, controller, form, Filled(parent=True))  # and nothing is kept of the child
        try:
            async with evenly(), asyncio.timeout(PATIENCE):
                wording = await self._wording(controller, form, filled, language, said.get("wording"), now)
                if wording is None:
                    return self._form(request, controller, form, Filled(address=filled.address))
                wish = self._wish(request, controller, form, filled, language, wording, born, now)
                await self._site.sign_ups.ask(controller, form, wish, double_opt_in=form.double_opt_in)
        except Exception as error:  # not stored: say so, whoever it is
            failed("s", error)
            return self._pages.notice(
                request, "down", language, controller=controller, status=503, headers={"Retry-After": "60"}
            )
        return self._thanks(request, controller, form, filled, language)

    def _named(self, request: Request) -> tuple[Controller, Form] | None:
        controller = self._site.config.controllers.get(request.path_params["controller"])
        form = controller.forms.get(request.path_params["form"]) if controller is not None else None
        return None if controller is None or form is None else (controller, form)

    def _missing(self, request: Request) -> Response:
        return self._pages.notice(request, "missing", self._pages.language(request), status=404)

    def _language(self, request: Request, controller: Controller) -> Language:
        """The visitor's own, else the controller's: Dutch shops have Dutch visitors."""
        return self._words.pick([self._pages.wish(request), controller.language])

    def _asks_birth(self, form: Form, filled: Filled) -> bool:
        return form.ask_birth_date and not filled.parent

    def _birth(self, controller: Controller, typed: str, now: datetime) -> date | None:
        """The date, as date fields send it or as people write it; None where it is none that somebody alive has."""
        today = now.astimezone(ZoneInfo(controller.timezone)).date()
        for form in ("%Y-%m-%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y"):
            try:
                found = datetime.strptime(typed, form).date()  # noqa: DTZ007 - a day, not an instant
            except ValueError:
                continue
            return found if today - _OLDEST < found <= today else None
        return None

    def _wrong(self, form: Form, filled: Filled, born: date | None, language: Language) -> dict[str, str]:
        """What is wrong, by field, in the order of the fields."""
        wrong = {}
        if not filled.ticked:
            wrong["purposes"] = self._words.text(language, "sign_up.no_choice")
        if canonical(filled.address) is None:
            wrong["address"] = self._words.text(language, "sign_up.bad_address")
        if self._asks_birth(form, filled) and born is None:
            wrong["birth"] = self._words.text(language, "sign_up.bad_birth")
        return wrong

    def _wish(
        self, request: Request, controller: Controller, form: Form, filled: Filled, language: Language, wording: str,
        born: date | None, now: datetime,
    ) -> Wish:  # fmt: skip
        address = canonical(filled.address)
        assert address is not None  # checked before
        network = client_key(request)
        return Wish(
            address=address, purposes=filled.ticked, language=language, at=now, network=network or None,
            ip=request.client.host if request.client else None,
            user_agent=(request.headers.get("user-agent") or "")[:_USER_AGENT] or None,
            birth_date=born, parent=filled.parent,
            evidence={
                "method": "web form", "wording_version": wording, "origin": self._origin(request, controller, form),
                "privacy_notice_version": controller.notice_version or None,
            },
        )  # fmt: skip

    def _origin(self, request: Request, controller: Controller, form: Form) -> str:
        """The page it came from: this form's, or the controller's own site on which the form stands.

        Nothing else a visitor claims: it is shown in the mail, which must not carry a stranger's link.
        """
        sent = _ORIGIN.fullmatch(request.headers.get("origin") or "")
        if sent is not None and any(f".{sent[1]}".endswith(f".{own}") for own in controller.domains):
            return f"https://{sent[1]}"
        return f"{self._site.config.public_url.rstrip('/')}/s/{form.controller}/{form.name}"

    async def _wording(
        self, controller: Controller, form: Form, filled: Filled, language: Language, named: str | None, now: datetime
    ) -> str | None:
        """The version of what was shown. None: the form came from a snippet that is not one of ours."""
        if named is not None:
            kept = None
            if named.startswith(snippet_prefix(form)):
                kept = await self._site.store.wording(controller.id, named)
            if kept is None or not set(filled.ticked) <= set(kept.wording.purposes):
                return None
            return named
        wording = self._shown.wording(controller, form, language, parent=filled.parent)
        if wording.name not in self._kept:
            await self._site.store.keep_wording(controller.id, wording, at=now)
            self._kept.add(wording.name)
        return wording.name

    def _form(
        self, request: Request, controller: Controller, form: Form, filled: Filled, *, status: int = 200
    ) -> Response:  # fmt: skip
        language = self._language(request, controller)
        values = self._shown.values(controller, form, language, parent=filled.parent)
        return self._pages.show(
            request, "sign_up", language, controller=controller, status=status, wrong=filled.wrong,
            ticked=filled.ticked, typed=filled.address, typed_birth=filled.birth, **values,
        )  # fmt: skip

    def _thanks(
        self, request: Request, controller: Controller, form: Form, filled: Filled, language: Language
    ) -> Response:
        """The same for everybody. It shows what was typed, and says of a mail only what holds in every case."""
        say = self._words.text
        if form.double_opt_in:
            heading = say(language, "almost.title")
            text = "almost.parent" if filled.parent else "almost.text"
            lines = [say(language, text, address=filled.address), say(language, "almost.once")]
        else:
            heading, lines = say(language, "thanks.title"), [say(language, "thanks.text")]
        return self._pages.show(
            request, "plain", language, controller=controller, heading=heading, lines=lines, link=None
        )
