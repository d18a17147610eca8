"""Signing up through the running program: form, mail at the next server, button, newsletter.

Invariants: nothing is sent to whoever has not confirmed; GET confirms nothing; one mail per request, to the address
alone, signed, without promotion; an opt-out ends for what was signed up for, and stands for all else (2.1.10 a).
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from gateway.config import Config
from gateway.keys import key_ring
from gateway.recall import lookup
from gateway.store.contract import Store
from suppression.history import Entry
from tests.installation import ANNA, WIM, newsletter
from tests.story.relay import Relay, fresh, load_people, relaying, verify_dkim, with_store
from tests.story.upstream import Mail

FORM = "/s/acme/newsletter"


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """The four people on file; all sign-ups come from this machine."""
    installation = fresh(made, tmp_path_factory.mktemp("sign-up") / "installation")
    installation.change('stream = "newsletter"\n', 'stream = "newsletter"\nhourly_per_network = 1000\n')
    load_people(installation)
    with relaying(installation) as running:
        yield running


def send(relay: Relay, address: str, *purposes: str, lang: str = "nl", **more: object) -> httpx.Response:
    """Fill in the form and send it."""
    said = {"address": address, **{f"purpose-{purpose}": "yes" for purpose in purposes}}
    return relay.http("POST", f"{relay.installation.url}{FORM}?lang={lang}", data=said, **more)


def question(relay: Relay, address: str, *purposes: str, **more: str) -> Mail:
    """Sign up and wait for the mail that asks to confirm."""
    before = len(relay.upstream.to(address))
    assert send(relay, address, *(purposes or ("newsletter",)), **more).status_code == 200
    relay.upstream.until(lambda: len(relay.upstream.to(address)) > before)
    return relay.upstream.to(address)[before]


def link_in(mail: Mail) -> str:
    """The address of the page with the button: the same in text and HTML, and the only one of its kind."""
    found = set()
    for kind in ("plain", "html"):
        body = mail.message.get_body((kind,))
        assert body is not None
        links = re.findall(r"https?://[^\s\"<>]+/c/[A-Za-z0-9_-]+", body.get_content())
        assert len(links) == 1
        found.update(links)
    [link] = found
    return str(link)


def told(relay: Relay, address: str) -> tuple[Entry, ...]:
    """A person's entries in the ledger, opened."""

    async def ask(store: Store, config: Config) -> tuple[Entry, ...]:
        [history] = await store.histories([lookup(key_ring(config), "acme", None, address)])
        return history.own.entries

    return with_store(relay.installation, ask)


def confirm(relay: Relay, mail: Mail) -> httpx.Response:
    return relay.http("POST", link_in(mail))


def test_from_the_form_to_the_newsletter(relay: Relay) -> None:
    new = "nieuw@example.org"
    assert relay.kept_out(new, newsletter()) == "RECIPIENT_UNKNOWN"
    mail = question(relay, new)
    assert relay.kept_out(new, newsletter()) == "OPT_IN_PENDING_CONFIRMATION"
    page = relay.http("GET", link_in(mail))
    assert page.status_code == 200 and page.text.count("<button") == 1 and "script" not in page.text
    for _ in range(3):  # scanners
        relay.http("GET", link_in(mail))
        relay.http("HEAD", link_in(mail))
    assert relay.kept_out(new, newsletter()) == "OPT_IN_PENDING_CONFIRMATION"
    done = confirm(relay, mail)
    assert done.status_code == 200 and "U bent aangemeld" in done.text and "/p/" in done.text
    copy = relay.passes(new, newsletter())
    assert "omdat u zich aanmeldde" in " ".join(copy.message.get_body(("plain",)).get_content().split())
    again = confirm(relay, mail)
    assert again.status_code == 200 and "Al bevestigd" in again.text
    assert len([one for one in relay.upstream.to(new) if "bevestig" in one.message["Subject"].lower()]) == 1


def test_the_mail_is_what_it_should_be(relay: Relay) -> None:
    address = "ingrid@example.org"
    mail = question(relay, address, "newsletter", "events", lang="de")
    message = mail.message
    assert re.fullmatch(r"b\+[a-z2-7]{45}@bounce\.acme\.example", mail.mail_from) and mail.recipient == address
    assert message["To"] == address and message["From"] == "Acme Wijnen <news@acme.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"] is None and message["List-Unsubscribe-Post"] is None and message["Cc"] is None
    assert message["Subject"] == "Bestätigen Sie Ihre Anmeldung bei Acme Wijnen"
    assert {"from", "to", "subject", "date", "message-id"} <= verify_dkim(mail, relay.installation)
    text = message.get_body(("plain",)).get_content()
    assert "Den Newsletter" in text and "Einladungen zu Verkostungen" in text
    assert "Wenn Sie nichts tun, geschieht nichts" in text and f"{relay.installation.url}{FORM}" in text
    for kind in ("plain", "html"):
        body = message.get_body((kind,)).get_content()
        assert "/u/" not in body and "Abmelden" not in body


def test_one_mail_however_often_somebody_asks(relay: Relay) -> None:
    address = "vaak@example.org"
    mail = question(relay, address)
    first = send(relay, address, "newsletter")
    second = send(relay, address, "events")
    assert first.text == second.text
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda n: send(relay, f"tegelijk{n % 2}@example.org", "newsletter"), range(8)))
    relay.upstream.until(lambda: all(relay.upstream.to(f"tegelijk{n}@example.org") for n in (0, 1)))
    relay.drained()
    assert [len(relay.upstream.to(f"tegelijk{n}@example.org")) for n in (0, 1)] == [1, 1]
    assert len(relay.upstream.to(address)) == 1
    assert "U bent aangemeld" in confirm(relay, mail).text


def test_an_opt_out_of_everything_ends_for_what_was_signed_up_for_alone(relay: Relay) -> None:
    """wim bought wine; he said stop to everything, and later wants the newsletter."""
    copy = relay.passes(WIM, newsletter())
    [url] = re.findall(r"<(https?:[^>]*)>", copy.message["List-Unsubscribe"])
    relay.one_click(url)
    stopped = datetime.now(UTC)
    assert relay.kept_out(WIM, newsletter()) == "SUPPRESSED_SENDER"
    relay.gateway.eventually(lambda: datetime.now(UTC) - stopped > timedelta(seconds=1))  # an opt-out has its second
    mail = question(relay, WIM)
    assert relay.kept_out(WIM, newsletter()) == "SUPPRESSED_SENDER"  # a request is nothing yet
    assert "U bent aangemeld" in confirm(relay, mail).text
    relay.passes(WIM, newsletter())
    assert relay.kept_out(WIM, newsletter(), login="events") == "SUPPRESSED_SENDER"
    stop = relay.passes(WIM, newsletter())
    [url] = re.findall(r"<(https?:[^>]*)>", stop.message["List-Unsubscribe"])
    relay.one_click(url)
    assert relay.kept_out(WIM, newsletter()) == "SUPPRESSED_PURPOSE"


def test_whoever_is_subscribed_already_hears_the_same(relay: Relay) -> None:
    """anna is subscribed, niemand2 is not: answer, status and header fields are equal to the letter."""
    answers = [send(relay, address, "newsletter") for address in (ANNA, "annb@example.org")]
    pages = {answer.text.replace(ANNA, "X").replace("annb@example.org", "X") for answer in answers}
    assert len(pages) == 1
    fields = [{k: v for k, v in answer.headers.items() if k not in ("date", "content-length")} for answer in answers]
    assert fields[0] == fields[1] and "set-cookie" not in fields[0]


def test_the_ledger_tells_the_whole_story_and_matches(relay: Relay) -> None:
    address = "verhaal@example.org"
    confirm(relay, question(relay, address, "newsletter", "events"))
    relay.gateway.eventually(lambda: "confirmation_sent" in [entry.kind for entry in told(relay, address)])
    entries = {entry.kind: entry.fields for entry in told(relay, address)}
    assert set(entries) == {"opt_in_requested", "confirmation_sent", "opt_in_confirmed", "person"}
    asked, mailed = entries["opt_in_requested"], entries["confirmation_sent"]
    assert asked["evidence"]["origin"] == f"{relay.installation.url}{FORM}"
    assert asked["purposes"] == ["newsletter", "events"] and asked["action"] == "active_tick"
    link = re.search(r"/c/([A-Za-z0-9_-]+)", asked["sign_up"]["mail"]["text"])
    assert link is not None
    assert asked["sign_up"]["token_hash"] == hashlib.sha256(link[1].encode()).hexdigest()
    assert mailed["message_id"] == asked["sign_up"]["mail"]["message_id"] and len(mailed["digest"]) == 64
    assert entries["opt_in_confirmed"]["id"] == asked["id"]
    wording = asked["evidence"]["wording_version"]
    kept = with_store(relay.installation, lambda store, config: store.wording("acme", wording))
    assert kept is not None
    assert [(choice.purpose, choice.ticked) for choice in kept.wording.choices] == [
        ("newsletter", False), ("events", False),
    ]  # fmt: skip
    assert "Ja, ik wil de nieuwsbrief" in kept.wording.layout and " checked" not in kept.wording.layout
    done = relay.installation.tool("ledger", "rebuild", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert relay.installation.tool("ledger", "verify").returncode == 0


def test_nothing_of_a_sign_up_is_readable_in_the_database(relay: Relay) -> None:
    address = "geheim.adres@example.org"
    send(relay, address, "newsletter", headers={"User-Agent": "OpvallendeBrowser/1.0"})
    relay.upstream.until(lambda: bool(relay.upstream.to(address)))
    with sqlite3.connect(f"file:{relay.installation.dir}/consentgate.db?mode=ro", uri=True) as db:
        dump = "\n".join(db.iterdump())
    for secret in (address, "OpvallendeBrowser", address.encode().hex()):
        assert secret not in dump
    assert address not in relay.gateway.log() and "OpvallendeBrowser" not in relay.gateway.log()
