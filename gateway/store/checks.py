"""What every store promises about checks of our own mail: counts and the last word, nothing of a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

CheckKind = Literal["signature", "loop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNote:
    """What came of checks since the last note. `name`: SELECTOR._domainkey.DOMAIN of a key, or a stream.

    `why`: what was wrong, in plain words and without content; empty where nothing failed.
    """

    controller_id: str
    kind: CheckKind
    name: str
    checked: int
    failed: int
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChecks:
    """All checks of one name. `failed_at` None: none ever failed; `why` is of that one."""

    kind: CheckKind
    name: str
    checked: int
    failed: int
    last_at: datetime
    failed_at: datetime | None
    why: str

    @property
    def well(self) -> bool:
        """Whether the last one that was noted was good."""
        return self.failed_at is None or self.failed_at < self.last_at


class Checks(Protocol):
    """Part of contract.Store."""

    async def note_checks(self, notes: Sequence[CheckNote]) -> None:
        """Add to what is kept."""

    async def checks(self, controller_id: str) -> list[KeptChecks]:
        """All that is kept of a controller, by kind and name."""
