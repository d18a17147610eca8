"""Queue to the next hop: claim, check again, rewrite and sign, hand over, write down what came of it.

Each route has a lane. Fresh messages come straight from acceptance, already committed and claimed by this worker;
the rest is claimed from the store in batches. Copies are rendered ahead in worker threads, a bounded number of bytes;
the session that is about to write MAIL FROM decides once more, against state committed less than a second ago (P2, P3).

What it never does: send a copy whose last check did not say allow; hold more than its share of memory; forget a copy:
one whose ending cannot be written stays claimed and is told again until it can, or comes back when the lease is over.
"""

import asyncio
import contextlib
import json
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway import log
from gateway.config import Config, Route
from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome, Retry, after
from gateway.outbound.pool import ConnectFailed, Pool
from gateway.render import Original, Renderer, open_original
from gateway.store.connection import Gatherer
from gateway.store.contract import ClaimedCopy, Ending, Person, Ruling, Store, StoreUnavailable, Who
from gateway.weigh import Scales, unreadable_store
from suppression.address import canonical
from suppression.vault import KeyRing

LEASE = timedelta(seconds=20)
RENEW_SECONDS = 5.0
CHECK_AGE = timedelta(seconds=1)
"""How old the state may be on which MAIL FROM is written (DESIGN P2)."""
CLAIM = 64
FRESH_COPIES = 512
AHEAD_BYTES = 8 << 20
"""Rendered bytes that wait for a session, per lane."""
BATCH_BYTES = 1 << 20
DEFERRED_AGAIN = timedelta(minutes=1)
"""When a copy that could not be decided is looked at again."""


@dataclass(slots=True, kw_only=True)
class Parcel:
    """One claimed copy on its way through a lane. `ruling` is the last one made, `was` how the report counts it."""

    original: Original
    weigh: Callable[[Person | None, datetime], Ruling]
    mail_from: str
    ret: str | None
    envid: str | None
    body_8bit: bool
    smtputf8: bool
    campaign: str
    copy_no: int
    rcpt: Rcpt
    who: Who
    recipient_key: bytes
    attempts: int
    ruling: Ruling
    was: str
    data: bytes = b""
    rendered_for: str | None = None
    broken: str = ""

    @property
    def name(self) -> str:
        """How the log calls this copy."""
        return f"{self.original.message_id.hex()}/{self.copy_no}"


def pack_rcpt(rcpt: Rcpt) -> bytes:
    """A recipient as it waits in the queue."""
    return json.dumps({"address": rcpt.address, "notify": sorted(rcpt.notify), "orcpt": rcpt.orcpt}).encode()


def unpack_rcpt(packed: bytes) -> Rcpt:
    """The recipient again."""
    fields = json.loads(packed)
    return Rcpt(address=fields["address"], notify=frozenset(fields["notify"]), orcpt=fields["orcpt"])


def tally(verdict: str, reason_code: str) -> str:
    """The name under which the report counts a verdict."""
    return {"allow": "allowed", "defer": "deferred"}.get(verdict, "blocked/" + reason_code)


class Deliver:
    """All lanes of one worker process."""

    def __init__(self, store: Store, *, worker: str, ring: KeyRing, clock: Callable[[], datetime]) -> None:
        self.store, self.worker, self.ring, self.clock = store, worker, ring, clock
        self._lanes: dict[str, Lane] = {}
        self._lease_until = clock()
        self.stopping = asyncio.Event()
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="render")
        self.endings: Gatherer[Ending, None] = Gatherer(self._write_down)

    def configure(self, config: Config, scales: Scales, renderer: Renderer, pools: Mapping[str, Pool]) -> None:
        """Take a configuration into use. Lanes of routes that stay go on; those of routes that went wait for none."""
        self.config, self.scales, self.renderer = config, scales, renderer
        for name, route in config.routes.items():
            if name in self._lanes:
                self._lanes[name].configure(route, pools.get(name))
            else:
                self._lanes[name] = Lane(self, route, pools.get(name))

    async def run(self) -> None:
        """Work until `stop`. Whatever this worker held before it restarted waits again at once."""
        await self._renew()
        await self.store.take_back(self.worker, self.clock())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_lease())
            for lane in self._lanes.values():
                tasks.create_task(lane.run())

    async def stop(self, seconds: float = 10.0) -> None:
        """Begin no further hand-over; those under way may finish within `seconds`."""
        self.stopping.set()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self.threads.shutdown, wait=False, cancel_futures=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.gather(*(lane.idle() for lane in self._lanes.values()))

    def room(self, route: str, copies: int, size: int) -> bool:
        """Whether a fresh message may go straight to its lane."""
        lane = self._lanes.get(route)
        return lane is not None and not self.stopping.is_set() and lane.room(copies, size)

    def offer(self, route: str, parcels: Sequence[Parcel]) -> None:
        """Committed copies in state claimed, held by this worker."""
        self._lanes[route].offer(parcels)

    def wake(self, route: str) -> None:
        """Copies were left in the queue."""
        if route in self._lanes:
            self._lanes[route].wake()

    def leased(self, now: datetime) -> bool:
        """Whether this worker still holds what it claimed; if not, another may be sending it."""
        return now < self._lease_until

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
                        lane.wake()
            except StoreUnavailable as down:
                log.store_unavailable(where="lease", error=down)
            await self.pause(RENEW_SECONDS)

    async def _write_down(self, endings: Sequence[Ending]) -> list[None]:
        """Endings to the store; a store that is down is asked again until it is back, or we stop."""
        while True:
            try:
                await self.store.finish(self.worker, endings)
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

    def __init__(self, deliver: Deliver, route: Route, pool: Pool | None) -> None:
        self._deliver = deliver
        self.configure(route, pool)
        self._fresh: deque[Parcel] = deque()
        self._fresh_bytes = 0
        self._ready: deque[Parcel] = deque()
        self._ready_bytes = 0
        self._work = asyncio.Event()  # for the feeder
        self._filled = asyncio.Condition()  # for the sessions and, when they take, for the feeder
        self._busy = 0
        self._originals: OrderedDict[bytes, Original] = OrderedDict()

    def configure(self, route: Route, pool: Pool | None) -> None:
        self._route, self._pool = route, pool

    def room(self, copies: int, size: int) -> bool:
        return len(self._fresh) + copies <= FRESH_COPIES and self._fresh_bytes + size <= 4 * AHEAD_BYTES

    def offer(self, parcels: Sequence[Parcel]) -> None:
        self._fresh.extend(parcels)
        self._fresh_bytes += sum(p.original.size for p in parcels[:1])
        self._work.set()

    def wake(self) -> None:
        self._work.set()

    async def idle(self) -> None:
        """Until no session is in a hand-over."""
        async with self._filled:
            self._filled.notify_all()
            await self._filled.wait_for(lambda: self._busy == 0)

    async def run(self) -> None:
        sessions = 1 if self._pool is None else self._route.connections
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            for _ in range(sessions):
                tasks.create_task(self._carry())

    # the feeder

    async def _feed(self) -> None:
        while not self._deliver.stopping.is_set():
            self._work.clear()
            try:
                batch = self._take_fresh() or await self._claim()
            except StoreUnavailable as down:
                log.store_unavailable(where="claim", error=down)
                await self._deliver.pause(1.0)
                continue
            if not batch:
                await self._until_due()
                continue
            await self._render(batch)
            async with self._filled:
                self._ready.extend(batch)
                self._ready_bytes += sum(len(p.data) for p in batch)
                self._filled.notify_all()
                await self._filled.wait_for(
                    lambda: self._ready_bytes < AHEAD_BYTES // 2 and len(self._ready) < CLAIM
                    or self._deliver.stopping.is_set()
                )  # fmt: skip

    def _take_fresh(self) -> list[Parcel]:
        batch: list[Parcel] = []
        size = 0
        while self._fresh and (not batch or (size < BATCH_BYTES and len(batch) < CLAIM // 4)):
            parcel = self._fresh.popleft()
            size += parcel.original.size
            batch.append(parcel)
        if not self._fresh:
            self._fresh_bytes = 0
        return batch

    async def _claim(self) -> list[Parcel]:
        """The next due copies from the store, decided before any work is spent on them."""
        deliver, now = self._deliver, self._deliver.clock()
        batch = []
        for claimed in await deliver.store.claim(deliver.worker, self._route.name, now=now, n=CLAIM // 4):
            parcel = await self._load(claimed)
            if parcel is not None and not await self._settle(parcel):
                batch.append(parcel)
        return batch

    async def _load(self, claimed: ClaimedCopy) -> Parcel | None:
        deliver = self._deliver
        stored = await deliver.store.message(claimed.controller_id, claimed.message_id)
        original = self._originals.get(claimed.message_id)
        if stored is not None and original is None:
            original = await asyncio.get_running_loop().run_in_executor(
                deliver.threads, open_original, deliver.config, stored
            )
            if original is not None:
                self._originals[claimed.message_id] = original
                while len(self._originals) > 4:
                    self._originals.popitem(last=False)
        if stored is None or original is None:
            # its stream was taken out of the configuration, or its key is gone: it stays claimed, and comes back
            log.held(message_id=claimed.message_id.hex(), stage="open", error=LookupError())
            return None
        rcpt, meta = unpack_rcpt(claimed.rcpt), stored.envelope
        who = whose(deliver.ring, claimed.controller_id, canonical(rcpt.address) or "", claimed.recipient_key)
        return Parcel(
            original=original, weigh=deliver.scales.lay(original.case, original.controller, original.stream),
            mail_from=meta["mail_from"], ret=meta["ret"], envid=meta["envid"], body_8bit=meta["body_8bit"],
            smtputf8=meta["smtputf8"], campaign=stored.campaign, copy_no=claimed.copy_no, rcpt=rcpt, who=who,
            recipient_key=claimed.recipient_key, attempts=claimed.attempts, ruling=unreadable_store(stored.at),
            was=tally(claimed.verdict, claimed.reason_code),
        )  # fmt: skip

    async def _render(self, batch: Sequence[Parcel]) -> None:
        if self._pool is not None:
            await asyncio.get_running_loop().run_in_executor(self._deliver.threads, self._render_all, batch)

    def _render_all(self, batch: Sequence[Parcel]) -> None:
        for parcel in batch:
            basis = parcel.ruling.decision.basis
            try:
                parcel.data = self._deliver.renderer.copy(
                    parcel.original, parcel.rcpt.address, parcel.recipient_key, basis
                )
                parcel.rendered_for = basis
            except Exception as bug:  # this copy is set aside for a person; the others go on
                log.held(message_id=parcel.original.message_id.hex(), stage="render", error=bug)
                parcel.broken = type(bug).__name__

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
                await self._work.wait()

    # the sessions

    async def _carry(self) -> None:
        written: asyncio.Future[None] | None = None
        while True:
            async with self._filled:
                await self._filled.wait_for(lambda: self._ready or self._deliver.stopping.is_set())
                if self._deliver.stopping.is_set():
                    return
                parcel = self._ready.popleft()
                self._ready_bytes -= len(parcel.data)
                self._busy += 1
                self._filled.notify_all()
            try:
                ending = await self._hand_over(parcel)
                if written is not None:
                    await written  # one ending at most is on its way to the store per session
                written = self._deliver.endings.ask(ending) if ending is not None else None
                if self._deliver.stopping.is_set() and written is not None:
                    await written
            except StoreUnavailable as down:
                log.store_unavailable(where="check", error=down)
                await self._deliver.pause(1.0)
                self._fresh.appendleft(parcel)
                self._work.set()
            finally:
                async with self._filled:
                    self._busy -= 1
                    self._filled.notify_all()

    async def _hand_over(self, parcel: Parcel) -> Ending | None:
        """One attempt. None: the lease is over, so the copy is another worker's."""
        if self._pool is None:
            if not await self._may_go(parcel):
                return self._not_now(parcel)
            log.captured(copy=parcel.name, route=self._route.name)
            return self._ending(parcel, "captured")
        while not parcel.broken:
            try:
                async with self._pool.session() as session:
                    outcome = await session.transaction(
                        parcel.mail_from, parcel.rcpt, parcel.data, before_mail=lambda: self._may_go(parcel),
                        body_8bit=parcel.body_8bit, smtputf8=parcel.smtputf8, ret=parcel.ret, envid=parcel.envid,
                    )  # fmt: skip
            except ConnectFailed as failed:
                outcome = failed.outcome
            if outcome.state != "skipped":
                return self._judged(parcel, outcome)
            if not self._deliver.leased(self._deliver.clock()):
                return None
            if parcel.ruling.decision.verdict != "allow":
                return self._not_now(parcel)
            await self._render([parcel])  # allowed, but on another ground: its links and footer say so
        return self._ending(parcel, "held", said=f"render: {parcel.broken}")

    async def _may_go(self, parcel: Parcel) -> bool:
        """The last check, by the session that is about to write MAIL FROM: the whole decision, on fresh facts."""
        deliver = self._deliver
        asked = deliver.clock()
        person = (await deliver.store.people([parcel.who]))[0]
        now = deliver.clock()
        parcel.ruling = parcel.weigh(person, now)
        decision = parcel.ruling.decision
        fresh = now - asked < CHECK_AGE and deliver.leased(now)
        return decision.verdict == "allow" and fresh and (self._pool is None or decision.basis == parcel.rendered_for)

    async def _settle(self, parcel: Parcel) -> bool:
        """Decide a copy that waited; whether that ended it."""
        if await self._may_go(parcel) or parcel.ruling.decision.verdict == "allow":
            return False
        await self._deliver.endings.ask(self._not_now(parcel))
        return True

    def _not_now(self, parcel: Parcel) -> Ending:
        decision = parcel.ruling.decision
        if decision.verdict == "defer":
            return self._ending(parcel, "queued", due_at=self._deliver.clock() + DEFERRED_AGAIN)
        log.kept_out(copy=parcel.name, route=self._route.name, reason_code=decision.reason_code)
        return self._ending(parcel, "blocked")

    def _judged(self, parcel: Parcel, outcome: Outcome) -> Ending:
        said = f"{outcome.code or ''} {outcome.enhanced or ''} {outcome.text}".strip()
        original, now, attempts = parcel.original, self._deliver.clock(), parcel.attempts + 1
        common = {"copy": parcel.name, "route": self._route.name, "attempts": attempts}
        if outcome.state == "delivered":
            log.delivered(**common, seconds=(now - original.at).total_seconds())
            scales = self._deliver.scales
            mailed = original.case.marketing and scales.rolling(original.controller.id, parcel.ruling)
            return self._ending(parcel, "delivered", said=said, mailed=mailed)
        step = after(
            outcome, attempts=attempts, first_at=original.at, now=now, retry_for=original.stream.retry_for,
            jitter=random.random(),
        )  # fmt: skip
        common.update(stage=outcome.stage, code=outcome.code, enhanced=outcome.enhanced)
        if isinstance(step, Retry):
            log.tried(**common)
            return self._ending(parcel, "queued", said=said, due_at=step.at)
        log.failed(**common)
        return self._ending(parcel, "failed", said=said, dead_address=outcome.dead_address)

    def _ending(
        self, parcel: Parcel, state: str, *, said: str = "", due_at: datetime | None = None,
        dead_address: bool = False, mailed: bool = False,
    ) -> Ending:  # fmt: skip
        original = parcel.original
        return Ending(
            controller_id=original.controller.id, message_id=original.message_id, copy_no=parcel.copy_no,
            stream=original.stream.name, campaign=parcel.campaign, state=state, ruling=parcel.ruling, was=parcel.was,
            reply=said, at=self._deliver.clock(), due_at=due_at, recipient_key=parcel.recipient_key,
            dead_address=dead_address, mailed=mailed,
        )  # fmt: skip


def whose(ring: KeyRing, controller_id: str, address: str, recipient_key: bytes | None = None) -> Who:
    """The look-up of one normalised address. A key its copy was stored under comes first."""
    keys = ring.recipient_keys(controller_id, address) if address else ()
    first = (recipient_key,) if recipient_key is not None else ()
    return Who(
        controller_id=controller_id, recipient_keys=(*first, *(k for k in keys if k != recipient_key)),
        global_keys=ring.global_keys(address) if address else (),
    )  # fmt: skip
