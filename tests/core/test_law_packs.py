"""Packs are checked field by field and have their days; countries lead to packs; controllers have their own terms."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from itertools import product
from typing import Any

import pytest

from suppression.basis import B2B_TESTS
from suppression.decision import decide, next_change
from suppression.facts import Facts
from suppression.jurisdiction import load_packs, resolve
from suppression.pack import PARAMETERS, PackError
from suppression.similarity import Category, similar, similar_pairs
from suppression.strictness import compare, in_words
from suppression.terms import AS_IT_IS, Terms, applied, objections
from tests.core.law_facts import base, consent, packs, sale


def texts() -> dict[str, str]:
    folder = files("suppression") / "packs"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")}


BROKEN = {
    "no TOML": ("nl.toml", r"^version = 1$", "version = ", r"nl\.toml:\d+: TOML: cannot be read"),
    "missing": ("nl.toml", r"^ad_label = .*\n", "", r"nl\.toml: ad_label: is missing"),
    "unknown": ("nl.toml", r"^version = 1$", "version = 1\ncolour = 3", r"nl\.toml:\d+: colour: is not a field"),
    "wrong kind": ("be.toml", r"^soft_opt_in = true$", "soft_opt_in = 1", r"be\.toml:\d+: soft_opt_in: must be true"),
    "no such kind of sale": ("de.toml", '"purchase"', '"gift"', r"de\.toml:\d+: soft_opt_in_contexts: must be a list"),
    "no such rule": ("uk.toml", '"corporate"', '"anyone"', r"uk\.toml:\d+: b2b_exemption: must be one of business"),
    "age": ("it.toml", r"^age_of_digital_consent = 14$", "age_of_digital_consent = 8", r"it\.toml:\d+: age_of_digital"),
    "date": ("fr.toml", r"^in_force = [-0-9]+", 'in_force = "soon"', r"fr\.toml:\d+: in_force: must be a date"),
    "local instant": (
        "uk.toml", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00", r"uk\.toml:\d+: charity_collected_on_or_after: must",
    ),
    "months": ("ca.toml", r"^inquiry = 6$", "inquiry = -6", r"ca\.toml:\d+: implied_consent_months: must be a table"),
    "soft opt-in without months": (
        "es.toml", r"^soft_opt_in_max_months.*\n", "", r"es\.toml: soft_opt_in_max_months: is missing; give it, since",
    ),
    "no provision": ("us.toml", r"^opt_out_regime = .*\n", "", r"us\.toml:\d+: cite\.opt_out_regime: is missing"),
    "twice": (
        "be.toml", 'code = "BE"', 'code = "NL"', r"(be|nl)\.toml:\d+: version: NL version 1 is also in (nl|be)\.toml;",
    ),
    "no such parameter": ("ie.toml", '"ad_label"', '"labels"', r"ie\.toml:\d+: statutory: must be a list of fields"),
    "code": ("be.toml", 'code = "BE"', 'code = "Belgium"', r"be\.toml:\d+: code: must be two capital letters"),
    "code of ISO 3166": ("uk.toml", 'code = "UK"', 'code = "GB"', r"uk\.toml:\d+: code: GB has the pack UK; write UK"),
    "code of the Union": ("it.toml", 'code = "IT"', 'code = "EL"', r"it\.toml:\d+: code: EL has the pack GR; write GR"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "pattern", "instead", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_pack_stops_with_file_and_field(file: str, pattern: str, instead: str, message: str) -> None:
    changed = texts()
    changed[file] = re.sub(pattern, instead, changed[file], count=1, flags=re.MULTILINE)
    assert changed[file] != texts()[file]
    with pytest.raises(PackError, match=message):
        load_packs(changed)


def test_without_the_unknown_pack_nothing_starts() -> None:
    with pytest.raises(PackError, match="no pack UNKNOWN"):
        load_packs({name: text for name, text in texts().items() if name != "unknown.toml"})


COUNTRIES = {
    "declared": (("NL", "BE", "DE", "NL"), (("NL",), "declared")),
    "billing": ((None, "be", "DE", "NL"), (("BE",), "billing")),
    "blank is not known": ((" ", None, "FR", "NL"), (("FR",), "default")),
    "none": ((None, None, None, "NL"), ((), "unknown")),
    "GB": (("GB", None, None, "NL"), (("UK",), "declared")),
    "EEA without a pack": (("dk", None, None, "NL"), (("EU",), "declared")),
    "Norway, Liechtenstein": ((None, "NO", None, "LI"), (("EU",), "billing")),
    "Greece by its other code": (("EL", None, None, None), (("EU",), "declared")),
    "outside": (("CH", None, None, "NL"), (("CH",), "declared")),
    "unreadable is unknown, not the next": (("Nederland", "NL", "NL", "NL"), ((), "unknown")),
    "US with an EEA controller": (("US", None, None, "NL"), (("US", "NL"), "declared")),
    "CA with a controller in an EEA state without a pack": (("CA", None, None, "SE"), (("CA", "EU"), "declared")),
    "US with a UK controller, by default country": ((None, None, "us", "GB"), (("US", "UK"), "default")),
    "US with a Swiss controller": (("US", None, None, "CH"), (("US",), "declared")),
    "US with a controller nobody placed": (("US", None, None, None), (("US",), "declared")),
    "CA with a US controller": (("CA", None, None, "US"), (("CA",), "declared")),
    "Switzerland does not take the controller's pack": (("CH", None, None, "BE"), (("CH",), "declared")),
}


@pytest.mark.parametrize(("countries", "wanted"), COUNTRIES.values(), ids=COUNTRIES)
def test_the_country_leads_to_its_packs(countries: tuple[str | None, ...], wanted: tuple[tuple[str, ...], str]) -> None:
    assert resolve(*countries) == wanted


def test_each_parameter_says_whether_another_value_is_laxer() -> None:
    """The table of strictness, row by row: (pack, field, other value, laxer)."""
    rows: list[tuple[str, str, Any, bool]] = [
        ("NL", "soft_opt_in_max_months", 25, True), ("NL", "soft_opt_in_max_months", 0, False),
        ("NL", "consent_max_months_since_interaction", None, True),
        ("CA", "consent_max_months_since_interaction", 24, False),
        ("NL", "age_of_digital_consent", 15, True), ("BE", "age_of_digital_consent", 16, False),
        ("UNKNOWN", "soft_opt_in", True, True), ("NL", "soft_opt_in", False, False),
        ("NL", "soft_opt_in_contexts", frozenset(("purchase", "contract", "negotiation")), True),
        ("UK", "soft_opt_in_contexts", frozenset(("purchase",)), False),
        ("NL", "soft_opt_in_time_rule", "rolling", True), ("IE", "soft_opt_in_time_rule", "stale", True),
        ("UK", "charity_collected_on_or_after", datetime(2026, 2, 4, tzinfo=UTC), True),
        ("UK", "charity_collected_on_or_after", datetime(2026, 2, 6, tzinfo=UTC), False),
        ("UK", "charity_collected_on_or_after", None, True),
        ("NL", "charity_contexts", frozenset(), False), ("BE", "charity_contexts", frozenset(("donation",)), True),
        ("NL", "free_account_counts_as_sale", True, True), ("NL", "pre_ticked_box_is_opt_out", False, False),
        ("NL", "model", "optout", True), ("US", "model", "consent", False), ("CA", "model", "optout", True),
        ("CA", "implied_consent_months", {"purchase": 24, "inquiry": 7}, True),
        ("CA", "implied_consent_months", {"purchase": 12}, False),
        ("DE", "b2b_exemption", "role_legal", True), ("IE", "b2b_exemption", "role_legal", False),
        ("IE", "b2b_exemption", "corporate", True), ("UK", "b2b_exemption", "none", False),
        ("NL", "postal_address_required", False, True), ("FR", "postal_address_required", True, False),
        ("NL", "ad_label", "unless_consent", True), ("US", "ad_label", "always", False),
        ("ES", "exclusion_register_check", False, True), ("NL", "exclusion_register_check", True, False),
        ("IE", "statutory", frozenset(), True), ("FR", "statutory", frozenset(PARAMETERS), False),
    ]  # fmt: skip
    for code, name, value, laxer in rows:
        old = packs()[code]
        [difference] = compare(replace(old, **{name: value}), old)
        assert (difference.field, difference.laxer) == (name, laxer), (code, name, value)
        assert in_words(difference.after) != in_words(difference.before)
    assert {name for _, name, _, _ in rows} == {*PARAMETERS, "statutory"}


MONTHS_AGO = ("2026-02-10", "2025-10-01", "2025-07-01", "2025-02-01", "2024-01-01", "2022-06-01")
BIRTHS = ("2012-06-01", "2011-06-01", "2010-06-01", "2008-06-01")


def telling_facts() -> list[dict[str, Any]]:
    """Facts that hang on one parameter of a pack each: close to a limit, or with one ground and no other."""
    found = [
        base(
            sender__is_charity=True, message__charitable_only=True,
            sales=[sale(kind=kind, concluded_at=f"{day}T10:00:00Z")],
        )
        for kind in ("purchase", "negotiation", "donation", "free_account", "inquiry", "contract")
        for day in MONTHS_AGO
    ]  # fmt: skip
    found += [base(consents=[consent(given_at=f"{day}T10:00:00Z")]) for day in MONTHS_AGO]
    for birth in BIRTHS:
        found.append(base(recipient__birth_date=birth, consents=[consent()]))
        found.append(base(recipient__birth_date=birth, sales=[sale()]))
    found += [
        base(
            recipient__kind=kind, recipient__address_kind=address, recipient__published_for_marketing=published,
            recipient__informed_at_collection=informed, message__b2b_relevant=relevant,
        )
        for kind, address, published, informed, relevant in product(
            ("legal_person", "sole_trader"), ("role", "personal"), (True, False), (True, False), (True, False)
        )
    ]  # fmt: skip
    chain = sale(
        concluded_at="2024-06-01T10:00:00Z", marketing_sent_at=["2025-03-01T10:00:00Z", "2025-12-01T10:00:00Z"]
    )
    for records in ({"sales": [sale()]}, {"consents": [consent()]}, {"sales": [chain]}):
        found += [
            base(**records), base(sender__postal_address_present=False, **records),
            base(message__ad_identifiable=False, **records), base(recipient__on_exclusion_register=True, **records),
        ]  # fmt: skip
    found.append(base(sales=[sale()], consents=[consent(action="pre_ticked")]))
    running = sale(kind="contract", concluded_at="2020-06-01T10:00:00Z", relation_active=True)
    return [*found, base(sales=[running]), base()]


VALUES: dict[str, tuple[Any, ...]] = {
    "model": ("consent", "casl", "optout"), "consent_max_months_since_interaction": (None, 6, 12, 36),
    "age_of_digital_consent": (13, 14, 16), "soft_opt_in": (True, False),
    "soft_opt_in_contexts": (frozenset(("purchase",)), frozenset(("purchase", "negotiation", "donation")), frozenset()),
    "soft_opt_in_max_months": (0, 6, 12, 36), "soft_opt_in_time_rule": ("stale", "rolling"),
    "charity_contexts": (frozenset(), frozenset(("donation",)), frozenset(("donation", "inquiry"))),
    "charity_collected_on_or_after": (None, datetime(2025, 9, 1, tzinfo=UTC), datetime(2026, 2, 5, tzinfo=UTC)),
    "free_account_counts_as_sale": (True, False), "pre_ticked_box_is_opt_out": (True, False),
    "implied_consent_months": ({"purchase": 24, "inquiry": 6}, {"purchase": 12}, {"purchase": 24, "inquiry": 36}),
    "b2b_exemption": tuple(sorted(B2B_TESTS)), "postal_address_required": (True, False),
    "ad_label": ("always", "unless_consent", "never"), "exclusion_register_check": (True, False),
}  # fmt: skip
CITE = dict.fromkeys(("consent", "no_basis", "soft_opt_in", "charity", "b2b", "implied", "opt_out_regime"), "law")


@pytest.mark.parametrize("name", PARAMETERS)
def test_who_is_let_in_by_another_value_is_what_laxer_means(name: str) -> None:
    """What is not laxer lets nobody in who was kept out before; and of every parameter some value does."""
    facts, let_in = telling_facts(), False
    for code, before, after in product(("NL", "IE", "UK", "CA", "US"), VALUES[name], VALUES[name]):
        old = replace(packs()[code], cite=CITE, **{name: before})
        new = replace(old, **{name: after})
        if name == "soft_opt_in":  # a pack that knows the exception has all that belongs to it
            old, new = (replace(p, soft_opt_in_max_months=24, soft_opt_in_time_rule="stale",
                                soft_opt_in_contexts=frozenset(("purchase",))) for p in (old, new))  # fmt: skip
        laxer = any(difference.laxer for difference in compare(new, old))
        for document in facts:
            read = Facts.from_dict(document | {"jurisdictions": [code]})
            if decide(read, packs() | {code: new}).verdict == "allow":
                kept_out = decide(read, packs() | {code: old}).verdict != "allow"
                assert laxer or not kept_out, (code, name, before, after)
                let_in = let_in or kept_out
    assert let_in, "the facts above tell nothing of this parameter"


NL2 = re.sub(
    r"(?m)^version = 1$", "version = 2", re.sub(r"(?m)^in_force = .*$", "in_force = 2026-07-01", texts()["nl.toml"])
)


def test_the_version_in_force_on_the_day_applies() -> None:
    book = load_packs(texts() | {"nl-2.toml": NL2.replace("max_months = 24", "max_months = 12")})
    assert [pack.label for pack in book.versions["NL"]] == ["NL@1", "NL@2"]
    assert [pack.until for pack in book.versions["NL"]] == [date(2026, 7, 1), None]
    for day, label in (("1999-01-01", "NL@1"), ("2026-06-30", "NL@1"), ("2026-07-01", "NL@2"), ("2031-01-01", "NL@2")):
        assert book.on(date.fromisoformat(day))["NL"].label == label
        assert book.on(date.fromisoformat(day))["BE"].label == "BE@1"
    last = datetime(2026, 6, 30, 23, 59, 59, 999999, tzinfo=UTC)
    assert (book.at(last)["NL"].version, book.at(last + timedelta(microseconds=1))["NL"].version) == (1, 2)
    assert book.on(date(2026, 7, 1)) is book.on(date(2030, 1, 1)), "found once for all days between two changes"


def test_a_decision_made_before_a_version_enters_into_force_is_made_anew_after_it() -> None:
    book = load_packs(texts() | {"nl-2.toml": NL2.replace("max_months = 24", "max_months = 12")})
    facts = Facts.from_dict(base(sales=[sale(concluded_at="2025-02-01T10:00:00Z")]) | {"as_of": "2026-06-30T23:00:00Z"})
    assert decide(facts, book.at(facts.as_of)).reason_code == "ALLOW_SOFT_OPT_IN"
    assert next_change(facts, book.at(facts.as_of)) == datetime(2026, 7, 1, tzinfo=UTC)
    later = replace(facts, as_of=datetime(2026, 7, 1, tzinfo=UTC))
    assert decide(later, book.at(later.as_of)).reason_code == "CUSTOMER_RELATION_STALE"


def test_versions_have_rising_numbers_and_later_days() -> None:
    for changes, message in (
        ((("version = 2", "version = 1"),), r"nl-2\.toml:\d+: version: NL version 1 is also in nl\.toml; give"),
        ((("2026-07-01", "2021-07-01"),), r"nl-2\.toml:\d+: in_force: 2021-07-01 is not after 2021-07-01, the day"),
        ((("2026-07-01", "2020-01-01"),), r"nl-2\.toml:\d+: in_force: 2020-01-01 is not after"),
    ):  # fmt: skip
        text = NL2
        for old, new in changes:
            text = text.replace(old, new)
        with pytest.raises(PackError, match=message):
            load_packs(texts() | {"nl-2.toml": text})


def test_an_own_pack_is_a_newer_version_and_says_why_it_is_laxer() -> None:
    laxer = NL2.replace("max_months = 24", "max_months = 30")
    with pytest.raises(
        PackError, match=r"/p/nl\.toml:\d+: motivation: is missing; the pack is laxer than NL version 1 "
    ):
        load_packs(texts(), {"/p/nl.toml": laxer})
    with pytest.raises(PackError, match=r"/p/nl\.toml:\d+: version: 1 is not above that of the NL that ships; write 2"):
        load_packs(texts(), {"/p/nl.toml": NL2.replace("version = 2", "version = 1")})
    explained = laxer.replace("[cite]", 'motivation = "Advice of counsel, 3 May 2026."\n[cite]')
    pack = load_packs(texts(), {"/p/nl.toml": explained}).on(date(2026, 7, 1))["NL"]
    assert (pack.own, pack.label, pack.motivation) == (True, "NL@2", "Advice of counsel, 3 May 2026.")
    stricter = load_packs(texts(), {"/p/nl.toml": NL2.replace("max_months = 24", "max_months = 6")})
    assert stricter.on(date(2026, 7, 1))["NL"].soft_opt_in_max_months == 6


def test_a_pack_for_a_country_that_had_none_is_measured_by_the_strictest_and_found_by_its_code() -> None:
    swiss = texts()["eu.toml"].replace('code = "EU"', 'code = "CH"').replace('name = "', 'name = "Switzerland, not ')
    with pytest.raises(
        PackError, match=r"ch\.toml:\d+: motivation: is missing; the pack is laxer than UNKNOWN version 1"
    ):
        load_packs(texts(), {"ch.toml": swiss})
    danish = texts()["unknown.toml"].replace('code = "UNKNOWN"', 'code = "DK"')
    book = load_packs(texts(), {"dk.toml": danish})
    assert resolve("DK", None, None, "NL", book.versions) == (("DK",), "declared")
    assert resolve("US", None, None, "DK", book.versions) == (("US", "DK"), "declared")
    assert resolve("SE", None, None, "DK", book.versions) == (("EU",), "declared")


def test_what_a_controller_wishes_and_is_held_to() -> None:
    """Shorter as it likes; longer with a motivation where the period is a product default; never where it is law."""
    rows: list[tuple[str, Terms, str, Any, str | None]] = [
        ("NL", Terms(soft_opt_in_max_months=12), "soft_opt_in_max_months", 12, None),
        ("NL", Terms(soft_opt_in_max_months=0), "soft_opt_in_max_months", 0, None),
        ("NL", Terms(soft_opt_in_max_months=36), "soft_opt_in_max_months", 24, "without a motivation"),
        ("NL", Terms(soft_opt_in_max_months=36, motivation={"soft_opt_in_max_months": "why"}),
         "soft_opt_in_max_months", 36, None),
        ("IE", Terms(soft_opt_in_max_months=13, motivation={"soft_opt_in_max_months": "why"}),
         "soft_opt_in_max_months", 12, "longer than the 12 that the law sets"),
        ("IE", Terms(soft_opt_in_max_months=6), "soft_opt_in_max_months", 6, None),
        ("FR", Terms(consent_max_months_since_interaction=48), "consent_max_months_since_interaction", 36, "default"),
        ("CA", Terms(consent_max_months_since_interaction=24), "consent_max_months_since_interaction", 24, None),
        ("CA", Terms(soft_opt_in_max_months=24), "soft_opt_in_max_months", None, "no customer exception"),
        ("CA", Terms(implied_consent_months={"inquiry": 3}), "implied_consent_months",
         dict(packs()["CA"].implied_consent_months) | {"inquiry": 3}, None),
        ("CA", Terms(implied_consent_months={"inquiry": 7}, motivation={"implied_consent_months": "why"}),
         "implied_consent_months", dict(packs()["CA"].implied_consent_months), "longer than the 6 of the law"),
        ("CA", Terms(implied_consent_months={"contest": 1}), "implied_consent_months",
         dict(packs()["CA"].implied_consent_months), "contest carries no implied consent"),
        ("NL", Terms(free_account_counts_as_sale=True), "free_account_counts_as_sale", False, "without a motivation"),
        ("NL", Terms(free_account_counts_as_sale=True, motivation={"free_account_counts_as_sale": "paid by data"}),
         "free_account_counts_as_sale", True, None),
        ("US", Terms(free_account_counts_as_sale=True, motivation={"free_account_counts_as_sale": "x"}),
         "soft_opt_in", False, "no customer exception"),
        ("NL", Terms(pre_ticked_box_is_opt_out=False), "pre_ticked_box_is_opt_out", False, None),
        ("US", Terms(require_opt_in=True), "model", "consent", None),
    ]  # fmt: skip
    for code, terms, name, held, refused in rows:
        pack = packs()[code]
        assert getattr(applied(pack, terms), name) == held, (code, terms)
        said = [objection.what for objection in objections(pack, terms)]
        assert (not said) if refused is None else refused in said[0], (code, terms, said)


def test_what_a_controller_wishes_of_every_pack_only_shortens() -> None:
    common = Terms(soft_opt_in_max_months=18, consent_max_months_since_interaction=30)
    held = {code: applied(pack, AS_IT_IS, common) for code, pack in packs().items()}
    assert {code: held[code].soft_opt_in_max_months for code in ("NL", "FR", "IE", "CA")} == {
        "NL": 18, "FR": 18, "IE": 12, "CA": None,
    }  # fmt: skip
    assert (held["CA"].implied_consent_months["purchase"], held["CA"].implied_consent_months["inquiry"]) == (18, 6)
    assert (held["FR"].consent_max_months_since_interaction, held["NL"].consent_max_months_since_interaction) == (
        30,
        24,
    )
    assert applied(packs()["NL"], AS_IT_IS) == packs()["NL"]


def test_zero_months_leave_only_those_whose_contract_runs() -> None:
    """RULES Q21: the controller may set 0, former customers are then not mailed at all, also not on the day itself."""
    own = {code: applied(pack, Terms(soft_opt_in_max_months=0)) for code, pack in packs().items()}
    for code in ("NL", "IE"):
        today = Facts.from_dict(base(code, sales=[sale(concluded_at="2026-03-02T08:00:00Z")]))
        assert decide(today, packs()).verdict == "allow"
        assert decide(today, own).verdict == "block"
    running = base(sales=[sale(kind="contract", concluded_at="2020-03-02T08:00:00Z", relation_active=True)])
    assert decide(Facts.from_dict(running), own).reason_code == "ALLOW_SOFT_OPT_IN"


def test_a_pre_ticked_box_is_an_opt_out_unless_the_controller_says_no() -> None:
    """RULES Q15."""
    facts = Facts.from_dict(base(sales=[sale()], consents=[consent(action="pre_ticked")]))
    assert decide(facts, packs()).reason_code == "ALLOW_SOFT_OPT_IN"
    own = {code: applied(pack, Terms(pre_ticked_box_is_opt_out=False)) for code, pack in packs().items()}
    assert decide(facts, own).verdict == "block"
    without = Facts.from_dict(base(sales=[sale()]))
    assert decide(without, own).reason_code == "ALLOW_SOFT_OPT_IN"


def test_pairs_are_parent_and_child_and_rulings_never_a_chain() -> None:
    pairs = similar_pairs([
        Category(name="drinks"), Category(name="wine", parent="drinks", similar_to=("spirits", "wine")),
        Category(name="red", parent="wine"), Category(name="spirits", parent="drinks"),
    ])  # fmt: skip
    assert pairs == {frozenset(pair) for pair in (
        ("wine", "drinks"), ("wine", "spirits"), ("red", "wine"), ("spirits", "drinks"),
    )}  # fmt: skip
    assert similar("spirits", "wine", pairs) and similar("beer", "beer", pairs)
    assert not similar("red", "drinks", pairs) and not similar("red", "spirits", pairs)
