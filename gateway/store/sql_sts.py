"""The store's calls about MTA-STS policies. See sts.StsPolicies, call by call."""

from datetime import datetime
from importlib.resources import files

import aiosql

from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.sql_base import SqlBase
from gateway.store.sts import SealedPolicy

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "sts.sql"), "sqlite3")


class SqlSts(SqlBase):
    """What a store promises about MTA-STS policies. A hand-over waits for what is read: it never waits for a report."""

    async def keep_sts_policy(self, policy: SealedPolicy) -> None:
        row = {
            "name": policy.name, "sealed": policy.sealed, "fetched": milliseconds(policy.fetched_at),
            "ends": milliseconds(policy.ends_at),
        }  # fmt: skip
        await self._write(lambda h: SQL.keep(h.db, **row))

    async def sts_policy(self, name: bytes, *, now: datetime) -> SealedPolicy | None:
        row = await self._fast_thread.run(lambda h: SQL.recall(h.db, name=name, now=milliseconds(now)))
        if row is None:
            return None
        sealed, fetched_at, ends_at = row
        return SealedPolicy(name=name, sealed=sealed, fetched_at=instant(fetched_at), ends_at=instant(ends_at))

    async def forget_sts_policies(self, *, now: datetime, most: int) -> None:
        def forget(handles: Handles) -> None:
            SQL.forget_ended(handles.db, now=milliseconds(now))
            SQL.forget_oldest(handles.db, newer=most - 1)

        await self._write(forget)
