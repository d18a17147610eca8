"""What is asked about those whose copies leave next, and how long an answer serves: gateway/look.py on a real store."""

from types import SimpleNamespace
from typing import cast

import pytest

from gateway.look import LOOK_SECONDS, Looks
from gateway.parcel import CHECK_AGE, Parcel
from gateway.store.sql_store import SqlStore
from tests.store.test_contract import Home, stop


def copy(home: Home, address: str) -> Parcel:
    return cast(Parcel, SimpleNamespace(who=home.who(address), seen=None, asked=0.0))


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("gateway.look.seconds_passed", made)
    return made


async def test_an_answer_serves_no_longer_than_a_quarter_of_what_p3_allows(
    home: Home, store: SqlStore, clock: Clock
) -> None:
    anna, bea = copy(home, "anna@example.org"), copy(home, "bea@example.org")
    looks = Looks(store, [bea])
    assert not (await looks(anna)).person.suppressions
    assert bea.seen is not None and bea.seen.asked == 100.0
    await store.opt_out(*stop(home, "bea@example.org", None), None)
    clock.at += LOOK_SECONDS - 1 / 32
    assert (await looks(bea)).asked == 100.0
    clock.at += 1 / 32
    found = await looks(bea)
    assert found.asked == clock.at and [one.scope for one in found.person.suppressions] == ["sender"]
    assert CHECK_AGE.total_seconds() >= 4 * LOOK_SECONDS


async def test_more_are_asked_about_where_answers_are_of_use_and_nobody_twice(
    home: Home, store: SqlStore, clock: Clock
) -> None:
    copies = [copy(home, f"p{n}@example.org") for n in range(20)]
    ready = copies[1:]
    looks = Looks(store, ready)

    async def leaves() -> int:
        """One copy leaves; of how many of the others something is known then."""
        leaving = copies.pop(0)
        ready[:] = copies
        await looks(leaving)
        return sum(one.seen is not None and clock.at - one.seen.asked < LOOK_SECONDS for one in ready)

    assert [await leaves() for _ in range(7)] == [1, 0, 3, 2, 1, 0, 7]
    clock.at += LOOK_SECONDS
    assert await leaves() == 1, "copies leave slowly: what was asked ahead was of no use"
    assert await leaves() == 0


async def test_what_was_asked_for_together_is_known_of_each(home: Home, store: SqlStore, clock: Clock) -> None:
    await store.record([home.consent("anna@example.org")])
    both = [copy(home, "anna@example.org"), copy(home, "bea@example.org")]
    assert [person.standing.known for person in await Looks(store, ()).together(both)] == [True, False]
    assert [one.seen is not None and one.seen.person.standing.known for one in both] == [True, False]
