"""The page of what came back: what waits, its reading and its answer, and a campaign that was stopped."""

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gateway.config import Config
from gateway.keys import key_ring
from gateway.store.contract import Store, Who
from gateway.store.staff import Staff
from tests.installation import newsletter
from tests.story.relay import Relay, fresh, relaying, with_store
from tests.story.reports import bounced, complained, replied, told

ANS, BEN, CAS, DAS, EEF, FEM, GEA, HAN, IDA = (
    f"{name}@example.org" for name in ("ans", "ben", "cas", "das", "eef", "fem", "gea", "han", "ida")
)
QUESTION = "Hoe komen jullie aan mijn adres? <script>alert(1)</script>"


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    installation = fresh(made, tmp_path_factory.mktemp("returns") / "installation")
    with relaying(installation) as running:
        running.agree(ANS, BEN, CAS, DAS, EEF, FEM, GEA, HAN, IDA)
        yield running


@pytest.fixture
def office(relay: Relay) -> Iterator[httpx.Client]:
    with contextlib.closing(signed_in(relay, "privacy")) as client:
        yield client


def signed_in(relay: Relay, name: str, *, password: str | None = None) -> httpx.Client:
    client = httpx.Client(base_url=f"http://127.0.0.1:{relay.installation.http_port}", timeout=30)
    said = password or relay.installation.passwords[name]
    form = {"form": form_of(client.get("/staff/login").text), "name": name, "password": said}
    assert client.post("/staff/login", data=form).status_code == 303
    return client


def form_of(page: str) -> str:
    found = re.search(r'name="form" value="([^"]+)"', page)
    return found[1] if found else ""


def fields(page: str) -> dict[str, str]:
    """What the forms of a page hand in."""
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))


def unclear(relay: Relay, who: str) -> None:
    mail = relay.passes(who, newsletter("vraag"))
    told(relay, mail.mail_from, replied(mail, QUESTION), sender=who)


def read(client: httpx.Client) -> str:
    """The first reply that waits, opened."""
    page = client.get("/staff/returns").text
    shown = client.post("/staff/returns/read", data=fields(page))
    assert shown.status_code == 200
    return shown.text


def test_a_reply_is_read_on_record_and_taken_for_no_objection(relay: Relay, office: httpx.Client) -> None:
    unclear(relay, ANS)
    listed = office.get("/staff/returns").text
    assert ANS not in listed and "@example.org" in listed and "Hoe komen" not in listed
    page = read(office)
    assert "Hoe komen jullie aan mijn adres? &lt;script&gt;" in page
    done = office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"})
    assert done.status_code == 200 and relay.passes(ANS, newsletter("toch weer"))
    again = office.post("/staff/returns/answer", data={**fields(page), "answer": "objection"})
    assert again.status_code == 422
    entries = with_store(relay.installation, lambda store, config: _kinds(store, config, ANS))
    assert entries.count("looked_at") >= 2 and "suppression_lifted" in entries


async def _kinds(store: Store, config: Config, address: str) -> list[str]:
    ring = key_ring(config)
    who = Who("acme", ring.recipient_keys("acme", address), ring.global_keys(address), address)
    [history] = await store.histories([who])
    return [entry.kind for entry in history.own.entries]


def test_who_waits_longest_is_listed_first(relay: Relay, office: httpx.Client) -> None:
    """However many come in behind: what is cut off of a long list is the newest."""
    for text in ("eerste vraag?", "tweede vraag?"):
        mail = f"From: <{text[:6]}@stranger.example>\r\nSubject: vraag\r\n\r\nEen {text}\r\n".encode()
        told(relay, "postmaster@bounce.acme.example", mail, sender="wie@stranger.example")
    for text in ("eerste vraag?", "tweede vraag?"):
        [row] = with_store(relay.installation, lambda store, config: store.came_back("acme", waiting=True, n=1))
        assert row.content["text"] == f"Een {text}"
        said = {**fields(read(office)), "report": row.report_id.hex(), "answer": "done"}
        assert office.post("/staff/returns/answer", data=said).status_code == 200


def test_an_objection_stays_one(relay: Relay, office: httpx.Client) -> None:
    unclear(relay, BEN)
    page = read(office)
    assert office.post("/staff/returns/answer", data={**fields(page), "answer": "objection"}).status_code == 200
    assert relay.kept_out(BEN, newsletter("daarna")) == "OBJECTED_TO_MARKETING"


def test_one_of_two_replies_opens_nothing(relay: Relay, office: httpx.Client) -> None:
    unclear(relay, CAS)
    unclear_again = relay.upstream.to(CAS)[0]
    told(relay, unclear_again.mail_from, replied(unclear_again, "En nog iets: wie bent u?"), sender=CAS)
    page = read(office)
    office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"})
    assert relay.kept_out(CAS, newsletter("daarna")) == "OBJECTED_TO_MARKETING"
    page = read(office)
    office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"})
    assert relay.passes(CAS, newsletter("toch weer"))


def test_what_somebody_says_clearly_outlives_the_answer_to_an_unclear_reply(relay: Relay, office: httpx.Client) -> None:
    unclear(relay, HAN)
    before = relay.upstream.to(HAN)[0]
    told(relay, before.mail_from, replied(before, "Stop hiermee, ik wil geen reclame meer ontvangen."), sender=HAN)
    page = read(office)
    assert office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"}).status_code == 200
    assert relay.kept_out(HAN, newsletter("daarna")) == "OBJECTED_TO_MARKETING"


def test_what_was_read_as_an_objection_outlives_the_answer_to_the_next_reply(
    relay: Relay, office: httpx.Client
) -> None:
    """Rows go after 24 months, and an objection does not: it stands apart from what was assumed."""
    unclear(relay, IDA)
    page = read(office)
    office.post("/staff/returns/answer", data={**fields(page), "answer": "objection"})
    stops = with_store(relay.installation, lambda store, config: _stops(store, config, IDA))
    assert sorted(stops) == ["reply", "staff"]


async def _stops(store: Store, config: Config, address: str) -> list[str]:
    ring = key_ring(config)
    rows = await store.suppressions_of("acme", ring.recipient_keys("acme", address)[0])
    assert all(row.reason == "objection" and row.scope == "sender" and row.lifted_at is None for row in rows)
    return [row.source for row in rows]


def test_no_objection_takes_two_once_two_may_agree(relay: Relay, office: httpx.Client) -> None:
    async def add(store: Store, config: Config) -> None:
        one = await store.staff("privacy")
        assert one is not None
        await store.put_staff(
            Staff(name="tweede", password_hash=one.password_hash, roles=("privacy",), controllers=()),
            datetime.now(UTC),
        )

    unclear(relay, DAS)
    with_store(relay.installation, add)
    page = read(office)
    office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"})
    assert relay.kept_out(DAS, newsletter("nog niet")) == "OBJECTED_TO_MARKETING"
    own = office.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"})
    assert own.status_code == 422
    with contextlib.closing(signed_in(relay, "tweede", password=relay.installation.passwords["privacy"])) as second:
        page = read(second)
        assert second.post("/staff/returns/answer", data={**fields(page), "answer": "no_objection"}).status_code == 200
    assert relay.passes(DAS, newsletter("toch weer"))


def test_a_marketer_sees_numbers_and_no_words(relay: Relay) -> None:
    mail = relay.passes(EEF, newsletter("vol"))
    told(relay, mail.mail_from, bounced(mail, status="5.2.2", said="smtp; 552 5.2.2 full"))
    with contextlib.closing(signed_in(relay, "marketer")) as client:
        page = client.get("/staff/returns").text
        assert EEF not in page and "552 5.2.2 full" in page and "/staff/returns/read" not in page
        assert client.post("/staff/returns/read", data={"form": form_of(page)}).status_code == 403


def test_a_stopped_campaign_says_why_and_goes_on_with_a_reason(relay: Relay, office: httpx.Client) -> None:
    named = b"X-Consentgate-Campaign: klachten\r\n" + newsletter("klachten")
    for who in (EEF, FEM, GEA):
        mail = relay.passes(who, named)
        told(relay, "abuse@bounce.acme.example", complained(mail), sender="fbl@provider.example")
    listing = office.get("/staff/campaigns?lang=nl").text
    found = re.search(r'/staff/campaigns/([0-9a-f]{20})">klachten', listing)
    assert found is not None
    page = office.get(f"/staff/campaigns/{found[1]}").text
    assert "Gestopt door klachten" in page and "3 van de 3" in page
    path = f"/staff/campaigns/{found[1]}/resume"
    assert "Gestopt door klachten" in office.post(path, data={"form": form_of(page), "why": " "}).text
    assert "gaat verder" in office.post(path, data={"form": form_of(page), "why": "nagebeld"}).text
    assert not relay.campaign("klachten").stopped


@pytest.mark.parametrize("language", ["nl", "en", "fr", "de"])
def test_the_page_speaks_every_language(relay: Relay, office: httpx.Client, language: str) -> None:
    page = office.get(f"/staff/returns?lang={language}")
    assert page.status_code == 200 and f'<html lang="{language}">' in page.text
