"""The connections of one smarthost route: how many, to which host, how fast, and for how long they are kept.

Purpose: `async with pool.session() as session` gives a ready `Session`, reused where possible.
Hosts are asked by priority; those of one priority get connections in proportion to their weights. A host that failed,
or that refuses MAIL for now, is asked last until its cool-down is over, and the copy goes to the next one at once.
It never opens more connections than the route allows, nor holds one that nobody used for `idle_seconds`.
Failures: `ConnectFailed` when no host became ready; when all have just failed the answer comes at once, so that a full
queue does not hammer a host that is down.
Known limit: connections count per process.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Route, Smarthost
from gateway.mail.outcome import Outcome
from gateway.outbound.client import Session
from gateway.outbound.connect import ConnectFailed, Connection, Host, Timeouts, connect
from gateway.outbound.login import Credentials
from gateway.outbound.pace import Pace
from gateway.outbound.tls_policy import POLICIES, context_for, starts_with_tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How connections are treated, in seconds.

    `idle`: kept unused. `life`: kept at all, so that a busy route finds back to its first host. `cool_down`: a host
    that failed is asked last, and one that had no room for another connection is not asked for one. `all_down`: every
    host failed, ask nobody. `login_down`: a host that refused our login is not asked at all, so that nobody locks us
    out for trying. `in_clear`: a host whose TLS fails is spoken to in clear at once, where the policy allows.
    """

    idle: float = 20
    life: float = 300
    cool_down: float = 30
    all_down: float = 1
    login_down: float = 60
    in_clear: float = 3600


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """One host of the route and how it does, in loop time. `credit`: what it is owed of the connections.

    `locked`: until when it is not asked at all, and what it said: our login was refused.
    """

    host: Host
    priority: int
    weight: int
    credit: int = 0
    cooling_until: float = 0.0
    clear_until: float = 0.0
    locked: tuple[float, ConnectFailed] | None = None
    said_well: bool = False


class Pool:
    """The sessions of one route, used from one event loop."""

    def __init__(
        self,
        route: Route,
        *,
        hostname: str,
        ca_file: Path | None = None,
        timeouts: Timeouts | None = None,
        habits: Habits | None = None,
        pace: Pace | None = None,
        say: Callable[[str, Outcome | None], None] | None = None,
    ) -> None:
        """`hostname`: our name in EHLO. `ca_file`: PEM that stands in for the system's CAs. `pace`: what the route's
        rate allows. `say` is told of a host ("name:port") that did not get ready, and (None) of one that is well again.
        ValueError for a route without hosts; OSError when the CA file cannot be read."""
        if route.kind != "smarthost" or not route.hosts:
            raise ValueError(f"route {route.name} has no hosts")
        self._loop = asyncio.get_running_loop()
        self._timeouts = timeouts or Timeouts()
        self._habits = habits or Habits()
        self._places = [
            _Place(host=host, priority=one.priority, weight=one.weight)
            for one, host in hosts(route, hostname=hostname, ca_file=ca_file, timeouts=self._timeouts)
        ]
        self._limit = max(1, route.connections)
        self._room_again = 0.0
        self._ceiling = self._limit
        self._turn = pace.turn if pace is not None else None
        self._say = say or (lambda host, outcome: None)
        self._live = 0
        self._idle: list[tuple[float, Session]] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last: tuple[float, ConnectFailed] | None = None
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def live(self) -> int:
        """Connections open or being opened."""
        return self._live

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A ready session for one task, waiting for one to become free when all are in use.

        ConnectFailed when none can be had; its `outcome` is what that means for a copy. The session goes back for
        reuse when the block ends, and is cut when the block is cancelled.
        """
        session = await self._take()
        try:
            yield session
        except asyncio.CancelledError:
            session.abort()
            raise
        finally:
            self._give_back(session)

    async def close(self) -> None:
        """Say goodbye on the idle connections; those in use follow when they come back."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for _, session in self._idle:
            session.close()
        self._live -= len(self._idle)
        self._idle.clear()

    async def _take(self) -> Session:
        while True:
            while self._idle:
                _, session = self._idle.pop()  # the one used last is the least likely to have been closed
                if session.usable:
                    return session
                session.abort()
                self._live -= 1
            if self._loop.time() >= self._room_again:
                self._ceiling = self._limit
            if self._live < self._ceiling:
                self._live += 1
                try:
                    connection = await self._connect()
                except BaseException as error:
                    self._live -= 1
                    if not (isinstance(error, ConnectFailed) and self._no_room(error)):
                        self._wake()
                        raise
                else:
                    return Session(
                        connection, timeouts=self._timeouts, reopen=self._connect, turn=self._turn,
                        trouble=self._trouble,
                    )  # fmt: skip
            await self._wait()

    def _no_room(self, failed: ConnectFailed) -> bool:
        """Whether the host merely has no room for one more connection: then one in use will do when it is free."""
        if failed.outcome.stage not in ("greeting", "ehlo") or failed.kind is not None or self._live == 0:
            return False
        self._ceiling = self._live
        self._room_again = self._loop.time() + self._habits.cool_down
        return True

    async def _wait(self) -> None:
        future = self._loop.create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.cancelled():
                with suppress(ValueError):  # a wake-up may have passed over it already
                    self._waiting.remove(future)
            else:
                self._wake()  # it was our turn, which goes to the next
            raise

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _give_back(self, session: Session) -> None:
        now = self._loop.time()
        if session.usable and not self._closed and now - session.since < self._habits.life:
            self._idle.append((now, session))
            if self._reaper is None:
                self._reaper = self._loop.call_later(self._habits.idle, self._reap)
        else:
            session.close()
            self._live -= 1
        self._wake()

    def _reap(self) -> None:
        """Close what nobody used for long; the list is in order of last use."""
        self._reaper = None
        oldest = self._loop.time() - self._habits.idle
        # a timer may fire a clock tick early, so what is due within the tick goes now
        while self._idle and (self._idle[0][0] <= oldest + 0.001 or not self._idle[0][1].usable):
            self._idle.pop(0)[1].close()
            self._live -= 1
            self._wake()
        if self._idle:
            self._reaper = self._loop.call_later(self._idle[0][0] - oldest, self._reap)

    async def _connect(self) -> Connection:
        """The first host that becomes ready, those in cool-down last."""
        now = self._loop.time()
        if self._last is not None and now < self._last[0]:
            known = self._last[1]
            raise ConnectFailed(known.outcome, known.kind, known.peer)
        failed: ConnectFailed | None = None
        for place in self._in_turn(now):
            try:
                connection = await self._connect_to(place)
            except ConnectFailed as error:
                failed = failed or error
            else:
                self._last = None
                return connection
        assert failed is not None
        if self._live <= 1:  # else a session is at work, and the host has just no room for another
            self._last = (self._loop.time() + self._habits.all_down, failed)
        raise failed

    async def _trouble(self, connection: Connection, outcome: Outcome, been: Sequence[Host]) -> Connection | None:
        """A host ended the connection or refused MAIL for now: it cools down.

        For a copy that it has not looked at yet: a connection to a host where it has not been, None where none is well.
        """
        now = self._loop.time()
        for place in self._places:
            if place.host is connection.to:
                place.cooling_until = now + self._habits.cool_down
        if outcome.stage != "mail":
            return None
        for place in self._in_turn(now):
            if place.cooling_until <= now and place.host not in been:
                with suppress(ConnectFailed):
                    return await self._connect_to(place)
        return None

    def _in_turn(self, now: float) -> list[_Place]:
        """Whom to ask, best first; the turns within a priority go round smoothly, by weight."""
        well = [place for place in self._places if place.cooling_until <= now]
        if well:
            first = [place for place in well if place.priority == well[0].priority]
            for place in first:
                place.credit += place.weight
            first.sort(key=lambda place: -place.credit)
            first[0].credit -= sum(place.weight for place in first)
            well[: len(first)] = first
        return well + [place for place in self._places if place.cooling_until > now]

    async def _connect_to(self, place: _Place) -> Connection:
        """One host; a second time in clear when TLS failed and the policy allows it (RFC 7435). Both within the limit
        of one."""
        host, now = place.host, self._loop.time()
        until = now + host.timeouts.ready
        if place.locked is not None and now < place.locked[0]:
            known = place.locked[1]
            raise ConnectFailed(known.outcome, known.kind, known.peer)
        in_clear = place.clear_until > self._loop.time()
        try:
            try:
                connection = await connect(host, in_clear=in_clear, until=until)
            except ConnectFailed as failed:
                fallback = host.policy.clear_too and not in_clear and not starts_with_tls(host.policy, host.port)
                if failed.kind != "tls" or not fallback:
                    raise
                place.clear_until = self._loop.time() + self._habits.in_clear
                connection = await connect(host, in_clear=True, until=until)
        except ConnectFailed as failed:
            now = self._loop.time()
            place.cooling_until = now + self._habits.cool_down
            if failed.outcome.stage == "auth":
                place.locked = (now + self._habits.login_down, failed)
            full = failed.outcome.stage in ("greeting", "ehlo") and failed.kind is None and self._live > 1
            if not full:
                place.said_well = False
                self._say(failed.peer, failed.outcome)
            raise
        place.cooling_until = 0.0
        if not place.said_well:
            place.said_well = True
            self._say(connection.peer, None)
        return connection


def hosts(
    route: Route, *, hostname: str, ca_file: Path | None = None, timeouts: Timeouts
) -> list[tuple[Smarthost, Host]]:  # fmt: skip
    """The hosts of a route, those to be asked first before the others, with all it takes to get ready at them."""
    policy = POLICIES[route.tls]
    context = context_for(policy, ca_file)
    return [
        (one, Host(
            host=one.host, port=one.port, name=hostname, policy=policy, context=context, credentials=_credentials(one),
            timeouts=timeouts,
        ))
        for one in sorted(route.hosts, key=lambda one: one.priority)
    ]  # fmt: skip


def _credentials(host: Smarthost) -> Credentials | None:
    if host.username is None:
        return None
    return Credentials(username=host.username, password=host.password or "", token_file=host.token_file)
