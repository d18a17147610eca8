"""Measures an import on this machine: rows per second, CPU, memory, by kind and size. Run: python bench/imports.py

Each file is made anew and taken in by the command, as a process of its own, into a fresh installation in a temporary
folder. CPU seconds per row are the steadiest figure where others share the machine. Memory is the sum of the peaks of
the command and of each of its helpers.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, "-m", "gateway"]
BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
Rows = Iterator[dict[str, str]]


def main() -> None:
    """Measure each kind and size in turn and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sizes", default="100000,1000000", help="rows, comma-separated")
    options.add_argument("--kinds", default="consents", help=f"comma-separated, of {', '.join(KINDS)}")
    options.add_argument("--again", action="store_true", help="take in the same file a second time")
    options.add_argument("--verify", action="store_true", help="verify the ledger afterwards")
    options.add_argument("--folder", type=Path, help="where to work; a temporary folder that is removed without it")
    options.add_argument("--one", help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.one:
        one_run(json.loads(args.one))
        return
    print("kind            rows     rows/s   CPU us/row   peak MB   what")
    for size in map(int, args.sizes.split(",")):
        for kind in args.kinds.split(","):
            with tempfile.TemporaryDirectory(prefix="consentgate-bench-", dir=args.folder) as folder:
                measure(Path(folder), kind, size, args)


def measure(folder: Path, kind: str, size: int, args: argparse.Namespace) -> None:
    """One fresh installation, one file."""
    subprocess.run([*PROGRAM, "init", str(folder / "gateway"), "--example"], check=True, capture_output=True, cwd=ROOT)
    config = ["--config", str(folder / "gateway" / "consentgate.toml")]
    file = written(folder / f"{kind}.csv", KINDS[kind](size))
    command = ["import", kind, str(file), *config, "--controller", "acme"]
    run(kind, size, "first import", command)
    if args.again:
        run(kind, size, "the same file again", command)
    if args.verify:
        run(kind, size, "ledger verify", ["ledger", "verify", *config])


def run(kind: str, rows: int, what: str, command: list[str]) -> None:
    """One command in a process between us and it, so that its children's figures are only its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(command)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    seconds, cpu, memory = json.loads(done.stdout.splitlines()[-1])
    print(f"{kind:12} {rows:9,} {rows / seconds:9,.0f} {cpu / rows * 1e6:12.1f} {memory:9.0f}   {what}", flush=True)


def one_run(command: list[str]) -> None:
    """Run a command; print wall seconds, CPU seconds and MB at most, the processes it starts included."""
    began = time.monotonic()
    process = subprocess.Popen([*PROGRAM, *command], stdout=subprocess.DEVNULL, cwd=ROOT)
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(proportional(pid) for pid in family(process.pid)))
        time.sleep(0.5)  # between two looks, which cost: no call tells the most that a family of processes held
    seconds = time.monotonic() - began
    if process.returncode:
        sys.exit(f"exit {process.returncode}: {' '.join(command)}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime, most]))


def family(pid: int) -> list[int]:
    """A process and the processes below it."""
    found = [pid]
    for parent in found:
        try:
            for task in (Path("/proc") / str(parent) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def proportional(pid: int) -> float:
    """Its share of memory in MB: what processes share is counted once."""
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def written(file: Path, rows: Rows) -> Path:
    """Rows as a CSV file."""
    first = next(rows)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)
    return file


def at(n: int) -> str:
    """Some instant, another one for nearly every row."""
    return (BEGIN + timedelta(seconds=n * 31 % 50_000_000)).strftime("%Y-%m-%dT%H:%M:%SZ")


def address(n: int) -> str:
    return f"{FIRST[n % len(FIRST)]}.{LAST[n // 7 % len(LAST)]}{n}@{HOSTS[n // 3 % len(HOSTS)]}"


FIRST = ("anna", "wim", "joke", "mehmet", "sofie", "pieter", "lotte", "kees", "fatima", "jan")
LAST = ("devries", "peeters", "jansen", "bakker", "dubois", "visser", "smit", "maes")
HOSTS = ("example.org", "example.com", "mail.example.net", "post.example.dom")


def consents(n: int) -> Rows:
    """Consents of as many people, with the evidence a good form leaves."""
    for row in range(n):
        yield {
            "email": address(row), "purposes": "newsletter", "source": "own_form", "given_at": at(row),
            "action": "active_tick", "evidence.method": "web_form", "evidence.wording_version": f"w{row % 5}",
            "evidence.privacy_notice_version": "pn1", "evidence.origin": "https://acme.example/newsletter",
            "bundled_with_terms": "false", "conditional_on_service": "false", "granular": "true",
            "double_opt_in.required": "true", "double_opt_in.requested_at": at(row),
            "double_opt_in.confirmed_at": at(row + 3),
        }  # fmt: skip


def sales(n: int) -> Rows:
    """Purchases: some people bought several times."""
    lots = random.Random(1)
    for row in range(n):
        yield {
            "email": address(lots.randrange(n)), "id": f"order-{row}", "kind": "purchase", "status": "concluded",
            "concluded_at": at(row), "product_categories": "wine", "relation_active": "false",
            "address_source": "given_in_context", "opt_out_offered_at_collection": "true",
            "opt_out_used_at_collection": "false", "privacy_notice_version": "pn1", "opt_out_in_all_messages": "true",
        }  # fmt: skip


def people(n: int) -> Rows:
    """Declared facts and names."""
    for row in range(n):
        yield {
            "email": address(row), "country": ("NL", "BE", "FR", "DE")[row % 4], "language": "nl",
            "name": f"Naam {row}", "external_id": str(row), "kind": "natural_person",
        }  # fmt: skip


def suppressions(n: int) -> Rows:
    """Opt-outs."""
    for row in range(n):
        yield {"email": address(row), "scope": "sender", "reason": "unsubscribe", "at": at(row)}


KINDS: dict[str, Callable[[int], Rows]] = {
    "consents": consents, "sales": sales, "people": people, "suppressions": suppressions,
}  # fmt: skip

if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    main()
