"""Letters of our own: the same in text and HTML, in every language, whatever names people and senders have."""

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config import Controller
from gateway.letters import NAMES, Name, Unfit, Written, own, written
from gateway.mail.letter import Letter, make_letter
from gateway.words import LANGUAGES, Language, Words
from tests.acme import write_config

AT = datetime(2026, 11, 21, 10, 4, tzinfo=UTC)
WORDS = Words.load()
LINK = "https://mail.acme.example/c/AbCdEf_-0123"
HEAD = {
    "controller": "acme", "seq": 812, "hash": "9f" * 32, "at": AT, "public_key": "ab" * 32, "signature": "cd" * 64,
}  # fmt: skip
CONTACT = {"contact": "privacy@acme.example", "contact_link": "mailto:privacy@acme.example"}
SAID: Mapping[Name, Mapping[str, Any]] = {
    "confirm": {
        "link": LINK, "parent": False, "purposes": ["de nieuwsbrief", "wijn & kaas"], "asked_at": "21 nov 2026, 10:04",
        "origin": "https://acme.example/s/acme/news?a=1&b=2", "until": "28 nov 2026, 10:04",
    },
    "stopped": {"stops": ["21 november 2026: geen reclame meer"], "unread": False, **CONTACT},
    "restriction_ends": {"held": ["3 november 2026: alleen bewaard"], "date": "28 november 2026", **CONTACT},
    "obtained": {"source": "Expo & Co. <B.V.>", "purposes": ["de nieuwsbrief"], **CONTACT},
    "head": {"heads": [HEAD], "date": "21 november 2026"},
    "report": {
        "title": "report.subject", "intro": "Uw bericht", "recipients": ["<bob@example.net>\nvol (5.2.2)"], "why": [],
    },
}  # fmt: skip
ALL = [(name, language) for name in SAID for language in LANGUAGES]


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    return write_config(tmp_path_factory.mktemp("letters")).controllers["acme"]


def letter_of(said: Written, controller: Controller, language: str, **other: Any) -> Letter:
    return Letter(**{
        "to": "anna@example.org", "sender": "news@acme.example", "sender_name": controller.display_name,
        "subject": said.subject, "text": said.text, "html": said.html, "language": language,
        "message_id": "<m1@acme.example>", "at": AT, **other,
    })  # fmt: skip


def read(raw: bytes) -> EmailMessage:
    """As the standard library reads it, which has nothing to complain about, nor has the next server."""
    assert b"\n" not in raw.replace(b"\r\n", b"") and b"\r" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert not part.defects
        for name in set(part.keys()):
            assert len(part.get_all(name) or []) == 1
    return message


class Shown(HTMLParser):
    """The words that an HTML letter shows, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: set[str] = set()
        self.tags: list[str] = []
        self._hidden = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden += tag in ("title", "style")
        self.links |= {value or "" for name, value in attrs if name == "href"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("title", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data.split()


def bodies(message: EmailMessage) -> tuple[str, str]:
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    return plain.get_content(), html.get_content()


@pytest.mark.parametrize(("name", "language"), ALL)
def test_text_and_html_say_the_same_in_every_language(name: Name, language: Language, controller: Controller) -> None:
    said = written(WORDS, controller, name, language, **SAID[name])
    message = read(make_letter(letter_of(said, controller, language)))
    assert message["Subject"] == said.subject and message["Content-Language"] == language
    assert message["Auto-Submitted"] == "auto-generated" and message["List-Unsubscribe"] is None
    assert controller.display_name in said.text
    if name == "report":
        assert not said.html and message.get_content_type() == "text/plain"
        return
    assert f"{controller.legal_name}, {controller.postal_address}" in said.text
    plain, html = bodies(message)
    shown = Shown(html)
    links = set(re.findall(r"https?://[^\s<>]+", plain))
    assert {one for one in shown.links if one.startswith("http")} <= links
    unlinked = re.sub(r"https?://\S+|privacy@acme\.example|\b(seq|hash|at|controller|public_key|signature):", "", plain)
    ours = set(re.findall(r"\w+", unlinked))
    theirs = set(re.findall(r"\w+", " ".join(shown.words)))
    missing = {word for word in ours - theirs if len(word) > 2}
    assert missing == set(), missing
    assert not {"script", "img", "style", "link", "form", "iframe"} & set(shown.tags)
    assert f'<html lang="{language}"' in html and "http-equiv" not in html
    for part in (plain, html):
        assert "{" not in part and "/u/" not in part and "utm_" not in part
        assert not re.search(r"_mail\.|footer\.|report\.", part)


def test_a_confirmation_holds_its_link_in_both_parts_and_only_as_text_and_button(controller: Controller) -> None:
    for language in LANGUAGES:
        said = written(WORDS, controller, "confirm", language, must=[LINK], **SAID["confirm"])
        plain, html = bodies(read(make_letter(letter_of(said, controller, language))))
        assert plain.count(LINK) == html.count(LINK) == 1
        assert "wijn &amp; kaas" in html.lower() and "wijn & kaas" in plain.lower()


def test_languages_differ_and_none_is_left_out(controller: Controller) -> None:
    for name in SAID:
        texts = {written(WORDS, controller, name, language, **SAID[name]).text for language in LANGUAGES}
        assert len(texts) == len(LANGUAGES), name
    assert set(SAID) == set(NAMES)


NAMES_OF_PEOPLE = st.text(max_size=120) | st.sampled_from((
    "Acme\r\nBcc: all@victim.example\r\n\r\n<html>", '"; <x@y.example>', "=?utf-8?q?Bcc=3A_x?=", "a" * 1200,
    "<script>alert(1)</script>", "\u202eemca", "Œuvres d’art & Söhne", "\ud800", "{{ 7 * 7 }}", "%s {0}",
))  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(name=NAMES_OF_PEOPLE, address=NAMES_OF_PEOPLE, purpose=NAMES_OF_PEOPLE, subject=NAMES_OF_PEOPLE)
def test_no_name_makes_a_field_a_tag_or_a_long_line(
    controller: Controller, name: str, address: str, purpose: str, subject: str
) -> None:
    odd = replace(controller, display_name=name, legal_name=name, postal_address=address)
    said = written(WORDS, odd, "confirm", "nl", **{**SAID["confirm"], "purposes": [purpose]})
    plain_one = written(WORDS, controller, "confirm", "nl", **{**SAID["confirm"], "purposes": ["x"]})
    for letter in (letter_of(said, odd, "nl"), letter_of(said, odd, "nl", subject=subject)):
        message = read(make_letter(letter))
        assert sorted(message.keys()) == sorted([
            "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress",
            "MIME-Version", "Content-Language", "Content-Type",
        ])  # fmt: skip
        assert [one.addr_spec for one in message["From"].addresses] == ["news@acme.example"]
        assert message["To"] == "anna@example.org" and message["Bcc"] is None
        _, html = bodies(message)
        assert Shown(html).tags == Shown(plain_one.html).tags
        assert Shown(html).links == Shown(plain_one.html).links


@pytest.mark.parametrize("subject", ["Größe", "Déjà vu " * 30, "=?utf-8?q?x?=", "z" * 900, "日本語" * 100])
def test_subjects_and_names_are_read_back_as_they_were_written(subject: str, controller: Controller) -> None:
    said = written(WORDS, controller, "stopped", "nl", **SAID["stopped"])
    raw = make_letter(letter_of(said, controller, "nl", subject=subject, sender_name=subject))
    assert " ".join(read(raw)["Subject"].split()) == " ".join(subject.split())
    # Not by addresses: the standard library leaves the blanks between the encoded words of a display name.
    author = email.message_from_bytes(raw)["From"].rpartition(" <")[0]
    assert str(make_header(decode_header(author))).split() == subject.split()


def test_an_address_outside_ascii_stands_as_it_is(controller: Controller) -> None:
    said = written(WORDS, controller, "stopped", "fr", **SAID["stopped"])
    raw = make_letter(letter_of(said, controller, "fr", to="rené@exemple.example"))
    assert "To: <rené@exemple.example>\r\n".encode() in raw
    assert read(raw)["From"] == "Acme Wijnen <news@acme.example>"


def test_an_answer_names_what_it_answers(controller: Controller) -> None:
    said = written(WORDS, controller, "stopped", "nl", **SAID["stopped"])
    letter = letter_of(said, controller, "nl", automatic="auto-replied", answers="<their.mail@example.org>")
    message = read(make_letter(letter))
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"] == message["References"] == "<their.mail@example.org>"


def own_words(folder: Path, **files: str) -> Words:
    (folder / "acme" / "mail").mkdir(parents=True)
    for name, text in files.items():
        (folder / "acme" / "mail" / name.replace("__", ".")).write_text(text, "utf-8")
    return Words.load(folder)


def test_a_controller_has_its_own_templates_and_nobody_else_has_them(tmp_path: Path, controller: Controller) -> None:
    mine = '{% extends "mail/letter.txt" %}{% block body %}Dag! {{ t("confirm_mail.do") }} {{ link }}{% endblock %}'
    words = own_words(tmp_path, confirm__txt=mine, footer__txt="Eigen {{ marks.unsubscribe }}")
    said = written(words, controller, "confirm", "nl", must=[LINK], **SAID["confirm"])
    assert said.text.startswith(f"Dag! Klopt dat? Bevestig het dan op deze pagina: {LINK}")
    assert controller.legal_name in said.text and LINK in said.html
    other = replace(controller, id="globex")
    assert not written(words, other, "confirm", "nl", **SAID["confirm"]).text.startswith("Dag!")
    stream = controller.streams["newsletter"]
    assert words.footer(controller, stream, "opt_in", "nl").text.startswith("Eigen ")
    assert not words.footer(other, stream, "opt_in", "nl").text.startswith("Eigen ")


@pytest.mark.parametrize(
    "broken",
    [
        "Klik hier.",
        "{{ link }} {{ nobody }}",
        "{% if %}",
        "{{ link }} {{ t('no.such') }}",
        "{{ link",
        "{{ 1 // 0 }}",
        "{{ link.encode().nothing.at_all }}",
        "{% include 'mail/confirm.txt' %}",
    ],
)
def test_a_template_that_says_not_what_it_must_is_passed_by(
    tmp_path: Path, controller: Controller, broken: str
) -> None:
    words = own_words(tmp_path, confirm__txt=broken)
    said = written(words, controller, "confirm", "nl", must=[LINK], **SAID["confirm"])
    assert said == written(WORDS, controller, "confirm", "nl", **SAID["confirm"])
    with pytest.raises(Exception) as why:
        own(words, controller, "confirm", "nl", must=[LINK], **SAID["confirm"])
    assert broken != "Klik hier." or isinstance(why.value, Unfit)
