"""LAW.md says what the code does: every rule, its law, and examples that really end there."""

import re
from importlib.resources import files

import pytest

from suppression.basis import CONSENT_CHECKS, IMPLIED_CHECKS, OFFER_CHECKS, OPT_OUT_CHECKS, SALE_CHECKS
from suppression.decision import MESSAGE_LEVEL, Decision
from suppression.duties import DUTIES, SIGNING
from suppression.reason_code import ACTOR, FAMILY
from suppression.rules import EVERY_MESSAGE, HARD_STOPS, NOT_MARKETING, SUPPRESSION_SOURCES
from tests.core.law_facts import judged, vectors

PAGE = (files("suppression") / "LAW.md").read_text("utf-8")
ROWS = {
    cells[0]: cells
    for line in PAGE.splitlines()
    if line.startswith("| ") and (cells := [cell.strip() for cell in line.strip("|").split("|")])[0] != "Rule"
}
CHECKS = {
    f"{step}-{check.number}": (check.code, check.source)
    for step, table in (
        ("D1", CONSENT_CHECKS), ("D4", (*SALE_CHECKS, *OFFER_CHECKS)), ("D6", IMPLIED_CHECKS), ("D7", OPT_OUT_CHECKS),
    )
    for check in table
}  # fmt: skip
STEPS = {"D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8a", "D8b", "D8c", "D8d", "D8e", "D8f", "D8g", "G"}


def in_code() -> dict[str, tuple[str | None, str]]:
    """Rule id -> code (None: it depends) and source."""
    found: dict[str, tuple[str | None, str]] = dict(CHECKS)
    for rule in (*EVERY_MESSAGE, *NOT_MARKETING, *HARD_STOPS):
        found[rule.id] = (rule.effect.code if isinstance(rule.effect, tuple) else None, rule.source)
    for duty in (*DUTIES, SIGNING):
        found[duty.id] = (duty.effect.code, duty.source)
    return found


def test_every_rule_of_the_code_is_on_the_page_and_the_other_way_round() -> None:
    assert set(ROWS) == set(in_code()) | STEPS
    for id_, (code, source) in in_code().items():
        assert ROWS[id_][3] == source, id_
        assert code is None or ROWS[id_][2] == f"`{code}`", id_


def test_the_numbers_of_the_checks_are_those_of_the_rules() -> None:
    assert [check.number for check in CONSENT_CHECKS] == list(range(1, 21))
    assert [check.number for check in (*SALE_CHECKS, *OFFER_CHECKS)] == list(range(1, 18))
    assert [rule.id for rule in (*EVERY_MESSAGE, *NOT_MARKETING, *HARD_STOPS)] == [
        *(f"A{n}" for n in range(1, 7)), *(f"B{n}" for n in range(1, 9)), "C1", "C2", "C3",
    ]  # fmt: skip


def ends_at(decision: Decision, rule: str) -> bool:
    """Whether a decision rests on a rule: the last row, the ground that allowed, or a finding with the code given."""
    step = rule.partition("-")[0][:2] if rule.startswith("D") else rule
    if rule == "G" or (decision.verdict == "allow" and rule in ("D1", "D4", "D5", "D6", "D7")):
        return decision.verdict == "allow" and decision.trace[-1] == "G"
    if "-" in rule and not rule.startswith("D7"):
        return any(f" {rule} " in finding and finding.endswith(decision.reason_code) for finding in decision.findings)
    return decision.trace[-1].split(":")[0] == step


@pytest.mark.parametrize("rule", sorted(ROWS))
def test_the_examples_of_a_rule_end_at_it(rule: str) -> None:
    facts = {vector["id"]: vector["facts"] for vector in vectors()}
    for id_ in re.findall(r"\bD\d{3}\b", ROWS[rule][4]):
        assert ends_at(judged(facts[id_]), rule), f"{id_} does not show {rule}"


def test_every_example_is_on_the_page() -> None:
    assert set(re.findall(r"\bD\d{3}\b", PAGE)) == {vector["id"] for vector in vectors()}


def test_every_code_a_row_can_give_is_explained() -> None:
    codes = {code for code, _ in in_code().values() if code} | set(SUPPRESSION_SOURCES)
    assert {code for code in codes if not code.startswith("ALLOW_")} <= set(FAMILY)
    assert set(ACTOR.values()) == {"person", "marketer", "privacy", "operator", "nobody"}


def test_message_level_codes_are_those_of_the_smtp_mapping() -> None:
    wanted = {"A3", "A4", "B3", "B4", "C3", "E1", "E2", "E3", "E4", "E5", "E6"}
    codes = {code for id_, (code, _) in in_code().items() if id_ in wanted}
    assert codes | {"PRODUCT_CATEGORY_UNKNOWN"} == MESSAGE_LEVEL
