"""One route's way out: copies are loaded, rendered ahead and handed over, a bounded number of bytes at each step.

Copies are rendered ahead in worker threads; the session that is about to write MAIL FROM decides once more, against
state committed less than a second ago (P2, P3). One copy that fails by a bug of ours is set aside; the others go on.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from gateway import log, overdue
from gateway.config import Route
from gateway.crew import Crew
from gateway.look import Looks
from gateway.mail.outcome import Outcome
from gateway.outbound.direct import Direct, NoRoom
from gateway.outbound.pool import Pool
from gateway.outbound.traffic import Ticket
from gateway.parcel import HandOver, Owed, Parcel
from gateway.pick_up import PickUp
from gateway.route_rest import Rest
from gateway.shelf import Shelf
from gateway.store.contract import ClaimedCopy, Ending, Person, StoreUnavailable
from gateway.store.waiting import CopyKey
from gateway.tray import Tray

CLAIMED = 64
"""Copies claimed from the store in one transaction."""
BATCH = 16
"""Copies rendered in one go."""
BATCH_BYTES = 1 << 20
AHEAD = 48
"""Rendered copies that wait for a session, per lane; and no more than so many bytes, unless it is one copy."""
AHEAD_BYTES = 8 << 20
UNDER_WAY_BYTES = 48 << 20
"""Messages that sessions have in hand at one time, per lane, unless it is one message; a copy takes a few times its
size while it is being sent."""
FRESH = 512
"""Committed copies that wait in memory for their turn, per lane; what comes beyond waits in the store."""
FRESH_BYTES = 32 << 20
LEASE_SECONDS = 0.25
"""How often a lane looks whether its worker has a lease again; without one nothing is claimed."""
LOOK_SECONDS = 1.0
"""How often the store is looked at while fresh copies keep a lane busy, unless something was left there."""


class Lane:
    """One route's way out: a feeder that renders ahead, and as many sessions as the route has connections."""

    def __init__(self, crew: Crew, route: Route) -> None:
        self._crew, self._route = crew, route
        self._fresh, self._ready = Tray(), Tray()
        self._ready_bytes = 0
        self._stored_next = False  # fresh copies and those from the store take turns
        self._look_at = 0.0  # in the store, in loop time
        self._rest = Rest()
        self._pick_up = PickUp(crew)
        self._looks = Looks(crew.store, self._ready)
        self._tasks: asyncio.TaskGroup
        self._shelf = Shelf(self._make_ready, lambda work: self._tasks.create_task(work))
        self._claimed: deque[ClaimedCopy] = deque()  # from the store, not yet loaded
        self._sessions = 0
        self._generation = 0  # of the configuration
        self._direct: Direct | None = None
        self._under_way: dict[int, Parcel] = {}
        self._under_way_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()  # sessions without a parcel
        self.work = asyncio.Event()  # the feeder has something to look for
        self._space = asyncio.Event()  # the feeder has room to put something
        self._quiet = asyncio.Event()  # no session is in a hand-over
        self._quiet.set()

    def configure(self, route: Route, pool: Pool | Direct | None) -> None:
        crew = self._crew
        self._route, self._sends = route, pool is not None
        self._direct = pool if isinstance(pool, Direct) else None
        self._rests = isinstance(pool, Pool)  # else one server that is down says nothing about the others
        self._rest = Rest()
        self._hand_over = HandOver(
            self._looks, crew.scales, crew.renderer, pool, route.name,
            rules=crew.config.bounce_rules, notices=crew.notices, clock=crew.clock, holds=crew.holds,
            believed=lambda: crew.clock_watch.believed,
            returns=crew.returns, stopped=crew.stopped,
            recheck=crew.recheck,
        )  # fmt: skip
        self._shelf.configure(
            route.domain_rates, lambda domain, rate: crew.paces(route.name, rate, domain)
        )  # fmt: skip
        self._pick_up.forget()
        self._space.set()
        self._generation += 1
        for parcel in (*self._fresh, *self._shelf.parcels, *self._ready, *self._under_way.values()):
            parcel.refit(crew.config, crew.scales)

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin, or take up more sessions after a reload; fewer wait for connections of the pool instead."""
        self._tasks = tasks
        if not self._sessions:
            tasks.create_task(self._feed())
        wanted = self._route.connections if self._sends else 1
        for _ in range(self._sessions, wanted):
            tasks.create_task(self._carry())
        self._sessions = max(self._sessions, wanted)

    def room(self, copies: int, size: int, *, marketing: bool) -> bool:
        """Whether fresh copies may come straight to this lane. Service mail has room of its own."""
        if self._rest.failures:
            return False
        return self._fresh.of_kind(marketing) + copies <= FRESH and self._fresh.octets + size <= FRESH_BYTES

    def offer(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            self._crew.hand.take(parcel.key, None)
        self._fresh.put(parcels)
        self.work.set()

    def wake(self) -> None:
        """Copies were left in the store."""
        self._look_at = 0.0
        self.work.set()

    async def idle(self) -> None:
        """Until no session is in a hand-over. Called once no new one begins. Those who still wait, for the turn of a
        slow route or for a server, are let go: what they have in hand stays claimed, for our successor."""
        for parcel in self._under_way.values():
            if parcel.session is not None:
                parcel.session.cancel()
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
        while self._direct is not None and self._direct.traffic.full and not stopping.is_set():
            self._space.clear()
            await self._space.wait()
        if self._rest.failures:
            await self._rested()
        while not self._crew.leased() and not stopping.is_set():
            await self._crew.pause(LEASE_SECONDS)
        if stopping.is_set():
            return
        self.work.clear()
        try:
            batch = await self._next_batch()
        except StoreUnavailable as down:
            log.store_unavailable(where="claim", error=down)
            await self._crew.pause(1.0)
            return
        if not batch:
            self._pick_up.forget()
            await self._until_due()
            return
        if self._shelf.in_use:
            batch = await self._admitted(batch)
        if self._direct is not None:
            batch = await self._let_in(self._direct, batch)
        if self._sends:
            await asyncio.get_running_loop().run_in_executor(self._crew.threads, self._render, batch)
        self._hand_out(batch, refit=self._generation != generation)
        del batch
        while self._has_enough() and not self._rest.failures and not stopping.is_set():
            self._space.clear()
            await self._space.wait()

    def _has_enough(self) -> bool:
        return len(self._ready) >= AHEAD or self._ready_bytes >= AHEAD_BYTES

    async def _rested(self) -> None:
        """While the route rests what is in hand goes back to the store; then one copy at a time tries it out."""
        while self._rest.failures and not self._crew.stopping.is_set():
            seconds = self._rest.seconds(asyncio.get_running_loop().time())
            if not seconds and not self._ready and not self._under_way:
                return
            if seconds:
                await self._give_back()
            else:
                self._wake()
            self._space.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds or None):
                    await self._space.wait()

    async def _give_back(self) -> None:
        """What waits here waits in the store instead, in its old place and without having been tried."""
        parcels = self._fresh.clear() + self._shelf.clear() + self._ready.clear()
        self._ready_bytes = 0
        now = self._crew.clock()
        await asyncio.gather(*(
            self._crew.endings.ask(parcel.ending(
                "queued", now, due_at=now if parcel.attempts else parcel.original.since, tried=False
            ))
            for parcel in parcels
        ))  # fmt: skip

    async def _next_batch(self) -> list[Parcel]:
        """Fresh copies and those from the store in turn, so that neither waits for the end of the other."""
        loop = asyncio.get_running_loop()
        if self._fresh and not (self._stored_next and loop.time() >= self._look_at):
            self._stored_next = True
            return self._take_fresh()
        self._stored_next = False
        batch = await self._claim()
        if not batch and not self._claimed:
            self._look_at = loop.time() + LOOK_SECONDS
        return batch or self._take_fresh()

    async def _admitted(self, batch: list[Parcel]) -> list[Parcel]:
        """The copies that may be made ready; one whose domain has its fill waits in the store until about its turn."""
        stay, endings, now = [], [], self._crew.clock()
        for parcel in batch:
            if (seconds := self._shelf.admit(parcel)) is None:
                stay.append(parcel)
            else:
                due_at = now + timedelta(seconds=seconds)
                endings.append(parcel.ending("queued", now, due_at=due_at, tried=False))
        await asyncio.gather(*(self._crew.endings.ask(ending) for ending in endings))
        return stay

    def _hand_out(self, batch: Sequence[Parcel], *, refit: bool) -> None:
        """Rendered copies to the sessions, or to where they wait for their turn."""
        for parcel in batch:
            if refit:
                parcel.refit(self._crew.config, self._crew.scales)
            if parcel.paced is None:
                self._make_ready(parcel)
            else:
                self._shelf.put(parcel)

    def _render(self, batch: Sequence[Parcel]) -> None:
        for parcel in batch:
            parcel.lacks = self._hand_over.lacks
            parcel.render(self._crew.renderer)

    async def _let_in(self, direct: Direct, batch: Sequence[Parcel]) -> list[Parcel]:
        """Those whose servers have a session for them. The others go back until about when one is free: nothing waits
        here for a server that is slow, down or has had enough."""
        go, waits = [], []
        for parcel in batch:
            address = parcel.rcpt.address
            if parcel.paced is not None:  # it takes its ticket when its turn comes
                go.append(parcel)
                continue
            ticket = direct.admit(address)
            if isinstance(ticket, Ticket):
                parcel.ticket = ticket
                go.append(parcel)
            else:
                waits.append(self._hand_over.out_of_turn(parcel, ticket, direct.why(address)))
        if waits:
            await asyncio.gather(*(self._crew.endings.ask(ending) for ending in waits))
        return go

    def _let_go(self, parcel: Parcel) -> None:
        """Its session is free for another copy."""
        if parcel.ticket is not None and self._direct is not None:
            self._direct.heard(parcel.ticket, parcel.heard)
            self._space.set()

    def _take_fresh(self) -> list[Parcel]:
        batch: list[Parcel] = []
        size = 0
        while (first := self._fresh.first) is not None and len(batch) < BATCH:
            size += first.original.size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._fresh.take())
        return batch

    async def _claim(self) -> list[Parcel]:
        """The next due copies from the store, decided before any work is spent on them.

        What was claimed and could not be loaded, because the store went away meanwhile, is first the next time.
        """
        crew = self._crew
        if not self._claimed:
            n = 1 if self._rest.failures else CLAIMED
            self._claimed.extend(await crew.store.claim(crew.worker, self._route.name, now=crew.clock(), n=n))
            for copy in self._claimed:
                crew.hand.take(CopyKey(copy.controller_id, copy.message_id, copy.copy_no), copy)
        some = self._next_claimed()
        batch, endings = await self._decided(some)
        for _ in some:
            self._claimed.popleft()
        await asyncio.gather(*(crew.endings.ask(ending) for ending in endings))
        return batch

    async def _decided(self, some: Sequence[ClaimedCopy]) -> tuple[list[Parcel], list[Ending]]:
        """Those of claimed copies that may leave as things stand, and how the others end. Raises StoreUnavailable."""
        parcels, endings = await self._pick_up(some)
        people = await self._looks.together(parcels) if parcels else []
        batch: list[Parcel] = []
        owed: list[Owed] = []
        for parcel, person in zip(parcels, people, strict=True):
            if (ending := self._sorted_out(parcel, person, owed)) is None:
                batch.append(parcel)
            else:
                endings.append(ending)
        return batch, overdue.told_together(self._hand_over, endings, owed, self._crew.clock())

    def _next_claimed(self) -> list[ClaimedCopy]:
        """The next of what was claimed, a bounded number of octets, each message counted once."""
        some: list[ClaimedCopy] = []
        sizes: dict[bytes, int] = {}
        for copy in self._claimed:
            sizes[copy.message_id] = copy.size
            if some and (len(some) == BATCH or sum(sizes.values()) > BATCH_BYTES):
                break
            some.append(copy)
        return some

    def _sorted_out(self, parcel: Parcel, person: Person, owed: list[Owed]) -> Ending | None:
        """How a copy ends that will not leave as things stand; None: it is worth rendering."""
        try:
            parcel.ruling = parcel.weigh(person, self._crew.clock())
            if self._hand_over.stopped(parcel):
                return self._hand_over.set_aside(parcel)
            return None if parcel.ruling.decision.verdict == "allow" else self._hand_over.put_by(parcel, owed)
        except Exception as bug:
            log.held(message_id=str(UUID(bytes=parcel.original.message_id)), stage="check", error=bug)
            return parcel.ending("held", self._crew.clock(), said=f"check: {type(bug).__name__}")

    async def look_at_overdue(self) -> None:
        """What time alone asks for: reports on copies that are late, and an end to those that waited long enough, be
        the route in use or not. Raises StoreUnavailable."""
        crew = self._crew
        while not crew.stopping.is_set():
            some = await crew.store.claim_overdue(crew.worker, self._route.name, now=crew.clock(), n=BATCH)
            batch, endings = await self._decided(some)
            endings += overdue.endings(self._hand_over, self._route.name, batch, crew.clock())
            await asyncio.gather(*(crew.endings.ask(ending) for ending in endings))
            if len(some) < BATCH:
                return

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

    def _make_ready(self, parcel: Parcel) -> None:
        self._ready.put((parcel,))
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
        first = self._ready.first
        if first is None:
            return False
        if self._rest.failures and (self._under_way or self._rest.seconds(asyncio.get_running_loop().time())):
            return False
        return not self._under_way or self._under_way_bytes + first.original.size <= UNDER_WAY_BYTES

    async def _next(self) -> Parcel | None:
        """The next parcel, in hand; None when we stop."""
        while not self._may_take() and not self._crew.stopping.is_set():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        if self._crew.stopping.is_set():
            return None
        parcel = self._ready.take()
        self._ready_bytes -= parcel.octets
        self._shelf.taken(parcel)
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
            self._space.set()
        self._wake()

    async def _carry(self) -> None:
        while await self._carry_one():
            pass  # a call of its own: nothing of a copy is held while the next is waited for

    async def _carry_one(self) -> bool:
        parcel = await self._next()
        if parcel is None:
            return False
        try:
            parcel.session = asyncio.current_task()
            ending = await self._attempt(parcel)
            parcel.session = None
            if ending is not None:
                self._crew.handed_over.note(ending)
            self._let_go(parcel)
            if ending is not None:
                await self._crew.endings.ask(ending)  # first: a crash then repeats one copy per session at most
        except StoreUnavailable as down:
            log.store_unavailable(where="check", error=down)
            await self._crew.pause(1.0)
            self._make_ready(parcel)
        finally:
            parcel.session = None
            self._done_with(parcel)
        return True

    def _learn(self, outcome: Outcome | None) -> None:
        """What an attempt said about the route as a whole."""
        if outcome is None or not self._rests:
            return
        now = asyncio.get_running_loop().time()
        change = self._rest.heard(outcome, now)
        if change == "begins":
            log.route_rests(
                route=self._route.name, failures=self._rest.failures, seconds=round(self._rest.seconds(now), 1),
                stage=outcome.stage, code=outcome.code, enhanced=outcome.enhanced,
            )  # fmt: skip
        elif change == "ends":
            log.route_works(route=self._route.name)
        if change is not None:
            self._space.set()
            self.work.set()

    async def _attempt(self, parcel: Parcel) -> Ending | None:
        """One attempt and what came of it; None: the copy is not ours any more. A bug of ours sets this copy aside; the
        others go on."""
        try:
            ours = self._crew.holds(parcel)
            ending = await self._hand_over(parcel) if ours else None
        except StoreUnavailable:
            raise
        except NoRoom as busy:
            return self._hand_over.out_of_turn(parcel, busy.seconds, None)
        except Exception as bug:
            log.held(message_id=str(UUID(bytes=parcel.original.message_id)), stage="hand over", error=bug)
            return parcel.ending("held", self._crew.clock(), said=f"hand over: {type(bug).__name__}")
        self._learn(parcel.heard)
        if ending is None:  # our lease ran out: it waits again, unless somebody else has it
            while not self._crew.leased() and not self._crew.stopping.is_set():
                await self._crew.pause(LEASE_SECONDS)
            if self._crew.holds(parcel):
                ending = parcel.ending("queued", self._crew.clock(), due_at=self._crew.clock(), tried=False)
        return ending
