"""POST /api/v1/consents: one consent given at the controller's own form, with what proves it (RULES.md 4.1).

The answer follows from the request alone: it never says whether the person was known, had opted out or was erased. A
consent recorded here lifts no opt-out; one that the person confirms from their mailbox does, as from our own form.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from gateway.config import Controller, Form
from gateway.sign_up import SaidOtherwise
from gateway.store.material import NameTaken
from gateway.web.api.door import Caller, Here, needs
from gateway.web.problem import Fault, Problem
from gateway.web.site import PATIENCE, Site
from gateway.wish import Wish
from gateway.words import Language
from suppression.address import canonical
from suppression.evidence import Wording, WordingError
from suppression.fields import FactsError, written

_CLOCKS_APART: Final = timedelta(minutes=5)
"""How far ahead of ours the caller's clock may be."""
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_ONE_LINE)]
"""One line: it is shown to staff, and in the mail that asks to confirm."""


def _ip(text: str) -> str:
    """An IP address as it is commonly written. A zone is a word of the machine it was read on, and part of none."""
    try:
        return str(ip_address("" if "%" in text else text))
    except ValueError:  # whose own words repeat what was sent
        raise ValueError("is no IPv4 or IPv6 address") from None


class ChoiceIn(BaseModel):
    """One box, line or question of the form."""

    model_config = ConfigDict(extra="forbid")
    purpose: Text | None = None
    text: Annotated[str, Field(max_length=4000)] = ""
    ticked: bool | None = Field(None, description="How the box stood when it was shown; null: no box.")


class WordingIn(BaseModel):
    """What the person was shown, word for word. Kept once under its name; a name stands for one content for ever."""

    model_config = ConfigDict(extra="forbid")
    language: Text | None = None
    choices: list[ChoiceIn] = []
    layout: Annotated[str, Field(max_length=48_000, description="The form as text, or its HTML.")] = ""
    layout_type: Literal["text/plain", "text/html"] = "text/plain"
    notice_version: Text | None = None
    notice_url: Text | None = None


class ConsentIn(BaseModel):
    """One consent, or one sign-up that is to be confirmed."""

    model_config = ConfigDict(extra="forbid")
    email: Annotated[str, Field(max_length=320, description="The person's address.")]
    purposes: Annotated[list[Text], Field(min_length=1, max_length=50, description="Each had a box of its own.")]
    action: Annotated[
        Literal["active_tick", "active_other", "signed", "oral_recorded"], Field(description="What the person did.")
    ]
    method: Annotated[Text, Field(description='How it was given, as "web form".')]
    origin: Annotated[Text, Field(description="Page, shop or event where it was given.")]
    wording_version: Annotated[Text, Field(description="Name of the wording shown: on file, or given in `wording`.")]
    privacy_notice_version: Annotated[
        Text | None, Field(description="Version of the notice linked there; without one the consent does not count.")
    ] = None
    bundled_with_terms: Annotated[bool, Field(description="Given together with accepting terms.")]
    conditional_on_service: Annotated[bool, Field(description="Something was refused without it.")]
    granular: Annotated[bool, Field(description="Each purpose could be chosen by itself.")]
    double_opt_in: Annotated[
        bool, Field(description="Ask the person to confirm: one mail leaves, and the consent counts once they did.")
    ] = True
    form: Annotated[
        Text | None, Field(description="Form in the settings whose mail asks; may be left out where there is one.")
    ] = None
    confirmed_at: Annotated[
        AwareDatetime | None, Field(description="When they confirmed from the mailbox, if you asked yourself.")
    ] = None
    given_at: Annotated[
        AwareDatetime | None, Field(description="With zone; absent: when it was confirmed, else now.")
    ] = None
    product_categories: Annotated[
        list[Text] | None, Field(max_length=200, description="Limits the consent to these; absent: no limit.")
    ] = None
    wording: WordingIn | None = None
    language: Literal["nl", "en", "fr", "de"] | None = None
    birth_date: date | None = None
    parental_authorisation: Annotated[bool, Field(description="A parent agreed, and you checked it.")] = False
    ip: Annotated[
        Annotated[Text, AfterValidator(_ip)] | None,
        Field(description="IPv4 or IPv6 address it came from; kept sealed, for twelve months."),
    ] = None
    user_agent: Annotated[str | None, Field(max_length=500, pattern=_ONE_LINE)] = None
    id: Annotated[
        Text | None,
        Field(description="Your name for this consent, not of the person; a second request is the same."),
    ] = None


class ConsentOut(BaseModel):
    """What was taken. `asked`: a mail asks to confirm where one may; `recorded`: the consent is on file."""

    id: str
    state: Literal["asked", "recorded"]


IdempotencyKey = Annotated[
    str | None, Header(max_length=200, min_length=1, description="A second request with the same key is the same one.")
]


router = APIRouter(tags=["consents"])


@router.post(
    "/consents", status_code=201, summary="Record a consent with what proves it",
    responses={409: {"description": "The id or Idempotency-Key stands for another request already."}},
)  # fmt: skip
async def add_consent(
    site: Here, caller: Annotated[Caller, Depends(needs("consents:write"))], body: ConsentIn,
    idempotency_key: IdempotencyKey = None,
) -> ConsentOut:  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        return await _take(site, caller, body, idempotency_key)


async def _take(site: Site, caller: Caller, body: ConsentIn, idempotency_key: str | None) -> ConsentOut:
    controller, now = caller.controller, site.clock().astimezone(UTC)
    asks = body.double_opt_in and body.confirmed_at is None
    form = _form(controller, body) if asks else None
    if faults := [*_faults(controller, body, now), *([] if form is not None or not asks else [_no_form(controller)])]:
        raise Problem(422, "The consent cannot be recorded.", faults=faults)
    await _keep_wording(site, controller, body, now)
    try:
        consent_id = await site.sign_ups.ask(
            controller, form, _wish(site, caller, body, idempotency_key, now, asks=asks), double_opt_in=asks
        )
    except SaidOtherwise:
        raise Problem(409, "This id or Idempotency-Key stands for another request. Use a new one.") from None
    return ConsentOut(id=consent_id, state="asked" if asks else "recorded")


def _form(controller: Controller, body: ConsentIn) -> Form | None:
    if body.form is not None:
        return controller.forms.get(body.form)
    return next(iter(controller.forms.values())) if len(controller.forms) == 1 else None


def _no_form(controller: Controller) -> Fault:
    known = ", ".join(controller.forms) or "none; add one to the settings"
    remedy = f"Known: {known}. Or say double_opt_in: false"
    return Fault("form", "names no form whose mail could ask to confirm", remedy)


def _faults(controller: Controller, body: ConsentIn, now: datetime) -> list[Fault]:
    """What the description cannot say: what is declared, and what cannot be."""
    faults = []
    if canonical(body.email) is None:
        faults.append(Fault("email", "is not an e-mail address", "Write it as name@example.com"))
    for field, said, declared in (
        ("purposes", body.purposes, controller.purposes),
        ("product_categories", body.product_categories or [], controller.categories),
    ):
        for n, name in enumerate(said):
            if name not in declared:
                known = ", ".join(declared) or "none"
                faults.append(Fault(f"{field}.{n}", "is not declared in the settings", f"Known: {known}"))
    for field, at in (("given_at", body.given_at), ("confirmed_at", body.confirmed_at)):
        if at is not None and at > now + _CLOCKS_APART:
            faults.append(Fault(field, "lies in the future", "Send when it happened; check the clock"))
        if at is not None and at < _EARLIEST:
            faults.append(Fault(field, "lies before 1970", "Send when it happened"))
    if body.confirmed_at is not None and body.given_at is not None and body.confirmed_at < body.given_at:
        faults.append(Fault("confirmed_at", "lies before given_at", "Send when they confirmed, after they asked"))
    if body.confirmed_at is not None and not body.double_opt_in:
        faults.append(Fault("confirmed_at", "stands beside double_opt_in: false", "Take one of them out"))
    if body.id is not None and "@" in body.id:  # it stands readable in the ledger, and no erasure reaches it there
        faults.append(Fault("id", "looks like an e-mail address", "Send a number: it outlives an erasure"))
    if body.birth_date is not None and body.birth_date > now.date():
        faults.append(Fault("birth_date", "lies in the future", "Send the date of birth"))
    return faults


async def _keep_wording(site: Site, controller: Controller, body: ConsentIn, now: datetime) -> None:
    """The wording is on file, or comes along and is kept under the name given."""
    if body.wording is None:
        if await site.store.wording(controller.id, body.wording_version) is None:
            remedy = "Send the text once in `wording`, or keep it with: consentgate consent wording add"
            fault = Fault("wording_version", "names no wording on file", remedy)
            raise Problem(422, "The consent cannot be recorded.", faults=[fault])
        return
    try:
        wording = Wording.from_dict(body.wording_version, body.wording.model_dump())
        await site.store.keep_wording(controller.id, wording, at=now)
    except (WordingError, FactsError) as wrong:
        fault = Fault("wording", str(wrong), "Send what the person was shown")
        raise Problem(422, "The consent cannot be recorded.", faults=[fault]) from None
    except NameTaken:
        fault = Fault("wording_version", "stands for another wording already", "Give the new text a new name")
        raise Problem(409, "A wording once kept is never changed.", faults=[fault]) from None


def _wish(
    site: Site, caller: Caller, body: ConsentIn, idempotency_key: str | None, now: datetime, *, asks: bool
) -> Wish:
    address = canonical(body.email)
    assert address is not None  # checked before
    given = written((body.given_at or body.confirmed_at or now).astimezone(UTC).replace(microsecond=0))
    language: Language = site.words.pick([body.language, caller.controller.language])
    record: dict[str, Any] = {
        "given_at": given, "product_categories": body.product_categories, "action": body.action,
        "bundled_with_terms": body.bundled_with_terms, "conditional_on_service": body.conditional_on_service,
        "granular": body.granular, "parental_authorisation": body.parental_authorisation,
    }  # fmt: skip
    if body.action in ("signed", "oral_recorded"):
        record["source"] = "own_paper" if body.action == "signed" else "own_oral"
    if body.confirmed_at is not None:
        confirmed = written(body.confirmed_at.astimezone(UTC).replace(microsecond=0))
        record["double_opt_in"] = {
            "required": True, "requested_at": given, "confirmed_at": confirmed, "mails_sent": 1,
        }  # fmt: skip
    if body.id is not None:
        record["id"] = body.id
    name = f"key {idempotency_key}" if idempotency_key is not None else f"id {body.id}"
    once = site.sign_ups.once(caller.controller, name, {"asks": asks, **body.model_dump(mode="json")})
    return Wish(
        address=address, purposes=tuple(dict.fromkeys(body.purposes)), language=language, at=now, ip=body.ip,
        user_agent=body.user_agent, birth_date=body.birth_date, record=record, told=True,
        speaks=body.language is not None,
        evidence={
            "method": body.method, "wording_version": body.wording_version,
            "privacy_notice_version": body.privacy_notice_version, "origin": body.origin,
        },
        once=once if idempotency_key is not None or body.id is not None else None,
    )  # fmt: skip
