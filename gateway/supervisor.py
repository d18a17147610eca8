"""Several processes on the same listening sockets: starts them, replaces one that dies, stops them all.

The sockets are opened before the fork and shared, so that the kernel gives each connection to a process that is free.
What a worker that died held comes back to its successor, which has its name (deliver.py). It never touches mail itself.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import time
from collections.abc import Callable

from gateway import log

RESTART_SECONDS = 1.0
"""Between a worker's death and its successor, so that one that cannot live does not eat the machine."""

Work = Callable[[int, Callable[[], None]], int]
"""What a worker does: its number and what to call once everything accepts; gives the exit code."""


def run(workers: int, work: Work, ready: Callable[[], None]) -> int:
    """Run `workers` processes until SIGTERM or SIGINT; SIGHUP goes to all. Exit code 0, or 1 when they could not start.

    `ready` is called once, when every worker accepts. A worker that ends before that stops the rest.
    """
    stop, told = [False], set[int]()
    reading, writing = os.pipe()
    children: dict[int, int] = {}

    def pass_on(number: int, _frame: object) -> None:
        stop[0] = stop[0] or number != signal.SIGHUP
        for pid in children:
            os.kill(pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    gc.freeze()  # the collector writes to what it walks: workers would soon share no memory
    for index in range(workers):
        children[_start(index, work, writing)] = index
    code = 0
    while children:
        if len(told) < workers and select.select([reading], [], [], 0.05)[0]:
            told |= set(os.read(reading, 64))
            if len(told) == workers:
                ready()
        pid, status = os.waitpid(-1, os.WNOHANG if len(told) < workers else 0)
        if pid == 0:
            continue
        index = children.pop(pid)
        if stop[0]:
            code = code or os.waitstatus_to_exitcode(status)
        elif len(told) < workers:
            code = 1
            pass_on(signal.SIGTERM, None)
        else:
            log.worker_died(worker=index, status=os.waitstatus_to_exitcode(status))
            time.sleep(RESTART_SECONDS)
            children[_start(index, work, writing)] = index
    return 1 if code else 0


def _end_with_parent() -> None:
    """Ask the kernel to stop us when the supervisor is gone, however it went (prctl(2), Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _start(index: int, work: Work, writing: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _end_with_parent()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

        def accepting() -> None:
            os.write(writing, bytes([index]))

        code = work(index, accepting)
    finally:
        os._exit(code)
