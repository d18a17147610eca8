"""The gateway as a process of its own, without the second and more of processor time that its imports take each time.

A server of the standard library (multiprocessing's "forkserver", one per process that runs tests) imports the program
once; each gateway is forked from it, in a session of its own, and runs `main` with the arguments a shell would give.
How the program starts from nothing is shown where `program` or a shell runs it.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import gateway
from gateway.__main__ import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([
    "gateway.cli.gate", "gateway.app", "gateway.worker", "gateway.supervisor", "gateway.settings.readiness", "uvloop",
    "tests.starting",
])  # fmt: skip


class Started:
    """A process that runs `consentgate`, to be handled as one of `subprocess.Popen`."""

    def __init__(self, args: Sequence[str], *, log: Path, cwd: Path) -> None:
        hearing, said = _FORKS.Pipe(duplex=False)
        # what still runs when the tests are over is stopped, and nobody waits for it
        self._process = _FORKS.Process(target=_run, args=(said, list(args), log, cwd, dict(os.environ)), daemon=True)
        self._process.start()
        said.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.stdout = os.fdopen(os.dup(hearing.fileno()), "rb")
        hearing.close()

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal that ended it, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As `returncode`."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. TimeoutExpired when it has not come after `timeout` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("consentgate", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(said: Connection, args: list[str], log: Path, cwd: Path, environment: Mapping[str, str]) -> None:
    """In the new process: what a shell does before it runs a program, then the program."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number, given in enumerate((nothing, said.fileno(), errors)):
        os.dup2(given, number)
    for given in (nothing, errors):
        os.close(given)
    said.close()
    assert Path(gateway.__file__).is_relative_to(cwd), "imported from elsewhere: run the tests in their folder"
    main(args)
