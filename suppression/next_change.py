"""When time alone could next change a decision.

A copy that waits is decided again at hand-over; when nothing it rests on has changed and this instant has not come, the
decision still stands and need not be made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from suppression.consent import Consent
from suppression.facts import Facts
from suppression.months import birthday, plus_months
from suppression.pack import UNKNOWN, Pack, Packs
from suppression.rules import DOI_WINDOW
from suppression.sale import Sale

_DAY = timedelta(days=1)
#: The first instant at which "more than" holds.
_JUST_AFTER = timedelta(microseconds=1)


def next_change(facts: Facts, packs: Packs) -> datetime | None:
    """The next instant after `facts.as_of` at which the same facts could be decided otherwise. None: never.

    `packs` are those in force then (`PackBook.at`); the day on which a newer version of one enters into force counts.

    Careful rather than exact: the earliest of all instants at which any fact begins, ends or runs out, so that a
    decision surely holds before it. It may come and change nothing.
    """
    as_of = facts.as_of
    in_force = [packs.get(code) or packs[UNKNOWN] for code in facts.jurisdictions or (UNKNOWN,)]
    later = [at for at in _instants(facts, in_force) if at is not None and at > as_of]
    return min(later, default=None)


def _instants(facts: Facts, packs: list[Pack]) -> Iterator[datetime | None]:
    for pack in packs:
        if pack.until is not None:
            yield _start(pack.until)
    for entry in facts.suppressions:
        yield entry.at
        yield entry.lifted_at
    for restriction in facts.restrictions:
        yield restriction.since
        yield restriction.lifted_at
    for request in facts.erasure_requests:
        yield request.received_at
    for consent in facts.consents:
        yield from _of_consent(consent, packs)
    for sale in facts.sales:
        yield from _of_sale(sale, packs)
    if facts.recipient.birth_date is not None:
        for pack in packs:
            yield _start(birthday(facts.recipient.birth_date, pack.age_of_digital_consent))


def _of_consent(consent: Consent, packs: list[Pack]) -> Iterator[datetime | None]:
    confirmation = consent.double_opt_in
    yield consent.withdrawn_at
    yield consent.expires_at
    if confirmation.requested_at is not None:
        yield confirmation.requested_at
        yield confirmation.requested_at + DOI_WINDOW + _JUST_AFTER
    for at in (consent.given_at, confirmation.confirmed_at, consent.last_interaction_at):
        if at is not None:
            yield at
            for pack in packs:
                if pack.consent_max_months_since_interaction is not None:
                    yield day_after(at, pack.consent_max_months_since_interaction)


def _of_sale(sale: Sale, packs: list[Pack]) -> Iterator[datetime | None]:
    for at in (sale.concluded_at, sale.relation_ended_at, *sale.marketing_sent_at):
        if at is not None:
            yield at
            for pack in packs:
                for months in (pack.soft_opt_in_max_months, pack.implied_consent_months.get(sale.kind)):
                    if months is not None:
                        yield day_after(at, months)


def day_after(anchor: datetime, months: int) -> datetime | None:
    """Midnight after the last day that is within so many months."""
    last = plus_months(anchor.date(), months)
    return None if last == date.max else _start(last + _DAY)


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
