"""What proves consents, on pages: the wording a recipient was shown, and the proof of a whole list for staff."""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway import appraise
from suppression.evidence import Choice, Wording
from suppression.provenance import ListSource
from tests.acme import NOW, OTHER, Acme, acme

ANNA, BOB = "anna@example.org", "bob@example.org"
FORM = Wording(
    name="w", language="nl", layout_type="text/html", notice_version="p3", notice_url="https://acme.example/privacy",
    choices=(Choice(purpose="newsletter", text="Ja, mail mij <nieuws>", ticked=False),),
    layout="<head><title>x</title></head><script>alert(1)</script><h1>Word lid</h1><p>Altijd   opzegbaar</p>"
    "<label><input type='checkbox'> Nieuws</label><label><input type=radio checked>Dagelijks</label>",
)  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        await made.consented(ANNA, BOB)
        yield made


async def why(world: Acme, **more: str) -> str:
    async with world.client(headers={"Accept-Language": "nl"}) as browser:
        answer: httpx.Response = await browser.get(f"/w/{world.link(ANNA, kind='why', **more)}")  # type: ignore[arg-type]
        assert answer.status_code == 200
        return answer.text


async def test_the_recipient_reads_what_they_were_shown_word_for_word(world: Acme) -> None:
    await world.store.keep_wording("acme", FORM, at=NOW)
    page = await why(world)
    assert "Ja, mail mij &lt;nieuws&gt;" in page
    assert 'aria-label="Leeg vakje:"' in page
    assert "Letterlijke tekst, versie w." in page
    assert 'href="https://acme.example/privacy"' in page
    assert "<p>Altijd opzegbaar</p>" in page
    assert "\N{BALLOT BOX} Nieuws" in page
    assert "\N{BALLOT BOX WITH CHECK} Dagelijks" in page
    assert "alert(1)" not in page


async def test_a_form_without_words_of_its_own_is_shown_whole(world: Acme) -> None:
    await world.store.keep_wording("acme", replace(FORM, choices=()), at=NOW)
    page = await why(world)
    assert "<p>Word lid</p>" in page
    assert "<details>" not in page


async def test_nothing_is_said_of_a_wording_that_is_not_on_file_or_not_the_ground(world: Acme) -> None:
    assert "Wat kreeg u toen te zien?" not in await why(world)
    await world.store.keep_wording("other", FORM, at=NOW)
    assert "Wat kreeg u toen te zien?" not in await why(world)
    await world.store.keep_wording("acme", FORM, at=NOW)
    assert "Wat kreeg u toen te zien?" not in await why(world, purpose="events")
    await world.bought(ANNA)
    assert "Wat kreeg u toen te zien?" not in await why(world, basis="soft_opt_in")


async def test_a_notice_that_is_no_web_page_is_no_link(world: Acme) -> None:
    await world.store.keep_wording("acme", replace(FORM, notice_url="javascript:alert(2)"), at=NOW)
    page = await why(world)
    assert "javascript" not in page
    assert "Letterlijke tekst" in page


async def test_staff_see_the_proof_of_the_list_and_what_would_raise_it(world: Acme) -> None:
    async with contextlib.aclosing(await world.signed_in("petra", "privacy")) as browser:
        assert "nog niet geteld" in (await browser.get("/staff/consents")).text
        await appraise.current(world.store, "acme", clock=world.clock)
        page = (await browser.get("/staff/consents")).text
        assert "Voor 2 mensen ligt een toestemming vast" in page
        assert "Zwak <strong>2</strong>" in page
        assert "Bewaar haar met: consentgate consent wording add" in page
        assert "Geen toestemming" not in page
        await world.store.keep_wording("acme", FORM, at=NOW)
        await appraise.current(world.store, "acme", clock=world.clock)
        page = (await browser.get("/staff/consents")).text
        assert "Goed <strong>2</strong>" in page
        assert "Bewaar haar met" not in page


async def test_staff_read_a_wording_and_see_which_lists_are_not_checked(world: Acme) -> None:
    digest = await world.store.keep_wording("acme", FORM, at=NOW)
    await world.store.keep_source(
        "acme", ListSource(name="expo2026", kind="purchased_list", seller="Expo <B.V.>", version=1), at=NOW
    )
    await appraise.current(world.store, "acme", clock=world.clock)
    async with contextlib.aclosing(await world.signed_in("mara", "marketer")) as browser:
        page = (await browser.get("/staff/consents")).text
        assert "Expo &lt;B.V.&gt;" in page
        assert "Uw eigen controle ontbreekt." in page
        [link] = re.findall(r'href="(/staff/consents/wordings/[^"]+)"', page)
        assert link == f"/staff/consents/wordings/acme/{digest.hex()}"
        wording = (await browser.get(link)).text
        assert "Ja, mail mij &lt;nieuws&gt;" in wording
        assert "<p>Altijd opzegbaar</p>" in wording
        assert "alert(1)" not in wording
        for wrong in (f"acme/{'0' * 64}", "acme/x", f"nobody/{digest.hex()}"):
            assert (await browser.get(f"/staff/consents/wordings/{wrong}")).status_code == 404
    await world.staff("otto", "privacy", controllers=["other"])
    async with world.client() as stranger:
        await stranger.post("/staff/login", data={"name": "otto", "password": "proeverij op de kade"})
        assert (await stranger.get(link)).status_code == 404


async def test_who_works_for_another_controller_sees_another_list(world: Acme) -> None:
    await appraise.current(world.store, "acme", clock=world.clock)
    await world.staff("otto", "privacy", controllers=["other"])
    await world.staff("olga", "operator")
    for name, status in (("otto", 200), ("olga", 403)):
        async with world.client(headers={"Accept-Language": "nl"}) as browser:
            await browser.post("/staff/login", data={"name": name, "password": "proeverij op de kade"})
            answer = await browser.get("/staff/consents")
            assert answer.status_code == status
            assert "Voor 2 mensen" not in answer.text
