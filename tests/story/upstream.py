"""The next server, for tests whose gateway is a process of its own: a `ScriptedPeer` in a thread.

What it was given is read from any thread; `Gate` holds its answers until the test lets them go.
"""

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Self

from tests.mails import read
from tests.peers import FEATURES, ScriptedPeer, Step, Transaction, _State

_ADDRESS = re.compile(r"<([^>]*)>")


@dataclass(frozen=True)
class Mail:
    """A copy that was taken."""

    mail_from: str
    recipient: str
    parameters: str
    raw: bytes
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return read(self.raw)


class Gate:
    """Answers `reply` when it is open. Closed, the peer waits; `let` lets that many through."""

    def __init__(self, reply: str = "250 2.0.0 ok", *, is_open: bool = False) -> None:
        self._reply, self._open, self._count = reply, is_open, 0
        self.waiting = 0
        """How many commands it holds now."""

    async def __call__(self, command: str) -> str:
        self.waiting += 1
        while not self._open and self._count <= 0:
            await asyncio.sleep(0.005)  # set from another thread
        self.waiting -= 1
        if not self._open:
            self._count -= 1
        return self._reply

    def open(self) -> None:
        """Let everything through from now on."""
        self._open = True

    def close(self) -> None:
        """Hold what comes from now on."""
        self._open, self._count = False, 0

    def let(self, count: int) -> None:
        """Let this many through."""
        self._count += count


class _Peer(ScriptedPeer):
    """Remembers when each recipient's MAIL came: transactions as they begin, not as they end."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.began: list[tuple[float, str]] = []
        self._mail_at: dict[int, float] = {}

    async def _follow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: _State, command: str, said: int
    ) -> bool:
        verb = command[:4].upper()
        if verb == "MAIL":
            self._mail_at[state.number] = time.monotonic()
        elif verb == "RCPT":
            self.began.append((self._mail_at.get(state.number, 0.0), address_in(command)))
        return await super()._follow(reader, writer, state, command, said)


def address_in(command: str) -> str:
    """The address of a MAIL or RCPT line."""
    found = _ADDRESS.search(command)
    return found[1] if found else ""


class Upstream:
    """See the head of this module. Use as a context manager; `port` is free again at its end."""

    def __init__(
        self,
        script: Mapping[str, Step | Sequence[Step]] | None = None,
        *,
        features: Sequence[str] = FEATURES,
        context: ssl.SSLContext | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._peer = _Peer(script, features=features, context=context, port=port, host=host)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._waiters: list[threading.Event] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._peer.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._peer.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    @property
    def port(self) -> int:
        return self._peer.port

    @property
    def commands(self) -> list[str]:
        """Every command line, in order."""
        return list(self._peer.commands)

    @property
    def ahead(self) -> list[str]:
        """Commands behind which more had come before they were answered."""
        return list(self._peer.ahead)

    @property
    def began(self) -> list[tuple[float, str]]:
        """When MAIL came (monotonic seconds) for which recipient, answered yes or no, finished or not."""
        return list(self._peer.began)

    @property
    def mails(self) -> list[Mail]:
        """What reached its final dot, in order."""
        return [_mail(one) for one in list(self._peer.transactions)]

    @property
    def count(self) -> int:
        """How many copies reached their final dot."""
        return len(self._peer.transactions)

    def to(self, address: str) -> list[Mail]:
        """The copies for one recipient."""
        return [mail for mail in self.mails if mail.recipient == address]

    def until(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is true; fails with what came when it does not become so."""
        end = time.monotonic() + seconds
        while not what():
            came = [f"{mail.recipient}: {mail.message['Subject']}" for mail in self.mails[-8:]]
            assert time.monotonic() < end, f"not within {seconds} s; {self.count} mails, the last: {came}"
            threading.Event().wait(0.02)

    def wait(self, count: int, seconds: float = 60) -> list[Mail]:
        """Wait until at least so many copies came."""
        self.until(lambda: self.count >= count, seconds)
        return self.mails


def _mail(one: Transaction) -> Mail:
    recipient = one.rcpts[0] if one.rcpts else ""
    assert len(one.rcpts) == 1, "one recipient per transaction"
    return Mail(
        mail_from=address_in(one.mail), recipient=address_in(recipient),
        parameters=" ".join((one.mail.partition("> ")[2], recipient.partition("> ")[2])).strip(), raw=one.data,
        encrypted=one.encrypted,
    )  # fmt: skip
