"""`consentgate export`: what leaves, in whose format, who is left out, and that it comes back as it was."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.files.outgoing import WRITERS
from tests.installation import ANNA, KLEED, NIEMAND, WIM, Installation, consent, consentgate, lines_of
from tests.story.test_import import WITHDRAWN, everything, person

FORMULA = "=cmd@example.org"
PEOPLE = [
    {"email": ANNA, "name": "Anna, de Vries", "external_id": "7", "country": "NL", "language": "nl"},
    {"email": WIM, "name": '=HYPERLINK("x")', "undeliverable": "true", "on_exclusion_register": "false"},
]
CONSENTS = [
    consent(ANNA, purposes="newsletter|events", product_categories="wine"),
    consent(KLEED, withdrawn_at=WITHDRAWN),
    consent(FORMULA),
    consent("vrij@example.org"),
]
STOPS = [
    {"email": KLEED, "reason": "complaint", "at": WITHDRAWN},
    {"email": ANNA, "scope": "purpose", "purpose": "events", "reason": "unsubscribe", "at": WITHDRAWN},
    {"email": FORMULA, "reason": "objection", "at": WITHDRAWN},
    {"email": "nieuw@example.org", "reason": "unsubscribe", "at": WITHDRAWN},
]


def filled(place: Installation) -> Installation:
    place.load("people", PEOPLE)
    place.load("consents", CONSENTS)
    place.load("suppressions", STOPS)
    return place


def exported(place: Installation, kind: str, form: str = "native", *more: object) -> tuple[Path, dict[str, Any]]:
    file = place.dir / f"{kind}.{form}.{len(list(place.dir.iterdir()))}"
    [told] = lines_of(place.tool("export", kind, "--format", form, "--out", file, "--json", *more))
    assert file.stat().st_mode & 0o777 == 0o600
    return file, told


def another(made: Path, folder: Path) -> Installation:
    """A second installation with keys of its own."""
    assert consentgate("init", folder, "--example").returncode == 0
    return Installation(dir=folder, smtp_port=0, http_port=0, return_port=0)


@pytest.mark.parametrize("kind", ["people", "consents", "suppressions"])
def test_what_leaves_native_comes_in_as_it_was(
    installation: Installation, made: Path, tmp_path: Path, kind: str
) -> None:
    filled(installation)
    file, told = exported(installation, kind)
    assert told["rows"] > 0 and told["without_address"] == 0
    other = another(made, tmp_path / "other")
    copy = Path(shutil.copy(file, tmp_path / "list.csv"))
    [taken] = lines_of(other.tool("import", kind, copy, "--json"))
    assert (taken["kept"], taken["rejected"]) == (told["rows"], 0)
    back, _ = exported(other, kind)
    assert sorted(back.read_text("utf-8").splitlines()) == sorted(file.read_text("utf-8").splitlines())
    [here] = lines_of(installation.tool("import", kind, copy, "--json"))
    # Withdrawals are told with the records: of one for two purposes, told as two, and of one for a single purpose.
    assert here["kept"] == (3 if kind == "consents" else 0)
    assert here["rejected"] == 0


@pytest.mark.parametrize(("form", "kind"), sorted(WRITERS))
def test_every_format_comes_back_and_keeps_out_whom_it_named(
    installation: Installation, made: Path, tmp_path: Path, form: str, kind: str
) -> None:
    file, told = exported(filled(installation), kind, form)
    assert told["rows"] > 0
    if kind != "suppressions":
        return
    other = another(made, tmp_path / "other")
    copy = Path(shutil.copy(file, tmp_path / f"list.{'json' if form == 'postmark' else 'csv'}"))
    done = other.tool("import", "suppressions", copy, "--format", form, "--json")
    assert done.returncode == 0, done.stderr.decode()
    for address in (KLEED, ANNA, FORMULA, "nieuw@example.org"):
        assert person(other, address).suppressions, address
    assert not person(other, NIEMAND).suppressions


def test_no_cell_runs_as_a_formula_and_no_address_changes(installation: Installation) -> None:
    filled(installation)
    for kind in ("people", "suppressions"):
        file, _ = exported(installation, kind)
        with file.open(newline="", encoding="utf-8") as lines:
            cells = [cell for row in csv.reader(lines) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
        assert kind == "people" or FORMULA in {cell.strip() for cell in cells}


def test_an_export_is_on_record_with_for_whom_and_why_and_no_address(installation: Installation) -> None:
    filled(installation)
    exported(installation, "suppressions", "sendgrid", "--to", "Verzender B.V.", "--why", "keeps them out too")
    entries = installation.tool("ledger", "export").stdout.decode()
    [said] = [
        json.loads(one["public"]) if isinstance(one["public"], str) else one["public"]
        for one in map(json.loads, entries.splitlines())
        if one.get("kind") == "staff_act" and "export" in str(one["public"])
    ]
    assert (said["act"], said["format"], said["rows"]) == ("export", "sendgrid", 4)
    assert "Verzender" not in entries and "example.org" not in entries


def test_a_file_that_is_there_is_left_alone_and_so_is_the_ledger(installation: Installation) -> None:
    file = installation.dir / "mine.csv"
    file.write_text("mine")
    before = everything(installation)
    for out, told in ((file, b"is not written over"), (installation.dir / "none" / "x.csv", b"cannot be written")):
        done = installation.tool("export", "people", "--out", out)
        assert done.returncode == 1 and told in done.stderr
    unable = installation.tool("export", "consents", "--format", "ses", "--out", installation.dir / "y")
    assert unable.returncode == 1 and b"Formats that do: native" in unable.stderr
    assert file.read_text() == "mine" and everything(installation) == before
    assert not (installation.dir / "y").exists()


def test_addresses_are_not_written_to_a_file_called_dash(installation: Installation, tmp_path: Path) -> None:
    for words in (
        ("export", "people"), ("person", "export", "anna@example.org"), ("proof", "--person", "anna@example.org"),
        ("simulate", "--stream", "newsletter", "--recipients", "-"),
    ):  # fmt: skip
        done = installation.tool(*words, "--out", "-", stdin=b"anna@example.org\n")
        assert done.returncode == 2 and b"--out wants a name" in done.stderr, (words, done.stderr)


def test_who_was_erased_or_has_no_address_on_file_is_counted_not_named(installation: Installation) -> None:
    filled(installation)
    assert installation.tool("person", "erase", KLEED).returncode == 0
    assert installation.tool("suppress", "add", NIEMAND).returncode == 0
    file, told = exported(installation, "suppressions")
    assert told["without_address"] == 2 and KLEED not in file.read_text("utf-8")
