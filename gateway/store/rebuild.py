"""The projection against the ledger (P7): what each person's entries amount to, beside what is stored.

Standing and suppressions of a person are made again from their entries, in order. Whose key is gone cannot be checked,
but for this: every erasure in the ledger has its tombstone on the list.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal

import aiosql

from gateway.store import erasure, people
from gateway.store.ahead import standing_row
from gateway.store.columns import lifted_column, lifted_purposes, milliseconds
from gateway.store.connection import Handles
from gateway.store.evidence import Difference, RebuiltPage
from gateway.store.keys import opened
from suppression import standing
from suppression.history import Amount, Entry, Listed
from suppression.vault import PersonSecret, Unreadable

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "rebuild.sql"), "sqlite3")


@dataclass(slots=True)
class _Amount(Amount):
    """What a person's entries amount to; `unreadable`: ids of those that do not open; `entries`: how many there are."""

    unreadable: list[bytes] = field(default_factory=list)
    entries: int = 0


def page(handles: Handles, controller_id: str, after: bytes, n: int, write: bool) -> RebuiltPage:
    """Compare the next n people of a controller, by recipient key; `write` puts right what differs."""
    keys = _next_keys(handles, controller_id, after, n)
    wrapped = handles.keys.wrapped(controller_id, keys)
    found: list[Difference] = []
    if not after:
        found += _tombstones(handles, controller_id, write)
    for key, secret in wrapped.items():
        try:
            found += _person(handles, controller_id, key, handles.keys.unwrapped(controller_id, key, secret), write)
        except Unreadable:
            text = (
                "the key of this person, or what stood in for it, does not open: the keys database was changed or put "
                "together from two"
            )
            found.append(Difference(controller_id=controller_id, recipient_key=key, table="keys", text=text))
    for key in keys:
        if key not in wrapped and _stands(handles, controller_id, key):
            text = "the key of this person is missing: put the keys database back from its copy, then rebuild"
            found.append(Difference(controller_id=controller_id, recipient_key=key, table="keys", text=text))
    return RebuiltPage(
        people=len(wrapped), skipped=len(keys) - len(wrapped), differences=tuple(found),
        after=keys[-1] if len(keys) == n else None,
    )  # fmt: skip


def _stands(handles: Handles, controller_id: str, key: bytes) -> bool:
    return people.SQL.standing(handles.db, controller_id=controller_id, recipient_key=key) is not None


def _next_keys(handles: Handles, controller_id: str, after: bytes, n: int) -> list[bytes]:
    """The next n recipient keys that stand anywhere. The controller's own secret stands under the empty one."""
    rows = handles.db.execute(SQL.next_keys.sql, {"controller_id": controller_id, "after": after, "n": n}).fetchall()
    merged = sorted({row[0] for row in rows} | set(handles.keys.keys_after(controller_id, after, n)))
    return merged[:n]


def _person(
    handles: Handles, controller_id: str, key: bytes, secret: PersonSecret, write: bool
) -> list[Difference]:  # fmt: skip
    amount = _amount(handles, controller_id, key, secret)
    found: list[Difference] = []

    def differs(table: Literal["standing", "suppressions"], text: str) -> None:
        found.append(Difference(controller_id=controller_id, recipient_key=key, table=table, text=text))

    for entry_id in amount.unreadable:
        differs("standing", f"the private fields of entry {entry_id.hex()} cannot be read")
    row = people.SQL.standing(handles.db, controller_id=controller_id, recipient_key=key)
    plain = opened(secret.key, row[1], standing_row(controller_id, key)) if row is not None else b"{}"
    if plain is None or _document(plain) != amount.document:
        wrong = "cannot be read" if plain is None else "is not what the entries amount to"
        differs("standing", f"the standing {'is missing' if row is None else wrong}")
        if write and not amount.unreadable and (plain is not None or amount.entries):
            people.put_standing(handles, secret, controller_id, key, amount.document)
    listed = people.SQL.suppressions(handles.db, controller_id=controller_id, recipient_key=key)
    stored = {suppression_id: _listed(columns) for suppression_id, *columns in listed}
    came_back = _before_erasure(stored, amount)
    for suppression_id in sorted(stored.keys() | amount.suppressions.keys()):
        is_ = stored.get(suppression_id)
        should = came_back.get(suppression_id, amount.suppressions.get(suppression_id))
        if is_ == should:
            continue
        said = "is missing" if is_ is None else "is in no entry" if should is None else "is not what its entries say"
        differs("suppressions", f"suppression {suppression_id.hex()} {said}")
        if write:
            _put(handles, controller_id, key, suppression_id, should)
    return found


def _amount(handles: Handles, controller_id: str, key: bytes, secret: PersonSecret) -> _Amount:
    amount = _Amount()
    for said in people.entries_of(handles, controller_id, key, secret):
        entry_id, at, kind = said.entry.entry_id, said.entry.at, said.entry.kind
        amount.entries += 1
        try:
            fields = said.fields()
        except (Unreadable, ValueError):
            amount.unreadable.append(entry_id)
            continue
        amount.add(Entry(entry_id=entry_id, at=at, kind=kind, fields=fields))
    return amount


def _listed(columns: Sequence[Any]) -> Listed:
    *row, lifted_for = columns
    lifted = lifted_purposes(lifted_for)
    kept = tuple((purpose, milliseconds(at)) for purpose, at in lifted)
    if lifted_for != lifted_column(lifted):
        kept = (("", 0),)  # not as we write it: what no entry says
    return Listed._make((*row, kept))


def _before_erasure(stored: Mapping[bytes, Listed], amount: _Amount) -> dict[bytes, Listed]:
    """What an erasure left on the list of somebody who came back since: no entry of theirs tells of it.

    The tombstone itself stands but for what they signed up for anew; that is in their entries. Whoever has no
    tombstone on the list was not erased, and has no such rows.
    """
    stones = {ref: row for ref, row in stored.items() if row.reason == "erasure"}
    if not stones:
        return {}
    kept = {ref: row for ref, row in stored.items() if not row.source and ref not in amount.suppressions}
    return {ref: row._replace(lifted_for=amount.lifts.get(ref, ())) for ref, row in {**kept, **stones}.items()}


def _put(handles: Handles, controller_id: str, key: bytes, suppression_id: bytes, row: Listed | None) -> None:
    place = {"controller_id": controller_id, "recipient_key": key, "suppression_id": suppression_id}
    SQL.drop_suppression(handles.db, **place)
    if row is not None:
        people.SQL.add_suppression(
            handles.db, **place, scope=row.scope, purpose=row.purpose, reason=row.reason, source=row.source, at=row.at,
            lifted_at=row.lifted_at,
        )  # fmt: skip
        people.SQL.lift_for(
            handles.db, **place, lifted_for=json.dumps(dict(row.lifted_for)) if row.lifted_for else None
        )


def _tombstones(handles: Handles, controller_id: str, write: bool) -> Sequence[Difference]:
    found = []
    for stone in erasure.tombstones(handles, controller_id):
        if erasure.on_list(handles, stone):
            continue
        found.append(Difference(
            controller_id=controller_id, recipient_key=stone.recipient_key, table="suppressions",
            text=f"suppression {stone.suppression_id.hex()} of an erasure is missing",
        ))  # fmt: skip
        if write:
            row = Listed("sender", None, "erasure", "request", stone.at, None)
            _put(handles, controller_id, stone.recipient_key, stone.suppression_id, row)
    return found


def _document(plain: bytes) -> standing.Document | None:
    try:
        return standing.load(plain)
    except ValueError:
        return None
