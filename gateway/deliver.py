"""Queue to the next hop: claim, check again, rewrite and sign, hand over, write down what came of it.

Each route has a lane. Fresh messages come straight from acceptance, already committed and claimed by this worker;
the rest is claimed from the store in batches. Copies are rendered ahead in worker threads, a bounded number of bytes;
the session that is about to write MAIL FROM decides once more, against state committed less than a second ago (P2, P3).

What it never does: send a copy whose last check did not say allow; hold more than its share of memory; forget a copy:
one whose ending cannot be written stays claimed and is told again until it can, or comes back when the lease is over.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

from gateway import log
from gateway.config import Config, Route
from gateway.notice import Notices
from gateway.outbound.pool import Pool
from gateway.parcel import CHECK_AGE, HandOver, Parcel, whose
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

LEASE = timedelta(seconds=20)
RENEW_SECONDS = 5.0
STOPS_SECONDS = 1.0
"""How long a campaign that was stopped goes on at most."""
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


class Deliver:
    """All lanes of one worker process."""

    def __init__(self, store: Store, *, worker: str, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self.store, self.worker, self.ring, self.clock = store, worker, ring, clock
        self._lanes: dict[str, Lane] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._lease_until = clock()
        self.stopping = asyncio.Event()
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="render")
        self._stops: frozenset[tuple[str, str, str]] = frozenset()
        self.recheck = Recheck(self.threads, clock=clock)
        self.endings: Gatherer[Ending, None] = Gatherer(self._write_down)

    def configure(
        self, config: Config, scales: Scales, renderer: Renderer, notices: Notices, pools: Mapping[str, Pool]
    ) -> None:
        """Take a configuration into use. What is on its way goes on under the new one."""
        self.config, self.scales, self.renderer, self.notices = config, scales, renderer, notices
        self.returns = ReturnPaths(config, self.ring)
        self.recheck.configure(config.verify_one_in)
        for name, route in config.routes.items():
            if name not in self._lanes:
                self._lanes[name] = Lane(self, route)
            self._lanes[name].configure(route, pools.get(name))
            if self._tasks is not None:
                self._lanes[name].start(self._tasks)

    async def run(self) -> None:
        """Work until `stop`. Whatever this worker held before it restarted waits again at once."""
        await self._renew()
        back = await self.store.take_back(self.worker, self.clock())
        if back:
            log.taken_back(copies=back)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_lease())
            tasks.create_task(self._watch_stops())
            for lane in self._lanes.values():
                lane.start(tasks)
            self._tasks = tasks

    async def stop(self, seconds: float = 10.0) -> None:
        """Begin no further hand-over; those under way may finish within `seconds`."""
        self.stopping.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(lane.idle() for lane in self._lanes.values()))
        self.threads.shutdown(wait=False, cancel_futures=True)

    def room(self, route: str, copies: int, size: int) -> bool:
        """Whether a fresh message may go straight to its lane."""
        lane = self._lanes.get(route)
        return lane is not None and not self.stopping.is_set() and lane.room(copies, size)

    def offer(self, route: str, parcels: Sequence[Parcel]) -> None:
        """Committed copies of one message, in state claimed, held by this worker."""
        self._lanes[route].offer(parcels)

    def wake(self, route: str) -> None:
        """Copies were left in the queue."""
        if route in self._lanes:
            self._lanes[route].work.set()

    def leased(self, now: datetime) -> bool:
        """Whether this worker still holds what it claimed; if not, another may be sending it."""
        return now < self._lease_until

    def stopped(self, parcel: Parcel) -> bool:
        """Whether the campaign of a copy was stopped, since too many complained (RULES.md 5.4)."""
        original = parcel.original
        place = (original.controller.id, original.stream.name, parcel.campaign)
        return place in self._stops and original.case.marketing

    async def _watch_stops(self) -> None:
        """Every second: which campaigns are stopped, by whatever process."""
        while not self.stopping.is_set():
            try:
                self._stops = frozenset(
                    (one.controller_id, one.stream, one.campaign)
                    for one in await self.store.campaign_stops() if one.released_at is None
                )  # fmt: skip
            except StoreUnavailable as down:
                log.store_unavailable(where="stops", error=down)
            await self.pause(STOPS_SECONDS)

    async def _renew(self) -> None:
        until = self.clock() + LEASE
        await self.store.renew(self.worker, until)
        self._lease_until = until - CHECK_AGE

    async def _keep_lease(self) -> None:
        while not self.stopping.is_set():
            try:
                await self._renew()
                if await self.store.take_back("", self.clock()):  # of workers whose lease ran out
                    for lane in self._lanes.values():
                        lane.work.set()
            except StoreUnavailable as down:
                log.store_unavailable(where="lease", error=down)
            await self.pause(RENEW_SECONDS)

    async def _write_down(self, endings: Sequence[Ending]) -> list[None]:
        """Endings to the store; a store that is down is asked again until it is back, or we stop."""
        while True:
            try:
                await self.store.finish(self.worker, endings)
                for route in {ending.notice.copies[0].route for ending in endings if ending.notice is not None}:
                    self.wake(route)
                return [None] * len(endings)
            except StoreUnavailable as down:
                log.store_unavailable(where="ending", error=down)
                if self.stopping.is_set():
                    return [None] * len(endings)  # the copies stay claimed: they come back after the restart
                await self.pause(1.0)

    async def pause(self, seconds: float) -> None:
        """Wait, but not past the stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()


class Lane:
    """One route's way out: a feeder that renders ahead, and as many sessions as the route has connections."""

    def __init__(self, deliver: Deliver, route: Route) -> None:
        self._deliver, self._route = deliver, route
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
        deliver = self._deliver
        self._route, self._sends = route, pool is not None
        self._hand_over = HandOver(
            deliver.store, deliver.scales, deliver.renderer, pool, route.name,
            rules=deliver.config.bounce_rules, notices=deliver.notices, clock=deliver.clock, leased=deliver.leased,
            returns=deliver.returns, stopped=deliver.stopped,
            recheck=deliver.recheck,
        )  # fmt: skip
        self._originals.clear()
        self._generation += 1
        for parcel in (*self._fresh, *self._ready, *self._under_way.values()):
            parcel.refit(deliver.config, deliver.scales)

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
        while not self._deliver.stopping.is_set():
            await self._feed_once()  # a call of its own: nothing of a batch is held while the next is waited for

    async def _feed_once(self) -> None:
        stopping, generation = self._deliver.stopping, self._generation
        self.work.clear()
        try:
            batch = self._take_fresh() or await self._claim()
        except StoreUnavailable as down:
            log.store_unavailable(where="claim", error=down)
            await self._deliver.pause(1.0)
            return
        if not batch:
            self._forget_originals(ORIGINALS, 0)
            await self._until_due()
            return
        if self._sends:
            await asyncio.get_running_loop().run_in_executor(self._deliver.threads, self._render, batch)
        for parcel in batch:
            if self._generation != generation:
                parcel.refit(self._deliver.config, self._deliver.scales)
            self._put(parcel)
        del batch, parcel
        while not stopping.is_set() and (len(self._ready) >= AHEAD or self._ready_bytes >= AHEAD_BYTES):
            self._space.clear()
            await self._space.wait()

    def _render(self, batch: Sequence[Parcel]) -> None:
        for parcel in batch:
            parcel.render(self._deliver.renderer)

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
        deliver, now = self._deliver, self._deliver.clock()
        if not self._claimed:
            self._claimed.extend(await deliver.store.claim(deliver.worker, self._route.name, now=now, n=BATCH))
        batch: list[Parcel] = []
        while self._claimed:
            try:
                parcel = await self._load(self._claimed[0])
                if self._hand_over.stopped(parcel):
                    await deliver.endings.ask(self._hand_over.set_aside(parcel))
                elif await self._hand_over.may_go(parcel) or parcel.ruling.decision.verdict == "allow":
                    batch.append(parcel)
                else:
                    await deliver.endings.ask(self._hand_over.put_by(parcel))
            except StoreUnavailable:
                if not batch:
                    raise
                return batch
            except Exception as odd:  # one copy that cannot be opened is set aside, and the others go on
                log.held(message_id=str(UUID(bytes=self._claimed[0].message_id)), stage="open", error=odd)
                await deliver.endings.ask(unopened(self._claimed[0], deliver.clock()))
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
        deliver = self._deliver
        stored = await deliver.store.message(claimed.controller_id, claimed.message_id)
        original = self._originals.get(claimed.message_id)
        if stored is not None and original is None:
            original = await asyncio.get_running_loop().run_in_executor(
                deliver.threads, open_original, deliver.config, stored
            )
            if original is not None:
                self._originals[claimed.message_id] = original
                self._forget_originals(ORIGINALS, ORIGINALS_BYTES)
        if stored is None or original is None:
            raise LookupError  # its stream was taken out of the configuration, or its key is gone
        rcpt, meta = unpack_rcpt(claimed.rcpt), stored.envelope
        return Parcel(
            original=original, weigh=deliver.scales.lay(original.case, original.controller, original.stream),
            mail_from=meta["mail_from"], ret=meta["ret"], envid=meta["envid"], body_8bit=meta["body_8bit"],
            smtputf8=meta["smtputf8"], campaign=stored.campaign, copy_no=claimed.copy_no, rcpt=rcpt,
            who=whose(deliver.ring, claimed.controller_id, canonical(rcpt.address) or "", claimed.recipient_key),
            recipient_key=claimed.recipient_key, attempts=claimed.attempts, ruling=unreadable_store(stored.at),
            was=tally(claimed.verdict, claimed.reason_code),
        )  # fmt: skip

    async def _until_due(self) -> None:
        """Until the next copy is due, or somebody wakes us; five seconds at most, for copies of other processes."""
        deliver = self._deliver
        try:
            due = await deliver.store.next_due(self._route.name)
        except StoreUnavailable:
            due = None
        seconds = 5.0 if due is None else min(5.0, max(0.0, (due - deliver.clock()).total_seconds()))
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
        while not self._may_take() and not self._deliver.stopping.is_set():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        if self._deliver.stopping.is_set():
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
            await self._deliver.endings.ask(ending)  # first: a crash then repeats one copy per session at most
        except StoreUnavailable as down:
            log.store_unavailable(where="check", error=down)
            await self._deliver.pause(1.0)
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
            return parcel.ending("held", self._deliver.clock(), said=f"hand over: {type(bug).__name__}")
        if ending is None:  # our lease ran out: it waits again, unless another worker has it
            await self._deliver.pause(1.0)
            ending = parcel.ending("queued", self._deliver.clock(), due_at=self._deliver.clock())
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
