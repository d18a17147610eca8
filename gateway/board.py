"""What worker processes let each other see, in memory they share: connections, counters, and that they are alive.

Each worker has a slot and writes in no other. From them `/metrics` tells the same whichever worker is asked, a new
connection goes to the worker that has fewest, and the supervisor sees one that hangs. A worker takes over the counters
of the one that had its slot before, so that no sum ever falls back.

Never does: wait for anybody. A slot that is being written is read as it was before. Known limit: what a killed worker
counted in its last second is lost, as its process is.
"""

import json
import mmap
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import REGISTRY, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway.counters import HELD, LATE, QUEUE

_DOORS: Final[dict[str, int]] = {"submission": 0, "return path": 1, "web": 2}
_OPEN: Final = struct.Struct("=I")
_BEAT: Final = struct.Struct("=d")
_HALF: Final = struct.Struct("=II")  # length, checksum
_OPEN_AT, _ACTIVE_AT, _HALVES_AT = 8, 24, 32
_HALF_OCTETS: Final = 256 * 1024
SLOT_OCTETS: Final = _HALVES_AT + 2 * _HALF_OCTETS
ABSENT: Final = 2**32 - 1
"""The connections of a worker that is not there: more than anybody has, so that nobody leaves one to it."""
_WHOLE_STORE: Final = frozenset(next(iter(one.describe())).name for one in (QUEUE, HELD, LATE))
"""Gauges that any worker sets for all."""

Row = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""A family of counters: name, kind, help, and its samples as (name, labels, value)."""


class Board:
    """The memory. Made before the workers are, so that they inherit it; the last slot is the supervisor's."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._memory = mmap.mmap(-1, (workers + 1) * SLOT_OCTETS)
        for index in range(workers + 1):
            self.leave(index)

    def slot(self, index: int) -> "Slot":
        """The slot of a worker, which takes connections from now on."""
        for door in _DOORS:
            self.put_open(index, door, 0)
        return Slot(self, index)

    def supervisors(self) -> "Slot":
        """The slot of the supervisor, which takes none. Made before it counts anything."""
        return Slot(self, self.workers)

    def leave(self, index: int) -> None:
        """The worker is gone; its counters stay for its successor."""
        _BEAT.pack_into(self._memory, index * SLOT_OCTETS, 0.0)
        for door in _DOORS:
            self.put_open(index, door, ABSENT)

    def beat(self, index: int) -> float:
        """When the worker last said that it is alive, on its monotonic clock; 0.0 before it did."""
        return float(_BEAT.unpack_from(self._memory, index * SLOT_OCTETS)[0])

    def put_beat(self, index: int, at: float) -> None:
        _BEAT.pack_into(self._memory, index * SLOT_OCTETS, at)

    def open(self, index: int, door: str) -> int:
        return int(_OPEN.unpack_from(self._memory, self._place(index, door))[0])

    def put_open(self, index: int, door: str, count: int) -> None:
        _OPEN.pack_into(self._memory, self._place(index, door), count)

    def _place(self, index: int, door: str) -> int:
        return index * SLOT_OCTETS + _OPEN_AT + _OPEN.size * _DOORS[door]

    def put_rows(self, index: int, rows: list[Row]) -> None:
        """Show counters: into the half that is not being read, which then becomes the one that is."""
        data = json.dumps(rows, separators=(",", ":")).encode()
        if len(data) > _HALF_OCTETS - _HALF.size:
            return
        slot = index * SLOT_OCTETS
        half = 1 - self._memory[slot + _ACTIVE_AT]
        start = slot + _HALVES_AT + half * _HALF_OCTETS
        _HALF.pack_into(self._memory, start, len(data), zlib.crc32(data))
        self._memory[start + _HALF.size : start + _HALF.size + len(data)] = data
        self._memory[slot + _ACTIVE_AT] = half

    def rows(self, index: int) -> list[Row]:
        """The counters a worker showed last; none where it never did, or died while it wrote."""
        slot = index * SLOT_OCTETS
        start = slot + _HALVES_AT + self._memory[slot + _ACTIVE_AT] * _HALF_OCTETS
        length, checksum = _HALF.unpack_from(self._memory, start)
        data = self._memory[start + _HALF.size : start + _HALF.size + length]
        if not data or zlib.crc32(data) != checksum:
            return []
        return [
            (name, kind, text, [(n, d, v) for n, d, v in samples]) for name, kind, text, samples in json.loads(data)
        ]


class Slot:
    """One worker's place on the board."""

    def __init__(self, board: Board, index: int) -> None:
        self._board, self._index = board, index
        self._before = [row for row in board.rows(index) if _is_sum(row)]
        # what the supervisor had counted when this process was forked from it is told by the supervisor
        self._before += [_negated(row) for row in _own() if _is_sum(row)]

    def show(self, now: float) -> None:
        """Say that we are alive, and what we counted so far. `now`: seconds on the monotonic clock."""
        self._board.put_beat(self._index, now)
        self._board.put_rows(self._index, self._counted())

    def put_open(self, door: str, count: int) -> None:
        """How many connections we have at a door."""
        self._board.put_open(self._index, door, count)

    def is_ahead(self, door: str) -> bool:
        """Whether somebody else has fewer connections at a door than we have."""
        board = self._board
        mine = board.open(self._index, door)
        return any(board.open(index, door) < mine for index in range(board.workers) if index != self._index)

    def text(self) -> bytes:
        """The counters of all workers, in the form that /metrics has."""
        board = self._board
        if board.workers == 1:
            return generate_latest(REGISTRY)
        shown = {
            index: self._counted() if index == self._index else board.rows(index) for index in range(board.workers + 1)
        }
        return generate_latest(_Sums(shown, self._index, [index for index in shown if board.beat(index)]))

    def _counted(self) -> list[Row]:
        return list(_summed(_own(), self._before))


class _Sums(Collector):
    """The families of all workers, added up; what is about a process alone has its worker as a label."""

    def __init__(self, shown: dict[int, list[Row]], asked: int, alive: list[int]) -> None:
        self._shown, self._asked, self._alive = shown, asked, alive

    def collect(self) -> Iterator[Metric]:
        parts: list[list[Row]] = []
        for index, rows in self._shown.items():
            there = index in self._alive or index == self._asked
            worker = "supervisor" if index == max(self._shown) else str(index)
            parts.append([_labelled(row, worker) for row in rows if self._counts(row, index, there)])
        for name, kind, text, samples in _summed(*parts):
            metric = Metric(name, text, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric

    def _counts(self, row: Row, index: int, there: bool) -> bool:
        if row[0] in _WHOLE_STORE:
            return index == self._asked
        return there or (row[1] != "gauge" and _is_ours(row))


def _labelled(row: Row, worker: str) -> Row:
    """With the worker as a label, where it is about a process and not about mail."""
    if _is_ours(row):
        return row
    name, kind, text, samples = row
    return name, kind, text, [(sample, {**labels, "worker": worker}, value) for sample, labels, value in samples]


def _own() -> list[Row]:
    """What this process has counted."""
    return [
        (
            metric.name, metric.type, metric.documentation,
            [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples],
        )
        for metric in REGISTRY.collect()
    ]  # fmt: skip


def _negated(row: Row) -> Row:
    name, kind, text, samples = row
    return name, kind, text, [(one, labels, -value) for one, labels, value in samples if not one.endswith("_created")]


def _is_ours(row: Row) -> bool:
    return row[0].startswith("consentgate_")


def _is_sum(row: Row) -> bool:
    return row[1] in ("counter", "histogram") and _is_ours(row)


def _summed(*parts: Iterable[Row]) -> Iterator[Row]:
    """Families of the same name as one, samples of the same labels added; of when counting began, the first."""
    families: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for part in parts:
        for name, kind, text, samples in part:
            _, _, sums = families.setdefault(name, (kind, text, {}))
            for sample, labels, value in samples:
                key = (sample, tuple(labels.items()))
                had = sums.get(key)
                if had is None:
                    sums[key] = value
                else:
                    sums[key] = min(had, value) if sample.endswith("_created") else had + value
    for name, (kind, text, sums) in families.items():
        yield name, kind, text, [(sample, dict(labels), value) for (sample, labels), value in sums.items()]
