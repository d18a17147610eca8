"""A rate holds however many workers share it, evenly, and no turns are kept for nothing. Time is made, not waited."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from gateway.outbound.pace import Pace


class _Skips(selectors.SelectSelector):
    """Waiting for nothing but time takes none: the clock is put forward instead."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skips = _Skips()
        super().__init__(self.skips)

    def time(self) -> float:
        return self.skips.now


def in_made_time(work: Coroutine[Any, Any, None]) -> None:
    loop = _Loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


class Row:
    """What the store keeps of a pace: up to where its turns are taken, and how often it was asked."""

    def __init__(self) -> None:
        self.until = 0.0
        self.asked = 0

    async def reserve(self, span: timedelta, most: timedelta) -> float:
        now = asyncio.get_running_loop().time()
        begins = max(now, self.until)
        self.until = begins + span.total_seconds()
        self.asked += 1
        return begins - now


async def use(pace: Pace, seconds: float, used: list[float], *, every: float = 0.0) -> None:
    """Take turns for so long, one after another; `every`: with so many seconds of other work after each."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await pace.turn()
        used.append(loop.time())
        await asyncio.sleep(every)


@pytest.mark.parametrize("rate", [0.5, 3, 40, 1000])
@pytest.mark.parametrize("sessions", [1, 10])
def test_turns_come_evenly_and_the_store_is_asked_for_slices(rate: float, sessions: int) -> None:
    async def work() -> None:
        row, used = Row(), list[float]()
        pace = Pace(rate, row.reserve)
        async with asyncio.TaskGroup() as group:
            for _ in range(sessions):
                group.create_task(use(pace, 20, used))
        first, *_ = used = sorted(used)
        for number, at in enumerate(used):
            assert at >= first + number / rate - 0.001  # never early
        within = sum(at < first + 10 for at in used)
        assert 10 * rate * 0.95 - 1 <= within <= 10 * rate + 1
        assert row.asked <= max(len(used), 1) and row.asked < 20 * 5 + 20

    in_made_time(work())


@pytest.mark.parametrize("workers", [2, 5])
def test_the_rate_holds_for_all_workers_together_and_each_gets_turns(workers: int) -> None:
    async def work() -> None:
        row, used = Row(), [list[float]() for _ in range(workers)]
        async with asyncio.TaskGroup() as group:
            for mine in used:
                pace = Pace(20, row.reserve)
                for _ in range(4):
                    group.create_task(use(pace, 30, mine))
        together = sorted(at for mine in used for at in mine)
        start = together[0]
        for second in range(0, 28, 4):
            assert sum(start + second <= at < start + second + 4 for at in together) <= 80 + 5
        assert len([at for at in together if at < start + 20]) >= 380
        assert min(map(len, used)) > 0.5 * max(map(len, used))

    in_made_time(work())


def test_nothing_is_saved_up_while_nobody_asks() -> None:
    async def work() -> None:
        row, used = Row(), list[float]()
        pace = Pace(10, row.reserve)
        await use(pace, 2, used)
        await asyncio.sleep(60)
        used.clear()
        await use(pace, 2, used)
        assert len(used) <= 21

    in_made_time(work())


def test_a_worker_with_little_mail_leaves_the_turns_to_the_others() -> None:
    async def work() -> None:
        row, busy, idle = Row(), list[float](), list[float]()
        async with asyncio.TaskGroup() as group:
            group.create_task(use(Pace(100, row.reserve), 20, busy))
            group.create_task(use(Pace(100, row.reserve), 20, idle, every=1.0))
        assert len(idle) >= 18
        assert len(busy) >= 1800

    in_made_time(work())


def test_a_store_that_fails_is_told_and_the_next_turn_asks_again() -> None:
    async def work() -> None:
        row, fails = Row(), [True]

        async def reserve(span: timedelta, most: timedelta) -> float:
            if fails.pop() if fails else False:
                raise ConnectionError
            return await row.reserve(span, most)

        pace = Pace(5, reserve)
        with pytest.raises(ConnectionError):
            await pace.turn()
        await pace.turn()
        assert row.asked == 1

    in_made_time(work())


def test_a_clock_that_is_set_back_while_turns_are_taken_holds_nobody_up() -> None:
    """The store answers by the clock of before, and the time until then is counted from the clock of after."""

    async def work() -> None:
        async def reserve(span: timedelta, most: timedelta) -> float:
            return timedelta(days=365).total_seconds()

        await Pace(1000, reserve).turn()
        assert asyncio.get_running_loop().time() - _Skips.now <= 60

    in_made_time(work())
