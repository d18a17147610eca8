"""The clock of the machine is set while mail waits, forward and back: nothing waits for ever, nothing ends too soon."""

import contextlib
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from tests.installation import Installation, consent, newsletter
from tests.peers import ScriptedPeer
from tests.story.at_work import Working, at_work
from tests.story.relay import fresh, load
from tests.story.test_hand_over import PEOPLE, working

DAY, YEAR = timedelta(days=1), timedelta(days=365)
LATER, TAKEN = "451 4.7.1 later", "250 ok"


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """A fresh example installation with some people on file."""
    new = fresh(made, tmp_path / "installation")
    load(new, "consents", [consent(address) for address in PEOPLE[:6]])
    return new


def states(work: Working) -> set[tuple[str, int]]:
    return {copy[:2] for copy in work.copies()}


async def test_mail_does_not_wait_for_the_time_of_a_clock_that_was_set_back(installation: Installation) -> None:
    """Nor does all of it go at once: each copy waits for as long as was meant."""
    people = PEOPLE[:6]
    async with (
        ScriptedPeer({"RCPT": [LATER] * len(people) + [TAKEN]}) as peer,
        working(installation, peer.port) as work,
    ):
        await work.step(YEAR)
        await work.send(people, newsletter("vooruit"))
        await work.until(lambda: states(work) == {("queued", 1)})
        assert all(due > work.clock.now for _, _, due, _ in work.copies() if due is not None)
        await work.step(-YEAR)
        waits = {due - work.clock.now for _, _, due, _ in work.copies() if due is not None}
        assert timedelta(0) < min(waits) and max(waits) < timedelta(minutes=2) and len(waits) > 1
        await work.pass_time(timedelta(minutes=2))
        await work.until(lambda: states(work) == {("delivered", 2)})


async def test_mail_that_came_in_while_the_clock_was_ahead_is_given_up_like_any(installation: Installation) -> None:
    async with ScriptedPeer({"RCPT": LATER}) as peer, working(installation, peer.port) as work:
        await work.step(YEAR)
        await work.send(PEOPLE[0], newsletter("vooruit"))
        await work.until(lambda: states(work) == {("queued", 1)})
        await work.step(-YEAR)
        await work.pass_time(2 * DAY + timedelta(minutes=1))
        await work.until(lambda: ("failed", 2) in states(work))


async def test_a_clock_that_is_a_year_ahead_for_a_moment_ends_no_mail(installation: Installation) -> None:
    """It is tried once more at most: it seems to be due."""
    async with ScriptedPeer({"RCPT": [LATER, LATER, TAKEN]}) as peer, working(installation, peer.port) as work:
        await work.send(PEOPLE[0], newsletter("geduld"))
        await work.until(lambda: states(work) == {("queued", 1)})
        await work.step(YEAR)
        await work.worker._deliver.look_at_overdue()
        work.worker._deliver.wake("main")
        await work.until(lambda: states(work) == {("queued", 2)})
        await work.worker._deliver.look_at_overdue()
        assert states(work) == {("queued", 2)}
        await work.step(-YEAR)
        await work.pass_time(timedelta(minutes=5))
        await work.until(lambda: states(work) == {("delivered", 3)})


async def test_a_clock_that_stands_by_it_ends_what_is_too_old(installation: Installation) -> None:
    async with ScriptedPeer({"RCPT": LATER}) as peer, working(installation, peer.port) as work:
        await work.send(PEOPLE[0], newsletter("te oud"))
        await work.until(lambda: states(work) == {("queued", 1)})
        await work.step(YEAR)
        await work.until(lambda: states(work) == {("queued", 2)})
        await work.pass_time(timedelta(hours=1))
        await work.worker._deliver.look_at_overdue()
        await work.until(lambda: ("failed", 2) in states(work) or ("failed", 3) in states(work))


async def test_mail_is_tried_after_an_absence_before_its_time_is_over(installation: Installation) -> None:
    """The machine was off for a week."""
    async with ScriptedPeer({"RCPT": [LATER, TAKEN]}) as peer:
        async with working(installation, peer.port) as work:
            await work.send(PEOPLE[0], newsletter("een week uit"))
            await work.until(lambda: states(work) == {("queued", 1)})
        async with at_work(installation, ahead=7 * DAY) as work:
            await work.until(lambda: states(work) != {("queued", 1)})
            await work.until(lambda: states(work) == {("delivered", 2)})


async def test_a_start_puts_right_what_was_dated_before_the_clock_was(installation: Installation) -> None:
    """A machine whose clock was a year ahead, and was put right while it started again."""
    async with ScriptedPeer({"RCPT": [LATER, TAKEN]}) as peer:
        async with working(installation, peer.port) as work:
            await work.step(YEAR)
            await work.send(PEOPLE[0], newsletter("verkeerd gezet"))
            await work.until(lambda: states(work) == {("queued", 1)})
        async with at_work(installation) as work:
            await work.look()
            await work.pass_time(timedelta(minutes=2))
            await work.until(lambda: states(work) == {("delivered", 2)})


async def test_a_start_takes_back_its_own_copies_and_those_of_others_when_their_lease_is_over(
    installation: Installation,
) -> None:
    """Whatever time of day stands in their lease. Two workers' claims, as killed processes leave them."""
    async with ScriptedPeer({"RCPT": [LATER] * 4 + [TAKEN]}) as peer:
        async with working(installation, peer.port) as work:
            await work.send(PEOPLE[:4], newsletter("blijft liggen"))
            await work.until(lambda: states(work) == {("queued", 1)})
        with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db, db:
            db.execute(
                "UPDATE copies SET state = 'claimed', due_at = 0,"
                " worker = CASE WHEN copy_no < 2 THEN 'test-0' ELSE 'other-0' END"
            )
            db.execute("INSERT INTO workers (worker, lease_until) VALUES ('other-0', 0)")
        async with at_work(installation) as work:
            await work.until(lambda: [copy[0] for copy in work.copies()] == ["delivered"] * 2 + ["claimed"] * 2)
            for _ in range(5):
                assert len(peer.transactions) == 2, "it may be about to renew"
                await work.pass_time(timedelta(seconds=5))
            await work.until(lambda: {copy[0] for copy in work.copies()} == {"delivered"})


async def test_nothing_is_swept_by_a_clock_that_is_a_year_ahead_for_a_moment(installation: Installation) -> None:
    async with at_work(installation) as work:
        await work.send(PEOPLE[0], newsletter("opgevangen"))
        await work.until(lambda: states(work) == {("captured", 1)})
        await work.step(YEAR)
        await work.worker._do_what_is_due(sweep=True)
        assert states(work) == {("captured", 1)}
        await work.step(-YEAR)
        await work.worker._do_what_is_due(sweep=True)
        assert states(work) == {("captured", 1)}
        await work.pass_time(timedelta(days=6))
        await work.worker._do_what_is_due(sweep=True)
        assert states(work) == {("dropped", 1)}
