"""The web application: which address is answered by whom, and what holds for all of them.

`app.py` runs it with uvicorn in its own TaskGroup. Static style sheets have the digest of their content in their name,
so they may be kept for a year. The API's description is at /api/v1/openapi.json; FastAPI's own pages load scripts from
outside and are off.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from gateway.backlog import late
from gateway.counters import HELD, LATE, QUEUE
from gateway.store.contract import StoreUnavailable
from gateway.web.api.application import PREFIX, add_api
from gateway.web.edge import Edge, Note
from gateway.web.guard import is_nearby
from gateway.web.problem import plain
from gateway.web.public.confirm import Confirm
from gateway.web.public.page import Pages
from gateway.web.public.preferences import Preferences
from gateway.web.public.sign_up import SignUp
from gateway.web.public.unsubscribe import Unsubscribe, failed
from gateway.web.public.why import Why
from gateway.web.session import Sessions
from gateway.web.site import Site
from gateway.web.staff.blocked import Blocked
from gateway.web.staff.campaigns import Campaigns
from gateway.web.staff.captured import Captured
from gateway.web.staff.consents import Consents
from gateway.web.staff.decisions import Decisions
from gateway.web.staff.desk import Desk
from gateway.web.staff.held import Held
from gateway.web.staff.login import Login
from gateway.web.staff.overview import Overview
from gateway.web.staff.people import People
from gateway.web.staff.rehearsals import Rehearsed
from gateway.web.staff.returns import Returns
from gateway.web.staff.rules import Rules
from gateway.web.staff.told import Told
from gateway.words import accepted

_A_YEAR = "public, max-age=31536000, immutable"


def build_app(site: Site, *, note: Note, version: str) -> FastAPI:
    """All pages over one site. `note` is told of every request (log.web_request): route, method, status, seconds."""
    pages, secure = Pages(site), site.config.public_url.startswith("https:")
    stop = Unsubscribe(site, pages)
    desk = Desk(site, Sessions(site.key("session"), secure=secure))
    app = FastAPI(
        title="Consentgate", version=version, openapi_url=f"{PREFIX}/openapi.json", docs_url=None, redoc_url=None
    )
    app.router.routes[:0] = [
        *stop.routes(), *Why(site, pages, stop).routes(), *Preferences(site, pages, stop).routes(),
        *SignUp(site, pages).routes(), *Confirm(site, pages).routes(),
        *Login(desk).routes(), *Overview(desk).routes(), *Campaigns(desk).routes(), *Blocked(desk).routes(),
        *Captured(desk).routes(), *Consents(desk).routes(), *Rehearsed(desk).routes(), *Decisions(desk).routes(),
        *People(desk).routes(), *Rules(desk).routes(), *Held(desk).routes(), *Told(desk).routes(),
        *Returns(desk).routes(), *_machine_routes(site, desk),
    ]  # fmt: skip
    add_api(app, site)
    app.add_middleware(
        Edge, proxies=site.config.trusted_proxies, https=secure, apology=partial(_apology, site), note=note,
        failed=failed,
    )  # fmt: skip

    async def refused(request: Request, error: Exception) -> Response:
        """404, 405 and their like as a page; says nothing about what is inside."""
        status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
        if request.url.path.startswith(PREFIX):
            return plain(status, headers).response()
        return _missing(pages, request, status, headers)

    app.add_exception_handler(HTTPException, refused)
    return app


def _machine_routes(site: Site, desk: Desk) -> list[Route]:
    """What machines ask: health, readiness, counters, style sheets."""

    async def healthz(request: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        """The store answers too, and there is room for mail."""
        try:
            await site.store.check()
        except Exception as error:  # whatever is wrong with it, we are not ready
            failed("readyz", error)
            return PlainTextResponse("not ready\n", 503)
        if full := site.full():  # a load balancer sends new mail to another node
            return PlainTextResponse(f"not ready: no room ({full})\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        """Counters, for this machine and private networks: how much a company mails is nobody else's business."""
        if not is_nearby(request):
            raise HTTPException(404)
        try:
            depths = await site.store.depths()
            QUEUE.set(sum(one.waiting for one in depths))
            HELD.set(sum(one.held for one in depths))
            for name, seconds in (await late(site.store, site.config.routes, site.clock())).items():
                LATE.labels(name).set(seconds)
        except StoreUnavailable as error:  # the other counters are worth having above all then
            failed("metrics", error)
        return Response(site.metrics(), 200, {"Content-Type": CONTENT_TYPE_LATEST})

    async def style(request: Request) -> Response:
        if request.url.path != desk.css_path:
            raise HTTPException(404)
        return Response(desk.css, 200, {"Cache-Control": _A_YEAR}, media_type="text/css")

    async def root(request: Request) -> Response:
        return RedirectResponse("/staff", 303)

    endpoints: dict[str, Callable[[Request], Awaitable[Response]]] = {
        "/healthz": healthz, "/readyz": readyz, "/metrics": metrics, "/static/{name}": style, "/": root,
    }  # fmt: skip
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]


def _missing(pages: Pages, request: Request, status: int, headers: object) -> Response:
    language = pages.language(request)
    kept = dict(headers) if isinstance(headers, dict) else {}
    return pages.notice(request, "missing", language, status=status, headers=kept)


def _apology(site: Site, accept_language: str) -> bytes:
    """What is said when nothing else can be said: no style, no links, no details."""
    language = site.words.pick(accepted(accept_language))
    say = site.words.text
    return site.words.render(
        "public/apology.html", language, heading=say(language, "fail.title"), text=say(language, "fail.text")
    ).encode()
