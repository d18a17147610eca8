"""The list of suppressions: each change with its ledger entries. Functions of a database thread's handles."""

from collections.abc import Sequence
from typing import Any

from gateway.store import letters, people
from gateway.store.columns import instant, lifted_column, lifted_purposes, milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Act, SuppressionRow
from gateway.store.corresponding import OwedLetter
from gateway.store.people import SQL


def of_person(handles: Handles, controller_id: str, recipient_key: bytes) -> list[SuppressionRow]:
    """All suppressions of one person at one controller, lifted ones included."""
    rows = SQL.suppressions(handles.db, controller_id=controller_id, recipient_key=recipient_key)
    return [suppression_row(controller_id, recipient_key, row) for row in rows]


def add(handles: Handles, acts: Sequence[Act], row: SuppressionRow, owed: OwedLetter | None = None) -> SuppressionRow:
    """Put a suppression on the list with its ledger entries and the letter that is owed for it. One that stands already
    is returned and left alone.

    So is that of an erasure, which covers everything: nothing new is kept about whoever is erased and stays away.
    """
    gone = not handles.keys.wrapped(row.controller_id, [row.recipient_key])
    for old in of_person(handles, row.controller_id, row.recipient_key):
        if old.covers(row) or (gone and old.reason == "erasure" and old.lifted_at is None):
            return old
    SQL.add_suppression(
        handles.db, controller_id=row.controller_id, recipient_key=row.recipient_key,
        suppression_id=row.suppression_id, scope=row.scope, purpose=row.purpose, reason=row.reason, source=row.source,
        at=milliseconds(row.at), lifted_at=None if row.lifted_at is None else milliseconds(row.lifted_at),
    )  # fmt: skip
    people.record(handles, acts)
    if owed is not None:
        letters.owe(handles, owed)
    return row


def lift(handles: Handles, acts: Sequence[Act], row: SuppressionRow) -> bool:
    """End a suppression at `row.lifted_at`, with its ledger entries. False where it had ended before."""
    assert row.lifted_at is not None
    changed = SQL.lift_suppression(
        handles.db, controller_id=row.controller_id, recipient_key=row.recipient_key,
        suppression_id=row.suppression_id, lifted_at=milliseconds(row.lifted_at),
    )  # fmt: skip
    if changed:
        letters.withdraw(handles, row.controller_id, row.suppression_id)
        people.record(handles, acts)
    return bool(changed)


def lift_for(handles: Handles, acts: Sequence[Act], row: SuppressionRow) -> None:
    """Let a suppression stand but for the purposes in `row.lifted_for`, with the ledger entries of that."""
    SQL.lift_for(
        handles.db, controller_id=row.controller_id, recipient_key=row.recipient_key,
        suppression_id=row.suppression_id, lifted_for=lifted_column(row.lifted_for),
    )  # fmt: skip
    people.record(handles, acts)


def page(
    handles: Handles, controller_id: str, after: tuple[bytes, bytes], n: int, addresses: bool
) -> list[SuppressionRow]:
    """The next n suppressions of a controller, by recipient key."""
    rows = list(SQL.list_suppressions(
        handles.db, controller_id=controller_id, after_key=after[0], after_id=after[1], n=n
    ))  # fmt: skip
    return [
        suppression_row(
            controller_id, row[0], row[1:], people.address(handles, controller_id, row[0]) if addresses else None
        )
        for row in rows
    ]


def suppression_row(
    controller_id: str, recipient_key: bytes, row: Sequence[Any], address: str | None = None
) -> SuppressionRow:
    """A suppression from the columns that follow its key."""
    suppression_id, scope, purpose, reason, source, at, lifted_at, lifted_for = row
    return SuppressionRow(
        controller_id=controller_id, recipient_key=recipient_key, suppression_id=suppression_id, scope=scope,
        purpose=purpose, reason=reason, source=source, at=instant(at),
        lifted_at=None if lifted_at is None else instant(lifted_at), address=address,
        lifted_for=lifted_purposes(lifted_for),
    )  # fmt: skip
