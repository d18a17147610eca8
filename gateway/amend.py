"""A person's record is put right at their request: restricted, released, corrected, moved to another address.

Restriction is GDPR art. 18 (RULES.md A6), correction art. 16 (RULES.md 6.1). Each is an entry in the ledger, committed
before anyone is told, and in force at the next decision and at hand-over within a second. No correction loses an
opt-out: opt-outs of an old address stay with it and hold for the new one too.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import uuid_utils

from gateway import record
from gateway.files.cell import BadCell
from gateway.files.native import PERSON, PROFILE
from gateway.store.contract import Act, Person, Store, SuppressionRow
from gateway.store.corresponding import OwedLetter
from gateway.who import whose
from suppression import ledger
from suppression.fields import written
from suppression.history import amount
from suppression.restriction import RestrictionScope
from suppression.standing import Document
from suppression.suppression_list import in_force
from suppression.vault import KeyRing

CORRECTED: Final = (*PROFILE, "language", "country", "billing_country", "birth_date", "kind", "address_kind")
"""What a person can have corrected besides the address; records of consent and sale are corrected under their ids."""
MOVED: Final = "rectification"
"""The source of suppressions that follow from a corrected address."""


TO_ANSWER: Final = timedelta(days=1)
"""How long before a restriction ends the person hears of it at least."""


class Refusal(Exception):
    """It cannot be done, and why; without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """A restriction as it stands. `already`: the same one was in force before."""

    scope: str
    purpose: str | None
    since: str
    already: bool


async def restrict(
    store: Store, ring: KeyRing, controller_id: str, plain: str, *, scope: RestrictionScope, purpose: str | None,
    reason: str, by: str, now: datetime,
) -> Restricted:  # fmt: skip
    """Store only, nothing else, until it is lifted (GDPR art. 18). `plain`: the normalised address.

    Also for somebody whose record cannot be read now: it is kept, and decisions about them are put off meanwhile.
    """
    person, document = await _on_file(store, ring, controller_id, plain)
    if person.readable:
        for one in _in_force(document):
            if (one["scope"], one["purpose"]) == (scope, purpose):
                return Restricted(scope=scope, purpose=purpose, since=one["from"], already=True)
    since = written(_second(now))
    public = {
        "ref": _ref(), "controller_id": controller_id, "scope": scope, "purpose": purpose, "from": since, "by": by,
    }  # fmt: skip
    await _record(store, [_act(person, "restriction", public, {"reason": reason}, now, address=plain)])
    return Restricted(scope=scope, purpose=purpose, since=since, already=False)


async def announce(
    store: Store, ring: KeyRing, controller_id: str, plain: str, *, scope: RestrictionScope | None,
    purpose: str | None, not_before: datetime, now: datetime,
) -> list[Restricted]:  # fmt: skip
    """Have the person told by letter that restrictions will end, and not before when (art. 18(3)). Which ones.

    Raises Refusal where nothing is in force, or the day leaves no time to answer.
    """
    person, document = await _on_file(store, ring, controller_id, plain)
    _must_open(person)
    if not_before < now + TO_ANSWER:
        raise Refusal("the person needs time to answer: leave them a day at least")
    ending = _ending(document, scope, purpose)
    refs = {one["ref"] for one in ending}
    for known in await store.letters_to(controller_id, person.recipient_key):
        same = known.kind == "restriction_ends" and {one["ref"] for one in known.about["restrictions"]} == refs
        if same and known.written_at is None and known.due_at > now - TO_ANSWER:
            raise Refusal("such a letter is being written")
    about = {
        "restrictions": [{name: one[name] for name in ("ref", "scope", "purpose", "from")} for one in ending],
        "not_before": written(_second(not_before)),
    }  # fmt: skip
    await store.owe(OwedLetter(
        controller_id=controller_id, letter_id=uuid_utils.uuid7().bytes, kind="restriction_ends",
        recipient_key=person.recipient_key, due_at=now, about=about,
    ))  # fmt: skip
    return _as_they_stand(ending)


async def lift(
    store: Store, ring: KeyRing, controller_id: str, plain: str, *, scope: RestrictionScope | None,
    purpose: str | None, reason: str, told_at: datetime | None, by: str, now: datetime,
) -> list[Restricted]:  # fmt: skip
    """End restrictions: those of a scope and purpose, or all. The person was told at `told_at`, before (art. 18(3));
    None: by the letter that the ledger has.

    Raises Refusal where nothing is in force, or where the person was not told after the restriction began.
    """
    person, document = await _on_file(store, ring, controller_id, plain)
    _must_open(person)
    ending = _ending(document, scope, purpose)
    if told_at is None:
        told_at = await _told_by_letter(store, ring, controller_id, plain, {one["ref"] for one in ending}, now)
    if told_at > now:
        raise Refusal("the person has to be told before the restriction is lifted (GDPR art. 18(3)), not after")
    if any(told_at < datetime.fromisoformat(one["from"]) for one in ending):
        raise Refusal("the person was told before the restriction began; tell them that it ends (GDPR art. 18(3))")
    at = written(_second(now))
    acts = [
        _act(
            person, "restriction_lifted", {"ref": one["ref"], "at": at, "told_at": written(told_at), "by": by},
            {"reason": reason}, now,
        )
        for one in ending
    ]  # fmt: skip
    await _record(store, acts)
    return _as_they_stand(ending)


def _ending(document: Document, scope: RestrictionScope | None, purpose: str | None) -> list[dict[str, Any]]:
    """The restrictions in force that are meant; Refusal where there is none."""
    ending = [
        one for one in _in_force(document)
        if (scope is None or one["scope"] == scope) and (purpose is None or one["purpose"] == purpose)
    ]  # fmt: skip
    if not ending:
        raise Refusal("no such restriction is in force")
    return ending


def _as_they_stand(restrictions: list[dict[str, Any]]) -> list[Restricted]:
    return [Restricted(scope=x["scope"], purpose=x["purpose"], since=x["from"], already=False) for x in restrictions]


async def _told_by_letter(
    store: Store, ring: KeyRing, controller_id: str, plain: str, refs: set[str], now: datetime
) -> datetime:
    """When a letter that names all of these went to the queue; Refusal where none did, or its day has not come."""
    who = whose(ring, controller_id, plain)
    [history] = await store.histories([who])
    told = [
        one for one in history.own.entries
        if one.kind == "notice_queued" and one.fields["notice"] == "restriction_ends"
        and refs <= set(one.fields["refs"])
    ]  # fmt: skip
    if not told:
        raise Refusal(
            "the person has to be told before (GDPR art. 18(3)): say when with --told-at, or have it told by "
            "`consentgate person announce`"
        )
    day = told[-1].fields["not_before"]
    if now < datetime.fromisoformat(day):
        raise Refusal(f"the person was told that it does not end before {day}")
    return told[-1].when


async def rectify(
    store: Store, ring: KeyRing, controller_id: str, plain: str, said: Mapping[str, str], *, by: str, now: datetime
) -> list[str]:
    """Correct or complete facts about a person; the names of those that changed. An empty text: not known any more.

    What stood before is kept as a hash only. Raises Refusal where a value cannot be read.
    """
    right = {name: _value(name, text) for name, text in said.items()}
    person, document = await _on_file(store, ring, controller_id, plain)
    _must_open(person)
    profile = await store.profile(controller_id, person.recipient_key)
    if profile is None:
        raise Refusal("nobody with this address is on file")
    stood = {**document.get("recipient", {}), **document, **profile.said}
    changed = {name: value for name, value in right.items() if stood.get(name) != value}
    if not changed:
        return []
    was = {name: _hash(stood[name]) for name in changed if stood.get(name) is not None}
    act = _act(person, "rectification", {"by": by}, {"changed": changed, "was": was}, now)
    named = {name: value for name, value in changed.items() if name in PROFILE}
    await _record(store, [replace(act, profile=named)])
    return sorted(changed)


async def move(
    store: Store, ring: KeyRing, controller_id: str, old: str, new: str, *, by: str, now: datetime
) -> dict[str, int]:
    """Correct a person's address: what is on file under the old one is on file under the new one; how many of what.

    The old address gets no marketing any more. Each step can be taken again after a crash, and none opens a way before
    those that close one. A confirmation proves a mailbox, so it does not move with its consent.
    """
    person, document = await _on_file(store, ring, controller_id, old)
    _must_open(person)
    profile = await store.profile(controller_id, person.recipient_key)
    if profile is None:
        raise Refusal("nobody with the old address is on file")
    other, others = await _on_file(store, ring, controller_id, new)
    _must_open(other)
    if any(others.get(name) for name in ("consents", "sales", "recipient", "restrictions", "erasure_requests")):
        raise Refusal("somebody is on file under the new address: erase one of the two, or import what is right")
    stop = _stop(controller_id, person.recipient_key, now)
    keys = ring.recipient_keys(controller_id, old)
    stops = [row for key in keys for row in await store.suppressions_of(controller_id, key)]
    everywhere = [row for key in ring.global_keys(old) for row in await store.suppressions_of("", key)]
    await store.opt_out(record.opt_out_acts(stop), stop, None)
    moved = 0
    for row, key in [
        *((row, other.recipient_key) for row in stops), *((row, ring.global_keys(new)[0]) for row in everywhere),
    ]:  # fmt: skip
        if row.source != MOVED and in_force(row.at, row.lifted_at, now):
            copied = replace(row, recipient_key=key, suppression_id=uuid_utils.uuid7().bytes, source=MOVED)
            await store.opt_out(record.opt_out_acts(copied), copied, None)
            moved += 1
    note = {"changed": {"email": new}, "was": {"email": _hash(old)}}
    named = {name: value for name, value in profile.said.items() if name in PROFILE}
    first = _act(other, "rectification", {"by": by}, note, now, address=new)
    acts = [replace(first, profile=named), *_again(document, other, now)]
    await _record(
        store, [*acts, _act(person, "rectification", {"by": by}, {"changed": {"email": new}, "was": {}}, now)]
    )
    return {
        "opt_outs": moved, "consents": len(document.get("consents", ())), "sales": len(document.get("sales", ())),
        "restrictions": sum(1 for _ in _in_force(document)),
    }  # fmt: skip


def _again(document: Document, person: Person, now: datetime) -> Iterator[Act]:
    """The entries that make the same standing for another address, what closes ways first."""
    for one in _in_force(document):
        yield _act(person, "restriction", {**one, "ref": _ref()}, None, now)
    for request in document.get("erasure_requests", ()):
        yield _act(person, "erasure_request", {**request, "ref": _ref()}, None, now)
    for withdrawal in document.get("withdrawals", ()):
        yield _act(person, "withdrawal", dict(withdrawal), None, now)
    facts = {**document.get("recipient", {}), **{k: document[k] for k in _DECLARED if document.get(k)}}
    if facts:
        yield _act(person, "person", {}, facts, now)
    for consent in document.get("consents", ()):
        unconfirmed = {**consent, "double_opt_in": {**consent["double_opt_in"], "confirmed_at": None}}
        yield _act(person, "consent", {}, unconfirmed, now)
    for sale in document.get("sales", ()):
        yield _act(person, "sale", {}, sale, now)
    for at in document.get("mailed", ()):
        yield _act(person, "mailed", {"at": at}, None, now)


_DECLARED: Final = ("country", "billing_country", "language")


def _stop(controller_id: str, recipient_key: bytes, now: datetime) -> SuppressionRow:
    return SuppressionRow(
        controller_id=controller_id, recipient_key=recipient_key, suppression_id=uuid_utils.uuid7().bytes,
        scope="sender", purpose=None, reason="admin", source=MOVED, at=_second(now), lifted_at=None,
    )  # fmt: skip


async def _on_file(store: Store, ring: KeyRing, controller_id: str, plain: str) -> tuple[Person, Document]:
    """A person and what their entries amount to. Refusal for whoever was erased: nothing is kept about them."""
    who = whose(ring, controller_id, plain)
    [person], [history] = await store.people([who]), await store.histories([who])
    if any(one.reason == "erasure" and one.lifted_at is None for one in person.suppressions) and not person.seen:
        raise Refusal("the person was erased; nothing is on file but that no marketing may be sent")
    return person, amount(history.own.entries).document


def _must_open(person: Person) -> None:
    if not person.readable:
        raise Refusal("what is stored of the person cannot be read now: see `consentgate ledger rebuild --check`")


def _in_force(document: Document) -> Iterator[dict[str, Any]]:
    return (one for one in document.get("restrictions", ()) if one["lifted_at"] is None)


async def _record(store: Store, acts: list[Act]) -> None:
    done = await store.record(acts)
    if not done[0]:
        raise Refusal("nothing was changed: the person was erased meanwhile")


def _act(
    person: Person, kind: str, public: Mapping[str, Any], private: Mapping[str, Any] | None, now: datetime, *,
    address: str | None = None,
) -> Act:  # fmt: skip
    return Act(
        controller_id=person.controller_id, recipient_key=person.recipient_key, kind=kind, public=public,
        private=private, at=now, address=address,
    )  # fmt: skip


def _value(name: str, text: str) -> Any:
    if not text.strip():
        return None
    try:
        return PERSON[name].read(text.strip())
    except BadCell as bad:
        raise Refusal(f"{name}: {bad}") from None


def _hash(value: object) -> str:
    return hashlib.sha256(ledger.encode({"was": value})).hexdigest()


def _second(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)


def _ref() -> str:
    return uuid_utils.uuid7().bytes.hex()
