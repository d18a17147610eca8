"""What every store promises about staff who may sign in: values and calls. Programs have keys instead: access.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.store.evidence import Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """A member of staff who may sign in. `controllers` empty: all. Sessions begun before `signed_out_at` are over."""

    name: str
    password_hash: str
    roles: tuple[str, ...]
    controllers: tuple[str, ...]
    signed_out_at: datetime | None = None


class StaffList(Protocol):
    """Calls about staff. Each is one transaction, its notes for the ledger included."""

    async def staff(self, name: str) -> Staff | None: ...
    async def all_staff(self) -> list[Staff]: ...
    async def put_staff(self, staff: Staff, now: datetime, notes: Sequence[Note] = ()) -> None: ...
    async def sign_out(self, name: str, now: datetime) -> None: ...
    async def remove_staff(self, name: str, notes: Sequence[Note] = ()) -> bool: ...
