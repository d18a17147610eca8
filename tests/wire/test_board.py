"""What workers show each other: counters as one sum, and connections to the one that has fewest."""

import asyncio
import socket
from collections import Counter as Tally
from collections.abc import Callable, Mapping

import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from gateway.acceptor import Acceptor
from gateway.board import Board, Row, Slot
from gateway.counters import COPIES, OPT_OUTS, QUEUE, SESSIONS


def values(text: bytes) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of what /metrics has, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode()) for sample in family.samples
    }  # fmt: skip


def opt_outs(slot: Slot) -> float:
    return values(slot.text()).get(("consentgate_opt_outs_total", (("channel", "page"), ("scope", "board"))), 0.0)


def other(board: Board, index: int, rows: list[Row]) -> None:
    """What another worker, whose process is not here, shows."""
    board.put_beat(index, 1.0)
    board.put_rows(index, rows)


def counted(value: float) -> Row:
    labels = {"channel": "page", "scope": "board"}
    return ("consentgate_opt_outs", "counter", "x", [("consentgate_opt_outs_total", labels, value)])


def test_counters_of_all_workers_are_one_sum_whoever_is_asked() -> None:
    board = Board(3)
    mine = board.slot(0)
    before = opt_outs(mine)
    OPT_OUTS.labels("page", "board").inc(2)
    other(board, 1, [counted(5.0)])
    other(board, 2, [counted(30.0)])
    assert opt_outs(mine) == before + 37
    mine.show(2.0)
    asked = values(board.slot(1).text())
    assert asked["consentgate_opt_outs_total", (("channel", "page"), ("scope", "board"))] >= 35


def test_a_successor_goes_on_counting_where_a_worker_died() -> None:
    board = Board(2)
    other(board, 0, [counted(7.0), ("consentgate_sessions", "gauge", "x", [("consentgate_sessions", {}, 4.0)])])
    board.leave(0)
    asked = board.slot(1)
    sessions = ("consentgate_sessions", ())
    SESSIONS.set(0)
    assert values(asked.text())[sessions] == 0, "who is gone has no sessions"
    gone = opt_outs(asked)
    assert gone >= 7, "and what it counted stays"
    successor = board.slot(0)
    successor.show(3.0)
    rows = {row[0]: row for row in board.rows(0)}
    [value] = [
        v
        for n, labels, v in rows["consentgate_opt_outs"][3]
        if labels == {"channel": "page", "scope": "board"} and n.endswith("_total")
    ]
    assert value == 7, "what this process had counted when it began is not its own"


def test_what_is_said_of_all_and_what_is_said_of_one_process() -> None:
    board = Board(2)
    mine = board.slot(0)
    QUEUE.set(12)
    SESSIONS.set(3)
    memory = ("process_resident_memory_bytes", "gauge", "x", [("process_resident_memory_bytes", {}, 1000.0)])
    other(board, 1, [
        ("consentgate_queue_copies", "gauge", "x", [("consentgate_queue_copies", {}, 11.0)]),
        ("consentgate_sessions", "gauge", "x", [("consentgate_sessions", {}, 4.0)]), memory,
    ])  # fmt: skip
    said = values(mine.text())
    SESSIONS.set(0)
    assert said["consentgate_queue_copies", ()] == 12, "the queue is one, as whoever is asked finds it"
    assert said["consentgate_sessions", ()] == 7
    assert said["process_resident_memory_bytes", (("worker", "1"),)] == 1000
    assert ("process_resident_memory_bytes", (("worker", "0"),)) in said


def test_histograms_add_up_bucket_by_bucket() -> None:
    board = Board(2)
    mine = board.slot(0)
    COPIES.labels("main", "delivered").inc()
    samples = [
        ("consentgate_hand_over_seconds_bucket", {"le": "0.005"}, 2.0),
        ("consentgate_hand_over_seconds_sum", {}, 0.5),
    ]
    before = values(mine.text())
    other(board, 1, [("consentgate_hand_over_seconds", "histogram", "x", samples)])
    after = values(mine.text())
    assert after["consentgate_hand_over_seconds_bucket", (("le", "0.005"),)] == (
        before["consentgate_hand_over_seconds_bucket", (("le", "0.005"),)] + 2
    )
    assert after["consentgate_hand_over_seconds_sum", ()] == before["consentgate_hand_over_seconds_sum", ()] + 0.5


def test_what_a_worker_was_writing_when_it_died_is_not_read() -> None:
    board = Board(2)
    other(board, 1, [counted(5.0)])
    other(board, 1, [counted(6.0)])
    assert board.rows(1) == [counted(6.0)]
    start = board._memory.rfind(b"consentgate_opt_outs_total")
    board._memory[start : start + 4] = b"\0\0\0\0"
    board._memory[board._memory.find(b"consentgate_opt_outs_total")] = 0
    assert board.rows(1) == []
    assert board.rows(0) == [], "nothing was ever shown there"


def test_counters_that_do_not_fit_leave_those_of_before() -> None:
    board = Board(2)
    other(board, 1, [counted(5.0)])
    other(board, 1, [counted(6.0), ("consentgate_x", "gauge", "y" * 300_000, [])])
    assert board.rows(1) == [counted(5.0)]


# which worker takes a connection


LOOPS: tuple[Callable[[], asyncio.AbstractEventLoop], ...] = (asyncio.new_event_loop, uvloop.new_event_loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_that_come_at_once_are_spread(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def story() -> Tally[int]:
        board, taken, held = Board(3), Tally[int](), []
        with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
            clients = [socket.create_connection(listening.getsockname()) for _ in range(60)]  # before anybody accepts

            def worker(index: int) -> Acceptor:
                slot = board.slot(index)

                def take(accepted: socket.socket, address: object) -> None:
                    held.append(accepted)
                    taken[index] += 1
                    slot.put_open("submission", taken[index])

                return Acceptor(listening, take, name="test", ahead=lambda: slot.is_ahead("submission"))

            acceptors = [worker(index) for index in range(3)]
            async with asyncio.timeout(20):
                while taken.total() < len(clients):
                    await asyncio.sleep(0)
            for one in (*acceptors, *clients, *held):
                one.close()
        return taken

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(story()) == {0: 20, 1: 20, 2: 20}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_is_not_left_to_a_worker_that_does_not_come(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def story() -> int:
        board, held = Board(2), []
        slot, _hangs = board.slot(0), board.slot(1)

        def take(accepted: socket.socket, address: object) -> None:
            held.append(accepted)
            slot.put_open("web", len(held))

        with socket.create_server(("127.0.0.1", 0)) as listening:
            acceptor = Acceptor(listening, take, name="test", ahead=lambda: slot.is_ahead("web"))
            clients = [socket.create_connection(listening.getsockname()) for _ in range(5)]
            async with asyncio.timeout(20):
                while len(held) < len(clients):
                    await asyncio.sleep(0)
            for one in (acceptor, *clients, *held):
                one.close()
        return len(held)

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(story()) == 5


def test_nobody_leaves_a_connection_to_a_worker_that_is_gone() -> None:
    board = Board(2)
    first, second = board.slot(0), board.slot(1)
    first.put_open("web", 3)
    second.put_open("web", 1)
    assert first.is_ahead("web") and not second.is_ahead("web")
    board.leave(1)
    assert not first.is_ahead("web")
