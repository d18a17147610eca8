"""Any change to a chain is found, and the entry is named."""

import os
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suppression.chain import Head, HeadKeys, Stored, Tail, TailKeys, born, entry_hash, following, genesis, seal
from suppression.chain_check import Finding, Verifier, waiting

LENGTH = 12
NOW = 1_800_000_000_000


def verify(
    rows: Iterable[Stored], tail: Tail | None, controller_id: str, heads: Sequence[Head] = ()
) -> Iterator[Finding]:
    """Everything that is wrong with a whole chain, given its sealed entries in the order of their ids."""
    verifier = Verifier(controller_id, heads)
    yield from verifier.take(rows)
    yield from verifier.end(tail)


def entry_id(n: int) -> bytes:
    return (NOW + n).to_bytes(6, "big") + n.to_bytes(10, "big")


def unsealed(n: int) -> Stored:
    """An entry with private fields, or without."""
    sealed = n % 3 != 0
    return Stored(
        b"acme", entry_id(n), NOW + n, b"consent" if sealed else b"suppression", os.urandom(32),
        b'{"purpose":"newsletter"}', os.urandom(60) if sealed else None, os.urandom(32) if sealed else None,
        None, None, None,
    )  # fmt: skip


def chain(entries: Sequence[Stored], tail: Tail | None = None) -> tuple[list[Stored], Tail]:
    places = seal(entries, tail, "acme")
    rows = [
        entry._replace(seq=place.seq, previous=place.previous, hash=place.hash)
        for entry, place in zip(entries, places, strict=True)
    ]
    last = places[-1]
    return rows, Tail("acme", last.seq, last.entry_id, last.hash)


ROWS, TAIL = chain([unsealed(n) for n in range(1, LENGTH + 1)])
PLACES = st.integers(0, LENGTH - 1)


def found(rows: Sequence[Stored], tail: Tail | None = TAIL, heads: Sequence[Head] = ()) -> list[Finding]:
    return list(verify(sorted(rows, key=lambda row: row.entry_id), tail, "acme", heads))


def names(findings: Sequence[Finding], *, seq: int, entry: bytes | None = None) -> bool:
    return any(f.seq == seq and (entry is None or f.entry_id == entry) for f in findings)


def test_a_chain_as_it_was_sealed_is_good() -> None:
    assert found(ROWS) == []
    assert found([], None) == []


def test_sealing_goes_on_where_it_stopped() -> None:
    first, tail = chain([unsealed(n) for n in range(1, 5)])
    more, end = chain([unsealed(n) for n in range(5, 9)], tail)
    assert found([*first, *more], end) == []
    assert [row.seq for row in (*first, *more)] == list(range(1, 9))
    assert more[0].previous == first[-1].hash
    assert first[0].previous == genesis("acme")


@given(place=PLACES, column=st.sampled_from(Stored._fields[1:]), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_found_and_its_entry_named(place: int, column: str, at: int, bit: int) -> None:
    """Whatever bit of whatever column is turned, the findings name the entry's number, and its id as it stands."""
    row = ROWS[place]
    value = getattr(row, column)
    if value is None:
        return
    raw = bytearray(value.to_bytes(8, "big", signed=True) if isinstance(value, int) else value)
    raw[at % len(raw)] ^= 1 << bit
    new = int.from_bytes(raw, "big", signed=True) if isinstance(value, int) else bytes(raw)
    changed = row._replace(**{column: new})
    findings = found([*ROWS[:place], changed, *ROWS[place + 1 :]])
    assert names(findings, seq=place + 1)
    assert any(f.entry_id == changed.entry_id for f in findings)
    assert len(findings) <= 3


@given(place=PLACES, column=st.sampled_from(["private", "commitment", "seq", "previous", "hash"]))
def test_a_value_that_is_gone_is_found(place: int, column: str) -> None:
    row = ROWS[place]
    if getattr(row, column) is None:
        return
    findings = found([*ROWS[:place], row._replace(**{column: None}), *ROWS[place + 1 :]])
    assert names(findings, seq=place + 1) or any(f.entry_id == row.entry_id for f in findings)


@given(first=PLACES, n=st.integers(1, LENGTH))
def test_missing_entries_are_found_and_the_first_is_named(first: int, n: int) -> None:
    """Any run of entries that is taken out, at the end too, is named by the number of its first."""
    findings = found([*ROWS[:first], *ROWS[first + n :]])
    assert [f.seq for f in findings] == [first + 1]
    assert findings[0].what == ("cut off" if first + n >= LENGTH else "missing")


@given(one=PLACES, other=PLACES)
def test_two_entries_that_changed_places_are_found(one: int, other: int) -> None:
    if one == other:
        return
    rows = list(ROWS)
    rows[one], rows[other] = (
        ROWS[other]._replace(entry_id=ROWS[one].entry_id), ROWS[one]._replace(entry_id=ROWS[other].entry_id),
    )  # fmt: skip
    findings = found(rows)
    assert names(findings, seq=one + 1)
    assert names(findings, seq=other + 1)


@given(place=PLACES, behind=st.integers(-1, LENGTH - 1))
def test_an_entry_that_was_doubled_is_found_and_the_copy_is_named(place: int, behind: int) -> None:
    between = (entry_id(behind + 1) + b"")[:-1] + bytes([ROWS[behind].entry_id[-1]]) if behind >= 0 else entry_id(0)
    extra = ROWS[place]._replace(entry_id=between + b"\x01")
    findings = found([*ROWS, extra])
    assert any(f.entry_id == extra.entry_id for f in findings)


@given(behind=st.integers(-1, LENGTH - 1), claims=st.integers(-3, LENGTH + 3))
def test_an_entry_put_in_with_a_hash_of_its_own_is_found(behind: int, claims: int) -> None:
    """Whoever puts in an entry can compute its hash, too: then it is what comes behind that does not fit."""
    before = ROWS[behind].hash if behind >= 0 else genesis("acme")
    assert before is not None
    new = unsealed(5)._replace(entry_id=(entry_id(behind + 1) if behind >= 0 else entry_id(0)) + b"\x01")
    forged = new._replace(seq=claims, previous=before, hash=entry_hash(new, claims, before))
    findings = found([*ROWS, forged])
    assert any(f.entry_id == forged.entry_id for f in findings) or behind == LENGTH - 1
    assert findings


@given(place=PLACES)
def test_an_entry_that_was_written_anew_with_its_hash_is_found_and_named(place: int) -> None:
    row = ROWS[place]
    assert row.previous is not None
    other = row._replace(public=b'{"purpose":"events"}')
    forged = other._replace(hash=entry_hash(other, place + 1, row.previous))
    findings = found([*ROWS[:place], forged, *ROWS[place + 1 :]])
    assert [(f.seq, f.entry_id) for f in findings] == [(place + 1, row.entry_id)]


@given(place=PLACES)
def test_a_chain_forged_from_one_entry_on_shows_at_its_end(place: int) -> None:
    """Without the key of the end record nobody can make a chain that ends where it should."""
    entries = [row._replace(seq=None, previous=None, hash=None) for row in ROWS]
    entries[place] = entries[place]._replace(public=b"{}")
    forged, _ = chain(entries)
    assert found(forged)


@given(place=PLACES)
def test_an_entry_whose_seal_was_taken_off_is_named(place: int) -> None:
    bare = ROWS[place]._replace(seq=None, previous=None, hash=None)
    findings = found([*ROWS[:place], bare, *ROWS[place + 1 :]])
    assert [(f.seq, f.entry_id, f.what) for f in findings] == [(place + 1, bare.entry_id, "changed")]
    extra = bare._replace(entry_id=bare.entry_id + b"\x01")
    findings = found([*ROWS[: place + 1], extra, *ROWS[place + 1 :]])
    assert any(f.entry_id == extra.entry_id for f in findings)


def test_entries_behind_the_recorded_end_are_found() -> None:
    more, _ = chain([unsealed(LENGTH + 1)], TAIL)
    assert [f.what for f in found([*ROWS, *more])] == ["beyond the end"]


@given(
    places=st.lists(PLACES, min_size=1, max_size=5, unique=True), change=st.sampled_from(["public", "delete", "seq"])
)
def test_several_changes_at_once_are_all_found(places: list[int], change: str) -> None:
    rows = [
        row._replace(public=b"{}") if change == "public" and n in places
        else row._replace(seq=(row.seq or 0) + 1_000_003) if change == "seq" and n in places
        else row
        for n, row in enumerate(ROWS) if change != "delete" or n not in places
    ]  # fmt: skip
    findings = found(rows)
    missing = {seq for f in findings if f.what in ("missing", "cut off") for seq in numbers(f.text)}
    for place in places:
        assert place + 1 in missing if change == "delete" else names(findings, seq=place + 1), findings


def numbers(text: str) -> range:
    """The entries a text names: "entry 3 is ..." or "entries 3 to 5 are ..."."""
    first, *more = [int(word) for word in text.split() if word.isdigit()]
    return range(first, (more[0] if more else first) + 1)


def test_two_encodings_never_meet() -> None:
    """A byte that moves from one field to the next makes another hash."""
    row = ROWS[1]
    assert row.private is not None and row.commitment is not None
    moved = [
        row._replace(kind=row.kind + row.subject[:1], subject=row.subject[1:]),
        row._replace(public=row.public + row.private[:1], private=row.private[1:]),
        row._replace(private=row.private + row.commitment, commitment=None),
        row._replace(private=row.private + row.commitment, commitment=b""),
    ]
    assert len({entry_hash(one, 2, b"x" * 32) for one in (row, *moved)}) == 5


def test_a_tail_that_was_changed_is_not_genuine() -> None:
    keys = TailKeys({2: b"b" * 32, 1: b"a" * 32})
    mac = keys.mac(TAIL)
    assert keys.genuine(TAIL, mac)
    assert TailKeys({3: b"c" * 32, 2: b"b" * 32}).genuine(TAIL, mac), "an older key still opens it"
    assert not TailKeys({2: b"x" * 32}).genuine(TAIL, mac)
    assert not keys.genuine(TAIL, b"")
    for other in (
        Tail("acme", TAIL.seq - 1, TAIL.entry_id, TAIL.hash),
        Tail("acm", TAIL.seq, TAIL.entry_id, TAIL.hash),
        Tail("acme", TAIL.seq, TAIL.entry_id, ROWS[0].hash or b""),
    ):  # fmt: skip
        assert not keys.genuine(other, mac)


def test_a_head_is_signed_and_the_chain_has_to_contain_it() -> None:
    keys = HeadKeys({1: b"a" * 32})
    head = Head("acme", 5, ROWS[4].hash or b"", NOW)
    signature = keys.sign(head)
    assert keys.genuine(head, signature, keys.public)
    assert not keys.genuine(Head("acme", 6, head.hash, NOW), signature, keys.public)
    assert not keys.genuine(head, signature, HeadKeys({1: b"b" * 32}).public)
    assert found(ROWS, heads=[head]) == []
    shorter, tail = chain([unsealed(n) for n in range(1, 4)])
    assert [f.seq for f in found(shorter, tail, [head])] == [5]
    other, tail = chain([unsealed(n) for n in range(1, 9)])
    assert [(f.seq, f.what) for f in found(other, tail, [head])] == [(5, "changed")]


@pytest.mark.parametrize(("age", "fault"), [(0, False), (9_999, False), (10_001, True), (-60_000, True)])
def test_what_waits_for_its_place_too_long_is_a_finding(age: int, fault: bool) -> None:
    assert bool(list(waiting([(entry_id(0), NOW)], "acme", NOW + age))) is fault


def test_what_was_written_behind_a_clock_that_ran_ahead_is_young() -> None:
    hour = 3_600_000
    assert list(waiting([(entry_id(hour), NOW)], "acme", NOW)) == []
    assert list(waiting([(entry_id(hour), NOW - 11_000)], "acme", NOW)) != []


def test_ids_only_grow_also_when_the_clock_goes_back() -> None:
    assert following(None, entry_id(7)) == entry_id(7)
    assert following(entry_id(6), entry_id(7)) == entry_id(7)
    assert following(entry_id(8), entry_id(7)) == entry_id(8)[:-1] + b"\x09"
    assert born(entry_id(7)) == NOW + 7
