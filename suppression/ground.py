"""Stage D of the decision, run: the steps D1 to D8 for one marketing message under one pack.

Loss of one ground never silently moves to another: a withdrawn consent ends at D2 (RULES 2.1.12). What expired, grew
stale or was not confirmed leaves the other ways open.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from suppression.basis import (
    CONSENT_CHECKS,
    CONSENT_SCOPE,
    IMPLIED_CHECKS,
    OFFER_CHECKS,
    OPT_OUT_CHECKS,
    OWN_SOURCES,
    REGISTER_CHECK,
    SALE_CHECKS,
    Case,
    Check,
    business_exempt,
    first_failing,
    is_charity_context,
    is_withdrawn,
    names_us,
    published,
)
from suppression.consent import Consent
from suppression.facts import Facts
from suppression.months import completed_years
from suppression.pack import Pack
from suppression.sale import Sale

Finding = Check[Any]


class Ground(NamedTuple):
    """What stage D found under one pack. `basis` is None where it blocks; `trace` are the steps taken, in order.

    `findings` has one entry per record looked at: "PACK step-number record code", or "PACK step record valid".
    """

    allowed: bool
    code: str
    cite: str
    basis: str | None
    trace: tuple[str, ...]
    findings: tuple[str, ...]


def case_of(facts: Facts, pack: Pack) -> Case:
    """Work out what the checks ask about these facts under this pack. The message has a purpose (C3)."""
    message, recipient, sender, as_of = facts.message, facts.recipient, facts.sender, facts.as_of
    birth = recipient.birth_date
    own_sales = [sale for sale in facts.sales if sale.controller_id == sender.controller_id]
    case = Case(
        facts=facts,
        pack=pack,
        as_of=as_of,
        controller_id=sender.controller_id,
        purpose=message.purpose or "",
        categories=message.product_categories,
        advertiser_id=message.advertiser_id,
        own_offer=message.advertiser_id == sender.controller_id,
        is_charity=sender.is_charity,
        age_unknown=birth is None and sender.directed_at_children,
        minor=birth is not None
        and not recipient.parental_authorisation
        and completed_years(birth, as_of.date()) < pack.age_of_digital_consent,
        # Any kind of record, void included, future excluded (D4 check 8).
        opt_out_used=bool(own_sales)
        and any(sale.opt_out_used_at_collection and sale.concluded_at <= as_of for sale in own_sales),
        opt_out_lacking=bool(own_sales) and any(not sale.opt_out_in_all_messages for sale in own_sales),
        bought=recipient.address_source != "own_collection",
        withdrawn_at=None,
    )
    withdrawn = [record for record in facts.consents if is_withdrawn(case, record.withdrawn_at)]
    return case._replace(withdrawn_at=_latest_withdrawal(case, withdrawn)) if withdrawn else case


def find_ground(facts: Facts, pack: Pack) -> Ground:
    """Run stage D under one pack. Source: RULES 2.3, D1 to D8."""
    case = case_of(facts, pack)
    steps = _Steps(pack.code)
    consent = _best_consent(case, steps)
    if consent is None:
        return steps.allow("ALLOW_OPT_IN", pack.cite["consent"], "opt_in")
    steps.take("D2")
    if _withdrawn_for_purpose(case):
        return steps.block("CONSENT_WITHDRAWN", "GDPR 7(3)")
    if case.facts.message.uses_special_category:
        steps.take("D3")
        if consent.number >= 5:
            return steps.block(consent.code, consent.source)
        return steps.block("SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT", "GDPR 9(2)(a)")
    return _without_consent(case, consent, steps)


def _without_consent(case: Case, consent: Finding, steps: _Steps) -> Ground:
    """D4 to D8: the ways open to a message nobody consented to; `consent` is the finding of D1."""
    pack = case.pack
    relation: Finding = NOTHING
    if pack.soft_opt_in:
        relation = _soft_opt_in(case, steps)
        if relation is SOFT_OPT_IN:
            return steps.allow("ALLOW_SOFT_OPT_IN", pack.cite["soft_opt_in"], "soft_opt_in")
        if relation is CHARITY:
            return steps.allow("ALLOW_CHARITY_SOFT_OPT_IN", pack.cite["charity"], "charity")
    if pack.b2b_exemption != "none":
        steps.take("D5")
        if business_exempt(case):
            return steps.allow("ALLOW_B2B_EXEMPTION", pack.cite["b2b"], "b2b")
    if pack.model == "casl":
        relation = _implied(case, steps)
        if relation is IMPLIED:
            return steps.allow("ALLOW_IMPLIED_CONSENT", pack.cite["implied"], "implied")
    if pack.model == "optout":
        steps.take("D7")
        failing = first_failing(OPT_OUT_CHECKS, case, None)
        if failing is None:
            return steps.allow("ALLOW_OPT_OUT_REGIME", pack.cite["opt_out_regime"], "opt_out_regime")
        return steps.block(failing.code, failing.source)
    return _why_nothing(case, consent, relation, steps)


def _why_nothing(case: Case, consent: Finding, relation: Finding, steps: _Steps) -> Ground:
    """D8: which code when nothing allows."""
    pack = case.pack
    steps.take("D8")
    if consent.number >= 5:
        return steps.block(consent.code, consent.source)
    if relation.number:
        return steps.block(relation.code, relation.source)
    if consent.number:
        return steps.block(consent.code, consent.source)
    if case.facts.recipient.address_source == "harvested":
        return steps.block("ADDRESS_HARVESTED", pack.cite["no_basis"])
    if case.facts.recipient.address_source == "purchased":
        return steps.block("PURCHASED_LIST_UNVERIFIED", "GDPR 5(2), 7(1)")
    if not case.facts.recipient.known:
        return steps.block("RECIPIENT_UNKNOWN", pack.cite["no_basis"])
    return steps.block("NO_CONSENT_OR_CUSTOMER_RELATION", pack.cite["no_basis"])


def _mark(code: str) -> Finding:
    """A finding that is no check of the tables; number 0 is lower than any."""
    return Check(0, code, "", lambda case, record: False)


#: No finding at all.
NOTHING = _mark("")
#: The path allows.
SOFT_OPT_IN, CHARITY, IMPLIED = _mark("soft opt-in"), _mark("charity"), _mark("implied")


class _Steps:
    """The steps taken and the findings made so far under one pack."""

    __slots__ = ("findings", "pack", "trace")

    def __init__(self, pack: str) -> None:
        self.pack = pack
        self.trace: list[str] = []
        self.findings: list[str] = []

    def take(self, step: str) -> None:
        self.trace.append(f"{step}:{self.pack}")

    def found(self, step: str, record: str, check: Finding | None) -> None:
        if check is None:
            self.findings.append(f"{self.pack} {step} {record} valid")
        else:
            self.findings.append(f"{self.pack} {step}-{check.number} {record} {check.code}")

    def allow(self, code: str, cite: str, basis: str) -> Ground:
        return Ground(True, code, cite, basis, tuple(self.trace), tuple(self.findings))

    def block(self, code: str, cite: str) -> Ground:
        return Ground(False, code, cite, None, tuple(self.trace), tuple(self.findings))


def _best_consent(case: Case, steps: _Steps) -> Finding | None:
    """D1: None when a record is valid, else the finding with the highest number."""
    steps.take("D1")
    best: Finding | None = NOTHING
    for record in case.facts.consents:
        check = first_failing(CONSENT_CHECKS, case, record)
        steps.found("D1", record.id, check)
        if check is None:
            best = None
        elif best is not None and check.number > best.number:
            best = check
    return best


def _latest_withdrawal(case: Case, withdrawn: list[Consent]) -> datetime | None:
    """The latest withdrawal among the records that pass checks 1-4 (D1 check 6)."""
    instants = [
        record.withdrawn_at
        for record in withdrawn
        if record.withdrawn_at is not None and first_failing(CONSENT_SCOPE, case, record) is None
    ]
    return max(instants, default=None)


def _withdrawn_for_purpose(case: Case) -> bool:
    """D2: whether a record of this controller, or one that names it, was withdrawn, whatever its limits."""
    return any(
        is_withdrawn(case, record.withdrawn_at)
        and case.purpose in record.purposes
        and (
            record.controller_id == case.controller_id or (record.source not in OWN_SOURCES and names_us(case, record))
        )
        for record in case.facts.consents
    )


def _soft_opt_in(case: Case, steps: _Steps) -> Finding:
    """D4: SOFT_OPT_IN or CHARITY when allowed, else the finding with the highest number."""
    steps.take("D4")
    sound: Sequence[Sale] = ()
    best: Finding = NOTHING
    for sale in case.facts.sales:
        check = first_failing(SALE_CHECKS, case, sale)
        steps.found("D4", sale.id, check)
        if check is None:
            sound = (*sound, sale)
        elif check.number > best.number:
            best = check
    if not sound:
        return best
    charity = any(is_charity_context(case, sale) for sale in sound)
    failing = first_failing(REGISTER_CHECK if charity else OFFER_CHECKS, case, sound)
    if failing is not None:
        steps.found("D4", "offer", failing)
        return failing
    return CHARITY if charity else SOFT_OPT_IN


def _implied(case: Case, steps: _Steps) -> Finding:
    """D6: IMPLIED when allowed, else the finding with the highest number."""
    steps.take("D6")
    best: Finding = NOTHING
    allowed = False
    for sale in case.facts.sales:
        check = first_failing(IMPLIED_CHECKS, case, sale)
        steps.found("D6", sale.id, check)
        allowed = allowed or check is None
        if check is not None and check.number > best.number:
            best = check
    return IMPLIED if allowed or published(case) else best
