"""Lists of recipients: plain lines, or CSV with a column email; read as they are asked for."""

from itertools import count, islice

import pytest

from gateway.files.recipients import recipients
from gateway.files.table import LINE_BYTES, Refusal


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n\n", []),
        ("a@x.example\nb@x.example", ["a@x.example", "b@x.example"]),
        ("\ufeffa@x.example\r\n\r\n  b@x.example  \r\n", ["a@x.example", "b@x.example"]),
        ("email\na@x.example\n\nb@x.example\n", ["a@x.example", "b@x.example"]),
        ('name;Email;age\n"Jansen; A.";a@x.example;3\nB;;4\nC\n', ["a@x.example"]),
        ("\ufeff\nEMAIL\tname\na@x.example\tA\n", ["a@x.example"]),
        ('name,email\n"two\nlines",a@x.example\n', ["a@x.example"]),
        ("not an address\n=1+1\n", ["not an address", "=1+1"]),
        ("é@x.example\n", ["é@x.example"]),
    ],
)
def test_the_addresses_come_out_as_they_stand_there(text: str, found: list[str]) -> None:
    assert list(recipients(text.encode().splitlines(keepends=True))) == found


@pytest.mark.parametrize("text", [b"a@x.example\nb\xff@x.example\n", b"email\nb\xff@x.example\n"])
def test_what_is_no_text_is_named_with_its_line(text: bytes) -> None:
    with pytest.raises(Refusal, match="line 2: is not UTF-8 text"):
        list(recipients(text.splitlines(keepends=True)))


@pytest.mark.parametrize("text", ["mail,name\na@x.example,A\n", "\nnaam;adres\nA;a@x.example\n"])
def test_a_header_without_the_column_is_not_taken_for_a_recipient(text: str) -> None:
    with pytest.raises(Refusal, match=r"line [12]: names no column email"):
        list(recipients(text.encode().splitlines(keepends=True)))


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(Refusal, match="line 1: is longer than a megabyte"):
        list(recipients([b"a" * (LINE_BYTES + 1)]))


def test_a_list_without_end_is_read_as_it_is_asked_for() -> None:
    endless = (b"p%d@x.example\n" % n for n in count())
    assert list(islice(recipients(endless), 3)) == ["p0@x.example", "p1@x.example", "p2@x.example"]


def test_a_quotation_mark_left_open_is_named() -> None:
    text = 'email\na@x.example\n"b@x.example\n' + "c@x.example\n" * 20_000
    found = recipients(text.encode().splitlines(keepends=True))
    assert next(found) == "a@x.example"
    with pytest.raises(Refusal, match="quotation mark that is not closed"):
        next(found)
