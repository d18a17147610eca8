"""Opt-outs by mail: the token in the subject or in the text, a wish without one, and nothing relayed."""

import re
import smtplib

import pytest

from tests.installation import newsletter, order
from tests.story.relay import Relay, one_click_url

ANS, BEN, CAS, DAS, EEF, FEE, GIJS, HANS = (
    f"{name}@example.org" for name in ("ans", "ben", "cas", "das", "eef", "fee", "gijs", "hans")
)


@pytest.fixture(scope="module", autouse=True)
def people(relay: Relay) -> None:
    """Those who opt out by mail, each in a way of their own."""
    relay.agree(ANS, BEN, CAS, DAS, EEF, FEE, GIJS, HANS)


def answer(
    relay: Relay, text: str, *, sender: str, to: str = "unsub@bounce.acme.example", also: str = ""
) -> tuple[int, str]:
    """Mail that comes back; the reply to DATA. `also`: a second recipient."""
    with smtplib.SMTP("127.0.0.1", relay.installation.return_port, timeout=30) as session:
        session.ehlo("mx.example.net")
        assert session.mail(sender)[0] == 250
        code, said = session.rcpt(to)
        if code != 250:
            return code, said.decode()
        if also:
            assert session.rcpt(also)[0] == 250
        code, said = session.data(text.replace("\n", "\r\n").encode())
        return code, said.decode()


def mailto(relay: Relay, recipient: str) -> str:
    """The token in the mailto of List-Unsubscribe."""
    mail = relay.passes(recipient, newsletter("met mailto"))
    found = re.search(r"<mailto:unsub@bounce\.acme\.example\?subject=([^>]+)>", mail.message["List-Unsubscribe"])
    assert found is not None
    assert one_click_url(mail).endswith(found[1])
    return found[1]


def test_a_mailbox_that_follows_the_mailto(relay: Relay) -> None:
    token = mailto(relay, ANS)
    # the envelope and From are whoever's: the token alone says who
    code, said = answer(relay, f"From: x@example.net\nSubject: {token}\n\n", sender="other@example.net")
    assert code == 250, said
    assert relay.kept_out(ANS, newsletter("daarna")) == "SUPPRESSED_PURPOSE"
    again = answer(relay, f"From: x@example.net\nSubject: Re: {token}\n\n", sender="")
    assert again[0] == 250
    assert again[1].split()[-1] == said.split()[-1], "the same opt-out, told twice"


@pytest.mark.parametrize(
    ("who", "form"),
    [
        (BEN, "Subject: stop\n\nhallo,\n{token}\n"),
        (CAS, "Subject: stop\nContent-Transfer-Encoding: quoted-printable\n\n<p>{first}=\n{rest}</p>\n"),
    ],
    ids=["text", "broken over lines"],
)
def test_the_token_in_the_text(relay: Relay, who: str, form: str) -> None:
    token = mailto(relay, who)
    text = "From: x@example.net\n" + form.format(token=token, first=token[:40], rest=token[40:])
    assert answer(relay, text, sender="other@example.net")[0] == 250
    assert relay.kept_out(who, newsletter("daarna")) == "SUPPRESSED_PURPOSE"


def test_a_wish_without_a_token_stops_the_whole_controller(relay: Relay) -> None:
    relay.passes(DAS, newsletter("ervoor"))
    assert answer(relay, f"From: Das <{DAS}>\nSubject: afmelden\n\ngraag niet meer\n", sender=DAS)[0] == 250
    assert relay.kept_out(DAS, newsletter("daarna")) == "OBJECTED_TO_MARKETING"
    assert relay.passes(DAS, order(DAS), login="orders", sender="orders@acme.example").recipient == DAS


def test_an_opt_out_that_goes_to_abuse_as_well_is_one(relay: Relay) -> None:
    """What is written does not count at unsub@; here it looks like a list's mail, which nobody else would heed."""
    text = f"From: {FEE}\nPrecedence: bulk\nSubject: x\n\nx\n"
    code, said = answer(relay, text, sender=FEE, also="abuse@bounce.acme.example")
    assert code == 250
    assert not said.endswith("unread")
    assert relay.kept_out(FEE, newsletter("daarna")) == "OBJECTED_TO_MARKETING"


def test_an_author_with_half_a_character_for_a_name_is_answered_once_and_for_all(relay: Relay) -> None:
    """UTF-7 can spell halves of characters; no address has one, and no text that has one can be written down."""
    text = "From: =?utf-7?q?+2AA-@example.org?=\nSubject: =?utf-7?q?+2AA-?=\n\nstop\n"
    code, said = answer(relay, text, sender="x@example.net")
    assert code == 250, said


def test_a_changed_token_stops_nobody_but_the_writer(relay: Relay) -> None:
    token = mailto(relay, EEF)
    wrong = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert answer(relay, f"From: <niemand@example.net>\nSubject: {wrong}\n\n", sender="niemand@example.net")[0] == 250
    relay.passes(EEF, newsletter("daarna"))


def test_a_bounce_from_the_null_sender_stops_nobody(relay: Relay) -> None:
    text = f"From: MAILER-DAEMON@mx.example.net\nSubject: Undelivered\n\nto {EEF} failed\n"
    assert answer(relay, text, sender="")[0] == 250
    relay.passes(EEF, newsletter("nog steeds"))


@pytest.mark.parametrize("to", ["someone@example.net", "unsub@acme.example", "unsub@other.example"])
def test_nothing_is_relayed(relay: Relay, to: str) -> None:
    before = relay.upstream.count
    said = answer(relay, "From: x@example.net\nSubject: x\n\nx\n", sender="x@example.net", to=to)
    assert (said[0], said[1][:5]) == (550, "5.7.1")
    assert relay.upstream.count == before


def test_a_postmaster_without_a_domain_is_ours(relay: Relay) -> None:
    """RFC 5321 4.5.1."""
    text = "From: <iemand@stranger.example>\nSubject: vraag\n\nWerkt dit?\n"
    assert answer(relay, text, sender="iemand@stranger.example", to="Postmaster")[0] == 250


def test_no_login_is_offered_there(relay: Relay) -> None:
    with smtplib.SMTP("127.0.0.1", relay.installation.return_port, timeout=30) as session:
        session.ehlo()
        assert not session.has_extn("auth")
        assert session.docmd("AUTH PLAIN AGEAYg==")[0] in (502, 503)


def test_nobody_is_named_in_the_log(relay: Relay) -> None:
    said = relay.gateway.log().count("channel=mail")
    assert answer(relay, f"From: x@example.net\nSubject: {mailto(relay, GIJS)}\n\n", sender=GIJS)[0] == 250
    assert answer(relay, f"From: Hans <{HANS}>\nSubject: afmelden\n\ngraag niet meer\n", sender=HANS)[0] == 250
    log = relay.gateway.log()
    assert log.count("channel=mail") == said + 2
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", log)
    assert "Traceback" not in log


def test_a_from_field_of_one_endless_word_holds_nothing_up(relay: Relay) -> None:
    """Anybody may send one. Read again from each of its characters it would take hours, and all other work with it."""
    words = "\n ".join(["=?utf-8?q?" + "a" * 900 + "?="] * 900)
    code, said = answer(relay, f"From: {words}\nSubject: stop\n\nstop\n", sender="x@example.net")
    assert code == 250, said
