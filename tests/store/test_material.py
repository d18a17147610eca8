"""What proves consents in a real database: kept once, never changed, and found when somebody changes it anyway."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.store import sqlite
from gateway.store.material import NameTaken
from suppression.evidence import Choice, Wording
from tests.store.test_contract import NOW
from tests.store.test_ledger_store import Keyed, findings, tampered

FORM = Wording(
    name="form-1", language="nl", choices=(Choice(purpose="newsletter", text="Ja, mail mij", ticked=False),),
    layout="<form></form>", layout_type="text/html", notice_version="p3", notice_url=None,
)  # fmt: skip
OTHER = Wording(
    name="paper-1", language=None, choices=(), layout="Teken hier.", layout_type="text/plain", notice_version=None,
    notice_url=None,
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Keyed:
    return Keyed(tmp_path)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[sqlite.SqliteStore]:
    async with home.opened() as opened:
        yield opened


async def test_a_wording_is_kept_once_under_as_many_names_as_it_has(store: sqlite.SqliteStore) -> None:
    digest = await store.keep_wording("acme", FORM, at=NOW)
    assert digest == FORM.digest()
    assert await store.keep_wording("acme", FORM, at=NOW + timedelta(days=1)) == digest
    assert await store.keep_wording("acme", FORM.named("form-0"), at=NOW + timedelta(days=2)) == digest
    kept = await store.wording("acme", "form-1")
    assert kept is not None
    assert (kept.wording, kept.digest, kept.first_at) == (FORM, digest, NOW)
    assert await store.wording("acme", digest) == kept  # under the first of its names
    assert [one.wording.name for one in await store.wordings("acme")] == ["form-0", "form-1"]
    assert [one.wording.name for one in await store.wordings("acme", after="form-0")] == ["form-1"]


async def test_a_name_is_never_reused_and_nothing_of_the_second_is_kept(store: sqlite.SqliteStore) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    with pytest.raises(NameTaken, match="form-1"):
        await store.keep_wording("acme", OTHER.named("form-1"), at=NOW)
    assert await store.wording("acme", OTHER.digest()) is None
    kept = await store.wording("acme", "form-1")
    assert kept is not None
    assert kept.wording == FORM


async def test_another_controller_does_not_see_it_and_may_use_the_name(store: sqlite.SqliteStore) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    assert await store.wording("other", "form-1") is None
    await store.keep_wording("other", OTHER.named("form-1"), at=NOW)
    kept = await store.wording("acme", "form-1")
    assert kept is not None
    assert kept.wording == FORM


@pytest.mark.parametrize("table", ["wordings", "wording_names"])
async def test_rows_are_neither_changed_nor_removed(store: sqlite.SqliteStore, home: Keyed, table: str) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    with sqlite3.connect(home.data) as db:
        for statement in (f"UPDATE {table} SET digest = x'00'", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="wordings are kept"):
                db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE wordings SET content = CAST(replace(content, 'Ja', 'JA') AS BLOB)", "'form-1' was changed"),
        ("UPDATE wordings SET digest = substr(digest, 2)", "'form-1' has lost its content"),
        ("DELETE FROM wordings", "'form-1' has lost its content"),
        ("UPDATE wording_names SET digest = x'00' WHERE name = 'form-1'", "stands for another content"),
        ("UPDATE wording_names SET name = 'form-2' WHERE name = 'form-1'", "'form-1' is gone"),
        ("UPDATE wording_names SET name = 'form-2' WHERE name = 'form-1'", "'form-2' is in no entry"),
        ("UPDATE wording_names SET first_at = first_at + 1 WHERE name = 'form-1'", "at another time"),
        ("DELETE FROM wording_names WHERE name = 'form-1'", "'form-1' is gone"),
        ("DELETE FROM wording_names WHERE name = 'form-1'", "has no name"),
        ("INSERT INTO wording_names VALUES ('acme', 'form-9', x'00', 1)", "'form-9' is in no entry"),
        ("INSERT INTO wordings VALUES ('acme', x'00', x'7b7d')", "has no name"),
        ("UPDATE wording_names SET controller_id = 'other' WHERE name = 'form-1'", "'form-1' is gone"),
    ],
)
async def test_verify_names_the_wording_that_was_touched(
    store: sqlite.SqliteStore, home: Keyed, statement: str, said: str
) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    await store.keep_wording("acme", OTHER, at=NOW)
    await store.seal()
    assert await findings(store, home) == []
    tampered(home, statement)
    found: list[Any] = await findings(store, home)
    assert {one.what for one in found} == {"wording"}
    assert any(said in one.text for one in found), [one.text for one in found]
    assert all(one.seq == 1 for one in found if "'form-1'" in one.text and "no entry" not in one.text)


async def test_a_wording_that_was_kept_a_moment_ago_is_no_finding(store: sqlite.SqliteStore, home: Keyed) -> None:
    await store.keep_wording("acme", FORM, at=NOW)  # not sealed yet
    assert await findings(store, home) == []
