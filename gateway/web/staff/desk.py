"""What all staff pages share: who is there, what their role may see, and the frame around a page.

Roles see what their work needs and no more (RULES.md 9, S1 and S2; DESIGN.md P8): a marketer results with shortened
addresses, a privacy officer the addresses too, an operator numbers without content.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.config import Controller
from gateway.record import staff_acts
from gateway.store.staff import Staff
from gateway.web.public.form import read_form
from gateway.web.session import Session, Sessions
from gateway.web.site import Site
from gateway.words import Language, accepted, template_folder

# Page -> the roles that may open it. "addresses": see them whole, by a POST
# that is written to the ledger.
MAY: Final[Mapping[str, frozenset[str]]] = {
    "overview": frozenset({"submitter", "marketer", "privacy", "operator", "auditor", "administrator"}),
    "campaigns": frozenset({"marketer", "privacy"}),
    "blocked": frozenset({"marketer", "privacy"}),
    "captured": frozenset({"marketer", "privacy"}),
    "consents": frozenset({"marketer", "privacy", "auditor"}),
    "rehearsals": frozenset({"marketer", "privacy"}),
    "returns": frozenset({"marketer", "privacy"}),
    "settle": frozenset({"privacy"}),
    "resume": frozenset({"privacy"}),
    "held": frozenset({"operator", "privacy"}),
    "rules": frozenset({"marketer", "privacy", "auditor", "administrator"}),
    "rule": frozenset({"privacy"}),
    "told": frozenset({"marketer", "privacy", "operator", "auditor", "administrator"}),
    "tell": frozenset({"privacy", "operator"}),
    "decisions": frozenset({"marketer", "privacy", "auditor"}),
    "people": frozenset({"privacy", "auditor"}),
    "addresses": frozenset({"privacy"}),
}
_PLACES: Final = (("overview", "/staff"), ("campaigns", "/staff/campaigns"), ("blocked", "/staff/blocked"),
                  ("rehearsals", "/staff/rehearsals"), ("held", "/staff/held"), ("captured", "/staff/captured"),
                  ("returns", "/staff/returns"), ("people", "/staff/people"), ("consents", "/staff/consents"),
                  ("told", "/staff/told"),
                  ("rules", "/staff/rules"))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A member of staff at a page. `controllers` are those they work for, by id."""

    staff: Staff
    session: Session
    language: Language
    controllers: Mapping[str, Controller]

    def may(self, what: str) -> bool:
        """Whether one of their roles allows it."""
        return not MAY[what].isdisjoint(self.staff.roles)

    @property
    def zone(self) -> ZoneInfo:
        """The zone their dates are shown in: that of the first controller they work for."""
        return ZoneInfo(next((controller.timezone for controller in self.controllers.values()), "UTC"))


Handler = Callable[[Request, Visitor], Awaitable[Response]]


class Desk:
    """Opens staff pages to those who may see them."""

    def __init__(self, site: Site, sessions: Sessions) -> None:
        self.site, self.sessions = site, sessions
        self.css = (template_folder() / "staff" / "staff.css").read_bytes()
        self.css_path = f"/static/staff-{hashlib.sha256(self.css).hexdigest()[:12]}.css"

    def page(self, what: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A route's endpoint: sign in first, then the role, then the page. A POST has to come from a form of ours."""

        async def endpoint(request: Request) -> Response:
            visitor = await self.visitor(request)
            if visitor is None:
                return RedirectResponse(f"/staff/login?{urlencode({'next': request.url.path})}", 303)
            if not visitor.may(what):
                return self.forbidden(visitor)
            if request.method not in ("GET", "HEAD") and not await self._from_our_form(request, visitor):
                return self._notice(visitor, "expired", 403)
            response = await handler(request, visitor)
            wish = request.query_params.get("lang")
            if wish is not None:
                self.sessions.speak(response, visitor.session, visitor.language)
            return response

        return endpoint

    async def visitor(self, request: Request) -> Visitor | None:
        """Who is there. Removed staff, and sessions from before a new password, are nobody."""
        session = self.sessions.read(request, self.site.clock())
        staff = await self.site.store.staff(session.name) if session else None
        if session is None or staff is None or not self.sessions.holds(session, staff):
            return None
        every = self.site.config.controllers
        mine = {id_: every[id_] for id_ in staff.controllers if id_ in every} if staff.controllers else dict(every)
        wishes = [request.query_params.get("lang"), session.language, *accepted(request.headers.get("accept-language"))]
        return Visitor(staff=staff, session=session, language=self.site.words.pick(wishes), controllers=mine)

    def show(
        self, template: str, visitor: Visitor, *, place: str, status: int = 200, frames: bool = False, **values: object
    ) -> Response:
        """A whole staff page. `frames`: it shows a page of ours inside it."""
        places = [(name, path) for name, path in _PLACES if visitor.may(name)]
        page = self.site.words.render(
            f"staff/{template}.html", visitor.language, visitor=visitor, place=place, places=places, zone=visitor.zone,
            form_value=self.sessions.form_value(visitor.session), css_path=self.css_path, **values,
        )  # fmt: skip
        return self._answer(page, status, frames)

    def show_outside(self, template: str, language: Language, *, status: int = 200, **values: object) -> Response:
        """A page for somebody who is not signed in."""
        page = self.site.words.render(
            f"staff/{template}.html", language, visitor=None, places=[], css_path=self.css_path, **values
        )
        return self._answer(page, status, False)

    def _answer(self, page: str, status: int, frames: bool) -> Response:
        policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        headers = {"Content-Security-Policy": policy + ("; frame-src 'self'" if frames else "")}
        return Response(page, status, headers, media_type="text/html")

    async def _from_our_form(self, request: Request, visitor: Visitor) -> bool:
        """Whether a POST came from a form of this session, and not from a page of somebody else's."""
        form = await read_form(request)
        return self.sessions.is_form_of(visitor.session, form.get("form", ""))

    async def note_look(self, visitor: Visitor, controllers: Iterable[str], act: str, **public: object) -> None:
        """Write down, before they are shown, that whole addresses of several people are shown (RULES.md S5)."""
        role = next((role for role in visitor.staff.roles if role in MAY["addresses"]), visitor.staff.roles[0])
        acts = staff_acts(
            controllers, act, by=role, at=self.site.clock(), private={"user": visitor.staff.name}, **public
        )  # fmt: skip
        for note in acts:
            await self.site.store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)

    def forbidden(self, visitor: Visitor) -> Response:
        """Not for this role: says so, and what to do."""
        say = self.site.words.text
        roles = ", ".join(say(visitor.language, f"role.{role}") for role in visitor.staff.roles)
        return self._notice(visitor, "forbidden", 403, roles=roles)

    def gone(self, visitor: Visitor) -> Response:
        """What was asked for is not here, or not for this person: the same answer."""
        return self._notice(visitor, "not_found", 404)

    def _notice(self, visitor: Visitor, what: str, status: int, **values: object) -> Response:
        """A heading and a sentence instead of the page."""
        heading = self.site.words.text(visitor.language, f"staff.{what}_title")
        line = self.site.words.text(visitor.language, f"staff.{what}_text", **values)
        return self.show("notice", visitor, place="", status=status, heading=heading, lines=[line])
