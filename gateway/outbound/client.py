"""The SMTP dialogue for one copy after another over a ready connection.

Purpose: `Session.transaction` hands one copy to one recipient and says what came of it.
It never writes MAIL while the reply to an earlier final dot is missing, never 8-bit content or UTF-8 addresses to a
server that did not offer to take them, and does not judge replies: mail/outcome.py does. The domain of an address goes
as A-labels where the server takes no UTF-8 (RFC 5891).
Failures: every expected one is an `Outcome`. A cancelled session cuts its connection.
Known limits: no CHUNKING; LMTP is not spoken.

Sources: RFC 5321, RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6152, RFC 6531, RFC 3461 (DSN).
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.mail.answer import Answer
from gateway.mail.envelope import Rcpt, in_ascii
from gateway.mail.outcome import SKIPPED, Outcome, Stage, judge, judge_failure
from gateway.outbound.connect import ConnectFailed, Connection, Features, Host, Timeouts
from gateway.outbound.link import LinkFailed

BLOCK = 256 * 1024
"""Octets written between two looks at the socket."""


Trouble = Callable[[Connection, Outcome, Sequence[Host]], Awaitable[Connection | None]]
"""Told that a host is not well, and at which hosts a copy has been; gives a connection to another one, or None."""


class _Gone(Exception):
    """The connection ended before it said anything about this copy, as connections kept for long do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """One copy as it goes over the line: the commands without CRLF, the message before its dots are stuffed."""

    mail: bytes
    rcpt: bytes
    address: str
    message: Sequence[bytes | memoryview]


class Session:
    """A ready connection to the route, used by one task at a time, for any number of copies."""

    __slots__ = ("_connection", "_open", "_stage", "_timeouts", "_trouble", "_turn", "_unclean", "_used")

    def __init__(
        self,
        connection: Connection,
        *,
        timeouts: Timeouts,
        reopen: Callable[[], Awaitable[Connection]],
        turn: Callable[[], Awaitable[None]] | None = None,
        trouble: Trouble | None = None,
    ) -> None:
        """`reopen` gives a fresh connection when this one went stale; `turn` waits until the rate allows a copy.

        `trouble` is told when the host ends the connection, or refuses MAIL for now; where that was before it looked
        at the recipient it may give a connection to another host, and the copy goes there at once. It is told which
        hosts the copy has been at: a host that takes long to say no may be well again by then, and would be asked for
        ever.
        """
        self._connection = connection
        self._timeouts = timeouts
        self._open = reopen
        self._turn = turn
        self._trouble = trouble
        self._used = False
        self._unclean = False
        self._stage: Stage = "mail"

    @property
    def connection(self) -> Connection:
        """The connection in use."""
        return self._connection

    def turn_to(
        self,
        *,
        reopen: Callable[[], Awaitable[Connection]],
        trouble: Trouble,
    ) -> None:
        """From now on it works for others, who get connections elsewhere when this one is over."""
        self._open, self._trouble = reopen, trouble

    @property
    def features(self) -> Features:
        return self._connection.features

    @property
    def peer(self) -> str:
        """ "host:port" of the server in use, for logs."""
        return self._connection.peer

    @property
    def since(self) -> float:
        """When the connection in use was opened, in loop time."""
        return self._connection.since

    @property
    def encrypted(self) -> bool:
        return self._connection.link.encrypted

    @property
    def usable(self) -> bool:
        """True while the connection stands; it may still turn out to be gone at the next MAIL."""
        return self._connection.link.alive

    def close(self) -> None:
        """QUIT and close, without waiting for the answer."""
        self._connection.link.quit()

    def abort(self) -> None:
        """Cut the connection now."""
        self._connection.link.abort()

    async def transaction(
        self,
        mail_from: str,
        rcpt: Rcpt,
        data: bytes | Sequence[bytes | memoryview],
        *,
        before_mail: Callable[[], Awaitable[bool]] | None = None,
        body_8bit: bool = False,
        smtputf8: bool = False,
        ret: str | None = None,
        envid: str | None = None,
    ) -> Outcome:
        """Hand over one copy to one recipient.

        `mail_from` "" is the null sender. `data`: the message with CRLF line ends and no bare CR or LF, in one piece
        or several, the whole header in the first; dots are stuffed here, a block at a time, so that nothing is joined.
        `before_mail` is awaited when everything else is ready, right before MAIL is written; False gives `SKIPPED`. It
        may be asked a second time, when the connection turns out to be gone.
        `body_8bit`, `smtputf8`: what the client said; passed on where offered, missed only where the octets need it.
        `ret`, `envid` and the recipient's `notify` and `orcpt` are passed on where DSN is offered (RFC 3461).
        ValueError for an address with a control character in it.
        """
        raw = (data,) if isinstance(data, bytes) else data
        been: list[Host] = []
        if self._turn is not None:
            await self._turn()
        while True:
            if not self.usable:
                self.abort()
                try:
                    self._change_to(await self._open())
                except ConnectFailed as failed:
                    return failed.outcome
            sender, to = _addressed(self.features, mail_from, rcpt)
            incapable = _incapable(self.features, raw, sender, to, smtputf8)
            if incapable is not None:
                return incapable
            copy = _copy(self.features, sender, to, raw, body_8bit=body_8bit, smtputf8=smtputf8, ret=ret, envid=envid)
            if self._unclean and not self.features.pipelining and not await self._cleaned():
                self.abort()
                continue
            if before_mail is not None and not await before_mail():
                return SKIPPED
            try:
                outcome = await self._hand_over(copy)
            except _Gone:  # not the copy's failure; a fresh connection cannot be gone in this sense
                self.abort()
                continue
            except BaseException:
                self.abort()
                raise
            if outcome.connection_over:
                self._part(outcome)
            if not await self._goes_elsewhere(outcome, been):
                return outcome

    def _change_to(self, connection: Connection) -> None:
        self._connection = connection
        self._used = self._unclean = False

    async def _goes_elsewhere(self, outcome: Outcome, been: list[Host]) -> bool:
        """Tell of a host that is not well; whether there is a connection to another one for this copy."""
        if outcome.state != "retry" or self._trouble is None:
            return False
        if not (outcome.connection_over or outcome.stage == "mail"):
            return False
        been.append(self._connection.to)
        elsewhere = await self._trouble(self._connection, outcome, been)
        if elsewhere is None:
            return False
        if self.usable:
            self.close()
        self._change_to(elsewhere)
        return True

    async def _hand_over(self, copy: _Copy) -> Outcome:
        """MAIL, RCPT, DATA, message. Raises _Gone when a connection used before is found closed."""
        used, self._used = self._used, True
        try:
            return await self._envelope(copy, used) or await self._message(copy)
        except LinkFailed as failed:
            if used and self._stage == "mail" and failed.kind in ("lost", "timeout"):
                raise _Gone from None
            return judge_failure(self._stage, failed.kind, failed.detail)

    async def _cleaned(self) -> bool:
        """RSET and its reply, before the last check is made: a slow reply must not come between that and MAIL (P3).
        False: the connection is of no use any more."""
        link = self._connection.link
        try:
            link.write(b"RSET\r\n")
            self._unclean = (await link.answer(self._timeouts.mail)).code >= 300
        except LinkFailed:
            return False
        return not self._unclean

    async def _envelope(self, copy: _Copy, used: bool) -> Outcome | None:
        """MAIL, RCPT and DATA, in one write where PIPELINING is offered. None: the message may follow."""
        link, limits = self._connection.link, self._timeouts
        steps: list[tuple[Stage, bytes, float]] = [
            ("mail", copy.mail, limits.mail), ("rcpt", copy.rcpt, limits.rcpt), ("data", b"DATA", limits.data)
        ]  # fmt: skip
        if self._unclean:  # RFC 5321 4.1.1.5: what a refused transaction left behind goes first
            steps.insert(0, ("mail", b"RSET", limits.mail))
        together = self.features.pipelining
        if together:
            link.write(b"".join([command + b"\r\n" for _, command, _ in steps]))
        for done, (stage, command, seconds) in enumerate(steps, start=1):
            self._stage = stage
            if not together:
                link.write(command + b"\r\n")
            answer = await link.answer(seconds)
            if answer.code == 354 if stage == "data" else answer.code < 300:
                continue
            if used and stage == "mail" and (answer.code == 421 or command == b"RSET"):
                raise _Gone
            return await self._refused(stage, answer, copy, len(steps) - done if together else 0)
        self._unclean = False
        return None

    async def _message(self, copy: _Copy) -> Outcome:
        """The message and its final dot; from then on a lost reply means that the server may have it."""
        link, blocks = self._connection.link, _stuffed(copy.message)
        block = next(blocks)
        for following in blocks:
            if (early := await self._block(block, copy)) is not None:
                return early
            block = following
        link.must_be_quiet()
        self._stage = "body"
        link.write(block)
        return judge("body", await link.answer(self._timeouts.body), rcpt=copy.address)

    async def _block(self, block: bytes, copy: _Copy) -> Outcome | None:
        """A block of a long message, not the last; an Outcome when the server refuses it half-way."""
        link = self._connection.link
        link.write(block)
        await link.room(self._timeouts.block)
        if link.unread:
            answer = await link.answer(self._timeouts.block)
            if answer.code < 400:
                raise LinkFailed("protocol", "a reply nobody asked for")
            self.abort()  # the rest of the message would be read as commands
            return judge("body", answer, rcpt=copy.address)
        return None

    async def _refused(self, stage: Stage, answer: Answer, copy: _Copy, unread: int) -> Outcome:
        """Judge a refusal, after reading what the pipelined commands behind it were answered."""
        self._unclean = True
        outcome = judge(stage, answer, rcpt=copy.address)
        for _ in range(unread if not outcome.connection_over else 0):
            try:
                behind = await self._connection.link.answer(self._timeouts.data)
            except LinkFailed:
                break
            if behind.code == 354:
                # RFC 2920 3.1 has us send a lone dot; a server this confused might deliver the empty message
                self.abort()
                break
        return outcome

    def _part(self, outcome: Outcome) -> None:
        """Leave a connection that is over: politely where it still stands.

        A server out of step may wait for a message: what we said would be read as one.
        """
        if outcome.code is not None and outcome.code >= 400 and self.usable:
            self.close()
        else:
            self.abort()


def _stuffed(pieces: Sequence[bytes | memoryview]) -> Iterator[bytes]:
    """A message in blocks with its dots stuffed, the final one behind the last (RFC 5321 4.5.2)."""
    before, waiting = b"\r\n", b""
    for piece in pieces:
        for start in range(0, len(piece), BLOCK):
            if waiting:
                yield waiting
            block = bytes(piece[start : start + BLOCK])
            waiting = block
            if block[0] in b"\n." or b"\r\n." in block:
                waiting = (before + block).replace(b"\r\n.", b"\r\n..")[2:]
            before = (before + block)[-2:] if len(block) < 2 else block[-2:]
    yield waiting + (b".\r\n" if before == b"\r\n" else b"\r\n.\r\n")


def _addressed(features: Features, mail_from: str, rcpt: Rcpt) -> tuple[str, Rcpt]:
    """The envelope as this server can be given it.

    A server without DSN would report on a copy that asked for NOTIFY=NEVER; the null sender keeps it from that
    (RFC 3461 5.2.2).
    """
    if not features.dsn and "NEVER" in rcpt.notify:
        mail_from = ""
    if features.smtputf8 or (mail_from + rcpt.address).isascii():
        return mail_from, rcpt
    return in_ascii(mail_from), replace(rcpt, address=in_ascii(rcpt.address))


def _is_ascii(pieces: Sequence[bytes | memoryview]) -> bool:
    return all(
        piece.isascii()
        if isinstance(piece, bytes)
        else all(bytes(piece[start : start + BLOCK]).isascii() for start in range(0, len(piece), BLOCK))
        for piece in pieces
    )


def _incapable(
    features: Features, raw: Sequence[bytes | memoryview], mail_from: str, rcpt: Rcpt, smtputf8: bool
) -> Outcome | None:
    """What the server cannot carry (RFC 6152 3, RFC 6531 3.2, RFC 1870 6.3): final, so that nothing is mangled.

    The octets decide, not what the client said: a tool that says BODY=8BITMIME for plain ASCII needs no server for it.
    """
    if not features.smtputf8:
        utf8_head = smtputf8 and not bytes(raw[0]).partition(b"\r\n\r\n")[0].isascii()
        if utf8_head or not (mail_from + rcpt.address).isascii():
            return judge_failure("mail", "needs_utf8")
    if not features.eightbit and not _is_ascii(raw):
        return judge_failure("mail", "needs_8bit")
    if features.size is not None and sum(map(len, raw)) > features.size:
        return judge_failure("mail", "too_large")
    return None


def _copy(
    features: Features,
    mail_from: str,
    rcpt: Rcpt,
    raw: Sequence[bytes | memoryview],
    *,
    body_8bit: bool,
    smtputf8: bool,
    ret: str | None,
    envid: str | None,
) -> _Copy:
    for address in (mail_from, rcpt.address):
        if not address.isprintable():
            raise ValueError("an address holds a control character")
    mail, to = [f"MAIL FROM:<{mail_from}>"], [f"RCPT TO:<{rcpt.address}>"]
    if features.size is not None:
        mail.append(f"SIZE={sum(map(len, raw))}")
    if features.eightbit and (body_8bit or not _is_ascii(raw)):
        mail.append("BODY=8BITMIME")
    if features.smtputf8 and (smtputf8 or not (mail_from + rcpt.address).isascii()):
        mail.append("SMTPUTF8")
    if features.dsn:
        if ret is not None and _is_word(ret):
            mail.append(f"RET={ret}")
        if envid is not None and _is_word(envid):
            mail.append(f"ENVID={envid}")
        if rcpt.notify:
            to.append("NOTIFY=" + ",".join(sorted(rcpt.notify)))
        if rcpt.orcpt is not None and _is_word(rcpt.orcpt):
            to.append(f"ORCPT={rcpt.orcpt}")
    return _Copy(mail=" ".join(mail).encode(), rcpt=" ".join(to).encode(), address=rcpt.address, message=raw)


def _is_word(value: str) -> bool:
    """True for what can stand as one parameter value."""
    return value.isascii() and value.isprintable() and " " not in value and bool(value)
