"""The store's calls about reports. See reporting.Reporting, call by call."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from gateway.store import reports
from gateway.store.reporting import Before, Captured, HeldOut
from gateway.store.sql_base import SqlBase


class SqlReports(SqlBase):
    """What SqlStore promises about reports."""

    async def held_out(
        self, controller_id: str, *, since: datetime | None, before: Before | None, n: int, addresses: bool
    ) -> list[HeldOut]:
        return await self._read(partial(
            reports.held_out, controller_id=controller_id, since=since, before=before, n=n, addresses=addresses
        ))  # fmt: skip

    async def let_through(
        self, controller_id: str, *, since: datetime | None, before: Before | None, n: int, addresses: bool
    ) -> list[HeldOut]:
        return await self._read(partial(
            reports.held_out, controller_id=controller_id, since=since, before=before, n=n, addresses=addresses,
            passed=True,
        ))  # fmt: skip

    async def tallies(self, controller_id: str) -> dict[tuple[str, str], dict[str, int]]:
        return await self._read(partial(reports.tallies, controller_id=controller_id))

    async def campaign(self, controller_id: str, stream: str, campaign: str) -> tuple[datetime, datetime, str] | None:
        return await self._read(
            partial(reports.campaign, controller_id=controller_id, stream=stream, campaign=campaign)
        )

    async def campaign_kind(self, controller_id: str, stream: str, campaign: str) -> Mapping[str, Any]:
        return await self._read(
            partial(reports.campaign_kind, controller_id=controller_id, stream=stream, campaign=campaign)
        )

    async def captured(
        self, controller_id: str, *, before: tuple[bytes, int] | None, n: int, addresses: bool
    ) -> list[Captured]:
        return await self._read(
            partial(reports.captured, controller_id=controller_id, before=before, n=n, addresses=addresses)
        )

    async def copy(self, controller_id: str, message_id: bytes, copy_no: int) -> Mapping[str, Any] | None:
        return await self._read(
            partial(reports.copy, controller_id=controller_id, message_id=message_id, copy_no=copy_no)
        )
