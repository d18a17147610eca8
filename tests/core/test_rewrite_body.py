"""Where footer and links go: which leaves, which place, which charset and transfer encoding."""

from dataclasses import replace

import pytest

from gateway.mail import html_spans
from gateway.mail.footer import UNSUBSCRIBE, Footer
from gateway.mail.headers import decode_words
from gateway.mail.mime import parse
from gateway.mail.plan import Wants, make_plan
from gateway.mail.rewrite import NotInjectable, rewrite
from tests.mails import (
    FRENCH,
    HTML,
    PAGE,
    copied,
    defects,
    fill,
    leaf,
    leaves,
    links,
    message,
    multipart,
    names,
    octets,
    read,
    text_of,
)  # fmt: skip

TOOL = "List-Unsubscribe: <https://tool.example/u>\r\n"

# --- the displayed leaves


def test_both_alternatives_get_the_footer_and_nothing_else_changes() -> None:
    csv = leaf("a;b\r\n", "text/csv", more="Content-Disposition: attachment; filename=x.csv\r\n")
    both = multipart("alternative", leaf("Hoi\r\n"), leaf(HTML, "text/html"), boundary="in")
    copy = copied(message(multipart("mixed", both, csv)))
    assert copy.done.footer == "html+text" and copy.plan.unsubscribe == "injectable" and copy.plan.language == "nl"
    assert text_of(copy.raw, "1.1") == (
        "Hoi\r\n\r\nAcme Wijnen B.V., Dam 1, Amsterdam\r\nAfmelden:\r\n" + PAGE + "\r\nWaarom?\r\n" + links().why
        + "\r\nKeuzes:\r\n" + links().preferences + "\r\n"
    )  # fmt: skip
    assert f'<a href="{PAGE}">Afmelden</a>' in text_of(copy.raw, "1.2")
    assert text_of(copy.raw, "1.2").endswith("</div>\r\n</body></html>\r\n")
    assert text_of(copy.raw, "1.2").replace("&#8211;", "–").count("–") == 1
    assert octets(leaves(copy.mail)["2"]) == b"a;b\r\n"
    assert copy.raw.replace(text_of(copy.raw, "1.1").encode(), b"").count(PAGE.encode()) == 1


@pytest.mark.parametrize(
    ("root", "edited"),
    [
        (leaf("x"), ["1"]),
        (leaf(HTML, "text/html"), ["1"]),
        (multipart("mixed", leaf("x"), leaf("y")), ["1"]),
        (multipart("mixed", leaf("%PDF", "application/pdf", charset=None), leaf("x")), ["2"]),
        (multipart("alternative", leaf("x"), leaf("<x>", "text/x-amp-html"), leaf(HTML, "text/html")), ["1", "3"]),
        (multipart("alternative", leaf(HTML, "text/html"), leaf("x")), ["1", "2"]),
        (
            multipart("alternative", leaf("x"), multipart("related", leaf(HTML, "text/html"), leaf("p", "image/png"),
                                                          boundary="r")),
            ["1", "2.1"],
        ),
        (
            multipart("related", multipart("alternative", leaf("x"), leaf(HTML, "text/html"), boundary="a"),
                      leaf("p", "image/png")),
            ["1.1", "1.2"],
        ),
        (
            multipart("related; start=\"<r@x>\"", leaf("p", "image/png"),
                      leaf(HTML, "text/html", more="Content-ID: <r@x>\r\n")),
            ["2"],
        ),
        (multipart("mixed", leaf("x", more="Content-Disposition: attachment\r\n"), leaf("y")), ["2"]),
        (multipart("mixed", leaf("x", more="Content-Disposition: inline; filename=x.txt\r\n"), leaf("y")), ["2"]),
        (multipart("mixed", leaf("x", more="Content-Disposition: inline; filename=x.txt\r\n")), ["1"]),
        (multipart("mixed", b"Content-Type: message/rfc822\r\n\r\n" + message(leaf("x")), leaf("y")), ["2"]),
        (multipart("report; report-type=x", leaf("x"), leaf("y", "message/delivery-status")), ["1"]),
        (
            multipart("alternative", leaf("x"), leaf(HTML, "text/html"), leaf("x", "text/calendar; method=PUBLISH")),
            ["1", "2"],
        ),
        (multipart("alternative", b"no header at all", leaf(HTML, "text/html")), ["2"]),
    ],
)  # fmt: skip
def test_which_leaves_are_displayed(root: bytes, edited: list[str]) -> None:
    raw = message(root)
    copy = copied(raw)
    got = [path for path, part in leaves(copy.mail).items() if PAGE.encode() in octets(part)]
    assert got == edited
    assert [leaf_.part.path for leaf_ in sorted(copy.plan.leaves, key=lambda one: one.part.start)] == edited
    for path, part in leaves(read(raw)).items():
        if path not in edited:
            assert octets(leaves(copy.mail)[path]) == octets(part)


@pytest.mark.parametrize(
    "root",
    [
        leaf("%PDF", "application/pdf", charset=None),
        leaf("x", more="Content-Disposition: attachment; filename=x.txt\r\n"),
        multipart("related", leaf("p", "image/png")),
        multipart("mixed", b"Content-Type: message/rfc822\r\n\r\n" + message(leaf("x"))),
        b'Content-Type: multipart/mixed; boundary="z"\r\n\r\nno delimiter\r\n',
        leaf("begin 644 x\r\n", cte="x-uuencode"),
        leaf("x", "text/enriched"),
    ],
)
def test_marketing_without_a_displayed_leaf_is_not_injectable(root: bytes) -> None:
    plan = make_plan(parse(message(root)), Wants(marketing=True))
    assert (plan.unsubscribe, plan.footer, plan.leaves) == ("not_injectable", "fields-only", ())
    with pytest.raises(NotInjectable):
        rewrite(plan, fill())
    assert copied(message(root), marketing=False).raw.endswith(root[root.index(b"\r\n\r\n") :])


# --- text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Hoi\r\n-- \r\nAcme\r\n", "Hoi\r\n\r\nF\r\n\r\n-- \r\nAcme\r\n"),
        ("Hoi\r\n\r\n-- \r\nAcme\r\n", "Hoi\r\n\r\nF\r\n\r\n-- \r\nAcme\r\n"),
        ("-- \r\nAcme\r\n", "F\r\n\r\n-- \r\nAcme\r\n"),
        ("Hoi\r\n-- \r\n" + "regel\r\n" * 30, "Hoi\r\n-- \r\n" + "regel\r\n" * 30 + "\r\nF\r\n"),
        ("Hoi", "Hoi\r\n\r\nF\r\n"),
        ("", "F\r\n"),
        ("Hoi\r\n--\r\nx\r\n", "Hoi\r\n--\r\nx\r\n\r\nF\r\n"),
    ],
)
@pytest.mark.parametrize("cte", ["7bit", "quoted-printable", "base64"])
def test_the_text_footer_goes_before_a_signature_else_after_the_text(body: str, expected: str, cte: str) -> None:
    footer = Footer(text=f"F{UNSUBSCRIBE}\n", html="-" + UNSUBSCRIBE)
    raw = message(leaf(body, cte=cte))
    assert text_of(copied(raw, fill_in=fill(footer=footer)).raw) == expected.replace("F", "F" + PAGE)


def test_flowed_text_keeps_its_soft_breaks_and_its_footer_lines_stay_fixed() -> None:
    footer = Footer(text=f"From Acme \n> x\n{UNSUBSCRIBE} ", html=UNSUBSCRIBE)
    raw = message(leaf("een \r\ntwee \r\n", "text/plain; format=flowed"))
    assert text_of(copied(raw, fill_in=fill(footer=footer)).raw) == (
        f"een \r\ntwee \r\n\r\n From Acme\r\n > x\r\n{PAGE}\r\n"
    )


# --- charset and transfer encoding


@pytest.mark.parametrize(
    ("charset", "cte", "body", "kept"),
    [
        ("utf-8", "quoted-printable", "été\r\n", True),
        ("utf-8", "base64", "été\r\n", True),
        ("utf-8", "8bit", "été\r\n", True),
        ("utf-8", "8bit", "ascii\r\n", True),
        ("utf-8", "7bit", "ascii\r\n", False),
        ("iso-8859-1", "8bit", "été\r\n", False),  # the dash is not in Latin 1
        ("windows-1252", "8bit", "été\r\n", True),
        ("windows-1252", "quoted-printable", "été\r\n", True),
        ("us-ascii", "7bit", "ascii\r\n", False),
        (None, None, "ascii\r\n", False),
        ("koi8-r", "base64", "Привет\r\n", False),
        ("iso-2022-jp", "7bit", "日本\r\n", False),
        ("utf-16", "base64", "été\r\n", False),
        ("x-unknown", "7bit", "ascii\r\n", False),
    ],
)
def test_text_keeps_charset_and_encoding_if_they_can_carry_the_footer(
    charset: str | None, cte: str | None, body: str, kept: bool
) -> None:
    data = body.encode("ascii" if charset in (None, "x-unknown") else charset)
    root = leaf(data, charset=charset, cte=cte, more="Content-MD5: x\r\nX-Own: y\r\n")
    raw = message(multipart("mixed", root))
    copy = copied(raw, fill_in=fill(footer=FRENCH))
    part = leaves(copy.mail)["1"]
    assert text_of(copy.raw) == body + "\r\nSociété – désabonnement\u00a0: " + PAGE + "\r\n"
    assert part["X-Own"] == "y" and part["Content-MD5"] is None
    if kept:
        assert (part.get_content_charset(), part["Content-Transfer-Encoding"]) == (charset, cte)
    else:
        assert (part.get_content_charset(), part["Content-Transfer-Encoding"]) == ("utf-8", "quoted-printable")
    assert defects(copy.mail) == []


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ('text/plain; charset="us-ascii"; format=flowed', b"text/plain; charset=utf-8; format=flowed"),
        ("TEXT/PLAIN;\r\n\tCHARSET = US-ASCII", b"TEXT/PLAIN;\r\n\tCHARSET=utf-8"),
        ("text/plain", b"text/plain; charset=utf-8"),
        ("text/plain;", b"text/plain; charset=utf-8"),
        ("text/plain; charset*=us-ascii''us-ascii; x=y", b"text/plain; charset=utf-8; x=y"),
        ('text/plain; x="charset=z"; charset=us-ascii', b'text/plain; x="charset=z"; charset=utf-8'),
    ],
)
def test_only_the_charset_of_a_content_type_changes(content_type: str, expected: bytes) -> None:
    raw = message(f"Content-Type: {content_type}\r\n\r\nx\r\n".encode())
    copy = copied(raw, fill_in=fill(footer=FRENCH))
    assert b"Content-Type: " + expected + b"\r\n" in copy.raw
    assert copy.raw.count(b"Content-Transfer-Encoding: quoted-printable\r\n") == 1
    assert copy.mail.get_content_charset() == "utf-8"


def test_mail_without_mime_gets_what_a_footer_needs() -> None:
    raw = b"From: a@acme.example\r\nTo: anna@example.org\r\n\r\nHoi\r\n"
    plain = copied(raw)
    assert "mime-version" not in names(plain.raw) and text_of(plain.raw).startswith("Hoi\r\n\r\nAcme")
    copy = copied(raw, fill_in=fill(footer=FRENCH))
    assert (copy.mail["MIME-Version"], copy.mail.get_content_charset()) == ("1.0", "utf-8")
    assert "Société – désabonnement" in text_of(copy.raw)


def test_text_in_a_charset_nobody_knows_gets_plain_ascii() -> None:
    raw = message(leaf(b"\xe9t\xe9\r\n", charset="x-unknown", cte="8bit"))
    copy = copied(raw, fill_in=fill(footer=FRENCH))
    assert octets(copy.mail) == b"\xe9t\xe9\r\n\r\nSociete  desabonnement : " + PAGE.encode() + b"\r\n"
    assert copy.mail["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize("cte", ["7bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("charset", ["us-ascii", "iso-2022-jp", "utf-8", "x-unknown"])
def test_html_keeps_charset_and_encoding_whatever_the_footer(cte: str, charset: str) -> None:
    raw = message(leaf(HTML.encode(), "text/html", charset=charset, cte=cte))
    copy = copied(raw)
    part = copy.mail
    assert (part.get_content_charset(), part["Content-Transfer-Encoding"]) == (charset, cte)
    assert octets(part).isascii() and b"Soci&#233;t&#233;" in octets(part)


def test_html_in_utf_16_moves_to_utf_8_with_its_meta() -> None:
    document = '<html><meta charset="utf-16"><body>é</body></html>'
    copy = copied(message(leaf(document, "text/html", charset="utf-16", cte="base64")))
    assert copy.mail.get_content_charset() == "utf-8"
    assert text_of(copy.raw).startswith('<html><meta charset="utf-8"><body>é\r\n<div>')


def test_a_footer_inside_a_shifted_charset_is_not_read_as_kanji() -> None:
    document = b"<html><body>x\x1b$B</body>x\x1b(B"
    copy = copied(message(leaf(document, "text/html", charset="iso-2022-jp")))
    assert copy.mail.get_content_charset() == "utf-8"
    assert PAGE in text_of(copy.raw)


def test_an_edited_leaf_with_long_lines_is_encoded_anew_in_its_charset() -> None:
    long = "é" * 1200
    raw = message(multipart("mixed", leaf(long, charset="iso-8859-1", cte="8bit"), leaf("y" * 2000, "text/csv")))
    copy = copied(raw)
    part = leaves(copy.mail)["1"]
    assert (part.get_content_charset(), part["Content-Transfer-Encoding"]) == ("iso-8859-1", "quoted-printable")
    assert text_of(copy.raw).startswith(long + "\r\n\r\nAcme")
    assert leaves(copy.mail)["2"]["Content-Transfer-Encoding"] == "7bit" and copy.plan.long_lines


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
def test_footers_and_links_that_would_make_long_lines_are_encoded(kind: str) -> None:
    wide = Footer(text="x " * 450 + UNSUBSCRIBE, html="<p>" + "x " * 450 + f'<a href="{UNSUBSCRIBE}">x</a>')
    for raw in (message(leaf("Hoi", kind)), message(leaf("y" * 950 + " https://tool.example/u", kind), more=TOOL)):
        copy = copied(raw, fill_in=fill(footer=wide))
        assert copy.mail["Content-Transfer-Encoding"] == "quoted-printable"
        assert copy.mail.get_content_charset() == "utf-8"
        assert max(map(len, copy.raw.split(b"\r\n"))) <= 998 and PAGE in text_of(copy.raw)


@pytest.mark.parametrize(
    ("kind", "cte", "becomes"),
    [
        ("text/csv", "7bit", "quoted-printable"),
        ("image/svg+xml", "8bit", "base64"),
        ("application/pdf", "base64", "base64"),
        ("text/csv", "base64", "base64"),
    ],
)
def test_relayed_mail_has_no_long_lines(kind: str, cte: str, becomes: str) -> None:
    data = b"y" * 2000 + (b"\xff" if cte == "8bit" else b"")
    encoded = leaf(data, kind, cte=cte, charset=None)
    if cte == "base64":
        head, _, body = encoded.partition(b"\r\n\r\n")
        encoded = head + b"\r\n\r\n" + body.replace(b"\r\n", b"")
    raw = message(multipart("mixed", leaf("x"), encoded, more="DKIM-Signature: v=1; h=from; b=x\r\n"))
    copy = copied(raw, relay=True, marketing=False)
    part = leaves(copy.mail)["2"]
    assert part["Content-Transfer-Encoding"] == becomes and octets(part) == data
    assert max(map(len, copy.raw.split(b"\r\n"))) <= 998 and not copy.plan.long_lines
    assert leaves(copy.mail)["1"].get_payload() == "x" and "dkim-signature" not in names(copy.raw)


@pytest.mark.parametrize(
    "root",
    [
        multipart("signed", leaf("x" * 1000), leaf("s", "application/pgp-signature")),
        multipart("mixed", leaf("x"), b"Content-Type: message/rfc822\r\n\r\n" + message(leaf("y" * 1000))),
        multipart("mixed", leaf("x"), leaf("y" * 1000, cte="x-uuencode")),
        multipart("mixed", leaf("x")) + b"e" * 1000,
        multipart("mixed", leaf("x", more="X-Long: " + "y" * 1000 + "\r\n")),
    ],
)
def test_long_lines_that_nobody_may_touch_are_reported(root: bytes) -> None:
    plan = make_plan(parse(message(root)), Wants(marketing=False, relay=True))
    assert plan.long_lines
    assert rewrite(plan, fill()).body == message(root).partition(b"\r\n\r\n")[2]


# --- a server that takes no 8-bit content


@pytest.mark.parametrize("marketing", [True, False])
def test_eight_bit_leaves_are_encoded_and_the_rest_stays(marketing: bool) -> None:
    pdf = leaf(bytes(range(128, 256)) * 3, "application/pdf", cte="binary", charset=None)
    both = multipart(
        "alternative", leaf("été\r\n", cte="8bit"), leaf("<p>ü</p>", "text/html", cte="8bit"), boundary="in"
    )
    csv = leaf("a;b\r\n", "text/csv", cte="8bit")
    raw = message(multipart("mixed", both, pdf, csv, more="Content-Transfer-Encoding: 8bit\r\n"))
    copy = copied(raw, marketing=marketing, relay=True, seven_bit=True)
    assert copy.raw.isascii() and not defects(copy.mail)
    found = leaves(copy.mail)
    encodings = {path: part["Content-Transfer-Encoding"] for path, part in found.items()}
    assert encodings == {"1.1": "quoted-printable", "1.2": "quoted-printable", "2": "base64", "3": "8bit"}
    assert copy.mail["Content-Transfer-Encoding"] == "7bit"
    assert octets(found["2"]) == bytes(range(128, 256)) * 3
    assert "été" in text_of(copy.raw, "1.1") and "<p>ü</p>" in text_of(copy.raw, "1.2")
    assert (PAGE in text_of(copy.raw, "1.1")) is marketing


@pytest.mark.parametrize(
    "root",
    [
        multipart("signed", leaf("été", cte="8bit"), leaf("s", "application/pgp-signature")),
        multipart(
            "encrypted", leaf("x", "application/pgp-encrypted"), leaf("é", "application/octet-stream", cte="8bit")
        ),
        leaf("-----BEGIN PGP SIGNED MESSAGE-----\r\n\r\nété\r\n", cte="8bit"),
        multipart("mixed", leaf("x"), b"Content-Type: message/rfc822\r\n\r\n" + message(leaf("é", cte="8bit"))),
    ],
)
def test_what_nobody_may_touch_stays_8_bit(root: bytes) -> None:
    raw = message(root)
    copy = copied(raw, marketing=False, relay=True, seven_bit=True)
    assert copy.done.body == raw.partition(b"\r\n\r\n")[2] and not copy.raw.isascii()


# --- links that are there already


@pytest.mark.parametrize("cte", ["7bit", "quoted-printable", "base64"])
def test_a_placeholder_is_filled_and_takes_the_place_of_the_footer(cte: str) -> None:
    document = HTML.replace("</body>", "<p>" + "x" * 60 + '</p><a href="{{unsubscribe_url}}">Stop</a></body>')
    text = leaf("Stop: %%unsubscribe_url%%\r\n", cte=cte)
    copy = copied(message(multipart("alternative", text, leaf(document, "text/html", cte=cte))))
    assert copy.done.footer == "existing-link" and copy.plan.unsubscribe == "present"
    assert text_of(copy.raw, "1") == f"Stop: {PAGE}\r\n"
    assert text_of(copy.raw, "2") == document.replace("{{unsubscribe_url}}", PAGE)


def test_the_tools_own_link_becomes_ours() -> None:
    own = "List-Unsubscribe: <mailto:u@tool.example>,\r\n <https://tool.example/u?a=1&b=2>\r\n"
    more = own + "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    document = HTML.replace("</body>", '<a href="https://tool.example/u?a=1&amp;b=2">Stop</a></body>')
    raw = message(multipart("alternative", leaf("Hoi\r\n"), leaf(document, "text/html")), more=more)
    copy = copied(raw)
    assert copy.plan.tool_one_click == "https://tool.example/u?a=1&b=2"
    assert copy.plan.head.tool_uris == ("mailto:u@tool.example", "https://tool.example/u?a=1&b=2")
    assert copy.done.footer == "text"
    assert text_of(copy.raw, "2") == document.replace("https://tool.example/u?a=1&amp;b=2", PAGE)
    assert b"tool.example" not in copy.raw


def test_never_asks_for_a_link_and_always_adds_one() -> None:
    with_link, without = leaf("Stop: {{unsubscribe_url}}\r\n"), leaf("Hoi\r\n")
    assert copied(message(with_link), footer="never").done.footer == "existing-link"
    assert make_plan(parse(message(without)), Wants(marketing=True, footer="never")).unsubscribe == "not_injectable"
    both = copied(message(with_link), footer="always")
    assert both.done.footer == "text" and text_of(both.raw).count(PAGE) == 2
    partly = copied(message(multipart("alternative", without, leaf(
        '<a href="{{unsubscribe_url}}">x</a>', "text/html"))), footer="never")  # fmt: skip
    assert (partly.done.footer, partly.done.warnings) == ("existing-link", ("no-link-in-text",))


def test_a_link_that_nobody_sees_does_not_count() -> None:
    hidden = HTML.replace("<h1>", '<!-- {{unsubscribe_url}} --><a href="{{unsubscribe_url}}"></a><h1>')
    copy = copied(message(leaf(hidden, "text/html")))
    assert copy.done.footer == "html"
    assert "unsubscribe_url" not in text_of(copy.raw) and f'<a href="{PAGE}">Afmelden</a>' in text_of(copy.raw)


def test_a_link_with_an_ampersand_is_escaped_in_html_only() -> None:
    own = replace(links(), page="https://mail.acme.example/u?a=1&b=2=" + "x" * 90)
    text = leaf("Hoi\r\n", cte="quoted-printable")
    raw = message(multipart("alternative", text, leaf(HTML, "text/html", cte="base64")))
    copy = copied(raw, fill_in=fill(links=own))
    assert own.page in text_of(copy.raw, "1")
    assert html_spans.anchors(text_of(copy.raw, "2").encode())[0].href == own.page


def test_links_of_other_lengths_are_spliced_as_well() -> None:
    raw = message(multipart("alternative", leaf("Hoi\r\n", cte="base64"), leaf(HTML, "text/html", cte="base64")))
    plan = make_plan(parse(raw), Wants(marketing=True))
    for length in (1, 2, 3, 40, 100, 101, 102, 200):
        done = rewrite(plan, fill(links=links("t" * length)))
        page = links("t" * length).page.encode()
        for part, end in zip(leaves(read(done.head + b"\r\n" + done.body)).values(), (b"\r", b'"'), strict=True):
            assert octets(part).count(page + end) == 1


# --- hostile mail


@pytest.mark.parametrize(
    "piece",
    [" ", "\t \r\n", "{{unsubscribe_url}}", "{{ ", "%7B%7B+", '<a href="{{unsubscribe_url}}">x</a>', "<style>", "=",
     "=\r\n", "unsubscribe ", "-----BEGIN PGP ", "\r\n-- \r\n", "https://tool.example/u ", "<meta charset", "é",
     "a@", "\x1b$B"],
)  # fmt: skip
@pytest.mark.parametrize("cte", ["8bit", "quoted-printable", "base64"])
def test_hostile_repetition_is_rewritten_in_time(piece: str, cte: str) -> None:
    """A fifth of a megabyte of anything takes as many steps, not their square: done within the test's patience."""
    body = (piece * (200_000 // len(piece))).encode()
    if cte == "quoted-printable" and "=" in piece:
        part = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + body
    else:
        part = leaf(body, cte=cte)
    raw = message(
        multipart("alternative", part, leaf(body, "text/html", cte=cte, charset="iso-2022-jp")),
        more="List-Unsubscribe: <https://tool.example/u>\r\n",
    )
    copy = copied(raw, relay=True)
    assert max(map(len, copy.done.body.split(b"\r\n"))) <= 998
    assert all(PAGE.encode() in octets(found) for found in leaves(copy.mail).values())


@pytest.mark.parametrize(
    "value", ["x", "a@x.example,", "(", '"', '\\"', ";", ';a="\\"', "<", "(a", "=?utf-8?q?", ": ", "x*0=y;"]
)
def test_hostile_header_values_are_read_in_time(value: str) -> None:
    folded = "\r\n ".join([value * (900 // len(value))] * 150)
    names_ = ("Cc", "List-Unsubscribe", "DKIM-Signature", "Content-Language")
    fields = "".join(f"{name}: {folded}\r\n" for name in names_)
    raw = message(f"Content-Type: text/plain; {folded}\r\n\r\nx\r\n".encode(), more=fields)
    assert PAGE.encode() in copied(raw).raw
    decode_words(parse(raw).get(b"cc") or b"")
