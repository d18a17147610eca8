"""The shared corpus through the whole program: in by SMTP, out by SMTP, judged by the standard library and dkimpy."""

import hashlib
import json
import re
import smtplib
from pathlib import Path

from tests.installation import consent
from tests.mails import defects, leaves, octets, read
from tests.story.relay import Relay, fresh, load, load_people, one_click_url, page_links, relaying, verify_dkim
from tests.story.upstream import Mail

FROM = re.compile(rb"(?im)^From[ \t]*:.*\r\n(?:[ \t].*\r\n)*")
OURS = b"From: Acme Wijnen <news@acme.example>\r\n"


def hand_in(session: smtplib.SMTP, recipient: str, raw: bytes, *, utf8: bool = False) -> tuple[int, str]:
    """One message as it is; the reply to DATA."""
    options = ["BODY=8BITMIME"] if not raw.isascii() else []
    assert session.mail("news@acme.example", [*options, *(["SMTPUTF8"] if utf8 else [])])[0] == 250
    assert session.rcpt(recipient)[0] == 250
    code, text = session.data(raw)
    return code, text.decode()


def clean(mail: Mail) -> bool:
    """Whether every line ends in CRLF and nothing else."""
    raw = mail.raw
    return raw.count(b"\r\n") == raw.count(b"\n") == raw.count(b"\r") and b"\0" not in raw


def test_every_newsletter_arrives_whole_with_a_link_and_a_signature(relay: Relay, corpus: Path) -> None:
    folder = corpus / "newsletters"
    entries = json.loads((folder / "index.json").read_text())["messages"]
    people = {entry["file"]: f"n{number}@example.org" for number, entry in enumerate(entries)}
    load(relay.installation, "consents", [consent(address) for address in people.values()])
    with relay.gateway.client() as session:
        for entry in entries:
            raw = (folder / entry["file"]).read_bytes()
            code, text = hand_in(session, people[entry["file"]], raw, utf8=entry["smtputf8"])
            if entry["expect"] == "headers-only":
                assert (code, text[:36]) == (550, "5.7.1 UNSUBSCRIBE_NOT_INJECTABLE ref"), entry["file"]
            else:
                assert code == 250, (entry["file"], text)
    wanted = [entry for entry in entries if entry["expect"] != "headers-only"]
    assert len(wanted) > 90
    mails = {mail.recipient: mail for mail in relay.upstream.wait(len(wanted), 120)}
    assert len(mails) == len(wanted)
    for entry in wanted:
        _whole(relay, entry, (folder / entry["file"]).read_bytes(), mails[people[entry["file"]]])
    assert "Traceback" not in relay.gateway.log() and "event=bug" not in relay.gateway.log()


def _whole(relay: Relay, entry: dict, raw: bytes, mail: Mail) -> None:
    name = entry["file"]
    before, after = leaves(read(raw)), leaves(mail.message)
    assert list(before) == list(after), name
    shown = {entry["text_body"], entry["html_body"]} - {None}
    for part in entry["parts"]:
        if part["path"] not in shown and part["type"] != "message/rfc822":
            assert hashlib.sha256(octets(after[part["path"]])).hexdigest() == part["sha256"], (name, part["path"])
        elif part["path"] not in shown:
            assert octets(after[part["path"]]) == octets(before[part["path"]]), (name, part["path"])
    assert set(defects(mail.message)) <= set(defects(read(raw))), name
    assert clean(mail), name
    assert one_click_url(mail).startswith(f"{relay.installation.url}/o/"), name
    token = one_click_url(mail).rpartition("/")[2]
    for path in shown:
        assert token in octets(after[path]).decode("latin-1"), (name, path)
    assert len({link for links in page_links(mail).values() for link in links}) == 1, name
    covered = verify_dkim(mail, relay.installation)
    assert covered >= {"from", "subject", "list-unsubscribe", "list-unsubscribe-post"}, name
    received = len(read(raw).get_all("Received") or [])
    assert len(mail.message.get_all("Received")) == received + 1, name
    assert max(map(len, mail.raw.split(b"\r\n"))) <= 998, name


def test_every_odd_message_is_refused_or_passed_and_the_session_goes_on(relay: Relay, corpus: Path) -> None:
    load(relay.installation, "consents", [consent("odd@example.org")])
    before, passed = relay.upstream.count, 0
    files = sorted((corpus / "mime-torture").glob("*.eml"))
    assert len(files) > 150
    with relay.gateway.client() as session, relay.gateway.client("orders") as service:
        for file in files:
            raw = file.read_bytes()
            head, mark, body = raw.partition(b"\r\n\r\n")
            ours = FROM.sub(OURS, head + b"\r\n", count=1) + mark[2:] + body
            for client, one in ((session, raw), (session, ours), (service, ours)):
                code, text = hand_in(client, "odd@example.org", one)
                assert code == 250 or 500 <= code < 600, (file.name, code, text)
                passed += code == 250
                assert session.noop()[0] == 250
    assert passed > 150
    for mail in relay.upstream.wait(before + passed, 120)[before:]:
        assert clean(mail)
        assert verify_dkim(mail, relay.installation) >= {"from", "subject"}
    assert relay.upstream.count == before + passed, "one message became two"
    assert "Traceback" not in relay.gateway.log() and "event=bug" not in relay.gateway.log()


def test_signed_mail_leaves_with_its_body_untouched_or_is_refused(relay: Relay, corpus: Path) -> None:
    folder = corpus / "signed"
    load(relay.installation, "consents", [consent("signed@example.org")])
    entries = json.loads((folder / "expected.json").read_text())["messages"]
    refused, passed = [], []
    for entry in entries:
        raw = (folder / entry["file"]).read_bytes()
        body = raw.partition(b"\r\n\r\n")[2]
        for login in ("newsletter", "orders"):
            with relay.gateway.client(login) as session:
                before = relay.upstream.count
                code, text = hand_in(session, "signed@example.org", raw)
            if code != 250:
                assert (code, login) == (550, "newsletter"), entry["file"]
                assert text.startswith("5.7.1 UNSUBSCRIBE_NOT_INJECTABLE"), entry["file"]
                refused.append(entry["file"])
                continue
            mail = relay.upstream.wait(before + 1)[before]
            assert mail.raw.partition(b"\r\n\r\n")[2] == body, entry["file"]
            verify_dkim(mail, relay.installation)
            passed.append(login)
    assert "smime-enveloped-alt01.eml" in refused
    assert {"newsletter", "orders"} == set(passed)


def test_signed_8_bit_mail_bounces_where_the_next_server_cannot_carry_it(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    raw = (
        b"From: Acme <orders@acme.example>\r\nTo: anna@example.org\r\nSubject: x\r\nMessage-ID: <1@acme.example>\r\n"
        b"Date: Sat, 21 Nov 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature"; boundary="s"\r\n\r\n'
        b"--s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n"
        b"--s\r\nContent-Type: application/pgp-signature\r\n\r\nabc\r\n--s--\r\n"
    )
    with relaying(installation, features=["PIPELINING", "SIZE 60000000"]) as relay:
        relay.taken("anna@example.org", raw, login="orders", sender="orders@acme.example")
        [report] = relay.upstream.wait(1)
        assert (report.mail_from, report.recipient) == ("", "orders@acme.example")
        assert b"Status: 5.6.3" in report.raw
