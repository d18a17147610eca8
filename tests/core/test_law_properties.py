"""What holds of the decision whatever the facts say. Each test begins with its invariant."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from suppression.basis import B2B_TESTS
from suppression.decision import MESSAGE_LEVEL, Decision, decide, next_change
from suppression.facts import Facts
from suppression.jurisdiction import PackBook
from suppression.pack import Pack
from suppression.reason_code import FAMILY
from suppression.rules import is_marketing
from suppression.strictness import compare
from suppression.terms import Terms, applied, objections
from tests.core import law_strategies as draw
from tests.core.law_facts import base, packs

MANY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
Json = dict[str, Any]


def judge(document: Json) -> Decision:
    return decide(Facts.from_dict(document), packs())


def marketing(document: Json) -> bool:
    return is_marketing(Facts.from_dict(document))


@MANY
@given(draw.facts)
def test_every_facts_of_the_schema_get_one_explained_answer(document: Json) -> None:
    """Whatever the facts say, there is one answer with a known code, a source and the rows that were looked at."""
    decision = judge(document)
    assert not any("unreadable" in step for step in decision.trace)
    assert decision.cite
    assert (decision.basis is not None) == (decision.verdict == "allow")
    if decision.verdict == "allow":
        assert decision.reason_code.startswith("ALLOW_")
    elif decision.verdict == "defer":
        assert decision.reason_code in ("EVIDENCE_STORE_UNAVAILABLE", "DKIM_UNAVAILABLE")
    else:
        assert decision.reason_code in FAMILY


@MANY
@given(draw.facts)
def test_facts_survive_the_way_to_json_and_back(document: Json) -> None:
    """Facts written as JSON and read again are equal."""
    facts = Facts.from_dict(document)
    assert Facts.from_dict(facts.to_dict()) == facts


@MANY
@given(draw.marketing_in_order)
def test_marketing_needs_something_that_speaks_for_it(document: Json) -> None:
    """Without consent and sale, only a business, a published address or the opt-out regime can allow marketing."""
    bare = document | {"consents": [], "sales": []}
    decision = judge(bare)
    if decision.verdict == "allow":
        assert decision.basis in ("b2b", "implied", "opt_out_regime")
        if decision.basis == "b2b":
            assert bare["recipient"]["kind"] in ("legal_person", "sole_trader")
        if decision.basis == "implied":
            assert bare["recipient"]["published_for_marketing"] and bare["message"]["b2b_relevant"]


UNKNOWN_VALUES: dict[str, Any] = {
    "kind": "unknown", "address_kind": "unknown", "address_source": "unknown", "published_for_marketing": False,
    "informed_at_collection": False, "known": False,
}  # fmt: skip


@MANY
@given(draw.marketing_in_order, st.sampled_from(sorted(UNKNOWN_VALUES)))
def test_forgetting_a_fact_about_the_person_never_opens_a_way(document: Json, name: str) -> None:
    """A fact about the recipient that becomes unknown never turns a block of marketing into allow.

    The one fact that can hurt when known is a purchased or harvested address; unknown counts as purchased.
    """
    forgotten = document | {"recipient": document["recipient"] | {name: UNKNOWN_VALUES[name]}}
    if judge(document).verdict != "allow":
        assert judge(forgotten).verdict != "allow"


@MANY
@given(draw.marketing_in_order, st.data())
def test_a_record_that_loses_a_proof_never_opens_a_way(document: Json, data: st.DataObject) -> None:
    """Evidence, time, action or notice of a record that become unknown never turn a block into allow."""
    assume(document["consents"] or document["sales"])
    if judge(document).verdict == "allow":
        return
    weaker = dict(document)
    if document["consents"]:
        at = data.draw(st.integers(0, len(document["consents"]) - 1))
        loss = data.draw(st.sampled_from(("given_at", "action", "evidence", "purposes", "named_recipients")))
        nothing: Any = {"given_at": None, "action": "unknown", "purposes": [], "named_recipients": []}
        nothing["evidence"] = dict.fromkeys(("method", "wording_version", "privacy_notice_version", "origin"))
        # A withdrawal keeps its purposes and its names: to lose those is to lose an opt-out.
        assume(document["consents"][at]["withdrawn_at"] is None or loss not in ("purposes", "named_recipients"))
        weaker["consents"] = list(document["consents"])
        weaker["consents"][at] = document["consents"][at] | {loss: nothing[loss]}
    else:
        at = data.draw(st.integers(0, len(document["sales"]) - 1))
        loss = data.draw(st.sampled_from(("address_source", "privacy_notice_version", "opt_out_offered_at_collection")))
        nothing = {"address_source": "unknown", "privacy_notice_version": None, "opt_out_offered_at_collection": False}
        weaker["sales"] = list(document["sales"])
        weaker["sales"][at] = document["sales"][at] | {loss: nothing[loss]}
    assert judge(weaker).verdict != "allow"


@MANY
@given(draw.facts, draw.suppression)
def test_one_more_suppression_never_opens_a_way(document: Json, entry: Json) -> None:
    """Adding a suppression never turns block or defer into allow."""
    if judge(document).verdict != "allow":
        assert judge(document | {"suppressions": [*document["suppressions"], entry]}).verdict != "allow"


@MANY
@given(draw.facts, draw.suppression)
def test_an_active_matching_suppression_stops_all_marketing(document: Json, entry: Json) -> None:
    """Marketing is never allowed while a suppression is in force that covers the controller and the purpose."""
    as_of = document["as_of"]
    assume(marketing(document))
    assume(entry["at"] <= as_of and (entry["lifted_at"] is None or entry["lifted_at"] > as_of))
    ours = entry["controller_id"] in (None, "acme")
    named = entry["purpose"] is None or entry["purpose"] == document["message"]["purpose"]
    assume(entry["scope"] == "global" or (ours and (entry["scope"] == "sender" or named)))
    assert judge(document | {"suppressions": [entry]}).verdict != "allow"


@MANY
@given(draw.facts, draw.restriction)
def test_one_more_restriction_never_opens_a_way(document: Json, entry: Json) -> None:
    """Adding a restriction never turns block or defer into allow."""
    if judge(document).verdict != "allow":
        assert judge(document | {"restrictions": [*document["restrictions"], entry]}).verdict != "allow"


@MANY
@given(draw.facts, draw.jurisdictions)
def test_one_more_pack_never_opens_a_way(document: Json, more: list[str]) -> None:
    """Another pack that must allow as well never turns block or defer into allow."""
    assume(document["jurisdictions"])
    if judge(document).verdict != "allow":
        assert judge(document | {"jurisdictions": document["jurisdictions"] + more}).verdict != "allow"


@MANY
@given(draw.marketing_in_order)
def test_a_withdrawal_closes_every_way_but_a_newer_consent(document: Json) -> None:
    """When the only consent for the purpose is withdrawn now, marketing for it is blocked, whatever else is there."""
    assume(document["consents"])
    first = document["consents"][0] | {
        "controller_id": "acme", "source": "own_form", "purposes": ["newsletter"],
        "withdrawn_at": document["as_of"],
    }  # fmt: skip
    assert judge(document | {"consents": [first]}).verdict != "allow"


@MANY
@given(draw.facts, st.booleans(), st.none() | st.integers(0, 36), st.none() | st.integers(0, 36))
def test_a_stricter_controller_never_mails_more(
    document: Json, require_opt_in: bool, soft_months: int | None, consent_months: int | None
) -> None:
    """A controller's own strictness never turns block or defer into allow; with opt-in required nothing else allows."""
    terms = Terms(
        require_opt_in=require_opt_in, soft_opt_in_max_months=soft_months,
        consent_max_months_since_interaction=consent_months,
    )  # fmt: skip
    own = {code: applied(pack, terms) for code, pack in packs().items()}
    facts = Facts.from_dict(document)
    decision = decide(facts, own)
    if decide(facts, packs()).verdict != "allow":
        assert decision.verdict != "allow"
    if require_opt_in and decision.verdict == "allow" and is_marketing(facts):
        assert decision.basis == "opt_in"


@MANY
@given(draw.facts, st.data())
def test_a_decision_holds_until_its_next_change(document: Json, data: st.DataObject) -> None:
    """Between the decision and the next change that was announced, the same facts are decided the same."""
    facts = Facts.from_dict(document)
    change = next_change(facts, packs())
    horizon = datetime(2040, 1, 1, tzinfo=UTC)
    assert change is None or change > facts.as_of
    last = min(change or horizon, horizon) - timedelta(microseconds=1)
    assume(last > facts.as_of)
    between = st.datetimes(facts.as_of.replace(tzinfo=None), last.replace(tzinfo=None), timezones=st.just(UTC))
    at = data.draw(st.just(last) | between)
    before, after = decide(facts, packs()), decide(replace(facts, as_of=at), packs())
    assert (before.verdict, before.reason_code) == (after.verdict, after.reason_code)


_months = st.none() | st.integers(0, 40)
_kinds = st.frozensets(st.sampled_from(("purchase", "contract", "negotiation", "donation", "free_account")), max_size=4)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(("consent", "casl", "optout")), "consent_max_months_since_interaction": _months,
    "age_of_digital_consent": st.integers(13, 18), "soft_opt_in": st.booleans(), "soft_opt_in_contexts": _kinds,
    "soft_opt_in_max_months": st.integers(0, 40), "soft_opt_in_time_rule": st.sampled_from(("stale", "rolling")),
    "charity_contexts": _kinds,
    "charity_collected_on_or_after": st.sampled_from((None, datetime(2026, 2, 5, tzinfo=UTC))),
    "free_account_counts_as_sale": st.booleans(), "pre_ticked_box_is_opt_out": st.booleans(),
    "implied_consent_months": st.dictionaries(st.sampled_from(("purchase", "inquiry", "donation")), st.integers(0, 30)),
    "b2b_exemption": st.sampled_from(sorted(B2B_TESTS)),
    "postal_address_required": st.booleans(), "ad_label": st.sampled_from(("always", "unless_consent", "never")),
    "exclusion_register_check": st.booleans(),
}  # fmt: skip
_changes = st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=5, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: _VALUES[name] for name in names})
)
_cite = dict.fromkeys(("consent", "no_basis", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime"), "law")


def _pack(code: str, changes: Json) -> Pack:
    return replace(packs()[code], cite=_cite, **changes)


@settings(MANY, max_examples=150)
@given(draw.marketing_in_order, st.sampled_from(sorted(packs())), _changes, _changes)
def test_a_pack_that_is_laxer_nowhere_mails_nobody_more(document: Json, code: str, first: Json, second: Json) -> None:
    """What a pack allows that is nowhere laxer than another, the other allows: the table of strictness is complete."""
    old, new = _pack(code, first), _pack(code, first | second)
    assume(not any(difference.laxer for difference in compare(new, old)))
    facts = Facts.from_dict(document | {"jurisdictions": [] if code == "UNKNOWN" else [code]})
    if decide(facts, packs() | {code: new}).verdict == "allow":
        assert decide(facts, packs() | {code: old}).verdict == "allow"


@MANY
@given(
    st.sampled_from(sorted(packs())), st.booleans(), _months, _months, st.none() | st.booleans(),
    st.frozensets(st.sampled_from(("soft_opt_in_max_months", "free_account_counts_as_sale"))),
)  # fmt: skip
def test_a_controller_is_never_held_to_less_than_it_may_wish(
    code: str, opt_in: bool, soft: int | None, fresh: int | None, free: bool | None, motivated: frozenset[str]
) -> None:
    """What a controller is held to is laxer than the pack only where it said why, and never where the law says so."""
    terms = Terms(
        require_opt_in=opt_in, soft_opt_in_max_months=soft, consent_max_months_since_interaction=fresh,
        free_account_counts_as_sale=free, motivation=dict.fromkeys(motivated, "why"),
    )  # fmt: skip
    pack = packs()[code]
    held = applied(pack, terms)
    laxer = {difference.field for difference in compare(held, pack) if difference.laxer}
    assert laxer <= motivated - pack.statutory
    if laxer:
        assert not {objection.field for objection in objections(pack, terms)} & laxer


@MANY
@given(draw.facts, st.data())
def test_a_new_version_is_announced_before_it_counts(document: Json, data: st.DataObject) -> None:
    """Between a decision and its announced next change the decision stands, also where packs change on some day."""
    day = data.draw(st.dates(date(2026, 3, 1), date(2027, 3, 1)))
    book = PackBook(versions={
        code: (replace(pack, until=day), replace(pack, version=2, in_force=day, soft_opt_in=False, ad_label="always"))
        for code, pack in packs().items()
    })  # fmt: skip
    facts = Facts.from_dict(document)
    change = next_change(facts, book.at(facts.as_of))
    horizon = min(change or datetime(2040, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC))
    last = horizon - timedelta(microseconds=1)
    assume(last > facts.as_of)
    later = replace(facts, as_of=last)
    before, after = decide(facts, book.at(facts.as_of)), decide(later, book.at(last))
    assert (before.verdict, before.reason_code) == (after.verdict, after.reason_code)


@MANY
@given(draw.facts)
def test_message_level_codes_do_not_depend_on_who_receives(document: Json) -> None:
    """A code that stops the message in C3 and A3 to A4 stops it for every recipient that is reached."""
    decision = judge(document)
    assume(decision.reason_code in MESSAGE_LEVEL & {"SENDER_NOT_AUTHORISED", "UNCLASSIFIED_MESSAGE"})
    stranger = document | {"consents": [], "sales": [], "suppressions": [], "restrictions": [], "erasure_requests": []}
    assert judge(stranger).reason_code == decision.reason_code


def test_what_cannot_be_judged_is_never_sent() -> None:
    """Facts that break the decision itself are deferred, not sent and not raised."""
    facts = Facts.from_dict(base())
    broken = replace(facts, suppressions=(object(),))  # type: ignore[arg-type]
    decision = decide(broken, packs())
    assert (decision.verdict, decision.reason_code) == ("defer", "EVIDENCE_STORE_UNAVAILABLE")
    assert decide(facts, {}).verdict == "defer"
