"""TLS on the submission listeners: STARTTLS, TLS from the start, what a handshake forgets (RFC 3207, RFC 8314)."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import uvloop
from front_door import (
    OPEN_TO_LOOPBACK,
    PASSWORDS,
    Client,
    connect,
    greeted,
    make_config,
    submission,
)

from gateway.config import Listen, Tls

BOTH = Listen(
    submission=(("127.0.0.1", 0),), submissions=(("127.0.0.1", 0),), web=("127.0.0.1", 0), return_path=("127.0.0.1", 0)
)
PLAIN = base64.b64encode(b"\0news\0" + PASSWORDS["news"].encode()).decode()


class Authority:
    """A certificate authority, a certificate for localhost on disk, and a client that trusts it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.tls = Tls(certificate=folder / "cert.pem", key=folder / "key.pem")
        self.issue()
        self.trusting = ssl.create_default_context()
        self.authority.configure_trust(self.trusting)

    def issue(self) -> None:
        made = self.authority.issue_cert("localhost")
        made.private_key_pem.write_to_path(str(self.tls.key))
        made.cert_chain_pems[0].write_to_path(str(self.tls.certificate))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a test on each event loop the product runs on: their TLS upgrades are different code."""

    def runner(story: Awaitable[None]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(story)  # type: ignore[arg-type]

    return runner


def test_starttls_then_login_and_mail(run: Callable[[Awaitable[None]], None], authority: Authority) -> None:
    async def story() -> None:
        async with submission(make_config(tls=authority.tls)) as (listener, taken), greeted(listener) as client:
            assert "250-STARTTLS" in client.last
            assert await client.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
            await client.start_tls(authority.trusting)
            assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("503 5.5.1"), "EHLO is forgotten"
            await client.ask("EHLO client.example")
            assert "250-STARTTLS" not in client.last and "250-AUTH PLAIN LOGIN" in client.last
            assert (await client.ask("STARTTLS")).startswith("503 5.5.1")
            assert await client.ask(f"AUTH PLAIN {PLAIN}") == "235 2.7.0 Authentication succeeded"
            body = b"Subject: x\r\n\r\n" + b"y" * 150_000 + b"\r\n"
            assert await client.mail(body) == "250 2.0.0 Message queued as m1"
            assert taken.messages[0].tls and taken.messages[0].login == "news" and taken.messages[0].content == body
            assert (await client.ask("QUIT")).startswith("221 2.0.0")
            assert await client.reply() == ""

    run(story())


def test_tls_from_the_start(run: Callable[[Awaitable[None]], None], authority: Authority) -> None:
    async def story() -> None:
        async with submission(make_config(tls=authority.tls, listen=BOTH)) as (listener, taken):
            for number in (1, 2):
                client = await connect(listener, server=1, tls=authority.trusting)
                assert (await client.reply()).startswith("220 mail.example")
                await client.ask("EHLO client.example")
                assert "250-STARTTLS" not in client.last and "250-AUTH PLAIN LOGIN" in client.last
                assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235")
                assert await client.mail(b"Subject: x\r\n\r\ny\r\n") == f"250 2.0.0 Message queued as m{number}"
                await client.close()
            assert all(envelope.tls for envelope in taken.messages)

    run(story())


def test_bytes_behind_starttls_are_dropped(run: Callable[[Awaitable[None]], None], authority: Authority) -> None:
    async def story() -> None:
        config = make_config(tls=authority.tls, logins=OPEN_TO_LOOPBACK)
        async with submission(config) as (listener, taken), greeted(listener) as client:
            await client.send(b"STARTTLS\r\nMAIL FROM:<evil@acme.example>\r\nRCPT TO:<victim@example.net>\r\n")
            assert (await client.reply()).startswith("220 2.0.0")
            await client.start_tls(authority.trusting)
            assert await client.ask("NOOP") == "250 2.0.0 OK", "and not the answer to the MAIL in clear"
            assert (await client.ask("RCPT TO:<bob@example.org>")).startswith("503")
            await client.ask("EHLO client.example")
            assert await client.mail(b"Subject: x\r\n\r\ny\r\n") == "250 2.0.0 Message queued as m1"
            assert [rcpt.address for rcpt in taken.messages[0].rcpts] == ["bob@example.org"]
            assert all(address != "victim@example.net" for _, _, address in taken.asked)

    run(story())


def test_a_transaction_and_a_login_do_not_survive_starttls(authority: Authority) -> None:
    async def story() -> None:
        async with submission(make_config(tls=authority.tls)) as (listener, _), greeted(listener) as client:
            assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235"), "loopback may log in without TLS"
            assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("250")
            assert (await client.ask("STARTTLS")).startswith("220")
            await client.start_tls(authority.trusting)
            await client.ask("EHLO client.example")
            assert (await client.ask("RCPT TO:<bob@example.org>")).startswith("503")
            assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
            assert (await client.ask(f"AUTH PLAIN {PLAIN}")).startswith("235")

    asyncio.run(story())


def test_a_failed_handshake_ends_the_connection(run: Callable[[Awaitable[None]], None], authority: Authority) -> None:
    async def story() -> None:
        async with submission(make_config(tls=authority.tls, listen=BOTH)) as (listener, _):
            async with greeted(listener) as client:
                await client.ask("STARTTLS")
                await client.send(b"MAIL FROM:<a@acme.example>\r\n" * 20)
                assert await _closed(client)
            async with greeted(listener) as client:
                assert (await client.ask("NOOP")).startswith("250"), "others go on"
            garbage = await connect(listener, server=1)
            await garbage.send(b"EHLO client.example\r\n")
            assert await _closed(garbage)
            await garbage.close()
            tasks = [talk.task for talk in listener.conversations if talk.task]
            if tasks:
                await asyncio.wait(tasks, timeout=5)
            assert listener.connections.open == 0, "no connection stays counted"

    run(story())


def test_old_tls_is_refused(authority: Authority) -> None:
    async def story() -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.authority.configure_trust(old)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with submission(make_config(tls=authority.tls, listen=BOTH)) as (listener, _):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connect(listener, server=1, tls=old)
            client = await connect(listener, server=1, tls=authority.trusting)
            assert client.writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
            await client.close()

    with pytest.warns(DeprecationWarning, match="TLSv1"):
        asyncio.run(story())


async def test_starttls_without_a_certificate_is_not_offered() -> None:
    async with submission() as (listener, _), greeted(listener) as client:
        assert "250-STARTTLS" not in client.last
        assert (await client.ask("STARTTLS")).startswith("502 5.5.1")


async def test_a_client_that_speaks_tls_to_the_plain_port_is_not_kept_waiting(authority: Authority) -> None:
    async with submission(make_config(tls=authority.tls)) as (listener, _):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(listener, tls=authority.trusting)


async def test_reload_takes_a_new_certificate_and_refuses_a_broken_one(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = make_config(tls=authority.tls, listen=BOTH)

    async def serial() -> object:
        client = await connect(listener, server=1, tls=authority.trusting)
        certificate = client.writer.get_extra_info("peercert")
        await client.close()
        return certificate["serialNumber"]

    async with submission(config) as (listener, _):
        first = await serial()
        assert await serial() == first
        authority.issue()
        listener.reload(replace(config))
        second = await serial()
        assert second != first
        authority.tls.key.write_text("no key")
        with pytest.raises(ssl.SSLError):
            listener.reload(replace(config, hostname="other.example"))
        assert await serial() == second
        assert listener.hostname == "mail.example"


async def _closed(client: Client) -> bool:
    """Whether the server closed; a TLS alert may come first."""
    try:
        async with asyncio.timeout(10):
            while await client.reader.read(1000):
                pass
    except ConnectionError:
        pass
    return True
