"""Of the copies that left, a sample is verified again, from the octets that left, by a verifier that signs nothing.

A signature that does not hold costs every campaign its one-click button and its DMARC, and nobody tells: so we look.
Cost is bounded: one in so many, one at a time, in a worker thread; a copy that comes while one is looked at, or is very
large, is passed by. Nothing here can fail a hand-over.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from gateway import log
from gateway.mail.dkim import Signer, public_record
from gateway.mail.dkim_check import Checked, check
from gateway.store.checks import CheckNote

LARGEST = 4 << 20
"""Octets of the largest copy that is looked at."""
OPT_OUT_FIELDS = ("list-unsubscribe", "list-unsubscribe-post")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A copy that was handed over. `copy`: how the log calls it; `signers`: the keys that it was to be signed with."""

    copy: str
    controller_id: str
    data: Sequence[bytes | memoryview]
    signers: Sequence[Signer]
    marketing: bool


class Recheck:
    """Chooses what is looked at, and keeps what was found until it is written down."""

    def __init__(self, threads: Executor, *, clock: Callable[[], datetime]) -> None:
        self._threads, self._clock = threads, clock
        self._one_in, self._seen = 1000, 0
        self._busy: asyncio.Future[list[tuple[str, str]]] | None = None
        self._notes: list[CheckNote] = []

    def configure(self, one_in: int) -> None:
        """Look at one in so many from now on; the next one is."""
        self._one_in, self._seen = one_in, 0

    def sent(self, one: Sent) -> None:
        """A copy was taken by the next server: perhaps look at it. Returns at once."""
        if not one.signers:
            return
        self._seen += 1
        if (self._seen - 1) % self._one_in or self._busy is not None or sum(map(len, one.data)) > LARGEST:
            return
        try:
            looking = asyncio.get_running_loop().run_in_executor(self._threads, look, one)
        except RuntimeError:  # the threads have stopped: so does the gateway
            return
        self._busy = looking
        looking.add_done_callback(lambda done: self._looked(one, done))

    def take(self) -> list[CheckNote]:
        """What was found since the last time, to be written down."""
        notes, self._notes = self._notes, []
        return notes

    def put_back(self, notes: Sequence[CheckNote]) -> None:
        """What could not be written down."""
        self._notes[:0] = notes

    def _looked(self, one: Sent, done: "asyncio.Future[list[tuple[str, str]]]") -> None:
        self._busy = None
        if done.cancelled():
            return
        if (bug := done.exception()) is not None:
            log.bug(where="recheck", error=bug)
            return
        now = self._clock()
        for name, why in done.result():
            log.signature_checked(copy=one.copy, key=name, why=why)
            self._notes.append(CheckNote(
                controller_id=one.controller_id, kind="signature", name=name, checked=1, failed=bool(why), at=now,
                why=why,
            ))  # fmt: skip


def look(one: Sent) -> list[tuple[str, str]]:
    """For each key, its name and what is wrong with its signature; "" where it holds and covers what it has to."""
    records = {f"{s.selector}._domainkey.{s.domain}": public_record(s) for s in one.signers}
    found = {f"{c.selector}._domainkey.{c.domain}": c for c in check(b"".join(one.data), records)}
    return [(name, _judged(found.get(name), one.marketing)) for name in records]


def _judged(found: Checked | None, marketing: bool) -> str:
    if found is None:
        return "the copy bears no signature of this key"
    if found.good and marketing and (bare := [name for name in OPT_OUT_FIELDS if not found.covers(name)]):
        return f"{bare[0]} is not signed"
    return found.why
