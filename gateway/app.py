"""The composition root: the only module that names backends, reads the clock and owns the tasks.

One TaskGroup per process owns every long-lived task. A worker process serves every listener; several share the
listening sockets that the supervisor opened before it forked.
"""

import asyncio
import base64
import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from gateway import log, supervisor
from gateway.accept import Accept
from gateway.config import Config, ConfigError, load, serve_problems
from gateway.deliver import Deliver
from gateway.hear import Hear
from gateway.inbound.listener import make_budget
from gateway.inbound.login import Logins
from gateway.inbound.return_path import ReturnPath
from gateway.inbound.submission import Submission
from gateway.mail.dkim import Signer, load_signer
from gateway.notice import Notices
from gateway.outbound.pool import Pool
from gateway.render import Renderer
from gateway.show import captured_mail, link_context
from gateway.store import migrate, sqlite
from gateway.store.contract import Store, StoreUnavailable
from gateway.web.server import build_app
from gateway.web.site import Site
from gateway.weigh import Scales
from gateway.words import Words
from suppression.link_token import TokenKeys
from suppression.vault import KeyRing

CAPTURES_KEPT = timedelta(days=5)
"""How long captured mail is kept (RULES.md 7.2)."""
STOP_SECONDS = 10.0
WATCH_SECONDS = 5.0
SWEEP_EVERY = 120  # watches


def clock() -> datetime:
    """The time, aware UTC."""
    return datetime.now(UTC)


def key_ring(config: Config) -> KeyRing:
    """The installation keys, from the file that `config` has checked: lines `ID BASE64`."""
    pairs = [line.split() for line in config.installation_key.read_text("ascii").splitlines() if line.strip()]
    return KeyRing({int(key_id): base64.b64decode(secret) for key_id, secret in pairs})


def token_keys(ring: KeyRing) -> TokenKeys:
    """The keys of links."""
    return TokenKeys(ring.derived("link", length=64))


def signers(config: Config) -> dict[str, tuple[Signer, ...]]:
    """Signing keys by domain. A key that cannot be read is left out: marketing of its domain is put off (stage F)."""
    found: dict[str, tuple[Signer, ...]] = {}
    for controller in config.controllers.values():
        for key in controller.dkim:
            try:
                signer = load_signer(key.domain, key.selector, key.key.read_bytes())
            except (OSError, ValueError) as broken:
                log.bug(where=f"dkim key of {key.domain}", error=broken)
            else:
                found[key.domain] = (*found.get(key.domain, ()), signer)
    return found


def create_store(config: Config) -> None:
    """Make the databases of a new installation."""
    sqlite.create(config.database_path, config.keys_database)


def migrate_store(config: Config) -> list[int]:
    """Bring the database to this version; the versions reached. OSError while a gateway is serving it."""
    with _only_one(config):
        return migrate.migrate(config.database_path, int(sqlite.SCHEMA_VERSION), migrate.known())


@contextlib.asynccontextmanager
async def opened_store(config: Config) -> AsyncIterator[Store]:
    """The store of an installation, closed again at the end. StoreUnavailable when it cannot be used."""
    async with sqlite.opened(config.database_path, config.keys_database, key_ring(config)) as store:
        yield store


async def numbers(store: Store, config: Config) -> dict[tuple[str, str, str], int]:
    """The token numbers of everything that is configured."""
    names = []
    for controller in config.controllers.values():
        names.append((controller.id, "controller", controller.id))
        names += [(controller.id, "stream", name) for name in controller.streams]
        names += [(controller.id, "purpose", name) for name in controller.purposes]
    return {name: await store.number(*name) for name in names}


async def renderer(store: Store, config: Config, words: Words) -> Renderer:
    """What makes copies, for this configuration."""
    return Renderer(config, words, token_keys(key_ring(config)), await numbers(store, config), signers(config))


@dataclass(slots=True)
class Sockets:
    """Listening sockets, bound before the workers start."""

    submission: list[socket.socket] = field(default_factory=list)
    submissions: list[socket.socket] = field(default_factory=list)
    return_path: list[socket.socket] = field(default_factory=list)
    web: list[socket.socket] = field(default_factory=list)

    @classmethod
    def bound(cls, config: Config) -> "Sockets":
        """All listeners of the configuration; OSError names the one that is taken."""
        listen = config.listen
        return cls(
            submission=[_bound(address) for address in listen.submission],
            submissions=[_bound(address) for address in listen.submissions],
            return_path=[_bound(listen.return_path)], web=[_bound(listen.web)],
        )  # fmt: skip


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as taken:
        listening.close()
        raise OSError(f"{host}:{port} cannot be listened on: {taken.strerror}") from None
    listening.listen(1024)
    listening.setblocking(False)
    return listening


class Web(uvicorn.Server):
    """uvicorn inside our loop: signals are ours, and the pages can be swapped for those of new settings."""

    def __init__(self) -> None:
        self.pages: FastAPI | None = None
        super().__init__(uvicorn.Config(
            self._serve_pages, interface="asgi3", log_config=None, access_log=False, lifespan="off",
            server_header=False, proxy_headers=False, timeout_keep_alive=15, limit_concurrency=1024,
        ))  # fmt: skip
        self.accepting = asyncio.Event()

    async def _serve_pages(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.pages is not None:
            await self.pages(scope, receive, send)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Worker:
    """One process's share of the work."""

    def __init__(self, config: Config, sockets: Sockets, name: str) -> None:
        self.config, self.sockets, self.name = config, sockets, name
        self.stop = asyncio.Event()
        self.again = asyncio.Event()

    async def run(self, accepting: Callable[[], None]) -> None:
        """Serve until `stop` is set; `accepting` is called once everything accepts."""
        config, ring = self.config, key_ring(self.config)
        async with sqlite.opened(config.database_path, config.keys_database, ring) as store:
            self._store, self._ring, self._words, self._web = store, ring, Words.load(), Web()
            self._deliver = Deliver(store, worker=self.name, ring=ring, clock=clock)
            self._accept = Accept(store, self._deliver, ring=ring, clock=clock)
            self._hear = Hear(store, ring=ring, tokens=token_keys(ring), clock=clock)
            self._pools: dict[str, Pool] = {}
            await self._configure(config)
            await self._accept.watch_room()
            budget, logins = make_budget(config), Logins(config.logins, clock=clock)
            self._submission = Submission(config, self._accept, logins, budget=budget)
            self._return_path = ReturnPath(config, self._hear, budget=budget)
            async with asyncio.TaskGroup() as tasks:
                delivering = tasks.create_task(self._deliver.run(), name="deliver")
                serving = tasks.create_task(self._web.serve(sockets=self.sockets.web), name="web")
                await self._submission.start(submission=self.sockets.submission, submissions=self.sockets.submissions)
                await self._return_path.start(return_path=self.sockets.return_path)
                keeping = tasks.create_task(self._keep_house(), name="house")
                await asyncio.wait(
                    (serving, tasks.create_task(self._web.accepting.wait())), return_when=asyncio.FIRST_COMPLETED
                )
                self._say_ready(accepting)
                await self.stop.wait()
                await self._wind_down()
                for task in (keeping, delivering):
                    task.cancel()
            logins.close()
            waiting = await store.waiting(config.limits.queue_copies)
        log.stopped(waiting=waiting)

    def _say_ready(self, accepting: Callable[[], None]) -> None:
        listen = self.config.listen
        log.ready(listeners=[f"{h}:{p}" for h, p in (*listen.submission, *listen.submissions, listen.web)])
        accepting()

    async def _wind_down(self) -> None:
        """No new mail; hand-overs under way finish, ten seconds at most (DESIGN section 12)."""
        log.stopping(cause="signal")
        self._web.should_exit = True
        async with asyncio.timeout(STOP_SECONDS + 2):
            await asyncio.gather(
                self._submission.drain(STOP_SECONDS / 2), self._return_path.drain(STOP_SECONDS / 2),
                self._deliver.stop(STOP_SECONDS), return_exceptions=True,
            )  # fmt: skip
        await asyncio.gather(self._submission.close(), self._return_path.close(), return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    async def _configure(self, config: Config) -> None:
        """Everything that follows from the configuration, made anew and swapped in."""
        keys = signers(config)
        scales = Scales(config, frozenset(keys))
        tokens = token_keys(self._ring)
        self._renderer = Renderer(config, self._words, tokens, await numbers(self._store, config), keys)
        for name, route in config.routes.items():
            old = self._pools.pop(name, None)
            if route.kind == "smarthost":
                self._pools[name] = Pool(route, hostname=config.hostname)
            if old is not None:
                await old.close()
        notices = Notices(config, self._words, scales, self._ring)
        self._deliver.configure(config, scales, self._renderer, notices, self._pools)
        self._accept.configure(config, scales, notices)
        self._hear.configure(config)
        self._web.pages = self._pages(config)
        self.config = config

    def _pages(self, config: Config) -> FastAPI:
        ring, store, renderer = self._ring, self._store, self._renderer
        return build_app(
            Site(
                config=config, store=store, words=self._words, ring=ring, tokens=token_keys(ring), clock=clock,
                secret=next(iter(ring.derived("web").values())),
                link_context=lambda token: link_context(store, config, token, clock()),
                captured_mail=lambda controller, message, copy: captured_mail(
                    store, config, renderer, controller, message, copy
                ),
            ),
            note=log.web_request, version=version("consentgate"),
        )  # fmt: skip

    async def reload(self) -> None:
        """SIGHUP: the new settings, or the old ones where the new ones have problems."""
        try:
            config = load(self.config.path)
            if problems := serve_problems(config):
                raise ConfigError(problems)
            self._submission.reload(config)  # first: a certificate that cannot be used is found here
            self._return_path.reload(config)
        except (ConfigError, OSError) as wrong:
            problems = wrong.problems if isinstance(wrong, ConfigError) else ()
            log.reload_refused(problems=len(problems) or 1)
            print(wrong, file=sys.stderr)
            return
        await self._configure(config)
        log.reloaded(
            controllers=len(config.controllers), streams=sum(len(c.streams) for c in config.controllers.values())
        )

    async def _keep_house(self) -> None:
        """Every few seconds: is there room? Every ten minutes: what must go, goes."""
        turn = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self.again.wait()
                self.again.clear()
                await self.reload()
            try:
                await self._accept.watch_room()
                turn += 1
                if turn % SWEEP_EVERY == 1:
                    now = clock()
                    while await self._store.sweep(now=now, captures_before=now - CAPTURES_KEPT):
                        pass
            except StoreUnavailable as down:
                log.store_unavailable(where="house", error=down)


def serve(config: Config, *, workers: int = 1) -> int:
    """Run until SIGTERM or SIGINT. Exit code 0 when stopped, 1 when it could not start."""
    log.configure(config.log.format, config.log.level)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_only_one(config))
            sockets = Sockets.bound(config)
        except OSError as refused:
            print(f"consentgate: {refused}", file=sys.stderr)
            return 1
        streams = sum(len(controller.streams) for controller in config.controllers.values())
        log.started(version=version("consentgate"), controllers=len(config.controllers), streams=streams)
        web, mail = config.listen.web, config.listen.submission or config.listen.submissions
        ready = f"ready smtp {mail[0][0]}:{mail[0][1]} web {config.public_url} ({web[0]}:{web[1]})"

        def work(index: int, accepting: Callable[[], None]) -> int:
            return uvloop.run(_serve_one(config, sockets, f"{socket.gethostname()}-{index}", accepting))

        def say_ready() -> None:
            print(ready, flush=True)

        return work(0, say_ready) if workers == 1 else supervisor.run(workers, work, say_ready)


@contextlib.contextmanager
def _only_one(config: Config) -> Iterator[None]:
    """One gateway per installation and machine: two would take each other's claimed copies for their own."""
    lock = os.open(config.dir / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OSError(f"another gateway is serving {config.path}; stop it first") from None
    try:
        yield
    finally:
        os.close(lock)


async def _serve_one(config: Config, sockets: Sockets, name: str, accepting: Callable[[], None]) -> int:
    worker = Worker(config, sockets, name)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop.set)
    loop.add_signal_handler(signal.SIGHUP, worker.again.set)
    try:
        await worker.run(accepting)
    except StoreUnavailable as down:
        print(f"consentgate: {down}", file=sys.stderr)
        return 1
    return 0
