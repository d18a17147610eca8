"""The promises, one by one, on a gateway that runs. P1 is in test_killed.py, P4 goes over every page there is."""

import base64
import contextlib
import json
import os
import re
import smtplib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from gateway.keys import key_ring
from gateway.store.ahead import standing_row
from gateway.store.keys import Keys, opened
from gateway.store.sqlite_connection import keys_connection
from suppression import ledger, standing
from suppression.address import canonical
from tests.acme import acme
from tests.installation import ANNA, KLEED, NIEMAND, WIM, Gateway, Installation, Make, consent, newsletter, order, sale
from tests.mails import leaf, leaves, message, multipart, octets
from tests.peers import FEATURES
from tests.story.relay import (
    Relay,
    config_of,
    load,
    load_people,
    on_both,
    one_click_url,
    page_links,
    relaying,
)
from tests.story.upstream import Gate

PEOPLE = [f"q{n:02d}@example.org" for n in range(30)]


@pytest.fixture
def installation(make: Make, tmp_path: Path) -> Installation:
    """A fresh example installation with the four people on file."""
    new = make(tmp_path / "installation")
    load_people(new)
    return new


def rows(installation: Installation, statement: str, *values: object) -> list[tuple[object, ...]]:
    """What a second reader of the database sees: what is committed."""
    with contextlib.closing(sqlite3.connect(f"file:{installation.dir / 'consentgate.db'}?mode=ro", uri=True)) as db:
        return db.execute(statement, values).fetchall()


# P2


def test_p2_each_recipient_gets_a_decision_in_the_transaction_of_the_message(relay: Relay) -> None:
    crowd = [ANNA, WIM, KLEED, NIEMAND, *PEOPLE[:6]]
    stop, torn = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            torn.extend(rows(
                relay.installation,
                "SELECT m.message_id, (SELECT count(*) FROM copies c WHERE c.controller_id = m.controller_id "
                "AND c.message_id = m.message_id) AS n, m.size FROM messages m WHERE m.campaign = 'heel' AND n <> 10",
            ))  # fmt: skip

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for n in range(10):
            relay.taken(crowd, b"X-Consentgate-Campaign: heel\r\n" + newsletter(f"heel {n}"))
        _, text = relay.send(crowd, b"X-Consentgate-Campaign: heel\r\n" + newsletter(sender="x <x@evil.example>"))
    finally:
        stop.set()
        watching.join()
    assert not torn, "a message was seen without the decisions on all its recipients"
    refused = UUID(text.rpartition(" ")[2]).bytes
    ask = "SELECT reason_code, state FROM copies WHERE message_id = ? ORDER BY copy_no"
    codes = rows(relay.installation, ask, refused)
    assert len(codes) == 10
    assert codes[0] == ("SENDER_IDENTITY_CONCEALED", "blocked")
    assert {state for _, state in codes} == {"blocked"}
    assert rows(relay.installation, "SELECT 1 FROM bodies WHERE message_id = ?", refused) == []


def test_p2_what_was_allowed_is_decided_again_at_hand_over(installation: Installation) -> None:
    gate = Gate()
    with relaying(installation, {".": gate}, connections=1) as relay:
        relay.agree(*PEOPLE[:2])
        relay.taken(ANNA, newsletter("houdt de verbinding bezet"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        first = relay.upstream.to(ANNA)[0]
        named = relay.taken([ANNA, *PEOPLE[:2]], newsletter("wacht"))
        later = relay.taken(ANNA, newsletter("wacht ook"))
        assert relay.one_click(one_click_url(first)).status_code == 200
        relay.a_second_passes()
        gate.open()
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([ANNA, *PEOPLE[:2]])
        for one in (named, later):
            found = rows(
                installation,
                "SELECT state, verdict, reason_code, accept_code FROM copies WHERE message_id = ? AND copy_no = 0",
                UUID(one).bytes,
            )
            assert found == [("blocked", "block", "SUPPRESSED_PURPOSE", "ALLOW_OPT_IN")]
        assert {row.message_id for row in relay.blocked()} == {named, later}
        assert "kept_out" in relay.gateway.log()


def test_p2_a_copy_kept_on_a_capture_route_is_decided_again_too(installation: Installation) -> None:
    with serving(installation) as gateway:
        gateway.send([ANNA, KLEED], newsletter("gevangen"))
        wanted = {"captured": "ALLOW_OPT_IN", "blocked": "PRODUCT_NOT_SIMILAR"}
        gateway.eventually(lambda: dict(rows(installation, "SELECT state, reason_code FROM copies")) == wanted)


@contextlib.contextmanager
def serving(installation: Installation) -> Iterator[Gateway]:
    gateway = Gateway(installation)
    try:
        yield gateway.start()
    finally:
        gateway.kill()


# P3


@on_both
@pytest.mark.parametrize(
    ("pipelining", "workers"), [(True, 1), (False, 1), (True, 2)], ids=["pipelining", "one by one", "two workers"]
)
def test_p3_no_mail_from_later_than_a_second_after_the_opt_out(
    installation: Installation, pipelining: bool, workers: int
) -> None:
    gate, features = Gate(is_open=True), [f for f in FEATURES if pipelining or f != "PIPELINING"]
    with relaying(installation, {".": gate}, features=features, workers=workers) as relay:
        relay.agree(*PEOPLE)
        for address in PEOPLE:
            relay.taken(address, newsletter("een"))
        urls = {mail.recipient: one_click_url(mail) for mail in relay.upstream.wait(len(PEOPLE))}
        relay.drained()
        gate.close()
        for number in range(8):
            relay.taken(PEOPLE, newsletter(f"ronde {number}"))
        # every connection waits for the reply to a final dot; with two workers at least those of the one that has work
        relay.gateway.eventually(lambda: gate.waiting >= 10)
        gate.let(25)
        relay.gateway.eventually(lambda: relay.upstream.count >= len(PEOPLE) + 30)
        replied = {}
        for address in PEOPLE[::3]:
            assert relay.one_click(urls[address]).status_code == 200
            replied[address] = time.monotonic()
            gate.let(3)
        relay.gateway.eventually(lambda: time.monotonic() > max(replied.values()) + 1)
        gate.open()
        relay.drained()
        late = [address for at, address in relay.upstream.began if at > replied.get(address, at) + 1]
        assert late == []
        others = [address for address in PEOPLE if address not in replied]
        counts = {address: len(relay.upstream.to(address)) for address in PEOPLE}
        assert {counts[address] for address in others} == {9}
        assert all(counts[address] < 9 for address in replied)
        # a MAIL FROM that did come after the reply, within the second, was checked before it
        assert sum(at > replied[address] for at, address in relay.upstream.began if address in replied) <= 10 * workers
        if pipelining:
            assert not [line for line in relay.upstream.ahead if line == "."], "MAIL behind an unanswered final dot"


def test_p3_nothing_but_the_person_undoes_an_opt_out(relay: Relay) -> None:
    address = "blijft@example.org"
    relay.agree(address)
    mail = relay.passes(address, newsletter("een"))
    assert relay.one_click(one_click_url(mail)).status_code == 200
    tomorrow = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    load(relay.installation, "consents", [consent(address, given_at=tomorrow, id="nieuw")])
    load(relay.installation, "people", [{"email": address, "kind": "natural_person", "country": "NL"}])
    load(relay.installation, "sales", [sale(address, "wine")])
    assert relay.installation.tool(
        "consent", "add", address, "--evidence", "op de beurs", "--controller", "acme"
    ).returncode == 0  # fmt: skip
    relay.gateway.eventually(lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") > tomorrow)
    assert relay.kept_out(address, newsletter("twee")) == "SUPPRESSED_PURPOSE"
    refused = relay.installation.dir / "suppressions.csv"
    refused.write_text(
        "email,scope,purpose,reason,at,lifted_at\n"
        f"{address},purpose,newsletter,unsubscribe,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z\n"
    )
    done = relay.installation.tool("import", "suppressions", refused, "--controller", "acme", "--json")
    assert json.loads(done.stdout)["rejected"] == 1
    delivered = relay.passes(address, order(address), login="orders", sender="orders@acme.example")
    assert delivered.recipient == address
    assert relay.kept_out(address, newsletter("drie")) == "SUPPRESSED_PURPOSE"


def test_p3_the_undo_of_the_page_works_and_only_there(relay: Relay) -> None:
    address = "toch@example.org"
    relay.agree(address)
    mail = relay.passes(address, newsletter("een"))
    [page] = page_links(mail)["text/html"]
    shown = relay.http("POST", page, data=_form(relay.http("GET", page).text, 0))
    assert shown.status_code == 200
    assert relay.kept_out(address, newsletter("twee")) == "SUPPRESSED_PURPOSE"
    undo = next(fields for fields in _forms(shown.text) if fields.get("value"))
    changed = {**undo, "value": undo["value"][:-2] + ("aa" if undo["value"][-2:] != "aa" else "bb")}
    relay.http("POST", page, data=changed)
    assert relay.kept_out(address, newsletter("drie")) == "SUPPRESSED_PURPOSE"
    assert relay.http("POST", page, data=undo).status_code == 200
    assert relay.passes(address, newsletter("vier")).recipient == address


def _forms(html: str) -> list[dict[str, str]]:
    """The values each form of a page sends, its buttons' included."""
    found = []
    for form in re.findall(r"(?is)<form.*?</form>", html):
        tags = re.findall(r"(?is)<(?:input|button)\b[^>]*>", form)
        pairs = [(re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)) for tag in tags]
        found.append({name[1]: value[1] if value else "" for name, value in pairs if name})
    return found


def _form(html: str, number: int) -> dict[str, str]:
    return _forms(html)[number]


# P4


async def test_p4_get_and_head_change_nothing_on_any_page(tmp_path: Path) -> None:
    async with acme(tmp_path) as world:
        await world.consented("a@example.org")
        message_id = await world.send({"a@example.org": "ALLOW_OPT_IN", "b@example.org": "RECIPIENT_UNKNOWN"})
        kinds = {"u": "unsubscribe", "o": "unsubscribe", "w": "why", "p": "preferences"}
        links = {letter: world.link("a@example.org", kind=kind) for letter, kind in kinds.items()}  # type: ignore[arg-type]
        values = {"controller": "acme", "message_id": message_id, "copy_no": "0", "id": "x", "name": "page.css"}
        staff = [await world.signed_in(role, role) for role in ("marketer", "privacy", "operator")]
        browsers = [world.client(), *staff]
        before, asked = _dump(tmp_path), 0
        places = [route.path for route in world.app.routes if hasattr(route, "path")]
        for place in (*places, *world.app.openapi()["paths"]):
            named = {**values, "token": links.get(place[1:2], "x")}
            path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda m, named=named: named.get(m[1], "x"), place)
            for browser in browsers:
                for method in ("GET", "HEAD"):
                    for query in ("", "?lang=de&value=x&confirm=1&List-Unsubscribe=One-Click"):
                        answer = await browser.request(method, path + query)
                        asked += answer.status_code == 200
        assert asked > 60, "most pages were never seen"
        assert _dump(tmp_path) == before
        for browser in browsers:
            await browser.aclose()


def _dump(folder: Path) -> list[str]:
    """Everything both databases hold."""
    text = []
    for file in sorted(folder.glob("*.db")):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            text += list(db.iterdump())
    assert any("INSERT" in line for line in text)
    return text


def test_p4_neither_do_they_at_the_running_gateway(relay: Relay) -> None:
    address = "scanner@example.org"
    relay.agree(address)
    mail = relay.passes(address, newsletter("een"))
    relay.drained()
    links = set(re.findall(r"https?://127[^\s\"'<>]+", mail.message.get_body(("html",)).get_content()))
    assert len(links) >= 3
    before = rows(relay.installation, "SELECT count(*) FROM ledger")
    for url in {*links, one_click_url(mail)}:
        for method in ("GET", "HEAD"):
            assert relay.http(method, url).status_code == 200
    assert rows(relay.installation, "SELECT count(*) FROM ledger") == before
    relay.passes(address, newsletter("twee"))


# P5


def test_p5_a_locked_database_means_451_and_503_and_then_it_goes_on(installation: Installation) -> None:
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, newsletter("ervoor"))
        relay.drained()
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db", isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            answers: list[object] = []
            asking = threading.Thread(target=lambda: answers.append(relay.one_click(one_click_url(mail)).status_code))
            asking.start()
            assert relay.send([ANNA, KLEED], newsletter("gesloten"))[0] == 451
            asking.join()
            assert answers == [503]
            db.execute("ROLLBACK")
        assert relay.upstream.count == 1
        assert relay.passes(ANNA, newsletter("weer open")).message["Subject"] == "weer open"
        assert relay.one_click(one_click_url(mail)).status_code == 200
        assert relay.kept_out(ANNA, newsletter("na de klik")) == "SUPPRESSED_PURPOSE"
        assert rows(installation, "SELECT count(*) FROM messages") == [(3,)]
        assert "store_unavailable" in relay.gateway.log()


@pytest.mark.parametrize("name", ["consentgate.db", "keys.db"])
def test_p5_a_database_that_is_taken_away_means_451_and_503(installation: Installation, name: str) -> None:
    with relaying(installation) as relay:
        mail = relay.passes(ANNA, newsletter("ervoor"))
        relay.drained()
        files = [installation.dir / f"{name}{suffix}" for suffix in ("", "-wal", "-shm")]
        away = installation.dir / "weg"
        away.mkdir()
        for file in files:
            file.rename(away / file.name)
        try:
            assert relay.send([ANNA, KLEED], newsletter("weg"))[0] == 451
            assert relay.one_click(one_click_url(mail)).status_code == 503
            assert relay.http("GET", f"{installation.url}/readyz").status_code == 503
            assert relay.upstream.count == 1
        finally:
            for file in files:
                (away / file.name).rename(file)
        relay.gateway.eventually(lambda: relay.send(ANNA, newsletter("terug"))[0] == 250)
        relay.upstream.wait(2)
        assert relay.one_click(one_click_url(mail)).status_code == 200


def test_p5_a_standing_that_cannot_be_read_sends_nothing(installation: Installation) -> None:
    with relaying(installation) as relay:
        relay.agree(PEOPLE[0])
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
            anna = key_ring(config_of(installation)).recipient_keys("acme", ANNA)[0]
            assert db.execute("UPDATE standing SET facts = randomblob(80) WHERE recipient_key = ?", (anna,)).rowcount
        code, text = relay.send(ANNA, newsletter("onleesbaar"))
        assert (code, text[:6]) == (451, "4.3.0 ")
        named = relay.taken([ANNA, PEOPLE[0]], newsletter("half"))
        relay.upstream.wait(1)
        assert [mail.recipient for mail in relay.upstream.mails] == [PEOPLE[0]]
        [row] = [row for row in relay.blocked() if row.message_id == named]
        assert (row.decision, row.reason_code) == ("defer", "EVIDENCE_STORE_UNAVAILABLE")


# P6


def test_p6_what_we_do_not_own_leaves_byte_for_byte(relay: Relay) -> None:
    address = "bytes@example.org"
    relay.agree(address)
    pdf, inner = os.urandom(5000), newsletter("ingesloten")
    odd = (
        "X-Odd: one\r\n\t two ;  three\r\nReply-To:  <a@acme.example>\r\nReferences: <a@x>\r\n <b@x>\r\n"
        "x-LOWER:nospace\r\nKeywords: =?utf-8?q?caf=C3=A9?=\r\n"
    )
    parts = [
        leaf("Beste lezer,\r\nrode wijn.\r\n"),
        leaf(pdf, "application/pdf", cte="base64", charset=None, more="Content-Disposition: attachment\r\n"),
        leaf(inner, "message/rfc822", cte="8bit", charset=None),
        leaf("<p>bijlage</p>", "text/html", more="Content-Disposition: attachment; filename=a.html\r\n"),
    ]
    raw = message(multipart("mixed", *parts), more=odd)
    mail = relay.passes(address, raw)
    for part in parts[1:]:
        assert part in mail.raw
    assert odd.encode() in mail.raw
    assert [octets(part) for part in list(leaves(mail.message).values())[1:2]] == [pdf]


def test_p6_service_mail_leaves_as_it_came_but_for_trace_and_signature(relay: Relay) -> None:
    raw = order(NIEMAND).replace(b"onderweg.", b"onderweg.\r\n..punt\r\n.\r\n caf\xc3\xa9 \t\r\n")
    mail = relay.passes(NIEMAND, raw, login="orders", sender="orders@acme.example")
    assert mail.raw.endswith(raw)
    added = mail.raw[: -len(raw)].decode()
    fields = r"(?:.*\r\n)(?:[ \t].*\r\n)*"
    assert re.fullmatch(rf"Received: {fields}(?:DKIM-Signature: {fields}){{2}}", added)


# P7


def test_p7_the_ledger_is_append_only_and_the_standing_is_its_replay(relay: Relay) -> None:
    busy = [f"grootboek{n}@example.org" for n in range(4)]
    relay.agree(*busy)
    load(relay.installation, "sales", [sale(address, "wine") for address in busy[:2]])
    load(relay.installation, "people", [{"email": busy[0], "kind": "natural_person", "language": "de"}])
    before = rows(relay.installation, "SELECT * FROM ledger ORDER BY entry_id")
    mails = [relay.passes(address, newsletter("boek")) for address in busy]
    relay.one_click(one_click_url(mails[0]))
    [page] = page_links(mails[1])["text/plain"]
    shown = relay.http("POST", page, data=_form(relay.http("GET", page).text, 0))
    relay.http("POST", page, data=next(fields for fields in _forms(shown.text) if fields.get("value")))
    relay.agree(*busy)
    after = rows(relay.installation, "SELECT * FROM ledger ORDER BY entry_id")
    assert after[: len(before)] == before
    assert len(after) > len(before)
    with contextlib.closing(sqlite3.connect(relay.installation.dir / "consentgate.db")) as db:
        for statement in ("DELETE FROM ledger", "UPDATE ledger SET at = at + 1", "UPDATE ledger SET public = '{}'"):
            with pytest.raises(sqlite3.Error, match="append-only"):
                db.execute(statement)
    replayed = _replay(relay.installation)
    assert len(replayed) >= 7


def _replay(installation: Installation) -> list[bytes]:
    """Rebuild every standing from the ledger and compare it with the stored one; the persons there are."""
    config = config_of(installation)
    keys = Keys(keys_connection(config.keys.file, 5.0), key_ring(config))
    people = rows(installation, "SELECT controller_id, recipient_key FROM people")
    entries = rows(
        installation,
        "SELECT controller_id, entry_id, at, kind, subject, public, private, commitment FROM ledger ORDER BY entry_id",
    )
    held = rows(installation, "SELECT controller_id, recipient_key, facts FROM standing")
    stored = {(row[0], row[1]): row[2] for row in held}
    done = []
    used = 0
    for controller_id, recipient_key in people:
        secret = keys.person(controller_id, recipient_key)
        assert secret is not None
        document: dict[str, object] = {}
        for row in entries:
            entry = ledger.Entry(
                controller_id=row[0], entry_id=row[1], at=row[2], kind=row[3], subject=row[4],
                public=row[5].encode(), private=row[6], commitment=row[7],
            )  # fmt: skip
            if entry.controller_id == controller_id and entry.subject == secret.subject(recipient_key):
                fields = {**json.loads(entry.public), **ledger.read_private(entry, secret)}
                document = standing.apply(document, entry.kind, fields)
                used += 1
        facts = stored.pop((controller_id, recipient_key), None)
        plain = opened(secret.key, facts, standing_row(controller_id, recipient_key))
        assert (json.loads(plain) if plain else {}) == document
        done.append(recipient_key)
    about_people = [row for row in entries if row[3] not in ledger.CONTROLLER_KINDS]
    assert not stored and used == len(about_people)
    keys.close()
    return done


# P8


def test_p8_controllers_are_strangers_to_each_other(installation: Installation) -> None:
    _add_controller(installation)
    load(installation, "consents", [consent(ANNA)], controller="beta")
    with relaying(installation) as relay:
        first = relay.passes(ANNA, newsletter("van acme"))
        raw = newsletter("van beta", sender="Beta <news@beta.example>")
        second = relay.passes(ANNA, raw, login="beta", sender="news@beta.example")
        code, text = relay.send(ANNA, newsletter("geleend"), login="beta", sender="news@beta.example")
        assert (code, "SENDER_IDENTITY_CONCEALED" in text) == (550, True)
        assert relay.one_click(one_click_url(first)).status_code == 200
        assert relay.kept_out(ANNA, newsletter("weer acme")) == "SUPPRESSED_PURPOSE"
        relay.passes(ANNA, raw, login="beta", sender="news@beta.example")
        # what was bought at one opens nothing at the other, and their keys of the same person have nothing in common
        assert relay.kept_out(WIM, raw, login="beta", sender="news@beta.example") == "RECIPIENT_UNKNOWN"
        keys = rows(installation, "SELECT controller_id, recipient_key FROM copies")
        shared = {key for who, key in keys if who == "acme"} & {key for who, key in keys if who == "beta"}
        assert not shared
        names = rows(installation, "SELECT controller_id FROM suppressions")
        assert names == [("acme",)]
        assert relay.one_click(one_click_url(second)).status_code == 200
        assert sorted(rows(installation, "SELECT controller_id FROM suppressions")) == [("acme",), ("beta",)]
        with relay.gateway.client("beta") as session, pytest.raises(smtplib.SMTPSenderRefused):
            session.sendmail("news@acme.example", [ANNA], raw)
        [row] = [row for row in relay.blocked() if row.controller == "beta" and row.reason_code == "RECIPIENT_UNKNOWN"]
        assert row.address == WIM


def _add_controller(installation: Installation) -> None:
    """A second company on the same gateway, with a login and a signing key of its own."""
    text = installation.config.read_text("utf-8")
    section = text[text.index("[controllers.acme]") :]
    section = section[: section.index("[[controllers.acme.dkim]]")]
    section = section.replace("controllers.acme", "controllers.beta").replace("acme.example", "beta.example")
    section = section.replace(', "example.com", "example.org", "example.dom"', "")
    section = re.sub(r"(?ms)^\[controllers\.beta\.logins\.(events|orders)\].*?(?=^\[|\Z)", "", section)
    section = section.replace("logins.newsletter", "logins.beta")
    key = '[[controllers.beta.dkim]]\ndomain = "beta.example"\nselector = "cg1"\nkey = "keys/dkim/acme.example.cg1.pem"'
    installation.config.write_text(f"{text}\n{section}{key}", "utf-8")
    installation.passwords["beta"] = installation.passwords["newsletter"]


# P9


def test_p9_log_metrics_and_answers_name_nobody(installation: Installation) -> None:
    secret = "hagelslag"
    people = {name: f"{secret}.{name}@example.org" for name in ("ja", "nee", "dood", "later", "vol")}
    script = {
        f"RCPT TO:<{people['dood']}": f"550 5.1.1 <{people['dood']}> no such user {secret}.dood",
        f"RCPT TO:<{people['later']}": f"451 4.2.0 {people['later']} greylisted",
        f"RCPT TO:<{people['vol']}": f"552 5.2.2 {secret}.vol is over quota",
    }
    with relaying(installation, script) as relay:
        answers: list[str] = []
        relay.agree(*people.values())
        everyone = [*people.values(), f"{secret}.x@example.org"]
        answers.append(relay.send(everyone, newsletter(f"Onderwerp {secret}"))[1])
        answers.append(relay.send(everyone, newsletter(f"{secret}", sender="x <x@evil.example>"))[1])
        answers.append(relay.send(everyone, b"Subject: " + secret.encode() + b"\r\n\r\nx\r\n")[1])
        answers.append(relay.send(everyone, b"X-Consentgate-Purpose: nope\r\n" + newsletter(secret))[1])
        mail = relay.upstream.wait(1)[0]
        token = one_click_url(mail).rpartition("/")[2]
        for method, path in (
            ("GET", f"/u/{token}"), ("GET", f"/u/{token[:-1]}"), ("POST", f"/o/{token[:-3]}abc"), ("GET", "/p/x"),
            ("GET", f"/w/{token}"), ("POST", f"/o/{token}"), ("GET", f"/nope/{secret}@example.org"),
        ):  # fmt: skip
            answers.append(relay.http(method, installation.url + path).text)
        answers.append(relay.http("POST", f"{installation.url}/u/", data={"address": f"{secret}.ja@example.org"}).text)
        answers.append(relay.http("POST", f"{installation.url}/u/", data={"address": secret}).text)
        sign_in = {"name": "iemand", "password": secret}
        answers.append(relay.http("POST", f"{installation.url}/staff/login", data=sign_in).text)
        with smtplib.SMTP("127.0.0.1", installation.smtp_port) as session:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                session.login(f"{secret}@example.org", secret)
            answers.append(str(session.docmd(f"RCPT TO:<{secret}@example.org>")))
            answers.append(str(session.docmd(f"{secret} x")))
        relay.gateway.eventually(lambda: "event=failed" in relay.gateway.log() and "event=tried" in relay.gateway.log())
        page = f"{installation.url}/metrics"
        relay.gateway.eventually(
            lambda: (
                re.search(r"^consentgate_queue_copies [1-9]", relay.http("GET", page).text, re.MULTILINE) is not None
            )
        )
        log, metrics = relay.gateway.log(), relay.http("GET", page).text
        replies = rows(installation, "SELECT reply FROM copies WHERE reply IS NOT NULL")
        relay.gateway.stop()
        log = relay.gateway.log()
    assert "consentgate_decisions" in metrics
    assert len(replies) >= 3
    # the form says an address back to the person who typed it; nothing else says one
    for text in (log, metrics, str(replies), *[answer for answer in answers if 'name="address"' not in answer]):
        assert secret not in text
        for password in installation.passwords.values():
            assert password not in text
    assert token not in log + metrics + str(replies)
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", log), "an address in the log"
    assert "Traceback" not in log


def test_p9_nothing_readable_lies_in_the_database(relay: Relay) -> None:
    secret = "snoepjeslaan"
    relay.agree(f"{secret}@example.org")
    relay.passes(f"{secret}@example.org", newsletter(f"Onderwerp {secret}"))
    relay.taken(f"{secret}2@example.org", newsletter(f"Onderwerp {secret}"))
    relay.drained()
    held = b"".join(file.read_bytes() for file in sorted(relay.installation.dir.glob("*.db*")))
    assert len(held) > 100_000
    assert secret.encode() not in held


# P10


def test_p10_links_from_before_a_key_rotation_still_work(installation: Installation) -> None:
    load(installation, "consents", [consent(address) for address in PEOPLE[:4]])
    with relaying(installation) as relay:
        old = {address: relay.passes(address, newsletter("oud")) for address in (ANNA, WIM, *PEOPLE[:4])}
        relay.drained()
        assert relay.gateway.stop() == 0
        key_file = installation.dir / "keys/installation.key"
        key_file.chmod(0o600)
        with key_file.open("a") as keys:
            keys.write("2 " + base64.b64encode(os.urandom(32)).decode() + "\n")
        relay.gateway.start()
        # people recorded under the old key are found, with what they agreed to and bought
        new = {address: relay.passes(address, newsletter("nieuw")) for address in (ANNA, WIM)}
        assert one_click_url(new[ANNA]).rpartition("/")[2][:2] != one_click_url(old[ANNA]).rpartition("/")[2][:2]
        for mail in old.values():
            assert relay.http("GET", one_click_url(mail)).status_code == 200
        assert relay.one_click(one_click_url(old[ANNA])).status_code == 200
        assert relay.kept_out(ANNA, newsletter("na de klik")) == "SUPPRESSED_PURPOSE"
        assert relay.one_click(one_click_url(new[WIM])).status_code == 200
        assert relay.kept_out(WIM, newsletter("na de klik")) == "SUPPRESSED_SENDER"
        # an opt-out by address, and what is recorded later, join what is on file under the old key
        load(installation, "sales", [sale(PEOPLE[0], "wine")])
        relay.http("POST", f"{installation.url}/u/", data={"address": PEOPLE[0]})
        assert relay.kept_out(PEOPLE[0], newsletter("formulier")) == "OBJECTED_TO_MARKETING"
        relay.agree(PEOPLE[1])
        relay.passes(PEOPLE[1], newsletter("opnieuw"))
        one = {len(set(keys)) for keys in _keys_by_address(relay).values()}
        assert one == {1}, "somebody stands under two keys"


def _keys_by_address(relay: Relay) -> dict[str, list[bytes]]:
    """The recipient keys under which a person has a standing or a suppression, by address."""
    ring, found = key_ring(config_of(relay.installation)), {}
    tables = " UNION ".join(f"SELECT recipient_key FROM {table}" for table in ("people", "standing", "suppressions"))
    used = {row[0] for row in rows(relay.installation, tables)}
    for address in (ANNA, WIM, *PEOPLE[:4]):
        found[address] = [key for key in ring.recipient_keys("acme", canonical(address) or "") if key in used]
    return found


# P11


def test_p11_memory_and_open_files_stay_bounded(installation: Installation) -> None:
    installation.change("[routes.main]", "[limits]\nconnections_per_ip = 400\n\n[routes.main]")
    with relaying(installation, features=[*(f for f in FEATURES if "SIZE" not in f), "SIZE 60000000"]) as relay:
        assert relay.gateway.process is not None
        proc = Path(f"/proc/{relay.gateway.process.pid}")
        relay.passes(ANNA, newsletter("warm"))
        relay.http("GET", f"{installation.url}/healthz")
        relay.drained()
        base, before = _open_files(proc), _peak(proc)
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(_greeted(installation.smtp_port)) for _ in range(300)]
            slow = [relay.gateway.client() for _ in range(20)]
            for n, session in enumerate(slow):
                session.mail("news@acme.example")
                session.rcpt(ANNA)
                session.docmd("DATA")
                session.send(newsletter(f"traag {n}")[:100])
            assert _open_files(proc) >= 320
            big = large(26_000)
            assert len(big) > 20_000_000
            mail = relay.passes(ANNA, big)
            assert len(mail.raw) > len(big)
            for line in idle[:5]:
                line.sendall(b"NOOP\r\n")
                assert line.recv(100).startswith(b"250 ")
            for session in slow[:5]:
                session.send(b"\r\n.\r\n")
                assert session.getreply()[0] in (250, 550)
            for session in slow:
                session.close()
        peak = _peak(proc)
        relay.gateway.eventually(lambda: _open_files(proc) <= base + 2)
        relay.passes(ANNA, newsletter("na afloop"))
    # the message comes in as chunks, is joined, parsed, sealed, and leaves again: a few times its size, once
    assert peak - before < 220_000, f"{before} kB before, {peak} kB at most"


def test_p11_large_messages_that_cannot_leave_wait_on_disk(installation: Installation) -> None:
    gate, people = Gate(is_open=True), PEOPLE[:20]
    load(installation, "consents", [consent(address) for address in people])
    raw = large(9_000)
    assert len(raw) > 8_000_000
    with relaying(installation, {".": gate}, features=[f for f in FEATURES if "SIZE" not in f]) as relay:
        assert relay.gateway.process is not None
        proc = Path(f"/proc/{relay.gateway.process.pid}")
        relay.passes(ANNA, newsletter("warm"))
        before = _anonymous(proc)
        gate.close()
        for address in people:
            relay.taken(address, raw)
        held = _anonymous(proc)
        gate.open()
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([ANNA, *people])
        after = _anonymous(proc)
    # 160 MB were handed in; what is in hand is bounded by bytes, and the rest waits in the database
    assert held - before < 450_000, f"{before} kB before, {held} kB while they wait"
    assert after - before < 300_000, f"{before} kB before, {after} kB after"


def large(lines: int) -> bytes:
    """A newsletter with so many lines of 900 octets."""
    line = b"Rode wijn met korting, alleen vandaag. " * 23
    return newsletter("groot").replace(b"Rode wijn met korting", (line[:898] + b"\r\n") * lines)


def _anonymous(proc: Path) -> int:
    """Memory of its own that it has resident now, in kB; pages of the database file are the system's."""
    found = re.search(r"RssAnon:\s+(\d+) kB", (proc / "status").read_text())
    assert found is not None
    return int(found[1])


def test_p11_more_connections_than_allowed_are_turned_away(installation: Installation) -> None:
    installation.change("[routes.main]", "[limits]\nconnections = 20\n\n[routes.main]")
    with relaying(installation), contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(_greeted(installation.smtp_port))
        over = stack.enter_context(socket.create_connection(("127.0.0.1", installation.smtp_port), 10))
        assert over.recv(200).startswith(b"421 4.7.0")
        assert over.recv(200) == b""


@contextlib.contextmanager
def _greeted(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 30) as line:
        assert line.recv(200).startswith(b"220 ")
        yield line


def _open_files(proc: Path) -> int:
    return len(list((proc / "fd").iterdir()))


def _peak(proc: Path) -> int:
    """The most memory it ever had resident, in kB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", (proc / "status").read_text())
    assert found is not None
    return int(found[1])
