"""The API as FastAPI sees it: one router under /api/v1, and every refusal as a problem document.

The description at /api/v1/openapi.json is made from the routes themselves, so it is right for what exists.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from gateway.web.api import consents, decisions, hooks, own_key
from gateway.web.api.door import Door
from gateway.web.problem import Fault, Problem, described
from gateway.web.site import Site

PREFIX: Final = "/api/v1"

_WHEN: Final = {
    401: "No key, or one that does not fit.", 403: "The key lacks the scope.", 413: "The body is too large.",
    422: "The body is not as described; `errors` names each field with its remedy.",
    429: "Too many wrong keys; see Retry-After.", 503: "Not now; nothing was stored.",
}  # fmt: skip
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {status: described(said) for status, said in _WHEN.items()}
"""How every route may refuse."""


_API: Final = APIRouter(prefix=PREFIX, responses=REFUSALS)
for _module in (own_key, consents, decisions, hooks):
    _API.include_router(_module.router)


def add_api(app: FastAPI, site: Site) -> None:
    """Put the API into the application. New route modules are named above."""
    app.state.site, app.state.door = site, Door(site)
    app.router.routes += _API.routes  # and not include_router, which would make all of them anew
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(RequestValidationError, _not_as_described)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _not_as_described(request: Request, error: Exception) -> Response:
    """What the description of a route rejects, in the API's own words and without what was sent."""
    assert isinstance(error, RequestValidationError)
    if any(fault["type"] == "json_invalid" for fault in error.errors()):
        return Problem(400, "The body is not JSON. Send it as UTF-8 with Content-Type: application/json.").response()
    faults = [_fault(fault) for fault in error.errors()]
    return Problem(422, "The request is not as described in /api/v1/openapi.json.", faults=faults).response()


_REMEDIES: Final = {"missing": "Add it.", "extra_forbidden": "Take it out, or look for a misspelling."}
_OURS: Final = re.compile(r"[a-z0-9_]{1,40}|[A-Z][a-z]+(-[A-Z][a-z]+)*")
"""Names that may be repeated to the caller: those of fields and headers. A name may be anything, an address too."""


def _fault(found: Mapping[str, Any]) -> Fault:
    """One finding of the validator. Its own text never quotes the value, but for what our checks say themselves."""
    place = [str(step) if _OURS.fullmatch(str(step)) else "(other)" for step in found["loc"] if step != "body"]
    detail = str(found["msg"]).removeprefix("Value error, ")
    remedy = _REMEDIES.get(found["type"], "Send a value as described for this field.")
    return Fault(field=".".join(place) or "body", detail=detail, remedy=remedy)
