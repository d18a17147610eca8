"""Imports: the list of them, and taking one back. Functions of a database thread's handles.

What one import brought is known by its entries in the ledger, which carry its id. Taking it back writes one entry a
person, `import_undone`, that holds what the person's records are without it; nothing of the ledger is deleted (P7).
Address and name of whoever is unknown again go, where nothing else is about them.
"""

import json
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files

import aiosql

from gateway.store import people
from gateway.store.ahead import standing_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.imported import Import, UndonePage
from gateway.store.keys import opened
from suppression import ledger, standing
from suppression.taking_back import Said, is_done, without
from suppression.vault import PersonSecret, Unreadable

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "imports.sql"), "sqlite3")


def put_import(handles: Handles, brought: Import) -> None:
    """Write down an import, or what became of it."""
    SQL.put_import(
        handles.db, controller_id=brought.controller_id, import_id=brought.import_id, at=milliseconds(brought.at),
        kind=brought.kind, form=brought.form, digest=brought.digest, by=brought.by,
        stated=ledger.encode(brought.stated).decode(),
        counts=None if brought.counts is None else ledger.encode(brought.counts).decode(),
        undone_at=None if brought.undone_at is None else milliseconds(brought.undone_at),
    )  # fmt: skip


def imports(handles: Handles, controller_id: str) -> list[Import]:
    """A controller's imports, oldest first."""
    return [
        Import(
            controller_id=controller_id, import_id=import_id, at=instant(at), kind=kind, form=form, digest=digest,
            by=by, stated=json.loads(stated), counts=None if counts is None else json.loads(counts),
            undone_at=None if undone_at is None else instant(undone_at),
        )
        for import_id, at, kind, form, digest, by, stated, counts, undone_at in SQL.imports(
            handles.db, controller_id=controller_id
        )
    ]  # fmt: skip


def undo_page(
    handles: Handles, controller_id: str, import_id: bytes, after: bytes, n: int, at: int
) -> UndonePage:  # fmt: skip
    """Take an import back for the next n people of a controller, by recipient key. Who is done already is passed over.

    Whoever was erased has no key any more, so nothing of theirs is looked at.
    """
    keys = handles.keys.keys_after(controller_id, after, n)
    secrets = handles.keys.readable(controller_id, keys)
    by_subject = {secret.subject(key): (key, secret) for key, secret in secrets.items() if key}
    changed = opted_out = unknown = unreadable = 0
    for subject in _touched(handles, controller_id, import_id, list(by_subject)):
        key, secret = by_subject[subject]
        try:
            done = _undo(handles, controller_id, key, secret, import_id.hex(), at)
        except (Unreadable, ValueError):
            unreadable += 1
            continue
        if done is None:
            continue
        left, kept = done
        if not left:
            SQL.drop_newcomer(handles.db, controller_id=controller_id, import_id=import_id, recipient_key=key)
        changed, opted_out, unknown = changed + 1, opted_out + kept, unknown + (not left and not kept)
    return UndonePage(
        people=len(keys), changed=changed, opted_out=opted_out, unknown=unknown,
        unreadable=unreadable, after=keys[-1] if len(keys) == n else None,
    )  # fmt: skip


def _touched(handles: Handles, controller_id: str, import_id: bytes, subjects: Sequence[bytes]) -> Iterator[bytes]:
    sql = SQL.subjects_of_import.sql
    for row in list(handles.db.of_many(sql, controller_id, subjects, mark=import_id.hex())):
        yield row[0]


def _undo(
    handles: Handles, controller_id: str, key: bytes, secret: PersonSecret, mark: str, at: int
) -> tuple[bool, bool] | None:
    """Take it back for one person: whether anything is left, and whether an opt-out it brought stays.

    None where it is done. An entry that cannot be read raises Unreadable or ValueError: then nothing is guessed.
    """
    entries = _entries(handles, controller_id, key, secret)
    before = _document(handles, controller_id, key, secret)
    if is_done(entries, mark):
        return None
    taken = without(entries, mark)
    after = standing.apply(before, "import_undone", taken.fields)
    public = {standing.BROUGHT_BY: mark}
    entry = ledger.write(
        controller_id=controller_id, entry_id=people.entry_id(handles, controller_id), at=at, kind="import_undone",
        person=secret, recipient_key=key, public=public, private=taken.fields, random=os.urandom(ledger.RANDOM_BYTES),
    )  # fmt: skip
    people.add_entry(handles, entry)
    if after != before:
        people.put_standing(handles, secret, controller_id, key, after)
    return bool(after), taken.opted_out


def _document(handles: Handles, controller_id: str, key: bytes, secret: PersonSecret) -> standing.Document:
    """The standing as it is. Unreadable where there is one that does not open: it is not written over."""
    row = people.SQL.standing(handles.db, controller_id=controller_id, recipient_key=key)
    plain = opened(secret.key, row[1], standing_row(controller_id, key)) if row else b"{}"
    if plain is None:
        raise Unreadable("the standing does not open")
    return standing.load(plain)


def _entries(handles: Handles, controller_id: str, key: bytes, secret: PersonSecret) -> list[Said]:
    return [
        Said(kind=said.entry.kind, fields=said.fields())
        for said in people.entries_of(handles, controller_id, key, secret)
    ]  # fmt: skip
