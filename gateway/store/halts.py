"""What may not leave now, in SQL. Functions of a database thread's handles."""

from importlib.resources import files

import aiosql

from gateway.store.connection import Handles
from gateway.store.waiting import Halted

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "waiting.sql"), "sqlite3")


def halted(handles: Handles) -> Halted:
    """Every hold of an operator, and every campaign that complaints stopped."""
    return Halted(
        holds=frozenset((owner, stream, campaign) for owner, stream, campaign, _ in SQL.holds(handles.db)),
        stops=frozenset((owner, stream, campaign) for owner, stream, campaign in SQL.open_stops(handles.db)),
    )
