"""Database, keys and installation key: nothing opens with one of another installation (P5)."""

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.store import sqlite
from gateway.store.contract import Act, StoreUnavailable, Who
from suppression.vault import KeyRing

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
OLD, NEW = os.urandom(32), os.urandom(32)


class Home:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.data, self.keys, self.ring = folder / "data.db", folder / "keys.db", KeyRing({1: OLD})
        sqlite.create(self.data, self.keys)

    def opened(self, ring: KeyRing | None = None) -> Any:
        return sqlite.opened(self.data, self.keys, ring or self.ring)

    def who(self) -> Who:
        return Who("acme", self.ring.recipient_keys("acme", "anna@example.org"), ())

    async def fill(self) -> None:
        """Somebody of whom something is known."""
        act = Act(
            controller_id="acme", recipient_key=self.who().recipient_keys[0], kind="undeliverable",
            public={"undeliverable": True, "at": "2026-01-01T00:00:00Z"}, private=None, at=NOW,
            address="anna@example.org",
        )  # fmt: skip
        async with self.opened() as store:
            await store.record([act])


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "one")
    await made.fill()
    return made


def remove(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def put(source: Path, target: Path) -> None:
    remove(target)
    with sqlite3.connect(source) as read, sqlite3.connect(target) as written:
        read.backup(written)


async def test_the_three_of_one_installation_open_again(home: Home) -> None:
    for ring in (home.ring, KeyRing({1: OLD, 2: NEW})):
        async with home.opened(ring) as store:
            assert (await store.people([home.who()]))[0].standing.recipient.undeliverable


async def test_another_installation_key(home: Home) -> None:
    for ring in (KeyRing({1: NEW}), KeyRing({2: NEW})):
        with pytest.raises(StoreUnavailable, match="installation key"):
            async with home.opened(ring):
                pass


async def test_no_keys_database_is_not_an_empty_one(home: Home) -> None:
    remove(home.keys)
    with pytest.raises(StoreUnavailable):
        async with home.opened():
            pass
    assert not home.keys.exists()


async def test_the_keys_database_of_another_installation(home: Home, tmp_path: Path) -> None:
    new, used = Home(tmp_path / "two"), Home(tmp_path / "three")
    await used.fill()
    for other in (new, used):
        put(other.keys, home.keys)
        with pytest.raises(StoreUnavailable, match="not of one installation"):
            async with home.opened():
                pass


async def test_a_new_database_beside_keys_in_use(home: Home, tmp_path: Path) -> None:
    put(Home(tmp_path / "two").data, home.data)
    with pytest.raises(StoreUnavailable, match="not of one installation"):
        async with home.opened():
            pass


async def test_a_start_that_was_cut_off_between_the_two_commits(tmp_path: Path) -> None:
    made = Home(tmp_path / "one")
    async with made.opened():
        pass
    with sqlite3.connect(made.data) as data:
        data.execute("DELETE FROM meta WHERE name = 'pair'")
    data.close()
    await made.fill()
    async with made.opened() as store:
        assert (await store.people([made.who()]))[0].standing.recipient.undeliverable


async def test_whose_key_is_gone_is_not_nobody(home: Home) -> None:
    """What is on file of a person and cannot be opened puts a decision off: it may be a restriction (RULES.md A1)."""
    async with home.opened() as store:
        with sqlite3.connect(home.keys) as keys:
            keys.execute("DELETE FROM person_keys WHERE controller_id = 'acme'")
        keys.close()
        assert not (await store.people([home.who()]))[0].readable
        stranger = Who("acme", home.ring.recipient_keys("acme", "bob@example.org"), ())
        assert (await store.people([stranger]))[0].readable
