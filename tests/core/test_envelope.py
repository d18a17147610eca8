"""gateway/mail/envelope.py: what MAIL and RCPT may say (RFC 5321 4.1.2, RFC 3461, RFC 6531)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt, read_mail, read_rcpt, unxtext
from gateway.mail.reply import Reply

LONG_LOCAL = b"a" * 64
LONG_DOMAIN = b".".join([b"d" * 60] * 4)


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        (b"FROM:<>", ""),
        (b"FROM:<anna@example.com>", "anna@example.com"),
        (b"from: <anna@example.com>", "anna@example.com"),
        (b"FROM :<anna@example.com>", "anna@example.com"),
        (b"FROM:anna@example.com", "anna@example.com"),
        (b"FROM:<a+b=c{d}|e~!#$%&'*/?^_`@x-y.example>", "a+b=c{d}|e~!#$%&'*/?^_`@x-y.example"),
        (b'FROM:<"anna maria"@example.com>', '"anna maria"@example.com'),
        (b'FROM:<"a\\"b\\\\c@d"@example.com>', '"a\\"b\\\\c@d"@example.com'),
        (b"FROM:<@relay.example,@other.example:anna@example.com>", "anna@example.com"),
        (b"FROM:<anna@[192.0.2.1]>", "anna@[192.0.2.1]"),
        (b"FROM:<anna@[IPv6:2001:db8::1]>", "anna@[IPv6:2001:db8::1]"),
        (b"FROM:<" + LONG_LOCAL + b"@example.com>", "a" * 64 + "@example.com"),
        (b"FROM:<anna@localhost>", "anna@localhost"),
    ],
)
def test_a_path_is_read(argument: bytes, address: str) -> None:
    read = read_mail(argument)
    assert isinstance(read, MailFrom)
    assert read == MailFrom(address=address)


@pytest.mark.parametrize(
    "path",
    [
        b"<anna>",
        b"<anna@>",
        b"<@example.com>",
        b"<anna@example.com",
        b"anna@example.com>",
        b"<<anna@example.com>>",
        b"<anna@example.com>x",
        b"<anna@@example.com>",
        b"<anna@exa mple.com>",
        b"<an na@example.com>",
        b"<anna@-example.com>",
        b"<anna@example-.com>",
        b"<anna@example..com>",
        b"<anna@example.com.>",
        b"<anna@exam_ple.com>",
        b"<.anna@example.com>",
        b"<anna.@example.com>",
        b"<an..na@example.com>",
        b'<"anna@example.com>',
        b'<"an"na"@example.com>',
        b"<anna@[192.0.2.256]>",
        b"<anna@[IPv6:2001:db8::g]>",
        b"<anna@[tag:content]>",
        b"<anna@192.0.2.1]>",
        b"<a" + LONG_LOCAL + b"@example.com>",
        b"<anna@" + b"d" * 64 + b".example>",
        b"<" + LONG_LOCAL + b"@" + LONG_DOMAIN + b">",
        b"<anna@" + LONG_DOMAIN + b"." + b"d" * 20 + b">",
        b"<anna@example.com\t>",
        b"<anna@example.com> \xff",
        b"<ann\xff@example.com>",
        b"<\xe2\x80\xae\xc3\xa9@example.com>",
        b"",
        b" ",
    ],
)
def test_a_broken_path_is_refused(path: bytes) -> None:
    sender, recipient = read_mail(b"FROM:" + path), read_rcpt(b"TO:" + path, smtputf8=True)
    assert isinstance(sender, Reply) and sender.code in (501, 550)
    assert recipient == reply.BAD_RECIPIENT


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (b"TO:<Postmaster>", Rcpt(address="Postmaster@bounce.acme.example")),
        (b"to: <POSTMASTER> NOTIFY=NEVER",
         Rcpt(address="POSTMASTER@bounce.acme.example", notify=frozenset({"NEVER"}))),
        (b"TO:<postmaster@acme.example>", Rcpt(address="postmaster@acme.example")),
        (b"TO:postmaster", reply.BAD_RECIPIENT),
        (b"TO:<postmasters>", reply.BAD_RECIPIENT),
        (b"TO:<postmaster>x", reply.BAD_RECIPIENT),
    ],
)  # fmt: skip
def test_postmaster_needs_no_domain_where_it_is_known_whose_that_is(argument: bytes, said: Rcpt | Reply) -> None:
    assert read_rcpt(argument, smtputf8=False, postmaster_at="bounce.acme.example") == said


def test_an_address_of_254_octets_fits_and_one_of_255_does_not() -> None:
    domain = b".".join([b"d" * 47] * 3 + [b"d" * 45])
    fits = LONG_LOCAL + b"@" + domain
    assert len(fits) == 254
    assert isinstance(read_mail(b"FROM:<" + fits + b">"), MailFrom)
    assert read_mail(b"FROM:<" + fits + b"d>") == reply.BAD_SENDER


def test_the_null_path_is_for_senders_only() -> None:
    assert read_rcpt(b"TO:<>", smtputf8=False) == reply.BAD_RECIPIENT


@pytest.mark.parametrize("argument", [b"", b"<anna@example.com>", b"TO:<anna@example.com>", b"FROM<anna@example.com>"])
def test_mail_without_from_is_a_syntax_error(argument: bytes) -> None:
    assert read_mail(argument) == reply.BAD_ARGUMENTS


@pytest.mark.parametrize("argument", [b"", b"<anna@example.com>", b"FROM:<anna@example.com>"])
def test_rcpt_without_to_is_a_syntax_error(argument: bytes) -> None:
    assert read_rcpt(argument, smtputf8=False) == reply.BAD_ARGUMENTS


def test_mail_parameters_are_carried() -> None:
    read = read_mail(b"FROM:<anna@example.com> SIZE=1234  body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B314 AUTH=<>")
    assert read == MailFrom(
        address="anna@example.com", size=1234, body_8bit=True, smtputf8=True, ret="HDRS", envid="QQ+2B314"
    )
    assert unxtext("QQ+2B314") == "QQ+314"


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        (b"SIZE", reply.BAD_ARGUMENTS),
        (b"SIZE=", reply.BAD_ARGUMENTS),
        (b"SIZE=-1", reply.BAD_ARGUMENTS),
        (b"SIZE=1e3", reply.BAD_ARGUMENTS),
        ("SIZE=١".encode(), reply.BAD_ARGUMENTS),
        (b"SIZE=123456789012345678901", reply.BAD_ARGUMENTS),
        (b"SIZE=1 SIZE=1", reply.BAD_ARGUMENTS),
        (b"BODY=BINARYMIME", reply.BAD_ARGUMENTS),
        (b"BODY", reply.BAD_ARGUMENTS),
        (b"SMTPUTF8=1", reply.BAD_ARGUMENTS),
        (b"RET=ALL", reply.BAD_ARGUMENTS),
        (b"ENVID=a+2", reply.BAD_ARGUMENTS),
        (b"ENVID=a+0Ab", reply.BAD_ARGUMENTS),
        (b"ENVID=a=b", reply.BAD_ARGUMENTS),
        (b"ENVID=" + b"x" * 101, reply.BAD_ARGUMENTS),
        (b"AUTH=a=b", reply.BAD_ARGUMENTS),
        (b"=1", reply.BAD_ARGUMENTS),
        (b"NOTIFY=NEVER", reply.UNKNOWN_PARAMETER),
        (b"X-OTHER=1", reply.UNKNOWN_PARAMETER),
    ],
)
def test_bad_mail_parameters_are_refused(parameters: bytes, answer: Reply) -> None:
    assert read_mail(b"FROM:<anna@example.com> " + parameters) == answer


def test_rcpt_parameters_are_carried() -> None:
    read = read_rcpt(b"TO:<bob@example.org> NOTIFY=failure,DELAY ORCPT=rfc822;bob+2Bold@example.org", smtputf8=False)
    assert read == Rcpt(
        address="bob@example.org", notify=frozenset({"FAILURE", "DELAY"}), orcpt="rfc822;bob+2Bold@example.org"
    )
    never = read_rcpt(b"TO:<bob@example.org> NOTIFY=NEVER", smtputf8=False)
    assert isinstance(never, Rcpt) and never.notify == {"NEVER"}


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        (b"NOTIFY", reply.BAD_ARGUMENTS),
        (b"NOTIFY=", reply.BAD_ARGUMENTS),
        (b"NOTIFY=NEVER,DELAY", reply.BAD_ARGUMENTS),
        (b"NOTIFY=SUCCESS,", reply.BAD_ARGUMENTS),
        (b"NOTIFY=SOMETIMES", reply.BAD_ARGUMENTS),
        (b"ORCPT=bob@example.org", reply.BAD_ARGUMENTS),
        (b"ORCPT=;bob@example.org", reply.BAD_ARGUMENTS),
        (b"ORCPT=rfc822;", reply.BAD_ARGUMENTS),
        (b"ORCPT=rfc822;bob+zz", reply.BAD_ARGUMENTS),
        (b"ORCPT=rfc822;bob+0D+0ADATA", reply.BAD_ARGUMENTS),
        (b"ORCPT=rfc822;" + b"x" * 500, reply.BAD_ARGUMENTS),
        ("ORCPT=utf-8;bøb@example.org".encode(), reply.BAD_ARGUMENTS),
        (b"SIZE=1", reply.UNKNOWN_PARAMETER),
    ],
)
def test_bad_rcpt_parameters_are_refused(parameters: bytes, answer: Reply) -> None:
    assert read_rcpt(b"TO:<bob@example.org> " + parameters, smtputf8=False) == answer


def test_no_parameters_after_helo() -> None:
    assert read_mail(b"FROM:<anna@example.com> SIZE=1", extended=False) == reply.UNKNOWN_PARAMETER
    assert read_rcpt(b"TO:<bob@example.org> NOTIFY=NEVER", smtputf8=False, extended=False) == reply.UNKNOWN_PARAMETER


def test_addresses_beyond_ascii_need_smtputf8() -> None:
    sender, recipient = "FROM:<zoë@bücher.example>".encode(), "TO:<zoë@bücher.example>".encode()
    assert read_mail(sender) == reply.NO_UTF8_HERE
    assert read_mail(sender + b" SIZE=1") == reply.NO_UTF8_HERE
    assert read_rcpt(recipient, smtputf8=False) == reply.NO_UTF8_HERE
    assert read_mail(sender + b" SMTPUTF8") == MailFrom(address="zoë@bücher.example", smtputf8=True)
    assert read_rcpt(recipient + " ORCPT=utf-8;zoë@x".encode(), smtputf8=True) == Rcpt(
        address="zoë@bücher.example", orcpt="utf-8;zoë@x"
    )
    over = "TO:<" + "ë" * 33 + "@example.org>"
    assert read_rcpt(over.encode(), smtputf8=True) == reply.BAD_RECIPIENT, "64 octets, not 64 characters"


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_give_a_value_or_a_reply(argument: bytes, smtputf8: bool) -> None:
    """Whatever follows MAIL FROM: or RCPT TO:, the answer is a value or a reply, and a value's address is clean."""
    for prefix in (b"", b"<", b"<a@"):
        for read in (read_mail(b"FROM:" + prefix + argument), read_rcpt(b"TO:" + prefix + argument, smtputf8=smtputf8)):
            if isinstance(read, Reply):
                assert read.code >= 500
            else:
                assert len(read.address.encode()) <= 254
                assert not set(read.address) & set("\r\n\0")


def test_values_are_frozen() -> None:
    envelope = Envelope(
        login="news",
        suffix=None,
        mail_from="",
        rcpts=(Rcpt(address="bob@example.org"),),
        content=b"",
        body_8bit=False,
        smtputf8=False,
        ret=None,
        envid=None,
        peer_ip="127.0.0.1",
        helo="client",
        tls=False,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        envelope.login = "other"  # type: ignore[misc]
