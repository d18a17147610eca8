"""POST /api/v1/consents: what proves a consent goes in, nothing about the person comes out.

Invariants: the answer follows from the request alone; the same request twice is one; no call lifts an opt-out; a wrong
field is named with its remedy and its value is not repeated.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store.evidence import Erasure
from tests.acme import NOW
from tests.story.sign_ups import Forms, forms

NEW, BOB, GONE = "nieuw@example.org", "bob@example.org", "gone@example.org"
WORDING = {
    "language": "nl", "layout": "Ja, stuur mij de nieuwsbrief.",
    "choices": [{"purpose": "newsletter", "text": "Ja, stuur mij de nieuwsbrief.", "ticked": False}],
}  # fmt: skip
CONSENT: dict[str, Any] = {
    "email": NEW, "purposes": ["newsletter"], "action": "active_tick", "method": "web form",
    "origin": "https://shop.acme.example/checkout", "wording_version": "checkout 3", "privacy_notice_version": "pn1",
    "bundled_with_terms": False, "conditional_on_service": False, "granular": True, "double_opt_in": False,
    "wording": WORDING,
}  # fmt: skip


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Forms]:
    async with forms(tmp_path) as made:
        made.key = await made.world.api_key("consents:write")
        yield made


async def post(here: Forms, key: str | None = None, **changes: Any) -> httpx.Response:
    body = {name: value for name, value in {**CONSENT, **changes}.items() if value is not ...}
    headers = {"Authorization": f"Bearer {here.key}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    async with here.world.client() as client:
        return await client.post("/api/v1/consents", json=body, headers=headers)


async def test_a_consent_with_its_evidence_counts_at_once(here: Forms) -> None:
    given = (NOW - timedelta(days=2)).isoformat()
    answer = await post(here, given_at=given, ip="8.8.4.4", user_agent="Shop/1", birth_date="1980-03-14", language="fr")
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "recorded" and set(answer.json()) == {"id", "state"}
    assert await here.code(NEW) == "ALLOW_OPT_IN" and await here.mails() == 0
    person = await here.person(NEW)
    [consent] = person.standing.consents
    assert consent.given_at == NOW - timedelta(days=2) and consent.id == answer.json()["id"]
    assert consent.evidence.origin == CONSENT["origin"] and consent.evidence.wording_version == "checkout 3"
    assert str(person.standing.recipient.birth_date) == "1980-03-14" and person.standing.language == "fr"
    kept = await here.world.store.wording("acme", "checkout 3")
    assert kept is not None and kept.wording.layout == WORDING["layout"]
    assert (await post(here, email=BOB, wording=...)).status_code == 201  # by its name, once it is on file
    await here.rebuilt()


async def test_with_double_opt_in_the_person_is_asked(here: Forms) -> None:
    answer = await post(here, double_opt_in=True, form="newsletter")
    assert (answer.status_code, answer.json()["state"]) == (201, "asked")
    assert await here.mails() == 1 and await here.code(NEW) == "OPT_IN_PENDING_CONFIRMATION"
    [asked] = [one for one in await here.entries(NEW) if one.kind == "opt_in_requested"]
    text = asked.fields["sign_up"]["mail"]["text"]
    assert "https://shop.acme.example/checkout" in text
    page = await here.click(text.partition("/c/")[2].split()[0])
    assert "U bent aangemeld" in page.text and await here.code(NEW) == "ALLOW_OPT_IN"
    again = await post(here, double_opt_in=True, form="newsletter", email=BOB)
    assert again.status_code == 201 and await here.mails() == 2


async def test_which_form_asks_has_to_be_said_where_there_are_several(here: Forms) -> None:
    for form in (..., "nope"):
        answer = await post(here, double_opt_in=True, form=form)
        [fault] = answer.json()["errors"]
        assert answer.status_code == 422 and fault["field"] == "form" and "newsletter" in fault["remedy"]


async def test_a_confirmation_of_ones_own_counts_as_such(here: Forms) -> None:
    here.later(minutes=10)
    answer = await post(here, double_opt_in=True, confirmed_at=NOW.isoformat())
    assert answer.json()["state"] == "recorded" and await here.mails() == 0
    [consent] = (await here.person(NEW)).standing.consents
    assert consent.double_opt_in.required and consent.double_opt_in.confirmed_at == consent.given_at == NOW
    assert await here.code(NEW) == "ALLOW_OPT_IN"


@pytest.mark.parametrize("by", ["key", "id"])
async def test_the_same_request_twice_is_one(here: Forms, by: str) -> None:
    more: dict[str, Any] = {"key": "order-1001"} if by == "key" else {"id": "order-1001"}
    first = await post(here, double_opt_in=True, form="newsletter", **more)
    entries = await here.entries(NEW)
    here.later(days=1)
    second = await post(here, double_opt_in=True, form="newsletter", **more)
    assert first.status_code == second.status_code == 201 and first.json() == second.json()
    assert await here.entries(NEW) == entries and await here.mails() == 1
    other = await post(here, double_opt_in=True, form="newsletter", email=BOB, **more)
    assert other.status_code == 409 and BOB not in other.text and await here.mails() == 1
    assert (await here.entries(BOB)) == ()


async def test_no_call_lifts_an_opt_out_and_the_answer_tells_nothing(here: Forms) -> None:
    await here.suppress(BOB, "unsubscribe")
    gone = here.world.ring.recipient_keys("acme", GONE)
    await here.world.store.erase(Erasure(controller_id="acme", recipient_keys=gone, at=NOW, by="test"))
    here.later(seconds=1)
    seen = set()
    for ask in (False, True):
        for address in (NEW, BOB, GONE):
            answer = await post(here, email=address, double_opt_in=ask, form="newsletter")
            said = {**answer.json(), "id": len(answer.json()["id"])}
            seen.add((answer.status_code, ask, str(said)))
    assert len(seen) == 2
    assert await here.code(BOB) == "SUPPRESSED_SENDER" and await here.code(GONE) == "ERASED_DO_NOT_CONTACT"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "anna@"}, "email"), ({"email": ...}, "email"), ({"purposes": []}, "purposes"),
        ({"purposes": ["newsletter", "gossip"]}, "purposes.1"), ({"action": "pre_ticked"}, "action"),
        ({"given_at": "2026-01-01T10:00:00"}, "given_at"), ({"given_at": "soon"}, "given_at"),
        ({"given_at": (NOW + timedelta(hours=1)).isoformat()}, "given_at"), ({"granular": "maybe"}, "granular"),
        ({"origin": "  "}, "origin"), ({"product_categories": ["boats"]}, "product_categories.0"),
        ({"wording": ...}, "wording_version"), ({"wording": {"layout": ""}}, "wording"),
        ({"confirmed_at": NOW.isoformat()}, "confirmed_at"), ({"birth_date": "3026-01-01"}, "birth_date"),
        ({"surprise": 1}, "surprise"), ({"anna@example.org": 1}, "(other)"),
        ({"bundled_with_terms": ...}, "bundled_with_terms"),
        ({"given_at": "0001-01-01T00:00:00+14:00"}, "given_at"), ({"origin": "our shop\r\nBcc: x@y.example"}, "origin"),
        ({"ip": "anna@example.org"}, "ip"), ({"ip": "8.8.4.256"}, "ip"), ({"ip": "fe80::1%anna@example.org"}, "ip"),
        ({"ip": 134744072}, "ip"), ({"id": "anna@example.org"}, "id"), ({"user_agent": "Shop\x1b[2J"}, "user_agent"),
        ({"method": "form\x1b[2J"}, "method"), ({"form": "a\0b"}, "form"),
        (
            {"double_opt_in": True, "given_at": NOW.isoformat(), "confirmed_at": (NOW - timedelta(days=1)).isoformat()},
            "confirmed_at",
        ),
    ],
)  # fmt: skip
async def test_a_wrong_field_is_named_with_its_remedy(here: Forms, changes: dict[str, Any], field: str) -> None:
    answer = await post(here, **changes)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    faults = {fault["field"]: fault for fault in answer.json()["errors"]}
    assert field in faults and faults[field]["remedy"] and faults[field]["detail"]
    assert "anna@" not in answer.text and not (await here.person(NEW)).seen


async def test_a_wording_once_kept_is_never_changed(here: Forms) -> None:
    assert (await post(here)).status_code == 201
    answer = await post(here, wording={**WORDING, "layout": "Something else"})
    assert answer.status_code == 409 and answer.json()["errors"][0]["field"] == "wording_version"


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff\xfe", b"[" * 30_000, b'"x"'])
async def test_what_is_no_object_is_refused(here: Forms, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {here.key}", "Content-Type": "application/json"}
    async with here.world.client() as client:
        answer = await client.post("/api/v1/consents", content=body, headers=headers)
    assert answer.status_code in (400, 422) and answer.headers["content-type"] == "application/problem+json"


async def test_a_key_without_the_scope_may_not(here: Forms) -> None:
    here.key = await here.world.api_key("decisions:read")
    answer = await post(here)
    assert answer.status_code == 403 and "consents:write" in answer.json()["detail"]
