"""Staff pages about one decision and one person: what each role sees, what is audited, what never stands in a URL."""

import contextlib
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from gateway.store.contract import Act
from gateway.store.evidence import Erasure
from suppression.ledger import CONTROLLER_KINDS, KINDS
from suppression.standing import BROUGHT_BY, SIGN_UP
from tests.acme import NOW, OTHER, Acme, acme, pressed
from tests.story.test_proof_pages import FORM

VERA, KEES, MIEN, ANS = "vera@example.org", "kees@example.org", "mien@example.org", "ans@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=OTHER) as made:
        await made.consented(VERA, MIEN, language="nl")
        await made.bought(KEES)
        made.now = NOW + timedelta(hours=1)
        async with made.client() as client:
            clicked = await client.post(f"/o/{made.link(VERA)}", data={"List-Unsubscribe": "One-Click"})
            assert clicked.status_code == 200
        made.now = NOW + timedelta(hours=2)
        yield made


def text_of(answer: httpx.Response) -> str:
    plain = re.sub(r"<[^>]*>", " ", answer.text)
    return " ".join(plain.split())


def form_value(page: httpx.Response) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page.text)
    assert found is not None
    return found.group(1)


async def looks(world: Acme, address: str = VERA) -> list[str]:
    [history] = await world.store.histories([world.who(address)])
    return [entry.fields["by"] for entry in history.own.entries if entry.kind == "looked_at"]


async def looked_up(client: httpx.AsyncClient, address: str, **more: str) -> httpx.Response:
    form = form_value(await client.get("/staff/people"))
    return await client.post("/staff/people", data={"form": form, "address": address, **more})


async def test_a_blocked_decision_says_because_of_what_since_when_and_what_now(world: Acme) -> None:
    message = await world.send({VERA: "SUPPRESSED_PURPOSE"})
    async with contextlib.aclosing(await world.signed_in("mia", "marketer")) as client:
        bare = await client.get(f"/staff/decisions/acme/{message}/0")
        told = text_of(bare)
        assert "Staat voor deze mails op de afmeldlijst." in told and "Regel C1." in told and "v***@" in told
        assert "Afmelding van" not in told and "Dit is zo sinds" not in told and "Vandaag" not in told
        assert await looks(world) == [] and f'action="/staff/decisions/acme/{message}/0"' in bare.text
        refused = await client.post(f"/staff/decisions/acme/{message}/0", data={"form": "0" * 64})
        assert refused.status_code == 403 and await looks(world) == []
        page = await pressed(client, f"/staff/decisions/acme/{message}/0")
        assert page.status_code == 200
        said = text_of(page)
        assert "Waarom is deze mail tegengehouden?" in said
        assert "Staat voor deze mails op de afmeldlijst." in said
        assert re.search(r"Afmelding van \d+ \w+ \d+ voor de nieuwsbrief\.", said)
        assert "Dit is zo sinds" in said and "Regel C1." in said and "SUPPRESSED_PURPOSE" in said
        assert "Vandaag zou het antwoord hetzelfde zijn." in said
        assert "v***@example.org" in said and VERA not in page.text
        assert "Alles over deze persoon" not in said
    assert await looks(world) == ["mia"]


async def test_an_allowed_decision_that_would_be_another_today_says_both(world: Acme) -> None:
    message = await world.send({VERA: "ALLOW_OPT_IN"})
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        assert VERA not in (await client.get(f"/staff/decisions/acme/{message}/0")).text
        said = text_of(await pressed(client, f"/staff/decisions/acme/{message}/0"))
        assert "Waarom mocht deze mail weg?" in said and "Heeft toestemming gegeven." in said
        assert "Regels of instellingen zijn sindsdien veranderd." in said
        assert "Vandaag zou het antwoord zijn: Tegengehouden. Staat voor deze mails op de afmeldlijst." in said
        assert VERA in said


async def test_the_list_of_blocked_says_since_when_and_links_to_the_whole(world: Acme) -> None:
    message = await world.send({VERA: "SUPPRESSED_PURPOSE", KEES: "RECIPIENT_UNKNOWN"})
    async with contextlib.aclosing(await world.signed_in("mia", "marketer")) as client:
        page = await client.get("/staff/blocked")
        assert f'href="/staff/decisions/acme/{message}/0"' in page.text
        assert "Dit is zo sinds" not in text_of(page)
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        assert VERA not in (await client.get("/staff/blocked")).text
        whole = await pressed(client, "/staff/blocked")
        assert text_of(whole).count("Dit is zo sinds") == 1 and VERA in whole.text
    assert await looks(world) == []


async def test_others_see_neither_and_what_is_not_there_is_not_there(world: Acme) -> None:
    message = await world.send({VERA: "RECIPIENT_UNKNOWN"})
    async with contextlib.aclosing(await world.signed_in("otto", "operator")) as client:
        assert (await client.get(f"/staff/decisions/acme/{message}/0")).status_code == 403
        assert (await client.get("/staff/people")).status_code == 403
    async with contextlib.aclosing(await world.signed_in("mia", "marketer")) as client:
        assert (await client.get("/staff/people")).status_code == 403
        for path in (f"acme/{message}/9", f"other/{message}/0", "acme/nonsense/0", f"acme/{message}/99999999999"):
            assert (await client.get(f"/staff/decisions/{path}")).status_code == 404
    assert await looks(world) == []


async def test_a_person_is_found_by_the_whole_address_in_a_post_and_the_look_is_on_record(world: Acme) -> None:
    message = await world.send({VERA: "SUPPRESSED_PURPOSE"})
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        page = await looked_up(client, f"  {VERA.upper()} ", controller="acme")
        assert page.status_code == 200
        said = text_of(page)
        assert VERA in said and f'href="/staff/decisions/acme/{message}/0"' in page.text
        assert re.search(r"newsletter Nee Tegengehouden\. Staat voor deze mails op de afmeldlijst\.", said)
        assert re.search(r"orders Nee Tegengehouden\. Servicemail zonder bestelling", said)
        assert "Toestemming vastgelegd Toestemming van" in said and "tekst w, herkomst form" in said
        assert "Gegevens over de persoon vastgelegd" in said
        again = text_of(await looked_up(client, VERA))
        assert "Gegevens ingezien door pia" in again
    assert await looks(world) == ["pia"] * 2
    assert all(VERA not in route for route, _, _ in world.requests)


async def test_each_consent_in_force_shows_how_good_its_proof_is_and_what_was_shown(world: Acme) -> None:
    digest = await world.store.keep_wording("acme", FORM, at=NOW)
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        page = await looked_up(client, MIEN)
        assert "Bewijs van toestemming" in page.text
        assert f'href="/staff/consents/wordings/acme/{digest.hex()}"' in page.text
        assert "Goed De aanmelding is niet vanuit de mailbox bevestigd." in text_of(page)
        assert "Bewijs van toestemming" not in (await looked_up(client, KEES)).text


async def test_the_auditor_sees_the_same_with_the_address_shortened(world: Acme) -> None:
    async with contextlib.aclosing(await world.signed_in("axel", "auditor")) as client:
        page = await looked_up(client, VERA)
        assert page.status_code == 200 and VERA not in page.text and "v***@example.org" in page.text
    assert await looks(world) == ["axel"]


async def test_from_a_decision_to_the_person_without_the_address_in_the_page(world: Acme) -> None:
    message = await world.send({KEES: "SUPPRESSED_PURPOSE"})
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        page = await client.get(f"/staff/decisions/acme/{message}/0")
        form = form_value(page)
        found = await client.post("/staff/people", data={"form": form, "decision": f"acme/{message}/0"})
        assert found.status_code == 200 and KEES in found.text
        assert "Klantrelatie vastgelegd Aankoop van" in text_of(found)
        for wrong in (f"other/{message}/0", f"acme/{message}/x", "acme", f"acme/{message}/{'9' * 30}"):
            assert (await client.post("/staff/people", data={"form": form, "decision": wrong})).status_code == 422


async def test_a_stranger_an_erased_person_a_typo_and_an_old_form(world: Acme) -> None:
    keys = world.who(VERA).recipient_keys
    await world.store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=world.now, by="test"))
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        stranger = text_of(await looked_up(client, "nobody@example.org"))
        assert "Van dit adres is hier niets vastgelegd." in stranger and "Is hier niet bekend." in stranger
        assert not (await world.store.people([world.who("nobody@example.org")]))[0].seen
        erased = await looked_up(client, VERA)
        assert "Deze persoon is gewist." in text_of(erased) and "Heeft gevraagd gewist te worden." in text_of(erased)
        typo = await looked_up(client, "no address")
        assert typo.status_code == 422 and 'role="alert"' in typo.text
        old = await client.post("/staff/people", data={"form": "x", "address": KEES})
        assert old.status_code == 403 and KEES not in old.text
    assert await looks(world, KEES) == []


async def test_every_kind_of_entry_about_a_person_has_its_words(world: Acme) -> None:
    for kind in frozenset(KINDS) - CONTROLLER_KINDS:
        for language in ("nl", "en", "fr", "de"):
            assert world.words.text(world.words.pick([language]), f"entry.{kind}")


async def test_the_timeline_says_what_an_import_or_a_sign_up_brought(world: Acme) -> None:
    # Their entries carry marks of their own beside the record: what was agreed and sold is told all the same.
    await world.consented(MIEN)
    [history] = await world.store.histories([world.who(MIEN)])
    consent = next(dict(entry.fields) for entry in history.own.entries if entry.kind == "consent")
    [history] = await world.store.histories([world.who(KEES)])
    sale = next(dict(entry.fields) for entry in history.own.entries if entry.kind == "sale")
    await world.store.record([
        Act(
            controller_id="acme", recipient_key=world.key(ANS), kind=kind, public={BROUGHT_BY: "01" * 16},
            private=record, at=world.now, address=ANS,
        )
        for kind, record in (("consent", consent | {SIGN_UP: {"form": "newsletter"}}), ("sale", sale))
    ])  # fmt: skip
    async with contextlib.aclosing(await world.signed_in("pia", "privacy")) as client:
        said = text_of(await looked_up(client, ANS))
    timeline = said.partition("Tijdlijn")[2]
    assert re.search(r"Toestemming vastgelegd Toestemming van \d+ \w+ \d+, voor de nieuwsbrief", timeline)
    assert re.search(r"Klantrelatie vastgelegd Aankoop van \d+ \w+ \d+, productgroep wine", timeline)
