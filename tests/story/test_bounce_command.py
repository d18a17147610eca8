"""The command that reads one report from standard input."""

import json
from pathlib import Path

from tests.core.test_bounce_reports import HEADER, report
from tests.core.test_feedback import MAIL
from tests.installation import Installation, consentgate

FULL = report(
    HEADER + "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.2.2\n"
    "Diagnostic-Code: smtp; 552 5.2.2 <bob@example.net> is over quota\n"
).encode()


def test_it_says_whom_a_report_is_about_and_what_it_means() -> None:
    done = consentgate("bounce", stdin=FULL)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {
        "kind": "bounce",
        "recipients": [
            {
                "address": "bob@example.net", "action": "failed", "status": "5.2.2", "class": "hard",
                "reason": "mailbox-full", "undeliverable": False,
                "diagnostic": "552 5.2.2 <bob@example.net> is over quota",
            }
        ],
    }  # fmt: skip


def test_it_says_what_kind_of_feedback_it_is_and_who_has_to_look() -> None:
    fields = "Content-Type: message/feedback-report\n\nFeedback-Type: virus\n"
    returned = f"Content-Type: message/rfc822\n\n{MAIL}"
    raw = f"Content-Type: multipart/report; boundary=b\n\n--b\n{fields}\n--b\n{returned}\n--b--\n"
    said = json.loads(consentgate("bounce", stdin=raw.format(to="bob@example.net").encode()).stdout)
    assert (said["kind"], said["feedback_type"], said["needs_person"]) == ("other", "virus", True)


def test_any_octets_give_an_answer() -> None:
    for raw in (b"", b"\xff\x00\r", b"a" * 2_000_000, FULL[:200], b"Content-Type: multipart/mixed; boundary\n\n--"):
        done = consentgate("bounce", stdin=raw)
        assert (done.returncode, done.stderr) == (0, b"")
        assert set(json.loads(done.stdout)) >= {"kind", "recipients"}


def test_rules_from_a_file_and_from_the_settings(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[rule]]\nname = "ours"\nreason = "inactive"\nsays = ["over quota"]\n')
    installation.change('public_url = "', f'bounce_rules = "{file}"\npublic_url = "')
    for option in (("--rules", file), (f"--rules={file}",), ("--config", installation.config)):
        done = consentgate("bounce", *option, stdin=FULL)
        assert json.loads(done.stdout)["recipients"][0]["reason"] == "inactive"
    file.write_text('[[rule]]\nname = "ours"\nreason = "asleep"\nsays = ["over quota"]\n')
    for option in ("--rules", file), ("--config", installation.config):
        done = consentgate("bounce", *option, stdin=FULL)
        assert done.returncode == 1
        assert f"{file}:3: rule.1.reason: is not a reason" in done.stderr.decode()


def test_wrong_usage() -> None:
    for words in (["--rulez", "x"], ["file.eml"], ["--rules"]):
        done = consentgate("bounce", *words)
        assert done.returncode == 2 and b"bounce --help" in done.stderr
    assert consentgate("bounce", "--help").stdout.startswith(b"Usage: consentgate bounce")
