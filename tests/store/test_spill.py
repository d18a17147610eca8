"""Rows sorted with bounded memory: in order, complete, and unreadable on disk."""

import os
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.spill import Spill
from suppression.vault import Unreadable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.lists(st.tuples(st.binary(min_size=1, max_size=2), VALUES), max_size=60)


@given(rows=ROWS, held=st.integers(1, 70))
@settings(max_examples=80)
def test_whatever_fits_in_memory_rows_come_back_by_key_and_those_of_one_key_in_order(
    rows: list[tuple[bytes, Any]], held: int
) -> None:
    with Spill(held) as spill:
        for key, row in rows:
            spill.put(key, (key, row))
        back = list(spill.sorted())
        assert spill.rows == len(rows)
    assert [key[:1] for key, _ in back] == sorted(key[:1] for key, _ in rows)
    by_key, expected = defaultdict(list), defaultdict(list)
    for key, row in back:
        by_key[key].append(row)
    for key, row in rows:
        expected[key].append(row)
    assert by_key == expected


def test_rows_that_fit_in_memory_are_sorted_whole() -> None:
    with Spill(1000) as spill:
        keys = [os.urandom(16) for _ in range(500)]
        for key in keys:
            spill.put(key, key)
        assert list(spill.sorted()) == sorted(keys)


def test_what_lies_on_disk_has_no_name_cannot_be_read_and_cannot_be_changed(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Spill(10) as spill:
        for n in range(25):
            spill.put(bytes([n]), f"anna{n}@example.org")
        assert list(tmp_path.iterdir()) == []
        file = spill._file
        assert file is not None
        file.seek(0)
        stored = file.read()
        assert b"example.org" not in stored and len(stored) > 20 * len("anna@example.org")
        file.seek(len(stored) - 1)
        file.write(bytes([stored[-1] ^ 1]))
        with pytest.raises(Unreadable):
            list(spill.sorted())
