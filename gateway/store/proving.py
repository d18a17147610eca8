"""The rows of a proof. See proof.Proofs, call by call. Functions of a database thread's handles."""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store import people
from gateway.store.columns import instant
from gateway.store.connection import Handles
from gateway.store.contract import Who
from gateway.store.keys import opened
from gateway.store.people import EVERYWHERE
from gateway.store.proof import Passage, Place, ShownEntry
from gateway.store.reports import Subjects
from suppression.chain import Stored

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "proof.sql"), "sqlite3")


def entries_shown(handles: Handles, who: Who) -> list[ShownEntry]:
    """A person's entries under every key of theirs, of global scope too; opened where that can be done."""
    places = [(who.controller_id, key) for key in who.recipient_keys] + [(EVERYWHERE, key) for key in who.global_keys]
    found = []
    for controller_id, recipient_key in places:
        secret = handles.keys.readable(controller_id, [recipient_key]).get(recipient_key)
        if secret is None:
            continue
        for row in SQL.entries_about(handles.db, controller_id=controller_id, subject=secret.subject(recipient_key)):
            stored = Stored._make(row)
            found.append(ShownEntry(stored=stored, opened=opened(secret.key, stored.private, stored.entry_id)))
    return found


def wording_entries(handles: Handles, controller_id: str, names: Sequence[str]) -> list[Stored]:
    """The entries that say which wording each name stands for."""
    return [Stored._make(row) for row in SQL.wording_entries(
        handles.db, controller_id=controller_id, names=json.dumps(list(names))
    )]  # fmt: skip


def passages_of(handles: Handles, controller_id: str, recipient_key: bytes, after: Place, n: int) -> list[Passage]:
    """The next n copies for a person."""
    rows = SQL.passages_of(
        handles.db, controller_id=controller_id, recipient_key=recipient_key, after_id=after[0], after_no=after[1], n=n
    )
    return _passages(handles, controller_id, rows, addresses=False)


def passages_in(
    handles: Handles, controller_id: str, stream: str, campaign: str, after: Place, n: int, addresses: bool
) -> list[Passage]:
    """The next n copies of a campaign."""
    rows = SQL.passages_in(
        handles.db, controller_id=controller_id, stream=stream, campaign=campaign, after_id=after[0],
        after_no=after[1], n=n,
    )  # fmt: skip
    return _passages(handles, controller_id, rows, addresses=addresses)


def _passages(handles: Handles, controller_id: str, rows: Any, *, addresses: bool) -> list[Passage]:
    subjects = Subjects(handles, controller_id)
    found = []
    for row in rows:
        (
            message_id, copy_no, recipient_key, accepted_at, stream, campaign, mode, kind, subject, subject_key, size,
            digest, state, verdict, reason_code, accept_code, cite, as_of, basis, packs, trace, ended_at, reply,
        ) = row  # fmt: skip
        found.append(Passage(
            message_id=message_id, copy_no=copy_no, recipient_key=recipient_key,
            address=people.address(handles, controller_id, recipient_key) if addresses else None,
            accepted_at=instant(accepted_at), stream=stream, campaign=campaign, mode=mode, kind=json.loads(kind),
            subject=subjects.read(message_id, subject, subject_key), size=size, digest=digest, state=state,
            verdict=verdict, reason_code=reason_code, accept_code=accept_code, cite=cite, as_of=instant(as_of),
            basis=basis, packs=packs, trace=tuple(trace.split(" ")),
            ended_at=None if ended_at is None else instant(ended_at), reply=reply,
        ))  # fmt: skip
    return found
