"""A worker in the process of the test, on a clock that the test sets, for tests in which days have to pass."""

import asyncio
import contextlib
import functools
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

from gateway.app import joined, opened_store
from gateway.config import Config
from gateway.sockets import Sockets
from gateway.worker import Worker
from tests.installation import Gateway, Installation
from tests.story.relay import config_of


class Days:
    """Time that passes when the test says so: `now` is put forward, and the seconds that nobody sets go with it."""

    def __init__(self, ahead: timedelta) -> None:
        self.now = self._began = datetime.now(UTC) + ahead

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        """Seconds that passed."""
        return (self.now - self._began).total_seconds()

    def step(self, by: timedelta) -> None:
        """Somebody sets the clock: no time passes."""
        self.now += by
        self._began += by


class Working:
    """A worker in this process, and what the queue says of its copies."""

    def __init__(self, installation: Installation, worker: Worker, clock: Days) -> None:
        self.gateway, self.worker, self.clock = Gateway(installation), worker, clock
        self._database = installation.dir / "consentgate.db"

    async def send(self, recipients: list[str] | str, message: bytes, **more: str) -> None:
        """Hand a message in; it has to be taken."""
        to = [recipients] if isinstance(recipients, str) else recipients
        refused, (code, text) = await asyncio.to_thread(functools.partial(self.gateway.send, to, message, **more))
        assert (refused, code) == ({}, 250), text

    def copies(self) -> list[tuple[str, int, datetime | None, str]]:
        """State, attempts, due, reply of every copy, in the order they came."""
        with contextlib.closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as db:
            found = db.execute("SELECT state, attempts, due_at, reply FROM copies ORDER BY message_id, copy_no")
            return [
                (state, attempts, None if due is None else datetime.fromtimestamp(due / 1000, UTC), reply)
                for state, attempts, due, reply in found
            ]

    async def until(self, what: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end
            await asyncio.sleep(0.01)

    async def pass_time(self, how_much: timedelta) -> None:
        """Let time pass, and the worker notice."""
        self.clock.now += how_much
        await self.look()

    async def step(self, by: timedelta) -> None:
        """Somebody sets the clock, and the worker notices."""
        self.clock.step(by)
        await self.look()

    async def look(self) -> None:
        """Have the worker look at its clock and at what is due."""
        await self.worker._deliver._renew()  # both it does by itself every few seconds
        await self.worker._deliver.look_at_others()
        self.worker._deliver.wake("main")


@contextlib.asynccontextmanager
async def at_work(installation: Installation, ahead: timedelta = timedelta(0)) -> AsyncIterator[Working]:
    """The gateway at work in this process, started `ahead` of the real time."""
    config, clock = config_of(installation), Days(ahead)

    def renewed(sockets: Sockets) -> tuple[Config, Sockets]:
        return config_of(installation), sockets

    async with joined(config, "test-0") as nodes, opened_store(config) as store:
        worker = Worker(
            config, store, nodes, Sockets.bound(config.listen), "test-0", clock=clock, seconds=clock.seconds,
            renewed=renewed,
        )  # fmt: skip
        ready = asyncio.Event()
        running = asyncio.create_task(worker.run(ready.set))
        await asyncio.wait((running, asyncio.create_task(ready.wait())), return_when=asyncio.FIRST_COMPLETED)
        try:
            yield Working(installation, worker, clock)
        finally:
            worker.stop.set()
            await running
