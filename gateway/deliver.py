"""Queue to the next hop: claim, check again, rewrite and sign, hand over, write down what came of it.

Each route has a lane (lane.py). Fresh messages come straight from acceptance, already committed and claimed by this
worker; the rest is claimed from the store in batches. What all lanes of a worker share is here: the lease, which
campaigns are stopped, and the endings, written down together.

What it never does: send a copy whose last check did not say allow; hold more than its share of memory; forget a copy:
one whose ending cannot be written stays claimed and is told again until it can, or comes back when the lease is over.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from gateway import log
from gateway.clock_watch import STEP, ClockWatch, seconds_passed
from gateway.config import Config
from gateway.hand import Hand
from gateway.handed_over import HandedOver
from gateway.lane import Lane
from gateway.lease import Lease, Watch
from gateway.notice import Notices
from gateway.outbound.direct import Direct
from gateway.outbound.pool import Pool
from gateway.paces import Paces
from gateway.parcel import Parcel
from gateway.recheck import Recheck
from gateway.render import Renderer
from gateway.return_paths import ReturnPaths
from gateway.store.connection import Gatherer
from gateway.store.contract import Ending, Store, StoreUnavailable
from gateway.store.returned import STOPPED
from gateway.store.waiting import CopyKey, Halted
from gateway.weigh import Scales
from suppression.vault import KeyRing

LEASE = timedelta(seconds=20)
RENEW_SECONDS = 5.0
AGAIN_SECONDS = 1.0
"""How often a lease is asked for that was lost."""
SURE = timedelta(seconds=11)
"""How long after its last renewal a worker may begin something: it stops when two renewals in a row were not written. A
server that only answers, since another became the primary, may not know of what people said there meanwhile."""
STOPS_SECONDS = 0.5
"""How often it is looked for what may not leave any more: it goes on for a second at most."""
OVERDUE_SECONDS = 10.0
"""How often copies are looked for that have waited too long."""


def _say_stepped(by: timedelta) -> None:
    log.clock_stepped(seconds=round(by.total_seconds()))


class Deliver:
    """All lanes of one worker process."""

    def __init__(
        self, store: Store, *, worker: str, ring: KeyRing, clock: Callable[[], datetime], handed_over: HandedOver,
        named: Callable[[], bool], seconds: Callable[[], float] = seconds_passed,
    ) -> None:  # fmt: skip
        """`named`: whether the name under which we claim is ours alone."""
        self.store, self.worker, self.ring, self.clock = store, worker, ring, clock
        self.handed_over = handed_over
        self._named = named
        self._lanes: dict[str, Lane] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self.clock_watch, self._redate = ClockWatch(clock, seconds, stepped=_say_stepped), False
        self._lease, self._watch = Lease(SURE, seconds), Watch(LEASE, seconds)
        self.hand = Hand()
        self.paces = Paces(store, ring, clock)
        self.stopping = asyncio.Event()
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="render")
        self._stops_changed = asyncio.Event()
        self._halted = Halted()
        self.recheck = Recheck(self.threads, clock=clock)
        self.endings: Gatherer[Ending, None] = Gatherer(self._write_down)

    def configure(
        self, config: Config, scales: Scales, renderer: Renderer, notices: Notices, pools: Mapping[str, Pool | Direct]
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
        """Work until `stop`. Whatever this worker held before it restarted waits again at once, but what had left."""
        if (until := await self.store.lease(self.worker)) is not None:
            self.clock_watch.since(until - LEASE)
        if left := self.handed_over.left():
            await self.store.finish(self.worker, left)
            log.handed_over_before(copies=len(left))
        self.handed_over.forget()
        back = await self.store.take_back(self.worker, self.clock())
        if back:
            log.taken_back(copies=back)
        await self._renew()  # only now: what is taken in under a lease would come back too
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_lease())
                tasks.create_task(self._watch_leases())
                tasks.create_task(self._watch_stops())
                tasks.create_task(self._watch_time())
                for lane in self._lanes.values():
                    lane.start(tasks)
                self._tasks = tasks
        finally:
            self.threads.shutdown(wait=False, cancel_futures=True)  # not in `stop`: a feeder may be about to use one

    async def stop(self, seconds: float = 10.0) -> None:
        """Begin no further hand-over; those under way may finish within `seconds`."""
        self.stopping.set()
        self.look_at_stops()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(lane.idle() for lane in self._lanes.values()))
        self.handed_over.forget()
        self.handed_over.close()

    def room(self, route: str, copies: int, size: int, *, marketing: bool) -> bool:
        """Whether a fresh message may go straight to its lane."""
        lane = self._lanes.get(route)
        return (
            lane is not None and not self.stopping.is_set() and self.leased()
            and lane.room(copies, size, marketing=marketing)
        )  # fmt: skip

    def offer(self, route: str, parcels: Sequence[Parcel]) -> None:
        """Committed copies of one message, in state claimed, held by this worker."""
        self._lanes[route].offer(parcels)

    def wake(self, route: str) -> None:
        """Copies were left in the queue."""
        if route in self._lanes:
            self._lanes[route].wake()

    def wake_all(self) -> None:
        """Copies were left for anybody, on whatever route."""
        for lane in self._lanes.values():
            lane.wake()

    def look_at_stops(self) -> None:
        """A campaign was stopped or let go."""
        self._stops_changed.set()

    def leased(self) -> bool:
        """Whether this worker may claim and send."""
        return self._lease.holds()

    def holds(self, parcel: Parcel) -> bool:
        """Whether a copy is still this worker's; if not, another may be sending it."""
        return self._lease.holds() and self.hand.has(parcel.key, parcel.claimed)

    def stopped(self, parcel: Parcel) -> str:
        """Why a copy may not leave: an operator holds its mail, or too many complained about its campaign, which stops
        marketing alone (RULES.md 5.4). "": it may."""
        original = parcel.original
        why = self._halted.reason(original.controller.id, original.stream.name, parcel.campaign)
        return "" if why == STOPPED and not original.case.marketing else why

    async def _watch_stops(self) -> None:
        """Twice a second: what is held and which campaigns are stopped, by whatever process."""
        while not self.stopping.is_set():
            try:
                self._halted = await self.store.halted()
            except StoreUnavailable as down:
                log.store_unavailable(where="stops", error=down)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPS_SECONDS):
                    await self._stops_changed.wait()
            self._stops_changed.clear()

    async def _watch_time(self) -> None:
        """What time alone asks of copies that wait (overdue.py)."""
        while not self.stopping.is_set():
            try:
                await self.look_at_overdue()
            except StoreUnavailable as down:
                log.store_unavailable(where="overdue", error=down)
            try:
                await self._let_go_of_strays()
            except StoreUnavailable as down:
                log.store_unavailable(where="strays", error=down)
            self.handed_over.forget()
            await self.pause(OVERDUE_SECONDS)

    async def look_at_overdue(self) -> None:
        """Raises StoreUnavailable. Not by a clock that was just set: it may be set again."""
        for lane in list(self._lanes.values()) if self.clock_watch.believed and self.leased() else ():
            await lane.look_at_overdue()

    async def _let_go_of_strays(self) -> None:
        """What is claimed for us and nobody here knows of, since the store's answer to that was lost, waits again."""
        strays = self.hand.strays(await self.store.claimed(self.worker))
        if strays and self.leased() and (copies := await self.store.give_back(self.worker, strays, self.clock())):
            log.taken_back(copies=copies)
            self.wake_all()

    def lose_lease(self) -> None:
        """Another may go by our name, and take what we claimed for its own."""
        self._lease.lose()

    async def _renew(self) -> None:
        if not self._named():
            return
        self._lease.begin()
        until = self.clock() + LEASE
        if self._lease.lapsed:
            self.hand.keep(await self.store.resume(self.worker, until))
        else:
            await self.store.renew(self.worker, until)
        self._lease.took()

    async def _keep_lease(self) -> None:
        """By itself: nothing else that asks the store for long may hold it up."""
        while not self.stopping.is_set():
            try:
                await self._renew()
            except StoreUnavailable as down:
                log.store_unavailable(where="lease", error=down)
            await self.pause(RENEW_SECONDS if self.leased() else AGAIN_SECONDS)

    async def _watch_leases(self) -> None:
        while not self.stopping.is_set():
            try:
                await self.look_at_others()
            except StoreUnavailable as down:
                log.store_unavailable(where="leases", error=down)
            await self.pause(RENEW_SECONDS)

    async def look_at_others(self) -> None:
        """Leases of others may be over, and times written down by a wrong clock. Raises StoreUnavailable."""
        await self._take_over()
        await self._put_times_right()

    async def _take_over(self) -> None:
        """What workers have whose lease is over waits for everybody."""
        others = [one for one in await self.store.holders() if one.worker != self.worker]
        over, now = self._watch.over(others), self.clock()
        if over and (copies := await self.store.take_over(over, now)):
            log.taken_back(copies=copies)
            self.wake_all()
        # who died under a clock that ran ahead does not put right what it dated
        self._redate |= any(one.until is not None and one.until - LEASE > now + STEP for one in over)

    async def _put_times_right(self) -> None:
        """After the clock was set back, here or before the start: what waits until the time of before does not."""
        self._redate |= self.clock_watch.went_back()
        if self._redate:
            copies = await self.store.redate(self.clock())
            self._redate = False
            log.redated(copies=copies)
            self.wake_all()

    async def _write_down(self, endings: Sequence[Ending]) -> list[None]:
        """Endings to the store; a store that is down is asked again until it is back, or we stop."""
        while True:
            try:
                await self.store.finish(self.worker, endings)
                self.handed_over.told(endings)
                for ending in endings:
                    self.hand.put_down(CopyKey(ending.controller_id, ending.message_id, ending.copy_no))
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
