"""One process's share of the gateway: every listener, every lane, the pages, and the tasks that keep house.

One TaskGroup owns every long-lived task. Several workers share the listening sockets that were bound before the fork.
"""

import asyncio
import contextlib
import errno
import gc
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from gateway import log, prove, question, record
from gateway.accept import Accept
from gateway.addressees import targets
from gateway.appraise import keep_counting
from gateway.be_told import TOKENS_KEPT, BeTold
from gateway.config import Config
from gateway.confirm import Confirmations
from gateway.correspond import Correspondence
from gateway.deliver import Deliver
from gateway.forward import Forwards
from gateway.head_mail import HeadMail
from gateway.hear import Hear
from gateway.heed import Known, keep_returned
from gateway.host_faults import HostFaults
from gateway.inbound.login import Logins
from gateway.inbound.return_path import ReturnPath
from gateway.inbound.submission import Submission
from gateway.keys import key_ring, signers, token_keys
from gateway.lookalikes import Lookalikes
from gateway.notice import Notices
from gateway.outbound.http_client import HttpClient, context_for
from gateway.outbound.pool import Pool
from gateway.rehearse import KEPT, Rehearsals
from gateway.render import Renderer, numbers
from gateway.settings.load import ConfigError, load
from gateway.settings.readiness import serve_problems
from gateway.show import captured_mail, link_context
from gateway.sign_up import SignUps
from gateway.store.contract import Arrival, Store, StoreUnavailable
from gateway.store.evidence import KeptHead
from gateway.store.nodes import Nodes
from gateway.web.connection import Connection
from gateway.web.server import build_app
from gateway.web.site import Site
from gateway.weigh import Scales
from gateway.words import Words
from gateway.write_back import WriteBack

_REMEDIES = {
    errno.EADDRINUSE: "Stop what uses it, or set another port.",
    errno.EACCES: "Ports below 1024 need root or CAP_NET_BIND_SERVICE; or set another port.",
    errno.EADDRNOTAVAIL: "This machine has no such address; set one of its own.",
}
STOP_SECONDS = 10.0
WATCH_SECONDS = 5.0
SEAL_SECONDS = 0.5
"""How often entries of the ledger get their places in the chain."""
QUESTIONS_SECONDS = 1.0
SWEEP_EVERY = 120  # watches
SWEPT_AT_ONCE = 500
PACES_KEPT = timedelta(hours=1)


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
            submission=[_bound(address, "submission") for address in listen.submission],
            submissions=[_bound(address, "submissions") for address in listen.submissions],
            return_path=[_bound(listen.return_path, "return_path")], web=[_bound(listen.web, "web")],
        )  # fmt: skip


def _bound(address: tuple[str, int], setting: str) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as taken:
        listening.close()
        remedy = _REMEDIES.get(taken.errno or 0, "Set another address or port.")
        why = f"{host}:{port} cannot be listened on: {taken.strerror}"
        raise OSError(f"listen.{setting}: {why}. {remedy}") from None
    listening.listen(1024)
    listening.setblocking(False)
    return listening


class Web(uvicorn.Server):
    """uvicorn inside our loop: signals are ours, and the pages can be swapped for those of new settings."""

    def __init__(self) -> None:
        self.pages: FastAPI | None = None
        super().__init__(uvicorn.Config(
            self._serve_pages, interface="asgi3", http=Connection, ws="none", lifespan="off", log_config=None,
            access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=15, limit_concurrency=1024,
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

    def __init__(
        self, config: Config, store: Store, nodes: Nodes, sockets: Sockets, name: str, *,
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self.config, self.sockets, self._clock, self._nodes = config, sockets, clock, nodes
        self.stop = asyncio.Event()
        """Set to end the work."""
        self.again = asyncio.Event()
        """Set to load the settings anew."""
        self._store, self._ring, self._web = store, key_ring(config), Web()
        self._words = Words.load(config.own_templates)
        self._deliver = Deliver(store, worker=name, ring=self._ring, clock=clock)
        self._lookalikes = Lookalikes(self._ring)
        self._accept = Accept(store, self._deliver, ring=self._ring, lookalikes=self._lookalikes, clock=clock)
        self._hear = Hear(store, clock=clock)
        self._be_told = BeTold(store, clock=clock)
        tokens = token_keys(self._ring)
        self._sign_ups = SignUps(store, self._words, self._ring, tokens, clock=clock, wake=self._deliver.wake)
        self._confirmations = Confirmations(store, self._ring, tokens, clock=clock)
        self._write_back = WriteBack(store, worker=name, clock=clock)
        self._client: HttpClient | None = None
        self._letters = Correspondence(store, self._words, clock=clock, wake=self._deliver.wake)
        self._pools: dict[str, Pool] = {}
        self._faults = HostFaults(clock)
        self._asked_for: set[asyncio.Task[None]] = set()
        self._head_keys = prove.head_keys(self._ring)
        self._answered = asyncio.Event()
        nodes.on("work", self._deliver.wake_all)
        nodes.on("stops", self._deliver.look_at_stops)
        nodes.on("answers", self._answered.set)

    async def run(self, accepting: Callable[[], None]) -> None:
        """Serve until `stop` is set; `accepting` is called once everything accepts."""
        config, sockets = self.config, self.sockets
        await self._configure(config)
        await record.settings_in_force(self._store, config, now=self._clock())
        await self._accept.watch_room()
        logins = Logins(config.logins, clock=self._clock)
        self._submission = Submission(config, self._accept, logins)
        self._return_path = ReturnPath(config, self._hear, self._ring)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            delivering = tasks.create_task(self._deliver.run(), name="deliver")
            serving = tasks.create_task(self._web.serve(sockets=sockets.web), name="web")
            await self._submission.start(submission=sockets.submission, submissions=sockets.submissions)
            await self._return_path.start(return_path=sockets.return_path)
            keeping = tasks.create_task(self._keep_house(), name="house")
            sealing = tasks.create_task(self._keep_ledger(), name="ledger")
            watching = tasks.create_task(self._keep_questions(), name="questions")
            telling = tasks.create_task(self._write_back.run(), name="write-back")
            counting = tasks.create_task(
                keep_counting(self._store, lambda: self.config.controllers, self._clock), name="meter"
            )
            await asyncio.wait(
                (serving, tasks.create_task(self._web.accepting.wait())), return_when=asyncio.FIRST_COMPLETED
            )
            self._say_ready(accepting)
            await self.stop.wait()
            await self._wind_down()
            for task in (keeping, sealing, watching, telling, counting, delivering, *self._asked_for):
                task.cancel()
        logins.close()
        with contextlib.suppress(StoreUnavailable):
            await self._note_checks()
        log.stopped(waiting=await self._store.waiting(config.limits.queue_copies))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Work somebody asked for on a page that takes longer than a page; it is cut off at the stop."""
        task = self._tasks.create_task(work)
        self._asked_for.add(task)
        task.add_done_callback(self._asked_for.discard)

    def _say_ready(self, accepting: Callable[[], None]) -> None:
        listen = self.config.listen
        log.ready(
            listeners=[f"{h}:{p}" for h, p in (*listen.submission, *listen.submissions, listen.return_path, listen.web)]
        )
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
                rate = route.rate_per_second
                self._pools[name] = Pool(
                    route,
                    hostname=config.hostname,
                    pace=self._deliver.paces(name, rate) if rate is not None else None,
                    say=self._faults.of(name),
                )
            if old is not None:
                await old.close()
        notices = Notices(config, self._words, scales, self._ring)
        self._scales, self._notices = scales, notices
        self._deliver.configure(config, scales, self._renderer, notices, self._pools)
        self._accept.configure(config, scales, notices)
        known = Known(config=config, ring=self._ring, tokens=tokens)
        self._hear.configure(known, Forwards(config, scales, self._ring))
        self._store.tell(targets(config))
        client = self._http_client(config)
        self._write_back.configure(config, client)
        self._be_told.configure(known, client)
        self._sign_ups.configure(config, scales)
        self._confirmations.configure(config, scales)
        self._letters.configure(config, scales)
        self._web.pages = self._pages(config, scales)
        self.config = config
        gc.collect()
        gc.freeze()  # or the collector stops all mail for a tenth of a second now and then, to walk what stays

    def _http_client(self, config: Config) -> HttpClient:
        """The client of new settings; the one before it finishes its calls."""
        if self._client is not None:
            self._client.close()
        agent = f"consentgate/{version('consentgate')}"
        self._client = HttpClient(context_for(config.write_back_authorities), agent=agent)
        return self._client

    def _pages(self, config: Config, scales: Scales) -> FastAPI:
        ring, store, renderer = self._ring, self._store, self._renderer
        return build_app(
            Site(
                config=config, store=store, words=self._words, scales=scales, ring=ring, tokens=token_keys(ring),
                clock=self._clock, secret=next(iter(ring.derived("web").values())),
                sign_ups=self._sign_ups, confirmations=self._confirmations, be_told=self._be_told,
                link_context=lambda token: link_context(store, config, token, self._clock()),
                captured_mail=lambda controller, message, copy: captured_mail(
                    store, config, renderer, controller, message, copy
                ),
                notices=self._notices,
                rehearsals=Rehearsals(
                    store, config, self._scales, self._notices, ring, renderer, clock=self._clock, spawn=self._spawn,
                    wake=self._deliver.wake,
                ),
            ),
            note=log.web_request, version=version("consentgate"),
        )  # fmt: skip

    async def reload(self) -> None:
        """SIGHUP: the new settings, or the old ones where the new ones have problems."""
        try:
            config = load(self.config.path)
            if problems := serve_problems(config, self._clock()):
                raise ConfigError(problems)
            await numbers(self._store, config)  # new names need a number: found out before anything is swapped
            self._submission.reload(config)  # so is a certificate that cannot be used
            self._return_path.reload(config)
            await record.settings_in_force(self._store, config, now=self._clock())
        except (ConfigError, OSError, StoreUnavailable) as wrong:
            problems = wrong.problems if isinstance(wrong, ConfigError) else ()
            log.reload_refused(problems=len(problems) or 1)
            print(wrong, file=sys.stderr)
            return
        await self._configure(config)
        log.reloaded(
            controllers=len(config.controllers), streams=sum(len(c.streams) for c in config.controllers.values())
        )

    async def _keep_house(self) -> None:
        """Every few seconds: is there room? One process does what is to be done once: letters that are due, and every
        ten minutes what must go, goes."""
        turn = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self.again.wait()
                self.again.clear()
                await self.reload()
            try:
                await self._accept.watch_room()
                await self._note_checks()
                await self._note_hosts()
                if not await self._nodes.keeps_house():
                    continue
                await self._letters.write_due()
                turn += 1
                if turn % SWEEP_EVERY == 1:
                    now = self._clock()
                    while await self._store.sweep(now=now, captures_before=now - KEPT):
                        pass
                    await question.expire(self._store, self.config, self._notices, now=now)
                    slots = {
                        int(now.timestamp()) // 60 // c.promotional.minutes for c in self.config.controllers.values()
                    }
                    await self._store.forget_seen(before_slot=min(slots) - 1)
                    await self._sign_ups.sweep()
                    await keep_returned(self._store, now)
                    while await self._store.drop_hook_tokens(before=now - TOKENS_KEPT, n=SWEPT_AT_ONCE):
                        pass
                    while await self._store.sweep_write_backs(now, SWEPT_AT_ONCE):
                        pass
                    await self._store.forget_paces(before=now - PACES_KEPT)
                    await self._letters.forget()
                    await prove.keep_heads(self._store, self._head_keys, now, partial(self._head_letters, now=now))
                    # What an erasure left undone, cut short by a crash or held up by a reader of the databases.
                    await self._store.forget_erased()
                    await self._store.empty_logs()
            except (StoreUnavailable, OSError) as down:
                log.store_unavailable(where="house", error=down)

    async def _note_checks(self) -> None:
        """What was found by looking at our own mail again; kept for the next time where it cannot be written."""
        notes = self._deliver.recheck.take()
        try:
            await self._store.note_checks(notes)
        except StoreUnavailable:
            self._deliver.recheck.put_back(notes)
            raise

    async def _note_hosts(self) -> None:
        """Which smarthosts cannot be used; kept for the next time where it cannot be written."""
        notes = self._faults.take()
        try:
            await self._store.note_hosts(notes)
        except StoreUnavailable:
            self._faults.put_back(notes)
            raise

    def _head_letters(self, kept: Sequence[KeptHead], *, now: datetime) -> list[Arrival]:
        mail = HeadMail(config=self.config, words=self._words, scales=self._scales, ring=self._ring)
        return mail.letters([prove.head_row(one) for one in kept], now)

    async def _keep_questions(self) -> None:
        """Once a second: texts that repeat are counted together, and answers about held mail are heard."""
        known = b""
        while True:
            try:
                now, was = self._clock(), known
                known = await question.keep_up(
                    self._store, self.config, self._notices, self._lookalikes, known, now
                )  # fmt: skip
                if known != was:
                    for route in self.config.routes:
                        self._deliver.wake(route)
            except StoreUnavailable as down:
                log.store_unavailable(where="questions", error=down)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(QUESTIONS_SECONDS):
                    await self._answered.wait()
            self._answered.clear()

    async def _keep_ledger(self) -> None:
        """Twice a second: what anybody wrote gets its place in the chain (P7), from the process that keeps house."""
        broken: set[str] = set()
        while True:
            try:
                if not await self._nodes.keeps_house():
                    await asyncio.sleep(SEAL_SECONDS)
                    continue
                refused = (await self._store.seal()).refused
                for controller_id in set(refused) - broken:
                    log.ledger_broken(controller=controller_id)
                broken = set(refused)
                await asyncio.sleep(SEAL_SECONDS)
            except StoreUnavailable as down:
                log.store_unavailable(where="ledger", error=down)
                await asyncio.sleep(WATCH_SECONDS)
