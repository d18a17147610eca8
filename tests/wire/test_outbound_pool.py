"""A route never has more connections than it may, keeps none for nothing, and loses no waiting copy to a dead host."""

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.config import Route
from gateway.mail.envelope import Rcpt
from gateway.mail.outcome import Outcome
from gateway.outbound.connect import ConnectFailed, Host, Timeouts, connect
from gateway.outbound.names import addresses_of
from gateway.outbound.pace import Pace
from gateway.outbound.pool import Habits, Pool
from gateway.outbound.tls_policy import POLICIES
from tests.peers import Close, Raw, ScriptedPeer, Silence, Step, route_to, silent

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


@pytest.mark.parametrize(("weights", "shares"), [((1, 2, 1), [3, 6, 3]), ((1, 1), [6, 6]), ((5, 1), [10, 2])])
async def test_hosts_of_one_priority_get_connections_by_their_weights(weights: list[int], shares: list[int]) -> None:
    async with ScriptedPeer() as a, ScriptedPeer() as b, ScriptedPeer() as c:
        peers = (a, b, c)[: len(weights)]
        pool = Pool(route_to(*peers, weights=weights, connections=12), hostname="gate.test")
        async with AsyncExitStack() as all_at_once:
            for _ in range(12):
                await all_at_once.enter_async_context(pool.session())
            assert [peer.connections for peer in peers] == shares
        await pool.close()


async def test_the_share_of_a_host_that_is_down_goes_to_its_equals_before_the_next_priority() -> None:
    async with ScriptedPeer({"CONNECT": "554 no"}) as down, ScriptedPeer() as equal, ScriptedPeer() as spare:
        hosts = route_to(down, equal, spare, weights=(5, 1, 9), connections=4)
        route = replace(hosts, hosts=(*hosts.hosts[:2], replace(hosts.hosts[2], priority=2)))
        pool = Pool(route, hostname="gate.test")
        async with AsyncExitStack() as all_at_once:
            for _ in range(4):
                await all_at_once.enter_async_context(pool.session())
        await pool.close()
    assert (down.connections, equal.connections, spare.connections) == (1, 4, 0)


@pytest.mark.parametrize(
    "step", ["451 4.7.1 not now", "452 4.3.1 disk full", Close("421 4.3.2 closing"), Close(), Raw(b"what\r\n")]
)
async def test_a_copy_that_a_host_does_not_take_at_mail_goes_to_the_next_at_once(step: Step) -> None:
    checked: list[tuple[int, int]] = []
    async with ScriptedPeer({"MAIL": step}) as first, ScriptedPeer() as second:
        pool = Pool(route_to(first, second, connections=1), hostname="gate.test")

        async def may() -> bool:
            checked.append((first.connections, second.connections))
            return True

        async with pool.session() as session:
            assert (await session.transaction("", BOB, b"a\r\n", before_mail=may)).state == "delivered"
        assert (await deliver(pool)).state == "delivered"
        assert pool.live == 1
        await pool.close()
        await first.all_closed()
    assert checked == [(1, 0), (1, 1)]  # decided again before the second MAIL
    assert (first.connections, second.connections, len(second.transactions)) == (1, 1, 2)


async def test_when_no_host_takes_mail_now_the_copy_waits_after_each_was_asked_once() -> None:
    later = {"MAIL": "451 4.3.2 later"}
    async with ScriptedPeer(later) as first, ScriptedPeer({"MAIL": "452 4.3.1 full"}) as second:
        pool = Pool(route_to(first, second), hostname="gate.test")
        outcome = await deliver(pool)
        await pool.close()
    assert (outcome.state, outcome.code) == ("retry", 452)
    assert [sum(line.startswith("MAIL") for line in peer.commands) for peer in (first, second)] == [1, 1]


async def test_hosts_that_are_well_again_by_the_time_the_others_said_no_are_not_asked_for_ever() -> None:
    later = {"MAIL": "451 4.3.2 later"}
    async with ScriptedPeer(later) as first, ScriptedPeer(later) as second, ScriptedPeer(later) as third:
        pool = Pool(route_to(first, second, third), hostname="gate.test", habits=Habits(cool_down=0))
        async with asyncio.timeout(10):
            outcome = await deliver(pool)
        await pool.close()
    assert (outcome.state, outcome.code) == ("retry", 451)
    assert [sum(line.startswith("MAIL") for line in peer.commands) for peer in (first, second, third)] == [1, 1, 1]


@pytest.mark.parametrize(
    "script", [{"RCPT": "450 4.2.0 greylisted"}, {"RCPT": "550 5.1.1 no"}, {"MAIL": "550 5.7.1 no"}, {".": Close()}]
)
async def test_what_is_said_about_the_mail_is_not_asked_of_the_next_host(script: dict[str, Any]) -> None:
    async with ScriptedPeer(script) as first, ScriptedPeer() as second:
        pool = Pool(route_to(first, second), hostname="gate.test")
        assert (await deliver(pool)).state in ("retry", "failed")
        await pool.close()
    assert (first.connections, second.connections) == (1, 0)


async def test_a_host_that_ended_the_connection_is_asked_last_for_a_while() -> None:
    async with ScriptedPeer({"RCPT": Close("421 4.3.2 shutting down")}) as first, ScriptedPeer() as second:
        pool = Pool(route_to(first, second, connections=1), hostname="gate.test")
        assert (await deliver(pool)).code == 421
        assert (await deliver(pool)).state == "delivered"
        await pool.close()
    assert (first.connections, second.connections) == (1, 1)


def host_at(*addresses: str, port: int, seconds: float = 30) -> Host:
    return Host(
        host="mx.test", port=port, name="gate.test", policy=POLICIES["none"], context=None, credentials=None,
        timeouts=Timeouts(connect=seconds), addresses=addresses,
    )  # fmt: skip


async def test_all_addresses_of_a_host_are_tried() -> None:
    async with (
        ScriptedPeer({"CONNECT": "421 4.3.2 full"}) as full,
        ScriptedPeer(port=full.port, host="127.0.0.2") as other,
    ):
        connection = await connect(host_at("::1", "127.0.0.1", "127.0.0.2", port=full.port))  # ::1 refuses
        assert connection.features.pipelining
        connection.link.quit()
    assert (full.connections, other.connections) == (1, 1)


async def test_a_silent_address_does_not_hold_up_the_next_one() -> None:
    """A listener whose queue is full neither refuses nor answers; the next address is tried beside it (RFC 8305)."""
    with silent("127.0.0.3") as port:
        async with ScriptedPeer(port=port) as peer:
            connection = await connect(host_at("127.0.0.3", "127.0.0.1", port=peer.port, seconds=60))
            connection.link.quit()
            assert peer.connections == 1


async def test_when_no_address_answers_the_telling_failure_is_told() -> None:
    async with ScriptedPeer() as peer:
        free = peer.port
    with pytest.raises(ConnectFailed) as failed:
        await connect(host_at("2001:db8::1", "127.0.0.1", port=free))
    assert failed.value.kind == "refused"


async def test_a_name_is_looked_up_and_its_families_come_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(family: int, *addresses: str) -> list[Any]:
        return [(family, socket.SOCK_STREAM, 6, "", (address, 25)) for address in addresses]

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        return found(socket.AF_INET6, "::1", "::2") + found(socket.AF_INET, "127.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert await addresses_of("mx.test", 25, 5) == ("::1", "127.0.0.1", "::2")


async def test_our_own_address_can_be_chosen() -> None:
    async with ScriptedPeer() as peer:
        connection = await connect(replace(host_at("127.0.0.1", port=peer.port), source="127.0.0.9"))
        assert connection.link._transport.get_extra_info("sockname")[0] == "127.0.0.9"
        connection.link.quit()


async def test_a_route_with_a_rate_waits_for_its_turns_and_delivers_everything() -> None:
    turns = 0

    class Counted(Pace):
        async def turn(self) -> None:
            nonlocal turns
            turns += 1
            await super().turn()

    async def at_once(span: timedelta, most: timedelta) -> float:
        return 0.0

    async with ScriptedPeer() as peer:
        pool = Pool(route_to(peer, connections=4), hostname="gate.test", pace=Counted(1000, at_once))
        assert {o.state for o in await asyncio.gather(*(deliver(pool) for _ in range(10)))} == {"delivered"}
        await pool.close()
    assert turns == 10


async def test_a_route_without_hosts_has_no_pool() -> None:
    capture = Route(
        name="main", kind="capture", hosts=(), tls="none", connections=1, rate_per_second=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="main"):
        Pool(capture, hostname="gate.test")
