"""A batch of an import in which everybody is new, as it came sealed from the process that reads: written as it is.

Most batches of a first import are like that. Nothing of what such a row says need be read, since it was sealed for this
case; only the places in the chain are given here. Where one person of the batch is known, stands on the list of
suppressions, comes twice, or somebody else wrote a later entry meanwhile, the whole batch goes the ordinary way
(intake.py), which writes the same rows.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from gateway.store import sealing
from gateway.store.ahead import Fresh
from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.contract import Statement, Taken
from gateway.store.keys import of_neighbours
from gateway.store.people import EVERYWHERE, SQL
from suppression.chain import Stored
from suppression.ledger import encode

_NEW: Final = Taken("kept", new_person=True, stopped=False)


def made_elsewhere(statements: Sequence[Statement]) -> Mapping[bytes, Fresh] | None:
    """What came sealed with the rows, the first row of each person; None where some row came without."""
    made: dict[bytes, Fresh] = {}
    for statement in statements:
        if statement.fresh is None:
            return None
        made.setdefault(statement.who.recipient_keys[0], statement.fresh)
    return made


def take_in(handles: Handles, statements: Sequence[Statement], at: datetime) -> list[Taken] | None:
    """What became of each row; None where the batch is none of newcomers alone: then nothing was written."""
    made = [one.fresh for one in statements if one.fresh is not None and one.fresh.facts and len(one.entries) == 1]
    if len(made) != len(statements) or not _are_new(handles, statements, made):
        return None
    _write(handles, statements, made, milliseconds(at))
    return [_NEW] * len(statements)


def _are_new(handles: Handles, statements: Sequence[Statement], made: Sequence[Fresh]) -> bool:
    controller_id = statements[0].who.controller_id
    if len({one.who.recipient_keys[0] for one in statements}) < len(statements):
        return False
    last = sealing.last_entry_id(handles, controller_id) or b""
    ids = [last, *(one.entry_id for one in made)]
    if any(later <= earlier for earlier, later in itertools.pairwise(ids)):
        return False
    keys = [key for one in statements for key in one.who.recipient_keys]
    if handles.keys.wrapped(controller_id, keys, neighbours=True):
        return False
    if _any(handles, SQL.standings_between.sql, SQL.standings_of_many.sql, controller_id, keys):
        return False
    between, each = SQL.suppressions_between.sql, SQL.suppressions_of_many.sql
    if _any(handles, between, each, controller_id, keys):
        return False
    if SQL.any_suppression(handles.db, controller_id=EVERYWHERE) is None:
        return True
    global_keys = [key for one in statements for key in one.who.global_keys]
    return not _any(handles, between, each, EVERYWHERE, global_keys)


def _any(handles: Handles, between: str, each: str, controller_id: str, keys: Sequence[bytes]) -> bool:
    wanted = set(keys)
    return any(row[0] in wanted for row in of_neighbours(handles.db, between, each, controller_id, keys))


def _write(handles: Handles, statements: Sequence[Statement], made: Sequence[Fresh], at: int) -> None:
    db, owner = handles.db, statements[0].who.controller_id
    keys = [one.who.recipient_keys[0] for one in statements]
    handles.keys.add_wrapped([(owner, key, fresh.wrapped) for key, fresh in zip(keys, made, strict=True)])
    db.executemany(SQL.put_profiles.sql, [(owner, key, one.profile, at) for key, one in zip(keys, made, strict=True)])
    publics = {id(one.public): encode(one.public) for one in {id(one.public): one for one in statements}.values()}
    sealing.add(handles, owner, [
        Stored(
            owner.encode(), fresh.entry_id, at, one.entries[0][0].encode(), fresh.subject, publics[id(one.public)],
            fresh.private, fresh.commitment, None, None, None,
        )
        for one, fresh in zip(statements, made, strict=True)
    ])  # fmt: skip
    db.executemany(SQL.put_standings.sql, [(owner, key, one.facts) for key, one in zip(keys, made, strict=True)])
