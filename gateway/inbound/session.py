"""The commands of one SMTP conversation, from greeting to QUIT (RFC 5321 and the extensions EHLO lists).

Purpose: speak the protocol strictly and cheaply; what may be sent is for the `Door`. It replaces aiosmtpd's commands,
which read DATA line by line, parse addresses with the e-mail package and know neither DSN nor enhanced codes.
It never runs a byte of a message as a command; a refused command leaves the conversation usable.
Known limit: no BDAT.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from gateway.inbound import sasl
from gateway.inbound.capacity import Budget
from gateway.inbound.connection import READ_OCTETS, Connection
from gateway.inbound.data_block import DataBlock
from gateway.inbound.door import Door
from gateway.inbound.login import LoggedIn
from gateway.mail import reply
from gateway.mail.envelope import Envelope, MailFrom, Rcpt, read_mail, read_rcpt
from gateway.mail.reply import Reply

COMMAND_OCTETS = 2_048  # RFC 5321 4.5.3.1.4 asks for 512, the extensions' parameters for more
WRONG_PASSWORDS_ALLOWED = 3
SLOW_START_SECONDS = 30.0  # a message must come at SLOWEST_RATE octets a second on average, these seconds aside
SLOWEST_RATE = 512
IDLE_COMMANDS_ALLOWED = 100
"""Commands of a peer without a login that lead nowhere; each one beyond counts as an error (so does Postfix,
smtpd_junk_command_limit)."""
OVERSHOOT = 1_000
"""RCPT commands refused in a transaction; each one beyond counts as an error (smtpd_recipient_overshoot_limit)."""
FIRST_RESERVE = 65_536  # octets reserved for a message whose size is not known, or not believed

HELP = Reply(
    code=214,
    enhanced="2.0.0",
    text="EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
    when="HELP",
)

_HELO = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_HTTP = frozenset(
    b"GET POST PUT HEAD OPTIONS CONNECT DELETE PATCH TRACE PRI HOST: USER-AGENT: CONTENT-LENGTH: CONTENT-TYPE:".split()
)


class Conversation(Connection):
    """One conversation: greeting, logins, transactions."""

    def __init__(self, door: Door, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(door, loop=loop)
        self._forget()
        self._wrong_passwords = 0
        self._logged_in = False
        self._at_rest = False
        self._idle_commands = 0

    @property
    def at_rest(self) -> bool:
        """Waiting for a command, with no transaction under way."""
        return self._at_rest and self._mail is None

    def _forget(self) -> None:
        self._mail: MailFrom | None = None
        self._rcpts: list[Rcpt] = []
        self._rcpts_refused = 0

    async def _converse(self) -> None:
        self._peer = replace(self._peer, login=self._door.welcome(self._peer.ip))
        self._writer.write(f"220 {self._door.hostname} ESMTP Consentgate\r\n".encode("ascii"))
        while not self._ended and self.transport is not None:
            if self._door.draining and self._mail is None:
                await self._say(reply.SHUTTING_DOWN)
                return
            self._at_rest = True
            line = await self._read_line()
            self._at_rest = False
            if isinstance(line, Reply):
                await self._fault(line)
                continue
            verb, _, argument = line.partition(b" ")
            verb = verb.upper()
            if len(line) > COMMAND_OCTETS - 2 and verb != b"AUTH":
                await self._fault(reply.LINE_TOO_LONG)
            elif (command := _COMMANDS.get(verb)) is not None:
                if verb in _IDLE and self._peer.login is None:
                    self._idle_commands += 1
                    self._faults += self._idle_commands > IDLE_COMMANDS_ALLOWED
                await command(self, argument.strip(b" \t"))
                await self._end_if_hopeless()
            elif verb in _HTTP:
                self._cut("HTTP")  # a browser made to talk to us: nothing of it may be run
                await self._say(reply.UNKNOWN_COMMAND)
                return
            else:
                await self._fault(reply.UNKNOWN_COMMAND)

    async def _on_ehlo(self, argument: bytes) -> None:
        if not await self._greeted(argument, extended=True):
            return
        door = self._door
        lines = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
        lines.append(f"SIZE {door.limits.message_bytes}")
        if door.tls is not None and not self._peer.tls:
            lines.append("STARTTLS")
        if self._may_log_in():
            lines.append("AUTH " + " ".join(sasl.MECHANISMS))
        text = "".join(f"250-{line}\r\n" for line in [door.hostname, *lines])
        await self._write(f"{text}250 HELP\r\n".encode("ascii"))

    async def _on_helo(self, argument: bytes) -> None:
        if await self._greeted(argument, extended=False):
            await self._write(f"250 {self._door.hostname}\r\n".encode("ascii"))

    async def _greeted(self, argument: bytes, *, extended: bool) -> bool:
        if not argument:
            await self._fault(reply.BAD_ARGUMENTS)
            return False
        self._forget()
        # An odd name is no reason to refuse mail (RFC 5321 4.1.4), but it is not copied into a Received field.
        helo = argument.decode("ascii") if _HELO.fullmatch(argument) else "unknown"
        self._peer = replace(self._peer, helo=helo, extended=extended)
        return True

    async def _on_starttls(self, argument: bytes) -> None:
        if argument:
            await self._fault(reply.BAD_ARGUMENTS)
        elif self._door.tls is None:
            await self._fault(reply.NOT_IMPLEMENTED)
        elif self._peer.tls:
            await self._fault(reply.BAD_SEQUENCE)
        else:
            await self._say(reply.START_TLS)
            self._reader._buffer.clear()  # type: ignore[attr-defined]  # RFC 3207 4.2; CVE-2011-0411
            self._logged_in = False
            if await self._encrypt():
                self._peer = replace(self._peer, login=self._door.welcome(self._peer.ip))
            else:
                self._ended = True

    def _may_log_in(self) -> bool:
        return self._door.offers_login and (self._peer.tls or self._peer.loopback)

    async def _on_auth(self, argument: bytes) -> None:
        if not self._door.offers_login:
            return await self._fault(reply.NOT_IMPLEMENTED)
        if not self._may_log_in():
            return await self._fault(reply.ENCRYPTION_NEEDED)
        if not self._peer.extended or self._logged_in or self._mail is not None:
            return await self._fault(reply.BAD_SEQUENCE)
        mechanism, _, initial = argument.partition(b" ")
        name = mechanism.decode("ascii", "replace").upper()
        if name not in sasl.MECHANISMS:
            return await self._fault(reply.UNKNOWN_MECHANISM if name else reply.BAD_ARGUMENTS)
        answer = await sasl.exchange(name, initial.strip(b" ") or None, self._challenge)
        login: LoggedIn | Reply
        if isinstance(answer, Reply):
            login = answer
        else:
            login = await self._ask("AUTH", self._door.log_in(answer.name, answer.password, self._peer.ip))
        if isinstance(login, LoggedIn):
            self._peer = replace(self._peer, login=login)
            self._logged_in = True
            return await self._say(reply.LOGGED_IN)
        self._wrong_passwords += 1
        await self._say(login)
        if self._wrong_passwords >= WRONG_PASSWORDS_ALLOWED:
            self._cut("wrong passwords")
            await self._say(reply.TOO_MANY_ERRORS)

    async def _challenge(self, challenge: bytes) -> bytes | Reply:
        await self._write(b"334 " + challenge + b"\r\n")
        return await self._read_line()

    async def _on_mail(self, argument: bytes) -> None:
        # MAIL inside a transaction begins a new one: tools send it after a refused RCPT without RSET (listmonk #1073).
        self._forget()
        if not self._peer.helo:
            return await self._fault(reply.BAD_SEQUENCE)
        if self._door.draining:
            return await self._say(reply.SHUTTING_DOWN)
        if (refusal := self._door.may_send(self._peer)) is not None:
            return await self._fault(refusal)
        mail = read_mail(argument, extended=self._peer.extended)
        if isinstance(mail, Reply):
            return await self._fault(mail)
        if mail.size is not None and mail.size > self._door.limits.message_bytes:
            return await self._say(reply.TOO_LARGE)
        if (refusal := self._door.sender(self._peer, mail)) is not None:
            return await self._say(refusal)
        self._mail = mail
        await self._say(reply.OK_SENDER)

    async def _on_rcpt(self, argument: bytes) -> None:
        mail = self._mail
        if mail is None:
            return await self._fault(reply.BAD_SEQUENCE)
        rcpt = read_rcpt(
            argument, smtputf8=mail.smtputf8, extended=self._peer.extended, postmaster_at=self._door.postmaster_at
        )
        if isinstance(rcpt, Reply):
            self._count_refused()
            # A list with many bad addresses is no attack; a client that cannot write the command is stopped in time.
            return await (self._say(rcpt) if rcpt.enhanced != "5.5.4" else self._fault(rcpt))
        if len(self._rcpts) >= self._door.limits.recipients:
            self._count_refused()
            return await self._say(reply.TOO_MANY_RECIPIENTS)
        refusal = await self._ask("RCPT", self._door.recipient(self._peer, mail, rcpt))
        if refusal is not None:
            self._count_refused()
            return await self._say(refusal)
        self._rcpts.append(rcpt)
        await self._say(reply.OK_RECIPIENT)

    def _count_refused(self) -> None:
        self._rcpts_refused += 1
        self._faults += self._rcpts_refused > OVERSHOOT

    async def _on_data(self, argument: bytes) -> None:
        door, mail = self._door, self._mail
        if argument:
            return await self._no_data(reply.BAD_ARGUMENTS)
        if mail is None or not self._rcpts:
            return await self._no_data(reply.NO_RECIPIENTS if self._rcpts_refused else reply.BAD_SEQUENCE)
        # Only of whom we know is a large size taken at its word: four claims of strangers would fill the room.
        claimed = mail.size if self._peer.login is not None else None
        reserved = claimed or min(FIRST_RESERVE, door.limits.message_bytes)
        if not await door.budget.enter(reserved):
            return await self._no_data(reply.QUEUE_FULL)
        budget, held = door.budget, [reserved]
        try:
            await self._say(reply.GO_ON)
            block = await self._read_block(budget, held)
            content = block.content()
            del block
            if isinstance(content, Reply):
                answer = content
            else:
                answer = await self._ask("DATA", door.message(self._envelope(content)))
        finally:
            self._in_data = False
            budget.leave(held[0])
        self._forget()
        if answer.accepts:
            self._faults = self._idle_commands = 0
        await self._say(answer)

    async def _no_data(self, answer: Reply) -> None:
        """Refuse DATA. Bytes already behind it are a message sent without waiting for 354: nothing may run them."""
        await self._fault(answer)
        if self._reader._buffer:  # type: ignore[attr-defined]
            self._cut("message sent without waiting for 354")
            self._ended = True

    async def _read_block(self, budget: Budget, held: list[int]) -> DataBlock:
        """Read to CRLF.CRLF; `held[0]` is what the message has reserved of the budget."""
        limits, started = self._door.limits, self.loop.time()
        block, self._in_data = DataBlock(limits.message_bytes), True
        while True:
            self._deadline = min(
                started + limits.data_seconds,
                started + SLOW_START_SECONDS + block.octets / SLOWEST_RATE,
                self.loop.time() + limits.idle_seconds,
            )
            chunk = await self._reader.read(2 * READ_OCTETS)
            if not chunk:
                raise asyncio.IncompleteReadError(b"", None)
            used = block.feed(chunk)
            missing = block.kept - held[0]
            if missing > 0:
                if budget.grow(missing):
                    held[0] += missing
                else:
                    block.drop(reply.QUEUE_FULL)
            if used is not None:
                if used < len(chunk):
                    self._reader._buffer[:0] = chunk[used:]  # type: ignore[attr-defined]  # the next command
                self._in_data = False
                return block

    def _envelope(self, content: bytes) -> Envelope:
        peer, mail = self._peer, self._mail
        assert mail is not None
        return Envelope(
            login=peer.login.login.name if peer.login else "",
            suffix=peer.login.suffix if peer.login else None,
            mail_from=mail.address,
            rcpts=tuple(self._rcpts),
            content=content,
            body_8bit=mail.body_8bit,
            smtputf8=mail.smtputf8,
            ret=mail.ret,
            envid=mail.envid,
            peer_ip=peer.ip,
            helo=peer.helo,
            tls=peer.tls,
        )

    async def _on_rset(self, argument: bytes) -> None:
        if argument:
            return await self._fault(reply.BAD_ARGUMENTS)
        self._forget()
        await self._say(reply.OK)

    async def _on_noop(self, argument: bytes) -> None:
        await self._say(reply.OK)

    async def _on_vrfy(self, argument: bytes) -> None:
        await (self._say(reply.CANNOT_VERIFY) if argument else self._fault(reply.BAD_ARGUMENTS))

    async def _on_help(self, argument: bytes) -> None:
        await self._say(HELP)

    async def _on_quit(self, argument: bytes) -> None:
        self._ended = True
        await self._say(reply.BYE)

    async def _on_missing(self, argument: bytes) -> None:
        await self._fault(reply.NOT_IMPLEMENTED)


_IDLE = frozenset((b"EHLO", b"HELO", b"NOOP", b"VRFY", b"HELP", b"RSET"))

_COMMANDS: Mapping[bytes, Callable[[Conversation, bytes], Awaitable[None]]] = {
    b"EHLO": Conversation._on_ehlo,
    b"HELO": Conversation._on_helo,
    b"STARTTLS": Conversation._on_starttls,
    b"AUTH": Conversation._on_auth,
    b"MAIL": Conversation._on_mail,
    b"RCPT": Conversation._on_rcpt,
    b"DATA": Conversation._on_data,
    b"RSET": Conversation._on_rset,
    b"NOOP": Conversation._on_noop,
    b"VRFY": Conversation._on_vrfy,
    b"HELP": Conversation._on_help,
    b"QUIT": Conversation._on_quit,
    b"EXPN": Conversation._on_missing,
    b"BDAT": Conversation._on_missing,
    b"ETRN": Conversation._on_missing,
    b"TURN": Conversation._on_missing,
}
