"""A person as of an instant, from the ledger: the same as the store gave then."""

import asyncio
import hashlib
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import recall
from gateway.recall import Gone
from gateway.record import opt_out_acts
from gateway.store.ahead import new_id
from gateway.store.contract import Act, Person, Statement, Stop, SuppressionRow, Who
from gateway.store.evidence import Erasure
from gateway.store.people import EVERYWHERE
from gateway.store.sql_store import SqlStore
from suppression.fields import written
from tests.core.law_facts import sale
from tests.store.test_contract import CONSENT, NOW, Home, ending

START = datetime(2020, 1, 1, tzinfo=UTC)
"""Long before the clock of whoever runs this: then the entries' own instants count, not those of their ids."""
PEOPLE = ("ann@example.org", "bob@example.org")
PURPOSES = ("newsletter", "events")


class Life:
    """Acts upon a store, each a few minutes after the one before."""

    def __init__(self, home: Home, store: SqlStore) -> None:
        self.home, self.store, self.now = home, store, START
        self.seen: list[tuple[datetime, Who, Person]] = []
        self.clicks: list[SuppressionRow] = []

    async def do(self, act: str, address: str, n: int) -> None:
        self.now += timedelta(minutes=1 + n)
        await getattr(self, act)(address, n)
        for one in PEOPLE:
            who = self.home.who(one)
            self.seen.append((self.now, who, (await self.store.people([who]))[0]))

    def _act(self, address: str, kind: str, private: dict[str, Any] | None, public: dict[str, Any]) -> Act:
        return Act(
            controller_id="acme", recipient_key=self.home.key(address), kind=kind, public=public, private=private,
            at=self.now, address=address,
        )  # fmt: skip

    def _row(self, address: str, **changes: Any) -> SuppressionRow:
        row = SuppressionRow(
            controller_id="acme", recipient_key=self.home.key(address), suppression_id=new_id(), scope="sender",
            purpose=None, reason="unsubscribe", source="page", at=self.now, lifted_at=None,
        )  # fmt: skip
        return replace(row, **changes)

    async def consent(self, address: str, n: int) -> None:
        given = written(self.now - timedelta(days=n))
        await self.store.record([self._act(address, "consent", {
            **CONSENT, "id": f"c{n % 3}", "purposes": [PURPOSES[n % 2]], "given_at": given,
        }, {})])  # fmt: skip

    async def sale(self, address: str, n: int) -> None:
        sold = written(self.now)
        await self.store.record([self._act(address, "sale", sale(id=f"s{n % 3}", concluded_at=sold), {})])

    async def person(self, address: str, n: int) -> None:
        country = ("NL", "BE", "DE")[n % 3]
        await self.store.record([self._act(address, "person", {"kind": "natural_person", "country": country}, {})])

    async def dead(self, address: str, n: int) -> None:
        await self.store.record([self._act(address, "undeliverable", None, {"undeliverable": bool(n % 2)})])

    async def hand_over(self, address: str, n: int) -> None:
        arrival = self.home.arrival(address, state="claimed", at=self.now)
        await self.store.enqueue(arrival)
        await self.store.finish("w1", [ending(
            arrival, at=self.now, recipient_key=self.home.key(address), mailed=n % 2 == 0,
            confirmation_of=PURPOSES[n % 2], dead_address=n % 7 == 6,
        )])  # fmt: skip

    async def click(self, address: str, n: int) -> None:
        purpose = PURPOSES[n % 2] if n % 3 else None
        row = self._row(address, scope="purpose" if purpose else "sender", purpose=purpose)
        placed = await self.store.opt_out(opt_out_acts(row), row, None)
        self.clicks.append(placed)

    async def undo(self, address: str, n: int) -> None:
        if self.clicks:
            row = self.clicks.pop()
            fields = {"ref": row.suppression_id.hex(), "ground": "undo"}
            acts = [
                Act(controller_id="acme", recipient_key=row.recipient_key, kind=kind, public=fields, private=None,
                    at=self.now)
                for kind in ("suppression_lifted", "withdrawal_undone")
            ]  # fmt: skip
            await self.store.lift(acts, replace(row, lifted_at=self.now))

    async def restrict(self, address: str, n: int) -> None:
        await self.store.record([self._act(address, "restriction", {
            "ref": f"r{n % 3}", "controller_id": "acme", "scope": "marketing", "purpose": None,
            "from": written(self.now),
        }, {})])  # fmt: skip

    async def release(self, address: str, n: int) -> None:
        fields = {"ref": f"r{n % 3}", "at": written(self.now)}
        await self.store.record([self._act(address, "restriction_lifted", fields, {})])

    async def ask_erasure(self, address: str, n: int) -> None:
        fields = {"ref": f"e{n % 2}", "controller_id": "acme", "received_at": written(self.now)}
        status = "open" if n % 3 else "refused"
        await self.store.record([self._act(address, "erasure_request", {**fields, "status": status}, {})])

    async def correct(self, address: str, n: int) -> None:
        changed = {"country": "FR" if n % 2 else None, "kind": "sole_trader"}
        await self.store.record([self._act(address, "rectification", {"changed": changed}, {})])

    async def brought(self, address: str, n: int) -> None:
        given = {**CONSENT, "id": f"i{n % 4}", "given_at": written(START - timedelta(days=400 * n))}
        who = self.home.who(address)
        entries = [("consent", given), ("person", {"language": "nl", "unless_known": {"kind": "natural_person"}})]
        await self.store.take_in(
            [Statement(who=who, address=address, entries=entries, profile={}, purposes=None)], at=self.now, dry=False
        )

    async def listed(self, address: str, n: int) -> None:
        until = self.now + timedelta(days=30) if n % 2 else None
        row = self._row(address, source="import", at=self.now - timedelta(days=n), lifted_at=until, reason="objection")
        who = self.home.who(address)
        if n % 3 == 0:
            row = replace(row, controller_id=EVERYWHERE, scope="global", recipient_key=who.global_keys[0])
            who = Who(EVERYWHERE, who.global_keys, ())
        await self.store.take_in_stops([Stop(who=who, row=row, acts=opt_out_acts(row))], at=self.now, dry=False)


ACTS = (
    "consent", "sale", "person", "dead", "hand_over", "click", "undo", "brought", "listed", "restrict", "release",
    "ask_erasure", "correct",
)  # fmt: skip


def same(live: Person, recalled: Person | Gone) -> None:
    assert isinstance(recalled, Person)
    assert recalled.standing == live.standing
    assert Counter(recalled.suppressions) == Counter(live.suppressions)
    assert (recalled.readable, recalled.recipient_key) == (live.readable, live.recipient_key)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(
    st.tuples(st.sampled_from(ACTS), st.sampled_from(PEOPLE), st.integers(0, 20)), min_size=3, max_size=14
))  # fmt: skip
def test_whoever_somebody_was_at_an_instant_is_who_the_ledger_recalls(story: list[tuple[str, str, int]]) -> None:
    """For any acts and any instant after one of them: live then, and recalled later, are the same person."""

    async def live_and_recall(folder: Path) -> None:
        home = Home(folder)
        async with home.opened() as store:
            life = Life(home, store)
            for act, address, n in story:
                await life.do(act, address, n)
            await store.seal()
            recalled = await recall.as_of(store, [(who, at) for at, who, _ in life.seen])
            for (_, _, live), then in zip(life.seen, recalled, strict=True):
                same(live, then)
            before = await recall.as_of(store, [(home.who(one), START) for one in PEOPLE])
            assert all(isinstance(one, Person) and not one.standing.known for one in before)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live_and_recall(Path(folder)))


async def test_an_erased_person_is_gone_before_the_erasure_and_a_tombstone_after_it(home: Home) -> None:
    async with home.opened() as store:
        life = Life(home, store)
        await life.do("consent", PEOPLE[0], 1)
        await life.do("click", PEOPLE[0], 1)
        was, who = life.now, home.who(PEOPLE[0])
        await store.erase(Erasure(
            controller_id="acme", recipient_keys=who.recipient_keys, at=was + timedelta(hours=1), by="test"
        ))  # fmt: skip
        before, after = await recall.as_of(store, [(who, was), (who, was + timedelta(hours=2))])
        assert isinstance(before, Gone)
        same((await store.people([who]))[0], after)
        assert isinstance(after, Person) and {s.reason for s in after.suppressions} == {"erasure", "unsubscribe"}


async def test_rows_under_an_older_live_key_are_found_and_its_opt_outs_count(home: Home) -> None:
    """Keys rotate: who was seen under the old one is recalled by a look-up that asks for the new one first."""
    async with home.opened() as store:
        life = Life(home, store)
        await life.do("consent", PEOPLE[0], 1)
        await life.do("click", PEOPLE[0], 1)
        old, newer = home.who(PEOPLE[0]), home.key("stand-in@example.org")
        both = Who("acme", (newer, *old.recipient_keys), old.global_keys)
        live = (await store.people([both]))[0]
        assert len(live.standing.consents) == 1
        same(live, (await recall.as_of(store, [(both, life.now)]))[0])


async def test_a_list_of_hashes_counts_from_when_it_was_brought(home: Home) -> None:
    async with home.opened() as store:
        life = Life(home, store)
        await life.do("consent", PEOPLE[0], 1)
        was = life.now
        digest = hashlib.sha256(PEOPLE[0].encode()).digest()
        await store.add_hashes("acme", [("sha256", digest)], at=was + timedelta(hours=1), dry=False)
        who = replace(home.who(PEOPLE[0]), address=PEOPLE[0])
        before, after = await recall.as_of(store, [(who, was), (who, was + timedelta(hours=2))])
        assert isinstance(before, Person) and isinstance(after, Person)
        assert (before.by_hash, before.suppressions) == (False, ())
        live = (await store.people([who]))[0]
        same(live, after)
        assert after.by_hash and live.by_hash and [s.source for s in after.suppressions] == ["hash-list"]


async def test_decisions_of_a_controller_are_read_page_by_page_and_about_a_person(home: Home) -> None:
    async with home.opened() as store:
        for _ in range(3):
            await store.enqueue(home.arrival(*PEOPLE))
        pages, after = [], (b"", -1)
        while page := await store.decided_after("acme", after=after, upto=b"\xff" * 16, n=4):
            pages.append([(one.message_id, one.copy_no) for one in page])
            after = pages[-1][-1]
        assert [len(page) for page in pages] == [4, 2]
        everything = [place for page in pages for place in page]
        assert everything == sorted(set(everything)) and len(everything) == 6
        about = await store.decided_about("acme", home.who(PEOPLE[1]).recipient_keys, since=START, n=2)
        assert [one.copy_no for one in about] == [1, 1] and about[0].message_id == everything[-1][0]
        assert await store.decided_about("other", home.who(PEOPLE[1]).recipient_keys, since=START, n=2) == []
        first = await store.decided_of_message("acme", everything[0][0], after=-1, n=9)
        assert [one.copy_no for one in first] == [0, 1]
        known = await store.addresses("acme", [one.recipient_key for one in first])
        assert sorted(known.values()) == sorted(PEOPLE)


async def test_an_entry_counts_from_when_it_was_written_where_its_act_is_dated_earlier(home: Home) -> None:
    """An opt-out is dated with its whole second, an import with its start: a decision in between knew of neither."""
    async with home.opened() as store:
        life = Life(home, store)
        life.now = datetime.now(UTC) - timedelta(minutes=2)
        await life.consent(PEOPLE[0], 1)
        asked = datetime.now(UTC) - timedelta(seconds=30)
        first, then = await recall.as_of(
            store, [(home.who(PEOPLE[0]), asked), (home.who(PEOPLE[0]), datetime.now(UTC) + timedelta(seconds=1))]
        )
        assert isinstance(first, Person) and isinstance(then, Person)
        assert (first.standing.known, then.standing.known) == (False, True)


async def test_a_standing_that_makes_no_sense_hides_no_opt_out(home: Home) -> None:
    async with home.opened() as store:
        life = Life(home, store)
        await store.record([home.consent(PEOPLE[0], given_at="yesterday")])
        await life.do("click", PEOPLE[0], 1)
        who = home.who(PEOPLE[0])
        live, then = (await store.people([who]))[0], (await recall.as_of(store, [(who, NOW)]))[0]
        same(live, then)
        assert (live.readable, len(live.suppressions)) == (False, 1)


async def test_an_entry_that_does_not_open_makes_nobody_known_from_then_on(home: Home) -> None:
    async with home.opened() as store:
        life = Life(home, store)
        await life.do("consent", PEOPLE[0], 1)
        was = life.now
        await life.do("sale", PEOPLE[0], 1)
        who = home.who(PEOPLE[0])
    home.ask("UPDATE ledger SET private = zeroblob(40) WHERE kind = 'sale'", forged=True)
    async with home.opened() as store:
        first, then = await recall.as_of(store, [(who, was), (who, life.now)])
        assert isinstance(first, Person) and first.readable and len(first.standing.consents) == 1
        assert isinstance(then, Person) and not then.readable
