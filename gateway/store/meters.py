"""The proof of whole lists: standings page by page, and what was counted. Functions of a thread's handles."""

import json
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

import aiosql

from gateway.store.ahead import standing_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.keys import opened, sealed
from gateway.store.material import KeptMeter, StandingPage
from gateway.store.sealing import last_entry_id
from suppression import standing
from suppression.ledger import encode
from suppression.proof_meter import Meter
from suppression.standing import Standing
from suppression.vault import PersonSecret

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "material.sql"), "sqlite3")


def standings(handles: Handles, controller_id: str, after: bytes, n: int) -> StandingPage:
    """The next n people's standings, by recipient key."""
    named = {"controller_id": controller_id, "after": after, "n": n}
    rows = handles.db.execute(SQL.standings_after.sql, named).fetchall()
    secrets = handles.keys.readable(controller_id, [key for key, _ in rows])
    found = [_standing(controller_id, key, secrets.get(key), facts) for key, facts in rows]
    readable = tuple(one for one in found if one is not None)
    return StandingPage(
        standings=readable, unreadable=len(found) - len(readable), after=rows[-1][0] if len(rows) == n else None
    )


def _standing(controller_id: str, key: bytes, secret: PersonSecret | None, facts: bytes) -> Standing | None:
    plain = opened(secret.key, facts, standing_row(controller_id, key)) if secret is not None else None
    try:
        return None if plain is None else standing.read(standing.load(plain))
    except (ValueError, KeyError, TypeError):
        return None


def kept(handles: Handles, controller_id: str) -> KeptMeter | None:
    """The last count; None where there is none that can be read."""
    row = SQL.meter(handles.db, controller_id=controller_id)
    secret = handles.keys.controller(controller_id)
    if row is None or row[1] is None or secret is None:
        return None
    plain = opened(secret.key, row[3], _meter_row(controller_id))
    if plain is None:
        return None
    newest = last_entry_id(handles, controller_id) or b""
    return KeptMeter(
        meter=Meter.from_dict(json.loads(plain)), counted_at=instant(row[1]), current=bytes(row[2]) == newest
    )


def due(handles: Handles, controller_id: str, now: datetime) -> tuple[bool, bytes]:
    """Whether the ledger grew since the last count and that was long enough ago; and the newest entry's id."""
    newest = last_entry_id(handles, controller_id) or b""
    row: Sequence[object] | None = SQL.meter(handles.db, controller_id=controller_id)
    if row is None:
        return bool(newest), newest
    return int(str(row[0])) <= milliseconds(now) and row[2] != newest, newest


def begin(handles: Handles, controller_id: str, now: datetime, until: datetime) -> bool:
    """Put the next count off until an instant; False where another process just did."""
    if not due(handles, controller_id, now)[0]:
        return False
    SQL.put_off_meter(handles.db, controller_id=controller_id, due_at=milliseconds(until))
    return True


def keep(
    handles: Handles, controller_id: str, meter: Meter, entry_id: bytes, counted_at: datetime, due_at: datetime
) -> None:
    """Keep a count. `entry_id`: the newest entry when it began."""
    secret = handles.keys.make_controller(controller_id)
    SQL.put_meter(
        handles.db, controller_id=controller_id, due_at=milliseconds(due_at), counted_at=milliseconds(counted_at),
        entry_id=entry_id, content=sealed(secret.key, encode(meter.to_dict()), _meter_row(controller_id)),
    )  # fmt: skip


def _meter_row(controller_id: str) -> bytes:
    """What a sealed meter is bound to."""
    return b"meter/" + controller_id.encode()
