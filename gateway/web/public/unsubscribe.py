"""Stop mail: the page behind the footer's link, and the one-click POST of mailbox providers (RFC 8058).

Two addresses, because they have two callers with opposite needs: `/u/` answers people with pages, `/o/` answers
machines in the fewest steps. GET and HEAD show a page with a button and change nothing; only POST acts, and it answers
after the opt-out is committed (RULES.md 5.2). No cookie, no login, no redirect, no rate limit on either.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway import log, record
from gateway.config import Controller
from gateway.record import OptOut
from gateway.store.contract import UNDO_WITHIN, StoreUnavailable
from gateway.web.guard import Throttle, client_key
from gateway.web.public.form import UndoKey, evenly, may_be_undone, read_form
from gateway.web.public.page import Pages, zone_of
from gateway.web.site import PATIENCE, LinkContext, Site
from gateway.words import LANGUAGES, WORDED_BASES, Language, accepted, sentence_case
from suppression.address import canonical
from suppression.link_token import Kind, LinkToken

# Typing addresses into the form of an unreadable link: enough for an office behind one address.
_ADDRESSES_PER_HOUR: Final = 60
_PATHS: Final[Mapping[Kind, str]] = {"unsubscribe": "u", "why": "w", "preferences": "p"}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A link that was read: its text, what it names, and what may be said to its holder."""

    text: str
    token: LinkToken
    context: LinkContext
    controller: Controller
    language: Language


class Unsubscribe:
    """The pages of `/u/` and `/o/`."""

    def __init__(self, site: Site, pages: Pages) -> None:
        self._site, self._pages, self._words = site, pages, site.words
        self._undo_key = UndoKey(site.key("undo"))
        controllers = list(site.config.controllers.values())
        self._only = controllers[0] if len(controllers) == 1 else None  # with one sender, every page is theirs
        self._typed = Throttle(_ADDRESSES_PER_HOUR, timedelta(hours=1))

    def routes(self) -> list[Route]:
        """The one-click route comes first: it is asked most."""
        return [
            Route("/o/{token}", OneClick(self._site, self), methods=["POST"]),
            Route("/o/{token}", self.show, methods=["GET"]),
            Route("/u/{token}", self.show, methods=["GET"]),
            Route("/u/{token}", self.act, methods=["POST"]),
            Route("/u/", self.lost_form, methods=["GET"]),
            Route("/u/", self.act_on_address, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """What the link is about and the buttons; changes nothing."""
        about = await self.about(request, "unsubscribe")
        if isinstance(about, Response):
            return about
        return self._pages.show(
            request, "stop", about.language, controller=about.controller, masked=about.context.masked_address,
            target=f"/u/{about.text}?lang={about.language}", because=self.because(about),
            why_link=self.link(about.token, "why", about.language),
            choices_link=self.choices_link(about.token, about.controller, about.language), **self.buttons(about),
        )  # fmt: skip

    async def about(self, request: Request, kind: Kind) -> About | Response:
        """Read the link of a request, or the page to answer instead: it is not ours, or the store is away."""
        text = request.path_params["token"]
        token = self._site.tokens.open(kind, text)
        if token is None:
            return self.lost(request)
        try:
            async with asyncio.timeout(PATIENCE):
                context = await self._site.link_context(token)
        except Exception as error:  # whatever the store throws, the page says "not now" and nothing is lost
            failed(_PATHS[kind], error)
            return self.down(request)
        controller = self._site.config.controllers.get(context.controller) if context else None
        if context is None or controller is None:
            return self.lost(request)
        language = self._pages.language(request, context.language)
        return About(text=text, token=token, context=context, controller=controller, language=language)

    def because(self, about: About) -> str:
        """ "You get this because ...", with the date where it is known."""
        if about.context.since is None or about.context.basis not in ("opt_in", "soft_opt_in"):
            return self._words.why(about.controller, about.context.purpose, about.context.basis, about.language)
        return self._dated(f"because.dated.{about.context.basis}", about, about.context.since)

    def since(self, about: About) -> str | None:
        """Since when there is a ground; None where it is not known any more."""
        if about.context.since is None:
            return None
        worded = about.context.basis if about.context.basis in ("opt_in", "soft_opt_in") else "other"
        return self._dated(f"why.since.{worded}", about, about.context.since)

    def _dated(self, key: str, about: About, at: datetime) -> str:
        return self._words.text(
            about.language, key, name=about.controller.display_name,
            date=self._words.day(about.language, at, zone_of(about.controller)),
            purpose=self._words.purpose(about.controller, about.context.purpose, about.language),
        )  # fmt: skip

    def buttons(self, about: About) -> dict[str, Any]:
        """Heading, what stands already, and what can still be stopped, each with its button."""
        context, language, name = about.context, about.language, about.controller.display_name
        say, purpose = self._words.text, self._words.purpose(about.controller, context.purpose, language)
        per_purpose = context.basis == "opt_in" and context.purpose is not None
        stop_purpose = ("purpose", sentence_case(say(language, "stop.button_purpose", purpose=purpose)))
        stop_sender = ("sender", say(language, "stop.button_sender", name=name))
        stands, buttons = None, [stop_purpose, stop_sender] if per_purpose else [stop_sender]
        if context.suppressed == "purpose":
            stands, buttons = say(language, "stop.was_purpose", purpose=purpose), [stop_sender]
        elif context.suppressed is not None:
            stands, buttons = say(language, "stop.was_sender", name=name), []
        heading = say(language, "stop.title" if per_purpose else "stop.title_sender", purpose=purpose, name=name)
        service = context.basis not in WORDED_BASES
        return {
            "heading": sentence_case(heading), "stands": stands, "buttons": buttons,
            "keeps": say(language, "stop.canada" if service else "stop.service_stays"),
        }  # fmt: skip

    async def act(self, request: Request) -> Response:
        """Stop what the form says, else what the link is for (RULES.md 5.2.6); or take a fresh click back."""
        text = request.path_params["token"]
        token = self._site.tokens.open("unsubscribe", text)
        if token is None:
            return self.lost(request)
        form = await read_form(request)
        if form.get("action") == "undo":
            return await self._undo(request, text, token, form)
        site, now = self._site, self._site.clock()
        try:
            async with asyncio.timeout(PATIENCE):
                done = await record.opt_out(
                    site.store, token, channel="page", whole_sender=form.get("action") == "sender", now=now
                )
        except Exception as error:  # nothing may look like success that is not committed
            failed("u", error)
            return self.down(request)
        if done is None:
            return self.lost(request)
        return self._confirm(request, text, token, done, now)

    def _confirm(self, request: Request, link: str, token: LinkToken, done: OptOut, now: datetime) -> Response:
        """Says only what is committed; asks the store nothing, so that it cannot fail any more."""
        controller, language = self._site.config.controllers[done.controller_id], self._pages.language(request)
        say, name = self._words.text, controller.display_name
        of_purpose = done.scope == "purpose"
        purpose = self._words.purpose(controller, done.purpose, language)
        heading = say(language, "done.purpose" if of_purpose else "done.sender", purpose=purpose, name=name)
        lines = [say(language, "done.already" if done.already else "done.now")]
        if not of_purpose:
            lines.append(say(language, "stop.service_stays"))
        lines.append(say(language, "done.reference", reference=done.reference))
        may_undo = done.undoable and may_be_undone(done.at, now)
        return self._pages.show(
            request, "done", language, controller=controller, heading=heading, lines=lines,
            target=f"/u/{link}?lang={language}", undo_until=done.at + UNDO_WITHIN, more_button=of_purpose,
            undo_value=self._undo_key.make(link, done.suppression_id, done.at) if may_undo else None,
            choices_link=self.choices_link(token, controller, language) if of_purpose else None,
        )  # fmt: skip

    async def _undo(self, request: Request, link: str, token: LinkToken, form: Mapping[str, str]) -> Response:
        now, undone = self._site.clock(), False
        suppression_id = self._undo_key.open(link, form.get("value", ""), now)
        try:
            async with asyncio.timeout(PATIENCE):
                if suppression_id is not None:
                    undone = await record.undo(self._site.store, token, suppression_id, now=now)
        except Exception as error:  # not lifted: the opt-out stands
            failed("u", error)
            return self.down(request)
        about = await self.about(request, "unsubscribe")
        if isinstance(about, Response):
            return about
        say, language = self._words.text, about.language
        said = "undone" if undone else "late"
        return self._pages.show(
            request, "plain", language, controller=about.controller, heading=say(language, f"{said}.title"),
            lines=[say(language, f"{said}.text", name=about.controller.display_name)],
            link=(f"/u/{link}?lang={language}", say(language, "undone.link")) if undone else None,
        )  # fmt: skip

    async def lost_form(self, request: Request) -> Response:
        """The form for an address, by itself."""
        return self.lost(request, status=200)

    async def act_on_address(self, request: Request) -> Response:
        """Stop marketing to a typed-in address. The answer never tells whether it is known (RULES.md 5.2.3)."""
        site, language, now = self._site, self._pages.language(request), self._site.clock()
        typed = (await read_form(request)).get("address", "").strip()
        if canonical(typed) is None:
            return self.lost(request, status=422, typed=typed)
        if not self._typed.allow(client_key(request), now):
            return self._say(request, language, "busy", status=429)
        try:
            async with evenly(), asyncio.timeout(PATIENCE):
                await record.opt_out_by_address(site.store, site.config, site.ring, typed, channel="form", now=now)
        except Exception as error:  # not stored: say so
            failed("u", error)
            return self.down(request)
        lines = [self._words.text(language, "lost.done_text")]
        heading = self._words.text(language, "lost.done_title")
        return self._pages.show(
            request, "plain", language, controller=self._only, heading=heading, lines=lines, link=None
        )

    def lost(self, request: Request, *, status: int = 404, typed: str = "") -> Response:
        """The page for a link we cannot read: a form, never a refusal (RULES.md 5.2.5)."""
        if status == 404:
            log.link_unreadable(kind=request.url.path[1:2])
        language = self._pages.language(request, self._only.language if self._only else None)
        return self._pages.show(
            request, "lost", language, controller=self._only, status=status, wrong=status == 422, typed=typed
        )

    def down(self, request: Request) -> Response:
        """Not now: the choice is not stored, and the page says so (never 200)."""
        return self._say(request, self._pages.language(request), "down", status=503)

    def _say(self, request: Request, language: Language, about: str, *, status: int) -> Response:
        lines = []
        if self._only and self._only.opt_out_contact:
            contact = {"name": self._only.display_name, "contact": self._only.opt_out_contact}
            lines.append(self._words.text(language, "down.contact", **contact))
        return self._pages.notice(
            request, about, language, controller=self._only, status=status, headers={"Retry-After": "60"}, lines=lines
        )

    def link(self, token: LinkToken, kind: Kind, language: Language) -> str:
        """A link of another kind for the same person and mail."""
        return f"/{_PATHS[kind]}/{self._site.tokens.make(replace(token, kind=kind))}?lang={language}"

    def choices_link(self, token: LinkToken, controller: Controller, language: Language) -> str | None:
        """The page of choices, where there is more than one thing to choose."""
        return self.link(token, "preferences", language) if len(controller.purposes) > 1 else None


def failed(where: str, error: Exception) -> None:
    """Log why a page had to say "not now": the store was away or too slow, or we have a bug."""
    if isinstance(error, StoreUnavailable | TimeoutError):
        log.store_unavailable(where=where, error=error)
    else:
        log.bug(where=where, error=error)


class OneClick:
    """POST /o/{token} as an ASGI endpoint: reads no body, renders nothing, answers 200 after the commit.

    RFC 8058 section 3.2: no cookies, no redirect, no context. The body is not looked at: whoever posts here means it.
    """

    def __init__(self, site: Site, pages: Unsubscribe) -> None:
        self._site, self._pages = site, pages
        self._answers = {language: _ready_answer(site.words.text(language, "done.plain")) for language in LANGUAGES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        site = self._site
        token = site.tokens.open("unsubscribe", scope["path_params"]["token"])
        done = None
        try:
            if token is not None:
                async with asyncio.timeout(PATIENCE):
                    done = await record.opt_out(site.store, token, channel="one-click", now=site.clock())
        except Exception as error:  # nothing may look like success that is not committed
            failed("o", error)
            await self._pages.down(Request(scope))(scope, receive, send)
            return
        if done is None:
            await self._pages.lost(Request(scope))(scope, receive, send)
            return
        wish = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
        fields, body = self._answers[site.words.pick(accepted(wish.decode("latin-1")))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})


def _ready_answer(text: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    body = text.encode() + b"\n"
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))], body
