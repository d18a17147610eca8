"""A server that answers at random: nothing hangs or breaks, and a copy counts as taken only where the server has it."""

import asyncio
import random
from typing import Any

import pytest

from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome
from gateway.outbound.connect import ConnectFailed, Timeouts
from gateway.outbound.pool import Habits, Pool
from tests.peers import FEATURES, Close, Raw, ScriptedPeer, Silence, Step, route_to

STAGES = ("connect", "tls", "greeting", "ehlo", "auth", "mail", "rcpt", "data", "block", "body")
QUICK = Timeouts(**dict.fromkeys(STAGES, 0.1))
AT_ONCE = Habits(all_down=0, cool_down=0, login_down=0)
WELL = {
    "CONN": "220 hi", "HELO": "250 hi", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 2.0.0 taken",
    "RSET": "250 ok", "QUIT": "221 bye",
}  # fmt: skip
ODD: tuple[Step, ...] = (
    "220 hi", "250 ok", "250-a\r\n250 b", "334 go on", "354 go on", "421 bye", "451 later", "503 what", "550 5.1.1 no",
    "552 full", "599 no", Silence(), Close(), Close("250 ok"), Close("421 bye"), Raw(b"\r\n"), Raw(b"250"),
    Raw(b"250-"), Raw(b"250 ok\n"), Raw(b"250 a\r\n250 b\r\n"), Raw(b"554 no\r\nthat is it\r\n"),
    Raw(b"\x00\xff\r\n"), Raw(b"x" * 5000), Raw(b"250-x\r\n" * 300), Raw(b"250 y\r\n" * 50),
    Raw(b"250 ok\r\n\r\n"),
)  # fmt: skip


async def deliver(pool: Pool, data: bytes) -> Outcome:
    try:
        async with pool.session() as session:
            return await session.transaction("b+1@bounce.acme.example", Rcpt(address="bob@example.net"), data)
    except ConnectFailed as failed:
        return failed.outcome


async def converse(seed: int) -> set[str]:
    """Some copies to a server of its own; the states they came to."""
    chance = random.Random(seed)
    offered = "\r\n".join(["250-peer.test", *(f"250-{word}" for word in FEATURES if chance.random() < 0.8), "250 HELP"])

    async def say(command: str) -> Step:
        well = {**WELL, "EHLO": offered}[command[:4].upper()]
        return well if chance.random() < 0.85 else chance.choice(ODD)

    script: dict[str, Any] = {"": say}
    async with ScriptedPeer(script) as peer:
        pool = Pool(route_to(peer, connections=2), hostname="gate.test", timeouts=QUICK, habits=AT_ONCE)
        copies = [f"Message-ID: <{n}@gate.test>\r\n\r\nhello\r\n".encode() for n in range(6)]
        outcomes = await asyncio.gather(*(deliver(pool, data) for data in copies))
        await pool.close()
        arrived = [one.data for one in peer.transactions]
    assert pool.live == 0
    for data, outcome in zip(copies, outcomes, strict=True):
        assert arrived.count(data) <= 1, "one attempt brings a copy once"
        if outcome.state == "delivered":
            assert data in arrived
        elif data in arrived and outcome.state == "retry":
            assert outcome.maybe_delivered or outcome.stage == "body", "it is said that the server may have it"
    return {outcome.state for outcome in outcomes}


@pytest.mark.parametrize("start", [0, 40])
async def test_a_copy_is_taken_only_where_the_server_has_it(start: int) -> None:
    async with asyncio.timeout(60):
        states = await asyncio.gather(*(converse(seed) for seed in range(start, start + 40)))
    assert set().union(*states) == {"delivered", "retry", "failed"}
