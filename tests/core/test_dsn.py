"""A report can be read by machine, says no more than asked, and never goes to the null sender."""

import email
import email.policy
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import dsn
from gateway.mail.answer import Answer
from gateway.mail.dsn import Report, Reported, is_owed, make_dsn, without_body
from gateway.mail.mime import parse
from gateway.mail.outcome import judge, judge_failure
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import Fill, rewrite
from gateway.notice import Notices
from gateway.weigh import Scales
from gateway.words import Words
from suppression.vault import KeyRing
from tests.acme import write_config

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ORIGINAL = b"From: news@acme.example\r\nTo: bob@example.net\r\nSubject: Wijn\r\n\r\nHallo Bob\r\n"
BOB = Reported(
    address="bob@example.net", orcpt="rfc822;bob+2Bx@example.net", action="failed", status="5.1.1",
    diagnostic="smtp; 550 5.1.1 no such user", remote_mta="mx.example.net", last_attempt=AT,
)  # fmt: skip
DORA = Reported(
    address="dora@example.net", action="delayed", status="4.4.1", retry_until=AT + timedelta(days=2), last_attempt=AT
)
REPORT = Report(
    to="b+1@bounce.acme.example", sender="mailer-daemon@gate.test", sender_name="Mail delivery",
    subject="Niet afgeleverd: één ontvanger van uw bericht, met een lang onderwerp dat gevouwen moet worden",
    text="Uw bericht kon niet worden afgeleverd.\n\n= één regel =\n" + "lang " * 40 + "slot\n.\n", language="nl",
    reporting_mta="gate.test", message_id="<r1@gate.test>", at=AT, arrived=AT - timedelta(hours=1), envid="e+2B1",
    ret=None, recipients=(BOB, DORA),
)  # fmt: skip


def read(report: Report, original: bytes = ORIGINAL) -> tuple[EmailMessage, list[Message]]:
    raw = make_dsn(report, original)
    assert raw.endswith(b"--\r\n") and b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message, list(message.iter_parts())


def test_the_report_as_the_standard_library_reads_it() -> None:
    message, [text, status, headers] = read(REPORT)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert (message["To"], message["From"]) == ("b+1@bounce.acme.example", "Mail delivery <mailer-daemon@gate.test>")
    assert message["Subject"] == REPORT.subject
    assert message["Date"].datetime == AT
    assert text["Content-Language"] == "nl"
    assert text.get_content().replace("\r\n", "\n") == REPORT.text
    assert status.get_content_type() == "message/delivery-status"
    about, bob, dora = status.get_payload()
    assert dict(about.items()) == {
        "Reporting-MTA": "dns; gate.test", "Original-Envelope-Id": "e+1",
        "Arrival-Date": "Mon, 02 Mar 2026 09:00:00 +0000",
    }  # fmt: skip
    assert dict(bob.items()) == {
        "Original-Recipient": "rfc822; bob+x@example.net", "Final-Recipient": "rfc822; bob@example.net",
        "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; mx.example.net",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user", "Last-Attempt-Date": "Mon, 02 Mar 2026 10:00:00 +0000",
    }  # fmt: skip
    assert dict(dora.items()) == {
        "Final-Recipient": "rfc822; dora@example.net", "Action": "delayed", "Status": "4.4.1",
        "Last-Attempt-Date": "Mon, 02 Mar 2026 10:00:00 +0000", "Will-Retry-Until": "Wed, 04 Mar 2026 10:00:00 +0000",
    }  # fmt: skip
    assert headers.get_content_type() == "text/rfc822-headers"
    assert headers.get_payload() == "From: news@acme.example\nTo: bob@example.net\nSubject: Wijn\n".replace(
        "\n", "\r\n"
    )


def test_the_whole_message_comes_back_only_when_asked_for_and_failed() -> None:
    raw = make_dsn(replace(REPORT, ret="FULL"), ORIGINAL)
    assert ORIGINAL in raw
    _, [_, _, whole] = read(replace(REPORT, ret="FULL"))
    assert whole.get_content_type() == "message/rfc822"
    for other in (replace(REPORT, ret="HDRS"), replace(REPORT, ret="FULL", recipients=(DORA,))):
        assert b"Hallo Bob" not in make_dsn(other, ORIGINAL)


def test_a_message_with_a_line_that_servers_need_not_take_does_not_keep_its_report_from_leaving() -> None:
    raw = make_dsn(replace(REPORT, ret="FULL"), ORIGINAL + b"<p>" + b"wijn " * 300 + b"</p>\r\n")
    plan = make_plan(parse(raw), Wants(marketing=False, relay=True))
    assert not plan.long_lines
    assert b"\r\nContent-Type: text/rfc822-headers\r\n" in raw and b"Subject: Wijn\r\n" in raw


def test_what_others_said_does_not_make_a_report_eight_bit() -> None:
    said = replace(BOB, orcpt="rfc822;zo+C3+AB@example.net", diagnostic="smtp; 550 5.1.1 gänzlich unbekannt")
    raw = make_dsn(replace(REPORT, recipients=(said,), envid="+C3+AB"), ORIGINAL)
    assert not make_plan(parse(raw), Wants(marketing=False, relay=True)).needs_8bit
    assert b"Original-Recipient: rfc822; zo+C3+AB@example.net\r\n" in raw
    assert b"Original-Envelope-Id: +C3+AB\r\n" in raw
    assert b"Diagnostic-Code: smtp; 550 5.1.1 g?nzlich unbekannt\r\n" in raw


def test_eight_bit_and_utf8() -> None:
    original = "Subject: Zoë\r\n\r\nZoë\r\n".encode()
    _, [_, status, headers] = read(REPORT, original)
    assert (headers["Content-Transfer-Encoding"], status["Content-Transfer-Encoding"]) == ("8bit", "7bit")
    zoe = replace(BOB, address="zoë@exämple.de", orcpt=None)
    raw = make_dsn(replace(REPORT, recipients=(zoe,)), original)
    assert "Final-Recipient: utf-8; zoë@exämple.de\r\n".encode() in raw
    assert b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n" in raw
    assert b"Content-Type: message/global-headers\r\n" in raw


def seven_bit(raw: bytes) -> bytes:
    plan = make_plan(parse(raw), Wants(marketing=False, relay=True, seven_bit=True))
    copy = rewrite(plan, Fill(links=None, footer=None, recipient=REPORT.to))
    return b"".join((copy.head, b"\r\n", *copy.pieces))


def test_a_report_on_eight_bit_mail_can_be_sent_in_seven_bits() -> None:
    """RFC 2046 5.2.1: nothing in a message/rfc822 may be encoded; its header can be told alone."""
    original = "From: news@acme.example\r\nSubject: Zoë\r\n\r\nHallo Zoë\r\n".encode()
    whole = make_dsn(replace(REPORT, ret="FULL"), original)
    assert original in whole
    assert not seven_bit(whole).isascii(), "as it stands"
    raw = seven_bit(without_body(whole))
    assert raw.isascii()
    parts = list(email.message_from_bytes(raw, policy=email.policy.default).iter_parts())
    assert [part.get_content_type() for part in parts] == [
        "text/plain", "message/delivery-status", "text/rfc822-headers",
    ]  # fmt: skip
    assert parts[2].get_payload(decode=True) == original.partition(b"\r\n\r\n")[0] + b"\r\n"
    for other in (make_dsn(replace(REPORT, ret="FULL"), ORIGINAL), make_dsn(REPORT, original), b"\0"):
        assert without_body(other) == other


def test_what_is_international_may_be_encoded_whole() -> None:
    """RFC 6532 3.7 and RFC 6533 6: message/global and its like take any transfer encoding."""
    original = "Subject: Zoë\r\n\r\nHallo Zoë\r\n".encode()
    zoe = replace(BOB, address="zoë@exämple.de", orcpt=None)
    for ret in ("FULL", "HDRS"):
        report = replace(REPORT, ret=ret, recipients=(zoe,))
        raw = seven_bit(without_body(make_dsn(report, original)))
        assert raw.isascii()
        _, status, about = list(parse(raw).root.children)
        assert (status.type, status.get(b"content-transfer-encoding")) == (b"message/global-delivery-status", b"base64")
        assert "utf-8; zoë@exämple.de" in b64decode(status.body).decode()
        assert "Subject: Zoë\r\n".encode() in b64decode(about.body)
        assert about.type == (b"message/global" if ret == "FULL" else b"message/global-headers")


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=60), st.text(max_size=60), st.text(max_size=300))
def test_no_value_breaks_out_of_its_field(subject: str, name: str, diagnostic: str, envid: str, text: str) -> None:
    def plain(value: str) -> str:
        return value.encode("utf-8", "replace").decode()

    bob = replace(BOB, diagnostic=plain(diagnostic), orcpt=plain(envid))
    report = replace(
        REPORT, subject=plain(subject), sender_name=plain(name), envid=plain(envid), text=plain(text), recipients=(bob,)
    )
    raw = make_dsn(report, ORIGINAL)
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw)
    assert sorted(message.keys()) == sorted(
        [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "X-Auto-Response-Suppress",
            "MIME-Version",
            "Content-Type",
        ]
    )
    parts: Any = message.get_payload()
    assert len(parts) == 3
    assert len(parts[1].get_payload()) == 2
    assert parts[1].get_payload()[1]["Action"] == "failed"


def test_what_an_outcome_says() -> None:
    refused = judge("rcpt", Answer(code=550, lines=(b"5.1.1 no such user",)))
    waited = judge_failure("connect", "refused")
    assert dsn.reported("a@b.example", refused, action="failed") == Reported(
        address="a@b.example", action="failed", status="5.1.1", diagnostic="smtp; 550 5.1.1 no such user"
    )
    expired = dsn.reported("a@b.example", waited, action="failed")
    assert (expired.status, expired.diagnostic) == ("5.4.7", "X-Consentgate; connection refused")
    assert dsn.reported("a@b.example", waited, action="delayed").status == "4.4.1"


@pytest.mark.parametrize(
    ("event", "notify", "on_block", "owed"),
    [
        ("failed", set(), "record", True),
        ("failed", {"FAILURE", "DELAY"}, "record", True),
        ("failed", {"NEVER"}, "record", False),
        ("failed", {"SUCCESS"}, "record", False),
        ("blocked", set(), "record", False),
        ("blocked", set(), "bounce", True),
        ("blocked", set(), "reject", True),
        ("blocked", {"FAILURE"}, "record", True),
        ("blocked", {"NEVER"}, "bounce", False),
        ("blocked", {"DELAY"}, "bounce", False),
        ("delayed", set(), "record", False),
        ("delayed", {"DELAY"}, "record", True),
        ("delayed", {"NEVER"}, "record", False),
        ("relayed", set(), "record", False),
        ("relayed", {"SUCCESS", "FAILURE"}, "record", True),
        ("relayed", {"FAILURE"}, "record", False),
    ],
)
def test_who_is_owed_a_report(event: Any, notify: set[str], on_block: Any, owed: bool) -> None:
    assert is_owed(event, notify, "a@acme.example", on_block) is owed
    assert is_owed(event, notify, "", on_block) is False


def test_reports_that_must_not_be() -> None:
    for wrong in (
        replace(REPORT, to=""),
        replace(REPORT, recipients=()),
        replace(REPORT, at=AT.replace(tzinfo=None)),
    ):
        with pytest.raises(ValueError):
            make_dsn(wrong, ORIGINAL)


def test_it_says_which_message_it_answers() -> None:
    mail = b"From: a@acme.example\r\nMessage-Id:\r\n <long.one@acme.example>\r\nSubject: Wijn\r\n\r\nHallo\r\n"
    message, _ = read(REPORT, mail)
    assert message["In-Reply-To"] == message["References"] == "<long.one@acme.example>"
    below = b"A: b\r\n\r\nMessage-ID: <a@b>\r\n"
    for odd in (b"Message-ID: none\r\n\r\n", b"Message-ID: <a b@c>\r\n\r\n", below, ORIGINAL):
        assert read(REPORT, odd)[0]["In-Reply-To"] is None


LINES = {
    "5.1.1": ("Dit adres bestaat niet", "does not exist", "n’existe pas", "gibt es nicht"),
    "5.2.2": ("mailbox is vol", "mailbox is full", "boîte aux lettres est pleine", "Postfach ist voll"),
    "5.3.4": ("te groot", "too large", "trop volumineux", "zu groß"),
    "5.4.7": ("lang genoeg geprobeerd", "long enough", "assez longtemps", "lange genug"),
    "5.6.3": ("vorm van het bericht", "in this form", "sous cette forme", "dieser Form"),
    "5.7.1": ("weigert dit bericht", "refuses this message", "refuse ce message", "lehnt diese Nachricht ab"),
    "5.0.0": ("nam het bericht niet aan", "did not take", "n’a pas accepté", "nicht angenommen"),
}  # fmt: skip


@pytest.mark.parametrize(("place", "language"), list(enumerate(("nl", "en", "fr", "de"))))
def test_a_report_says_in_words_what_each_status_means(tmp_path: Path, place: int, language: str) -> None:
    config = write_config(tmp_path)
    acme = config.controllers["acme"]
    stream = replace(acme.streams["newsletter"], language=language)
    notices = Notices(config, Words.load(), Scales(config, frozenset()), KeyRing({1: bytes(range(32))}))

    def text(*recipients: Reported) -> str:
        made = notices.report(
            acme, stream, recipients, mail_from="news@acme.example", envid=None, ret=None, original=ORIGINAL,
            subject="Wijn\r\nBcc: x@y.example", arrived=AT, now=AT,
        )  # fmt: skip
        assert made is not None and made.body is not None and made.envelope["mail_from"] == ""
        message = email.message_from_bytes(made.body, policy=email.policy.default)
        assert not message.defects and message["Bcc"] is None and message["To"] == "news@acme.example"
        assert isinstance(message, EmailMessage)
        first = next(message.iter_parts())
        assert (first.get_content_type(), first["Content-Language"]) == ("text/plain", language)
        return str(first.get_content())

    for status, said in LINES.items():
        whole = text(replace(BOB, status=status, diagnostic=f"smtp; 550 {status} no"))
        assert said[place] in whole and "<bob@example.net>" in whole and f"({status} smtp; 550" in whole
    kept_out = text(replace(BOB, status="5.7.1", diagnostic="X-Consentgate; SUPPRESSED_SENDER"))
    assert LINES["5.7.1"][place] not in kept_out and "SUPPRESSED_SENDER" in kept_out
    relayed = text(replace(BOB, action="relayed", status="2.0.0", diagnostic=None))
    assert len({kept_out, relayed, text(BOB)}) == 3
