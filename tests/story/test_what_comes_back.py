"""Reports, complaints and replies through the real listener, and what they do to the next mail."""

import json
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mail.return_id import PREFIX
from gateway.store.returned import ReturnedRow
from gateway.store.returns import MOST_TOLD
from tests.installation import ANNA, consentgate, newsletter, order
from tests.story.relay import Relay, fresh, load_people, relaying, with_store
from tests.story.reports import bounced, come_back, complained, replied, told
from tests.story.upstream import Mail

PEOPLE = [f"{name}@example.org" for name in (
    "abe", "bas", "cor", "dirk", "eva", "fien", "gijs", "hans", "ines", "jan", "kim", "lot", "mia", "nel", "oda",
    "pam", "wes",
)]  # fmt: skip
ABE, BAS, COR, DIRK, EVA, FIEN, GIJS, HANS, INES, JAN, KIM, LOT, MIA, NEL, ODA, PAM, WES = PEOPLE
TOOL = "news@acme.example"


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """People who agreed, and a gateway that hands their mail over."""
    installation = fresh(made, tmp_path_factory.mktemp("back") / "installation")
    load_people(installation)
    with relaying(installation) as running:
        running.agree(*PEOPLE)
        yield running


def rows(relay: Relay, recipient: str = "", *, waiting: bool = False) -> list[ReturnedRow]:
    """What is on record of what came back, newest first."""
    found = with_store(
        relay.installation, lambda store, config: store.came_back("acme", waiting=waiting, n=500, addresses=True)
    )
    return [row for row in found if not recipient or row.address == recipient]


def still_mailed(relay: Relay, recipient: str, subject: str) -> Mail:
    return relay.passes(recipient, newsletter(subject))


def test_each_copy_has_a_return_path_of_its_own(relay: Relay) -> None:
    relay.taken([ABE, BAS], newsletter("twee keer"))
    relay.upstream.until(lambda: relay.upstream.to(ABE) != [] and relay.upstream.to(BAS) != [])
    froms = {relay.upstream.to(one)[0].mail_from for one in (ABE, BAS)}
    assert len(froms) == 2
    assert all(re.fullmatch(r"b\+[a-z2-7]{45}@bounce\.acme\.example", one) for one in froms)


def test_two_reports_on_different_mails_mark_an_address_and_one_does_not(relay: Relay) -> None:
    first = still_mailed(relay, ABE, "een")
    told(relay, first.mail_from, bounced(first))
    told(relay, first.mail_from, bounced(first))  # the same report, told again
    told(relay, first.mail_from, bounced(first, mark="other"))  # and another one on the same mail
    second = still_mailed(relay, ABE, "twee")
    told(relay, second.mail_from, bounced(second))
    assert relay.kept_out(ABE, newsletter("drie")) == "ADDRESS_UNDELIVERABLE"
    assert [row.dead for row in rows(relay, ABE)] == [True, True, True]


@pytest.mark.parametrize(
    ("who", "status", "said"),
    [(BAS, "5.2.2", "smtp; 552 5.2.2 mailbox full"), (COR, "5.7.1", "smtp; 550 5.7.1 message refused as spam"),
     (DIRK, "4.4.1", "smtp; 451 4.4.1 no answer from host")],
    ids=["full", "policy", "soft"],
)  # fmt: skip
def test_full_refused_and_soft_never_mark_an_address(relay: Relay, who: str, status: str, said: str) -> None:
    for subject in ("een", "twee", "drie"):
        mail = still_mailed(relay, who, subject)
        told(relay, mail.mail_from, bounced(mail, status=status, said=said))
    still_mailed(relay, who, "vier")
    assert {row.dead for row in rows(relay, who) if row.kind == "bounce"} == {False}


def test_a_report_about_another_address_does_not_mark_ours(relay: Relay) -> None:
    for subject in ("een", "twee", "drie"):
        mail = still_mailed(relay, EVA, subject)
        told(relay, mail.mail_from, bounced(mail, address="eva.elders@example.net"))
    still_mailed(relay, EVA, "vier")


def test_who_holds_one_copy_fills_neither_the_database_nor_the_tools_mailbox(relay: Relay) -> None:
    mail = still_mailed(relay, PAM, "overvloed")
    with smtplib.SMTP("127.0.0.1", relay.installation.return_port, timeout=30) as session:
        for number in range(MOST_TOLD + 5):
            session.sendmail("", mail.mail_from, bounced(mail, mark=f"flood{number}"))
    assert len(rows(relay, PAM)) == MOST_TOLD
    told(relay, mail.mail_from, replied(mail, "Stop."), sender=PAM)
    assert relay.kept_out(PAM, newsletter("daarna")) == "OBJECTED_TO_MARKETING"


def test_a_forged_id_is_refused_and_a_report_without_one_does_nothing(relay: Relay) -> None:
    mail = still_mailed(relay, EVA, "vals")
    local = mail.mail_from.partition("@")[0]
    wrong = local[:-3] + ("aaa" if local[-3:] != "aaa" else "bbb")
    assert come_back(relay, f"{wrong}@bounce.acme.example", bounced(mail))[0] == 550
    assert come_back(relay, f"{local}@acme.example", bounced(mail))[0] == 550
    assert come_back(relay, f"{local}@other.example", bounced(mail))[0] == 550
    plain = bounced(mail).replace(local.removeprefix(PREFIX).encode(), b"x").replace(b"/o/", b"/x/")
    bare = re.sub(rb"[A-Za-z0-9_-]{83}", b"gone", plain)
    for mark in (b"1", b"2"):
        told(relay, "postmaster@bounce.acme.example", bare.replace(b"<1@mx", b"<" + mark + b"@mx"))
    still_mailed(relay, EVA, "niets gebeurd")


def test_a_complaint_stops_the_whole_sender(relay: Relay) -> None:
    mail = still_mailed(relay, FIEN, "klacht")
    told(relay, "abuse@bounce.acme.example", complained(mail), sender="fbl@provider.example")
    assert relay.kept_out(FIEN, newsletter("daarna")) == "COMPLAINT_RECEIVED"
    assert relay.passes(FIEN, order(FIEN), login="orders", sender="orders@acme.example").recipient == FIEN


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "virus", "other"])
def test_other_feedback_stops_nobody(relay: Relay, kind: str) -> None:
    mail = still_mailed(relay, GIJS, kind)
    told(relay, "abuse@bounce.acme.example", complained(mail, kind), sender="fbl@provider.example")
    still_mailed(relay, GIJS, f"na {kind}")
    [row] = [row for row in rows(relay) if row.content.get("label") == kind]
    assert row.task == ("open" if kind in ("virus", "other") else "noted")


def test_a_complaint_that_nothing_proves_goes_to_a_person(relay: Relay) -> None:
    mail = still_mailed(relay, HANS, "vals")
    before = len(rows(relay, waiting=True))
    report = complained(mail, token=False).replace(b"Version: 1", b"Version: 1\r\nOriginal-Rcpt-To: " + HANS.encode())
    told(relay, "abuse@bounce.acme.example", report, sender="fbl@provider.example")
    assert len(rows(relay, waiting=True)) == before + 1
    still_mailed(relay, HANS, "niets gebeurd")


@pytest.mark.parametrize("text", ["afmelden", "Stop\n\n> Klik hier om u af te melden", "Please unsubscribe me."])
def test_who_writes_to_stop_is_stopped(relay: Relay, text: str) -> None:
    who = {"a": INES, "S": JAN, "P": KIM}[text[0]]
    mail = still_mailed(relay, who, "antwoord")
    told(relay, mail.mail_from, replied(mail, text, author="elders@example.net"), sender="elders@example.net")
    assert relay.kept_out(who, newsletter("daarna")) == "OBJECTED_TO_MARKETING"
    assert not rows(relay, who, waiting=True)


def test_an_unclear_reply_waits_for_a_person_and_counts_as_an_objection_meanwhile(relay: Relay) -> None:
    mail = still_mailed(relay, LOT, "vraag")
    text = "Hoe komen jullie aan mijn adres? Ik vind dit eigenlijk niet zo prettig."
    told(relay, mail.mail_from, replied(mail, text), sender=LOT)
    assert relay.kept_out(LOT, newsletter("daarna")) == "OBJECTED_TO_MARKETING"
    [row] = rows(relay, LOT, waiting=True)
    assert text in row.content["text"] and row.task == "open"


@pytest.mark.parametrize(("author", "assumed"), [("wie@stranger.example", False), (PAM, True)])
def test_what_a_stranger_writes_is_read_and_nothing_assumed_of_them(relay: Relay, author: str, assumed: bool) -> None:
    """Spam to postmaster@ names whom it likes; only of people we know is it an objection meanwhile."""
    text = "Wat kost een advertentie bij jullie?"
    mail = f"From: <{author}>\r\nSubject: vraag\r\n\r\n{text}\r\n".encode()
    told(relay, "postmaster@bounce.acme.example", mail, sender=author)
    [row] = [one for one in rows(relay, waiting=True) if one.content.get("address") == author]
    assert row.content["text"] == text
    assert (row.recipient_key is not None) is assumed


def test_mail_to_the_address_of_opt_outs_is_one_though_a_program_wrote_it(relay: Relay) -> None:
    still_mailed(relay, WES, "afmelden")
    said = f"From: <{WES}>\r\nSubject: bericht\r\nAuto-Submitted: auto-generated\r\n\r\n.\r\n".encode()
    told(relay, "postmaster@bounce.acme.example", said, sender=WES)
    still_mailed(relay, WES, "nog steeds")
    told(relay, "unsub@bounce.acme.example", said + b"\r\n", sender=WES)
    assert relay.kept_out(WES, newsletter("daarna")) == "OBJECTED_TO_MARKETING"


def test_an_automatic_reply_does_nothing(relay: Relay) -> None:
    mail = still_mailed(relay, MIA, "vakantie")
    away = replied(
        mail, "Ik ben er niet. Wilt u stoppen? Afmelden kan hieronder.", subject="Automatisch antwoord",
        more="Auto-Submitted: auto-replied\r\n",
    )  # fmt: skip
    told(relay, mail.mail_from, away)
    still_mailed(relay, MIA, "daarna")
    assert [row.kind for row in rows(relay, MIA)] == ["auto-reply"]


def test_the_report_goes_on_to_the_tool_byte_for_byte(relay: Relay) -> None:
    mail = still_mailed(relay, NEL, "terug")
    report = bounced(mail, status="5.2.2", said="smtp; 552 5.2.2 full", mark="forward")
    told(relay, mail.mail_from, report)
    relay.upstream.until(lambda: any(report in one.raw for one in relay.upstream.to(TOOL)))
    [forwarded] = [one for one in relay.upstream.to(TOOL) if report in one.raw]
    assert forwarded.mail_from == ""
    received, _, rest = forwarded.raw.partition(b"From: MAILER-DAEMON")
    assert b"From: MAILER-DAEMON" + rest == report and received.startswith(b"Received: from mx.example.net")
    assert received.count(b"\r\n") == 3 and received.endswith(b"\r\n")


def test_what_the_tool_did_not_ask_for_is_not_passed_on(relay: Relay) -> None:
    with relay.gateway.client() as session:
        session.ehlo()
        session.mail(TOOL)
        assert session.rcpt(ODA, ["NOTIFY=NEVER"])[0] == 250
        assert session.data(newsletter("nooit"))[0] == 250
    relay.upstream.until(lambda: relay.upstream.to(ODA) != [])
    [mail] = relay.upstream.to(ODA)
    assert "NOTIFY=FAILURE" in mail.parameters, "reports are for us too"
    told(relay, mail.mail_from, bounced(mail, mark="never"))
    relay.drained()
    assert not [one for one in relay.upstream.to(TOOL) if b"<never@mx" in one.raw]
    assert [row.dead for row in rows(relay, ODA)] == [True]


def test_a_campaign_counts_what_came_back_as_bounced(relay: Relay) -> None:
    mail = b"X-Consentgate-Campaign: teruggekomen\r\n" + newsletter("campagne")
    mails = [relay.passes(one, mail) for one in (MIA, NEL)]
    for mark in ("a", "b"):
        told(relay, mails[0].mail_from, bounced(mails[0], status="5.2.2", said="smtp; 552 5.2.2 full", mark=mark))
    row = relay.campaign("teruggekomen")
    assert (row.accepted, row.delivered, row.bounced) == (2, 1, 1)


def test_nobody_is_named_in_the_log(relay: Relay) -> None:
    relay.agree("quinten@example.org")
    mail = still_mailed(relay, "quinten@example.org", "voor het log")
    told(relay, mail.mail_from, bounced(mail))
    log = relay.gateway.log()
    assert "report_received" in log and "Traceback" not in log
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", log)


def test_the_ledger_amounts_to_what_stands(relay: Relay) -> None:
    done = consentgate("ledger", "rebuild", "--check", "--config", relay.installation.config)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_address_that_works_again_is_mailed_again(relay: Relay) -> None:
    relay.agree("pim@example.org")
    for subject in ("een", "twee"):
        mail = still_mailed(relay, "pim@example.org", subject)
        told(relay, mail.mail_from, bounced(mail))
    assert relay.kept_out("pim@example.org", newsletter("drie")) == "ADDRESS_UNDELIVERABLE"
    where = ("--config", relay.installation.config)
    done = consentgate("person", "rectify", "pim@example.org", "--works-again", "gebeld", "--json", *where)
    assert json.loads(done.stdout)["changed"] == ["undeliverable"]
    again = consentgate("person", "rectify", "pim@example.org", "--works-again", "gebeld", "--json", *where)
    assert json.loads(again.stdout)["changed"] == []
    mail = still_mailed(relay, "pim@example.org", "vier")
    told(relay, mail.mail_from, bounced(mail))
    still_mailed(relay, "pim@example.org", "vijf")  # what was reported before counts no more


def test_a_live_refusal_is_on_record_beside_what_came_back(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    load_people(installation)
    with relaying(installation, {f"RCPT TO:<{ANNA}>": "550 5.1.1 no such user here"}) as relay:
        relay.taken(ANNA, newsletter("weg"))
        relay.drained()
        assert relay.kept_out(ANNA, newsletter("daarna")) == "ADDRESS_UNDELIVERABLE"
        told_of = [row for row in rows(relay, ANNA) if row.source == "live"]
        assert [(row.bounce_class, row.reason, row.dead) for row in told_of] == [("hard", "unknown-user", True)]
        done = consentgate("report", "bounces", "--json", "--addresses", "--config", installation.config)
        [row] = map(json.loads, done.stdout.splitlines())
        assert (row["recipient"], row["source"], row["status"]) == (ANNA, "live", "5.1.1")
        table = consentgate("report", "bounces", "--config", installation.config).stdout.decode()
        assert told_of[0].recipient_key is not None and told_of[0].recipient_key.hex() in table
        consentgate("person", "erase", ANNA, "--config", installation.config)
        assert rows(relay) == []


def test_a_campaign_that_three_complain_about_is_stopped_until_somebody_lets_it_go_on(
    made: Path, tmp_path: Path
) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation) as relay:
        relay.agree(*PEOPLE)
        mail = b"X-Consentgate-Campaign: te veel\r\n" + newsletter("campagne")
        mails = [relay.passes(one, mail) for one in PEOPLE[:4]]
        for one in mails[:2]:
            told(relay, one.mail_from, complained(one), sender="fbl@provider.example")
        relay.passes(PEOPLE[5], mail)  # one or two are no finding
        told(relay, mails[2].mail_from, complained(mails[2]), sender="fbl@provider.example")
        relay.gateway.eventually(lambda: relay.campaign("te veel").stopped)
        relay.gateway.eventually(lambda: _is_set_aside(relay, PEOPLE[6], mail))
        relay.passes(PEOPLE[7], newsletter("een andere"))
        words = ("--stream", "newsletter", "--campaign", "te veel", "--reason", "nagekeken")
        again = consentgate("queue", "resume", *words, "--config", installation.config)
        assert again.returncode == 0, again.stderr
        relay.upstream.until(lambda: relay.upstream.to(PEOPLE[6]) != [])
        assert not relay.campaign("te veel").stopped
        assert consentgate("queue", "resume", *words, "--config", installation.config).returncode == 1


def _is_set_aside(relay: Relay, recipient: str, mail: bytes) -> bool:
    """One more mail of the campaign; whether it stays here. The stop is known within a second."""
    before = len(relay.upstream.to(recipient))
    relay.taken(recipient, mail)
    relay.drained()
    return len(relay.upstream.to(recipient)) == before
