"""Rehearsed copies: put by, released once, ended when their time is over; in SQLite."""

import re
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateway.store import queue, sql_rehearsal
from gateway.store.contract import Arrival, Ruling
from gateway.store.evidence import Erasure
from gateway.store.rehearsal import Moved, Released, ReleasedCopy
from gateway.store.sql_store import SqlStore
from suppression.decision import Decision
from tests.store.test_contract import ALLOW, NOW, Home

BLOCK = Decision(
    verdict="block", reason_code="RECIPIENT_UNKNOWN", cite="Tw 11.7(1)", basis=None, pack="NL", trace=("A1",),
    findings=(),
)  # fmt: skip
LATER = NOW + timedelta(days=1)


def put_by(home: Home, *addresses: str, **changes: Any) -> Arrival:
    return home.arrival(*addresses, state="rehearsed", mode="rehearse", **changes)


def released(arrival: Arrival, *decisions: Decision) -> Released:
    copies = tuple(
        ReleasedCopy(
            n, "queued" if decision.verdict == "allow" else "blocked",
            Ruling(decision=decision, as_of=LATER, packs="NL declared"),
        )
        for n, decision in enumerate(decisions)
    )  # fmt: skip
    return Released(
        controller_id="acme", message_id=arrival.message_id, stream="newsletter", campaign="spring", mode="enforce",
        copies=copies,
    )  # fmt: skip


async def counts(store: SqlStore) -> dict[str, int]:
    found = (await store.tallies("acme"))["newsletter", "spring"]
    return {name: n for name, n in found.items() if n}


async def test_nothing_put_by_is_claimed_and_it_is_counted_apart(home: Home, store: SqlStore) -> None:
    await store.enqueue(put_by(home, "anna@example.org", "wim@example.org"))
    assert await store.claim("w1", "main", now=LATER, n=9) == []
    assert await store.waiting() == 0 and await store.holders() == []
    assert await counts(store) == {"rehearsed/accepted": 2, "rehearsed/allowed": 2, "rehearsed/open": 2}


async def test_a_release_moves_each_copy_once(home: Home, store: SqlStore) -> None:
    arrival = put_by(home, "anna@example.org", "wim@example.org")
    await store.enqueue(arrival)
    assert await store.release([released(arrival, ALLOW, BLOCK)], at=LATER) == Moved(queued=1, blocked=1)
    for again in (released(arrival, ALLOW, ALLOW), released(arrival, BLOCK, BLOCK)):
        assert await store.release([again], at=LATER) == Moved(queued=0, blocked=0)
    assert await counts(store) == {
        "rehearsed/accepted": 2, "rehearsed/allowed": 2, "rehearsed/released": 1, "accepted": 2, "allowed": 1,
        "blocked/RECIPIENT_UNKNOWN": 1,
    }  # fmt: skip
    [claimed] = await store.claim("w1", "main", now=LATER, n=9)
    assert (claimed.copy_no, claimed.rcpt) == (0, b"anna@example.org")
    message = await store.message("acme", arrival.message_id)
    assert message is not None and message.body == arrival.body
    assert (message.mode, message.at, message.released_at) == ("enforce", NOW, LATER)
    assert (await store.copy("acme", arrival.message_id, 1) or {})["rcpt"] is None


async def test_with_its_last_copy_kept_out_the_original_goes(home: Home, store: SqlStore) -> None:
    arrival = put_by(home, "anna@example.org")
    await store.enqueue(arrival)
    await store.release([released(arrival, BLOCK)], at=LATER)
    assert await store.message("acme", arrival.message_id) is None


async def test_a_campaign_is_read_message_by_message(home: Home, store: SqlStore) -> None:
    arrivals = [put_by(home, f"a{n}@example.org", f"b{n}@example.org") for n in range(5)]
    others = [put_by(home, "x@example.org", campaign="other"), home.arrival("y@example.org")]
    await store.enqueue(*arrivals, *others)
    found, after = [], b""
    while page := await store.rehearsed("acme", "newsletter", "spring", after=after, n=3):
        assert sum(len(message.copies) for message in page) == (4 if len(page) == 2 else 2)
        found += page
        after = page[-1].message_id
    assert [message.message_id for message in found] == [arrival.message_id for arrival in arrivals]
    assert [copy.rcpt for copy in found[1].copies] == [b"a1@example.org", b"b1@example.org"]
    assert found[0].kind == {"message_class": "marketing"}
    await store.release([released(arrivals[0], ALLOW, ALLOW)], at=LATER)
    [first, *_] = await store.rehearsed("acme", "newsletter", "spring", after=b"", n=3)
    assert first.message_id == arrivals[1].message_id


async def test_what_nobody_released_lapses_after_its_time(home: Home, store: SqlStore) -> None:
    """RULES.md 7.2: rehearsed mail is kept for 5 days."""
    old, fresh = put_by(home, "anna@example.org"), put_by(home, "wim@example.org")
    back = timedelta(days=5, minutes=1)
    milliseconds = int((NOW - back).timestamp() * 1000)
    old = replace(old, message_id=milliseconds.to_bytes(6, "big") + old.message_id[6:], at=NOW - back)
    fresh = replace(fresh, message_id=int(NOW.timestamp() * 1000).to_bytes(6, "big") + fresh.message_id[6:])
    await store.enqueue(old, fresh)
    assert await store.sweep(now=NOW, captures_before=NOW - timedelta(days=5)) == 1
    assert await store.sweep(now=NOW, captures_before=NOW - timedelta(days=5)) == 0
    assert await store.message("acme", old.message_id) is None
    copy = await store.copy("acme", old.message_id, 0)
    assert copy is not None and (copy["state"], copy["rcpt"]) == ("lapsed", None)
    assert await store.message("acme", fresh.message_id) is not None
    assert (await counts(store))["rehearsed/open"] == 1
    assert await store.release([released(old, ALLOW)], at=NOW) == Moved(queued=0, blocked=0)


async def test_an_erased_person_is_not_released(home: Home, store: SqlStore) -> None:
    arrival = put_by(home, "anna@example.org")
    await store.enqueue(arrival)
    keys = home.ring.recipient_keys("acme", "anna@example.org")
    await store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=NOW, by="test"))
    assert await store.rehearsed("acme", "newsletter", "spring", after=b"", n=9) == []
    assert await store.message("acme", arrival.message_id) is None
    assert "rehearsed/open" not in await counts(store)


def test_its_statements_use_an_index(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with sqlite3.connect(home.data) as db:
        for statement in (
            sql_rehearsal.SQL.messages_of, sql_rehearsal.SQL.copies_of, sql_rehearsal.SQL.release_copy,
            sql_rehearsal.SQL.release_message, queue.SQL.lapse,
        ):  # fmt: skip
            names = dict.fromkeys(re.findall(r":(\w+)", statement.sql), b"")
            plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + statement.sql, names)]
            assert plan and not [step for step in plan if step.startswith("SCAN")], (statement.__name__, plan)
