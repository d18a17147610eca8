"""Copies that wait, as staff sees them and acts on them, in SQL. Functions of a database thread's handles."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.store import queue
from gateway.store.arrivals import HOUR_MS, rcpt_row
from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.halts import SQL
from gateway.store.keys import opened
from gateway.store.tallies import Depths
from gateway.store.waiting import HELD, CopyKey, Depth, Hold, Line, WaitingCopy
from suppression.vault import Unreadable

Place = tuple[Any, ...]


def lines(handles: Handles) -> list[Line]:
    """Every line that has copies now."""
    db = handles.db
    found = [
        Line("queued", route=route, turn=turn)
        for (route,) in list(SQL.queued_routes(db)) for turn, _ in list(queue.SQL.turns(db, route=route))
    ]  # fmt: skip
    held = [Line("held", controller_id=owner) for (owner,) in SQL.held_owners(db)]
    return [*found, Line("claimed"), *held]


def line_page(handles: Handles, line: Line, past: Place | None, n: int) -> tuple[list[WaitingCopy], Place | None]:
    """The next n copies of a line behind a place, and the place of the last; None: there are no more."""
    db = handles.db
    if line.state == "queued":
        due_at, controller_id, message_id, copy_no = past or (-1, "", b"", -1)
        rows = list(SQL.queued_page(
            db, route=line.route, turn=line.turn, due_at=due_at, controller_id=controller_id, message_id=message_id,
            copy_no=copy_no, n=n,
        ))  # fmt: skip
        places = [(row[7], *row[:3]) for row in rows]
    elif line.state == "claimed":
        worker, controller_id, message_id, copy_no = past or ("", "", b"", -1)
        rows = list(SQL.claimed_page(
            db, worker=worker, controller_id=controller_id, message_id=message_id, copy_no=copy_no, n=n
        ))  # fmt: skip
        places = [(row[13], *row[:3]) for row in rows]
    else:
        message_id, copy_no = past or (b"", -1)
        rows = list(SQL.held_page(db, controller_id=line.controller_id, message_id=message_id, copy_no=copy_no, n=n))
        places = [row[1:3] for row in rows]
    return [_copy(handles, row) for row in rows], tuple(places[-1]) if len(rows) == n else None


def of_message(handles: Handles, message_id: bytes) -> list[WaitingCopy]:
    """Copies of one message that have not left, whosever it is."""
    return [
        _copy(handles, row)
        for owner in queue.controllers(handles)
        for row in list(SQL.of_message(handles.db, controller_id=owner, message_id=message_id))
    ]


def _copy(handles: Handles, row: Sequence[Any]) -> WaitingCopy:
    controller_id, message_id, copy_no, state, stream, campaign, route, due, attempts, code, said, rcpt, at, *rest = row
    try:
        plain = opened(handles.keys.hour(at // HOUR_MS), rcpt, rcpt_row(message_id, copy_no))
    except Unreadable:
        plain = None
    return WaitingCopy(
        key=CopyKey(controller_id, message_id, copy_no), state=state, stream=stream, campaign=campaign, route=route,
        due_at=None if due is None else instant(due), attempts=attempts, reason_code=code, said=said,
        rcpt=plain, at=instant(at), maybe_twice=int(rest[1]),
    )  # fmt: skip


def holds(handles: Handles) -> list[Hold]:
    """Every hold, in order of its name."""
    return [
        Hold(controller_id=owner, stream=stream, campaign=campaign, at=instant(at))
        for owner, stream, campaign, at in SQL.holds(handles.db)
    ]


def depths(handles: Handles) -> list[Depth]:
    """How many copies wait and are held."""
    return [Depth(*row) for row in queue.SQL.depths(handles.db)]


def hold(handles: Handles, keys: Sequence[CopyKey]) -> int:
    """Set copies aside that are in the queue; how many were."""
    return len(_moved(handles, SQL.hold_copies.sql, keys, waiting=-1, held=1, said=HELD))


def release(handles: Handles, keys: Sequence[CopyKey], now: datetime) -> int:
    """Let held copies go on; how many did."""
    done = _moved(handles, SQL.release_copies.sql, keys, waiting=1, held=-1, now=milliseconds(now))
    handles.db.executemany(SQL.release_messages.sql, [
        {"controller_id": owner, "message_id": message_id, "now": milliseconds(now)}
        for owner, message_id in sorted({key[:2] for key in done})
    ])  # fmt: skip
    return len(done)


def drop(handles: Handles, keys: Sequence[CopyKey], now: datetime) -> int:
    """End copies that wait or are held, for good; how many were."""
    at = milliseconds(now)
    done = _moved(handles, SQL.drop_queued.sql, keys, waiting=-1, now=at)
    done += _moved(handles, SQL.drop_held.sql, keys, held=-1, now=at)
    queue.close_several(handles, Counter(key[:2] for key in done))
    return len(done)


def _moved(
    handles: Handles, sql: str, keys: Sequence[CopyKey], waiting: int = 0, held: int = 0, **more: Any
) -> list[CopyKey]:
    """Those of the copies that were as the statement wants them, and are counted in their new state."""
    keys, counted = sorted(keys), Depths()
    done = []
    for key, row in zip(keys, handles.db.each(sql, [{**key._asdict(), **more} for key in keys]), strict=True):
        if row is not None:
            done.append(key)
            counted.add(key.controller_id, row[1], row[0], waiting=waiting, held=held)
    counted.write(handles)
    return done
