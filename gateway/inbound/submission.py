"""Mail is handed in here: submission with STARTTLS (587) and with TLS from the start (465) (RFC 6409, RFC 8314).

Purpose: only a login may send, only from its controller's domains; what it sends becomes an `Envelope` for `accept`.
It never looks into the message. Failures: those of listener.py.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from gateway.board import Slot
from gateway.config import Config
from gateway.inbound.door import Peer
from gateway.inbound.listener import Listener
from gateway.inbound.login import LoggedIn, Logins
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply
from suppression.address import domain_of


class Accept(Protocol):
    """The story that takes a message in (accept.py)."""

    async def __call__(self, envelope: Envelope) -> Reply:
        """250 only after commit."""

    async def rcpt(self, login: str, mail_from: str, address: str) -> Reply | None:
        """What is known of a recipient before the message: None to go on, else the refusal."""


class Submission(Listener):
    """The submission listeners of one process."""

    name = "submission"
    offers_login = True

    def __init__(self, config: Config, accept: Accept, logins: Logins, slot: Slot | None = None) -> None:
        self._accept = accept
        self._logins = logins
        super().__init__(config, slot)

    def reload(self, config: Config, certificate: ssl.SSLContext | None = None) -> None:
        """Settings, certificate and logins; an open session whose login went or changed must log in again."""
        super().reload(config, certificate)
        self._logins.reload(config.logins)

    def welcome(self, ip: str) -> LoggedIn | None:
        """A login by address list."""
        return self._logins.by_address(ip)

    async def log_in(self, name: str, password: str, ip: str) -> LoggedIn | Reply:
        """AUTH."""
        return await self._logins.check(name, password, ip)

    def may_send(self, peer: Peer) -> Reply | None:
        """Only a login that still exists."""
        if peer.login is None or self._logins.current(peer.login) is None:
            return reply.LOGIN_NEEDED
        return None

    def sender(self, peer: Peer, mail: MailFrom) -> Reply | None:
        """MAIL FROM is in a domain of the login's controller or below one; `<>` is legal (RFC 6409 6.1, DSNs)."""
        if not mail.address:
            return None
        controller = self.config.controllers.get(peer.login.login.controller) if peer.login is not None else None
        domain = domain_of(mail.address.rpartition("@")[2])
        if controller is None or domain is None:
            return reply.SENDER_NOT_OWN
        if any(domain == own or domain.endswith(f".{own}") for own in controller.domains):
            return None
        return reply.SENDER_NOT_OWN

    async def recipient(self, peer: Peer, mail: MailFrom, rcpt: Rcpt) -> Reply | None:
        """What `accept` knows of the recipient by now."""
        return await self._accept.rcpt(peer.login.login.name if peer.login else "", mail.address, rcpt.address)

    async def message(self, envelope: Envelope) -> Reply:
        """Hand the message to `accept`."""
        return await self._accept(envelope)
