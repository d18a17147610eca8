"""Turns of a pace: whoever asks, from whatever process, gets the time behind what others took."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.store.places import Place
from tests.store.test_contract import Home

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SPAN, FAR = timedelta(milliseconds=250), timedelta(minutes=1)


async def test_spans_follow_each_other_and_paces_are_apart(place: Place) -> None:
    async with Home(place).opened() as store:
        got = [await store.reserve_turns(b"a", now=NOW, span=SPAN, most=FAR) for _ in range(3)]
        assert got == [NOW, NOW + SPAN, NOW + 2 * SPAN]
        assert await store.reserve_turns(b"b", now=NOW, span=SPAN, most=FAR) == NOW
        later = NOW + timedelta(seconds=5)
        assert await store.reserve_turns(b"a", now=later, span=SPAN, most=FAR) == later  # what passed is lost


async def test_nobody_gets_the_time_of_another_process(place: Place) -> None:
    home = Home(place)
    span = timedelta(microseconds=500)
    async with home.opened() as one, home.opened() as two:
        got = await asyncio.gather(
            *(store.reserve_turns(b"a", now=NOW, span=span, most=FAR) for store in (one, two) * 20)
        )
    assert sorted(got) == [NOW + n * span for n in range(40)]


async def test_a_clock_that_was_set_back_holds_nobody_up(place: Place) -> None:
    async with Home(place).opened() as store:
        await store.reserve_turns(b"a", now=NOW + timedelta(hours=1), span=SPAN, most=FAR)
        assert await store.reserve_turns(b"a", now=NOW, span=SPAN, most=FAR) == NOW
        assert await store.reserve_turns(b"a", now=NOW, span=SPAN, most=FAR) == NOW + SPAN


async def test_a_pace_nobody_uses_is_forgotten(place: Place) -> None:
    async with Home(place).opened() as store:
        for name in (b"a", b"b"):
            await store.reserve_turns(name, now=NOW, span=SPAN, most=FAR)
        await store.reserve_turns(b"b", now=NOW + FAR, span=SPAN, most=FAR)
        await store.forget_paces(before=NOW + timedelta(seconds=30))
        assert await store.reserve_turns(b"a", now=NOW, span=SPAN, most=FAR) == NOW
        assert await store.reserve_turns(b"b", now=NOW, span=SPAN, most=2 * FAR) == NOW + FAR + SPAN
