"""Measures the ledger on this machine: how long a chain takes to be verified, by the gateway and without it.

A consent per person is imported through the program, which seals the entries; then `ledger verify`, `ledger export` and
the verifier of one file run, each timed from outside. Run: python bench/ledger.py [--entries 1000000] [--keep FOLDER]
"""

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = (sys.executable, "-m", "gateway")


def main() -> None:
    """Make the ledger, unless the folder holds one, and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--keep", type=Path, help="folder to make the installation in, and to leave it there")
    args = options.parse_args()
    print(f"{os.cpu_count()} cores, load {' '.join(f'{x:.2f}' for x in os.getloadavg())}", flush=True)
    if args.keep:
        measure(args.keep, args.entries)
    else:
        with tempfile.TemporaryDirectory(prefix="consentgate-bench-") as folder:
            measure(Path(folder) / "gateway", args.entries)


def measure(place: Path, entries: int) -> None:
    """One installation: import, verify, export, verify without it."""
    config, people = place / "consentgate.toml", place / "people.csv"
    if not config.exists():
        timed("init", *PROGRAM, "init", place, "--example")
        write(people, entries)
        timed("import", *PROGRAM, "import", "consents", people, "--config", config, "--controller", "acme")
    export, verifier = place / "ledger.jsonl", place / "verify_ledger.py"
    timed("ledger verify", *PROGRAM, "ledger", "verify", "--config", config)
    with export.open("wb") as out, verifier.open("wb") as program:
        timed("ledger export", *PROGRAM, "ledger", "export", "--config", config, to=out)
        timed("ledger verifier", *PROGRAM, "ledger", "verifier", to=program)
    timed("verify_ledger.py, database", sys.executable, "-I", verifier, place / "consentgate.db")
    timed("verify_ledger.py, export", sys.executable, "-I", verifier, export)


def write(file: Path, entries: int) -> None:
    """Consents as the native columns have them, one per person."""
    given = datetime.now(UTC) - timedelta(days=30)
    fixed = {
        "source": "own_form", "purposes": "newsletter", "given_at": given.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "evidence.method": "web form", "evidence.wording_version": "w1", "evidence.privacy_notice_version": "p1",
        "evidence.origin": "shop", "action": "active_tick", "granular": "true", "double_opt_in.required": "false",
    }  # fmt: skip
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["email", *fixed])
        rows.writerows([f"p{n:07}@example.org", *fixed.values()] for n in range(entries))


def timed(name: str, *words: object, to: object = None) -> None:
    """Run one command; wall time, CPU time and the most memory any command took so far."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([str(word) for word in words], cwd=ROOT, stdout=to or subprocess.PIPE, check=False)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:28} {wall:7.1f} s  {cpu:7.1f} s CPU  {after.ru_maxrss // 1024:5} MB at most", flush=True)
    if done.returncode:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{(done.stdout or b'').decode()[-2000:]}")


if __name__ == "__main__":
    main()
