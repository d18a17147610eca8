"""Which servers take the mail of a domain, in the order in which they are to be tried.

Purpose: `find_way` asks DNS and gives a `Way`: hosts with addresses, grouped by preference, equals shuffled.
It never gives an address that is inside (loopback, private, reserved) unless it lies in a network the operator listed,
never a host that is us or one behind us, and never more than HOSTS hosts with ADDRESSES addresses each.
Failures: `NoWay`, with what that means for a copy: final where DNS said so, waiting where it did not answer.

Sources: RFC 5321 5.1 (order, fall-back to A and AAAA, our own name); RFC 7505 (null MX); RFC 5891 (A-labels). That an
MX leads to a CNAME is against RFC 2181 10.3, and common: it is followed.
"""

import asyncio
import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

import idna

from gateway.config import Network
from gateway.mail.outcome import FailureKind, Outcome, judge_failure
from gateway.outbound.resolver import Found, Resolver, Unanswered
from gateway.tools.reach import IPAddress, inside, literal

HOSTS: Final = 8
"""Hosts that are looked up for one domain; RFC 5321 5.1 asks for at least two."""
ADDRESSES: Final = 4
ABREAST: Final = 2
"""Hosts of one domain that are looked up at one time."""
QUESTIONS: Final = 2 * ABREAST
"""Questions that one domain has under way at most, whatever its servers: with so many allowed for each session none
waits for the questions of another."""
_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


class NoWay(Exception):
    """Nothing of the domain can be tried. `outcome`: what that means for a copy."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One mail server. `canonical`: where CNAMEs of its name lead. `authentic`: its addresses are validated."""

    name: str
    canonical: str
    preference: int
    addresses: tuple[IPAddress, ...]
    authentic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The servers of a domain, those to be tried first at the head.

    `site`: the name under which domains with the same first servers are one: all of them, or whoever puts a server of
    his own beside a big one could spoil its name. `authentic`: the list is validated.
    `implicit`: the domain has no MX and is its own server.
    """

    domain: str
    site: str
    exchanges: tuple[Exchange, ...]
    authentic: bool
    implicit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a way may not lead to. `inside`: networks in which addresses are allowed that are not out on the internet.

    `own_names`: our names. `is_ours`: whether an address is one at which we listen ourselves.
    """

    inside: Collection[Network] = ()
    own_names: Collection[str] = ()
    is_ours: Callable[[IPAddress], bool] = lambda _: False


def domain_of(address: str) -> str:
    """The domain of an address as A-labels. NoWay for an address literal and what is no domain name.

    Address literals (RFC 5321 4.1.3) are refused: nobody publishes them, and they would lead past every policy.
    """
    _, at, domain = address.rpartition("@")
    domain = domain.rstrip(".").lower() if at else ""
    try:
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise _no_way("not_a_domain") from None
    if not _is_host(domain):
        raise _no_way("not_a_domain")
    return domain


async def find_way(domain: str, resolver: Resolver, bounds: Bounds) -> Way:
    """The servers of a domain given as A-labels. NoWay where nothing can be tried."""
    try:
        answer = await resolver.look_up(domain, "MX")
    except Unanswered as silence:
        raise _no_way("dns_silent", str(silence)) from None
    listed = [(preference, name) for preference, name in answer.records if _is_host(name)]
    if not answer.exists:
        raise _no_way("no_domain")
    if [name for _, name in answer.records] == [""]:
        raise _no_way("null_mx")
    if answer.records and not listed:
        raise _no_way("no_host", "no MX has the name of a host")
    implicit = not answer.records
    ours = [preference for preference, name in listed if name in bounds.own_names]
    ahead = [row for row in listed or [(0, domain)] if not ours or row[0] < min(ours)]
    found, silent = await _addresses(ahead, resolver, bounds)
    usable = _without_us(found, bounds)
    if not usable:
        raise _no_way("loop")
    reached = [_within(one, bounds) for one in usable]
    usable = [one for one in reached if one.addresses]
    if not usable:
        if silent:
            raise _no_way("dns_silent", "no address of a mail server")
        raise _no_way("no_host", "all lead inside" if any(one.addresses for one in found) else "none has an address")
    first = sorted({one.name for one in usable if one.preference == usable[0].preference})
    return Way(
        domain=domain, site=",".join(first), exchanges=tuple(_shuffled(usable)), implicit=implicit,
        authentic=answer.authentic,
    )  # fmt: skip


async def _addresses(
    listed: Sequence[tuple[int, str]], resolver: Resolver, bounds: Bounds
) -> tuple[list[Exchange], bool]:
    """Hosts with what addresses they have, best first, and whether DNS was silent about one of them.

    Once it was, no more are looked up than until one can be used: each of those that follow may cost as much time.
    """
    found: list[Exchange] = []
    silent = False
    hosts = listed[:HOSTS]
    for start in range(0, len(hosts), ABREAST):
        some = hosts[start : start + ABREAST]
        asked = await asyncio.gather(
            *(resolver.look_up(name, kind) for _, name in some for kind in ("A", "AAAA")), return_exceptions=True
        )
        for number, (preference, name) in enumerate(some):
            answers: list[Found] = []
            for one in asked[2 * number : 2 * number + 2]:
                if isinstance(one, Unanswered):
                    silent = True
                elif isinstance(one, BaseException):
                    raise one
                else:
                    answers.append(one)
            found.append(_exchange(name, preference, answers))
        if silent and any(_within(one, bounds).addresses for one in found):
            break
    return found, silent


def _exchange(name: str, preference: int, answers: Sequence[Found]) -> Exchange:
    rows = [answer for answer in answers if answer.records]
    canonical = rows[0].name if rows else name
    return Exchange(
        name=name, canonical=canonical, preference=preference,
        addresses=tuple(
            address for row in rows for (text,) in row.records if (address := literal(text)) is not None
        ),
        # both families, or the one that is not validated could be put in the place of the other
        authentic=bool(rows) and all(row.authentic and row.name == canonical for row in rows),
    )  # fmt: skip


def _without_us(found: Sequence[Exchange], bounds: Bounds) -> list[Exchange]:
    """The hosts before the first that is us: it, its equals and those behind it would send the mail back to us."""
    ours = [one.preference for one in found if any(bounds.is_ours(address) for address in one.addresses)]
    return [one for one in found if not ours or one.preference < min(ours)]


def _within(one: Exchange, bounds: Bounds) -> Exchange:
    """A host without the addresses that may not be connected to; IPv4 first, of each family in any order."""
    good = [a for a in one.addresses if not inside(a) or any(a in n for n in bounds.inside if n.version == a.version)]
    four, six = ([a for a in good if a.version == version] for version in (4, 6))
    random.shuffle(four)
    random.shuffle(six)
    both = [address for pair in zip(four, six, strict=False) for address in pair]
    rest = [address for address in (*four, *six) if address not in both]
    return replace(one, addresses=tuple((both + rest)[:ADDRESSES]))


def _shuffled(usable: Sequence[Exchange]) -> list[Exchange]:
    """Best first, equals in any order, so that they share the work (RFC 5321 5.1)."""
    return sorted(usable, key=lambda one: (one.preference, random.random()))


def _is_host(name: str) -> bool:
    """Whether this can be the name of a server: an IP address in the place of a name is none, in whatever notation."""
    if not _NAME.fullmatch(name):
        return False
    last = name.rpartition(".")[2]
    return not (last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last))


def _no_way(kind: FailureKind, detail: str = "") -> NoWay:
    return NoWay(judge_failure("connect", kind, detail))
