"""The door through which everything that comes back goes into memory: reports, complaints, replies, opt-outs by mail.

What counts, and for how much:

- Nothing is believed that is not proven: by the id of a copy that we put into its return path, by a token of ours that
  the report carries, or by a source that authenticated itself (a provider's hook).
- A report that mailbox or domain do not exist is one of two it takes to mark the address `undeliverable`; two on one
  message are one (RULES.md A5). Full, refused, blocked: never. Softer failures are kept and shown, and do nothing.
- A complaint is an opt-out from the whole sender, at once (RULES.md 5.2.8). One that nothing proves goes to a person;
  `not-spam` and `auth-failure` change nothing.
- Who writes to stop is stopped; who writes something else gets a person to read it, and counts as objecting meanwhile.
- Nobody is behind an automatic reply.

A forged or repeated report can so mark one address, and stop what its owner did not ask to be stopped; it never starts
anything. Told again, everything here is the same.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import Final, Literal

import uuid_utils

from gateway import log, record
from gateway.config import Config
from gateway.keys import return_keys
from gateway.mail.complaint_rate import rate
from gateway.mail.event import Event, Recipient
from gateway.mail.return_id import PREFIX, ReturnId, ReturnKeys
from gateway.store.contract import UNCLEAR, Arrival, Store, SuppressionRow
from gateway.store.returned import Heeded, Returned, SentCopy
from suppression.address import canonical
from suppression.link_token import LinkToken, TokenKeys
from suppression.months import plus_months
from suppression.vault import KeyRing

KEPT_MONTHS: Final = 24
"""How long what came back is kept (RULES.md 7.2); a mark on the address stays while it is on file."""
REPORTS_COME_FOR: Final = timedelta(days=14)
"""How long it is kept where a tool wants its reports: servers try for five days, and some send theirs late."""
Effect = Literal["noted", "repeat", "unread", "undeliverable", "stopped", "task"]
"""What followed: nothing yet; it had come before; nothing can be said of it; the address is marked; somebody is opted
out; a person has to look."""
UNREAD_FOR: Final = timedelta(hours=23)
"""How long an unclear reply may wait for its reader: an acknowledgment goes within 24 hours (RULES.md 5.2.9)."""
NOTHING = Recipient(address=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became of an event, or of one address in it. `reference`: for whoever told us."""

    effect: Effect
    reference: str = ""


@dataclass(frozen=True)
class Known:
    """By what events are recognised: settings, and the keys of addresses, links and return paths."""

    config: Config
    ring: KeyRing
    tokens: TokenKeys

    @cached_property
    def returns(self) -> Mapping[str, ReturnKeys]:
        """The keys of return paths, by controller."""
        return {one: return_keys(self.ring, one) for one in self.config.controllers}

    @cached_property
    def telling_repeats(self) -> bytes:
        """The key under which digests of events are kept."""
        return next(iter(self.ring.derived("returned").values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """How an event came, where it was mail. `copy`: the copy whose return path it was sent to.

    `asked`: it was sent to the address of opt-outs. `from_nobody`: from the null sender. `digest`: of its octets.
    `words`: what a person has to read of it, sealed. `forward`: makes the report on its way to the tool.
    `raw`: what a provider's hook was sent about this one person; kept sealed with the rest.
    """

    copy: ReturnId | None = None
    asked: bool = False
    from_nobody: bool = False
    digest: bytes = b""
    words: Mapping[str, str] | None = None
    forward: Callable[[SentCopy, Event], Arrival | None] | None = None
    raw: str = ""


BY_HOOK = Letter()


async def heed(
    store: Store, event: Event, *, known: Known, controller_id: str, now: datetime, letter: Letter = BY_HOOK
) -> list[Noted]:
    """Take one event into memory: committed when this returns. One answer for each address it is about.

    `controller_id`: whose return domain or hook it came to. Raises StoreUnavailable; then nothing of it is kept that
    would not be kept again.
    """
    noted = []
    for about in await _whom(store, event, known, controller_id, letter, now):
        returned = _returned(event, about, letter, now)
        if returned is None:
            noted.append(Noted(effect="unread"))
            continue
        returned = _owing(returned, letter, now)
        noted.append(_told(event, returned, await store.heed(returned)))
    log.report_received(kind=event.kind, undeliverable=sum(one.effect == "undeliverable" for one in noted))
    return noted


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """Whom a part of an event is about. `token`: ours, that it carried. `proven`: not only its own word says so."""

    controller_id: str
    digest: bytes
    told: Recipient
    recipient_key: bytes | None = None
    copy: ReturnId | None = None
    sent: SentCopy | None = None
    token: LinkToken | None = None
    purpose: str | None = None
    address: str | None = None
    proven: bool = False
    heard: bool = True


async def _whom(
    store: Store, event: Event, known: Known, controller_id: str, letter: Letter, now: datetime
) -> list[_About]:
    """Whom an event is about: by the copy it came back for, else by a token, else by the word of a proven source."""
    copy = letter.copy or next(_copies(event, known, controller_id), None)
    about = _About(controller_id=controller_id, digest=_digest(event, known, letter, 0), told=_first(event))
    if copy is not None:
        return [await _of_copy(store, event, known, replace(about, copy=copy, proven=True))]
    for text in event.original.tokens:
        token = known.tokens.open("unsubscribe", text)
        named = await record.named(store, token) if token is not None else None
        if token is None or named is None or (event.authenticated and named.controller_id != controller_id):
            continue
        about = replace(
            about, controller_id=named.controller_id, token=token, purpose=named.purpose, proven=True,
            recipient_key=token.recipient_key,
        )  # fmt: skip
        number = await store.copy_for(named.controller_id, token.message_id, token.recipient_key)
        if number is None:
            return [about]
        return [await _of_copy(store, event, known, replace(about, copy=ReturnId(token.message_id, number)))]
    if not event.authenticated:
        return [await _by_word(store, event, known, about, letter)]
    found = []
    for number, told in enumerate(event.recipients or (NOTHING,)):
        plain = canonical(told.address or "")
        key = await record.key_on_file(store, known.ring, controller_id, plain) if plain is not None else None
        digest = _digest(event, known, letter, number)
        found.append(
            replace(about, told=told, recipient_key=key, address=plain, proven=key is not None, digest=digest)
        )  # fmt: skip
    return found


def _copies(event: Event, known: Known, controller_id: str) -> Iterator[ReturnId]:
    keys = known.returns.get(controller_id)
    for written in event.original.return_ids if keys is not None else ():
        copy = keys.open(PREFIX + written) if keys is not None else None
        if copy is not None:
            yield copy


async def _of_copy(store: Store, event: Event, known: Known, about: _About) -> _About:
    """With what is on record of the copy, and what the event says of its recipient."""
    assert about.copy is not None
    sent = await store.sent_copy(about.controller_id, *about.copy)
    if sent is None:
        return about
    mine = canonical(sent.address or "")
    told = next((one for one in event.recipients if mine is not None and canonical(one.address or "") == mine), None)
    found = known.config.stream_of(about.controller_id, sent.stream)
    return replace(
        about, sent=sent, recipient_key=about.recipient_key or sent.recipient_key,
        told=told or _aside(about.told), heard=found is None or found[1].bounces != "forward",
    )  # fmt: skip


def _aside(told: Recipient) -> Recipient:
    """A report that names another address than the copy's: somebody forwards, or a group has a dead member. Whether the
    address we mailed is dead, it does not say."""
    return told if told.address is None else replace(told, undeliverable=False)


async def _by_word(store: Store, event: Event, known: Known, about: _About, letter: Letter) -> _About:
    """Nothing proves whom it is about. Who writes a letter may speak for the address they write from."""
    spoken = event.kind in ("unsubscribe", "other") or (letter.asked and event.kind == "auto-reply")
    if letter.from_nobody or not spoken or event.feedback_type is not None:
        return about
    plain = canonical(about.told.address or "")
    if plain is None:
        return about
    person = await record.on_file(store, known.ring, about.controller_id, plain)
    if event.kind == "other" and not letter.asked and not (person.seen or person.suppressions):
        return about  # a stranger's: it is read, and nothing assumed of whom any spam to postmaster@ may name
    return replace(about, recipient_key=person.recipient_key, address=plain)


def _first(event: Event) -> Recipient:
    return event.recipients[0] if event.recipients else NOTHING


def _digest(event: Event, known: Known, letter: Letter, number: int) -> bytes:
    """What tells repeats: the octets of a mail, a provider's id of an event, else all that the event says."""
    said = letter.digest or f"{event.source}\0{event.event_id or repr(event)}".encode("utf-8", "replace")
    return hmac.digest(known.telling_repeats, b"%d\0" % number + said, "sha256")[:16]


def _returned(event: Event, about: _About, letter: Letter, now: datetime) -> Returned | None:
    """What is stored of it, and what follows. None where it says nothing of anybody."""
    told, sent = about.told, about.sent
    message_id = about.copy.message_id if about.copy is not None else about.token.message_id if about.token else None
    returned = Returned(
        controller_id=about.controller_id, report_id=uuid_utils.uuid7().bytes,
        at=event.at if event.authenticated and event.at <= now else now, digest=about.digest, kind=event.kind,
        source=event.source, proven=about.proven, bounce_class=told.bounce_class, reason=told.reason,
        status=told.status, recipient_key=about.recipient_key, message_id=message_id,
        copy_no=about.copy.copy_no if about.copy is not None else None,
        stream=sent.stream if sent is not None else "", campaign=sent.campaign if sent is not None else "",
        content=_content(event, told, letter),
    )  # fmt: skip
    forward = letter.forward(sent, event) if letter.forward is not None and sent is not None else None
    returned = replace(returned, forward=forward)
    if event.kind == "bounce":
        dead = about.proven and about.heard and told.undeliverable and told.bounce_class == "hard"
        return replace(returned, dead=dead and about.recipient_key is not None) if about.proven else None
    if event.kind == "complaint":
        if about.proven and about.recipient_key is not None:
            return _stopping(about, returned, now, "complaint", event.source)
        if about.proven:
            return returned  # of somebody who was erased: nothing is sent to them anyway
        return replace(returned, task="open", content={**returned.content, **(letter.words or {})})
    if event.feedback_type is not None:
        task = {**returned.content, **(letter.words or {})}
        return replace(returned, task="open", content=task) if event.needs_person else returned
    if event.kind == "auto-reply" and not letter.asked:
        return returned if about.proven else None
    # mail programs that ask to stop for people call what they send automatic; nothing of ours that machines answer to
    # is from the address of opt-outs
    return _letter(event, about, letter, returned, now)


def _letter(event: Event, about: _About, letter: Letter, returned: Returned, now: datetime) -> Returned | None:
    """What a person wrote, or a provider's own opt-out."""
    known = about.recipient_key is not None
    if letter.asked and known:
        asked = replace(returned, kind="unsubscribe")
        reason: Literal["unsubscribe", "objection"] = "objection" if about.token is None else "unsubscribe"
        return _stopping(about, asked, now, reason, event.source, _agreed(about))
    if letter.from_nobody:  # a machine, whatever it writes: people have a return path
        return returned if about.proven else None
    if event.kind == "unsubscribe" and known and event.authenticated:
        return _stopping(about, returned, now, "unsubscribe", event.source, _agreed(about))
    if event.kind == "unsubscribe" and known:
        return _stopping(about, returned, now, "objection", event.source)
    words = {**returned.content, **(letter.words or {})}
    if event.needs_person and known:
        return replace(_stopping(about, returned, now, "objection", UNCLEAR), task="open", content=words)
    if event.needs_person or event.kind == "unsubscribe":
        return replace(returned, task="open", content=words)
    return returned if about.proven else None


def _agreed(about: _About) -> str | None:
    """The purpose that a token names, where its mail was sent on opt-in; else the whole sender is meant (5.2.6)."""
    return about.purpose if about.token is not None and about.token.basis == "opt_in" else None


def _stopping(
    about: _About, returned: Returned, now: datetime, reason: Literal["unsubscribe", "objection", "complaint"],
    source: str, purpose: str | None = None,
) -> Returned:  # fmt: skip
    assert returned.recipient_key is not None
    row = record.stopping(
        returned.controller_id, returned.recipient_key, purpose=purpose, reason=reason, source=source, now=now,
        address=about.address,
    )  # fmt: skip
    return replace(returned, stop=row, acts=record.opt_out_acts(row))


def _owing(returned: Returned, letter: Letter, now: datetime) -> Returned:
    """With the letter that acknowledges an opt-out. The null sender is not answered (RFC 3834 2); an unclear reply is
    acknowledged when nobody has read it within the time that an acknowledgment may take."""
    if returned.stop is None or letter.from_nobody:
        return returned
    after = UNREAD_FOR if returned.stop.assumed else timedelta()
    return replace(returned, owed=record.acknowledgment(returned.stop, returned.stream or None, now, after=after))


def _content(event: Event, told: Recipient, letter: Letter) -> dict[str, str]:
    """What is sealed: the other side's words, its label, the address it named, and all a hook was sent of it."""
    said = {
        "said": told.diagnostic, "label": event.label or "", "address": told.address or "", "raw": letter.raw,
    }  # fmt: skip
    return {name: text for name, text in said.items() if text}


def _told(event: Event, returned: Returned, heeded: Heeded) -> Noted:
    """Say what happened, to the log and to whoever told us."""
    placed: SuppressionRow | None = heeded.placed
    if heeded.repeat:
        return Noted(effect="repeat")
    if returned.kind == "complaint" and heeded.complaints:
        place = record.campaign_id(returned.controller_id, returned.stream, returned.campaign)
        if heeded.stopped:
            log.campaign_stopped(campaign=place, complaints=heeded.complaints, sent=heeded.sent)
        elif rate(heeded.complaints, heeded.sent) != "fine":
            log.campaign_warned(campaign=place, complaints=heeded.complaints, sent=heeded.sent)
    if placed is not None:
        already = placed.suppression_id != (returned.stop.suppression_id if returned.stop else b"")
        log.opted_out(
            controller=returned.controller_id, channel=placed.source, scope=placed.scope, already=already
        )  # fmt: skip
        effect: Effect = "task" if returned.task == "open" else "stopped"
        return Noted(effect=effect, reference=record.reference(placed.suppression_id))
    reference = record.reference(returned.report_id)
    if heeded.marked:
        return Noted(effect="undeliverable", reference=reference)
    return Noted(effect="task" if returned.task == "open" else "noted", reference=reference)


async def keep_returned(store: Store, now: datetime) -> None:
    """Let go of what may not be kept any longer, a batch in each transaction."""
    before = datetime.combine(plus_months(now.date(), -KEPT_MONTHS), time(), UTC)
    while await store.drop_returned(before=before, routes_before=now - REPORTS_COME_FOR, n=500):
        pass
