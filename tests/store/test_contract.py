"""What every store promises (gateway/store/contract.py), on a real database."""

import asyncio
import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import aiosqlite
import pytest

from gateway.store import keys, sqlite
from gateway.store.ahead import new_id
from gateway.store.arrivals import LONG_BODY
from gateway.store.contract import (
    Act,
    Arrival,
    Ending,
    Holder,
    NewCopy,
    Person,
    Ruling,
    StoreUnavailable,
    SuppressionRow,
    Who,
)  # fmt: skip
from gateway.store.sql_store import SqlStore
from gateway.store.staff import Staff
from gateway.store.waiting import CopyKey
from suppression.decision import Decision
from suppression.vault import KeyRing
from tests.store.places import REFUSED, Files, Place

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
ALLOW = Decision(
    verdict="allow", reason_code="ALLOW_OPT_IN", cite="GDPR 7", basis="opt_in", pack="NL", trace=("A1",), findings=()
)
BLOCK = replace(ALLOW, verdict="block", reason_code="RECIPIENT_UNKNOWN", basis=None)
CONSENT: dict[str, Any] = {
    "id": "c1", "controller_id": "acme", "source": "own_form", "named_recipients": [], "purposes": ["newsletter"],
    "product_categories": None, "advertisers": [], "given_at": "2026-06-01T09:00:00Z", "withdrawn_at": None,
    "expires_at": None, "last_interaction_at": None,
    "evidence": {"method": "web_form", "wording_version": "w", "privacy_notice_version": "p", "origin": "shop-form"},
    "action": "active_tick", "bundled_with_terms": False, "conditional_on_service": False, "granular": True,
    "double_opt_in": {"required": False, "requested_at": None, "confirmed_at": None, "mails_sent": 0},
    "parental_authorisation": False, "sharing_consent": False, "seller_verified": False, "buyer_verified": False,
    "explicit_special_category": False,
}  # fmt: skip


class Home:
    """One installation's databases, opened as often as a test likes."""

    def __init__(self, place: Path | Place) -> None:
        """`place`: a folder for files of SQLite, or databases that are there."""
        self.place = Files(place) if isinstance(place, Path) else place
        self.data, self.keys = self.place.data, self.place.keys
        self.ring = KeyRing({1: os.urandom(32)})

    def opened(self) -> Any:
        return self.place.opened(self.ring)

    def ask(self, sql: str, *values: Any, **how: Any) -> list[tuple[Any, ...]]:
        """See Place.ask."""
        return self.place.ask(sql, *values, **how)

    def who(self, address: str, controller: str = "acme") -> Who:
        return Who(controller, self.ring.recipient_keys(controller, address), self.ring.global_keys(address))

    def key(self, address: str, controller: str = "acme") -> bytes:
        return self.who(address, controller).recipient_keys[0]

    def consent(self, address: str, **changes: Any) -> Act:
        return Act(
            controller_id="acme", recipient_key=self.key(address), kind="consent", public={},
            private={**CONSENT, **changes}, at=NOW, address=address,
        )  # fmt: skip

    def arrival(self, *addresses: str, state: str = "queued", decision: Decision = ALLOW, **changes: Any) -> Arrival:
        copies = [
            NewCopy(
                copy_no=n, recipient_key=self.key(address), address=address, rcpt=address.encode(), state=state,
                ruling=Ruling(decision=decision, as_of=NOW, packs="NL declared"), route="main", due_at=NOW,
            )
            for n, address in enumerate(addresses)
        ]  # fmt: skip
        given: dict[str, Any] = {
            "controller_id": "acme", "message_id": new_id(), "at": NOW, "stream": "newsletter", "campaign": "spring",
            "mode": "enforce", "kind": {"message_class": "marketing"}, "envelope": {"mail_from": "news@acme.example"},
            "subject": "Zeldzame wijnen", "body": b"Subject: Zeldzame wijnen\r\n\r\nRode-wijn-lichaam", "size": 40,
            "copies": copies, "worker": "w1",
        }  # fmt: skip
        return Arrival(**{**given, **changes})


def ending(arrival: Arrival, copy_no: int = 0, state: str = "delivered", **changes: Any) -> Ending:
    given: dict[str, Any] = {
        "controller_id": "acme", "message_id": arrival.message_id, "copy_no": copy_no, "stream": "newsletter",
        "campaign": "spring", "state": state, "ruling": Ruling(decision=ALLOW, as_of=NOW, packs="NL declared"),
        "was": "allowed", "reply": "250 ok", "at": NOW,
    }  # fmt: skip
    return Ending(**{**given, **changes})


def stop(home: Home, address: str, purpose: str | None = "newsletter") -> tuple[list[Act], SuppressionRow]:
    row = SuppressionRow(
        controller_id="acme", recipient_key=home.key(address), suppression_id=new_id(),
        scope="purpose" if purpose else "sender", purpose=purpose, reason="unsubscribe", source="one-click", at=NOW,
        lifted_at=None,
    )  # fmt: skip
    ref = row.suppression_id.hex()
    common: dict[str, Any] = {"controller_id": "acme", "recipient_key": row.recipient_key, "private": None, "at": NOW}
    return [
        Act(kind="suppression", public={"ref": ref}, **common),
        Act(kind="withdrawal", public={"purpose": purpose, "at": "2026-11-21T10:00:00Z", "ref": ref}, **common),
    ], row


async def one(store: SqlStore, who: Who) -> Person:
    return (await store.people([who]))[0]


@pytest.fixture
def files(tmp_path: Path) -> Home:
    """An installation on SQLite, for what is about its files, its locks and its plans."""
    return Home(tmp_path)


async def test_a_person_nobody_recorded_is_not_known(home: Home, store: SqlStore) -> None:
    person = await one(store, home.who("nobody@example.org"))
    assert (person.seen, person.version, person.standing.known, person.suppressions) == (False, 0, False, ())


async def test_many_people_are_answered_in_the_order_asked(home: Home, store: SqlStore) -> None:
    await store.record([home.consent(f"p{n}@example.org", id=f"c{n}") for n in range(0, 40, 2)])
    found = await store.people([home.who(f"p{n}@example.org") for n in range(40)])
    assert [person.standing.known for person in found] == [n % 2 == 0 for n in range(40)]


async def test_the_same_record_twice_is_one_record_and_one_ledger_entry(home: Home, store: SqlStore) -> None:
    assert await store.record([home.consent("anna@example.org"), home.consent("anna@example.org")]) == [True, False]
    assert len((await one(store, home.who("anna@example.org"))).standing.consents) == 1
    assert home.ask("SELECT count(*) FROM ledger") == [(1,)]


async def test_a_commit_of_one_process_is_in_the_next_look_up_of_another(home: Home, store: SqlStore) -> None:
    assert not (await one(store, home.who("anna@example.org"))).standing.known
    async with home.opened() as other:
        await other.record([home.consent("anna@example.org")])
        assert (await one(store, home.who("anna@example.org"))).standing.known
        await other.opt_out(*stop(home, "anna@example.org"), None)
    after = await one(store, home.who("anna@example.org"))
    assert [s.scope for s in after.suppressions] == ["purpose"]
    assert after.standing.consents[0].withdrawn_at == NOW


async def test_controllers_are_strangers(home: Home, store: SqlStore) -> None:
    """P8: the same address has another key and no history at another controller."""
    await store.record([home.consent("anna@example.org")])
    assert home.key("anna@example.org") != home.key("anna@example.org", "globex")
    assert not (await one(store, home.who("anna@example.org", "globex"))).standing.known


async def test_an_opt_out_makes_a_stranger_suppressed(home: Home, store: SqlStore) -> None:
    acts, row = stop(home, "stranger@example.org", None)
    await store.opt_out(acts, row, None)
    assert [s.scope for s in (await one(store, home.who("stranger@example.org"))).suppressions] == ["sender"]


async def test_two_mails_to_one_person_in_one_question_see_one_opt_out(home: Home, store: SqlStore) -> None:
    await store.opt_out(*stop(home, "anna@example.org"), None)
    await store.opt_out(*stop(home, "anna@example.org", None), None)
    found = await store.people([home.who("anna@example.org")] * 2)
    assert [[s.scope for s in person.suppressions] for person in found] == [["purpose", "sender"]] * 2


async def test_a_second_opt_out_of_the_same_scope_changes_nothing(home: Home, store: SqlStore) -> None:
    acts, row = stop(home, "anna@example.org")
    assert await store.opt_out(acts, row, None) == row
    again = await store.opt_out(*stop(home, "anna@example.org"), None)
    assert again.suppression_id == row.suppression_id
    assert len(await store.suppressions_of("acme", row.recipient_key)) == 1


async def test_an_import_after_an_opt_out_does_not_lift_it(home: Home, store: SqlStore) -> None:
    """P3: opt-outs only grow; an older consent imported later is withdrawn as well."""
    await store.opt_out(*stop(home, "anna@example.org"), None)
    await store.record([home.consent("anna@example.org")])
    person = await one(store, home.who("anna@example.org"))
    assert person.suppressions[0].lifted_at is None
    assert person.standing.consents[0].withdrawn_at == NOW


async def test_an_undo_restores_what_stood_before(home: Home, store: SqlStore) -> None:
    await store.record([home.consent("anna@example.org")])
    acts, row = stop(home, "anna@example.org")
    await store.opt_out(acts, row, None)
    lifted = replace(row, lifted_at=NOW + timedelta(minutes=5))
    undo = [
        replace(acts[0], kind=kind, public={"ref": row.suppression_id.hex()})
        for kind in ("suppression_lifted", "withdrawal_undone")
    ]
    assert await store.lift(undo, lifted)
    assert not await store.lift(undo, lifted)
    person = await one(store, home.who("anna@example.org"))
    assert person.suppressions[0].lifted_at == lifted.lifted_at
    assert person.standing.consents[0].withdrawn_at is None


async def test_the_list_of_suppressions_is_read_in_pages_without_gap_or_repeat(home: Home, store: SqlStore) -> None:
    for n in range(7):
        await store.opt_out(*stop(home, f"p{n}@example.org"), None)
        await store.opt_out(*stop(home, f"p{n}@example.org", None), None)
    seen, after = [], (b"", b"")
    while page := await store.suppression_page("acme", after=after, n=3, addresses=True):
        seen += [(row.recipient_key, row.suppression_id) for row in page]
        after = seen[-1]
    assert len(seen) == len(set(seen)) == 14
    assert seen == sorted(seen)


async def test_a_message_waits_is_claimed_once_and_is_gone_when_delivered(home: Home, store: SqlStore) -> None:
    arrival = home.arrival("anna@example.org", "bea@example.org")
    await store.enqueue(arrival)
    claimed = await store.claim("w1", "main", now=NOW, n=10)
    assert [(c.copy_no, c.rcpt) for c in claimed] == [(0, b"anna@example.org"), (1, b"bea@example.org")]
    assert await store.claim("w2", "main", now=NOW, n=10) == []
    await store.finish("w1", [ending(arrival, 0)])
    stored = await store.message("acme", arrival.message_id)
    assert stored is not None and stored.body == arrival.body and stored.envelope == arrival.envelope
    await store.finish("w1", [ending(arrival, 1)])
    assert await store.message("acme", arrival.message_id) is None
    counts = (await store.tallies("acme"))["newsletter", "spring"]
    assert counts == {"accepted": 2, "allowed": 2, "delivered": 2}


async def test_claims_take_what_is_due_first_and_nothing_before_its_time(home: Home, store: SqlStore) -> None:
    for minutes in (3, 1, 2, 60):
        arrival = home.arrival(f"p{minutes}@example.org")
        due = NOW + timedelta(minutes=minutes)
        await store.enqueue(replace(arrival, copies=[replace(arrival.copies[0], due_at=due)]))
    assert await store.next_due("main") == NOW + timedelta(minutes=1)
    claimed = await store.claim("w1", "main", now=NOW + timedelta(minutes=5), n=2)
    assert [c.rcpt for c in claimed] == [b"p1@example.org", b"p2@example.org"]
    assert await store.claim("w1", "other", now=NOW + timedelta(days=1), n=9) == []


async def test_two_workers_that_claim_at_once_get_different_copies(home: Home, store: SqlStore) -> None:
    await store.enqueue(home.arrival(*(f"p{n}@example.org" for n in range(40))))
    async with home.opened() as other:
        sides = await asyncio.gather(*(s.claim(w, "main", now=NOW, n=7) for s, w in [(store, "w1"), (other, "w2")] * 3))
    taken = [c.copy_no for side in sides for c in side]
    assert len(taken) == len(set(taken)) == 40


@pytest.mark.parametrize("more", [-1, 0, 1, 1_000_000])
async def test_a_long_message_is_kept_sealed_and_comes_back(home: Home, store: SqlStore, more: int) -> None:
    """Long ones are written in pieces, and in the same transaction: with its copies or not at all."""
    body = b"Subject: lang\r\n\r\n" + b"wijn" * ((LONG_BODY + more) // 4)
    arrival = home.arrival("anna@example.org", body=body)
    await store.enqueue(arrival)
    stored = await store.message("acme", arrival.message_id)
    assert stored is not None and stored.body == body
    with pytest.raises(REFUSED):
        await store.enqueue(replace(arrival, message_id=new_id()), arrival)
    [(kept,)] = home.ask("SELECT body FROM bodies")
    assert len(kept) > len(body) and b"wijnwijn" not in kept


async def test_only_who_holds_a_copy_may_end_it(home: Home, store: SqlStore) -> None:
    arrival = home.arrival("anna@example.org")
    await store.enqueue(arrival)
    await store.claim("w1", "main", now=NOW, n=1)
    await store.finish("w2", [ending(arrival)])
    assert await store.message("acme", arrival.message_id) is not None
    assert "delivered" not in (await store.tallies("acme"))["newsletter", "spring"]


async def test_a_restarted_worker_takes_back_its_own_and_nothing_of_others(home: Home, store: SqlStore) -> None:
    """However long ago the lease of another ended by the time of day: clocks differ, and jump."""
    for worker, until in (("w1", NOW), ("w2", NOW - timedelta(days=1))):
        await store.renew(worker, until)
        await store.enqueue(home.arrival(f"{worker}@example.org", state="claimed", worker=worker))
    assert await store.lease("w2") == NOW - timedelta(days=1)
    assert await store.take_back("w1", NOW) == 1
    assert [c.rcpt for c in await store.claim("w1", "main", now=NOW, n=9)] == [b"w1@example.org"]


async def test_what_a_worker_holds_under_a_lease_that_was_judged_over_waits_again(home: Home, store: SqlStore) -> None:
    """Not if it renewed since it was looked at; a lease that never was is as good as one that is over."""
    for worker in ("w1", "w2", "w3"):
        await store.enqueue(home.arrival(f"{worker}@example.org", state="claimed", worker=worker))
    await store.renew("w1", NOW)
    await store.renew("w2", NOW)
    assert await store.lease("w3") is None
    seen = await store.holders()
    assert sorted(seen) == [Holder("w1", NOW), Holder("w2", NOW), Holder("w3", None)]
    await store.renew("w2", NOW + timedelta(seconds=5))
    assert await store.take_over(seen, NOW) == 2
    assert sorted(c.rcpt for c in await store.claim("w4", "main", now=NOW, n=9)) == [
        b"w1@example.org",
        b"w3@example.org",
    ]
    assert await store.take_over(seen, NOW) == 0
    assert await store.holders() == [Holder("w2", NOW + timedelta(seconds=5)), Holder("w4", None)]


async def test_a_worker_whose_lease_ran_out_learns_what_it_still_holds(home: Home, store: SqlStore) -> None:
    arrivals = [home.arrival(f"{n}@example.org", state="claimed", worker="w1") for n in range(3)]
    others = home.arrival("x@example.org", state="claimed", worker="w2")
    await store.enqueue(*arrivals, others)
    keys = [CopyKey("acme", one.message_id, 0) for one in (*arrivals, others)]
    assert await store.give_back("w1", [keys[0], keys[3]], NOW) == 1, "the last is not its own"
    assert sorted(await store.resume("w1", NOW + timedelta(seconds=20))) == sorted(keys[1:3])
    assert sorted(await store.claimed("w1")) == sorted(keys[1:3])
    holders = await store.holders()
    assert [one.worker for one in holders] == ["w1", "w2"]
    assert await store.take_over([holders[0]._replace(until=None)], NOW) == 0, "it has a lease again"


async def test_a_copy_that_is_put_off_waits_until_it_is_due_and_counts_its_attempts(
    home: Home, store: SqlStore
) -> None:
    arrival = home.arrival("anna@example.org", state="claimed")
    await store.enqueue(arrival)
    later = NOW + timedelta(minutes=10)
    await store.finish("w1", [ending(arrival, state="queued", due_at=later, reply="451 later")])
    assert await store.claim("w1", "main", now=NOW, n=1) == []
    claimed = await store.claim("w1", "main", now=later, n=1)
    assert [c.attempts for c in claimed] == [1]


async def test_a_block_at_hand_over_replaces_the_verdict_and_keeps_the_first_code(home: Home, store: SqlStore) -> None:
    """P2: one row per copy; reports use the last decision."""
    arrival = home.arrival("anna@example.org", state="claimed")
    await store.enqueue(arrival)
    later = NOW + timedelta(seconds=3)
    blocked = replace(BLOCK, reason_code="SUPPRESSED_PURPOSE")
    ruling = Ruling(decision=blocked, as_of=later, packs="NL")
    await store.finish("w1", [ending(arrival, state="blocked", ruling=ruling)])
    rows = await store.held_out("acme", since=None, before=None, n=9, addresses=True)
    assert [(r.reason_code, r.at, r.address) for r in rows] == [("SUPPRESSED_PURPOSE", later, "anna@example.org")]
    assert home.ask("SELECT accept_code, state FROM copies") == [("ALLOW_OPT_IN", "blocked")]
    counts = (await store.tallies("acme"))["newsletter", "spring"]
    assert {k: n for k, n in counts.items() if n} == {"accepted": 1, "blocked/SUPPRESSED_PURPOSE": 1}


async def test_a_refused_message_is_reported_without_body(home: Home, store: SqlStore) -> None:
    arrival = home.arrival("anna@example.org", state="blocked", decision=BLOCK, body=None)
    await store.enqueue(arrival)
    rows = await store.held_out("acme", since=None, before=None, n=9, addresses=False)
    assert [(r.subject, r.address) for r in rows] == [("Zeldzame wijnen", None)]
    assert home.ask("SELECT count(*) FROM bodies") == [(0,)]


async def test_the_report_is_read_in_pages_over_ties_and_gaps(home: Home, store: SqlStore) -> None:
    for n in range(5):
        ruling = Ruling(decision=BLOCK, as_of=NOW + timedelta(seconds=n // 2), packs="NL")
        arrival = home.arrival(f"a{n}@example.org", f"b{n}@example.org", state="blocked", decision=BLOCK)
        await store.enqueue(replace(arrival, copies=[replace(c, ruling=ruling) for c in arrival.copies]))
    seen: list[tuple[datetime, bytes, int]] = []
    while page := await store.held_out("acme", since=None, before=seen[-1] if seen else None, n=3, addresses=False):
        seen += [(row.at, row.message_id, row.copy_no) for row in page]
    assert len(seen) == len(set(seen)) == 10
    assert seen == sorted(seen, reverse=True)
    since = await store.held_out("acme", since=NOW + timedelta(seconds=2), before=None, n=9, addresses=False)
    assert len(since) == 2


async def test_captured_copies_keep_their_original_until_swept(home: Home, store: SqlStore) -> None:
    arrival = home.arrival("anna@example.org", state="claimed")
    await store.enqueue(arrival)
    await store.finish("w1", [ending(arrival, state="captured")])
    assert await store.message("acme", arrival.message_id) is not None
    kept = await store.captured("acme", before=None, n=9, addresses=True)
    assert [row.address for row in kept] == ["anna@example.org"]
    far = datetime.now(UTC) + timedelta(days=1)
    assert await store.sweep(now=far, captures_before=far) == 1
    assert await store.message("acme", arrival.message_id) is None
    assert await store.captured("acme", before=None, n=9, addresses=False) == []


async def test_the_spool_key_of_an_hour_is_destroyed_when_nothing_waits_from_it(home: Home, store: SqlStore) -> None:
    arrival = home.arrival("anna@example.org", state="claimed")
    waiting = home.arrival("anna@example.org", state="claimed", at=NOW - timedelta(hours=9))
    await store.enqueue(arrival)
    await store.enqueue(waiting)
    await store.finish("w1", [ending(arrival)])
    await store.sweep(now=NOW + timedelta(hours=3), captures_before=NOW)
    assert home.ask("SELECT hour FROM spool_keys", of="keys") == [(int(waiting.at.timestamp()) // 3600,)]
    stored = await store.message("acme", waiting.message_id)
    assert stored is not None and stored.body == waiting.body


async def test_an_hour_that_comes_again_after_its_key_is_gone_gets_another(
    home: Home, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process has a clock that is three hours ahead and sweeps; another seals with what it remembers."""
    async with home.opened() as other:
        first = home.arrival("anna@example.org", state="claimed", worker="w1")
        await store.enqueue(first)
        await store.finish("w1", [ending(first)])
        await other.sweep(now=NOW + timedelta(hours=3), captures_before=NOW - timedelta(days=30))
        later = monotonic() + 61
        monkeypatch.setattr(keys, "monotonic", lambda: later)
        await store.enqueue(home.arrival("bea@example.org"))
    async with home.opened() as restarted:
        [copy] = await restarted.claim("w1", "main", now=NOW, n=9)
        assert copy.rcpt == b"bea@example.org"
        assert await restarted.message("acme", copy.message_id) is not None


async def test_nothing_personal_is_readable_in_any_file(home: Home) -> None:
    """RULES.md 8.5: a stolen database without the installation key says nothing about anybody."""
    async with home.opened() as store:
        await store.record([home.consent("zeldzaam@example.org")])
        await store.enqueue(home.arrival("zeldzaam@example.org"))
        files = home.place.on_disk()
    for secret in (b"zeldzaam", b"Zeldzame", b"Rode-wijn", b"shop-form", b"news@acme", b"zeldzaam".hex().encode()):
        assert secret not in files


async def test_nothing_can_be_read_of_a_person_whose_key_is_destroyed(home: Home) -> None:
    async with home.opened() as store:
        await store.record([home.consent("anna@example.org")])
    home.ask("DELETE FROM person_keys WHERE controller_id = 'acme'", of="keys")
    async with home.opened() as store:
        person = await one(store, home.who("anna@example.org"))
        assert (person.seen, person.standing.known, person.readable) == (False, False, False)
        assert await store.address("acme", home.key("anna@example.org")) is None


async def test_a_standing_that_makes_no_sense_is_not_decided_on(home: Home, store: SqlStore) -> None:
    await store.record([home.consent("anna@example.org", granular="perhaps"), home.consent("bea@example.org")])
    anna, bea = await store.people([home.who("anna@example.org"), home.who("bea@example.org")])
    assert (anna.readable, bea.readable) == (False, True)


async def test_the_ledger_cannot_be_changed_or_cut(home: Home, store: SqlStore) -> None:
    """P7: append-only, also for whoever has the database open."""
    await store.record([home.consent("anna@example.org")])
    for statement in ("DELETE FROM ledger", "UPDATE ledger SET at = at + 1", "UPDATE ledger SET private = NULL"):
        with pytest.raises(REFUSED, match="append-only"):
            home.ask(statement)


async def test_a_unit_that_fails_takes_only_itself_back(home: Home, store: SqlStore) -> None:
    twin = home.arrival("anna@example.org")
    results = await asyncio.gather(
        store.enqueue(twin), store.enqueue(twin), store.enqueue(home.arrival("bea@example.org")), return_exceptions=True
    )
    assert [isinstance(result, REFUSED) for result in results] == [False, True, False]
    assert [result is None for result in results] == [True, False, True]
    assert await store.waiting() == 2


async def test_a_locked_database_is_unavailable_and_then_back(files: Home) -> None:
    """P5. How nodes wait for each other on a server: test_nodes.py."""
    store = files.place.store(files.ring, patience=0.05)
    await store.open()
    try:
        with sqlite3.connect(files.data, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.enqueue(files.arrival("anna@example.org"))
            other.execute("ROLLBACK")
        await store.enqueue(files.arrival("anna@example.org"))
        assert await store.waiting() == 1
    finally:
        await store.close()


async def test_a_full_disk_refuses_and_keeps_what_was_committed(files: Home) -> None:
    """P1, P5: SQLite's own limit stands in for the disk; it fails with the same error."""
    async with files.opened() as store:
        kept = files.arrival("anna@example.org")
        await store.enqueue(kept)
        await store._write(lambda h: h.db.execute("PRAGMA max_page_count = 1").fetchone())
        with pytest.raises(StoreUnavailable, match="full"):
            await store.enqueue(files.arrival("bea@example.org", body=os.urandom(1 << 20)))
        stored = await store.message("acme", kept.message_id)
        assert stored is not None and stored.body == kept.body
        await store._write(lambda h: h.db.execute("PRAGMA max_page_count = 1000000").fetchone())
        await store.enqueue(files.arrival("bea@example.org"))
        assert await store.waiting() == 2


async def test_a_database_file_that_is_not_there_does_not_open(files: Home) -> None:
    with pytest.raises(StoreUnavailable):
        async with sqlite.opened(files.data.with_name("none.db"), files.keys, files.ring):
            pass


async def test_a_database_of_another_version_does_not_open(home: Home) -> None:
    home.ask("UPDATE meta SET value = '0'")
    with pytest.raises(StoreUnavailable, match="migrate"):
        async with home.opened():
            pass


async def test_a_closed_store_says_so(home: Home) -> None:
    async with home.opened() as store:
        pass
    with pytest.raises(StoreUnavailable):
        await store.people([home.who("anna@example.org")])
    with pytest.raises(StoreUnavailable):
        await store.enqueue(home.arrival("anna@example.org"))


async def test_numbers_are_given_once_and_never_again(home: Home, store: SqlStore) -> None:
    first = [await store.number("acme", "stream", name) for name in ("a", "b", "a")]
    assert first[0] == first[2] != first[1]
    async with home.opened() as other:
        assert await other.number("acme", "stream", "a") == first[0]
        assert await other.number("globex", "stream", "a") not in first
        assert await other.name(first[1]) == ("acme", "stream", "b")
        assert await other.name(999) is None


async def test_staff_are_kept_replaced_and_removed(store: SqlStore) -> None:
    anna = Staff(name="anna", password_hash="x", roles=("marketer",), controllers=("acme",))
    await store.put_staff(anna, NOW)
    await store.put_staff(replace(anna, password_hash="y"), NOW)
    assert await store.staff("anna") == replace(anna, password_hash="y")
    assert await store.all_staff() == [replace(anna, password_hash="y")]
    assert await store.remove_staff("anna") and not await store.remove_staff("anna")
    assert await store.staff("anna") is None


def test_the_database_library_still_runs_functions_in_its_thread() -> None:
    """sqlite_connection.py rests on these names of the locked version."""
    assert callable(aiosqlite.Connection._execute)
    assert callable(aiosqlite.connect("unused.db")._thread.join)
