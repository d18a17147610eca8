"""A person's key is missing, or does not open: nothing stored is written over, and an opt-out counts all the same."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from gateway.record import opt_out_acts
from gateway.store.connection import Handles
from gateway.store.contract import Act, Stop
from gateway.store.keys import STAND_IN
from gateway.store.material import NewAttachment
from gateway.store.sql_store import SqlStore
from tests.store.places import Place
from tests.store.test_contract import NOW, Home, stop
from tests.store.test_ledger_store import Keyed, differences, erasure, findings

ANNA = "anna@example.org"
RESTRICTION = {
    "ref": "r1", "controller_id": "acme", "scope": "all", "purpose": None, "from": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def home(place: Place) -> Keyed:
    return Keyed(place)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


def key_of(home: Home, address: str = ANNA) -> bytes:
    return home.who(address).recipient_keys[0]


def act(home: Home, kind: str, fields: dict[str, Any], address: str = ANNA) -> Act:
    return Act(
        controller_id="acme", recipient_key=key_of(home, address), kind=kind, public={}, private=fields, at=NOW,
        address=address,
    )  # fmt: skip


async def restricted(store: SqlStore, home: Keyed) -> None:
    """Anna agreed, and asked to be left alone until her objection is weighed."""
    await store.record([home.consent(ANNA), act(home, "restriction", RESTRICTION), home.consent("bea@example.org")])
    await store.seal()


@contextlib.contextmanager
def without_key(home: Keyed, instead: bytes | None = None) -> Iterator[None]:
    """Anna's key is missing from the keys database, or is another; afterwards the copy is put back."""
    place = ("acme", key_of(home))
    where = "WHERE controller_id = ? AND recipient_key = ?"

    def keys(sql: str, *values: object) -> list[tuple[Any, ...]]:
        return home.ask(sql, *values, of="keys", forged=True)

    [(kept,)] = keys(f"SELECT wrapped FROM person_keys {where}", *place)
    keys(f"DELETE FROM person_keys {where}", *place)
    if instead is not None:
        keys("INSERT INTO person_keys VALUES (?, ?, ?)", *place, instead)
    yield
    keys(f"DELETE FROM person_keys {where}", *place)
    keys("INSERT INTO person_keys VALUES (?, ?, ?)", *place, kept)


async def readable(store: SqlStore, home: Keyed) -> bool:
    return (await store.people([home.who(ANNA)]))[0].readable


@pytest.mark.parametrize("instead", [None, b"\x01" + os.urandom(60)], ids=["missing", "does not open"])
async def test_a_lost_key_costs_nobody_their_restriction(home: Keyed, store: SqlStore, instead: bytes | None) -> None:
    """Whatever happens meanwhile: decisions are put off, and when the key is back all of it counts."""
    await restricted(store, home)
    row = stop(home, ANNA, None)[1]
    with without_key(home, instead):
        assert not await readable(store, home)
        assert await store.record([home.consent(ANNA, id="later"), act(home, "undeliverable", {"undeliverable": True})])
        assert (await store.opt_out(opt_out_acts(row), row, None)).suppression_id == row.suppression_id
        [anna] = await store.people([home.who(ANNA)])
        assert not anna.readable and [s.scope for s in anna.suppressions] == ["sender"]
        again = await store.opt_out(opt_out_acts(row), row, None)
        assert again.suppression_id == row.suppression_id
        await store.seal()
        assert await findings(store, home) == []
        assert any("the key of this person" in text for text in await differences(store, write=True))
    [anna] = await store.people([home.who(ANNA)])
    assert [one.scope for one in anna.standing.restrictions] == ["all"]  # at once, before anything is rebuilt
    assert await differences(store) == ["the standing is not what the entries amount to"]
    await differences(store, write=True)
    assert await differences(store) == []
    [anna] = await store.people([home.who(ANNA)])
    assert [one.scope for one in anna.standing.restrictions] == ["all"]
    assert {consent.id for consent in anna.standing.consents} == {"c1", "later"}
    assert all(consent.withdrawn_at is not None for consent in anna.standing.consents)
    assert anna.standing.recipient.undeliverable and anna.suppressions
    kinds = [entry.kind for entry in (await store.histories([home.who(ANNA)]))[0].own.entries]
    assert kinds == ["consent", "restriction", "consent", "undeliverable", "suppression", "withdrawal"]


async def test_an_opt_out_in_a_file_counts_for_somebody_whose_key_is_lost(home: Keyed, store: SqlStore) -> None:
    await restricted(store, home)
    row = stop(home, ANNA, None)[1]
    with without_key(home):
        [taken] = await store.take_in_stops(
            [Stop(who=home.who(ANNA), row=row, acts=opt_out_acts(row))], at=NOW, dry=False
        )
        assert taken.outcome == "kept"
        [anna] = await store.people([home.who(ANNA)])
        assert anna.suppressions and not anna.readable
        assert await findings(store, home) == []
    await differences(store, write=True)
    [anna] = await store.people([home.who(ANNA)])
    assert anna.standing.restrictions and anna.standing.consents[0].withdrawn_at is not None
    assert await differences(store) == []


async def test_where_what_stood_in_for_a_key_does_not_open_nothing_is_guessed(home: Keyed, store: SqlStore) -> None:
    await restricted(store, home)
    await store.attach(NewAttachment(
        controller_id="acme", recipient_key=key_of(home), consent_id=None, name="scan.pdf", note="", by="wim", at=NOW,
        media_type="application/pdf", content=b"%PDF",
    ))  # fmt: skip
    with without_key(home):
        await store.record([home.consent(ANNA, id="later")])
    stand_in = key_of(home) + STAND_IN
    spoilt = "UPDATE person_keys SET wrapped = ? WHERE recipient_key = ?"
    home.ask(spoilt, os.urandom(61), stand_in, of="keys", forged=True)
    assert [one.name for one in await store.attachments("acme", key_of(home))] == ["scan.pdf"]
    for write in (False, True):
        [text] = await differences(store, write=write)
        assert "what stood in for it, does not open" in text
    [anna] = await store.people([home.who(ANNA)])
    assert anna.standing.restrictions and [consent.id for consent in anna.standing.consents] == ["c1"]


async def test_erasing_somebody_whose_key_is_lost_takes_what_stood_in_for_it(home: Keyed, store: SqlStore) -> None:
    await restricted(store, home)
    with without_key(home):
        await store.record([home.consent(ANNA, id="later")])
        [(before,)] = home.ask("SELECT count(*) FROM person_keys", of="keys")
        await store.erase(erasure(home, ANNA))
        assert home.ask("SELECT count(*) FROM person_keys", of="keys") == [(before - 1,)]
        await store.seal()
        assert await findings(store, home) == [] and await differences(store) == []


async def test_a_standing_that_was_damaged_is_made_again_from_the_ledger_not_from_nothing(
    home: Keyed, store: SqlStore
) -> None:
    await restricted(store, home)
    home.ask("UPDATE standing SET facts = ? WHERE recipient_key = ?", os.urandom(90), key_of(home))
    await store.record([home.consent(ANNA, id="later")])
    assert not await readable(store, home)
    assert await differences(store, write=True) == ["the standing cannot be read"]
    [anna] = await store.people([home.who(ANNA)])
    assert anna.standing.restrictions and {c.id for c in anna.standing.consents} == {"c1", "later"}


async def test_a_unit_that_fails_destroys_no_key_whoever_shares_its_transaction(home: Keyed, store: SqlStore) -> None:
    """What the key sealed is still there, since that part of the unit was not written."""
    bea = "bea@example.org"
    await restricted(store, home)

    def fails(handles: Handles) -> None:
        handles.keys.forget("acme", key_of(home))
        raise ValueError("by its own fault")

    def forgets(handles: Handles) -> bool:
        return handles.keys.forget("acme", key_of(home, bea))

    failed, forgot, again = await asyncio.gather(
        *map(store._write, (fails, forgets, fails)), return_exceptions=True
    )  # fmt: skip
    assert isinstance(failed, ValueError) and isinstance(again, ValueError) and forgot is True
    async with home.opened() as other:
        anna, gone = await other.people([home.who(ANNA), home.who(bea)])
    assert anna.readable and anna.standing.restrictions
    assert not gone.readable
