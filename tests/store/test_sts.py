"""MTA-STS policies: the last one of a domain until it ends, and not more than so many."""

from datetime import UTC, datetime, timedelta

from gateway.store.sts import SealedPolicy
from tests.store.places import Place
from tests.store.test_contract import Home

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


def policy(name: bytes, *, sealed: bytes = b"x", minutes: int = 0, hours: int = 24) -> SealedPolicy:
    fetched_at = NOW + timedelta(minutes=minutes)
    return SealedPolicy(name=name, sealed=sealed, fetched_at=fetched_at, ends_at=fetched_at + timedelta(hours=hours))


async def test_the_last_one_holds_until_it_ends(place: Place) -> None:
    home = Home(place)
    async with home.opened() as store, home.opened() as other:
        assert await store.sts_policy(b"a", now=NOW) is None
        await store.keep_sts_policy(policy(b"a"))
        await store.keep_sts_policy(newer := policy(b"a", sealed=b"y", minutes=5))
        assert await other.sts_policy(b"a", now=newer.ends_at - timedelta(milliseconds=1)) == newer
        assert await other.sts_policy(b"a", now=newer.ends_at) is None
        assert await other.sts_policy(b"b", now=NOW) is None


async def test_what_ended_goes_and_of_the_others_the_oldest(place: Place) -> None:
    async with Home(place).opened() as store:
        ended = policy(b"ended", minutes=9, hours=1)
        some = [policy(bytes([n]), minutes=n) for n in range(5)]
        for one in (ended, *some):
            await store.keep_sts_policy(one)

        async def left() -> list[SealedPolicy]:
            found = [await store.sts_policy(one.name, now=NOW) for one in (ended, *some)]
            return [one for one in found if one is not None]

        await store.forget_sts_policies(now=ended.ends_at - timedelta(seconds=1), most=6)
        assert await left() == [ended, *some]
        await store.forget_sts_policies(now=ended.ends_at, most=6)
        assert await left() == some
        await store.forget_sts_policies(now=NOW, most=2)
        assert await left() == some[3:]
