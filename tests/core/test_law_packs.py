"""Packs are checked field by field; countries lead to packs; a controller can only be stricter."""

import re
from importlib.resources import files

import pytest

from suppression.jurisdiction import PackError, Strictness, load_packs, resolve, stricter
from suppression.similarity import Category, similar, similar_pairs
from tests.core.law_facts import packs


def texts() -> dict[str, str]:
    folder = files("suppression") / "packs"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")}


BROKEN = {
    "no TOML": ("nl.toml", r"^version = 1$", "version = ", r"nl\.toml: TOML: cannot be read"),
    "missing": ("nl.toml", r"^ad_label = .*\n", "", r"nl\.toml: ad_label: is missing"),
    "unknown": ("nl.toml", r"^version = 1$", "version = 1\ncolour = 3", r"nl\.toml: colour: is not a field"),
    "wrong kind": ("be.toml", r"^soft_opt_in = true$", "soft_opt_in = 1", r"be\.toml: soft_opt_in: must be true"),
    "no such kind of sale": ("de.toml", '"purchase"', '"gift"', r"de\.toml: soft_opt_in_contexts: must be a list"),
    "no such rule": ("uk.toml", '"corporate"', '"anyone"', r"uk\.toml: b2b_exemption: must be one of business"),
    "age": ("it.toml", r"^age_of_digital_consent = 14$", "age_of_digital_consent = 8", r"it\.toml: age_of_digital"),
    "date": ("fr.toml", r"^in_force = [-0-9]+", 'in_force = "soon"', r"fr\.toml: in_force: must be a date"),
    "local instant": (
        "uk.toml", "2026-02-05T00:00:00Z", "2026-02-05T00:00:00", r"uk\.toml: charity_collected_on_or_after: must be",
    ),
    "months": ("ca.toml", r"^inquiry = 6$", "inquiry = -6", r"ca\.toml: implied_consent_months: must be a table"),
    "soft opt-in without months": (
        "es.toml", r"^soft_opt_in_max_months.*\n", "", r"es\.toml: soft_opt_in_max_months: is missing; give it, since",
    ),
    "no provision": ("us.toml", r"^opt_out_regime = .*\n", "", r"us\.toml: cite\.opt_out_regime: is missing"),
    "twice": ("be.toml", 'code = "BE"', 'code = "NL"', r"there are two packs NL"),
    "code": ("be.toml", 'code = "BE"', 'code = "Belgium"', r"be\.toml: code: must be two capital letters"),
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


def test_a_controller_can_only_be_stricter() -> None:
    longer = Strictness(soft_months=60, consent_months=60)
    for code in ("NL", "FR", "IE", "CA"):
        pack = packs()[code]
        own = stricter(pack, longer)
        assert own.soft_opt_in_max_months == (pack.soft_opt_in_max_months or 60)
        assert dict(own.implied_consent_months) == dict(pack.implied_consent_months)
        assert own.consent_max_months_since_interaction == (pack.consent_max_months_since_interaction or 60)
    shorter = stricter(packs()["CA"], Strictness(soft_months=12, consent_months=6))
    assert (shorter.implied_consent_months["purchase"], shorter.implied_consent_months["inquiry"]) == (12, 6)
    assert shorter.consent_max_months_since_interaction == 6
    assert stricter(packs()["NL"], Strictness()) == packs()["NL"]


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
