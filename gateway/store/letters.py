"""Letters that are owed. Functions of a database thread's handles.

Settled rows stay for a while: they say what a person was told lately, so that nobody is told the same twice.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store import arrivals, people
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, Arrival
from gateway.store.corresponding import OwedLetter

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "letters.sql"), "sqlite3")


def owe(handles: Handles, letter: OwedLetter) -> bool:
    """Write down that a letter is owed. False where it is on the list already."""
    return bool(SQL.owe(
        handles.db, controller_id=letter.controller_id, letter_id=letter.letter_id, kind=letter.kind,
        recipient_key=letter.recipient_key, due_at=milliseconds(letter.due_at), about=json.dumps(dict(letter.about)),
    ))  # fmt: skip


def due(handles: Handles, now: datetime, n: int) -> list[OwedLetter]:
    """The letters that are due, those that waited longest first."""
    return [_letter(row) for row in SQL.due(handles.db, now=milliseconds(now), n=n)]


def to_person(handles: Handles, controller_id: str, recipient_key: bytes) -> list[OwedLetter]:
    """All letters of one person that are on the list, settled ones included."""
    return [_letter(row) for row in SQL.to_person(
        handles.db, controller_id=controller_id, recipient_key=recipient_key
    )]  # fmt: skip


def settle(
    handles: Handles, letters: Sequence[OwedLetter], arrival: Arrival | None, acts: Sequence[Act], now: datetime
) -> bool:
    """Put the mail in the queue and take its letters off the list; without a mail, they turned out not to be owed.

    False where one of them is settled or gone: another worker wrote it, or what it was about was taken back. Then
    nothing happens.
    """
    if not all(
        SQL.is_open(handles.db, controller_id=one.controller_id, letter_id=one.letter_id) for one in letters
    ):  # fmt: skip
        return False
    for one in letters:
        SQL.settle(
            handles.db, controller_id=one.controller_id, letter_id=one.letter_id, now=milliseconds(now),
            written_at=None if arrival is None else milliseconds(now),
        )  # fmt: skip
    if arrival is not None:
        arrivals.enqueue(handles, [arrival])
    people.record(handles, acts)
    return True


def told_in_mail(handles: Handles, controller_id: str, recipient_key: bytes) -> bool:
    """Whether marketing on the ground of a consent was delivered to a person."""
    return bool(SQL.told_in_mail(handles.db, controller_id=controller_id, recipient_key=recipient_key))


def put_off(handles: Handles, letters: Sequence[OwedLetter], until: datetime) -> None:
    """Try again later."""
    for one in letters:
        SQL.put_off(
            handles.db, controller_id=one.controller_id, letter_id=one.letter_id, due_at=milliseconds(until)
        )  # fmt: skip


def withdraw(handles: Handles, controller_id: str, letter_id: bytes) -> None:
    """What the letter would say holds no more: it is not written, if it was not yet."""
    SQL.withdraw(handles.db, controller_id=controller_id, letter_id=letter_id)


def forget(handles: Handles, controller_id: str, recipient_key: bytes) -> None:
    """A person is erased: nothing is written to them any more, nor known of what was."""
    SQL.forget(handles.db, controller_id=controller_id, recipient_key=recipient_key)


def drop(handles: Handles, settled_before: datetime) -> None:
    """Forget what people were told long ago; the ledger has it."""
    SQL.drop_settled(handles.db, before=milliseconds(settled_before))


def _letter(row: Sequence[Any]) -> OwedLetter:
    controller_id, letter_id, kind, recipient_key, due_at, about, written_at = row
    return OwedLetter(
        controller_id=controller_id, letter_id=letter_id, kind=kind, recipient_key=recipient_key,
        due_at=instant(due_at), about=json.loads(about),
        written_at=None if written_at is None else instant(written_at),
    )  # fmt: skip
