"""Hand-over when the next server is slow, refuses, is away or hangs; reports to the sender; stopping; one at a time.

Where days have to pass the gateway works in this process, on a clock that the test sets.
"""

import asyncio
import contextlib
import functools
import json
import re
import signal
import socket
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

import gateway.worker
from gateway.outbound.connect import Timeouts
from gateway.outbound.pool import Habits, Pool
from tests.installation import ANNA, KLEED, NIEMAND, WIM, Gateway, Installation, consent, newsletter, order
from tests.mails import read
from tests.peers import FEATURES, ScriptedPeer, Silence
from tests.ports import free_ports
from tests.story.at_work import Working, at_work
from tests.story.relay import Relay, fresh, load, load_people, one_click_url, relaying, verify_dkim
from tests.story.upstream import Gate, Mail, Upstream

SENDER = "news@acme.example"
PEOPLE = [f"h{n:02d}@example.org" for n in range(24)]


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with the four people on file, and some more."""
    new = fresh(made, tmp_path / "installation")
    load_people(new)
    load(new, "consents", [consent(address) for address in PEOPLE])
    return new


@contextlib.asynccontextmanager
async def working(installation: Installation, *ports: int) -> AsyncIterator[Working]:
    """The gateway at work in this process, handing over to these ports of loopback."""
    hosts = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    installation.change('kind = "capture"', f'kind = "smarthost"\nhosts = [{hosts}]\ntls = "none"\nconnections = 2')
    async with at_work(installation) as work:
        yield work


def report_of(mail: Mail | bytes) -> list[EmailMessage]:
    """The per-recipient fields of a delivery report, after a look at its form (RFC 3464, RFC 6522)."""
    message = read(mail if isinstance(mail, bytes) else mail.raw)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    text, status, original = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert original.get_content_type() in ("text/rfc822-headers", "message/rfc822")
    whole, *each = status.get_payload()
    assert whole["Reporting-MTA"] and whole["Arrival-Date"]
    return each


# what the next server cannot carry


def test_a_server_without_8bitmime_gets_the_mail_in_seven_bits_and_signed(installation: Installation) -> None:
    """RFC 6152 3: encoded on the way out, signed after that; the next copies are made so at once."""
    plain = [one for one in FEATURES if one not in ("8BITMIME", "SMTPUTF8")]
    with relaying(installation, features=plain) as relay:
        for person in (ANNA, PEOPLE[0]):
            copy = relay.passes(person, newsletter("zeven"))
            assert copy.raw.isascii() and "BODY=" not in copy.parameters
            assert "Café open." in read(copy.raw).get_body(("plain",)).get_content()
            verify_dkim(copy, installation)
            assert one_click_url(copy)


def test_the_report_on_eight_bit_mail_reaches_its_sender_over_a_server_without_8bitmime(
    installation: Installation,
) -> None:
    """What was to come back whole (RET=FULL) comes back as its header: it may not be encoded (RFC 2046 5.2.1)."""
    plain = [one for one in FEATURES if one not in ("8BITMIME", "SMTPUTF8")]
    with relaying(installation, {f"RCPT TO:<{ANNA}": "550 5.1.1 no such user"}, features=plain) as relay:
        with relay.gateway.client() as session:
            session.mail(SENDER, ["RET=FULL", "BODY=8BITMIME", "ENVID=e1"])
            session.rcpt(ANNA)
            mail = newsletter("acht")
            assert not mail.isascii() and session.data(mail)[0] == 250
        relay.upstream.until(lambda: len(relay.upstream.to(SENDER)) == 1)
        [report] = relay.upstream.to(SENDER)
        assert report.raw.isascii() and report.mail_from == ""
        [about] = report_of(report)
        assert (about["Action"], about["Status"]) == ("failed", "5.1.1")
        *_, headers = read(report.raw).iter_parts()
        assert headers.get_content_type() == "text/rfc822-headers"
        assert "From: " in headers.get_content()


def test_an_address_in_unicode_reaches_a_server_without_smtputf8(installation: Installation) -> None:
    """RFC 5891: the domain goes as A-labels, in the envelope and in the To field that is ours."""
    plain = [one for one in FEATURES if one != "SMTPUTF8"]
    load(installation, "consents", [consent("anna@exämple.org"), consent("änna@example.org")])
    with relaying(installation, features=plain) as relay, relay.gateway.client() as session:
        for recipient, subject in (("anna@exämple.org", "zoals het is"), ("änna@example.org", "kan niet")):
            session.mail(SENDER, ["SMTPUTF8", "BODY=8BITMIME"])
            session.rcpt(recipient)
            assert session.data(newsletter(subject))[0] == 250
        relay.upstream.until(lambda: len(relay.upstream.to("anna@xn--exmple-cua.org")) == 1)
        [mail] = relay.upstream.to("anna@xn--exmple-cua.org")
        assert mail.raw.partition(b"\r\n\r\n")[0].isascii() and "SMTPUTF8" not in mail.parameters
        verify_dkim(mail, installation)
        relay.upstream.until(lambda: len(relay.upstream.to(SENDER)) == 1)
        assert b"\r\nStatus: 5.6.7\r\n" in relay.upstream.to(SENDER)[0].raw


def test_signed_mail_that_a_server_cannot_carry_is_returned(installation: Installation) -> None:
    signed = (
        b"From: orders@acme.example\r\nTo: anna@example.org\r\nSubject: bon\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa9t\xc3\xa9\r\n"
        b"--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
    )
    plain = [one for one in FEATURES if one != "8BITMIME"]
    with relaying(installation, features=plain) as relay:
        relay.taken(ANNA, signed, login="orders")
        relay.upstream.until(lambda: len(relay.upstream.to(SENDER)) == 1)
        [about] = report_of(relay.upstream.to(SENDER)[0])
        assert (about["Action"], about["Status"]) == ("failed", "5.6.3")
        assert relay.upstream.to(ANNA) == []


# refusals


async def test_a_refusal_for_now_is_tried_again_ever_later(installation: Installation) -> None:
    refusals = ["451 4.7.1 greylisted"] * 4
    async with ScriptedPeer({"RCPT": [*refusals, "250 ok"]}) as peer, working(installation, peer.port) as work:
        await work.send(ANNA, newsletter("geduld"))
        waited = []
        for attempt in range(1, 5):
            await work.until(lambda attempt=attempt: work.copies()[0][:2] == ("queued", attempt))
            [(_, _, due, said)] = work.copies()
            assert due is not None and "451 4.7.1 greylisted" in said
            waited.append(due - work.clock.now)
            await work.pass_time(due - work.clock.now - timedelta(seconds=1))
            await peer.seen("RCPT", attempt)
            assert len([line for line in peer.commands if line.startswith("RCPT")]) == attempt, "too early"
            await work.pass_time(timedelta(seconds=2))
        await work.until(lambda: work.copies()[0][0] == "delivered")
        assert [one.total_seconds() // 60 for one in waited] == sorted(one.total_seconds() // 60 for one in waited)
        assert timedelta(seconds=40) < waited[0] < timedelta(seconds=80)
        assert waited[3] > 3 * waited[0]
        assert len(peer.transactions) == 1


async def test_what_is_refused_for_too_long_is_given_up_and_reported(installation: Installation) -> None:
    async with ScriptedPeer({f"RCPT TO:<{ANNA}": "451 4.2.2 full"}) as peer, working(installation, peer.port) as work:
        await work.send(ANNA, newsletter("vol"))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 1))
        await work.pass_time(timedelta(days=1))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 2))
        await work.pass_time(timedelta(days=1, hours=1))
        await work.until(lambda: [copy[0] for copy in work.copies()] == ["failed", "delivered"])
        [sent] = peer.transactions
        assert sent.mail.startswith("MAIL FROM:<>") and sent.rcpts[0].startswith(f"RCPT TO:<{SENDER}>")
        [about] = report_of(sent.data)
        assert (about["Final-Recipient"], about["Action"]) == (f"rfc822; {ANNA}", "failed")
        assert about["Status"] == "5.4.7"
        assert "451 4.2.2 full" in about["Diagnostic-Code"]


def test_a_final_refusal_is_reported_once_to_the_return_path(installation: Installation) -> None:
    script = {f"RCPT TO:<{ANNA}": "550 5.1.1 <anna@example.org> who?", f"RCPT TO:<{PEOPLE[0]}": "550 5.7.1 spam"}
    with relaying(installation, script) as relay:
        relay.taken([ANNA, PEOPLE[0], PEOPLE[1]], newsletter("half"))
        relay.upstream.until(lambda: len(relay.upstream.to(SENDER)) == 2)
        relay.drained()
        reports = relay.upstream.to(SENDER)
        assert [mail.mail_from for mail in reports] == ["", ""]
        [told] = [report_of(mail)[0] for mail in reports if b"5.1.1" in mail.raw]
        assert told["Final-Recipient"] == f"rfc822; {ANNA}"
        assert (told["Action"], told["Status"]) == ("failed", "5.1.1")
        assert told["Diagnostic-Code"].startswith("smtp; 550 5.1.1")
        assert len(relay.upstream.mails) == 3
        # a dead address is not tried again; a refusal by policy is
        assert relay.kept_out(ANNA, newsletter("nog eens")) == "ADDRESS_UNDELIVERABLE"
        relay.taken(PEOPLE[0], newsletter("nog eens"))
        relay.upstream.until(lambda: len(relay.upstream.to(SENDER)) == 3)
        with relay.gateway.client("orders") as session:
            session.mail("orders@acme.example")
            code, text = session.rcpt(ANNA)
            assert (code, text) == (550, b"5.1.1 ADDRESS_UNDELIVERABLE")


def test_notify_and_the_null_sender_are_honoured(installation: Installation) -> None:
    script = {f"RCPT TO:<{one}": "550 5.7.1 no" for one in PEOPLE[:5]}
    with relaying(installation, script) as relay, relay.gateway.client() as session:
        for sender, recipient, options in (
            (SENDER, PEOPLE[0], ["NOTIFY=NEVER"]),
            (SENDER, PEOPLE[1], ["NOTIFY=SUCCESS"]),
            ("", PEOPLE[2], []),
            (SENDER, PEOPLE[3], ["NOTIFY=FAILURE,DELAY", f"ORCPT=rfc822;{PEOPLE[9].replace('h', '+68')}"]),
            (SENDER, KLEED, ["NOTIFY=FAILURE"]),
            (SENDER, NIEMAND, []),
        ):
            session.mail(sender, ["RET=FULL", "ENVID=QQ314159"] if recipient == PEOPLE[3] else [])
            session.rcpt(recipient, options)
            assert session.data(newsletter(f"voor {recipient}"))[0] == 250
        relay.gateway.eventually(lambda: relay.gateway.log().count("event=failed") == 4)
        relay.drained()
        reports = {report_of(mail)[0]["Final-Recipient"]: mail for mail in relay.upstream.mails}
        assert set(reports) == {f"rfc822; {PEOPLE[3]}", f"rfc822; {KLEED}"}
        assert all(mail.recipient == SENDER and mail.mail_from == "" for mail in reports.values())
        full = reports[f"rfc822; {PEOPLE[3]}"]
        assert report_of(full)[0]["Original-Recipient"] == f"rfc822; {PEOPLE[9]}"
        assert b"Original-Envelope-Id: QQ314159" in full.raw
        assert b"Rode wijn met korting" in full.raw and b"Subject: voor h03@example.org" in full.raw
        kept_out = reports[f"rfc822; {KLEED}"]
        assert (report_of(kept_out)[0]["Status"], b"PRODUCT_NOT_SIMILAR" in kept_out.raw) == ("5.7.1", True)
        assert b"Rode wijn met korting" not in kept_out.raw


@pytest.mark.parametrize("offers_dsn", [True, False])
def test_notify_is_passed_on_and_a_server_without_dsn_is_reported_for(
    installation: Installation, offers_dsn: bool
) -> None:
    features = [word for word in FEATURES if offers_dsn or word != "DSN"]
    with relaying(installation, features=features) as relay, relay.gateway.client() as session:
        session.mail(SENDER, ["RET=HDRS", "ENVID=abc"])
        session.rcpt(ANNA, ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;orig@example.org"])
        assert session.data(newsletter("dsn"))[0] == 250
        relay.taken(PEOPLE[0], newsletter("zonder"))
        mails = relay.upstream.wait(2 if offers_dsn else 3)
        relay.drained()
        assert len(relay.upstream.mails) == len(mails)
        [mail] = [mail for mail in mails if mail.recipient == ANNA]
        for word in ("RET=HDRS", "ENVID=abc", "NOTIFY=", "SUCCESS", "FAILURE", "ORCPT=rfc822;orig@example.org"):
            assert (word in mail.parameters) == offers_dsn
        for report in relay.upstream.to(SENDER):
            [about] = report_of(report)
            assert (about["Action"], about["Original-Recipient"]) == ("relayed", "rfc822; orig@example.org")
            assert about["Status"].startswith("2.")


def test_on_block_reject_refuses_all_or_reports_the_blocked_in_one(installation: Installation) -> None:
    installation.change('categories = ["wine"]\n', 'categories = ["wine"]\non_block = "reject"\n')
    with relaying(installation) as relay:
        code, text = relay.send([KLEED, NIEMAND], newsletter("niemand mag"))
        assert (code, text.split()[:2]) == (550, ["5.7.1", "PRODUCT_NOT_SIMILAR"])
        with relay.gateway.client() as session:
            session.mail(SENDER)
            for recipient in (ANNA, KLEED, NIEMAND, PEOPLE[0]):
                assert session.rcpt(recipient)[0] == 250
            assert session.rcpt("x@example.org", ["NOTIFY=NEVER"])[0] == 250
            assert session.data(newsletter("gemengd"))[0] == 250
        relay.upstream.wait(3)
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted([ANNA, PEOPLE[0], SENDER])
        [report] = relay.upstream.to(SENDER)
        told = {one["Final-Recipient"]: one for one in report_of(report)}
        assert set(told) == {f"rfc822; {KLEED}", f"rfc822; {NIEMAND}"}
        assert {one["Status"] for one in told.values()} == {"5.7.1"}
        assert "PRODUCT_NOT_SIMILAR" in told[f"rfc822; {KLEED}"]["Diagnostic-Code"]
        assert b"gemengd" in report.raw
        told_to_people = report.message.get_payload(0).get_content()  # each reason once, without anything of a person
        for line in (
            (
                "PRODUCT_NOT_SIMILAR: Tegengehouden. Klant, maar kocht iets anders dan wat nu wordt aangeboden. Stuur "
                "alleen iets vergelijkbaars. Is hierover nog niet geoordeeld en zou deze klant niet verbaasd zijn, "
                "laat dat dan vastleggen op de pagina Regels. Wie dit kan veranderen: de marketeer. Klanten mogen mail "
                "krijgen over eigen, vergelijkbare producten (ePrivacyrichtlijn 13(2)). Regel D4-16."
            ),
            "RECIPIENT_UNKNOWN: Tegengehouden. Is hier niet bekend. ",
        ):
            assert told_to_people.count(line) == 1
        assert "clothing" not in told_to_people and "Aankoop" not in told_to_people


def test_a_copy_kept_out_at_hand_over_is_reported_where_the_stream_rejects(installation: Installation) -> None:
    installation.change('categories = ["wine"]\n', 'categories = ["wine"]\non_block = "reject"\n')
    gate = Gate()
    with relaying(installation, {".": gate}, connections=1) as relay:
        relay.taken(ANNA, newsletter("bezet"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        relay.taken([ANNA, WIM], newsletter("wacht"))
        relay.one_click(one_click_url(relay.upstream.to(ANNA)[0]))
        relay.a_second_passes()
        gate.open()
        relay.upstream.wait(3)
        relay.drained()
        [report] = relay.upstream.to(SENDER)
        [about] = report_of(report)
        assert (about["Final-Recipient"], about["Status"]) == (f"rfc822; {ANNA}", "5.7.1")
        assert "SUPPRESSED_PURPOSE" in about["Diagnostic-Code"]


# a next server that is away, hangs, or wants TLS and a login


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that lose patience in a third of a second, where RFC 5321 gives minutes."""
    short = Timeouts(**dict.fromkeys(("connect", "greeting", "ehlo", "mail", "rcpt", "data", "block", "body"), 0.3))
    pool = functools.partial(Pool, timeouts=short, habits=Habits(all_down=0.01, cool_down=0.01))
    monkeypatch.setattr(gateway.worker, "Pool", pool)


@pytest.mark.usefixtures("quick")
async def test_a_server_that_is_away_gets_its_mail_when_it_is_back(installation: Installation) -> None:
    [port] = free_ports(1)
    async with working(installation, port) as work:
        await work.send([ANNA, WIM, *PEOPLE], newsletter("weg"))
        await work.until(lambda: any("connection refused" in (copy[3] or "") for copy in work.copies()))
        assert {copy[1] for copy in work.copies()} == {0}, "the route pays, not its copies"
        async with ScriptedPeer(port=port) as peer:
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
            assert len(peer.transactions) == 2 + len(PEOPLE)


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.usefixtures("quick")
async def test_a_server_that_hangs_holds_up_nothing(installation: Installation, stage: str) -> None:
    features = [word for word in FEATURES if word != "PIPELINING"]
    good = {"CONNECT": "220 hi", "EHLO": "250-hi\r\n250 8BITMIME", "DATA": "354 go"}.get(stage, "250 ok")
    hangs = ScriptedPeer({stage: [Silence(), good]}, features=features)
    async with hangs as peer, working(installation, peer.port) as work:
        await work.send([ANNA, WIM], newsletter("hangt"))
        await work.until(lambda: {copy[0] for copy in work.copies()} <= {"delivered", "queued"})
        if stage not in ("CONNECT", "EHLO"):  # those cost no copy an attempt: the route rests for a moment
            await work.until(lambda: sum(copy[1] for copy in work.copies()) >= 2)
        await work.pass_time(timedelta(minutes=3))
        await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})
        arrived = sorted(line.rcpts[0] for line in peer.transactions)
        assert {line.split("<")[1].split(">")[0] for line in arrived} == {ANNA, WIM}
        # only a reply lost after the final dot may make it twice
        assert len(arrived) == (3 if stage == "." else 2)


def test_tls_and_a_login_to_the_smarthost(installation: Installation, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    secret = tmp_path / "smarthost.password"
    secret.write_text("geheim-woord\n")
    secret.chmod(0o600)
    with Upstream(features=[*FEATURES, "AUTH PLAIN LOGIN"], context=context) as upstream:
        installation.change(
            'kind = "capture"',
            f'kind = "smarthost"\nhosts = ["127.0.0.1:{upstream.port}"]\ntls = "require"\nusername = "acme"\n'
            f'password_file = "{secret}"',
        )
        running = Gateway(installation)
        try:
            relay = Relay(installation, running.start(), upstream)
            mail = relay.passes(ANNA, newsletter("veilig"))
            assert mail.encrypted
            commands = upstream.commands
            assert commands.index("STARTTLS") < next(n for n, line in enumerate(commands) if line.startswith("AUTH"))
            assert "geheim-woord" not in running.log()
        finally:
            running.kill()


# stopping, and one at a time


def test_sigterm_finishes_what_is_under_way_and_leaves_the_queue(installation: Installation) -> None:
    gate = Gate()
    with relaying(installation, {".": gate}, connections=2) as relay:
        for number in range(10):
            relay.taken(PEOPLE[number], newsletter(f"stop {number}"))
        relay.gateway.eventually(lambda: gate.waiting == 2)
        with contextlib.ExitStack() as stack:
            # people who are in the way of stopping: half a command, half a message, half a request
            for port, said in (
                (installation.smtp_port, b"EHLO x\r\nNO"),
                (installation.http_port, b"POST /u/ HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\naddress="),
                (installation.http_port, b"GET /heal"),
                (installation.return_port, b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@bounce.acme.example>\r\nDATA\r\n"),
            ):
                line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                line.sendall(said)
            with relay.gateway.client() as session:
                session.mail(SENDER)
                began = time.monotonic()
                relay.gateway.signal(signal.SIGTERM)
                relay.gateway.eventually(lambda: "event=stopping" in relay.gateway.log())
                assert session.mail(SENDER)[0] == 421 or session.noop()[0] in (421, -1)
            gate.let(2)
            assert relay.gateway.stop() == 0
            assert time.monotonic() - began < 13
        sent = relay.upstream.count
        assert sent == 2, "what was under way was finished, and nothing new was begun"
        gate.open()
        relay.gateway.start()
        relay.upstream.wait(10)
        relay.drained()
        assert sorted(mail.recipient for mail in relay.upstream.mails) == sorted(PEOPLE[:10])


async def test_who_waits_for_a_turn_or_a_server_is_not_waited_for_at_the_stop(installation: Installation) -> None:
    """Nothing of it is under way. What is, is waited for."""
    gate = Gate()
    installation.change('kind = "capture"', 'kind = "capture"\nrate_per_second = 0.001')
    async with ScriptedPeer({".": gate}) as peer, working(installation, peer.port) as work:
        await work.send(PEOPLE[0], newsletter("is onderweg"))
        await work.until(lambda: gate.waiting == 1)
        await work.send(PEOPLE[1:4], newsletter("wacht op een beurt"))
        await work.until(lambda: len(work.worker._deliver._lanes["main"]._under_way) == 2)
        stopping = asyncio.create_task(work.worker._deliver.stop(3600))
        await work.until(lambda: len(work.worker._deliver._lanes["main"]._under_way) == 1)
        assert not stopping.done()
        gate.open()
        await asyncio.wait_for(stopping, 60)
        await work.until(lambda: work.copies()[0][0] == "delivered")
        assert [copy[:2] for copy in work.copies()[1:]] == [("claimed", 0)] * 3, "they are for our successor"


def test_sigterm_does_not_wait_for_ever_for_a_server_that_hangs(installation: Installation) -> None:
    gate = Gate()
    with relaying(installation, {".": gate}) as relay:
        relay.taken(ANNA, newsletter("hangt"))
        relay.gateway.eventually(lambda: gate.waiting == 1)
        began = time.monotonic()
        assert relay.gateway.stop() == 0
        assert time.monotonic() - began < 13
        gate.open()
        relay.gateway.start()
        relay.upstream.wait(2)  # its end was never heard of, so it went again
        relay.drained()
        assert [mail.recipient for mail in relay.upstream.mails] == [ANNA, ANNA]


def test_a_second_gateway_on_the_same_installation_is_refused(relay: Relay) -> None:
    done = relay.installation.tool("serve")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert "another gateway is serving" in said and "stop it first" in said
    assert "Traceback" not in said
    relay.passes(ANNA, newsletter("de eerste werkt"))


def test_a_port_that_is_taken_is_named(installation: Installation) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installation.http_port))
        taken.listen()
        done = installation.tool("serve")
    assert done.returncode == 1
    assert f"127.0.0.1:{installation.http_port} cannot be listened on" in done.stderr.decode()


async def test_an_outage_longer_than_a_lease_leaves_no_copy_behind(installation: Installation) -> None:
    async with ScriptedPeer() as peer, working(installation, peer.port) as work:
        work.clock.now += timedelta(hours=1)  # the machine slept: the lease ran out before anybody renewed it
        await work.send([ANNA, WIM, *PEOPLE[:5]], newsletter("geslapen"))
        await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"}, 30)
        assert len(peer.transactions) == 7


async def test_what_another_took_while_the_lease_was_over_is_not_sent_by_both(installation: Installation) -> None:
    """The process stood still, another worker took what it had ready, and then it has a lease again."""
    gate = Gate()
    async with ScriptedPeer({"RCPT": gate}) as peer, working(installation, peer.port) as work:
        await work.send(PEOPLE[:6], newsletter("genomen"))
        await work.until(lambda: gate.waiting == 2)
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
            taken = db.execute("UPDATE copies SET worker = 'other' WHERE copy_no > 1 AND state = 'claimed'").rowcount
            db.execute("INSERT INTO workers (worker, lease_until) VALUES ('other', 0)")
        assert taken == 4
        await work.pass_time(timedelta(minutes=1))
        gate.open()
        await work.send(ANNA, newsletter("daarna"))
        await work.until(lambda: work.copies()[-1][0] == "delivered")
        assert [copy[0] for copy in work.copies()] == ["delivered"] * 2 + ["claimed"] * 4 + ["delivered"]
        assert len(peer.transactions) == 3


async def test_a_claim_whose_answer_was_lost_does_not_keep_its_copies(installation: Installation) -> None:
    """The database wrote that a copy is ours and went away before it said so: nobody here knows of it."""
    async with ScriptedPeer({"RCPT": ["451 4.7.1 later", "250 ok"]}) as peer, working(installation, peer.port) as work:
        await work.send(ANNA, newsletter("verloren antwoord"))
        await work.until(lambda: work.copies()[0][:2] == ("queued", 1))
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
            assert db.execute("UPDATE copies SET state = 'claimed', worker = 'test-0'").rowcount == 1
        deliver = work.worker._deliver
        await deliver._let_go_of_strays()
        assert work.copies()[0][0] == "claimed", "it may be about to arrive"
        await deliver._let_go_of_strays()
        assert work.copies()[0][:2] == ("queued", 1)
        await work.pass_time(timedelta(hours=1))
        await work.until(lambda: work.copies()[0][0] == "delivered")
        assert len(peer.transactions) == 1


def test_service_mail_is_reported_like_any_other(installation: Installation) -> None:
    with relaying(installation, {f"RCPT TO:<{NIEMAND}": "550 5.1.1 no"}) as relay:
        relay.taken(NIEMAND, order(NIEMAND), login="orders", sender="orders@acme.example")
        relay.upstream.wait(1)
        [report] = relay.upstream.to("orders@acme.example")
        assert report_of(report)[0]["Final-Recipient"] == f"rfc822; {NIEMAND}"
        assert b"List-Unsubscribe" not in report.raw.partition(b"\r\n\r\n")[0]


def test_the_queue_commands_show_what_waits(installation: Installation) -> None:
    with relaying(installation, {"RCPT": "451 4.2.0 later"}) as relay:
        named = relay.taken([ANNA, KLEED], newsletter("wacht"))
        relay.gateway.eventually(lambda: "event=tried" in relay.gateway.log())
        [row] = [json.loads(line) for line in installation.tool("queue", "list", "--json").stdout.splitlines()]
        assert (row["state"], row["attempts"]) == ("queued", 1)
        assert re.search("451", row["reply"])
        shown = installation.tool("queue", "show", named)
        assert shown.returncode == 0 and b"queued" in shown.stdout
        assert ANNA.encode() not in shown.stdout
