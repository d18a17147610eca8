"""consentgate decide: facts in, one JSON line per item out; what is wrong is said and does not stop the rest."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.proof import decide_command
from tests.core.law_facts import VECTORS, base, changed, consent, vectors

FINE = base(consents=[consent()])


def run(path: Path) -> tuple[int, list[dict[str, object]]]:
    out = io.StringIO()
    status = decide_command(str(path), out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_shared_examples_as_one_document() -> None:
    status, rows = run(VECTORS / "decisions.json")
    assert status == 0
    assert [row["id"] for row in rows] == [vector["id"] for vector in vectors()]
    assert all(row["decision"] == vector["expected"]["decision"] for row, vector in zip(rows, vectors(), strict=True))
    assert set(rows[0]) == {"id", "decision", "reason_code", "cite", "trace"}


def test_the_same_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"vectors": vectors()}), "utf-8")
    assert run(file) == run(VECTORS / "decisions.json")


def test_lines_of_facts_with_and_without_an_id(tmp_path: Path) -> None:
    file = tmp_path / "facts.jsonl"
    lines = [{"id": "één", "facts": FINE}, FINE, {"facts": base()}]
    file.write_text("\n" + "\n\n".join(map(json.dumps, lines)), "utf-8")
    status, rows = run(file)
    assert status == 0
    assert [(row["id"], row["reason_code"]) for row in rows] == [
        ("één", "ALLOW_OPT_IN"), ("line 4", "ALLOW_OPT_IN"), ("line 6", "NO_CONSENT_OR_CUSTOMER_RELATION"),
    ]  # fmt: skip


def test_a_bad_item_is_named_and_the_others_are_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mixed.jsonl"
    bad = changed(FINE, {"sender.is_charity": "maybe"})
    lines = ["{nonsense", json.dumps(FINE), json.dumps({"id": "b", "facts": bad}), "7", "{}"]
    file.write_text("\n".join(lines), "utf-8")
    status, rows = run(file)
    assert status == 1
    assert [row["id"] for row in rows] == ["line 2"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert told[0].startswith(f"{file}: line 1: is no JSON (")
    assert told[1] == f"{file}: line 3: facts.sender.is_charity: must be true or false"
    assert told[2].startswith(f"{file}: line 4: is no JSON object")
    assert told[3].startswith(f"{file}: line 5: facts: is missing")


def test_a_bad_vector_is_named_by_its_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vectors.json"
    broken = dict(base())
    del broken["message"]
    file.write_text(json.dumps({"vectors": [{"id": "D900", "facts": broken}, {"facts": FINE}, 3]}, indent=1), "utf-8")
    status, rows = run(file)
    assert (status, [row["id"] for row in rows]) == (1, ["vectors[1]"])
    told = capsys.readouterr().err
    assert f"{file}: D900: facts.message: is missing; give an object" in told
    assert f"{file}: vectors[2]: is no JSON object" in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b'{\n "vectors": [\n', "is no JSON (Expecting value, line 3"),
        (b'{\n "vectors": 3\n}', 'holds no list "vectors"'),
        (b"[\n1\n]", 'holds no list "vectors"'),
    ],
)
def test_input_of_no_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str) -> None:
    file = tmp_path / "useless.json"
    file.write_bytes(content)
    assert run(file) == (2, [])
    assert f"{file}: {told}" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nothing") == (2, [])
    assert "cannot be read (No such file or directory); name a readable file" in capsys.readouterr().err


def command(*args: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "decide", *args], input=given, capture_output=True, text=True, check=False
    )


def test_the_command_reads_standard_input_and_loads_no_option_parser() -> None:
    done = command("-", given=json.dumps(FINE))
    assert (done.returncode, json.loads(done.stdout)["decision"]) == (0, "allow")
    assert command("--config", "any.toml", "-", given="{}").returncode == 1
    assert "Usage: consentgate decide" in command("--help").stdout
    for wrong in ((), ("a", "b"), ("--json", "-")):
        done = command(*wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "decide --help" in done.stderr


@pytest.mark.parametrize(("language", "said"), [("nl", "Mag verstuurd worden."), ("fr", "Peut être envoyé.")])
def test_explained_in_the_language_asked_for(tmp_path: Path, language: str, said: str) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps({"id": "a", "facts": FINE}), "utf-8")
    words = [sys.executable, "-m", "gateway", "decide", "--explain", "--language", language, str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    assert list(row) == ["id", "decision", "reason_code", "cite", "trace", "explanation", "text"]
    assert row["text"].startswith(said)
    explained = row["explanation"]
    assert (explained["rule"], explained["since"], explained["actor"]) == ("D1", "2025-06-01T09:00:00Z", "person")
    assert explained["facts"][0]["wording"] == "w3" and explained["facts"][0]["carries"] is True


def test_every_example_is_explained_and_the_decision_is_the_same(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gateway", "decide", "--explain", str(VECTORS / "decisions.json")]
    rows = [json.loads(line) for line in subprocess.run(words, capture_output=True, check=True).stdout.splitlines()]
    plain = run(VECTORS / "decisions.json")[1]
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain
    assert all(row["explanation"]["rule"] and row["text"].endswith(".") for row in rows)


def test_a_language_that_is_not_spoken_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "gateway", "decide", "--explain", "--language", "xx", "-"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, input="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "nl, en, fr, de" in done.stderr


def test_without_the_option_no_words_are_loaded(tmp_path: Path) -> None:
    """The start of `decide` costs what it did: nothing of the pages' words is imported."""
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(FINE), "utf-8")
    code = (
        "import sys\nfrom gateway.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'babel', 'jinja2', 'gateway.words', 'suppression.explain'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "decide", str(file)], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
