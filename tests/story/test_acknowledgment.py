"""Belgium: whoever opts out gets one e-mail that says it is registered (RULES.md 5.2.9), and nobody else does.

Invariants: what is owed is committed with the opt-out, and survives kill -9; the opt-out never waits for it; one mail
per request, to the address on file alone; it advertises nothing, and no machine answers it.
"""

import asyncio
import re
import smtplib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from email.message import EmailMessage
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gateway import record
from gateway.correspond import Correspondence
from gateway.disclose import erase
from gateway.recall import lookup
from gateway.store.contract import UNCLEAR, Act
from gateway.store.corresponding import OwedLetter
from gateway.weigh import Scales
from suppression.history import Entry
from suppression.suppression_list import Reason
from tests.acme import Acme, acme
from tests.installation import consent, newsletter
from tests.mails import read
from tests.story.relay import Relay, fresh, load, one_click_url, path_of, relaying, verify_dkim

LIEVE, NOOR = "lieve@example.org", "noor@example.org"


class Letters:
    """What is owed and what was written, in one process with a clock that tests move."""

    def __init__(self, world: Acme) -> None:
        self.world = world
        self.woken: list[str] = []
        self._desk = Correspondence(world.store, clock=world.clock, wake=self.woken.append)
        self._desk.configure(world.config, Scales(world.config, frozenset({"acme.example"})), world.words)

    async def known(self, address: str, **facts: str) -> None:
        await self.world.consented(address)
        await self.world.store.record([self.world._act(address, "person", facts)])

    async def stop(self, address: str, channel: record.Channel = "one-click", **more: Any) -> record.OptOut:
        token = self.world.tokens.open("unsubscribe", self.world.link(address))
        assert token is not None
        done = await record.opt_out(self.world.store, token, channel=channel, now=self.world.now, **more)
        assert done is not None
        return done

    async def by_hand(self, address: str, reason: Reason, source: str = "staff") -> None:
        await record.suppress(
            self.world.store, "acme", self.world.key(address), purpose=None, reason=reason, source=source,
            now=self.world.now,
        )  # fmt: skip

    async def written(self) -> int:
        return await self._desk.write_due()

    async def owed(self, address: str) -> list[OwedLetter]:
        found = await self.world.store.letters_to("acme", self.world.key(address))
        return [one for one in found if one.written_at is None]

    async def mails(self) -> list[EmailMessage]:
        """The letters in the queue, oldest first."""
        claimed = await self.world.store.claim("test", "main", now=self.world.now, n=50)
        stored = [await self.world.store.message(one.controller_id, one.message_id) for one in claimed]
        return [read(one.body) for one in stored if one is not None]

    async def entries(self, address: str) -> list[Entry]:
        who = lookup(self.world.ring, "acme", None, address)
        [history] = await self.world.store.histories([who])
        return [one for one in history.own.entries if one.kind == "notice_queued"]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Letters]:
    async with acme(tmp_path) as world:
        yield Letters(world)


async def test_a_belgian_is_told_once_in_their_language(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE", language="fr")
    done = await desk.stop(LIEVE)
    assert await desk.written() == 1 and desk.woken == ["main"]
    [mail] = await desk.mails()
    assert mail["To"] == LIEVE and mail["From"] == "Acme Wijnen <privacy@acme.example>"
    assert mail["Subject"] == "Votre désinscription auprès d’Acme Wijnen est enregistrée"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["List-Unsubscribe"] is None
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None
        said = body.get_content()
        assert done.reference in said and "la newsletter" in said and "arrêté royal" in said
        assert "Acme Wijnen B.V., Kade 1, 1011 AB Amsterdam" in said and "/u/" not in said and "/p/" not in said
    [entry] = await desk.entries(LIEVE)
    assert entry.fields["notice"] == "stopped" and entry.fields["refs"] == [done.suppression_id.hex()]
    await desk.stop(LIEVE)
    assert await desk.written() == 0 and await desk.mails() == []


@pytest.mark.parametrize(
    ("country", "told"), [("NL", 0), ("FR", 0), ("BE", 1), (None, 0)], ids=["nl", "fr", "be", "default nl"]
)
async def test_only_belgium(desk: Letters, country: str | None, told: int) -> None:
    await desk.known(LIEVE, **({"country": country} if country else {"language": "nl"}))
    await desk.stop(LIEVE)
    assert await desk.written() == told
    assert len(await desk.mails()) == told
    assert await desk.written() == 0


async def test_a_belgian_sender_writes_to_whoever_lives_nobody_knows_where(tmp_path: Path) -> None:
    async with acme(tmp_path, more=BELGIAN) as world:
        here = Letters(world)
        key = world.ring.recipient_keys("gent", NOOR)[0]
        await world.store.record([here_act(world, key)])
        await record.suppress(world.store, "gent", key, purpose=None, reason="objection", source="form", now=world.now)
        assert await here.written() == 1
        [mail] = await here.mails()
        assert mail["From"] == "Gent Bieren <postmaster@gent.example>"


BELGIAN = """
[controllers.gent]
legal_name = "Gent Bieren BV"
display_name = "Gent Bieren"
opt_out_contact = "https://gent.example/stop"
country = "BE"
domains = ["gent.example"]
[controllers.gent.streams.orders]
class = "transactional"
from_domains = ["gent.example"]
"""


def here_act(world: Acme, key: bytes) -> Act:
    return Act(
        controller_id="gent", recipient_key=key, kind="person", public={}, private={"language": "nl"}, at=world.now,
        address=NOOR,
    )  # fmt: skip


async def test_a_click_is_acknowledged_when_it_cannot_be_taken_back_any_more(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    await desk.stop(LIEVE, "page")
    assert await desk.written() == 0
    desk.world.now += timedelta(minutes=11)
    assert await desk.written() == 1
    assert len(await desk.mails()) == 1


async def test_what_was_taken_back_is_not_acknowledged(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    done = await desk.stop(LIEVE, "page")
    token = desk.world.tokens.open("unsubscribe", desk.world.link(LIEVE))
    assert token is not None
    assert await record.undo(desk.world.store, token, done.suppression_id, now=desk.world.now + timedelta(minutes=1))
    desk.world.now += timedelta(days=1)
    assert await desk.written() == 0 and await desk.owed(LIEVE) == []


async def test_two_requests_are_one_mail_and_the_same_one_twice_is_said_once(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    first = await desk.stop(LIEVE, "page")  # may be taken back, so that the next does not lean on it
    second = await desk.stop(LIEVE)
    third = await desk.stop(LIEVE, whole_sender=True)
    assert len({first.suppression_id, second.suppression_id, third.suppression_id}) == 3
    assert await desk.written() == 1
    [mail] = await desk.mails()
    said = mail.get_body(("plain",))
    assert said is not None and len(re.findall(r"^- ", said.get_content(), re.MULTILINE)) == 2
    desk.world.now += timedelta(minutes=11)
    assert await desk.written() == 0 and await desk.mails() == []


async def test_several_processes_write_it_once(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    await desk.stop(LIEVE)
    others = [Letters(desk.world) for _ in range(3)]
    assert sum(await asyncio.gather(*(one.written() for one in (desk, *others)))) == 1
    assert len(await desk.mails()) == 1 and len(await desk.entries(LIEVE)) == 1


@pytest.mark.parametrize("reason", ["complaint", "admin"])
async def test_what_is_nobodys_request_is_not_answered(desk: Letters, reason: Reason) -> None:
    await desk.known(LIEVE, country="BE")
    await desk.by_hand(LIEVE, reason)
    assert await desk.owed(LIEVE) == [] and await desk.written() == 0


@pytest.mark.parametrize("language", ["nl", "fr", "de", "en"])
async def test_whose_reply_nobody_read_is_not_told_that_they_asked(desk: Letters, language: str) -> None:
    """It may be a question about an order: what is assumed of it is said as that."""
    await desk.known(LIEVE, country="BE", language=language)
    await desk.by_hand(LIEVE, "objection", UNCLEAR)
    assert await desk.written() == 1
    [mail] = await desk.mails()
    assert mail["Auto-Submitted"] == "auto-replied"
    [owed] = await desk.world.store.letters_to("acme", desk.world.key(LIEVE))
    words, name = desk.world.words, "Acme Wijnen"
    assert mail["Subject"] == words.text(language, "stopped_mail.unread_subject", name=name)
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None
        said = " ".join(unescape(body.get_content()).split())
        assert record.reference(owed.letter_id) in said
        assert words.text(language, "stopped_mail.unread_asked", name=name) in said
        assert words.text(language, "stopped_mail.unread_done") in said
        assert words.text(language, "stopped_mail.asked", name=name) not in said
        assert words.text(language, "stopped_mail.law") not in said


async def test_who_objects_clearly_behind_an_unclear_reply_is_told_that_alone(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE", language="nl")
    await desk.by_hand(LIEVE, "objection", UNCLEAR)
    await desk.by_hand(LIEVE, "objection")
    assert await desk.written() == 1
    [mail] = await desk.mails()
    assert mail["Subject"] == "Uw afmelding bij Acme Wijnen is geregistreerd"


async def test_an_objection_that_was_read_is_told_after_what_was_assumed(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE", language="nl")
    await desk.by_hand(LIEVE, "objection", UNCLEAR)
    assert await desk.written() == 1
    await desk.by_hand(LIEVE, "objection")
    assert await desk.written() == 1
    assert [mail["Subject"] for mail in await desk.mails()] == [
        "Voorlopig geen reclame van Acme Wijnen", "Uw afmelding bij Acme Wijnen is geregistreerd"
    ]  # fmt: skip


async def test_nobody_is_answered_who_is_not_on_file_or_was_erased(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    await desk.stop(LIEVE)
    await erase(desk.world.store, desk.world.config, desk.world.ring, "acme", LIEVE, by="test", now=desk.world.now)
    assert await desk.written() == 0 and await desk.owed(LIEVE) == []
    await desk.by_hand(LIEVE, "objection", "mail")
    await desk.by_hand("stranger@example.org", "objection", "mail")
    assert await desk.written() == 0 and await desk.mails() == []


async def test_a_dead_address_is_decided_on_like_any_other(desk: Letters) -> None:
    await desk.known(LIEVE, country="BE")
    await desk.world.store.record([desk.world._act(LIEVE, "undeliverable", {"undeliverable": True})])
    await desk.stop(LIEVE)
    assert await desk.written() == 0 and await desk.mails() == []
    assert await desk.entries(LIEVE) == []


async def test_a_letter_that_cannot_be_written_holds_up_no_other(
    desk: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.known(LIEVE, country="BE", language="fr")
    await desk.known(NOOR, country="BE", language="de")
    await desk.stop(LIEVE)
    await desk.stop(NOOR)
    monkeypatch.delitem(desk.world.words._catalogues["fr"], "stopped_mail.law")  # type: ignore[arg-type]
    assert await desk.written() == 1
    [mail] = await desk.mails()
    assert mail["To"] == NOOR
    monkeypatch.undo()
    desk.world.now += timedelta(minutes=11)
    assert await desk.written() == 1


# through the running program


@pytest.fixture(scope="module")
def relay(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    installation = fresh(made, tmp_path_factory.mktemp("belgium") / "installation")
    with relaying(installation) as running:
        yield running


def belgian(relay: Relay, address: str, language: str) -> None:
    load(relay.installation, "consents", [consent(address)])
    load(relay.installation, "people", [{"email": address, "country": "BE", "language": language}])


def letter_to(relay: Relay, address: str, count: int) -> Any:
    relay.upstream.until(lambda: len(relay.upstream.to(address)) > count)
    return relay.upstream.to(address)[count]


def test_from_the_one_click_to_the_letter(relay: Relay) -> None:
    belgian(relay, "mieke@example.org", "nl")
    copy = relay.passes("mieke@example.org", newsletter())
    assert relay.one_click(one_click_url(copy)).status_code == 200
    letter = letter_to(relay, "mieke@example.org", 1)
    assert letter.mail_from == ""
    assert letter.message["Subject"] == "Uw afmelding bij Acme Wijnen is geregistreerd"
    assert {"from", "to", "subject", "date", "message-id"} <= verify_dkim(letter, relay.installation)
    assert letter.message["Auto-Submitted"] == "auto-generated"
    assert relay.one_click(one_click_url(copy)).status_code == 200
    assert relay.kept_out("mieke@example.org", newsletter()) == "SUPPRESSED_PURPOSE"
    relay.drained()
    assert len(relay.upstream.to("mieke@example.org")) == 2


@pytest.mark.parametrize(("sender", "answered"), [("an@example.org", True), ("", False)])
def test_a_mail_is_answered_and_the_null_sender_is_not(relay: Relay, sender: str, answered: bool) -> None:
    address = "an@example.org" if answered else "bot@example.org"
    belgian(relay, address, "de")
    copy = relay.passes(address, newsletter())
    found = re.search(r"<mailto:unsub@bounce\.acme\.example\?subject=([^>]+)>", copy.message["List-Unsubscribe"])
    assert found is not None
    mail = f"From: {address}\r\nTo: unsub@bounce.acme.example\r\nSubject: {found[1]}\r\n\r\nStop\r\n".encode()
    with smtplib.SMTP("127.0.0.1", relay.installation.return_port, timeout=30) as session:
        session.sendmail(sender, ["unsub@bounce.acme.example"], mail)
    assert relay.kept_out(address, newsletter()) == "SUPPRESSED_PURPOSE"
    if answered:
        letter = letter_to(relay, address, 1)
        assert letter.message["Auto-Submitted"] == "auto-replied" and letter.mail_from == ""
        assert "ist registriert" in letter.message["Subject"]
    else:
        assert owed_to_nobody(relay)


def owed_to_nobody(relay: Relay) -> bool:
    with closing(sqlite3.connect(f"file:{relay.installation.dir}/consentgate.db?mode=ro", uri=True)) as db:
        return db.execute("SELECT count(*) FROM letters WHERE settled_at IS NULL").fetchone() == (0,)


def test_killed_between_opt_out_and_letter(made: Path, tmp_path: Path) -> None:
    installation = fresh(made, tmp_path / "installation")
    with relaying(installation) as relay:
        belgian(relay, LIEVE, "nl")
        copy = relay.passes(LIEVE, newsletter())
        page = f"{installation.url}/u/{path_of(one_click_url(copy)).rpartition('/')[2]}"
        assert relay.http("POST", page).status_code == 200
        relay.gateway.kill()
        with closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
            assert db.execute("SELECT kind, settled_at FROM letters").fetchall() == [("stopped", None)]
            db.execute("UPDATE letters SET due_at = 0")  # ten minutes later
        relay.gateway.start()
        letter = letter_to(relay, LIEVE, 1)
        assert letter.message["Subject"] == "Uw afmelding bij Acme Wijnen is geregistreerd"
        relay.drained()
        relay.gateway.kill()
        relay.gateway.start()
        relay.drained()
        assert len(relay.upstream.to(LIEVE)) == 2
