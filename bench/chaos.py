"""A gateway's worst day, made on purpose: everything is killed at random while mail comes in. Run: make chaos

Newsletter tools hand in mail and come again until they are answered 250; people opt out by one click; meanwhile nodes
and the next server get kill -9, settings are loaded anew, and on PostgreSQL the primary dies and its synchronous
standby takes over. Then everything that was promised by an answer is held against what the next server wrote down
(chaos_verdict.py). Exit code 1 where a promise was broken.

Everything is on loopback, in a temporary folder that is removed afterwards unless something was found. The seed gives
who is mailed, who opts out and what is killed when; the machine's own pace does the rest, so two runs of one seed
resemble each other and are not the same.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import chaos_nodes as nodes
from bench.chaos_load import CAMPAIGN, LOGIN, Mail, OptOuts, Record, SinkFile, Tools
from bench.chaos_nodes import Broken, Node, Process
from bench.chaos_verdict import COUNTED, LAST, STRANGER, Books, Finding, findings
from bench.run import consents
from tests import postgres

STRANGERS = 50
OPT_OUT_EVERY = 60
"""Of so many answered messages, after one somebody opts out."""
DRAIN_SECONDS = 900.0
"""How long the queue may take to empty once nothing is killed any more: two attempts a copy and a dead lease."""
AGAIN_SECONDS = 2.0
"""Between two attempts to start what could not start: its database may be away."""
MOST_RECIPIENTS = 1000
"""Of one message."""


@dataclass(slots=True)
class Day:
    """What runs, and what was done to it."""

    seed: int
    nodes: list[Node]
    sink: Process
    record: Record
    file: SinkFile
    chance: random.Random
    """For the faults alone, so that they do not depend on how the load went."""
    every: float
    primary: postgres.Server | None = None
    standby: postgres.Server | None = None
    faults: Counter[str] = field(default_factory=Counter)
    died: list[str] = field(default_factory=list)
    """What ended although nobody killed it."""

    def smtp(self) -> int:
        """A port of a node, any of them: a load balancer knows no better."""
        return random.choice(self.nodes).smtp

    def http(self) -> int:
        """The same for pages."""
        return random.choice(self.nodes).http


def main() -> None:
    """Make the day, run it, say the verdict."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options.add_argument("--nodes", type=int, help="gateways on one database; PostgreSQL: 3, SQLite: always 1")
    options.add_argument("--workers", type=int, default=1, help="processes of each node")
    options.add_argument("--clients", type=int, default=12, help="connections of newsletter tools")
    options.add_argument("--people", type=int, default=2_000, help="who agreed")
    options.add_argument("--every", type=float, help="seconds between two faults, about; SQLite: 1, PostgreSQL: 5")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of the load and of the faults")
    options.add_argument("--most", type=float, default=3600.0, help="seconds after which the run is given up")
    options.add_argument("--folder", type=Path, help="where to work; kept. Without it a temporary folder")
    args = options.parse_args()
    print(f"seed {args.seed}: {args.messages} messages, {args.database}", flush=True)
    began = time.monotonic()
    with working_folder(args.folder) as folder:
        try:
            found = uvloop.run(asyncio.wait_for(run(args, folder), args.most))
        except TimeoutError:
            sys.exit(f"given up after {args.most:.0f} s; see {folder}")
        except asyncio.CancelledError:
            sys.exit(f"stopped; see {folder}")
        except Broken as broken:
            sys.exit(f"{broken}\nsee {folder}")
        for one in found:
            print(f"{'kept  ' if one.kept else 'BROKEN'} {one.promise}: {one.told}")
        broken_ones = [one for one in found if not one.kept]
        verdict = f"{len(broken_ones)} promises BROKEN; see {folder}" if broken_ones else "every promise was kept"
        print(f"seed {args.seed}, {time.monotonic() - began:.0f} s: {verdict}")
        if broken_ones:
            sys.exit(1)
        if args.folder is None:
            shutil.rmtree(folder)


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    """The folder given, else a temporary one, which the caller removes when nothing was found."""
    folder = given or Path(tempfile.mkdtemp(prefix="consentgate-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


async def run(args: argparse.Namespace, folder: Path) -> list[Finding]:
    """The whole day; what it showed. Whoever stops us stops what we started."""
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    with ExitStack() as stack:
        day = await _prepared(args, folder, stack)
        started = [node.process for node in day.nodes]
        try:
            await asyncio.gather(day.sink.start(), *(one.start() for one in started))
            return await _spent(args, day)
        finally:
            for process in (*started, day.sink):
                await process.kill()


async def _prepared(args: argparse.Namespace, folder: Path, stack: ExitStack) -> Day:
    """Databases, an installation for each node, people who agreed, a next server."""
    primary = standby = urls = None
    count = 1
    if args.database == "postgresql":
        count = args.nodes or 3
        primary = stack.enter_context(postgres.running(durable=True))
        pair = primary.new_pair()
        standby = stack.enter_context(primary.standby())
        data, keys = (primary.url(url.rpartition("/")[2], more=[standby]) for url in pair)
        urls = (data, keys)
    (port,) = nodes.free_ports(1)
    made = nodes.installed(folder, count, port, workers=args.workers, databases=urls)
    people = [f"p{n:05}@example.org" for n in range(args.people)]
    nodes.done("import", "consents", consents(folder / "people.csv", people), "--config", made[0].config,
               "--controller", "acme")  # fmt: skip
    sink = Process(
        "sink", [sys.executable, "-m", "bench.chaos_sink", str(port), str(folder / "sink.jsonl")], folder / "sink.log",
        b"sink",
    )  # fmt: skip
    return Day(
        seed=args.seed, nodes=made, sink=sink, record=Record(), file=SinkFile(folder / "sink.jsonl"),
        chance=random.Random(f"faults {args.seed}"), every=args.every or (5.0 if primary else 1.0), primary=primary,
        standby=standby,
    )  # fmt: skip


def mails(args: argparse.Namespace) -> list[Mail]:
    """The load: most mail has one recipient, some has three, and some of those never agreed to anything."""
    chance = random.Random(f"load {args.seed}")
    addresses = [*(f"p{n:05}@example.org" for n in range(args.people)), *strangers()]
    found = []
    for n in range(args.messages):
        recipients = chance.sample(addresses, 3 if chance.random() < 0.1 else 1)
        found.append(Mail(f"chaos-{n:06}", tuple(recipients)))
    return found


def strangers() -> list[str]:
    """People who never agreed."""
    return [f"{STRANGER}{n}@example.org" for n in range(STRANGERS)]


async def _spent(args: argparse.Namespace, day: Day) -> list[Finding]:
    """Load and faults, then peace, then the books."""
    chance = random.Random(f"clients {args.seed}")
    record = day.record
    word = nodes.password(day.nodes[0], LOGIN)
    tools = Tools(mails(args), record, day.smtp, word, chance)
    clicks = OptOuts(record, day.file, day.http, random.Random(f"clicks {args.seed}"))
    began = time.monotonic()
    async with asyncio.TaskGroup() as healing:
        telling = healing.create_task(_tell(day, began, args.messages))
        faults = healing.create_task(_faults(day, healing, args.messages))
        clicking = healing.create_task(_click(record, clicks))
        await tools.run(args.clients)
        for task in (faults, clicking, telling):
            task.cancel()
    _say(began, f"everything was answered, and nothing is killed any more: {_counted(day.faults)}")
    await clicks.answered()
    again = sorted(record.opted_out)[:MOST_RECIPIENTS]
    if again:
        await Tools([Mail(LAST, tuple(again))], record, day.smtp, word, chance).run(1)
    waiting = await _drained(day, began)
    codes = await asyncio.gather(*(node.process.stop() for node in day.nodes))
    day.file.read()
    return findings(record, day.file, _books(day, waiting, codes), strangers=set(strangers()), last_round=again)


async def _click(record: Record, clicks: OptOuts) -> None:
    """Somebody opts out whenever so many more messages were answered."""
    seen = 0
    while True:
        if len(record.taken) >= seen + OPT_OUT_EVERY:
            seen = len(record.taken)
            clicks.one_more()
        await asyncio.sleep(0.02)


async def _tell(day: Day, began: float, messages: int) -> None:
    """A line on how far it is, every five seconds."""
    while True:
        await asyncio.sleep(5)
        day.file.read()
        record = day.record
        _say(
            began,
            f"{len(record.taken)} of {messages} answered 250, {len(day.file.took)} copies came, "
            f"{len(record.opted_out)} opted out, {record.put_off} put off, {record.cut_off} cut off; "
            + _counted(day.faults),
        )


# what goes wrong


async def _faults(day: Day, healing: asyncio.TaskGroup, messages: int) -> None:
    """One fault after the other; what was killed heals beside, at once or some seconds later."""
    failing_over = day.standby is not None
    while True:
        await asyncio.sleep(day.every * (0.5 + day.chance.random()))
        for process in (*(node.process for node in day.nodes), day.sink):
            if process.died:
                day.died.append(process.name)
                healing.create_task(_killed(process, 0.0))
        if failing_over and len(day.record.taken) > messages // 2:
            failing_over = False
            await _fail_over(day)
            continue
        what = day.chance.choices(("node", "next server", "reload", "worker"), (70, 6, 12, 12))[0]
        process = day.sink if what == "next server" else day.chance.choice(day.nodes).process
        seconds = 0.0 if len(day.nodes) == 1 or day.chance.random() < 0.5 else 1 + 3 * day.chance.random()
        if not process.ready:
            continue  # it is down already
        match what:
            case "reload":
                process.hang_up()
            case "worker":
                if not process.kill_a_worker(day.chance):
                    continue
            case _:
                healing.create_task(_killed(process, seconds))
        day.faults[what] += 1


async def _killed(process: Process, seconds: float) -> None:
    """kill -9; it is back after some seconds, and tried again while it cannot start, as a service manager does."""
    await process.kill()
    await asyncio.sleep(seconds)
    for last in (False, False, True):
        try:
            await process.start()
            return
        except Broken:
            if last:
                raise
            await asyncio.sleep(AGAIN_SECONDS)


async def _fail_over(day: Day) -> None:
    """The primary dies, and with it every connection; the synchronous standby has all that was ever answered."""
    assert day.primary is not None
    assert day.standby is not None
    day.primary.kill()
    await asyncio.sleep(day.chance.random() * 2)
    await asyncio.to_thread(day.standby.promote)
    day.faults["primary"] += 1


# peace, and the books


async def _drained(day: Day, began: float) -> list[dict[str, object]]:
    """Wait until nothing waits to leave; what still waits when it took too long."""
    end = time.monotonic() + DRAIN_SECONDS
    while True:
        listed = await asyncio.to_thread(
            nodes.tool, "queue", "list", "--limit", 100_000, "--json", "--config", day.nodes[0].config
        )
        waiting = nodes.rows(listed.stdout)
        if listed.returncode == 0 and not waiting:
            return []
        if time.monotonic() > end:
            return waiting or [{"queue list": listed.stderr[-300:]}]
        _say(began, f"{len(waiting)} copies wait to leave")
        await asyncio.sleep(3)


def _books(day: Day, waiting: list[dict[str, object]], codes: Sequence[int]) -> Books:
    """What the gateway's own commands say."""
    config = ("--config", day.nodes[0].config)
    campaigns = nodes.rows(nodes.done("report", "campaigns", "--json", *config))
    [row] = [one for one in campaigns if one["campaign"] == CAMPAIGN] or [{}]
    said = {}
    for name, command in (
        ("P7 ledger verify", ("ledger", "verify")),
        ("P7 ledger rebuild --check", ("ledger", "rebuild", "--check")),
    ):
        ran = nodes.tool(*command, *config)
        said[name] = (ran.returncode, " / ".join((ran.stdout + ran.stderr).strip().splitlines()[-3:]))
    said["SIGTERM ends every node"] = (max(map(abs, codes)), f"exit codes {codes}")
    said["nothing ends by itself"] = (len(day.died), f"{len(day.died)} {day.died[:3]}")
    bugs = [line for node in day.nodes for line in _bugs(node)]
    said["no node reports an error of its own"] = (int(bool(bugs)), f"{len(bugs)} {bugs[:3]}")
    return Books(
        campaign={name: int(str(row.get(name, 0))) for name in COUNTED}, waiting=waiting, commands=said,
    )  # fmt: skip


EXPECTED = ("event=store_unavailable", "event=host_failed", "event=worker_died", "event=reload_refused")
"""Errors that tell of what was killed; without a database there are no new settings."""


def _bugs(node: Node) -> list[str]:
    """Lines of a log that tell of a fault of the program's own, or of a copy that it had to set aside."""
    lines = node.process.log.read_text(errors="replace").splitlines()
    return [
        line for line in lines
        if "Traceback" in line or "event=held" in line
        or ("level=error" in line and not any(event in line for event in EXPECTED))
    ]  # fmt: skip


def _counted(faults: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(faults.items())) or "nothing yet"


def _say(began: float, text: str) -> None:
    print(f"[{time.monotonic() - began:5.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
