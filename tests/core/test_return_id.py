"""The local part of the return path: what it names, and what is not taken for one."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.came_back import open_message
from gateway.mail.envelope import LOCAL_PART_OCTETS
from gateway.mail.return_id import ReturnId, ReturnKeys

NEW, OLD, OTHER = bytes(32), b"\1" * 32, b"\2" * 32
KEYS = ReturnKeys([NEW, OLD])
ids = st.binary(min_size=16, max_size=16)
numbers = st.integers(0, (1 << 32) - 1)


@given(ids, numbers)
def test_what_is_made_opens_whatever_became_of_its_case(message_id: bytes, copy_no: int) -> None:
    local = KEYS.make(message_id, copy_no)
    assert re.fullmatch(r"b\+[a-z2-7]{45}", local)
    assert len(local) <= LOCAL_PART_OCTETS
    assert KEYS.open(local) == KEYS.open(local.upper()) == ReturnId(message_id, copy_no)


@given(ids, numbers, st.data())
def test_one_changed_character_opens_nothing(message_id: bytes, copy_no: int, data: st.DataObject) -> None:
    local = KEYS.make(message_id, copy_no)
    place = data.draw(st.integers(0, len(local) - 1))
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567+=@ 01é").filter(lambda c: c != local[place]))
    assert KEYS.open(local[:place] + other + local[place + 1 :]) is None


@given(st.text(max_size=80))
def test_any_text_is_answered(text: str) -> None:
    assert KEYS.open(text) is None
    assert KEYS.open("b+" + text) is None


@given(ids, numbers)
def test_keys_rotate_and_controllers_are_strangers(message_id: bytes, copy_no: int) -> None:
    assert KEYS.open(ReturnKeys([OLD]).make(message_id, copy_no)) == ReturnId(message_id, copy_no)
    assert KEYS.open(ReturnKeys([OTHER]).make(message_id, copy_no)) is None


def test_the_reader_of_reports_finds_it_in_the_mail_that_came_back() -> None:
    local = KEYS.make(bytes(range(16)), 7)
    report = f"From: <x@example.net>\nSubject: no\n\nReturn-Path: <{local}@bounce.acme.example>\n"
    assert open_message(report.encode()).original().return_ids == (local.removeprefix("b+"),)
