"""What every store promises about rulings on similar products: values and calls.

Rulings are entries of the ledger and nothing else, so that nothing can differ from it. They come to decisions with the
people they are about (Person.ruled): what was ruled counts from the next look-up on, in every process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

State = Literal["in force", "proposed", "declined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRuling:
    """One entry about two categories. Only "in force" counts; "proposed" waits for a second person.

    `channel`: "web" or "command line". `why` and `by` are empty where their key is gone. `proposal`: the entry this one
    answers. `second`: who agreed, where two were needed.
    """

    ruling_id: bytes
    at: datetime
    first: str
    other: str
    similar: bool
    state: State
    channel: str
    why: str
    by: str
    second: str = ""
    proposal: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeptOut:
    """Somebody who was kept out, and the categories their message was about."""

    recipient_key: bytes
    categories: tuple[str, ...]


class Rulings(Protocol):
    """Calls of a store about similar products. Each is one transaction. A ruling is written with `Evidence.note`."""

    async def rulings(self, controller_id: str) -> list[SimilarRuling]: ...
    async def kept_out_as(
        self, controller_id: str, reason_code: str, *, since: datetime, look_at: int
    ) -> Sequence[KeptOut]: ...
