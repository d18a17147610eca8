"""What a killed process had handed over is not sent again: gateway/handed_over.py beside a real store."""

from pathlib import Path

import pytest

from gateway import handed_over
from gateway.handed_over import HandedOver
from gateway.store.sql_store import SqlStore
from tests.store.test_contract import NOW, Home, ending


@pytest.fixture
def notes(tmp_path: Path) -> HandedOver:
    return HandedOver(tmp_path / "handed-over.w1")


def after_a_kill(notes: HandedOver) -> HandedOver:
    """The notes as the next process finds them: nothing was closed."""
    return HandedOver(notes._path)


async def test_a_copy_that_had_left_is_not_claimed_again(home: Home, store: SqlStore, notes: HandedOver) -> None:
    gone, stays = home.arrival("anna@example.org"), home.arrival("bea@example.org")
    await store.enqueue(gone, stays)
    assert len(await store.claim("w1", "main", now=NOW, n=9)) == 2
    notes.note(ending(gone, mailed=True, recipient_key=home.key("anna@example.org")))
    left = after_a_kill(notes).left()
    assert [(one.message_id, one.state, one.reply, one.mailed) for one in left] == [
        (gone.message_id, "delivered", "250 ok", True)
    ]
    await store.finish("w1", left)
    await store.finish("w1", left)  # killed once more before the file was emptied
    assert await store.take_back("w1", NOW) == 1
    assert [one.message_id for one in await store.claim("w1", "main", now=NOW, n=9)] == [stays.message_id]
    assert await store.message("acme", gone.message_id) is None


async def test_what_another_worker_has_by_now_is_left_to_it(home: Home, store: SqlStore, notes: HandedOver) -> None:
    sent = home.arrival("anna@example.org")
    await store.enqueue(sent)
    await store.claim("w1", "main", now=NOW, n=1)
    notes.note(ending(sent))
    await store.take_back("w1", NOW)
    assert len(await store.claim("w2", "main", now=NOW, n=1)) == 1
    await store.finish("w1", after_a_kill(notes).left())
    assert len(await store.claimed("w2")) == 1


def test_only_what_was_delivered_has_a_note_and_only_until_the_store_has_it(home: Home, notes: HandedOver) -> None:
    copies = [ending(home.arrival("anna@example.org"), state=state) for state in ("delivered", "failed", "held")]
    for one in copies:
        notes.note(one)
    assert [one.state for one in after_a_kill(notes).left()] == ["delivered"]
    notes.forget()
    assert len(after_a_kill(notes).left()) == 1
    notes.told(copies)
    notes.forget()
    assert after_a_kill(notes).left() == []


def test_a_long_file_is_begun_anew_with_what_the_store_does_not_have(
    home: Home, notes: HandedOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handed_over, "LARGEST", 2000)
    waits = ending(home.arrival("anna@example.org"))
    notes.note(waits)
    for _ in range(50):
        one = ending(home.arrival("bea@example.org"))
        notes.note(one)
        notes.told([one])
    assert notes._path.stat().st_size < 4000
    assert waits.message_id in {one.message_id for one in after_a_kill(notes).left()}
    assert notes._path.stat().st_mode & 0o777 == 0o600
    assert b"example.org" not in notes._path.read_bytes()


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xff\x00", b'{"controller_id": "acme"}\n', b"[]\n", b"7\n"])
def test_lines_that_are_none_of_ours_say_nothing(home: Home, notes: HandedOver, text: bytes) -> None:
    notes.note(ending(home.arrival("anna@example.org")))
    whole = notes._path.read_bytes()
    notes._path.write_bytes(text + b"\n" + whole + whole[:-20])
    assert len(after_a_kill(notes).left()) == 1


def test_where_it_cannot_be_written_mail_goes_on(home: Home, tmp_path: Path) -> None:
    nowhere = HandedOver(tmp_path / "missing" / "handed-over.w1")
    nowhere.note(ending(home.arrival("anna@example.org")))
    nowhere.forget()
    nowhere.close()
    assert nowhere.left() == []
    assert not (tmp_path / "missing").exists()
