"""One process's share of the gateway: every listener, every lane, the pages, and the tasks that keep house.

One TaskGroup owns every long-lived task. Several workers share the listening sockets that were bound before the fork.
"""

import asyncio
import contextlib
import gc
import ssl
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI

from gateway import log, prove, question, record
from gateway.accept import Accept
from gateway.addressees import targets
from gateway.appraise import keep_counting
from gateway.be_told import TOKENS_KEPT, BeTold
from gateway.board import Board, Slot
from gateway.clock_watch import seconds_passed
from gateway.config import Config, Route
from gateway.confirm import Confirmations
from gateway.correspond import Correspondence
from gateway.deliver import Deliver
from gateway.direct_ways import direct
from gateway.forward import Forwards
from gateway.handed_over import HandedOver
from gateway.head_mail import HeadMail
from gateway.hear import Hear
from gateway.heed import Known, keep_returned
from gateway.host_faults import HostFaults
from gateway.inbound.listener import server_context
from gateway.inbound.login import Logins
from gateway.inbound.return_path import ReturnPath
from gateway.inbound.submission import Submission
from gateway.kept_policies import KeptPolicies
from gateway.keys import key_ring, signers, token_keys
from gateway.lookalikes import Lookalikes
from gateway.notice import Notices
from gateway.outbound.direct import Direct
from gateway.outbound.http_client import HttpClient, context_for
from gateway.outbound.pace import Pace
from gateway.outbound.pool import Pool
from gateway.rehearse import KEPT, Rehearsals
from gateway.render import Renderer, numbers
from gateway.room import Room
from gateway.settings.load import ConfigError
from gateway.show import captured_mail, link_context
from gateway.sign_up import SignUps
from gateway.sockets import Sockets
from gateway.store.contract import Arrival, Store, StoreUnavailable
from gateway.store.evidence import KeptHead
from gateway.store.nodes import NameTaken, Nodes
from gateway.web.server import build_app
from gateway.web.serving import Web
from gateway.web.site import Site
from gateway.weigh import Scales
from gateway.words import Words
from gateway.write_back import WriteBack

STOP_SECONDS = 10.0
WATCH_SECONDS = 5.0
SEAL_SECONDS = 0.5
"""How often entries of the ledger get their places in the chain."""
QUESTIONS_SECONDS = 1.0
SWEEP_EVERY = 120  # watches
SWEPT_AT_ONCE = 500
PACES_KEPT = timedelta(hours=1)


Renewed = Callable[[Sockets], tuple[Config, Sockets]]
"""The settings as they are now, and the sockets they want, of which those given are kept where they are still wanted.
Raises ConfigError for settings that are not fit to be served, OSError."""
Told = Callable[[Config | None], None]
"""Told what came of a reload: the settings in force now, None where the old ones are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """What follows from settings and can go wrong, made before anything is swapped."""

    config: Config
    sockets: Sockets
    words: Words
    scales: Scales
    renderer: Renderer
    pools: dict[str, Pool | Direct]
    trusted: ssl.SSLContext
    certificate: ssl.SSLContext | None


def _nowhere(sockets: Sockets) -> tuple[Config, Sockets]:
    raise OSError("nothing says where new settings come from")


class Worker:
    """One process's share of the work."""

    def __init__(
        self, config: Config, store: Store, nodes: Nodes, sockets: Sockets, name: str, *,
        clock: Callable[[], datetime], seconds: Callable[[], float] = seconds_passed, slot: Slot | None = None,
        renewed: Renewed = _nowhere, told: Told = lambda _: None, words: Words | None = None,
    ) -> None:  # fmt: skip
        """`seconds`: they only grow; `slot`: this worker's place among all; `renewed` and `told`: whom it asks and
        tells at a reload; `words`: those of these settings, where they are loaded already."""
        self.config, self.sockets, self._clock, self._nodes = config, sockets, clock, nodes
        self._slot, self._renewed, self._told = slot or Board(1).slot(0), renewed, told
        self._given = words
        self.stop = asyncio.Event()
        """Set to end the work."""
        self.again = asyncio.Event()
        """Set to load the settings anew."""
        self._store, self._ring, self._web = store, key_ring(config), Web(self._slot, stop_seconds=int(STOP_SECONDS))
        notes = HandedOver(config.dir / f"handed-over.{quote(name, safe='')}")
        self._deliver = Deliver(
            store, worker=name, ring=self._ring, clock=clock, handed_over=notes, seconds=seconds,
            named=lambda: nodes.named,
        )  # fmt: skip
        self._lookalikes = Lookalikes(self._ring)
        self._room = Room(store)
        self._accept = Accept(
            store, self._deliver, ring=self._ring, lookalikes=self._lookalikes, clock=clock, room=self._room
        )
        self._hear = Hear(store, clock=clock)
        self._be_told = BeTold(store, clock=clock)
        tokens = token_keys(self._ring)
        self._sign_ups = SignUps(store, self._ring, tokens, clock=clock, wake=self._deliver.wake)
        self._confirmations = Confirmations(store, self._ring, tokens, clock=clock)
        self._write_back = WriteBack(
            store, worker=name, clock=clock, believed=lambda: self._deliver.clock_watch.believed
        )
        self._client = HttpClient(agent=f"consentgate/{version('consentgate')}")
        self._letters = Correspondence(store, clock=clock, wake=self._deliver.wake)
        self._pools: dict[str, Pool | Direct] = {}
        self._faults = HostFaults(clock)
        self._kept_policies = KeptPolicies(store, self._ring, clock)
        self._asked_for: set[asyncio.Task[None]] = set()
        self._head_keys = prove.head_keys(self._ring)
        self._answered = asyncio.Event()
        self._name, self._name_taken = name, False
        nodes.on_name(lost=self._deliver.lose_lease, taken=self._end_unnamed)
        nodes.on("work", self._deliver.wake_all)
        nodes.on("stops", self._deliver.look_at_stops)
        nodes.on("answers", self._answered.set)

    async def run(self, accepting: Callable[[], None]) -> None:
        """Serve until `stop` is set; `accepting` is called once everything accepts. NameTaken when another got our
        name."""
        config, sockets = self.config, self.sockets
        self._configure(await self._fit(config, sockets, self._given))
        await record.settings_in_force(self._store, config, now=self._clock())
        await self._room.look(config)
        logins = Logins(config.logins, clock=self._clock)
        self._submission = Submission(config, self._accept, logins, self._slot)
        self._return_path = ReturnPath(config, self._hear, self._ring, self._slot)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            delivering = tasks.create_task(self._deliver.run(), name="deliver")
            serving = tasks.create_task(self._web.serve([*sockets.web.values()]), name="web")
            self._listen(sockets)
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
        self._client.close()
        with contextlib.suppress(StoreUnavailable):
            await self._note_checks()
        log.stopped(waiting=await self._store.waiting())
        if self._name_taken:
            raise NameTaken(self._name)

    def _end_unnamed(self) -> None:
        """Another works under our name, and took what we had for its own: nothing here may be sent any more."""
        self._name_taken = True
        self.stop.set()

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
        log.stopping(cause="name" if self._name_taken else "signal")
        self._web.should_exit = True
        self._web.listen(())
        self.sockets.close()  # nobody is let in that would not be served
        async with asyncio.timeout(STOP_SECONDS + 2):
            await asyncio.gather(
                self._submission.drain(STOP_SECONDS / 2), self._return_path.drain(STOP_SECONDS / 2),
                self._deliver.stop(STOP_SECONDS), return_exceptions=True,
            )  # fmt: skip
        await asyncio.gather(self._submission.close(), self._return_path.close(), return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    def _listen(self, sockets: Sockets) -> None:
        self._submission.listen(sockets.submission.values(), sockets.submissions.values())
        self._return_path.listen(sockets.return_path.values())

    async def _fit(self, config: Config, sockets: Sockets, words: Words | None = None) -> _Fitted:
        """Make what follows from settings and may go wrong. Raises OSError, ValueError, StoreUnavailable."""
        # templates and languages are half a second's reading, while mail goes on
        if words is None:
            words = await asyncio.get_running_loop().run_in_executor(None, Words.load, config.own_templates)
        keys = signers(config)
        tokens = token_keys(self._ring)
        return _Fitted(
            config=config, sockets=sockets, words=words, scales=Scales(config, frozenset(keys)),
            renderer=Renderer(config, words, tokens, await numbers(self._store, config), keys),
            pools={
                name: self._way(config, route) for name, route in config.routes.items() if route.kind != "capture"
            },
            trusted=context_for(config.write_back_authorities), certificate=server_context(config.tls),
        )  # fmt: skip

    def _way(self, config: Config, route: Route) -> Pool | Direct:
        """How copies leave by a route."""
        if route.kind == "smarthost":
            return Pool(route, hostname=config.hostname, pace=self._pace(route), say=self._faults.of(route.name))
        before = self._pools.get(route.name)
        return direct(
            config, route, before=before if isinstance(before, Direct) else None, pace=self._pace(route),
            memory=self._kept_policies,
        )  # fmt: skip

    def _pace(self, route: Route) -> Pace | None:
        """How fast a route goes, over all workers and nodes."""
        return None if route.rate_per_second is None else self._deliver.paces(route.name, route.rate_per_second)

    def _configure(self, fitted: _Fitted) -> list[Pool | Direct]:
        """Swap it in, all at once: nothing here waits or fails. The pools of before."""
        config, scales, words = fitted.config, fitted.scales, fitted.words
        before, self._pools = [*self._pools.values()], fitted.pools
        self._words, self._renderer, self._scales = words, fitted.renderer, scales
        self._notices = notices = Notices(config, words, scales, self._ring)
        self._deliver.configure(config, scales, self._renderer, notices, self._pools)
        self._accept.configure(config, scales, notices)
        known = Known(config=config, ring=self._ring, tokens=token_keys(self._ring))
        self._hear.configure(known, Forwards(config, scales, self._ring))
        self._store.tell(targets(config))
        self._client.trust(fitted.trusted)
        self._write_back.configure(config, self._client)
        self._be_told.configure(known, self._client)
        self._sign_ups.configure(config, scales, words)
        self._confirmations.configure(config, scales)
        self._letters.configure(config, scales, words)
        self._web.pages = self._pages(config, scales)
        self.config = config
        return before

    def _pages(self, config: Config, scales: Scales) -> FastAPI:
        ring, store, renderer = self._ring, self._store, self._renderer
        return build_app(
            Site(
                config=config, store=store, words=self._words, scales=scales, ring=ring, tokens=token_keys(ring),
                clock=self._clock, secret=next(iter(ring.derived("web").values())), metrics=self._slot.text,
                full=lambda: self._room.full,
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
        """The new settings, templates and sockets, or the old ones where the new ones have problems."""
        sockets = self.sockets
        try:
            config, sockets = await asyncio.get_running_loop().run_in_executor(None, self._renewed, self.sockets)
            fitted = await self._fit(config, sockets)
            await record.settings_in_force(self._store, config, now=self._clock())
        except (ConfigError, OSError, ValueError, StoreUnavailable) as wrong:
            sockets.close(but=self.sockets)
            problems = wrong.problems if isinstance(wrong, ConfigError) else ()
            log.reload_refused(problems=len(problems) or 1)
            print(wrong, file=sys.stderr)
            self._told(None)
            return
        if self.stop.is_set():  # meanwhile: what was listened on is closed
            sockets.close(but=self.sockets)
            return
        self._submission.reload(config, fitted.certificate)
        self._return_path.reload(config, fitted.certificate)
        before = self._configure(fitted)
        self._listen(sockets)
        self._web.listen(sockets.web.values())
        self.sockets.close(but=sockets)
        self.sockets = sockets
        for pool in before:
            await pool.close()
        del before, fitted
        gc.collect()  # pages and settings refer to each other; of what was loaded at the start nothing is walked
        log.configure(config.log.format, config.log.level)
        log.reloaded(
            controllers=len(config.controllers), streams=sum(len(c.streams) for c in config.controllers.values())
        )
        self._told(config)

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
                await self._room.look(self.config)
                await self._note_checks()
                await self._note_hosts()
                if not await self._nodes.keeps_house():
                    continue
                turn += 1
                await self._do_what_is_due(sweep=turn % SWEEP_EVERY == 1)
            except (StoreUnavailable, OSError) as down:
                log.store_unavailable(where="house", error=down)

    async def _do_what_is_due(self, *, sweep: bool) -> None:
        """Letters, heads, and what must go. Nothing goes, and nobody is written to, by a clock that was just set."""
        now, believed = self._clock(), self._deliver.clock_watch.believed
        if believed:
            await self._letters.write_due()
        if not sweep:
            return
        if believed:
            await self._sweep(now)
        await prove.keep_heads(self._store, self._head_keys, now, partial(self._head_letters, now=now))
        # What an erasure left undone, cut short by a crash or held up by a reader of the databases.
        await self._store.forget_erased()
        await self._store.empty_logs()

    async def _sweep(self, now: datetime) -> None:
        """What is too old."""
        while await self._store.sweep(now=now, captures_before=now - KEPT):
            pass
        await question.expire(self._store, self.config, self._notices, now=now)
        slots = {int(now.timestamp()) // 60 // c.promotional.minutes for c in self.config.controllers.values()}
        await self._store.forget_seen(before_slot=min(slots) - 1)
        await self._sign_ups.sweep()
        await keep_returned(self._store, now)
        while await self._store.drop_hook_tokens(before=now - TOKENS_KEPT, n=SWEPT_AT_ONCE):
            pass
        while await self._store.sweep_write_backs(now, SWEPT_AT_ONCE):
            pass
        await self._store.forget_paces(before=now - PACES_KEPT)
        await self._kept_policies.forget()
        await self._letters.forget()

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
