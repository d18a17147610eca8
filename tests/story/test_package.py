"""What is installed: the wheel holds everything the program reads, and the lock names no place but hashes."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.installation import ROOT


def test_the_wheel_holds_templates_packs_statements_and_examples(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for source, target in (
        ("templates", "gateway/_templates"),
        ("suppression/packs", "suppression/packs"),
        ("gateway/store/sql", "gateway/store/sql"),
        ("gateway/cli", "gateway/cli"),
    ):
        wanted = {
            f"{target}/{p.relative_to(ROOT / source)}" for p in (ROOT / source).rglob("*.*") if p.suffix != ".pyc"
        }
        assert wanted, source
        assert wanted <= held
    assert "gateway/FLOW.md" in held


def test_the_lock_is_exact_hashed_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert not re.search(r"https?://|file:|(?m:^-)|(?m:^\s*/)", text)
    entries = re.split(r"(?m)^(?=[a-z])", text)[1:]
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+ ", entry), entry[:60]
        assert "--hash=sha256:" in entry, entry[:60]


def test_every_dependency_of_the_project_is_in_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    names = re.findall(r'(?m)^  "([a-z0-9-]+)[><=]', project)
    assert len(names) > 25
    for name in names:
        assert re.search(rf"(?m)^{name}==", lock), name
