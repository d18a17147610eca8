"""Questions to DNS: the one place that asks.

Purpose: `look_up` answers for the way of mail, from a cache where it can; `texts` and `mail_hosts` ask anew, for what
operators should know.
It says apart "there is none" (an answer without records) and "nobody answered" (Unanswered).
It never keeps an answer longer than its time to live or an hour, more than ENTRIES of them or OCTETS in all, or of one
more than MOST_RECORDS; and never has more questions under way than it was allowed.
Known limit: it validates no signatures itself. `authentic` is the word of a validating name server on this machine.

Sources: RFC 1035; RFC 2308 (how long "there is none" holds); RFC 4035 3.2.3 and RFC 6840 5.7 (the AD bit).
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config import Address

DNS_SECONDS = 5.0
"""How long one question may take, with all its tries."""
QUERIES: Final = 64
"""Questions under way at one time, where nothing else is said."""
ENTRIES: Final = 20_000
OCTETS: Final = 16 << 20
"""Of all answers kept: who has names without end, each with records as long as may be, fills no more."""
MOST_RECORDS: Final = 32
LONGEST_RECORD: Final = 4096
"""Octets; no record that mail goes by is longer."""
KEPT_SECONDS: Final = (5.0, 3600.0)
"""Least and most that an answer with records is kept; without records, or none at all: see below."""
KEPT_NONE_SECONDS: Final = (5.0, 300.0)
KEPT_UNANSWERED_SECONDS: Final = (10.0, 300.0)
"""How long a silence is kept: twice as long each time (RFC 2308 7.2: five minutes at most)."""
_SETTINGS_SECONDS: Final = 30.0
"""How long the system's list of name servers is believed to be as it was."""

Kind = Literal["MX", "A", "AAAA", "TLSA", "TXT"]
Record = tuple[Any, ...]
"""By kind. MX: (preference, host as A-labels without the last dot, "" for the root). A, AAAA: (address,). TLSA: (usage,
selector, matching type, octets). TXT: (text,)."""


class Unanswered(Exception):
    """No name server gave an answer in time; the text says what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One answer. `exists` False: there is no such name (NXDOMAIN). `name`: where CNAMEs led.

    `authentic`: every step of it was validated by DNSSEC. `until`: when it is over, in loop time.
    """

    records: tuple[Record, ...]
    exists: bool
    authentic: bool
    name: str
    until: float


@dataclass(frozen=True, slots=True)
class _Silence:
    """A question that nobody answered, kept for some seconds, so that a dead name server is not asked by everybody."""

    why: str
    until: float
    seconds: float


class Resolver:
    """Asks the name servers given, or those of the system where none is. Used from one event loop."""

    def __init__(
        self, servers: Sequence[Address] = (), *, dnssec: bool = False, entries: int = ENTRIES, queries: int = QUERIES
    ) -> None:
        """`dnssec`: believe a name server on this machine that says that it validated an answer. `entries`: answers
        kept at most. `queries`: questions under way at most."""
        self._servers, self._dnssec, self._entries = tuple(servers), dnssec, entries
        self._kept: OrderedDict[tuple[str, Kind], Found | _Silence] = OrderedDict()
        self._octets = 0
        self._under_way: dict[tuple[str, Kind], asyncio.Future[None]] = {}
        self._room = asyncio.Semaphore(queries)
        self._asking: tuple[float, Any] | None = None

    async def texts(self, name: str) -> tuple[str, ...]:
        """The TXT records of a name, the strings of each put together (RFC 7208 3.3). None there: empty."""
        answer = await self._ask(name, "TXT")
        return tuple(_text(record) for record in _rows(answer))

    async def mail_hosts(self, name: str) -> tuple[str, ...]:
        """The hosts of the MX records of a name, best first; "" stands for a null MX (RFC 7505)."""
        rows = sorted(_rows(await self._ask(name, "MX")), key=lambda record: int(record.preference))
        return tuple(str(record.exchange).rstrip(".") for record in rows)

    async def names_of(self, address: str) -> tuple[str, ...]:
        """The names that an address leads back to (PTR)."""
        import dns.reversename

        rows = _rows(await self._ask(dns.reversename.from_address(address).to_text(), "PTR"))
        return tuple(str(record.target).rstrip(".").lower() for record in rows)

    async def look_up(self, name: str, kind: Kind) -> Found:
        """The records of a name, from the cache while they last. Unanswered when nobody says.

        `name` as A-labels. Of a long answer only the first MOST_RECORDS are given, of MX those preferred most.
        """
        key, loop = (name.lower(), kind), asyncio.get_running_loop()
        while (waiting := self._under_way.get(key)) is not None:
            await asyncio.wait((waiting,))  # somebody asks already; not cancelled with us
        kept = self._kept.get(key)
        if kept is not None and loop.time() < kept.until:
            self._kept.move_to_end(key)
            return _said(kept)
        done = self._under_way[key] = loop.create_future()
        try:
            answer = await self._found(*key)
        finally:
            del self._under_way[key]
            done.set_result(None)
        self._octets += _size(answer) - _size(self._kept.pop(key, None))
        self._kept[key] = answer
        while len(self._kept) > self._entries or self._octets > OCTETS:
            self._octets -= _size(self._kept.popitem(last=False)[1])
        return _said(answer)

    async def _found(self, name: str, kind: Kind) -> Found | _Silence:
        loop = asyncio.get_running_loop()
        try:
            async with self._room:
                answer = await self._ask(name, kind)
        except Unanswered as silence:
            least, most = KEPT_UNANSWERED_SECONDS
            before = self._kept.get((name, kind))
            seconds = min(most, 2 * before.seconds) if isinstance(before, _Silence) else least
            return _Silence(str(silence), loop.time() + seconds, seconds)
        exists = not isinstance(answer, _NoName)
        result = answer.result if isinstance(answer, _NoName) else answer.chaining_result
        rows = [] if isinstance(answer, _NoName) else _rows(answer)
        records = sorted({row for one in rows if (row := _record(kind, one)) is not None}, key=_order)[:MOST_RECORDS]
        least, most = KEPT_SECONDS if rows else KEPT_NONE_SECONDS
        return Found(
            records=tuple(records), exists=exists, authentic=self._authentic(answer),
            name=str(result.canonical_name).rstrip(".").lower(),
            until=loop.time() + min(max(least, float(result.minimum_ttl)), most),
        )  # fmt: skip

    def _authentic(self, answer: Any) -> bool:
        """Whether who validated it says so, and nobody on the way could have put in that word."""
        import dns.flags

        if not self._dnssec or not answer.response.flags & dns.flags.AD:
            return False
        try:
            return ipaddress.ip_address(answer.nameserver or "").is_loopback
        except ValueError:
            return False

    async def _ask(self, name: str, kind: str) -> Any:
        """dnspython's answer, or _NoName. It has no types of its own for records."""
        import dns.exception
        import dns.resolver

        try:
            async with asyncio.timeout(DNS_SECONDS):
                asking = self._resolver()
                return await asking.resolve(name, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as none:
            return _NoName(none)
        except TimeoutError:
            raise Unanswered(f"no answer in {DNS_SECONDS:.0f} s") from None
        except (dns.exception.DNSException, OSError) as failed:
            raise Unanswered(type(failed).__name__) from None

    def _resolver(self) -> Any:
        import dns.asyncresolver
        import dns.flags
        import dns.nameserver

        now = asyncio.get_running_loop().time()
        if self._asking is not None and (self._servers or now < self._asking[0] + _SETTINGS_SECONDS):
            return self._asking[1]
        asking = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            asking.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
        wish = dns.flags.DO if self._dnssec else 0
        asking.use_edns(0, wish, 1232)  # an RSA key in one UDP answer
        if self._dnssec:
            asking.set_flags(dns.flags.RD | dns.flags.AD)
        self._asking = (now, asking)
        return asking


class _NoName:
    """NXDOMAIN, with what it came in. A name server that sends it in an odd form says nothing else by it."""

    def __init__(self, none: Any) -> None:
        self.response = none.response(none.qnames()[-1])
        self.result = self.response.resolve_chaining()
        self.nameserver = None


def _rows(answer: Any) -> list[Any]:
    return [] if isinstance(answer, _NoName) or answer.rrset is None else list(answer.rrset)


def _said(kept: Found | _Silence) -> Found:
    if isinstance(kept, _Silence):
        raise Unanswered(kept.why)
    return kept


def _size(kept: Found | _Silence | None) -> int:
    """Octets of an answer's records."""
    if not isinstance(kept, Found):
        return 0
    return sum(len(value) for record in kept.records for value in record if isinstance(value, bytes | str))


def _order(record: Record) -> tuple[str, ...] | Record:
    """MX by preference; everything else in any order that stays the same."""
    return (int(record[0]), str(record[1])) if len(record) == 2 else tuple(map(str, record))


def _record(kind: Kind, record: Any) -> Record | None:
    """One record as a value of its kind; None for what is too long."""
    if kind == "MX":
        return int(record.preference), str(record.exchange).rstrip(".").lower()
    if kind in ("A", "AAAA"):
        return (str(record.address),)
    if kind == "TLSA":
        octets = bytes(record.cert)
        return (int(record.usage), int(record.selector), int(record.mtype), octets) if _fits(octets) else None
    text = _text(record)
    return (text,) if _fits(text) else None


def _fits(value: bytes | str) -> bool:
    return len(value) <= LONGEST_RECORD


def _text(record: Any) -> str:
    return b"".join(record.strings).decode("utf-8", "replace")
