"""Captured mail as values: what a role that may not read addresses gets to see of them."""

import pytest

from gateway.web.staff.shown_mail import ShownMail, read_mail

ADDRESS = "anna+x@example.org"
SPELLINGS = [
    "ANNA+X@Example.ORG", "anna+x%40example.org", "anna%2Bx%40example.org", "anna%2bx@example.org",
    "anna+x&#64;example.org", "anna+x&#x40;example&#46;org", "&#97;nna+x@example.org", "ann&#0097;&#43x@example.org",
    "anna+x&commat;example.org", "%61nna+x@example.org",
]  # fmt: skip


def shown(html: str, *, mask: bool, more: str = "") -> ShownMail:
    mail = f"To: {ADDRESS}\r\nSubject: voor {ADDRESS}\r\n{more}Content-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n"
    return read_mail(mail.encode(), public_url="http://x", is_token=lambda _: False, recipient=ADDRESS, mask=mask)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_address_is_shortened_however_it_is_spelled(spelling: str) -> None:
    assert shown(f"<p>{spelling}.</p>", mask=True).html == "<p>a***@example.org.</p>\r\n"
    assert shown(f"<p>{spelling}.</p>", mask=False).html == f"<p>{spelling}.</p>\r\n"


def test_also_in_fields_and_return_paths() -> None:
    more = "Return-Path: <b+anna+x=example.org@acme.example>\r\nX-To: anna+x@example.org\r\n"
    mail = shown("x", mask=True, more=more)
    assert mail.subject == "voor a***@example.org"
    assert dict(mail.fields)["Return-Path"] == "<b+a***@example.org@acme.example>"
    assert dict(mail.fields)["X-To"] == dict(mail.fields)["To"] == "a***@example.org"


def test_a_charset_that_is_none_takes_no_time_to_read() -> None:
    """`punycode` is a codec of the standard library, and quadratic: this would take minutes."""
    mail = b"Subject: x\r\nContent-Type: text/html; charset=punycode\r\n\r\n" + b"a" * 10**6 + b"-" + b"b9" * 10**6
    read = read_mail(mail, public_url="http://x", is_token=lambda _: False, recipient=ADDRESS, mask=True)
    assert read.html is not None and read.html.startswith("aaa")


def test_other_addresses_stay() -> None:
    assert shown("bob@example.org, xanna@example.org", mask=True).html == "bob@example.org, xanna@example.org\r\n"
