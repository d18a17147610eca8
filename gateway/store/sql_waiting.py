"""The store's calls about copies that wait. See waiting.Waiting, call by call."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from gateway.store import halts, people, queued
from gateway.store.columns import milliseconds
from gateway.store.connection import Handles
from gateway.store.evidence import Note
from gateway.store.sql_base import SqlBase
from gateway.store.waiting import CopyKey, Depth, Halted, Hold, Line, WaitingCopy


class SqlWaiting(SqlBase):
    """What SqlStore promises about copies that wait."""

    async def lines(self) -> list[Line]:
        return await self._read(queued.lines)

    async def line_page(
        self, line: Line, *, past: tuple[Any, ...] | None, n: int
    ) -> tuple[list[WaitingCopy], tuple[Any, ...] | None]:
        return await self._read(partial(queued.line_page, line=line, past=past, n=n))

    async def waiting_copies(self, message_id: bytes) -> list[WaitingCopy]:
        return await self._read(partial(queued.of_message, message_id=message_id))

    async def depths(self) -> list[Depth]:
        return await self._read(queued.depths)

    async def halted(self) -> Halted:
        return await self._fast_thread.run(halts.halted)  # each half second: never behind a long report

    async def holds(self) -> list[Hold]:
        return await self._read(queued.holds)

    async def put_hold(self, hold: Hold, notes: Sequence[Note]) -> bool:
        def unit(handles: Handles) -> bool:
            new = bool(halts.SQL.put_hold(handles.db, **_place(hold), at=milliseconds(hold.at)))
            people.note(handles, notes if new else ())
            return new

        return await self._enter(unit)

    async def lift_hold(self, hold: Hold, notes: Sequence[Note]) -> bool:
        def unit(handles: Handles) -> bool:
            gone = bool(halts.SQL.lift_hold(handles.db, **_place(hold)))
            people.note(handles, notes if gone else ())
            return gone

        return await self._enter(unit)

    async def hold_copies(self, keys: Sequence[CopyKey]) -> int:
        return await self._write(partial(queued.hold, keys=keys))

    async def release_copies(self, keys: Sequence[CopyKey], *, now: datetime) -> int:
        return await self._write(partial(queued.release, keys=keys, now=now))

    async def drop_copies(self, keys: Sequence[CopyKey], *, now: datetime) -> int:
        return await self._write(partial(queued.drop, keys=keys, now=now))


def _place(hold: Hold) -> dict[str, str]:
    return {"controller_id": hold.controller_id, "stream": hold.stream, "campaign": hold.campaign}
