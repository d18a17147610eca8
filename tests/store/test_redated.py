"""Copies that were dated by a clock that ran ahead: after it was set back they wait no longer than was meant."""

from dataclasses import replace
from datetime import datetime, timedelta

from gateway.store.contract import Arrival
from gateway.store.sql_store import SqlStore
from tests.store.test_contract import NOW, Home, ending

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


async def deferred(home: Home, store: SqlStore, address: str, decided: datetime, wait: timedelta) -> Arrival:
    """A copy that was tried and waits."""
    arrival = home.arrival(address, state="claimed", worker="w1")
    await store.enqueue(arrival)
    end = ending(arrival, state="queued", due_at=decided + wait)
    await store.finish("w1", [replace(end, ruling=replace(end.ruling, as_of=decided))])
    return arrival


async def claimed(store: SqlStore, at: datetime) -> list[bytes]:
    return [copy.rcpt for copy in await store.claim("w1", "main", now=at, n=99)]


async def test_what_was_dated_ahead_waits_as_long_as_was_meant(home: Home, store: SqlStore) -> None:
    """Not for the time of before, nor do all go at once."""
    for n in range(4):
        await deferred(home, store, f"p{n}@example.org", NOW + DAY, n * 30 * MINUTE)
    assert await claimed(store, NOW + 2 * 60 * MINUTE) == []
    assert await store.redate(NOW) == 4
    assert await store.redate(NOW) == 0, "another worker that saw the clock be set finds it done"
    assert await claimed(store, NOW) == [b"p0@example.org"]
    assert await claimed(store, NOW + 30 * MINUTE) == [b"p1@example.org"]
    assert await claimed(store, NOW + 90 * MINUTE) == [b"p2@example.org", b"p3@example.org"]


async def test_what_was_dated_by_this_time_stays(home: Home, store: SqlStore) -> None:
    """However long it waits, and by a clock of another machine that is a little ahead."""
    await deferred(home, store, "far@example.org", NOW - MINUTE, 40 * DAY)
    await deferred(home, store, "near@example.org", NOW + timedelta(seconds=5), MINUTE)
    assert await store.redate(NOW) == 0
    assert await store.next_due("main") == NOW + timedelta(seconds=65)


async def test_more_than_one_page_and_several_turns(home: Home, store: SqlStore) -> None:
    people = [f"p{n}@example.org" for n in range(620)]
    for campaign in ("spring", "autumn"):
        arrival = home.arrival(*people, state="claimed", worker="w1", campaign=campaign)
        await store.enqueue(arrival)
        ends = [ending(arrival, n, state="queued", due_at=NOW + DAY + MINUTE) for n in range(len(people))]
        ahead = NOW + DAY
        await store.finish("w1", [replace(one, ruling=replace(one.ruling, as_of=ahead)) for one in ends])
    assert await store.redate(NOW) == 2 * len(people)
    assert await store.next_due("main") == NOW + MINUTE


async def test_what_came_in_ahead_has_its_time_from_now_on(home: Home, store: SqlStore) -> None:
    """Else it would be tried for a year and two days."""
    ahead = NOW + 365 * DAY
    arrival = home.arrival("anna@example.org", state="claimed", worker="w1", at=ahead)
    await store.enqueue(arrival)
    end = ending(arrival, state="queued", due_at=ahead + MINUTE, alarm_at=ahead + 2 * DAY)
    await store.finish("w1", [replace(end, ruling=replace(end.ruling, as_of=ahead))])
    assert await store.redate(NOW) == 1
    message = await store.message("acme", arrival.message_id)
    assert message is not None and (message.at, message.released_at) == (ahead, NOW)
    assert await store.claim_overdue("w1", "main", now=NOW + 2 * DAY - MINUTE, n=9) == []
    assert len(await store.claim_overdue("w1", "main", now=NOW + 2 * DAY, n=9)) == 1
