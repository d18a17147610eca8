"""What every store promises about reports: what was kept out, counts of campaigns, captured mail. Values and calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A copy that was blocked or put off, as the report needs it."""

    at: datetime
    stream: str
    campaign: str
    subject: str
    message_id: bytes
    copy_no: int
    recipient_key: bytes
    address: str | None
    verdict: str
    reason_code: str
    cite: str
    mode: str
    packs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A copy that was kept instead of handed over."""

    message_id: bytes
    copy_no: int
    at: datetime
    stream: str
    campaign: str
    subject: str
    recipient_key: bytes
    address: str | None
    size: int


Before = tuple[datetime, bytes, int]
"""Instant of the decision, message id and number of a copy: where a page that goes back in time ends."""


class Reporting(Protocol):
    """Calls of a store about reports. Each reads in one transaction."""

    async def held_out(
        self, controller_id: str, *, since: datetime | None, before: Before | None, n: int, addresses: bool
    ) -> list[HeldOut]: ...
    async def let_through(
        self, controller_id: str, *, since: datetime | None, before: Before | None, n: int, addresses: bool
    ) -> list[HeldOut]: ...
    async def tallies(self, controller_id: str) -> dict[tuple[str, str], dict[str, int]]: ...
    async def campaign(
        self, controller_id: str, stream: str, campaign: str
    ) -> tuple[datetime, datetime, str] | None: ...
    async def campaign_kind(self, controller_id: str, stream: str, campaign: str) -> Mapping[str, Any]: ...
    async def captured(
        self, controller_id: str, *, before: tuple[bytes, int] | None, n: int, addresses: bool
    ) -> list[Captured]: ...
    async def copy(self, controller_id: str, message_id: bytes, copy_no: int) -> Mapping[str, Any] | None: ...
