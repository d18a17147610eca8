"""What a listener decides, as the conversation sees it; and who is at the other end.

Purpose: the two listeners (submission, return path) differ only in what they let in; the protocol is the same code.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

from gateway.config import Limits
from gateway.inbound.capacity import Budget, Connections
from gateway.inbound.login import LoggedIn
from gateway.mail.envelope import Envelope, MailFrom, Rcpt
from gateway.mail.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end. `ip` "" when unknown; `helo` "" before HELO or EHLO; `extended`: it was EHLO."""

    ip: str
    loopback: bool
    tls: bool = False
    helo: str = ""
    extended: bool = False
    login: LoggedIn | None = None


class Talk(Protocol):
    """An open conversation, as the listener that has to end it sees it."""

    @property
    def at_rest(self) -> bool:
        """Waiting for a command, with no transaction under way."""

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What works on this connection; None before it began."""

    def end(self, answer: Reply) -> None:
        """Say a last word and hang up."""

    def abort(self) -> None:
        """Cut the connection and whatever is being done for it."""


class Door(Protocol):
    """What a listener decides. `name` in log lines; `tls` None: no STARTTLS; `draining`: no new messages.
    `postmaster_at`: the domain of `<Postmaster>` without one (RFC 5321 4.1.1.3); None: that is no address here.

    A method that returns `Reply | None` says None for yes.
    """

    name: str
    hostname: str
    limits: Limits
    connections: Connections
    budget: Budget
    tls: ssl.SSLContext | None
    draining: bool
    conversations: set[Talk]
    offers_login: bool
    postmaster_at: str | None

    def welcome(self, ip: str) -> LoggedIn | None:
        """The login a peer address stands for without AUTH."""

    async def log_in(self, name: str, password: str, ip: str) -> LoggedIn | Reply:
        """AUTH."""

    def may_send(self, peer: Peer) -> Reply | None:
        """Before MAIL is read."""

    def sender(self, peer: Peer, mail: MailFrom) -> Reply | None:
        """MAIL."""

    async def recipient(self, peer: Peer, mail: MailFrom, rcpt: Rcpt) -> Reply | None:
        """RCPT."""

    async def message(self, envelope: Envelope) -> Reply:
        """The message; its 250 is given only after commit (P1)."""
