"""What a message says to the provider behind us, and why a message was refused, seen from outside."""

from pathlib import Path

from gateway import report
from tests.installation import ANNA, KLEED, NIEMAND, newsletter
from tests.story.relay import Relay, fresh, load_people, relaying, with_store

TEST = b"X-Mailgun-Drop-Message: yes\r\n"


def rehearsed(relay: Relay) -> list[report.CampaignRow]:
    return with_store(
        relay.installation,
        lambda store, config: report.campaigns(store, controllers=config.controllers, rehearsed=True),
    )


def test_a_mail_that_asks_not_to_be_delivered_is_decided_and_stays(relay: Relay) -> None:
    relay.taken([ANNA, NIEMAND], TEST + newsletter("alleen een test"))
    [row] = [row for row in rehearsed(relay) if row.subject == "alleen een test"]
    assert (row.accepted, row.allowed, row.blocked, row.open) == (2, 1, 1, 2)
    relay.drained()
    assert not [mail for mail in relay.upstream.to(ANNA) if mail.message["Subject"] == "alleen een test"]
    relay.passes(ANNA, newsletter("geen test"))


def test_orders_to_another_provider_and_keys_do_not_leave(relay: Relay) -> None:
    own = b"X-Mailer: Blaster 9\r\n"
    secret = b'x-mailtrain-dkim: {"privateKey":"-----BEGIN RSA PRIVATE KEY-----"}\r\n'
    mail = relay.passes(ANNA, own + secret + b"X-Mailgun-Tag: lente\r\n" + newsletter("met velden"))
    assert mail.message["X-Mailer"] == "Blaster 9"
    assert mail.message["X-Mailgun-Tag"] is None and b"PRIVATE KEY" not in mail.raw


def test_its_own_provider_gets_its_orders(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    installation.change('kind = "capture"', 'kind = "capture"\nprovider = "mailgun"')
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, b"X-Mailgun-Tag: lente\r\nX-PM-Tag: lente\r\n" + newsletter("met velden"))
        assert (mail.message["X-Mailgun-Tag"], mail.message["X-PM-Tag"]) == ("lente", None)


def test_the_log_names_the_reason_that_the_sender_was_told(relay: Relay) -> None:
    """On a stream without categories, a stranger and a customer: the customer's code concerns the whole message."""
    code, text = relay.send([NIEMAND, KLEED], newsletter("uitnodiging"), login="events", sender="events@acme.example")
    assert (code, text.split()[1]) == (550, "PRODUCT_CATEGORY_UNKNOWN")
    [line] = [line for line in relay.gateway.log().splitlines() if "PRODUCT_CATEGORY_UNKNOWN" in line]
    assert "event=refused" in line and text.split()[-1] in line
