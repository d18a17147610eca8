"""The law in the running program: what the rules block stays here, and what leaves says what it must (RULES.md 5)."""

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from tests.installation import ago, consent, newsletter, order, sale
from tests.story.relay import Relay, fresh, load, one_click_url, page_links, relaying, verify_dkim
from tests.story.upstream import Mail

PEOPLE = ("vera", "bert", "kees", "ines", "carl", "dora", "ella")
VERA, BERT, KEES, INES, CARL, DORA, ELLA = (f"{name}@example.org" for name in PEOPLE)
CONFIRM = """
[controllers.acme.streams.confirm]
class = "doi_confirmation"
purpose = "newsletter"
from_domains = ["acme.example"]

[controllers.acme.streams.orders]
"""
OBJECT = {
    "nl": "U hebt altijd het recht van verzet tegen reclame.",
    "fr": "Vous avez toujours le droit de vous opposer à la publicité.",
}


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """People of several countries; a stream that asks to confirm; a newsletter stream that may send invitations."""
    installation = fresh(made, tmp_path_factory.mktemp("law") / "installation")
    installation.change("[controllers.acme.streams.orders]\n", CONFIRM.lstrip())
    installation.change('streams = ["orders"]', 'streams = ["orders", "confirm"]')
    installation.change('categories = ["wine"]\n', 'categories = ["wine"]\npurposes = ["events"]\n')
    load(installation, "consents", [
        consent(VERA, purposes="newsletter|events"),
        consent(BERT), consent(CARL), consent(ELLA),
        consent(DORA, **{"double_opt_in.required": "true", "double_opt_in.requested_at": ago(1),
                         "double_opt_in.mails_sent": "0", "given_at": ago(1)}),
    ])  # fmt: skip
    load(installation, "sales", [sale(KEES, "wine"), sale(INES, "wine")])
    load(installation, "people", [
        {"email": BERT, "country": "BE", "language": "fr"}, {"email": KEES, "country": "BE"},
        {"email": CARL, "country": "CA"}, {"email": INES, "country": "NL"},
    ])  # fmt: skip
    with relaying(installation) as running:
        yield running


def test_mail_that_rests_on_sensitive_data_needs_explicit_consent(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    installation.change('categories = ["wine"]\n', 'categories = ["wine"]\nuses_special_category = true\n')
    load(installation, "consents", [consent(VERA), consent(BERT, explicit_special_category="true")])
    load(installation, "sales", [sale(KEES, "wine")])
    with relaying(installation) as relay:
        for address in (VERA, KEES):
            assert relay.kept_out(address, newsletter("diabetes")) == "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT"
        relay.passes(BERT, newsletter("diabetes"))


def words_of(mail: Mail) -> dict[str, str]:
    """The shown text of each leaf, on one line."""
    return {
        part.get_content_type(): " ".join(unescape(part.get_content()).split())
        for part in mail.message.walk() if part.get_content_maintype() == "text"
    }  # fmt: skip


def an_order(address: str, *fields: bytes) -> bytes:
    return b"".join(field + b"\r\n" for field in fields) + order(address)


def test_a_click_for_one_purpose_leaves_the_other_that_was_ticked_with_it(relay: Relay) -> None:
    first = relay.passes(VERA, newsletter("een"))
    assert relay.one_click(one_click_url(first)).status_code == 200
    assert relay.kept_out(VERA, newsletter("twee")) == "SUPPRESSED_PURPOSE"
    relay.passes(VERA, newsletter("Uitnodiging"), login="events")


def test_the_purpose_a_message_chose_is_the_one_its_footer_and_its_link_speak_of(relay: Relay) -> None:
    load(relay.installation, "consents", [consent(ELLA, purposes="newsletter|events")])
    mail = relay.passes(ELLA, b"X-Consentgate-Purpose: events\r\n" + newsletter("Proeverij"))
    for text in words_of(mail).values():
        assert "aanmeldde voor uitnodigingen voor proeverijen" in text
        assert "de nieuwsbrief" not in text
    [page] = page_links(mail)["text/html"]
    assert "uitnodigingen voor proeverijen" in relay.http("GET", page).text
    assert relay.one_click(one_click_url(mail)).status_code == 200
    chosen = b"X-Consentgate-Purpose: events\r\n" + newsletter("Proeverij")
    assert relay.kept_out(ELLA, chosen) == "SUPPRESSED_PURPOSE"
    relay.passes(ELLA, newsletter("nog steeds"))


def test_belgians_are_told_of_their_right_to_object_in_every_part(relay: Relay) -> None:
    for address, language in ((BERT, "fr"), (KEES, "nl")):
        for text in words_of(relay.passes(address, newsletter("Bier"))).values():
            assert OBJECT[language] in text
            assert "Acme Wijnen B.V., Wijnhaven 12, 3011 WN Rotterdam" in text


def test_a_customer_is_told_of_the_right_to_object_and_a_subscriber_only_of_the_way_out(relay: Relay) -> None:
    relay.agree("nora@example.org")
    customer = words_of(relay.passes(INES, newsletter("klant")))
    subscriber = words_of(relay.passes("nora@example.org", newsletter("lezer")))
    assert set(customer) == set(subscriber) == {"text/plain", "text/html"}
    for kind in customer:
        assert OBJECT["nl"] in customer[kind] and "omdat u klant bent" in customer[kind]
        assert OBJECT["nl"] not in subscriber[kind] and "aanmeldde voor de nieuwsbrief" in subscriber[kind]


def test_service_mail_to_canada_offers_a_link_that_stops_marketing_alone(relay: Relay) -> None:
    mail = relay.passes(CARL, an_order(CARL), login="orders", sender="orders@acme.example")
    assert one_click_url(mail) and len(page_links(mail)["text/plain"]) == 1
    assert "Acme Wijnen B.V., Wijnhaven 12" in words_of(mail)["text/plain"]
    verify_dkim(mail, relay.installation)
    [page] = page_links(mail)["text/plain"]
    assert "Deze link stopt reclame." in relay.http("GET", f"{page}?lang=nl").text
    assert relay.one_click(one_click_url(mail)).status_code == 200
    assert relay.kept_out(CARL, newsletter("na de klik")) == "SUPPRESSED_SENDER"
    relay.passes(CARL, an_order(CARL), login="orders", sender="orders@acme.example")


def test_a_sign_up_is_asked_to_confirm_once(relay: Relay) -> None:
    asking = an_order(DORA, b"X-Consentgate-Stream: confirm")
    assert relay.kept_out(DORA, newsletter("te vroeg")) == "OPT_IN_PENDING_CONFIRMATION"
    relay.passes(DORA, asking, login="orders", sender="orders@acme.example")
    relay.drained()
    code, text = relay.send(DORA, asking, login="orders", sender="orders@acme.example")
    assert code == 550 and "DOI_ALREADY_SENT" in text


@pytest.mark.parametrize(
    "field", [b"List-Post: <mailto:x@acme.example>", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click",
              b"X-Listmonk-Campaign: 7"]
)  # fmt: skip
def test_a_campaign_sent_as_an_order_is_marketing(relay: Relay, field: bytes) -> None:
    code, text = relay.send("niemand@example.org", an_order("niemand@example.org", field), login="orders",
                            sender="orders@acme.example")  # fmt: skip
    assert (code, text.split()[0]) == (550, "5.7.1"), text


def test_an_order_in_somebody_elses_name_does_not_leave(relay: Relay) -> None:
    foreign = order("niemand@example.org").replace(b"orders@acme.example", b"orders@bank.example")
    code, text = relay.send("niemand@example.org", foreign, login="orders", sender="orders@acme.example")
    assert code == 550 and "SENDER_NOT_AUTHORISED" in text
