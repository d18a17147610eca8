"""Peers that hold, flood, stall or lead nowhere: each has an end, and others are served meanwhile (P11)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import uvloop
from front_door import LIMITS, OPEN_TO_LOOPBACK, Client, connect, greeted, make_config, return_path, submission

from gateway.config import Config, Limits, Listen, Tls
from gateway.inbound import connection, entrance
from gateway.inbound.capacity import Connections, Rate, one_peer
from gateway.inbound.listener import Listener
from gateway.inbound.session import IDLE_COMMANDS_ALLOWED, OVERSHOOT
from gateway.serve import DOORS, OWN_FILES, connections_within

BODY = b"Subject: x\r\n\r\nbody\r\n"
BOTH = Listen(
    submission=(("127.0.0.1", 0),), submissions=(("127.0.0.1", 0),), web=("127.0.0.1", 0), return_path=("127.0.0.1", 0)
)
FAULTS = connection.FAULTS_ALLOWED


def limited(*, strangers: bool = False, **changes: float) -> Config:
    limits: Limits = replace(LIMITS, **changes)  # type: ignore[arg-type]
    return make_config(limits=limits, logins=None if strangers else OPEN_TO_LOOPBACK)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tls, ssl.SSLContext]:
    """A certificate for localhost on disk, and a client that trusts it."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    made, trusting = authority.issue_cert("localhost"), ssl.create_default_context()
    authority.configure_trust(trusting)
    tls = Tls(certificate=folder / "cert.pem", key=folder / "key.pem")
    made.private_key_pem.write_to_path(str(tls.key))
    made.cert_chain_pems[0].write_to_path(str(tls.certificate))
    return tls, trusting


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a test on each event loop the product runs on."""

    def runner(story: Awaitable[None]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(story)  # type: ignore[arg-type]

    return runner


async def nobody_left(door: Listener) -> None:
    async with asyncio.timeout(10):
        while door.connections.open or door.conversations:
            await asyncio.sleep(0)


async def is_cut(client: Client) -> bool:
    """Whether the other side closed; whatever came before is read over."""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            while await client.reader.read(65_536):
                pass
    return True


# TLS


def test_a_handshake_that_stalls_has_an_end(
    run: Callable[[Awaitable[None]], None], certificate: tuple[Tls, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With STARTTLS and with TLS from the start; whether nothing is said or half of a hello."""
    for module in (connection, entrance):
        monkeypatch.setattr(module, "HANDSHAKE_SECONDS", 0.1)
    tls, trusting = certificate

    async def story() -> None:
        async with submission(make_config(tls=tls, listen=BOTH)) as (door, _):
            for said in (b"", b"\x16\x03\x01\x02\x00\x01"):
                upgraded, direct = await connect(door), await connect(door, server=1)
                await upgraded.reply()
                await upgraded.ask("EHLO x")
                assert (await upgraded.ask("STARTTLS")).startswith("220")
                for stalled in (upgraded, direct):
                    await stalled.send(said)
                good = await connect(door, server=1, tls=trusting)
                assert (await good.reply()).startswith("220"), "others are let in"
                await good.close()
                assert await is_cut(upgraded) and await is_cut(direct)
                for stalled in (upgraded, direct):
                    await stalled.close()
            await nobody_left(door)

    run(story())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the program openssl")
async def test_tls_is_never_renegotiated(certificate: tuple[Tls, ssl.SSLContext]) -> None:
    tls, _ = certificate
    async with submission(make_config(tls=tls, listen=BOTH)) as (door, _):
        assert door.tls is not None and door.tls.options & ssl.OP_NO_RENEGOTIATION
        port = door.entrances[1].sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_2", "-legacy_renegotiation",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert client.stdin is not None and client.stdout is not None
        async with asyncio.timeout(20):
            await client.stdout.readuntil(b"220 mail.example")
            client.stdin.write(b"R\n")
            said = await client.stdout.read()
            await client.wait()
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said
        await nobody_left(door)


# commands


async def test_a_million_recipients_come_to_an_end() -> None:
    """What is over the limit is refused one by one; who goes on for long after that is sent away."""
    line, allowed = b"RCPT TO:<bob@example.org>\r\n", LIMITS.recipients
    async with submission(limited()) as (door, taken):
        async with greeted(door) as client:
            await client.ask("MAIL FROM:<a@acme.example>")
            writing = asyncio.create_task(client.send(line * (allowed + OVERSHOOT + FAULTS + 1)))
            said = [(await client.reply())[:9] for _ in range(allowed + OVERSHOOT + FAULTS + 2)]
            await writing
            assert said == ["250 2.1.5"] * allowed + ["452 4.5.3"] * (OVERSHOOT + FAULTS + 1) + ["421 4.7.0"]
        async with greeted(door) as client:
            await client.ask("MAIL FROM:<a@acme.example>")
            with pytest.raises(ConnectionError):
                await _send_all(client, line * 1000, times=1000)
        assert taken.messages == []
        await nobody_left(door)


async def _send_all(client: Client, octets: bytes, *, times: int) -> None:
    for _ in range(times):
        await client.send(octets)


async def test_a_list_of_wrong_addresses_is_not_held_against_a_tool() -> None:
    async with submission(limited()) as (door, taken), greeted(door) as client:
        await client.ask("MAIL FROM:<a@acme.example>")
        for n in range(100):
            assert (await client.ask(f"RCPT TO:<a b{n}@>")).startswith("5")
        assert (await client.ask("RCPT TO:<bob@example.org>")).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        await client.send(BODY + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert len(taken.messages) == 1


@pytest.mark.parametrize("command", ["NOOP", "RSET", "HELP", "EHLO x", "VRFY bob"])
async def test_a_stranger_that_only_talks_is_sent_away(command: str) -> None:
    async with return_path(limited()) as (door, _), greeted(door, ehlo=False) as client:
        for _ in range(IDLE_COMMANDS_ALLOWED + FAULTS):
            assert (await client.ask(command))[0] == "2"
        assert (await client.ask(command))[0] == "2"
        assert (await client.reply()).startswith("421 4.7.0 Too many errors")
        assert await is_cut(client)


async def test_a_tool_may_keep_its_connection_open() -> None:
    async with submission(limited()) as (door, _), greeted(door) as client:
        for _ in range(3 * IDLE_COMMANDS_ALLOWED):
            assert (await client.ask("NOOP")).startswith("250")


async def test_a_huge_batch_sent_at_once_is_answered_in_order() -> None:
    """500 transactions in one write (PIPELINING, and DATA that does not wait where it may)."""
    async with submission(limited()) as (door, taken), greeted(door) as client:
        batch = b"".join(
            b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<p%d@example.org>\r\nDATA\r\nSubject: %d\r\n\r\nx\r\n.\r\n" % (n, n)
            for n in range(500)
        )
        writing = asyncio.create_task(client.send(batch))
        said = [(await client.reply())[:3] for _ in range(4 * 500)]
        await writing
        assert said == ["250", "250", "354", "250"] * 500
        assert [envelope.rcpts[0].address for envelope in taken.messages] == [f"p{n}@example.org" for n in range(500)]
        assert door.budget.held == 0


@pytest.mark.parametrize("endless", [b"a", b"Subject: " + b"x" * 4000, b"MAIL FROM:<" + b"y" * 500], ids=len)
async def test_a_line_without_end_is_not_kept(endless: bytes) -> None:
    """Ten million octets of one command: nothing of it stays, and the next line is a command again."""
    async with submission(limited()) as (door, _), greeted(door) as client:
        talk = next(iter(door.conversations))
        most = 0
        for _ in range(10_000_000 // (len(endless) * 1000)):
            await client.send(endless * 1000)
            most = max(most, len(talk._reader._buffer))  # type: ignore[attr-defined]
        assert (await client.ask("")).startswith("500 5.5")
        assert (await client.ask("NOOP")).startswith("250")
        assert most < 4 * connection.READ_OCTETS + 1_000_000


async def test_a_header_without_end_is_read_over_and_refused() -> None:
    async with submission(limited()) as (door, taken), greeted(door) as client:
        await client.begin()
        await client.send(b"X-Long: ")
        for _ in range(100):
            await client.send(b"z" * 100_000)
            assert door.budget.held <= LIMITS.message_bytes + 2 * connection.READ_OCTETS
        await client.send(b"\r\n\r\n.\r\n")
        assert (await client.reply()).startswith("552 5.3.4")
        assert (door.budget.held, taken.messages) == (0, [])
        assert (await client.ask("NOOP")).startswith("250")


async def test_replies_nobody_reads_are_not_piled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends commands without end and never reads: our side stops reading, and ends it in time."""
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.1)
    async with submission(limited(idle_seconds=0.5)) as (door, _):
        client = await connect(door)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        most = 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while True:
                    client.writer.write(b"HELP\r\n" * 10_000)
                    await client.writer.drain()
                    for talk in door.conversations:
                        transport = talk.transport  # type: ignore[attr-defined]
                        most = max(most, transport.get_write_buffer_size() if transport else 0)
        assert most <= 2 * connection.READ_OCTETS
        await nobody_left(door)
        await client.close()


# many


async def test_when_connections_are_short_who_only_holds_one_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers hold most connections and say nothing; a tool that has logged in stays, and another one gets in."""
    monkeypatch.setattr(connection, "CROWDED_SECONDS", 0.2)
    monkeypatch.setattr(connection, "TICK_SECONDS", 0.05)
    async with return_path(limited(connections=8)) as (door, _), AsyncExitStack() as strangers:
        quiet = [await strangers.enter_async_context(greeted(door)) for _ in range(5)]
        assert not door.connections.crowded
        assert (await quiet[0].ask("NOOP")).startswith("250")
        for _ in range(3):
            await strangers.enter_async_context(greeted(door))
        async with asyncio.timeout(10):
            while door.connections.crowded:
                await asyncio.sleep(0)
        async with greeted(door) as late:
            assert (await late.ask("NOOP")).startswith("250")
    async with submission(limited(connections=4)) as (door, _), AsyncExitStack() as tools:
        known = [await tools.enter_async_context(greeted(door)) for _ in range(4)]
        assert door.connections.crowded
        await asyncio.sleep(0.5)  # longer than a stranger would be let
        for client in known:
            assert (await client.ask("NOOP")).startswith("250")


async def test_a_flood_of_reports_from_one_address_is_slowed_and_others_are_heard() -> None:
    config = make_config(limits=replace(LIMITS, reports_per_minute=5))
    async with return_path(config) as (door, heard):
        for _ in range(2):
            async with greeted(door) as flood:
                answers = [await _report(flood) for _ in range(5)]
        assert (len(heard.messages), answers[-1]) == (
            5,
            "451 4.7.1 Too many messages from your address, try again later",
        )
        port = door.entrances[0].sockets[0].getsockname()[1]
        other = Client(*await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0)))
        assert (await other.reply()).startswith("220")
        await other.ask("EHLO other.example")
        assert (await _report(other)).startswith("250")
        await other.close()
        door.reload(make_config(limits=replace(LIMITS, reports_per_minute=600)))
        async with greeted(door) as again:
            assert (await _report(again)).startswith("250"), "a higher rate holds at once"


async def _report(client: Client) -> str:
    """One report, up to its first refusal."""
    for line in ("MAIL FROM:<>", "RCPT TO:<unsub@bounce.acme.example>", "DATA"):
        if (answer := await client.ask(line))[0] not in "23":
            return answer
    await client.send(BODY + b".\r\n")
    return await client.reply()


def test_the_rate_of_a_peer() -> None:
    rate = Rate(60, entries=3)
    assert [rate.allow("a", 0.0) for _ in range(61)] == [True] * 60 + [False]
    assert rate.allow("b", 0.0), "each has its own"
    assert not rate.allow("a", 0.4)
    assert [rate.allow("a", 2.0) for _ in range(3)] == [True, True, False], "one a second comes free"
    assert [rate.allow("a", 10_000.0) for _ in range(61)] == [True] * 60 + [False], "nothing is saved up"
    for name in "cdefg":
        assert rate.allow(name, 10_000.0)
    assert len(rate) == 3


def test_one_customer_of_ipv6_is_one_peer() -> None:
    assert one_peer("2001:db8:1:2::1") == one_peer("2001:db8:1:2:ffff::9") != one_peer("2001:db8:1:3::1")
    assert one_peer("192.0.2.1") != one_peer("192.0.2.2")
    assert one_peer("") == ""
    connections = Connections(total=10, per_ip=1)
    assert connections.enter("2001:db8::1") is None
    assert connections.enter("2001:db8::2") == "too many from one address"
    connections.leave("2001:db8::1")
    assert connections.enter("2001:db8::2") is None


async def test_a_thousand_connections_over_the_limit_cost_no_files() -> None:
    """They are told, and closed, before a task or a buffer is made for them."""
    async with submission(limited(connections=10, connections_per_ip=10)) as (door, _), AsyncExitStack() as held:
        clients = [await held.enter_async_context(greeted(door)) for _ in range(10)]
        files = len(list(Path("/proc/self/fd").iterdir()))
        port = door.entrances[0].sockets[0].getsockname()[1]
        for _ in range(1000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"421 4.7.0 Too many connections")
            writer.close()
            await writer.wait_closed()
        assert door.connections.open == len(door.conversations) == 10
        assert len(list(Path("/proc/self/fd").iterdir())) <= files + 2
        for client in clients:
            assert (await client.ask("NOOP")).startswith("250")


async def test_what_comes_over_a_connection_is_not_delayed() -> None:
    """A small reply is not held back to be joined with the next one (Nagle)."""
    async with submission(limited()) as (door, _), greeted(door):
        talk = next(iter(door.conversations))
        opened = talk.transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_too_few_files_mean_fewer_connections() -> None:
    """Each door gets its part of what the system allows, beside what the rest needs."""
    config = limited(connections=1000)
    assert connections_within(config, 1_000_000) == 1000
    assert connections_within(config, OWN_FILES + DOORS * 1000) == 1000
    assert connections_within(config, 1024) == (1024 - OWN_FILES) // DOORS
    assert connections_within(config, 100) == 1
