"""What proves consents, by the commands of the operator: wordings, grades, attached files; and what erasure leaves."""

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from tests.installation import ANNA, Gateway, Installation, consent, lines_of

FORM = "<form><label><input type=checkbox> Ja, mail mij</label></form>"
SECRET = b"handtekening van Anna Zeldzaam " * 50


@pytest.fixture
def form(tmp_path: Path) -> Path:
    file = tmp_path / "form.html"
    file.write_text(FORM, "utf-8")
    return file


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    file = tmp_path / "formulier anna.pdf"
    file.write_bytes(SECRET)
    return file


def verified(installation: Installation) -> list[dict[str, object]]:
    return [json.loads(line) for line in installation.tool("ledger", "verify", "--json").stdout.splitlines()]


def tamper(installation: Installation, statement: str) -> None:
    with sqlite3.connect(installation.dir / "consentgate.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f'DROP TRIGGER "{name}"')
        db.execute(statement)
    db.close()


def test_a_wording_raises_the_grade_of_the_consents_that_name_it(installation: Installation, form: Path) -> None:
    tool = installation.tool
    installation.load("consents", [consent(ANNA), consent("bob@example.org", **{"evidence.wording_version": "w2"})])
    [before] = lines_of(tool("report", "evidence", "--json"))
    assert (before["agreed"], before["best"]["weak"]) == (2, 2)
    words = ("--file", form, "--language", "nl", "--box", "newsletter=Ja, mail mij", "--notice-version", "pn1")
    [kept] = lines_of(tool("consent", "wording", "add", "w1", *words, "--json"))
    [again] = lines_of(tool("consent", "wording", "add", "w1", *words, "--json"))
    assert (kept["already"], again["already"], again["digest"]) == (False, True, kept["digest"])
    [shown] = lines_of(tool("consent", "wording", "show", kept["digest"], "--json"))
    assert shown["layout"] == FORM
    assert shown["choices"] == [{"purpose": "newsletter", "text": "Ja, mail mij", "ticked": False}]
    [listed] = lines_of(tool("consent", "wording", "list", "--json"))
    assert (listed["name"], listed["purposes"], listed["notice_version"]) == ("w1", ["newsletter"], "pn1")

    [after] = lines_of(tool("report", "evidence", "--json"))
    assert (after["best"]["good"], after["best"]["weak"]) == (1, 1)
    assert after["lacks"] == {"mailbox": 2, "wording_on_file": 1}
    assert {"name": "w1", "on_file": True, "consents": 1} in after["wordings"]
    text = tool("report", "evidence").stdout.decode()
    assert "weakest: own_form/web_form: 1 of 2 consents have weak or bare proof" in text
    [person] = lines_of(tool("person", "show", ANNA, "--json"))
    assert (person["proof"][0]["grade"], person["proof"][0]["wording_on_file"]) == ("good", True)

    assert tool("ledger", "verify").returncode == 0
    tamper(installation, "UPDATE wordings SET content = CAST(replace(content, 'Ja', 'JA') AS BLOB)")
    [finding, _] = verified(installation)
    assert finding["what"] == "wording"
    assert "'w1' was changed" in str(finding["text"])


def test_a_whole_wording_from_json(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    boxes = [{"purpose": "newsletter", "text": "Nieuws", "ticked": False}, {"purpose": "events", "ticked": True}]
    file.write_text(json.dumps({"language": "nl", "layout": "Twee vakjes", "choices": boxes}))
    assert installation.tool("consent", "wording", "add", "w1", "--file", file).returncode == 0
    shown = installation.tool("consent", "wording", "show", "w1").stdout.decode()
    assert "[ ] newsletter: Nieuws" in shown
    assert "[x] events: (see the form)" in shown


@pytest.mark.parametrize(
    ("content", "name", "more", "said"),
    [
        (b"tekst", "w.txt", ["--purpose", "nix"], "no purpose 'nix' at acme. Known: newsletter, events"),
        (b"tekst", "w.txt", ["--language", "Nederlands!"], "no language tag"),
        (b"tekst", "w.txt", ["--box", "newsletter"], "write it as PURPOSE=TEXT"),
        (b"\xff\xfe", "w.txt", [], "is not UTF-8 at byte 0"),
        (b"  ", "w.txt", [], "without any text proves nothing"),
        (b"x" * 300_000, "w.txt", [], "leave out pictures"),
        (b"x" * 600_000, "w.txt", [], "Keep the form alone"),
        (b"{", "w.json", [], "line 1: is no JSON"),
        (b'{"layuot": "x"}', "w.json", [], "wording.layuot: is not a field"),
        (b'{"layout": "x"}', "w.json", ["--language", "nl"], "says everything itself"),
        (None, "w.txt", [], "cannot be read: No such file"),
    ],
)
def test_a_wording_that_cannot_be_kept_is_named_and_nothing_is_kept(
    installation: Installation, tmp_path: Path, content: bytes | None, name: str, more: list[str], said: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    done = installation.tool("consent", "wording", "add", "w1", "--file", file, *more)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert installation.tool("consent", "wording", "list", "--json").stdout == b""


def test_a_name_is_never_reused(installation: Installation, form: Path) -> None:
    assert installation.tool("consent", "wording", "add", "w1", "--file", form).returncode == 0
    form.write_text("<p>Iets anders</p>")
    done = installation.tool("consent", "wording", "add", "w1", "--file", form)
    assert done.returncode == 1
    assert "consentgate consent wording show w1" in done.stderr.decode()


def test_a_file_is_attached_listed_exported_and_goes_with_the_person(
    installation: Installation, scan: Path, tmp_path: Path
) -> None:
    tool = installation.tool
    installation.load("consents", [consent(ANNA)])
    [person] = lines_of(tool("person", "show", ANNA, "--json"))
    named = person["consents"][0]["id"]
    [kept] = lines_of(tool("consent", "attach", ANNA, scan, "--consent", named, "--note", "papier", "--json"))
    assert (kept["media_type"], kept["size"]) == ("application/pdf", len(SECRET))
    [person] = lines_of(tool("person", "show", ANNA, "--json"))
    [shown] = person["attachments"]
    assert (shown["name"], shown["consent"], shown["there"]) == (scan.name, named, True)
    [listed] = lines_of(tool("consent", "attachments", ANNA, "--out", tmp_path / "out", "--json"))
    written = Path(listed["file"])
    assert written.read_bytes() == SECRET
    assert written.name.endswith("-formulier_anna.pdf")
    assert written.stat().st_mode & 0o777 == 0o600
    assert tool("ledger", "verify").returncode == 0
    assert tool("ledger", "rebuild", "--check").returncode == 0

    assert tool("person", "erase", ANNA).returncode == 0
    assert tool("ledger", "verify").returncode == 0
    assert tool("consent", "attachments", ANNA, "--json").stdout == b""
    for part in installation.dir.glob("*.db*"):
        assert b"Zeldzaam" not in part.read_bytes()
    refused = tool("consent", "attach", ANNA, scan)
    assert refused.returncode == 1
    assert b"was erased" in refused.stderr


def test_verify_names_an_attachment_that_was_touched_and_the_export_says_so(
    installation: Installation, scan: Path, tmp_path: Path
) -> None:
    installation.load("consents", [consent(ANNA)])
    [kept] = lines_of(installation.tool("consent", "attach", ANNA, scan, "--json"))
    tamper(installation, "UPDATE attachments SET content = CAST(substr(content, 1, length(content) - 1) AS BLOB)")
    [finding, _] = verified(installation)
    assert (finding["what"], finding["text"]) == ("attachment", f"attachment {kept['id']} was changed")
    done = installation.tool("consent", "attachments", ANNA, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert b"gone or were changed" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_running_gateway_counts_by_itself(gateway: Gateway) -> None:
    def counted() -> bool:
        with contextlib.closing(sqlite3.connect(gateway.installation.dir / "consentgate.db")) as db:
            return bool(db.execute("SELECT count(*) FROM meters WHERE counted_at IS NOT NULL").fetchone()[0])

    gateway.eventually(counted)
    assert gateway.stop() == 0
    [row] = lines_of(gateway.installation.tool("report", "evidence", "--json"))
    assert (row["people"], row["agreed"]) == (3, 1)


@pytest.mark.parametrize(
    ("address", "content", "more", "said"),
    [
        ("niemand@example.org", SECRET, [], "record the consent first"),
        ("geen adres", SECRET, [], "is not an e-mail address"),
        (ANNA, SECRET, ["--consent", "c9"], "has no consent 'c9'; on file:"),
        (ANNA, b"x" * 10_000_001, [], "10000000 at most"),
        (ANNA, b"", [], "is empty"),
        (ANNA, None, [], "cannot be read"),
        (ANNA, SECRET, ["--note", "x" * 1001], "1000 at most"),
    ],
)
def test_a_file_that_cannot_be_attached_is_named_and_nothing_is_kept(
    installation: Installation, tmp_path: Path, address: str, content: bytes | None, more: list[str], said: str
) -> None:
    installation.load("consents", [consent(ANNA)])
    file = tmp_path / "scan.png"
    if content is not None:
        file.write_bytes(content)
    done = installation.tool("consent", "attach", address, file, *more)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    [person] = lines_of(installation.tool("person", "show", ANNA, "--json"))
    assert person["attachments"] == []
