"""A batch of an import in which everybody is new, as it came sealed from the process that reads: written as it is.

Most batches of a first import are like that. Nothing of what such a row says need be read, since it was sealed for this
case; only the places in the chain are given here. Where one person of the batch is known, stands on the list of
suppressions, comes twice, or somebody else wrote a later entry meanwhile, the whole batch goes the ordinary way
(intake.py), which writes the same rows.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime

from gateway.store import sealing
from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.keys import of_neighbours
from gateway.store.people import EVERYWHERE, SQL
from gateway.store.sealed_rows import SealedBatch
from suppression.chain import Stored
from suppression.ledger import encode


def take_in(handles: Handles, batch: SealedBatch, at: datetime) -> bool:
    """Write a batch of newcomers alone. False where it is none: then nothing was written."""
    if not all(batch.rows.facts) or any(batch.rows.later) or not _are_new(handles, batch):
        return False
    _write(handles, batch, milliseconds(at))
    return True


def _are_new(handles: Handles, batch: SealedBatch) -> bool:
    controller_id, rows = batch.controller_id, batch.rows
    if len({of_one[0] for of_one in rows.keys}) < len(rows.keys):
        return False
    last = sealing.last_entry_id(handles, controller_id) or b""
    if any(later <= earlier for earlier, later in itertools.pairwise((last, *rows.entry_ids))):
        return False
    keys = [key for of_one in rows.keys for key in of_one]
    if handles.keys.wrapped(controller_id, keys, neighbours=True):
        return False
    if _any(handles, SQL.standings_between.sql, SQL.standings_of_many.sql, controller_id, keys):
        return False
    between, each = SQL.suppressions_between.sql, SQL.suppressions_of_many.sql
    if _any(handles, between, each, controller_id, keys):
        return False
    if SQL.any_suppression(handles.db, controller_id=EVERYWHERE) is None:
        return True
    global_keys = [key for of_one in rows.global_keys for key in of_one]
    return not _any(handles, between, each, EVERYWHERE, global_keys)


def _any(handles: Handles, between: str, each: str, controller_id: str, keys: Sequence[bytes]) -> bool:
    wanted = set(keys)
    return any(row[0] in wanted for row in of_neighbours(handles.db, between, each, controller_id, keys))


def _write(handles: Handles, batch: SealedBatch, at: int) -> None:
    db, rows, owner = handles.db, batch.rows, itertools.repeat(batch.controller_id)
    keys = [of_one[0] for of_one in rows.keys]
    handles.keys.add_wrapped(list(zip(owner, keys, rows.wrapped, strict=False)))
    db.executemany(SQL.put_profiles.sql, zip(owner, keys, rows.profiles, itertools.repeat(at), strict=False))
    marks = (encode(batch.mark), encode(batch.mark_that_stays))
    owned_by = batch.controller_id.encode()
    sealing.add(handles, batch.controller_id, [
        Stored(owned_by, entry_id, at, kind.encode(), subject, marks[stays], private, commitment, None, None, None)
        for entry_id, (kind,), subject, stays, private, commitment in zip(
            rows.entry_ids, rows.kinds, rows.subjects, rows.marks_stay, rows.private, rows.commitments, strict=True
        )
    ])  # fmt: skip
    db.executemany(SQL.put_standings.sql, zip(owner, keys, rows.facts, strict=False))
