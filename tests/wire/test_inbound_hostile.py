"""Whatever bytes come in, every answer is one well-formed reply, nothing unasked is taken, and others are served."""

from __future__ import annotations

import asyncio
import re

from front_door import Story, connect, greeted, make_config, make_login, submission
from hypothesis import given, settings
from hypothesis import strategies as st

TOOL = {"tool": make_login("tool", allowed=("127.0.0.1/32",), password=False)}
WORDS = [
    b"EHLO x", b"HELO", b"MAIL FROM:<a@acme.example>", b"MAIL FROM:<>", b"RCPT TO:<bob@example.org>", b"DATA", b"RSET",
    b"AUTH PLAIN", b"AUTH LOGIN", b"*", b"NOOP", b"QUIT", b"STARTTLS", b"VRFY x", b".", b"..", b"\r\n", b"\n", b"\r",
    b"\0", b" ", b"\xff\xfe", b"<", b">", b"SIZE=", b"a" * 3000, b"GET / HTTP/1.1",
]  # fmt: skip
REPLY = re.compile(r"[2345]\d\d([ -][245]\.\d\.\d+)?[ -][\x20-\x7e]*")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(WORDS), st.just(b"\r\n"), st.binary(max_size=20)), max_size=40))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Any bytes get well-formed replies, an end, and leave nothing counted."""

    async def story() -> None:
        async with submission(make_config(logins=TOOL), Story()) as (door, taken):
            client = await connect(door)
            await client.send(b"".join(pieces) + b"\r\n")
            client.writer.write_eof()
            while await client.reply():
                assert all(REPLY.fullmatch(line) for line in client.last), client.last
            await client.close()
            if tasks := [talk.task for talk in door.conversations if talk.task]:
                await asyncio.wait(tasks, timeout=5)
            assert (door.connections.open, door.budget.held, door.budget.under_way) == (0, 0, 0)
            for envelope in taken.messages:
                assert {rcpt.address for rcpt in envelope.rcpts} == {"bob@example.org"}
            async with greeted(door) as other:
                assert (await other.ask("NOOP")).startswith("250")

    asyncio.run(story())


async def test_a_flood_of_short_lived_connections_leaves_nothing() -> None:
    async with submission(make_config(logins=TOOL), Story()) as (door, _):
        for _ in range(100):
            client = await connect(door)
            client.writer.transport.abort()
        async with greeted(door) as client:
            assert (await client.ask("NOOP")).startswith("250")
        if tasks := [talk.task for talk in door.conversations if talk.task]:
            await asyncio.wait(tasks, timeout=5)
        assert door.connections.open == 0 and door.conversations == set()
