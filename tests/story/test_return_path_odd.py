"""The return path under what nobody expects: a real Postfix's reports, kill -9, loops, large and broken mail."""

import contextlib
import os
import random
import smtplib
import threading
from pathlib import Path

import pytest

from tests.installation import ANNA, Gateway, consentgate, newsletter
from tests.peers import FEATURES
from tests.postfix import running_postfix
from tests.story.relay import Relay, fresh, load_people, relaying
from tests.story.reports import bounced, come_back, complained, replied, told
from tests.story.test_what_comes_back import TOOL, rows
from tests.story.upstream import Upstream

PEOPLE = [f"r{n:02d}@example.org" for n in range(12)]


def test_the_reports_of_a_real_postfix_mark_the_address_and_reach_the_tool(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    way = f"transport_maps = inline:{{ {{ bounce.acme.example = smtp:[127.0.0.1]:{installation.return_port} }} }}\n"
    refuses = {f"RCPT TO:<{ANNA}>": "550 5.1.1 no such user here"}
    plain = [one for one in FEATURES if one != "PIPELINING"]  # no DATA behind a RCPT that is refused
    with Upstream(refuses, features=plain) as upstream, running_postfix(upstream.port, way) as postfix:
        installation.use_smarthost(postfix.port)
        relay = Relay(installation, Gateway(installation).start(), upstream)
        try:
            for number, subject in enumerate(("een", "twee"), 1):
                relay.taken(ANNA, newsletter(subject))
                relay.upstream.until(lambda number=number: len(upstream.to(TOOL)) >= number)
            assert relay.kept_out(ANNA, newsletter("drie")) == "ADDRESS_UNDELIVERABLE"
            found = [(row.bounce_class, row.reason, row.status, row.dead) for row in rows(relay, ANNA)]
            assert found == [("hard", "unknown-user", "5.1.1", True)] * 2
            assert all(mail.mail_from == "" and b"Action: failed" in mail.raw for mail in upstream.to(TOOL))
        finally:
            relay.gateway.kill()


@pytest.fixture
def relay(made: Path, tmp_path: Path) -> Relay:  # type: ignore[misc]
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    with relaying(installation) as running:
        running.agree(*PEOPLE)
        yield running


def test_kill_9_loses_no_report_that_was_answered(relay: Relay) -> None:
    mails = [relay.passes(one, newsletter("kill")) for one in PEOPLE]
    answered: set[str] = set()

    def report(number: int) -> None:
        for turn in range(20):
            mark = f"n{number}t{turn}x"
            full = bounced(mails[number], status="5.2.2", said=f"smtp; 552 5.2.2 full {mark}", mark=mark)
            for _ in range(200):
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    if come_back(relay, mails[number].mail_from, full)[0] == 250:
                        answered.add(mark)
                        break
                threading.Event().wait(0.05)

    threads = [threading.Thread(target=report, args=(n,), daemon=True) for n in range(len(PEOPLE))]
    for thread in threads:
        thread.start()
    relay.gateway.eventually(lambda: len(answered) > 20 + random.randrange(60), 60)
    relay.gateway.kill()
    relay.gateway.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert len(answered) == 20 * len(PEOPLE)
    kept = [row.content["said"].rsplit(" ", 1)[1] for row in rows(relay) if row.kind == "bounce"]
    assert sorted(kept) == sorted(answered), "each once"
    for one in mails:
        relay.upstream.until(lambda one=one: len(passed_on(relay, one.mail_from)) == 20)
    assert consentgate("ledger", "rebuild", "--check", "--config", relay.installation.config).returncode == 0


def passed_on(relay: Relay, return_path: str) -> set[bytes]:
    """The reports on one copy that the tool got; twice after a crash is no more than once."""
    named = f"To: <{return_path}>".encode()
    return {mail.raw.partition(b"Message-ID: ")[2][:40] for mail in relay.upstream.to(TOOL) if named in mail.raw}


def test_a_report_that_goes_round_is_heard_and_not_passed_on(relay: Relay) -> None:
    mail = relay.passes(PEOPLE[0], newsletter("rond"))
    loop = b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n" * 60 + bounced(mail, mark="rond")
    told(relay, mail.mail_from, loop)
    own = relay.passes(PEOPLE[1], newsletter("eigen"), sender="abuse@bounce.acme.example")
    told(relay, own.mail_from, bounced(own, mark="eigen"))
    relay.drained()
    assert [row.dead for row in rows(relay, PEOPLE[0])] == [row.dead for row in rows(relay, PEOPLE[1])] == [True]
    assert not [one for one in relay.upstream.mails if one.mail_from == ""]


def test_a_report_of_ten_megabytes_is_read_and_passed_on_whole(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation, features=[one for one in FEATURES if not one.startswith("SIZE")]) as relay:
        relay.agree(*PEOPLE)
        mail = relay.passes(PEOPLE[0], newsletter("groot"))
        report = bounced(mail, mark="groot").removesuffix(b"--=b--\r\n") + (b"y" * 76 + b"\r\n") * 130_000
        report += b"--=b--\r\n"
        assert len(report) > 10_000_000
        told(relay, mail.mail_from, report)
        assert [row.dead for row in rows(relay, PEOPLE[0])] == [True]
        relay.upstream.until(lambda: any(one.raw.endswith(report) for one in relay.upstream.to(TOOL)))


def test_hostile_bytes_are_answered_and_nothing_breaks(relay: Relay) -> None:
    mail = relay.passes(PEOPLE[0], newsletter("kwaad"))
    good, draw = bounced(mail), random.Random(7)
    for turn in range(60):
        place = draw.randrange(len(good))
        broken = (
            good[:place] + draw.choice([b"\xff\xfe", b"--=b\r\n", b"\r\n\r\n", b";" * 50, b"=?x?q?" * 9]) + good[place:]
        )
        code, said = come_back(relay, mail.mail_from, broken + b"%d\r\n" % turn)
        assert code in (250, 550), said
    for junk in (
        b"",
        b"\r\n",
        b":\r\n",
        b"Content-Type: multipart/report\r\n\r\n",
        os.urandom(999).replace(b"\0", b""),
    ):
        clean = junk.replace(b"\r", b"").replace(b"\n", b"\r\n")
        assert come_back(relay, mail.mail_from, clean)[0] in (250, 550)
    assert relay.passes(PEOPLE[0], newsletter("nog steeds"))
    assert "Traceback" not in relay.gateway.log() and "consentgate_bugs" not in relay.gateway.log()


@pytest.mark.parametrize("way", ["consume", "forward"])
def test_where_reports_go_is_said_per_stream(made: Path, tmp_path: Path, way: str) -> None:
    installation = fresh(made, tmp_path / "installation")
    stream = "[controllers.acme.streams.newsletter]"
    installation.change(stream, f'{stream}\nbounces = "{way}"')
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        for subject in ("een", "twee"):
            mail = relay.passes(PEOPLE[0], newsletter(subject))
            told(relay, mail.mail_from, bounced(mail, mark=subject))
        last = relay.passes(PEOPLE[1], newsletter("klacht"))
        told(relay, last.mail_from, complained(last))
        assert relay.kept_out(PEOPLE[1], newsletter("daarna")) == "COMPLAINT_RECEIVED", "heard in any case"
        if way == "consume":
            assert relay.kept_out(PEOPLE[0], newsletter("drie")) == "ADDRESS_UNDELIVERABLE"
            relay.drained()
            assert not relay.upstream.to(TOOL)
        else:
            relay.upstream.until(lambda: len(relay.upstream.to(TOOL)) == 2)
            assert relay.passes(PEOPLE[0], newsletter("drie"))


def test_a_no_reply_address_is_heard_where_the_settings_name_it(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    installation.change('return_domain = "bounce', 'heard_at = ["noreply@acme.example"]\nreturn_domain = "bounce')
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        mail = relay.passes(PEOPLE[0], newsletter("geen antwoord"))
        assert come_back(relay, "anders@acme.example", replied(mail, "stop"), sender=PEOPLE[0])[0] == 550
        told(relay, "noreply@acme.example", replied(mail, "stop"), sender=PEOPLE[0])
        assert relay.kept_out(PEOPLE[0], newsletter("daarna")) == "OBJECTED_TO_MARKETING"
        done = consentgate(
            "person", "export", PEOPLE[0], "--out", tmp_path / "inzage", "--config", installation.config
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert any("unsubscribe" in file.read_text() for file in (tmp_path / "inzage").glob("*.json"))
