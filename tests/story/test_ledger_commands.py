"""The ledger commands on a real installation, beside the gateway and without it."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installation import ANNA, ROOT, Gateway, Installation, consent, lines_of, newsletter

PEOPLE = [f"p{n:02d}@example.org" for n in range(30)]


@pytest.fixture
def filled(installation: Installation) -> Installation:
    """An installation with thirty consents in its ledger."""
    installation.load("consents", [consent(address) for address in PEOPLE])
    return installation


def database(installation: Installation) -> sqlite3.Connection:
    return sqlite3.connect(installation.dir / "consentgate.db", isolation_level=None, timeout=20)


def untriggered(installation: Installation) -> sqlite3.Connection:
    """The database as somebody has it who is not stopped by triggers."""
    db = database(installation)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f'DROP TRIGGER "{name}"')
    return db


def findings(installation: Installation) -> list[dict[str, Any]]:
    done = installation.tool("ledger", "verify", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = [row for row in rows if "what" in row]
    assert done.returncode == (1 if found else 0)
    return found


def test_a_fresh_installation_and_a_filled_one_verify(installation: Installation) -> None:
    assert lines_of(installation.tool("ledger", "verify", "--json")) == []
    installation.load("consents", [consent(ANNA)])
    [row] = lines_of(installation.tool("ledger", "verify", "--json"))
    assert (row["controller"], row["entries"], row["findings"], row["waiting"], row["seq"]) == (
        "acme",
        2,
        0,
        0,
        2,
    )  # the consent, and the import


def test_every_column_of_an_entry_is_covered_and_the_entry_is_named(filled: Installation) -> None:
    """Whatever one value of one entry becomes, `ledger verify` leaves with 1 and says which entry it was."""
    db = untriggered(filled)
    entry_id = db.execute("SELECT entry_id FROM ledger WHERE seq = 21").fetchone()[0]
    columns = [row[1] for row in db.execute("PRAGMA table_info(ledger)")]
    assert len(columns) == 11
    for column in columns:
        old = db.execute(f"SELECT {column} FROM ledger WHERE entry_id = ?", (entry_id,)).fetchone()[0]
        new = old + 1 if isinstance(old, int) else old[:-1] + (b"~" if isinstance(old, bytes) else "~")
        row = db.execute("SELECT rowid FROM ledger WHERE entry_id = ?", (entry_id,)).fetchone()
        db.execute(f"UPDATE ledger SET {column} = ? WHERE rowid = ?", (new, *row))
        found = findings(filled)
        assert any(f["seq"] == 21 for f in found), (column, found)
        db.execute(f"UPDATE ledger SET {column} = ? WHERE rowid = ?", (old, *row))
    assert findings(filled) == []


@pytest.mark.parametrize("seq", [1, 21, 31])
def test_a_removed_entry_is_named_the_last_one_too(filled: Installation, seq: int) -> None:
    untriggered(filled).execute("DELETE FROM ledger WHERE seq = ?", (seq,))
    [found] = findings(filled)
    assert (found["controller"], found["seq"]) == ("acme", seq)


def test_people_read_what_is_wrong(filled: Installation) -> None:
    untriggered(filled).execute("UPDATE ledger SET at = at + 1 WHERE seq = 3")
    done = filled.tool("ledger", "verify")
    assert done.returncode == 1
    said = done.stdout.decode()
    assert "acme: entry 3 (" in said
    assert "changed: its at changed: what it says is not what was sealed" in said
    assert "acme: 31 entries, 1 findings" in said


def test_an_import_seals_before_it_exits_and_the_gateway_within_a_second(gateway: Gateway) -> None:
    """Also what reaches the ledger through the running gateway is in the chain soon."""
    installation = gateway.installation
    assert findings(installation) == []
    with database(installation) as db:
        assert db.execute("SELECT count(*) FROM ledger WHERE hash IS NULL").fetchone() == (0,)
        before = db.execute("SELECT count(*) FROM ledger").fetchone()[0]
        db.execute(
            "INSERT INTO ledger (controller_id, entry_id, at, kind, subject, public) "
            "SELECT controller_id, ?, at, 'consent', subject, '{}' FROM ledger LIMIT 1",
            (int(time.time() * 1000).to_bytes(6, "big") + b"\x7f" + bytes(9),),
        )

        def sealed() -> bool:
            return bool(db.execute("SELECT count(hash) FROM ledger").fetchone()[0] == before + 1)

        gateway.eventually(sealed, 5)
    assert findings(installation) == []


def test_a_head_kept_elsewhere_is_compared(filled: Installation, tmp_path: Path) -> None:
    kept = tmp_path / "head.json"
    kept.write_bytes(filled.tool("ledger", "head", "--json").stdout)
    [head] = [json.loads(line) for line in kept.read_text().splitlines()]
    assert (head["controller"], head["seq"]) == ("acme", 31)
    assert filled.tool("ledger", "verify", "--head", kept).returncode == 0
    kept.write_text(json.dumps({**head, "seq": 30}))
    done = filled.tool("ledger", "verify", "--head", kept, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[0])["what"] == "signed head"
    kept.write_text("{}")
    assert b"holds no heads" in filled.tool("ledger", "verify", "--head", kept).stderr


def test_rebuild_finds_what_is_not_in_the_ledger_and_puts_it_right(filled: Installation) -> None:
    assert filled.tool("suppress", "add", PEOPLE[0]).returncode == 0
    [row] = lines_of(filled.tool("ledger", "rebuild", "--check", "--json"))
    assert (row["people"], row["skipped"], row["differences"]) == (30, 0, 0)
    db = database(filled)
    db.execute("DELETE FROM suppressions")
    db.execute("UPDATE standing SET facts = x'00' WHERE recipient_key = (SELECT min(recipient_key) FROM standing)")
    done = filled.tool("ledger", "rebuild", "--check", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["differences"] == 2
    assert filled.tool("ledger", "rebuild").returncode == 0
    assert filled.tool("ledger", "rebuild", "--check").returncode == 0
    assert len(lines_of(filled.tool("suppress", "list", "--json"))) == 1


@pytest.fixture(params=["database", "export"])
def alone(request: pytest.FixtureRequest, filled: Installation, tmp_path: Path) -> Iterator[list[str]]:
    """The command line of the stand-alone verifier on a database, or on an export of it."""
    file = tmp_path / "verify_ledger.py"
    file.write_bytes(filled.tool("ledger", "verifier").stdout)
    if request.param == "database":
        yield [str(file), str(filled.dir / "consentgate.db")]
        return
    (tmp_path / "ledger.jsonl").write_bytes(filled.tool("ledger", "export").stdout)
    yield [str(file), str(tmp_path / "ledger.jsonl")]


def run_alone(words: list[str], *options: str, isolated: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run the verifier from a folder where our packages are not; `isolated`: without any package at all."""
    flags = ["-I", "-S"] if isolated else ["-I"]
    return subprocess.run([sys.executable, *flags, *words, *options], capture_output=True, cwd="/", check=False)


def test_the_verifier_needs_nothing_of_ours(alone: list[str], filled: Installation) -> None:
    done = run_alone(alone, isolated=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == b"whole"
    text = (ROOT / "gateway/verifier.py").read_text("utf-8")
    assert "import gateway" not in text and "from gateway" not in text and "suppression" not in text


def test_the_verifier_finds_what_verify_finds(filled: Installation, tmp_path: Path) -> None:
    """One file of its own, one chain: both say the same of each kind of damage."""
    file = tmp_path / "verify_ledger.py"
    file.write_bytes(filled.tool("ledger", "verifier").stdout)
    db = untriggered(filled)
    db.execute("CREATE TABLE kept AS SELECT * FROM ledger")
    for damage in (
        "UPDATE ledger SET public = '{\"a\":1}' WHERE seq = 9", "UPDATE ledger SET seq = 99 WHERE seq = 9",
        "UPDATE ledger SET hash = zeroblob(32) WHERE seq = 9", "DELETE FROM ledger WHERE seq = 9",
        "DELETE FROM ledger WHERE seq = 30", "UPDATE ledger SET seq = NULL, hash = NULL WHERE seq = 9",
    ):  # fmt: skip
        db.execute(damage)
        assert findings(filled), damage
        done = run_alone([str(file), str(filled.dir / "consentgate.db")])
        assert done.returncode == 1, (damage, done.stdout, done.stderr)
        db.executescript("DELETE FROM ledger; INSERT INTO ledger SELECT * FROM kept")
    assert run_alone([str(file), str(filled.dir / "consentgate.db")]).returncode == 0


def test_the_verifier_checks_heads_and_their_signatures(alone: list[str], filled: Installation, tmp_path: Path) -> None:
    head = filled.tool("ledger", "head", "--json").stdout
    kept = tmp_path / "head.json"
    kept.write_bytes(head)
    key = json.loads(head)["public_key"]
    assert run_alone(alone, "--head", str(kept), "--public-key", key).returncode == 0
    assert run_alone(alone, "--head", str(kept), "--public-key", "00" * 32).returncode == 1
    kept.write_text(json.dumps({**json.loads(head), "seq": 12}))
    done = run_alone(alone, "--head", str(kept))
    assert done.returncode == 1
    assert b"entry 12 as it was signed is not there" in done.stdout
    assert b"signature that does not fit" in done.stdout
    assert run_alone([alone[0]]).returncode == 2


def test_progress_is_for_terminals_and_errors_say_what_to_do(filled: Installation) -> None:
    done = filled.tool("ledger", "verify")
    assert (done.returncode, done.stderr) == (0, b"")
    done = filled.tool("ledger", "verify", "--controller", "nobody")
    assert done.returncode == 1
    assert b"There is no controller 'nobody'" in done.stderr
    done = filled.tool("ledger", "verify", "--head", filled.dir / "missing.json")
    assert (done.returncode, b"cannot be read" in done.stderr) == (1, True)


def test_mail_goes_on_while_the_ledger_is_verified(gateway: Gateway) -> None:
    assert gateway.send([ANNA], newsletter())[1][0] == 250
    assert findings(gateway.installation) == []
    assert gateway.send([ANNA], newsletter())[1][0] == 250
