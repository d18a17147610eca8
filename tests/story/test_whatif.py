"""What if: decisions of a running gateway, made again under a draft pack or other settings. Changes nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.installation import ANNA, KLEED, NIEMAND, ROOT, WIM, Installation, lines_of, newsletter
from tests.story.relay import fresh, load_people, relaying
from tests.story.test_rehearse import rows_of_everything


@pytest.fixture
def installation(made: Path, tmp_path: Path) -> Installation:
    """anna agreed, wim bought wine, kleed clothing, niemand is unknown; each was sent two newsletters."""
    place = fresh(made, tmp_path / "installation")
    load_people(place)
    with relaying(place) as relay:
        for subject in ("een", "twee"):
            relay.taken([ANNA, WIM, KLEED, NIEMAND], newsletter(subject))
        relay.upstream.wait(4)
        relay.drained()
        assert relay.gateway.stop() == 0
    return place


def whatif(installation: Installation, *words: object) -> dict[str, Any]:
    [found] = lines_of(installation.tool("rules", "whatif", "--json", *words))
    return found


def turns(found: dict[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(one["from"], one["to"]): (one["decisions"], one["people"]) for one in found["changes"]}


def test_a_stricter_setting_shows_who_would_lose_it(installation: Installation) -> None:
    before = rows_of_everything(installation)
    found = whatif(installation, "--set", "controllers.acme.require_opt_in=true")
    assert (found["decisions"], found["not_reproduced"], found["facts_gone"]) == (8, 0, 0)
    assert (found["allowed_now"], found["allowed_under_draft"]) == (4, 2)
    assert turns(found) == {
        ("ALLOW_SOFT_OPT_IN", "NO_CONSENT_OR_CUSTOMER_RELATION"): (2, 1),
        ("PRODUCT_NOT_SIMILAR", "NO_CONSENT_OR_CUSTOMER_RELATION"): (2, 1),
    }
    assert found["same"] == 4
    assert WIM not in str(found) and "w***@example.org" in str(found)
    assert rows_of_everything(installation) == before


def written(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8")
    return file


def draft(tmp_path: Path, change: Callable[[str], str]) -> Path:
    file = tmp_path / "draft.toml"
    text = (ROOT / "suppression/packs/nl.toml").read_text("utf-8")
    changed = change(text)
    assert changed != text
    file.write_text(changed, "utf-8")
    return file


def test_a_draft_pack_counts_as_if_it_had_been_in_force(installation: Installation, tmp_path: Path) -> None:
    file = draft(
        tmp_path, lambda text: re.sub(r"(?m)^soft_opt_in_max_months = \d+", "soft_opt_in_max_months = 3", text)
    )
    found = whatif(installation, "--pack", file)
    assert turns(found) == {
        ("ALLOW_SOFT_OPT_IN", "CUSTOMER_RELATION_STALE"): (2, 1),
        ("PRODUCT_NOT_SIMILAR", "CUSTOMER_RELATION_STALE"): (2, 1),
    }
    said = installation.tool("rules", "whatif", "--pack", file).stdout.decode()
    assert "8 decisions of the last 30 days" in said
    assert "newsletter: ALLOW_SOFT_OPT_IN -> CUSTOMER_RELATION_STALE (1 person)" in said


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_day_and_number_of_a_draft_change_nothing(installation: Installation, tmp_path: Path, day: str) -> None:
    file = draft(tmp_path, lambda text: re.sub(r"(?m)^in_force = .*", f"in_force = {day}", text))
    file.write_text(re.sub(r"(?m)^version = .*", "version = " + "9" * 40, file.read_text("utf-8")), "utf-8")
    found = whatif(installation, "--pack", file)
    assert (found["decisions"], found["same"], found["changes"]) == (8, 8, [])


def test_a_laxer_draft_is_tried_and_said_to_be_laxer(installation: Installation, tmp_path: Path) -> None:
    def laxer(text: str) -> str:
        longer = re.sub(r"(?m)^soft_opt_in_max_months = \d+", "soft_opt_in_max_months = 1200", text)
        return longer.replace("postal_address_required = true", "postal_address_required = false")

    file = draft(tmp_path, laxer)
    done = installation.tool("rules", "whatif", "--json", "--pack", file)
    [found] = lines_of(done)
    assert (found["decisions"], found["same"]) == (8, 8)  # nothing here was too old
    said = done.stderr.decode()
    assert "is laxer than NL version 1 in" in said and "soft_opt_in_max_months" in said and "motivation" in said
    file.write_text('motivation = "Tried."\n' + file.read_text("utf-8"), "utf-8")
    assert b"laxer" not in installation.tool("rules", "whatif", "--pack", file).stderr


def test_other_settings_in_a_file_of_their_own(installation: Installation) -> None:
    other = installation.dir / "other.toml"
    text = installation.config.read_text("utf-8")
    other.write_text(text.replace('similar_to = ["spirits"]', 'similar_to = ["spirits", "clothing"]', 1), "utf-8")
    found = whatif(installation, "--draft", other)
    assert turns(found) == {("PRODUCT_NOT_SIMILAR", "ALLOW_SOFT_OPT_IN"): (2, 1)}
    assert (found["allowed_now"], found["allowed_under_draft"]) == (4, 6)


def test_the_facts_of_then_count_and_what_is_gone_is_said_to_be(installation: Installation) -> None:
    assert installation.tool("suppress", "add", WIM).returncode == 0  # since: it changes nothing of then
    assert installation.tool("person", "erase", ANNA, "--controller", "acme").returncode == 0
    found = whatif(installation, "--set", "controllers.acme.require_opt_in=true")
    assert (found["decisions"], found["facts_gone"], found["not_reproduced"]) == (8, 2, 0)
    assert turns(found)["ALLOW_SOFT_OPT_IN", "NO_CONSENT_OR_CUSTOMER_RELATION"] == (2, 1)


def test_what_the_present_rules_do_not_reproduce_is_left_out(installation: Installation) -> None:
    installation.change('postal_address = "', 'postal_address = ""  # "')
    found = whatif(installation, "--set", "controllers.acme.require_opt_in=true")
    assert found["not_reproduced_by_code"] == {"ALLOW_OPT_IN": 2, "ALLOW_SOFT_OPT_IN": 2}
    assert set(turns(found)) == {("PRODUCT_NOT_SIMILAR", "NO_CONSENT_OR_CUSTOMER_RELATION")}


def test_a_draft_that_cannot_be_used_is_named(installation: Installation, tmp_path: Path) -> None:
    odd = draft(tmp_path, lambda text: 'nonsense = "x"\n' + text)
    for words, said in (
        ((), "Say what is different"),
        (("--set", "controllers.acme.require_opt_in"), "write it as KEY=VALUE"),
        (("--set", "controllers.acme.require_opt_in=perhaps"), "require_opt_in: must be true or false"),
        (("--set", "controllers.acme.lottery=true"), "there is no setting lottery"),
        (("--pack", odd), "nonsense"),
        (("--pack", tmp_path / "none.toml"), "cannot be read"),
        (("--pack", written(tmp_path / "deep.toml", "a = " + "[" * 100_000)), "deep.toml: TOML: cannot be read"),
        (("--draft", written(tmp_path / "deep.toml", "a = " + "[" * 100_000)), "is not TOML: lists or tables"),
        (("--pack", written(tmp_path / "long.toml", "version = " + "9" * 5_000)), "a number that is too long"),
        (("--set", "controllers.acme.require_opt_in=" + "9" * 5_000), "require_opt_in: must be true or false"),
        (("--draft", tmp_path / "none.toml"), "does not exist"),
    ):
        done = installation.tool("rules", "whatif", *words)
        assert done.returncode == (1 if words else 2) and said in done.stderr.decode(), done.stderr.decode()
