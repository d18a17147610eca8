"""Advertising sent over a service login, seen from the tool, the recipient, the reports and the pages."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import question
from gateway.config import Config
from gateway.keys import key_ring, signers
from gateway.notice import Notices
from gateway.store.contract import Store
from gateway.weigh import Scales
from gateway.words import Words
from tests.installation import ANNA, NIEMAND, Installation, consentgate, lines_of, newsletter, order
from tests.story.relay import Relay, fresh, load_people, relaying, with_store
from tests.story.test_rehearsal_pages import browser

ORDERS = '[controllers.acme.streams.orders]\nclass = "transactional"\n'
FROM = {"login": "orders", "sender": "orders@acme.example"}
OFFER = "From: Acme <orders@acme.example>\r\nTo: a@b.example\r\nSubject: {}\r\n\r\n{}\r\n"
SALE = OFFER.format("20% korting", "Alleen vandaag 20% korting op alle wijnen. Bestel nu!").encode()


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    place = fresh(made, tmp_path / "installation")
    load_people(place)
    return place


@pytest.fixture
def relay(installation: Installation) -> Iterator[Relay]:
    with relaying(installation) as running:
        yield running


def test_an_offer_counts_as_marketing_and_the_sender_is_told(relay: Relay) -> None:
    code, text = relay.send(NIEMAND, SALE, **FROM)
    assert (code, text.split()[:2]) == (550, ["5.7.1", "PURPOSE_MISSING"])
    [row] = [row for row in relay.blocked() if row.message_id == text.split()[-1]]
    assert (row.stream, row.reason_code) == ("orders", "PURPOSE_MISSING")
    assert "event=mislabelled" in relay.gateway.log() and "handling=block" in relay.gateway.log()
    relay.passes(NIEMAND, order(NIEMAND), **FROM)


def test_bulk_fields_say_it_without_any_words(relay: Relay) -> None:
    for field in (b"Precedence: bulk\r\n", b"List-Unsubscribe: <https://t.example/u>\r\n"):
        code, text = relay.send(ANNA, field + order(ANNA), **FROM)
        assert (code, text.split()[1]) == (550, "PURPOSE_MISSING")


def test_a_template_that_everybody_gets_passes_however_many_get_it(relay: Relay) -> None:
    """A password reset never vanishes: one text to more people than the window asks for, one by one and at once."""
    reset = (
        "From: Acme <orders@acme.example>\r\nTo: {0}\r\nSubject: Nieuw wachtwoord\r\n\r\nBeste klant,\r\n\r\nJe hebt "
        "gevraagd om een nieuw wachtwoord. Klik op https://acme.example/r/{1} en kies er een. Niet gevraagd? Dan hoef "
        "je niets te doen; je wachtwoord blijft zoals het was.\r\n"
    )
    people = [f"klant{n}@example.net" for n in range(120)]
    relay.taken(people[:70], reset.format("klanten@example.net", 1).encode(), **FROM)
    for n, address in enumerate(people[70:90]):
        relay.taken(address, reset.format(address, n).encode(), **FROM)
    relay.drained()
    assert sum(len(relay.upstream.to(address)) for address in people[:90]) == 90
    assert "event=mislabelled" not in relay.gateway.log()


def test_who_agreed_to_the_purpose_gets_it_with_a_way_out(installation: Installation) -> None:
    installation.change(ORDERS, ORDERS + 'purpose = "newsletter"\ncategories = ["wine"]\n')
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, SALE, **FROM)
        assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert relay.passes(ANNA, order(ANNA), **FROM).message["List-Unsubscribe"] is None


def test_a_stream_may_let_it_pass_and_report_it(installation: Installation) -> None:
    motive = 'mislabelled = "allow-and-flag"\nmotivation.mislabelled = "Our order mail shows what else we sell."\n'
    installation.change(ORDERS, ORDERS + motive)
    with relaying(installation) as relay:
        named = relay.taken(NIEMAND, SALE, **FROM)
        relay.upstream.until(lambda: bool(relay.upstream.to(NIEMAND)))
        assert relay.upstream.to(NIEMAND)[0].message["List-Unsubscribe"] is None, "it is sent as service mail"
        assert "handling=flag" in relay.gateway.log()
        assert named in relay.gateway.log()
        relay.passes(NIEMAND, order(NIEMAND), **FROM)
    rows = installation.report("campaigns")
    assert {row["subject"]: row["flagged"] for row in rows} == {"20% korting": 1, "Bestelling 1001": 0}


def test_letting_it_pass_wants_a_motivation(installation: Installation) -> None:
    installation.change(ORDERS, ORDERS + 'mislabelled = "allow-and-flag"\n')
    done = consentgate("check-config", "--config", installation.config)
    assert done.returncode == 1
    assert b"motivation.mislabelled" in done.stdout + done.stderr


def test_marketing_streams_are_not_looked_at(relay: Relay) -> None:
    relay.passes(ANNA, newsletter("Alleen vandaag 20% korting"))
    assert "event=mislabelled" not in relay.gateway.log()


HOLD = ORDERS + 'mislabelled = "hold"\n'


def held(relay: Relay) -> list[dict[str, Any]]:
    return lines_of(relay.installation.tool("queue", "list", "--held", "--json"))


def sale(n: int) -> bytes:
    """One campaign: the subject has a number, the text is the same but for a name and a link."""
    text = f"Beste Klant{n},\r\n\r\nAlleen vandaag 20% korting op alle wijnen uit Spanje en Frankrijk. Bestel nu!"
    return OFFER.format(f"Uw korting {n}", f"{text}\r\nhttps://acme.example/?c={n}").encode()


def test_held_mail_waits_for_an_answer_that_counts_for_mail_like_it(installation: Installation) -> None:
    installation.change(ORDERS, HOLD)
    with relaying(installation) as relay:
        code, text = relay.send([NIEMAND, ANNA], sale(1), **FROM)
        assert code == 250 and "held" in text
        named = text.split()[-1]
        relay.taken(ANNA, sale(2), **FROM)
        other = relay.taken(ANNA, SALE, **FROM)
        relay.passes(NIEMAND, order(NIEMAND), **FROM)
        assert [len(relay.upstream.to(one)) for one in (NIEMAND, ANNA)] == [1, 0], "nothing of it has left"
        rows = {row["message_id"]: row for row in held(relay)}
        assert set(rows) == {named, other}
        assert (rows[named]["messages"], rows[named]["copies"], rows[named]["stream"]) == (2, 3, "orders")
        assert any(sign.startswith("wording 4 ") for sign in rows[named]["signs"])
        refused = installation.tool("queue", "release", named, "--reason", " ")
        assert refused.returncode == 1 and len(held(relay)) == 2
        done = installation.tool("queue", "release", named, "--reason", "Orderbevestiging van de actie")
        assert done.returncode == 0, done.stderr
        relay.upstream.until(lambda: len(relay.upstream.to(ANNA)) == 2 and len(relay.upstream.to(NIEMAND)) == 2)
        assert [row["message_id"] for row in held(relay)] == [other]

        def unasked() -> bool:
            """Mail like it passes; what came before a worker had heard of the answer follows with it."""
            relay.passes(NIEMAND, sale(3), **FROM)
            return "handling=service" in relay.gateway.log()

        relay.gateway.eventually(unasked)
        assert [row["message_id"] for row in held(relay)] == [other], "nobody is asked again"
        dropped = installation.tool("queue", "drop", other, "--reason", "Dit is een actiemail")
        assert dropped.returncode == 0, dropped.stderr
        assert not held(relay)
        relay.upstream.until(lambda: bool(relay.upstream.to("orders@acme.example")))
        assert b"5.7.1" in relay.upstream.to("orders@acme.example")[0].raw, "the sender is told"

        def learnt() -> bool:
            return relay.send(ANNA, SALE, **FROM)[0] == 550

        relay.gateway.eventually(learnt)
        gone = installation.tool("queue", "release", other, "--reason", "toch")
        assert gone.returncode == 1 and b"No such message waits" in gone.stderr
        assert installation.tool("ledger", "verify").returncode == 0
        assert installation.tool("ledger", "rebuild", "--check").returncode == 0


def test_what_nobody_answers_is_given_up_and_the_sender_is_told(installation: Installation) -> None:
    installation.change(ORDERS, HOLD)
    with relaying(installation) as relay:
        relay.taken(ANNA, SALE, **FROM)

        def expired(days: int) -> int:
            async def ask(store: Store, config: Config) -> int:
                scales, ring = Scales(config, frozenset(signers(config))), key_ring(config)
                notices, now = Notices(config, Words.load(), scales, ring), datetime.now(UTC)
                return await question.expire(store, config, notices, now=now + timedelta(days=days))

            return with_store(installation, ask)

        assert expired(4) == 0 and len(held(relay)) == 1
        assert expired(6) == 1 and held(relay) == []
        [report] = lines_of(installation.tool("queue", "list", "--json"))
        assert report["reason_code"] == "ALLOW_MANDATORY_NOTICE", "the report waits for the day on which it was made"
        assert not relay.upstream.to(ANNA)


def test_held_mail_survives_a_restart_and_a_kill(installation: Installation) -> None:
    installation.change(ORDERS, HOLD)
    with relaying(installation) as relay:
        named = relay.taken(ANNA, SALE, **FROM)
        relay.gateway.kill()
        relay.gateway.start()
        assert [row["message_id"] for row in held(relay)] == [named]
        assert installation.tool("queue", "release", named, "--reason", "service").returncode == 0
        relay.upstream.until(lambda: len(relay.upstream.to(ANNA)) == 1)


def test_the_page_asks_and_its_buttons_answer(installation: Installation) -> None:
    installation.change(ORDERS, HOLD)
    with relaying(installation) as relay, browser(installation, "operator") as client:
        relay.taken(ANNA, SALE, **FROM)
        page = client.get("/staff/held?lang=nl").text
        assert "Waarom dit reclame lijkt" in page and "alleen vandaag" in page
        assert "20% korting</h2>" not in page, "an operator sees no subject"
        hidden = dict(re.findall(r'<input type="hidden" name="(form|controller|message)" value="([^"]+)">', page))
        empty = client.post("/staff/held", data=hidden | {"service": "yes", "why": " "})
        assert "Schrijf erbij" in empty.text and not relay.upstream.to(ANNA)
        other = client.post("/staff/held", data=hidden | {"controller": "globex", "service": "yes", "why": "x"})
        assert other.status_code == 404
        done = client.post("/staff/held", data=hidden | {"service": "yes", "why": "Bevestiging"})
        assert done.status_code == 303
        relay.upstream.until(lambda: len(relay.upstream.to(ANNA)) == 1)
        assert "Er wacht niets" in client.get("/staff/held").text
