"""A large import in two processes: what comes out is the same, and either of the two may die."""

import asyncio
import contextlib
import marshal
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import beside
from gateway import take_in as story
from gateway.app import opened_store
from gateway.clerk import Summary
from gateway.files.native import Kind
from gateway.files.table import Refusal
from gateway.reading import rejected_path
from gateway.settings.load import load
from tests.installation import ANNA, KLEED, NIEMAND, ROOT, WIM, Installation, consent, lines_of, sale
from tests.story.relay import fresh
from tests.story.test_import import counts, person, run, taken, write

GONE = "weg@example.org"
ROWS: Mapping[Kind, Sequence[Mapping[str, str]]] = {
    "consents": [
        consent(ANNA), consent("no address"), consent(NIEMAND, purposes="events"), consent(NIEMAND),
        consent(NIEMAND), consent(GONE), consent("e\u0301va@example.org", purposes="unheard-of"),
        consent("late@example.org", withdrawn_at="2026-10-01T09:00:00Z"),
        *(consent(f"p{n}{'@example.org' * (n % 97 > 0)}", purposes=f"newsletter|odd{n // 500}") for n in range(2020)),
    ],
    "sales": [
        {**sale(WIM, "wine"), "id": "s1"}, {**sale(KLEED, "wine"), "id": "s2"}, {**sale(NIEMAND, "wine"), "id": "s3"},
        {**sale(NIEMAND, "wine"), "id": "s3", "kind": "contest"}, {**sale(NIEMAND, "wine"), "id": "s3"},
        {**sale(GONE, "wine"), "opt_out_used_at_collection": "true"},
    ],
    "people": [
        {"email": ANNA, "country": "BE", "name": 'An "\u00e9" \\'}, {"email": NIEMAND, "undeliverable": "true"},
        {"email": "new@example.org", "language": "nl", "external_id": "7"}, {"email": ANNA, "country": "FR"},
    ],
    "suppressions": [
        {"email": ANNA, "scope": "purpose", "purpose": "newsletter", "reason": "unsubscribe"},
        {"email": NIEMAND, "scope": "global", "reason": "complaint"}, {"email": GONE, "reason": "objection"},
        {"email": "x@example.org", "lifted_at": "2026-01-01T00:00:00Z"},
    ],
}  # fmt: skip


def whole(summary: Summary) -> tuple[Any, ...]:
    return (
        counts(summary), summary.new_people, summary.stopped, summary.unreadable, dict(summary.unknown),
        summary.first_rejected, summary.rejected_file is not None,
    )  # fmt: skip


def differing(place: Installation) -> int:
    """Standings that the ledger does not say."""
    return place.tool("ledger", "rebuild", "--check").returncode


@pytest.mark.parametrize("kind", list(ROWS))
def test_in_two_processes_the_same_comes_out_as_in_one(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    base = fresh(made, tmp_path / "base")
    base.load_people()
    taken(base, "suppressions", [{"email": GONE, "reason": "erasure"}])
    results = []
    for size, name in ((10**9, "one"), (0, "two")):
        monkeypatch.setattr(story, "BESIDE_BYTES", size)
        place = replace(base, dir=Path(shutil.copytree(base.dir, tmp_path / name)))
        file = write(place, "some.csv", ROWS[kind])
        first, again = run(place, kind, file), run(place, kind, file)
        bad = rejected_path(file).read_text("utf-8") if first.rejected_file else ""
        people = {row["email"] for row in ROWS[kind] if not row["email"].startswith("p")}
        stands = {
            who: (found.seen, found.standing, sorted((s.scope, s.purpose or "", s.reason) for s in found.suppressions))
            for who in sorted(people - {"no address"})
            for found in [person(place, who)]
        }
        results.append((whole(first), whole(again), bad, stands))
        assert place.tool("ledger", "verify").returncode == 0
        assert differing(place) == 0
    assert results[0] == results[1]
    assert results[0][0][0][0] > 0


def test_a_file_that_cannot_be_read_is_refused_as_ever(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "BESIDE_BYTES", 0)
    file = installation.dir / "c.csv"
    file.write_bytes(b"email,purposes\nanna@example.org,newsletter\n\xff@example.org,newsletter\n")
    with pytest.raises(Refusal, match=r"^line 3: is not UTF-8 text: byte 0xFF .*iconv") as refused:
        run(installation, "consents", file)
    assert refused.value.line == 3


def children() -> list[int]:
    """Processes that this one started and that are not over."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            found += map(int, (task / "children").read_text("ascii").split())
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the children of a process")
def test_the_one_that_reads_is_killed_what_was_committed_stays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for room in the pipe, with all but two commits' worth still to be handed over."""
    monkeypatch.setattr(story, "BESIDE_BYTES", 0)
    monkeypatch.setattr(beside, "AHEAD_BYTES", 1000)
    before = set(children())
    file = write(installation, "c.csv", [consent(f"p{n}@example.org") for n in range(6500)])
    size = file.stat().st_size

    def kill(done: int, _: int) -> None:
        if done > size:
            for pid in set(children()) - before:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(Refusal, match=r"ended before its time \(killed by signal 9\).*Import it again"):
        run(installation, "consents", file, progress=kill)
    assert set(children()) <= before
    assert counts(run(installation, "consents", file)) == (2500, 4000, 0, 0)
    assert installation.tool("ledger", "verify").returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the children of a process")
def test_the_second_one_that_reads_is_killed_and_nothing_was_committed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story, "BESIDE_BYTES", 0)
    monkeypatch.setattr(beside, "AHEAD_BYTES", 1000)
    before = set(children())
    file = write(installation, "c.csv", [consent(f"p{n}@example.org") for n in range(30_000)])

    def kill(*_: int) -> None:
        for pid in set(children()) - before:
            for second in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
                os.kill(int(second), signal.SIGKILL)

    with pytest.raises(Refusal, match=r"a process that reads it ended before its time\. Import it again"):
        run(installation, "consents", file, progress=kill)
    assert set(children()) <= before
    assert counts(run(installation, "consents", file)) == (30_000, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for the children of a process")
def test_an_interruption_ends_both(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "BESIDE_BYTES", 0)
    before = set(children())
    file = write(installation, "c.csv", [consent(f"p{n}@example.org") for n in range(2500)])

    async def work() -> None:
        config = load(installation.config)
        async with opened_store(config) as store:
            from gateway.keys import key_ring
            from tests.story.test_import import NOW

            def cancel(*_: int) -> None:
                task.cancel()

            task = asyncio.ensure_future(story.take_in(
                file, "consents", store=store, controller=config.controllers["acme"], ring=key_ring(config), now=NOW,
                progress=cancel,
            ))  # fmt: skip
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(work())
    assert set(children()) <= before


def test_what_was_said_is_whole_when_the_process_was_stopped_meanwhile() -> None:
    """It is stopped while it waits for room in the pipe, and goes on (Ctrl-Z, fg)."""
    said = (beside.READ, bytes(range(256)) * 4000)
    program = f"from gateway import beside; beside._send(1, beside.READ, {said[1][:256]!r} * 4000)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begin = process.stdout.read(4)
        for _ in range(3):
            process.send_signal(signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            process.send_signal(signal.SIGCONT)
            begin += process.stdout.read(100_000)
        message = begin + process.stdout.read()
    assert int.from_bytes(message[:4], "big") == len(message) - 4
    assert marshal.loads(message[4:]) == said


def test_the_command_is_killed_and_all_are_gone(installation: Installation) -> None:
    """All write to one pipe of messages: its end is the end of all. Nothing secret is in the others' arguments."""
    origin = "https://acme.example/" + "a" * 500
    rows = [{**consent(f"p{n}@example.org"), "evidence.origin": origin} for n in range(7000)]
    file = write(installation, "c.csv", rows)
    assert file.stat().st_size > story.BESIDE_BYTES
    command = [sys.executable, "-m", "gateway", "import", "consents", str(file), "--controller", "acme"]
    process = subprocess.Popen(
        [*command, "--config", str(installation.config)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert any(b"%" in line for line in iter(said.readline, b""))
        process.kill()
        said.read()
    assert process.wait() == -signal.SIGKILL
    [again] = lines_of(installation.tool(*command[3:], "--json"))
    assert (again["kept"] + again["unchanged"], again["rejected"]) == (7000, 0)
    with contextlib.closing(sqlite3.connect(installation.dir / "consentgate.db")) as db:
        assert db.execute("SELECT count(*) FROM people").fetchone() == (7000,)
        assert db.execute("SELECT count(*) FROM ledger WHERE hash IS NULL").fetchone() == (0,)
