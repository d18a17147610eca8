"""The loop check: a seed message takes the way of all mail of a stream, and what arrives is held against what left.

It is mail like any other (P2): the seed mailbox is a recipient who needs a consent, decided on, queued, checked again
and handed over by the running gateway. The one-click address is tried with the token of an invented recipient,
`loop-check@seed.invalid` (RFC 2606): that POST is a true opt-out (P3), of nobody. It is on the ledger once; a second
changes nothing. The seed mailbox stays mailable, and nothing is fetched with GET (P4).
"""

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import uuid_utils

from gateway import post
from gateway.config import Config, Controller, Seed, Stream
from gateway.doctor.finding import Finding
from gateway.explain import sound_case
from gateway.keys import key_ring, signers
from gateway.mail.dkim_check import check, names_asked
from gateway.mail.letter import Letter, make_letter
from gateway.mail.loop import compare
from gateway.outbound import mailbox, one_click
from gateway.outbound.resolver import Resolver, Unanswered
from gateway.render import Original, Renderer, open_original, renderer
from gateway.signing_keys import signing_keys
from gateway.store.checks import CheckNote
from gateway.store.contract import Arrival, Ruling, Store, StoredMessage
from gateway.weigh import Scales
from gateway.who import whose
from gateway.words import Words
from suppression.address import canonical

CAMPAIGN = "loop check"
NOBODY = "loop-check@seed.invalid"
"""Whose opt-out is tried: an address that can never get mail."""
HAND_OVER_EVERY, MAILBOX_EVERY = 0.5, 2.0
"""Seconds between two looks: at our own queue, and into a mailbox at a provider."""
_TEXT = (
    "This is a loop check of Consentgate ({mark}). It was sent to a mailbox of our own, to see whether mail arrives as "
    "it leaves.\n"
)


class Unloopable(Exception):
    """The check cannot be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One seed message. `mark`: what its subject is found by. `key`: the recipient key of the seed mailbox."""

    controller: Controller
    stream: Stream
    arrival: Arrival
    original: Original
    ruling: Ruling
    address: str
    key: bytes
    mark: str


async def loop(
    config: Config, store: Store, controller: Controller, stream: Stream, *, clock: Callable[[], datetime],
    patience: timedelta, say: Callable[[str], None],
) -> list[Finding]:  # fmt: skip
    """Send, wait, compare, try the one-click address; the outcome is kept. Unloopable where that cannot begin."""
    seed, captured = config.seed, config.routes[stream.route].kind == "capture"
    if seed is None:
        raise Unloopable("There is no seed mailbox. Set seed.address, and seed.imap with its login.")
    if seed.imap is None and not captured:
        raise Unloopable("The seed mailbox cannot be read. Set seed.imap, HOST:PORT, and seed.password_file.")
    copies = await renderer(store, config, Words.load())
    trip = await _trip(config, store, seed, controller, stream, clock())
    sent = b"".join(copies.copy(trip.original, trip.address, trip.key, trip.ruling))
    await store.enqueue(trip.arrival)
    say(f"Sent {trip.mark} to the seed mailbox by route {stream.route}; waiting for at most {patience} ...")
    found = [await _handed_over(store, trip, patience)]
    if not found[-1].good:
        arrived = None
    elif captured:
        arrived = sent
    else:
        arrived, word = await _arrived(seed, trip.mark, patience)
        found.append(word)
    if arrived is not None:
        found += await _judged(config, trip, copies, sent, arrived)
    found.append(await _one_click(config, trip, copies))
    await _noted(store, trip, found, clock())
    return found


async def _trip(
    config: Config, store: Store, seed: Seed, controller: Controller, stream: Stream, now: datetime
) -> Trip:
    """The message, decided on as mail of the stream to the seed mailbox. Unloopable where that may not be mailed."""
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as the store keeps it
    if stream.mode_at(now) == "rehearse":
        raise Unloopable(f"The stream {stream.name} rehearses: none of its mail leaves.")
    ring, address = key_ring(config), canonical(seed.address) or ""
    person = (await store.people([whose(ring, controller.id, address)]))[0]
    case = sound_case(controller, stream)
    ruling = Scales(config, frozenset(signers(config))).lay(case, controller, stream)(person, now)
    if ruling.decision.verdict != "allow":
        raise Unloopable(
            f"The seed mailbox may not be mailed on {stream.name}: {ruling.decision.reason_code}. It is a recipient "
            "like any other: give it a consent (consentgate consent add), or see why with consentgate report explain."
        )
    message_id, mark = uuid_utils.uuid7().bytes, uuid_utils.uuid4().hex[:16]
    text = _TEXT.format(mark=mark)
    body = make_letter(Letter(
        to=seed.address, sender=f"loop-check@{case.from_domain}", sender_name=controller.display_name,
        subject=f"Loop check {mark}", text=text, html=f"<html><body><p>{text}</p></body></html>", language="en",
        message_id=f"<{message_id.hex()}@{case.from_domain}>", at=now,
    ))  # fmt: skip
    arrival = post.queued(config, controller, stream, post.Outgoing(
        message_id=message_id, case=case, campaign=CAMPAIGN, to=seed.address, address=address,
        recipient_key=person.recipient_key, mail_from=f"loop-check@{case.from_domain}", subject=f"Loop check {mark}",
        body=body, ruling=ruling, at=now,
    ))  # fmt: skip
    original = open_original(config, StoredMessage(
        controller_id=controller.id, message_id=message_id, at=now, stream=stream.name, campaign=CAMPAIGN,
        mode=arrival.mode, kind=arrival.kind, envelope=arrival.envelope, body=body,
    ))  # fmt: skip
    assert original is not None  # its stream was just read from the settings
    return Trip(
        controller=controller, stream=stream, arrival=arrival, original=original, ruling=ruling,
        address=seed.address, key=person.recipient_key, mark=mark,
    )  # fmt: skip


async def _turns(patience: timedelta, every: float) -> AsyncIterator[None]:
    """Turns to look: at once, each `every` seconds, and once more when `patience` is over.

    By the loop's own time, which no clock that is put right makes longer or shorter.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience.total_seconds()
    yield
    while (left := until - loop.time()) > 0:
        await asyncio.sleep(min(every, left))
        yield


async def _handed_over(store: Store, trip: Trip, patience: timedelta) -> Finding:
    """Wait for the running gateway to hand the copy over."""
    reply = None
    async for _ in _turns(patience, HAND_OVER_EVERY):
        passages = await store.passages_of(
            trip.controller.id, trip.key, after=(trip.arrival.message_id, -1), n=1
        )  # fmt: skip
        state = passages[0].state if passages else "gone"
        if state in ("delivered", "captured"):
            text = "the next server took it" if state == "delivered" else "kept on a capture route; nothing left"
            return Finding(check="hand-over", good=True, text=text)
        if state not in ("queued", "claimed"):
            why = f"{passages[0].reason_code} {passages[0].reply or ''}".strip() if passages else "not on file"
            return Finding(check="hand-over", good=False, text=f"it was not handed over: {state} ({why})")
        reply = passages[0].reply
    text = f"it still waits: {reply or 'is the gateway running?'} See: consentgate queue list"
    return Finding(check="hand-over", good=False, text=text)


async def _arrived(seed: Seed, mark: str, patience: timedelta) -> tuple[bytes | None, Finding]:
    """Look into the seed mailbox until the message is there."""
    async for _ in _turns(patience, MAILBOX_EVERY):
        try:
            found = await asyncio.to_thread(mailbox.find, seed, mark)
        except mailbox.MailboxError as failed:
            return None, Finding(check="mailbox", good=False, text=f"cannot be read: {failed}")
        if found is not None:
            return found, Finding(check="mailbox", good=True, text="the message arrived")
    text = f"nothing arrived within {patience}: look into other folders (seed.folders), and at the provider"
    return None, Finding(check="mailbox", good=False, text=text)


async def _judged(config: Config, trip: Trip, copies: Renderer, sent: bytes, arrived: bytes) -> list[Finding]:
    records, told = await _records(config, names_asked(arrived))
    signatures = check(arrived, records)
    page = copies.links(trip.original, trip.key, trip.ruling.decision.basis).page
    domain = trip.original.case.from_domain
    points = compare(sent, arrived, signatures, page=page, from_domain=domain)
    return [*told, *(Finding(check=one.check, good=one.good, text=one.text) for one in points)]


async def _records(config: Config, names: Iterable[str]) -> tuple[dict[str, str], list[Finding]]:
    """What DNS publishes for each signature; where it does not answer, our own public keys, and that is said."""
    resolver, found, unasked = Resolver(config.dns_servers), {}, []
    ours = {one.key.name: one.record for one in signing_keys(config)}
    for name in names:
        try:
            published = await resolver.texts(name)
            if published:
                found[name] = published[0]
        except Unanswered:
            if record := ours.get(name):
                found[name] = record
            unasked.append(name)
    if not unasked:
        return found, []
    text = f"did not answer for {', '.join(unasked)}: where the key is ours, our own public key was used instead"
    return found, [Finding(check="DNS", good=True, text=text)]


async def _one_click(config: Config, trip: Trip, copies: Renderer) -> Finding:
    """A mailbox provider's POST to our public address, for nobody."""
    key = key_ring(config).recipient_keys(trip.controller.id, NOBODY)[0]
    url = copies.links(trip.original, key, trip.ruling.decision.basis).one_click
    what = "one-click POST"
    try:
        status, leads = await asyncio.to_thread(one_click.post, url)
    except (OSError, http.client.HTTPException) as failed:
        reason = failed.strerror if isinstance(failed, OSError) and failed.strerror else type(failed).__name__
        return Finding(check=what, good=False, text=f"{config.public_url} did not answer: {reason}")
    if 300 <= status < 400:
        where = leads.partition("/o/")[0] or "nowhere"  # without the token
        text = f"answered {status}, leading to {where}: mailbox providers follow no redirect (RFC 8058)"
        return Finding(check=what, good=False, text=text)
    plain = "" if config.public_url.startswith("https:") else "; public_url is plain http, for trying out only"
    return Finding(check=what, good=status == 200, text=f"{config.public_url} answered {status}{plain}")


async def _noted(store: Store, trip: Trip, found: Iterable[Finding], at: datetime) -> None:
    wrong = [f"{one.check}: {one.text}" for one in found if not one.good]
    await store.note_checks([CheckNote(
        controller_id=trip.controller.id, kind="loop", name=trip.stream.name, checked=1, failed=bool(wrong), at=at,
        why="; ".join(wrong)[:500],
    )])  # fmt: skip
