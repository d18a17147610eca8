"""One route's way out: copies are loaded, rendered ahead and handed over, a bounded number of bytes at each step.

Copies are rendered ahead in worker threads; the session that is about to write MAIL FROM decides once more, against
state committed less than a second ago (P2, P3). One copy that fails by a bug of ours is set aside; the others go on.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from gateway import log
from gateway.config import Config, Route
from gateway.notice import Notices
from gateway.outbound.pool import Pool
from gateway.parcel import HandOver, Parcel, whose
from gateway.post import unpack_rcpt
from gateway.recheck import Recheck
from gateway.render import Original, Renderer, open_original
from gateway.return_paths import ReturnPaths
from gateway.store.connection import Gatherer
from gateway.store.contract import ClaimedCopy, Ending, Ruling, Store, StoreUnavailable, tally
from gateway.weigh import Scales, unreadable_store
from suppression.address import canonical
from suppression.decision import Decision
from suppression.vault import KeyRing

BATCH = 16
"""Copies rendered in one go."""
BATCH_BYTES = 1 << 20
UNOPENED_AGAIN = timedelta(minutes=5)
"""When a copy that could not be opened is looked at again."""
AHEAD = 48
"""Rendered copies that wait for a session, per lane; and no more than so many bytes, unless it is one copy."""
AHEAD_BYTES = 8 << 20
UNDER_WAY_BYTES = 48 << 20
"""Messages that sessions have in hand at one time, per lane, unless it is one message; a copy takes a few times its
size while it is being sent."""
FRESH = 512
"""Committed copies that wait in memory for their turn, per lane; what comes beyond waits in the store."""
FRESH_BYTES = 32 << 20
ORIGINALS = 4
"""Messages from the store that are kept open, per lane; and no more than so many bytes, unless it is one message."""
ORIGINALS_BYTES = 16 << 20


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
    def recheck(self) -> Recheck: ...
    @property
    def stopping(self) -> asyncio.Event: ...
    @property
    def endings(self) -> Gatherer[Ending, None]: ...

    def leased(self, now: datetime) -> bool:
        """Whether this worker still holds what it claimed."""

    def stopped(self, parcel: Parcel) -> bool:
        """Whether the campaign of a copy was stopped."""

    async def pause(self, seconds: float) -> None:
        """Wait, but not past the stop."""


class Lane:
    """One route's way out: a feeder that renders ahead, and as many sessions as the route has connections."""

    def __init__(self, crew: Crew, route: Route) -> None:
        self._crew, self._route = crew, route
        self._fresh: deque[Parcel] = deque()
        self._fresh_bytes = 0
        self._ready: deque[Parcel] = deque()
        self._ready_bytes = 0
        self._originals: OrderedDict[bytes, Original] = OrderedDict()
        self._claimed: deque[ClaimedCopy] = deque()  # from the store, not yet loaded
        self._sessions = 0
        self._generation = 0  # of the configuration
        self._under_way: dict[int, Parcel] = {}
        self._under_way_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()  # sessions without a parcel
        self.work = asyncio.Event()  # the feeder has something to look for
        self._space = asyncio.Event()  # the feeder has room to put something
        self._quiet = asyncio.Event()  # no session is in a hand-over
        self._quiet.set()

    def configure(self, route: Route, pool: Pool | None) -> None:
        crew = self._crew
        self._route, self._sends = route, pool is not None
        self._hand_over = HandOver(
            crew.store, crew.scales, crew.renderer, pool, route.name,
            rules=crew.config.bounce_rules, notices=crew.notices, clock=crew.clock, leased=crew.leased,
            returns=crew.returns, stopped=crew.stopped,
            recheck=crew.recheck,
        )  # fmt: skip
        self._originals.clear()
        self._generation += 1
        for parcel in (*self._fresh, *self._ready, *self._under_way.values()):
            parcel.refit(crew.config, crew.scales)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin, or take up more sessions after a reload; fewer wait for connections of the pool instead."""
        if not self._sessions:
            tasks.create_task(self._feed())
        wanted = self._route.connections if self._sends else 1
        for _ in range(self._sessions, wanted):
            tasks.create_task(self._carry())
        self._sessions = max(self._sessions, wanted)

    def room(self, copies: int, size: int) -> bool:
        return len(self._fresh) + copies <= FRESH and self._fresh_bytes + size <= FRESH_BYTES

    def offer(self, parcels: Sequence[Parcel]) -> None:
        self._fresh.extend(parcels)
        self._fresh_bytes += parcels[0].original.size if parcels else 0
        self.work.set()

    async def idle(self) -> None:
        """Until no session is in a hand-over. Called once no new one begins."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self.work.set()
        self._space.set()
        await self._quiet.wait()

    # the feeder

    async def _feed(self) -> None:
        while not self._crew.stopping.is_set():
            await self._feed_once()  # a call of its own: nothing of a batch is held while the next is waited for

    async def _feed_once(self) -> None:
        stopping, generation = self._crew.stopping, self._generation
        self.work.clear()
        try:
            batch = self._take_fresh() or await self._claim()
        except StoreUnavailable as down:
            log.store_unavailable(where="claim", error=down)
            await self._crew.pause(1.0)
            return
        if not batch:
            self._forget_originals(ORIGINALS, 0)
            await self._until_due()
            return
        if self._sends:
            await asyncio.get_running_loop().run_in_executor(self._crew.threads, self._render, batch)
        for parcel in batch:
            if self._generation != generation:
                parcel.refit(self._crew.config, self._crew.scales)
            self._put(parcel)
        del batch, parcel
        while not stopping.is_set() and (len(self._ready) >= AHEAD or self._ready_bytes >= AHEAD_BYTES):
            self._space.clear()
            await self._space.wait()

    def _render(self, batch: Sequence[Parcel]) -> None:
        for parcel in batch:
            parcel.render(self._crew.renderer)

    def _take_fresh(self) -> list[Parcel]:
        batch: list[Parcel] = []
        size = 0
        while self._fresh and len(batch) < BATCH and (not batch or size + self._fresh[0].original.size <= BATCH_BYTES):
            parcel = self._fresh.popleft()
            size += parcel.original.size
            if not self._fresh or self._fresh[0].original is not parcel.original:
                self._fresh_bytes -= parcel.original.size  # the last copy of its message
            batch.append(parcel)
        return batch

    async def _claim(self) -> list[Parcel]:
        """The next due copies from the store, decided before any work is spent on them.

        What was claimed and could not be loaded, because the store went away meanwhile, is first the next time.
        """
        crew, now = self._crew, self._crew.clock()
        if not self._claimed:
            self._claimed.extend(await crew.store.claim(crew.worker, self._route.name, now=now, n=BATCH))
        batch: list[Parcel] = []
        while self._claimed:
            try:
                parcel = await self._load(self._claimed[0])
                if self._hand_over.stopped(parcel):
                    await crew.endings.ask(self._hand_over.set_aside(parcel))
                elif await self._hand_over.may_go(parcel) or parcel.ruling.decision.verdict == "allow":
                    batch.append(parcel)
                else:
                    await crew.endings.ask(self._hand_over.put_by(parcel))
            except StoreUnavailable:
                if not batch:
                    raise
                return batch
            except Exception as odd:  # one copy that cannot be opened is set aside, and the others go on
                log.held(message_id=str(UUID(bytes=self._claimed[0].message_id)), stage="open", error=odd)
                await crew.endings.ask(unopened(self._claimed[0], crew.clock()))
            self._claimed.popleft()
        return batch

    def _forget_originals(self, most: int, most_bytes: int) -> None:
        """Let go of messages that were opened longest ago; one that is too long by itself stays while it is claimed."""
        size = sum(original.size for original in self._originals.values())
        while self._originals and (len(self._originals) > most or size > most_bytes):
            if most_bytes and len(self._originals) == 1:
                return
            size -= self._originals.popitem(last=False)[1].size

    async def _load(self, claimed: ClaimedCopy) -> Parcel:
        crew = self._crew
        stored = await crew.store.message(claimed.controller_id, claimed.message_id)
        original = self._originals.get(claimed.message_id)
        if stored is not None and original is None:
            original = await asyncio.get_running_loop().run_in_executor(
                crew.threads, open_original, crew.config, stored
            )
            if original is not None:
                self._originals[claimed.message_id] = original
                self._forget_originals(ORIGINALS, ORIGINALS_BYTES)
        if stored is None or original is None:
            raise LookupError  # its stream was taken out of the configuration, or its key is gone
        rcpt, meta = unpack_rcpt(claimed.rcpt), stored.envelope
        return Parcel(
            original=original, weigh=crew.scales.lay(original.case, original.controller, original.stream),
            mail_from=meta["mail_from"], ret=meta["ret"], envid=meta["envid"], body_8bit=meta["body_8bit"],
            smtputf8=meta["smtputf8"], campaign=stored.campaign, copy_no=claimed.copy_no, rcpt=rcpt,
            who=whose(crew.ring, claimed.controller_id, canonical(rcpt.address) or "", claimed.recipient_key),
            recipient_key=claimed.recipient_key, attempts=claimed.attempts, ruling=unreadable_store(stored.at),
            was=tally(claimed.verdict, claimed.reason_code),
        )  # fmt: skip

    async def _until_due(self) -> None:
        """Until the next copy is due, or somebody wakes us; five seconds at most, for copies of other processes."""
        crew = self._crew
        try:
            due = await crew.store.next_due(self._route.name)
        except StoreUnavailable:
            due = None
        seconds = 5.0 if due is None else min(5.0, max(0.0, (due - crew.clock()).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.work.wait()

    # the sessions

    def _put(self, parcel: Parcel) -> None:
        self._ready.append(parcel)
        self._ready_bytes += parcel.octets
        self._wake()

    def _wake(self) -> None:
        """One session that waits, if the next parcel may go."""
        while self._waiting and self._may_take():
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _may_take(self) -> bool:
        if not self._ready:
            return False
        return not self._under_way or self._under_way_bytes + self._ready[0].original.size <= UNDER_WAY_BYTES

    async def _next(self) -> Parcel | None:
        """The next parcel, in hand; None when we stop."""
        while not self._may_take() and not self._crew.stopping.is_set():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        if self._crew.stopping.is_set():
            return None
        parcel = self._ready.popleft()
        self._ready_bytes -= parcel.octets
        self._under_way[id(parcel)] = parcel
        self._under_way_bytes += parcel.original.size
        self._quiet.clear()
        if len(self._ready) < AHEAD // 2:
            self._space.set()
        self._wake()
        return parcel

    def _done_with(self, parcel: Parcel) -> None:
        del self._under_way[id(parcel)]
        self._under_way_bytes -= parcel.original.size
        if not self._under_way:
            self._quiet.set()
        self._wake()

    async def _carry(self) -> None:
        while await self._carry_one():
            pass  # a call of its own: nothing of a copy is held while the next is waited for

    async def _carry_one(self) -> bool:
        parcel = await self._next()
        if parcel is None:
            return False
        try:
            ending = await self._attempt(parcel)
            await self._crew.endings.ask(ending)  # first: a crash then repeats one copy per session at most
        except StoreUnavailable as down:
            log.store_unavailable(where="check", error=down)
            await self._crew.pause(1.0)
            self._put(parcel)
        finally:
            self._done_with(parcel)
        return True

    async def _attempt(self, parcel: Parcel) -> Ending:
        """One attempt and what came of it. A bug of ours sets this copy aside; the others go on."""
        try:
            ending = await self._hand_over(parcel)
        except StoreUnavailable:
            raise
        except Exception as bug:
            log.held(message_id=str(UUID(bytes=parcel.original.message_id)), stage="hand over", error=bug)
            return parcel.ending("held", self._crew.clock(), said=f"hand over: {type(bug).__name__}")
        if ending is None:  # our lease ran out: it waits again, unless another worker has it
            await self._crew.pause(1.0)
            ending = parcel.ending("queued", self._crew.clock(), due_at=self._crew.clock())
        return ending


def unopened(claimed: ClaimedCopy, now: datetime) -> Ending:
    """A copy that could not be opened waits, as it was; the reason may be a setting that comes back."""
    as_it_was = Decision(
        verdict=claimed.verdict, reason_code=claimed.reason_code, cite="", basis=None, pack=None, trace=(),  # type: ignore[arg-type]
        findings=(),
    )  # fmt: skip
    return Ending(
        controller_id=claimed.controller_id, message_id=claimed.message_id, copy_no=claimed.copy_no, stream="",
        campaign="", state="queued", ruling=Ruling(decision=as_it_was, as_of=now, packs=""),
        was=tally(claimed.verdict, claimed.reason_code), reply="cannot be opened", at=now, due_at=now + UNOPENED_AGAIN,
    )  # fmt: skip
