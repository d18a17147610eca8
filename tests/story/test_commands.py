"""The command line: exit codes, errors that say what to do, no questions, no traces, fast starts."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import argon2
import pytest

from gateway.__main__ import COMMANDS
from tests.installation import ROOT, Installation, consentgate, lines_of, program


def test_help_lists_every_command() -> None:
    done = consentgate("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} ".encode() in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    done = consentgate(name, "--help")
    assert done.returncode == 0, done.stderr.decode()
    assert b"Usage: consentgate" in done.stdout
    listed = done.stdout.decode().partition("Commands:")[2]
    assert "..." not in listed, "a sentence about a command is cut short"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], b"Usage: consentgate COMMAND"),
        (["serv"], b"Did you mean serve?"),
        (["init"], b"DIR"),
        (["init", "x", "--nope"], b"--nope"),
        (["user", "add", "eva"], b"--role"),
        (["report", "nope"], b"nope"),
    ],
)
def test_wrong_usage_is_exit_code_2(args: list[str], said: bytes) -> None:
    done = consentgate(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_version() -> None:
    done = program("--version")
    assert done.returncode == 0
    assert done.stdout.startswith(b"consentgate 0.")


@pytest.mark.parametrize(
    "args",
    [["serve"], ["check-config"], ["doctor"], ["queue", "list"], ["report", "blocked"], ["user", "list"], ["migrate"]],
)
def test_missing_settings_are_named_with_the_way_out(tmp_path: Path, args: list[str]) -> None:
    done = consentgate(*args, "--config", tmp_path / "none.toml")
    assert done.returncode == 1
    assert done.stderr.decode().strip() == (
        f"{tmp_path / 'none.toml'}: the file does not exist. Make one with: consentgate init."
    )


def test_check_config_tells_good_from_bad(installation: Installation) -> None:
    assert installation.tool("check-config").returncode == 0
    installation.change('route = "main"', 'route = "mian"')
    done = installation.tool("check-config", "--json")
    assert done.returncode == 1
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["key"] for row in found} == {
        f"controllers.acme.streams.{s}.route" for s in ("newsletter", "events", "orders")
    }
    assert all(row["line"] and row["remedy"] and row["file"] == str(installation.config) for row in found)


def test_serve_refuses_plain_http_links_to_a_smarthost_off_loopback(installation: Installation) -> None:
    installation.change('kind = "capture"', 'kind = "smarthost"\nhosts = ["mx.example.net:587"]')
    done = installation.tool("serve")
    assert done.returncode == 1
    assert b"plain http" in done.stderr
    assert installation.tool("check-config").returncode == 1


def test_doctor_finds_a_key_that_cannot_sign(installation: Installation) -> None:
    assert installation.tool("doctor").returncode == 0
    key = installation.dir / "keys/dkim/acme.example.cg1.pem"
    key.write_text("no key")
    done = installation.tool("doctor", "--json")
    assert done.returncode == 1
    bad = [row["check"] for row in map(json.loads, done.stdout.splitlines()) if not row["good"]]
    assert bad == ["dkim cg1._domainkey.acme.example"]


def test_doctor_finds_a_missing_database(installation: Installation) -> None:
    (installation.dir / "consentgate.db").unlink()
    done = installation.tool("doctor")
    assert done.returncode == 1
    assert b"LOOK  database" in done.stdout


def test_staff_are_added_changed_and_removed(installation: Installation) -> None:
    done = installation.tool("user", "add", "eva", "--role", "marketer", "--controller", "acme", stdin=b"eerste\n")
    assert done.returncode == 0, done.stderr.decode()
    assert installation.tool("user", "add", "eva", "--role", "marketer", stdin=b"x\n").returncode == 1
    rows = {row["name"]: row for row in lines_of(installation.tool("user", "list", "--json"))}
    assert rows["eva"] == {"name": "eva", "roles": ["marketer"], "controllers": ["acme"]}
    assert installation.tool("user", "password", "eva", stdin=b"tweede\n").returncode == 0
    assert installation.tool("user", "remove", "eva").returncode == 0
    assert installation.tool("user", "remove", "eva").returncode == 1
    assert "eva" not in {row["name"] for row in lines_of(installation.tool("user", "list", "--json"))}
    export = installation.tool("ledger", "export")
    acts = [json.loads(row["public"])["act"] for row in lines_of(export) if row.get("kind") == "staff_act"]
    assert acts == ["user added", "password changed", "user removed"]
    assert b"eva" not in export.stdout


@pytest.mark.parametrize(
    ("args", "stdin", "said"),
    [
        (["user", "add", "eva", "--role", "marketer"], b"", b"No password"),
        (["user", "add", "eva", "--role", "boss"], b"x\n", b"marketer"),
        (["user", "add", "eva klein", "--role", "marketer"], b"x\n", b"letters"),
        (["user", "add", "eva", "--role", "marketer", "--controller", "zus"], b"x\n", b"acme"),
        (["user", "password", "nobody"], b"x\n", b"user list"),
        (["consent", "add", "anna@example.org", "--evidence", " "], b"", b"--evidence"),
        (["consent", "add", "anna", "--evidence", "x"], b"", b"name@example.com"),
        (["consent", "add", "anna@example.org", "--evidence", "x", "--purpose", "q"], b"", b"newsletter, events"),
        (["suppress", "add", "anna@example.org", "--controller", "zus"], b"", b"acme"),
        (["report", "blocked", "--since", "gisteren"], b"", b"2026-11-01"),
        (["queue", "show", "0123"], b"", b"queue list"),
    ],
)
def test_a_refusal_says_what_to_do(installation: Installation, args: list[str], stdin: bytes, said: bytes) -> None:
    done = installation.tool(*args, stdin=stdin)
    assert done.returncode == 1
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_user_hash_makes_a_hash_for_the_settings() -> None:
    done = consentgate("user", "hash", stdin=b"geheim\n")
    assert done.returncode == 0
    assert argon2.PasswordHasher().verify(done.stdout.decode().strip(), "geheim")


def test_suppressions_are_added_once_and_listed(installation: Installation) -> None:
    first = lines_of(installation.tool("suppress", "add", "Anna@Example.org", "--purpose", "newsletter", "--json"))
    again = lines_of(installation.tool("suppress", "add", "anna@example.org", "--purpose", "newsletter", "--json"))
    assert [row["already"] for row in first + again] == [False, True]
    assert first[0]["reference"] == again[0]["reference"]
    rows = lines_of(installation.tool("suppress", "list", "--json"))
    assert [(r["scope"], r["purpose"], r["reason"], r["lifted_at"]) for r in rows] == [
        ("purpose", "newsletter", "unsubscribe", None)
    ]
    assert "@" not in rows[0]["recipient"]


def test_standard_output_holds_what_was_asked_for_and_nothing_else(installation: Installation) -> None:
    for already in (False, True):
        done = program("suppress", "add", "wim@example.org", "--json", "--config", installation.config)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout)["already"] == already
        assert done.stderr == b""


def test_a_consent_recorded_after_an_opt_out_does_not_lift_it(installation: Installation) -> None:
    """RULES.md 2.1.10: a newer consent with no lift recorded does not beat the suppression."""
    fine = lines_of(installation.tool("consent", "add", "anna@example.org", "--evidence", "phone, 3 May", "--json"))
    assert [(row["purpose"], row["suppressed"]) for row in fine] == [("newsletter", False), ("events", False)]
    installation.tool("suppress", "add", "anna@example.org")
    later = lines_of(installation.tool("consent", "add", "anna@example.org", "--evidence", "phone, 4 May", "--json"))
    assert {row["suppressed"] for row in later} == {True}


def test_no_question_where_standard_input_is_no_terminal(installation: Installation) -> None:
    done = installation.tool("user", "add", "eva", "--role", "marketer")
    assert done.returncode == 1
    assert b"Password for" not in done.stdout + done.stderr


def test_at_a_terminal_the_password_is_asked_for(installation: Installation) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gateway", "user", "hash"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT, start_new_session=True
    ) as process:
        os.close(theirs)
        asked = b""
        while b"Password" not in asked:
            asked += os.read(ours, 100)
        os.write(ours, b"geheim\n")
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert argon2.PasswordHasher().verify(out.decode().strip(), "geheim")


def test_a_broken_database_is_a_refusal_without_a_trace(installation: Installation) -> None:
    (installation.dir / "consentgate.db").write_bytes(b"not a database, but long enough to be read as one" * 99)
    done = installation.tool("report", "blocked")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"cannot be used" in done.stderr


@pytest.mark.parametrize("name", ["consentgate.db", "keys.db"])
def test_a_database_file_that_is_gone_is_named_with_the_way_out(installation: Installation, name: str) -> None:
    (installation.dir / name).unlink()
    for command in (["report", "blocked"], ["user", "list"], ["serve"]):
        done = installation.tool(*command)
        assert done.returncode == 1
        assert f"there is no file {installation.dir / name}. Restore it from your copy" in done.stderr.decode()


def test_a_bug_shows_a_reference_and_only_on_demand_a_trace() -> None:
    code = "import gateway.__main__ as m; m.COMMANDS['broken'] = ('none', ''); m.main(['broken'])"
    command = [sys.executable, "-c", code]
    plain = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert plain.returncode == 1
    assert b"ModuleNotFoundError at " in plain.stderr
    assert b"CONSENTGATE_DEBUG=1" in plain.stderr
    assert b"Traceback" not in plain.stderr
    env = {**os.environ, "CONSENTGATE_DEBUG": "1"}
    whole = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, env=env, check=False)
    assert whole.returncode == 1
    assert b"Traceback" in whole.stderr


def test_commands_in_a_hurry_load_neither_web_nor_option_parser() -> None:
    """`--help` and `decide` start in under 0.3 s (DESIGN section 12); what would make them slow is not loaded."""
    for args in (["--help"], ["decide", "--help"]):
        code = (
            "import sys; from gateway.__main__ import main\n"
            f"try: main({args!r})\nexcept SystemExit: pass\n"
            "print([m for m in ('typer', 'rich', 'fastapi', 'cryptography', 'asyncio', 'jinja2') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60, check=True)
        assert done.stdout.splitlines()[-1] == b"[]"
