"""Every complaint is found with whom it is from, and what is no complaint is none."""

from datetime import UTC, datetime

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.event import COMPLAINTS, Event
from gateway.mail.returned import read

RULES = read_bounce_rules()
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
MAIL = (
    "Message-ID: <old@acme.example>\nMessage-ID: <1@acme.example>\nFrom: Acme <news@acme.example>\nTo: {to}\n\nWine\n"
)


def feedback(fields: str, *, to: str = "Bob <bob@example.net>", kind: str = "message/feedback-report") -> Event:
    raw = (
        "From: fbl@provider.example\nTo: fbl@acme.example\nSubject: Report\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
        "--b\nContent-Type: text/plain\n\nA report.\n"
        f"--b\nContent-Type: {kind}\n\n{fields}\n--b\nContent-Type: message/rfc822\n\n{MAIL.format(to=to)}\n--b--\n"
    )
    return read(raw.encode(), rules=RULES, at=NOW)


def who(event: Event) -> list[str | None]:
    return [one.address for one in event.recipients]


@pytest.mark.parametrize(
    ("said", "kind", "means", "person"),
    [
        ("abuse", "complaint", "abuse", False),
        ("Abuse", "complaint", "abuse", False),
        ("fraud", "complaint", "fraud", False),
        ("opt-out", "complaint", "opt-out", False),
        ("not-spam", "other", "not-spam", False),
        ("auth-failure", "other", "auth-failure", False),
        ("virus", "other", "virus", True),
        ("other", "other", "other", True),
        ("miscategorized", "other", "other", True),
    ],
)
def test_types(said: str, kind: str, means: str, person: bool) -> None:
    event = feedback(f"Feedback-Type: {said}\nUser-Agent: x/1\nVersion: 1\n")
    assert (event.kind, event.feedback_type, event.needs_person) == (kind, means, person)
    assert (event.kind == "complaint") is (event.feedback_type in COMPLAINTS)
    assert event.original.message_ids[0] == "<1@acme.example>"


@pytest.mark.parametrize(
    ("fields", "to", "complainants"),
    [
        ("", "Bob <bob@example.net>", ["bob@example.net"]),
        ("Original-Rcpt-To: eve@example.net\n", "Bob <bob@example.net>", ["eve@example.net"]),
        ("Original-Rcpt-To: <a@b.example>\nOriginal-Rcpt-To: Bob@b.example\n", "x", ["a@b.example", "Bob@b.example"]),
        ("Original-Rcpt-To: eve@example.net\nRemoval-Recipient: a@example.net\n", "x", ["a@example.net"]),
        ("Original-Rcpt-To: redacted@example.net\n", "Bob <bob@example.net>", []),
        ("", "redacted@example.net", []),
        ("", "undisclosed-recipients:;", []),
        ("", "bob@example.net, eve@example.net, a@example.net", []),
    ],
)  # fmt: skip
def test_who_complained(fields: str, to: str, complainants: list[str]) -> None:
    assert who(feedback(f"Feedback-Type: abuse\nVersion: 1\n{fields}", to=to)) == complainants


def test_a_report_under_a_wrong_type_is_found() -> None:
    event = feedback("Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n", kind="text/plain")
    assert (event.kind, who(event)) == ("complaint", ["bob@example.net"])


def test_microsofts_forwards_with_a_recipient_and_without() -> None:
    for field, to, complainants in (
        ("X-HmXmrOriginalRecipient: bob@example.net\n", "news readers", ["bob@example.net"]),
        ("", "eve@example.net", ["eve@example.net"]),
        ("", "undisclosed", []),
    ):
        raw = (
            "From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\n"
            "Content-Type: multipart/mixed; boundary=b\n\n"
            f"--b\nContent-Type: message/rfc822\n\n{field}{MAIL.format(to=to)}\n--b--\n"
        )
        event = read(raw.encode(), rules=RULES, at=NOW)
        assert (event.kind, event.feedback_type, who(event)) == ("complaint", "abuse", complainants)
        assert event.original.message_ids == ("<1@acme.example>",)


def test_microsofts_oldest_form_is_the_mail_itself() -> None:
    raw = f"Return-Path: <staff@hotmail.com>\nX-HmXmrOriginalRecipient: bob@example.net\n{MAIL.format(to='somebody')}"
    event = read(raw.encode(), rules=RULES, at=NOW)
    assert (event.kind, event.feedback_type, who(event)) == ("complaint", "abuse", ["bob@example.net"])
    assert event.original.message_ids == ("<1@acme.example>",)
