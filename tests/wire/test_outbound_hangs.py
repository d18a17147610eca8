"""A server that hangs, or a name that leads nowhere, costs one time limit: the copy waits, or goes on elsewhere."""

import asyncio
import socket
import ssl
import threading
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome
from gateway.outbound import link, tls_policy
from gateway.outbound.connect import ConnectFailed, Timeouts, connect
from gateway.outbound.link import Link, LinkFailed, open_link
from gateway.outbound.names import addresses_of
from gateway.outbound.pool import Habits, Pool, hosts
from tests.installation import free_ports
from tests.peers import FEATURES, Close, Drip, Raw, ScriptedPeer, Silence, Step, route_to, silent

BOB = Rcpt(address="bob@example.net")
QUICK = Timeouts(tls=0.3, ehlo=0.3, auth=0.3, mail=0.3)
AT_ONCE = Habits(all_down=0, cool_down=0, login_down=0)
IN_CLEAR: dict[str, Step] = {
    "CONNECT": "220 hi", "EHLO": "250-peer.test\r\n250 STARTTLS", "STARTTLS": Raw(b"220 go on\r\n"), "MAIL": "250 ok",
    "RCPT": "250 ok", "DATA": "354 go on", ".": "250 ok", "QUIT": "221 bye", "": Silence(),
}  # fmt: skip
"""It says that TLS may begin, and then nothing."""


@pytest.fixture(scope="module")
def context() -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(made)
    return made


async def deliver(pool: Pool) -> Outcome:
    try:
        async with pool.session() as session:
            return await session.transaction("news@acme.example", BOB, b"a: b\r\n\r\nc\r\n")
    except ConnectFailed as failed:
        return failed.outcome


async def test_no_answer_to_starttls_is_no_leave_to_go_on_in_clear(context: ssl.SSLContext) -> None:
    for tls in ("opportunistic", "require", "verify"):
        async with ScriptedPeer({"STARTTLS": Silence()}, context=context) as peer:
            pool = Pool(route_to(peer, tls=tls), hostname="gate.test", timeouts=QUICK)  # type: ignore[arg-type]
            outcome = await deliver(pool)
            assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "starttls", "4.4.2")
            await peer.all_closed()
            assert peer.connections == 1 and not peer.transactions
            await pool.close()


@pytest.mark.parametrize("tls", ["opportunistic", "require", "verify"])
async def test_a_handshake_that_never_comes_is_tls_that_failed(tls: Any) -> None:
    async with ScriptedPeer(IN_CLEAR) as peer:
        pool = Pool(route_to(peer, tls=tls), hostname="gate.test", timeouts=QUICK)
        outcome = await deliver(pool)
        await pool.close()
        await peer.all_closed()
    if tls == "opportunistic":
        assert outcome.state == "delivered" and [one.encrypted for one in peer.transactions] == [False]
    else:
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "starttls", "4.7.5")
        assert not peer.transactions


async def test_silence_behind_the_handshake(context: ssl.SSLContext) -> None:
    script: dict[str, Any] = {"EHLO": ["250-peer.test\r\n250 STARTTLS", Silence()]}
    async with ScriptedPeer(script, context=context) as peer:
        pool = Pool(route_to(peer, tls="opportunistic"), hostname="gate.test", timeouts=QUICK)
        outcome = await deliver(pool)
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "ehlo", "4.4.2")
        await peer.all_closed()
        await pool.close()


@pytest.mark.parametrize(
    ("offer", "script"),
    [
        ("AUTH PLAIN", {"AUTH": Silence()}),
        ("AUTH LOGIN", {"AUTH": Silence()}),
        ("AUTH LOGIN", {"AUTH LOGIN": "334 VXNlcm5hbWU6", "AUTH END": Silence()}),
        ("AUTH XOAUTH2", {"AUTH": Silence()}),
        ("AUTH XOAUTH2", {"CONNECT": "220 hi", "EHLO": "250-x\r\n250 AUTH XOAUTH2", "AUTH": Raw(b"334 e30=\r\n"),
                          "": Silence()}),
    ],
)  # fmt: skip
async def test_a_login_that_is_not_answered(tmp_path: Path, offer: str, script: dict[str, Step]) -> None:
    token = tmp_path / "token"
    token.write_text("ya29.1\n")
    login: dict[str, Any] = {"token_file": token} if "XOAUTH2" in offer else {"password": "s3cret"}
    async with (
        ScriptedPeer(script, features=["PIPELINING", offer]) as peer,
        ScriptedPeer(features=["AUTH PLAIN XOAUTH2"]) as next_one,
    ):
        pool = Pool(route_to(peer, username="ann", **login), hostname="gate.test", timeouts=QUICK, habits=AT_ONCE)
        outcome = await deliver(pool)
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "auth", "4.4.2")
        await peer.all_closed()
        await pool.close()
        both = Pool(route_to(peer, next_one, username="ann", **login), hostname="gate.test", timeouts=QUICK)
        assert (await deliver(both)).state == "delivered" and len(next_one.transactions) == 1
        await both.close()


@pytest.mark.parametrize("features", [FEATURES, FEATURES[1:]])
async def test_a_reset_that_is_not_answered_costs_the_connection_and_not_the_copy(features: tuple[str, ...]) -> None:
    checked: list[int] = []
    script: dict[str, Any] = {"RCPT": ["550 5.1.1 who?", "250 ok"], "RSET": Silence()}
    async with ScriptedPeer(script, features=features) as peer:
        pool = Pool(route_to(peer, connections=1), hostname="gate.test", timeouts=QUICK)

        async def may() -> bool:
            checked.append(peer.connections)
            return True

        assert (await deliver(pool)).code == 550
        async with pool.session() as session:
            outcome = await session.transaction("", BOB, b"a\r\n", before_mail=may)
        assert outcome.state == "delivered" and checked[-1] == 2
        assert [one.connection for one in peer.transactions] == [2]
        await pool.close()
        await peer.all_closed()


async def test_a_quit_that_is_not_answered_leaves_no_socket_behind(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS the other end has a say in the end of the connection; this one reads no more."""
    gate, over = asyncio.Event(), asyncio.Event()
    lost = Link.connection_lost

    def told(self: Link, exc: Exception | None) -> None:
        lost(self, exc)
        over.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"250 hi\r\n")
        await gate.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(tls_policy, "IMPLICIT_TLS_PORT", port)
    monkeypatch.setattr(link, "_LINGER", 0.05)
    monkeypatch.setattr(Link, "connection_lost", told)
    [(_, host)] = hosts(route_to(port, tls="require"), hostname="gate.test", timeouts=QUICK)
    connection = await connect(host)
    connection.link.quit()
    async with asyncio.timeout(10):
        await over.wait()
    gate.set()
    server.close()


async def test_a_name_that_leads_nowhere_and_then_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection asks anew; nothing that a name server says ends a copy."""
    port = free_ports(1)[0]
    said: list[Any] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "relay.test"
        found = said.pop(0)
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    once = {".": Close("250 2.0.0 ok")}
    async with ScriptedPeer(once, port=port, host="127.0.0.2") as one, ScriptedPeer(port=port, host="127.0.0.3") as two:
        route = route_to(port, host="relay.test", connections=1)
        pool = Pool(route, hostname="gate.test", timeouts=QUICK, habits=AT_ONCE)
        said += [socket.gaierror(socket.EAI_NONAME, "no such name"), socket.gaierror(socket.EAI_AGAIN, "later"), []]
        for _ in range(3):
            outcome = await deliver(pool)
            assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "connect", "4.4.3")
        said += [["255.255.255.255"], ["255.255.255.255", "127.0.0.2"], ["127.0.0.3"]]
        assert (await deliver(pool)).enhanced == "4.4.1"
        assert (await deliver(pool)).state == "delivered"
        await one.all_closed()
        assert (await deliver(pool)).state == "delivered"
        assert (len(one.transactions), len(two.transactions)) == (1, 1) and not said
        await pool.close()


async def test_an_error_of_the_system_at_a_look_up_is_no_fault_of_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors, as Python says EAI_SYSTEM."""

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    pool = Pool(route_to(25, host="relay.test"), hostname="gate.test", timeouts=QUICK)
    outcome = await deliver(pool)
    assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "connect", "4.4.3")


async def test_addresses_that_hang_share_the_time_of_their_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the connection and says nothing; without a common limit eight of them cost forty minutes."""
    addresses = [f"127.0.0.{n}" for n in range(2, 10)]

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    port = free_ports(1)[0]
    limits = Timeouts(ready=1.2, each=0.05)
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        silent = [
            await stack.enter_async_context(ScriptedPeer({"CONNECT": Silence()}, port=port, host=address))
            for address in addresses[:-1]
        ]
        good = await stack.enter_async_context(ScriptedPeer(port=port, host=addresses[-1]))
        pool = Pool(route_to(port, host="relay.test"), hostname="gate.test", timeouts=limits)
        assert (await deliver(pool)).state == "delivered"
        assert [peer.connections for peer in silent] == [1] * 7 and len(good.transactions) == 1
        await pool.close()


async def test_a_host_whose_addresses_all_hang_ends_in_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def lookup(host: str, port: int, **more: Any) -> Any:
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (2, 3, 4)]
        return rows if host == "relay.test" else real(host, port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    port = free_ports(1)[0]
    slow: dict[str, Step] = {"CONNECT": Raw(b"220 hello\r\n"), "EHLO": Drip(b"250-x\r\n", 0.05)}
    async with (
        ScriptedPeer(slow, port=port, host="127.0.0.2") as one,
        ScriptedPeer(slow, port=port, host="127.0.0.3") as two,
        ScriptedPeer() as next_one,
        asyncio.timeout(20),
    ):
        route = route_to(port, next_one)
        route = replace(route, hosts=(replace(route.hosts[0], host="relay.test"), route.hosts[1]))
        pool = Pool(route, hostname="gate.test", timeouts=Timeouts(ready=0.6, each=0.1))
        assert (await deliver(pool)).state == "delivered" and len(next_one.transactions) == 1
        assert (one.connections, two.connections) == (1, 1)
        await pool.close()
        single = replace(route, hosts=route.hosts[:1])
        alone = Pool(single, hostname="gate.test", timeouts=Timeouts(ready=0.3, each=0.1))
        outcome = await deliver(alone)
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", "ehlo", "4.4.2")
        await alone.close()


async def test_given_up_in_whatever_moment_no_socket_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that connected first too, while those that it beat are being let go."""
    monkeypatch.setattr(link, "NEXT_ADDRESS", 0.01)
    met, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        with suppress(ConnectionError):
            await reader.read()
        writer.transport.abort()
        gone.set()

    with silent("127.0.0.3") as port:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        try:
            async with asyncio.timeout(20):
                for turns in range(8):
                    opening = asyncio.create_task(open_link(["127.0.0.3", "127.0.0.1"], port, 20, name="mx.test"))
                    await met.wait()
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    opening.cancel()
                    with suppress(asyncio.CancelledError):
                        (await opening)[0].abort()
                    await gone.wait()
                    met.clear()
                    gone.clear()
        finally:
            server.close()


async def test_a_name_server_that_says_nothing_holds_one_thread_for_all_who_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said, real = threading.Event(), socket.getaddrinfo

    def lookup(host: str, port: int, **more: Any) -> Any:
        if host == "dead.test":
            said.wait(20)
            raise socket.gaierror(socket.EAI_AGAIN, "later")
        return real(host, port, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    async def kind(host: str, seconds: float) -> str:
        try:
            return (await addresses_of(host, 25, seconds))[0]
        except LinkFailed as failed:
            return failed.kind

    impatient = await asyncio.gather(*(kind("dead.test", 0.05) for _ in range(40)))
    assert set(impatient) == {"timeout"}
    assert sum(thread.name == "host name" for thread in threading.enumerate()) == 1
    assert await kind("localhost", 10) in ("127.0.0.1", "::1"), "by the hosts file of the system"
    patient = asyncio.create_task(kind("dead.test", 20))
    await asyncio.sleep(0)
    said.set()
    assert await patient == "dns"
