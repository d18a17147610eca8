"""What every store promises about paces: turns that all workers and nodes take from one row, so that rates hold."""

from datetime import datetime, timedelta
from typing import Protocol


class Pacing(Protocol):
    """Part of contract.Store. A pace has a name of bytes, which holds nothing of a person in clear."""

    async def reserve_turns(self, name: bytes, *, now: datetime, span: timedelta, most: timedelta) -> datetime:
        """Take the next `span` of a pace, and say when it begins: now, or where what others took ends.

        An end that is further off than `most` was written by a clock that was set back since: then it begins now.
        """

    async def forget_paces(self, *, before: datetime) -> None:
        """Drop the rows of paces that nobody used since."""
