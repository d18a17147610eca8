"""People, their standing and what is written about them. Functions of a database thread's handles."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import aiosql

from gateway.store import by_hash, ruled
from gateway.store.ahead import new_id, profile_row, standing_row
from gateway.store.columns import instant, lifted_purposes, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, Person, Who
from gateway.store.evidence import Note
from gateway.store.history import Profile
from gateway.store.keys import Keys, opened, sealed
from gateway.store.sealing import last_entry_id
from suppression import ledger, standing
from suppression.chain import following
from suppression.facts import FactsError, Suppression
from suppression.history import with_hash_list
from suppression.similarity import Ruled
from suppression.vault import SECRET_BYTES, PersonSecret, Unreadable, unseal

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "people.sql"), "sqlite3")
EVERYWHERE = ""
"""The controller_id of suppressions with global scope; their recipient keys come from a derivation of their own."""

_NOBODY = standing.read({})


def people(handles: Handles, wanted: Sequence[Who]) -> list[Person]:
    """What is known of each, read in one transaction, with a few statements for all of them."""
    handles.db.execute("BEGIN")
    try:
        known = {
            controller_id: _known(handles, controller_id, [who for who in wanted if who.controller_id == controller_id])
            for controller_id in {who.controller_id for who in wanted}
        }
        return [_person(handles, known[who.controller_id], who) for who in wanted]
    finally:
        handles.db.execute("COMMIT")


class _Known(NamedTuple):
    """What stands of some people of one controller, by recipient key; standings as version and sealed facts."""

    wrapped: dict[bytes, bytes]
    standings: dict[bytes, tuple[int, bytes]]
    addressed: set[bytes]
    suppressions: dict[bytes, list[Suppression]]
    hashed: Mapping[str, int]
    ruled: Ruled


def _known(handles: Handles, controller_id: str, whos: Sequence[Who]) -> _Known:
    own = list(dict.fromkeys(key for who in whos for key in who.recipient_keys))  # several may ask about one person
    everywhere = dict.fromkeys(key for who in whos for key in who.global_keys)
    rows = [(controller_id, key) for key in own] + [(EVERYWHERE, key) for key in everywhere]
    hashed = by_hash.listed(handles, controller_id, whos)
    known = _Known(
        handles.keys.wrapped(controller_id, own), {}, set(), {}, hashed, ruled.standing(handles, controller_id)
    )
    for what, key, *columns in handles.db.of_rows(SQL.known_of_many.sql, rows):
        if what == "standing":
            known.standings[key] = (columns[0], columns[1])
        elif what == "profile":
            known.addressed.add(key)
        else:
            at, _, lifted_at, scope, purpose, reason, owner, lifted_for, source = columns
            known.suppressions.setdefault(key, []).append(Suppression(
                scope=scope, controller_id=owner or None, purpose=purpose, reason=reason, at=instant(at),
                lifted_at=None if lifted_at is None else instant(lifted_at),
                lifted_for=lifted_purposes(lifted_for), source=source,
            ))  # fmt: skip
    return known


def _person(handles: Handles, known: _Known, who: Who) -> Person:
    """One person. More than one live key id: rows may stand under an older key; suppressions of all of them count."""
    controller_id = who.controller_id
    suppressions = tuple(s for key in (*who.recipient_keys, *who.global_keys) for s in known.suppressions.get(key, ()))
    suppressions, by_hash = with_hash_list(suppressions, controller_id, known.hashed.get(who.address or ""))
    found = next((key for key in who.recipient_keys if key in known.wrapped), None)
    version, stands, readable = 0, _NOBODY, True
    recipient_key = found or (_tombstone(handles, who) if suppressions else who.recipient_keys[0])
    if found is not None:
        if found in known.standings:
            version, facts = known.standings[found]
            try:
                stands = _standing(handles.keys, known.wrapped[found], facts, controller_id, found)
            except (FactsError, Unreadable, ValueError, KeyError, TypeError):
                readable = False
    else:  # what is known of them cannot be read without their key, which is not to know nothing
        readable = not any(key in known.standings for key in who.recipient_keys)
    return Person(
        controller_id=controller_id, recipient_key=recipient_key, seen=found is not None,
        addressed=found in known.addressed, version=version, readable=readable, standing=stands,
        suppressions=suppressions, by_hash=by_hash, ruled=known.ruled,
    )  # fmt: skip


def _tombstone(handles: Handles, who: Who) -> bytes:
    """The key under which somebody was erased, be it an older one; the newest for whoever was not."""
    return next((key for key in who.recipient_keys if erased(handles, who.controller_id, key)), who.recipient_keys[0])


@lru_cache(maxsize=1024)
def _standing(keys: Keys, wrapped: bytes, facts: bytes, controller_id: str, recipient_key: bytes) -> standing.Standing:
    """A stored standing as values. The sealed bytes are their own version: the same bytes, the same standing.

    Remembered (3.5 kB each) from the decision at acceptance to the one at hand-over, for as many copies as lanes keep.
    """
    secret = keys.unwrapped(controller_id, recipient_key, wrapped)
    plain = opened(secret.key, facts, standing_row(controller_id, recipient_key))
    if plain is None:
        raise ValueError("a standing that does not open under its person's key")
    return standing.read(standing.load(plain))


def document(handles: Handles, secret: PersonSecret, controller_id: str, recipient_key: bytes) -> standing.Document:
    """A person's standing as it may be changed; empty where there is none. Unreadable: one that does not open.

    Not to open is not to be empty: whoever wrote over it would lift the person's restriction.
    """
    row = SQL.standing(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    if row is None:
        return {}
    try:
        return standing.load(unseal(secret.key, row[1], standing_row(controller_id, recipient_key)))
    except ValueError as wrong:
        raise Unreadable("a standing that makes no sense") from wrong


class Said(NamedTuple):
    """One entry about a person as it is stored, and the secret it was written under."""

    entry: ledger.Entry
    secret: PersonSecret

    def fields(self) -> dict[str, Any]:
        """Public and private fields. Unreadable or ValueError where they cannot be read."""
        if self.entry.private is None and self.entry.commitment is not None:
            raise Unreadable("private fields are gone")
        return {**json.loads(self.entry.public), **ledger.read_private(self.entry, self.secret)}


def entries_of(handles: Handles, controller_id: str, recipient_key: bytes, secret: PersonSecret) -> list[Said]:
    """A person's entries in order of writing, those among them that were written while the key was lost.

    Unreadable where what stood in for the key does not open: which entries these are nobody can tell then.
    """
    found = entries_under(handles, controller_id, recipient_key, secret)
    instead = handles.keys.stand_in(controller_id, recipient_key)
    if instead is None:
        return found
    found += entries_under(handles, controller_id, recipient_key, instead)
    return sorted(found, key=lambda said: said.entry.entry_id)


def entries_under(handles: Handles, controller_id: str, recipient_key: bytes, secret: PersonSecret) -> list[Said]:
    """Those of a person's entries that were written under this secret, in order of writing."""
    return [
        Said(
            ledger.Entry(
                controller_id=controller_id, entry_id=entry_id, at=at, kind=kind, subject=b"", public=public.encode(),
                private=private, commitment=commitment,
            ),
            secret,
        )
        for entry_id, at, kind, public, private, commitment in SQL.entries_of(
            handles.db, controller_id=controller_id, subject=secret.subject(recipient_key)
        )
    ]  # fmt: skip


def see(
    handles: Handles, controller_id: str, recipient_key: bytes, address: str, at: int, *, addressed: bool = False
) -> PersonSecret:
    """The secret of a person who is mailed or blocked: a row and a key are made for whoever is seen first.

    `addressed`: the caller has seen that row.
    Nothing is kept of whoever was erased: the secret is then one that nobody has, so that what is sealed is gone.
    """
    held = _secret(handles, controller_id, recipient_key)
    if held is None:
        return PersonSecret(os.urandom(SECRET_BYTES))
    if held.lost:
        return held.secret
    place = {"controller_id": controller_id, "recipient_key": recipient_key}
    if held.new or not (addressed or SQL.profile(handles.db, **place)):
        if not held.new and erased(handles, controller_id, recipient_key):
            return held.secret  # being erased just now: the key goes next, and nobody would take the row away
        plain = ledger.encode({"address": address})
        profile = sealed(held.secret.key, plain, profile_row(controller_id, recipient_key))
        SQL.put_profile(handles.db, **place, profile=profile, first_seen=at)  # one under a key that is gone is nobody's
    return held.secret


def erased(handles: Handles, controller_id: str, recipient_key: bytes) -> bool:
    """Whether a person was erased and has not come back since (RULES.md 6.4)."""
    return bool(SQL.erased(handles.db, controller_id=controller_id, recipient_key=recipient_key))


class _Held(NamedTuple):
    """The secret to write under. `new`: made now. `lost`: it stands in for one that cannot be read (keys.py)."""

    secret: PersonSecret
    new: bool
    lost: bool


def _secret(handles: Handles, controller_id: str, recipient_key: bytes) -> _Held | None:
    """A person's secret, made for whoever has none; None for whoever was erased.

    No new one for whoever had one: what is sealed under it would be lost for good, a restriction too.
    """
    place = {"controller_id": controller_id, "recipient_key": recipient_key}
    try:
        known = handles.keys.person(controller_id, recipient_key)
        lost = known is None and SQL.standing(handles.db, **place) is not None
    except Unreadable:
        known, lost = None, True
    if known is not None:
        return _Held(known, new=False, lost=False)
    if erased(handles, controller_id, recipient_key):
        return None
    if lost:
        return _Held(handles.keys.make_stand_in(controller_id, recipient_key), new=False, lost=True)
    return _Held(*handles.keys.make_person(controller_id, recipient_key), lost=False)


def record(handles: Handles, acts: Sequence[Act]) -> list[bool]:
    """Write acts to the ledger and apply them. False for one that changes nothing: it is not written again.

    Nor is one about a person who was erased.
    """
    return [_act(handles, act) for act in acts]


def note(handles: Handles, notes: Sequence[Note]) -> None:
    """Write entries about no person, each under the controller's own secret, which is made where there is none."""
    for one in notes:
        if one.kind not in ledger.CONTROLLER_KINDS:
            raise ValueError(f"an entry of kind {one.kind} is about a person")
        add_entry(handles, ledger.write(
            controller_id=one.controller_id, entry_id=entry_id(handles, one.controller_id), at=milliseconds(one.at),
            kind=one.kind, person=handles.keys.make_controller(one.controller_id), recipient_key=b"",
            public=one.public, private=one.private, random=os.urandom(ledger.RANDOM_BYTES),
        ))  # fmt: skip


def add_entry(handles: Handles, entry: ledger.Entry) -> None:
    """Write one entry, unsealed."""
    SQL.add_entry(
        handles.db, controller_id=entry.controller_id, entry_id=entry.entry_id, at=entry.at, kind=entry.kind,
        subject=entry.subject, public=entry.public.decode(), private=entry.private, commitment=entry.commitment,
    )  # fmt: skip


def entry_id(handles: Handles, controller_id: str) -> bytes:
    """The id of the next entry: ids of one controller grow in the order of writing, whatever the clock does."""
    return following(last_entry_id(handles, controller_id), new_id())


def _act(handles: Handles, act: Act) -> bool:
    if act.kind in ledger.CONTROLLER_KINDS:
        raise ValueError(f"an entry of kind {act.kind} is about no person")
    at = milliseconds(act.at)
    held = _secret(handles, act.controller_id, act.recipient_key)
    if held is None:
        return False
    if act.address is not None:
        see(handles, act.controller_id, act.recipient_key, act.address, at)
    if act.profile and not held.lost:
        _file(handles, held.secret, act)
    before = after = None
    if not held.lost:
        with contextlib.suppress(Unreadable):
            before = document(handles, held.secret, act.controller_id, act.recipient_key)
            after = standing.apply(before, act.kind, {**act.public, **(act.private or {})})
    if before is not None and after == before and act.kind not in ledger.ALWAYS_WRITTEN:
        return False
    # Of a standing that does not open the ledger alone keeps what is said: it is counted when the key is back
    # (`ledger rebuild`), and until then every decision about the person is put off.
    entry = ledger.write(
        controller_id=act.controller_id, entry_id=entry_id(handles, act.controller_id), at=at, kind=act.kind,
        person=held.secret, recipient_key=act.recipient_key, public=act.public, private=act.private,
        random=os.urandom(ledger.RANDOM_BYTES),
    )  # fmt: skip
    add_entry(handles, entry)
    if after is not None and after != before:
        put_standing(handles, held.secret, act.controller_id, act.recipient_key, after)
    return True


def _file(handles: Handles, secret: PersonSecret, act: Act) -> None:
    """Correct name and external id. A profile that does not open is left alone."""
    place = {"controller_id": act.controller_id, "recipient_key": act.recipient_key}
    bound = profile_row(act.controller_id, act.recipient_key)
    row = SQL.profile(handles.db, **place)
    if row is None:
        return
    said = {**json.loads(unseal(secret.key, row[0], bound)), **act.profile}
    plain = ledger.encode({name: value for name, value in said.items() if value is not None})
    SQL.put_profile(
        handles.db, **place, profile=sealed(secret.key, plain, bound), first_seen=milliseconds(act.at)
    )  # fmt: skip


def put_standing(
    handles: Handles, secret: PersonSecret, controller_id: str, recipient_key: bytes, after: Mapping[str, Any]
) -> None:
    """Store the next version of a standing."""
    facts = sealed(secret.key, standing.dump(dict(after)), standing_row(controller_id, recipient_key))
    SQL.put_standing(handles.db, controller_id=controller_id, recipient_key=recipient_key, facts=facts)


def address(handles: Handles, controller_id: str, recipient_key: bytes) -> str | None:
    """A person's address; None for whoever was erased or never seen."""
    known = profile(handles, controller_id, recipient_key)
    return None if known is None else str(known.said.get("address"))


def profile(handles: Handles, controller_id: str, recipient_key: bytes) -> Profile | None:
    """A person's address, name and external id; None for whoever was erased or never seen."""
    secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
    if secret is None:
        return None
    row = SQL.profile(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    plain = opened(secret.key, row[0] if row else None, profile_row(controller_id, recipient_key))
    return None if plain is None else Profile(said=standing.load(plain), first_seen=instant(row[1]))
