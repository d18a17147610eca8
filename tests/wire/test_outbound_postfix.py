"""A real Postfix takes what the client hands over, by STARTTLS, and passes the same bytes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.envelope import Rcpt
from gateway.mail.judgement import judge_live
from gateway.mail.outcome import Outcome
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.pool import Habits, Pool
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


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("mechanisms", ["plain login", "login", "cram-md5"])
async def test_a_login_over_tls_is_what_lets_mail_through(sink: ScriptedPeer, mechanisms: str) -> None:
    mail = b"From: news@acme.example\r\nSubject: wijn\r\n\r\nHallo\r\n"
    bob = Rcpt(address="bob@example.net")

    async def sent(postfix: Postfix, *, tls: Any = "verify", **login: str) -> Outcome:
        route = route_to(postfix.port, tls=tls, **login)
        pool = Pool(route, hostname="gate.test", ca_file=postfix.ca_file)
        try:
            async with pool.session() as session:
                return await session.transaction("b@bounce.acme.example", bob, mail)
        except ConnectFailed as failed:
            return failed.outcome
        finally:
            await pool.close()

    with running_postfix(sink.port, login=("acme", "hét geheim"), mechanisms=mechanisms) as postfix:
        if mechanisms == "cram-md5":
            outcome = await sent(postfix, username="acme", password="hét geheim")
            assert (outcome.state, outcome.stage) == ("retry", "auth") and "neither PLAIN nor LOGIN" in outcome.text
            return
        assert (await sent(postfix, username="acme", password="hét geheim")).state == "delivered"
        refused = await sent(postfix, username="acme", password="fout")
        assert (refused.state, refused.stage, refused.code) == ("retry", "auth", 535)
        assert "fout" not in refused.text
        stranger = await sent(postfix)
        assert (stranger.state, stranger.stage) == ("failed", "rcpt")
        in_clear = await sent(
            postfix, tls="none", username="acme", password="hét geheim"
        )  # Postfix offers no AUTH then
        assert (in_clear.state, in_clear.stage) == ("retry", "auth")
        await sink.until(lambda: len(sink.transactions) == 1)


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_two_postfixes_share_the_load_and_one_takes_over(sink: ScriptedPeer) -> None:
    mail = b"From: news@acme.example\r\nSubject: wijn\r\n\r\nHallo\r\n"
    with running_postfix(sink.port) as first, contextlib.ExitStack() as dying:
        second = dying.enter_context(running_postfix(sink.port))
        route = route_to(first.port, second.port, tls="require", weights=(1, 1), connections=2)
        pool = Pool(route, hostname="gate.test", habits=Habits(life=0))

        async def deliver(n: int) -> tuple[str, str]:
            async with pool.session() as session:
                outcome = await session.transaction("", Rcpt(address=f"r{n}@example.net"), mail)
                return outcome.state, session.peer

        both = {await deliver(n) for n in range(4)}
        assert both == {("delivered", f"127.0.0.1:{one.port}") for one in (first, second)}
        await sink.until(lambda: len(sink.transactions) == 4)  # what it took it passed on
        dying.close()
        assert {await deliver(n) for n in range(4, 8)} == {("delivered", f"127.0.0.1:{first.port}")}
        await pool.close()
        await sink.until(lambda: len(sink.transactions) == 8)
