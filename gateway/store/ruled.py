"""What stands ruled about similar products, read with the people a decision is about."""

import json
from importlib.resources import files

import aiosql

from gateway.store.connection import Handles
from suppression.similarity import NOTHING_RULED, Ruled, ruled

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "rulings.sql"), "sqlite3")

_AT_ONCE = 1024
_known: dict[bytes, Ruled] = {}


def standing(handles: Handles, controller_id: str) -> Ruled:
    """What stands ruled for a controller; found anew when there is a newer entry, whose id nobody else ever had."""
    row = handles.db.execute(SQL.last_ruling.sql, {"controller_id": controller_id}).fetchone()
    if row is None:
        return NOTHING_RULED
    found = _known.get(row[0])
    if found is None:
        if len(_known) >= _AT_ONCE:
            _known.clear()
        _known[row[0]] = found = _read(handles, controller_id)
    return found


def _read(handles: Handles, controller_id: str) -> Ruled:
    said = []
    for _, _, public, _, _ in SQL.rulings(handles.db, controller_id=controller_id):
        fields = json.loads(public)
        if fields["state"] == "in force":
            said.append((fields["first"], fields["other"], fields["similar"]))
    return ruled(said)
