"""What a worker process lends to each of its lanes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Protocol

from gateway.clock_watch import ClockWatch
from gateway.config import Config
from gateway.hand import Hand
from gateway.handed_over import HandedOver
from gateway.notice import Notices
from gateway.paces import Paces
from gateway.parcel import Parcel
from gateway.recheck import Recheck
from gateway.render import Renderer
from gateway.return_paths import ReturnPaths
from gateway.store.connection import Gatherer
from gateway.store.contract import Ending, Store
from gateway.weigh import Scales
from suppression.vault import KeyRing


class Crew(Protocol):
    """What a worker process lends to each of its lanes (deliver.py). Settings may change between two copies."""

    config: Config
    scales: Scales
    renderer: Renderer
    notices: Notices
    returns: ReturnPaths

    @property
    def store(self) -> Store: ...
    @property
    def worker(self) -> str: ...
    @property
    def ring(self) -> KeyRing: ...
    @property
    def clock(self) -> Callable[[], datetime]: ...
    @property
    def threads(self) -> ThreadPoolExecutor: ...
    @property
    def paces(self) -> Paces: ...
    @property
    def recheck(self) -> Recheck: ...
    @property
    def stopping(self) -> asyncio.Event: ...
    @property
    def endings(self) -> Gatherer[Ending, None]: ...

    @property
    def clock_watch(self) -> ClockWatch: ...
    @property
    def hand(self) -> Hand: ...
    @property
    def handed_over(self) -> HandedOver: ...

    def leased(self) -> bool:
        """Whether this worker may claim and send."""

    def holds(self, parcel: Parcel) -> bool:
        """Whether a copy is still this worker's; if not, another may be sending it."""

    def stopped(self, parcel: Parcel) -> str:
        """Why a copy may not leave whatever is decided about it; "": it may."""

    async def pause(self, seconds: float) -> None:
        """Wait, but not past the stop."""
