"""What every store promises about the keys of the API: values and calls. People's passwords: staff.Staff."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A program's way in, for one controller. `digest`: 32 bytes, of a secret that is kept nowhere.

    `key_id`: 8 bytes, random. `scopes`: what it may do. `last_used_at`: of its last POST, within an hour.
    """

    controller_id: str
    key_id: bytes
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class Access(Protocol):
    """Calls of a store about keys of the API. Each is one transaction."""

    async def api_key(self, controller_id: str, key_id: bytes) -> ApiKey | None: ...
    async def api_keys(self, controller_id: str) -> list[ApiKey]: ...
    async def add_api_key(self, key: ApiKey) -> None: ...
    async def revoke_api_key(self, controller_id: str, key_id: bytes, at: datetime) -> bool: ...
    async def api_key_used(self, controller_id: str, key_id: bytes, at: datetime) -> None: ...
