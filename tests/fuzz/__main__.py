"""Fuzz what reads mail: `make fuzz`, or `python -m tests.fuzz --inputs 200000 --seed 1 --jobs 2`.

Each input is a mutation of the seeds, or of trees grown by chance, and goes through every target. Found: an exception
that is no declared refusal, a promise that broke, an input that takes longer than `--seconds`, memory over
`--megabytes`. The same seed makes the same inputs. What was found is kept in the folder `--keep`; exit code 1 then.
"""

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.engine import run


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n\n")[0])
    options.add_argument("--inputs", type=int, default=200_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--seconds", type=float, default=2.0, help="processor time for one input, at most")
    options.add_argument("--megabytes", type=int, default=400, help="memory of one process, at most")
    options.add_argument("--keep", type=Path, default=Path("fuzz-found"))
    args = options.parse_args()
    began = time.monotonic()
    share = -(-args.inputs // args.jobs)
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(
            run, [args.seed * 1000 + job for job in range(args.jobs)],
            [max(0, min(share, args.inputs - job * share)) for job in range(args.jobs)],
            [args.seconds] * args.jobs, [args.keep] * args.jobs,
        ))  # fmt: skip
    inputs, found = sum(r[0] for r in results), sum(r[1] for r in results)
    slowest, memory = max(r[2] for r in results), max(r[3] for r in results)
    print(
        f"{inputs} inputs in {time.monotonic() - began:.0f} s: {found} found; slowest input {slowest * 1000:.0f} ms, "
        f"memory of a process at most {memory} MB."
    )
    return 1 if found or memory > args.megabytes else 0


if __name__ == "__main__":
    sys.exit(main())
