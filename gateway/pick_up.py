"""Claimed copies as parcels again: their messages are read, opened and planned, each once for all its copies.

What cannot be opened (a stream that was taken out of the configuration, a lost key, a bug of ours) waits as it was; the
others go on. It keeps few messages open, a bounded number of octets.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from gateway import log
from gateway.config import Config
from gateway.crew import Crew
from gateway.parcel import Parcel
from gateway.post import unpack_rcpt
from gateway.render import Original, open_original
from gateway.store.contract import ClaimedCopy, Ending, Ruling, StoredMessage, tally
from gateway.weigh import unreadable_store
from gateway.who import whose
from suppression.address import canonical
from suppression.decision import Decision

UNOPENED_AGAIN: Final = timedelta(minutes=5)
"""When a copy that could not be opened is looked at again."""
ORIGINALS: Final = 4
"""Messages that are kept open, per lane; and no more than so many bytes, unless it is one message."""
ORIGINALS_BYTES: Final = 16 << 20


class Kept(NamedTuple):
    """A message from the store, opened. `stored` without its body, which is in `original`."""

    original: Original
    stored: StoredMessage


class PickUp:
    """Makes parcels of what one lane claimed."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._kept: OrderedDict[tuple[str, bytes], Kept] = OrderedDict()

    async def __call__(self, some: Sequence[ClaimedCopy]) -> tuple[list[Parcel], list[Ending]]:
        """Parcels of those that open, endings of the others. Raises StoreUnavailable."""
        crew = self._crew
        wanted = {(copy.controller_id, copy.message_id): None for copy in some}
        kept = {place: self._kept[place] for place in wanted if place in self._kept}
        if missing := [place for place in wanted if place not in kept]:
            stored = [one for one in await crew.store.messages(missing) if one is not None]
            opened = await asyncio.get_running_loop().run_in_executor(crew.threads, _opened, crew.config, stored)
            kept.update(opened)
            self._kept.update(opened)
            self.forget(ORIGINALS, ORIGINALS_BYTES)
        parcels, endings = [], []
        for copy in some:
            parcel = self._parcel(copy, kept.get((copy.controller_id, copy.message_id)))
            if parcel is not None:
                parcels.append(parcel)
            else:
                endings.append(unopened(copy, crew.clock()))
        return parcels, endings

    def forget(self, most: int = 0, most_bytes: int = 0) -> None:
        """Let go of messages that were opened longest ago; one that is too long by itself stays while it is claimed."""
        size = sum(kept.original.size for kept in self._kept.values())
        while self._kept and (len(self._kept) > most or size > most_bytes):
            if most and len(self._kept) == 1:
                return
            size -= self._kept.popitem(last=False)[1].original.size

    def _parcel(self, claimed: ClaimedCopy, kept: Kept | None) -> Parcel | None:
        crew = self._crew
        try:
            if kept is None:
                raise LookupError  # its stream was taken out of the configuration, or its key is gone
            original, stored = kept.original, kept.stored
            rcpt, meta = unpack_rcpt(claimed.rcpt), stored.envelope
            return Parcel(
                original=original, weigh=crew.scales.lay(original.case, original.controller, original.stream),
                mail_from=meta["mail_from"], ret=meta["ret"], envid=meta["envid"], body_8bit=meta["body_8bit"],
                smtputf8=meta["smtputf8"], campaign=stored.campaign, copy_no=claimed.copy_no, rcpt=rcpt,
                who=whose(crew.ring, claimed.controller_id, canonical(rcpt.address) or "", claimed.recipient_key),
                recipient_key=claimed.recipient_key, attempts=claimed.attempts, ruling=unreadable_store(stored.at),
                claimed=claimed, was=tally(claimed.verdict, claimed.reason_code),
            )  # fmt: skip
        except Exception as odd:  # one copy that cannot be opened is put off, and the others go on
            log.held(message_id=str(UUID(bytes=claimed.message_id)), stage="open", error=odd)
            return None


def _opened(config: Config, stored: Sequence[StoredMessage]) -> dict[tuple[str, bytes], Kept]:
    """Messages as originals again; those that cannot be are left out. In a worker thread."""
    found = {}
    for one in stored:
        try:
            original = open_original(config, one)
        except Exception as odd:  # a bug of ours sets this message aside; the others go on
            log.held(message_id=str(UUID(bytes=one.message_id)), stage="open", error=odd)
            continue
        if original is not None:
            found[one.controller_id, one.message_id] = Kept(original, replace(one, body=b""))
    return found


def unopened(claimed: ClaimedCopy, now: datetime) -> Ending:
    """A copy that could not be opened waits, as it was; the reason may be a setting that comes back."""
    as_it_was = Decision(
        verdict=claimed.verdict, reason_code=claimed.reason_code, cite="", basis=None, pack=None, trace=(),
        findings=(),
    )  # fmt: skip
    return Ending(
        controller_id=claimed.controller_id, message_id=claimed.message_id, copy_no=claimed.copy_no, stream="",
        campaign="", state="queued", ruling=Ruling(decision=as_it_was, as_of=now, packs=""),
        was=tally(claimed.verdict, claimed.reason_code), reply="cannot be opened", at=now, due_at=now + UNOPENED_AGAIN,
        tried=False, alarm_at=now + UNOPENED_AGAIN,
    )  # fmt: skip
