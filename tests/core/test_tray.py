"""Copies in memory: service mail first, marketing never left out, each message's octets counted once."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from gateway.parcel import Parcel
from gateway.tray import EVERY, Tray


def message(size: int, *, marketing: bool) -> Any:
    return SimpleNamespace(size=size, case=SimpleNamespace(marketing=marketing))


def copies(original: Any, n: int) -> list[Parcel]:
    return [cast(Parcel, SimpleNamespace(original=original, number=number)) for number in range(n)]


def taken(tray: Tray, n: int) -> str:
    return "".join("m" if tray.take().original.case.marketing else "s" for _ in range(n))


def test_service_mail_passes_a_large_mailing_and_leaves_it_every_fourth_place() -> None:
    tray = Tray()
    tray.put(copies(message(1, marketing=True), 20))
    tray.put(copies(message(1, marketing=False), 6))
    assert taken(tray, 12) == "sssmsssmmmmm"
    assert EVERY == 4 and tray.of_kind(marketing=True) == 14 and tray.of_kind(marketing=False) == 0


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.booleans()), max_size=12), st.integers(0, 50))
def test_octets_are_those_of_messages_that_lie_there_and_what_comes_first_is_what_is_taken(
    messages: list[tuple[int, int, bool]], takes: int
) -> None:
    tray = Tray()
    for size, n, marketing in messages:
        tray.put(copies(message(size, marketing=marketing), n))
    for _ in range(min(takes, len(tray))):
        assert tray.first is tray.take()
    left = {id(parcel.original): parcel.original.size for parcel in tray}
    assert tray.octets == sum(left.values())
    assert tray.clear() and not tray.octets and tray.first is None if len(tray) else tray.first is None
