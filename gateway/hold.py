"""What an operator does with copies that wait: looks at them, holds them, lets them go on, drops them.

A hold by stream or campaign is a row that every worker sees within half a second; from then on nothing of it leaves,
whatever lies rendered or in a session's hand: those copies are set aside by the session that would have written MAIL
FROM. What waits in the store is set aside in batches meanwhile. Each act is an entry of the ledger, with its reason.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from typing import Any, Final, Literal

from gateway import record
from gateway.post import unpack_rcpt
from gateway.store.contract import Store
from gateway.store.returned import STOPPED
from gateway.store.waiting import CopyKey, Hold, Line, WaitingCopy

PAGE: Final = 200
BATCH: Final = 500
State = Literal["queued", "claimed", "held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which copies are meant; None: whichever. `domain`: of the recipient, as it stands in the address."""

    controllers: frozenset[str] | None
    states: frozenset[State] = frozenset({"queued", "claimed", "held"})
    stream: str | None = None
    campaign: str | None = None
    domain: str | None = None
    message_id: bytes | None = None

    def is_of(self, controller_id: str) -> bool:
        """Whether a controller's copies are meant."""
        return self.controllers is None or controller_id in self.controllers

    def has(self, copy: WaitingCopy) -> bool:
        """Whether a copy is one of them."""
        return (
            self.is_of(copy.key.controller_id)
            and copy.state in self.states
            and self.stream in (None, copy.stream)
            and self.campaign in (None, copy.campaign)
            and (self.domain is None or domain_of(copy) == self.domain.lower().rstrip("."))
        )


def domain_of(copy: WaitingCopy) -> str:
    """The domain of a copy's recipient; "" where that does not open."""
    return "" if copy.rcpt is None else unpack_rcpt(copy.rcpt).address.rpartition("@")[2].lower()


async def waiting(store: Store, wanted: Wanted) -> AsyncIterator[WaitingCopy]:
    """Copies that have not left, those in the queue first, in the order in which they are due. Read page by page."""
    if wanted.message_id is not None:
        for copy in await store.waiting_copies(wanted.message_id):
            if wanted.has(copy):
                yield copy
        return
    lines = [line for line in await store.lines() if line.state in wanted.states]
    async for copy in _merged(store, [line for line in lines if line.state == "queued"]):
        if wanted.has(copy):
            yield copy
    for line in lines:
        if line.state == "queued" or (line.state == "held" and not wanted.is_of(line.controller_id)):
            continue
        async for copy in _line(store, line):
            if wanted.has(copy):
                yield copy


async def _line(store: Store, line: Line) -> AsyncIterator[WaitingCopy]:
    past: tuple[Any, ...] | None = None
    while True:
        page, past = await store.line_page(line, past=past, n=PAGE)
        for copy in page:
            yield copy
        if past is None:
            return


async def _merged(store: Store, lines: Sequence[Line]) -> AsyncIterator[WaitingCopy]:
    """The copies of several lines, each of which is in order of time, in order of time."""
    walks = [_line(store, line) for line in lines]
    heads: list[tuple[datetime, CopyKey, int, WaitingCopy]] = []
    for number in range(len(walks)):
        await _next(walks, number, heads)
    while heads:
        _, _, number, first = heappop(heads)
        yield first
        await _next(walks, number, heads)


async def _next(
    walks: Sequence[AsyncIterator[WaitingCopy]], number: int, heads: list[tuple[datetime, CopyKey, int, WaitingCopy]]
) -> None:
    copy = await anext(walks[number], None)
    if copy is not None:
        heappush(heads, (copy.due_at or copy.at, copy.key, number, copy))


async def hold(store: Store, place: Hold, *, by: str, why: str, tell: Callable[[int], None] = lambda _n: None) -> int:
    """Stop the mail of a stream or campaign, and set aside what waits of it. How many copies; those in a worker's hand
    follow by themselves. It may be said again."""
    await store.put_hold(place, _notes(place, "mail held", by, why))
    wanted = Wanted(
        controllers=frozenset({place.controller_id}), states=frozenset({"queued"}), stream=place.stream or None,
        campaign=place.campaign or None,
    )  # fmt: skip
    return await _batched(store, wanted, store.hold_copies, tell)


async def release(
    store: Store, place: Hold, *, by: str, why: str, now: datetime, tell: Callable[[int], None] = lambda _n: None
) -> int | None:
    """Lift a hold, and let what it had set aside go on: each copy is decided anew before it leaves, and its time to be
    tried begins anew. How many copies; None: there is no such hold, and nothing was set aside by one."""
    lifted = await store.lift_hold(place, _notes(place, "mail released", by, why))
    wanted = Wanted(
        controllers=frozenset({place.controller_id}), states=frozenset({"held"}), stream=place.stream or None,
        campaign=place.campaign or None,
    )  # fmt: skip
    still = await store.halted()
    again = await _batched(
        store, wanted, lambda keys: store.release_copies(keys, now=now), tell,
        only=lambda copy: copy.said not in (None, STOPPED)
        and not still.is_held(copy.key.controller_id, copy.stream, copy.campaign),
    )  # fmt: skip
    return again if lifted or again else None


async def act(
    store: Store, wanted: Wanted, what: Literal["hold", "release", "drop"], *, by: str, why: str, now: datetime,
    tell: Callable[[int], None] = lambda _n: None,
) -> int:  # fmt: skip
    """Do something to single copies: those of one message, or of some recipients' domain. How many it was done to.

    Held copies that wait for an answer about their message, or belong to a campaign that complaints stopped, are left
    alone by a release: an answer and `resume` let them go. Whoever is dropped gets nothing, and the sender is not told.
    """
    does = {
        "hold": store.hold_copies,
        "release": lambda keys: store.release_copies(keys, now=now),
        "drop": lambda keys: store.drop_copies(keys, now=now),
    }[what]
    only = (lambda copy: copy.said not in (None, STOPPED)) if what == "release" else _any
    done = await _batched(store, wanted, does, tell, only=only)
    if done:
        for note in record.staff_acts(
            sorted(wanted.controllers or ()), f"copies {_DONE[what]}", by=by, at=now, private={"why": why}, copies=done
        ):
            await store.note(note.controller_id, note.kind, note.public, note.private, at=now)
    return done


_DONE = {"hold": "held", "release": "released", "drop": "dropped"}


def _any(_copy: WaitingCopy) -> bool:
    return True


async def _batched(
    store: Store, wanted: Wanted, do: Callable[[Sequence[CopyKey]], Awaitable[int]], tell: Callable[[int], None],
    only: Callable[[WaitingCopy], bool] = _any,
) -> int:  # fmt: skip
    done, batch = 0, []
    async for copy in waiting(store, wanted):
        if only(copy):
            batch.append(copy.key)
        if len(batch) == BATCH:
            done += await do(batch)
            batch = []
            tell(done)
    return done + (await do(batch) if batch else 0)


def _notes(place: Hold, what: str, by: str, why: str) -> list[Any]:
    name = record.campaign_id(place.controller_id, place.stream, place.campaign)
    return record.staff_acts(
        [place.controller_id],
        what,
        by=by,
        at=place.at,
        private={"why": why},
        stream=place.stream or "all",
        campaign=name if place.campaign else "all",
    )
