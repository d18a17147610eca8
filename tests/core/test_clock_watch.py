"""The time of day, held against seconds that only grow: set forward, set back, and found again after an absence."""

import time
from datetime import UTC, datetime, timedelta

from gateway.clock_watch import BELIEVED_AFTER, STEP, ClockWatch, seconds_passed

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
YEAR, HOUR = timedelta(days=365), timedelta(hours=1)


class Clocks:
    """Both clocks, and what the watch said of them."""

    def __init__(self) -> None:
        self.now, self.seconds = START, 1000.0
        self.steps: list[timedelta] = []
        self.watch = ClockWatch(lambda: self.now, lambda: self.seconds, stepped=self.steps.append)

    def pass_(self, time: timedelta) -> None:
        self.now += time
        self.seconds += time.total_seconds()


def test_time_that_passes_is_believed_however_long_nobody_looked() -> None:
    """A machine that slept: its seconds went on, where the platform has a clock that counts them."""
    clocks = Clocks()
    clocks.pass_(YEAR)
    assert clocks.watch.believed and not clocks.watch.went_back() and clocks.steps == []


def test_a_clock_that_was_set_forward_is_believed_once_it_stood_by_it_for_an_hour() -> None:
    clocks = Clocks()
    clocks.pass_(HOUR)
    clocks.now += YEAR
    assert not clocks.watch.believed and not clocks.watch.went_back()
    clocks.pass_(BELIEVED_AFTER - timedelta(seconds=1))
    assert not clocks.watch.believed
    clocks.pass_(timedelta(seconds=1))
    assert clocks.watch.believed
    assert clocks.steps == [YEAR]


def test_a_clock_that_was_ahead_for_a_moment_went_back() -> None:
    clocks = Clocks()
    clocks.now += YEAR
    assert not clocks.watch.believed
    clocks.now -= YEAR
    assert clocks.watch.went_back() and not clocks.watch.went_back(), "it is told once"
    assert clocks.steps == [YEAR, -YEAR]


def test_a_clock_that_was_set_back_is_believed() -> None:
    """What is over by an earlier time is over."""
    clocks = Clocks()
    clocks.now -= HOUR
    assert clocks.watch.believed
    assert clocks.watch.went_back()


def test_a_clock_that_is_slewed_did_not_step() -> None:
    clocks = Clocks()
    for by in (STEP / 2, -STEP / 2) * 5:
        clocks.pass_(timedelta(seconds=5))
        clocks.now += by
        assert clocks.watch.believed and not clocks.watch.went_back()
    assert clocks.steps == []


def test_after_an_absence_mail_has_an_hour_before_its_time_is_over() -> None:
    for away, believed in ((BELIEVED_AFTER, True), (BELIEVED_AFTER + timedelta(seconds=1), False), (YEAR, False)):
        clocks = Clocks()
        clocks.watch.since(START - away)
        assert clocks.watch.believed == believed
        clocks.pass_(HOUR)
        assert clocks.watch.believed and not clocks.watch.went_back()


def test_a_start_before_the_end_of_the_last_run_is_a_clock_that_went_back() -> None:
    for ahead, back in ((STEP, False), (STEP + timedelta(seconds=1), True), (YEAR, True)):
        clocks = Clocks()
        clocks.watch.since(START + ahead)
        assert clocks.watch.went_back() == back and clocks.watch.believed


def test_seconds_count_the_sleep_of_the_machine() -> None:
    """On Linux; elsewhere the monotonic clock has to do."""
    assert time.clock_gettime(time.CLOCK_BOOTTIME) <= seconds_passed() <= time.clock_gettime(time.CLOCK_BOOTTIME)
