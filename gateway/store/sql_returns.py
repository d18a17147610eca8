"""The store's calls about what comes back. See returned.Returns, call by call."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from gateway.store import kept_returns, returns, write_backs
from gateway.store.connection import Handles
from gateway.store.contract import Act, SuppressionRow
from gateway.store.evidence import Note
from gateway.store.people import note
from gateway.store.returned import CampaignStop, Heeded, Returned, ReturnedRow, SentCopy, Task
from gateway.store.sql_write_backs import SqlWriteBacks

BATCH = 1000


class SqlReturns(SqlWriteBacks):
    """What SqlStore promises about what comes back."""

    async def sent_copy(self, controller_id: str, message_id: bytes, copy_no: int) -> SentCopy | None:
        return await self._read(
            partial(returns.sent_copy, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
        )

    async def copy_for(self, controller_id: str, message_id: bytes, recipient_key: bytes) -> int | None:
        return await self._read(
            partial(returns.copy_for, controller_id=controller_id, message_id=message_id, recipient_key=recipient_key)
        )

    async def heed(self, returned: Returned) -> Heeded:
        def unit(handles: Handles) -> Heeded:
            done = returns.heed(handles, returned)
            if returned.stop is not None and done.placed is returned.stop:
                told = self._told(returned.controller_id)
                write_backs.opted_out(handles, told, returned.stop, returned.message_id)
            return done

        return await self._enter(unit)

    async def came_back(
        self, controller_id: str, *, since: datetime | None = None, kinds: Sequence[str] = (), waiting: bool = False,
        recipient_key: bytes | None = None, past: bytes | None = None, n: int, addresses: bool = False,
    ) -> list[ReturnedRow]:  # fmt: skip
        return await self._read(partial(
            kept_returns.listed, controller_id=controller_id, since=since, kinds=kinds, waiting=waiting,
            recipient_key=recipient_key, past=past, n=n, addresses=addresses,
        ))  # fmt: skip

    async def count_returned(self, controller_id: str, since: datetime) -> list[tuple[str, str, str, int]]:
        return await self._read(partial(returns.counts, controller_id=controller_id, since=since))

    async def returned_one(self, controller_id: str, report_id: bytes) -> ReturnedRow | None:
        return await self._read(partial(returns.one, controller_id=controller_id, report_id=report_id))

    async def settle(
        self, controller_id: str, report_id: bytes, task: Task, acts: Sequence[Act], *,
        lifts: Sequence[tuple[SuppressionRow, Sequence[Act]]] = (), by: str, now: datetime,
    ) -> bool:  # fmt: skip
        def unit(handles: Handles) -> bool:
            lifted = returns.settle(handles, controller_id, report_id, task, acts, lifts, by, now)
            for row in lifted or ():
                write_backs.lifted(handles, self._told(controller_id), row)
            return lifted is not None

        return await self._enter(unit)

    async def works_again(self, act: Act) -> bool:
        return await self._enter(partial(returns.works_again, act=act))

    async def campaign_stops(self) -> list[CampaignStop]:
        return await self._read(returns.stops)

    async def release_campaign(
        self, controller_id: str, stream: str, campaign: str, *, notes: Sequence[Note], now: datetime
    ) -> int | None:
        def unit(handles: Handles) -> bool:
            released = returns.release(handles, controller_id, stream, campaign, now)
            note(handles, notes if released else ())
            if released:
                handles.db.call("stops")
            return released

        if not await self._enter(unit):
            return None
        again = 0
        past: tuple[bytes, int] | None = (b"", -1)
        while past is not None:
            done, past = await self._write(partial(
                returns.queue_again, controller_id=controller_id, stream=stream, campaign=campaign, now=now, past=past,
                n=BATCH,
            ))  # fmt: skip
            again += done
        return again

    async def drop_returned(self, *, before: datetime, routes_before: datetime, n: int) -> int:
        return await self._write(partial(returns.drop, before=before, routes_before=routes_before, n=n))
