"""Checks of our own mail: counted, and the last word stands."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.store.checks import CheckNote
from gateway.store.contract import Store
from tests.store.places import Place
from tests.store.test_contract import Home

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
NAME = "cg1._domainkey.acme.example"


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    async with Home(place).opened() as opened:
        yield opened


def note(at: datetime, failed: int = 0, why: str = "", controller_id: str = "acme") -> CheckNote:
    return CheckNote(
        controller_id=controller_id, kind="signature", name=NAME, checked=2, failed=failed, at=at, why=why
    )  # fmt: skip


async def test_counts_grow_and_a_good_check_after_a_bad_one_is_well(store: Store) -> None:
    await store.note_checks([note(NOW), note(NOW + timedelta(minutes=1), 1, "the body was changed")])
    [kept] = await store.checks("acme")
    assert (kept.checked, kept.failed, kept.why) == (4, 1, "the body was changed")
    assert kept.failed_at == kept.last_at == NOW + timedelta(minutes=1) and not kept.well
    await store.note_checks([note(NOW + timedelta(minutes=2))])
    [kept] = await store.checks("acme")
    assert kept.well and (kept.checked, kept.failed, kept.why) == (6, 1, "the body was changed")
    assert kept.last_at == NOW + timedelta(minutes=2)


async def test_controllers_are_strangers(store: Store) -> None:
    await store.note_checks([note(NOW, controller_id="beta"), note(NOW)])
    await store.note_checks([])
    assert [len(await store.checks(name)) for name in ("acme", "beta", "gamma")] == [1, 1, 0]
