"""Run the gateway: one process, or several under a supervisor, until it is told to stop.

One process heeds SIGHUP and SIGTERM itself. With several, the supervisor loads new settings first: it opens what they
listen on, and hands that to the workers, so that all of them take the same, and a worker that starts later begins with
it. As process 1 (of a container) there is always a supervisor, which also reaps what is left to it.

Failures: exit code 1 when it could not start; a message on standard error says why.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version

import uvloop

from gateway import log, supervisor, systemd
from gateway.board import Board, Slot
from gateway.config import Config
from gateway.keys import key_ring, signers
from gateway.settings.load import ConfigError, load
from gateway.settings.readiness import serve_problems
from gateway.settings.restart import restart_needed
from gateway.sockets import Sockets
from gateway.store.contract import Store, StoreUnavailable
from gateway.store.nodes import NameTaken, Nodes
from gateway.words import Words
from gateway.worker import Renewed, Told, Worker

OWN_FILES = 256
"""Files a process needs for itself: databases, log, threads' pipes, mail that is put down on disk while it comes in."""
DOORS = 3
BEAT_SECONDS = 1.0

Clock = Callable[[], datetime]
Joined = Callable[[Config, str], AbstractAsyncContextManager[tuple[Nodes, Store]]]
"""Opens a worker's place among all, and the store. Raises StoreUnavailable, NameTaken."""


def open_files_limit() -> int:
    """Raise how many files this process may have open as far as the system allows, and say how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def connections_within(config: Config, files: int) -> int:
    """How many connections each door may have, so that the other doors and mail on its way out get files as well."""
    outward = sum(route.connections for route in config.routes.values())
    return max(1, min(config.limits.connections, (files - OWN_FILES - outward) // DOORS))


def serve(config: Config, *, workers: int, clock: Clock, joined: Joined) -> int:
    """Run until SIGTERM or SIGINT. Exit code 0 when stopped, 1 when it could not start."""
    try:
        serving = _Serving(config, clock, joined, workers)
    except OSError as refused:
        print(f"consentgate: {refused}", file=sys.stderr)
        return 1
    streams = sum(len(controller.streams) for controller in config.controllers.values())
    log.started(version=version("consentgate"), controllers=len(config.controllers), streams=streams)
    return serving.alone() if workers == 1 and os.getpid() != 1 else serving.together()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Renewal:
    """New settings with their sockets, beside those that hold."""

    serving: "_Serving"
    config: Config
    sockets: Sockets

    def take(self) -> None:
        if self.serving.config is not self.config:
            before = self.serving.sockets
            self.serving.config, self.serving.sockets, self.serving.words = self.config, self.sockets, None
            before.close(but=self.sockets)

    def drop(self) -> None:
        if self.serving.config is not self.config:
            self.sockets.close(but=self.serving.sockets)


class _Serving:
    """Settings and sockets that hold now, and how they are renewed."""

    def __init__(self, config: Config, clock: Clock, joined: Joined, workers: int) -> None:
        self._clock, self._joined, self._workers = clock, joined, workers
        self._files = open_files_limit()
        self._started_with, self._keys = config, key_ring(config).key_ids
        self.config = self._fitted(config)
        self.words: Words | None = None  # those of the settings, where workers share them
        inherited = systemd.inherited()
        self.sockets = Sockets.bound(config.listen, inherited=inherited)
        used = {id(opened) for _, _, opened in self.sockets}
        for one in inherited:
            if id(one) not in used:
                one.close()  # what no setting names is not listened on

    def _fitted(self, config: Config) -> Config:
        """The same with no more connections than there are files for."""
        connections = connections_within(config, self._files)
        if connections >= config.limits.connections:
            return config
        log.files_short(files=self._files, connections=connections)
        return replace(config, limits=replace(config.limits, connections=connections))

    def load(self) -> Config:
        """The settings as the file has them now. Raises ConfigError, OSError."""
        config = load(self.config.path)
        if problems := serve_problems(config, self._clock()):
            raise ConfigError(problems)
        return self._fitted(config)

    def _name_what_waits(self, config: Config) -> None:
        """Say which changes need a restart."""
        names = list(restart_needed(self._started_with, config))
        if "keys.installation" not in names and key_ring(config).key_ids != self._keys:
            names.append("keys.installation")
        if names:
            log.restart_needed(settings=" ".join(names))
            print(f"consentgate: {', '.join(names)} changed: restart to use that", file=sys.stderr)

    def _say_ready(self) -> None:
        web, mail = self.config.listen.web, self.config.listen.submission or self.config.listen.submissions
        print(f"ready smtp {mail[0][0]}:{mail[0][1]} web {self.config.public_url} ({web[0]}:{web[1]})", flush=True)
        systemd.ready()

    # one process

    def alone(self) -> int:
        return uvloop.run(self._run_alone())

    async def _run_alone(self) -> int:
        watchdog, slot = systemd.Watchdog(), Board(1).slot(0)
        loop, is_ready = asyncio.get_running_loop(), asyncio.Event()

        def ready() -> None:
            _keep_for_good()
            self._say_ready()
            is_ready.set()

        def beat() -> None:
            if is_ready.is_set():
                watchdog.pat()

        def renewed(sockets: Sockets) -> tuple[Config, Sockets]:
            config = self.load()
            return config, Sockets.bound(config.listen, before=sockets)

        def told(new: Config | None) -> None:
            if new is not None:
                self.config = new
                self._name_what_waits(new)
            systemd.ready()

        async def work(worker: Worker) -> None:
            def reload() -> None:
                systemd.reloading()
                worker.again.set()

            def stop() -> None:
                systemd.stopping()
                worker.stop.set()

            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
            loop.add_signal_handler(signal.SIGHUP, reload)
            async with _beating(beat, min(BEAT_SECONDS, watchdog.every or BEAT_SECONDS)):
                await worker.run(ready)

        return await self._at_work(work, 0, slot, renewed, told)

    # several

    def together(self) -> int:
        board = Board(self._workers)
        self.words = Words.load(self.config.own_templates)
        signers(self.config)  # remembered, for all of them

        def work(index: int, channel: socket.socket) -> int:
            return uvloop.run(self._run_under(index, channel, board))

        def renew() -> _Renewal | None:
            try:
                config = self.load()
                sockets = Sockets.bound(config.listen, before=self.sockets)
            except (ConfigError, OSError) as wrong:
                problems = wrong.problems if isinstance(wrong, ConfigError) else ()
                log.reload_refused(problems=len(problems) or 1)
                print(wrong, file=sys.stderr)
                return None
            log.configure(config.log.format, config.log.level)
            self._name_what_waits(config)
            return _Renewal(serving=self, config=config, sockets=sockets)

        return supervisor.Supervisor(
            self._workers, work, board=board, ready=self._say_ready, renew=renew, close=lambda: self.sockets.close()
        ).run()

    async def _run_under(self, index: int, channel: socket.socket, board: Board) -> int:
        loop, slot, given = asyncio.get_running_loop(), board.slot(index), [self.sockets]
        channel.setblocking(False)

        def renewed(_: Sockets) -> tuple[Config, Sockets]:
            return self.load(), given[0]

        def ready() -> None:
            _keep_for_good()
            supervisor.say(channel, "ready")

        def told(new: Config | None) -> None:
            supervisor.say(channel, "refused" if new is None else "reloaded")

        async def work(worker: Worker) -> None:
            def hear() -> None:
                sockets = supervisor.hear(channel, given[0])
                if sockets is None:
                    loop.remove_reader(channel)
                    worker.stop.set()
                else:
                    given[0] = sockets
                    worker.again.set()

            loop.add_reader(channel, hear)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop.set)
            async with _beating(lambda: slot.show(loop.time()), BEAT_SECONDS):
                await worker.run(ready)

        return await self._at_work(work, index, slot, renewed, told)

    async def _at_work(
        self, work: Callable[[Worker], Awaitable[None]], index: int, slot: Slot, renewed: Renewed, told: Told
    ) -> int:
        """Work as one of the workers; the exit code."""
        # The name stays over a restart: what the one before it had claimed is its own (deliver.py).
        name = f"{self.config.node or socket.gethostname()}-{index}"
        try:
            async with self._joined(self.config, name) as (nodes, store):
                await work(
                    Worker(
                        self.config, store, nodes, self.sockets, name, clock=self._clock, slot=slot, renewed=renewed,
                        told=told, words=self.words,
                    )
                )  # fmt: skip
        except StoreUnavailable as down:
            print(f"consentgate: {down}", file=sys.stderr)
            return 1
        except NameTaken as taken:
            print(f"consentgate: {taken}: set `node` to another name on one of them.", file=sys.stderr)
            return 1
        return 0


def _keep_for_good() -> None:
    """What is loaded stays: the collector would stop all mail for a tenth of a second now and then to walk it.

    Said once. To take it back at a reload is to write to all of it, and workers share no memory from then on. Mail
    leaves few cycles behind: to look for them after every other message, as is usual, costs 2 % of the CPU. Connections
    leave some, so that what is older is looked at as often as usual.
    """
    gc.freeze()
    gc.enable()  # command `serve` turned it off while modules were loaded
    gc.set_threshold(10_000, 2, 2)


@asynccontextmanager
async def _beating(beat: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    """Call `beat` every so often while the block runs."""

    async def keep() -> None:
        while True:
            beat()
            await asyncio.sleep(seconds)

    task = asyncio.create_task(keep())
    try:
        yield
    finally:
        task.cancel()
