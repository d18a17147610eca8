"""Writes the letters that the law asks for, when they are due (RULES.md 5.2.9, 6.1; GDPR art. 18(3)).

What is owed stands in the store since the act that asked for it. Here it becomes a mail: of the language, the names and
the country that hold now, decided on like any mail (`mandatory_notice`, rule B1), committed to the queue together with
its entry in the ledger. A letter that cannot be written is tried again and in nobody's way.

Never does: write to an address that is not on file (whoever was erased has none; a stranger's mail could name anybody),
say the same thing to a person twice within a day, send through a null sender's answer, or advertise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

import uuid_utils

from gateway import log, post, record
from gateway.config import Config, Controller, Stream
from gateway.letters import Name, written
from gateway.mail.letter import Automatic, Letter, make_letter
from gateway.post import Outgoing
from gateway.store.contract import UNCLEAR, Act, Arrival, Person, Ruling, Store, StoreUnavailable, Who
from gateway.store.corresponding import OwedKind, OwedLetter
from gateway.weigh import Case, Scales
from gateway.words import Language, Words
from suppression.address import canonical
from suppression.basis import OWN_SOURCES
from suppression.consent import Consent
from suppression.duties import opt_out_is_acknowledged
from suppression.provenance import list_named, third_party

CAMPAIGNS: Final[Mapping[OwedKind, str]] = {
    "stopped": "opt-out acknowledgments", "restriction_ends": "restriction notices",
    "obtained": "notices of origin",
}  # fmt: skip
SAID_LATELY: Final = timedelta(days=1)
"""How long nobody is told the same again: the mail of two clicks that say the same, and of any loop."""
KEPT: Final = timedelta(days=30)
"""How long the list remembers what was written; the ledger remembers it for good."""
TRY_AGAIN: Final = timedelta(minutes=10)
AT_ONCE: Final = 100
ROUNDS: Final = 5
"""How often so many are written before the next turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addressee:
    """Whom the letters of one kind go to, from whom, and how."""

    controller: Controller
    stream: Stream
    person: Person
    address: str
    sender: str
    case: Case
    ruling: Ruling
    language: Language


class Correspondence:
    """One per process; `configure` swaps the settings. `wake` is told the route of each mail that was queued."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime], wake: Callable[[str], None]) -> None:
        self._store, self._clock, self._wake = store, clock, wake

    def configure(self, config: Config, scales: Scales, words: Words) -> None:
        self._config, self._scales, self._words = config, scales, words

    async def write_due(self) -> int:
        """Write what is due, a bounded number at a time: whoever keeps house has other things to do; how many mails.
        Raises StoreUnavailable."""
        mails = 0
        for _ in range(ROUNDS):
            now = self._clock()
            found = await self._store.letters_due(now=now, n=AT_ONCE)
            queued = settled = 0
            ordered = sorted(found, key=_whose)
            for (controller_id, _, kind, _), group in groupby(ordered, key=_whose):
                owed = list(group)
                try:
                    written_now = await self._write(owed, now)
                except StoreUnavailable:
                    raise
                except Exception as bug:  # one letter must not keep back the others, nor end who keeps house
                    log.letter_put_off(controller=controller_id, letter=kind, error=bug)
                    await self._store.put_off_letters(owed, now + TRY_AGAIN)
                    continue
                queued, settled = queued + written_now, settled + (not written_now)
            if found:
                log.letters_written(queued=queued, settled=settled)
            mails += queued
            if len(found) < AT_ONCE:
                break
        return mails

    async def forget(self) -> None:
        """Let go of what is long settled."""
        await self._store.drop_letters(settled_before=self._clock() - KEPT)

    async def _write(self, owed: Sequence[OwedLetter], now: datetime) -> bool:
        """The letters of one kind to one person, as one mail. False: none is owed after all."""
        to = await self._addressee(owed, now)
        told = owed
        if to is not None and owed[0].kind == "stopped":
            told = await self._unsaid(owed, now) if _acknowledged(to) else []
        if to is not None and owed[0].kind == "obtained":
            told = owed if await self._is_news(to, owed[0]) else []
        if to is None or not told:
            await self._store.settle_letters(owed, None, (), now=now)
            return False
        arrival = self._mail(to, told, now)
        leaves = arrival.copies[0].state == "queued"
        acts = [self._act(to, told, arrival, now)] if leaves else []
        if not await self._store.settle_letters(owed, arrival, acts, now=now):
            return False
        if leaves:
            self._wake(to.stream.route)
        return leaves

    async def _addressee(self, owed: Sequence[OwedLetter], now: datetime) -> _Addressee | None:
        """None where there is nobody to write to, or nobody to write it."""
        first = owed[0]
        controller = self._config.controllers.get(first.controller_id)
        address = await self._store.address(first.controller_id, first.recipient_key)
        if controller is None or address is None:
            return None
        stream = _stream(controller, [one.about.get("stream") for one in owed])
        [person] = await self._store.people([Who(first.controller_id, (first.recipient_key,), ())])
        language = self._words.pick([person.standing.language, stream.language, controller.language])
        sender = sender_of(controller, stream)
        case = post.service(CAMPAIGNS[first.kind], sender.rpartition("@")[2], language)
        ruling = self._scales.lay(case, controller, stream)(person, now)
        return _Addressee(
            controller=controller, stream=stream, person=person, address=address, sender=sender, case=case,
            ruling=ruling, language=language,
        )  # fmt: skip

    async def _unsaid(self, owed: Sequence[OwedLetter], now: datetime) -> list[OwedLetter]:
        """Without what the person was told within the last day. Whoever was told that it is registered need not hear
        that their reply is held to say so."""
        known = await self._store.letters_to(owed[0].controller_id, owed[0].recipient_key)
        lately = [
            _says(one) for one in known
            if one.kind == "stopped" and one.written_at is not None and one.written_at > now - SAID_LATELY
        ]  # fmt: skip
        unsaid: list[OwedLetter] = []
        for one in owed:
            if not {_says(one), (*_says(one)[:2], False)} & set(lately):
                lately.append(_says(one))
                unsaid.append(one)
        return unsaid

    async def _is_news(self, to: _Addressee, one: OwedLetter) -> bool:
        """Whether nothing that arrived has said yet from whom the address came (M8), and it still stands."""
        consents = to.person.standing.consents
        if not _from_list(consents, one.about["list"]):
            return False
        footers_say_it = all(consent.source not in OWN_SOURCES for consent in consents)
        return not (footers_say_it and await self._store.told_in_mail(to.controller.id, to.person.recipient_key))

    def _mail(self, to: _Addressee, owed: Sequence[OwedLetter], now: datetime) -> Arrival:
        kind, message_id = owed[0].kind, uuid_utils.uuid7().bytes
        facts = {
            "stopped": lambda: self._stopped(to, owed), "obtained": lambda: self._obtained(to, owed[0]),
            "restriction_ends": lambda: self._restriction_ends(to, owed[0]),
        }[kind]()  # fmt: skip
        said = written(self._words, to.controller, _LETTERS[kind], to.language, **facts, **contact_of(to.controller))
        answers = any(one.about.get("source") in ("mail", UNCLEAR) for one in owed)
        automatic: Automatic = "auto-replied" if answers else "auto-generated"
        body = make_letter(Letter(
            to=to.address, sender=to.sender, sender_name=to.controller.display_name, subject=said.subject,
            text=said.text, html=said.html, language=to.language,
            message_id=f"<{message_id.hex()}@{to.case.from_domain}>", at=now, automatic=automatic,
        ))  # fmt: skip
        return post.queued(self._config, to.controller, to.stream, Outgoing(
            message_id=message_id, case=to.case, campaign=CAMPAIGNS[kind], to=to.address, address=to.address,
            recipient_key=to.person.recipient_key, mail_from="", subject=said.subject, body=body, ruling=to.ruling,
            at=now, notify={"NEVER"}, addressed=to.person.addressed,
        ))  # fmt: skip

    def _stopped(self, to: _Addressee, owed: Sequence[OwedLetter]) -> dict[str, Any]:
        say, zone, stops, references = self._words.text, ZoneInfo(to.controller.timezone), [], []
        for one in sorted(owed, key=lambda letter: str(letter.about["at"])):
            reference = record.reference(one.letter_id)
            values: dict[str, object] = {
                "date": self._words.moment(to.language, datetime.fromisoformat(one.about["at"]), zone),
                "reference": reference,
            }  # fmt: skip
            purpose = one.about.get("purpose")
            if purpose is None:
                stops.append(say(to.language, "stopped_mail.all", **values))
            else:
                title = self._words.purpose(to.controller, purpose, to.language)
                stops.append(say(to.language, "stopped_mail.one", purpose=title, **values))
            references.append(reference)
        return {"stops": stops, "unread": any(map(_assumed, owed)), "must": references}

    def _restriction_ends(self, to: _Addressee, one: OwedLetter) -> dict[str, Any]:
        zone = ZoneInfo(to.controller.timezone)
        held = []
        for restriction in one.about["restrictions"]:
            purpose = restriction["purpose"]
            named = {"purpose": self._words.purpose(to.controller, purpose, to.language)} if purpose else {}
            since = self._words.day(to.language, datetime.fromisoformat(restriction["from"]), zone)
            held.append(self._words.text(to.language, f"dossier.held.{restriction['scope']}", date=since, **named))
        date = self._words.day(to.language, datetime.fromisoformat(one.about["not_before"]), zone)
        return {"held": held, "date": date, "must": [date]}

    def _obtained(self, to: _Addressee, one: OwedLetter) -> dict[str, Any]:
        consents = _from_list(to.person.standing.consents, one.about["list"])
        named = {purpose: None for consent in consents for purpose in consent.purposes}
        source = third_party(consents[0]) or self._words.text(to.language, "footer.another_company")
        purposes = [self._words.purpose(to.controller, purpose, to.language) for purpose in named]
        return {"source": source, "purposes": purposes, "must": [source]}

    def _act(self, to: _Addressee, owed: Sequence[OwedLetter], arrival: Arrival, now: datetime) -> Act:
        """What the ledger keeps: which letter, about which entries, and in which mail."""
        until = {"not_before": owed[0].about["not_before"]} if owed[0].kind == "restriction_ends" else {}
        return Act(
            controller_id=to.controller.id, recipient_key=to.person.recipient_key, kind="notice_queued", at=now,
            public={"notice": owed[0].kind, "refs": sorted(ref for one in owed for ref in _refs(one)), **until},
            private={"message_id": arrival.message_id.hex()},
        )  # fmt: skip


_LETTERS: Final[Mapping[OwedKind, Name]] = {
    "stopped": "stopped", "restriction_ends": "restriction_ends", "obtained": "obtained",
}  # fmt: skip


def sender_of(controller: Controller, stream: Stream) -> str:
    """The address letters come from: that for stop requests where mail from it can be signed, else postmaster, which
    every domain has (RFC 5321 4.5.1)."""
    signed = [domain for domain in stream.from_domains if any(key.domain == domain for key in controller.dkim)]
    contact = controller.opt_out_contact
    if canonical(contact) is not None and contact.rpartition("@")[2].lower() in stream.from_domains:
        return contact
    return f"postmaster@{(signed or list(stream.from_domains))[0]}"


def contact_of(controller: Controller) -> dict[str, str]:
    """Where people can say that something is not right."""
    contact = controller.opt_out_contact
    return {"contact": contact, "contact_link": f"mailto:{contact}" if canonical(contact) is not None else contact}


def _stream(controller: Controller, named: Sequence[str | None]) -> Stream:
    """The stream by whose route a letter leaves: the one whose mail was stopped, else one for service mail."""
    for name in named:
        if name in controller.streams:
            return controller.streams[str(name)]
    streams = list(controller.streams.values())
    return next((one for one in streams if one.message_class == "transactional"), streams[0])


def _acknowledged(to: _Addressee) -> bool:
    """Whether the law asks for an acknowledgment."""
    known = to.ruling.packs.partition(" ")[2] != "unknown"
    return opt_out_is_acknowledged(to.ruling.codes, known=known, home=to.controller.country)


def _whose(one: OwedLetter) -> tuple[str, bytes, OwedKind, bytes]:
    """What goes into one mail: what a person stopped, together, and behind it what their reply is held to say; any
    other letter by itself."""
    together = b"unread" if _assumed(one) else b""
    return one.controller_id, one.recipient_key, one.kind, together if one.kind == "stopped" else one.letter_id


def _assumed(one: OwedLetter) -> bool:
    """Whether the person did not say so: a reply of theirs waits to be read, and counts as an objection meanwhile."""
    return one.about.get("source") == UNCLEAR


def _says(one: OwedLetter) -> tuple[object, object, bool]:
    return one.about.get("scope"), one.about.get("purpose"), _assumed(one)


def _from_list(consents: Sequence[Consent], name: str) -> list[Consent]:
    """Those that a third party collected, on the list of this name."""
    return [
        one for one in consents if one.source not in OWN_SOURCES and list_named(one.evidence.origin) == name
    ]  # fmt: skip


def _refs(one: OwedLetter) -> list[str]:
    """What the letter is about: the opt-out, the restrictions, or the list."""
    if one.kind == "restriction_ends":
        return [each["ref"] for each in one.about["restrictions"]]
    return [one.letter_id.hex()] if one.kind == "stopped" else [f"list:{one.about['list']}"]
