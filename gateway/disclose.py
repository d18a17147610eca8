"""A data subject asks to be erased (GDPR art. 17, RULES.md 6.4). Committed before anyone is told.

The erasure is written to a list outside the database first: a backup that is restored later brings the person back, and
the list says whom to erase again.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway import log
from gateway.config import Config
from gateway.store.contract import Store
from gateway.store.evidence import Erased, Erasure
from suppression.fields import written
from suppression.vault import KeyRing


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """What an erasure did. `wiped`: the logs of both databases were emptied; else the running gateway does it later."""

    erased: Erased
    at: datetime
    wiped: bool


def list_path(config: Config) -> Path:
    """The list of erasures, which no backup of the database holds."""
    return config.dir / "erasures.jsonl"


async def erase(
    store: Store, config: Config, ring: KeyRing, controller_id: str, plain: str, *, by: str, now: datetime
) -> Disclosed:
    """Erase a person at one controller. Again for somebody who was erased: what came since goes too.

    `plain`: the normalised address. Raises StoreUnavailable, or OSError where the list cannot be written: then nothing
    is erased.
    """
    at = now.astimezone(UTC).replace(microsecond=0)
    keys = ring.recipient_keys(controller_id, plain)
    under = {str(key_id): key.hex() for key_id, key in zip(ring.key_ids, keys, strict=True)}
    _write_down(list_path(config), {"controller": controller_id, "recipient_keys": under, "at": written(at)})
    done = await store.erase(Erasure(controller_id=controller_id, recipient_keys=keys, at=at, by=by))
    wiped = await store.empty_logs()
    log.person_erased(controller=controller_id, already=done.already, wiped=wiped)
    return Disclosed(erased=done, at=at, wiped=wiped)


def _write_down(path: Path, line: dict[str, object]) -> None:
    """Append one line, on disk before anything is erased; readable by the owner only."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as out:
        out.write(json.dumps(line).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
