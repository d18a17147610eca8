"""Measures the queue on this machine: what accepting, claiming and finishing a copy costs while others wait.

A database is filled with waiting copies, and at each depth groups of messages are stored, claimed and finished through
the store as the gateway does it: durable, a transaction per step and group. No mail is rendered or sent. Flat numbers
are the point (docs/operator.md, "The queue").
Run: python bench/queue_depth.py [--depths 0,100000,1000000] [--rounds 100] [--group 20] [--keep FOLDER]
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.store import sqlite
from gateway.store.ahead import new_id
from gateway.store.contract import Arrival, Ending, NewCopy, Ruling, Store
from suppression.decision import Decision
from suppression.vault import KeyRing

ALLOWED = Decision(
    verdict="allow", reason_code="ALLOW_OPT_IN", cite="GDPR 7", basis="opt_in", pack="NL", trace=("A1", "D1"),
    findings=(),
)  # fmt: skip
ROUTE = "main"
FILLED_AT_ONCE = 2000


class Load:
    """Messages of one controller to ever the same people, known after the first round."""

    def __init__(self, ring: KeyRing, octets: int, people: int = 20_000) -> None:
        self._people = people
        self._ring, self._body = ring, b"Subject: x\r\n\r\n" + b"Rode wijn. " * (octets // 11)
        self._made = 0

    def arrival(self, copies: int, campaign: str, at: datetime) -> Arrival:
        """A message to the next so many people."""
        ruling = Ruling(decision=ALLOWED, as_of=at, packs="NL@1 declared")
        people = []
        for number in range(copies):
            self._made += 1
            address = f"p{self._made % self._people}@example.org"
            people.append(NewCopy(
                copy_no=number, recipient_key=self._ring.recipient_keys("acme", address)[0], address=address,
                rcpt=address.encode(), state="queued", ruling=ruling, route=ROUTE, due_at=at,
                addressed=self._made > self._people,
            ))  # fmt: skip
        return Arrival(
            controller_id="acme", message_id=new_id(), at=at, stream="newsletter", campaign=campaign, mode="enforce",
            kind={"message_class": "marketing"}, envelope={"mail_from": "news@acme.example"}, subject="Wijn",
            body=self._body, size=len(self._body), copies=people, worker="w",
        )  # fmt: skip


async def fill(store: Store, load: Load, copies: int, per_message: int) -> None:
    """Copies that wait, of one large campaign."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    while copies > 0:
        some = [load.arrival(per_message, "large", at) for _ in range(max(1, FILLED_AT_ONCE // per_message))]
        await store.enqueue(*some)
        copies -= per_message * len(some)


async def measured(name: str, units: int, work: Callable[[], Awaitable[None]]) -> str:
    """Run the work; wall time and CPU time per unit."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{name} {wall / units * 1e6:7.0f} us ({cpu / units * 1e6:5.0f} CPU)"


async def at_depth(store: Store, load: Load, rounds: int, group: int) -> Sequence[str]:
    """Accept, claim, finish; each in groups."""
    claimed = []

    async def accept() -> None:
        for _ in range(rounds):
            now = datetime.now(UTC)
            await asyncio.gather(*(store.enqueue(load.arrival(1, "small", now)) for _ in range(group)))

    async def claim() -> None:
        while len(claimed) < rounds * group:
            claimed.extend(
                await store.claim("w", ROUTE, now=datetime.now(UTC), n=min(group, rounds * group - len(claimed)))
            )

    async def finish() -> None:
        now = datetime.now(UTC)
        ruling = Ruling(decision=ALLOWED, as_of=now, packs="NL@1 declared")
        endings = [
            Ending(
                controller_id=copy.controller_id, message_id=copy.message_id, copy_no=copy.copy_no,
                stream="newsletter", campaign="large", state="delivered", ruling=ruling, was="allowed",
                reply="250 2.0.0 Ok", at=now, recipient_key=copy.recipient_key,
            )
            for copy in claimed
        ]  # fmt: skip
        for start in range(0, len(endings), group):
            await store.finish("w", endings[start : start + group])

    async def ask() -> None:
        for _ in range(rounds):
            await store.next_due(ROUTE)
            await store.holders()
            await store.renew("w", datetime.now(UTC) + timedelta(seconds=20))

    units = rounds * group
    return [
        await measured("accept", units, accept), await measured("claim", units, claim),
        await measured("finish", units, finish), await measured("house", rounds, ask),
    ]  # fmt: skip


async def run(folder: Path, depths: Sequence[int], rounds: int, group: int, octets: int, per_message: int) -> None:
    """One database, ever deeper."""
    ring = KeyRing({1: os.urandom(32)})
    sqlite.create(folder / "consentgate.db", folder / "keys.db")
    async with sqlite.opened(folder / "consentgate.db", folder / "keys.db", ring) as store:
        load, filled = Load(ring, octets), 0
        await store.renew("w", datetime.now(UTC) + timedelta(seconds=20))
        everybody = load.arrival(20_000, "everybody", datetime.now(UTC))
        await store.enqueue(replace(everybody, copies=[replace(one, state="blocked") for one in everybody.copies]))
        await at_depth(store, load, 5, group)
        for depth in depths:
            await fill(store, load, depth - filled, per_message)
            filled = max(depth, filled)
            print(f"{depth:9} waiting:", *await at_depth(store, load, rounds, group), sep="  ", flush=True)


def main() -> None:
    """Measure at each depth."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--depths", default="0,100000,1000000", help="copies that wait, growing, at most 5 million")
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--group", type=int, default=20, help="messages or copies in one transaction")
    options.add_argument("--octets", type=int, default=3000, help="of a message")
    options.add_argument("--per-message", type=int, default=100, help="recipients of each message that waits")
    options.add_argument("--keep", type=Path, help="an empty folder for the database, which stays")
    args = options.parse_args()
    depths = sorted(min(5_000_000, int(depth)) for depth in args.depths.split(","))
    print(f"{os.cpu_count()} cores, load {' '.join(f'{x:.2f}' for x in os.getloadavg())}", flush=True)
    given = depths, args.rounds, args.group, args.octets, args.per_message
    if args.keep:
        asyncio.run(run(args.keep, *given))
    else:
        with tempfile.TemporaryDirectory(prefix="consentgate-bench-") as folder:
            asyncio.run(run(Path(folder), *given))


if __name__ == "__main__":
    main()
