"""A worker's lease when the time of day jumps: forward a day, back an hour, and while the database is away."""

from datetime import UTC, datetime, timedelta

from gateway.backoff import Backoff
from gateway.lease import JUMP, Lease

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LENGTH, SPARE = timedelta(seconds=20), timedelta(seconds=1)


class Clocks:
    """The time of day, and seconds that never jump."""

    def __init__(self) -> None:
        self.now, self.seconds = START, 1000.0
        self.lease = Lease(LENGTH, SPARE, lambda: self.now, lambda: self.seconds)
        self.renew()

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    def renew(self) -> datetime:
        until = self.lease.begin()
        self.lease.took(until)
        return until

    def holds(self) -> bool:
        return self.lease.holds(self.now)


def test_a_lease_holds_until_shortly_before_its_end() -> None:
    clocks = Clocks()
    clocks.pass_(18.9)
    assert clocks.holds() and clocks.lease.may_judge()
    clocks.pass_(0.1)
    assert not clocks.holds()
    assert clocks.renew() == clocks.now + LENGTH
    assert clocks.holds()


def test_a_step_forward_ends_our_lease_and_we_judge_nobody_for_a_while() -> None:
    """Others have not renewed yet: what they hold looks run out, and is being sent."""
    clocks = Clocks()
    clocks.pass_(5)
    clocks.now += timedelta(days=1)
    assert not clocks.holds(), "another may think so too"
    clocks.renew()
    assert clocks.holds() and not clocks.lease.may_judge()
    for _ in range(3):
        clocks.pass_(5)
        clocks.renew()
        assert not clocks.lease.may_judge()
    clocks.pass_(5)
    clocks.renew()
    assert clocks.lease.may_judge(), "by now everybody who lives has renewed"


def test_who_lost_its_lease_judges_nobody_until_everybody_could_renew() -> None:
    """The database was away for half a minute: the leases of all ran out, and all of them still send."""
    clocks = Clocks()
    clocks.pass_(30)
    clocks.renew()
    assert clocks.holds() and not clocks.lease.may_judge()
    for _ in range(3):
        clocks.pass_(5)
        clocks.renew()
        assert not clocks.lease.may_judge()
    clocks.pass_(5)
    assert clocks.lease.may_judge()


def test_a_step_back_does_not_make_a_lease_longer() -> None:
    """The database is away, the clock goes back an hour: by the time of day the lease would hold for that hour."""
    clocks = Clocks()
    clocks.now -= timedelta(hours=1)
    clocks.pass_(18.9)
    assert clocks.holds()
    clocks.pass_(0.1)
    assert not clocks.holds()
    clocks.renew()
    assert clocks.holds() and not clocks.lease.may_judge()


def test_a_clock_that_is_slewed_is_no_jump() -> None:
    clocks = Clocks()
    for _ in range(10):
        clocks.pass_(5)
        clocks.now += JUMP / 2
        clocks.renew()
        assert clocks.lease.may_judge()


def test_a_lease_that_was_not_written_is_none() -> None:
    clocks = Clocks()
    clocks.pass_(10)
    clocks.lease.begin()
    clocks.pass_(9)
    assert not clocks.holds()


def test_a_pause_after_wrong_passwords_is_not_longer_when_the_clock_goes_back() -> None:
    backoff, now = Backoff(free=0), START
    for _ in range(4):
        backoff.failed("a", now)
    assert backoff.wait("a", now) == timedelta(seconds=8)
    now -= timedelta(hours=1)
    assert backoff.wait("a", now) == timedelta(seconds=8)
    assert backoff.wait("a", now + timedelta(seconds=5)) == timedelta(seconds=3)
    assert backoff.wait("a", now + timedelta(seconds=8)) == timedelta(0)
