"""What proves consents in a real database: kept once, never changed, and found when somebody changes it anyway."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import appraise
from gateway.store.evidence import Erasure
from gateway.store.material import NameTaken, NewAttachment, Unattached
from gateway.store.sql_store import SqlStore
from suppression.evidence import Choice, Wording
from suppression.proof_meter import Meter
from suppression.provenance import ListSource
from tests.store.places import REFUSED, Place
from tests.store.test_contract import NOW
from tests.store.test_ledger_store import Keyed, differences, findings, tampered

FORM = Wording(
    name="form-1", language="nl", choices=(Choice(purpose="newsletter", text="Ja, mail mij", ticked=False),),
    layout="<form></form>", layout_type="text/html", notice_version="p3", notice_url=None,
)  # fmt: skip
OTHER = Wording(
    name="paper-1", language=None, choices=(), layout="Teken hier.", layout_type="text/plain", notice_version=None,
    notice_url=None,
)  # fmt: skip


@pytest.fixture
def home(place: Place) -> Keyed:
    return Keyed(place)


@pytest.fixture
async def store(home: Keyed) -> AsyncIterator[SqlStore]:
    async with home.opened() as opened:
        yield opened


async def test_a_wording_is_kept_once_under_as_many_names_as_it_has(store: SqlStore) -> None:
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


async def test_a_name_is_never_reused_and_nothing_of_the_second_is_kept(store: SqlStore) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    with pytest.raises(NameTaken, match="form-1"):
        await store.keep_wording("acme", OTHER.named("form-1"), at=NOW)
    assert await store.wording("acme", OTHER.digest()) is None
    kept = await store.wording("acme", "form-1")
    assert kept is not None
    assert kept.wording == FORM


async def test_another_controller_does_not_see_it_and_may_use_the_name(store: SqlStore) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    assert await store.wording("other", "form-1") is None
    await store.keep_wording("other", OTHER.named("form-1"), at=NOW)
    kept = await store.wording("acme", "form-1")
    assert kept is not None
    assert kept.wording == FORM


@pytest.mark.parametrize("table", ["wordings", "wording_names"])
async def test_rows_are_neither_changed_nor_removed(store: SqlStore, home: Keyed, table: str) -> None:
    await store.keep_wording("acme", FORM, at=NOW)
    for statement in (f"UPDATE {table} SET digest = x'00'", f"DELETE FROM {table}"):
        with pytest.raises(REFUSED, match="wordings are kept"):
            home.ask(statement)


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
    store: SqlStore, home: Keyed, statement: str, said: str
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


async def test_a_wording_that_was_touched_is_shown_to_nobody(store: SqlStore, home: Keyed) -> None:
    digest = await store.keep_wording("acme", FORM, at=NOW)
    await store.keep_wording("acme", OTHER, at=NOW)
    tampered(home, ("UPDATE wordings SET content = CAST(replace(content, 'Ja', 'JA') AS BLOB)", ()))
    assert await store.wording("acme", "form-1") is None
    assert await store.wording("acme", digest) is None
    assert [one.wording.name for one in await store.wordings("acme")] == ["paper-1"]


async def test_a_wording_that_was_kept_a_moment_ago_is_no_finding(store: SqlStore, home: Keyed) -> None:
    await store.keep_wording("acme", FORM, at=NOW)  # not sealed yet
    assert await findings(store, home) == []


# --- the proof of a list


async def test_a_list_is_counted_again_only_when_the_ledger_grew(store: SqlStore, home: Keyed) -> None:
    await store.record([home.consent(f"p{n}@example.org") for n in range(3)])
    first = await appraise.current(store, "acme", clock=lambda: NOW)
    assert (first.meter.people, first.meter.best) == (3, {"weak": 3})
    assert await appraise.current(store, "acme", clock=lambda: NOW + timedelta(hours=2)) == first
    await store.keep_wording("acme", FORM.named("w"), at=NOW)
    kept = await store.meter("acme")
    assert kept is not None
    assert not kept.current
    again = await appraise.current(store, "acme", clock=lambda: NOW)
    assert again.meter.best == {"good": 3}


async def test_only_one_process_counts_and_not_too_often(store: SqlStore, home: Keyed) -> None:
    hour = timedelta(hours=1)
    assert await store.begin_meter("acme", now=NOW, until=NOW + hour) == (False, b"")
    await store.record([home.consent("anna@example.org")])
    due, newest = await store.begin_meter("acme", now=NOW, until=NOW + hour)
    assert due
    assert await store.begin_meter("acme", now=NOW, until=NOW + hour) == (False, newest)
    await store.keep_meter("acme", Meter(people=7), entry_id=newest, counted_at=NOW, due_at=NOW + hour)
    await store.record([home.consent("bob@example.org")])
    assert not (await store.begin_meter("acme", now=NOW + hour / 2, until=NOW + hour))[0]
    assert (await store.begin_meter("acme", now=NOW + hour, until=NOW + 2 * hour))[0]
    kept = await store.meter("acme")
    assert kept is not None
    assert (kept.meter.people, kept.counted_at, kept.current) == (7, NOW, False)


async def test_pages_of_standings_reach_everybody_who_can_be_read_and_count_the_others(
    store: SqlStore, home: Keyed
) -> None:
    await store.record([home.consent(f"p{n}@example.org") for n in range(7)])
    home.ask("UPDATE standing SET facts = x'00' WHERE recipient_key = ?", home.key("p3@example.org"))
    seen, unreadable, after = 0, 0, b""
    while (page := await store.standing_page("acme", after=after, n=3)) and page.after is not None:
        seen, unreadable, after = seen + len(page.standings), unreadable + page.unreadable, page.after
    assert (seen + len(page.standings), unreadable + page.unreadable) == (6, 1)
    assert (await store.standing_page("other", after=b"", n=3)).standings == ()


async def test_versions_of_wordings_stand_nowhere_in_the_clear(store: SqlStore, home: Keyed) -> None:
    await store.record([home.consent("anna@example.org")])
    await appraise.current(store, "acme", clock=lambda: NOW)
    [(content,)] = home.ask("SELECT content FROM meters")
    assert b"web_form" not in content
    assert b"people" not in content


# --- files about lists of third parties

EXPO = ListSource(name="expo2026", kind="purchased_list", seller="Expo B.V.", version=1)


async def test_every_version_of_a_file_is_kept_and_none_twice(store: SqlStore) -> None:
    await store.keep_source("acme", EXPO, at=NOW)
    second = EXPO.next(seller="Expo N.V.")
    await store.keep_source("acme", second, at=NOW + timedelta(days=1))
    for late in (EXPO, second, second.next().next()):
        with pytest.raises(NameTaken, match="changed meanwhile"):
            await store.keep_source("acme", late, at=NOW)
    assert [one.source for one in await store.sources("acme", "expo2026")] == [second, EXPO]
    assert [(one.source, one.at) for one in await store.sources("acme")] == [(second, NOW + timedelta(days=1))]
    assert await store.sources("other") == await store.sources("acme", "other") == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE sources SET content = zeroblob(length(content)) WHERE version = 1", "version 1 of the file"),
        ("UPDATE sources SET at = at + 1 WHERE version = 2", "at another time"),
        ("DELETE FROM sources WHERE version = 2", "version 2 of the file about the list 'expo2026' is gone"),
        (
            "UPDATE sources SET version = 3 WHERE version = 2",
            "version 3 of the file about the list 'expo2026' is in no",
        ),
        ("INSERT INTO sources VALUES ('acme', 'other', 1, x'00', 1)", "'other' is in no entry"),
    ],
)
async def test_verify_names_the_file_that_was_touched(store: SqlStore, home: Keyed, statement: str, said: str) -> None:
    await store.keep_source("acme", EXPO, at=NOW)
    await store.keep_source("acme", EXPO.next(), at=NOW)
    await store.seal()
    assert await findings(store, home) == []
    tampered(home, statement)
    found: list[Any] = await findings(store, home)
    assert {one.what for one in found} == {"source"}
    assert any(said in one.text for one in found), [one.text for one in found]


# --- attachments

SCAN = b"%PDF-1.7 geheim " * 1000


def scan(home: Keyed, address: str = "anna@example.org", **more: Any) -> NewAttachment:
    given: dict[str, Any] = {
        "controller_id": "acme", "recipient_key": home.key(address), "at": NOW, "name": "formulier.pdf",
        "media_type": "application/pdf", "note": "stand 14", "consent_id": "c1", "by": "petra", "content": SCAN,
    }  # fmt: skip
    return NewAttachment(**{**given, **more})


@pytest.fixture
async def attached(store: SqlStore, home: Keyed) -> bytes:
    await store.record([home.consent("anna@example.org"), home.consent("bob@example.org")])
    attachment_id = await store.attach(scan(home))
    await store.seal()
    return attachment_id


async def test_an_attachment_is_kept_sealed_and_comes_back(store: SqlStore, home: Keyed, attached: bytes) -> None:
    [kept] = await store.attachments("acme", home.key("anna@example.org"))
    assert (kept.attachment_id, kept.name, kept.note, kept.consent_id) == (attached, "formulier.pdf", "stand 14", "c1")
    assert (kept.sha256, kept.size, kept.there) == (hashlib.sha256(SCAN).hexdigest(), len(SCAN), True)
    assert await store.attachment("acme", home.key("anna@example.org"), attached) == SCAN
    assert await store.attachment("acme", home.key("bob@example.org"), attached) is None
    assert await store.attachments("acme", home.key("bob@example.org")) == []
    kept_there = home.place.on_disk()
    assert not any(word in kept_there for word in (b"geheim", b"formulier", b"stand 14", b"petra"))
    assert await findings(store, home) == []
    assert await differences(store) == []


async def test_what_cannot_be_attached_says_why_and_leaves_nothing(store: SqlStore, home: Keyed) -> None:
    with pytest.raises(Unattached, match="record the consent first"):
        await store.attach(scan(home))
    await store.record([home.consent("anna@example.org")])
    with pytest.raises(Unattached, match="no consent 'c9'; on file: c1"):
        await store.attach(scan(home, consent_id="c9"))
    keys = home.who("anna@example.org").recipient_keys
    await store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=NOW, by="test"))
    with pytest.raises(Unattached, match="was erased"):
        await store.attach(scan(home))
    assert home.ask("SELECT count(*) FROM attachments") == [(0,)]
    assert home.ask("SELECT count(*) FROM ledger WHERE kind = 'evidence'") == [(0,)]


async def test_under_a_key_that_does_not_open_nothing_is_attached_and_nothing_shown(
    store: SqlStore, home: Keyed, attached: bytes
) -> None:
    key = home.key("anna@example.org")
    spoilt = "UPDATE person_keys SET wrapped = zeroblob(61) WHERE recipient_key = ?"
    home.ask(spoilt, key, of="keys", forged=True)
    with pytest.raises(Unattached, match="cannot be read: see `consentgate doctor`"):
        await store.attach(scan(home))
    assert await store.attachments("acme", key) == []
    assert await store.attachment("acme", key, attached) is None
    assert home.ask("SELECT count(*) FROM attachments") == [(1,)]


async def test_erasing_the_person_takes_it_along_and_verify_stays_green(
    store: SqlStore, home: Keyed, attached: bytes
) -> None:
    keys = home.who("anna@example.org").recipient_keys
    await store.erase(Erasure(controller_id="acme", recipient_keys=keys, at=NOW, by="test"))
    await store.seal()
    assert await store.attachment("acme", keys[0], attached) is None
    assert await store.attachments("acme", keys[0]) == []
    assert await findings(store, home) == []
    await store.record([home.consent("anna@example.org")])  # refused: nothing new about whoever was erased
    assert await findings(store, home) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE attachments SET content = zeroblob(length(content))", "was changed"),
        ("UPDATE attachments SET at = at + 1", "at another time"),
        ("UPDATE attachments SET recipient_key = zeroblob(16)", "under a person who has no key"),
        ("UPDATE attachments SET attachment_id = zeroblob(16)", "is gone, and the person was not erased"),
        ("UPDATE attachments SET attachment_id = zeroblob(16)", "is in no entry"),
        ("DELETE FROM attachments", "is gone, and the person was not erased"),
        ("UPDATE attachments SET controller_id = 'other'", "is gone, and the person was not erased"),
    ],
)
async def test_verify_names_the_attachment_that_was_touched(
    store: SqlStore, home: Keyed, attached: bytes, statement: str, said: str
) -> None:
    tampered(home, statement)
    found: list[Any] = await findings(store, home)
    assert {one.what for one in found} == {"attachment"}
    assert any(said in one.text for one in found), [one.text for one in found]
    assert attached.hex() in "".join(one.text for one in found)


async def test_an_attachment_put_under_another_person_is_found(store: SqlStore, home: Keyed, attached: bytes) -> None:
    tampered(home, ("UPDATE attachments SET recipient_key = ?", [home.key("bob@example.org")]))
    [found] = await findings(store, home)
    assert found.text == f"attachment {attached.hex()} was put under another person"
