"""Who may call the API, and what every call gets: a key that fits, for a purpose it was given for.

A key belongs to one controller, so a route never asks whose data is meant (DESIGN.md P8). No cookie is looked at: a
browser cannot be made to call in somebody's name. Wrong keys are slowed down per network they come from.

Routes are made once per process, when their modules are loaded: FastAPI takes a tenth of a second for them, and never
forgets a route's function. The site and its door come with the application that is called, which settings change.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway import log
from gateway.config import Controller
from gateway.web.api import keys
from gateway.web.guard import client_key, guessing
from gateway.web.problem import Problem
from gateway.web.site import PATIENCE, Site

_BEARER: Final = HTTPBearer(
    auto_error=False, bearerFormat="cg_...", description="A key made with `consentgate user key add`."
)
_NOTED_EVERY: Final = timedelta(hours=1)
_CHANGES_NOTHING: Final = ("GET", "HEAD")
"""Methods that write nothing, not even that a key was used (DESIGN.md P4)."""
Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


async def _site(request: Request) -> Site:
    site: Site = request.app.state.site
    return site


Here = Annotated[Site, Depends(_site)]
"""The site of the application that is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose key it is, and its name for records ("the shop's checkout")."""

    controller: Controller
    key_id: bytes
    name: str
    scopes: tuple[str, ...]


class Door:
    """Made once per application. Each route takes `Depends(needs(SCOPE))`, which gives it the Caller."""

    def __init__(self, site: Site) -> None:
        self._site, self._wrong = site, guessing()

    async def let_in(self, request: Request, text: str | None, scope: str | None) -> Caller:
        """Whose key `text` is. Problem 401, 403 or 429 for whom it does not let in."""
        peer, now, store = client_key(request), self._site.clock(), self._site.store
        if wait := self._wrong.wait(peer, now):
            seconds = str(int(wait.total_seconds()) + 1)
            raise Problem(429, "Too many wrong keys from your network.", headers={"Retry-After": seconds})
        if text is None:
            raise _unauthorised("Send your key as: Authorization: Bearer cg_...")
        presented = keys.read(text)
        named = await store.name(presented.controller_no) if presented is not None else None
        controller = self._site.config.controllers.get(named[0]) if named is not None else None
        kept = None
        if presented is not None and controller is not None:
            kept = await store.api_key(controller.id, presented.key_id)
        if presented is None or controller is None or kept is None or not keys.fits(presented, kept):
            self._wrong.failed(peer, now)
            log.login_failed(door="api", cause="wrong key")
            raise _unauthorised("The key is not one of this installation. Look: consentgate user key list")
        if kept.revoked_at is not None and kept.revoked_at <= now:
            log.login_failed(door="api", cause="revoked key")
            raise _unauthorised("The key was revoked. Make another: consentgate user key add")
        if scope is not None and scope not in kept.scopes:
            raise Problem(403, f"The key may not do this: it lacks the scope {scope}. Make one that has it.")
        stale = kept.last_used_at is None or now - kept.last_used_at >= _NOTED_EVERY
        if stale and request.method not in _CHANGES_NOTHING:
            await store.api_key_used(controller.id, kept.key_id, now)
        return Caller(controller=controller, key_id=kept.key_id, name=kept.name, scopes=kept.scopes)


def needs(scope: str | None = None) -> Callable[[Request, Given], Awaitable[Caller]]:
    """A dependency that lets in callers whose key has this scope (None: any). Problem 401, 403, 429 for others."""
    assert scope is None or scope in keys.SCOPES

    async def knock(request: Request, given: Given) -> Caller:
        door: Door = request.app.state.door
        async with asyncio.timeout(PATIENCE):
            return await door.let_in(request, given.credentials if given is not None else None, scope)

    return knock


def _unauthorised(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
