"""A real Postfix takes what the client hands over, by STARTTLS, and passes the same bytes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.envelope import Rcpt
from gateway.mail.judgement import judge_live
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.pool import Pool
from tests.peers import ScriptedPeer, route_to
from tests.postfix import Postfix, running_postfix


@pytest.fixture
async def sink() -> AsyncIterator[ScriptedPeer]:
    async with ScriptedPeer() as peer:
        yield peer


@pytest.fixture
def postfix(sink: ScriptedPeer) -> Iterator[Postfix]:
    """A Postfix that relays to the sink."""
    with running_postfix(sink.port) as running:
        yield running


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_copies_go_through_postfix_as_they_are(postfix: Postfix, sink: ScriptedPeer) -> None:
    body = b"".join(b"%d .\r\n.\r\n..%s\r\n" % (n, b"x" * (n % 900)) for n in range(150)) + "Zoë\r\n".encode()
    mail = b"From: news@acme.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + body
    pool = Pool(route_to(postfix.port, tls="verify", connections=4), hostname="gate.test", ca_file=postfix.ca_file)

    async def deliver(n: int) -> str:
        async with pool.session() as session:
            assert session.encrypted
            assert session.features.pipelining and session.features.dsn
            # Postfix allows two connections of the four; the fourth recipient is one it does not take
            rcpt = Rcpt(address="unknown@example.net" if n == 3 else f"r{n}@example.net", notify=frozenset({"NEVER"}))
            return (await session.transaction("b@bounce.acme.example", rcpt, mail, ret="HDRS", envid=f"e{n}")).state

    states = await asyncio.gather(*(deliver(n) for n in range(8)))
    assert states == ["failed" if n == 3 else "delivered" for n in range(8)]
    assert pool.live == 2
    await sink.until(lambda: len(sink.transactions) == 7)
    arrived = {t.rcpts[0].partition("> ")[0]: t for t in sink.transactions}
    assert set(arrived) == {f"RCPT TO:<r{n}@example.net" for n in range(8) if n != 3}
    for transaction in arrived.values():
        assert transaction.data.partition(b"\r\n\r\n")[2] == body
        assert "NOTIFY=NEVER" in transaction.rcpts[0]
        assert "RET=HDRS" in transaction.mail

    async with pool.session() as session:
        too_large = await session.transaction("", Rcpt(address="bob@example.net"), b"a" * 100_001)
        assert (too_large.state, too_large.enhanced) == ("failed", "5.3.4")
        unknown = await session.transaction("", Rcpt(address="unknown@example.net"), b"a: b\r\n\r\n")
        assert (unknown.state, unknown.stage) == ("failed", "rcpt")
        assert judge_live(read_bounce_rules(), unknown).undeliverable
        assert "unknown@" not in unknown.text
    await pool.close()

    stranger = Pool(route_to(postfix.port, tls="verify"), hostname="gate.test")  # the system's CAs do not know it
    with pytest.raises(ConnectFailed) as failed:
        async with stranger.session():
            pytest.fail("the certificate is unknown")
    assert failed.value.outcome.enhanced == "4.7.5"
