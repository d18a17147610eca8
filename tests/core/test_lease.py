"""A worker's lease, and when others find that it is over: counted in seconds, for clocks jump and differ."""

from datetime import UTC, datetime, timedelta

from gateway.backoff import Backoff
from gateway.lease import Lease, Watch
from gateway.store.contract import Holder

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SURE, LENGTH = timedelta(seconds=11), timedelta(seconds=20)


class Seconds:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def renew(lease: Lease) -> None:
    lease.begin()
    lease.took()


def test_nothing_is_held_before_the_first_renewal_is_written() -> None:
    lease = Lease(SURE, Seconds())
    assert not lease.holds() and not lease.lapsed
    lease.begin()
    assert not lease.holds()
    lease.took()
    assert lease.holds()


def test_nothing_is_begun_once_two_renewals_were_missed() -> None:
    """As when the server only reads by now, since another is the primary: what people say there is not seen here."""
    seconds = Seconds()
    lease = Lease(SURE, seconds)
    renew(lease)
    seconds.pass_(5)
    lease.begin()  # and is not written
    seconds.pass_(5.9)
    assert lease.holds()
    seconds.pass_(0.1)
    assert not lease.holds()
    lease.begin()
    assert lease.lapsed, "others may have what was claimed"
    lease.took()
    assert lease.holds()
    seconds.pass_(5)
    lease.begin()
    assert not lease.lapsed


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    """The commit of it took so long that the others already wait."""
    seconds = Seconds()
    lease = Lease(SURE, seconds)
    renew(lease)
    seconds.pass_(5)
    lease.begin()
    seconds.pass_(12)
    lease.took()
    assert not lease.holds()


def test_a_lease_that_stays_as_it_is_for_its_length_is_over_whatever_time_stands_in_it() -> None:
    seconds = Seconds()
    watch = Watch(LENGTH, seconds)
    ahead, behind = Holder("a", START + timedelta(days=365)), Holder("b", START - timedelta(days=365))
    for _ in range(4):
        assert watch.over([ahead, behind]) == []
        seconds.pass_(5)
    assert watch.over([ahead, behind]) == [ahead, behind]


def test_a_lease_that_is_renewed_is_not_over_whatever_time_stands_in_it() -> None:
    """Nor by a clock that goes back at each renewal."""
    seconds = Seconds()
    watch = Watch(LENGTH, seconds)
    for n in range(20):
        assert watch.over([Holder("a", START - n * timedelta(hours=1))]) == []
        seconds.pass_(5)


def test_who_did_not_look_for_a_while_watches_anew() -> None:
    """The database was away, this process stood still or its machine slept: the others' renewals may be missing too."""
    seconds = Seconds()
    watch = Watch(LENGTH, seconds)
    dead = Holder("a", START)
    assert watch.over([dead]) == []
    seconds.pass_(3600)
    for _ in range(4):
        assert watch.over([dead]) == []
        seconds.pass_(5)
    assert watch.over([dead]) == [dead]


def test_who_has_no_lease_holds_nothing() -> None:
    nobody = Holder("a", None)
    assert Watch(LENGTH, Seconds()).over([nobody]) == [nobody]


def test_a_pause_after_wrong_passwords_is_not_longer_when_the_clock_goes_back() -> None:
    backoff, now = Backoff(free=0), START
    for _ in range(4):
        backoff.failed("a", now)
    assert backoff.wait("a", now) == timedelta(seconds=8)
    now -= timedelta(hours=1)
    assert backoff.wait("a", now) == timedelta(seconds=8)
    assert backoff.wait("a", now + timedelta(seconds=5)) == timedelta(seconds=3)
    assert backoff.wait("a", now + timedelta(seconds=8)) == timedelta(0)
