"""Which mail keeps its body, which fields a copy loses and gains, what is reported of it."""

import re
from dataclasses import replace

import pytest

from gateway.mail.footer import Footer
from gateway.mail.mime import parse
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import NotInjectable, rewrite
from tests.mails import (
    FOOTER,
    FRENCH,
    HTML,
    copied,
    field_lines,
    fill,
    leaf,
    leaves,
    links,
    message,
    multipart,
    names,
    octets,
)  # fmt: skip

# --- mail that must stay as it is


PGP = "-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n{}\r\n-----BEGIN PGP SIGNATURE-----\r\n\r\nx\r\n"
STOP = "Afmelden: https://tool.example/u\r\n"


@pytest.mark.parametrize(
    ("root", "protection", "unsubscribe"),
    [
        (multipart("signed", leaf("Hoi\r\n"), leaf("s", "application/pgp-signature")), "signed", "not_injectable"),
        (multipart("signed", leaf(STOP), leaf("s", "application/pgp-signature")), "signed", "present"),
        (multipart("signed", multipart("alternative", leaf("x"), leaf('<a href="https://t.example/">Unsubscribe</a>',
         "text/html"), boundary="i"), leaf("s", "application/pkcs7-signature")), "signed", "present"),
        (multipart("mixed", multipart("signed", leaf(STOP), leaf("s", "application/x"), boundary="i")), "signed",
         "present"),
        (multipart("encrypted", leaf("x", "application/pgp-encrypted"), leaf(STOP, "application/octet-stream")),
         "encrypted", "not_injectable"),
        (leaf("AAAA", "application/pkcs7-mime; smime-type=enveloped-data", cte="base64"), "encrypted",
         "not_injectable"),
        (leaf("AAAA", "application/x-pkcs7-mime; smime-type=signed-data", cte="base64"), "signed",
         "not_injectable"),
        (leaf(PGP.format("Hoi")), "pgp", "not_injectable"),
        (leaf(PGP.format(STOP), cte="base64"), "pgp", "present"),
        (multipart("alternative", leaf(STOP), leaf("BEGIN:VCALENDAR", "text/calendar; method=REQUEST")), "invitation",
         "present"),
        (multipart("alternative", leaf("x"), leaf("BEGIN:VCALENDAR", "text/calendar; method=CANCEL")), "invitation",
         "not_injectable"),
        (leaf("BEGIN:VCALENDAR", "text/calendar"), "invitation", "not_injectable"),
    ],
)  # fmt: skip
def test_protected_mail_keeps_its_body(root: bytes, protection: str, unsubscribe: str) -> None:
    raw = message(root)
    plan = make_plan(parse(raw), Wants(marketing=True, relay=True))
    assert (plan.protection, plan.unsubscribe, plan.footer) == (protection, unsubscribe, "fields-only")
    if unsubscribe == "not_injectable":
        with pytest.raises(NotInjectable):
            rewrite(plan, fill())
        return
    done = rewrite(plan, fill())
    assert done.body == root.partition(b"\r\n\r\n")[2]
    assert names(done.head).count("list-unsubscribe") == 1


def test_a_footer_goes_beside_a_signed_part_that_is_attached() -> None:
    signed = multipart("signed", leaf("Hoi\r\n"), leaf("s", "application/pgp-signature"), boundary="s")
    raw = message(multipart("mixed", leaf("Zie bijlage\r\n"), signed))
    copy = copied(raw)
    assert copy.done.footer == "text" and signed in copy.raw


def signed_field(names_: str) -> str:
    return f"DKIM-Signature: v=1; a=rsa-sha256; d=tool.example; s=a;\r\n h={names_};\r\n bh=AAAA; b=BBBB\r\n"


# --- fields


def test_marketing_gets_its_list_fields_and_loses_what_is_not_for_the_recipient() -> None:
    more = (
        "X-Consentgate-Stream: newsletter\r\nBcc: boss@acme.example\r\nx-mailtrain-dkim: -----BEGIN\r\n KEY\r\n"
        "Content-Length: 12\r\nLines: 3\r\nX-Keep:  two  blanks \r\nList-Unsubscribe: <https://tool.example/u>\r\n"
        "Resent-Bcc: x@acme.example\r\nReceived: from a\r\n by b; date\r\nX-CONSENTGATE-Purpose: x\r\n"
    )
    raw = message(leaf("Hoi\r\n"), more=more)
    copy = copied(raw)
    assert field_lines(copy.raw) == [
        b"From: Acme <news@acme.example>\r\n", b"To: anna@example.org\r\n", b"Subject: Wijn\r\n",
        b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\n", b"Message-ID: <1@acme.example>\r\n",
        b"X-Keep:  two  blanks \r\n", b"Received: from a\r\n by b; date\r\n", b"MIME-Version: 1.0\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\n", b"Content-Transfer-Encoding: 7bit\r\n",
        f"List-Unsubscribe: <{links().one_click}>,\r\n <{links().mailto}>\r\n".encode(),
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        b'List-Id: "Acme wijn" <newsletter.acme.example>\r\n', b"Feedback-ID: c42:newsletter:acme:cgate\r\n",
    ]  # fmt: skip


def test_a_senders_list_id_and_feedback_id_stay() -> None:
    raw = message(leaf("Hoi\r\n"), more="List-ID: <own.acme.example>\r\nFeedback-Id: own\r\n")
    copy = copied(raw)
    assert copy.mail.get_all("List-Id") == ["<own.acme.example>"] and copy.mail.get_all("Feedback-ID") == ["own"]


def test_transactional_mail_gets_neither_footer_nor_list_fields() -> None:
    raw = message(leaf("Uw bestelling\r\n"), more="List-Unsubscribe: <https://tool.example/u>\r\nBcc: x@y.example\r\n")
    copy = copied(raw, marketing=False, fill_in=fill(links=None, footer=None))
    assert copy.raw == message(leaf("Uw bestelling\r\n"))
    assert copy.done.footer == "fields-only"


def test_missing_date_and_message_id_are_added_and_present_ones_kept() -> None:
    raw = b"From: a@acme.example\r\nTo: anna@example.org\r\n\r\nHoi\r\n"
    copy = copied(raw, marketing=False, fill_in=fill(links=None, footer=None))
    assert copy.raw == (
        b"From: a@acme.example\r\nTo: anna@example.org\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: <new@acme.example>\r\n\r\nHoi\r\n"
    )
    assert copied(message(leaf("x"))).mail["Message-ID"] == "<1@acme.example>"


@pytest.mark.parametrize(
    ("to", "more", "shown"),
    [
        ("Lezers <lezers@acme.example>", "", ["to: Lezers <lezers@acme.example>"]),
        ("undisclosed-recipients:;", "", ["to: undisclosed-recipients:;"]),
        ("a@x.example, b@x.example", "", ["to: bob@example.org"]),
        ("Friends: a@x.example, b@x.example;", "", ["to: bob@example.org"]),
        ("a@x.example", "Cc: b@x.example\r\n", ["to: bob@example.org"]),
        ("undisclosed-recipients:;", "Cc: b@x.example,\r\n c@x.example\r\n", ["to: bob@example.org"]),
        ("a@x.example", "To: b@x.example\r\n", ["to: bob@example.org"]),
    ],
)
def test_marketing_shows_nobody_elses_address(to: str, more: str, shown: list[str]) -> None:
    raw = message(leaf("Hoi\r\n"), to=to, more=more)
    copy = copied(raw, fill_in=fill(recipient="bob@example.org"))
    got = [f"{name.lower()}: {value}" for name, value in copy.mail.items() if name.lower() in ("to", "cc")]
    assert got == shown
    assert [name for name in names(copy.raw) if name in ("from", "to", "cc", "subject")] == ["from", "to", "subject"]
    kept = copied(raw, marketing=False)
    assert [line for line in field_lines(kept.raw) if line[:3] in (b"To:", b"Cc:")] == [
        line for line in field_lines(raw) if line[:3] in (b"To:", b"Cc:")
    ]


def test_to_can_always_be_the_recipient_or_always_stay() -> None:
    raw = message(leaf("Hoi\r\n"), to="a@x.example, b@x.example")
    assert copied(raw, show_to="keep").mail["To"] == "a@x.example, b@x.example"
    alone = copied(message(leaf("x")), show_to="recipient", marketing=False, fill_in=fill(recipient="bob@example.org"))
    assert alone.mail["To"] == "bob@example.org"
    nobody = copied(b"From: a@acme.example\r\n\r\nx", show_to="recipient", fill_in=fill(recipient="jürgen@x.example"))
    assert nobody.mail["To"] is not None and nobody.done.needs_smtputf8


@pytest.mark.parametrize(
    ("marketing", "signed", "stays"),
    [
        (True, "from:to:subject", False),  # the body is edited
        (False, "from:to:subject", True),
        (False, "from:bcc", True),
        (False, "From:List-Unsubscribe", True),
        (False, "from:x-consentgate-stream", False),
        (False, "from:date:message-id", True),
    ],
)
def test_signatures_that_still_hold_stay(marketing: bool, signed: str, stays: bool) -> None:
    raw = message(leaf("Hoi\r\n"), more=signed_field(signed) + "X-Consentgate-Stream: x\r\n")
    copy = copied(raw, marketing=marketing)
    assert ("dkim-signature" in names(copy.raw)) is stays


@pytest.mark.parametrize(
    ("newest", "stays"), [("from:to:subject", True), ("from:x-consentgate-stream", False), ("from:List-Id", True)]
)
def test_an_arc_chain_stays_whole_or_goes_whole(newest: str, stays: bool) -> None:
    sets = "".join(
        f"ARC-Seal: i={i}; a=rsa-sha256; cv=none; d=x.example; s=s; b=AAAA\r\n"
        f"ARC-Message-Signature: i={i}; a=rsa-sha256; d=x.example; s=s; h={h};\r\n bh=AAAA; b=AAAA\r\n"
        f"ARC-Authentication-Results: i={i}; x.example; arc=none\r\n"
        for i, h in ((2, newest), (1, "from:x-consentgate-stream"))
    )
    raw = message(leaf("Hoi\r\n"), more=sets + "X-Consentgate-Stream: x\r\n")
    kept = [name for name in names(copied(raw, marketing=False).raw) if name.startswith("arc-")]
    assert len(kept) == (6 if stays else 0)
    assert not [name for name in names(copied(raw).raw) if name.startswith("arc-")], "the body was edited"


def test_a_signature_over_list_fields_goes_with_them_even_when_the_body_stays() -> None:
    signed = multipart("signed", leaf(STOP), leaf("s", "application/pgp-signature"))
    more = signed_field("from:subject") + signed_field("from:list-unsubscribe") + signed_field("from:list-id")
    copy = copied(message(signed, more=more))
    kept = [line for line in field_lines(copy.raw) if line.startswith(b"DKIM")]
    assert kept == [signed_field("from:subject").encode()]


def test_stale_fields_about_an_edited_body_go() -> None:
    md5 = "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n"
    csv = leaf("a;b", "text/csv", more=md5)
    raw = message(multipart("mixed", leaf("x", more=md5 + "Content-Length: 1\r\n"), csv))
    copy = copied(raw)
    assert leaves(copy.mail)["1"]["Content-MD5"] is None and leaves(copy.mail)["1"]["Content-Length"] is None
    assert leaves(copy.mail)["2"]["Content-MD5"] is not None
    assert copied(message(leaf("x", more=md5))).mail["Content-MD5"] is None
    assert copied(message(leaf("x", more=md5)), marketing=False).mail["Content-MD5"] is not None


def test_a_list_id_that_is_not_ascii_is_written_in_words() -> None:
    copy = copied(message(leaf("x")), fill_in=fill(list_id='"Société" <n.acme.example>'))
    assert copy.mail["List-Id"] == "Société <n.acme.example>" and copy.done.head.isascii()


@pytest.mark.parametrize(
    "changes",
    [
        {"list_id": "x\r\nBcc: y"},
        {"feedback_id": "x\ny"},
        {"recipient": "a@x.example\r\nX: y"},
        {"links": replace(links(), one_click="https://x.example/\r\nX: y")},
        {"links": replace(links(), page="https://x.example/é")},
        {"footer": None},
        {"footer": Footer(text="no link", html=FOOTER.html)},
    ],
)
def test_values_that_would_break_a_copy_raise(changes: dict[str, object]) -> None:
    raw = message(multipart("alternative", leaf("x"), leaf(HTML, "text/html")), to="a@x.example, b@x.example")
    with pytest.raises(ValueError):
        copied(raw, fill_in=fill(**{"feedback_id": None, **changes}))


# --- reports


def test_long_html_is_reported() -> None:
    document = HTML.replace("<h1>", "<p>" + "x " * 51_000 + "</p>\r\n<h1>").replace(" x x", "\r\nx x")
    assert "html-clipped" in copied(message(leaf(document, "text/html"))).done.warnings
    assert copied(message(leaf(HTML, "text/html"))).done.warnings == ()


def test_what_the_next_server_must_offer() -> None:
    plain = copied(message(leaf("x", cte="8bit")))
    assert (plain.plan.needs_8bit, plain.plan.needs_smtputf8, plain.done.needs_8bit) == (False, False, False)
    body = copied(message(leaf("é", cte="8bit")))
    assert (body.plan.needs_8bit, body.plan.needs_smtputf8, body.done.needs_8bit) == (True, False, True)
    head = copied(message(leaf("x"), more="X-Own: é\r\n"))
    assert (head.plan.needs_8bit, head.plan.needs_smtputf8, head.done.needs_smtputf8) == (False, True, True)
    inner = make_plan(parse(message(multipart("mixed", leaf("x", more="X-Own: é\r\n")))), Wants(marketing=True))
    assert inner.needs_smtputf8
    footer = copied(message(leaf("x", cte="8bit")), fill_in=fill(footer=FRENCH))
    assert not footer.plan.needs_8bit and footer.done.needs_8bit


@pytest.mark.parametrize(
    ("more", "document", "language"),
    [
        ("Content-Language: fr, en\r\n", HTML, "fr"),
        ("", HTML, "nl"),
        ("", "<html lang=und><p>x</p>", None),
        ("", "<p lang=nl>x</p>", None),
    ],
)
def test_the_language_of_a_message(more: str, document: str, language: str | None) -> None:
    assert make_plan(parse(message(leaf(document, "text/html"), more=more)), Wants(marketing=True)).language == language


def test_an_amp_part_is_reported() -> None:
    root = multipart("alternative", leaf("x"), leaf("<x>", "text/x-amp-html"), leaf(HTML, "text/html"))
    copy = copied(message(root))
    assert copy.done.warnings == ("amp-part-without-opt-out",) and copy.done.footer == "html+text"


def test_copies_differ_in_nothing_but_their_links() -> None:
    html = leaf(HTML, "text/html", cte="quoted-printable")
    raw = message(multipart("alternative", leaf("Hoi\r\n", cte="base64"), html))
    plan = make_plan(parse(raw), Wants(marketing=True))
    one, two = rewrite(plan, fill(links=links("A" * 100))), rewrite(plan, fill(links=links("B" * 100)))
    assert one.body != two.body and len(plan.ready) == 1
    back = re.sub(rb"B{3,}(=\r\n)?", lambda m: m[0].replace(b"B", b"A"), two.head)
    assert back == one.head


def test_an_amp_part_with_an_opt_out_of_its_own_is_told_apart() -> None:
    amp = leaf('<html amp4email><body><a href="https://tool.example/u">Afmelden</a></body></html>', "text/x-amp-html")
    copy = copied(message(multipart("alternative", leaf("x"), amp, leaf(HTML, "text/html"))))
    assert copy.done.warnings == ("amp-part-unchanged",)
    assert octets(leaves(copy.mail)["2"]) == amp.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("raw", "head"),
    [
        (b"From: a@b.example", b"From: a@b.example\r\nTo: anna@example.org\r\n"),
        (b"From: a@b.example\r\nTo: x@y.example", b"From: a@b.example\r\nTo: anna@example.org\r\n"),
        (b"From: a@b.example\r\nBcc: x@y.example", b"From: a@b.example\r\nTo: anna@example.org\r\n"),
        (b"Bcc: x@y.example", b"To: anna@example.org\r\n"),
    ],
)
def test_a_header_that_ends_without_a_line_end_stays_in_one_piece(raw: bytes, head: bytes) -> None:
    shown, kept = (copied(raw, marketing=False, show_to=show_to).done for show_to in ("recipient", "keep"))
    assert shown.head.startswith(head)
    for done in (shown, kept):
        assert b"\r\n\r\n" not in done.head and not done.head.startswith(b"\r\n")
        assert done.head.endswith(b"\r\nMessage-ID: <new@acme.example>\r\n") and done.body == b""
