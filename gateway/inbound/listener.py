"""What the listeners have in common: sockets, TLS, the open conversations, and how they end.

Purpose: accept on sockets that are open already (sockets.py), take new settings and other sockets without dropping a
connection, and stop so that what is being handed in is finished.
Failures: ssl.SSLError or OSError for an unusable certificate.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable

from gateway.board import Slot
from gateway.config import Config, Tls
from gateway.inbound.capacity import Budget, Connections
from gateway.inbound.door import Door, Peer, Talk
from gateway.inbound.entrance import Entrance
from gateway.inbound.login import LoggedIn
from gateway.inbound.session import Conversation
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply

LEAST_BUDGET_OCTETS = 64 * 1024 * 1024
MESSAGES_IN_BUDGET = 4


def server_context(tls: Tls | None) -> ssl.SSLContext | None:
    """TLS 1.2 or later, and no renegotiation (RFC 8996, RFC 9325); None without a certificate."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a peer could make us compute for ever over one connection
    context.load_cert_chain(tls.certificate, tls.key)
    return context


class Listener(Door):
    """A set of listening sockets with one policy, and room of its own for the messages being handed in.

    The room is `limits.concurrent_data` messages and four of the largest size, or `part` of that. It is not shared:
    strangers who fill one listener's must not keep mail out of another's.
    """

    name = "listener"
    offers_login = False
    postmaster_at: str | None = None
    part = 1.0

    def __init__(self, config: Config, slot: Slot | None = None) -> None:
        """`slot`: this worker's place among others (board.py); None where there are no others."""
        self.budget = Budget(messages=0, octets=0)
        self.conversations: set[Talk] = set()
        self.draining = False
        self._slot = slot
        self.connections = Connections(total=0, per_ip=0, show=self._show if slot is not None else None)
        self.entrances: list[Entrance] = []
        self.reload(config)

    def _show(self, count: int) -> None:
        assert self._slot is not None
        self._slot.put_open(self.name, count)

    def _is_ahead(self) -> bool:
        return self._slot is not None and self._slot.is_ahead(self.name)

    def reload(self, config: Config, certificate: ssl.SSLContext | None = None) -> None:
        """Use other settings for what begins from now on; where to listen is for `listen`.

        `certificate`: the server_context of these settings, where it was made already. Where not, an unusable one
        raises and leaves everything as it was.
        """
        tls = certificate or server_context(config.tls)
        self.config = config
        self.hostname = config.hostname
        self.limits = config.limits
        self.tls = tls
        self.connections.total = config.limits.connections
        self.connections.per_ip = config.limits.connections_per_ip
        octets = max(LEAST_BUDGET_OCTETS, MESSAGES_IN_BUDGET * config.limits.message_bytes)
        self.budget.messages = max(1, int(self.part * config.limits.concurrent_data))
        self.budget.octets = int(self.part * octets)

    def listen(self, plain: Iterable[socket.socket], tls: Iterable[socket.socket] = ()) -> None:
        """Accept on these sockets, with TLS from the start on the latter, and no more on any other.

        Sockets that are accepted on already go on as they are; the others' conversations stay open.
        """
        # aiosmtpd logs every peer's address there; what we say about a connection goes through gateway.log.
        logging.getLogger("mail.log").disabled = True
        wanted = [*((opened, False) for opened in plain), *((opened, True) for opened in tls)]
        kept = [one for one in self.entrances if (one.listening, one.tls) in wanted]
        for one in self.entrances:
            if one not in kept:
                one.close()
        have = [(one.listening, one.tls) for one in kept]
        loop = asyncio.get_running_loop()
        self.entrances = kept + [
            Entrance(opened, self, lambda: Conversation(self, loop=loop), tls=begins_with_tls, ahead=self._is_ahead)
            for opened, begins_with_tls in wanted if (opened, begins_with_tls) not in have
        ]  # fmt: skip

    async def drain(self, seconds: float) -> None:
        """Take nothing new (421 4.3.2); let what is being handed in finish, for at most so many seconds."""
        self.draining = True
        for one in self.entrances:
            one.close()
        for talk in list(self.conversations):
            if talk.at_rest:
                talk.end(reply.SHUTTING_DOWN)
        if tasks := [talk.task for talk in self.conversations if talk.task is not None]:
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Stop at once; conversations still open are cut."""
        self.draining = True
        for one in self.entrances:
            one.close()
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
