"""gateway/mail/categories.py: what a message is about, from its links and its subject."""

from __future__ import annotations

import base64
import html
import quopri
import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.categories import BadPattern, CategoryMap, category_map, link_pattern, subject_pattern, targets
from gateway.mail.classify import Kind, classify
from gateway.mail.mime import Message, parse
from gateway.promotional_rules import read_promotional_rules
from tests.core.test_classify import NEWS, STREAMS, ALogin

LINKS = {
    "wine": ["shop.example/wine/*", "*.shop.example/wijn"],
    "glassware": ["shop.example/wine/glasses"],
    "clothing": ["kleding.example", "shop.example/item?*cat=clothing*"],
}
SUBJECTS = {"wine": ["wijn*", "grand cru"], "clothing": ["jurk"]}
NEUTRAL = ["shop.example/privacy", "shop.example/wine/about-us"]


def a_map(*, unknown: bool = False) -> CategoryMap:
    found = category_map(LINKS, SUBJECTS, NEUTRAL, unmapped_unknown=unknown)
    assert found is not None
    return found


def mail(body: str = "", *, text: str = "", subject: str = "Hello", encoding: str = "8bit") -> Message:
    """A newsletter with an HTML part, a text part, or both."""
    coded = {
        "8bit": lambda b: b, "base64": lambda b: base64.encodebytes(b).replace(b"\n", b"\r\n"),
        "quoted-printable": lambda b: quopri.encodestring(b).replace(b"\n", b"\r\n"),
    }[encoding]  # fmt: skip
    parts = [(b"text/plain", text or "-"), (b"text/html", f"<html><body>{body}</body></html>")]
    head = f"From: Acme <news@acme.example>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n"
    raw = head.encode() + b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    for kind, content in parts:
        raw += b"--b\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n" % (
            kind, encoding.encode(), coded(content.encode()),
        )  # fmt: skip
    return parse(raw + b"--b--\r\n")


def anchor(url: str) -> str:
    return f'<p><a href="{html.escape(url)}">look</a></p>'


def found(message: Message, subject: str = "Hello", *, unknown: bool = False) -> tuple[str, ...] | None:
    result = a_map(unknown=unknown).find(message, subject)
    return None if result is None else result.categories


ADDRESSES: dict[str, tuple[str, ...] | None] = {
    "https://shop.example/wine/rioja": ("wine",),
    "https://shop.example/wine": ("wine",),
    "https://shop.example/wine/": ("wine",),
    "http://SHOP.example:443/Wine/Rioja?x=1#y": ("wine",),
    "//shop.example/wine/rioja": ("wine",),
    "https://u:p@shop.example/wine/r": ("wine",),
    "https://shop.example/%77ine/rioja": ("wine",),
    "https://shop.example//wine/./rioja": ("wine",),
    "https://shop.example/x/../wine/rioja": ("wine",),
    "https://shop.example./wine/rioja": ("wine",),
    "https://shop.example/winery": None,
    "https://shop.example.evil.example/wine/1": None,
    "https://notshop.example/wine/1": None,
    "https://www.shop.example/wine/1": None,
    "https://www.shop.example/wijn/1": ("wine",),
    "https://shop.example/wijn/1": None,
    "https://shop.example/wine/glasses/7": ("glassware",),
    "https://shop.example/wine/about-us": None,
    "https://shop.example/item?id=3&Cat=Clothing": ("clothing",),
    "https://shop.example/item?id=3&cat=wine": None,
    "https://shop.example/item%3Fcat=clothing": None,
    "https://shop.example?wine": None,
    "https://shop.ex\r\nample/wi\tne/1": ("wine",),
    "https://shop.example/other?next=/wine/1": None,
    "https://kleding.example/": ("clothing",),
    "https://kleding.example/a/b?c": ("clothing",),
    "https://click.tool.example/r?u=https%3A%2F%2Fshop.example%2Fwine%2F1&k=9": ("wine",),
    "https://click.tool.example/r?u=https://shop.example/wine/1&k=9": ("wine",),
    "https://click.tool.example/x9y8z7": None,
    "mailto:wine@shop.example": None,
    "https://": None,
    "https://[::1/wine": None,
    "javascript:void(0)": None,
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_where_a_link_leads_says_what_it_is_about(url: str) -> None:
    wanted = ADDRESSES[url]
    assert found(mail(anchor(url))) == wanted
    if "://" in url and "[" not in url and "\n" not in url:
        assert found(mail(text=f"Look: {url}.")) == wanted


def test_every_category_of_a_mixed_message_counts() -> None:
    """RULES Q3: mixed messages need all categories covered."""
    both = anchor("https://shop.example/wine/1") + anchor("https://kleding.example/jas")
    result = a_map().find(mail(both), "Wijnglazen")
    assert result is not None
    assert set(result.categories) == {"wine", "clothing"}
    assert "category wine subject wijn*" in result.matched
    assert "category clothing link kleding.example" in result.matched


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [("WIJNEN van de week", ("wine",)), ("Uw wijn", ("wine",)), ("zwijnen", None), ("Grand-Cru!", ("wine",)),
     ("grand  crus", None), ("Eén júrk", ("clothing",)), ("jurken", None), ("", None)],
)  # fmt: skip
def test_words_of_the_subject_say_what_it_is_about(subject: str, wanted: tuple[str, ...] | None) -> None:
    assert found(mail(), subject) == wanted


def test_an_image_map_and_an_attached_page() -> None:
    assert found(mail('<map><area shape="rect" href="https://shop.example/wine/3"></map>')) == ("wine",)
    assert found(mail("<!-- " + anchor("https://shop.example/wine/3") + " -->")) is None
    attached = parse(
        b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: text/html\r\nContent-Disposition: attachment; filename=x.html\r\n\r\n"
        b'<a href="https://shop.example/wine/3">x</a>\r\n--b\r\nContent-Type: text/html\r\n\r\n'
        b'<a href="https://kleding.example/3">x</a>\r\n--b--\r\n'
    )
    assert found(attached) == ("clothing",)


def test_a_page_nobody_mapped_is_passed_by_or_unknown_as_the_settings_say() -> None:
    unmapped = mail(anchor("https://shop.example/wine/1") + anchor("https://shop.example/socks/2"))
    assert found(unmapped) == ("wine",)
    result = a_map(unknown=True).find(unmapped, "")
    assert result is not None
    assert (result.categories, result.matched[-1]) == ((), "category unknown, unmapped link to shop.example")
    neutral = mail(anchor("https://shop.example/wine/1") + anchor("https://shop.example/privacy/cookies"))
    assert found(neutral, unknown=True) == ("wine",)
    assert found(mail(anchor("https://elsewhere.example/socks")), unknown=True) is None


@pytest.mark.parametrize("pattern", ["", "/wine", "shop", "https://", "*.nl", "*", "sh op.example/x", "-.example/"])
def test_a_link_pattern_without_a_host_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern) as caught:
        link_pattern(pattern)
    assert caught.value.remedy


@pytest.mark.parametrize("pattern", ["", "*", "!?", "  "])
def test_a_subject_pattern_without_a_word_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        subject_pattern(pattern)


def test_without_patterns_there_is_no_map() -> None:
    assert category_map({"wine": []}, {"wine": []}, NEUTRAL) is None


@given(
    st.sampled_from(["8bit", "base64", "quoted-printable"]),
    st.lists(st.sampled_from(["wine/rood", "wine/glasses/x", "privacy", "wijn"]), min_size=1, max_size=5),
    st.text(st.characters(codec="utf-8", exclude_characters="<>&\"'\0", exclude_categories=["Cs"]), max_size=40),
)
@settings(deadline=None)
def test_links_are_found_whatever_surrounds_and_encodes_them(encoding: str, pages: list[str], words: str) -> None:
    """What is found depends on where the links lead, not on encoding, order, repetition or the words around them."""
    body = words.join(anchor(f"https://shop.example/{page}?q={quote(words)}") for page in pages)
    body = body.replace("\r", " ").replace("\n", " ")
    wanted = {"wine/rood": "wine", "wine/glasses/x": "glassware"}
    categories = {wanted[page] for page in pages if page in wanted}
    assert set(found(mail(body, encoding=encoding)) or ()) == categories


PIECES = st.lists(st.sampled_from(["a", "b", "ab", "c/a", "*"]), max_size=8).map("".join)


@given(PIECES, st.text("abc", max_size=12))
def test_a_star_stands_for_anything_wherever_it_is(pattern: str, path: str) -> None:
    """A pattern with a star before its end means the same as the expression that tries everything."""
    text = f"/{pattern}*b"
    tried = re.compile(".*".join(map(re.escape, text.split("*"))) + r"(?:\?.*)?", re.DOTALL)
    wanted = re.compile(link_pattern(f"shop.example{text}").wanted, re.DOTALL)
    for rest in (f"/{path}", f"/{path}?x=b"):
        assert bool(wanted.fullmatch(rest)) == bool(tried.fullmatch(rest.partition("?")[0])), rest


def test_a_hostile_link_costs_its_length_however_many_stars_a_pattern_has() -> None:
    """Tried one way after the other, this would not end: 16,000 characters to the power of eight."""
    stars = category_map({"wine": ["shop.example/" + "*a" * 8 + "*b", "shop.example/q?" + "*a=" * 8 + "*b"]}, {})
    subjects = category_map({}, {"wine": ["*a" * 8 + "*b", "*a* *b*a*c"]})
    assert stars is not None and subjects is not None
    for path in ("a" * 16_000, "q?" + "a=" * 8_000):
        assert stars.find(mail(anchor(f"https://shop.example/{path}")), "Hello") is None
    assert subjects.find(mail(), "a" * 16_000 + " " + "ba" * 8_000) is None


def test_a_link_longer_than_any_server_takes_is_unmapped() -> None:
    body = anchor("https://t.example/?u=" + "https%3a%2f%2fshop.example%2f" * 1000) + anchor(
        "https://shop.example/wine/"
    )
    assert found(mail(body)) == ("wine",)
    assert found(mail(body), unknown=True) == ()


@given(st.text(max_size=200))
def test_any_address_leads_somewhere_or_nowhere(text: str) -> None:
    """Reading an address never raises, and gives hosts and paths in one spelling."""
    for host, rest in targets("https://" + text):
        path, _, _ = rest.partition("?")
        assert host == host.lower() and path.startswith("/") and "//" not in path


@given(st.binary(max_size=400), st.sampled_from([b"utf-16", b"utf-8", b"iso-2022-jp", b"nonsense"]))
@settings(deadline=None)
def test_any_body_can_be_looked_through(body: bytes, charset: bytes) -> None:
    """Finding never raises, whatever the octets."""
    plain = bytes(octet for octet in body if octet not in b"\0\r\n")
    raw = b"From: a@b.example\r\nContent-Type: text/html; charset=%s\r\n\r\n" % charset + plain
    a_map(unknown=True).find(parse(raw), "wijn")


def kind(message: Message, login: ALogin = NEWS, suffix: str | None = None) -> Kind:
    result = classify(message, login, STREAMS, suffix, read_promotional_rules(), a_map())
    assert isinstance(result, Kind), result
    return result


def test_what_the_message_names_wins_over_what_it_links_to_and_that_over_the_stream() -> None:
    body = anchor("https://kleding.example/jas")
    assert kind(mail()).categories == ("wine", "spirits")
    linked = kind(mail(body))
    assert linked.categories == ("clothing",), "although the stream does not have it"
    assert "category clothing link kleding.example" in linked.matched
    assert "category stream" not in linked.matched
    assert kind(mail(body), suffix="newsletter.wine").categories == ("wine",)
    assert kind(mail(subject="Nieuwe wijnen")).categories == ("wine",)


def test_an_order_is_not_looked_through_and_a_campaign_sent_as_one_is() -> None:
    body = anchor("https://kleding.example/jas")
    assert kind(mail(body), ALogin(("orders",))).categories == ()
    bulk = parse(b"Precedence: bulk\r\n" + mail(body).raw)
    assert kind(bulk, ALogin(("orders",))).categories == ("clothing",)
