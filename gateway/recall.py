"""Who somebody was at an instant, from the ledger; and a decision of then, weighed again. Reads only.

A person's entries are counted in order up to the instant: that gives the standing and the suppressions of then, the
same value as the store gives of now. What was erased is gone, and is said to be gone. A decision is weighed again with
the facts of then about the person, and with the settings and packs handed in: of settings no past is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.config import Config
from gateway.store.contract import Person, Ruling, Store, Who
from gateway.store.history import Decided, History, Owned
from gateway.store.rulings import SimilarRuling
from gateway.weigh import Case, Scales
from gateway.who import whose
from suppression import standing
from suppression.address import canonical
from suppression.facts import Facts, FactsError, Suppression
from suppression.history import Listed, amount, suppression, with_hash_list
from suppression.similarity import Ruled, ruled
from suppression.vault import KeyRing

BATCH = 500
"""People recalled in one go: what a caller with many of them should ask for at a time, so that memory stays flat."""

_NOBODY = standing.read({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Nobody can say any more: the person was erased, and with their key what was known of them before."""

    controller_id: str
    recipient_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedAgain:
    """A stored decision, and what the law says on the facts of then.

    `ruling`, `facts` None where that cannot be said: the person is gone, or the settings know the stream no more.
    `person` None: the address is none.
    """

    decided: Decided
    person: Person | Gone | None
    facts: Facts | None
    ruling: Ruling | None
    address: str | None

    @property
    def agrees(self) -> bool:
        """Whether the same facts give the same answer still: what is said of `facts` then explains `decided`."""
        return self.ruling is not None and self.ruling.decision.reason_code == self.decided.reason_code


def lookup(ring: KeyRing, controller_id: str, recipient_key: bytes | None, address: str | None) -> Who:
    """How somebody is looked up who is known by key, by address, or by both; the key comes first."""
    return whose(ring, controller_id, canonical(address) if address is not None else None, recipient_key)


async def as_of(store: Store, wanted: Sequence[tuple[Who, datetime]]) -> list[Person | Gone]:
    """Each person as of an instant (aware UTC), as the store would have given them then. At most BATCH at a time."""
    people = list(dict.fromkeys(who for who, _ in wanted))
    histories = dict(zip(people, await store.histories(people), strict=True))
    rulings = {controller_id: await store.rulings(controller_id) for controller_id in {w.controller_id for w in people}}
    return [person_at(histories[who], at, rulings[who.controller_id]) for who, at in wanted]


def person_at(history: History, at: datetime, rulings: Sequence[SimilarRuling] = ()) -> Person | Gone:
    """The person of a history as of an instant (aware UTC).

    `seen` and `addressed` are of now; `version` counts the entries that could be known then.
    """
    upto = int(at.timestamp() * 1000)
    places = (history.own, *history.elsewhere)
    if any(row.reason == "erasure" and row.at > upto for place in places for row in _untold(place).values()):
        return Gone(controller_id=history.controller_id, recipient_key=history.recipient_key)
    readable = not history.sealed and all(entry.known_at > upto for entry in history.unreadable)
    suppressions: list[Suppression] = []
    stands = _NOBODY
    for place in places:
        try:
            counted = amount(place.entries, upto)
        except (ValueError, KeyError, TypeError):
            readable = False
            continue
        rows = [*counted.suppressions.values(), *(row for row in _untold(place).values() if row.at <= upto)]
        suppressions += [suppression(row, place.controller_id) for row in rows]
        if place is history.own:
            try:
                stands = standing.read(counted.document)
            except (FactsError, ValueError, KeyError, TypeError):
                readable = False
    since = history.hashed_since if history.hashed_since is not None and history.hashed_since <= upto else None
    stops, by_hash = with_hash_list(tuple(suppressions), history.controller_id, since)
    return Person(
        controller_id=history.controller_id, recipient_key=history.recipient_key, seen=history.seen,
        addressed=history.addressed, readable=readable, version=sum(e.known_at <= upto for e in history.own.entries),
        standing=stands, suppressions=stops, by_hash=by_hash, ruled=ruled_at(rulings, at),
    )  # fmt: skip


def _untold(place: Owned) -> Mapping[bytes, Listed]:
    """What the list has and no readable entry tells: an erasure's own row, and opt-outs from before one."""
    told = {entry.fields.get("ref") for entry in place.entries if entry.kind == "suppression"}
    return {ref: row for ref, row in place.listed.items() if ref.hex() not in told}


async def decided(store: Store, controller_id: str, message_id: bytes, copy_no: int) -> Decided | None:
    """The decision on one copy as it is stored; None where there is none."""
    return await store.decided(controller_id, message_id, copy_no)


async def weighed_again(
    store: Store, config: Config, scales: Scales, ring: KeyRing, decisions: Sequence[Decided]
) -> list[WeighedAgain]:
    """Decisions of one controller, each weighed again on the facts of its own instant. At most BATCH at a time."""
    if not decisions:
        return []
    controller_id = decisions[0].controller_id
    addresses = await store.addresses(controller_id, [one.recipient_key for one in decisions])
    whos = [lookup(ring, controller_id, one.recipient_key, addresses.get(one.recipient_key)) for one in decisions]
    asked = list(dict.fromkeys(whos))
    histories = dict(zip(asked, await store.histories(asked), strict=True))
    rulings = await store.rulings(controller_id)
    return [
        _again(config, scales, one, histories[who], addresses.get(one.recipient_key), rulings)
        for one, who in zip(decisions, whos, strict=True)
    ]


def case_of(one: Decided) -> Case | None:
    """What the message was for the law; None where it was written down in a way that this version cannot read."""
    try:
        return Case.from_json(one.kind)
    except (KeyError, TypeError, ValueError):
        return None


def ruled_at(rulings: Sequence[SimilarRuling], at: datetime) -> Ruled:
    """What stood ruled about similar products at an instant."""
    return ruled((one.first, one.other, one.similar) for one in rulings if one.state == "in force" and one.at <= at)


def _again(
    config: Config, scales: Scales, one: Decided, history: History, address: str | None,
    rulings: Sequence[SimilarRuling],
) -> WeighedAgain:  # fmt: skip
    person: Person | Gone | None
    if not history.seen and not history.own.listed:  # a copy always made somebody known: they were erased since
        person = Gone(controller_id=one.controller_id, recipient_key=one.recipient_key)
    else:
        person = person_at(history, one.as_of, rulings)
    if address is not None and canonical(address) is None:
        person = None
    found, case = config.stream_of(one.controller_id, one.stream), case_of(one)
    if found is None or case is None or isinstance(person, Gone):
        return WeighedAgain(decided=one, person=person, facts=None, ruling=None, address=address)
    facts, source = scales.gather(case, *found)(person, one.as_of)
    ruling = scales.rule(found[1], facts, source, person)
    return WeighedAgain(decided=one, person=person, facts=facts, ruling=ruling, address=address)
