"""A choice or a signal into memory: click, mail, form, staff. Committed before anyone is told (P3).

An opt-out is a suppression on the list and a withdrawal in the ledger, in one transaction. Nothing here lifts one but
the person's own undo within ten minutes (RULES.md 2.1.10 c).
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import uuid_utils

from gateway import log
from gateway.config import Config
from gateway.store.contract import UNDO_WITHIN, Act, Person, Store, SuppressionRow, Who
from gateway.store.corresponding import OwedLetter
from gateway.store.evidence import Note
from suppression.address import canonical
from suppression.fields import written
from suppression.link_token import LinkToken
from suppression.suppression_list import Reason
from suppression.vault import KeyRing

Channel = Literal["one-click", "page", "mail", "api", "form", "staff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """A recorded opt-out. `reference` is what the page shows; `already`: the same opt-out stood before.

    `undoable`: it is a click on the page, which the person may take back for UNDO_WITHIN.
    """

    reference: str
    suppression_id: bytes
    controller_id: str
    scope: str
    purpose: str | None
    at: datetime
    already: bool
    undoable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the numbers of a token stand for. `stream`, `purpose`: None where the token names none."""

    controller_id: str
    stream: str | None
    purpose: str | None


async def named(store: Store, token: LinkToken) -> Named | None:
    """The names behind a token's numbers; None where the controller is not one of this installation."""
    controller = await store.name(token.controller_no)
    if controller is None or controller[1] != "controller":
        return None
    stream = await store.name(token.stream_no) if token.stream_no else None
    purpose = await store.name(token.purpose_no) if token.purpose_no else None
    mine = [x[2] if x is not None and x[0] == controller[0] else None for x in (stream, purpose)]
    return Named(controller_id=controller[0], stream=mine[0], purpose=mine[1])


async def opt_out(
    store: Store, token: LinkToken, *, channel: Channel, whole_sender: bool = False, acknowledge: bool = True,
    now: datetime,
) -> OptOut | None:  # fmt: skip
    """Stop what the token names. None where its controller is unknown here.

    Scope (RULES.md 5.2.6): mail sent on opt-in stops its purpose, on any other ground all marketing of the sender;
    `whole_sender` is the person's general objection (GDPR art. 21(2)). `acknowledge`: False where nobody can be
    answered (RFC 3834 2). Raises StoreUnavailable; then nothing is kept.
    """
    who = await named(store, token)
    if who is None:
        return None
    purpose = who.purpose if token.basis == "opt_in" and not whole_sender else None
    return await _stop(
        store, who.controller_id, token.recipient_key, purpose=purpose,
        reason="objection" if whole_sender else "unsubscribe", source=channel, message_id=token.message_id, now=now,
        stream=who.stream, acknowledge=acknowledge,
    )  # fmt: skip


async def opt_out_by_address(
    store: Store, config: Config, ring: KeyRing, address: str, *, channel: Channel, now: datetime
) -> None:
    """Stop all marketing to an address, at every controller of the installation: the person's link named none.

    The same for every address, known or not, so that nobody learns who is on file.
    """
    plain = canonical(address)
    if plain is None:
        return
    for controller_id in config.controllers:
        key = await key_on_file(store, ring, controller_id, plain)
        await _stop(
            store, controller_id, key, purpose=None, reason="objection", source=channel, message_id=None, now=now,
            address=plain,
        )  # fmt: skip


async def key_on_file(store: Store, ring: KeyRing, controller_id: str, plain: str) -> bytes:
    """The key a person's rows stand under: an older one where they were there before the keys were rotated."""
    return (await on_file(store, ring, controller_id, plain)).recipient_key


async def on_file(store: Store, ring: KeyRing, controller_id: str, plain: str) -> Person:
    """What is known of the person at an address; `seen` is False for a stranger."""
    return (await store.people([Who(controller_id, ring.recipient_keys(controller_id, plain), ())]))[0]


async def suppress(
    store: Store, controller_id: str, recipient_key: bytes, *, purpose: str | None, reason: Reason, source: str,
    now: datetime, address: str | None = None,
) -> OptOut:  # fmt: skip
    """Put a person on the list by hand, or by import; scope purpose where one is named, else sender.

    `address`: where it is at hand, so that tools are told of somebody who is not on file here.
    """
    return await _stop(
        store, controller_id, recipient_key, purpose=purpose, reason=reason, source=source, message_id=None, now=now,
        address=address,
    )  # fmt: skip


async def _stop(
    store: Store, controller_id: str, recipient_key: bytes, *, purpose: str | None, reason: Reason, source: str,
    message_id: bytes | None, now: datetime, address: str | None = None, stream: str | None = None,
    acknowledge: bool = True,
) -> OptOut:  # fmt: skip
    row = stopping(
        controller_id, recipient_key, purpose=purpose, reason=reason, source=source, now=now, address=address
    )
    owed = acknowledgment(row, stream, now) if acknowledge else None
    placed = await store.opt_out(opt_out_acts(row), row, message_id, owed=owed)
    already = placed.suppression_id != row.suppression_id
    log.opted_out(controller=controller_id, channel=source, scope=placed.scope, already=already)
    return OptOut(
        reference=reference(placed.suppression_id), suppression_id=placed.suppression_id, controller_id=controller_id,
        scope=placed.scope, purpose=placed.purpose, at=placed.at, already=already, undoable=placed.undoable,
    )  # fmt: skip


def stopping(
    controller_id: str, recipient_key: bytes, *, purpose: str | None, reason: Reason, source: str, now: datetime,
    address: str | None = None,
) -> SuppressionRow:  # fmt: skip
    """A new opt-out as it goes on the list; scope purpose where one is named, else sender."""
    return SuppressionRow(
        controller_id=controller_id, recipient_key=recipient_key, suppression_id=uuid_utils.uuid7().bytes,
        scope="purpose" if purpose is not None else "sender", purpose=purpose, reason=reason, source=source,
        # The second as a whole: a consent given in the same second does not outlive the opt-out (D1-6).
        at=now.astimezone(UTC).replace(microsecond=0), lifted_at=None, address=address,
    )  # fmt: skip


def acknowledgment(
    row: SuppressionRow, stream: str | None, now: datetime, *, after: timedelta = timedelta()
) -> OwedLetter | None:
    """The letter that says the request is registered, should the law of the person's country ask for it
    (`correspond.py` finds out). A click that may be taken back is acknowledged when it no longer may.

    A complaint is a word to the mailbox provider, and an operator's entry is nobody's request: neither is answered.
    """
    if row.reason not in ("unsubscribe", "objection"):
        return None
    about = {
        "scope": row.scope, "purpose": row.purpose, "at": written(row.at), "source": row.source, "stream": stream,
    }  # fmt: skip
    return OwedLetter(
        controller_id=row.controller_id, letter_id=row.suppression_id, kind="stopped", recipient_key=row.recipient_key,
        due_at=now + (UNDO_WITHIN if row.undoable else after), about=about,
    )  # fmt: skip


def opt_out_acts(row: SuppressionRow) -> list[Act]:
    """The ledger entries of an opt-out: the suppression, and what ends that which was agreed before it.

    That is a withdrawal, or an objection or complaint where that is the reason; each ends consents alike.

    A suppression of global scope is nobody's withdrawal: it stands outside every controller's records.
    """
    ref = row.suppression_id.hex()
    acts = [
        _act(row, "suppression", {
            "scope": row.scope, "purpose": row.purpose, "reason": row.reason, "source": row.source, "ref": ref,
            "at": written(row.at), "until": None if row.lifted_at is None else written(row.lifted_at),
        }, row.at),
    ]  # fmt: skip
    if row.scope != "global":
        kind = row.reason if row.reason in ("objection", "complaint") else "withdrawal"
        acts.append(_act(row, kind, {"purpose": row.purpose, "at": _stamp(row.at), "ref": ref}, row.at))
    return acts


async def undo(store: Store, token: LinkToken, suppression_id: bytes, *, now: datetime) -> bool:
    """The person's own undo from the confirmation page: what stood before stands again. False: too late, not theirs."""
    who = await named(store, token)
    if who is None:
        return False
    for row in await store.suppressions_of(who.controller_id, token.recipient_key):
        mine = row.suppression_id == suppression_id and row.undoable
        if mine and row.lifted_at is None and now - row.at <= UNDO_WITHIN:
            fields = {"ref": suppression_id.hex(), "ground": "undo"}
            acts = [_act(row, kind, fields, now) for kind in ("suppression_lifted", "withdrawal_undone")]
            return await store.lift(acts, replace(row, lifted_at=now))
    return False


def reference(suppression_id: bytes) -> str:
    """Five characters to read over the phone; names the opt-out together with the person, reveals nothing."""
    return base64.b32encode(suppression_id[-5:]).decode("ascii")[:5]


def campaign_id(controller_id: str, stream: str, campaign: str) -> str:
    """A campaign in a URL or a log: tools may put anything in a campaign's name, so only a digest is shown (P9)."""
    return hashlib.sha256(f"{controller_id}\n{stream}\n{campaign}".encode()).hexdigest()[:20]


def staff_acts(
    controllers: Iterable[str], act: str, *, by: str, at: datetime, private: Mapping[str, Any] | None = None,
    **public: Any,
) -> list[Note]:  # fmt: skip
    """What staff did about no single person, for the ledger of every controller it concerns.

    `by`: "command line" for the machine's operator, else the signed-in user's role and id; names of people go into
    `private`. `public`: what was done to, without personal data.
    """
    return [
        Note(controller_id=one, kind="staff_act", public={"act": act, "by": by, **public}, private=private, at=at)
        for one in controllers
    ]


async def looked(
    store: Store, controller_id: str, recipient_keys: Iterable[bytes], *, by: str, now: datetime,
    why: str | None = None,
) -> None:  # fmt: skip
    """Write down that staff looked at what is stored about people (RULES.md S5). Only people who are on file.

    `by`: a name, which whoever reads an exported ledger does not learn. `why`: what it was for, where that is known.
    """
    public = {} if why is None else {"why": why}
    await store.record([
        Act(
            controller_id=controller_id, recipient_key=key, kind="looked_at", public=public, private={"by": by}, at=now
        )
        for key in dict.fromkeys(recipient_keys)
    ])  # fmt: skip


async def settings_in_force(store: Store, config: Config, *, now: datetime) -> bool:
    """Write down that other settings than before rule now, be it after a reload or a start. Whether they are others.

    Raises StoreUnavailable.
    """
    notes = staff_acts(config.controllers, "settings", by="operator", at=now, settings=config.digest)
    return await store.note_change("settings", config.digest, notes)


def _act(row: SuppressionRow, kind: str, public: Mapping[str, str | None], at: datetime) -> Act:
    return Act(
        controller_id=row.controller_id, recipient_key=row.recipient_key, kind=kind, public=public, private=None, at=at
    )


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
