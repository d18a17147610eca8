"""MTA-STS: what a domain says by https about who may take its mail, and that only over verified TLS (RFC 8461).

Purpose: `parse` reads a policy, `Policies.of` gives the one in force for a domain, fetching it where it is new.
It never follows a redirect, reads more than 64 kB, or takes a policy from a server whose certificate does not name
`mta-sts.DOMAIN`; the one outbound HTTP client (http_client.py) sees to that.
Failures: none that reach a caller. A policy that cannot be had, while DNS says that there is one, is told to `note`;
the one of before goes on until its `max_age` is over (RFC 8461 5.1), over a restart too where there is a `Memory`; else
the domain has none. What the memory raises passes through: mail waits where nobody can say what was asked for.
Known limit: who controls both DNS and the way there at the first contact can hide a policy (RFC 8461 10.2).
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

from gateway.config import Network
from gateway.outbound.http_client import HttpClient, HttpFailed
from gateway.outbound.resolver import Resolver, Unanswered
from gateway.tools.dialogue import Request
from gateway.tools.reach import IPAddress, Peer, literal

Mode = Literal["enforce", "testing", "none"]
_MODES: Final[Mapping[str, Mode]] = {"enforce": "enforce", "testing": "testing", "none": "none"}
Fault = Literal["sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"]
"""As RFC 8460 4.3.2 names them."""

LONGEST_AGE: Final = 31_557_600
"""Seconds: a year, the most that a policy may last (RFC 8461 3.2)."""
MOST_MX: Final = 64
SHORTEST_AGE: Final = 60
"""A policy of less is kept for so long: its domain would be asked for it for every copy."""
KEPT: Final = 20_000
"""Domains of which something is remembered."""
AGAIN_SECONDS: Final = 300.0
"""How long after a failed fetch the next one is tried (RFC 8461 5.1 has us wait)."""
RENEW_SECONDS: Final = 86_400.0
"""How long after a fetch, or half its age, a policy is fetched again although its id is the same: who hides it when it
ends finds it renewed (RFC 8461 10.2)."""
HTTPS: Final = 443

_ID: Final = re.compile(r"v=STSv1\s*;\s*id=([A-Za-z0-9]{1,32})\s*(?:;.*)?", re.DOTALL)
_FIELD: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:(.*)")
_PATTERN: Final = re.compile(r"(?:\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


class BadPolicy(Exception):
    """This is no policy; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a domain asks for. `mx`: names of hosts, or `*.` and the rest of them. `max_age` in seconds."""

    mode: Mode
    mx: tuple[str, ...]
    max_age: int

    def allows(self, host: str) -> bool:
        """Whether a host may take the mail: `*` stands for one label, the leftmost (RFC 8461 4.1)."""
        host = host.rstrip(".").lower()
        return any(
            host.partition(".")[2] == pattern[2:] and "." in host if pattern.startswith("*.") else host == pattern
            for pattern in self.mx
        )


def parse(text: str) -> Policy:
    """Read a policy (RFC 8461 3.2). Of a field that stands twice the first counts; unknown ones are passed by."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in re.split(r"\r?\n", text):
        if not line:
            continue
        found = _FIELD.fullmatch(line)
        if found is None:
            raise BadPolicy("a line is no field")
        name, value = found[1], found[2].strip(" \t")
        if name == "mx":
            hosts.append(value.rstrip(".").lower())
        else:
            fields.setdefault(name, value)
    mode, age = _MODES.get(fields.get("mode", "")), fields.get("max_age", "")
    if fields.get("version") != "STSv1":
        raise BadPolicy("its version is not STSv1")
    if mode is None:
        raise BadPolicy("its mode is not known")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > LONGEST_AGE:
        raise BadPolicy("its max_age is no number of seconds up to a year")
    if mode != "none" and not hosts:
        raise BadPolicy("it names no mx")
    if len(hosts) > MOST_MX or not all(len(host) <= 253 and _PATTERN.fullmatch(host) for host in hosts):
        raise BadPolicy("an mx is no name of a host")
    return Policy(mode=mode, mx=tuple(hosts), max_age=int(age))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A domain's policy. `id`: as DNS announced it. `seconds`: how long it goes on."""

    id: str
    policy: Policy
    seconds: float


class Memory(Protocol):
    """What outlives this process."""

    async def recall(self, domain: str) -> Remembered | None:
        """The policy that was kept for a domain and has not ended."""

    async def keep(self, domain: str, what: Remembered) -> None:
        """Keep it in the place of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is known of a domain, in loop time. `until`: the end of the policy of this `id`; `again_at`: not fetched
    before; `recall_at`: not looked for in the memory before."""

    id: str = ""
    policy: Policy | None = None
    until: float = 0.0
    again_at: float = 0.0
    recall_at: float = 0.0

    def is_fresh(self, now: float) -> bool:
        """Whether there is no need to fetch the policy of this id again."""
        if self.policy is None:
            return False
        age = self.policy.max_age
        return now < self.until - age + min(age / 2, RENEW_SECONDS)


class Policies:
    """The policies of all domains, used from one event loop."""

    def __init__(
        self, resolver: Resolver, client: HttpClient, *, inside: Collection[Network] = (), port: int = HTTPS,
        note: Callable[[str, Fault], None] = lambda _domain, _fault: None, kept: int = KEPT,
        before: "Policies | None" = None, memory: Memory | None = None,
    ) -> None:  # fmt: skip
        """`inside`: networks in which a policy may be fetched although they are not out on the internet.
        `before`: whose policies go on. `memory`: of all processes, which may have known more before we came."""
        self._resolver, self._client, self._inside, self._port, self._note = resolver, client, inside, port, note
        self._most, self._memory = kept, memory
        self._kept: OrderedDict[str, _Kept] = OrderedDict() if before is None else before._kept
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def of(self, domain: str) -> Policy | None:
        """The policy in force for a domain (A-labels); None where it has none, or one of mode none."""
        loop = asyncio.get_running_loop()
        while (waiting := self._under_way.get(domain)) is not None:
            await asyncio.wait((waiting,))
        done = self._under_way[domain] = loop.create_future()
        try:
            kept = await self._now(domain, await self._known(domain))
        finally:
            del self._under_way[domain]
            done.set_result(None)
        if kept.policy is None and max(kept.again_at, kept.recall_at) <= loop.time():
            self._kept.pop(domain, None)
            return None
        self._kept[domain] = kept
        self._kept.move_to_end(domain)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return kept.policy if kept.policy is not None and kept.policy.mode != "none" else None

    async def _known(self, domain: str) -> _Kept:
        """What was known of a domain before: here, or to the memory, which is asked now and then."""
        now = asyncio.get_running_loop().time()
        kept = self._kept.get(domain, _Kept())
        if kept.policy is not None and kept.until <= now:
            kept = _Kept(again_at=kept.again_at)
        if kept.policy is not None or self._memory is None or now < kept.recall_at:
            return kept
        found = await self._memory.recall(domain)
        if found is None:
            return replace(kept, recall_at=now + AGAIN_SECONDS)
        return replace(kept, id=found.id, policy=found.policy, until=now + found.seconds)

    async def _now(self, domain: str, kept: _Kept) -> _Kept:
        """What holds now, after a look at DNS, and at the policy where its id is another than the one that is kept."""
        now = asyncio.get_running_loop().time()
        announced = await self._announced(domain)
        if announced is None or (announced == kept.id and kept.is_fresh(now)) or now < kept.again_at:
            return kept
        try:
            policy = await self._fetch(domain)
        except HttpFailed as failed:
            self._note(domain, "sts-webpki-invalid" if failed.kind == "tls" else "sts-policy-fetch-error")
        except BadPolicy:
            self._note(domain, "sts-policy-invalid")
        else:
            seconds = max(policy.max_age, SHORTEST_AGE)
            if self._memory is not None:
                await self._memory.keep(domain, Remembered(id=announced, policy=policy, seconds=seconds))
            return _Kept(id=announced, policy=policy, until=now + seconds)
        return replace(kept, again_at=now + AGAIN_SECONDS)

    async def _announced(self, domain: str) -> str | None:
        """The id in DNS (RFC 8461 3.1); None where there is none, or more than one, or nobody says."""
        try:
            found = await self._resolver.look_up(f"_mta-sts.{domain}", "TXT")
        except Unanswered:
            return None
        records = [text for (text,) in found.records if re.match(r"v=STSv1\s*;", text)]
        one = _ID.fullmatch(records[0]) if len(records) == 1 else None
        return one[1] if one is not None else None

    async def _fetch(self, domain: str) -> Policy:
        host = f"mta-sts.{domain}"
        authority = host if self._port == HTTPS else f"{host}:{self._port}"
        peers = [Peer(host=host, port=self._port)]
        if self._inside:
            try:
                found = await looked_up(self._resolver)(host, self._port)
            except OSError as silence:
                raise HttpFailed("dns", str(silence)) from None
            addresses = [address for text in found if (address := literal(text)) is not None]
            peers += [Peer(host=str(a)) for a in addresses if _within(a, self._inside)]
        answer = await self._client.send(
            Request(method="GET", url=f"https://{authority}/.well-known/mta-sts.txt"), peers
        )
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.status != 200:
            raise HttpFailed("protocol", f"answered {answer.status}")
        if answer.cut or kind != "text/plain":
            raise BadPolicy("it is too long" if answer.cut else "it is no text/plain")
        try:
            return parse(answer.body.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadPolicy("it is no UTF-8") from None


def looked_up(resolver: Resolver) -> Callable[[str, int], Awaitable[list[str]]]:
    """Addresses of hosts by the name servers of the settings, for the HTTP client."""

    async def resolve(host: str, _port: int) -> list[str]:
        try:
            answers = [await resolver.look_up(host, kind) for kind in ("A", "AAAA")]
        except Unanswered as silence:
            raise OSError(str(silence)) from None
        return [text for answer in answers for (text,) in answer.records]

    return resolve


def _within(address: IPAddress, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
