"""The catalogues and what is made of them: nothing missing, the same facts in every language, readable footers."""

import json
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from gateway.config import Config
from gateway.mail.footer import LINK_MARKS, PREFERENCES, UNSUBSCRIBE, WHY
from gateway.words import GROUND_AND_STEP, LANGUAGES, WORDED_BASES, Words, accepted, template_folder
from suppression.reason_code import FAMILY
from tests.acme import write_config

BASES = [*sorted(WORDED_BASES), "transactional", None]


@pytest.fixture(scope="module")
def words() -> Words:
    return Words.load()


@pytest.fixture
def web_config(tmp_path: Path) -> Config:
    return write_config(tmp_path)


@pytest.fixture(scope="module")
def catalogues() -> dict[str, dict[str, str]]:
    found = {}
    for language in LANGUAGES:
        with (template_folder() / "locale" / f"{language}.po").open("rb") as file:
            found[language] = {str(m.id): str(m.string) for m in read_po(file) if m.id}
    return found


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_every_key_is_said_in_every_language_with_the_same_values(catalogues: dict[str, dict[str, str]]) -> None:
    keys = {language: set(catalogue) for language, catalogue in catalogues.items()}
    assert keys["en"] == keys["fr"] == keys["de"] == keys["nl"]
    assert len(keys["nl"]) > 300
    for key in keys["nl"]:
        said = {language: catalogues[language][key] for language in LANGUAGES}
        assert all(sentence.strip() for sentence in said.values()), key
        assert len({frozenset(placeholders(sentence)) for sentence in said.values()}) == 1, (key, said)


def test_every_key_of_a_template_or_module_exists_and_none_is_left_over(catalogues: dict[str, dict[str, str]]) -> None:
    root = template_folder()
    texts = [path.read_text() for path in root.rglob("*") if path.suffix in (".html", ".txt")]
    texts += [path.read_text() for path in (Path(__file__).parents[2] / "gateway").rglob("*.py")]
    literal = set(re.findall(r"""["']([a-z_]+(?:\.[a-zA-Z_-]+)+)["']""", "\n".join(texts)))
    prefixes = {
        "reason.", "ground.", "step.", "because.", "why.ground.", "why.since.", "family.", "role.", "funnel.",
        "blocked.period.", "undone.", "late.", "again.", "expired.", "overtaken.",
        "busy.", "down.", "missing.", "staff.", "grade.", "lack.", "list.", "source.",
        "explain.", "fact.", "dossier.", "reach.", "rehearsals.by.", "entry.", "proof.outcome.", "proof.channel.",
        "held.error.",
        "matched.", "mislabelled.", "sign.", "pack.", "rules.source.", "rules.error.", "rules.done.", "rules.ground.",
        "decision.title.", "people.", "report.", "stopped_mail.", "bounce.", "returns.kind.", "returns.done.",
        "returns.error.",
    }  # fmt: skip
    keys = set(catalogues["nl"])
    for key in re.findall(r"""\bt\(\s*"([a-z_.]+)"\s*[,)]""", "\n".join(texts)):
        assert key in keys, key
    for said in re.findall(r"""(?s)\b_?words\.text\(([^()]*)\)""", "\n".join(texts)):
        for key in re.findall(r"""["']([a-z_]+(?:\.[a-zA-Z_-]+)+)["']""", said):
            assert key in keys, key
    for key in keys:
        plain = re.sub(r"\.(one|other)$", "", key)
        assert key in literal or plain in literal or any(key.startswith(p) for p in prefixes), f"{key} is never said"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_code_has_a_sentence_a_ground_and_a_next_step(words: Words, language: str) -> None:
    codes = set(FAMILY) | {code for code in GROUND_AND_STEP if code.startswith("ALLOW_")}
    assert len(codes) > 60
    for code in codes:
        reason = words.reason(code, words.pick([language]))
        assert reason.sentence.endswith("."), code
        assert reason.next_step.endswith("."), code
        assert reason.ground, code
        for text in (reason.sentence, reason.ground, reason.next_step):
            assert not re.search(r"\b(error|fout|erreur|Fehler)\b", text, re.IGNORECASE), (code, text)
            assert "_" not in text, (code, text)


ASKING = ("ask_first", "ask_explicitly", "fix_form", "add_proof", "own_product", "parent", "sign_up_again")


@pytest.mark.parametrize("language", LANGUAGES)
def test_advice_to_ask_for_consent_says_not_by_email(catalogues: dict[str, dict[str, str]], language: str) -> None:
    """A mail that asks for consent is marketing itself (RULES.md 2.2, D062)."""
    for step in ASKING:
        said = catalogues[language][f"step.{step}"]
        assert re.search(r"\b(niet|not|pas|n’est pas|nicht|mag niet)\b", said), (step, said)
        assert re.search(r"\b(mail|email|e-mail|E-Mail)\b", said), (step, said)


def test_the_reason_codes_of_the_contract_are_all_worded() -> None:
    vectors = Path(__file__).parents[1] / "vectors" / "decisions.json"
    if vectors.is_file():
        used = {vector["expected"]["reason_code"] for vector in json.loads(vectors.read_text())["vectors"]}
        assert used <= set(GROUND_AND_STEP)
    assert set(FAMILY) <= set(GROUND_AND_STEP)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("basis", BASES)
def test_footer_says_who_why_and_the_way_out(
    words: Words, web_config: Config, basis: str | None, language: str
) -> None:
    acme = web_config.controllers["acme"]
    footer = words.footer(acme, acme.streams["newsletter"], basis, language)
    for part in (footer.text, footer.html):
        assert "Acme Wijnen B.V., Kade 1, 1011 AB Amsterdam" in part
        assert {mark: part.count(mark) for mark in LINK_MARKS} == {UNSUBSCRIBE: 1, WHY: 1, PREFERENCES: 1}
        assert "https://acme.example/privacy" in part
        assert max(map(len, part.splitlines())) < 900
    assert f'lang="{language}"' in footer.html
    assert "<script" not in footer.html and "<img" not in footer.html
    assert "&#39;" not in footer.text and "&amp;" not in footer.text
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", footer.html)).strip()
    assert len(shown) <= 3 * 75, shown  # three lines of a phone: 340 px at 12 px is some 60 to 75 letters


def test_footer_wording_differs_by_ground(words: Words, web_config: Config) -> None:
    acme = web_config.controllers["acme"]
    said = {basis: words.footer(acme, acme.streams["newsletter"], basis, "nl") for basis in BASES}
    assert len({footer.text for footer in said.values()}) == len(WORDED_BASES) + 2  # and for service, and for no ground
    assert "omdat u zich aanmeldde voor de nieuwsbrief" in said["opt_in"].text
    assert "omdat u klant bent van Acme Wijnen" in said["soft_opt_in"].html


@pytest.mark.parametrize("language", LANGUAGES)
def test_belgian_footer_names_the_right_to_object(words: Words, web_config: Config, language: str) -> None:
    acme = web_config.controllers["acme"]
    spoken = words.pick([language])
    said = words.text(spoken, "footer.object")
    stream = acme.streams["newsletter"]
    assert said not in words.footer(acme, stream, "opt_in", language).text
    assert said in words.footer(acme, stream, "opt_in", language, pack="BE").text
    assert said in words.footer(acme, stream, "opt_in", language, pack="BE").html
    from_belgium = replace(acme, id="bier", country="BE")
    assert said in words.footer(from_belgium, stream, "opt_in", language).text
    assert said not in words.footer(from_belgium, stream, "opt_in", language, pack="FR").text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("basis", BASES)
def test_whoever_is_mailed_without_consent_is_told_of_the_right_to_object(
    words: Words, web_config: Config, basis: str | None, language: str
) -> None:
    acme = web_config.controllers["acme"]
    said = words.text(words.pick([language]), "footer.object")
    footer = words.footer(acme, acme.streams["newsletter"], basis, language, pack="NL")
    told = basis in ("soft_opt_in", "charity", "b2b")
    assert (said in footer.text) is (said in footer.html) is told


def test_a_german_customer_is_told_in_each_mail_what_an_objection_costs(words: Words, web_config: Config) -> None:
    """UWG 7(3) no. 4: without that the exception for customers does not hold."""
    acme = web_config.controllers["acme"]
    footer = words.footer(acme, acme.streams["newsletter"], "soft_opt_in", "de", pack="DE")
    for part in (footer.text, " ".join(footer.html.split())):
        assert "jederzeit widersprechen" in part and "keine anderen als die Übermittlungskosten" in part
    assert "Übermittlungskosten" not in words.footer(acme, acme.streams["newsletter"], "opt_in", "de", pack="DE").text
    assert "basistarief" in words.footer(acme, acme.streams["newsletter"], "soft_opt_in", "nl", pack="DE").text


def test_footer_escapes_what_the_controller_wrote(words: Words, web_config: Config) -> None:
    acme = replace(web_config.controllers["acme"], id="odd", legal_name='Vin & Fils <"SA">', display_name="Vin & Fils")
    footer = words.footer(acme, acme.streams["newsletter"], "soft_opt_in", "fr")
    assert "Vin &amp; Fils &lt;" in footer.html and '<"SA">' not in footer.html
    assert 'Vin & Fils <"SA">' in footer.text


def test_footer_of_a_language_we_do_not_speak_is_the_controllers(words: Words, web_config: Config) -> None:
    acme = web_config.controllers["acme"]
    assert words.footer(acme, acme.streams["newsletter"], "opt_in", "pt-BR") == words.footer(
        acme, acme.streams["newsletter"], "opt_in", "nl"
    )


@pytest.mark.parametrize(
    ("header", "best_first"),
    [
        ("nl-BE,nl;q=0.9,en;q=0.5", ["nl-BE", "nl", "en"]),
        ("en;q=0.1, fr", ["fr", "en"]),
        ("de;q=0", []),
        (";;;,q=x", []),
        (None, []),
    ],
)
def test_accept_language(header: str | None, best_first: list[str]) -> None:
    assert accepted(header) == best_first


def test_numbers_and_articles_are_written_as_readers_write_them(words: Words) -> None:
    assert words.number("nl", 12400) == "12.400"
    assert words.number("en", 12400) == "12,400"
    assert words.law("nl", "GDPR 7(3)") == "AVG 7(3)"
    assert words.law("fr", "GDPR 17, 21(3)") == "RGPD 17, 21(3)"
    assert words.law("de", "ePD 13(2)") == "ePrivacy-Richtlinie 13(2)"
    assert words.count("fr", "campaigns.sentence", 0, blocked="0").endswith("retenu")
    assert words.count("en", "campaigns.sentence", 2, blocked="1") == "1 of 2 kept out"
