"""What holds of the decision whatever the facts say. Each test begins with its invariant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from suppression.decision import MESSAGE_LEVEL, Decision, decide, next_change
from suppression.explain import FAMILY
from suppression.facts import Facts
from suppression.jurisdiction import Strictness, stricter
from suppression.rules import is_marketing
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
    strictness = Strictness(require_opt_in=require_opt_in, soft_months=soft_months, consent_months=consent_months)
    own = {code: stricter(pack, strictness) for code, pack in packs().items()}
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
