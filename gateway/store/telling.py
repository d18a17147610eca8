"""What every store promises about write-back: telling other systems what people said (DESIGN.md section 10).

A job is written in the transaction of what it tells of, one for each target that is to know, and kept until it is done
or given up. What it says of a person is sealed under the person's key; what must still be said about somebody who was
erased, under a key of its own that goes with the last of these jobs (GDPR art. 17, 19).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol

Event = Literal[
    "opt_out.recorded", "opt_out.lifted", "person.erased", "person.restricted", "person.restriction_lifted",
    "person.rectified",
]  # fmt: skip
State = Literal["waiting", "done", "failed", "dropped"]
EVERY: Final[frozenset[Event]] = frozenset((
    "opt_out.recorded", "opt_out.lifted", "person.erased", "person.restricted", "person.restriction_lifted",
    "person.rectified",
))  # fmt: skip
STOPS: Final[frozenset[Event]] = frozenset(("opt_out.recorded", "person.erased"))
"""What a newsletter tool is told: to stop. Nothing that anybody does here makes a tool begin again."""
ONE_CLICK: Final = "one-click"
"""The target of jobs that call the tool's own address, as its message gave it."""
TRIED_FOR: Final = timedelta(days=7)
"""How long a job is tried before it is given up."""
KEPT_FOR: Final = timedelta(days=30)
"""How long a job stays visible after its end; one that was given up can be tried again until then."""
REMINDED_AFTER: Final = timedelta(days=7)
"""How often at most a tool is told of a person it mails although they opted out."""
TOLD_KEPT_FOR: Final = timedelta(days=730)
"""How long it stays on record who was told of somebody on file: they may ask by name (GDPR art. 15(1)(c); RULES.md
S13). It is as long as the audit log, without content, and goes when the person is erased."""
LONGEST: Final = timedelta(hours=30)
"""No attempt at a job is put off for longer."""
LEASE: Final = timedelta(seconds=90)
"""How long a worker may take over a job, after which it is somebody else's: longer than any call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody who is to be told. `name` as in the settings, KIND/NAME; `host` is HOST:PORT.

    `purposes`: only opt-outs of these, and those that are not of one purpose; None: all. `streams`: only about people
    whom mail of these was for; None: everybody. `terse`: address and time alone, for another company.
    """

    name: str
    host: str
    events: frozenset[Event] = STOPS
    purposes: frozenset[str] | None = None
    streams: frozenset[str] | None = None
    terse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLink:
    """The tool's own one-click address for the one recipient of a message. Personal data: not shown by repr."""

    purpose: str
    host: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job that a worker holds. `content`: what is to be told; None where it does not open any more."""

    controller_id: str
    job_id: bytes
    target: str
    host: str
    event: Event
    at: datetime
    until: datetime
    attempts: int
    content: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What became of a job this worker held: over in `state`, or "waiting" until `due_at`. `said`: a few words."""

    controller_id: str
    job_id: bytes
    attempts: int
    state: State
    said: str
    at: datetime
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job as staff see it, without personal data."""

    controller: str
    job_id: str
    target: str
    host: str
    event: str
    state: str
    at: datetime
    due_at: datetime | None
    attempts: int
    said: str
    ended_at: datetime | None
    recipient: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """How many jobs of a target are in one state, since when the oldest, and how the last attempt ended."""

    controller: str
    target: str
    state: str
    jobs: int
    oldest: datetime
    newest: datetime
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a login went on mailing people who had opted out: `tried` copies for `people`, since a given time.

    `told`: copies that came after a tool or endpoint had been told about that person; `told_people`: to so many.
    """

    controller: str
    login: str
    stream: str
    tried: int
    people: int
    told: int
    told_people: int
    last_at: datetime


class WriteBacks(Protocol):
    """Calls of a store about write-back. Each is one transaction; `tell` says who is told of everything from now on."""

    def tell(self, targets: Mapping[str, Sequence[Target]]) -> None: ...
    async def write_backs_due(self, now: datetime) -> list[str]: ...
    async def claim_write_backs(self, worker: str, host: str, *, now: datetime, n: int) -> list[Job]: ...
    async def end_write_back(self, worker: str, end: JobEnd) -> None: ...
    async def take_back_write_backs(self, worker: str, now: datetime) -> int: ...
    async def sweep_write_backs(self, now: datetime, n: int) -> int: ...
    async def write_backs(self, controller_id: str, *, state: State | None, n: int) -> list[JobRow]: ...
    async def hosts_told(self, controller_id: str, recipient_key: bytes) -> list[str]: ...
    async def write_back_counts(self, controller_id: str) -> list[JobCount]: ...
    async def change_write_backs(
        self, controller_id: str, *, job_id: bytes | None, target: str | None, to: State, now: datetime
    ) -> int: ...
    async def drift(self, controller_id: str, *, since: datetime) -> list[Drift]: ...
