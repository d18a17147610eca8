"""Whatever is signed verifies elsewhere; whatever is changed or added afterwards does not."""

import base64
import os
import re
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from dkim.canonicalization import Relaxed
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import dkim, provider

RSA = dkim.load_signer("acme.example", "cg1", dkim.generate("rsa-sha256"))
ED = dkim.load_signer("acme.example", "cg2", dkim.generate("ed25519-sha256"))
RECORDS = {f"{s.selector}._domainkey.{s.domain}.".encode(): dkim.public_record(s).encode() for s in (RSA, ED)}

SMALL_PRIMES = (
    "D2AA655CDDD38E161900944C4D26611A45D7855A287B30001E341BE414421712D9135774B27874200A69ADF591D9161D",
    "FC13319D939AF4C76B90B2434EDFC220E6D702363452972805B8F1DD32C13CE84BFB87F9ADEA7D49FBA8AC337AFF7BCB",
)
HEAD = (
    b"From: Acme <news@acme.example>\r\nTo: bob@example.net\r\nSubject: Spring\r\n  wines\r\n"
    b"DATE: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\nX-Tool: listmonk\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; \tcharset=utf-8\r\n"
    b"List-Unsubscribe: <https://u.example/o/1>,\r\n <mailto:unsub@u.example?subject=1>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Id: <news.acme.example>\r\n"
)
BODY = b"Dear Bob,\r\n\r\nSpring is here.\r\n"


def rsa_key(bits: int) -> bytes:
    """An RSA key of a size that is made no more; 768 bits out of two primes, for no library makes one."""
    if bits == 768:
        p, q = (int(text, 16) for text in SMALL_PRIMES)
        d = rsa.rsa_recover_private_exponent(65537, p, q)
        key = rsa.RSAPrivateNumbers(
            p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q),
            rsa.RSAPublicNumbers(65537, p * q),
        ).private_key()  # fmt: skip
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def verifies(message: bytes) -> bool:
    """The topmost signature, by dkimpy."""
    return bool(dkimpy.verify(message, dnsfunc=lambda name, timeout=5: RECORDS[name]))


def signed(head: bytes, body: bytes, **options: frozenset[bytes]) -> bytes:
    return dkim.sign(head, body, [RSA], at=1_700_000_000, **options) + head + b"\r\n" + body


def named(fields: bytes) -> list[bytes]:
    """The names in the h= tag."""
    found = re.search(rb"\bh=([^;]*);", fields)
    assert found
    return re.sub(rb"\s", b"", found[1]).split(b":")


def all_verify(message: bytes, count: int) -> bool:
    """Every signature, one by one, by dkimpy."""
    return all(
        dkimpy.DKIM(message).verify(idx=number, dnsfunc=lambda name, timeout=5: RECORDS[name])
        for number in range(count)
    )


# A piece that is any octet but CR and LF; other control white space is left out of header values because dkimpy
# trims it there and RFC 6376 3.4.2 does not.
octet = st.integers(1, 255).filter(lambda n: n not in (10, 13)).map(lambda n: bytes([n]))
header_octet = octet.filter(lambda b: b not in (b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x1f", b"\x85"))
value = st.lists(
    st.one_of(header_octet, st.sampled_from([b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t", b"a", b"word", b":"])),
    max_size=20,
).map(b"".join)
known_name = st.sampled_from([*dkim.OVERSIGNED, *dkim.SIGNED]).flatmap(
    lambda n: st.sampled_from([n, n.title(), n.upper(), n.swapcase()])
)
other_name = st.from_regex(rb"X-[A-Za-z0-9-]{1,10}", fullmatch=True)
fields_of_mail = st.lists(st.tuples(st.one_of(known_name, other_name), value), max_size=12).map(
    lambda pairs: b"".join(n + b":" + v + b"\r\n" for n, v in pairs)
)
body_of_mail = st.lists(
    st.one_of(octet, st.sampled_from([b"\r\n", b" \r\n", b"\t\r\n", b"\r\n\r\n", b"  ", b"\t", b"word", b"\x00"])),
    max_size=40,
).map(b"".join)


@given(fields_of_mail, body_of_mail)
@settings(max_examples=100, deadline=None)
def test_any_head_and_body_verifies_with_dkimpy(head: bytes, body: bytes) -> None:
    wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"  # what SMTP makes of it
    assert verifies(dkim.sign(head, body, [RSA], at=None) + head + b"\r\n" + wire)


@given(fields_of_mail, body_of_mail)
@settings(max_examples=100, deadline=None)
def test_any_head_and_body_verifies_with_ed25519(head: bytes, body: bytes) -> None:
    wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert verifies(dkim.sign(head, body, [ED], at=1_700_000_000) + head + b"\r\n" + wire)


@given(body_of_mail)
def test_the_relaxed_body_is_that_of_dkimpy_and_is_its_own_relaxed_form(body: bytes) -> None:
    wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    relaxed = dkim.relaxed_body(body)
    assert relaxed == Relaxed.canonicalize_body(wire)
    assert dkim.relaxed_body(relaxed) == relaxed


@pytest.mark.parametrize(
    ("body", "relaxed"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b" \t\r\n\r\n", b""),
        (b"\r\n" * 5000, b""),
        (b"a", b"a\r\n"),
        (b"a \t", b"a\r\n"),
        (b"a\r\n" + b" \r\n" * 3000, b"a\r\n"),
        (b" a \t b\t\r\n\r\nc\r\n", b" a b\r\n\r\nc\r\n"),
        (b"a\r\r\n\r\n", b"a\r\r\n"),
        (b"a\r\n\r\n\r\nb\r\n\r\n", b"a\r\n\r\n\r\nb\r\n"),
    ],
)
def test_relaxed_body(body: bytes, relaxed: bytes) -> None:
    assert dkim.relaxed_body(body) == relaxed


def test_the_fields_of_the_rule_book_are_signed_and_the_absent_ones_sealed() -> None:
    names = named(signed(HEAD, BODY))
    assert {name: names.count(name) for name in names} == {
        b"from": 2, b"to": 2, b"subject": 2, b"date": 2, b"reply-to": 1, b"list-unsubscribe": 2,
        b"list-unsubscribe-post": 2, b"message-id": 1, b"mime-version": 1, b"content-type": 1, b"list-id": 1,
    }  # fmt: skip
    assert b" l=" not in signed(HEAD, BODY).split(b"\r\nFrom:")[0]


@pytest.mark.parametrize("name", dkim.OVERSIGNED)
def test_a_sealed_field_cannot_be_added(name: bytes) -> None:
    message = signed(HEAD, BODY)
    assert verifies(message)
    assert not verifies(name.title() + b": added\r\n" + message)


def test_a_changed_field_or_body_no_longer_verifies() -> None:
    message = signed(HEAD, BODY)
    assert not verifies(message.replace(b"Subject: Spring", b"Subject: Summer"))
    assert not verifies(message.replace(b"o/1", b"o/2"))
    assert not verifies(message.replace(b"Dear Bob", b"Dear Eve"))
    assert not verifies(message + b"P.S. pay here\r\n")
    assert verifies(message.replace(b"X-Tool: listmonk\r\n", b""))


def test_of_a_field_given_twice_both_are_signed() -> None:
    head = b"Subject: one\r\nFrom: a@acme.example\r\nsubject: two\r\n"
    message = signed(head, BODY)
    assert named(message).count(b"subject") == 3
    assert verifies(message)
    assert not verifies(message.replace(b"Subject: one", b"Subject: 1"))
    assert not verifies(message.replace(b"subject: two", b"subject: 2"))


def test_white_space_before_the_colon_belongs_to_neither_name_nor_value() -> None:
    # RFC 6376 3.4.2 deletes it; dkimpy refuses such a field, so the two spellings are compared instead
    plain = dkim.sign(b"From: a\r\nSubject: b\r\n", BODY, [ED], at=1)
    assert dkim.sign(b"FROM : a\r\nSubject\t:b \r\n", BODY, [ED], at=1) == plain


def test_what_the_provider_rewrites_is_left_out() -> None:
    message = signed(HEAD, BODY, omit=provider.omitted(["email-smtp.eu-west-1.amazonaws.com"]))
    assert not {b"date", b"message-id"} & set(named(message))
    assert verifies(message.replace(b"20 Nov", b"21 Nov").replace(b"<1@acme", b"<2@acme"))
    with pytest.raises(ValueError, match="From"):
        dkim.sign(HEAD, BODY, [RSA], at=None, omit=frozenset({b"from"}))


def test_two_signers_make_two_fields_of_which_each_verifies() -> None:
    fields = dkim.sign(HEAD, BODY, [RSA, ED], at=1_700_000_000)
    assert fields.count(b"DKIM-Signature:") == 2
    assert all_verify(fields + HEAD + b"\r\n" + BODY, 2)
    changed = dkimpy.DKIM(fields + HEAD.replace(b"Spring", b"Summer") + b"\r\n" + BODY)
    assert not any(changed.verify(idx=n, dnsfunc=lambda name, timeout=5: RECORDS[name]) for n in (0, 1))
    assert dkim.sign(HEAD, BODY, [], at=1) == b""


def test_no_line_of_the_signature_is_long() -> None:
    fields = dkim.sign(HEAD + b"Cc: x\r\n" * 30, BODY, [RSA, ED], at=1_700_000_000)
    assert max(len(line) for line in fields.split(b"\r\n")) <= 78


def test_newsletters_verify(corpus: Path) -> None:
    files = sorted((corpus / "newsletters").glob("*.eml"))
    assert len(files) > 20
    for file in files:
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        head += b"\r\n"
        fields = dkim.sign(head, body, [RSA, ED], at=1_700_000_000)
        assert all_verify(fields + head + b"\r\n" + body, 2), file.name


def test_the_zone_line_holds_the_record_in_strings_of_at_most_255_octets() -> None:
    for signer in (RSA, ED):
        record = dkim.public_record(signer)
        zone = dkim.bind_txt(signer.domain, signer.selector, record)
        assert zone.startswith(f"{signer.selector}._domainkey.acme.example. IN TXT ( ")
        strings = re.findall(r'"([^"]*)"', zone)
        assert "".join(strings) == record and max(map(len, strings)) <= 255
        assert zone.endswith(" )\n") and ";" not in re.sub(r'"[^"]*"', "", zone)
    assert len(re.findall('"', dkim.bind_txt("a.example", "s", dkim.public_record(RSA)))) == 4


def test_the_public_record_is_the_key() -> None:
    assert dkim.public_record(ED).startswith("v=DKIM1; k=ed25519; p=")
    published = base64.b64decode(dkim.public_record(RSA).partition("p=")[2])
    assert serialization.load_der_public_key(published) == RSA.key.public_key()
    with pytest.raises(ValueError):
        dkim.bind_txt("a.example", "s", "v=DKIM1\n")


def test_keys_that_do_not_do_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    locked = RSA.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for pem in (b"not a key", curve, locked, os.urandom(40)):
        with pytest.raises(ValueError):
            dkim.load_signer("acme.example", "cg1", pem)
    with pytest.raises(ValueError, match="2048"):
        dkim.generate("rsa-sha256", 1024)
    small = rsa_key(1024)
    assert dkim.load_signer("acme.example", "cg1", small).weak and not RSA.weak and not ED.weak
    with pytest.raises(ValueError, match="1024"):
        dkim.load_signer("acme.example", "cg1", rsa_key(768))
    for domain, selector in (("acme .example", "cg1"), ("acmé.example", "cg1"), ("acme.example", "a;b"), ("", "s")):
        with pytest.raises(ValueError, match="DNS name"):
            dkim.Signer(domain=domain, selector=selector, algorithm="rsa-sha256", key=RSA.key)
    with pytest.raises(ValueError):
        dkim.Signer(domain="acme.example", selector="cg1", algorithm="ed25519-sha256", key=RSA.key)
