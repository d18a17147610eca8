"""Forms of recipients' pages: read leniently, answered evenly, and the value that lets a click be taken back."""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from gateway.clock_watch import CLOCKS_APART
from gateway.store.contract import UNDO_WITHIN

ANSWER_AFTER: Final = 0.3
"""Seconds until a typed address is answered, so that the wait does not tell what there was to do."""
_MAC_BYTES: Final = 16


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a url-encoded form, the last of equal names; any other body has none. Raises on no content."""
    if not request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), max_num_fields=20))
    except ValueError:
        return {}


@asynccontextmanager
async def evenly() -> AsyncIterator[None]:
    """Takes ANSWER_AFTER, however soon what stands in it is done; what fails is not held up."""
    ends = monotonic() + ANSWER_AFTER
    yield
    await asyncio.sleep(max(ends - monotonic(), 0))


def may_be_undone(opted_out_at: datetime, now: datetime) -> bool:
    """Whether a click may still be taken back. Not one of a time to come: the clock was put back, and nobody knows how
    long ago it was."""
    return -CLOCKS_APART <= now - opted_out_at <= UNDO_WITHIN


@dataclass(frozen=True, slots=True)
class UndoKey:
    """Makes and checks the confirmation page's own value: (suppression, end), bound to one link (RULES.md 2.1.10 c)."""

    key: bytes

    def make(self, link: str, suppression_id: bytes, opted_out_at: datetime) -> str:
        """The form value that may take this opt-out back until ten minutes after it began."""
        claim = f"{suppression_id.hex()}.{int((opted_out_at + UNDO_WITHIN).timestamp())}"
        return f"{claim}.{self._mac(link, claim)}"

    def open(self, link: str, value: str, now: datetime) -> bytes | None:
        """The suppression's id; None where the value is not ours, is for another link, or its time is over."""
        claim, _, mac = value.rpartition(".")
        if not hmac.compare_digest(self._mac(link, claim).encode(), mac.encode("utf-8", "replace")):
            return None
        suppression_id, _, end = claim.rpartition(".")
        opted_out_at = datetime.fromtimestamp(int(end), UTC) - UNDO_WITHIN
        return bytes.fromhex(suppression_id) if may_be_undone(opted_out_at, now) else None

    def _mac(self, link: str, claim: str) -> str:
        digest = hmac.digest(self.key, f"{link}\n{claim}".encode("utf-8", "replace"), "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
