"""Getting ready at one host: connection, greeting, EHLO, STARTTLS, AUTH.

Purpose: `connect` gives a `Connection` on which MAIL may follow; a host may have several addresses, which are tried
within one limit of time.
It never sends a password over an unencrypted line that leaves this machine, and goes on in clear only where the
route's policy says so.
Failures: `ConnectFailed`, with what that means for a copy; the socket is closed then, also when cancelled.

Sources: RFC 5321 (EHLO, HELO), RFC 3207 (STARTTLS), RFC 1870 (SIZE), RFC 6152, RFC 6531, RFC 3461 (what EHLO offers).
"""

import asyncio
import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.mail.answer import Answer
from gateway.mail.outcome import Outcome, Stage, judge, judge_failure
from gateway.outbound.link import Link, LinkFailed, LinkFailure, open_link
from gateway.outbound.login import Credentials, log_in
from gateway.outbound.names import addresses_of
from gateway.outbound.tls_policy import TlsPolicy, starts_with_tls

MOST_ADDRESSES = 8
"""Addresses of one host that are tried for one connection."""
ELSEWHERE: frozenset[Stage] = frozenset({"greeting", "ehlo", "starttls"})
"""Where a host's next address may do better; all of them know the same logins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each answer may take, in seconds. Defaults: RFC 5321 4.5.3.2; `connect` and `tls` are ours.

    `ready`: for all that comes before MAIL at one host, its name, addresses and steps together, so that the next host
    gets its turn. `each`: what an address that lets us wait is given of that at least, while there are others.
    """

    connect: float = 30
    tls: float = 60
    greeting: float = 300
    ehlo: float = 300
    auth: float = 300
    mail: float = 300
    rcpt: float = 300
    data: float = 120
    block: float = 180
    body: float = 600
    ready: float = 300
    each: float = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What EHLO offered. `size`: octets, None when no limit is known; `auth`: mechanisms in upper case."""

    pipelining: bool = False
    eightbit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    size: int | None = None
    auth: frozenset[str] = frozenset()


class Proof(Protocol):
    """What the certificates of a server are held against where no authority counts (dane.py)."""

    def unfit(self, chain: Sequence[bytes]) -> str:
        """Why certificates (DER, the server's own first) will not do; "" where they will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Everything needed to get ready at one host. `name`: how we introduce ourselves in EHLO.

    `addresses`: where it is; empty: as the system says. `source`: our own address to connect from; None: any.
    `server_name`: what it is called in TLS, None: `host`. `proof`: what its certificates must be besides.
    """

    host: str
    port: int
    name: str
    policy: TlsPolicy
    context: ssl.SSLContext | None
    credentials: Credentials | None
    timeouts: Timeouts
    addresses: tuple[str, ...] = ()
    source: str | None = None
    server_name: str | None = None
    proof: Proof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A host that is ready for MAIL. `peer` is "host:port", for logs; `since` when it was opened, in loop time."""

    to: Host
    link: Link
    features: Features
    peer: str
    since: float


class ConnectFailed(Exception):
    """No connection became ready. `outcome` is what that means for a copy; `kind` None when a reply said no."""

    def __init__(self, outcome: Outcome, kind: LinkFailure | None, peer: str) -> None:
        super().__init__(f"{peer} {outcome.stage}: {outcome.text}")
        self.outcome = outcome
        self.kind = kind
        self.peer = peer


class _Refused(Exception):
    """Getting ready ended in a reply, or in what we may not do."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


async def connect(to: Host, *, in_clear: bool = False, until: float | None = None) -> Connection:
    """A connection ready for MAIL, at the first address of the host that gets ready.

    `in_clear`: do not try TLS, after it failed and the policy allows that. `until`: an end in loop time, where there is
    one before that of the host's own limits. ConnectFailed says what the first of the addresses answered.
    """
    peer, now = f"{to.host}:{to.port}", asyncio.get_running_loop().time
    begun = now()
    until = min(begun + to.timeouts.ready, until if until is not None else math.inf)
    try:
        left = list(
            to.addresses or await addresses_of(to.host, to.port, min(to.timeouts.connect, until - begun))
        )[:MOST_ADDRESSES]  # fmt: skip
    except LinkFailed as failed:
        raise ConnectFailed(judge_failure("connect", failed.kind, failed.detail), failed.kind, peer) from None
    first: ConnectFailed | None = None
    while True:
        try:
            return await _get_ready(to, peer, left, in_clear, until)
        except ConnectFailed as error:
            first = first or error
            if error.outcome.stage not in ELSEWHERE or not left or now() >= until:
                raise first from None


async def _get_ready(to: Host, peer: str, left: list[str], in_clear: bool, until: float) -> Connection:
    """One connection to one of the addresses, which is then `left` no more. It has its share of the time `until`."""
    link: Link | None = None
    stage: Stage = "connect"
    immediately = starts_with_tls(to.policy, to.port)
    try:
        async with asyncio.timeout_at(until) as limit:
            link, address = await open_link(
                left, to.port, to.timeouts.connect, name=to.host, context=to.context if immediately else None,
                source=to.source,
            )  # fmt: skip
            now = asyncio.get_running_loop().time()
            limit.reschedule(min(until, now + max(to.timeouts.each, (until - now) / len(left))))
            left.remove(address)
            stage = "greeting"
            _expect(stage, await link.answer(to.timeouts.greeting))
            stage = "ehlo"
            features = await _introduce(link, to)
            if to.policy.ask and not in_clear and not immediately:
                stage = "starttls"
                if await _encrypt(link, to, features):
                    stage = "ehlo"
                    features = await _introduce(link, to)
            if to.credentials is not None:
                stage = "auth"
                refusal = await log_in(
                    link, to.credentials, features.auth, to.timeouts.auth, host=to.host, port=to.port
                )  # fmt: skip
                if refusal is not None:
                    raise _Refused(refusal)
    except TimeoutError:
        if link is not None:
            link.abort()
        raise ConnectFailed(judge_failure(stage, "timeout"), "timeout", peer) from None
    except LinkFailed as failed:
        if link is not None:
            link.abort()
        raise ConnectFailed(judge_failure(stage, failed.kind, failed.detail), failed.kind, peer) from None
    except _Refused as refused:
        assert link is not None
        link.quit()
        raise ConnectFailed(refused.outcome, None, peer) from None
    except BaseException:
        if link is not None:
            link.abort()
        raise
    return Connection(to=to, link=link, features=features, peer=peer, since=asyncio.get_running_loop().time())


def _expect(stage: Stage, answer: Answer) -> None:
    if not 200 <= answer.code <= 299:
        raise _Refused(judge(stage, answer))


async def _introduce(link: Link, to: Host) -> Features:
    """EHLO; HELO for a server that does not know it (RFC 5321 3.2)."""
    name = to.name.encode("ascii")
    link.write(b"EHLO %b\r\n" % name)
    answer = await link.answer(to.timeouts.ehlo)
    if 200 <= answer.code <= 299:
        return offered(answer)
    if answer.code < 500:
        raise _Refused(judge("ehlo", answer))
    link.write(b"HELO %b\r\n" % name)
    _expect("ehlo", await link.answer(to.timeouts.ehlo))
    return Features()


def offered(answer: Answer) -> Features:
    """What the lines of a reply to EHLO offer; unknown and broken lines offer nothing."""
    words: dict[str, list[str]] = {}
    for raw in answer.lines[1:]:
        # some servers write "AUTH=PLAIN LOGIN", from a draft of RFC 2554
        keyword, *arguments = raw.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ").split() or [""]
        words.setdefault(keyword, []).extend(arguments)
    sizes = [int(word) for word in words.get("SIZE", []) if word.isascii() and word.isdigit() and len(word) < 20]
    return Features(
        pipelining="PIPELINING" in words,
        eightbit="8BITMIME" in words,
        smtputf8="SMTPUTF8" in words,
        dsn="DSN" in words,
        starttls="STARTTLS" in words,
        size=next((size for size in sizes if size > 0), None),  # RFC 1870: 0 is no limit
        auth=frozenset(words.get("AUTH", [])),
    )


async def _encrypt(link: Link, to: Host, features: Features) -> bool:
    """STARTTLS as the policy asks; False: the mail goes on in clear, which the policy allows."""
    assert to.context is not None
    if not features.starttls:
        if to.policy.clear_too:
            return False
        raise _Refused(judge_failure("starttls", "no_tls"))
    link.write(b"STARTTLS\r\n")
    answer = await link.answer(to.timeouts.ehlo)
    if answer.code != 220:
        if to.policy.clear_too and answer.code != 421:
            return False
        raise _Refused(judge("starttls", answer))
    await link.start_tls(to.context, to.server_name or to.host, to.timeouts.tls)
    if to.proof is not None and (why := to.proof.unfit(link.chain())):
        raise LinkFailed("tls", why)
    return True
