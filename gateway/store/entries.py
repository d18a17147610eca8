"""The past: entries about people, opened, and decisions as they fell. See history.Past, call by call."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any, NamedTuple

import aiosql

from gateway.store import by_hash, people
from gateway.store.ahead import profile_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import SuppressionRow, Who
from gateway.store.history import Decided, History, Owned
from gateway.store.keys import opened
from gateway.store.people import EVERYWHERE
from gateway.store.reports import Subjects
from gateway.store.suppressions import suppression_row
from suppression import ledger
from suppression.history import Entry, Listed
from suppression.vault import PersonSecret, Unreadable

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "history.sql"), "sqlite3")


class _Place(NamedTuple):
    """One key of one person: whose rows they are, and under which controller they stand."""

    owner: str
    key: bytes


def histories(handles: Handles, wanted: Sequence[Who]) -> list[History]:
    """What was written down about each, read in one transaction, with a few statements for all of them."""
    handles.db.execute("BEGIN")
    try:
        places = list(dict.fromkeys(place for who in wanted for place in _places(who)))
        secrets = _secrets(handles, places)
        entries, unreadable = _entries(handles, places, secrets)
        listed = _listed(handles, places)
        standing = _with_row(handles, wanted, people.SQL.standings_of_many.sql)
        profiled = _with_row(handles, wanted, people.SQL.profiles_of_many.sql)
        hashed = {
            owner: by_hash.listed(handles, owner, [who for who in wanted if who.controller_id == owner])
            for owner in {who.controller_id for who in wanted}
        }
    finally:
        handles.db.execute("COMMIT")
    found = []
    for who in wanted:
        mine = [_Place(who.controller_id, key) for key in who.recipient_keys]
        own = next((place for place in mine if place in secrets), None)
        first = own or mine[0]

        def owned(place: _Place) -> Owned:
            return Owned(
                controller_id=place.owner or None, entries=tuple(entries.get(place, ())), listed=listed.get(place, {})
            )

        found.append(History(
            controller_id=who.controller_id, recipient_key=first.key, seen=own is not None, addressed=first in profiled,
            sealed=own is None and any(place in standing for place in mine), own=owned(first),
            elsewhere=tuple(owned(place) for place in _places(who) if place != first),
            unreadable=tuple(entry for place in _places(who) for entry in unreadable.get(place, ())),
            hashed_since=hashed[who.controller_id].get(who.address or ""),
        ))  # fmt: skip
    return found


def _places(who: Who) -> list[_Place]:
    own = [_Place(who.controller_id, key) for key in who.recipient_keys]
    return own + [_Place(EVERYWHERE, key) for key in who.global_keys]


def _by_owner(places: Iterable[_Place]) -> dict[str, list[bytes]]:
    keys: dict[str, list[bytes]] = {}
    for place in places:
        keys.setdefault(place.owner, []).append(place.key)
    return keys


def _secrets(handles: Handles, places: Sequence[_Place]) -> dict[_Place, PersonSecret]:
    return {
        _Place(owner, key): secret
        for owner, keys in _by_owner(places).items()
        for key, secret in handles.keys.readable(owner, keys).items()
    }


def _entries(
    handles: Handles, places: Sequence[_Place], secrets: dict[_Place, PersonSecret]
) -> tuple[dict[_Place, list[Entry]], dict[_Place, list[Entry]]]:
    """Entries of each place in order, opened; and those that do not open, without their fields."""
    found: dict[_Place, list[Entry]] = {}
    unreadable: dict[_Place, list[Entry]] = {}
    opening = [(place, secrets[place]) for place in places if place in secrets]
    instead = list(_stand_ins(handles, secrets))
    under = [*opening, *instead]
    wanted = [(n, place.owner, secret.subject(place.key)) for n, (place, secret) in enumerate(under)]
    rows = handles.db.of_rows(SQL.entries_of_many.sql, wanted)
    for n, entry_id, at, kind, public, private, commitment in rows:
        place, secret = under[n]
        entry = ledger.Entry(
            controller_id=place.owner, entry_id=entry_id, at=at, kind=kind, subject=b"", public=public.encode(),
            private=private, commitment=commitment,
        )  # fmt: skip
        try:
            fields = {**json.loads(public), **ledger.read_private(entry, secret)}
        except (Unreadable, ValueError):
            unreadable.setdefault(place, []).append(Entry(entry_id=entry_id, at=at, kind=kind, fields={}))
            continue
        found.setdefault(place, []).append(Entry(entry_id=entry_id, at=at, kind=kind, fields=fields))
    for place, _ in instead:
        found.get(place, []).sort(key=lambda one: one.entry_id)
    return found, unreadable


def _stand_ins(handles: Handles, secrets: Mapping[_Place, PersonSecret]) -> Iterator[tuple[_Place, PersonSecret]]:
    """What entries were written under while a key was lost, of those whose key is back."""
    for owner, keys in _by_owner(secrets).items():
        for key, secret in handles.keys.stand_ins(owner, keys).items():
            yield _Place(owner, key), secret


def _listed(handles: Handles, places: Sequence[_Place]) -> dict[_Place, dict[bytes, Listed]]:
    found: dict[_Place, dict[bytes, Listed]] = {}
    for owner, keys in _by_owner(places).items():
        for row in handles.db.of_many(people.SQL.suppressions_of_many.sql, owner, keys):
            one = suppression_row(owner, row[0], row[1:])
            found.setdefault(_Place(owner, row[0]), {})[one.suppression_id] = _on_list(one)
    return found


def _on_list(row: SuppressionRow) -> Listed:
    return Listed(
        row.scope, row.purpose, row.reason, row.source, milliseconds(row.at),
        None if row.lifted_at is None else milliseconds(row.lifted_at),
        tuple((purpose, milliseconds(at)) for purpose, at in row.lifted_for),
    )  # fmt: skip


def _with_row(handles: Handles, wanted: Sequence[Who], sql: str) -> set[_Place]:
    places = [_Place(who.controller_id, key) for who in wanted for key in who.recipient_keys]
    return {
        _Place(owner, row[0])
        for owner, keys in _by_owner(places).items()
        for row in handles.db.of_many(sql, owner, keys)
    }  # fmt: skip


def addresses(handles: Handles, controller_id: str, recipient_keys: Sequence[bytes]) -> dict[bytes, str]:
    """The addresses of those people that have one which opens, by recipient key."""
    keys = list(dict.fromkeys(recipient_keys))
    secrets = handles.keys.readable(controller_id, keys)
    found = {}
    for key, profile in handles.db.of_many(people.SQL.profiles_of_many.sql, controller_id, list(secrets)):
        plain = opened(secrets[key].key, profile, profile_row(controller_id, key))
        if plain is not None:
            found[key] = str(json.loads(plain).get("address"))
    return found


def decided(handles: Handles, controller_id: str, message_id: bytes, copy_no: int) -> Decided | None:
    """The decision on one copy."""
    row = SQL.decided(handles.db, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
    return None if row is None else _decided(Subjects(handles, controller_id), controller_id, row)


def decided_of_message(handles: Handles, controller_id: str, message_id: bytes, after: int, n: int) -> list[Decided]:
    """The next n decisions on the copies of a message, in order of their number."""
    subjects = Subjects(handles, controller_id)
    rows = SQL.decided_of_message(handles.db, controller_id=controller_id, message_id=message_id, after=after, n=n)
    return [_decided(subjects, controller_id, row) for row in rows]


def decided_after(
    handles: Handles, controller_id: str, after: tuple[bytes, int], upto: bytes, n: int
) -> list[Decided]:  # fmt: skip
    """The next n decisions of a controller in the order of their messages, behind a message and copy."""
    subjects = Subjects(handles, controller_id)
    rows = SQL.decided_after(
        handles.db, controller_id=controller_id, after_id=after[0], after_no=after[1], upto=upto, n=n
    )
    return [_decided(subjects, controller_id, row) for row in rows]


def decided_about(
    handles: Handles, controller_id: str, recipient_keys: Sequence[bytes], since: datetime, n: int
) -> list[Decided]:
    """The newest n decisions about a person, on messages that came in since."""
    subjects, since_id = Subjects(handles, controller_id), milliseconds(since).to_bytes(6, "big") + bytes(10)
    found = [
        _decided(subjects, controller_id, row)
        for key in recipient_keys
        for row in SQL.decided_about(
            handles.db, controller_id=controller_id, recipient_key=key, since_id=since_id, n=n
        )
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.message_id, one.copy_no), reverse=True)[:n]


def _decided(subjects: Subjects, controller_id: str, row: Sequence[Any]) -> Decided:
    (
        message_id, copy_no, recipient_key, state, verdict, reason_code, accept_code, cite, as_of, basis, packs, trace,
        stream, campaign, mode, accepted_at, kind, subject, subject_key,
    ) = row  # fmt: skip
    return Decided(
        controller_id=controller_id, message_id=message_id, copy_no=copy_no, recipient_key=recipient_key, state=state,
        verdict=verdict, reason_code=reason_code, accept_code=accept_code, cite=cite, as_of=instant(as_of), basis=basis,
        packs=packs, trace=tuple(trace.split(" ")), stream=stream, campaign=campaign, mode=mode,
        accepted_at=instant(accepted_at), kind=json.loads(kind),
        subject=subjects.read(message_id, subject, subject_key),
    )  # fmt: skip
