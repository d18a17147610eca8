"""A decision explained: which facts, which rule, which article, since when, what would make it lawful, who can do that.

Values only; the sentences are the shell's. `explain` is for a decision made on facts that are at hand, `outline` for
one of which only the result was kept. Nothing in an explanation is an address, a name or a date of birth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, Final, Literal

from suppression.basis import CONSENT_CHECKS, IMPLIED_CHECKS, OFFER_CHECKS, OPT_OUT_CHECKS, SALE_CHECKS, rolling_anchor
from suppression.consent import Consent
from suppression.decision import Decision, decide
from suppression.duties import DUTIES, SIGNING
from suppression.facts import Facts
from suppression.fields import written
from suppression.jurisdiction import PackBook, Packs
from suppression.next_change import day_after, next_change
from suppression.pack import UNKNOWN, Pack
from suppression.reason_code import ACTOR, REMEDY, Actor
from suppression.rules import (
    DOI_WINDOW,
    EVERY_MESSAGE,
    HARD_STOPS,
    NOT_MARKETING,
    SUPPRESSION_SOURCES,
    Allow,
    Block,
    Defer,
    in_order,
    matching,
    open_erasures,
    pending_request,
    restricting,
    stopped_since_request,
)
from suppression.sale import Sale
from suppression.suppression_list import Suppression

FactKind = Literal[
    "suppression", "restriction", "erasure_request", "consent", "sale", "sign_up", "recipient", "message", "sender",
    "installation",
]  # fmt: skip
LOOKS: Final = 24
"""How many instants are looked at, at most, for the one at which time alone turns a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact that a decision rests on. Which fields are there depends on `kind`; None or empty: not said.

    `at`: when it began, was given, concluded or asked for; `ended_at`: when it was lifted, expired or ended, or will;
    `since`: from when it speaks for the result. `rule`, `code`: the check a consent or sale did not pass ("D1-17");
    `carries`: it passed them all. `name`: of a fact about recipient, message, sender or installation, the field of the
    decision schema. Instants are aware UTC.
    """

    kind: FactKind
    record: str | None = None
    name: str | None = None
    at: datetime | None = None
    confirmed_at: datetime | None = None
    withdrawn_at: datetime | None = None
    ended_at: datetime | None = None
    since: datetime | None = None
    scope: str | None = None
    reason: str | None = None
    purposes: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    source: str | None = None
    method: str | None = None
    wording: str | None = None
    notice: str | None = None
    origin: str | None = None
    rule: str | None = None
    code: str | None = None
    carries: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What is said, as JSON."""
        return _said(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one message may or may not go to one recipient.

    `rule`: id of RULES 2.3 ("C1", "D4-16"); `articles`: the citation; `pack`: the jurisdiction that gave the result.
    `facts`: those it rests on, the deciding ones first; of stage D every record with its finding. `since`: from when it
    has been so, None where that is not dated; `until`: when time alone turns it, None: not by time alone.
    `remedy`: what would make it lawful, `actor`: who can do that; of an allowed message: who can end it.
    """

    verdict: str
    code: str
    rule: str
    articles: str
    pack: str | None
    facts: tuple[Fact, ...]
    since: datetime | None
    until: datetime | None
    remedy: str
    actor: Actor

    def to_dict(self) -> dict[str, Any]:
        """What is said, as JSON."""
        return {**_said(self), "facts": [fact.to_dict() for fact in self.facts]}


def _said(value: Fact | Explanation) -> dict[str, Any]:
    held = {field.name: getattr(value, field.name) for field in fields(value)}
    plain = {name: written(v) if isinstance(v, datetime) else v for name, v in held.items()}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items() if v not in (None, (), False)}


def explain(facts: Facts, decision: Decision, book: PackBook) -> Explanation:
    """Explain a decision that `decide` made on these facts under the packs in force at their instant.

    Total: raises nothing, whatever the facts say.

    Source: GDPR art. 5(2), 12(1), 15(1)(h); RULES 2.3.
    """
    rule = rule_of(decision.verdict, decision.reason_code, decision.basis, decision.trace, decision.findings)
    found = tuple(_facts(facts, decision, book.at(facts.as_of), rule))
    return replace(
        outline(decision.verdict, decision.reason_code, decision.cite, decision.trace, decision.basis, decision.pack),
        rule=rule, facts=found, since=found[0].since if found else None,
        until=None if observed(decision.verdict, decision.reason_code) else turns_at(facts, decision, book),
    )  # fmt: skip


def observed(verdict: str, code: str) -> bool:
    """Whether a finding was let through by observing (suppression/observe.py); how long that lasts, settings say."""
    return verdict == "allow" and not code.startswith("ALLOW_")


def outline(
    verdict: str, code: str, cite: str, trace: Sequence[str] = (), basis: str | None = None, pack: str | None = None
) -> Explanation:
    """What can be said of a decision without its facts."""
    return Explanation(
        verdict=verdict, code=code, rule=rule_of(verdict, code, basis, trace, ()), articles=cite, pack=pack, facts=(),
        since=None, until=None, remedy=REMEDY.get(code, "operator"), actor=ACTOR.get(code, "operator"),
    )  # fmt: skip


def impersonal(decision: Decision) -> Explanation:
    """A decision explained without anything of the person: code, rule, article, remedy, actor.

    For whoever may know the result and not the facts: the sender of a message, in a delivery report (RULES 2.4).
    """
    bare = outline(
        decision.verdict, decision.reason_code, decision.cite, decision.trace, decision.basis, decision.pack
    )  # fmt: skip
    rule = rule_of(decision.verdict, decision.reason_code, decision.basis, decision.trace, decision.findings)
    return replace(bare, rule=rule)


def turns_at(facts: Facts, decision: Decision, book: PackBook) -> datetime | None:
    """When the same facts are decided otherwise, allowed or not, by the passing of time alone. None: as far as can be
    seen never. The decision is made anew at each instant at which something begins, ends or runs out."""
    allowed, later = decision.verdict == "allow", facts
    for _ in range(LOOKS):
        at = next_change(later, book.at(later.as_of))
        if at is None:
            return None
        later = replace(facts, as_of=at)
        if (decide(later, book.at(at)).verdict == "allow") != allowed:
            return at
    return None


# --- which rule ----------------------------------------------------------------------------------------------------

_OF_BASIS: Final[Mapping[str, str]] = {
    "opt_in": "D1", "soft_opt_in": "D4", "charity": "D4", "b2b": "D5", "implied": "D6", "opt_out_regime": "D7",
    "notice": "B1", "transactional": "B2", "doi": "B8",
}  # fmt: skip

_ALLOW_CODES: Final[Mapping[str, str]] = {
    "opt_in": "ALLOW_OPT_IN", "soft_opt_in": "ALLOW_SOFT_OPT_IN", "charity": "ALLOW_CHARITY_SOFT_OPT_IN",
    "b2b": "ALLOW_B2B_EXEMPTION", "implied": "ALLOW_IMPLIED_CONSENT", "opt_out_regime": "ALLOW_OPT_OUT_REGIME",
}  # fmt: skip
#: Codes that D2, D3 and D8 give without a numbered check.
_WITHOUT_CHECK: Final[Mapping[str, tuple[str, ...]]] = {
    "CONSENT_WITHDRAWN": ("D2",), "SPECIAL_CATEGORY_NO_EXPLICIT_CONSENT": ("D3",), "ADDRESS_HARVESTED": ("D8",),
    "PURCHASED_LIST_UNVERIFIED": ("D8",), "RECIPIENT_UNKNOWN": ("D8",), "NO_CONSENT_OR_CUSTOMER_RELATION": ("D8",),
}  # fmt: skip


def _numbered() -> Iterator[tuple[str, str]]:
    """Code and rule of every numbered check, in the order in which D8 lets them speak."""
    yield from ((check.code, f"D1-{check.number}") for check in CONSENT_CHECKS if check.number >= 5)
    yield from ((check.code, f"D4-{check.number}") for check in SALE_CHECKS)
    yield from ((check.code, f"D4-{check.number}") for check in OFFER_CHECKS)
    yield from ((check.code, f"D6-{check.number}") for check in IMPLIED_CHECKS)
    yield from ((check.code, f"D1-{check.number}") for check in CONSENT_CHECKS if check.number < 5)


CHECKS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    code: tuple(rule for found, rule in _numbered() if found == code) for code, _ in _numbered()
}
"""Reason code -> the checks of stage D that give it, in the order in which they speak."""
_OFFER_RULES: Final = frozenset(f"D4-{check.number}" for check in OFFER_CHECKS)
_OPT_OUT_RULES: Final = {check.code: f"D7-{check.number}" for check in OPT_OUT_CHECKS}


def rules_of(code: str) -> tuple[str, ...]:
    """Every rule of RULES 2.3 that can give a code, in the order in which they are asked."""
    tables = [(rule.id, rule.effect) for rule in (*EVERY_MESSAGE, *NOT_MARKETING, *HARD_STOPS)]
    duties = [(duty.id, duty.effect) for duty in (*DUTIES, SIGNING)]
    stops = ("B5", "C1") if code in SUPPRESSION_SOURCES else ()
    allows = tuple(_OF_BASIS[basis] for basis, allowed in _ALLOW_CODES.items() if allowed == code)
    return (
        *(id_ for id_, effect in tables if isinstance(effect, Allow | Block | Defer) and effect.code == code), *stops,
        *_WITHOUT_CHECK.get(code, ()), *sorted(CHECKS_OF.get(code, ()), key=_by_number),
        *(rule for found, rule in _OPT_OUT_RULES.items() if found == code),
        *(id_ for id_, effect in duties if effect.code == code), *(a for a in allows if a.startswith("D")),
    )  # fmt: skip


def _by_number(rule: str) -> tuple[str, int]:
    step, _, number = rule.partition("-")
    return step, int(number)


def rule_of(
    verdict: str, code: str, basis: str | None, trace: Sequence[str], findings: Sequence[str]
) -> str:  # fmt: skip
    """The rule of RULES 2.3 that gave a result; of stage D the check, where one did. Empty where nothing was kept."""
    if verdict == "allow" and code.startswith("ALLOW_"):
        return _OF_BASIS.get(basis or "", "")
    if observed(verdict, code):  # what would have blocked stands before it
        trace = tuple(takewhile(lambda step: not step.startswith("passed"), trace))
    last = next((step for step in reversed(trace) if step[:1].isupper() and not step.endswith(":")), "")
    step, _, pack = last.partition(":")
    if step == "D7":
        return _OPT_OUT_RULES.get(code, step)
    if step != "D8":
        return step
    speaking = {rule for rule, _, found in _findings(findings, pack) if found == code}
    checks = CHECKS_OF.get(code, ())
    return next((rule for rule in checks if rule in speaking or not findings), step)


def _findings(findings: Iterable[str], pack: str | None) -> Iterator[tuple[str, str, str]]:
    """Rule, record and code of each finding under one pack: "NL D1-17 c1 CODE", or "NL D1 c1 valid"."""
    for finding in findings:
        under, rule, rest = finding.split(" ", 2)
        if under == pack:
            record, _, code = rest.rpartition(" ")
            yield rule, record, code


# --- which facts ---------------------------------------------------------------------------------------------------

#: Rule -> the facts that it asks for; where it is about a list or a record, that is told below.
_ASKED: Final[Mapping[str, tuple[FactKind, str]]] = {
    "A1": ("installation", "stores_available"), "A2": ("recipient", "address_valid"),
    "A3": ("sender", "principal_authorised"), "A4": ("message", "class"), "A5": ("recipient", "undeliverable"),
    "B1": ("message", "class"), "B2": ("message", "transaction_ref_present"),
    "B3": ("message", "transaction_ref_present"), "B4": ("message", "purpose"), "C3": ("message", "purpose"),
    "D3": ("message", "uses_special_category"), "D5": ("recipient", "kind"),
    "D6": ("recipient", "published_for_marketing"), "D7": ("recipient", "address_source"),
    "D7-1": ("recipient", "address_source"),
    "D7-2": ("recipient", "address_source"), "D7-3": ("recipient", "birth_date"), "D7-4": ("recipient", "birth_date"),
    "D7-6": ("message", "advertiser_id"), "D8": ("recipient", "known"), "D4-15": ("message", "product_categories"),
    "D4-16": ("message", "product_categories"), "D4-17": ("recipient", "on_exclusion_register"),
    "E1": ("sender", "legal_name_present"), "E2": ("sender", "from_domain_verified"),
    "E3": ("sender", "postal_address_present"), "E4": ("sender", "opt_out_contact_present"),
    "E5": ("message", "ad_identifiable"), "E6": ("message", "unsubscribe"), "F": ("installation", "dkim_ready"),
}  # fmt: skip


def _facts(facts: Facts, decision: Decision, packs: Packs, rule: str) -> list[Fact]:
    """The facts of a decision, the deciding ones first."""
    if rule in ("C1", "B5"):
        return [_stop(entry) for entry in in_order(matching(facts) if rule == "C1" else stopped_since_request(facts))]
    if rule == "A6":
        return [
            Fact(kind="restriction", at=r.since, since=r.since, ended_at=r.lifted_at, scope=r.scope,
                 purposes=(r.purpose,) if r.purpose else ())
            for r in sorted(restricting(facts), key=lambda r: r.since)
        ]  # fmt: skip
    if rule == "C2":
        asked = sorted(request.received_at for request in open_erasures(facts))
        return [Fact(kind="erasure_request", at=at, since=at) for at in asked]
    if rule in ("B6", "B7", "B8"):
        request = pending_request(facts)
        return [_sign_up(request, rule)] if request is not None else []
    about = _asked(facts, rule)
    if decision.pack is None or not rule.startswith("D"):
        return about
    records = _records(facts, decision, packs.get(decision.pack) or packs[UNKNOWN])
    if rule == "D2":
        spoke = [
            replace(record, since=record.withdrawn_at)
            for record in records
            if record.withdrawn_at is not None and record.withdrawn_at <= facts.as_of
        ]
    elif decision.reason_code.startswith("ALLOW_"):
        spoke = [record for record in records if record.carries]
    else:
        spoke = [record for record in records if (record.rule, record.code) == (rule, decision.reason_code)]
    spoke.sort(key=lambda record: record.since or facts.as_of, reverse=True)
    told = [(record.kind, record.record, record.purposes) for record in spoke]
    return [*spoke, *about, *(r for r in records if (r.kind, r.record, r.purposes) not in told)]


def _asked(facts: Facts, rule: str) -> list[Fact]:
    if rule not in _ASKED:
        return []
    kind, name = _ASKED[rule]
    categories = facts.message.product_categories if name == "product_categories" else ()
    return [Fact(kind=kind, name=name, categories=categories)]


def _stop(entry: Suppression) -> Fact:
    return Fact(
        kind="suppression", at=entry.at, since=entry.at, ended_at=entry.lifted_at, scope=entry.scope,
        reason=entry.reason, purposes=(entry.purpose,) if entry.purpose else (), source=entry.source,
    )  # fmt: skip


def _sign_up(request: Consent, rule: str) -> Fact:
    asked = request.double_opt_in.requested_at
    since = asked + DOI_WINDOW if asked is not None and rule == "B7" else asked
    return Fact(kind="sign_up", record=request.id, at=asked, since=since, purposes=request.purposes)


def _records(facts: Facts, decision: Decision, pack: Pack) -> list[Fact]:
    """Every consent and sale that was looked at, with its finding. Findings come in the order of the records."""
    found = list(_findings(decision.findings, pack.code))
    consents = [one for one in found if one[0].startswith("D1")]
    sales = [one for one in found if one[0][:2] in ("D4", "D6") and one[0] not in _OFFER_RULES]
    told = [
        _consent(facts, pack, record, rule, code)
        for record, (rule, _, code) in zip(facts.consents, consents, strict=False)
    ]
    told += [
        _sale(facts, pack, record, rule, code) for record, (rule, _, code) in zip(facts.sales, sales, strict=False)
    ]
    return told


def _consent(facts: Facts, pack: Pack, record: Consent, rule: str, code: str) -> Fact:
    confirmed = record.double_opt_in.confirmed_at
    given = _latest(record.given_at, confirmed, upto=facts.as_of)
    used = _latest(given, record.last_interaction_at, upto=facts.as_of)
    months = pack.consent_max_months_since_interaction
    since = {
        "CONSENT_WITHDRAWN": _latest(*(one.withdrawn_at for one in facts.consents), upto=facts.as_of),
        "CONSENT_EXPIRED": record.expires_at,
        "CONSENT_STALE": day_after(used, months) if used is not None and months is not None else None,
        "OPT_IN_PENDING_CONFIRMATION": record.double_opt_in.requested_at or given,
        "CONSENT_NOT_YET_GIVEN": None,
    }.get(code, given)
    return Fact(
        kind="consent", record=record.id, at=record.given_at, confirmed_at=confirmed,
        withdrawn_at=record.withdrawn_at, ended_at=record.expires_at, since=since, purposes=record.purposes,
        categories=record.product_categories or (), source=record.source, method=record.evidence.method,
        wording=record.evidence.wording_version, notice=record.evidence.privacy_notice_version,
        origin=record.evidence.origin, carries=code == "valid", rule=None if code == "valid" else rule,
        code=None if code == "valid" else code,
    )  # fmt: skip


def _sale(facts: Facts, pack: Pack, record: Sale, rule: str, code: str) -> Fact:
    anchor, months = (
        _latest(record.concluded_at, record.relation_ended_at, upto=facts.as_of),
        pack.soft_opt_in_max_months,
    )
    if code == "SOFT_OPT_IN_TIME_LIMIT" and months is not None:
        anchor = rolling_anchor(record, months, facts.as_of)
    if code == "IMPLIED_CONSENT_EXPIRED":
        months = pack.implied_consent_months.get(record.kind)
    ran_out = code in ("SOFT_OPT_IN_TIME_LIMIT", "CUSTOMER_RELATION_STALE", "IMPLIED_CONSENT_EXPIRED")
    window_end = day_after(anchor, months) if anchor is not None and months is not None else None
    return Fact(
        kind="sale", record=record.id, at=record.concluded_at, ended_at=record.relation_ended_at,
        since=window_end if ran_out else _latest(record.concluded_at, upto=facts.as_of), reason=record.kind,
        categories=record.product_categories, notice=record.privacy_notice_version, source=record.address_source,
        carries=code == "valid", rule=None if code == "valid" else rule, code=None if code == "valid" else code,
    )  # fmt: skip


def _latest(*instants: datetime | None, upto: datetime) -> datetime | None:
    """The latest of those that have come (RULES 2.1.5)."""
    return max((at for at in instants if at is not None and at <= upto), default=None)
