"""The door for what comes back, with the real store and a clock of its own: what counts, what is kept, for how long."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app import opened_store
from gateway.config import Config
from gateway.heed import Known, Noted, heed, keep_returned
from gateway.keys import key_ring, token_keys
from gateway.mail.event import Event, Recipient
from gateway.store.contract import Act, Person, Store
from gateway.who import whose
from tests.installation import ANNA, Installation, consent
from tests.story.relay import config_of, fresh, load, with_store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)
T = TypeVar("T")


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    new = fresh(made, tmp_path / "installation")
    load(new, "consents", [consent(ANNA)])
    return new


class Door:
    """`heed` for hooks of acme, and what stands then of one person."""

    def __init__(self, store: Store, config: Config, address: str = ANNA) -> None:
        ring = key_ring(config)
        self.store, self.ring, self.address = store, ring, address
        self.known = Known(config=config, ring=ring, tokens=token_keys(ring))

    async def __call__(self, event: Event, now: datetime) -> Noted:
        [noted] = await heed(self.store, event, known=self.known, controller_id="acme", now=now)
        return noted

    async def person(self) -> Person:
        [found] = await self.store.people([whose(self.ring, "acme", self.address)])
        return found

    async def dead(self) -> bool:
        return (await self.person()).standing.recipient.undeliverable


def through(installation: Installation, work: Callable[[Door], Awaitable[T]]) -> T:
    return with_store(installation, lambda store, config: work(Door(store, config)))


def hook(kind: str = "bounce", *, event_id: str, at: datetime = NOW, **changes: object) -> Event:
    """An event of a hook that was authenticated."""
    told = Recipient(
        address=ANNA, action="failed", status="5.1.1", bounce_class="hard", reason="unknown-user", undeliverable=True,
        diagnostic="550 5.1.1 unknown",
    )  # fmt: skip
    event = Event(kind=kind, source="ses", at=at, recipients=(told,), authenticated=True, event_id=event_id)  # type: ignore[arg-type]
    return replace(event, **changes)  # type: ignore[arg-type]


def test_hooks_that_name_no_mail_mark_on_two_days_and_not_on_one(installation: Installation) -> None:
    async def work(door: Door) -> None:
        assert (await door(hook(event_id="a"), NOW)).effect == "noted"
        assert (await door(hook(event_id="b"), NOW)).effect == "noted"
        assert (await door(hook(event_id="a", at=NOW + DAY), NOW + DAY)).effect == "repeat"
        assert not await door.dead()
        assert (await door(hook(event_id="c", at=NOW + DAY), NOW + DAY)).effect == "undeliverable"
        assert await door.dead()

    through(installation, work)


def test_a_first_report_waits_half_a_year_for_a_second(installation: Installation) -> None:
    async def work(door: Door) -> None:
        await door(hook(event_id="a"), NOW)
        late = NOW + timedelta(days=181)
        assert (await door(hook(event_id="b", at=late), late)).effect == "noted"
        assert not await door.dead()

    through(installation, work)


def test_nothing_unauthenticated_counts(installation: Installation) -> None:
    async def work(door: Door) -> None:
        for number in range(3):
            at = NOW + number * DAY
            forged = hook(event_id=f"f{number}", at=at, authenticated=False)
            assert (await door(forged, at)).effect == "unread"
            complaint = hook("complaint", event_id=f"c{number}", at=at, authenticated=False, feedback_type="abuse")
            assert (await door(complaint, at)).effect == "task"
        assert not await door.dead() and not (await door.person()).suppressions

    through(installation, work)


def test_complaints_and_opt_outs_of_a_provider_stop_the_sender(installation: Installation) -> None:
    async def work(door: Door) -> None:
        assert (await door(hook("complaint", event_id="c", feedback_type="abuse"), NOW)).effect == "stopped"
        [one] = (await door.person()).suppressions
        assert (one.scope, one.reason) == ("sender", "complaint")
        assert (await door(hook("unsubscribe", event_id="u"), NOW)).effect == "stopped"
        assert {one.reason for one in (await door.person()).suppressions} == {"complaint", "unsubscribe"}

    through(installation, work)


def test_rows_go_after_24_months_and_the_mark_stays(installation: Installation) -> None:
    async def work(door: Door) -> None:
        for number in range(2):
            await door(hook(event_id=str(number), at=NOW + number * DAY), NOW + number * DAY)
        assert len(await door.store.came_back("acme", n=9)) == 2
        today = datetime.now(UTC)
        await keep_returned(door.store, today)
        assert len(await door.store.came_back("acme", n=9)) == 2
        await keep_returned(door.store, today + timedelta(days=733))
        assert await door.store.came_back("acme", n=9) == []
        assert await door.dead()

    through(installation, work)


def test_the_words_of_others_are_sealed_at_rest(installation: Installation) -> None:
    through(installation, lambda door: door(hook(event_id="a"), NOW))
    for file in installation.dir.glob("consentgate.db*"):
        assert b"550 5.1.1 unknown" not in file.read_bytes() and ANNA.encode() not in file.read_bytes()


def test_a_confirmed_sign_up_proves_that_the_address_works(installation: Installation) -> None:
    async def work(door: Door) -> None:
        for number in range(2):
            await door(hook(event_id=str(number), at=NOW + number * DAY), NOW + number * DAY)
        person = await door.person()
        assert person.standing.recipient.undeliverable
        asked = {
            **person.standing.consents[0].to_dict(), "id": "new",
            "double_opt_in": {
                "required": True, "requested_at": "2026-11-23T11:00:00Z", "confirmed_at": None, "mails_sent": 0,
            },
        }  # fmt: skip
        entries = (("opt_in_requested", asked), ("opt_in_confirmed", {"id": "new", "at": "2026-11-24T11:00:00Z"}))
        await door.store.record([
            Act(
                controller_id="acme", recipient_key=person.recipient_key, kind=kind, public={}, private=said,
                at=NOW + 2 * DAY,
            )
            for kind, said in entries
        ])  # fmt: skip
        assert not await door.dead()
        page = await door.store.rebuild("acme", after=b"", n=10, write=False)
        assert page.differences == ()

    through(installation, work)


# What an event is, beside when it was told and by which of six ids.
_BAD = {"action": "failed", "bounce_class": "hard", "status": "5.1.1", "reason": "unknown-user", "undeliverable": True}
_FULL = {"action": "failed", "bounce_class": "soft", "status": "4.2.2", "reason": "mailbox-full"}
_TOLD = {
    "dead": ("bounce", _BAD, {}),
    "dead, says a stranger": ("bounce", _BAD, {"authenticated": False}),
    "full": ("bounce", _FULL, {}),
    "complaint": ("complaint", {}, {"feedback_type": "abuse"}),
    "complaint, says a stranger": ("complaint", {}, {"feedback_type": "abuse", "authenticated": False}),
    "not spam": ("other", {}, {"feedback_type": "not-spam"}),
    "unsubscribe": ("unsubscribe", {}, {}),
    "on holiday": ("auto-reply", {}, {}),
    "something": ("other", {}, {}),
}
_EVENTS = st.lists(
    st.tuples(st.sampled_from(sorted(_TOLD)), st.integers(0, 5), st.sampled_from((0, 0, 1, 30, 200))), max_size=9
)


def test_whatever_comes_in_whatever_order_opt_outs_only_grow(installation: Installation) -> None:
    """P3: no event lifts an opt-out. An address is dead after two proven reports that differ, never before."""
    config, people = config_of(installation), iter(range(10_000))

    async def one(store: Store, told: list[tuple[str, int, int]]) -> None:
        door = Door(store, config, f"p{next(people)}@example.org")
        stopped: set[tuple[object, ...]] = set()
        at, was_dead, proofs = NOW, False, set[int]()
        for name, number, days in told:
            kind, how, changes = _TOLD[name]
            at += days * DAY
            said = Recipient(address=door.address, **how)  # type: ignore[arg-type]
            await door(hook(kind, event_id=f"{door.address}/{number}", at=at, recipients=(said,), **changes), at)
            person = await door.person()
            stop = {(one.scope, one.purpose, one.reason, one.at) for one in person.suppressions}
            assert stopped <= stop and all(one.lifted_at is None for one in person.suppressions)
            assert stop == stopped or name in ("complaint", "unsubscribe")
            stopped = stop
            proofs |= {number} if name == "dead" else set()
            dead = person.standing.recipient.undeliverable
            assert dead or not was_dead
            assert len(proofs) >= 2 or not dead
            was_dead = dead
        asked = {number for name, number, _ in told if name in ("complaint", "unsubscribe")}
        heard = {number for name, number, _ in told if name not in ("complaint", "unsubscribe")}
        assert stopped or not asked - heard

    with asyncio.Runner() as runner:
        opening = opened_store(config)
        store = runner.run(opening.__aenter__())
        try:
            settings(max_examples=60)(given(_EVENTS)(lambda told: runner.run(one(store, told))))()
        finally:
            runner.run(opening.__aexit__(None, None, None))
