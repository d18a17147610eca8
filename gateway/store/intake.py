"""Many statements at once into SQLite: what `consentgate import` writes, a batch per transaction.

The same rows in the same tables as people.record and people.suppress make one at a time; here the look-ups and
inserts of a batch are gathered, and a person who is met twice is read once. Looking without writing (`dry`) runs on a
reading connection and returns the same answers.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from gateway.store.connection import Handles
from gateway.store.contract import Statement, Stop, SuppressionRow, Taken, Who
from gateway.store.keys import of_many, opened, sealed
from gateway.store.people import (
    EVERYWHERE,
    SQL,
    milliseconds,
    new_id,
    profile_row,
    standing_row,
    suppression_row,
)  # fmt: skip
from gateway.store.sealing import last_entry_id
from suppression import ledger, standing
from suppression.chain import following
from suppression.suppression_list import in_force
from suppression.vault import SECRET_BYTES, PersonSecret


def take_in(handles: Handles, statements: Sequence[Statement], at: datetime, dry: bool) -> list[Taken]:
    """Take in consents, sales and facts about people. Rows of erased people change nothing (RULES.md 6.4)."""
    batch = _Batch(handles, at)
    batch.read([statement.who for statement in statements])
    taken = [_state(batch, statement) for statement in statements]
    if not dry:
        batch.write()
    return taken


def take_in_stops(handles: Handles, stops: Sequence[Stop], at: datetime, dry: bool) -> list[Taken]:
    """Put suppressions on the list, with their ledger entries; one that stands, or stood and was lifted, is left."""
    batch = _Batch(handles, at)
    for everywhere in (False, True):
        batch.read([stop.who for stop in stops if (stop.who.controller_id == EVERYWHERE) == everywhere])
    taken = [_stop(batch, stop) for stop in stops]
    if not dry:
        batch.write()
    return taken


def _state(batch: "_Batch", statement: Statement) -> Taken:
    person = batch.people[statement.who]
    active = [row for row in person.suppressions if in_force(row.at, row.lifted_at, batch.at)]
    if _erased(active):
        return Taken("erased", new_person=False, stopped=True)
    new_person, changed = person.secret is None, False
    for kind, fields in statement.entries:
        changed |= batch.enter(person, kind, statement.public, fields)
    changed |= batch.file(person, {"address": statement.address, **statement.profile})
    purposes = statement.purposes
    stopped = any(
        row.scope != "purpose" or row.purpose is None or purposes is None or row.purpose in purposes for row in active
    )
    return Taken("kept" if changed else "unchanged", new_person=new_person, stopped=stopped)


def _stop(batch: "_Batch", stop: Stop) -> Taken:
    person, row = batch.people[stop.who], stop.row
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
        batch.enter(person, act.kind, act.public, None)
    return Taken("kept", new_person=new_person, stopped=True)


def _erased(suppressions: Sequence[SuppressionRow]) -> bool:
    return any(row.reason == "erasure" and row.lifted_at is None for row in suppressions)


@dataclass(slots=True)
class _Person:
    """One person while a batch is under way. `secret` None: never seen. `on_file`: there was a key before the batch."""

    controller_id: str
    key: bytes
    secret: PersonSecret | None
    seal_key: bytes
    on_file: bool
    document: standing.Document
    suppressions: list[SuppressionRow]
    profile: dict[str, Any]
    profile_kept: bool
    changed: bool = False
    profile_changed: bool = False


@dataclass(slots=True)
class _Batch:
    """Reads each person once, gathers what is to be written, and writes it table by table."""

    handles: Handles
    at: datetime
    people: dict[Who, _Person] = field(default_factory=dict)
    entries: list[ledger.Entry] = field(default_factory=list)
    stops: list[SuppressionRow] = field(default_factory=list)
    last_ids: dict[str, bytes | None] = field(default_factory=dict)

    def read(self, wanted: Sequence[Who]) -> None:
        """Read everybody of one controller who is met in the batch, each table once."""
        if not wanted:
            return
        handles, controller_id = self.handles, wanted[0].controller_id
        keys = list({key for who in wanted for key in who.recipient_keys})
        everywhere = list({key for who in wanted for key in who.global_keys})
        secrets = handles.keys.people(controller_id, keys)
        seen = list(secrets)
        stops = [*self._stops(controller_id, keys), *self._stops(EVERYWHERE, everywhere)]
        by_key: dict[bytes, list[SuppressionRow]] = {}
        for row in stops:
            by_key.setdefault(row.recipient_key, []).append(row)
        facts = dict(of_many(handles.db, SQL.standings_of_many.sql, controller_id, seen))
        profiles = dict(of_many(handles.db, SQL.profiles_of_many.sql, controller_id, seen))
        for who in wanted:
            # Rows may stand under an older live key; suppressions under all of them count.
            key = next((one for one in who.recipient_keys if one in secrets), who.recipient_keys[0])
            secret = secrets.get(key)
            seal_key = b"" if secret is None else secret.key
            profile = opened(seal_key, profiles.get(key), profile_row(controller_id, key))
            plain = opened(seal_key, facts.get(key), standing_row(controller_id, key))
            self.people[who] = _Person(
                controller_id=controller_id, key=key, secret=secret, seal_key=seal_key, on_file=secret is not None,
                document={} if plain is None else standing.load(plain),
                suppressions=[row for one in (*who.recipient_keys, *who.global_keys) for row in by_key.get(one, ())],
                profile={} if profile is None else standing.load(profile), profile_kept=profile is not None,
            )  # fmt: skip

    def _stops(self, controller_id: str, keys: Sequence[bytes]) -> list[SuppressionRow]:
        rows = of_many(self.handles.db, SQL.suppressions_of_many.sql, controller_id, keys)
        return [suppression_row(controller_id, row[0], row[1:]) for row in rows]

    def enter(self, person: _Person, kind: str, public: Mapping[str, Any], private: Mapping[str, Any] | None) -> bool:
        """One entry for the ledger and its effect. False where it changes nothing: then it is not written."""
        after = standing.apply(person.document, kind, private if private is not None else public)
        changed = after != person.document
        if not changed and kind != "suppression":
            return False
        if person.secret is None:
            person.secret = PersonSecret(os.urandom(SECRET_BYTES))
            person.seal_key = person.secret.key
        person.document = after
        person.changed |= changed
        self.entries.append(
            ledger.write(
                controller_id=person.controller_id, entry_id=self._entry_id(person.controller_id),
                at=milliseconds(self.at), kind=kind, person=person.secret, recipient_key=person.key, public=public,
                private=private, random=os.urandom(ledger.RANDOM_BYTES),
            )
        )  # fmt: skip
        return True

    def _entry_id(self, controller_id: str) -> bytes:
        if controller_id not in self.last_ids:
            self.last_ids[controller_id] = last_entry_id(self.handles, controller_id)
        made = self.last_ids[controller_id] = following(self.last_ids[controller_id], new_id())
        return made

    def file(self, person: _Person, said: Mapping[str, str]) -> bool:
        """Keep address, name and external id of somebody who is on file. Whether one of those on file changed."""
        if person.secret is None or said.items() <= person.profile.items():
            return False
        person.profile = {**person.profile, **said}
        person.profile_changed = True
        return person.profile_kept

    def write(self) -> None:
        """Write all of it; the transaction is the caller's."""
        db, keys, at = self.handles.db, self.handles.keys, milliseconds(self.at)
        # In key order, the order of the tables: neighbours share pages.
        met = sorted((one for one in self.people.values() if one.secret is not None), key=lambda one: one.key)
        keys.add_people([(one.controller_id, one.key, one.secret) for one in met if one.secret and not one.on_file])
        profiles = [(one, _row(one, profile=_sealed_profile(one))) for one in met if one.profile_changed]
        new = [{**row, "first_seen": at} for one, row in profiles if not one.profile_kept]
        db.executemany(SQL.add_person.sql, new)
        db.executemany(SQL.set_profile.sql, [row for one, row in profiles if one.profile_kept])
        db.executemany(SQL.add_suppression.sql, [_columns(stop) for stop in self.stops])
        db.executemany(SQL.add_entry.sql, [_entry(entry) for entry in self.entries])
        db.executemany(SQL.put_standing.sql, [_row(one, facts=_sealed_facts(one)) for one in met if one.changed])


def _row(person: _Person, **more: bytes) -> dict[str, Any]:
    return {"controller_id": person.controller_id, "recipient_key": person.key, **more}


def _sealed_profile(person: _Person) -> bytes:
    return sealed(person.seal_key, ledger.encode(person.profile), profile_row(person.controller_id, person.key))


def _sealed_facts(person: _Person) -> bytes:
    return sealed(person.seal_key, standing.dump(person.document), standing_row(person.controller_id, person.key))


def _columns(row: SuppressionRow) -> dict[str, Any]:
    return {
        "controller_id": row.controller_id, "recipient_key": row.recipient_key, "suppression_id": row.suppression_id,
        "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source,
        "at": milliseconds(row.at), "lifted_at": None if row.lifted_at is None else milliseconds(row.lifted_at),
    }  # fmt: skip


def _entry(entry: ledger.Entry) -> dict[str, Any]:
    return {
        "controller_id": entry.controller_id, "entry_id": entry.entry_id, "at": entry.at, "kind": entry.kind,
        "subject": entry.subject, "public": entry.public.decode(), "private": entry.private,
        "commitment": entry.commitment,
    }  # fmt: skip
