"""Signing up, with a clock that moves: what a form asks, what a confirmation does, and what goes again.

Invariants: whoever asks, the answer and the steps behind it are the same; only a POST of the link's own page confirms;
an opt-out that came later, and one that is not the person's own, stands; what nobody confirms leaves nothing behind.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import record
from gateway.disclose import hand_out
from gateway.sign_up import TRACE_KEPT
from gateway.store.evidence import Erasure
from gateway.testify import Witness, about_person
from gateway.web.public.shown_form import ShownForm
from suppression.fields import written
from tests.acme import NOW
from tests.story.sign_ups import Forms, forms

NEW, ANNA, BOB = "nieuw@example.org", "anna@example.org", "bob@example.org"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Forms]:
    async with forms(tmp_path) as made:
        yield made


async def test_the_form_says_what_it_has_to(here: Forms) -> None:
    async with here.world.client() as client:
        for language, withdraw in (
            ("nl", "altijd weer intrekken"), ("en", "at any time"), ("fr", "à tout moment"), ("de", "jederzeit"),
        ):  # fmt: skip
            page = await client.get(f"/s/acme/newsletter?lang={language}")
            assert page.status_code == 200 and f'lang="{language}"' in page.text
            boxes = re.findall(r'<input type="checkbox"[^>]*>', page.text)
            assert len(boxes) == 2 and not any("checked" in box for box in boxes)
            assert withdraw in page.text and "https://acme.example/privacy" in page.text
            assert "Acme Wijnen B.V." in page.text and 'name="birth"' not in page.text
            assert "set-cookie" not in page.headers and "<script" not in page.text
        assert (await client.get("/s/acme/nope")).status_code == 404
        assert (await client.get("/s/nope/newsletter")).status_code == 404


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"address": ANNA}, "purposes"),
        ({"address": "anna@", "purpose-newsletter": "yes"}, "address"),
        ({"purpose-newsletter": "yes"}, "address"),
        ({"address": ANNA, "purpose-other": "yes"}, "purposes"),
    ],
)
async def test_what_is_wrong_is_said_beside_the_field_and_kept_as_typed(
    here: Forms, said: dict[str, str], field: str
) -> None:  # fmt: skip
    async with here.world.client() as client:
        answer = await client.post("/s/acme/newsletter", data=said)
    assert answer.status_code == 422
    assert f'href="#{field}"' in answer.text and f'id="{field}-wrong"' in answer.text
    assert ("checked" in answer.text) == ("purpose-newsletter" in said)
    assert 'role="alert"' in answer.text and await here.mails() == 0


async def test_a_confirmed_sign_up_may_be_mailed(here: Forms) -> None:
    assert await here.code(NEW) == "RECIPIENT_UNKNOWN"
    token = await here.asked(NEW)
    assert await here.code(NEW) == "OPT_IN_PENDING_CONFIRMATION"
    assert await here.question_code(NEW) == "ALLOW_DOI_CONFIRMATION"
    for method in ("GET", "HEAD", "GET"):
        assert (await here.click(token, method)).status_code == 200
    assert await here.code(NEW) == "OPT_IN_PENDING_CONFIRMATION"
    here.later(hours=1)
    assert "U bent aangemeld" in (await here.click(token)).text
    assert await here.code(NEW) == "ALLOW_OPT_IN"
    assert await here.code(NEW, "events") != "ALLOW_OPT_IN"
    before = await here.entries(NEW)
    assert "Al bevestigd" in (await here.click(token)).text
    assert await here.entries(NEW) == before
    await here.rebuilt()


async def test_a_link_of_another_kind_or_person_confirms_nothing(here: Forms) -> None:
    token = await here.asked(NEW)
    for odd in (here.world.link(NEW), token[:-1] + ("A" if token[-1] != "A" else "B"), "x", token + "A"):
        assert (await here.click(odd)).status_code == 404
    assert await here.code(NEW) == "OPT_IN_PENDING_CONFIRMATION"


async def test_seven_days_and_not_longer(here: Forms) -> None:
    token = await here.asked(NEW)
    here.later(hours=168)
    assert (await here.click(token, "GET")).status_code == 200
    here.later(seconds=1)
    for method in ("GET", "POST"):
        answer = await here.click(token, method)
        assert answer.status_code == 410 and "verlopen" in answer.text and "/s/acme/newsletter" in answer.text
    assert await here.question_code(NEW) == "DOI_EXPIRED"
    assert await here.code(NEW) == "OPT_IN_PENDING_CONFIRMATION"


async def test_whoever_was_known_by_an_expired_sign_up_alone_is_forgotten(here: Forms) -> None:
    token = await here.asked(NEW)
    await here.world.consented(ANNA)
    await here.asked(ANNA, "events")
    here.later(hours=168, seconds=1)
    await here.world.sign_ups.sweep()
    nobody, anna = await here.person(NEW), await here.person(ANNA)
    assert not nobody.seen and not nobody.standing.known and nobody.suppressions == ()
    assert await here.entries(NEW) == ()
    assert anna.seen and [consent.purposes for consent in anna.standing.consents] == [("newsletter",)]
    assert [entry.kind for entry in await here.entries(ANNA)][-1] == "opt_in_expired"
    assert (await here.click(token)).status_code == 410
    assert await here.code(NEW) == "RECIPIENT_UNKNOWN" and await here.code(ANNA) == "ALLOW_OPT_IN"
    await here.rebuilt()
    again = await here.asked(NEW)
    assert "U bent aangemeld" in (await here.click(again)).text


async def test_where_a_sign_up_came_from_is_kept_for_twelve_months(here: Forms) -> None:
    token = await here.asked(NEW)
    await here.click(token)
    opened = here.world.tokens.open("confirm", token)
    assert opened is not None
    for later, kept in ((TRACE_KEPT, True), (timedelta(seconds=1), False)):
        here.world.now += later
        await here.world.sign_ups.sweep()
        found = await here.world.store.sign_up("acme", opened.message_id)
        assert (found is not None and found.trace["ip"] == "127.0.0.1") == kept
    assert await here.code(NEW) == "ALLOW_OPT_IN"


@pytest.mark.parametrize("reason", ["unsubscribe", "objection", "complaint"])
@pytest.mark.parametrize(("scope", "purpose"), [("sender", None), ("purpose", "newsletter")])
async def test_an_own_opt_out_of_before_ends_for_what_is_signed_up_for(
    here: Forms, reason: str, scope: str, purpose: str | None
) -> None:
    await here.world.bought(BOB)
    await here.suppress(BOB, reason, scope=scope, purpose=purpose)
    here.later(seconds=1)
    blocked = await here.code(BOB)
    token = await here.asked(BOB)
    assert await here.question_code(BOB) == "ALLOW_DOI_CONFIRMATION"
    assert await here.code(BOB) == blocked
    await here.click(token)
    assert await here.code(BOB) == "ALLOW_OPT_IN"
    others = await here.code(BOB, "events")
    assert (others == blocked) == (scope == "sender")
    [row] = await here.world.store.suppressions_of("acme", here.world.key(BOB))
    assert (row.lifted_at is None) == (scope == "sender")
    await here.rebuilt()


async def test_an_objection_lifted_for_one_purpose_is_told_so_to_the_person_and_in_a_proof(
    here: Forms, tmp_path: Path
) -> None:
    world = here.world
    await here.suppress(BOB, "objection")
    here.later(seconds=1)
    await here.click(await here.asked(BOB))
    acme = world.config.controllers["acme"]
    out = await hand_out(
        world.store, world.config, acme, world.ring, world.words, BOB, language="nl", by="test", now=world.now
    )  # fmt: skip
    [stop] = json.loads(out.files["access.json"])["opt_outs"]
    assert stop["lifted_at"] is None and [one["purpose"] for one in stop["lifted_for"]] == ["newsletter"]
    assert "opgeheven voor de nieuwsbrief" in out.files["access.html"].decode()
    witness = Witness(
        store=world.store, config=world.config, words=world.words, ring=world.ring, language="nl", by="test",
        now=world.now,
    )  # fmt: skip
    await about_person(witness, acme, BOB, tmp_path / "bob.zip")
    with zipfile.ZipFile(tmp_path / "bob.zip") as bundle:
        [told] = json.loads(bundle.read("opt_outs.json"))
        page = bundle.read("index.html").decode()
    assert list(told["lifted_for"]) == ["newsletter"] and "Opgeheven voor de nieuwsbrief op" in page


async def test_a_click_confirms_what_the_mail_asked_and_not_what_was_put_in_its_place(here: Forms) -> None:
    token = await here.asked(BOB)
    here.later(seconds=2)
    await here.suppress(BOB, "objection")
    here.later(seconds=2)
    [entry] = [one for one in await here.entries(BOB) if one.kind == "opt_in_requested"]
    now = written(here.world.now)
    later = {**entry.fields["double_opt_in"], "requested_at": now}
    corrected = {name: said for name, said in entry.fields.items() if name != "sign_up"}
    corrected |= {"double_opt_in": later, "given_at": now}
    await here.state(BOB, corrected)
    here.later(seconds=2)
    assert "Uw afmelding geldt" in (await here.click(token)).text
    assert await here.code(BOB) == "OBJECTED_TO_MARKETING"
    await here.state(BOB, {**corrected, "purposes": ["newsletter", "events"]})
    assert (await here.click(token)).status_code == 410
    assert await here.code(BOB) == await here.code(BOB, "events") == "OBJECTED_TO_MARKETING"


@pytest.mark.parametrize(("scope", "reason"), [("sender", "admin"), ("purpose", "admin")])
async def test_what_an_operator_forbade_stands_and_the_page_says_so(here: Forms, scope: str, reason: str) -> None:
    await here.suppress(BOB, reason, scope=scope, purpose="newsletter" if scope == "purpose" else None)
    here.later(seconds=1)
    answer = await here.click(await here.asked(BOB))
    assert "blokkade" in answer.text and "privacy@acme.example" in answer.text
    assert (await here.code(BOB)).startswith("SUPPRESSED")


async def test_whoever_is_on_a_list_of_hashes_is_told_that_something_stands(here: Forms) -> None:
    token = await here.asked(NEW)
    digest = hashlib.sha256(NEW.encode()).digest()
    await here.world.store.add_hashes("acme", [("sha256", digest)], at=here.world.now, dry=False)
    here.later(minutes=1)
    page = await here.click(token)
    assert "blokkade" in page.text and "U bent aangemeld" not in page.text
    assert await here.code(NEW) == "SUPPRESSED_SENDER"


async def test_an_opt_out_after_the_request_stands(here: Forms) -> None:
    token = await here.asked(BOB)
    here.later(seconds=2)
    await record.opt_out(here.world.store, here.stop_token(BOB), channel="page", now=here.world.now)
    assert await here.question_code(BOB) in ("SUPPRESSED_PURPOSE", "DOI_NOT_REQUESTED")
    here.later(seconds=2)
    answer = await here.click(token)
    assert "Uw afmelding geldt" in answer.text
    assert await here.code(BOB) == "SUPPRESSED_PURPOSE"


async def test_an_opt_out_after_the_confirmation_counts_like_any(here: Forms) -> None:
    await here.suppress(BOB, "objection")
    here.later(seconds=1)
    await here.click(await here.asked(BOB))
    here.later(seconds=2)
    await record.opt_out(
        here.world.store, here.stop_token(BOB), channel="page", whole_sender=True, now=here.world.now
    )  # fmt: skip
    assert await here.code(BOB) == "OBJECTED_TO_MARKETING"
    await here.rebuilt()


async def test_whoever_was_erased_may_come_back_for_what_they_sign_up_for(here: Forms) -> None:
    await here.world.consented(ANNA)
    keys = here.world.ring.recipient_keys("acme", ANNA)
    await here.world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=here.world.now, by="test"))
    here.later(seconds=1)
    token = await here.asked(ANNA)
    assert await here.world.store.forget_erased() == 0  # waiting for an answer is no unfinished erasure
    assert await here.code(ANNA) == "ERASED_DO_NOT_CONTACT"
    assert await here.question_code(ANNA) == "ALLOW_DOI_CONFIRMATION"
    await here.click(token)
    assert await here.code(ANNA) == "ALLOW_OPT_IN"
    assert await here.code(ANNA, "events") == "ERASED_DO_NOT_CONTACT"
    assert await here.world.store.forget_erased() == 0
    await here.rebuilt()
    here.later(seconds=2)
    await record.opt_out(here.world.store, here.stop_token(ANNA), channel="page", now=here.world.now)
    assert await here.code(ANNA) != "ALLOW_OPT_IN"
    await here.world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=here.world.now, by="test"))
    assert await here.code(ANNA) == "ERASED_DO_NOT_CONTACT" and not (await here.person(ANNA)).seen


async def test_whoever_came_back_and_is_erased_again_is_linked_to_nothing(here: Forms) -> None:
    world, keys = here.world, here.world.ring.recipient_keys("acme", ANNA)
    await here.suppress(ANNA, "objection")
    for again in (False, True):
        here.later(minutes=5)
        token = await here.asked(ANNA)
        here.later(minutes=5)
        await here.click(token)
        assert await here.code(ANNA) == "ALLOW_OPT_IN"
        await here.rebuilt()
        here.later(minutes=5)
        await world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=world.now, by="test"))
        assert await here.code(ANNA) == "ERASED_DO_NOT_CONTACT"
        await here.rebuilt()
        rows = await world.store.suppressions_of("acme", here.world.key(ANNA))
        assert len(rows) == 2 + again and all(row.lifted_for == () and row.lifted_at is None for row in rows)
    page = await world.store.chain_entries("acme", after=b"", upto=b"\xff" * 17, n=1000)
    named = [one.kind for one in page for row in rows if row.suppression_id.hex().encode() in one.public]
    assert named == [b"erasure", b"erasure"]
    assert not [one for one in page if one.kind != b"erasure" and here.world.key(ANNA).hex().encode() in one.public]


async def test_an_erased_person_who_does_not_confirm_is_gone_again(here: Forms) -> None:
    await here.world.consented(ANNA)
    keys = here.world.ring.recipient_keys("acme", ANNA)
    await here.world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=here.world.now, by="test"))
    here.later(seconds=1)
    await here.asked(ANNA)
    here.later(hours=169)
    await here.world.sign_ups.sweep()
    assert not (await here.person(ANNA)).seen and await here.code(ANNA) == "ERASED_DO_NOT_CONTACT"
    await here.rebuilt()


async def test_without_a_confirmation_no_opt_out_is_lifted(here: Forms) -> None:
    await here.suppress(BOB, "unsubscribe", scope="purpose", purpose="newsletter")
    here.later(seconds=1)
    assert (await here.send(BOB, "newsletter", form="single")).status_code == 200
    assert await here.code(BOB) == "SUPPRESSED_PURPOSE"
    assert (await here.send(NEW, "newsletter", form="single")).status_code == 200
    assert await here.code(NEW) == "ALLOW_OPT_IN" and await here.mails() == 0


async def test_whoever_asks_what_is_kept_reads_where_they_signed_up(here: Forms) -> None:
    world = here.world
    await here.asked(NEW, host="8.8.4.4")
    acme = world.config.controllers["acme"]
    out = await hand_out(
        world.store, world.config, acme, world.ring, world.words, NEW, language="nl", by="test", now=world.now
    )  # fmt: skip
    [one] = json.loads(out.files["access.json"])["sign_ups"]
    assert (one["ip"], one["confirmed"]) == ("8.8.4.4", False) and "python-httpx" in one["user_agent"]
    assert "8.8.4.4" in out.files["access.html"].decode()


# limits, and that nobody learns anything


async def test_one_mail_per_address_until_it_is_answered(here: Forms) -> None:
    token = await here.asked(NEW)
    for _ in range(3):
        await here.send(NEW, "newsletter", "events", host="8.8.4.4")
    assert await here.mails() == 1 and len(await here.entries(NEW)) == 1
    await here.click(token)
    await here.send(NEW, "events")
    assert await here.mails() == 2
    here.later(hours=168)
    await here.send(NEW, "events", host="8.8.8.8")
    assert await here.mails() == 3


async def test_a_network_and_a_form_have_their_measure(here: Forms) -> None:
    for n in range(7):
        assert (await here.send(f"a{n}@example.org", "newsletter", host=f"2a00:1450:1:2::{n}")).status_code == 200
    assert await here.mails() == 5  # one /64
    for n in range(7):
        assert (await here.send(f"b{n}@example.org", "newsletter", host=f"8.8.4.{n}")).status_code == 200
    assert await here.mails() == 6  # the form's eight an hour are used up by what was tried
    here.later(hours=1)
    await here.send("c@example.org", "newsletter", host="2a00:1450:1:2::9")
    assert await here.mails() == 7


async def test_a_measure_does_not_last_until_the_time_of_a_clock_that_was_set_back(here: Forms) -> None:
    here.later(hours=24 * 365)
    for n in range(9):
        await here.send(f"a{n}@example.org", "newsletter", host=f"8.8.4.{n}")
    assert await here.mails() == 8
    here.later(hours=-24 * 365)
    await here.send("a0@example.org", "newsletter", host="8.8.4.9")
    assert await here.mails() == 9


async def test_the_same_steps_and_the_same_answer_whoever_it_is(here: Forms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown, subscribed, opted out, erased, waiting, over the limit: one page, one sequence of calls behind it."""
    await here.world.consented("kent@example.org")
    await here.suppress("stop@example.org", "objection")
    gone = here.world.ring.recipient_keys("acme", "gone@example.org")
    await here.world.store.erase(Erasure(controller_id="acme", recipient_keys=gone, at=here.world.now, by="test"))
    await here.suppress("admn@example.org", "admin")
    here.later(seconds=1)
    await here.send("wait@example.org", "newsletter")
    calls: list[str] = []
    for name in ("people", "ask", "keep_wording", "sign_up", "address", "suppressions_of"):
        whole = getattr(here.world.store, name)

        async def counted(*args: Any, name: str = name, whole: Any = whole, **more: Any) -> Any:
            calls.append(name)
            return await whole(*args, **more)

        monkeypatch.setattr(here.world.store, name, counted)
    seen = set()
    for n, who in enumerate(("newb", "kent", "stop", "gone", "admn", "wait")):
        calls.clear()
        answer = await here.send(f"{who}@example.org", "newsletter", host=f"8.8.1.{n}")
        fields = tuple(sorted((k, v) for k, v in answer.headers.items()))
        seen.add((answer.status_code, answer.text.replace(who, "name"), fields, tuple(calls)))
    assert len(seen) == 1
    [(status, _, _, steps)] = seen
    assert status == 200 and steps == ("people", "ask")


async def test_a_store_that_is_down_is_no_success(here: Forms) -> None:
    token = await here.asked(NEW)
    await here.world.store.close()
    assert (await here.send(BOB, "newsletter")).status_code == 503
    for method in ("GET", "POST"):
        assert (await here.click(token, method)).status_code == 503


# children


async def test_an_adult_gives_their_birth_date_which_counts_once_confirmed(here: Forms) -> None:
    token = await here.asked(NEW, "events", form="youth", birth="14-03-1980")
    assert (await here.person(NEW)).standing.recipient.birth_date is None  # anybody could have said so
    await here.click(token)
    assert str((await here.person(NEW)).standing.recipient.birth_date) == "1980-03-14"
    assert await here.code(NEW, "events") == "ALLOW_OPT_IN"


@pytest.mark.parametrize("birth", ["", "32-01-1980", "3026-01-01", "1850-01-01", "gisteren"])
async def test_a_birth_date_that_is_none_is_asked_again(here: Forms, birth: str) -> None:
    answer = await here.send(NEW, "events", form="youth", birth=birth)
    assert answer.status_code == 422 and 'id="birth-wrong"' in answer.text


async def test_for_a_child_a_parent_is_asked_and_nothing_of_the_child_is_kept(here: Forms) -> None:
    child, parent = "kind@example.org", "ouder@example.org"
    birth = (NOW - timedelta(days=15 * 365)).date().isoformat()
    answer = await here.send(child, "events", form="youth", birth=birth)
    assert answer.status_code == 200 and "Een ouder moet dit goedvinden" in answer.text
    assert child not in answer.text and birth not in answer.text and "checked" not in answer.text
    assert "Daarna krijgt uw ouder of voogd" in answer.text and "bent u aangemeld" not in answer.text
    assert await here.mails() == 0 and not (await here.person(child)).seen
    token = await here.asked(parent, "events", form="youth", parent="yes")
    assert await here.code(parent, "events") == "AGE_UNVERIFIED"
    page = await here.click(token, "GET")
    assert "ouder of voogd" in page.text
    [consent] = (await here.person(parent)).standing.consents
    assert not consent.parental_authorisation
    await here.click(token)
    [consent] = (await here.person(parent)).standing.consents
    assert consent.parental_authorisation
    assert await here.code(parent, "events") == "ALLOW_OPT_IN"


async def test_a_form_that_asks_no_birth_date_takes_no_parent(here: Forms) -> None:
    token = await here.asked(NEW, parent="yes")
    await here.click(token)
    [consent] = (await here.person(NEW)).standing.consents
    assert not consent.parental_authorisation


# on a page of the controller's own


async def a_snippet(here: Forms, name: str = "newsletter") -> str:
    """The name of the wording of a snippet that was made."""
    world = here.world
    controller = world.config.controllers["acme"]
    shown = ShownForm(world.config, world.words, world.sign_ups.age)
    html, wording = shown.snippet(controller, controller.forms[name], "nl")
    assert html.count('type="checkbox"') == len(controller.forms[name].purposes) and "checked" not in html
    assert f'value="{wording.name}"' in html and 'action="http://127.0.0.1:8080/s/acme/' in html
    assert wording.layout in html.replace(f'<input type="hidden" name="wording" value="{wording.name}">\n', "")
    await world.store.keep_wording("acme", wording, at=world.now)
    return wording.name


async def test_a_form_on_the_controllers_own_page_is_proven_by_its_own_wording(here: Forms) -> None:
    wording = await a_snippet(here)
    said = {"address": NEW, "purpose-newsletter": "yes", "wording": wording}
    async with here.world.client(headers={"Origin": "https://shop.acme.example"}) as client:
        assert (await client.post("/s/acme/newsletter?lang=nl", data=said)).status_code == 200
    [consent] = (await here.person(NEW)).standing.consents
    assert consent.evidence.wording_version == wording
    assert consent.evidence.origin == "https://shop.acme.example"


@pytest.mark.parametrize(
    "claimed",
    ["https://evil.example", "https://acme.example.evil.example", "https://notacme.example", "null", "x" * 999,
     "https://acme.example:x/\\n", "https://[", "http://acme.example"],
)  # fmt: skip
async def test_a_strangers_link_does_not_come_into_our_mail(here: Forms, claimed: str) -> None:
    said = {"address": NEW, "purpose-newsletter": "yes"}
    async with here.world.client(headers={"Origin": claimed}) as client:
        assert (await client.post("/s/acme/newsletter?lang=nl", data=said)).status_code == 200
    [consent] = (await here.person(NEW)).standing.consents
    origin = str(consent.evidence.origin)
    assert origin.startswith("http://127.0.0.1:8080/s/acme/") or origin == "https://acme.example"


async def test_a_wording_that_this_form_has_not_is_not_believed(here: Forms) -> None:
    foreign = await a_snippet(here, "youth")
    await here.asked(BOB)
    own = (await here.person(BOB)).standing.consents[0].evidence.wording_version
    for odd in (foreign, "snippet newsletter nl 000000000000", own, "x" * 5000):
        answer = await here.send(NEW, "newsletter", wording=str(odd), host="8.8.4.4")
        assert "Wat wilt u ontvangen?" in answer.text and NEW in answer.text
        assert not (await here.person(NEW)).seen
