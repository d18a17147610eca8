"""Copies that wait, as staff sees them and acts on them; and how many there are, counted as they come and go."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway import hold as story
from gateway.backlog import backlog, late
from gateway.hold import Wanted
from gateway.mail.envelope import Rcpt
from gateway.post import pack_rcpt
from gateway.store import sql_returns
from gateway.store.contract import Arrival
from gateway.store.evidence import Erasure
from gateway.store.returned import STOPPED
from gateway.store.sql_store import SqlStore
from gateway.store.waiting import HELD, CopyKey, Hold, WaitingCopy
from tests.store.test_contract import BLOCK, NOW, Home, ending

SPRING = Hold(controller_id="acme", stream="newsletter", campaign="spring", at=NOW)
EVERYTHING = Wanted(controllers=frozenset({"acme", "globex"}))


def arrival(home: Home, *addresses: str, **changes: Any) -> Arrival:
    made = home.arrival(*addresses, **changes)
    copies = [
        replace(copy, rcpt=pack_rcpt(Rcpt(address=address)))
        for copy, address in zip(made.copies, addresses, strict=True)
    ]
    return replace(made, copies=copies)


async def waiting(store: SqlStore, wanted: Wanted = EVERYTHING) -> list[WaitingCopy]:
    return [copy async for copy in story.waiting(store, wanted)]


async def counted(home: Home, store: SqlStore) -> None:
    """What is counted as copies come and go is what there is."""
    found = Counter(row[0] for row in home.ask("SELECT state FROM copies"))
    depths = await store.depths()
    assert sum(one.waiting for one in depths) == await store.waiting() == found["queued"] + found["claimed"]
    assert sum(one.held for one in depths) == found["held"]
    by_stream = Counter({one.stream: one.waiting + one.held for one in depths})
    rows = home.ask(
        "SELECT m.stream FROM copies c JOIN messages m ON m.controller_id = c.controller_id"
        " AND m.message_id = c.message_id WHERE c.state IN ('queued', 'claimed', 'held')"
    )
    assert +by_stream == Counter(row[0] for row in rows)


async def test_what_waits_is_listed_in_the_order_it_is_due_whatever_its_turn(home: Home, store: SqlStore) -> None:
    for n in (5, 1, 4, 2, 3):
        one = arrival(home, f"p{n}@example.org", campaign=f"c{n % 3}")
        await store.enqueue(replace(one, copies=[replace(one.copies[0], due_at=NOW + timedelta(minutes=n))]))
    assert [copy.due_at for copy in await waiting(store)] == [NOW + timedelta(minutes=n) for n in range(1, 6)]


async def test_pages_leave_nothing_out_and_repeat_nothing(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "PAGE", 3)
    many = arrival(home, *(f"p{n}@example.org" for n in range(20)))
    await store.enqueue(many)
    await store.claim("w1", "main", now=NOW, n=7)
    found = await waiting(store)
    assert Counter(copy.state for copy in found) == {"queued": 13, "claimed": 7}
    assert {copy.key for copy in found} == {CopyKey("acme", many.message_id, n) for n in range(20)}
    assert await story.hold(store, SPRING, by="test", why="typo") == 13
    assert Counter(copy.state for copy in await waiting(store)) == {"held": 13, "claimed": 7}


async def test_filters(home: Home, store: SqlStore) -> None:
    await store.enqueue(
        arrival(home, "a@example.org", "b@EXAMPLE.com"), arrival(home, "c@example.org", campaign="autumn"),
        arrival(home, "d@example.org", stream="events"),
    )  # fmt: skip
    whose = frozenset({"acme"})

    async def n(**more: Any) -> int:
        return len(await waiting(store, Wanted(controllers=whose, **more)))

    assert await n() == 4 and await n(stream="events") == 1 and await n(campaign="spring") == 3
    assert await n(stream="newsletter", campaign="spring") == 2
    assert await n(domain="Example.com") == 1 and await n(domain="example.org.") == 3
    assert await n(states=frozenset({"held"})) == 0
    assert len(await waiting(store, Wanted(controllers=frozenset({"globex"})))) == 0


async def test_a_held_campaign_stays_and_goes_on_with_a_time_of_its_own(home: Home, store: SqlStore) -> None:
    one, other = arrival(home, "a@example.org", "b@example.org"), arrival(home, "c@example.org", campaign="autumn")
    await store.enqueue(one, other)
    await story.hold(store, SPRING, by="test", why="typo")
    assert await store.holds() == [SPRING]
    assert [copy.message_id for copy in await store.claim("w1", "main", now=NOW, n=9)] == [other.message_id]
    await counted(home, store)
    later = NOW + timedelta(days=3)
    assert await story.release(store, SPRING, by="test", why="corrected", now=later) == 2
    assert await store.holds() == []
    claimed = await store.claim("w1", "main", now=later, n=9)
    assert [copy.rcpt for copy in claimed] == [copy.rcpt for copy in one.copies]
    stored = await store.message("acme", one.message_id)
    assert stored is not None and stored.released_at == later
    await counted(home, store)


async def test_a_release_of_one_campaign_leaves_a_held_stream_alone(home: Home, store: SqlStore) -> None:
    await store.enqueue(arrival(home, "a@example.org"))
    await story.hold(store, replace(SPRING, campaign=""), by="test", why="everything")
    assert await story.release(store, SPRING, by="test", why="not this one", now=NOW) is None
    assert [copy.said for copy in await waiting(store)] == [HELD]
    assert await story.release(store, replace(SPRING, campaign=""), by="test", why="on", now=NOW) == 1


async def test_a_copy_set_aside_for_a_hold_that_is_over_waits_again_instead(home: Home, store: SqlStore) -> None:
    """A worker that had not yet heard of the release does not undo it."""
    one = arrival(home, "a@example.org", "b@example.org")
    await store.enqueue(one)
    await store.put_hold(SPRING, [])
    await store.claim("w1", "main", now=NOW, n=1)
    await store.finish("w1", [ending(one, 0, state="held", reply=HELD, tried=False)])
    await store.claim("w1", "main", now=NOW, n=1)
    await story.release(store, SPRING, by="test", why="on", now=NOW)
    await store.finish("w1", [ending(one, 1, state="held", reply=HELD, tried=False)])
    assert [(copy.state, copy.attempts) for copy in await waiting(store)] == [("queued", 0), ("queued", 0)]
    assert len(await store.claim("w1", "main", now=NOW, n=9)) == 2, "with their recipients"
    await counted(home, store)


async def test_single_copies_are_held_let_go_and_dropped(home: Home, store: SqlStore) -> None:
    one, other = arrival(home, "a@example.org", "b@example.com"), arrival(home, "c@example.org")
    await store.enqueue(one, other)
    acme = frozenset({"acme"})
    message, domain = (
        Wanted(controllers=acme, message_id=one.message_id),
        Wanted(controllers=acme, domain="example.com"),
    )
    assert await story.act(store, message, "hold", by="test", why="x", now=NOW) == 2
    assert await story.act(store, domain, "release", by="test", why="x", now=NOW) == 1
    assert Counter(copy.state for copy in await waiting(store)) == {"held": 1, "queued": 2}
    assert await story.act(store, message, "drop", by="test", why="x", now=NOW) == 2
    assert await store.message("acme", one.message_id) is None, "the original goes with its last copy"
    assert await store.message("acme", other.message_id) is not None
    await counted(home, store)
    acts = [row[0] for row in home.ask("SELECT public FROM ledger WHERE kind = 'staff_act' ORDER BY entry_id")]
    assert ["held" in act or "released" in act or "dropped" in act for act in acts] == [True] * 3


async def test_mail_that_waits_for_an_answer_is_not_let_go_or_dropped_by_the_way(home: Home, store: SqlStore) -> None:
    asked = arrival(
        home, "a@example.org", state="held", held_until=NOW + timedelta(days=1),
        kind={"message_class": "transactional", "skeleton": "s", "likeness": "l", "signs": []},
    )  # fmt: skip
    await store.enqueue(asked)
    for what in ("release", "drop"):
        assert await story.act(store, EVERYTHING, what, by="test", why="x", now=NOW) == 0  # type: ignore[arg-type]
    await counted(home, store)
    assert await store.let_go("acme", [asked.message_id], now=NOW) == 1
    await counted(home, store)


async def test_how_many_wait_is_right_whatever_becomes_of_them(home: Home, store: SqlStore) -> None:
    one = arrival(home, *(f"p{n}@example.org" for n in range(8)))
    await store.enqueue(one, arrival(home, "blocked@example.org", state="blocked", decision=BLOCK))
    await counted(home, store)
    await store.claim("w1", "main", now=NOW, n=6)
    await counted(home, store)
    notice = arrival(home, "sender@example.org", campaign="delivery reports")
    await store.finish("w1", [
        ending(one, 0), ending(one, 1, state="failed", notice=notice), ending(one, 2, state="queued", due_at=NOW),
        ending(one, 3, state="held", reply="render: ValueError"), ending(one, 4, state="blocked"),
    ])  # fmt: skip
    await counted(home, store)
    await store.finish("w1", [ending(one, 0)])
    await store.take_back("w1", NOW)
    await counted(home, store)
    for n in (3, 5, 6):
        who = home.who(f"p{n}@example.org")
        await store.erase(
            Erasure(controller_id="acme", recipient_keys=who.recipient_keys, at=NOW, by="person", address=None)
        )
    await counted(home, store)


async def test_a_list_is_read_by_pages_from_an_index(home: Home, store: SqlStore) -> None:
    """The n-th page costs what the first costs: nothing is sorted, nothing read that is not shown."""
    await store.enqueue(arrival(home, *(f"p{n}@example.org" for n in range(9))))
    [line, _] = await store.lines()
    first, past = await store.line_page(line, past=None, n=4)
    second, past = await store.line_page(line, past=past, n=4)
    third, past = await store.line_page(line, past=past, n=4)
    assert [copy.key.copy_no for copy in (*first, *second, *third)] == list(range(9)) and past is None


async def test_a_campaign_that_complaints_stopped_goes_on_with_its_recipients(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set aside keeps whom it is for, and other held copies stay where they are."""
    monkeypatch.setattr(sql_returns, "BATCH", 2)
    one = arrival(home, *(f"p{n}@example.org" for n in range(5)))
    other = arrival(home, "q@example.org", campaign="autumn")
    await store.enqueue(one, other)
    home.ask(
        "INSERT INTO campaign_stops (controller_id, stream, campaign, at, complaints, sent) VALUES (?, ?, ?, ?, ?, ?)",
        "acme", "newsletter", "spring", 0, 9, 100,
    )  # fmt: skip
    await store.claim("w1", "main", now=NOW, n=9)
    await store.finish("w1", [
        *(ending(one, n, state="held", reply=STOPPED, tried=False) for n in range(5)),
        ending(other, 0, state="held", reply="render: ValueError", campaign="autumn"),
    ])  # fmt: skip
    assert Counter(copy.said for copy in await waiting(store)) == {STOPPED: 5, "render: ValueError": 1}
    assert await story.release(store, SPRING, by="test", why="no hold", now=NOW) is None, "a stop is no hold"
    later = NOW + timedelta(days=3)
    assert await store.release_campaign("acme", "newsletter", "spring", notes=[], now=later) == 5
    claimed = await store.claim("w1", "main", now=later, n=9)
    assert sorted(copy.rcpt for copy in claimed) == sorted(copy.rcpt or b"" for copy in one.copies)
    stored = await store.message("acme", one.message_id)
    assert stored is not None and stored.released_at == later
    await counted(home, store)


@pytest.mark.parametrize("said", [HELD, STOPPED])
async def test_what_goes_on_still_has_an_end(home: Home, store: SqlStore, said: str) -> None:
    """Also while its route is down, when no copy pays with an attempt: time alone ends it, counted from the release."""
    one, limit = arrival(home, "a@example.org"), timedelta(days=2)
    await store.enqueue(replace(one, copies=[replace(one.copies[0], alarm_at=NOW + limit)]))
    await store.claim("w1", "main", now=NOW, n=9)
    if said == HELD:
        await store.put_hold(SPRING, [])
    else:
        home.ask(
            "INSERT INTO campaign_stops (controller_id, stream, campaign, at, complaints, sent)"
            " VALUES (?, ?, ?, ?, ?, ?)", "acme", "newsletter", "spring", 0, 9, 100,
        )  # fmt: skip
    await store.finish("w1", [ending(one, 0, state="held", reply=said, tried=False)])
    later = NOW + timedelta(days=30)
    if said == HELD:
        assert await story.release(store, SPRING, by="test", why="looked at", now=later) == 1
    else:
        assert await store.release_campaign("acme", "newsletter", "spring", notes=[], now=later) == 1
    assert await store.claim_overdue("w1", "main", now=later + limit - timedelta(seconds=1), n=9) == []
    assert len(await store.claim_overdue("w1", "main", now=later + limit, n=9)) == 1


async def test_staff_sees_how_much_waits_since_when_and_why_of_their_own_controllers(
    home: Home, store: SqlStore
) -> None:
    """P8: nothing of another controller's."""
    mine = arrival(home, *(f"p{n}@example.org" for n in range(4)))
    await store.enqueue(mine, arrival(home, "x@example.org", controller_id="globex"))
    await store.claim("w1", "main", now=NOW, n=9)
    later = NOW + timedelta(minutes=5)
    await store.finish("w1", [
        ending(mine, 0, state="queued", due_at=later, reply="451 4.2.2 full"),
        ending(mine, 1, state="queued", due_at=later, reply="451 4.2.2 full"), ending(mine, 2, state="held", reply="x"),
        ending(mine, 3, state="queued", due_at=NOW, reply=""),
    ])  # fmt: skip
    seen = await backlog(store, {"acme"}, NOW + timedelta(minutes=1))
    assert (seen.waiting, seen.held, seen.since, seen.reasons) == (3, 1, NOW, (("451 4.2.2 full", 2),))
    other = await backlog(store, {"globex"}, NOW - timedelta(minutes=1))
    assert (other.waiting, other.held, other.since, other.reasons) == (1, 0, None, ()), "it is in hand"
    assert await late(store, ["main", "none"], NOW + timedelta(minutes=1)) == {"main": 60.0, "none": 0.0}
