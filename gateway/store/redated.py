"""Copies dated by a clock that ran ahead and was set back, in SQL. Functions of a database thread's handles.

A copy's last decision stands beside the time when it is due: one that was decided in a time to come was dated by
another clock, and what lies between the two is how long it was meant to wait. So they do not all go at once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.tallies import QUEUE as SQL
from gateway.store.waiting import CopyKey, Line

PAGE: Final = 500
APART: Final = timedelta(seconds=5)
"""How far the clocks of two machines may be apart, and neither was set."""

Place = tuple[Any, ...]


def beginning(now: datetime) -> Place:
    """Before the first copy that is not due yet."""
    return milliseconds(now), "", b"", -1


def page(handles: Handles, line: Line, past: Place, now: datetime) -> tuple[list[CopyKey], Place | None]:
    """Of the next copies of a line that are not due yet those that were dated wrongly, and the place of the last; None:
    there are no more."""
    due_at, controller_id, message_id, copy_no = past
    rows = list(SQL.later(
        handles.db, route=line.route, turn=line.turn, due_at=due_at, controller_id=controller_id,
        message_id=message_id, copy_no=copy_no, n=PAGE,
    ))  # fmt: skip
    wrong = [CopyKey(*row[1:4]) for row in rows if row[4] > milliseconds(now + APART)]
    return wrong, tuple(rows[-1][:4]) if len(rows) == PAGE else None


def put_right(handles: Handles, keys: Sequence[CopyKey], now: datetime) -> int:
    """Date copies anew that still wait; how many."""
    at, latest = milliseconds(now), milliseconds(now + APART)
    keys = sorted(keys)
    rows = handles.db.each(SQL.redate.sql, [{**key._asdict(), "now": at, "latest": latest} for key in keys])
    done = [key for key, row in zip(keys, rows, strict=True) if row is not None]
    handles.db.executemany(SQL.begin_anew.sql, [
        {"controller_id": owner, "message_id": message_id, "now": at}
        for owner, message_id in sorted({key[:2] for key in done})
    ])  # fmt: skip
    return len(done)
