"""What a store promises about mail that waits for an answer: it waits, and goes once or ends once."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.store.contract import Arrival, Store
from gateway.store.holding import Seen
from tests.store.places import Place
from tests.store.test_contract import NOW, Home

UNTIL = NOW + timedelta(days=5)
LIKE = {"skeleton": "5c", "likeness": "orders@acme.example uw korting", "signs": ["wording 4 korting", "coupon"]}


@pytest.fixture
def home(place: Place) -> Home:
    return Home(place)


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    async with home.opened() as opened:
        yield opened


def held(home: Home, *addresses: str, **changes: Any) -> Arrival:
    kind = {"message_class": "transactional", **LIKE}
    return home.arrival(*addresses, state="held", held_until=UNTIL, kind=kind, stream="orders", **changes)


def spoken(home: Home, arrival: Arrival) -> list[tuple[Any, ...]]:
    asked = "SELECT copy_no, state, reply FROM copies WHERE message_id = ? ORDER BY copy_no"
    return home.ask(asked, arrival.message_id)


async def test_it_is_listed_oldest_first_with_what_it_was_held_for(home: Home, store: Store) -> None:
    first, second = held(home, "anna@example.org", "bob@example.org"), held(home, "anna@example.org")
    theirs = held(home, "anna@example.org", controller_id="gent")
    usual = home.arrival("cas@example.org")
    await store.enqueue(first, second, theirs, usual)
    rows = await store.held_mail("acme", n=9)
    assert [row.message_id for row in rows] == [first.message_id, second.message_id]
    assert (rows[0].copies, rows[0].stream, rows[0].subject) == (2, "orders", "Zeldzame wijnen")
    assert (rows[0].skeleton, rows[0].likeness, list(rows[0].signs)) == tuple(LIKE.values())
    assert (rows[0].at, rows[0].expires_at) == (NOW, UNTIL)
    assert [row.message_id for row in await store.held_mail("acme", n=1)] == [first.message_id]
    assert await store.held_copies("acme", first.message_id) == [(0, b"anna@example.org"), (1, b"bob@example.org")]
    assert await store.held_copies("acme", theirs.message_id) == []
    assert [copy.message_id for copy in await store.claim("w1", "main", now=UNTIL, n=9)] == [usual.message_id]


async def test_what_is_let_go_leaves_once(home: Home, store: Store) -> None:
    one, other = held(home, "anna@example.org", "bob@example.org"), held(home, "cas@example.org")
    await store.enqueue(one, other)
    assert await store.claim("w1", "main", now=UNTIL, n=9) == []
    assert await store.let_go("gent", [one.message_id], now=NOW) == 0
    assert await store.let_go("acme", [one.message_id, one.message_id], now=NOW) == 2
    assert await store.let_go("acme", [one.message_id], now=NOW) == 0
    assert await store.end_held("acme", one.message_id, state="bounced", reply="no", now=NOW, notice=None) == 0
    assert {copy.message_id for copy in await store.claim("w1", "main", now=NOW, n=9)} == {one.message_id}
    assert [row.message_id for row in await store.held_mail("acme", n=9)] == [other.message_id]


async def test_what_is_ended_stays_and_its_sender_is_told_once(home: Home, store: Store) -> None:
    one = held(home, "anna@example.org")
    notice, again = home.arrival("tool@acme.example"), home.arrival("tool@acme.example")
    await store.enqueue(one)
    end = {"state": "bounced", "reply": "550 5.7.1 not service mail", "now": NOW}
    assert await store.end_held("gent", one.message_id, **end, notice=again) == 0
    assert await store.end_held("acme", one.message_id, **end, notice=notice) == 1
    assert await store.end_held("acme", one.message_id, **end, notice=again) == 0
    assert spoken(home, one) == [(0, "bounced", "550 5.7.1 not service mail")]
    assert await store.held_mail("acme", n=9) == [] and await store.held_copies("acme", one.message_id) == []
    assert await store.let_go("acme", [one.message_id], now=NOW) == 0
    assert [copy.message_id for copy in await store.claim("w1", "main", now=NOW, n=9)] == [notice.message_id]
    assert await store.message("acme", one.message_id) is None, "the original lives until its last copy is final"


async def test_what_nobody_answered_in_time_is_found_whosever_it_is(home: Home, store: Store) -> None:
    one, theirs, answered = (held(home, "anna@example.org", controller_id=who) for who in ("acme", "gent", "acme"))
    await store.enqueue(one, theirs, answered)
    await store.let_go("acme", [answered.message_id], now=NOW)
    assert await store.expired_mail(now=UNTIL - timedelta(milliseconds=1), n=9) == []
    assert set(await store.expired_mail(now=UNTIL, n=9)) == {("acme", one.message_id), ("gent", theirs.message_id)}
    assert len(await store.expired_mail(now=UNTIL, n=1)) == 1


async def test_answers_are_told_when_there_is_a_new_one(home: Home, store: Store) -> None:
    assert await store.mail_answers(known=b"") is None
    said = {"stream": "orders", "service": True, **LIKE}
    await store.note("acme", "mail_ruling", said, {"why": "een bevestiging"}, at=NOW)
    told = await store.mail_answers(known=b"")
    assert told is not None
    newest, answers = told
    [answer] = answers["acme"]
    assert set(answers) == {"acme"} and answer.answer_id == newest
    assert (answer.stream, answer.service, list(answer.signs)) == ("orders", True, LIKE["signs"])
    assert await store.mail_answers(known=newest) is None
    await store.note("gent", "mail_ruling", {**said, "service": False}, None, at=NOW)
    told = await store.mail_answers(known=newest)
    assert told is not None
    assert {who: [one.service for one in said] for who, said in told[1].items()} == {"acme": [True], "gent": [False]}


async def test_whoever_got_a_text_is_counted_once_over_all_processes(home: Home, store: Store) -> None:
    def seen(people: int, slot: int = 7, who: str = "acme", text: bytes = b"\5") -> Seen:
        return Seen(controller_id=who, stream="orders", skeleton=text, slot=slot, people=people)

    async def joined(one: Seen) -> tuple[int, int]:
        [found] = await store.join_seen([one])
        return found.people, found.before

    high = 1 << 1023
    assert await joined(seen(0b0011)) == (0b0011, 0)
    assert await joined(seen(0b0110 | high)) == (0b0111 | high, 0)
    assert await joined(seen(0b1000, slot=8)) == (0b1000, 0b0111 | high)
    assert await joined(seen(0b1, who="gent")) == (0b1, 0) and await joined(seen(0b1, text=b"\6")) == (0b1, 0)
    await store.forget_seen(before_slot=8)
    assert await joined(seen(0b1)) == (0b1, 0) and await joined(seen(0b1, slot=8)) == (0b1001, 0b1)
