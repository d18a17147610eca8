"""What every store promises about smarthosts that cannot be used: which, since when, and what they said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNote:
    """What became of getting ready at a host. `host`: "name:port". `stage` None: it is well again.

    `code`, `said`: its reply, without addresses; None and our own words where there was none.
    """

    route: str
    host: str
    at: datetime
    stage: str | None = None
    code: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFault:
    """A host that could not be used when it was last asked. `stage`, `code`, `said`: as they were then."""

    route: str
    host: str
    stage: str
    code: int | None
    said: str
    since: datetime
    last_at: datetime


class Faults(Protocol):
    """Part of contract.Store."""

    async def note_hosts(self, notes: Sequence[HostNote]) -> None:
        """Write down which hosts cannot be used, and which can again."""

    async def host_faults(self) -> list[HostFault]:
        """The hosts that cannot be used, by route and name."""
