"""The page of rules: what applies, what a sender changed, and rulings on similar products, with a second person.

Invariants: only whoever answers for privacy rules, on a form of their own session; what lets mail through waits for a
second person where two may agree (RULES.md S3); what keeps mail back counts at once.
"""

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway import rule
from tests.acme import OTHER, Acme, acme

MORE = (
    OTHER
    + """
[controllers.acme.categories.wine]
similar_to = ["spirits"]
motivation = "Drinks from one shop."
[controllers.acme.categories.spirits]
[controllers.acme.categories.clothing]
[controllers.acme.packs.NL]
soft_opt_in_max_months = 36
motivation.soft_opt_in_max_months = "Wine keeps for years."
"""
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path, more=MORE) as made:
        yield made


def form_value(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def ruling(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    """Send the form as a browser would, with some fields changed."""
    page = (await client.get("/staff/rules")).text
    sent = {
        "form": form_value(page), "controller": "acme", "first": "wine", "other": "clothing", "similar": "yes",
        "why": "Wie wijn koopt, kijkt niet op van een schort.",
    }  # fmt: skip
    return await client.post("/staff/rules", data={**sent, **fields})


async def test_the_packs_are_shown_with_what_this_sender_changed(world: Acme) -> None:
    client = await world.signed_in("mara", "marketer")
    page = html.unescape((await client.get("/staff/rules")).text)
    assert "Nederland" in page and "NL 1" in page and "1 juli 2021" in page and "Afwijking van Acme Wijnen" in page
    assert "wine en spirits" in page and "Drinks from one shop." in page
    assert 'name="why"' not in page, "a marketer does not rule"
    pack = html.unescape((await client.get("/staff/rules/packs/NL")).text)
    assert "Afwijking van Acme Wijnen: 36 maanden" in pack and "Wine keeps for years." in pack
    assert "[V] gelezen in de wettekst zelf" in pack and "Tw 11.7(1)" in pack
    assert "Verenigd Koninkrijk" in (await client.get("/staff/rules/packs/UK")).text
    for gone in ("/staff/rules/packs/XX", "/staff/rules/packs/NL?controller=other", "/staff/rules?controller=other"):
        assert (await client.get(gone)).status_code == 404


async def test_a_ruling_counts_at_once_where_nobody_else_could_agree(world: Acme) -> None:
    client = await world.signed_in("petra", "privacy")
    answer = await ruling(client)
    assert answer.status_code == 200 and "geldt vanaf nu" in answer.text
    [one] = await world.store.rulings("acme")
    assert (one.similar, one.state, one.by, one.channel) == (True, "in force", "petra", "web")
    assert "beoordeeld door petra" in answer.text
    found = (await world.store.people([world.who("wim@example.org")]))[0].ruled
    assert frozenset(("wine", "clothing")) in found.similar


async def test_what_lets_mail_through_waits_for_a_second_person(world: Acme) -> None:
    petra, pim = await world.signed_in("petra", "privacy"), await world.signed_in("pim", "privacy")
    assert "wacht op een tweede collega" in (await ruling(petra)).text
    person = [world.who("wim@example.org")]
    assert not (await world.store.people(person))[0].ruled.similar
    [proposed] = await world.store.rulings("acme")
    answer = {"controller": "acme", "proposal": proposed.ruling_id.hex(), "answer": "agree"}
    own = await petra.post(
        "/staff/rules/answer", data=answer | {"form": form_value((await petra.get("/staff/rules")).text)}
    )
    assert own.status_code == 422 and "Een andere collega moet akkoord gaan." in own.text
    page = (await pim.get("/staff/rules")).text
    assert "voorgesteld door petra" in page
    agreed = await pim.post("/staff/rules/answer", data=answer | {"form": form_value(page)})
    assert "geldt vanaf nu" in agreed.text and "beoordeeld door petra en pim" in agreed.text
    assert frozenset(("wine", "clothing")) in (await world.store.people(person))[0].ruled.similar
    again = await pim.post("/staff/rules/answer", data=answer | {"form": form_value(page)})
    assert again.status_code == 422 and "al beantwoord" in again.text


async def test_what_keeps_mail_back_counts_at_once_and_a_proposal_may_be_declined(world: Acme) -> None:
    petra, pim = await world.signed_in("petra", "privacy"), await world.signed_in("pim", "privacy")
    kept = await ruling(petra, other="spirits", similar="no", why="Jenever is geen wijn.")
    assert "geldt vanaf nu" in kept.text
    assert frozenset(("wine", "spirits")) in (await world.store.people([world.who("w@example.org")]))[0].ruled.apart
    await ruling(petra)
    [proposed] = rule.open_proposals(await world.store.rulings("acme"))
    page = (await pim.get("/staff/rules")).text
    sent = {"form": form_value(page), "controller": "acme", "proposal": proposed.ruling_id.hex(), "answer": "decline"}
    assert "is afgewezen" in (await pim.post("/staff/rules/answer", data=sent)).text
    assert rule.open_proposals(await world.store.rulings("acme")) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"other": "shoes"}, "Kies twee productgroepen uit de lijst."),
        ({"other": "wine"}, "Kies twee verschillende productgroepen"),
        ({"why": "  "}, "Schrijf op waarom."),
        ({"similar": "perhaps"}, "Kies een van beide antwoorden."),
    ],
)
async def test_a_ruling_that_makes_no_sense_is_told_beside_the_form(
    world: Acme, fields: dict[str, str], said: str
) -> None:
    client = await world.signed_in("petra", "privacy")
    answer = await ruling(client, **fields)
    assert answer.status_code == 422 and said in answer.text and 'role="alert"' in answer.text
    assert await world.store.rulings("acme") == []


async def test_nobody_rules_for_others_or_from_elsewhere(world: Acme) -> None:
    privacy = await world.signed_in("petra", "privacy")
    for fields in ({"form": "0" * 64}, {"controller": "other"}, {"form": ""}):
        assert (await ruling(privacy, **fields)).status_code == 403
    for role in ("marketer", "auditor", "administrator"):
        client = await world.signed_in(role, role)
        page = (await client.get("/staff/rules")).text
        sent = {"form": form_value(page), "controller": "acme", "first": "wine", "other": "clothing", "similar": "yes"}
        assert (await client.post("/staff/rules", data=sent | {"why": "x"})).status_code == 403
        assert (await client.post("/staff/rules/answer", data=sent)).status_code == 403
    bad = {"form": form_value((await privacy.get("/staff/rules")).text), "controller": "acme", "proposal": "zz"}
    assert (await privacy.post("/staff/rules/answer", data=bad)).status_code == 404
    assert await world.store.rulings("acme") == []


async def test_open_questions_lead_to_the_form(world: Acme) -> None:
    for name in ("wim", "kees"):
        await world.bought(f"{name}@example.org", "clothing")
    await world.send(
        {"wim@example.org": "PRODUCT_NOT_SIMILAR", "kees@example.org": "PRODUCT_NOT_SIMILAR"}, categories=("wine",)
    )
    client = await world.signed_in("petra", "privacy")
    page = html.unescape((await client.get("/staff/rules")).text)
    assert "2 personen kochten clothing en kregen daarom in de laatste 30 dagen geen mail over wine." in page
    link = re.search(r'href="(/staff/rules\?controller=acme&first=clothing&other=wine)#ruling"', page)
    assert link is not None
    chosen = (await client.get(link[1])).text
    assert '<option value="clothing" selected>' in chosen and '<option value="wine" selected>' in chosen
    assert "wim" not in page and "kees" not in page
    overview = (await client.get("/staff/campaigns")).text
    campaign = re.search(r'href="(/staff/campaigns/[0-9a-f]{20})"', overview)
    assert campaign is not None and "<dd>wine</dd>" in (await client.get(campaign[1])).text
    await ruling(client, first="clothing", other="wine", similar="no", why="Ja, die klant zou verbaasd zijn.")
    assert "niemand tegengehouden" in (await client.get("/staff/rules")).text


async def test_a_sender_without_categories_is_told_what_to_do(world: Acme) -> None:
    await world.staff("all", "privacy", controllers=())
    async with world.client(headers={"Accept-Language": "nl"}) as client:
        await client.post("/staff/login", data={"name": "all", "password": "proeverij op de kade"})
        page = (await client.get("/staff/rules?controller=other")).text
        assert "nog geen productgroepen" in page and 'name="why"' not in page
        assert '<option value="other" selected>' in page
