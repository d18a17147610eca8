"""What is on the ledger about a person, in words: one line per entry, newest first.

The same for staff who look somebody up and, later, for the person who asks. Fields that this version cannot read are
left out of their line; the line itself stays, since that something was recorded is a fact too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.config import Controller
from gateway.record import reference
from gateway.sentences import Teller
from gateway.store.history import History
from gateway.words import Language, Words
from suppression.explain import Fact
from suppression.facts import Consent, FactsError, Sale
from suppression.history import Entry
from suppression.standing import record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One entry. `at`: as it was dated, aware UTC; `what`: a few words; `details`: clauses, "" for none."""

    at: datetime
    kind: str
    what: str
    details: str


def timeline(words: Words, language: Language, history: History, controller: Controller) -> list[Moment]:
    """Every entry about the person of a history under any of their keys, newest first."""
    teller = Teller.of(words, language, controller)
    entries = [entry for place in (history.own, *history.elsewhere) for entry in place.entries]
    entries.sort(key=lambda entry: entry.entry_id, reverse=True)
    return [
        Moment(
            at=entry.when, kind=entry.kind, details=", ".join(_details(teller, entry)),
            what=words.entry(told_as(entry.kind, entry.fields), language),
        )
        for entry in entries
    ]  # fmt: skip


def _details(teller: Teller, entry: Entry) -> Iterator[str]:
    try:
        clauses = [*_of_record(teller, entry), *_common(teller, entry.fields)]
    except (FactsError, KeyError, TypeError, ValueError):
        return
    yield from clauses


def _of_record(teller: Teller, entry: Entry) -> Iterator[str]:
    """A consent, a sale or a suppression as explanations tell it."""
    fields = entry.fields
    if entry.kind == "consent":
        yield from teller.clauses(_consent(Consent.from_dict(record_of(fields))))
    elif entry.kind == "sale":
        sold = Sale.from_dict(record_of(fields))
        yield from teller.clauses(
            Fact(
                kind="sale", at=sold.concluded_at, ended_at=sold.relation_ended_at, reason=sold.kind,
                categories=sold.product_categories,
            )
        )  # fmt: skip
    elif entry.kind == "suppression":
        at, until = fields.get("at"), fields.get("until")
        yield from teller.clauses(
            Fact(
                kind="suppression", at=entry.when if at is None else datetime.fromisoformat(at),
                ended_at=None if until is None else datetime.fromisoformat(until), scope=fields["scope"],
                reason=fields["reason"], purposes=(fields["purpose"],) if fields["purpose"] else (),
            )
        )  # fmt: skip
    elif fields.get("purpose"):
        yield teller.say("fact.for", purposes=teller.purposes((str(fields["purpose"]),)))


def _consent(given: Consent) -> Fact:
    return Fact(
        kind="consent", at=given.given_at, confirmed_at=given.double_opt_in.confirmed_at,
        withdrawn_at=given.withdrawn_at, ended_at=given.expires_at, purposes=given.purposes,
        categories=given.product_categories or (), method=given.evidence.method,
        wording=given.evidence.wording_version, origin=given.evidence.origin,
    )  # fmt: skip


def _common(teller: Teller, fields: Mapping[str, Any]) -> Iterator[str]:
    """Where it came from, who did it, and the reference that the person was given."""
    source, by, ref = fields.get("source"), fields.get("by"), fields.get("ref")
    if isinstance(source, str) and source:
        yield teller.say("timeline.source", source=_source(teller, source))
    if isinstance(by, str) and by:
        yield teller.say("timeline.by", by=by)
    if isinstance(ref, str) and ref:
        yield teller.say("timeline.reference", reference=reference(bytes.fromhex(ref)))


def _source(teller: Teller, source: str) -> str:
    """Where a consent or an opt-out came from, in words where there are any."""
    for key in (f"source.{source}", f"proof.channel.{source}"):
        try:
            return teller.say(key)
        except KeyError:
            continue
    return source.replace("_", " ")


def told_as(kind: str, fields: Mapping[str, Any]) -> str:
    """The kind that words are chosen by: an address that works again is told apart from one that was found dead."""
    return "deliverable" if kind == "undeliverable" and fields.get("undeliverable") is False else kind
