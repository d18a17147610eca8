"""The connections of one `mx` route: to the mail servers that each domain names, as safely as each asks for.

Purpose: `async with direct.session(...) as session` gives a ready `Session` for the domain of one address.
The servers are tried in the order of mx.py, within one limit of time, of which none takes all. What a domain demands of
TLS, by DANE or MTA-STS, is kept: a server that does not meet it is passed by, and with none left the copy waits.
It never has more sessions than traffic.py gave tickets for, nor keeps one that nobody used for `idle` seconds.
Connections are kept per server, name, source and demand, and serve any domain of which all of these are the same.
Failures: `ConnectFailed` when no server became ready, `NoRoom` when the servers turned out to be those of a place
that has no session free.

Sources: RFC 5321 5.1, 4.5.4; RFC 7435 (opportunistic TLS); RFC 7672 (DANE); RFC 8461 (MTA-STS).
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.config import Route
from gateway.mail.outcome import Outcome, judge_failure
from gateway.outbound.client import Session
from gateway.outbound.connect import ConnectFailed, Connection, Host, Timeouts, connect
from gateway.outbound.dane import Tlsa, Withheld, tlsa_of
from gateway.outbound.mta_sts import Policies, Policy
from gateway.outbound.mx import Bounds, Exchange, NoWay, Way, domain_of, find_way
from gateway.outbound.pace import Pace
from gateway.outbound.resolver import Resolver
from gateway.outbound.tls_policy import POLICIES, TlsPolicy, context_for
from gateway.outbound.tls_report import Demand, result_of
from gateway.outbound.traffic import Ticket, Traffic, heard_of

TIMEOUTS: Final = Timeouts(connect=20, tls=30, greeting=60, ehlo=60, ready=120)
"""Shorter than RFC 5321 4.5.3.2 where no mail is at stake yet: there is another server, or another time. `ready` is for
all servers of a domain."""
EACH: Final = 2
"""Addresses of a server that hang may cost their time at least, while there are other servers: RFC 5321 5.1 has us try
two addresses of a domain."""
IDLE_MOST: Final = 64
"""Connections kept for later, of all servers together."""
REMEMBERED: Final = 10_000
"""Servers of which it is remembered that they failed, or that their TLS did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How connections are treated, in seconds: see pool.Habits. `copies`: as many go over one connection."""

    idle: float = 10
    life: float = 300
    copies: int = 100
    cool_down: float = 60
    in_clear: float = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """As whom a controller's mail leaves. `helo`: our name. `sources`: addresses to connect from, none: any."""

    helo: str
    sources: tuple[str, ...] = ()


class NoRoom(Exception):
    """The servers of a domain have all the sessions they may have; ask again after so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__("no room")
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A server that mail would be handed to. `demand`: what its TLS is asked for by. `encrypted`: not in clear;
    `verified`: and only where it proves who it is."""

    host: str
    addresses: tuple[str, ...]
    demand: Demand
    encrypted: bool
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """One server as it is to be connected to. `demand`: who asks for its TLS to be so. `lax`: what will do instead."""

    host: Host
    demand: Demand
    lax: Host | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What a connection must have in common with this to serve as well."""
        host = self.host
        return host.host, host.name, host.source, host.policy, host.proof, self.lax is None


@dataclass(slots=True, eq=False)
class _Kept:
    """A session, what it serves, and how often it did."""

    session: Session
    target: _Target
    copies: int = 0
    at: float = 0.0


class Direct:
    """The sessions of one route, used from one event loop."""

    def __init__(
        self, route: Route, *, hostname: str, senders: Mapping[str, Sender], resolver: Resolver, bounds: Bounds,
        dnssec: bool = False, policies: Policies | None = None, traffic: Traffic | None = None,
        ca_file: Path | None = None, pace: Pace | None = None, timeouts: Timeouts = TIMEOUTS,
        habits: Habits | None = None,
        count: Callable[[Demand, str], None] = lambda _demand, _result: None,
    ) -> None:  # fmt: skip
        """`hostname`: our name where a controller has no sender. `senders`: by controller. `dnssec`: heed TLSA records.
        `policies`: heed MTA-STS. `traffic`: what was learnt before the settings changed. `ca_file`: PEM that stands in
        for the system's CAs. `count`: told of each attempt at TLS, what asked for it and what came of it ("success",
        or a result type of RFC 8460 4.3)."""
        self._loop = asyncio.get_running_loop()
        self._route, self._senders, self._resolver, self._bounds = route, senders, resolver, bounds
        self._anybody = Sender(helo=hostname)
        self._dnssec, self.policies, self._timeouts, self._count = dnssec, policies, timeouts, count
        self._habits, self._turn = habits or Habits(), None if pace is None else pace.turn
        self._base = POLICIES[route.tls]
        self._contexts = {policy: context_for(policy, ca_file) for policy in (*POLICIES.values(),)}
        self.traffic = traffic or Traffic(sessions=route.connections, per_place=route.domain_connections)
        self.traffic.limit(sessions=route.connections, per_place=route.domain_connections)
        self._idle: list[_Kept] = []  # in the order of last use
        self._cooling: OrderedDict[str, float] = OrderedDict()
        self._clear_until: OrderedDict[str, float] = OrderedDict()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """How many connections are kept."""
        return len(self._idle)

    def admit(self, address: str) -> Ticket | float:
        """A ticket for a copy to this address, or the seconds after which to ask again (traffic.py)."""
        try:
            domain = domain_of(address)
        except NoWay:  # the session will say so
            domain = ""
        return self.traffic.admit(domain, self._loop.time())

    def why(self, address: str) -> Outcome | None:
        """What keeps the servers of an address from being used, where they rest."""
        with suppress(NoWay):
            return self.traffic.why(domain_of(address))
        return None

    def heard(self, ticket: Ticket, outcome: Outcome | None) -> None:
        """A copy's attempt is over; None: there was none."""
        heard = "nothing" if outcome is None or ticket.excused else heard_of(outcome)
        self.traffic.done(ticket, heard, self._loop.time(), outcome)

    @asynccontextmanager
    async def session(self, address: str, controller: str, ticket: Ticket) -> AsyncIterator[Session]:
        """A ready session for one copy to this address. ConnectFailed when none can be had, or NoRoom.

        It goes back for reuse when the block ends, and is cut when the block is cancelled.
        """
        kept = await self._take(address, controller, ticket)
        try:
            yield kept.session
        except asyncio.CancelledError:
            kept.session.abort()
            raise
        finally:
            self._give_back(kept)

    async def prospects(self, domain: str, controller: str) -> list[Prospect]:
        """Where mail for a domain would go, best first, and on what terms; nobody is connected to. ConnectFailed where
        it would go nowhere."""
        try:
            way = await find_way(domain_of(f"@{domain}"), self._resolver, self._bounds)
        except NoWay as none:
            raise ConnectFailed(none.outcome, None, "") from None
        targets = await self._targets(way, self._senders.get(controller, self._anybody))
        return [
            Prospect(
                host=one.host.host, addresses=one.host.addresses, demand=one.demand,
                verified=one.host.policy.verified or one.host.proof is not None,
                encrypted=not one.host.policy.clear_too and one.lax is None,
            )
            for one in targets
        ]  # fmt: skip

    async def close(self) -> None:
        """Say goodbye on the idle connections; those in use follow when they come back."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for kept in self._idle:
            kept.session.close()
        self._idle.clear()

    # whom to ask, and how

    async def _take(self, address: str, controller: str, ticket: Ticket) -> _Kept:
        try:
            way = await find_way(domain_of(address), self._resolver, self._bounds)
        except NoWay as none:
            raise ConnectFailed(none.outcome, None, "") from None
        if seconds := self.traffic.moved(ticket, way.domain, way.site, self._loop.time()):
            raise NoRoom(seconds)
        ticket.excused = False
        try:
            targets = await self._targets(way, self._senders.get(controller, self._anybody))
        except ConnectFailed:
            ticket.excused = True  # its own policy or records name nobody: its servers were not even asked
            raise
        kept = self._again(targets)
        if kept is None:
            target, connection = await self._connect(targets, ticket)
            session = Session(connection, timeouts=self._timeouts, reopen=_never, turn=self._turn)
            kept = _Kept(session=session, target=target)
        held = kept

        async def reopen() -> Connection:
            held.target, connection = await self._connect(targets, ticket)
            held.copies = 1
            return connection

        async def trouble(connection: Connection, outcome: Outcome, been: Sequence[Host]) -> Connection | None:
            self._cool(connection.to.host)
            over = {*self._cooling, *(one.host for one in been)}
            others = [one for one in targets if one.host.host not in over]
            if outcome.stage != "mail" or not others:
                return None
            with suppress(ConnectFailed):
                return await reopen_at(others)
            return None

        async def reopen_at(others: Sequence[_Target]) -> Connection:
            held.target, connection = await self._connect(others)
            return connection

        kept.session.turn_to(reopen=reopen, trouble=trouble)
        kept.copies += 1
        return kept

    async def _targets(self, way: Way, sender: Sender) -> list[_Target]:
        """The servers that may be used, each with what is demanded of it, those that failed lately last.

        ConnectFailed where none may be used.
        """
        policy = await self.policies.of(way.domain) if self.policies is not None and self._base.ask else None
        targets: list[_Target] = []
        for exchange in way.exchanges:
            try:
                tlsa = await self._tlsa(way, exchange)
            except Withheld:
                self._count("tlsa", "dnssec-invalid")
                continue
            targets += self._guarded(exchange, sender, tlsa, policy)
        if not targets:
            raise ConnectFailed(judge_failure("starttls", "tls_policy"), None, way.site)
        now = self._loop.time()
        for name in [name for name, until in self._cooling.items() if until <= now]:
            del self._cooling[name]
        return sorted(targets, key=lambda target: target.host.host in self._cooling)

    async def _tlsa(self, way: Way, exchange: Exchange) -> Tlsa | None:
        if not (self._dnssec and self._base.ask and way.authentic):
            return None
        return await tlsa_of(exchange, way.domain, self._route.port, self._resolver)

    def _guarded(self, exchange: Exchange, sender: Sender, tlsa: Tlsa | None, policy: Policy | None) -> list[_Target]:
        """One server as its records or the domain's policy ask for, once per address of ours to connect from."""
        if tlsa is not None and tlsa.records:  # what DANE finds wrong no policy may excuse (RFC 8461 2)
            strict = POLICIES["require"]
            return [
                _Target(host=replace(host, server_name=tlsa.base, proof=tlsa), demand="tlsa")
                for host in self._hosts(exchange, sender, strict)
            ]
        base = self._base
        demand: Demand = "no-policy-found" if tlsa is None else "tlsa"
        if tlsa is not None and not base.verified:  # records of no use ask for TLS, and lift nothing asked for besides
            base = POLICIES["require"]
        if policy is None:
            return [_Target(host=host, demand=demand) for host in self._hosts(exchange, sender, base)]
        if not policy.allows(exchange.name):
            self._count("sts", "validation-failure")
            if policy.mode == "enforce":
                return []
            return [_Target(host=host, demand=demand) for host in self._hosts(exchange, sender, base)]
        strict = POLICIES["verify"]
        lax = base if policy.mode == "testing" and not base.verified else None
        return [
            _Target(host=host, demand="sts", lax=None if lax is None else self._with(host, lax))
            for host in self._hosts(exchange, sender, strict)
        ]

    def _hosts(self, exchange: Exchange, sender: Sender, policy: TlsPolicy) -> list[Host]:
        """A server as seen from each of our addresses; a family in which we have none is not used, if we have any."""
        host = Host(
            host=exchange.name, port=self._route.port, name=sender.helo, policy=policy, context=self._contexts[policy],
            credentials=None, timeouts=self._timeouts, addresses=tuple(map(str, exchange.addresses)),
        )  # fmt: skip
        if not sender.sources:
            return [host]
        found = []
        for source in sender.sources:
            addresses = tuple(address for address in host.addresses if (":" in address) is (":" in source))
            if addresses:
                found.append(replace(host, addresses=addresses, source=source))
        return found

    def _with(self, host: Host, policy: TlsPolicy) -> Host:
        return replace(host, policy=policy, context=self._contexts[policy])

    # connections

    async def _connect(self, targets: Sequence[_Target], ticket: Ticket | None = None) -> tuple[_Target, Connection]:
        """The first server that becomes ready. ConnectFailed says what the best one answered.

        A server whose TLS is not what one domain demands may serve all others well: the ticket is excused.
        """
        first: ConnectFailed | None = None
        until = self._loop.time() + self._timeouts.ready
        for n, target in enumerate(targets):
            if (left := until - self._loop.time()) <= 0:
                break
            share = max(EACH * self._timeouts.each, left / (len(targets) - n))
            try:
                return target, await self._ready(target, until - max(0.0, left - share))
            except ConnectFailed as failed:
                self._cool(target.host.host)
                first = first or failed
        assert first is not None
        if ticket is not None and first.outcome.stage == "starttls":
            ticket.excused = targets[0].demand != "no-policy-found"
        raise first

    async def _ready(self, target: _Target, until: float) -> Connection:
        """One server, `until` an instant in loop time; where nothing is demanded, a second time without what failed."""
        name, now = target.host.host, self._loop.time()
        in_clear = target.host.policy.clear_too and self._clear_until.get(name, 0.0) > now
        try:
            connection = await connect(target.host, in_clear=in_clear, until=until)
        except ConnectFailed as failed:
            if (result := result_of(failed)) is None:
                raise
            self._count(target.demand, result)
            if target.lax is not None:  # a policy that is only tested
                return await self._ready(_Target(host=target.lax, demand="no-policy-found"), until)
            if not target.host.policy.clear_too or in_clear:
                raise
            _remember(self._clear_until, name, now + self._habits.in_clear)
            return await connect(target.host, in_clear=True, until=until)
        if target.host.policy.ask and not in_clear:
            self._count(target.demand, "success" if connection.link.encrypted else "starttls-not-supported")
        return connection

    def _cool(self, name: str) -> None:
        _remember(self._cooling, name, self._loop.time() + self._habits.cool_down)

    def _again(self, targets: Sequence[_Target]) -> _Kept | None:
        """A connection that is kept to one of the servers, the best first; it was used last of those."""
        for target in targets:
            for kept in reversed(self._idle):
                if kept.target.key == target.key:
                    self._idle.remove(kept)
                    if kept.session.usable:
                        return kept
                    kept.session.abort()
        return None

    def _give_back(self, kept: _Kept) -> None:
        now, habits, session = self._loop.time(), self._habits, kept.session
        worn = now - session.since >= habits.life or kept.copies >= habits.copies
        if not session.usable or self._closed or worn:
            session.close()
            return
        kept.at = now
        self._idle.append(kept)
        if len(self._idle) > IDLE_MOST:
            self._idle.pop(0).session.close()
        if self._reaper is None:
            self._reaper = self._loop.call_later(habits.idle, self._reap)

    def _reap(self) -> None:
        """Close what nobody used for long."""
        self._reaper = None
        oldest = self._loop.time() - self._habits.idle
        # a timer may fire a clock tick early, so what is due within the tick goes now
        while self._idle and (self._idle[0].at <= oldest + 0.001 or not self._idle[0].session.usable):
            self._idle.pop(0).session.close()
        if self._idle:
            self._reaper = self._loop.call_later(self._idle[0].at - oldest, self._reap)


async def _never() -> Connection:
    raise AssertionError("a session is told how to reopen before it is used")


def _remember(table: OrderedDict[str, float], name: str, until: float) -> None:
    table[name] = until
    table.move_to_end(name)
    while len(table) > REMEMBERED:
        table.popitem(last=False)
