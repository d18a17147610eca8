"""The store's calls about keys of the API. See access.Access, call by call."""

from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import aiosql

from gateway.store.access import ApiKey
from gateway.store.columns import instant, milliseconds
from gateway.store.sql_base import SqlBase

SQL = aiosql.from_path(str(files("gateway.store") / "sql" / "access.sql"), "sqlite3")


class SqlAccess(SqlBase):
    """What SqlStore promises about who may call."""

    async def api_key(self, controller_id: str, key_id: bytes) -> ApiKey | None:
        row = await self._read(lambda h: SQL.api_key(h.db, controller_id=controller_id, key_id=key_id))
        return None if row is None else _api_key(controller_id, row)

    async def api_keys(self, controller_id: str) -> list[ApiKey]:
        rows = await self._read(lambda h: list(SQL.api_keys(h.db, controller_id=controller_id)))
        return [_api_key(controller_id, row) for row in rows]

    async def add_api_key(self, key: ApiKey) -> None:
        row = {
            "controller_id": key.controller_id, "key_id": key.key_id, "name": key.name, "digest": key.digest,
            "scopes": " ".join(key.scopes), "created_at": milliseconds(key.created_at),
        }  # fmt: skip
        await self._write(lambda h: SQL.add_api_key(h.db, **row))

    async def revoke_api_key(self, controller_id: str, key_id: bytes, at: datetime) -> bool:
        row = {"controller_id": controller_id, "key_id": key_id, "at": milliseconds(at)}
        return bool(await self._write(lambda h: SQL.revoke_api_key(h.db, **row)))

    async def api_key_used(self, controller_id: str, key_id: bytes, at: datetime) -> None:
        row = {"controller_id": controller_id, "key_id": key_id, "at": milliseconds(at)}
        await self._write(lambda h: SQL.use_api_key(h.db, **row))


def _api_key(controller_id: str, row: Sequence[Any]) -> ApiKey:
    key_id, name, digest, scopes, created_at, last_used_at, revoked_at = row
    return ApiKey(
        controller_id=controller_id, key_id=key_id, name=name, digest=digest, scopes=tuple(scopes.split()),
        created_at=instant(created_at), last_used_at=None if last_used_at is None else instant(last_used_at),
        revoked_at=None if revoked_at is None else instant(revoked_at),
    )  # fmt: skip
