"""Whether there is room for more mail: space on the disk, and places in the queue. Looked at every few seconds.

New mail is answered 452 before the disk is full, so that what was taken can still be handed over and opt-outs recorded.
It is taken again only once a tenth more than the limit is free: at the limit nobody is let in and turned away in turn.
What a full disk does all the same: nothing is written and nothing answered 250; mail is answered 451, an opt-out 503.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from gateway import log
from gateway.config import Config
from gateway.store.contract import Store

Cause = Literal["", "disk", "copies"]
TENTH: Final = 10


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class Room:
    """What keeps new mail out now: `full`, "" where there is room. One per process."""

    def __init__(self, store: Store, *, free: Callable[[Path], int] = _free) -> None:
        """`free`: octets that may be written to the file system of a folder."""
        self._store, self._free = store, free
        self.full: Cause = ""

    async def look(self, config: Config) -> None:
        """Look again. Raises StoreUnavailable or OSError, and then everything stays as it was."""
        limits = config.limits
        needed = limits.free_disk_bytes + (limits.free_disk_bytes // TENTH if self.full == "disk" else 0)
        allowed = limits.queue_copies - (limits.queue_copies // TENTH if self.full == "copies" else 0)
        cause: Cause = ""
        if self._free(config.data_folder) < needed:
            cause = "disk"
        elif await self._store.waiting() >= allowed:
            cause = "copies"
        if cause != self.full:
            if cause:
                log.queue_refuses(cause=cause)
            else:
                log.queue_accepts()
        self.full = cause
