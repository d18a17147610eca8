"""Limits of the listeners: nothing a peer does takes more than its share, and what ends says why (P11)."""

from __future__ import annotations

import asyncio
import io
import socket
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from front_door import (
    LIMITS,
    OPEN_TO_LOOPBACK,
    Client,
    Story,
    connect,
    greeted,
    make_config,
    make_login,
    return_path,
    submission,
)

from gateway import log
from gateway.config import Config, Limits
from gateway.inbound import connection, session
from gateway.inbound.capacity import Budget, Connections
from gateway.mail import reply
from gateway.mail.envelope import Envelope
from gateway.mail.reply import Reply

BODY = b"Subject: x\r\n\r\nbody\r\n"


def limited(**changes: float) -> Config:
    limits: Limits = replace(LIMITS, **changes)  # type: ignore[arg-type]
    return make_config(limits=limits, logins=OPEN_TO_LOOPBACK)


async def closed(client: Client) -> bool:
    return await client.reply() == ""


async def test_too_many_connections_in_all_and_from_one_address() -> None:
    for changes in ({"connections": 2}, {"connections_per_ip": 2}):
        async with submission(limited(**changes)) as (door, _), greeted(door) as first, greeted(door):
            third = await connect(door)
            assert (await third.reply()).startswith("421 4.7.0 Too many connections")
            assert await closed(third)
            await third.close()
            assert door.connections.open == 2
            await first.ask("QUIT")
            assert await closed(first)
            async with greeted(door) as again:
                assert (await again.ask("NOOP")).startswith("250")


async def test_an_idle_peer_is_told_and_dropped() -> None:
    async with submission(limited(idle_seconds=0.05)) as (door, _), greeted(door) as client:
        assert (await client.reply()).startswith("421 4.4.2 Idle too long")
        assert await closed(client)


async def test_a_command_sent_drop_by_drop_is_idle_too() -> None:
    async with submission(limited(idle_seconds=0.2)) as (door, _), greeted(door, ehlo=False) as client:
        async with asyncio.timeout(10):
            while not client.reader.at_eof():
                client.writer.write(b"N")
                await asyncio.sleep(0)
                if client.writer.is_closing():
                    break
        assert door.connections.open == 0
    async with submission(limited(idle_seconds=0.05)) as (door, _), greeted(door) as client:
        await client.send(b"NOO")
        assert (await client.reply()).startswith("421 4.4.2")


async def test_a_message_has_a_time_of_its_own() -> None:
    async with submission(limited(data_seconds=0.05)) as (door, taken), greeted(door) as client:
        await client.begin()
        await client.send(b"Subject: x\r\n")
        assert (await client.reply()).startswith("421 4.4.2 Message took too long")
        assert await closed(client)
        assert taken.messages == [] and door.budget.held == 0 and door.budget.under_way == 0


async def test_a_message_must_come_at_a_least_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SLOW_START_SECONDS", 0.02)
    monkeypatch.setattr(connection, "TICK_SECONDS", 0.02)
    async with submission(limited()) as (door, _), greeted(door) as client:
        await client.begin()
        await client.send(b"S")
        assert (await client.reply()).startswith("421 4.4.2 Message took too long")


async def test_a_peer_that_reads_no_replies_is_dropped() -> None:
    async with submission(limited(idle_seconds=0.2)) as (door, _):
        client = await connect(door)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_send_for_ever(client), 20)
        await client.close()


async def test_the_story_may_take_longer_than_the_idle_limit() -> None:
    async def slow(envelope: Envelope) -> Reply:
        await asyncio.wait_for(asyncio.shield(gate), 10)
        return reply.queued("late")

    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with submission(limited(idle_seconds=0.05), Story(answer=slow)) as (door, _), greeted(door) as client:
        await client.begin()
        await client.send(BODY + b".\r\n")
        asyncio.get_running_loop().call_later(0.3, gate.set_result, None)
        assert await client.reply() == "250 2.0.0 Message queued as late"


async def test_a_story_that_raises_or_hangs_is_451_and_the_conversation_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def raises(envelope: Envelope) -> Reply:
        raise KeyError("secret@example.org")

    async def hangs(envelope: Envelope) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(connection, "STORY_SECONDS", 0.05)
    for answer in (raises, hangs):
        story = Story(answer=answer)
        async with submission(limited(), story) as (door, _), greeted(door) as client:
            assert await client.mail(BODY) == "451 4.3.0 Internal error, try again"
            story.answer = None
            assert await client.mail(BODY, "dora@example.org") == "250 2.0.0 Message queued as m1"
            assert [rcpt.address for rcpt in story.messages[0].rcpts] == ["dora@example.org"]
            assert door.budget.held == 0


async def test_a_story_goes_on_when_the_peer_leaves_and_gives_its_place_back() -> None:
    loop = asyncio.get_running_loop()
    begun, gate, done = loop.create_future(), loop.create_future(), loop.create_future()

    async def commit(envelope: Envelope) -> Reply:
        begun.set_result(None)
        await gate
        done.set_result(envelope)
        return reply.queued("x")

    async with submission(limited(), Story(answer=commit)) as (door, _):
        async with greeted(door) as client:
            await client.begin()
            await client.send(BODY + b".\r\n")
            await begun
        tasks = [talk.task for talk in door.conversations if talk.task]
        gate.set_result(None)
        assert (await done).content == BODY
        await asyncio.wait(tasks)
        assert (door.connections.open, door.budget.held, door.budget.under_way) == (0, 0, 0)


async def test_a_half_closed_connection_is_answered() -> None:
    async with submission(limited()) as (door, taken):
        client = await connect(door)
        await client.send(
            b"EHLO x\r\nMAIL FROM:<a@acme.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n" + BODY + b".\r\nQUIT\r\n"
        )
        client.writer.write_eof()
        answers = []
        while answer := await client.reply():
            answers.append(answer[:3])
        assert answers == ["220", "250", "250", "250", "354", "250", "221"]
        assert len(taken.messages) == 1
        await client.close()


async def test_over_the_budget_is_452_before_the_message_is_sent() -> None:
    async with submission(limited()) as (door, taken), greeted(door) as client, greeted(door) as other:
        door.budget.octets, door.budget.patience = 100_000, 0.01
        await client.begin()
        await other.ask("MAIL FROM:<a@acme.example> SIZE=90000")
        await other.ask("RCPT TO:<bob@example.org>")
        assert (await other.ask("DATA")).startswith("452 4.3.1")
        await client.send(BODY + b".\r\n")
        assert (await client.reply()).startswith("250")
        assert (await other.ask("DATA")).startswith("354"), "the transaction is still there"
        await other.send(BODY + b".\r\n")
        assert (await other.reply()).startswith("250")
        assert len(taken.messages) == 2 and door.budget.held == 0


async def test_over_the_budget_in_the_middle_is_452_at_the_end() -> None:
    async with submission(limited()) as (door, taken), greeted(door) as client:
        door.budget.octets = 100_000
        await client.begin()
        await client.send(b"Subject: x\r\n\r\n" + b"y" * 150_000 + b"\r\n.\r\nNOOP\r\n")
        assert (await client.reply()).startswith("452 4.3.1")
        assert (await client.reply()).startswith("250 2.0.0 OK")
        assert taken.messages == [] and door.budget.held == 0
        assert (await client.mail(BODY)).startswith("250")


async def test_messages_wait_their_turn_rather_than_fail() -> None:
    """With room for one message at a time, all of many are taken."""
    config = limited(concurrent_data=1)
    async with submission(config) as (door, taken):

        async def one() -> str:
            async with greeted(door) as client:
                return await client.mail(BODY)

        answers = await asyncio.gather(*(one() for _ in range(10)))
        assert {answer[:3] for answer in answers} == {"250"}
        assert len(taken.messages) == 10


async def test_budget() -> None:
    budget = Budget(messages=2, octets=100, patience=0.01)
    assert await budget.enter(60) and await budget.enter(40)
    assert not await budget.enter(1), "both limits are reached"
    assert not budget.grow(1)
    budget.leave(60)
    assert budget.grow(60)
    assert not await budget.enter(1)
    assert not await budget.enter(101), "never fits"
    budget.leave(100)
    assert (budget.under_way, budget.held) == (0, 0)
    budget.patience = 60
    await budget.enter(100)
    waiting = [asyncio.create_task(budget.enter(size)) for size in (50, 50, 100)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    budget.leave(100)
    assert await waiting[1]
    assert not waiting[2].done()
    budget.leave(50)
    assert await waiting[2]
    assert (budget.under_way, budget.held) == (1, 100)


def test_connections() -> None:
    connections = Connections(total=3, per_ip=2)
    assert [connections.enter(ip) for ip in ("a", "a", "a", "b", "c")] == [
        None, None, "too many from one address", None, "full",
    ]  # fmt: skip
    for ip in ("a", "a", "b"):
        connections.leave(ip)
    assert connections.open == 0 and connections._by_ip == {}


async def test_drain_lets_what_is_under_way_finish() -> None:
    loop = asyncio.get_running_loop()
    begun, gate = loop.create_future(), loop.create_future()

    async def commit(envelope: Envelope) -> Reply:
        begun.set_result(None)
        await gate
        return reply.queued("x")

    async with submission(limited(), Story(answer=commit)) as (door, story):
        async with greeted(door) as idle, greeted(door) as busy, greeted(door) as typing:
            listening = door.entrances[0].listening
            address = listening.getsockname()
            await busy.begin()
            await typing.begin()
            await busy.send(BODY + b".\r\n")
            await begun
            draining = asyncio.create_task(door.drain(10))
            assert (await idle.reply()).startswith("421 4.3.2")
            assert await closed(idle)
            listening.close()  # as whoever opened it does at the stop
            with pytest.raises(OSError):
                await asyncio.open_connection(*address)
            gate.set_result(None)
            assert await busy.reply() == "250 2.0.0 Message queued as x"
            assert (await busy.reply()).startswith("421 4.3.2")
            assert not draining.done(), "one is still typing"
            story.answer = None
            await typing.send(BODY + b".\r\n")
            assert (await typing.reply()).startswith("250")
            assert (await typing.reply()).startswith("421 4.3.2")
            await draining
        assert door.connections.open == 0


async def test_drain_has_an_end() -> None:
    async with submission(limited()) as (door, _), greeted(door) as client:
        await client.begin()
        await door.drain(0.01)
        await door.close()
        assert await closed(client)
        assert door.connections.open == 0


async def test_mail_during_drain_is_421() -> None:
    async with submission(limited()) as (door, _), greeted(door) as client:
        await client.ask("MAIL FROM:<a@acme.example>")
        door.draining = True
        assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("421 4.3.2")
        assert await closed(client)


async def test_reload_changes_limits_domains_and_logins() -> None:
    config = limited()
    async with submission(config) as (door, _), greeted(door) as client:
        assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("250")
        elsewhere = {"tool": make_login("tool", allowed=("192.0.2.1",), password=False)}
        door.reload(replace(config, limits=replace(LIMITS, message_bytes=10), logins=elsewhere))
        await client.ask("EHLO client.example")
        assert "250-SIZE 10" in client.last
        changed = door._logins.by_address("127.0.0.1")
        assert changed is None
        async with greeted(door) as fresh:
            assert (await fresh.ask("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")
        door.reload(replace(config, logins={}))
        assert (await client.ask("MAIL FROM:<a@acme.example>")).startswith("530 5.7.0")


async def test_other_sockets_are_taken_up_and_the_same_go_on() -> None:
    first, second = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    with first, second:
        async with submission(limited()) as (door, _):
            door.listen([first])
            client = await connect(door)
            assert (await client.reply()).startswith("220")
            [entrance] = door.entrances
            door.listen([second, first])
            assert door.entrances[0] is entrance
            assert (await client.ask("NOOP")).startswith("250")
            for index in (0, 1):
                another = await connect(door, server=index)
                assert (await another.reply()).startswith("220")
                await another.close()
            door.listen([second])
            assert (await client.ask("NOOP")).startswith("250"), "open conversations stay"
            await client.close()


async def test_strangers_at_the_return_path_do_not_keep_mail_out() -> None:
    """Sessions that declare the largest size and send nothing hold next to no room, and none of submission's."""
    config = limited(message_bytes=20_000_000)
    async with submission(config) as (door, taken), return_path(config) as (back, heard):
        assert back.budget is not door.budget
        largest = back.limits.message_bytes
        async with AsyncExitStack() as strangers:
            for _ in range(1 + back.budget.octets // largest):
                stranger = await strangers.enter_async_context(greeted(back))
                assert (await stranger.ask(f"MAIL FROM:<> SIZE={largest}")).startswith("250")
                assert (await stranger.ask("RCPT TO:<unsub@bounce.acme.example>")).startswith("250")
                assert (await stranger.ask("DATA")).startswith("354")
            async with greeted(back) as one_more:
                assert (await one_more.mail(BODY, "unsub@bounce.acme.example")).startswith("250")
            async with greeted(door) as client:
                assert (await client.mail(BODY)).startswith("250")
            assert len(taken.messages) == len(heard.messages) == 1


async def test_no_address_of_a_person_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.StringIO()
    monkeypatch.setattr(log, "_log", log._log)  # so that the next test logs as before
    log.configure("text", "info", stream=lines)

    async def raises(envelope: Envelope) -> Reply:
        raise ValueError("bob@example.org")

    async with submission(limited(), Story(answer=raises)) as (door, _), greeted(door) as client:
        await client.mail(BODY, "bob@example.org")
        await client.ask("RCPT TO:<bob@example.org>")
        await client.ask("GET bob@example.org")
    said = lines.getvalue()
    assert "bug" in said and "session_cut" in said
    assert "bob" not in said and "acme.example" not in said


async def _send_for_ever(client: Client) -> None:
    while True:
        client.writer.write(b"HELP\r\n" * 10_000)
        await client.writer.drain()
