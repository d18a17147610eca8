"""Many statements at once: what `consentgate import` writes, a batch per transaction.

The same rows in the same tables as people.record and suppressions.add make one at a time; here the look-ups and
inserts of a batch are gathered, and a person who is met twice is read once. Looking without writing (`dry`) runs on a
reading connection and returns the same answers. What is to be sealed for people who are new is sealed before the
transaction begins (`prepare`), so that others wait for the database as briefly as can be.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from gateway.store import newcomers, sealing
from gateway.store.ahead import Encoded, Fresh, Random, first_row, new_id, new_secret, profile_row, standing_row
from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Statement, Stop, SuppressionRow, Taken, Who
from gateway.store.keys import of_neighbours, opened, sealed
from gateway.store.people import EVERYWHERE, SQL
from gateway.store.sealed_rows import SealedBatch
from gateway.store.sealing import last_entry_id
from gateway.store.suppressions import suppression_row
from suppression import ledger, standing
from suppression.chain import Stored, following
from suppression.consent import Consent
from suppression.evidence import outweighs
from suppression.fields import FactsError
from suppression.suppression_list import in_force
from suppression.vault import PersonSecret

Prepared = Mapping[bytes, Fresh]
"""By the newest recipient key."""
NONE_PREPARED: Final[Prepared] = {}
_NEW: Final = Taken("kept", new_person=True, stopped=False)


def unknown(handles: Handles, statements: Sequence[Statement]) -> set[bytes]:
    """The recipient keys of those nobody has a secret for. Only a guess at what will be when they are written."""
    keys = {key for statement in statements for key in statement.who.recipient_keys}
    known = handles.keys.wrapped(statements[0].who.controller_id, list(keys), neighbours=True)
    return {who[0] for who in (one.who.recipient_keys for one in statements) if known.keys().isdisjoint(who)}


def prepare(statements: Sequence[Statement], new: Collection[bytes]) -> Prepared:
    """Seal the first row of each person who is probably new. Without a database: nothing waits meanwhile."""
    random = Random()
    made: dict[bytes, Fresh] = {}
    for statement in statements:
        who = statement.who
        place = who.recipient_keys[0]
        if place not in new or place in made:
            continue
        kind, fields = statement.entries[0]
        plain = statement.encoded[0] if statement.encoded else ledger.encode(fields)
        made[place] = first_row(
            who.controller_id, place, statement.address, statement.profile, kind, plain,
            alone=len(statement.entries) == 1, random=random,
        )  # fmt: skip
    return made


def take_in(
    handles: Handles, statements: Sequence[Statement], at: datetime, dry: bool, prepared: Prepared = NONE_PREPARED
) -> list[Taken]:
    """Take in consents, sales and facts about people. Rows of erased people change nothing (RULES.md 6.4)."""
    if not dry:
        handles.db.let_log_grow()
    batch = _Batch(handles, at, prepared)
    batch.read([statement.who for statement in statements])
    taken = [_state(batch, statement) for statement in statements]
    if not dry:
        batch.write()
    return taken


def take_in_sealed(handles: Handles, batch: SealedBatch, at: datetime) -> list[Taken]:
    """The same for rows that came sealed: as they are where everybody among them is new."""
    handles.db.let_log_grow()
    if newcomers.take_in(handles, batch, at):
        return [_NEW] * len(batch.rows.keys)
    statements = batch.statements()
    prepared: dict[bytes, Fresh] = {}
    for one in statements:
        if one.fresh is not None:
            prepared.setdefault(one.who.recipient_keys[0], one.fresh)  # of rows of one person the first counts
    return take_in(handles, statements, at, dry=False, prepared=prepared)


def take_in_stops(handles: Handles, stops: Sequence[Stop], at: datetime, dry: bool) -> list[Taken]:
    """Put suppressions on the list, with their ledger entries; one that stands, or stood and was lifted, is left."""
    if not dry:
        handles.db.let_log_grow()
    batch = _Batch(handles, at, NONE_PREPARED)
    for everywhere in (False, True):
        batch.read([stop.who for stop in stops if (stop.who.controller_id == EVERYWHERE) == everywhere])
    taken = [_stop(batch, stop) for stop in stops]
    if not dry:
        batch.write()
    return taken


def _state(batch: "_Batch", statement: Statement) -> Taken:
    person = batch.people[statement.who.recipient_keys[0]]
    stopped = False
    if person.suppressions:
        active = [row for row in person.suppressions if in_force(row.at, row.lifted_at, batch.at)]
        if _erased(active):
            return Taken("erased", new_person=False, stopped=True)
        purposes = statement.purposes
        stopped = any(
            row.scope != "purpose" or row.purpose is None or purposes is None or row.purpose in purposes
            for row in active
        )
    if person.unreadable:
        return Taken("unreadable", new_person=False, stopped=stopped)
    new_person, changed, outweighed = person.secret is None, False, False
    ahead = statement.fresh
    for (kind, fields), given in zip(statement.entries, statement.encoded or itertools.repeat(None), strict=False):
        plain = given or (fields.plain if isinstance(fields, Encoded) else ledger.encode(fields))
        if person.outweighs(kind, fields, plain):
            outweighed = True
        elif person.state(kind, fields, plain):
            batch.enter(person, kind, batch.encoded(statement.public), plain, ahead)
            changed = True
        ahead = None  # what was made ahead is the first entry
    changed |= batch.file(person, statement.address, statement.profile)
    if changed:
        return Taken("kept", new_person=new_person, stopped=stopped)
    return Taken("outweighed" if outweighed else "unchanged", new_person=new_person, stopped=stopped)


def _stop(batch: "_Batch", stop: Stop) -> Taken:
    person, row = batch.people[stop.who.recipient_keys[0]], stop.row
    if person.secret is None and _erased(person.suppressions):
        return Taken("erased", new_person=False, stopped=True)
    for old in person.suppressions:
        same = (old.scope, old.purpose, old.reason) == (row.scope, row.purpose, row.reason)
        if old.covers(row) or (same and old.at == row.at):
            return Taken("unchanged", new_person=False, stopped=True)
    new_person = person.secret is None
    placed = replace(row, recipient_key=person.key)
    person.suppressions.append(placed)
    batch.stops.append(placed)
    for act in stop.acts:
        if person.state(act.kind, act.public, None) or act.kind in ledger.ALWAYS_WRITTEN:
            batch.enter(person, act.kind, ledger.encode(act.public), None)
    if stop.address:
        batch.file(person, stop.address, _NOTHING_SAID)
    return Taken("kept", new_person=new_person, stopped=True)


def _erased(suppressions: Sequence[SuppressionRow]) -> bool:
    return any(row.reason == "erasure" and row.lifted_at is None for row in suppressions)


@dataclass(slots=True)
class _Person:
    """One person while a batch is under way. `secret` None: never seen. `on_file`: there was a key before the batch.

    `stands`: the standing as it is stored, opened; `document` the same as values, read only when they are needed, and
    then the one that counts. `unreadable`: there is a standing that does not open, which is not to have none; it is
    left alone, and entries are written under a stand-in (keys.py). The profile likewise: `filed` as stored.
    """

    controller_id: str
    key: bytes
    secret: PersonSecret | None
    seal_key: bytes
    on_file: bool
    stands: bytes | None
    unreadable: bool
    suppressions: list[SuppressionRow]
    filed: bytes | None
    fresh: Fresh | None = None
    subject: bytes | None = None
    document: standing.Document | None = None
    profile: Mapping[str, Any] | None = None
    facts: bytes | None = None
    """The standing sealed already, as long as it is still that one; `sealed_as` likewise for the profile."""
    sealed_as: bytes | None = None
    changed: bool = False
    profile_changed: bool = False

    def outweighs(self, kind: str, fields: Mapping[str, Any], plain: bytes) -> bool:
        """Whether the consent that a row states is on file with more proof: no import lowers what is proved."""
        if kind != "consent" or self.stands is None or (self.document is None and standing.holds(self.stands, plain)):
            return False
        if self.document is None:
            self.document = standing.load(self.stands)
        record = next((one for one in self.document.get("consents", ()) if one["id"] == fields["id"]), None)
        try:
            return record is not None and outweighs(Consent.from_dict(record), Consent.from_dict(dict(fields)))
        except FactsError:
            return False  # what is on file is no record: the new one can only be better

    def state(self, kind: str, fields: Mapping[str, Any], plain: bytes | None) -> bool:
        """Apply one entry to the standing. False where it changes nothing. `plain`: the fields as canonical JSON."""
        if self.unreadable:
            return True  # nobody can tell: it is kept
        if self.document is None and plain is not None:
            if self.stands is None:
                self.stands = standing.opening(kind, plain)
                if self.stands is not None:
                    self.facts = None if self.fresh is None else self.fresh.facts
                    self.changed = True
                    return True
            elif standing.holds(self.stands, plain):
                return False
        before = self.document
        if before is None:
            before = {} if self.stands is None else standing.load(self.stands)
        after = standing.apply(before, kind, fields)
        if after == before:
            return False
        self.document, self.changed, self.facts = after, True, None
        return True

    def sealed_facts(self) -> bytes:
        """The standing as it is to be stored."""
        if self.facts is not None:
            return self.facts
        plain = self.stands if self.document is None else standing.dump(self.document)
        assert plain is not None
        return sealed(self.seal_key, plain, standing_row(self.controller_id, self.key))

    def sealed_profile(self) -> bytes:
        """Address, name and external id as they are to be stored."""
        if self.sealed_as is not None:
            return self.sealed_as
        plain = ledger.encode(self.profile or _NOTHING_SAID)
        return sealed(self.seal_key, plain, profile_row(self.controller_id, self.key))


@dataclass(slots=True)
class _Batch:
    """Reads each person once, gathers what is to be written, and writes it table by table."""

    handles: Handles
    at: datetime
    prepared: Prepared
    people: dict[bytes, _Person] = field(default_factory=dict)
    entries: dict[str, list[ledger.Entry]] = field(default_factory=dict)
    stops: list[SuppressionRow] = field(default_factory=list)
    last_ids: dict[str, bytes | None] = field(default_factory=dict)
    public: tuple[Mapping[str, Any], bytes] = ({}, b"{}")
    random: Random = field(default_factory=Random)
    ms: int = field(init=False)

    def __post_init__(self) -> None:
        self.ms = milliseconds(self.at)

    def read(self, wanted: Sequence[Who]) -> None:
        """Read everybody of one controller who is met in the batch, each table once."""
        if not wanted:
            return
        handles, controller_id = self.handles, wanted[0].controller_id
        keys = list({key for who in wanted for key in who.recipient_keys})
        wrapped = handles.keys.wrapped(controller_id, keys, neighbours=True)
        secrets = handles.keys.opened(controller_id, wrapped)
        by_key: dict[bytes, list[SuppressionRow]] = {}
        for row in self._stops(controller_id, keys):
            by_key.setdefault(row.recipient_key, []).append(row)
        if SQL.any_suppression(handles.db, controller_id=EVERYWHERE) is not None:
            for row in self._stops(EVERYWHERE, list({key for who in wanted for key in who.global_keys})):
                by_key.setdefault(row.recipient_key, []).append(row)
        facts = self._sealed(SQL.standings_between.sql, SQL.standings_of_many.sql, controller_id, keys)
        profiles = self._sealed(SQL.profiles_between.sql, SQL.profiles_of_many.sql, controller_id, list(secrets))
        for who in wanted:
            place = who.recipient_keys[0]
            if place in self.people:
                continue
            # Rows may stand under an older live key; suppressions under all of them count.
            key = place if len(who.recipient_keys) == 1 else _on_file(who.recipient_keys, wrapped, facts)
            secret, stored = secrets.get(key), facts.get(key)
            seal_key = b"" if secret is None else secret.key
            stands = opened(seal_key, stored, standing_row(controller_id, key)) if secret is not None else None
            unreadable = stands is None and (stored is not None or (secret is None and key in wrapped))
            profile = profiles.get(key)
            self.people[place] = _Person(
                controller_id=controller_id, key=key, secret=secret, seal_key=seal_key, on_file=secret is not None,
                stands=stands, unreadable=unreadable,
                suppressions=[
                    row for one in (*who.recipient_keys, *who.global_keys) for row in by_key.get(one, ())
                ] if by_key else [],
                filed=None if profile is None else opened(seal_key, profile, profile_row(controller_id, key)),
                fresh=None if unreadable or secret is not None else self.prepared.get(place),
            )  # fmt: skip

    def _stops(self, controller_id: str, keys: Sequence[bytes]) -> list[SuppressionRow]:
        between, each = SQL.suppressions_between.sql, SQL.suppressions_of_many.sql
        rows = of_neighbours(self.handles.db, between, each, controller_id, keys)
        return [suppression_row(controller_id, row[0], row[1:]) for row in rows]

    def _sealed(self, between: str, each: str, controller_id: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return dict(of_neighbours(self.handles.db, between, each, controller_id, keys))

    def encoded(self, public: Mapping[str, Any]) -> bytes:
        """Public fields as JSON; most rows of an import share theirs."""
        if public is not self.public[0]:
            self.public = (public, ledger.encode(public))
        return self.public[1]

    def enter(
        self, person: _Person, kind: str, public: bytes, private: bytes | None, ahead: Fresh | None = None
    ) -> None:
        """One entry for the ledger, its fields as canonical JSON. `ahead`: the same as it was sealed ahead.

        That one counts where the person is new, and nobody has written a later entry since it was made.
        """
        controller_id = person.controller_id
        if person.secret is None and person.unreadable:
            person.secret, person.on_file = self.handles.keys.make_stand_in(controller_id, person.key), True
            person.seal_key = person.secret.key
        elif person.secret is None and person.fresh is not None:
            person.secret, person.seal_key, person.subject = person.fresh[:3]
        elif person.secret is None:
            person.secret = new_secret(self.random)
            person.seal_key = person.secret.key
        if person.subject is None:
            person.subject = person.secret.subject(person.key)
        entry_id = self._entry_id(controller_id, ahead.entry_id if ahead is not None else new_id())
        entries = self.entries.setdefault(controller_id, [])
        if ahead is not None and ahead is person.fresh and entry_id == ahead.entry_id:
            entries.append(ledger.Entry(
                controller_id=controller_id, entry_id=entry_id, at=self.ms, kind=kind, subject=person.subject,
                public=public, private=ahead.private, commitment=ahead.commitment,
            ))  # fmt: skip
            return
        entries.append(
            ledger.write_encoded(
                controller_id=controller_id, entry_id=entry_id, at=self.ms,
                kind=kind, key=person.seal_key, subject=person.subject, public=public, private=private,
                random=self.random.take(ledger.RANDOM_BYTES),
            )
        )  # fmt: skip

    def _entry_id(self, controller_id: str, wanted: bytes) -> bytes:
        if controller_id not in self.last_ids:
            self.last_ids[controller_id] = last_entry_id(self.handles, controller_id)
        made = self.last_ids[controller_id] = following(self.last_ids[controller_id], wanted)
        return made

    def file(self, person: _Person, address: str, said: Mapping[str, str]) -> bool:
        """Keep address, name and external id of somebody who is on file. Whether one of those on file changed."""
        if person.secret is None or person.unreadable:
            return False
        if person.profile is None and person.fresh is not None:
            person.profile, person.sealed_as = {"address": address, **said}, person.fresh.profile
            person.profile_changed = True
            return False
        if person.profile is None:
            person.profile = {} if person.filed is None else standing.load(person.filed)
        whole = {**person.profile, "address": address, **said}
        if whole == person.profile:
            return False
        person.profile, person.profile_changed, person.sealed_as = whole, True, None
        return person.filed is not None

    def write(self) -> None:
        """Write all of it; the transaction is the caller's."""
        db, keys, at = self.handles.db, self.handles.keys, self.ms
        # In key order, the order of the tables: neighbours share pages.
        met = sorted((one for one in self.people.values() if one.secret is not None), key=lambda one: one.key)
        keys.add_people([
            (one.controller_id, one.key, one.secret, one.fresh.wrapped if one.fresh is not None else b"")
            for one in met if one.secret and not one.on_file
        ])  # fmt: skip
        profiles = [
            (one.controller_id, one.key, one.sealed_profile(), at) for one in met if one.profile_changed
        ]  # fmt: skip
        db.executemany(SQL.put_profiles.sql, profiles)
        db.executemany(SQL.add_suppression.sql, [_columns(stop) for stop in self.stops])
        for controller_id, entries in self.entries.items():
            sealing.add(self.handles, controller_id, [_stored(entry) for entry in entries])
        facts = [(one.controller_id, one.key, one.sealed_facts()) for one in met if one.changed]
        db.executemany(SQL.put_standings.sql, facts)


_NOTHING_SAID: Final[Mapping[str, Any]] = {}


def _on_file(
    keys: Sequence[bytes], secrets: Mapping[bytes, bytes], facts: Mapping[bytes, bytes]
) -> bytes:  # fmt: skip
    """Under which of a person's keys the rows stand: the newest where there are none."""
    return next((key for key in keys if key in secrets), next((key for key in keys if key in facts), keys[0]))


def _columns(row: SuppressionRow) -> dict[str, Any]:
    return {
        "controller_id": row.controller_id, "recipient_key": row.recipient_key, "suppression_id": row.suppression_id,
        "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source,
        "at": milliseconds(row.at), "lifted_at": None if row.lifted_at is None else milliseconds(row.lifted_at),
    }  # fmt: skip


def _stored(entry: ledger.Entry) -> Stored:
    return Stored(
        entry.controller_id.encode(), entry.entry_id, entry.at, entry.kind.encode(), entry.subject, entry.public,
        entry.private, entry.commitment, None, None, None,
    )  # fmt: skip
