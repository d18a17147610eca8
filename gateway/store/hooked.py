"""What every store promises about hooks: the addresses at which providers tell of mail they took. Values and calls."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One address, for one controller and provider.

    `hook_id`: 8 bytes, random, its name for staff. `name`: digest of the id in the URL. `sealed`: that id and what
    proves the provider, wrapped under the installation key. `last_at`: of the last proven request, within a minute.
    """

    controller_id: str
    hook_id: bytes
    provider: str
    name: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    created_at: datetime
    last_at: datetime | None = None
    revoked_at: datetime | None = None


class Hooks(Protocol):
    """Calls of a store about hooks. Each is one transaction."""

    async def hook(self, name: bytes) -> Hook | None: ...
    async def hooks(self, controller_id: str) -> list[Hook]: ...
    async def add_hook(self, hook: Hook) -> None: ...
    async def revoke_hook(self, controller_id: str, hook_id: bytes, at: datetime) -> bool: ...
    async def hook_used(self, controller_id: str, hook_id: bytes, at: datetime) -> None: ...
    async def spend_hook_token(
        self, controller_id: str, hook_id: bytes, name: bytes, digest: bytes, at: datetime
    ) -> bool:
        """Take a token for one content; False where it was taken for another."""
        ...

    async def drop_hook_tokens(self, *, before: datetime, n: int) -> int: ...
