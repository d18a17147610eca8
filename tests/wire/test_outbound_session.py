"""One copy after another over a connection: whatever the server says or does not say, no copy is lost unseen."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.envelope import Rcpt
from gateway.mail.judgement import judge_live
from gateway.mail.outcome import Outcome
from gateway.outbound.client import BLOCK, Session
from gateway.outbound.connect import Timeouts
from gateway.outbound.pool import Pool
from tests.peers import Close, Drip, Raw, ScriptedPeer, Silence, Step, route_to

BOB = Rcpt(address="bob@example.net")
MAIL = b"From: news@acme.example\r\nTo: bob@example.net\r\n\r\nHello\r\n"
FEW = ("8BITMIME", "SIZE 1000000")


@asynccontextmanager
async def session_with(peer: ScriptedPeer, **timeouts: float) -> AsyncIterator[Session]:
    pool = Pool(route_to(peer, connections=1), hostname="gate.test", timeouts=Timeouts(**timeouts))
    async with pool.session() as session:
        yield session
    await pool.close()


async def send(session: Session, data: bytes | list[Any] = MAIL, rcpt: Rcpt = BOB, **options: Any) -> Outcome:
    return await session.transaction("b+1@bounce.acme.example", rcpt, data, **options)


@pytest.mark.parametrize("features", [("PIPELINING", *FEW), FEW, ()])
async def test_a_copy_arrives_as_it_was_given(features: tuple[str, ...]) -> None:
    async with ScriptedPeer(features=features) as peer, session_with(peer) as session:
        outcome = await session.transaction("", BOB, [b"A: b\r\n", b"\r\n", b"c\r\n"])
    assert (outcome.state, outcome.code, outcome.enhanced) == ("delivered", 250, "2.0.0")
    assert outcome.text == "queued as A1B2C3"
    [arrived] = peer.transactions
    assert arrived.data == b"A: b\r\n\r\nc\r\n"
    assert arrived.mail == ("MAIL FROM:<> SIZE=11" if features else "MAIL FROM:<>")
    assert arrived.rcpts == ["RCPT TO:<bob@example.net>"]
    assert peer.commands[0] == "EHLO gate.test"
    assert ("MAIL" in {line[:4] for line in peer.ahead}) == ("PIPELINING" in features)


@pytest.mark.parametrize(
    ("data", "arrived"),
    [
        (b".\r\n", b".\r\n"),
        (b"..\r\n.a\r\n", b"..\r\n.a\r\n"),
        (b"a\r\n.\r\nMAIL FROM:<evil@example.net>\r\n", b"a\r\n.\r\nMAIL FROM:<evil@example.net>\r\n"),
        (b"a\r\n\r\n.\r\n.\r\n", b"a\r\n\r\n.\r\n.\r\n"),
        (b"no line end", b"no line end\r\n"),
        (b".no line end", b".no line end\r\n"),
        (b"", b""),
        (b"x\r\n.y" * 100_000, b"x\r\n.y" * 100_000 + b"\r\n"),
        (b"a" * (BLOCK - 5) + b"\r\n", b"a" * (BLOCK - 5) + b"\r\n"),
        (b"a" * (BLOCK - 3) + b"\r\n", b"a" * (BLOCK - 3) + b"\r\n"),
        (b"a\r\n" * BLOCK, b"a\r\n" * BLOCK),
    ],
    ids=range(11),
)
async def test_dots_and_line_ends_survive(data: bytes, arrived: bytes) -> None:
    async with ScriptedPeer(features=["PIPELINING"]) as peer, session_with(peer) as session:
        assert (await send(session, data)).state == "delivered"
        assert (await send(session)).state == "delivered"
    assert peer.transactions[0].data == arrived
    assert peer.transactions[1].data == MAIL
    assert peer.connections == 1


@pytest.mark.parametrize("size", [1, 2, 3, 5])
async def test_pieces_arrive_as_one_message(size: int) -> None:
    """Wherever a message is cut, between CR, LF and dot too, its dots are stuffed and come out as they were."""
    whole = b"a\r\n.\r\n..b\r\n\r\n.\r\nc." + b"x" * 10 + b"\r\n.\r\n"
    cut = [memoryview(whole)[at : at + size] for at in range(0, len(whole), size)]
    async with ScriptedPeer(features=["PIPELINING", "SIZE 1000"]) as peer, session_with(peer) as session:
        assert (await send(session, cut)).state == "delivered"
        assert (await send(session, [whole, memoryview(b".end")])).state == "delivered"
    assert [one.data for one in peer.transactions] == [whole, whole + b".end\r\n"]
    assert all(
        f"SIZE={size}" in one.mail for one, size in zip(peer.transactions, (len(whole), len(whole) + 4), strict=True)
    )


@pytest.mark.parametrize("features", [("PIPELINING", *FEW), FEW])
@pytest.mark.parametrize(
    ("script", "state", "stage", "enhanced", "dead"),
    [
        ({"MAIL": ["451 4.7.1 later", "250 ok"]}, "retry", "mail", "4.7.1", False),
        ({"MAIL": ["553 5.1.8 bad sender", "250 ok"], "RCPT": ["503 no", "250 ok"], "DATA": ["503 no", "354 go"]},
         "failed", "mail", "5.1.8", False),
        ({"RCPT": ["550 5.1.1 bob unknown", "250 ok"], "DATA": ["503 5.5.1 no recipients", "354 go"]},
         "failed", "rcpt", "5.1.1", True),
        ({"RCPT": ["450-4.2.1 try\r\n450 4.2.1 later", "250 ok"], "DATA": ["554 no valid recipients", "354 go"]},
         "retry", "rcpt", "4.2.1", False),
        ({"DATA": ["550 5.7.1 not today", "354 go"]}, "failed", "data", "5.7.1", False),
        ({".": ["554 5.7.1 spam", "250 ok"]}, "failed", "body", "5.7.1", False),
        ({".": ["451 4.3.0 disk", "250 ok"]}, "retry", "body", "4.3.0", False),
    ],
)  # fmt: skip
async def test_after_a_refusal_the_connection_serves_the_next_copy(
    features: tuple[str, ...], script: dict[str, list[Step]], state: str, stage: str, enhanced: str, dead: bool
) -> None:
    # a server answers commands it was sent: without PIPELINING none follows a refusal
    script = dict(script)
    if "PIPELINING" not in features and stage != "data":
        script.pop("DATA", None)
        if stage == "mail":
            script.pop("RCPT", None)
    elif "PIPELINING" in features and stage == "mail" and "RCPT" not in script:
        script |= {"RCPT": ["503 5.5.1 no", "250 ok"], "DATA": ["503 5.5.1 no", "354 go"]}
    async with ScriptedPeer(script, features=features) as peer, session_with(peer) as session:
        outcome = await send(session)
        assert (outcome.state, outcome.stage, outcome.enhanced) == (state, stage, enhanced)
        assert judge_live(read_bounce_rules(), outcome).undeliverable is dead
        assert "bob" not in outcome.text
        assert (await send(session)).state == "delivered"
    assert peer.connections == 1
    assert ("RSET" in peer.commands) == (stage != "body")


async def test_a_message_asked_for_although_the_recipient_was_refused_is_not_sent() -> None:
    async with ScriptedPeer({"RCPT": ["550 5.1.1 no", "250 ok"]}) as peer, session_with(peer) as session:
        assert (await send(session)).state == "failed"
        assert (await send(session)).state == "delivered"
    assert [t.connection for t in peer.transactions] == [2]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_421_ends_the_connection_and_the_next_copy_gets_a_new_one(verb: str) -> None:
    async with ScriptedPeer({verb: ["421 4.3.2 closing", *["250 ok"] * 3]}, features=[]) as peer:
        script = peer._script
        if verb == "DATA":
            script["DATA"][1:] = ["354 go"]
        async with session_with(peer) as session:
            outcome = await send(session)
            assert (outcome.state, outcome.code, outcome.connection_over) == ("retry", 421, True)
            assert not session.usable
            assert (await send(session)).state == "delivered"
    assert peer.connections == 2


@pytest.mark.parametrize("goodbye", [Close("250 2.0.0 ok"), Raw(b"250 2.0.0 ok\r\n421 4.4.2 idle too long\r\n")])
async def test_a_connection_the_server_closed_in_between_is_not_the_copys_failure(goodbye: Step) -> None:
    asked = 0

    async def may() -> bool:
        nonlocal asked
        asked += 1
        return True

    async with ScriptedPeer({".": [goodbye, "250 2.0.0 ok"]}) as peer, session_with(peer) as session:
        assert (await send(session, before_mail=may)).state == "delivered"
        assert (await send(session, before_mail=may)).state == "delivered"
    assert [t.connection for t in peer.transactions] == [1, 2]
    assert asked in (2, 3)  # once more when the loss shows only at MAIL


@pytest.mark.parametrize("gone", [Close("421 4.3.2 bye"), Close()])
async def test_a_connection_found_closed_at_mail_is_replaced_once_and_the_check_made_again(gone: Step) -> None:
    asked: list[int] = []

    async with ScriptedPeer({"MAIL": ["250 ok", gone, "250 ok"]}) as peer, session_with(peer) as session:

        async def may() -> bool:
            asked.append(peer.connections)
            return True

        assert (await send(session, before_mail=may)).state == "delivered"
        assert (await send(session, before_mail=may)).state == "delivered"
    assert asked == [1, 1, 2]
    assert [t.connection for t in peer.transactions] == [1, 2]


async def test_a_fresh_connection_that_ends_at_mail_is_a_failure() -> None:
    async with ScriptedPeer({"MAIL": Close()}) as peer, session_with(peer) as session:
        outcome = await send(session)
    assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "mail", False)
    assert peer.connections == 1


async def test_when_no_new_connection_can_be_had_the_copy_waits() -> None:
    script: dict[str, Any] = {".": Close("250 2.0.0 ok"), "CONNECT": ["220 hi", "554 5.3.2 no service"]}
    async with ScriptedPeer(script) as peer, session_with(peer) as session:
        assert (await send(session)).state == "delivered"
        await peer.all_closed()
        outcome = await send(session)
    assert (outcome.state, outcome.stage, outcome.code) == ("retry", "greeting", 554)


async def test_a_reply_lost_after_the_final_dot_waits_and_says_so() -> None:
    async with ScriptedPeer({".": Close()}) as peer, session_with(peer) as session:
        outcome = await send(session)
    assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "body", True)
    assert len(peer.transactions) == 1


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_silence_ends_in_a_timeout_of_its_stage_and_a_closed_socket(verb: str) -> None:
    stage = {"MAIL": "mail", "RCPT": "rcpt", "DATA": "data", ".": "body"}[verb]
    async with ScriptedPeer({verb: Silence()}) as peer, session_with(peer, **{stage: 0.05}) as session:
        outcome = await send(session)
        assert (outcome.state, outcome.stage, outcome.enhanced) == ("retry", stage, "4.4.2")
        assert outcome.maybe_delivered == (verb == ".")
        await peer.all_closed()


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize(
    "nonsense", [b"\r\n", b"ok\r\n", b"250-a\r\n550 b\r\n", b"x" * 10_000, b"250-x\r\n" * 1000, b"250 " + b"y" * 5000]
)
async def test_nonsense_is_not_believed(verb: str, nonsense: bytes) -> None:
    async with ScriptedPeer({verb: Raw(nonsense)}) as peer, session_with(peer) as session:
        outcome = await send(session)
        assert (outcome.state, outcome.connection_over) == ("retry", True)
        assert outcome.text and "x" * 20 not in outcome.text
        await peer.all_closed()


async def test_a_second_reply_nobody_asked_for_is_not_taken_for_the_next_ones() -> None:
    twice = Raw(b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n")
    async with ScriptedPeer({".": [twice, "554 5.7.1 spam"]}) as peer, session_with(peer) as session:
        assert (await send(session)).state == "delivered"
        assert (await send(session)).state == "failed"
    assert [t.connection for t in peer.transactions] == [1, 2]


async def test_a_reply_before_the_message_is_not_taken_for_its_own() -> None:
    async with ScriptedPeer({"DATA": Raw(b"354 go\r\n250 2.0.0 ok\r\n")}) as peer, session_with(peer) as session:
        outcome = await send(session)
    assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "data", False)
    assert not peer.transactions


@pytest.mark.parametrize(
    ("verb", "step", "stage", "maybe"),
    [
        ("DATA", Raw(b"354 go\r\n354 go\r\n"), "data", False),  # twice, before the message
        ("DATA", Raw(b"250 2.0.0 taken\r\n"), "data", False),  # before there was anything to take
        ("MAIL", Raw(b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"), "data", False),
        ("MAIL", Raw(b"250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n"), "data", False),
        ("MAIL", Raw(b"250 ok\r\n" * 40), "data", False),
        (".", "354 go on", "body", True),
        (".", Raw(b"220 peer.test ESMTP\r\n"), "", False),
        (".", Drip(b"250-nearly\r\n", 0.0001), "body", True),
        ("RCPT", Drip(b"2", 0.001), "rcpt", False),
    ],
)
async def test_a_server_out_of_step_has_not_taken_a_copy(verb: str, step: Step, stage: str, maybe: bool) -> None:
    async with (
        ScriptedPeer({verb: [step, *["250 ok"] * 3]}, features=["PIPELINING"]) as peer,
        session_with(peer, rcpt=0.3, body=0.3) as session,
    ):
        outcome = await send(session)
        if not stage:  # any 2yz is yes to the question that was asked
            assert outcome.state == "delivered"
            return
        assert (outcome.state, outcome.stage, outcome.connection_over) == ("retry", stage, True)
        assert outcome.maybe_delivered is maybe
        await peer.all_closed()
        assert "QUIT" not in peer.commands  # it might be read as part of a message


@pytest.mark.parametrize("behind", [b"\r\n", b"thanks!\r\n", b"250-more", b"250 2.0.0 ok\r\n" * 40, b"y" * 10_000])
async def test_a_copy_that_was_taken_is_taken_whatever_is_said_behind_that(behind: bytes) -> None:
    """Some servers end a reply with an empty line; a copy that they have must not go again and again."""
    said = Raw(b"250 2.0.0 queued\r\n" + behind)
    async with ScriptedPeer({".": [said, "250 2.0.0 ok"]}) as peer, session_with(peer) as session:
        outcome = await send(session)
        assert (outcome.state, outcome.text) == ("delivered", "queued")
        assert (await send(session)).state == "delivered"
    assert [one.connection for one in peer.transactions] == [1, 2]


async def test_a_half_closed_connection_is_noticed_before_it_is_used() -> None:
    """A server that says no more, but reads on, would take a MAIL and never answer it."""
    heard: list[bytes] = []
    closing = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        heard.append(b"")
        for reply in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            heard[-1] += await reader.readline()
            writer.write(reply)
        heard[-1] += await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 taken\r\n")
        writer.write_eof()
        heard[-1] += await reader.read()
        writer.close()
        closing.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = Pool(route_to(server.sockets[0].getsockname()[1], connections=1), hostname="gate.test")
    for _ in range(2):
        async with pool.session() as session:
            assert (await send(session)).state == "delivered"
        await closing.wait()
        closing.clear()
    await pool.close()
    server.close()
    assert [one.count(b"MAIL FROM") for one in heard] == [1, 1]


async def test_a_silent_stale_connection_is_replaced_too() -> None:
    script: dict[str, Any] = {"MAIL": ["250 ok", Silence(), "250 ok"]}
    async with ScriptedPeer(script) as peer, session_with(peer, mail=0.1) as session:
        assert (await send(session)).state == "delivered"
        assert (await send(session)).state == "delivered"
    assert [t.connection for t in peer.transactions] == [1, 2]


async def test_a_connection_lost_after_an_answer_is_no_stale_one() -> None:
    """What was answered may have had an effect: the copy waits, and is not said twice at once."""
    script: dict[str, Any] = {"RCPT": ["250 ok", Close()]}
    async with ScriptedPeer(script, features=[]) as peer, session_with(peer) as session:
        assert (await send(session)).state == "delivered"
        outcome = await send(session)
        assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "rcpt", False)
    assert (peer.connections, len(peer.transactions)) == (1, 1)


async def test_an_address_goes_in_ascii_where_that_can_be() -> None:
    async with ScriptedPeer(features=["8BITMIME", "SMTPUTF8"]) as peer, session_with(peer) as session:
        assert (await send(session, b"a", Rcpt(address="bob@exämple.de"), smtputf8=True)).state == "delivered"
    assert peer.transactions[0].rcpts == ["RCPT TO:<bob@exämple.de>"]
    async with ScriptedPeer(features=["8BITMIME"]) as peer, session_with(peer) as session:
        assert (await send(session, b"a", Rcpt(address="bob@exämple.de"), smtputf8=True)).state == "delivered"
        outcome = await send(
            session, "To: bob@exämple.de\r\n\r\n".encode(), Rcpt(address="bob@exämple.de"), smtputf8=True
        )
        assert (outcome.state, outcome.lacks) == ("failed", "utf8")
        outcome = await send(session, b"a", Rcpt(address="bøb@exämple.de"), smtputf8=True)
        assert (outcome.enhanced, outcome.lacks) == ("5.6.7", "utf8")
    assert peer.transactions[0].rcpts == ["RCPT TO:<bob@xn--exmple-cua.de>"]
    assert peer.transactions[0].mail == "MAIL FROM:<b+1@bounce.acme.example>"


@pytest.mark.parametrize("features", [("DSN",), ()])
async def test_notify_never_is_kept_by_a_server_that_does_not_know_it(features: tuple[str, ...]) -> None:
    """RFC 3461 5.2.2: the null sender keeps a server without DSN from reporting."""
    never = Rcpt(address="bob@example.net", notify=frozenset({"NEVER"}))
    async with ScriptedPeer(features=features) as peer, session_with(peer) as session:
        assert (await send(session, rcpt=never)).state == "delivered"
        assert (await send(session)).state == "delivered"
    first, second = peer.transactions
    assert first.mail == ("MAIL FROM:<b+1@bounce.acme.example>" if features else "MAIL FROM:<>")
    assert first.rcpts == ["RCPT TO:<bob@example.net>" + (" NOTIFY=NEVER" if features else "")]
    assert second.mail == "MAIL FROM:<b+1@bounce.acme.example>"


async def test_what_the_server_cannot_carry_fails_before_mail() -> None:
    utf8 = Rcpt(address="jürgen@exämple.de")
    async with ScriptedPeer(features=["SIZE 100"]) as peer, session_with(peer) as session:
        refused = [
            await send(session, "A: b\r\n\r\né".encode()),
            await send(session, "A: b\r\n\r\né".encode(), smtputf8=True),  # the body alone needs only 8BITMIME
            await send(session, b"a", rcpt=utf8),
            await send(session, "Subject: é\r\n\r\n".encode(), smtputf8=True),
            await send(session, b"a" * 101),
        ]
        assert (await send(session, b"a", body_8bit=True, smtputf8=True)).state == "delivered"  # said, but not needed
    assert [o.enhanced for o in refused] == ["5.6.3", "5.6.3", "5.6.7", "5.6.7", "5.3.4"]
    assert {o.state for o in refused} == {"failed"}
    assert [line for line in peer.commands if line.startswith("MAIL")] == ["MAIL FROM:<b+1@bounce.acme.example> SIZE=1"]


async def test_what_the_client_said_is_passed_on() -> None:
    async with ScriptedPeer() as peer, session_with(peer) as session:
        assert (await send(session, b"a", body_8bit=True, smtputf8=True)).state == "delivered"
    assert peer.transactions[0].mail == "MAIL FROM:<b+1@bounce.acme.example> SIZE=1 BODY=8BITMIME SMTPUTF8"


async def test_extensions_are_used_where_they_are_offered_and_needed() -> None:
    rcpt = Rcpt(address="jürgen@exämple.de", notify=frozenset({"FAILURE", "DELAY"}), orcpt="rfc822;bob@example.net")
    async with ScriptedPeer() as peer, session_with(peer) as session:
        outcome = await send(session, "é".encode(), rcpt, ret="HDRS", envid="e+201")
        assert outcome.state == "delivered"
        assert (await send(session, b"a", ret="a b", envid="a\rb", rcpt=Rcpt(address="a@b.example", orcpt="x y"))).state
    assert peer.transactions[0].mail == (
        "MAIL FROM:<b+1@bounce.acme.example> SIZE=2 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+201"
    )
    assert peer.transactions[0].rcpts == [
        "RCPT TO:<jürgen@exämple.de> NOTIFY=DELAY,FAILURE ORCPT=rfc822;bob@example.net"
    ]
    assert peer.transactions[1].mail == "MAIL FROM:<b+1@bounce.acme.example> SIZE=1"
    assert peer.transactions[1].rcpts == ["RCPT TO:<a@b.example>"]
    async with ScriptedPeer(features=["8BITMIME", "SMTPUTF8"]) as peer, session_with(peer) as session:
        assert (await send(session, b"a", rcpt, ret="HDRS", envid="e1")).state == "delivered"
    assert peer.transactions[0].mail == "MAIL FROM:<b+1@bounce.acme.example> SMTPUTF8"
    assert peer.transactions[0].rcpts == ["RCPT TO:<jürgen@exämple.de>"]


async def test_an_address_cannot_smuggle_a_command() -> None:
    async with ScriptedPeer() as peer, session_with(peer) as session:
        with pytest.raises(ValueError, match="control"):
            await send(session, rcpt=Rcpt(address="a@b.example>\r\nRCPT TO:<c@d.example"))
        assert (await send(session)).state == "delivered"
    assert peer.transactions[0].rcpts == ["RCPT TO:<bob@example.net>"]


async def test_the_last_check_stands_right_before_mail_and_its_no_leaves_nothing_behind() -> None:
    before: list[list[str]] = []

    async with ScriptedPeer() as peer, session_with(peer) as session:

        async def no() -> bool:
            before.append(list(peer.commands))
            return False

        async def yes() -> bool:
            before.append(list(peer.commands))
            return True

        assert (await send(session, before_mail=no)).state == "skipped"
        assert (await send(session, before_mail=yes)).state == "delivered"
    assert before == [["EHLO gate.test"], ["EHLO gate.test"]]
    assert len(peer.transactions) == 1


async def test_a_check_that_breaks_leaves_the_session_usable() -> None:
    async def broken() -> bool:
        raise RuntimeError("store down")

    async with ScriptedPeer() as peer, session_with(peer) as session:
        with pytest.raises(RuntimeError):
            await send(session, before_mail=broken)
        assert (await send(session)).state == "delivered"
    assert peer.connections == 1


@pytest.mark.parametrize("verb", ["MAIL", "."])
async def test_a_cancelled_session_closes_its_socket(verb: str) -> None:
    async with ScriptedPeer({verb: Silence()}) as peer:
        pool = Pool(route_to(peer), hostname="gate.test")

        async def work() -> Outcome:
            async with pool.session() as session:
                return await send(session)

        task = asyncio.create_task(work())
        await peer.seen(verb)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await peer.all_closed()
        assert pool.live == 0


async def test_mail_is_not_written_behind_an_unanswered_final_dot() -> None:
    release = asyncio.Event()

    async def held(_: str) -> Step:
        await release.wait()
        return "250 2.0.0 ok"

    async with ScriptedPeer({".": held}) as peer:
        pool = Pool(route_to(peer, connections=1), hostname="gate.test")

        async def work() -> Outcome:
            async with pool.session() as session:
                return await send(session)

        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await peer.seen(".")
        for _ in range(20):
            await asyncio.sleep(0)
        assert sum(line.startswith("MAIL") for line in peer.commands) == 1
        release.set()
        assert {(await task).state for task in tasks} == {"delivered"}
        assert peer.connections == 1
        await pool.close()


async def early_refusal(act: Callable[[asyncio.StreamWriter], None], patience: float = 60) -> Outcome:
    """The outcome of a large message whose server does `act` after the first octets and reads no further."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hi\r\n")
        await reader.readline()
        writer.write(b"250 hi\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(reply)
        await reader.readexactly(1000)
        act(writer)
        await done.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = Pool(
        route_to(server.sockets[0].getsockname()[1]),
        hostname="gate.test",
        timeouts=Timeouts(block=patience, body=patience),
    )
    async with pool.session() as session:
        outcome = await send(session, b"a" * 64_000_000)
    done.set()
    server.close()
    return outcome


async def test_a_large_message_refused_half_way_ends_there() -> None:
    outcome = await early_refusal(lambda writer: writer.write(b"552 5.3.4 too large\r\n"))
    assert (outcome.state, outcome.enhanced, outcome.maybe_delivered) == ("failed", "5.3.4", False)


async def test_a_server_that_stops_reading_is_left() -> None:
    outcome = await early_refusal(lambda writer: None, patience=0.1)
    assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "data", False)


async def test_a_server_that_leaves_half_way_does_not_have_the_message() -> None:
    outcome = await early_refusal(lambda writer: writer.transport.abort())
    assert (outcome.state, outcome.stage, outcome.maybe_delivered) == ("retry", "data", False)


async def test_a_slow_reset_comes_before_the_last_check_and_not_between_it_and_mail() -> None:
    """P3: without PIPELINING the server answers RSET when it likes; what the check found would be old by then."""
    seen: list[int] = []
    async with (
        ScriptedPeer({"RCPT": ["550 5.1.1 who?", "250 ok"]}, features=FEW) as peer,
        session_with(peer) as session,
    ):

        async def check() -> bool:
            seen.append(sum(line == "RSET" for line in peer.commands))
            return True

        assert (await send(session, before_mail=check)).state == "failed"
        assert (await send(session, before_mail=check)).state == "delivered"
    assert seen == [0, 1]
