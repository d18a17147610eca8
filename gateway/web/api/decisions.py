"""Decisions: why a message was, or was not, sent; and what may be sent to somebody now.

By message id and copy number, or with the address in the body, so that none stands in a URL or a log (P9). Answers hold
no address. A GET tells the result without anything of the person and writes nothing (P4); what is known of a person is
told by a POST, and each such look is written to the ledger (RULES.md S5).
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway import explain, record
from gateway.config import Stream
from gateway.explain import Mine
from gateway.recall import lookup
from gateway.sentences import spoken
from gateway.store.history import Decided
from gateway.web.api.door import Caller, Here, needs
from gateway.web.problem import Fault, Problem
from gateway.web.site import PATIENCE, Site
from gateway.words import Language, accepted
from suppression.address import canonical

Verdict = Literal["allow", "block", "defer"]


class Said(BaseModel):
    """A decision explained. `explanation` has rule, articles, facts, since, until, remedy and actor."""

    explanation: dict[str, Any]
    text: str


class Result(Said):
    """The decision on one copy, without the facts of the person it rests on."""

    at: datetime
    stream: str
    campaign: str
    message_id: str
    copy_no: int = Field(serialization_alias="copy")
    state: str
    decision: Verdict
    reason_code: str
    cite: str
    packs: str


class DecisionTold(Result):
    """The same with the facts. `unknown`: why the facts of then cannot be had; `changed`: what rules and settings of
    now say on the facts of then, where that is another answer; `today`: the same message, asked now."""

    unknown: Literal["gone", "no_stream"] | None = None
    changed: Said | None = None
    today: Said | None = None


class Question(BaseModel):
    """May this address receive mail of this stream now? `purpose` and `category` as a message could choose them."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, Field(min_length=3, max_length=320)]
    stream: Annotated[str, Field(min_length=1, max_length=100)]
    purpose: Annotated[str | None, Field(max_length=100)] = None
    categories: Annotated[list[str] | None, Field(max_length=50)] = None


class Answer(Said):
    """What would be decided now. It is no permission: every message is decided on anew when it leaves."""

    stream: str
    decision: Verdict
    reason_code: str
    cite: str


router = APIRouter(tags=["decisions"])
_PATH: Final = "/decisions/{message_id}/{copy_no}"
_MISSING: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "There is no such copy."}}
Reader = Annotated[Caller, Depends(needs("decisions:read"))]
MessageId = Annotated[str, Path(max_length=40)]
CopyNo = Annotated[int, Path(ge=0, lt=1 << 31)]
Spoken = Annotated[
    str | None, Query(max_length=35, description="nl, en, fr or de; without it Accept-Language decides.")
]


@router.get(_PATH, summary="Whether a message was sent, by which rule, and what would help", responses=_MISSING)
async def result(
    site: Here, request: Request, caller: Reader, message_id: MessageId, copy_no: CopyNo, language: Spoken = None
) -> Result:
    async with asyncio.timeout(PATIENCE):
        one = await _stored(site, caller, message_id, copy_no)
    said = spoken(site.words, _language(site, request, language), explain.result_of(one), caller.controller)
    del said["explanation"]["facts"]  # they were not asked for; an empty list would say that there are none
    return Result(**_fields(one), **said)


@router.post(
    _PATH, summary="Why a message was, or was not, sent: the facts of the person; the look is on record",
    response_model_exclude_none=True, responses=_MISSING,
)  # fmt: skip
async def decision(
    site: Here, request: Request, caller: Reader, message_id: MessageId, copy_no: CopyNo, language: Spoken = None
) -> DecisionTold:
    controller, now = caller.controller, site.clock()
    async with asyncio.timeout(PATIENCE):
        one = await _stored(site, caller, message_id, copy_no)
        [told] = await explain.decisions(site.store, _mine(site), [one], now=now)
        await record.looked(
            site.store, controller.id, explain.on_file([told]), by=f"API key {caller.name}", now=now
        )  # fmt: skip
    said = explain.spoken_fields(site.words, _language(site, request, language), told, controller)
    return DecisionTold(**_fields(one), **said)


@router.post("/decisions", summary="May this address receive mail of a stream now, and why")
async def question(
    site: Here, request: Request, caller: Reader, asked: Question, language: Spoken = None
) -> Answer:  # fmt: skip
    controller, now = caller.controller, site.clock()
    _declared(asked, controller.streams)
    async with asyncio.timeout(PATIENCE):
        said = await explain.may_receive(
            site.store, _mine(site), controller, asked.address, streams=[asked.stream], purpose=asked.purpose,
            categories=asked.categories, now=now,
        )  # fmt: skip
        if canonical(asked.address) is not None:
            [person] = await site.store.people([lookup(site.ring, controller.id, None, asked.address)])
            known = [person.recipient_key] if person.seen else []
            await record.looked(site.store, controller.id, known, by=f"API key {caller.name}", now=now)
    one = said[asked.stream]
    told: dict[str, Any] = {"decision": one.verdict, "reason_code": one.code, "cite": one.articles}
    told |= spoken(site.words, _language(site, request, language), one, controller)
    return Answer(stream=asked.stream, **told)


async def _stored(site: Site, caller: Caller, message_id: str, copy_no: int) -> Decided:
    found = await site.store.decided(caller.controller.id, _message_id(message_id), copy_no)
    if found is None:
        raise _missing()
    return found


def _mine(site: Site) -> Mine:
    return Mine(config=site.config, scales=site.scales, ring=site.ring)


def _language(site: Site, request: Request, asked: str | None) -> Language:
    return site.words.pick([asked, *accepted(request.headers.get("accept-language"))])


def _fields(one: Decided) -> dict[str, Any]:
    """What is stored of a decision, for an answer."""
    return {
        "at": one.as_of, "stream": one.stream, "campaign": one.campaign, "message_id": str(UUID(bytes=one.message_id)),
        "copy_no": one.copy_no, "state": one.state, "decision": one.verdict, "reason_code": one.reason_code,
        "cite": one.cite, "packs": one.packs,
    }  # fmt: skip


def _message_id(text: str) -> bytes:
    """A message id, with dashes or without."""
    try:
        return UUID(text).bytes
    except ValueError:
        raise _missing() from None


def _missing() -> Problem:
    return Problem(404, "There is no such copy: the id is the last word of the reply to DATA, copies count from 0.")


def _declared(asked: Question, streams: Mapping[str, Stream]) -> None:
    """Whether stream, purpose and categories are declared; a Problem names what is not."""
    stream = streams.get(asked.stream)
    if stream is None:
        known = ", ".join(streams)
        raise Problem(422, "No such stream.", faults=[Fault("stream", "is not declared", f"Send one of: {known}.")])
    purposes = {stream.purpose, *stream.purposes} - {None}
    if asked.purpose is not None and asked.purpose not in purposes:
        remedy = f"Leave it out, or send one of: {', '.join(sorted(p for p in purposes if p)) or 'none'}."
        raise Problem(422, "No such purpose.", faults=[Fault("purpose", "is not one of the stream's", remedy)])
    if asked.categories is not None and not set(asked.categories) <= set(stream.categories):
        remedy = f"Leave them out, or send some of: {', '.join(stream.categories) or 'none'}."
        raise Problem(422, "No such category.", faults=[Fault("categories", "are not all the stream's", remedy)])
