"""Explanations in words: every code in every language, whole, without leftovers."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.packs import read_packs
from gateway.sentences import SHOWN, tell
from gateway.words import LANGUAGES, Language, Words
from suppression.decision import decide
from suppression.explain import Explanation, explain, outline
from suppression.facts import Facts
from suppression.observe import observe
from suppression.reason_code import FAMILY, REMEDY
from tests.core import law_strategies
from tests.core.law_facts import base, consent, packs, sale, suppression

WORDS, BOOK = Words.load(), read_packs()
LEFT_OVER = re.compile(r"[{}]|\bNone\b|\bTrue\b|\bFalse\b|  |\.\.|, ,| [.,]|explain\.|fact\.")


def whole(text: str) -> None:
    assert not LEFT_OVER.search(text), text
    assert text.endswith("."), text


def said(document: dict[str, Any]) -> Explanation:
    facts = Facts.from_dict(document)
    return explain(facts, decide(facts, packs()), BOOK)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", sorted(REMEDY))
def test_every_code_has_rule_remedy_and_actor_in_every_language(code: str, language: Language) -> None:
    verdict = "allow" if code.startswith("ALLOW_") else "block"
    told = tell(WORDS, language, outline(verdict, code, "GDPR 5(1)(e)", ("A1", "D8:NL"), "opt_in", "NL"))
    whole(told.text)
    assert told.remedy and told.small
    assert (told.who is None) == code.startswith("ALLOW_")
    if code in FAMILY:
        assert told.who is not None and told.remedy in told.text
        assert told.remedy_names_who or told.who in told.text


@settings(max_examples=120, deadline=None)
@given(law_strategies.facts | law_strategies.marketing_in_order, st.sampled_from(LANGUAGES), st.booleans())
def test_whatever_is_explained_reads_as_sentences(document: dict[str, Any], language: Language, looking: bool) -> None:
    """For all facts, also while observing: the text is whole and names no field of ours."""
    facts = Facts.from_dict(document)
    explanation = explain(facts, (observe if looking else decide)(facts, packs()), BOOK)
    told = tell(WORDS, language, explanation)
    whole(told.text)
    assert explanation.rule in told.small
    assert len(told.because) <= SHOWN + 1


def test_an_opt_out_in_dutch_as_a_marketer_reads_it() -> None:
    told = tell(WORDS, "nl", said(base(consents=[consent()], suppressions=[suppression()])))
    assert told.text == (
        "Tegengehouden. Staat voor alle reclame van deze afzender op de afmeldlijst. "
        "Afmelding van 15 januari 2026 voor alle reclame van deze afzender. Dit is zo sinds 15 januari 2026. "
        "Laat het zo en haal dit adres in uw mailprogramma van de lijst. Alleen de persoon zelf kan dit terugdraaien. "
        "Recht van bezwaar tegen reclame: werkt altijd en meteen (ePrivacyrichtlijn 13(2); AVG 7(3), 21(3)). Regel C1."
    )


def test_an_allowed_mail_names_the_consent_with_date_method_and_wording() -> None:
    told = tell(WORDS, "en", said(base(consents=[consent()])))
    assert told.because == (
        "Consent of 1 June 2025, for newsletter, by web form, wording w3, origin https://shop.example/newsletter.",
    )
    assert told.until == "If nothing changes, this is allowed until 2 June 2027."
    assert told.who is None


def test_the_record_that_came_nearest_is_told_first_and_each_other_says_why_it_failed() -> None:
    told = tell(WORDS, "de", said(base(
        consents=[consent(purposes=["events"]), consent(id="c2", given_at="2020-01-10T10:00:00Z",
                                                        last_interaction_at=None)],
        sales=[sale(concluded_at="2010-01-01T00:00:00Z")],
    )))  # fmt: skip
    first, second, third = told.because
    assert first.startswith("Einwilligung vom 10. Januar 2020") and first.endswith("newsletter.")
    assert second.endswith(": Hat in etwas anderes eingewilligt.")
    assert third == "Kauf vom 1. Januar 2010, Produktgruppe wine: Der letzte Kauf liegt zu lange zurück."


def test_many_records_are_counted_instead_of_listed() -> None:
    told = tell(WORDS, "nl", said(base(sales=[
        sale(id=f"s{n}", concluded_at="2010-01-01T00:00:00Z") for n in range(SHOWN + 3)
    ])))  # fmt: skip
    assert told.because[-1] == "Er zijn nog 3 gegevens vastgelegd die hier niet telden."


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_record_holds_writes_no_line_of_its_own(language: Language) -> None:
    """Neither into a report by mail, nor on the screen of who looks."""
    evil = {
        "method": "web\x1b[2Jform",
        "origin": "shop\r\n\r\nBcc: a@b.example\u2028\u202eexe",
        "wording_version": "w\x9b1",
    }
    evidence = {**consent()["evidence"], **evil}
    told = tell(WORDS, language, said(base(consents=[consent(evidence=evidence)])))
    assert "Bcc" in told.text
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", told.text)
