"""Our own verifier says what dkimpy says, of our signatures and of anybody's, and names what was changed."""

import re
from pathlib import Path

import dkim as dkimpy
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from gateway.mail import dkim
from gateway.mail.dkim_check import check, names_asked
from tests.core.test_dkim import BODY, ED, HEAD, RSA, body_of_mail, fields_of_mail

RECORDS = {f"{s.selector}._domainkey.{s.domain}": dkim.public_record(s) for s in (RSA, ED)}
PEM = dkim.generate("rsa-sha256")
OTHER = dkim.load_signer("other.example", "s1", PEM)
PUBLISHED = RECORDS | {"s1._domainkey.other.example": dkim.public_record(OTHER)}
SIGNED = dkim.sign(HEAD, BODY, [RSA, ED], at=1_700_000_000) + HEAD + b"\r\n" + BODY


def test_both_of_our_signatures_verify() -> None:
    assert names_asked(SIGNED) == ("cg1._domainkey.acme.example", "cg2._domainkey.acme.example")
    found = check(SIGNED, RECORDS)
    assert [(one.algorithm, one.why) for one in found] == [("rsa-sha256", ""), ("ed25519-sha256", "")]
    assert all(one.covers("list-unsubscribe-post") and not one.covers("x-tool") for one in found)
    assert names_asked(HEAD + b"\r\n" + BODY) == () and check(HEAD + b"\r\n" + BODY, RECORDS) == ()


@given(fields_of_mail, body_of_mail)
@settings(max_examples=100, deadline=None)
def test_whatever_we_sign_verifies(head: bytes, body: bytes) -> None:
    wire = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    message = dkim.sign(head, body, [RSA, ED], at=None) + head + b"\r\n" + wire
    assert [one.why for one in check(message, RECORDS)] == ["", ""]


@given(
    st.sampled_from([b"simple", b"relaxed"]), st.sampled_from([b"simple", b"relaxed"]), body_of_mail,
    st.integers(0, 400), st.sampled_from([b"x", b" ", b"\r\n", b"\t"]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_dkimpy_on_signatures_of_dkimpy_and_on_what_was_changed(
    head_form: bytes, body_form: bytes, body: bytes, at: int, put: bytes
) -> None:
    wire = HEAD + b"\r\n" + (body if body.endswith(b"\r\n") or not body else body + b"\r\n")
    signature = dkimpy.sign(
        wire, b"s1", b"other.example", PEM, canonicalize=(head_form, body_form), include_headers=[b"from", b"subject"]
    )
    message = signature + wire
    assert [one.why for one in check(message, PUBLISHED)] == [""]
    changed = signature + wire[:at] + put + wire[at:]
    record = PUBLISHED["s1._domainkey.other.example"].encode()
    head = changed.split(b"\r\n\r\n")[0]
    # line ends that SMTP has not, a head without an end or a last line without one are read otherwise by dkimpy
    assume(b"\r\n\r\n" in changed and changed.endswith(b"\r\n"))
    assume(not re.search(rb"\r(?!\n)|(?<!\r)\n", head))
    try:
        theirs = bool(dkimpy.verify(changed, dnsfunc=lambda name, timeout=5: record))
    except Exception:  # a head that is none any more: dkimpy reads no message there
        reject()
    assert check(changed, PUBLISHED)[0].good == theirs


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"Dear Bob", b"Dear Eve", "the body was changed"),
        (b"Spring\r\n", b"Summer\r\n", "a signed field was changed"),
        (b"List-Id:", b"X-List-Id:", "a signed field was changed"),
        (b"MIME-Version", b"List-Unsubscribe: <https://p.example>\r\nMIME-Version", "changed, added or taken out"),
        (b"d=acme.example", b"d=nobody.example", "no record is published"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "does not count"),
        (b"a=rsa-sha256", b"a=ed25519-sha256", "another kind of key"),
        (b"h=from:from:", b"h=", "From is not signed"),
        (b"v=1; a=rsa", b"v=1; v=1; a=rsa", "twice"),
        (b"c=relaxed/relaxed;", b"c=relaxed/relaxed; l=3;", "a part of the body"),
        (b"c=relaxed/relaxed;", b"c=relaxed/relaxed; x=1699999999;", "expired"),
        (b"c=relaxed/relaxed;", b"c=relaxed/relaxed; i=@evil.example;", "i= is not in d="),
        (b"c=relaxed/relaxed;", b"c=loose;", "a form nobody knows"),
    ],
)
def test_what_is_wrong_is_said(old: bytes, new: bytes, said: str) -> None:
    assert SIGNED.count(old) >= 1
    first = check(SIGNED.replace(old, new, 1), RECORDS, at=1_700_000_000)[0]
    assert said in first.why and not first.covers("from")


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("v=DKIM1; k=rsa; p=", "revoked"),
        ("v=DKIM2; p=AAAA", "not DKIM1"),
        ("v=DKIM1; h=sha1; p=AAAA", "does not allow sha256"),
        ("v=DKIM1; s=other; p=AAAA", "does not allow e-mail"),
        ("v=DKIM1; k=ed25519; p=AAAA", "holds no key"),
        ("v=DKIM1; k=rsa", "has no p="),
        ("nonsense", "no tag=value"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(record: str, said: str) -> None:
    assert said in check(SIGNED, RECORDS | {"cg1._domainkey.acme.example": record})[0].why


def test_newsletters_of_the_corpus_verify(corpus: Path) -> None:
    for file in sorted((corpus / "newsletters").glob("*.eml")):
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        head += b"\r\n"
        fields = dkim.sign(head, body, [RSA, ED], at=1_700_000_000)
        ours = [one for one in check(fields + head + b"\r\n" + body, RECORDS) if one.domain == "acme.example"]
        assert [one.why for one in ours[:2]] == ["", ""], file.name
