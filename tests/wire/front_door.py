"""Listeners for tests: a configuration, stories that remember what they got, and an SMTP client that hides nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import argon2

from gateway.board import Slot
from gateway.bounce_rules import read_bounce_rules
from gateway.config import Config, Controller, Database, Ledger, Limits, Listen, Log, Login, Stream, Tls
from gateway.inbound.listener import Listener
from gateway.inbound.login import Logins
from gateway.inbound.return_path import ReturnPath
from gateway.inbound.submission import Submission
from gateway.mail import reply
from gateway.mail.envelope import Envelope
from gateway.mail.reply import Reply
from gateway.packs import read_packs
from gateway.promotional_rules import read_promotional_rules
from gateway.sockets import Sockets
from suppression.vault import KeyRing

HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORDS = {"news": "correct horse", "plus+name": "battery staple", "caged": "in a cage"}
HASHES = {name: HASHER.hash(password) for name, password in PASSWORDS.items()}
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

LIMITS = Limits(
    message_bytes=200_000,
    recipients=5,
    connections=50,
    connections_per_ip=50,
    reports_per_minute=1000,
    idle_seconds=60,
    data_seconds=60,
    concurrent_data=20,
    queue_copies=1000,
    free_disk_bytes=0,
)


def make_stream(name: str = "newsletter", **changes: Any) -> Stream:
    stream = Stream(
        controller="acme",
        name=name,
        message_class="marketing",
        purpose="newsletter",
        purposes=(),
        categories=("wine",),
        advertiser=None,
        from_domains=("acme.example",),
        route="main",
        mode="enforce",
        observe_until=None,
        on_block="record",
        bounces="both",
        footer="auto",
        transaction_ref=None,
        ad_identifiable=True,
        directed_at_children=False,
        b2b_relevant=False,
        uses_special_category=False,
        charitable_only=False,
        motivation={},
        language="nl",
        retry_for=timedelta(days=2),
        list_id="newsletter.acme.acme.example",
    )
    return replace(stream, **changes)


def make_login(name: str, *, allowed: tuple[str, ...] = (), password: bool = True) -> Login:
    return Login(
        name=name,
        controller="acme",
        password_hash=HASHES[name] if password else None,
        streams=("newsletter",),
        allowed_ips=tuple(map(ip_network, allowed)),
    )


def make_config(
    *, limits: Limits = LIMITS, tls: Tls | None = None, logins: dict[str, Login] | None = None, **changes: Any
) -> Config:
    controller = Controller(
        id="acme",
        legal_name="Acme Wijnen B.V.",
        display_name="Acme",
        postal_address="Kade 1, Gouda",
        opt_out_contact="privacy@acme.example",
        notice_url=None,
        notice_version="1",
        country="NL",
        default_country="NL",
        default_country_motivation="a Dutch shop",
        is_charity=False,
        require_opt_in=False,
        language="nl",
        timezone="Europe/Amsterdam",
        domains=("acme.example", "xn--bcher-kva.example"),
        return_domain="bounce.acme.example",
        heard_at=(),
        accent="#1d4ed8",
        purposes={},
        categories={},
        streams={"newsletter": make_stream()},
        forms={},
        dkim=(),
        neutral_links=(),
        unmapped_links="ignore",
        category_map=None,
        promotional=read_promotional_rules(),
        terms={},
    )
    config = Config(
        path=Path("consentgate.toml"),
        dir=Path(),
        digest="",
        public_url="http://127.0.0.1:8080",
        hostname="mail.example",
        database=Database.of_file(Path("consentgate.db")),
        installation_key=Path("key"),
        keys=Database.of_file(Path("keys.db")),
        listen=Listen(
            submission=(("127.0.0.1", 0),), submissions=(), web=("127.0.0.1", 0), return_path=("127.0.0.1", 0)
        ),
        tls=tls,
        trusted_proxies=(),
        limits=limits,
        log=Log(format="text", level="info"),
        ledger=Ledger(heads_to=(), heads_controller="acme", heads_stream=""),
        routes={},
        controllers={"acme": controller},
        logins={name: make_login(name) for name in ("news", "plus+name")} if logins is None else logins,
        packs=read_packs(),
        bounce_rules=read_bounce_rules(),
    )
    return replace(config, **changes)


OPEN_TO_LOOPBACK = {"tool": make_login("tool", allowed=("127.0.0.0/8",), password=False)}


@dataclass
class Story:
    """Stands in for accept.py: remembers, and answers what the test wants."""

    messages: list[Envelope] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    answer: Callable[[Envelope], Awaitable[Reply]] | None = None
    refuse: dict[str, Reply | Exception] = field(default_factory=dict)

    async def __call__(self, envelope: Envelope) -> Reply:
        if self.answer is not None:
            return await self.answer(envelope)
        self.messages.append(envelope)
        return reply.queued(f"m{len(self.messages)}")

    async def rcpt(self, login: str, mail_from: str, address: str) -> Reply | None:
        self.asked.append((login, mail_from, address))
        refusal = self.refuse.get(address)
        if isinstance(refusal, Exception):
            raise refusal
        return refusal


class Client:
    """Sends exactly the bytes it is given; reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.last: list[str] = []

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def reply(self) -> str:
        """The last line of the next reply; "" when the server closed. All lines are in `last`."""
        self.last = []
        async with asyncio.timeout(10):
            while True:
                try:
                    line = await self.reader.readline()
                except ConnectionError:
                    line = b""
                if not line:
                    return ""
                assert line.endswith(b"\r\n")
                self.last.append(line[:-2].decode("ascii"))
                if line[3:4] != b"-":
                    return self.last[-1]

    async def ask(self, line: str | bytes) -> str:
        await self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def begin(self, *recipients: str, sender: str = "bounce@acme.example") -> None:
        """A transaction up to 354."""
        assert (await self.ask(f"MAIL FROM:<{sender}>")).startswith("250")
        for recipient in recipients or ("bob@example.org",):
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")
        assert (await self.ask("DATA")).startswith("354")

    async def mail(self, content: bytes, *recipients: str) -> str:
        await self.begin(*recipients)
        await self.send(content + b".\r\n")
        return await self.reply()

    async def start_tls(self, trusting: ssl.SSLContext) -> None:
        await self.writer.start_tls(trusting, server_hostname="localhost")

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


async def connect(listener: Listener, *, server: int = 0, tls: ssl.SSLContext | None = None) -> Client:
    port = listener.entrances[server].sockets[0].getsockname()[1]
    host = "localhost" if tls else None
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=host))


@asynccontextmanager
async def submission(
    config: Config | None = None,
    story: Story | None = None,
    *,
    clock: Callable[[], datetime] = lambda: NOW,
    slot: Slot | None = None,
) -> AsyncIterator[tuple[Submission, Story]]:
    config, story = config or make_config(logins=OPEN_TO_LOOPBACK), story or Story()
    logins = Logins(config.logins, clock=clock)
    listener, opened = Submission(config, story, logins, slot), Sockets.bound(config.listen)
    listener.listen(opened.submission.values(), opened.submissions.values())
    try:
        yield listener, story
    finally:
        await listener.close()
        opened.close()
        logins.close()


@asynccontextmanager
async def return_path(
    config: Config | None = None, story: Story | None = None
) -> AsyncIterator[tuple[ReturnPath, Story]]:
    config, story = config or make_config(), story or Story()
    listener, opened = ReturnPath(config, story, KeyRing({1: bytes(32)})), Sockets.bound(config.listen)
    listener.listen(opened.return_path.values())
    try:
        yield listener, story
    finally:
        await listener.close()
        opened.close()


@asynccontextmanager
async def greeted(listener: Listener, *, ehlo: bool = True) -> AsyncIterator[Client]:
    client = await connect(listener)
    try:
        assert (await client.reply()).startswith("220 mail.example ")
        if ehlo:
            assert (await client.ask("EHLO client.example")).startswith("250 ")
        yield client
    finally:
        await client.close()
