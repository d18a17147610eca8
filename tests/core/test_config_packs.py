"""Packs of an installation and terms of a controller in the settings: taken over, or named with line and remedy."""

import re
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.settings.load import ConfigError, load
from tests.acme import write_config

NL = (files("suppression") / "packs" / "nl.toml").read_text("utf-8")
SHORTER = re.sub(r"(?m)^version = 1$", "version = 2", NL.replace("2021-07-01", "2026-07-01")).replace(
    "soft_opt_in_max_months = 24", "soft_opt_in_max_months = 12"
)
DAY = date(2026, 11, 21)


def own(folder: Path, text: str = SHORTER, *, more: str = "") -> Config:
    """The settings with a folder of own packs that holds one."""
    (folder / "packs").mkdir()
    (folder / "packs" / "nl.toml").write_text(text)
    return write_config(folder, public_url='http://127.0.0.1:8080"\npacks = "packs', more=more)


def test_an_own_version_applies_from_its_day(tmp_path: Path) -> None:
    config = own(tmp_path)
    assert config.packs.on(date(2026, 6, 30))["NL"].soft_opt_in_max_months == 24
    now = config.packs.on(DAY)["NL"]
    assert (now.soft_opt_in_max_months, now.own, now.file) == (12, True, str(tmp_path / "packs/nl.toml"))


MISTAKES = {
    "unknown field": (
        ("version = 2", "version = 2\ncolour = 3"),
        "colour",
        r"is not a field of a pack",
        "Remove it or",
    ),
    "no TOML": (("version = 2", "version = "), "TOML", "cannot be read", "Correct the line"),
    "no higher version": (
        ("version = 2", "version = 1"),
        "version",
        "1 is not above that of the NL",
        "Write 2 or more",
    ),
    "an earlier day": (("2026-07-01", "2020-07-01"), "in_force", "2020-07-01 is not after 2021-07-01", "A higher ver"),
    "laxer": (
        ("max_months = 12", "max_months = 36"),
        "motivation",
        "is missing",
        "The pack is laxer than NL version 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_broken_pack_stops_the_start_with_file_line_field_and_remedy(tmp_path: Path, mistake: str) -> None:
    (old, new), field, what, remedy = MISTAKES[mistake]
    text = SHORTER.replace(old, new, 1)
    assert text != SHORTER
    with pytest.raises(ConfigError) as caught:
        own(tmp_path, text)
    [problem] = caught.value.problems
    assert (problem.file, problem.key) == (str(tmp_path / "packs/nl.toml"), field)
    assert what in problem.what and problem.remedy.startswith(remedy)
    named = {"unknown field": "colour", "no TOML": "version", "laxer": "soft_opt_in_max_months"}.get(mistake, field)
    assert problem.line == next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(f"{named} ="))
    assert str(problem).startswith(f"{problem.file}:{problem.line}: {field}: ")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"consentgate.toml:\d+: packs: there is no folder .*/packs"):
        write_config(tmp_path, public_url='http://127.0.0.1:8080"\npacks = "packs')


def test_a_pack_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "nl.toml").write_bytes(b'name = "Nederl\xe4nd"')
    with pytest.raises(ConfigError, match=r"packs/nl\.toml: file: is not UTF-8 text\. Save it as UTF-8\."):
        write_config(tmp_path, public_url='http://127.0.0.1:8080"\npacks = "packs')


def test_a_controller_is_held_to_its_own_terms(tmp_path: Path) -> None:
    more = """
[controllers.acme.packs.NL]
soft_opt_in_max_months = 36
motivation.soft_opt_in_max_months = "Wine keeps: our customers buy once in two years (study of 3 May 2026)."
[controllers.acme.packs.FR]
require_opt_in = true
[controllers.acme.packs.ALL]
consent_max_months_since_interaction = 18
"""
    config = write_config(tmp_path, more=more)
    acme = config.controllers["acme"]
    held = acme.held_to(config.packs).on(DAY)
    assert (held["NL"].soft_opt_in_max_months, config.packs.on(DAY)["NL"].soft_opt_in_max_months) == (36, 24)
    assert not held["FR"].soft_opt_in and held["BE"].soft_opt_in
    assert {held[code].consent_max_months_since_interaction for code in held} == {18}


def test_opt_in_may_be_required_for_all(tmp_path: Path) -> None:
    write_config(tmp_path)
    file = tmp_path / "consentgate.toml"
    file.write_text(file.read_text().replace("language = ", "require_opt_in = true\nlanguage = ", 1))
    strict = load(file)
    held = strict.controllers["acme"].held_to(strict.packs).on(DAY)
    assert not any(
        pack.soft_opt_in or pack.b2b_exemption != "none" or pack.model != "consent" for pack in held.values()
    )


# table, lines, end of the key, what, remedy
REFUSED = {
    "longer without a reason": ("NL", "soft_opt_in_max_months = 36", "NL.soft_opt_in_max_months",
        "36 months are longer than the 24 that are the default in NL@1", "Write why in motivation.soft_opt_in_max"),
    "longer than the law": ("IE", 'soft_opt_in_max_months = 13\nmotivation.soft_opt_in_max_months = "x"',
        "IE.soft_opt_in_max_months", "longer than the 12 that the law sets in IE@1", "Write 12 or less"),
    "implied longer than the law": ("CA", "implied_consent_months = { inquiry = 7 }", "CA.implied_consent_months",
        "7 months for inquiry are longer than the 6", "Write 6 or less"),
    "free accounts without a reason": ("NL", "free_account_counts_as_sale = true", "NL.free_account_counts_as_sale",
        "laxer than the default", "Write why in motivation.free_account_counts_as_sale"),
    "free accounts for all": ("ALL", "free_account_counts_as_sale = true", "ALL.free_account_counts_as_sale",
        "laxer than the default", "Write why in"),
    "without effect": ("ALL", "soft_opt_in_max_months = 60", "ALL.soft_opt_in_max_months", "nothing would change",
        "Write fewer"),
    "no customers there": ("US", "soft_opt_in_max_months = 6", "US.soft_opt_in_max_months", "no customer exception",
        "Remove it"),
    "a pack by another name": ("GB", "require_opt_in = true", "packs.GB", "there is no pack GB", "Write UK"),
    "no such pack": ("ZZ", "require_opt_in = true", "packs.ZZ", "there is no pack ZZ", "Known: BE, CA, DE"),
    "no code": ("nl", "require_opt_in = true", "packs.nl", "'nl' cannot be", "Use the code of a pack, as NL"),
    "no months": ("NL", 'soft_opt_in_max_months = "12"', "NL.soft_opt_in_max_months", "must be a number of months",
        "digits"),
    "no consent lasts": ("NL", "consent_max_months_since_interaction = 0", "NL.consent_max_months_since_interaction",
        "end every consent at once", "Write 1 or more"),
    "no such setting": ("NL", "soft_opt_in_months = 12", "NL.soft_opt_in_months", "there is no setting",
        "Did you mean soft_opt_in_max_months?"),
}  # fmt: skip


@pytest.mark.parametrize("wish", REFUSED)
def test_a_wish_that_is_refused_is_named_with_line_key_and_remedy(tmp_path: Path, wish: str) -> None:
    code, lines, key, what, remedy = REFUSED[wish]
    with pytest.raises(ConfigError) as caught:
        write_config(tmp_path, more=f"[controllers.acme.packs.{code}]\n{lines}\n")
    [problem] = caught.value.problems
    assert problem.key == f"controllers.acme.packs.{key.removeprefix('packs.')}"
    assert what in problem.what and remedy in problem.remedy
    at = f"[controllers.acme.packs.{code}]" if key.startswith("packs.") else lines.partition("\n")[0]
    text = (tmp_path / "consentgate.toml").read_text().splitlines()
    assert problem.line == text.index(at) + 1
