"""What every store promises the stories: values and calls, whatever the database.

Instants are aware UTC here; a store keeps them as it likes. A call that returns has committed (P1). A store that
cannot be reached raises StoreUnavailable: the caller answers 451 or 503 and changes nothing (P5).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Protocol

from gateway.store.access import Access
from gateway.store.ahead import Fresh
from gateway.store.asking import SignUps
from gateway.store.checks import Checks
from gateway.store.corresponding import Letters, OwedLetter
from gateway.store.evidence import Evidence
from gateway.store.faults import Faults
from gateway.store.history import Past
from gateway.store.holding import Holding
from gateway.store.hooked import Hooks
from gateway.store.imported import Imported
from gateway.store.material import Material
from gateway.store.pacing import Pacing
from gateway.store.proof import Proofs
from gateway.store.rehearsal import Rehearsals
from gateway.store.reporting import Reporting
from gateway.store.returned import Refusal, Returns
from gateway.store.rulings import Rulings
from gateway.store.staff import StaffList
from gateway.store.sts import StsPolicies
from gateway.store.telling import ToolLink, WriteBacks
from gateway.store.waiting import CopyKey, Waiting
from suppression.decision import Decision, Verdict
from suppression.facts import Suppression
from suppression.frozen import quick_init
from suppression.similarity import NOTHING_RULED, Ruled
from suppression.standing import Standing
from suppression.suppression_list import Reason, Scope


class StoreUnavailable(Exception):
    """The database cannot be read or written now. Carries no personal data."""


def tally(verdict: str, reason_code: str) -> str:
    """The name under which reports count a decision. "observed": let through although the code would have blocked."""
    if verdict == "allow":
        return "allowed" if reason_code.startswith("ALLOW_") else "observed/" + reason_code
    return "deferred" if verdict == "defer" else "blocked/" + reason_code


@quick_init
@dataclass(frozen=True, slots=True)
class Who:
    """One person at one controller as the look-up needs it: keys of all live key ids, newest first.

    `address`: the normalised one, where known; it is only ever hashed, to meet lists of hashes.
    """

    controller_id: str
    recipient_keys: tuple[bytes, ...]
    global_keys: tuple[bytes, ...]
    address: str | None = field(default=None, compare=False, repr=False)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What the store knows of one person. `recipient_key` is the key its rows stand under.

    `version` grows with each change of the standing, 0 where there is none. `seen` is False for whoever has no key,
    `addressed` for whoever has no row with an address.
    `readable` is False where the stored standing makes no sense: nothing may be decided on it.
    `by_hash`: one of the suppressions is there only because the hash of the address is on a list.
    `ruled`: what their controller has ruled about similar products, of the same instant.
    """

    controller_id: str
    recipient_key: bytes
    seen: bool
    addressed: bool
    readable: bool
    version: int
    standing: Standing
    suppressions: tuple[Suppression, ...]
    by_hash: bool = False
    ruled: Ruled = NOTHING_RULED


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A decision as it is stored with its copy.

    `packs`: the packs applied as CODE@VERSION, joined by "+", and after a blank where the country came from.
    `language`: the person's, if declared. `obtained_from`: the third party that collected the consent the mail leaves
    on, "" where nobody wrote down which; None: we did, or it leaves on another ground (M8).
    """

    decision: Decision
    as_of: datetime
    packs: str
    language: str | None = None
    obtained_from: str | None = None

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the packs applied."""
        return tuple(label.partition("@")[0] for label in self.packs.partition(" ")[0].split("+"))


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class NewCopy:
    """One recipient of a new message. `rcpt`: RCPT address and DSN parameters, packed; None: nothing is to leave.

    `addressed` as in `Person`, where that is known. `alarm_at`: when time alone asks for something while it waits
    (overdue.py).
    """

    copy_no: int
    recipient_key: bytes
    address: str
    rcpt: bytes | None
    state: str
    ruling: Ruling
    route: str
    due_at: datetime | None
    addressed: bool = False
    alarm_at: datetime | None = None


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message with its decisions: stored whole in one transaction, or not at all.

    `body` None: refused, so only the decisions are kept. `worker` holds the copies in state "claimed" at once.
    `kind`: what the classifier found, without personal data. `envelope`: what hand-over needs besides, sealed.
    `login`: who handed it in. `link`: the tool's own one-click address, where it is to be told of an opt-out.
    `return_to`: where the tool wants reports and on what, where they come to us first; sealed, kept for some days.
    `held_until`: its copies are held, and wait so long for somebody to say what kind of mail it is (holding.py).
    """

    controller_id: str
    message_id: bytes
    at: datetime
    stream: str
    campaign: str
    mode: str
    kind: Mapping[str, Any]
    envelope: Mapping[str, Any]
    subject: str
    body: bytes | None
    size: int
    copies: Sequence[NewCopy]
    worker: str
    login: str = ""
    link: ToolLink | None = None
    return_to: Mapping[str, Any] | None = None
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCopy:
    """A copy this worker holds until its lease runs out. Its recipient is looked up again before it leaves.

    `decided_at`: when it was last decided on, at acceptance or at a try. `size`: of its message, in octets. `said`: the
    last answer to it.
    """

    controller_id: str
    message_id: bytes
    copy_no: int
    recipient_key: bytes
    rcpt: bytes
    attempts: int
    verdict: Verdict
    reason_code: str
    decided_at: datetime
    size: int
    due_at: datetime | None
    said: str


class Holder(NamedTuple):
    """A worker that holds copies, and the lease under which it does, as it stands; None: it never had one."""

    worker: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message as it waits, opened. `released_at`: let go after a rehearsal."""

    controller_id: str
    message_id: bytes
    at: datetime
    stream: str
    campaign: str
    mode: str
    kind: Mapping[str, Any]
    envelope: Mapping[str, Any]
    body: bytes
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of one claimed copy: final in `state`, or again "queued" until `due_at`.

    `maybe_twice`: the reply to the final dot was lost, so the server may have the copy that goes again.
    `tried`: whether that was an attempt, which counts. `alarm_at`: as in `NewCopy`; None: as it was.
    `notice`: the report on it, stored with it or not at all. `mailed`: remember the mailing (pack IE).
    `confirmation_of`: the purpose whose sign-up this mail asked to confirm; it is counted (RULES.md B6).
    `refused`: what the next server said for good, kept beside the reports that come back by mail.
    """

    controller_id: str
    message_id: bytes
    copy_no: int
    stream: str
    campaign: str
    state: str
    ruling: Ruling
    was: str
    reply: str
    at: datetime
    due_at: datetime | None = None
    tried: bool = True
    maybe_twice: bool = False
    alarm_at: datetime | None = None
    recipient_key: bytes | None = None
    dead_address: bool = False
    mailed: bool = False
    confirmation_of: str | None = None
    notice: Arrival | None = None
    refused: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One entry for the ledger about one person, and its effect on the standing.

    `address` makes or completes the person's row; None leaves it alone (an opt-out by token knows no address).
    `profile`: name and external id as they are from now on; None takes one away.
    """

    controller_id: str
    recipient_key: bytes
    kind: str
    public: Mapping[str, Any]
    private: Mapping[str, Any] | None
    at: datetime
    address: str | None = None
    profile: Mapping[str, str | None] = field(default_factory=dict)


UNDO_WITHIN = timedelta(minutes=10)
"""How long a person may take back a click (RULES.md 2.1.10 c)."""
UNCLEAR: Final = "reply"
"""The source of an objection that a person has yet to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRow:
    """One suppression as it stands in the list. `source`: where it came from, "page" for a click on ours.

    `lifted_for`: purposes for which alone it was lifted, each with the instant.
    """

    controller_id: str
    recipient_key: bytes
    suppression_id: bytes
    scope: Scope
    purpose: str | None
    reason: Reason
    source: str
    at: datetime
    lifted_at: datetime | None
    address: str | None = None
    lifted_for: tuple[tuple[str, datetime], ...] = ()

    @property
    def undoable(self) -> bool:
        """Whether the person may take it back for a while: their own click on the page, nothing else."""
        return self.source == "page"

    @property
    def assumed(self) -> bool:
        """Whether nobody has said so yet: an unclear reply counts as an objection until it was read (RULES.md 5.2.8).
        The answer that it is none takes this back."""
        return self.source == UNCLEAR

    def covers(self, new: "SuppressionRow") -> bool:
        """Whether this one already says what the new one would.

        What may still be taken back (a click, what an unclear reply is held to say) does not stand for what is said
        elsewhere: undone, it would take it along.
        """
        if self.assumed and not new.assumed:
            return False
        if (self.scope, self.purpose, self.reason) != (new.scope, new.purpose, new.reason):
            return False
        if self.lifted_at is not None or self.lifted_for or self.at > new.at:
            return False
        return new.undoable or not self.undoable or new.at - self.at > UNDO_WITHIN


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one row of an import says about one person: ledger entries as (kind, private fields), in order.

    `profile`: name and external id, where given. `purposes`: those the row is about, None for all. `public`: the public
    fields of its entries, which say what import they came with. `encoded`: the private fields as canonical JSON
    (ledger.encode), where they are at hand. `fresh`: the row sealed for the case that its person is new, made
    elsewhere; rows of one person each have their own, and the first one counts.
    """

    who: Who
    address: str
    entries: Sequence[tuple[str, Mapping[str, Any]]]
    profile: Mapping[str, str]
    purposes: Sequence[str] | None
    public: Mapping[str, Any] = field(default_factory=dict)
    encoded: Sequence[bytes] = ()
    fresh: Fresh | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One suppression of an import with its ledger entries. `who` of the row's controller, which may be everywhere.

    `address`: kept for the person, so that the list can be handed to other tools; empty where nothing is to be kept.
    """

    who: Who
    row: SuppressionRow
    acts: Sequence[Act]
    address: str = ""


class Taken(NamedTuple):
    """What became of one row of an import. `stopped`: an opt-out stands against it, so that it opens no way.

    "outweighed": not taken, since the record of this consent that is on file proves more. "unreadable": not taken,
    since what is stored of the person does not open and must not be written over.
    """

    outcome: Literal["kept", "unchanged", "outweighed", "erased", "unreadable"]
    new_person: bool
    stopped: bool


class Store(
    Evidence,
    Access,
    Material,
    Past,
    Rehearsals,
    Holding,
    Imported,
    Proofs,
    Reporting,
    SignUps,
    Rulings,
    WriteBacks,
    Returns,
    Letters,
    Checks,
    Hooks,
    Pacing,
    StsPolicies,
    Faults,
    Waiting,
    StaffList,
    Protocol,
):
    """One installation's memory. Every call is one transaction.

    Ledger and erasure: evidence.py; what proves consents: material.py; API: access.py; the past: history.py;
    rehearsals: rehearsal.py; imports: imported.py; proofs: proof.py; reports: reporting.py;
    sign-ups: asking.py; similar products: rulings.py; write-back: telling.py; what comes back: returned.py;
    letters that are owed: corresponding.py; our own mail looked at again: checks.py; providers that tell: hooked.py;
    rates: pacing.py; MTA-STS: sts.py; hosts: faults.py; staff: staff.py.
    """

    async def close(self) -> None: ...
    async def check(self) -> None: ...

    # people and what they said
    async def people(self, wanted: Sequence[Who]) -> list[Person]: ...
    async def record(self, acts: Sequence[Act]) -> list[bool]: ...
    async def opt_out(
        self, acts: Sequence[Act], row: SuppressionRow, message_id: bytes | None, *, owed: OwedLetter | None = None
    ) -> SuppressionRow: ...
    async def lift(self, acts: Sequence[Act], row: SuppressionRow) -> bool: ...
    async def suppressions_of(self, controller_id: str, recipient_key: bytes) -> list[SuppressionRow]: ...
    async def suppression_page(
        self, controller_id: str, *, after: tuple[bytes, bytes], n: int, addresses: bool
    ) -> list[SuppressionRow]: ...
    async def address(self, controller_id: str, recipient_key: bytes) -> str | None: ...
    async def take_in(self, statements: Sequence[Statement], *, at: datetime, dry: bool) -> list[Taken]: ...
    async def take_in_stops(self, stops: Sequence[Stop], *, at: datetime, dry: bool) -> list[Taken]: ...

    # the queue
    async def enqueue(self, *arrivals: Arrival) -> None: ...
    async def claim(self, worker: str, route: str, *, now: datetime, n: int) -> list[ClaimedCopy]: ...
    async def claim_overdue(self, worker: str, route: str, *, now: datetime, n: int) -> list[ClaimedCopy]: ...
    async def message(self, controller_id: str, message_id: bytes) -> StoredMessage | None: ...
    async def messages(self, wanted: Sequence[tuple[str, bytes]]) -> list[StoredMessage | None]: ...
    async def finish(self, worker: str, endings: Sequence[Ending]) -> None: ...
    async def renew(self, worker: str, until: datetime) -> None: ...
    async def lease(self, worker: str) -> datetime | None:
        """Until when a worker has a lease, or had one."""
        ...

    async def take_back(self, worker: str, now: datetime) -> int:
        """All that a worker holds waits again, in its old place; how many copies."""
        ...

    async def holders(self) -> list[Holder]:
        """Everybody who holds copies."""
        ...

    async def take_over(self, over: Sequence[Holder], now: datetime) -> int:
        """What workers hold under these leases waits again, in its old place; how many copies. Not that of one who has
        another lease by now."""
        ...

    async def claimed(self, worker: str) -> list[CopyKey]:
        """All that a worker holds."""
        ...

    async def resume(self, worker: str, until: datetime) -> list[CopyKey]:
        """A lease again for a worker whose own ran out, and what it still holds: others may have taken the rest."""
        ...

    async def give_back(self, worker: str, keys: Sequence[CopyKey], now: datetime) -> int:
        """Copies that a worker holds wait again, in their old place; how many."""
        ...

    async def redate(self, now: datetime) -> int:
        """Copies that wait until a time set by a clock that was ahead wait for as long as was meant; how many. What
        came in under it has its time from now on. Tools are told again, too. Not one transaction, but one for every few
        hundred copies."""
        ...

    async def next_due(self, route: str) -> datetime | None: ...
    async def waiting(self) -> int: ...
    async def sweep(self, *, now: datetime, captures_before: datetime) -> int: ...

    # names
    async def number(self, controller_id: str, kind: str, name: str) -> int: ...
    async def name(self, number: int) -> tuple[str, str, str] | None: ...
