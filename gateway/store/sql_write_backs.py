"""The store's calls about write-back. See telling.WriteBacks, call by call."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from gateway.store import write_backs
from gateway.store.connection import Turn
from gateway.store.sql_base import SqlBase
from gateway.store.telling import Drift, Job, JobCount, JobEnd, JobRow, State, Target


class SqlWriteBacks(SqlBase):
    """What SqlStore promises about write-back."""

    _targets: Mapping[str, Sequence[Target]] = {}

    def tell(self, targets: Mapping[str, Sequence[Target]]) -> None:
        self._targets = targets

    def _told(self, controller_id: str) -> Sequence[Target]:
        return self._targets.get(controller_id, ())

    async def write_backs_due(self, now: datetime) -> list[str]:
        return await self._read(partial(write_backs.hosts_due, now=now))

    async def claim_write_backs(self, worker: str, host: str, *, now: datetime, n: int) -> list[Job]:
        return await self._write(partial(write_backs.claim, worker=worker, host=host, now=now, n=n))

    async def end_write_back(self, worker: str, end: JobEnd) -> None:
        if await self._write(partial(write_backs.end, worker=worker, ended=end)):
            await self._write(write_backs.let_go, Turn.NOBODY)

    async def take_back_write_backs(self, worker: str, now: datetime) -> int:
        return await self._write(partial(write_backs.take_back, worker=worker, now=now))

    async def sweep_write_backs(self, now: datetime, n: int) -> int:
        await self._write(partial(write_backs.stop_keeping, now=now))
        await self._write(write_backs.let_go, Turn.NOBODY)
        return await self._write(partial(write_backs.sweep, now=now, n=n))

    async def write_backs(self, controller_id: str, *, state: State | None, n: int) -> list[JobRow]:
        return await self._read(partial(write_backs.newest, controller_id=controller_id, state=state, n=n))

    async def hosts_told(self, controller_id: str, recipient_key: bytes) -> list[str]:
        return await self._read(
            partial(write_backs.hosts_told, controller_id=controller_id, recipient_key=recipient_key)
        )

    async def write_back_counts(self, controller_id: str) -> list[JobCount]:
        return await self._read(partial(write_backs.counts, controller_id=controller_id))

    async def change_write_backs(
        self, controller_id: str, *, job_id: bytes | None, target: str | None, to: State, now: datetime
    ) -> int:
        changed = await self._write(partial(
            write_backs.change, controller_id=controller_id, job_id=job_id, target=target, to=to, now=now
        ))  # fmt: skip
        await self._write(write_backs.let_go, Turn.NOBODY)
        return changed

    async def drift(self, controller_id: str, *, since: datetime) -> list[Drift]:
        return await self._read(partial(write_backs.drift, controller_id=controller_id, since=since))
