"""The store's calls about hooks. See hooked.Hooks, call by call."""

import hmac
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store.columns import instant, milliseconds
from gateway.store.connection import Handles
from gateway.store.hooked import Hook
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "hooks.sql"), "sqlite3")


class SqlHooks(SqlBase):
    """What SqlStore promises about hooks."""

    async def hook(self, name: bytes) -> Hook | None:
        row = await self._read(lambda h: SQL.hook(h.db, name=name))
        return None if row is None else _hook(row)

    async def hooks(self, controller_id: str) -> list[Hook]:
        return [_hook(row) for row in await self._read(lambda h: list(SQL.hooks(h.db, controller_id=controller_id)))]

    async def add_hook(self, hook: Hook) -> None:
        row = {
            "controller_id": hook.controller_id, "hook_id": hook.hook_id, "provider": hook.provider, "name": hook.name,
            "sealed": hook.sealed, "created_at": milliseconds(hook.created_at),
        }  # fmt: skip
        await self._write(lambda h: SQL.add_hook(h.db, **row))

    async def revoke_hook(self, controller_id: str, hook_id: bytes, at: datetime) -> bool:
        row = {"controller_id": controller_id, "hook_id": hook_id, "at": milliseconds(at)}
        return bool(await self._write(lambda h: SQL.revoke_hook(h.db, **row)))

    async def hook_used(self, controller_id: str, hook_id: bytes, at: datetime) -> None:
        row = {"controller_id": controller_id, "hook_id": hook_id, "at": milliseconds(at)}
        await self._write(lambda h: SQL.use_hook(h.db, **row))

    async def spend_hook_token(
        self, controller_id: str, hook_id: bytes, name: bytes, digest: bytes, at: datetime
    ) -> bool:
        place = {"controller_id": controller_id, "hook_id": hook_id, "name": name}

        def spend(handles: Handles) -> bool:
            SQL.spend(handles.db, **place, digest=digest, at=milliseconds(at))
            return hmac.compare_digest(SQL.spent_on(handles.db, **place)[0], digest)

        return await self._write(spend)

    async def drop_hook_tokens(self, *, before: datetime, n: int) -> int:
        row = {"before": milliseconds(before), "n": n}
        return int(await self._write(lambda h: SQL.drop_tokens(h.db, **row)))


def _hook(row: Sequence[Any]) -> Hook:
    controller_id, hook_id, provider, name, sealed, created_at, last_at, revoked_at = row
    return Hook(
        controller_id=controller_id, hook_id=hook_id, provider=provider, name=name, sealed=sealed,
        created_at=instant(created_at), last_at=None if last_at is None else instant(last_at),
        revoked_at=None if revoked_at is None else instant(revoked_at),
    )  # fmt: skip
