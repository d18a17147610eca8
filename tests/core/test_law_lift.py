"""What a consent given anew lifts (suppression/lift.py, RULES.md 2.1.10 a).

Invariants: only what is the person's own and older than the request ends, and only for what was agreed to; a consent
that nobody confirmed from the mailbox lifts nothing; no lift reaches another purpose, declared now or later.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from suppression.consent import Consent
from suppression.lift import THEIR_OWN, lift, stands_after
from suppression.suppression_list import Reason, Scope, Suppression, covers, for_purpose
from tests.core import law_facts

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
instants = st.integers(-500, 500).map(lambda hours: NOW + timedelta(hours=hours))
maybe = st.one_of(st.none(), instants)
purposes = st.sampled_from(["newsletter", "events", "later"])
entries = st.builds(
    Suppression, scope=st.sampled_from(get_args(Scope)), controller_id=st.just("acme"),
    purpose=st.one_of(st.none(), purposes), reason=st.sampled_from(get_args(Reason)), at=instants, lifted_at=maybe,
)  # fmt: skip
GIVEN = Consent.from_dict(law_facts.consent())
consents = st.builds(
    lambda asked, confirmed, given_at, wanted: replace(
        GIVEN, purposes=tuple(sorted(wanted)), given_at=given_at,
        double_opt_in=replace(GIVEN.double_opt_in, required=True, requested_at=asked, confirmed_at=confirmed),
    ),
    maybe, maybe, maybe, st.sets(purposes),
)  # fmt: skip


def after(entry: Suppression, consent: Consent) -> Suppression:
    """The entry once the consent was confirmed now."""
    what = lift(
        consent, scope=entry.scope, purpose=entry.purpose, reason=entry.reason, at=entry.at,
        lifted_at=entry.lifted_at, now=NOW,
    )  # fmt: skip
    if what is None:
        return entry
    if what.whole:
        return replace(entry, lifted_at=NOW)
    return replace(entry, lifted_for=tuple((purpose, NOW) for purpose in what.purposes))


def stops(entry: Suppression, purpose: str) -> bool:
    return covers(for_purpose(entry, purpose), controller_id="acme", purpose=purpose, as_of=NOW)


@given(entries, consents, purposes)
def test_nothing_ends_but_what_was_agreed_to_later_and_confirmed(
    entry: Suppression, consent: Consent, purpose: str
) -> None:
    lifted = stops(entry, purpose) and not stops(after(entry, consent), purpose)
    asked = consent.double_opt_in
    if lifted:
        assert purpose in consent.purposes
        assert asked.confirmed_at is not None and entry.at < asked.requested_at
        assert entry.at < consent.given_at
        assert entry.scope != "global" and entry.reason in THEIR_OWN


@given(entries, consents, purposes)
def test_a_lift_never_forbids_more(entry: Suppression, consent: Consent, purpose: str) -> None:
    assert stops(entry, purpose) or not stops(after(entry, consent), purpose)


@given(entries, consents)
def test_what_is_lifted_for_one_purpose_stands_for_any_other(entry: Suppression, consent: Consent) -> None:
    assert stops(after(entry, consent), "of another day") == stops(entry, "of another day")


@given(consents, instants)
def test_an_opt_out_since_the_request_overtakes_it(consent: Consent, at: datetime) -> None:
    asked = consent.double_opt_in.requested_at
    overtaken = stands_after(consent, [("sender", None, at, None)])
    assert overtaken == (asked is not None and at >= asked)
