"""A route never has more connections than it may, keeps none for nothing, and loses no waiting copy to a dead host."""

import asyncio
from typing import Any

import pytest

from gateway.config import Route
from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome
from gateway.outbound.connect import ConnectFailed
from gateway.outbound.pool import Habits, Pace, Pool
from tests.peers import Close, ScriptedPeer, Silence, Step, route_to

BOB = Rcpt(address="bob@example.net")


async def deliver(pool: Pool) -> Outcome:
    async with pool.session() as session:
        return await session.transaction("", BOB, b"a\r\n")


async def test_no_more_connections_than_allowed_and_each_used_again() -> None:
    release = asyncio.Event()

    async def held(_: str) -> Step:
        await release.wait()
        return "250 ok"

    async with ScriptedPeer({".": held}) as peer:
        pool = Pool(route_to(peer, connections=3), hostname="gate.test")
        tasks = [asyncio.create_task(deliver(pool)) for _ in range(12)]
        await peer.seen(".", 3)
        assert (pool.live, peer.connections) == (3, 3)
        release.set()
        assert {(await task).state for task in tasks} == {"delivered"}
        assert (pool.live, peer.connections) == (3, 3)
        assert len(peer.transactions) == 12
        await pool.close()
        await peer.all_closed()
        assert pool.live == 0
    assert peer.commands.count("QUIT") == 3


async def test_an_idle_connection_is_closed() -> None:
    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer), hostname="gate.test", habits=Habits(idle=0.05))
        assert (await deliver(pool)).state == "delivered"
        assert pool.live == 1
        await peer.seen("QUIT")
        await peer.all_closed()
        assert pool.live == 0
        assert (await deliver(pool)).state == "delivered"
        assert peer.connections == 2
        await pool.close()


async def test_a_connection_at_the_end_of_its_life_is_replaced() -> None:
    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer, connections=1), hostname="gate.test", habits=Habits(life=0))
        for _ in range(3):
            assert (await deliver(pool)).state == "delivered"
        assert pool.live == 0
        await peer.seen("QUIT", 3)
    assert peer.connections == 3


async def test_a_session_in_use_when_the_pool_closes_is_closed_when_it_comes_back() -> None:
    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer), hostname="gate.test")
        async with pool.session() as session:
            await pool.close()
            assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
        await peer.all_closed()
    assert pool.live == 0


async def test_the_next_host_takes_over_and_the_failed_one_is_left_alone_for_a_while() -> None:
    async with ScriptedPeer({"CONNECT": "421 4.3.2 down"}) as first, ScriptedPeer({".": Close("250 ok")}) as second:
        pool = Pool(route_to(first, second, connections=1), hostname="gate.test")
        for _ in range(3):
            assert (await deliver(pool)).state == "delivered"
        await pool.close()
    assert (first.connections, second.connections) == (1, 3)


async def test_after_its_cool_down_the_first_host_is_asked_first_again() -> None:
    script: dict[str, Any] = {"CONNECT": ["421 4.3.2 down", "220 up again"]}
    async with ScriptedPeer(script) as first, ScriptedPeer({".": Close("250 ok")}) as second:
        pool = Pool(route_to(first, second, connections=1), hostname="gate.test", habits=Habits(cool_down=0))
        for _ in range(2):
            assert (await deliver(pool)).state == "delivered"
        await pool.close()
    assert (first.connections, second.connections) == (2, 1)


async def test_a_host_in_cool_down_is_still_asked_when_the_others_fail() -> None:
    script: dict[str, Any] = {"CONNECT": ["421 4.3.2 down", "220 up again"]}
    async with (
        ScriptedPeer(script) as first,
        ScriptedPeer({".": Close("250 ok"), "CONNECT": ["220 hi", Close()]}) as second,
    ):
        pool = Pool(route_to(first, second, connections=1), hostname="gate.test")
        for _ in range(2):
            assert (await deliver(pool)).state == "delivered"
        await pool.close()
    assert (first.connections, second.connections) == (2, 2)


async def test_when_every_host_is_down_the_first_failure_is_told_and_nobody_asked_again_at_once() -> None:
    async with ScriptedPeer({"CONNECT": "554 5.3.2 closed"}) as first, ScriptedPeer({"CONNECT": Close()}) as second:
        pool = Pool(route_to(first, second), hostname="gate.test", habits=Habits(all_down=60))
        for _ in range(3):
            with pytest.raises(ConnectFailed) as failed:
                await deliver(pool)
            assert failed.value.outcome.code == 554
            assert failed.value.peer == f"127.0.0.1:{first.port}"
    assert (first.connections, second.connections) == (1, 1)
    assert pool.live == 0


async def test_a_route_that_was_down_comes_back() -> None:
    script: dict[str, Any] = {"CONNECT": ["554 5.3.2 closed", "220 open"]}
    async with ScriptedPeer(script) as peer:
        pool = Pool(route_to(peer), hostname="gate.test", habits=Habits(all_down=0))
        with pytest.raises(ConnectFailed):
            await deliver(pool)
        assert (await deliver(pool)).state == "delivered"
        await pool.close()


async def test_a_host_with_room_for_one_connection_gets_everything_over_that_one() -> None:
    async with ScriptedPeer({"CONNECT": ["220 hi", Close("421 4.7.0 too many connections")]}) as peer:
        pool = Pool(route_to(peer, connections=4), hostname="gate.test")
        async with pool.session() as session:
            others = [asyncio.create_task(deliver(pool)) for _ in range(6)]
            await peer.until(lambda: peer.connections > 1)
            assert (await session.transaction("", BOB, b"a\r\n")).state == "delivered"
        assert {(await task).state for task in others} == {"delivered"}
        assert {t.connection for t in peer.transactions} == {1}
        assert pool.live == 1
        await pool.close()


async def test_a_cancelled_wait_passes_its_place_on() -> None:
    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer, connections=1), hostname="gate.test")
        async with pool.session():
            waiting = [asyncio.create_task(deliver(pool)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        waiting[1].cancel()  # its turn has come, but it has not run yet
        assert (await waiting[2]).state == "delivered"
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(d, asyncio.CancelledError) for d in done] == [True, True, False]
        assert pool.live == 1
        await pool.close()


async def test_cancelled_while_connecting_nothing_is_left() -> None:
    async with ScriptedPeer({"EHLO": Silence()}) as peer:
        pool = Pool(route_to(peer), hostname="gate.test")
        task = asyncio.create_task(deliver(pool))
        await peer.seen("EHLO")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await peer.all_closed()
        assert pool.live == 0


async def test_a_route_with_a_rate_still_delivers_everything() -> None:
    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer, connections=4, rate_per_second=200), hostname="gate.test")
        assert {o.state for o in await asyncio.gather(*(deliver(pool) for _ in range(10)))} == {"delivered"}
        await pool.close()


def test_the_pace_spreads_copies_evenly_and_saves_nothing_up() -> None:
    pace = Pace(10)
    assert [round(pace.wait(100.0), 3) for _ in range(3)] == [0.0, 0.1, 0.2]
    assert round(pace.wait(100.25), 3) == 0.05
    assert [round(pace.wait(200.0), 3) for _ in range(2)] == [0.0, 0.1]
    assert [Pace(None).wait(5.0) for _ in range(3)] == [0.0, 0.0, 0.0]


async def test_a_route_without_hosts_has_no_pool() -> None:
    capture = Route(
        name="main", kind="capture", hosts=(), tls="none", username=None, password=None, connections=1,
        rate_per_second=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="main"):
        Pool(capture, hostname="gate.test")
