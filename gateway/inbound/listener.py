"""What the listeners have in common: sockets, TLS, the open conversations, and how they end.

Purpose: start on addresses or on sockets that are already open (worker processes), take new settings without dropping
a connection, and stop so that what is being handed in is finished.
Failures: OSError from `start` when an address cannot be bound; ssl.SSLError or OSError for an unusable certificate.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from typing import Protocol

from gateway.config import Config, Tls
from gateway.inbound.capacity import Budget, Connections
from gateway.inbound.door import Door, Peer, Talk
from gateway.inbound.login import LoggedIn
from gateway.inbound.session import Conversation
from gateway.inbound.tls_server import TlsServer
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply

BACKLOG = 512
LEAST_BUDGET_OCTETS = 64 * 1024 * 1024
MESSAGES_IN_BUDGET = 4

Address = tuple[str, int]


class Server(Protocol):
    """A listening socket that is being accepted on."""

    @property
    def sockets(self) -> Sequence[object]:
        """What listens (has `getsockname`)."""

    def close(self) -> None:
        """Accept no more; open connections stay."""


def server_context(tls: Tls | None) -> ssl.SSLContext | None:
    """TLS 1.2 or later (RFC 8996, RFC 9325); None without a certificate."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def _bound(address: Address) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


class Listener(Door):
    """A set of listening sockets with one policy, and room of its own for the messages being handed in.

    The room is `limits.concurrent_data` messages and four of the largest size, or `part` of that. It is not shared:
    strangers who fill one listener's must not keep mail out of another's.
    """

    name = "listener"
    offers_login = False
    part = 1.0

    def __init__(self, config: Config) -> None:
        self.budget = Budget(messages=0, octets=0)
        self.conversations: set[Talk] = set()
        self.draining = False
        self.connections = Connections(total=0, per_ip=0)
        self._servers: list[Server] = []
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Use other settings for what begins from now on; addresses are read at the start only.

        An unusable certificate raises and leaves everything as it was.
        """
        tls = server_context(config.tls)
        self.config = config
        self.hostname = config.hostname
        self.limits = config.limits
        self.tls = tls
        self.connections.total = config.limits.connections
        self.connections.per_ip = config.limits.connections_per_ip
        octets = max(LEAST_BUDGET_OCTETS, MESSAGES_IN_BUDGET * config.limits.message_bytes)
        self.budget.messages = max(1, int(self.part * config.limits.concurrent_data))
        self.budget.octets = int(self.part * octets)

    async def listen(
        self, addresses: Sequence[Address], *, sockets: Sequence[socket.socket] = (), implicit_tls: bool = False
    ) -> list[Server]:
        """Listen on `sockets` where given, else on `addresses` (port 0: any free one)."""
        # aiosmtpd logs every peer's address there; what we say about a connection goes through gateway.log.
        logging.getLogger("mail.log").disabled = True
        loop = asyncio.get_running_loop()

        def conversation() -> Conversation:
            return Conversation(self, loop=loop, counted=implicit_tls)

        servers: list[Server] = []
        try:
            for opened in sockets or map(_bound, addresses):
                if implicit_tls:
                    servers += [TlsServer(opened, self, conversation)]
                else:
                    servers += [await loop.create_server(conversation, sock=opened, backlog=BACKLOG)]
        except OSError:
            for server in servers:
                server.close()
            raise
        self._servers += servers
        return servers

    async def drain(self, seconds: float) -> None:
        """Take nothing new (421 4.3.2); let what is being handed in finish, for at most so many seconds."""
        self.draining = True
        for server in self._servers:
            server.close()
        for talk in list(self.conversations):
            if talk.at_rest:
                talk.end(reply.SHUTTING_DOWN)
        if tasks := [talk.task for talk in self.conversations if talk.task is not None]:
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Stop at once; conversations still open are cut."""
        self.draining = True
        for server in self._servers:
            server.close()
        tasks = [talk.task for talk in self.conversations if talk.task is not None]
        for talk in list(self.conversations):
            talk.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1)

    # What a kind of listener decides; these refuse everything, so a policy forgotten is a policy that is strict.

    def welcome(self, ip: str) -> LoggedIn | None:
        return None

    async def log_in(self, name: str, password: str, ip: str) -> LoggedIn | Reply:
        return reply.LOGIN_WRONG

    def may_send(self, peer: Peer) -> Reply | None:
        return reply.LOGIN_NEEDED

    def sender(self, peer: Peer, mail: MailFrom) -> Reply | None:
        return reply.SENDER_NOT_OWN

    async def recipient(self, peer: Peer, mail: MailFrom, rcpt: Rcpt) -> Reply | None:
        return reply.RELAY_DENIED

    async def message(self, envelope: Envelope) -> Reply:
        return reply.RELAY_DENIED
