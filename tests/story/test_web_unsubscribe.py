"""The pages behind the links in a mail: what they say, what they do, and above all what they do not do.

Invariants: GET and HEAD change nothing (P4); a 200 to a POST means the opt-out is committed (P3); nothing on a page or
in a URL names an address (P9); the same answer whoever asks (RULES.md 5.2.3).
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from gateway import record
from gateway.store.contract import Act, StoreUnavailable, Who
from gateway.web.public import form
from tests.acme import OTHER, SINCE, Acme, acme

ANNA, WIM, NIEMAND = "anna@example.org", "wim@example.org", "niemand@example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Acme]:
    async with acme(tmp_path) as made:
        await made.consented(ANNA)
        await made.bought(WIM)
        yield made


@pytest.fixture
async def browser(world: Acme) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(headers={"Accept-Language": "nl"}) as client:
        yield client


async def stands(world: Acme, address: str) -> list[tuple[str, str | None, str]]:
    """The opt-outs in force: scope, purpose, reason."""
    rows = await world.store.suppressions_of("acme", world.key(address))
    return [(row.scope, row.purpose, row.reason) for row in rows if row.lifted_at is None]


def hidden(page: str, name: str) -> list[str]:
    """The values of a page's hidden fields of that name, in order."""
    return re.findall(rf'<input type="hidden" name="{name}" value="([^"]*)">', page)


@pytest.mark.parametrize("path", ["u", "o"])
async def test_the_page_says_who_what_and_why_and_changes_nothing(
    world: Acme, browser: httpx.AsyncClient, path: str
) -> None:
    answer = await browser.get(f"/{path}/{world.link(ANNA)}")
    assert answer.status_code == 200
    assert '<html lang="nl">' in answer.text
    assert "<h1>De nieuwsbrief stopzetten</h1>" in answer.text
    assert f"omdat u zich op {world.words.day('nl', SINCE, _amsterdam())} aanmeldde voor de nieuwsbrief" in answer.text
    assert "a***@example.org" in answer.text and ANNA not in answer.text
    assert hidden(answer.text, "action") == ["purpose", "sender"]
    assert await stands(world, ANNA) == []


@pytest.mark.parametrize("kind", ["unsubscribe", "why", "preferences"])
async def test_head_answers_as_get_without_a_body(world: Acme, browser: httpx.AsyncClient, kind: str) -> None:
    letter = {"unsubscribe": "u", "why": "w", "preferences": "p"}[kind]
    url = f"/{letter}/{world.link(ANNA, kind=kind)}"  # type: ignore[arg-type]
    got, headed = await browser.get(url), await browser.head(url)
    assert (headed.status_code, headed.content) == (200, b"")
    assert dict(headed.headers) == dict(got.headers)
    assert await stands(world, ANNA) == []


@pytest.mark.parametrize("letter", ["u", "w", "p"])
async def test_a_link_of_one_kind_does_not_open_another_page(
    world: Acme, browser: httpx.AsyncClient, letter: str
) -> None:
    kinds = {"u": "unsubscribe", "w": "why", "p": "preferences"}
    for kind in set(kinds.values()) - {kinds[letter]}:
        answer = await browser.get(f"/{letter}/{world.link(ANNA, kind=kind)}")  # type: ignore[arg-type]
        assert answer.status_code == 404


async def test_the_button_stops_the_purpose_and_a_second_click_says_the_same(
    world: Acme, browser: httpx.AsyncClient
) -> None:
    url = f"/u/{world.link(ANNA)}?lang=nl"
    first = await browser.post(url, data={"action": "purpose"})
    assert first.status_code == 200
    assert "<h1>U krijgt de nieuwsbrief niet meer</h1>" in first.text
    assert "Dit geldt vanaf nu." in first.text
    assert re.search(r"Referentie [A-Z2-7]{5}", first.text)
    assert await stands(world, ANNA) == [("purpose", "newsletter", "unsubscribe")]
    second = await browser.post(url, data={"action": "purpose"})
    assert second.status_code == 200
    assert "<h1>U krijgt de nieuwsbrief niet meer</h1>" in second.text
    assert "Dat was al geregeld" in second.text
    assert len(await stands(world, ANNA)) == 1
    looked = await browser.get(url)
    assert "U hebt de nieuwsbrief al stopgezet." in looked.text
    assert hidden(looked.text, "action") == ["sender"]


async def test_all_marketing_of_the_sender_is_one_button_away_and_as_large(
    world: Acme, browser: httpx.AsyncClient
) -> None:
    page = (await browser.get(f"/u/{world.link(ANNA)}")).text
    buttons = re.findall(r"<button([^>]*)>([^<]+)</button>", page)
    assert buttons == [("", "Stop de nieuwsbrief"), ("", "Stop alle reclame van Acme Wijnen")]
    done = await browser.post(f"/u/{world.link(ANNA)}", data={"action": "sender"})
    assert "U krijgt geen reclame meer van Acme Wijnen" in done.text
    assert "Bestelbevestigingen en facturen blijft u wel krijgen." in done.text
    assert await stands(world, ANNA) == [("sender", None, "objection")]


async def test_mail_on_another_ground_than_opt_in_stops_the_whole_sender(
    world: Acme, browser: httpx.AsyncClient
) -> None:
    url = f"/u/{world.link(WIM, basis='soft_opt_in')}"
    page = (await browser.get(url)).text
    assert "Reclame van Acme Wijnen stopzetten" in page and "omdat u klant bent van Acme Wijnen" in page
    assert hidden(page, "action") == ["sender"]
    await browser.post(url)
    assert [(scope, purpose) for scope, purpose, _ in await stands(world, WIM)] == [("sender", None)]


async def test_a_cancelled_order_or_a_contest_is_not_called_a_purchase(world: Acme, browser: httpx.AsyncClient) -> None:
    document = await world.store.people([Who("acme", (world.key(WIM),), ())])
    bought = document[0].standing.sales[0].to_dict()
    later = (world.now - timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for more in ({"id": "s2", "kind": "contest"}, {"id": "s3", "status": "void"}):
        said = {**bought, "concluded_at": later, **more}
        act = Act(
            controller_id="acme", recipient_key=world.key(WIM), kind="sale", public={}, private=said, at=world.now,
        )  # fmt: skip
        assert await world.store.record([act]) == [True]
    page = (await browser.get(f"/u/{world.link(WIM, basis='soft_opt_in')}")).text
    assert f"u kocht er op {world.words.day('nl', SINCE, _amsterdam())}" in page


async def test_undo_from_the_confirmation_page_restores_what_stood(world: Acme, browser: httpx.AsyncClient) -> None:
    url = f"/u/{world.link(ANNA)}?lang=nl"
    value = hidden((await browser.post(url)).text, "value")[0]
    world.now += timedelta(minutes=10)
    undone = await browser.post(url, data={"action": "undo", "value": value})
    assert undone.status_code == 200
    assert "Teruggedraaid" in undone.text
    assert await stands(world, ANNA) == []


@pytest.mark.parametrize(
    "spoilt", ["late", "the clock was set back", "other link", "other opt-out", "longer", "none", "nonsense"]
)
async def test_undo_works_from_nowhere_else(world: Acme, browser: httpx.AsyncClient, spoilt: str) -> None:
    url = f"/u/{world.link(ANNA)}?lang=nl"
    value = hidden((await browser.post(url)).text, "value")[0]
    if spoilt == "late":
        world.now += timedelta(minutes=10, seconds=1)
    elif spoilt == "the clock was set back":  # how long ago the click was nobody knows: what was said stands
        world.now -= timedelta(hours=1)
    elif spoilt == "other link":
        url = f"/u/{world.link(ANNA, basis='soft_opt_in')}?lang=nl"
    else:
        id_, end, mac = value.split(".")
        later = f"{id_}.{int(end) + 600}.{mac}"
        value = {"other opt-out": f"{'f' * 32}.{end}.{mac}", "longer": later, "none": "", "nonsense": "..é."}[spoilt]
    answer = await browser.post(url, data={"action": "undo", "value": value})
    assert answer.status_code == 200
    assert "Terugdraaien kan niet meer" in answer.text
    assert len(await stands(world, ANNA)) == 1


async def test_a_second_click_long_after_offers_no_undo(world: Acme, browser: httpx.AsyncClient) -> None:
    url = f"/u/{world.link(ANNA)}?lang=nl"
    assert hidden((await browser.post(url)).text, "value")
    world.now += timedelta(minutes=11)
    assert hidden((await browser.post(url)).text, "value") == []


@pytest.mark.parametrize("source", ["staff", "import", "mail", "one-click"])
async def test_a_click_cannot_take_back_what_was_said_elsewhere(
    world: Acme, browser: httpx.AsyncClient, source: str
) -> None:
    token = world.tokens.open("unsubscribe", world.link(ANNA))
    assert token is not None
    said: dict[str, Any] = {"purpose": "newsletter", "reason": "unsubscribe", "source": source, "now": world.now}
    await record.suppress(world.store, "acme", token.recipient_key, **said)
    url = f"/u/{world.link(ANNA)}?lang=nl"
    assert hidden((await browser.post(url)).text, "value") == []


async def test_what_is_said_elsewhere_outlives_the_undo_of_a_click(world: Acme, browser: httpx.AsyncClient) -> None:
    url = f"/u/{world.link(ANNA)}?lang=nl"
    value = hidden((await browser.post(url)).text, "value")[0]
    token = world.tokens.open("unsubscribe", world.link(ANNA))
    assert token is not None
    world.now += timedelta(minutes=3)
    said: dict[str, Any] = {"purpose": "newsletter", "reason": "unsubscribe", "source": "staff", "now": world.now}
    assert not (await record.suppress(world.store, "acme", token.recipient_key, **said)).already
    assert "Teruggedraaid" in (await browser.post(url, data={"action": "undo", "value": value})).text
    assert await stands(world, ANNA) == [("purpose", "newsletter", "unsubscribe")]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (b"", None),
        (b"", "application/x-www-form-urlencoded"),
        (b'{"a": 1}', "application/json"),
        (b"\xff\x00garbage%%%", "application/x-www-form-urlencoded"),
        (b"--", "multipart/form-data"),
        (b"action=undo&value=x", "application/x-www-form-urlencoded"),
        (b"x" * 60_000, "text/plain"),
    ],
    ids=["as RFC 8058", "multipart", "nothing", "empty form", "JSON", "garbage", "broken multipart", "undo", "long"],
)
async def test_one_click_acts_whatever_its_body(world: Acme, content: bytes, kind: str | None) -> None:
    async with world.client() as provider:
        fields = {"Content-Type": kind} if kind else {}
        for _ in range(2):
            answer = await provider.post(f"/o/{world.link(ANNA)}", content=content, headers=fields)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers and "location" not in answer.headers
    assert await stands(world, ANNA) == [("purpose", "newsletter", "unsubscribe")]


async def test_one_click_has_no_rate_limit_and_no_cookie_is_ever_set(world: Acme) -> None:
    async with world.client() as provider:
        answers = [await provider.post(f"/o/{world.link(f'p{n}@example.org')}") for n in range(150)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("set-cookie" in answer.headers for answer in answers)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/u/kapot", "/o/kapot", "/u/" + "A" * 87, "/u/%00%ff", "/o/é"])
async def test_an_unreadable_link_leads_to_a_form(
    world: Acme, browser: httpx.AsyncClient, path: str, method: str
) -> None:
    answer = await browser.request(method, path)
    assert answer.status_code == 404
    assert "We herkennen deze link niet" in answer.text
    assert '<form method="post" action="/u/?lang=nl"' in answer.text
    assert 'type="email"' in answer.text


async def test_the_form_stops_known_and_unknown_alike_and_tells_nothing(
    world: Acme, browser: httpx.AsyncClient
) -> None:
    answers, waits, time = [], [], asyncio.get_running_loop().time
    for address in (ANNA, NIEMAND, ANNA):  # the last has nothing to write, and would be answered sooner
        began = time()
        answers.append(await browser.post("/u/?lang=nl", data={"address": address}))
        waits.append(time() - began)
    assert min(waits) >= form.ANSWER_AFTER - 0.01
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert ANNA not in answers[0].text
    assert [scope for scope, _, _ in await stands(world, ANNA)] == ["sender"]
    assert [scope for scope, _, _ in await stands(world, NIEMAND)] == ["sender"]


async def test_a_wrong_address_is_named_beside_the_field(world: Acme, browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/u/?lang=nl", data={"address": "anna<script>"})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text and 'aria-invalid="true"' in answer.text
    assert "<script>" not in answer.text and "anna&lt;script&gt;" in answer.text


async def test_typing_addresses_without_end_is_slowed(world: Acme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "ANSWER_AFTER", 0)
    async with world.client(host="203.0.113.9") as flood, world.client(host="203.0.113.10") as other:
        statuses = [(await flood.post("/u/", data={"address": f"a{n}@example.org"})).status_code for n in range(61)]
        assert statuses == [200] * 60 + [429]
        assert (await other.post("/u/", data={"address": "b@example.org"})).status_code == 200
        world.now += timedelta(hours=1)
        assert (await flood.post("/u/", data={"address": "c@example.org"})).status_code == 200


async def test_nobody_is_slowed_until_the_time_of_a_clock_that_was_set_back(
    world: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "ANSWER_AFTER", 0)
    async with world.client(host="203.0.113.9") as flood:
        for n in range(61):
            slowed = await flood.post("/u/", data={"address": f"a{n}@example.org"})
        assert slowed.status_code == 429
        world.now -= timedelta(days=365)
        assert (await flood.post("/u/", data={"address": "c@example.org"})).status_code == 200


@pytest.mark.parametrize("path", ["/u/", "/o/"])
async def test_a_store_that_is_away_is_503_and_never_200(
    world: Acme, browser: httpx.AsyncClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = world.link(ANNA)
    await world.store.name(1)
    real = world.store.opt_out

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(world.store, "opt_out", away)
    answer = await browser.post(f"{path}{link}")
    assert answer.status_code == 503
    assert "Uw keuze is nog niet opgeslagen" in answer.text
    assert "privacy@acme.example" in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert await stands(world, ANNA) == []
    monkeypatch.setattr(world.store, "opt_out", real)
    assert (await browser.post(f"{path}{link}")).status_code == 200
    assert len(await stands(world, ANNA)) == 1


async def test_a_closed_database_is_503_on_every_page(world: Acme, browser: httpx.AsyncClient) -> None:
    links = [f"/u/{world.link(ANNA)}", f"/w/{world.link(ANNA, kind='why')}"]
    await world.store.close()
    for link in links:
        assert (await browser.get(link)).status_code == 503
    assert (await browser.post(links[0])).status_code == 503
    assert (await browser.post(f"/o/{world.link(ANNA)}")).status_code == 503
    assert (await browser.get("/readyz")).status_code == 503
    assert (await browser.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("asked", "accept", "spoken"),
    [
        ("", "fr-BE, nl;q=0.5", "nl"),  # the stream's language is known: the mail was in Dutch
        ("?lang=fr", "nl", "fr"),
        ("?lang=de", "", "de"),
        ("?lang=xx", "en", "nl"),
    ],
)
async def test_language_is_asked_then_that_of_the_mail(world: Acme, asked: str, accept: str, spoken: str) -> None:
    async with world.client(headers={"Accept-Language": accept}) as client:
        answer = await client.get(f"/u/{world.link(ANNA)}{asked}")
        assert f'<html lang="{spoken}">' in answer.text
        assert answer.headers["content-language"] == spoken
        action = re.search(r'<form method="post" action="([^"]+)"', answer.text)
        assert action is not None
        assert f'<html lang="{spoken}">' in (await client.post(action[1])).text


async def test_the_persons_own_language_wins_over_the_streams(world: Acme, browser: httpx.AsyncClient) -> None:
    await world.consented("luc@example.org", language="fr")
    answer = await browser.get(f"/u/{world.link('luc@example.org')}")
    assert "Ne plus recevoir la newsletter" in answer.text


async def test_why_gives_the_ground_and_the_way_out(world: Acme, browser: httpx.AsyncClient) -> None:
    page = (await browser.get(f"/w/{world.link(ANNA, kind='why')}")).text
    assert "U gaf zelf toestemming voor de nieuwsbrief." in page
    assert "AVG 6(1)(a), 7" in page
    assert world.words.day("nl", SINCE, _amsterdam()) in page
    assert "Acme Wijnen B.V." in page and "a***@example.org" in page
    action = re.search(r'<form method="post" action="(/u/[^"]+)"', page)
    assert action is not None
    assert (await browser.post(action[1])).status_code == 200
    assert await stands(world, ANNA) == [("purpose", "newsletter", "unsubscribe")]
    customer = (await browser.get(f"/w/{world.link(WIM, kind='why', basis='soft_opt_in')}")).text
    assert "eigen, vergelijkbare producten" in customer and "ePrivacyrichtlijn 13(2)" in customer


async def test_choices_offer_each_purpose_and_everything(world: Acme, browser: httpx.AsyncClient) -> None:
    page = (await browser.get(f"/p/{world.link(ANNA, kind='preferences')}")).text
    actions = re.findall(r'<form method="post" action="(/u/[^"]+)"', page)
    assert re.findall(r"<button>([^<]+)<", page) == [
        "Stop de nieuwsbrief", "Stop uitnodigingen voor proeverijen", "Stop alle reclame van Acme Wijnen"
    ]  # fmt: skip
    done = await browser.post(actions[1], data={"action": "purpose"})
    assert "U krijgt uitnodigingen voor proeverijen niet meer" in done.text
    assert await stands(world, ANNA) == [("purpose", "events", "unsubscribe")]
    await browser.post(actions[2], data={"action": "sender"})
    assert {scope for scope, _, _ in await stands(world, ANNA)} == {"purpose", "sender"}


async def test_a_link_outlives_what_we_know_of_the_person(world: Acme, browser: httpx.AsyncClient) -> None:
    page = await browser.get(f"/u/{world.link('never.seen@example.org')}")
    assert page.status_code == 200 and "@example.org" not in page.text
    done = await browser.post(f"/u/{world.link('never.seen@example.org')}")
    assert done.status_code == 200
    assert len(await stands(world, "never.seen@example.org")) == 1


@pytest.mark.parametrize("path", ["u", "o"])
async def test_a_link_of_a_controller_that_is_gone_leads_to_the_form(
    world: Acme, browser: httpx.AsyncClient, path: str
) -> None:
    token = world.tokens.open("unsubscribe", world.link(ANNA))
    assert token is not None
    gone = world.tokens.make(replace(token, controller_no=999_999))
    for method in ("GET", "POST"):
        answer = await browser.request(method, f"/{path}/{gone}")
        assert answer.status_code == 404
        assert 'type="email"' in answer.text


async def test_pages_let_nothing_in_and_nothing_out(world: Acme, browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/u/{world.link(ANNA)}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
    assert "unsafe" not in policy and "script" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "noindex" in answer.headers["x-robots-tag"]
    assert "set-cookie" not in answer.headers
    assert "<script" not in answer.text and " on" not in re.sub(r">[^<]*<", "><", answer.text)
    outside = set(re.findall(r'(?:src|href|action)="(https?:[^"]+)"', answer.text))
    assert outside == {"https://acme.example/privacy"}


async def test_with_two_controllers_a_page_without_a_link_names_neither(tmp_path: Path) -> None:
    async with acme(tmp_path, more=OTHER) as world, world.client(headers={"Accept-Language": "nl"}) as client:
        lost = await client.get("/u/kapot")
        assert "Acme" not in lost.text and "Other" not in lost.text
        await client.post("/u/", data={"address": ANNA})
        for controller in ("acme", "other"):
            rows = await world.store.suppressions_of(controller, world.key(ANNA, controller))
            assert [row.scope for row in rows] == ["sender"]


async def test_requests_are_noted_without_their_tokens(world: Acme, browser: httpx.AsyncClient) -> None:
    await browser.get(f"/u/{world.link(ANNA)}")
    await browser.head(f"/o/{world.link(ANNA)}")
    await browser.get("/anna@example.org")
    assert world.requests == [("u", "GET", 200), ("o", "HEAD", 200), ("other", "GET", 404)]


def _amsterdam() -> ZoneInfo:
    return ZoneInfo("Europe/Amsterdam")
