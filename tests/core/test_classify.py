"""gateway/mail/classify.py and campaign.py: what kind of mail it is, and what said so (DESIGN section 6)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import reply
from gateway.mail.campaign import MARKS, fingerprint, normal_subject
from gateway.mail.classify import Kind, Refused, classify
from gateway.mail.mime import Message, parse
from gateway.promotional_rules import read_promotional_rules


@dataclass(frozen=True)
class AStream:
    name: str
    message_class: str = "marketing"
    purpose: str | None = None
    purposes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    transaction_ref: str | None = None


@dataclass(frozen=True)
class ALogin:
    streams: tuple[str, ...]


STREAMS = {
    stream.name: stream
    for stream in (
        AStream("newsletter", purpose="newsletter", purposes=("tips",), categories=("wine", "spirits")),
        AStream("events", purpose="events"),
        AStream("orders", "transactional", transaction_ref="stream"),
        AStream("service", "transactional", transaction_ref="header"),
        AStream("secret", purpose="secret"),
    )
}
NEWS = ALogin(("newsletter", "events"))
RULES = read_promotional_rules()


def message(*fields: str, author: str = "Acme <news@acme.example>", subject: str = "Hello") -> Message:
    lines = [f"From: {author}", "To: Bob <bob@example.org>", f"Subject: {subject}", *fields]
    return parse("\r\n".join([*lines, "", "body", ""]).encode())


def kind_of(*fields: str, login: ALogin = NEWS, suffix: str | None = None, **more: str) -> Kind:
    kind = classify(message(*fields, **more), login, STREAMS, suffix, RULES)
    assert isinstance(kind, Kind), kind
    return kind


def refusal_of(*fields: str, login: ALogin = NEWS, suffix: str | None = None, **more: str) -> Refused:
    refused = classify(message(*fields, **more), login, STREAMS, suffix, RULES)
    assert isinstance(refused, Refused), refused
    return refused


def test_the_login_decides_when_the_message_says_nothing() -> None:
    kind = kind_of()
    assert (kind.stream, kind.message_class, kind.purpose) == ("newsletter", "marketing", "newsletter")
    assert kind.categories == ("wine", "spirits")
    assert kind.from_domain == "acme.example"
    assert not kind.promotional and not kind.transaction_ref and kind.restriction_exemption is None
    assert kind.matched == ("stream login", "purpose stream", "category stream", "campaign fingerprint")


def test_our_fields() -> None:
    kind = kind_of(
        "X-Consentgate-Stream: newsletter",
        "X-CONSENTGATE-PURPOSE:\r\n tips",
        "X-Consentgate-Category: spirits",
        "X-Consentgate-Campaign: =?utf-8?Q?No=C3=ABl_26?=",
    )
    assert (kind.stream, kind.purpose, kind.categories) == ("newsletter", "tips", ("spirits",))
    assert kind.campaign == "Noël 26"
    assert kind.matched == (
        "stream X-Consentgate-Stream", "purpose X-Consentgate-Purpose", "category X-Consentgate-Category",
        "campaign X-Consentgate-Campaign",
    )  # fmt: skip
    assert kind_of("X-Consentgate-Category: spirits, wine, spirits").categories == ("spirits", "wine")


@pytest.mark.parametrize(
    ("suffix", "stream", "purpose", "categories"),
    [
        (None, "newsletter", "newsletter", ("wine", "spirits")),
        ("", "newsletter", "newsletter", ("wine", "spirits")),
        ("tips", "newsletter", "tips", ("wine", "spirits")),
        ("tips.wine", "newsletter", "tips", ("wine",)),
        (".spirits", "newsletter", "newsletter", ("spirits",)),
        ("events", "events", "events", ()),
    ],
)
def test_the_login_suffix(suffix: str | None, stream: str, purpose: str, categories: tuple[str, ...]) -> None:
    kind = kind_of(suffix=suffix)
    assert (kind.stream, kind.purpose, kind.categories) == (stream, purpose, categories)


def test_a_field_goes_before_the_suffix() -> None:
    kind = kind_of("X-Consentgate-Purpose: events", suffix="tips")
    assert (kind.stream, kind.purpose) == ("events", "events")
    assert kind.matched[:2] == ("stream X-Consentgate-Purpose", "purpose X-Consentgate-Purpose")
    assert kind_of("X-Consentgate-Purpose:", suffix="tips").purpose == "tips", "an empty field says nothing"


@pytest.mark.parametrize(
    ("fields", "suffix", "place", "allowed"),
    [
        (["X-Consentgate-Stream: secret"], None, "X-Consentgate-Stream", "newsletter, events"),
        (["X-Consentgate-Stream: Newsletter"], None, "X-Consentgate-Stream", "newsletter, events"),
        (["X-Consentgate-Purpose: secret"], None, "X-Consentgate-Purpose", "newsletter, tips, events"),
        (["X-Consentgate-Stream: events", "X-Consentgate-Purpose: tips"], None, "X-Consentgate-Purpose", "events"),
        (["X-Consentgate-Category: clothing"], None, "X-Consentgate-Category", "wine, spirits"),
        (["X-Consentgate-Category: wine, clothing"], None, "X-Consentgate-Category", "wine, spirits"),
        (["X-Consentgate-Category: ,"], None, "X-Consentgate-Category", "wine, spirits"),
        ([], "secret", "login suffix", "newsletter, tips, events"),
        ([], "tips.clothing", "login suffix", "wine, spirits"),
        ([], "events.wine", "login suffix", "none"),
        ([], "tips.wine.spirits", "login suffix", "wine, spirits"),
    ],
)
def test_what_was_not_declared_is_refused(fields: list[str], suffix: str | None, place: str, allowed: str) -> None:
    refused = refusal_of(*fields, suffix=suffix)
    assert (refused.reply.code, refused.reply.enhanced) == (550, "5.7.1")
    assert refused.reply.text == f"{reply.UNDECLARED.text} {place}; allowed: {allowed}"
    assert refused.why == f"{place}; allowed: {allowed}"


def test_our_fields_twice_are_refused() -> None:
    for name in ("Stream", "Purpose", "Category", "Campaign"):
        refused = refusal_of(f"X-Consentgate-{name}: wine", f"X-Consentgate-{name}: wine")
        assert f"X-Consentgate-{name}; it is there more than once" in refused.reply.line


def test_a_long_list_of_what_is_allowed_still_fits_a_reply() -> None:
    names = tuple(f"purpose-number-{n}" for n in range(100))
    refused = classify(message(), ALogin(("s",)), {"s": AStream("s", purposes=names)}, "other", RULES)
    assert isinstance(refused, Refused) and len(refused.reply.line) < 500


@pytest.mark.parametrize(
    ("field", "campaign"),
    [
        ("X-Listmonk-Campaign: 5f0c1b7e-3f2a-4d9c-8b1a-000000000001", "5f0c1b7e-3f2a-4d9c-8b1a-000000000001"),
        ("X-EMAIL-ID: 42", "42"),
        ("X-MessageID: 17", "17"),
        ("X-Mw-Campaign-Uid: ab123cd456efg", "ab123cd456efg"),
        ("X-FBL: aBcD1.lIsT2.sUbS3", "aBcD1"),
        ("X-CiviMail-Bounce: b.12.345.0123456789abcdef@example.org", "job-12"),
        ("X-campaignid: mailchimp123abc.456", "mailchimp123abc.456"),
        ("X-Campaign-Id: spring", "spring"),
        ("X-SES-MESSAGE-TAGS: env=prod, campaign=spring-26", "spring-26"),
        ("X-SES-LIST-MANAGEMENT-OPTIONS: shoppers; topic=offers", "offers"),
        ("X-SES-LIST-MANAGEMENT-OPTIONS: shoppers", "shoppers"),
        ("X-SES-CONFIGURATION-SET: bulk", "bulk"),
        ('X-Mailgun-Variables: {"campaign_id": 77}', "77"),
        ("X-Mailgun-Tag: spring", "spring"),
        ("X-PM-Tag: spring", "spring"),
        ("X-PM-Message-Stream: broadcast", "broadcast"),
        ('X-SMTPAPI: {"category": ["spring", "x"], "unique_args": {"person": "9"}}', "spring"),
        ('X-SMTPAPI: {"category": "spring",\r\n "unique_args": {"campaign": "c1"}}', "c1"),
        ("X-MC-Tags: spring, x", "spring"),
        ('X-MSYS-API: {"campaign_id": "spring"}', "spring"),
        ("X-Mailjet-Campaign: spring", "spring"),
        ("X-MJ-CustomID: c9", "c9"),
        ("X-Mailin-Tag: spring", "spring"),
        ("X-Postal-Tag: spring", "spring"),
        ("List-Id: The Acme letter <letter.acme.example>", "letter.acme.example"),
        ("Feedback-ID: spring:acme:news:sender", "spring"),
    ],
)
def test_campaigns_of_tools_and_providers(field: str, campaign: str) -> None:
    kind = kind_of(field)
    assert kind.campaign == campaign
    assert f"campaign {field.partition(':')[0]}" in kind.matched


@pytest.mark.parametrize(
    "field",
    [
        "X-Listmonk-Campaign:",
        "X-FBL: abc",
        "X-CiviMail-Bounce: nothing@example.org",
        "X-SES-MESSAGE-TAGS: env=prod",
        "X-Mailgun-Variables: no json",
        "X-Mailgun-Variables: [1, 2]",
        'X-Mailgun-Variables: {"campaign": {"a": 1}}',
        'X-Mailgun-Variables: {"campaign": true}',
        "X-Mailgun-Variables: " + "[" * 900,
        'X-SMTPAPI: {"unique_args": {"person": "9"}}',
        "Feedback-ID: alone",
        "Feedback-ID: :acme:news:sender",
        "X-Mailgun-Tag: bob@example.org",
        "X-PM-Metadata-person: x",
        "X-Odoo-Objects: res.partner-12",
    ],
)
def test_a_field_that_names_no_campaign_is_passed_over(field: str) -> None:
    kind = kind_of(field)
    assert kind.campaign.startswith("fp-") and "campaign fingerprint" in kind.matched


def test_the_order_of_the_table() -> None:
    """Each mark wins over all later ones, and our own field over all."""
    values = {
        "X-FBL": "a.b.c", "X-CiviMail-Bounce": "b.1.2.ff@x.y", "X-SES-MESSAGE-TAGS": "campaign=t",
        "X-Mailgun-Variables": '{"campaign": "v"}', "X-SMTPAPI": '{"category": "s"}', "Feedback-ID": "f:g",
        "X-MSYS-API": '{"campaign_id": "m"}', "X-MC-Metadata": '{"campaign": "d"}',
        "X-MJ-EventPayload": '{"campaign": "p"}', "X-Mailin-custom": "campaign:b",
        "X-Odoo-Objects": "mailing.mailing-1",
    }  # fmt: skip
    fields = [f"{mark.field}: {values.get(mark.field, 'w')}" for mark in MARKS]
    assert len({mark.field for mark in MARKS}) == len(MARKS)
    for number, mark in enumerate(MARKS):
        assert kind_of(*reversed(fields[number:])).matched[3] == f"campaign {mark.field}"
    assert kind_of(*fields, "X-Consentgate-Campaign: ours").campaign == "ours"


def test_campaigns_are_short_clean_and_no_address() -> None:
    assert kind_of("X-Consentgate-Campaign: " + "x" * 500).campaign == "x" * 100
    assert kind_of("X-Consentgate-Campaign: a\x07b\t c").campaign == "a b c"
    assert kind_of("X-Consentgate-Campaign: bob@example.org").campaign.startswith("fp-")


def test_the_fingerprint_is_the_same_for_all_recipients_of_one_sending() -> None:
    def to(name: str, address: str, subject: str) -> Message:
        head = f"From: Acme <news@acme.example>\r\nTo: {name} <{address}>\r\nSubject: {subject}\r\n\r\n"
        return parse(head.encode())

    anna = to("Anna Smit", "anna@example.org", "Anna, your 3 offers until 31-12-2026 (order 1234)")
    hello = "=?utf-8?Q?B=C3=B6b=2C?= your 12 offers until 1-1-2027 (order 9)"
    bob = to("=?utf-8?Q?B=C3=B6b?= Jansen", "b@example.net", hello)
    assert normal_subject(anna) == normal_subject(bob) == "*, your # offers until # (order #)"
    first, second = (fingerprint(m, "news@acme.example") for m in (anna, bob))
    assert first == second and len(first) == 11
    assert fingerprint(anna, "NEWS@acme.example") == first
    assert fingerprint(anna, "other@acme.example") != first
    assert fingerprint(to("A", "a@b.example", "Something else"), "news@acme.example") != first
    assert normal_subject(to("", "x@y.example", "Mail for carol@example.org now")) == "mail for * now"


def test_a_fingerprint_is_stable_over_releases() -> None:
    assert kind_of(subject="Spring 2026").campaign == "fp-d9b148d2"


@pytest.mark.parametrize(
    ("fields", "signs"),
    [
        (["Precedence: bulk"], ["Precedence"]),
        (["Precedence: List "], ["Precedence"]),
        (["Precedence: special-delivery", "Precedence: junk"], ["Precedence"]),
        (["List-Unsubscribe: <https://x.example/u>"], ["List-Unsubscribe"]),
        (["List-Id: <x.y>", "Precedence: bulk"], ["List-Id", "Precedence"]),
        (["List-Post: NO"], ["List-Post"]),
        (["List-Unsubscribe-Post: List-Unsubscribe=One-Click"], ["List-Unsubscribe-Post"]),
        (["X-Listmonk-Campaign: 6f2b"], ["X-Listmonk-Campaign"]),
        (["Precedence: special-delivery"], []),
        (["Auto-Submitted: auto-generated"], []),
    ],
)
def test_a_campaign_on_a_transactional_stream_is_promotional(fields: list[str], signs: list[str]) -> None:
    kind = kind_of(*fields, login=ALogin(("orders",)))
    assert kind.promotional is bool(signs)
    assert [sign.what for sign in kind.signs if sign.name == "bulk"] == signs
    assert sum(sign.points for sign in kind.signs) == (RULES.threshold if signs else 0), "counted once"
    assert kind.message_class == "transactional" and kind.transaction_ref
    assert kind_of(*fields).promotional is False, "marketing is that by its class"


def test_the_transaction_reference() -> None:
    service = ALogin(("service",))
    assert kind_of("X-Consentgate-Transaction: order 12", login=service).transaction_ref
    assert "transaction X-Consentgate-Transaction" in kind_of("X-Consentgate-Transaction: 12", login=service).matched
    for value in ("", " ", "no", "False", "none"):
        assert not kind_of(f"X-Consentgate-Transaction: {value}", login=service).transaction_ref
    assert not kind_of(login=service).transaction_ref
    assert not kind_of("X-Consentgate-Transaction: 12").transaction_ref, "honoured only where it is declared"
    assert kind_of(login=ALogin(("orders",))).transaction_ref


@pytest.mark.parametrize(
    "field",
    [
        'X-SMTPAPI: {"to": ["victim@example.net"]}',
        'X-SMTPAPI: {"category": "x",\r\n  "to": ["victim@example.net"]}',
        'x-smtpapi: {"\\u0074o": ["victim@example.net"]}',
        'X-SMTPAPI: {"To": []}',
        'X-SMTPAPI: {"to": ["victim@example.net"], "to": null}',
        "X-SMTPAPI: =?utf-8?B?eyJ0byI6WyJ2aWN0aW1AZXhhbXBsZS5uZXQiXX0=?=",
        'X-SMTPAPI: {"to": ["victim@example.net"',
        'X-SMTPAPI: [{"to": "victim@example.net"}]',
        "X-SMTPAPI: " + "[" * 900,
        'X-MSYS-API: {"bcc": [{"email": "victim@example.net"}]}',
        'X-MSYS-API: {"Archive": [{"email": "victim@example.net"}]}',
        'X-SMTPAPI : {"filters": {"bcc": {"settings": {"enable": 1, "email": "victim@example.net"}}}}',
        'X-SmtpApi: {"FILTERS": {"x": 1}, "filters": {"Bcc": {"settings": {"email": "victim@example.net"}}}}',
        'X-SMTPAPI: {"category": "x",}',
        "X-MC-BccAddress: victim@example.net",
    ],
)
def test_recipients_hidden_in_fields_are_refused(field: str) -> None:
    refused = refusal_of(field).reply
    assert (refused.code, refused.enhanced) == (550, "5.6.0")
    assert refused.text.casefold() == f"{field.partition(':')[0].strip()} with recipients is refused".casefold()
    assert refusal_of('X-SMTPAPI: {"category": "x"}', 'X-SMTPAPI: {"to": "x"}').reply == reply.HIDDEN_RECIPIENTS
    assert kind_of('X-SMTPAPI: {"filters": {"bcc": {"settings": {"enable": 0}}}}').stream == "newsletter"
    assert kind_of("X-MC-BccAddress:").stream == "newsletter", "nobody is named"
    assert kind_of('X-Mailgun-Variables: {"to": "x"}').stream == "newsletter", "variables reach nobody"
    assert kind_of('X-SMTPAPI: {"filters": {"to": {"x": 1}}}').campaign.startswith("fp-"), "not a list of recipients"


def test_mailguns_test_mode_is_noted() -> None:
    kind = kind_of("X-Mailgun-Drop-Message: Yes")
    assert kind.test and "test X-Mailgun-Drop-Message" in kind.matched
    assert not kind_of("X-Mailgun-Drop-Message: no").test
    assert "test X-Mailgun-Drop-Message" not in kind_of("X-Mailgun-Drop-Message: no").matched


def test_a_concealed_sender_is_refused() -> None:
    for author in ("", "Anna <anna@acme.example>, Bob <bob@acme.example>", "Friends: anna@acme.example;"):
        refused = refusal_of(author=author)
        assert refused.reply.line.startswith("550 5.7.1 SENDER_IDENTITY_CONCEALED ")
    twice = refusal_of("From: Other <other@evil.example>")
    assert twice.reply.line.startswith("550 5.7.1 SENDER_IDENTITY_CONCEALED ")
    assert kind_of(author="Zo\u00eb <info@b\u00fccher.example>").from_domain == "xn--bcher-kva.example"


FIELD_NAMES = st.sampled_from([mark.field for mark in MARKS] + [
    "X-Consentgate-Stream", "X-Consentgate-Purpose", "X-Consentgate-Category", "X-Consentgate-Campaign", "Precedence",
    "X-MSYS-API", "Subject", "To",
])  # fmt: skip
VALUES = st.text(alphabet='abc{}[]":,;=@<>.?_ é1tonewsltrwi', max_size=40)


@given(st.lists(st.tuples(FIELD_NAMES, VALUES), max_size=8), st.one_of(st.none(), VALUES))
def test_any_fields_give_a_kind_or_a_reply(fields: list[tuple[str, str]], suffix: str | None) -> None:
    """Whatever the fields say: a Kind within what the login may use, or a 550; and no recipient in the campaign."""
    lines = [f"{name}: {value}" for name, value in fields]
    kind = classify(message(*lines), NEWS, STREAMS, suffix, RULES)
    if isinstance(kind, Refused):
        assert kind.reply.code == 550
    else:
        assert kind.stream in NEWS.streams
        assert set(kind.categories) <= {"wine", "spirits"}
        assert kind.purpose in ("newsletter", "tips", "events")
        assert kind.campaign and "@" not in kind.campaign and len(kind.campaign) <= 100
