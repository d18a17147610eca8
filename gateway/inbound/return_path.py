"""What comes back: mail to the controllers' return domains, of which opt-outs by mail are taken (`unsub@`).

Purpose: let in what is for us and relay nothing. There is no AUTH and no sender is believed: the token in the mail is
the proof. What the mail says is for the `signals` story. Failures: those of listener.py.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence

from gateway.config import Config
from gateway.inbound.door import Peer
from gateway.inbound.listener import Listener, Server
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply
from suppression.address import domain_of

UNSUBSCRIBE = "unsub"

Signals = Callable[[Envelope], Awaitable[Reply]]


class ReturnPath(Listener):
    """The return-path listener. `signals` gets every message taken; its envelope's login is ""."""

    name = "return path"
    part = 0.5

    def __init__(self, config: Config, signals: Signals) -> None:
        self._signals = signals
        super().__init__(config)

    async def start(self, *, return_path: Sequence[socket.socket] = ()) -> list[Server]:
        """Listen where the configuration says, or on sockets that are already bound."""
        return await self.listen([self.config.listen.return_path], sockets=return_path)

    def reload(self, config: Config) -> None:
        """Settings, certificate and return domains."""
        super().reload(config)
        self._domains = {
            controller.return_domain.lower() for controller in config.controllers.values() if controller.return_domain
        }

    def may_send(self, peer: Peer) -> Reply | None:
        """Anybody."""
        return None

    def sender(self, peer: Peer, mail: MailFrom) -> Reply | None:
        """Anybody, bounces with `<>` above all."""
        return None

    async def recipient(self, peer: Peer, mail: MailFrom, rcpt: Rcpt) -> Reply | None:
        """Only the addresses we give out ourselves."""
        local, _, domain = rcpt.address.rpartition("@")
        if domain_of(domain) not in self._domains:
            return reply.RELAY_DENIED
        return None if local.lower() == UNSUBSCRIBE else reply.UNKNOWN_RECIPIENT

    async def message(self, envelope: Envelope) -> Reply:
        """Hand the message to `signals`."""
        return await self._signals(envelope)
