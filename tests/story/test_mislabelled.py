"""Advertising sent over a service login, seen from the tool, the recipient, the reports and the pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import ANNA, NIEMAND, Installation, consentgate, newsletter, order
from tests.story.relay import Relay, fresh, load_people, relaying

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


def test_letting_it_pass_wants_a_motivation(installation: Installation) -> None:
    installation.change(ORDERS, ORDERS + 'mislabelled = "allow-and-flag"\n')
    done = consentgate("check-config", "--config", installation.config)
    assert done.returncode == 1
    assert b"motivation.mislabelled" in done.stdout + done.stderr


def test_marketing_streams_are_not_looked_at(relay: Relay) -> None:
    relay.passes(ANNA, newsletter("Alleen vandaag 20% korting"))
    assert "event=mislabelled" not in relay.gateway.log()
