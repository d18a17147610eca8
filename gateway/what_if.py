"""What if: the decisions of the last days, made again under other rules. Reads only.

Each stored decision is first made again under the present rules, on the facts of then (recall.py). Where that does not
give what is stored, it says nothing about the draft: the person was erased, facts came to light later, or settings
were others then; such decisions are counted and left out. The others are made once more under the draft.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from gateway.config import Config
from gateway.recall import BATCH, Gone, WeighedAgain, weighed_again
from gateway.store.contract import Store
from gateway.store.history import Decided
from gateway.weigh import Case, Scales
from suppression.vault import KeyRing

SAMPLES = 5
"""Decisions shown per change."""
MOST_PEOPLE = 100_000
"""People told apart per change; beyond that they are only known to be at least so many. A bound on memory."""

Progress = Callable[[int], None]
"""Told how many decisions were looked at."""


@dataclass(frozen=True, slots=True, order=True)
class Turn:
    """A change: on a stream, one reason code became another."""

    stream: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One decision that would change. `address` None: gone."""

    message_id: bytes
    copy_no: int
    at: datetime
    address: str | None


@dataclass(slots=True, kw_only=True)
class Changed:
    """All decisions that would change alike. `people`: recipient keys, at most MOST_PEOPLE."""

    decisions: int = 0
    people: set[bytes] = field(default_factory=set)
    samples: list[Sample] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Comparison:
    """What a draft would have changed. Counts are decisions.

    `looked_at` = `gone` + `unlike` + `dropped` + `same` + those in `turns`. `gone`: the facts are no longer there.
    `unlike`: under the present rules they would not come out as they did, by stored code. `dropped`: the draft has no
    such stream or controller. `allowed`, `allowed_then`: of those compared, under the draft and under the present
    rules.
    """

    looked_at: int = 0
    gone: int = 0
    unlike: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    same: int = 0
    allowed: int = 0
    allowed_then: int = 0
    turns: dict[Turn, Changed] = field(default_factory=dict)


async def what_if(
    store: Store, present: tuple[Config, Scales], draft: tuple[Config, Scales], ring: KeyRing, controller_id: str, *,
    since: datetime, upto: datetime, comparison: Comparison, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Compare the decisions about messages that came in between two instants. Memory stays flat."""
    after, end = (_first_id(since), -1), _first_id(upto)
    while page := await store.decided_after(controller_id, after=after, upto=end, n=BATCH):
        after = page[-1].message_id, page[-1].copy_no
        for one in await weighed_again(store, *present, ring, page):
            _compare(one, draft, comparison)
        if progress is not None:
            progress(comparison.looked_at)


def _first_id(at: datetime) -> bytes:
    """The least id of a message that came in at an instant: ids begin with their milliseconds (UUIDv7)."""
    return int(at.timestamp() * 1000).to_bytes(6, "big") + bytes(10)


def _compare(one: WeighedAgain, draft: tuple[Config, Scales], comparison: Comparison) -> None:
    comparison.looked_at += 1
    if one.ruling is None or isinstance(one.person, Gone):
        comparison.gone += 1
        return
    was, now = one.decided, one.ruling.decision
    if (now.verdict, now.reason_code) != (was.verdict, was.reason_code):
        comparison.unlike[was.reason_code] += 1
        return
    config, scales = draft
    found = config.stream_of(was.controller_id, was.stream)
    if found is None:
        comparison.dropped += 1
        return
    would_be = scales.lay(Case.from_json(was.kind), *found)(one.person, was.as_of).decision
    comparison.allowed_then += now.verdict == "allow"
    comparison.allowed += would_be.verdict == "allow"
    if (would_be.verdict, would_be.reason_code) == (now.verdict, now.reason_code):
        comparison.same += 1
        return
    turn = Turn(was.stream, was.reason_code, would_be.reason_code)
    _count(comparison.turns.setdefault(turn, Changed()), was, one.address)


def _count(changed: Changed, was: Decided, address: str | None) -> None:
    changed.decisions += 1
    if len(changed.people) < MOST_PEOPLE:
        changed.people.add(was.recipient_key)
    if len(changed.samples) < SAMPLES:
        changed.samples.append(
            Sample(message_id=was.message_id, copy_no=was.copy_no, at=was.as_of, address=address)
        )  # fmt: skip
