"""POST /api/v1/hooks/{provider}/{id}: a provider tells of bounces, complaints and unsubscribes.

No key: each provider proves itself in its own way. Of what is not proven nothing is stored, and no answer says more
than the provider needs to know.
"""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from gateway import log
from gateway.be_told import NotNow, Told
from gateway.hooks.fields import Malformed
from gateway.hooks.told import Post, Provider, Unproven
from gateway.store.hooked import Hook
from gateway.web.api.door import Here
from gateway.web.problem import Fault, Problem, described
from gateway.web.site import PATIENCE, Site

_REMEDY: Final = "Send it as the provider documents it; nothing of this entry was taken in."
_MOST_FAULTS: Final = 20
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "As the provider documents it: an SNS message, a list of events, or one event. At most 2 MiB.",
        "content": {
            "application/json": {"schema": {"anyOf": [{"type": "object"}, {"type": "array"}]}},
            "text/plain": {"schema": {"type": "string", "description": "SNS sends its JSON as this."}},
        },
    },
    "security": [],
}
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: described("It cannot be read; `errors` names each field. What could be read is in memory."),
    401: described("Nothing that proves the provider."),
    403: described("Signature, credentials, time or topic do not fit. Nothing was stored."),
    404: described("There is no such hook."),
}


class Taken(BaseModel):
    """What became of the request, once all of it is committed."""

    events: int
    repeats: int
    ignored: int


router = APIRouter(tags=["hooks"])


@router.post(
    "/hooks/{provider}/{hook_id}", summary="A provider tells of bounces, complaints and unsubscribes",
    openapi_extra=_BODY, responses=_REFUSALS,
)  # fmt: skip
async def told(
    site: Here,
    request: Request,
    provider: Provider,
    hook_id: Annotated[str, Path(max_length=64, description="As `consentgate hook add` printed it.")],
) -> Taken:
    async with asyncio.timeout(PATIENCE):
        hook = await site.be_told.hook(provider, hook_id)
        if hook is None:  # before anything of the body is read
            raise Problem(404, "There is nothing at this address.")
        async with site.be_told.room:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}
            done = await _told(site, hook, Post(body=await request.body(), headers=headers))
    if done.faults:
        raise _malformed(done.faults)
    return Taken(events=done.events, repeats=done.repeats, ignored=done.ignored)


async def _told(site: Site, hook: Hook, post: Post) -> Told:
    """What became of one request; every refusal as a Problem."""
    try:
        return await site.be_told(hook, post)
    except Unproven as why:
        raise _unproven(hook.provider, why) from None
    except Malformed as fault:
        raise _malformed((fault,)) from None
    except NotNow as why:
        log.hook_put_off(hook=hook.hook_id.hex(), provider=hook.provider, said=str(why))
        raise Problem(503, "Not now: nothing was stored. Send it again.", headers={"Retry-After": "60"}) from None


def _unproven(provider: str, why: Unproven) -> Problem:
    if not why.missing:
        return Problem(403, "This is not proven to come from the provider. Nothing was stored.")
    basic = {"WWW-Authenticate": 'Basic realm="hook", charset="UTF-8"'} if provider == "postmark" else {}
    return Problem(401, "Nothing proves that this comes from the provider. Nothing was stored.", headers=basic)


def _malformed(faults: tuple[Malformed, ...]) -> Problem:
    return Problem(
        400, "Not all of it can be read.", faults=[Fault(one.field, one.what, _REMEDY) for one in faults[:_MOST_FAULTS]]
    )
