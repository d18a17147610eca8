"""What every store promises about sign-ups: values and calls (RULES.md 4.3, B4 to B8; DESIGN.md section 11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.store.contract import Act, Arrival, SuppressionRow


class Limit(NamedTuple):
    """At most `most` sign-ups under `name` (a keyed hash) in a window that begins with its first.

    `mailed`: only those count for which a mail is sent; the window ends early when somebody confirms.
    """

    name: bytes
    most: int
    window: timedelta
    mailed: bool


def limit_of(recipient_key: bytes) -> bytes:
    """The name of the limit of an address: a keyed hash of it already."""
    return b"address/" + recipient_key


class Once(NamedTuple):
    """Marks a request that may come twice: keyed hashes of its own name and of all it says."""

    name: bytes
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One sign-up as it is stored: all of it, or nothing. `act` has the consent record and the address; `more` acts
    say what else is known by it at once.

    `arrival`: the mail that asks to confirm; None where none is to leave, and then the consent counts at once.
    `trace`: what is kept apart for a time only; its `id` is that of the consent.
    """

    request_id: bytes
    act: "Act"
    trace: Mapping[str, Any]
    limits: Sequence[Limit]
    arrival: "Arrival | None"
    once: Once | None = None
    more: "Sequence[Act]" = ()


class Asked(NamedTuple):
    """What became of a sign-up. "again": the same request came before; "other": its name stood for another one.

    `consent_id`: that of the request that was kept, this one's or the earlier one's.
    """

    outcome: Literal["kept", "limited", "again", "other"]
    consent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    """A sign-up as it stands. `trace` empty where it cannot be read any more."""

    recipient_key: bytes
    at: datetime
    done: bool
    trace: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirming:
    """A confirmation with all that follows from it. `acts`: entries about the person.

    `lifts`: suppressions that end, with their entries; `narrowed`: those that stand but for some purposes. `released`:
    names of limits that are over.
    """

    controller_id: str
    request_id: bytes
    acts: "Sequence[Act]"
    lifts: "Sequence[tuple[SuppressionRow, Act]]"
    narrowed: "Sequence[tuple[SuppressionRow, Act]]"
    released: Sequence[bytes]


class Expired(NamedTuple):
    """Sign-ups that were not confirmed in time, and how many of their people nothing else was known of."""

    requests: int
    forgotten: int


class SignUps(Protocol):
    """Calls of a store about sign-ups. Each is one transaction."""

    async def ask(self, asking: Asking) -> Asked: ...
    async def sign_up(self, controller_id: str, request_id: bytes) -> SignUp | None: ...
    async def sign_ups_of(self, controller_id: str, recipient_key: bytes) -> list[SignUp]: ...
    async def confirm(self, confirming: Confirming) -> bool: ...
    async def expire(self, *, asked_before: datetime, now: datetime, n: int) -> Expired: ...
    async def drop_traces(self, *, before: datetime, said_before: datetime, now: datetime, n: int) -> int: ...
