"""Whose copies leave first: service mail before marketing, campaigns in turn, within one the oldest."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.store.arrivals import TURNS, turn_of
from gateway.store.contract import Arrival, ClaimedCopy, Store
from tests.store.places import Place
from tests.store.test_contract import NOW, Home

SERVICE = {"message_class": "transactional"}


@pytest.fixture
def home(place: Place) -> Home:
    return Home(place)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    async with home.opened() as opened:
        yield opened


def campaigns_of(copies: Sequence[ClaimedCopy], arrivals: Sequence[Arrival]) -> Counter[str]:
    names = {arrival.message_id: arrival.campaign for arrival in arrivals}
    return Counter(names[copy.message_id] for copy in copies)


def several(home: Home, campaign: str, n: int, **changes: object) -> list[Arrival]:
    return [home.arrival(f"{campaign}{i}@example.org", campaign=campaign, **changes) for i in range(n)]


async def test_service_mail_passes_a_campaign_and_leaves_it_a_fourth(home: Home, store: Store) -> None:
    large = several(home, "large", 60)
    orders = several(home, "orders", 60, kind=SERVICE)
    await store.enqueue(*large)
    await store.enqueue(
        *(replace(one, copies=[replace(one.copies[0], due_at=NOW + timedelta(seconds=9))]) for one in orders)
    )
    later = NOW + timedelta(seconds=10)
    taken = campaigns_of(await store.claim("w1", "main", now=later, n=16), [*large, *orders])
    assert taken == {"orders": 12, "large": 4}
    assert (await store.claim("w1", "main", now=NOW, n=16))[0].message_id == large[4].message_id, "not due yet"


async def test_a_large_campaign_does_not_delay_the_others(home: Home, store: Store) -> None:
    large, small, third = several(home, "large", 80), several(home, "small", 6), several(home, "third", 6)
    assert len({turn_of(one[0]) for one in (large, small, third)}) == 3
    await store.enqueue(*large, *small, *third)
    first, second = [
        campaigns_of(await store.claim("w1", "main", now=NOW, n=18), [*large, *small, *third]) for _ in range(2)
    ]
    assert min(first.values()) == 6 and set(first) == {"large", "small", "third"}
    assert second == {"large": 18}


async def test_turns_go_on_where_they_stopped(home: Home, store: Store) -> None:
    """With more campaigns than a claim takes, each is served before one is served again."""
    arrivals = [one for n in range(12) for one in several(home, f"c{n}", 8)]
    await store.enqueue(*arrivals)
    turns = {turn_of(one) for one in arrivals}
    served: list[int] = []
    while len(set(served)) < len(turns):
        copies = await store.claim("w1", "main", now=NOW, n=4)
        served += {turn_of(one) for one in arrivals for copy in copies if copy.message_id == one.message_id}
    assert len(served) == len(set(served))


async def test_turns_are_few_and_service_mail_has_the_lower_ones(home: Home) -> None:
    marketing = {turn_of(home.arrival("a@example.org", campaign=f"c{n}")) for n in range(2000)}
    service = {turn_of(home.arrival("a@example.org", campaign=f"c{n}", kind=SERVICE)) for n in range(2000)}
    assert service == set(range(TURNS)) and marketing == set(range(TURNS, 2 * TURNS))


async def test_what_is_overdue_is_claimed_whatever_its_next_try(home: Home, store: Store) -> None:
    arrival = home.arrival("anna@example.org", "bea@example.org")
    late = [
        replace(arrival.copies[0], due_at=NOW + timedelta(days=9), alarm_at=NOW + timedelta(hours=4)),
        replace(arrival.copies[1], alarm_at=NOW + timedelta(hours=5)),
    ]
    await store.enqueue(replace(arrival, copies=late))
    assert await store.claim_overdue("w1", "main", now=NOW + timedelta(hours=3), n=9) == []
    assert await store.claim_overdue("w1", "other", now=NOW + timedelta(days=3), n=9) == []
    [copy] = await store.claim_overdue("w1", "main", now=NOW + timedelta(hours=4), n=9)
    assert (copy.copy_no, copy.due_at, copy.decided_at) == (0, NOW + timedelta(days=9), NOW)
