"""This gateway beside what a user would pick instead, in one run; prints "Measured" of docs/performance.md.

    python bench/compare.py --driver ../shared/bench --python PEERS/bin/python --haraka HARAKA --work WORK

The driver (load client, sink, peers) is not part of this repository; its own README says what the peers need. Corpus
and imported people are made at the first run and kept in WORK, which the users `postfix` and `nobody` have to reach.
Peers take turns, so that what else the machine does meets them all; figures are medians. Run as root, on a machine that
does nothing else: about fifteen minutes. `--count 200 --runs 1 --copies 5` shows in a few that everything works. What
goes on is told on standard error; standard output has the text for the page, and nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS, OURS_ON_SERVER = "consentgate", "consentgate-postgresql"
PROTOTYPE, FILTER_LOOP = "prototype", "postfix-split-milter-opendkim"
PEERS = {
    "postfix": "Postfix, plain relay, none of the job",
    "postfix-milter-opendkim": "Postfix + Python milter + opendkim",
    "haraka-n2": "Haraka, 2 workers, plug-in for the job",
    PROTOTYPE: "a prototype that shows the reachable rate, 2 workers",
    OURS: "**Consentgate, SQLite, 2 workers**",
    OURS_ON_SERVER: "**Consentgate, PostgreSQL, 2 workers**, CPU and memory with the server's",
}
MANY = {
    FILTER_LOOP: "Postfix filter loop + milter + opendkim",
    PROTOTYPE: PEERS[PROTOTYPE],
    OURS: PEERS[OURS],
    OURS_ON_SERVER: PEERS[OURS_ON_SERVER],
}
SERVER = (OURS_ON_SERVER, OURS)
SIZES = ("3k", "30k")
PEER = (sys.executable, "-m", "bench.peer")
Row = dict[str, Any]


def main() -> None:
    """Make what is missing, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--driver", type=Path, required=True, help="folder of run.py, corpus.py and verify.py")
    options.add_argument("--python", type=Path, required=True, help="of a virtual environment with what the peers need")
    options.add_argument("--haraka", type=Path, required=True, help="folder whose node_modules holds Haraka")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--count", type=int, default=2000, help="messages of each run")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--copies", type=int, default=20, help="messages of 100 recipients; 0: leave that part out")
    args = options.parse_args()
    args.driver, args.haraka, args.python = args.driver.resolve(), args.haraka.resolve(), args.python.absolute()
    began = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)
    corpus, at = args.work.resolve() / "corpus", args.work.resolve() / "prepared"
    if not (corpus / "dkim.pub").exists():
        run([args.python, "-B", args.driver / "corpus.py", "--out", corpus], ROOT)
    run([*PEER, "prepare", "--db", corpus / "consent.db", "--key", corpus / "dkim.pem", "--at", at], ROOT)
    load = load_average()
    alone = measured(args, corpus, at, PEERS, SIZES, args.count, 1)
    together = measured(args, corpus, at, MANY, ("3k",), args.copies, 100) if args.copies else []
    bad = [row for row in (*alone, *together) if not sound(row)]
    for row in bad:
        print(f"not sound: {json.dumps(row)[:300]}", file=sys.stderr)
    print(f"{time.monotonic() - began:.0f} s; load average {load} before, {load_average()} after", file=sys.stderr)
    print("\n\n".join(page(args, alone, together, load)))
    sys.exit(1 if bad else 0)


def run(command: Sequence[object], folder: Path) -> None:
    """Run a step that has to work. What it says goes to standard error."""
    subprocess.run([str(word) for word in command], check=True, cwd=folder, stdout=sys.stderr)


def page(args: argparse.Namespace, alone: list[Row], together: list[Row], load: str) -> list[str]:
    """Everything that was measured, as paragraphs of docs/performance.md."""
    said = (
        f"Medians (and ranges) of {args.runs} runs of {args.count:,} messages, {os.cpu_count()} cores, peers in turn; "
        f"{datetime.now(UTC):%Y-%m-%d}, load average {load} before."
    )
    return [said, table(alone), ratios(alone), *([many(together)] if together else [])]


def measured(
    args: argparse.Namespace, corpus: Path, at: Path, peers: Iterable[str], sizes: Iterable[str], count: int, rcpts: int
) -> list[Row]:
    """One interleaved run of the driver; a row for each peer, size and turn."""
    out = args.work.resolve() / f"rows-{rcpts}.jsonl"
    out.unlink(missing_ok=True)
    start = "--port {port} --sink {sink} --work {work} --workers 2"
    ours = f"env -C {ROOT} {' '.join(PEER)} serve --at {at} {start}"
    commands = {
        OURS: ours,
        OURS_ON_SERVER: f"{ours} --database postgresql",
        PROTOTYPE: f"{{py}} {{here}}/peers/proto_gateway.py --db {{db}} --key {{key}} {start}",
    }
    options = {
        "--work": args.work.resolve(), "--corpus": corpus, "--haraka": args.haraka, "--peers": ",".join(peers),
        "--sizes": ",".join(sizes), "--count": count, "--rcpts": rcpts, "--runs": args.runs, "--out": out,
    }  # fmt: skip
    words: list[object] = [word for pair in options.items() for word in pair]
    for name, command in commands.items():
        words += ["--cmd", f"{name}={command}"]
    run([args.python, "-B", args.driver / "run.py", *words], args.driver)
    return [json.loads(line) for line in out.read_text().splitlines()]


def sound(row: Row) -> bool:
    """Whether everything was taken and came out: a peer that refuses is fast."""
    return "error" not in row and row["drained"] and not row["timed_out"] and row["accepted"] == row["count"]


def of(rows: Iterable[Row], peer: str, size: str) -> Callable[[str], list[float]]:
    """The values of one peer at one size, by name; what is not sound is left out."""
    mine = [row for row in rows if row["peer"] == peer and row["size"] == size and sound(row)]
    return lambda name: [row[name] for row in mine]


def shown(values: list[float], form: str = ",.0f") -> str:
    """The median; a peer without a sound run has none."""
    return format(statistics.median(values), form) if values else "failed"


def table(rows: list[Row]) -> str:
    """One line for each peer: rate with its span, CPU, memory."""
    lines = [
        "| peer | 3 kB drained/s | CPU s/1000 | 30 kB drained/s | CPU s/1000 | memory (PSS, MB) |",
        "|---|---|---|---|---|---|",
    ]
    for peer, name in PEERS.items():
        cells = []
        for size in SIZES:
            values = of(rows, peer, size)
            rate = values("drain_rate")
            span = f" ({min(rate):,.0f}-{max(rate):,.0f})" if rate else ""
            cells += [shown(rate) + span, shown(values("cpu_per_1000"), ".2f")]
        most = [value for size in SIZES for value in of(rows, peer, size)("pss_mb")]
        lines.append(f"| {name} | {' | '.join(cells)} | {format(max(most), ',.0f') if most else 'failed'} |")
    return "\n".join(lines)


def ratios(rows: list[Row]) -> str:
    """How we stand beside each of the others, and on a server beside files."""
    lines = ["| Consentgate, SQLite, against | 3 kB rate | CPU | 30 kB rate | CPU |", "|---|---|---|---|---|"]
    for peer, name in PEERS.items():
        if peer not in (OURS, OURS_ON_SERVER):
            lines.append(f"| {name} | {' | '.join(beside(rows, OURS, peer, SIZES))} |")
    return "\n".join([*lines, f"| *PostgreSQL against SQLite* | {' | '.join(beside(rows, *SERVER, SIZES))} |"])


def beside(rows: list[Row], one: str, other: str, sizes: Iterable[str]) -> list[str]:
    """Rate and CPU of one peer in those of another, for each size."""
    return [
        ratio(of(rows, one, size)(what), of(rows, other, size)(what))
        for size in sizes for what in ("drain_rate", "cpu_per_1000")
    ]  # fmt: skip


def many(rows: list[Row]) -> str:
    """100 recipients in a message, each with an own link: copies per second and their CPU."""
    lines = ["| 100 recipients a message, 3 kB | copies/s | CPU s/1000 |", "|---|---|---|"]
    for peer, name in MANY.items():
        values = of(rows, peer, "3k")
        lines.append(f"| {name} | {shown(values('drain_rate'))} | {shown(values('cpu_per_1000'), '.2f')} |")
    lines.append(f"| *SQLite against the filter loop* | {' | '.join(beside(rows, OURS, FILTER_LOOP, ['3k']))} |")
    lines.append(f"| *PostgreSQL against SQLite* | {' | '.join(beside(rows, *SERVER, ['3k']))} |")
    return "\n".join(lines)


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Median against median."""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else "failed"


def load_average() -> str:
    """How busy the machine is, over 1, 5 and 15 minutes."""
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


if __name__ == "__main__":
    main()
