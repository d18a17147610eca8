"""The store's calls about paces. See pacing.Pacing, call by call."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files

import aiosql

from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "pacing.sql"), "sqlite3")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class SqlPacing(SqlBase):
    """What a store promises about paces. Microseconds in the database: turns may be less than a millisecond apart.

    Nothing that goes beside others writes these rows: two nodes that held a pace's row and wanted each other's counters
    would wait for each other.
    """

    async def reserve_turns(self, name: bytes, *, now: datetime, span: timedelta, most: timedelta) -> datetime:
        at = (now - _EPOCH) // _TICK
        named = {
            "name": name, "now": at, "span": span // _TICK, "until": at + span // _TICK, "far": at + most // _TICK,
        }  # fmt: skip
        row = await self._write(lambda h: SQL.reserve(h.db, **named))
        return _EPOCH + int(row[0]) * _TICK - span

    async def forget_paces(self, *, before: datetime) -> None:
        at = (before - _EPOCH) // _TICK
        await self._write(lambda h: SQL.forget(h.db, before=at))
