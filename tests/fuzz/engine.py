"""One process's share of the inputs: make them, run them, keep what was found."""

import hashlib
import random
import resource
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import grown, seeds
from tests.fuzz.targets import TARGETS

SHOWN_EVERY = 2000


def inputs(seed: int, count: int, pool: list[bytes]) -> list[bytes]:
    """So many inputs of a seed; the pool is added to."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        if chance.random() < 0.05:
            pool.append(grown(chance))
        made.append(mutated(chance, pool))
    return made


def run(seed: int, count: int, seconds: float, keep: Path) -> tuple[int, int, float, int]:
    """One process's share: (inputs, findings, processor seconds of the slowest, peak memory in megabytes)."""
    pool, found, slowest = seeds(), 0, 0.0
    kept = len(pool)
    for first in range(0, count, SHOWN_EVERY):
        for number, data in enumerate(inputs(seed * 1_000_003 + first, min(SHOWN_EVERY, count - first), pool)):
            began = time.process_time()
            wrong = tried(data, random.Random(number))
            took = time.process_time() - began
            slowest = max(slowest, took)
            if not wrong and took > seconds:
                wrong = f"took {took:.1f} s"
            if wrong:
                found += 1
                _keep(keep, data, wrong)
        del pool[kept:]
        print(f"seed {seed}: {min(first + SHOWN_EVERY, count)} of {count}, {found} found", file=sys.stderr)
    return count, found, slowest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def tried(data: bytes, chance: random.Random) -> str:
    """Run every target on one input; what went wrong, else ""."""
    for target in TARGETS:
        try:
            target(data, chance)
        except Exception:
            return f"{target.__name__}\n{traceback.format_exc()}"
    return ""


def _keep(folder: Path, data: bytes, wrong: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest()[:16]
    (folder / f"{name}.eml").write_bytes(data)
    (folder / f"{name}.txt").write_text(wrong, encoding="utf-8")
