"""What looks like advertising: shop mails in four languages, the signs and their points, and a file of one's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.mime import parse
from gateway.mail.promotional import PromotionalError, PromotionalRules, Sign, load_promotional
from gateway.mail.skeleton import LONGEST, SHORTEST, shown_text, skeleton
from gateway.promotional_rules import SHIPPED, read_promotional_rules
from tests.core.shop_mails import PROMOTION, SERVICE

RULES = read_promotional_rules()
LANGUAGES = ("nl", "en", "fr", "de")


def mail(subject: str, text: str, *, html: bool = False, to: str = "Jan Smit <jan@example.org>") -> bytes:
    kind = "html" if html else "plain"
    if html:
        paragraphs = "".join(f"<p>{line.replace('&', '&amp;')}</p>" for line in text.split("\n"))
        text = f"<html><head><style>.sale{{}} /* shop now */</style></head><body>{paragraphs}</body></html>"
    body = text.replace("\n", "\r\n")
    head = f"From: Acme <orders@acme.example>\r\nTo: {to}\r\nSubject: x\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
    return (head + "Content-Transfer-Encoding: 8bit\r\n\r\n" + body + "\r\n").encode()


def signs(subject: str, text: str, *, html: bool = False, rules: PromotionalRules = RULES) -> list[Sign]:
    return rules.text_signs(shown_text(parse(mail(subject, text, html=html)), subject))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("html", [False, True])
def test_mail_that_serves_passes_and_mail_that_sells_is_noticed(language: str, html: bool) -> None:
    assert len(SERVICE[language]) >= 15 and len(PROMOTION[language]) >= 15
    held = {
        s: list(map(str, found)) for s, text in SERVICE[language] if RULES.reached(found := signs(s, text, html=html))
    }
    assert not held
    passed = {
        s: list(map(str, found))
        for s, text in PROMOTION[language]
        if not RULES.reached(found := signs(s, text, html=html))
    }
    assert not passed


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_everybody_gets_does_not_by_itself_hold_up_mail_that_serves(language: str) -> None:
    """The same text to many is 4 points: order confirmations and password resets are templates."""
    repeated = RULES.repeated_sign(10_000)
    assert repeated is not None and not RULES.reached([repeated])
    for subject, text in SERVICE[language]:
        if not signs(subject, text):
            assert not RULES.reached([repeated]), subject
    near = [s for s, text in SERVICE[language] if RULES.reached([repeated, *signs(s, text)])]
    assert not near, "even all of it to many"


def test_the_skeleton_is_what_everybody_gets() -> None:
    text = (
        "Beste {name},\n\nje hebt gevraagd om een nieuw wachtwoord. Klik binnen {n} minuten op deze knop: {link} en "
        "kies er een. Heb je dit niet aangevraagd, {name}? Dan hoef je niets te doen."
    )

    def made(name: str, n: int, link: str, *, html: bool = False) -> bytes:
        raw = mail("x", text.format(name=name, n=n, link=link), html=html, to=f"{name} <{name.lower()}@example.org>")
        return skeleton(shown_text(parse(raw), ""), {name.lower()})

    anna, bob = made("Anna", 60, "https://a.example/r?t=8fj2"), made("Bob", 15, "https://a.example/r?t=zz91k")
    assert anna == bob and len(anna) == 16
    assert made("Anna", 60, "https://a.example/", html=True) == made("Bob", 60, "https://b.example/", html=True)
    assert made("Anna", 60, "https://a.example/dear/8f,qwzx") == anna, "a greeting in a link leaves nothing of the link"
    other = text.replace("wachtwoord", "account")
    assert skeleton(shown_text(parse(mail("x", other)), ""), ()) != skeleton(shown_text(parse(mail("x", text)), ""), ())
    assert skeleton(shown_text(parse(mail("x", "te kort " * (SHORTEST // 2 - 1))), ""), ()) == b"", "says nothing"


def test_what_no_reader_sees_is_no_wording() -> None:
    hidden = "<!-- shop now --><style>/* 20% korting */</style><p>Uw pakket komt morgen.</p><script>black friday"
    body = f"From: a@acme.example\r\nContent-Type: text/html\r\n\r\n<html><body>{hidden}</body></html>\r\n".encode()
    assert RULES.text_signs(shown_text(parse(body), "")) == []


def test_a_file_of_ones_own_changes_what_ships() -> None:
    own = """
threshold = 4
drop = ["event"]
[window]
recipients = 3
[[wording]]
name = "offer"
points = 9
says = ["proeverijpakket"]
[[wording]]
name = "our own"
points = 1
says = ["doos van de maand"]
"""
    rules = load_promotional(SHIPPED.read_text("utf-8"), own, name="own.toml")
    assert (rules.threshold, rules.recipients, rules.minutes) == (4, 3, RULES.minutes)
    assert "event" not in {wording.name for wording in rules.wordings}
    found = signs("Het proeverijpakket", "De doos van de maand. Aanbieding!", rules=rules)
    assert found == [Sign("wording", 9, "proeverijpakket"), Sign("wording", 1, "doos van de maand")]
    assert rules.repeated_sign(3) == Sign("repeated", RULES.repeated, "3") and rules.repeated_sign(2) is None


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ("threshold = ", "file"),
        ('threshold = "4"', "threshold"),
        ("treshold = 4", "treshold"),
        ("bulk = -1", "bulk"),
        ("[window]\nminutes = 0", "window.minutes"),
        ("[window]\nhours = 1", "window"),
        ("[links]\nsays = [3]", "links.says"),
        ('[coupons]\nsays = ["..."]', "coupons.says"),
        ('[[wording]]\nname = "x"', "wording[0]"),
        ('[[wording]]\nname = "x"\npoints = true\nsays = ["a"]', "wording[0].points"),
        ('drop = ["nothing like it"]', "drop"),
        ("wording = 3", "wording"),
    ],
)
def test_a_mistake_in_it_is_named(own: str, field: str) -> None:
    with pytest.raises(PromotionalError) as wrong:
        load_promotional(SHIPPED.read_text("utf-8"), own, name="own.toml")
    assert wrong.value.file == "own.toml" and wrong.value.field == field
    assert str(wrong.value).startswith(f"own.toml: {field}: ")


@given(st.binary(max_size=2000), st.sampled_from(["html", "plain"]))
def test_any_body_is_read(body: bytes, kind: str) -> None:
    """Signs name our own words only, never a piece of the message."""
    head = f"From: a@acme.example\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n".encode()
    text = shown_text(parse(head + body.translate(None, b"\r\n\0")), "x")
    known = {phrase for wording in (*RULES.wordings, RULES.coupons) for phrase in wording.says}
    for sign in RULES.text_signs(text):
        assert sign == Sign.read(str(sign))
        assert sign.what in known or sign.name in ("tracking", "coupon")
    assert len(skeleton(text, ())) in (0, 16)


def test_hostile_markup_costs_its_length() -> None:
    """Unclosed tags and comments over and over: read once, bounded, whatever they are."""
    for piece in (b"<!--", b"<style", b"<", b"https://", b"@", b"beste ", b"code:", b"9"):
        body = b"From: a@acme.example\r\nContent-Type: text/html\r\n\r\n" + piece * (LONGEST // len(piece))
        text = shown_text(parse(body), "x")
        RULES.text_signs(text)
        assert len(text.code) <= LONGEST and len(skeleton(text, ())) in (0, 16)
