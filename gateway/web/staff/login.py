"""Signing in and out. Wrong name and wrong password look alike, also in time; guessing gets slower and slower."""

import asyncio
import math
import re
from datetime import timedelta
from typing import Final

from argon2.exceptions import InvalidHashError, VerificationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from gateway import log, password
from gateway.store.staff import Staff
from gateway.web.guard import client_key, from_elsewhere, guessing
from gateway.web.public.form import read_form
from gateway.web.staff.desk import Desk
from gateway.words import Language, accepted

# argon2 takes 19 MiB and a core for each try.
_AT_ONCE: Final = 2
_NAME_LENGTH: Final = 200
NAME_TRIES: Final = 20
NAME_WAIT: Final = timedelta(seconds=30)
"""Wrong passwords for one name from everywhere that cost nothing, and the longest wait after them."""


class Login:
    """The pages `/staff/login` and `/staff/logout`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # By name only briefly: a stranger who knows a name must not keep its owner out.
        self._by_peer, self._by_name = guessing(), guessing(free=NAME_TRIES, longest=NAME_WAIT)
        self._hasher = password.HASHER
        password.nobodys()  # or the first who tries a name that is not there would wait longer
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            Route("/staff/login", self.form, methods=["GET"]),
            Route("/staff/login", self.sign_in, methods=["POST"]),
            Route("/staff/logout", self.sign_out, methods=["POST"]),
        ]

    async def form(self, request: Request) -> Response:
        """Name and password; changes nothing."""
        return self._show(request)

    async def sign_in(self, request: Request) -> Response:
        """Check the password and begin a session."""
        site, now = self._desk.site, self._desk.site.clock()
        if from_elsewhere(request, site.config.public_url):
            return self._show(request, wrong="login.expired", status=403)
        form = await read_form(request)
        name = form.get("name", "").strip()[:_NAME_LENGTH]
        counts = ((self._by_peer, client_key(request)), (self._by_name, name))
        async with self._turns:  # looked at in turn: tries sent all at once count like those sent one by one
            wait = max(backoff.wait(key, now) for backoff, key in counts)
            if wait:
                seconds = math.ceil(wait.total_seconds())
                log.login_failed(door="web", cause="too many tries")
                return self._show(request, wrong="login.wait", seconds=seconds, name=name, status=429)
            staff = await site.store.staff(name)
            if not await self._is_right(staff, form.get("password", "")) or staff is None:
                for backoff, key in counts:
                    backoff.failed(key, now)
                log.login_failed(door="web", cause="wrong name or password")
                return self._show(request, wrong="login.wrong", name=name, status=403)
        for backoff, key in counts:
            backoff.passed(key)
        response = RedirectResponse(_inside(form.get("next", "")), 303)
        self._desk.sessions.begin(response, staff, request.query_params.get("lang", ""), now)
        return response

    async def _is_right(self, staff: Staff | None, given: str) -> bool:
        """Whether the password fits; takes as long for a name that does not exist."""
        known = staff.password_hash if staff else password.nobodys()
        try:
            return await asyncio.to_thread(self._hasher.verify, known, given) and staff is not None
        except (VerificationError, InvalidHashError):
            return False

    async def sign_out(self, request: Request) -> Response:
        """End the session, if the form is of this session."""
        sessions = self._desk.sessions
        session = sessions.read(request, self._desk.site.clock())
        form = await read_form(request)
        if session is not None and not sessions.is_form_of(session, form.get("form", "")):
            return self._show(request, wrong="login.expired", status=403)
        response = self._show(request, said="login.signed_out")
        if session is not None:
            # a session that another machine's clock began a moment ahead of ours ends as well
            await self._desk.site.store.sign_out(session.name, max(self._desk.site.clock(), session.began))
        sessions.end(response)
        return response

    def _show(
        self, request: Request, *, wrong: str | None = None, said: str | None = None, seconds: int = 0, name: str = "",
        status: int = 200,
    ) -> Response:  # fmt: skip
        language: Language = self._desk.site.words.pick(
            [request.query_params.get("lang"), *accepted(request.headers.get("accept-language"))]
        )
        say, headers = self._desk.site.words.text, {"Retry-After": str(seconds)} if seconds else {}
        response = self._desk.show_outside(
            "login", language, status=status, name=name, next=_inside(request.query_params.get("next", "")),
            wrong=say(language, wrong, seconds=seconds) if wrong else None, said=say(language, said) if said else None,
        )  # fmt: skip
        response.headers.update(headers)
        return response


def _inside(path: str) -> str:
    """Where to go after signing in: only a page of ours, by its path."""
    return path if re.fullmatch(r"/staff(/(?!log)[A-Za-z0-9-]+)*", path) else "/staff"
