"""Several processes on the same listening sockets: starts them, replaces one that dies or hangs, stops them all.

The sockets are opened before the workers are, and shared, so that nobody is refused while one is replaced. What
a worker that died held comes back to its successor, which has its name (deliver.py). Between a supervisor and each
worker is a channel: the worker says what state it is in, gets new sockets at a reload, and ends when the channel does,
however the supervisor went.

It never touches mail itself. As process 1 of a container it also takes note of the ends of processes that are nobody's.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from gateway import log, systemd
from gateway.board import Board
from gateway.sockets import Sockets

State = Literal["ready", "reloaded", "refused"]
"""What a worker says: it accepts; it has the new settings; it keeps the old ones."""
_STATES: Final[dict[bytes, State]] = {b"+": "ready", b"=": "reloaded", b"-": "refused"}
_SAID: Final = {state: octet for octet, state in _STATES.items()}
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_NAMES_OCTETS: Final = 65_536
_SOCKETS_AT_MOST: Final = 200  # the kernel passes 253 descriptors at one time


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """In seconds. `again`, `longest`: until a worker that died is replaced, doubled each time it dies within `well`.
    `hung`: how long a worker may show no sign of life. `stop`: how long the end may take. `reload_again`: until a
    worker that could not take the new settings is asked once more."""

    again: float = 1.0
    longest: float = 60.0
    well: float = 60.0
    hung: float = 60.0
    stop: float = 25.0
    reload_again: float = 5.0


class Work(Protocol):
    """What a worker does: its number, and its channel to the supervisor. Gives the exit code."""

    def __call__(self, index: int, channel: socket.socket) -> int: ...


class Renewal(Protocol):
    """New settings that are fit to be served."""

    @property
    def sockets(self) -> Sockets: ...

    def take(self) -> None:
        """A worker took them: those that start from now on begin with them. May be said again."""

    def drop(self) -> None:
        """Nobody took them."""


def say(channel: socket.socket, state: State) -> None:
    """In a worker: tell the supervisor; one that is gone does not matter."""
    with contextlib.suppress(OSError):
        channel.send(_SAID[state])


def hear(channel: socket.socket, before: Sockets) -> Sockets | None:
    """In a worker, when the channel can be read: the sockets of new settings, None when the supervisor is gone."""
    with contextlib.suppress(ConnectionError):
        names, descriptors, _, _ = socket.recv_fds(channel, _NAMES_OCTETS, _SOCKETS_AT_MOST)
        if names:
            return Sockets.unpacked(names, descriptors, before)
    return None


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One place among the workers, and who has it."""

    index: int
    pid: int | None = None
    channel: socket.socket | None = None
    began: float = 0.0
    failures: int = 0
    start_at: float | None = None
    accepting: bool = False


@dataclass(slots=True)
class _Signals:
    """Signals as octets that can be waited for, so that none is lost and none comes in between."""

    reading: socket.socket = field(init=False)
    writing: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.reading, self.writing = socket.socketpair()
        self.reading.setblocking(False)
        self.writing.setblocking(False)
        signal.set_wakeup_fd(self.writing.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)

    def come(self) -> list[int]:
        with contextlib.suppress(BlockingIOError):
            return list(self.reading.recv(256))
        return []

    def forget(self) -> None:
        """In a worker: nothing of this is ours."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
        self.reading.close()
        self.writing.close()


class Supervisor:
    """Runs `workers` processes. `ready` is called once, when every worker accepts; a worker that ends before that stops
    the rest. `renew` gives new settings, None where they are not fit; `close` lets go of the listening sockets."""

    def __init__(
        self, workers: int, work: Work, *, board: Board, ready: Callable[[], None],
        renew: Callable[[], Renewal | None], close: Callable[[], None], patience: Patience | None = None,
    ) -> None:  # fmt: skip
        self._work, self._board, self._ready, self._renew, self._close = work, board, ready, renew, close
        self._patience, self._slot = patience or Patience(), board.supervisors()
        self._workers = [_Worker(index=index) for index in range(workers)]
        self._watchdog = systemd.Watchdog()
        self._said_ready = self._failed = False
        self._stop_at: float | None = None
        self._renewal: Renewal | None = None
        self._asked: dict[int, State | None] = {}
        """Workers that were given new settings, and what they said."""
        self._ask_again: float | None = None

    def run(self) -> int:
        """Until SIGTERM or SIGINT; SIGHUP is a reload. Exit code 0, or 1 when they could not start or had to be cut."""
        self._signals = _Signals()
        gc.freeze()  # the collector writes to what it walks: workers would soon share no memory
        gc.enable()
        for worker in self._workers:
            self._start(worker)
        while self._stop_at is None or self._living():
            self._wait()
            self._reap()
            self._tend()
        return 1 if self._failed else 0

    def _living(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid is not None]

    # start

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # the child must not act on them as we do
        pid = os.fork()
        if pid == 0:
            self._be_worker(worker.index, ours, theirs, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.channel, worker.began = pid, ours, time.monotonic()
        worker.start_at, worker.accepting = None, False

    def _be_worker(self, index: int, ours: socket.socket, theirs: socket.socket, mask: set[int]) -> None:
        code = 1
        try:
            self._signals.forget()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for other in [ours, *(worker.channel for worker in self._workers if worker.channel is not None)]:
                other.close()  # or a channel would stay open when we are gone
            code = self._work(index, theirs)
        except BaseException as error:  # nobody above would tell of it
            log.bug(where="worker", error=error)
        finally:
            os._exit(code)

    # what happens

    def _wait(self) -> None:
        """Until something happens, or something is due."""
        now, patience = time.monotonic(), self._patience
        due = [worker.start_at for worker in self._workers if worker.start_at is not None]
        due += [at for at in (self._stop_at, self._ask_again) if at is not None]
        seconds = min([patience.hung / 4, self._watchdog.every or patience.hung, *(at - now for at in due)])
        channels = {worker.channel: worker for worker in self._living() if worker.channel is not None}
        readable, _, _ = select.select([self._signals.reading, *channels], [], [], max(0.0, seconds))
        for one in readable:
            if one is self._signals.reading:
                self._heed(self._signals.come())
            else:
                self._hear(channels[one])

    def _heed(self, numbers: list[int]) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stop()
        elif signal.SIGHUP in numbers and self._stop_at is None:
            self._reload()

    def _hear(self, worker: _Worker) -> None:
        assert worker.channel is not None
        said = b""
        with contextlib.suppress(OSError):
            said = worker.channel.recv(1)
        if not said:
            worker.channel.close()  # it ends: that is noticed by its exit
            worker.channel = None
            return
        state = _STATES[said]
        if state == "ready":
            worker.accepting = True
            if not self._said_ready and all(one.accepting for one in self._workers):
                self._said_ready = True
                self._ready()
        elif worker.index in self._asked:
            self._asked[worker.index] = state
            self._settle()

    def _reap(self) -> None:
        """The ends of workers, and, as process 1, of whoever was left to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for worker in self._workers:
                if worker.pid == pid:
                    self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, status: int) -> None:
        now, patience = time.monotonic(), self._patience
        if worker.channel is not None:
            worker.channel.close()
        worker.pid = worker.channel = None
        self._board.leave(worker.index)
        self._asked.pop(worker.index, None)  # its successor begins with the settings that hold then
        self._settle()
        if self._stop_at is not None:
            self._failed = self._failed or status not in (0, -signal.SIGTERM)  # the latter: it had only just begun
        elif not self._said_ready:
            self._failed = True
            self._stop()
        else:
            worker.failures = 1 if now - worker.began >= patience.well else worker.failures + 1
            seconds = min(patience.again * 2 ** min(worker.failures - 1, 10), patience.longest)
            worker.start_at = now + seconds
            log.worker_died(worker=worker.index, status=status, again_in=round(seconds, 2))
            self._slot.show(now)

    def _tend(self) -> None:
        """What is due: starts, workers that hang, an end that takes too long, workers to be asked again."""
        now = time.monotonic()
        if self._stop_at is None:
            for worker in self._workers:
                if worker.start_at is not None and now >= worker.start_at:
                    self._start(worker)
        elif now >= self._stop_at:
            self._failed = True
            self._kill(self._living())
        self._kill(list(self._hung(now)))
        if self._ask_again is not None and now >= self._ask_again:
            self._ask_again = None
            self._ask([worker for worker in self._living() if self._asked.get(worker.index) == "refused"])
        if self._said_ready:
            self._watchdog.pat()

    def _hung(self, now: float) -> Iterator[_Worker]:
        for worker in self._living():
            beat = self._board.beat(worker.index)
            if worker.accepting and beat and now - beat > self._patience.hung:
                log.worker_hung(worker=worker.index, seconds=round(now - beat))
                yield worker

    def _kill(self, workers: list[_Worker]) -> None:
        for worker in workers:
            if worker.pid is not None:  # not reaped yet, so the number is still its own
                os.kill(worker.pid, signal.SIGKILL)
                worker.accepting = False

    # stop and reload

    def _stop(self) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._patience.stop
            systemd.stopping()
            self._close()  # else people would be let into a queue that nobody serves
        for worker in self._living():
            if worker.pid is not None:
                os.kill(worker.pid, signal.SIGTERM)

    def _reload(self) -> None:
        systemd.reloading()
        if self._renewal is not None:
            self._renewal.drop()
        self._renewal, self._asked, self._ask_again = self._renew(), {}, None
        if self._renewal is None:
            systemd.ready()
            return
        self._ask(self._living())
        self._settle()

    def _ask(self, workers: list[_Worker]) -> None:
        """Give workers the sockets of the new settings, which they load themselves."""
        if self._renewal is None:
            return
        names, descriptors = self._renewal.sockets.packed()
        for worker in workers:
            if worker.channel is not None:
                with contextlib.suppress(OSError):  # one that ends is replaced anyway
                    socket.send_fds(worker.channel, [names], descriptors)
                    self._asked[worker.index] = None

    def _settle(self) -> None:
        """Once every worker has answered: the new settings hold where one took them; who could not is asked again."""
        if self._renewal is None or None in self._asked.values():
            return
        refused = [index for index, state in self._asked.items() if state == "refused"]
        if refused and len(refused) == len(self._asked):
            self._renewal.drop()
            self._renewal = None
        else:
            self._renewal.take()
            if refused:
                self._ask_again = time.monotonic() + self._patience.reload_again
                return
            self._renewal = None
        systemd.ready()
