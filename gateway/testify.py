"""Proof of what was asked, agreed, sent and stopped, for a judge or an authority (GDPR art. 5(2), 7(1); RULES.md 4).

A proof is one ZIP that can be checked without this program and without trusting it: files, their digests in a signed
list, and the person's entries of the ledger with what their commitments bind and the stretch of the chain up to a
signed head. Of the entries of others the stretch holds hashes alone. Making a proof is itself written down first.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway import exhibits, prove
from gateway.bundle import Bundle, line
from gateway.config import Config, Controller
from gateway.dossier import LEFT
from gateway.record import looked, staff_acts
from gateway.store.contract import Store, SuppressionRow
from gateway.store.evidence import KeptHead
from gateway.store.proof import Passage, Place, ShownEntry
from gateway.testimony import CampaignStory, PersonStory, campaign_page, person_page
from gateway.weigh import Case
from gateway.who import whose
from gateway.words import Language, Words
from suppression.chain import HeadKeys, Stored, content_hash, link_hash
from suppression.ledger import BLIND_BYTES
from suppression.vault import KeyRing

PAGE: Final = 1000
"""Copies, and entries of the chain, read at a time: a bound on memory."""
PROMISE: Final = timedelta(seconds=1)
"""How long after an opt-out a hand-over that was under way may still have begun (DESIGN.md P3)."""

Progress = Callable[[str, int, int], None]
"""Called with what is being written, how much of it was, and how much there is (0: not known)."""


class Unprovable(Exception):
    """The ledger is not what it was sealed as, or nothing is on file: no proof can be made. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Testified:
    """A proof that was made. `digest`: of its list of files; `late`: marketing that left after an opt-out."""

    path: Path
    digest: bytes
    public_key: bytes
    entries: int
    decisions: int
    late: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What every proof needs: memory, settings, words, keys; who asked for it, and when (aware UTC)."""

    store: Store
    config: Config
    words: Words
    ring: KeyRing
    language: Language
    by: str
    now: datetime
    progress: Progress | None = None

    def tell(self, what: str, done: int, total: int = 0) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(what, done, total)


async def about_person(witness: Witness, controller: Controller, plain: str, out: Path) -> Testified:
    """A proof about one person at one controller, by normalised address. Unprovable, OSError, StoreUnavailable."""
    store, ring = witness.store, witness.ring
    who = whose(ring, controller.id, plain)
    person = (await store.people([who]))[0]
    if not person.seen and not person.suppressions:
        raise Unprovable(f"nothing is on file about this address at {controller.id}")
    if person.seen:
        await looked(store, controller.id, [person.recipient_key], by=witness.by, now=witness.now, why="proof")
    await store.seal()
    keys = prove.head_keys(ring)
    entries = await store.entries_shown(who)
    passages = [one async for one in _every(partial(store.passages_of, controller.id, person.recipient_key))]
    stops = [
        row for owner, key in [*((controller.id, k) for k in who.recipient_keys), *(("", k) for k in who.global_keys)]
        for row in await store.suppressions_of(owner, key)
    ]  # fmt: skip
    wordings = await exhibits.wordings(store, controller.id, person)
    attachments = await store.attachments(controller.id, person.recipient_key)
    wording_entries = await store.wording_entries(controller.id, [one.wording.name for one in wordings])
    shown = [*entries, *(ShownEntry(stored=one, opened=None) for one in wording_entries)]
    story = PersonStory(
        controller=controller, address=plain, recipient_key=person.recipient_key, standing=person.standing,
        entries=entries, passages=passages, stops=[(row, left_after(row, passages)) for row in stops],
        wordings=wordings, attachments=attachments, at=witness.now, public_key=keys.public,
    )  # fmt: skip
    with Bundle(out, witness.now) as bundle:
        bundle.add("index.html", person_page(witness.words, witness.language, story).encode())
        bundle.add_json("person.json", _person_rows(story))
        bundle.add_json("opt_outs.json", [_stop_row(row, late) for row, late in story.stops])
        with bundle.adding("decisions.jsonl") as write:
            for passage in passages:
                write(line(_passage_row(passage)))
        await exhibits.add(bundle, store, story)
        await _add_ledger(witness, bundle, keys, shown)
        about = {"controller": controller.id, "about": {"person": person.recipient_key, "address": plain}}
        digest = bundle.seal({**about, **_public(keys)}, keys.sign_manifest)
    return Testified(
        path=out, digest=digest, public_key=keys.public, entries=len(shown), decisions=len(passages),
        late=sum(len(late) for _, late in story.stops),
    )  # fmt: skip


async def about_campaign(
    witness: Witness, controller: Controller, stream: str, campaign: str, out: Path, *, addresses: bool
) -> Testified:
    """A proof about one campaign: every recipient by key, the ground of each copy that left, the reason of each other.

    `addresses`: with addresses. Unprovable where there is no such campaign; OSError, StoreUnavailable.
    """
    store, keys = witness.store, prove.head_keys(witness.ring)
    if (await store.campaign(controller.id, stream, campaign)) is None:
        raise Unprovable(f"there is no campaign {campaign!r} of stream {stream!r} at {controller.id}")
    for note in staff_acts(
        [controller.id], "proof of a campaign", by=witness.by, at=witness.now, stream=stream, campaign=campaign,
        addresses=addresses,
    ):  # fmt: skip
        await store.note(note.controller_id, note.kind, note.public, note.private, at=note.at)
    await store.seal()
    tallies = (await store.tallies(controller.id)).get((stream, campaign), {})
    counts: Counter[tuple[str, str, str]] = Counter()
    messages: dict[bytes, dict[str, Any]] = {}
    with Bundle(out, witness.now) as bundle:
        with bundle.adding("recipients.jsonl") as write:
            done = 0
            page_of = partial(store.passages_in, controller.id, stream, campaign, addresses=addresses)
            async for one in _every(page_of):
                write(line(_passage_row(one)))
                counts[(one.state, one.verdict, one.reason_code)] += 1
                _count_message(messages, one)
                done += 1
                if done % PAGE == 0:
                    witness.tell("recipients", done, tallies.get("accepted", 0))
        kept = [_message_row(*one) for one in messages.items()]
        story = CampaignStory(
            controller=controller, stream=stream, campaign=campaign, counts=counts, messages=kept, at=witness.now,
            public_key=keys.public, addresses=addresses,
        )  # fmt: skip
        bundle.add("index.html", campaign_page(witness.words, witness.language, story).encode())
        bundle.add_json("counts.json", [
            {"state": state, "verdict": verdict, "reason_code": code, "copies": n}
            for (state, verdict, code), n in counts.most_common()
        ])  # fmt: skip
        bundle.add_json("messages.json", kept)
        await _add_ledger(witness, bundle, keys, [], also=controller.id)
        about = {"controller": controller.id, "about": {"stream": stream, "campaign": campaign}}
        digest = bundle.seal({**about, **_public(keys)}, keys.sign_manifest)
    return Testified(path=out, digest=digest, public_key=keys.public, entries=0, decisions=counts.total(), late=0)


MESSAGES: Final = 10_000
"""Messages of a campaign that are listed one by one; a tool that sends each recipient a message of their own has as
many as recipients, and they all stand in recipients.jsonl."""


def _count_message(messages: dict[bytes, dict[str, Any]], one: Passage) -> None:
    known = messages.get(one.message_id)
    if known is not None:
        known["copies"] += 1
    elif len(messages) < MESSAGES:
        messages[one.message_id] = {
            "accepted_at": one.accepted_at, "subject": one.subject, "sha256": one.digest, "bytes": one.size, "copies": 1
        }  # fmt: skip


def _message_row(message_id: bytes, said: dict[str, Any]) -> dict[str, Any]:
    return {"message_id": message_id, **said}


def left_after(row: SuppressionRow, passages: Sequence[Passage]) -> list[Passage]:
    """Marketing within a suppression's scope whose hand-over began after it, and before it was lifted for that."""
    since = row.at + PROMISE
    return [
        one for one in passages
        if one.state in LEFT and since < one.as_of and _stood(row, one) and Case.from_json(one.kind).marketing
        and (row.scope != "purpose" or row.purpose in (None, one.kind.get("purpose")))
    ]  # fmt: skip


def _stood(row: SuppressionRow, one: Passage) -> bool:
    """Whether a suppression was not lifted yet for a mail: whole, or by a consent given anew for its purpose."""
    return all(one.as_of < at for at in (row.lifted_at, dict(row.lifted_for).get(one.kind.get("purpose") or "")) if at)


async def _every(page_of: Callable[..., Awaitable[Sequence[Passage]]]) -> AsyncIterator[Passage]:
    """All passages that one of the store's calls gives page by page."""
    after: Place = (b"", 0)
    while page := await page_of(after=after, n=PAGE):
        for one in page:
            yield one
        after = (page[-1].message_id, page[-1].copy_no)


# the ledger


async def _add_ledger(
    witness: Witness, bundle: Bundle, keys: HeadKeys, shown: Sequence[ShownEntry], also: str | None = None
) -> None:
    """The entries, and for each the chain from it to the next signed head. `also`: a controller whose head is given
    although none of its entries is shown."""
    with bundle.adding("ledger.jsonl") as write:
        for one in shown:
            write(line(_entry_row(one)))
    by_owner: dict[str, list[Stored]] = {} if also is None else {also: []}
    for one in shown:
        by_owner.setdefault(one.stored.controller_id.decode(), []).append(one.stored)
    with bundle.adding("chain.jsonl") as write:
        for controller_id, entries in by_owner.items():
            heads = await _heads(witness, keys, controller_id)
            if not entries:
                write(line(prove.head_row(heads[-1])))
            for first, head in _stretches(entries, heads):
                async for piece in _stretch(witness, controller_id, first, head):
                    write(piece)


async def _heads(witness: Witness, keys: HeadKeys, controller_id: str) -> list[KeptHead]:
    """The genuine heads of a chain, oldest first, the last one of now."""
    kept = [
        one for one in await witness.store.heads(controller_id)
        if keys.genuine(one.head, one.signature, one.public_key)
    ]  # fmt: skip
    new = await prove.head(witness.store, keys, controller_id, witness.now)
    if new is None:
        raise Unprovable("the record of where the ledger ends is damaged: see what `consentgate ledger verify` says")
    return [*kept, new]


def _stretches(entries: Iterable[Stored], heads: Sequence[KeptHead]) -> list[tuple[Stored, KeptHead]]:
    """Where to begin and at which head to end: every entry lies in a stretch, and none is longer than need be."""
    found: dict[int, tuple[Stored, KeptHead]] = {}
    for entry in sorted(entries, key=lambda one: one.entry_id):
        seq = entry.seq
        if not isinstance(seq, int):
            raise Unprovable("an entry has no place in the chain: see what `consentgate ledger verify` says")
        head = next((one for one in heads if one.head.seq >= seq), None)
        if head is None:
            raise Unprovable(f"entry {seq} stands behind the end of the chain: see `consentgate ledger verify`")
        found.setdefault(head.head.seq, (entry, head))
    return list(found.values())


async def _stretch(witness: Witness, controller_id: str, first: Stored, head: KeptHead) -> AsyncIterator[bytes]:
    """Hash after hash of what the entries say, from one entry to a head. Unprovable where they do not lead there."""
    previous, seq = first.previous or b"", first.seq or 0
    yield line({"controller_id": controller_id, "first": seq, "previous": previous})
    after = (int.from_bytes(first.entry_id, "big") - 1).to_bytes(len(first.entry_id), "big")
    while seq <= head.head.seq:
        rows = await witness.store.chain_entries(controller_id, after=after, upto=b"\xff" * 17, n=PAGE)
        for row in rows[: head.head.seq - seq + 1]:
            content = content_hash(row)
            previous = link_hash(content, seq, previous)
            if previous != row.hash:
                raise Unprovable(f"entry {seq} is not what was sealed: see what `consentgate ledger verify` says")
            yield b'"%s"\n' % content.hex().encode()
            seq, after = seq + 1, row.entry_id
        witness.tell("chain", seq - (first.seq or 0), head.head.seq - (first.seq or 0) + 1)
        if not rows:
            raise Unprovable(f"entry {seq} is missing: see what `consentgate ledger verify` says")
    if previous != head.head.hash:
        raise Unprovable(f"the chain does not lead to the head of entry {head.head.seq}: see `ledger verify`")
    yield line(prove.head_row(head))


# rows


def _public(keys: HeadKeys) -> dict[str, Any]:
    return {"public_key": keys.public, "public_keys": [one.hex() for one in keys.known]}


def _entry_row(one: ShownEntry) -> dict[str, Any]:
    row = {name: prove.plain(name, value) for name, value in one.stored._asdict().items()}
    opened = None
    if one.opened is not None:
        opened = {"blind": one.opened[:BLIND_BYTES], "private": one.opened[BLIND_BYTES:].decode()}
    return {**row, "opened": opened}


def _person_rows(story: PersonStory) -> dict[str, Any]:
    standing = story.standing
    return {
        "controller": story.controller.id, "legal_name": story.controller.legal_name, "address": story.address,
        "recipient": story.recipient_key, "country": standing.country, "billing_country": standing.billing_country,
        "language": standing.language, "facts": standing.recipient.to_dict(),
        "consents": [one.to_dict() for one in standing.consents], "sales": [one.to_dict() for one in standing.sales],
        "restrictions": [one.to_dict() for one in standing.restrictions],
        "erasure_requests": [one.to_dict() for one in standing.erasure_requests],
        "recorded": [
            {"seq": one.stored.seq, "kind": one.stored.kind.decode(), **_fields(one)} for one in story.entries
        ],
    }  # fmt: skip


def _fields(one: ShownEntry) -> dict[str, Any]:
    private = json.loads(one.opened[BLIND_BYTES:]) if one.opened is not None else {}
    return {"said": {**json.loads(one.stored.public), **private}}


def _stop_row(row: SuppressionRow, late: Sequence[Passage]) -> dict[str, Any]:
    return {
        "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "channel": row.source, "at": row.at,
        "lifted_at": row.lifted_at, "lifted_for": dict(row.lifted_for), "suppression_id": row.suppression_id,
        "marketing_after": [one.message_id for one in late],
    }  # fmt: skip


def _passage_row(one: Passage) -> dict[str, Any]:
    return {
        "message_id": one.message_id, "copy_no": one.copy_no, "recipient": one.recipient_key,
        **({"address": one.address} if one.address is not None else {}), "accepted_at": one.accepted_at,
        "stream": one.stream, "campaign": one.campaign, "mode": one.mode, "subject": one.subject,
        "message_sha256": one.digest, "message_bytes": one.size, "kind": one.kind, "decision": one.verdict,
        "reason_code": one.reason_code, "accept_code": one.accept_code, "cite": one.cite, "trace": one.trace,
        "packs": one.packs, "basis": one.basis, "as_of": one.as_of, "state": one.state, "ended_at": one.ended_at,
        "reply": one.reply,
    }  # fmt: skip
