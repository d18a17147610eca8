"""What comes back: mail to the controllers' return domains, and to the addresses they want heard besides.

Purpose: let in what is for us and relay nothing: the return path of a copy of ours (`b+ID@`, checked here), opt-outs
(`unsub@`), the addresses every domain has (`postmaster@`, `abuse@`: RFC 2142), what the settings name; `<Postmaster>`
without a domain is that of the first controller with a return domain (RFC 5321 4.5.1 asks for it). There is no AUTH and
no sender is believed: what proves something is for the `signals` story. Failures: those of listener.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from gateway import log
from gateway.board import Slot
from gateway.config import Config
from gateway.inbound.capacity import Rate, one_peer
from gateway.inbound.door import Peer
from gateway.inbound.listener import Listener
from gateway.keys import return_keys
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply
from suppression.address import domain_of
from suppression.vault import KeyRing

ROLES = frozenset({"unsub", "postmaster", "abuse"})

Signals = Callable[[Envelope], Awaitable[Reply]]


class ReturnPath(Listener):
    """The return-path listener. `signals` gets every message taken; its envelope's login is ""."""

    name = "return path"
    part = 0.5

    def __init__(self, config: Config, signals: Signals, ring: KeyRing, slot: Slot | None = None) -> None:
        self._signals, self._ring = signals, ring
        self._rate = Rate(1)
        super().__init__(config, slot)

    def reload(self, config: Config, certificate: ssl.SSLContext | None = None) -> None:
        """Settings, certificate and return domains."""
        super().reload(config, certificate)
        self._rate.change(config.limits.reports_per_minute)
        controllers = [one for one in config.controllers.values() if one.return_domain]
        self._domains = {(one.return_domain or "").lower(): one.id for one in controllers}
        self.postmaster_at = next(iter(self._domains), None)
        self._heard = {address.lower() for one in config.controllers.values() for address in one.heard_at}
        self._opens = {one.id: return_keys(self._ring, one.id) for one in controllers}

    def may_send(self, peer: Peer) -> Reply | None:
        """Anybody, but not without end: forged reports of one peer must not fill what people read."""
        if self._rate.allow(one_peer(peer.ip), asyncio.get_running_loop().time()):
            return None
        log.reports_limited()
        return reply.TOO_MANY_MESSAGES

    def sender(self, peer: Peer, mail: MailFrom) -> Reply | None:
        """Anybody, bounces with `<>` above all."""
        return None

    async def recipient(self, peer: Peer, mail: MailFrom, rcpt: Rcpt) -> Reply | None:
        """Only the addresses we give out ourselves."""
        local, _, domain = rcpt.address.rpartition("@")
        if rcpt.address.lower() in self._heard:
            return None
        controller_id = self._domains.get(domain_of(domain) or "")
        if controller_id is None:
            return reply.RELAY_DENIED
        ours = local.lower() in ROLES or self._opens[controller_id].open(local) is not None
        return None if ours else reply.UNKNOWN_RECIPIENT

    async def message(self, envelope: Envelope) -> Reply:
        """Hand the message to `signals`."""
        return await self._signals(envelope)
