"""The supervisor by itself: workers that die, hang, do not stop, and processes that are nobody's (real processes)."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import log, supervisor
from gateway.board import Board
from gateway.sockets import Sockets
from gateway.supervisor import Patience, Supervisor

QUICK = Patience(again=0.02, longest=0.2, well=60, hung=60, stop=1.0, reload_again=0.1)
SUBREAPER = 36  # prctl(2): orphans come to us, as they do to process 1


class Renewal:
    """New settings as the supervisor sees them; what became of them goes into the log of the test."""

    sockets = Sockets()

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def take(self) -> None:
        self._note("taken")

    def drop(self) -> None:
        self._note("dropped")


class Crew:
    """A supervisor in a process of its own. What happens is in `notes`, a line each."""

    def __init__(
        self, folder: Path, work: Callable[["Crew", int, socket.socket], int], *, workers: int = 2,
        patience: Patience = QUICK,
    ) -> None:  # fmt: skip
        self._notes, self.log_file = folder / "notes", folder / "log"
        self._notes.touch()
        self.log_file.touch()
        self.board = Board(workers)
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                ctypes.CDLL(None).prctl(SUBREAPER, 1)
                log.configure(stream=self.log_file.open("w", buffering=1))
                code = Supervisor(
                    workers, lambda index, channel: work(self, index, channel), board=self.board,
                    ready=lambda: self.note("ready"), renew=lambda: Renewal(self.note), close=lambda: None,
                    patience=patience,
                ).run()  # fmt: skip
            finally:
                os._exit(code)

    def note(self, what: str) -> None:
        with self._notes.open("a") as notes:
            notes.write(what + "\n")

    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not what():
            assert time.monotonic() < end, (self.notes(), self.log_file.read_text())
            threading.Event().wait(0.01)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def ended(self) -> int:
        """Its exit code."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def beat(self, index: int) -> None:
        self.board.put_beat(index, time.monotonic())


def serve(crew: Crew, index: int, channel: socket.socket, *, answer: supervisor.State = "reloaded") -> int:
    """What a good worker does: says that it is ready, beats, answers reloads, ends when it is told to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    slot = crew.board.slot(index)
    supervisor.say(channel, "ready")
    crew.note(f"serves {index}")
    channel.settimeout(0.02)
    with contextlib.suppress(SystemExit):
        while True:
            slot.put_open("submission", 0)
            crew.beat(index)
            try:
                if supervisor.hear(channel, Sockets()) is None:
                    return 0
            except TimeoutError:
                continue
            crew.note(f"asked {index}")
            supervisor.say(channel, answer)
    return 0


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Callable[..., Crew]]:
    made: list[Crew] = []

    def make(work: Callable[[Crew, int, socket.socket], int], **more: Any) -> Crew:
        made.append(Crew(tmp_path, work, **more))
        return made[-1]

    yield make
    for one in made:
        if one.pid:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)


def pauses(crew: Crew) -> list[float]:
    lines = [line for line in crew.log_file.read_text().splitlines() if "event=worker_died" in line]
    return [float(line.partition("again_in=")[2].split()[0]) for line in lines]


def test_a_worker_that_keeps_dying_is_tried_ever_later_and_the_others_go_on(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        crew.note(f"begins {index}")
        if index == 1:
            return serve(crew, index, channel)
        supervisor.say(channel, "ready")
        crew.until(lambda: "ready" in crew.notes())
        return 3

    running = crew(work)
    running.until(lambda: len(pauses(running)) >= 6)
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert pauses(running)[:6] == [0.02, 0.04, 0.08, 0.16, 0.2, 0.2]
    assert running.notes().count("begins 1") == 1


def test_what_ends_before_all_are_ready_ends_the_start(crew: Callable[..., Crew]) -> None:
    running = crew(lambda crew, index, channel: 1 if index == 0 else serve(crew, index, channel))
    assert running.ended() == 1
    assert "ready" not in running.notes()


def test_a_stop_while_a_worker_waits_to_be_replaced_starts_none(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        crew.note(f"begins {index}")
        if index == 1:
            return serve(crew, index, channel)
        supervisor.say(channel, "ready")
        crew.until(lambda: "ready" in crew.notes())
        if crew.notes().count("begins 0") == 5:
            os.kill(os.getppid(), signal.SIGTERM)
        return 3

    running = crew(work)
    assert running.ended() in (0, 1)  # 1 where the worker's own end was noticed after the signal
    assert running.notes().count("begins 0") == 5


def test_a_worker_that_hangs_is_killed_and_replaced(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        crew.note(f"begins {index}")
        if index == 0 and crew.notes().count("begins 0") == 1:
            supervisor.say(channel, "ready")
            crew.beat(index)
            signal.pause()
        return serve(crew, index, channel)

    running = crew(work, patience=replace(QUICK, hung=2.0))
    running.until(lambda: "serves 0" in running.notes())
    assert running.notes().count("begins 0") == 2
    assert "event=worker_hung" in running.log_file.read_text()
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert running.notes().count("begins 1") == 1


def test_a_worker_that_does_not_stop_is_cut_in_the_end(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.say(channel, "ready")
        crew.until(lambda: False)
        return 0

    running = crew(work, workers=1)
    running.until(lambda: "ready" in running.notes())
    running.signal(signal.SIGTERM)
    assert running.ended() == 1


def test_the_ends_of_processes_that_are_nobodys_are_taken_note_of(crew: Callable[..., Crew]) -> None:
    """As process 1 of a container: an orphan ends, leaves no zombie, and does not end the gateway."""

    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        if os.fork() == 0:
            if os.fork() == 0:
                crew.note(f"orphan {os.getpid()}")
            os._exit(0)
        os.wait()
        return serve(crew, index, channel)

    running = crew(work, workers=1)
    running.until(lambda: any(note.startswith("orphan") for note in running.notes()) and "ready" in running.notes())
    [orphan] = [note.split()[1] for note in running.notes() if note.startswith("orphan")]
    running.until(lambda: not Path(f"/proc/{orphan}").exists())
    running.signal(signal.SIGTERM)
    assert running.ended() == 0


def test_workers_end_when_their_supervisor_is_killed(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        crew.note(f"begins {os.getpid()}")
        return serve(crew, index, channel)

    running = crew(work, workers=3)
    running.until(lambda: "ready" in running.notes())
    workers = [note.split()[1] for note in running.notes() if note.startswith("begins")]
    running.signal(signal.SIGKILL)
    running.ended()
    running.until(lambda: not any(_runs(pid) for pid in workers))


def _runs(pid: str) -> bool:
    """Whether a process runs: one that ended may wait for somebody to take note of it."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_reload_reaches_all_and_is_taken_once_they_have_it(crew: Callable[..., Crew]) -> None:
    running = crew(serve, workers=3)
    running.until(lambda: "ready" in running.notes())
    running.signal(signal.SIGHUP)
    running.until(lambda: "taken" in running.notes())
    assert sorted(note for note in running.notes() if note.startswith("asked")) == ["asked 0", "asked 1", "asked 2"]
    running.signal(signal.SIGTERM)
    assert running.ended() == 0


def test_a_reload_that_all_refuse_is_dropped(crew: Callable[..., Crew]) -> None:
    running = crew(lambda crew, index, channel: serve(crew, index, channel, answer="refused"))
    running.until(lambda: "ready" in running.notes())
    running.signal(signal.SIGHUP)
    running.until(lambda: "dropped" in running.notes())
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert "taken" not in running.notes()


def test_who_could_not_take_new_settings_is_asked_again(crew: Callable[..., Crew]) -> None:
    def work(crew: Crew, index: int, channel: socket.socket) -> int:
        return serve(crew, index, channel, answer="reloaded" if index else "refused")

    running = crew(work)
    running.until(lambda: "ready" in running.notes())
    running.signal(signal.SIGHUP)
    running.until(lambda: running.notes().count("asked 0") >= 3)
    assert running.notes().count("asked 1") == 1
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
